#include "router/admission.h"

weft_err admission_check(pki_trust *trust, const Weft__Wire__Setup *setup,
                         const struct pki_subject *dialer, uint64_t now, struct pki_grant *grant,
                         wf_why *why)
{
    wf_id service = wf_pb_get_id(setup->service_id);

    if (setup->grant == NULL)
        return wf_fail(why, WEFT_EREFUSED, "the setup carries no grant");
    return pki_trust_check_grant(trust, setup->grant, dialer, &service, WEFT__WIRE__ROLE__ROLE_DIAL,
                                 now, grant, why);
}

weft_err admission_check_far(pki_trust *trust, const Weft__Wire__Setup *setup, uint64_t now,
                             struct pki_subject *dialer, struct pki_grant *grant, wf_why *why)
{
    wf_span certs[WF_CHAIN_DEPTH];
    pki_chain *chain;
    weft_err err;

    if (setup->n_chain == 0 || setup->n_chain > WF_CHAIN_DEPTH)
        return wf_fail(why, WEFT_EREFUSED, "the setup carries no chain of the dialer");
    for (size_t i = 0; i < setup->n_chain; i++)
        certs[i] = wf_pb_span(setup->chain[i]);
    err = pki_chain_from_der(certs, setup->n_chain, &chain, why);
    if (err != WEFT_OK)
        return err;
    err = pki_trust_check_chain(trust, chain, PKI_IDENTITY, PKI_CLIENT, false, now, dialer, why);
    pki_chain_free(chain);
    if (err != WEFT_OK)
        return err;
    return admission_check(trust, setup, dialer, now, grant, why);
}

weft_err admission_answer(weft_err err)
{
    switch (err) {
    case WEFT_EEXPIRED:
    case WEFT_ENOMEM:
        return err;
    default:
        return WEFT_EREFUSED;
    }
}

const char *admission_sentence(weft_err answer)
{
    return answer == WEFT_EEXPIRED ? "the grant or certificate has expired: refresh it"
                                   : "refused by policy";
}
