/* Enrollment in the store: tokens, keys, and names that certificates still carry. */
#include "controller/store_sql.h"
#include <sqlite3.h>
#include <string.h>

weft_err store_token_add(store *s, const struct store_token *token)
{
    struct sqlite3_stmt *st = store_sql(s, "INSERT INTO token (hash, kind, subject, expires,"
                                           " signer, redeemed) VALUES (?1, ?2, ?3, ?4, ?5, 0)");

    store_bind_blob(st, 1, token->hash, sizeof token->hash);
    store_bind_u64(st, 2, token->kind);
    store_bind_id(st, 3, &token->subject);
    store_bind_u64(st, 4, token->expires);
    store_bind_blob(st, 5, token->signer.b, sizeof token->signer.b);
    return store_run(s, st, NULL);
}

weft_err store_token_get(store *s, const uint8_t hash[32], struct store_token *out)
{
    struct sqlite3_stmt *st =
        store_sql(s, "SELECT kind, subject, expires, redeemed, pin FROM token WHERE hash = ?1");
    weft_err err;

    store_bind_blob(st, 1, hash, 32);
    err = store_step(s, st);
    if (err == WEFT_OK) {
        memset(out, 0, sizeof *out);
        memcpy(out->hash, hash, sizeof out->hash);
        out->kind = (enum pki_kind)store_u64(st, 0);
        out->expires = store_u64(st, 2);
        out->redeemed = store_u64(st, 3);
        if (!store_get_id(st, 1, &out->subject) ||
            (out->redeemed != 0 && !store_get_bytes(st, 4, out->pin.b, sizeof out->pin.b)))
            err = store_bad(s, "token");
    }
    return store_done(st, err);
}

weft_err store_token_redeem(store *s, const uint8_t hash[32], uint64_t now, const pki_pin *pin,
                            wf_span chain_pem)
{
    struct sqlite3_stmt *st = store_sql(s, "UPDATE token SET redeemed = ?2, pin = ?3, chain = ?4"
                                           " WHERE hash = ?1 AND redeemed = 0");
    uint64_t changed = 0;
    weft_err err;

    store_bind_blob(st, 1, hash, 32);
    store_bind_u64(st, 2, now);
    store_bind_blob(st, 3, pin->b, sizeof pin->b);
    store_bind_blob(st, 4, chain_pem.data, chain_pem.len);
    err = store_run(s, st, &changed);
    return err == WEFT_OK && changed == 0 ? WEFT_EUSED : err;
}

weft_err store_token_chain(store *s, const uint8_t hash[32], wf_buf *chain_pem)
{
    struct sqlite3_stmt *st =
        store_sql(s, "SELECT chain FROM token WHERE hash = ?1 AND redeemed > 0");
    weft_err err;

    store_bind_blob(st, 1, hash, 32);
    err = store_step(s, st);
    if (err == WEFT_OK) {
        wf_span chain = store_get_blob(st, 0);

        err = wf_buf_put(chain_pem, chain.data, chain.len);
    }
    return store_done(st, err);
}

weft_err store_token_void(store *s, const wf_id *subject)
{
    struct sqlite3_stmt *st = store_sql(s, "DELETE FROM token WHERE subject = ?1 AND redeemed = 0");

    store_bind_id(st, 1, subject);
    return store_run(s, st, NULL);
}

weft_err store_token_count_others(store *s, const pki_pin *signer, uint64_t now, uint64_t *out)
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT count(*) FROM token WHERE redeemed = 0"
                                           " AND expires > ?1 AND signer <> ?2");
    weft_err err;

    store_bind_u64(st, 1, now);
    store_bind_blob(st, 2, signer->b, sizeof signer->b);
    err = store_step(s, st);
    if (err == WEFT_OK)
        *out = store_u64(st, 0);
    return store_done(st, err);
}

weft_err store_token_sweep(store *s, uint64_t before)
{
    struct sqlite3_stmt *st = store_sql(s, "DELETE FROM token WHERE expires < ?1");

    store_bind_u64(st, 1, before);
    return store_run(s, st, NULL);
}

/* ---- keys */

weft_err store_key_put(store *s, const struct store_key *key)
{
    struct sqlite3_stmt *st =
        store_sql(s, "INSERT INTO key (pin, subject, not_after, dead) VALUES (?1, ?2, ?3, ?4)"
                     " ON CONFLICT (pin) DO UPDATE SET subject = excluded.subject,"
                     " not_after = excluded.not_after, dead = excluded.dead");

    store_bind_blob(st, 1, key->pin.b, sizeof key->pin.b);
    store_bind_id(st, 2, &key->subject);
    store_bind_u64(st, 3, key->not_after);
    store_bind_u64(st, 4, key->dead);
    return store_run(s, st, NULL);
}

static bool read_key(struct sqlite3_stmt *st, struct store_key *out)
{
    out->not_after = store_u64(st, 2);
    out->dead = store_u64(st, 3) != 0;
    return store_get_bytes(st, 0, out->pin.b, sizeof out->pin.b) &&
           store_get_id(st, 1, &out->subject);
}

weft_err store_key_get(store *s, const pki_pin *pin, struct store_key *out)
{
    struct sqlite3_stmt *st =
        store_sql(s, "SELECT pin, subject, not_after, dead FROM key WHERE pin = ?1");
    weft_err err;

    store_bind_blob(st, 1, pin->b, sizeof pin->b);
    err = store_step(s, st);
    if (err == WEFT_OK && !read_key(st, out))
        err = store_bad(s, "key");
    return store_done(st, err);
}

weft_err store_key_each(store *s, const wf_id *subject, uint64_t now, store_key_fn row, void *arg)
{
    struct sqlite3_stmt *st =
        store_sql(s, "SELECT pin, subject, not_after, dead FROM key"
                     " WHERE subject = ?1 AND dead = 0 AND not_after > ?2 ORDER BY pin");
    struct store_key key;
    weft_err err;

    store_bind_id(st, 1, subject);
    store_bind_u64(st, 2, now);
    while ((err = store_step(s, st)) == WEFT_OK) {
        err = read_key(st, &key) ? row(arg, &key) : store_bad(s, "key");
        if (err != WEFT_OK)
            break;
    }
    return store_done(st, err == WEFT_ENOTFOUND || err == WEFT_EEOF ? WEFT_OK : err);
}

/* ---- names */

weft_err store_name_retire(store *s, enum pki_kind kind, const char *name, uint64_t until)
{
    struct sqlite3_stmt *st =
        store_sql(s, "INSERT INTO retired_name (kind, name, until) VALUES (?1, ?2, ?3)"
                     " ON CONFLICT (kind, name) DO UPDATE SET until = max(until, excluded.until)");

    store_bind_u64(st, 1, kind);
    store_bind_text(st, 2, name);
    store_bind_u64(st, 3, until);
    return store_run(s, st, NULL);
}

weft_err store_name_is_retired(store *s, enum pki_kind kind, const char *name, uint64_t now,
                               uint64_t *until, bool *out)
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT until FROM retired_name"
                                           " WHERE kind = ?1 AND name = ?2 AND until > ?3");
    weft_err err;

    store_bind_u64(st, 1, kind);
    store_bind_text(st, 2, name);
    store_bind_u64(st, 3, now);
    err = store_step(s, st);
    if (err == WEFT_OK || err == WEFT_ENOTFOUND) {
        *out = err == WEFT_OK;
        *until = *out ? store_u64(st, 0) : 0;
        err = WEFT_OK;
    }
    return store_done(st, err);
}
