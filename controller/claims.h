/*
 * Conditions on the claims of an issuer's token, as an administrator wrote
 * them: "repository == acme/shop", "ref != refs/heads/wip", "ref ~ refs/tags/v*".
 * A claim that is absent or no text holds none of them.
 */
#ifndef CONTROLLER_CLAIMS_H
#define CONTROLLER_CLAIMS_H

#include "controller/store.h"
#include "pki/jwt.h"

/* "CLAIM OP VALUE": OP is ==, != or ~ (in the value, * is any run of characters). WEFT_EINVAL. */
weft_err claims_check(const char *condition, wf_why *why);
/* Whether a claim of this text holds the condition; NULL: absent. What is no condition never holds.
 */
bool claims_fit(const char *condition, const char *text);
/*
 * Whether each condition of the issuer holds. WEFT_EREFUSED: why names the
 * claim of the first that doesn't, and logged the condition, which anybody
 * with a token of that issuer would learn otherwise.
 */
weft_err claims_hold(const struct store_issuer *issuer, const pki_jwt *jwt, wf_why *why,
                     wf_why *logged);

#endif
