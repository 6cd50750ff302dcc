/*
 * The identity file: one JSON file that makes a process an endpoint or a
 * router. Mode 0600, written by enroll and renew alone, locked and atomic.
 * docs/protocol.md, "Identity file".
 */
#ifndef PKI_IDENTITY_H
#define PKI_IDENTITY_H

#include "pki/tls.h"
#include "pki/token.h"
#include "proto/base/address.h"

struct pki_identity {
    enum pki_kind kind;
    wf_id id;
    char name[WF_NAME_MAX + 1];
    char domain[PKI_DOMAIN_MAX + 1];
    pki_key *key;    /* owned */
    char *key_ref;   /* owned; "file:..." or "pkcs11:..." when the key is elsewhere, NULL: inline */
    bool key_sealed; /* inline, under a passphrase: so it is written again */
    pki_chain *chain; /* owned */
    wf_buf bundle;    /* owned: encoded Signed */
    wf_address controllers[PKI_CONTROLLERS_MAX];
    size_t controller_count;
    bool carries;   /* the fields below came with the file */
    wf_buf *grants; /* owned array of encoded Signed */
    size_t grant_count;
    wf_buf *members; /* owned array of encoded Signed */
    size_t member_count;
    wf_buf *floors; /* owned array of encoded Signed: a snapshot */
    size_t floors_count;
    char *path; /* owned; NULL: from text, read-only */
};

void pki_identity_init(struct pki_identity *identity);
void pki_identity_fini(struct pki_identity *identity); /* wipes */
/* A copy for another thread, with all that renewing needs: key, certificate, bundle, floors. */
weft_err pki_identity_dup(const struct pki_identity *identity, struct pki_identity *out);

/*
 * From the text of a file. Strict: unknown fields, wrong types, a key that does
 * not fit the certificate are refused. out need not be initialised and is
 * untouched on failure; the caller ends it with fini. A key file must be named
 * absolutely here. A key under a passphrase is opened with the first line of the
 * file that $WEFT_KEY_PASSPHRASE_FILE names; nobody is asked. WEFT_ECREDENTIAL.
 */
weft_err pki_identity_parse(wf_span json, struct pki_identity *out, wf_why *why);
/*
 * From a file ("-": standard input, then read-only); refused if others may read
 * it or its key file, which is named relative to it. As pki_identity_parse, and
 * WEFT_ENOTFOUND, WEFT_EIO.
 */
weft_err pki_identity_load(const char *path, struct pki_identity *out, wf_why *why);
/* Appends the file's text: a secret (wf_buf_wipe). key and chain must be there. */
weft_err pki_identity_put_json(const struct pki_identity *identity, wf_buf *out);
/*
 * Writes atomically, 0600, under the lock of path (wf_file_lock), which the
 * caller therefore must not hold. WEFT_EBUSY, WEFT_EIO.
 */
weft_err pki_identity_save(const struct pki_identity *identity, const char *path, wf_why *why);
/*
 * A newer trust bundle, which the caller has verified; revocations that it carries and that no key
 * in it has signed go. An older one is not taken.
 */
weft_err pki_identity_take_bundle(struct pki_identity *identity, wf_span bundle, bool *changed,
                                  wf_why *why);
/*
 * Puts a newer trust bundle, which the caller has verified, into the identity file, under its lock;
 * all else in it stays as it is there. An older one is not put. WEFT_EBUSY, WEFT_EIO.
 */
weft_err pki_identity_repin(const char *path, wf_span bundle, wf_why *why);
/* Adds one encoded Signed to one of the three arrays (copied); carries is the caller's to set. */
weft_err pki_identity_carry(wf_buf **array, size_t *count, wf_span record);
/*
 * Its trust (with carried floors applied) and TLS context; the caller unrefs
 * both. Its own certificate is not judged here: an expired one must still renew.
 */
weft_err pki_identity_open(const struct pki_identity *identity, uint64_t now, pki_trust **trust,
                           pki_tls_ctx **tls, wf_why *why);

#endif
