/* What each node was last seen with: how far it has followed rotations. */
#include "controller/store_sql.h"
#include <string.h>

weft_err store_follow_get(store *s, const wf_id *node, struct store_follow *out)
{
    struct sqlite3_stmt *st =
        store_sql(s, "SELECT life, seen, bundle, issuer, policy FROM follow WHERE node = ?1");
    weft_err err;

    *out = (struct store_follow){.node = *node};
    store_bind_id(st, 1, node);
    err = store_step(s, st);
    if (err == WEFT_OK) {
        out->life = store_u64(st, 0);
        out->seen = store_u64(st, 1);
        out->bundle = store_u64(st, 2);
        if (!store_get_bytes(st, 3, out->issuer.b, sizeof out->issuer.b) ||
            !store_get_bytes(st, 4, out->policy.b, sizeof out->policy.b))
            err = store_bad(s, "follow");
    }
    return store_done(st, err == WEFT_ENOTFOUND ? WEFT_OK : err);
}

weft_err store_follow_put(store *s, const struct store_follow *row)
{
    struct sqlite3_stmt *st =
        store_sql(s, "INSERT OR REPLACE INTO follow (node, life, seen, bundle, issuer, policy)"
                     " VALUES (?1, ?2, ?3, ?4, ?5, ?6)");

    store_bind_id(st, 1, &row->node);
    store_bind_u64(st, 2, row->life);
    store_bind_u64(st, 3, row->seen);
    store_bind_u64(st, 4, row->bundle);
    store_bind_blob(st, 5, row->issuer.b, sizeof row->issuer.b);
    store_bind_blob(st, 6, row->policy.b, sizeof row->policy.b);
    return store_run(s, st, NULL);
}
