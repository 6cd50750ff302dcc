/* Who may dial: the dialer's grant alone decides, nobody is asked. Pure but for trust. */
#ifndef ROUTER_ADMISSION_H
#define ROUTER_ADMISSION_H

#include "pki/trust.h"

/*
 * The dial grant inside a SETUP against the identity whose link it came over.
 * The error and why are for our log: the dialer gets admission_answer.
 */
weft_err admission_check(pki_trust *trust, const Weft__Wire__Setup *setup,
                         const struct pki_subject *dialer, uint64_t now, struct pki_grant *grant,
                         wf_why *why);
/*
 * The same at the last router of a path: the dialer is the chain inside the
 * SETUP, as the first router sent it. *dialer is filled.
 */
weft_err admission_check_far(pki_trust *trust, const Weft__Wire__Setup *setup, uint64_t now,
                             struct pki_subject *dialer, struct pki_grant *grant, wf_why *why);
/*
 * What a peer is told: unknown and forbidden look the same. An own credential
 * that has expired may be called so.
 */
weft_err admission_answer(weft_err err);
const char *admission_sentence(weft_err answer);

#endif
