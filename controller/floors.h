/*
 * Raising floors: how permission is withdrawn everywhere.
 * docs/operations.md, "What withdraws permission".
 *
 * Floors are stored with the records that carry them: a chain of signed
 * records, each naming its predecessor, that starts with a snapshot. What a
 * node lacks are the records behind its own version, or the whole chain.
 * When the chain is long, a snapshot becomes its new start.
 *
 * The table of issued grants makes "exactly when permission is withdrawn"
 * computable: its rows were all allowed when they were written, and a row goes
 * when its floor is raised. So whatever policy forbids now has been withdrawn.
 */
#ifndef CONTROLLER_FLOORS_H
#define CONTROLLER_FLOORS_H

#include "controller/catalog.h"
#include "controller/home.h"
#include "controller/turn.h"

#define FLOORS_CHAIN_MAX 256u /* deltas behind a snapshot before a new one is made */

/* The first record of a new fabric: an empty snapshot. */
weft_err floors_begin(const struct home *home);

/*
 * Stores these floors, signs the records and notes them as effects of the
 * turn. An epoch of 0 is filled with a fresh one; another is kept (`enable`).
 */
weft_err floors_raise(const struct home *home, struct turn *turn, struct store_floor *floors,
                      size_t count, uint64_t now);

/*
 * Raises floors for the issued grants of this identity and service (NULL: of
 * all) that policy doesn't allow any more. *withdrawn: how many.
 */
weft_err floors_withdraw(const struct home *home, struct catalog *catalog, struct turn *turn,
                         const wf_id *identity, const wf_id *service, uint64_t now,
                         size_t *withdrawn);
/* The same for all issued grants of a service that is about to be deleted. */
weft_err floors_withdraw_service(const struct home *home, struct turn *turn, const wf_id *service,
                                 uint64_t now, size_t *withdrawn);

/*
 * Starts the chain anew with a snapshot of everything, its version above `above`. What one record
 * can't hold follows in deltas at once.
 */
weft_err floors_snapshot(const struct home *home, struct turn *turn, uint64_t above, uint64_t now);

/* Where a node that holds `have` must go on: the first version it lacks; 0: it lacks none. */
weft_err floors_first_missing(const struct home *home, uint64_t have, uint64_t *out);
/* The newest version; 0: none. */
weft_err floors_version(const struct home *home, uint64_t *out);

#endif
