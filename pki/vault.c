/* Sealing of what lies on disk, by libsodium. Bytes in, bytes out: where they lie is the caller's.
 */
#include "pki/vault.h"
#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "WFV1"
#define LOCK_MAGIC "WFL1"
#define MAGIC_LEN 4u
#define NAME_LEN 8u /* tells one key from another; says nothing of it */
#define NONCE_LEN crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_LEN crypto_aead_xchacha20poly1305_ietf_ABYTES
#define LABEL_MAX 4096u
#define PLAIN_MAX (16u << 20)

/* libsodium's "sensitive" passes at its "interactive" memory: a controller may be a small machine.
 */
#define LOCK_PASSES 4u
#define LOCK_MEMORY_KIB 65536u
#define LOCK_PASSES_MAX 64u
#define LOCK_MEMORY_MIN_KIB 8192u
#define LOCK_MEMORY_MAX_KIB (1u << 20)

_Static_assert(MAGIC_LEN + NAME_LEN + NONCE_LEN + TAG_LEN == PKI_VAULT_OVERHEAD, "as documented");

struct pki_vault {
    uint8_t key[PKI_VAULT_KEY];
    uint8_t name[NAME_LEN];
};

static void name_of(const uint8_t key[PKI_VAULT_KEY], uint8_t name[NAME_LEN])
{
    static const char label[] = "weft-vault-name-1";
    uint8_t full[crypto_generichash_BYTES_MIN];

    (void)crypto_generichash(full, sizeof full, (const uint8_t *)label, sizeof label, key,
                             PKI_VAULT_KEY);
    memcpy(name, full, NAME_LEN);
}

/* key NULL: a random one. */
static weft_err vault_make(const uint8_t *key, pki_vault **out, wf_why *why)
{
    pki_vault *vault;

    if (sodium_init() < 0)
        return wf_fail(why, WEFT_EINTERNAL, "libsodium doesn't start");
    vault = sodium_malloc(sizeof *vault);
    if (vault == NULL)
        return wf_fail(why, WEFT_ENOMEM, "no memory for a vault");
    if (key != NULL)
        memcpy(vault->key, key, PKI_VAULT_KEY);
    else
        randombytes_buf(vault->key, PKI_VAULT_KEY);
    name_of(vault->key, vault->name);
    *out = vault;
    return WEFT_OK;
}

weft_err pki_vault_new(pki_vault **out, wf_why *why)
{
    return vault_make(NULL, out, why);
}

void pki_vault_free(pki_vault *vault)
{
    sodium_free(vault); /* wipes */
}

/* What is authenticated beside the text: the head, then the label. */
static weft_err bind(const uint8_t head[MAGIC_LEN + NAME_LEN], wf_span label, wf_buf *out)
{
    weft_err err;

    assert(label.len <= LABEL_MAX);
    wf_buf_init(out, MAGIC_LEN + NAME_LEN + LABEL_MAX);
    err = wf_buf_put(out, head, MAGIC_LEN + NAME_LEN);
    return err == WEFT_OK ? wf_buf_put(out, label.data, label.len) : err;
}

static weft_err seal_with(const uint8_t key[PKI_VAULT_KEY], const uint8_t name[NAME_LEN],
                          wf_span label, wf_span plain, wf_buf *out)
{
    uint8_t *at;
    wf_buf bound;
    weft_err err;

    if (plain.len > PLAIN_MAX)
        return WEFT_ELIMIT;
    err = wf_buf_reserve(out, plain.len + PKI_VAULT_OVERHEAD);
    if (err != WEFT_OK)
        return err;
    at = out->data + out->len;
    memcpy(at, MAGIC, MAGIC_LEN);
    memcpy(at + MAGIC_LEN, name, NAME_LEN);
    err = bind(at, label, &bound);
    if (err == WEFT_OK) {
        uint8_t *nonce = at + MAGIC_LEN + NAME_LEN;

        randombytes_buf(nonce, NONCE_LEN);
        (void)crypto_aead_xchacha20poly1305_ietf_encrypt(nonce + NONCE_LEN, NULL, plain.data,
                                                         plain.len, bound.data, bound.len, NULL,
                                                         nonce, key);
        out->len += plain.len + PKI_VAULT_OVERHEAD;
    }
    wf_buf_fini(&bound);
    return err;
}

