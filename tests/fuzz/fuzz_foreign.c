/* Certificates of other authorities: as an authority, as a leaf, and as both at once. */
#include "pki/foreign.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const wf_span all = wf_span_of(data, size);
    struct pki_foreign_leaf leaf;
    struct pki_foreign_ca ca;
    wf_span chain[2];
    wf_why why;
    wf_buf der;
    wf_buf_init(&der, WF_CERT_MAX);
    (void)pki_foreign_ca_from_pem(all, 1800000000000ull, &der, &why);
    (void)pki_foreign_ca_read(all, 1800000000000ull, &ca, &why);
    wf_buf_fini(&der);
    if (size < 4)
        return 0;
    /* Two certificates behind the first one's length. */
    size_t cut = ((size_t)data[0] << 8 | data[1]) % (size - 2);
    chain[0] = wf_span_of(data + 2, cut);
    chain[1] = wf_span_of(data + 2 + cut, size - 2 - cut);
    if (pki_foreign_check(chain[1], chain, 1, 1800000000000ull, &leaf, &why) == WEFT_OK &&
        (memchr(leaf.cn, '\0', sizeof leaf.cn) == NULL || leaf.not_after < 1800000000000ull))
        abort();
    return 0;
}
