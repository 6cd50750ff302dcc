/* The routers' signed member records, as nodes receive them, in memory. */
#ifndef CONTROLLER_MEMBERS_H
#define CONTROLLER_MEMBERS_H

#include "controller/home.h"

struct member {
    wf_id router;
    uint64_t expires;
    wf_buf record; /* owned: encoded Signed */
};

struct members {
    bool loaded;
    struct member *items; /* owned, by name of the router */
    size_t count, cap;
};

/* Loads the records of routers that are not disabled, if need be. */
weft_err members_load(struct members *members, store *s);
void members_forget(struct members *members);
const struct member *members_get(const struct members *members, const wf_id *router);

/* Signs a new record for an enrolled router and stores it. WEFT_ECONFLICT: it has no living key. */
weft_err members_sign(const struct home *home, const struct store_node *router, uint64_t now);
/* Signs again what is past half of its life; *changed says whether anything was. */
weft_err members_refresh(const struct home *home, uint64_t now, bool *changed);

#endif
