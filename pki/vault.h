/*
 * Secrets at rest: what a program keeps on disk, sealed with a key of its own
 * (the vault), and the lock that this key lies behind. XChaCha20-Poly1305,
 * BLAKE2b and Argon2id, all of libsodium. docs/protocol.md, "Sealed files".
 */
#ifndef PKI_VAULT_H
#define PKI_VAULT_H

#include "proto/base/buf.h"
#include "proto/base/reader.h"
#include "proto/base/why.h"
#include <stdbool.h>

#define PKI_VAULT_KEY 32u
#define PKI_VAULT_OVERHEAD 52u /* what sealing adds: magic 4, key's name 8, nonce 24, tag 16 */

typedef struct pki_vault pki_vault; /* the key, in memory that isn't swapped or dumped */

/* A vault with a fresh random key. WEFT_ENOMEM. */
weft_err pki_vault_new(pki_vault **out, wf_why *why);
void pki_vault_free(pki_vault *vault); /* NULL is fine; wipes */

/*
 * Appends plain, sealed. label says what it is and where it belongs ("policy.key"): it
 * isn't kept in the sealed bytes, and they open under this label alone. WEFT_ENOMEM, WEFT_ELIMIT.
 */
weft_err pki_vault_seal(const pki_vault *vault, wf_span label, wf_span plain, wf_buf *out);
/*
 * Appends what was sealed under this label; the buffer is the caller's to wipe.
 * WEFT_ECREDENTIAL: not sealed, sealed with another key, for another label, or altered.
 */
weft_err pki_vault_open(const pki_vault *vault, wf_span label, wf_span sealed, wf_buf *out,
                        wf_why *why);
/* Whether these bytes claim to be sealed. */
bool pki_vault_is_sealed(wf_span bytes);

/* ---- the lock: a vault's key, sealed with a key from outside */

enum pki_lock_kind {
    PKI_LOCK_KEY = 1,        /* 32 bytes that are given */
    PKI_LOCK_PASSPHRASE = 2, /* stretched from a passphrase */
    PKI_LOCK_TOKEN = 3,      /* agreed with a key in a PKCS#11 token */
};

#define PKI_LOCK_SOURCE_MAX 1024u
#define PKI_LOCK_BOX_MAX 120u
#define PKI_LOCK_MAX 2048u /* bytes of a lock */

struct pki_lock {
    enum pki_lock_kind kind;
    char source[PKI_LOCK_SOURCE_MAX + 1]; /* where the outer key is, in words; no secret */
    uint32_t passes, memory_kib;          /* a passphrase: Argon2id */
    uint8_t salt[16];
    uint8_t box[PKI_LOCK_BOX_MAX]; /* a token: the other half's public key, SPKI */
    size_t box_len;
    uint8_t sealed[PKI_VAULT_OVERHEAD + PKI_VAULT_KEY]; /* the vault's key */
};

/* Strict: one form, nothing behind it, costs within bounds. WEFT_ECREDENTIAL. */
weft_err pki_lock_parse(wf_span bytes, struct pki_lock *out, wf_why *why);
/* Appends the lock's bytes. */
weft_err pki_lock_put(const struct pki_lock *lock, wf_buf *out);
/* Chooses the costs and a salt for a passphrase. */
void pki_lock_choose(struct pki_lock *lock);
/* The outer key of a passphrase, by the lock's costs and salt: half a second, 64 MiB. WEFT_ENOMEM.
 */
weft_err pki_lock_stretch(const struct pki_lock *lock, wf_span passphrase,
                          uint8_t outer[PKI_VAULT_KEY], wf_why *why);
/* The outer key of what a token agreed on: over the secret, the box and the token's public key. */
void pki_lock_agree(const struct pki_lock *lock, wf_span secret, wf_span spki,
                    uint8_t outer[PKI_VAULT_KEY]);
/* Puts the vault's key into lock->sealed; all else in the lock is set and bound to it. */
weft_err pki_lock_close(struct pki_lock *lock, const uint8_t outer[PKI_VAULT_KEY],
                        const pki_vault *vault);
/* WEFT_ECREDENTIAL: the outer key is another, or the lock was altered. */
weft_err pki_lock_open(const struct pki_lock *lock, const uint8_t outer[PKI_VAULT_KEY],
                       pki_vault **out, wf_why *why);
/* A fresh outer key; a vault was made before. */
void pki_lock_random(uint8_t outer[PKI_VAULT_KEY]);

#endif
