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
 * when its floor is raised. So whatever policy forbids now has been withdrawn. Each
 * row names a policy that it stands by: a change of that policy, of the row's
 * identity or of its service is all that can make it fall.
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

#define WITHDRAWN_ITEMS_MAX 100u

struct withdrawn_item {
    char identity[WF_NAME_MAX + 1], service[WF_NAME_MAX + 1];
    enum policy_type type;
};
/* What a call withdraws: how much, and the first of them by name where items has room for them. */
struct withdrawn {
    size_t count;
    struct withdrawn_item *items; /* owned by the caller, WITHDRAWN_ITEMS_MAX; NULL: only counted */
};

/* Whose issued grants a change can concern: one of the three, the others NULL. */
struct floors_scope {
    const wf_id *identity, *service;
    const wf_id *rule; /* those that stand by this policy */
};

/*
 * Raises floors for the issued grants in scope that don't stand any more: no
 * policy fits by roles that asks for what they were issued under, or for nothing.
 */
weft_err floors_withdraw(const struct home *home, struct catalog *catalog, struct turn *turn,
                         struct floors_scope scope, uint64_t now, struct withdrawn *withdrawn);
/* The same for all issued grants of a service that is about to be deleted. */
weft_err floors_withdraw_service(const struct home *home, struct catalog *catalog,
                                 struct turn *turn, const wf_id *service, uint64_t now,
                                 struct withdrawn *withdrawn);
/* Notes the live grants of an identity that its own floor is about to withdraw; changes nothing. */
weft_err floors_note_identity(const struct home *home, struct catalog *catalog,
                              const wf_id *identity, uint64_t now, struct withdrawn *withdrawn);

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
