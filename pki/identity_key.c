/* The key of an identity: inline, in a file, in a token; and copies for another thread. */
#include "pki/identity_key.h"
#include "proto/base/file.h"
#include "proto/base/secret.h"
#include <stdlib.h>
#include <string.h>

#define KEY_FILE_MAX 16384u
#define KEY_REF_MAX 4096u
#define PASSPHRASE_MIN 4u

static const char file_prefix[] = "file:";
static const char passphrase_variable[] = "WEFT_KEY_PASSPHRASE_FILE";

weft_err pki_passphrase(wf_buf *out, wf_why *why)
{
    const char *path = getenv(passphrase_variable);
    const size_t before = out->len;
    if (path == NULL || path[0] == '\0')
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the key is under a passphrase: name the file whose first line it is by %s",
                       passphrase_variable);
    weft_err err = wf_buf_reserve(out, PKI_PASSPHRASE_MAX);
    if (err == WEFT_OK)
        err = wf_file_read_secret(path, out, why);
    if (err != WEFT_OK) {
        err = wf_wrap(why, err, "the key's passphrase (%s)", passphrase_variable);
        return err == WEFT_ENOTFOUND || err == WEFT_ELIMIT ? WEFT_ECREDENTIAL : err;
    }
    uint8_t *end = memchr(out->data + before, '\n', out->len - before);
    if (end != NULL) {
        size_t whole = out->len;
        out->len = (size_t)(end - out->data);
        wf_wipe(end, whole - out->len);
    }
    if (out->len - before < PASSPHRASE_MIN ||
        memchr(out->data + before, 0, out->len - before) != NULL) {
        wf_wipe(out->data + before, out->len - before);
        out->len = before;
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "%s: the first line of %s must be a passphrase of %u characters or more",
                       passphrase_variable, path, PASSPHRASE_MIN);
    }
    return WEFT_OK;
}

static bool is_sealed(wf_span pem)
{
    static const char begin[] = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
    return pem.len > strlen(begin) && memmem(pem.data, pem.len, begin, strlen(begin)) != NULL;
}

weft_err pki_key_open_pem(wf_span pem, pki_key **out, bool *sealed, wf_why *why)
{
    wf_buf passphrase;
    *sealed = is_sealed(pem);
    if (!*sealed)
        return pki_key_from_pem(pem, NULL, out, why);
    wf_buf_init(&passphrase, PKI_PASSPHRASE_MAX + 1);
    weft_err err = wf_buf_reserve(&passphrase, PKI_PASSPHRASE_MAX + 1);
    if (err == WEFT_OK)
        err = pki_passphrase(&passphrase, why);
    if (err == WEFT_OK)
        err = wf_buf_cstr(&passphrase) == NULL
                  ? WEFT_ENOMEM
                  : pki_key_from_pem(pem, wf_buf_cstr(&passphrase), out, why);
    wf_buf_wipe(&passphrase);
    return err;
}

/* The key file's path: a relative one is beside the identity file. The caller frees it. */
static weft_err key_path(const char *ref, const char *path, char **out, wf_why *why)
{
    char *joined;
    if (ref[0] == '/') {
        joined = strdup(ref);
    } else if (path == NULL) {
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the key's path is relative, but the identity is no file: write it "
                       "absolute (file:/...)");
    } else {
        const char *slash = strrchr(path, '/');
        size_t folder = slash == NULL ? 0 : (size_t)(slash + 1 - path);
        size_t size = folder + 2 + strlen(ref) + 1;
        joined = malloc(size);
        if (joined != NULL) {
            memcpy(joined, path, folder);
            /* "./" so that no name reads as anything but a name. */
            memcpy(joined + folder, "./", 2);
            memcpy(joined + folder + 2, ref, strlen(ref) + 1);
        }
    }
    if (joined == NULL)
        return wf_fail(why, WEFT_ENOMEM, "no memory for a path");
    *out = joined;
    return WEFT_OK;
}

static weft_err load_key_file(const char *ref, const char *path, pki_key **out, wf_why *why)
{
    bool sealed;
    char *key_file = NULL;
    wf_buf pem;
    weft_err err = key_path(ref, path, &key_file, why);
    if (err != WEFT_OK)
        return err;
    wf_buf_init(&pem, KEY_FILE_MAX);
    err = wf_file_read_secret(key_file, &pem, why);
    if (err != WEFT_OK) {
        err = wf_wrap(why, err, "the identity's key file");
        goto out;
    }
    err = pki_key_open_pem(wf_span_of(pem.data, pem.len), out, &sealed, why);
    if (err != WEFT_OK)
        err = wf_wrap(why, err, "the identity's key file %s", key_file);
out:
    wf_buf_wipe(&pem);
    free(key_file);
    return err;
}

