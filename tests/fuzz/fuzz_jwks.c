/* Key sets of issuers. What is read has keys, and no key believes a signature of nothing. */
#include "pki/jwks.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const algs[] = {"RS256", "ES256", "EdDSA"};
    static const uint8_t zeros[64];
    pki_jwks *set = NULL;
    wf_why why;
    if (pki_jwks_parse(wf_span_of(data, size), &set, &why) != WEFT_OK)
        return 0;
    if (pki_jwks_count(set) == 0 || pki_jwks_count(set) > PKI_JWKS_KEYS_MAX)
        abort();
    for (size_t i = 0; i < 2; i++)
        (void)pki_jwks_verify(set, wf_span_of(algs[i], 5), wf_span_of("", 0), wf_span_of("x", 1),
                              wf_span_of(zeros, sizeof zeros), &why);
    pki_jwks_free(set);
    return 0;
}
