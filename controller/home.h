/*
 * The controller's home: the folder that holds its store, its authorities and
 * its keys, opened by one process at a time. docs/architecture.md, "Controller".
 */
#ifndef CONTROLLER_HOME_H
#define CONTROLLER_HOME_H

#include "controller/store.h"
#include "pki/trust.h"
#include "proto/base/address.h"

/* Files below the home. */
#define HOME_STORE "weft.db"
#define HOME_BUNDLE "trust-bundle"
#define HOME_ROOT "root" /* .key encrypted, .pem */
#define HOME_PASSPHRASE "root-passphrase"
#define HOME_CA_IDENTITIES "ca-identities"
#define HOME_CA_ROUTERS "ca-routers"
#define HOME_CA_CONTROLLERS "ca-controllers"
#define HOME_POLICY "policy.key"
#define HOME_AUDIT "audit.key"
#define HOME_ENROLLMENT "enrollment.key"
#define HOME_LEAF "controller" /* .key, .pem */

/* Settings in the store. */
#define HOME_SETTING_ID "controller-id"
#define HOME_SETTING_ADDRESSES "addresses"

#define HOME_PORT 9338
#define HOME_NAME "controller" /* CN of the controller's leaf */

struct home {
    char *dir;    /* owned */
    int lock;     /* -1: none */
    store *store; /* owned */
    wf_id id;     /* the controller's own */
    pki_trust *trust;
    const char *domain; /* borrowed from trust */
    uint8_t bundle_digest[32];
    pki_ca *identities, *routers, *controllers; /* owned */
    pki_key *policy, *audit, *enrollment;       /* owned */
    pki_key *key;                               /* owned: the leaf's */
    pki_chain *chain;                           /* owned: the leaf's */
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
void home_close(struct home *home);

/* Reads a secret file of the home; the buffer is the caller's to wipe. */
weft_err home_read(const char *dir, const char *name, const char *extension, bool secret,
                   wf_buf *out, wf_why *why);
weft_err home_write(const char *dir, const char *name, const char *extension, unsigned mode,
                    wf_span data, wf_why *why);

/* Issues a new leaf for the same key once the present one is past half its life: *renewed. */
weft_err home_renew_leaf(struct home *home, uint64_t now, bool *renewed, wf_why *why);

#endif