static bool starts(wf_span text, const char *prefix)
{
    return text.len >= strlen(prefix) && memcmp(text.data, prefix, strlen(prefix)) == 0;
}

weft_err pki_identity_take_key(wf_span text, const char *path, struct pki_identity *out,
                               wf_why *why)
{
    const size_t prefix = strlen(file_prefix);
    const bool is_file = starts(text, file_prefix);
    weft_err err;
    if (!is_file && !starts(text, "pkcs11:")) {
        err = pki_key_open_pem(text, &out->key, &out->key_sealed, why);
        return err == WEFT_OK ? err : wf_wrap(why, err, "the field \"key\"");
    }
    if (is_file && (text.len == prefix || text.len > KEY_REF_MAX))
        return wf_fail(why, WEFT_ECREDENTIAL, "the field \"key\" names no file");
    out->key_ref = strndup((const char *)text.data, text.len);
    if (out->key_ref == NULL)
        return wf_fail(why, WEFT_ENOMEM, "no memory for a path");
    if (is_file)
        return load_key_file(out->key_ref + prefix, path, &out->key, why);
    err = pki_key_from_token(out->key_ref, &out->key, why);
    if (err == WEFT_EINVAL)
        err = WEFT_ECREDENTIAL;
    return err == WEFT_OK ? err : wf_wrap(why, err, "the field \"key\"");
}

weft_err pki_identity_put_key(const struct pki_identity *identity, wf_buf *out, wf_why *why)
{
    wf_buf passphrase;
    if (identity->key_ref != NULL)
        return wf_buf_put_text(out, identity->key_ref);
    if (!identity->key_sealed)
        return pki_key_put_pem(identity->key, NULL, out);
    wf_buf_init(&passphrase, PKI_PASSPHRASE_MAX + 1);
    weft_err err = wf_buf_reserve(&passphrase, PKI_PASSPHRASE_MAX + 1);
    if (err == WEFT_OK)
        err = pki_passphrase(&passphrase, why);
    if (err == WEFT_OK)
        err = wf_buf_cstr(&passphrase) == NULL
                  ? WEFT_ENOMEM
                  : pki_key_put_pem(identity->key, wf_buf_cstr(&passphrase), out);
    wf_buf_wipe(&passphrase);
    return err;
}

static weft_err dup_text(const char *text, char **out)
{
    *out = text == NULL ? NULL : strdup(text);
    return text == NULL || *out != NULL ? WEFT_OK : WEFT_ENOMEM;
}

/* Counted things are no business of two threads: the chain is read again from its bytes. */
static weft_err dup_chain(const pki_chain *chain, pki_chain **out)
{
    wf_span certs[2 * WF_CHAIN_DEPTH];
    size_t count = pki_chain_count(chain);
    if (count > 2 * WF_CHAIN_DEPTH)
        return WEFT_EINTERNAL;
    for (size_t i = 0; i < count; i++)
        certs[i] = pki_chain_der(chain, i);
    return pki_chain_from_der(certs, count, out, NULL);
}

weft_err pki_identity_dup(const struct pki_identity *identity, struct pki_identity *out)
{
    struct pki_identity copy;
    pki_identity_init(&copy);
    copy.kind = identity->kind;
    copy.id = identity->id;
    memcpy(copy.name, identity->name, sizeof copy.name);
    memcpy(copy.domain, identity->domain, sizeof copy.domain);
    memcpy(copy.controllers, identity->controllers, sizeof copy.controllers);
    copy.controller_count = identity->controller_count;
    copy.key_sealed = identity->key_sealed;
    weft_err err = pki_key_dup(identity->key, &copy.key);
    if (err == WEFT_OK)
        err = dup_text(identity->key_ref, &copy.key_ref);
    if (err == WEFT_OK)
        err = dup_text(identity->path, &copy.path);
    if (err == WEFT_OK)
        err = dup_chain(identity->chain, &copy.chain);
    if (err == WEFT_OK)
        err = wf_buf_put(&copy.bundle, identity->bundle.data, identity->bundle.len);
    for (size_t i = 0; err == WEFT_OK && i < identity->floors_count; i++)
        err = pki_identity_carry(&copy.floors, &copy.floors_count,
                                 wf_span_of(identity->floors[i].data, identity->floors[i].len));
    if (err != WEFT_OK) {
        pki_identity_fini(&copy);
        return err;
    }
    *out = copy;
    return WEFT_OK;
}
