/*
 * Fetches the key sets of issuers from the addresses that administrators
 * configured, and from nowhere else. HTTPS only, no redirect, no proxy,
 * bounded in size and time, on libuv's pool: the loop never waits.
 */
#ifndef CONTROLLER_JWKS_H
#define CONTROLLER_JWKS_H

#include "controller/controller.h"

struct uv_loop_s;
struct jwks;

#define JWKS_AGAIN_MS 60000u                /* between two tries for one issuer */
#define JWKS_FRESH_MS (3600u * 1000u)       /* older keys are fetched anew, and used meanwhile */
#define JWKS_STALE_MS (24u * 3600u * 1000u) /* older keys are used no more */

/* c and loop outlive it. WEFT_ENOMEM. */
weft_err jwks_open(struct uv_loop_s *loop, struct controller *c, struct jwks **out);
/* What runs is given up; the loop runs until it has ended. NULL is fine. */
void jwks_close(struct jwks *jwks);
/*
 * Starts a fetch unless one runs or was tried a minute ago. WEFT_EBUSY: one
 * runs, ask again in a moment; WEFT_EUNREACHABLE: it was tried and failed, or
 * nothing can be fetched here; WEFT_ENOTFOUND: it was fetched a moment ago.
 */
weft_err jwks_want(struct jwks *jwks, const struct store_issuer *issuer, uint64_t now);
/* Frees what jwks_close left, once the loop has ended. */
void jwks_free(struct jwks *jwks);

#endif
