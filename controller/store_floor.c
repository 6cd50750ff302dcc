/* Issued grants, revocation floors and the signed records that carry them, in the store. */
#include "controller/store_sql.h"
#include <sqlite3.h>
#include <string.h>

/* ---- issued grants */

weft_err store_issued_put(store *s, const struct store_issued *issued)
{
    struct sqlite3_stmt *st =
        store_sql(s, "INSERT INTO issued (identity, service, role, terms, rule, expiry)"
                     " VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
                     " ON CONFLICT (identity, service, role, terms)"
                     " DO UPDATE SET expiry = max(expiry, excluded.expiry), rule = excluded.rule");

    store_bind_id(st, 1, &issued->identity);
    store_bind_id(st, 2, &issued->service);
    store_bind_u64(st, 3, issued->role);
    store_bind_blob(st, 4, issued->terms, sizeof issued->terms);
    store_bind_id(st, 5, &issued->rule);
    store_bind_u64(st, 6, issued->expiry);
    return store_run(s, st, NULL);
}

weft_err store_issued_remove(store *s, const struct store_issued *issued)
{
    struct sqlite3_stmt *st =
        store_sql(s, "DELETE FROM issued WHERE identity = ?1 AND service = ?2 AND role = ?3");

    store_bind_id(st, 1, &issued->identity);
    store_bind_id(st, 2, &issued->service);
    store_bind_u64(st, 3, issued->role);
    return store_run(s, st, NULL);
}

weft_err store_issued_forget(store *s, const wf_id *identity)
{
    struct sqlite3_stmt *st = store_sql(s, "DELETE FROM issued WHERE identity = ?1");

    store_bind_id(st, 1, identity);
    return store_run(s, st, NULL);
}

#define ISSUED_COLUMNS "SELECT identity, service, role, terms, rule, expiry FROM issued "
#define ISSUED_ORDER " AND expiry > ?2 ORDER BY identity, service, role"

weft_err store_issued_each(store *s, const wf_id *identity, const wf_id *service, const wf_id *rule,
                           uint64_t now, store_issued_fn row, void *arg)
{
    static const char of_identity[] = ISSUED_COLUMNS "WHERE identity = ?1" ISSUED_ORDER;
    static const char of_service[] = ISSUED_COLUMNS "WHERE service = ?1" ISSUED_ORDER;
    static const char of_rule[] = ISSUED_COLUMNS "WHERE rule = ?1" ISSUED_ORDER;
    static const char of_all[] = ISSUED_COLUMNS "WHERE ?1 IS NULL" ISSUED_ORDER;
    const wf_id *key = identity != NULL ? identity : service != NULL ? service : rule;
    struct sqlite3_stmt *st = store_sql(s, identity != NULL  ? of_identity
                                           : service != NULL ? of_service
                                           : rule != NULL    ? of_rule
                                                             : of_all);
    struct store_issued issued;
    weft_err err;

    store_bind_id(st, 1, key);
    store_bind_u64(st, 2, now);
    while ((err = store_step(s, st)) == WEFT_OK) {
        issued.role = (enum policy_type)store_u64(st, 2);
        issued.expiry = store_u64(st, 5);
        if (store_get_id(st, 0, &issued.identity) && store_get_id(st, 1, &issued.service) &&
            store_get_bytes(st, 3, issued.terms, sizeof issued.terms) &&
            store_get_id(st, 4, &issued.rule))
            err = row(arg, &issued);
        else
            err = store_bad(s, "issued grant");
        if (err != WEFT_OK)
            break;
    }
    return store_done(st, err == WEFT_ENOTFOUND || err == WEFT_EEOF ? WEFT_OK : err);
}

weft_err store_issued_sweep(store *s, uint64_t now)
{
    struct sqlite3_stmt *st = store_sql(s, "DELETE FROM issued WHERE expiry <= ?1");

    store_bind_u64(st, 1, now);
    return store_run(s, st, NULL);
}

