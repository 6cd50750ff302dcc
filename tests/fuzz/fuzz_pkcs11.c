/* The name of a key in a token. What is read must read again, to the same. */
#include "pki/pkcs11.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pki_pkcs11 uri, again;
    wf_why why;
    char *text = malloc(size + 1);

    if (text == NULL)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (pki_pkcs11_parse(text, &uri, &why) == WEFT_OK) {
        if (pki_pkcs11_parse(uri.name, &again, &why) != WEFT_OK ||
            strcmp(uri.name, again.name) != 0 || strcmp(uri.object, again.object) != 0)
            abort();
    }
    free(text);
    return 0;
}