static weft_err open_with(const uint8_t key[PKI_VAULT_KEY], const uint8_t name[NAME_LEN],
                          wf_span label, wf_span sealed, wf_buf *out, wf_why *why)
{
    const uint8_t *nonce;
    size_t len;
    wf_buf bound;
    weft_err err;

    if (!pki_vault_is_sealed(sealed))
        return wf_fail(why, WEFT_ECREDENTIAL, "it is not sealed, as it must be");
    if (memcmp(sealed.data + MAGIC_LEN, name, NAME_LEN) != 0)
        return wf_fail(why, WEFT_ECREDENTIAL, "it is sealed with another key");
    len = sealed.len - PKI_VAULT_OVERHEAD;
    if (len > PLAIN_MAX)
        return wf_fail(why, WEFT_ECREDENTIAL, "it is larger than anything that is sealed");
    err = bind(sealed.data, label, &bound);
    if (err == WEFT_OK)
        err =
            wf_buf_reserve(out, len + 1); /* one more: reserve(0) may leave no memory to point at */
    if (err != WEFT_OK) {
        wf_fail(why, err, "no room for what is sealed");
        goto out;
    }
    nonce = sealed.data + MAGIC_LEN + NAME_LEN;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(out->data + out->len, NULL, NULL,
                                                   nonce + NONCE_LEN, len + TAG_LEN, bound.data,
                                                   bound.len, nonce, key) != 0)
        err = wf_fail(why, WEFT_ECREDENTIAL, "it was altered, or belongs to another place");
    else
        out->len += len;
out:
    wf_buf_fini(&bound);
    return err;
}

bool pki_vault_is_sealed(wf_span bytes)
{
    return bytes.len >= PKI_VAULT_OVERHEAD && memcmp(bytes.data, MAGIC, MAGIC_LEN) == 0;
}

weft_err pki_vault_seal(const pki_vault *vault, wf_span label, wf_span plain, wf_buf *out)
{
    return seal_with(vault->key, vault->name, label, plain, out);
}

weft_err pki_vault_open(const pki_vault *vault, wf_span label, wf_span sealed, wf_buf *out,
                        wf_why *why)
{
    return open_with(vault->key, vault->name, label, sealed, out, why);
}

/* ---- the lock */

/* All of the lock but what is sealed in it. */
static weft_err put_head(const struct pki_lock *lock, wf_buf *out)
{
    size_t source = strlen(lock->source);
    weft_err err = wf_buf_put(out, LOCK_MAGIC, MAGIC_LEN);

    assert(source <= PKI_LOCK_SOURCE_MAX && lock->box_len <= PKI_LOCK_BOX_MAX);
    if (err == WEFT_OK)
        err = wf_buf_put_u8(out, (uint8_t)lock->kind);
    if (err == WEFT_OK)
        err = wf_buf_put_u16(out, (uint16_t)source);
    if (err == WEFT_OK)
        err = wf_buf_put(out, lock->source, source);
    if (err == WEFT_OK && lock->kind == PKI_LOCK_PASSPHRASE) {
        err = wf_buf_put_u32(out, lock->passes);
        if (err == WEFT_OK)
            err = wf_buf_put_u32(out, lock->memory_kib);
        if (err == WEFT_OK)
            err = wf_buf_put(out, lock->salt, sizeof lock->salt);
    }
    if (err == WEFT_OK && lock->kind == PKI_LOCK_TOKEN) {
        err = wf_buf_put_u8(out, (uint8_t)lock->box_len);
        if (err == WEFT_OK)
            err = wf_buf_put(out, lock->box, lock->box_len);
    }
    return err;
}

weft_err pki_lock_put(const struct pki_lock *lock, wf_buf *out)
{
    weft_err err = put_head(lock, out);

    return err == WEFT_OK ? wf_buf_put(out, lock->sealed, sizeof lock->sealed) : err;
}

static bool take_source(wf_reader *r, struct pki_lock *lock)
{
    uint16_t len;

    if (!wf_get_u16(r, &len) || len == 0 || len > PKI_LOCK_SOURCE_MAX ||
        !wf_get_bytes(r, lock->source, len))
        return false;
    for (size_t i = 0; i < len; i++)
        if ((uint8_t)lock->source[i] < 0x20 || lock->source[i] == 0x7f)
            return false;
    return true;
}

static bool take_costs(wf_reader *r, struct pki_lock *lock)
{
    return wf_get_u32(r, &lock->passes) && wf_get_u32(r, &lock->memory_kib) && lock->passes > 0 &&
           lock->passes <= LOCK_PASSES_MAX && lock->memory_kib >= LOCK_MEMORY_MIN_KIB &&
           lock->memory_kib <= LOCK_MEMORY_MAX_KIB &&
           wf_get_bytes(r, lock->salt, sizeof lock->salt);
}

static bool take_box(wf_reader *r, struct pki_lock *lock)
{
    uint8_t len;

    if (!wf_get_u8(r, &len) || len == 0 || len > PKI_LOCK_BOX_MAX ||
        !wf_get_bytes(r, lock->box, len))
        return false;
    lock->box_len = len;
    return true;
}