weft_err store_issued_end(store *s, const wf_id *identity, uint64_t *out)
{
    struct sqlite3_stmt *st =
        store_sql(s, "SELECT coalesce(max(expiry), 0) FROM issued WHERE identity = ?1");

    store_bind_id(st, 1, identity);
    return store_number(s, st, out);
}

/* ---- floors */

#define THING_MAX (1 + 2 * WF_ID_LEN + 1)

/* What a floor is about, as one key: kind and what tells things of this kind apart. */
static size_t thing_of(const struct store_floor *f, uint8_t out[1 + 2 * WF_ID_LEN + 1])
{
    out[0] = (uint8_t)f->kind;
    switch (f->kind) {
    case STORE_FLOOR_GRANT:
        memcpy(out + 1, f->identity.b, WF_ID_LEN);
        memcpy(out + 1 + WF_ID_LEN, f->service.b, WF_ID_LEN);
        out[1 + 2 * WF_ID_LEN] = (uint8_t)f->role;
        return THING_MAX;
    case STORE_FLOOR_KEY:
        memcpy(out + 1, f->key.b, sizeof f->key.b);
        return 1 + sizeof f->key.b;
    case STORE_FLOOR_ROUTER:
        memcpy(out + 1, f->router.b, WF_ID_LEN);
        return 1 + WF_ID_LEN;
    case STORE_FLOOR_IDENTITY:
        break;
    }
    memcpy(out + 1, f->identity.b, WF_ID_LEN);
    return 1 + WF_ID_LEN;
}

static bool thing_read(wf_span thing, struct store_floor *f)
{
    static const size_t lengths[] = {THING_MAX, 1 + WF_ID_LEN, 1 + sizeof(pki_pin), 1 + WF_ID_LEN};
    const uint8_t *at = thing.data;

    if (thing.len == 0 || at[0] > STORE_FLOOR_ROUTER || thing.len != lengths[at[0]])
        return false;
    memset(f, 0, sizeof *f);
    f->kind = (enum store_floor_kind)at[0];
    switch (f->kind) {
    case STORE_FLOOR_GRANT:
        memcpy(f->identity.b, at + 1, WF_ID_LEN);
        memcpy(f->service.b, at + 1 + WF_ID_LEN, WF_ID_LEN);
        f->role = (enum policy_type)at[1 + 2 * WF_ID_LEN];
        break;
    case STORE_FLOOR_IDENTITY:
        memcpy(f->identity.b, at + 1, WF_ID_LEN);
        break;
    case STORE_FLOOR_KEY:
        memcpy(f->key.b, at + 1, sizeof f->key.b);
        break;
    case STORE_FLOOR_ROUTER:
        memcpy(f->router.b, at + 1, WF_ID_LEN);
        break;
    }
    return true;
}

weft_err store_floor_put(store *s, const struct store_floor *floor)
{
    struct sqlite3_stmt *st =
        store_sql(s, "INSERT INTO floor (thing, epoch, cut, expires) VALUES (?1, ?2, ?3, ?4)"
                     " ON CONFLICT (thing) DO UPDATE SET epoch = max(epoch, excluded.epoch),"
                     " cut = excluded.cut, expires = max(expires, excluded.expires)");
    uint8_t thing[THING_MAX];

    store_bind_blob(st, 1, thing, thing_of(floor, thing));
    store_bind_u64(st, 2, floor->epoch);
    store_bind_u64(st, 3, floor->cut);
    store_bind_u64(st, 4, floor->expires);
    return store_run(s, st, NULL);
}

weft_err store_floor_get(store *s, struct store_floor *io)
{
    struct sqlite3_stmt *st =
        store_sql(s, "SELECT epoch, cut, expires FROM floor WHERE thing = ?1");
    uint8_t thing[THING_MAX];
    weft_err err;

    store_bind_blob(st, 1, thing, thing_of(io, thing));
    err = store_step(s, st);
    if (err == WEFT_OK) {
        io->epoch = store_u64(st, 0);
        io->cut = store_u64(st, 1) != 0;
        io->expires = store_u64(st, 2);
    }
    return store_done(st, err);
}

