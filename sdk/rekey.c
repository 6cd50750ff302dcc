/* The next key of an identity, from its making until it is in use. */
#include "proto/base/file.h"
#include "sdk/endpoint.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define KEY_MAX 4096u

static char *pending(const struct pki_identity *identity)
{
    char *path = NULL;
    /* A key under a passphrase isn't left in clear: then it is in memory alone. */
    if (identity->path == NULL || identity->key_sealed ||
        asprintf(&path, "%s.newkey", identity->path) < 0)
        return NULL;
    return path;
}

weft_err wf_rekey_begin(const struct pki_identity *identity, pki_key **out, wf_why *why)
{
    if (identity->key_ref != NULL)
        return wf_fail(why, WEFT_EUSAGE,
                       "the key is kept elsewhere (%s): only a key inside the identity file is "
                       "changed; use weft identity reissue",
                       identity->key_ref);
    if (identity->carries)
        return wf_fail(why, WEFT_EUSAGE,
                       "the identity carries grants for its key: enroll anew instead");
    pki_key *key = NULL;
    char *path = pending(identity);
    wf_buf pem;
    wf_buf_init(&pem, KEY_MAX);
    weft_err err = wf_buf_reserve(&pem, KEY_MAX); /* one piece, so that no copy is left behind */
    if (err == WEFT_OK && path != NULL && wf_file_exists(path)) {
        err = wf_file_read_secret(path, &pem, why);
        if (err == WEFT_OK)
            err = pki_key_from_pem(wf_span_of(pem.data, pem.len), NULL, &key, why);
    } else if (err == WEFT_OK) {
        err = pki_key_new(pki_key_kind_of(identity->key), &key, why);
        if (err == WEFT_OK && path != NULL) {
            err = pki_key_put_pem(key, NULL, &pem);
            if (err == WEFT_OK)
                err = wf_file_create(path, pem.data, pem.len, 0600, why);
        }
    }
    wf_buf_wipe(&pem);
    free(path);
    if (err != WEFT_OK)
        pki_key_free(key);
    else
        *out = key;
    return err;
}

void wf_rekey_end(const struct pki_identity *identity)
{
    char *path = pending(identity);
    if (path != NULL)
        (void)unlink(path);
    free(path);
}