weft_err pki_lock_parse(wf_span bytes, struct pki_lock *out, wf_why *why)
{
    struct pki_lock lock = {.kind = PKI_LOCK_KEY};
    wf_reader r;
    wf_span magic;
    uint8_t kind = 0;
    bool good;

    wf_reader_init(&r, bytes.data, bytes.len);
    if (!wf_get_span(&r, MAGIC_LEN, &magic) || memcmp(magic.data, LOCK_MAGIC, MAGIC_LEN) != 0)
        return wf_fail(why, WEFT_ECREDENTIAL, "it is no lock that this version knows");
    good = wf_get_u8(&r, &kind) && kind >= PKI_LOCK_KEY && kind <= PKI_LOCK_TOKEN &&
           take_source(&r, &lock);
    if (good) {
        lock.kind = (enum pki_lock_kind)kind;
        if (lock.kind == PKI_LOCK_PASSPHRASE)
            good = take_costs(&r, &lock);
        else if (lock.kind == PKI_LOCK_TOKEN)
            good = take_box(&r, &lock);
    }
    if (!good || !wf_get_bytes(&r, lock.sealed, sizeof lock.sealed) || !wf_reader_end(&r))
        return wf_fail(why, WEFT_ECREDENTIAL, "it is damaged");
    *out = lock;
    return WEFT_OK;
}

void pki_lock_choose(struct pki_lock *lock)
{
    lock->passes = LOCK_PASSES;
    lock->memory_kib = LOCK_MEMORY_KIB;
    randombytes_buf(lock->salt, sizeof lock->salt);
}

weft_err pki_lock_stretch(const struct pki_lock *lock, wf_span passphrase,
                          uint8_t outer[PKI_VAULT_KEY], wf_why *why)
{
    _Static_assert(sizeof lock->salt == crypto_pwhash_SALTBYTES, "Argon2id's salt");

    if (sodium_init() < 0 ||
        crypto_pwhash(outer, PKI_VAULT_KEY, (const char *)passphrase.data, passphrase.len,
                      lock->salt, lock->passes, (size_t)lock->memory_kib * 1024,
                      crypto_pwhash_ALG_ARGON2ID13) != 0)
        return wf_fail(why, WEFT_ENOMEM, "no memory to stretch a passphrase: %u MiB are needed",
                       (unsigned)(lock->memory_kib / 1024));
    return WEFT_OK;
}

void pki_lock_agree(const struct pki_lock *lock, wf_span secret, wf_span spki,
                    uint8_t outer[PKI_VAULT_KEY])
{
    static const char label[] = "weft-vault-token-1";
    crypto_generichash_state state;

    (void)crypto_generichash_init(&state, secret.data, secret.len, PKI_VAULT_KEY);
    (void)crypto_generichash_update(&state, (const uint8_t *)label, sizeof label);
    (void)crypto_generichash_update(&state, lock->box, lock->box_len);
    (void)crypto_generichash_update(&state, spki.data, spki.len);
    (void)crypto_generichash_final(&state, outer, PKI_VAULT_KEY);
    sodium_memzero(&state, sizeof state);
}

weft_err pki_lock_close(struct pki_lock *lock, const uint8_t outer[PKI_VAULT_KEY],
                        const pki_vault *vault)
{
    uint8_t name[NAME_LEN];
    wf_buf head, sealed;
    weft_err err;

    wf_buf_init(&head, PKI_LOCK_MAX);
    wf_buf_init(&sealed, sizeof lock->sealed);
    name_of(outer, name);
    err = put_head(lock, &head);
    if (err == WEFT_OK)
        err = seal_with(outer, name, wf_span_of(head.data, head.len),
                        wf_span_of(vault->key, sizeof vault->key), &sealed);
    if (err == WEFT_OK) {
        assert(sealed.len == sizeof lock->sealed);
        memcpy(lock->sealed, sealed.data, sealed.len);
    }
    wf_buf_fini(&head);
    wf_buf_fini(&sealed);
    return err;
}

weft_err pki_lock_open(const struct pki_lock *lock, const uint8_t outer[PKI_VAULT_KEY],
                       pki_vault **out, wf_why *why)
{
    uint8_t name[NAME_LEN];
    wf_buf head, key;
    weft_err err;

    wf_buf_init(&head, PKI_LOCK_MAX);
    wf_buf_init(&key, PKI_VAULT_KEY + 1);
    name_of(outer, name);
    err = put_head(lock, &head);
    if (err == WEFT_OK)
        err = open_with(outer, name, wf_span_of(head.data, head.len),
                        wf_span_of(lock->sealed, sizeof lock->sealed), &key, why);
    if (err == WEFT_OK) {
        assert(key.len == PKI_VAULT_KEY);
        err = vault_make(key.data, out, why);
    }
    wf_buf_fini(&head);
    wf_buf_wipe(&key);
    return err;
}

void pki_lock_random(uint8_t outer[PKI_VAULT_KEY])
{
    randombytes_buf(outer, PKI_VAULT_KEY);
}