weft_err store_floor_each(store *s, uint64_t now, store_floor_fn row, void *arg)
{
    struct sqlite3_stmt *st = store_sql(
        s, "SELECT thing, epoch, cut, expires FROM floor WHERE expires > ?1 ORDER BY epoch, thing");
    struct store_floor floor;
    weft_err err;

    store_bind_u64(st, 1, now);
    while ((err = store_step(s, st)) == WEFT_OK) {
        if (thing_read(store_get_blob(st, 0), &floor)) {
            floor.epoch = store_u64(st, 1);
            floor.cut = store_u64(st, 2) != 0;
            floor.expires = store_u64(st, 3);
            err = row(arg, &floor);
        } else {
            err = store_bad(s, "floor");
        }
        if (err != WEFT_OK)
            break;
    }
    return store_done(st, err == WEFT_ENOTFOUND || err == WEFT_EEOF ? WEFT_OK : err);
}

weft_err store_floor_count(store *s, uint64_t *out)
{
    return store_number(s, store_sql(s, "SELECT count(*) FROM floor"), out);
}

weft_err store_floor_sweep(store *s, uint64_t now)
{
    struct sqlite3_stmt *st = store_sql(s, "DELETE FROM floor WHERE expires <= ?1");

    store_bind_u64(st, 1, now);
    return store_run(s, st, NULL);
}

/* ---- records */

weft_err store_record_add(store *s, const struct store_record *record, wf_span encoded)
{
    struct sqlite3_stmt *st = store_sql(s, "INSERT INTO floor_record (version, digest, snapshot,"
                                           " signed) VALUES (?1, ?2, ?3, ?4)");

    store_bind_u64(st, 1, record->version);
    store_bind_blob(st, 2, record->digest, sizeof record->digest);
    store_bind_u64(st, 3, record->snapshot);
    store_bind_blob(st, 4, encoded.data, encoded.len);
    return store_run(s, st, NULL);
}

weft_err store_record_head(store *s, struct store_record *out)
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT version, digest, snapshot FROM floor_record"
                                           " ORDER BY version DESC LIMIT 1");
    weft_err err = store_step(s, st);

    if (err == WEFT_OK) {
        out->version = store_u64(st, 0);
        out->snapshot = store_u64(st, 2) != 0;
        if (!store_get_bytes(st, 1, out->digest, sizeof out->digest))
            err = store_bad(s, "record of floors");
    }
    return store_done(st, err);
}

weft_err store_record_base(store *s, uint64_t *out)
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT version FROM floor_record WHERE snapshot = 1"
                                           " ORDER BY version DESC LIMIT 1");
    weft_err err = store_step(s, st);

    if (err == WEFT_OK)
        *out = store_u64(st, 0);
    return store_done(st, err);
}

weft_err store_record_digest(store *s, uint64_t version, uint8_t out[32])
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT digest FROM floor_record WHERE version = ?1");
    weft_err err;

    store_bind_u64(st, 1, version);
    err = store_step(s, st);
    if (err == WEFT_OK && !store_get_bytes(st, 0, out, 32))
        err = store_bad(s, "record of floors");
    return store_done(st, err);
}

weft_err store_record_each(store *s, uint64_t first, store_record_fn row, void *arg)
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT version, signed FROM floor_record"
                                           " WHERE version >= ?1 ORDER BY version");
    weft_err err;

    store_bind_u64(st, 1, first);
    while ((err = store_step(s, st)) == WEFT_OK) {
        err = row(arg, store_u64(st, 0), store_get_blob(st, 1));
        if (err != WEFT_OK)
            break;
    }
    return store_done(st, err == WEFT_ENOTFOUND || err == WEFT_EEOF ? WEFT_OK : err);
}

weft_err store_record_drop(store *s, uint64_t below)
{
    struct sqlite3_stmt *st = store_sql(s, "DELETE FROM floor_record WHERE version < ?1");

    store_bind_u64(st, 1, below);
    return store_run(s, st, NULL);
}
