/*
 * A store that came from an older backup learns from routers what was
 * withdrawn since. docs/operations.md, "A store from a backup".
 */
#ifndef CONTROLLER_RESTORE_H
#define CONTROLLER_RESTORE_H

#include "controller/home.h"
#include "controller/turn.h"
#include "proto/wire/control.h"

/*
 * Takes floors that our own policy key signed and the store doesn't hold: they
 * are stored, the nodes they cut are disabled, keys they name are dead, and the
 * chain starts anew above all versions seen, for everybody. *learned: how many
 * floors were new records' (0: all known). WEFT_ECREDENTIAL: not signed by us.
 */
weft_err restore_learn(const struct home *home, struct turn *turn, Weft__Wire__Signed *const *sets,
                       size_t count, uint64_t now, size_t *learned, wf_why *why);

#endif
