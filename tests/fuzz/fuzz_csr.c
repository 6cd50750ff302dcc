/* Certificate requests. What is taken out of one is a key of the three kinds. */
#include "pki/cert.h"
#include "pki/internal.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum pki_key_kind kind;
    wf_buf spki;
    wf_why why;
    wf_buf_init(&spki, 256);
    if (pki_csr_open(wf_span_of(data, size), &spki, &why) == WEFT_OK &&
        !pki_spki_kind(wf_span_of(spki.data, spki.len), &kind))
        abort();
    wf_buf_fini(&spki);
    return 0;
}
