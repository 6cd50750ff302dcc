/*
 * Who follows a rotation: what nodes hold is learned from their Hellos and
 * calls; what they lack is told to them. docs/operations.md, "Rotation".
 */
#ifndef CONTROLLER_FOLLOW_H
#define CONTROLLER_FOLLOW_H

#include "controller/peer.h"

struct json_t;

#define FOLLOW_SETTLE_MS 2000u /* from the new bundle's push to the first signature by new keys */

/* Its Hello came: what it holds is noted, what it lacks is sent. */
void follow_hello(struct peer *peer, uint64_t bundle_version);
/* Sends the bundles behind `have`, one message each, in order. */
void follow_push_bundles(struct peer *peer, uint64_t have);
/* Has it renew, and ask for grants, if its certificate or grants are an older authority's. */
void follow_tell(struct peer *peer);
/* A certificate, or grants, were issued by what signs now. */
weft_err follow_certified(const struct home *home, enum pki_kind kind, const wf_id *node);
weft_err follow_granted(const struct home *home, const wf_id *identity);
/*
 * If other than the present policy key signed them: signs floors and members anew. Within
 * store_begin; the caller ends the turn.
 */
weft_err follow_resign(struct controller *c, uint64_t now);

/* Those who have not followed, as an object; docs/operations.md, rotation.status. *behind: how
 * many. */
weft_err follow_status(const struct home *home, uint64_t now, struct json_t **out, size_t *behind);

#endif
