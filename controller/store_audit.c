#include "controller/store_sql.h"
#include <string.h>

weft_err store_audit_add(store *s, uint64_t seq, wf_span event, const uint8_t leaf[32])
{
    struct sqlite3_stmt *st =
        store_sql(s, "INSERT INTO audit (seq, event, leaf) VALUES (?1, ?2, ?3)");

    store_bind_u64(st, 1, seq);
    store_bind_blob(st, 2, event.data, event.len);
    store_bind_blob(st, 3, leaf, 32);
    return store_run(s, st, NULL);
}

weft_err store_audit_size(store *s, uint64_t *out)
{
    return store_number(s, store_sql(s, "SELECT COALESCE(MAX(seq), 0) FROM audit"), out);
}

weft_err store_audit_each(store *s, uint64_t first, store_audit_fn row, void *arg)
{
    struct sqlite3_stmt *st =
        store_sql(s, "SELECT seq, event, leaf FROM audit WHERE seq >= ?1 ORDER BY seq");
    weft_err err;

    store_bind_u64(st, 1, first);
    while ((err = store_step(s, st)) == WEFT_OK) {
        uint8_t leaf[32];

        if (!store_get_bytes(st, 2, leaf, sizeof leaf))
            return store_done(st, store_bad(s, "hash of an entry"));
        err = row(arg, store_u64(st, 0), store_get_blob(st, 1), leaf);
        if (err != WEFT_OK)
            break;
    }
    return store_done(st, err == WEFT_ENOTFOUND || err == WEFT_EEOF ? WEFT_OK : err);
}

static weft_err one_hash(store *s, struct sqlite3_stmt *st, uint8_t out[32])
{
    weft_err err = store_step(s, st);

    if (err == WEFT_OK && !store_get_bytes(st, 0, out, 32))
        err = store_bad(s, "hash of the log");
    return store_done(st, err);
}

weft_err store_audit_leaf(store *s, uint64_t seq, uint8_t out[32])
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT leaf FROM audit WHERE seq = ?1");

    store_bind_u64(st, 1, seq);
    return one_hash(s, st, out);
}

weft_err store_audit_node_put(store *s, unsigned level, uint64_t position, const uint8_t hash[32])
{
    struct sqlite3_stmt *st =
        store_sql(s, "INSERT INTO audit_node (level, position, hash) VALUES (?1, ?2, ?3)");

    store_bind_u64(st, 1, level);
    store_bind_u64(st, 2, position);
    store_bind_blob(st, 3, hash, 32);
    return store_run(s, st, NULL);
}

weft_err store_audit_node_get(store *s, unsigned level, uint64_t position, uint8_t out[32])
{
    struct sqlite3_stmt *st =
        store_sql(s, "SELECT hash FROM audit_node WHERE level = ?1 AND position = ?2");

    store_bind_u64(st, 1, level);
    store_bind_u64(st, 2, position);
    return one_hash(s, st, out);
}

weft_err store_checkpoint_put(store *s, uint64_t size, wf_span encoded)
{
    struct sqlite3_stmt *st =
        store_sql(s, "INSERT INTO checkpoint (size, signed) VALUES (?1, ?2)"
                     " ON CONFLICT (size) DO UPDATE SET signed = excluded.signed");

    store_bind_u64(st, 1, size);
    store_bind_blob(st, 2, encoded.data, encoded.len);
    return store_run(s, st, NULL);
}

weft_err store_checkpoint_each(store *s, uint64_t first, store_checkpoint_fn row, void *arg)
{
    struct sqlite3_stmt *st =
        store_sql(s, "SELECT size, signed FROM checkpoint WHERE size >= ?1 ORDER BY size");
    weft_err err;

    store_bind_u64(st, 1, first);
    while ((err = store_step(s, st)) == WEFT_OK) {
        err = row(arg, store_u64(st, 0), store_get_blob(st, 1));
        if (err != WEFT_OK)
            break;
    }
    return store_done(st, err == WEFT_ENOTFOUND || err == WEFT_EEOF ? WEFT_OK : err);
}

weft_err store_checkpoint_last(store *s, uint64_t *size, wf_buf *encoded)
{
    struct sqlite3_stmt *st =
        store_sql(s, "SELECT size, signed FROM checkpoint ORDER BY size DESC LIMIT 1");
    weft_err err = store_step(s, st);

    if (err == WEFT_OK) {
        wf_span record = store_get_blob(st, 1);

        *size = store_u64(st, 0);
        err = wf_buf_put(encoded, record.data, record.len);
    }
    return store_done(st, err);
}
