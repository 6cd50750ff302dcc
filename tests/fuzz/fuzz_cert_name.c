/*
 * Names and certificates. The first byte chooses: 0, a SPIFFE id; 1, one
 * certificate in DER; else a chain in PEM. What is read must be written the same.
 */
#include "pki/cert.h"
#include "pki/internal.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void name(const char *text, size_t len)
{
    char domain[PKI_DOMAIN_MAX + 1], back[PKI_SPIFFE_MAX];
    enum pki_kind kind;
    wf_id id;
    if (pki_spiffe_parse(text, len, domain, &kind, &id) != WEFT_OK)
        return;
    pki_spiffe_text(domain, kind, &id, back);
    if (strlen(back) != len || memcmp(back, text, len) != 0)
        abort();
}

static void look_into(const pki_chain *chain)
{
    struct pki_subject who;
    wf_why why;
    wf_buf pem;
    pki_chain *again;
    for (size_t i = 0; i < pki_chain_count(chain); i++) {
        if (pki_x509_subject(pki_chain_x509(chain, i), &who, &why) != WEFT_OK)
            continue;
        if (wf_name_check(who.name, strlen(who.name), "name", NULL) != WEFT_OK ||
            pki_domain_check(who.domain, strlen(who.domain), NULL) != WEFT_OK)
            abort();
    }
    wf_buf_init(&pem, 4 * WF_CHAIN_MAX);
    if (pki_chain_put_pem(chain, &pem) != WEFT_OK ||
        pki_chain_from_pem(wf_span_of(pem.data, pem.len), &again, NULL) != WEFT_OK)
        abort();
    for (size_t i = 0; i < pki_chain_count(chain); i++)
        if (!wf_span_equal(pki_chain_der(chain, i), pki_chain_der(again, i)))
            abort();
    pki_chain_free(again);
    wf_buf_fini(&pem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pki_chain *chain = NULL;
    wf_why why;
    if (size == 0)
        return 0;
    wf_span rest = wf_span_of(data + 1, size - 1);
    if (data[0] == 0) {
        name((const char *)rest.data, rest.len);
        return 0;
    }
    weft_err err = data[0] == 1 ? pki_chain_from_der(&rest, 1, &chain, &why)
                                : pki_chain_from_pem(rest, &chain, &why);
    if (err == WEFT_OK)
        look_into(chain);
    pki_chain_free(chain);
    return 0;
}
