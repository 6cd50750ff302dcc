/* What op_ca.c and the ways to enroll share of authorities and issuers. */
#ifndef CONTROLLER_CA_H
#define CONTROLLER_CA_H

#include "controller/operation.h"

#define JOIN_TOKEN_LIFE_S (365u * 86400u)
#define JOIN_TOKEN_LIFE_MAX_S (3650u * 86400u)

/* The authority of this name, which must have been verified. */
weft_err ca_find_verified(struct call *call, const char *name, struct store_ca *out);
/* A join token into the call's answer, as `token` beside `object`'s fields (taken). */
weft_err ca_answer_token(struct call *call, enum pki_enroll_method method, const wf_id *id,
                         const char *name, uint64_t life_s, struct json_t *object);

#endif
