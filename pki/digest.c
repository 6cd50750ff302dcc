#include "pki/digest.h"
#include "pki/internal.h"
#include <stdio.h>
#include <stdlib.h>

struct pki_digest {
    EVP_MD_CTX *ctx; /* owned */
};

pki_digest *pki_digest_new(void)
{
    pki_digest *digest = calloc(1, sizeof *digest);
    if (digest == NULL)
        return NULL;
    digest->ctx = EVP_MD_CTX_new();
    if (digest->ctx == NULL || EVP_DigestInit_ex(digest->ctx, EVP_sha256(), NULL) != 1) {
        pki_digest_free(digest);
        return NULL;
    }
    return digest;
}

weft_err pki_digest_add(pki_digest *digest, wf_span bytes)
{
    if (bytes.len == 0)
        return WEFT_OK;
    return EVP_DigestUpdate(digest->ctx, bytes.data, bytes.len) == 1 ? WEFT_OK : WEFT_EINTERNAL;
}

weft_err pki_digest_hex(pki_digest *digest, char out[PKI_DIGEST_HEX])
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (EVP_DigestFinal_ex(digest->ctx, sum, &len) != 1 || len != 32)
        return WEFT_EINTERNAL;
    for (size_t i = 0; i < 32; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", sum[i]);
    return WEFT_OK;
}

void pki_digest_free(pki_digest *digest)
{
    if (digest == NULL)
        return;
    EVP_MD_CTX_free(digest->ctx);
    free(digest);
}
