/* A home's lock, and sealed bytes. A lock that is read must be written as it was. */
#include "pki/vault.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static pki_vault *vault;
    struct pki_lock lock;
    wf_buf out;
    wf_why why;

    if (vault == NULL && pki_vault_new(&vault, &why) != WEFT_OK)
        abort();
    wf_buf_init(&out, 1 << 20);
    if (pki_vault_open(vault, wf_span_of("x", 1), wf_span_of(data, size), &out, &why) == WEFT_OK)
        abort(); /* nobody knows this vault's key */
    if (pki_lock_parse(wf_span_of(data, size), &lock, &why) == WEFT_OK &&
        (pki_lock_put(&lock, &out) != WEFT_OK || out.len != size ||
         memcmp(out.data, data, size) != 0))
        abort();
    wf_buf_fini(&out);
    return 0;
}
