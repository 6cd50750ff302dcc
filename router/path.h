/*
 * The map of routers and the links between them, and the shortest path from
 * here to each. A link counts only if both of its ends report it, so no router
 * can claim a neighbour that doesn't claim it. docs/protocol.md, "Routing".
 * Pure.
 */
#ifndef ROUTER_PATH_H
#define ROUTER_PATH_H

#include "proto/base/id.h"
#include "proto/wire/limits.h"
#include <weft/err.h>

#define PATH_ROUTERS_MAX 4096u
#define PATH_NEIGHBOURS_MAX WF_NEIGHBOURS_MAX

struct paths;

struct paths *paths_new(const wf_id *self); /* NULL without memory */
void paths_free(struct paths *paths);

/*
 * What `router` (self included) reports. Learned only if sequence is above the
 * one known; *changed says so. The ids are copied; ids that repeat or name the
 * reporter are dropped. WEFT_ELIMIT, WEFT_ENOMEM.
 */
weft_err paths_set(struct paths *paths, const wf_id *router, uint64_t sequence,
                   const wf_id *neighbours, size_t count, bool *changed);
/* The newest sequence that `router` reported; 0: nothing known of it. */
uint64_t paths_sequence(const struct paths *paths, const wf_id *router);
void paths_remove(struct paths *paths, const wf_id *router);

/* Links to cross from here to `to`; 0: it is here; UINT32_MAX: no path within WF_PATH_MAX links. */
uint32_t paths_distance(struct paths *paths, const wf_id *to);
/* The routers to cross, the next first and `to` last; their count, 0 without a path. */
size_t paths_find(struct paths *paths, const wf_id *to, wf_id out[WF_PATH_MAX]);

#endif
