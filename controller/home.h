/*
 * The controller's home: the folder that holds its store, its authorities and
 * its keys, opened by one process at a time. docs/architecture.md, "Controller".
 */
#ifndef CONTROLLER_HOME_H
#define CONTROLLER_HOME_H

#include "controller/audit.h"
#include "controller/store.h"
#include "pki/trust.h"
#include "pki/vault.h"
#include "proto/base/address.h"

/* Files below the home. */
#define HOME_STORE "weft.db"
#define HOME_LOCK "seal"         /* the vault's key, sealed: controller/unlock.h */
#define HOME_SEAL_KEY "seal.key" /* what opens it, unless kept elsewhere */
#define HOME_BUNDLE "trust-bundle"
#define HOME_BUNDLES "trust-bundles" /* all that there were, oldest first */
#define HOME_ROOT "root"             /* .key encrypted, .pem */
#define HOME_PASSPHRASE "root-passphrase"
#define HOME_CA_IDENTITIES "ca-identities"
#define HOME_CA_ROUTERS "ca-routers"
#define HOME_CA_CONTROLLERS "ca-controllers"
#define HOME_POLICY "policy.key"
#define HOME_AUDIT "audit.key"
#define HOME_ENROLLMENT "enrollment.key"
#define HOME_LEAF "controller"        /* .key, .pem */
#define HOME_NEXT "controller-next"   /* .key: of the next leaf, which tokens pin already */
#define HOME_PID "controller.pid"     /* of the running one: whom `rotate-ca` wakes */
#define HOME_ROTATION "rotation.json" /* who has not followed, as of the last SIGHUP */
#define HOME_READY "rotate.ready" /* a folder: what a rotation puts in place of the files above */

/* Settings in the store. */
#define HOME_SETTING_ID "controller-id"
#define HOME_SETTING_ADDRESSES "addresses"

#define HOME_PORT 9338
#define HOME_NAME "controller" /* CN of the controller's leaf */

struct home {
    char *dir;             /* owned */
    int lock;              /* -1: none */
    pki_vault *vault;      /* owned: what the keys below are sealed with on disk */
    store *store;          /* owned */
    struct audit_log *log; /* owned */
    wf_id id;              /* the controller's own */
    pki_trust *trust;
    const char *domain; /* borrowed from trust */
    uint8_t bundle_digest[32];
    wf_buf *bundles; /* owned array: every bundle there was, encoded, oldest first */
    size_t bundle_count;
    bool is_switching; /* the bundle is a newer rotation's than the keys: see home_read_signers */
    pki_ca *identities, *routers, *controllers; /* owned */
    pki_key *policy, *audit, *enrollment;       /* owned */
    pki_key *key;                               /* owned: the leaf's */
    pki_chain *chain;                           /* owned: the leaf's */
    pki_pin next_pin;                           /* of HOME_NEXT */
    bool has_next;
    wf_address addresses[PKI_CONTROLLERS_MAX];
    size_t address_count;
};

/* "DIR/name" or "DIR/nameEXT"; freed with free; NULL without memory. */
char *home_path(const char *dir, const char *name, const char *extension);

/*
 * Opens DIR whole: every key is there, private, fits its certificate, the
 * bundle holds the root that they chain to, nobody else runs on it.
 * WEFT_ENOTFOUND, WEFT_EBUSY, WEFT_ECREDENTIAL, WEFT_EIO: one line says what and how to mend.
 */
weft_err home_open(const char *dir, struct home *out, wf_why *why);
/* As home_open, with the outer key from this source (unlock.h); NULL: from where the home says. */
weft_err home_open_sealed(const char *dir, const char *seal_key, struct home *out, wf_why *why);
void home_close(struct home *home);

/*
 * Private keys of the home: the one reader and the one writer. On disk each is PKCS#8 PEM,
 * sealed under its file's name, mode 0600. They need home->dir and home->vault alone.
 * WEFT_ECREDENTIAL: not sealed, sealed with another key, moved from another file's place.
 */
weft_err home_read_key(const struct home *home, const char *name, const char *extension,
                       pki_key **out, wf_why *why);
weft_err home_write_key(const struct home *home, const char *name, const char *extension,
                        const pki_key *key, wf_why *why);
/* An authority from its sealed .key and its .pem. */
weft_err home_read_ca(const struct home *home, const char *name, pki_ca **out, wf_why *why);
/*
 * Any other secret of the home, or of a column of its store: label says which ("webhook.secret
 * ID"). The opened bytes are the caller's to wipe.
 */
weft_err home_seal(const struct home *home, const char *label, wf_span plain, wf_buf *out);
weft_err home_unseal(const struct home *home, const char *label, wf_span sealed, wf_buf *out,
                     wf_why *why);

/*
 * Puts what a rotation has made ready in place, file by file; a crash in between is mended by the
 * next call. *switched: there was something.
 */
weft_err home_switch(const char *dir, bool *switched, wf_why *why);
/* A running controller, after home_switch: the newer bundles. *first: where they begin in bundles.
 */
weft_err home_read_bundles(struct home *home, size_t *first, wf_why *why);
/*
 * At once: our own leaf. It leads to a root that everybody holds before the bundle and after it,
 * while the one that we had may lead to a root that the bundle has dropped.
 */
weft_err home_read_leaf(struct home *home, wf_why *why);
/* And then, once they are told to all: the keys and authorities to sign with. */
weft_err home_read_signers(struct home *home, wf_why *why);
/*
 * The bundle and all that signs, without store and lock: for rotation.c. seal_key as for
 * home_open_sealed; home_close ends it.
 */
weft_err home_read_keys(const char *dir, const char *seal_key, struct home *out, wf_why *why);
/* Where in bundles those begin that follow on this version; bundle_count: none does. */
size_t home_bundles_after(const struct home *home, uint64_t version);
/* The key of the authority that issues this kind of leaf now. */
void home_issuer_pin(const struct home *home, enum pki_kind kind, pki_pin *out);

/* Reads a file of the home that isn't sealed; a secret buffer is the caller's to wipe. */
weft_err home_read(const char *dir, const char *name, const char *extension, bool secret,
                   wf_buf *out, wf_why *why);
weft_err home_write(const char *dir, const char *name, const char *extension, unsigned mode,
                    wf_span data, wf_why *why);

/* Issues a new leaf for the same key once the present one is past half its life: *renewed. */
weft_err home_renew_leaf(struct home *home, uint64_t now, bool *renewed, wf_why *why);

#endif
