/* The text of an identity file. What is read must be written so that it reads again. */
#include "pki/identity.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pki_identity identity, again;
    wf_why why;
    (void)setenv("WEFT_PKCS11_MODULE", "/none", 1); /* no token is asked */
    if (pki_identity_parse(wf_span_of(data, size), &identity, &why) != WEFT_OK)
        return 0;
    wf_buf text;
    wf_buf_init(&text, WF_IDENTITY_FILE_MAX);
    if (pki_identity_put_json(&identity, &text) != WEFT_OK ||
        pki_identity_parse(wf_span_of(text.data, text.len), &again, &why) != WEFT_OK)
        abort();
    if (again.grant_count != identity.grant_count || again.kind != identity.kind)
        abort();
    pki_identity_fini(&again);
    wf_buf_wipe(&text);
    pki_identity_fini(&identity);
    return 0;
}
