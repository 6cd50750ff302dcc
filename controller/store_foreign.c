/* Who else may vouch for an enrollee: authorities, issuers, and whom they vouched for. */
#include "controller/store_sql.h"
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define ROLES_TEXT (POLICY_ROLES_MAX * (WF_NAME_MAX + 1))

/* Names hold no space: "a b c". */
static void join_roles(const struct store_roles *roles, char out[ROLES_TEXT])
{
    size_t len = 0;

    out[0] = '\0';
    for (size_t i = 0; i < roles->count; i++)
        len += (size_t)snprintf(out + len, ROLES_TEXT - len, "%s%s", i > 0 ? " " : "",
                                roles->names[i]);
}

static weft_err remove_row(store *s, struct sqlite3_stmt *st, const wf_id *id)
{
    uint64_t changed = 0;
    weft_err err;

    store_bind_id(st, 1, id);
    err = store_run(s, st, &changed);
    return err == WEFT_OK && changed == 0 ? WEFT_ENOTFOUND : err;
}

/* ---- authorities */

#define CA_COLUMNS "id, name, nonce, verified, automatic, template, roles, created FROM foreign_ca "

static weft_err read_ca(store *s, struct sqlite3_stmt *st, struct store_ca *out)
{
    char roles[ROLES_TEXT];

    memset(out, 0, sizeof *out);
    out->verified = store_u64(st, 3) != 0;
    out->automatic = store_u64(st, 4) != 0;
    out->created = store_u64(st, 7);
    return store_get_id(st, 0, &out->id) && store_get_text(st, 1, out->name, sizeof out->name) &&
                   store_get_bytes(st, 2, out->nonce, sizeof out->nonce) &&
                   store_get_text(st, 5, out->template, sizeof out->template) &&
                   store_get_text(st, 6, roles, sizeof roles) &&
                   store_roles_split(roles, &out->roles)
               ? WEFT_OK
               : store_bad(s, "authority");
}

weft_err store_ca_add(store *s, const struct store_ca *ca, wf_span certificate)
{
    struct sqlite3_stmt *st =
        store_sql(s, "INSERT INTO foreign_ca (id, name, certificate, nonce, verified, automatic,"
                     " template, roles, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
    char roles[ROLES_TEXT];

    join_roles(&ca->roles, roles);
    store_bind_id(st, 1, &ca->id);
    store_bind_text(st, 2, ca->name);
    store_bind_blob(st, 3, certificate.data, certificate.len);
    store_bind_blob(st, 4, ca->nonce, sizeof ca->nonce);
    store_bind_u64(st, 5, ca->verified);
    store_bind_u64(st, 6, ca->automatic);
    store_bind_text(st, 7, ca->template);
    store_bind_text(st, 8, roles);
    store_bind_u64(st, 9, ca->created);
    return store_run(s, st, NULL);
}

weft_err store_ca_get(store *s, const wf_id *id, struct store_ca *out)
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT " CA_COLUMNS "WHERE id = ?1");
    weft_err err;

    store_bind_id(st, 1, id);
    err = store_step(s, st);
    return store_done(st, err == WEFT_OK ? read_ca(s, st, out) : err);
}

weft_err store_ca_find(store *s, const char *name, struct store_ca *out)
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT " CA_COLUMNS "WHERE name = ?1");
    weft_err err;

    store_bind_text(st, 1, name);
    err = store_step(s, st);
    return store_done(st, err == WEFT_OK ? read_ca(s, st, out) : err);
}

weft_err store_ca_certificate(store *s, const wf_id *id, wf_buf *der)
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT certificate FROM foreign_ca WHERE id = ?1");
    weft_err err;

    store_bind_id(st, 1, id);
    err = store_step(s, st);
    if (err == WEFT_OK) {
        wf_span bytes = store_get_blob(st, 0);

        err = wf_buf_put(der, bytes.data, bytes.len);
    }
    return store_done(st, err);
}

weft_err store_ca_verified(store *s, const wf_id *id)
{
    return remove_row(s, store_sql(s, "UPDATE foreign_ca SET verified = 1 WHERE id = ?1"), id);
}

weft_err store_ca_remove(store *s, const wf_id *id)
{
    return remove_row(s, store_sql(s, "DELETE FROM foreign_ca WHERE id = ?1"), id);
}

weft_err store_ca_each(store *s, const char *after, store_ca_fn row, void *arg)
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT " CA_COLUMNS "WHERE name > ?1 ORDER BY name");
    struct store_ca ca;
    weft_err err;

    store_bind_text(st, 1, after != NULL ? after : "");
    while ((err = store_step(s, st)) == WEFT_OK) {
        err = read_ca(s, st, &ca);
        if (err == WEFT_OK)
            err = row(arg, &ca);
        if (err != WEFT_OK)
            break;
    }
    return store_done(st, err == WEFT_ENOTFOUND || err == WEFT_EEOF ? WEFT_OK : err);
}

/* ---- issuers */

#define ISSUER_COLUMNS                                                                             \
    "id, name, issuer, audience, url, conditions, template, roles, life, created, fetched"         \
    " FROM issuer "
#define CLAIMS_TEXT (STORE_CONDITIONS_MAX * STORE_ISSUER_TEXT)

/* Conditions are printable, so a line is one of them. */
static bool split_conditions(const char *text, struct store_issuer *out)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");

        if (out->condition_count == STORE_CONDITIONS_MAX || len == 0 || len >= STORE_ISSUER_TEXT)
            return false;
        memcpy(out->conditions[out->condition_count], text, len);
        out->conditions[out->condition_count++][len] = '\0';
        text += len + (text[len] == '\n');
    }
    return out->condition_count > 0;
}

static weft_err read_issuer(store *s, struct sqlite3_stmt *st, struct store_issuer *out)
{
    char roles[ROLES_TEXT], conditions[CLAIMS_TEXT];

    memset(out, 0, sizeof *out);
    out->life_ms = store_u64(st, 8);
    out->created = store_u64(st, 9);
    out->fetched = store_u64(st, 10);
    return store_get_id(st, 0, &out->id) && store_get_text(st, 1, out->name, sizeof out->name) &&
                   store_get_text(st, 2, out->issuer, sizeof out->issuer) &&
                   store_get_text(st, 3, out->audience, sizeof out->audience) &&
                   store_get_text(st, 4, out->url, sizeof out->url) &&
                   store_get_text(st, 5, conditions, sizeof conditions) &&
                   split_conditions(conditions, out) &&
                   store_get_text(st, 6, out->template, sizeof out->template) &&
                   store_get_text(st, 7, roles, sizeof roles) &&
                   store_roles_split(roles, &out->roles)
               ? WEFT_OK
               : store_bad(s, "issuer");
}

weft_err store_issuer_add(store *s, const struct store_issuer *issuer, wf_span keys, wf_span tls_ca)
{
    struct sqlite3_stmt *st = store_sql(
        s, "INSERT INTO issuer (id, name, issuer, audience, url, conditions, template, roles, life,"
           " created, fetched, keys, tls_ca)"
           " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)");
    char roles[ROLES_TEXT], conditions[CLAIMS_TEXT] = "";
    size_t len = 0;

    join_roles(&issuer->roles, roles);
    for (size_t i = 0; i < issuer->condition_count; i++)
        len += (size_t)snprintf(conditions + len, sizeof conditions - len, "%s%s",
                                i > 0 ? "\n" : "", issuer->conditions[i]);
    store_bind_id(st, 1, &issuer->id);
    store_bind_text(st, 2, issuer->name);
    store_bind_text(st, 3, issuer->issuer);
    store_bind_text(st, 4, issuer->audience);
    store_bind_text(st, 5, issuer->url);
    store_bind_text(st, 6, conditions);
    store_bind_text(st, 7, issuer->template);
    store_bind_text(st, 8, roles);
    store_bind_u64(st, 9, issuer->life_ms);
    store_bind_u64(st, 10, issuer->created);
    store_bind_u64(st, 11, issuer->fetched);
    store_bind_blob(st, 12, keys.len > 0 ? keys.data : (const uint8_t *)"", keys.len);
    store_bind_blob(st, 13, tls_ca.len > 0 ? tls_ca.data : (const uint8_t *)"", tls_ca.len);
    return store_run(s, st, NULL);
}

weft_err store_issuer_get(store *s, const wf_id *id, struct store_issuer *out)
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT " ISSUER_COLUMNS "WHERE id = ?1");
    weft_err err;

    store_bind_id(st, 1, id);
    err = store_step(s, st);
    return store_done(st, err == WEFT_OK ? read_issuer(s, st, out) : err);
}

weft_err store_issuer_find(store *s, const char *name, struct store_issuer *out)
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT " ISSUER_COLUMNS "WHERE name = ?1");
    weft_err err;

    store_bind_text(st, 1, name);
    err = store_step(s, st);
    return store_done(st, err == WEFT_OK ? read_issuer(s, st, out) : err);
}

weft_err store_issuer_keys(store *s, const wf_id *id, wf_buf *keys, wf_buf *tls_ca)
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT keys, tls_ca FROM issuer WHERE id = ?1");
    weft_err err;

    store_bind_id(st, 1, id);
    err = store_step(s, st);
    if (err == WEFT_OK) {
        wf_span set = store_get_blob(st, 0), pem = store_get_blob(st, 1);

        err = wf_buf_put(keys, set.data, set.len);
        if (err == WEFT_OK)
            err = wf_buf_put(tls_ca, pem.data, pem.len);
    }
    return store_done(st, err);
}

weft_err store_issuer_keys_put(store *s, const wf_id *id, wf_span keys, uint64_t now)
{
    struct sqlite3_stmt *st =
        store_sql(s, "UPDATE issuer SET keys = ?2, fetched = ?3 WHERE id = ?1");

    store_bind_blob(st, 2, keys.data, keys.len);
    store_bind_u64(st, 3, now);
    return remove_row(s, st, id);
}

weft_err store_issuer_remove(store *s, const wf_id *id)
{
    return remove_row(s, store_sql(s, "DELETE FROM issuer WHERE id = ?1"), id);
}

weft_err store_issuer_each(store *s, const char *after, store_issuer_fn row, void *arg)
{
    struct sqlite3_stmt *st =
        store_sql(s, "SELECT " ISSUER_COLUMNS "WHERE name > ?1 ORDER BY name");
    struct store_issuer issuer;
    weft_err err;

    store_bind_text(st, 1, after != NULL ? after : "");
    while ((err = store_step(s, st)) == WEFT_OK) {
        err = read_issuer(s, st, &issuer);
        if (err == WEFT_OK)
            err = row(arg, &issuer);
        if (err != WEFT_OK)
            break;
    }
    return store_done(st, err == WEFT_ENOTFOUND || err == WEFT_EEOF ? WEFT_OK : err);
}

/* ---- whom they vouched for */

#define FEDERATED_COLUMNS "node, authority, certificate, pin, ends, derived FROM federated "

static weft_err read_federated(store *s, struct sqlite3_stmt *st, struct store_federated *out)
{
    memset(out, 0, sizeof *out);
    out->shown = !store_is_null(st, 3);
    out->ends = store_u64(st, 4);
    return store_get_id(st, 0, &out->node) && store_get_id(st, 1, &out->authority) &&
                   (!out->shown ||
                    (store_get_bytes(st, 2, out->certificate, sizeof out->certificate) &&
                     store_get_bytes(st, 3, out->pin.b, sizeof out->pin.b))) &&
                   store_get_text(st, 5, out->derived, sizeof out->derived)
               ? WEFT_OK
               : store_bad(s, "federated identity");
}

weft_err store_federated_put(store *s, const struct store_federated *row)
{
    struct sqlite3_stmt *st = store_sql(
        s, "INSERT INTO federated (node, authority, certificate, pin, ends, derived)"
           " VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
           " ON CONFLICT (node) DO UPDATE SET authority = excluded.authority,"
           " certificate = excluded.certificate, pin = excluded.pin, ends = excluded.ends,"
           " derived = excluded.derived");

    store_bind_id(st, 1, &row->node);
    store_bind_id(st, 2, &row->authority);
    if (row->shown) {
        store_bind_blob(st, 3, row->certificate, sizeof row->certificate);
        store_bind_blob(st, 4, row->pin.b, sizeof row->pin.b);
    } else {
        store_bind_null(st, 3);
        store_bind_null(st, 4);
    }
    store_bind_u64(st, 5, row->ends);
    store_bind_text(st, 6, row->derived);
    return store_run(s, st, NULL);
}

weft_err store_federated_get(store *s, const wf_id *node, struct store_federated *out)
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT " FEDERATED_COLUMNS "WHERE node = ?1");
    weft_err err;

    store_bind_id(st, 1, node);
    err = store_step(s, st);
    return store_done(st, err == WEFT_OK ? read_federated(s, st, out) : err);
}

weft_err store_federated_find(store *s, const wf_id *authority, const pki_pin *pin,
                              struct store_federated *out)
{
    struct sqlite3_stmt *st =
        store_sql(s, "SELECT " FEDERATED_COLUMNS "WHERE authority = ?1 AND pin = ?2");
    weft_err err;

    store_bind_id(st, 1, authority);
    store_bind_blob(st, 2, pin->b, sizeof pin->b);
    err = store_step(s, st);
    return store_done(st, err == WEFT_OK ? read_federated(s, st, out) : err);
}

weft_err store_federated_count(store *s, const wf_id *authority, uint64_t *out)
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT count(*) FROM federated WHERE authority = ?1");

    store_bind_id(st, 1, authority);
    return store_number(s, st, out);
}

#define OIDC_ENDED " IN (SELECT id FROM node WHERE kind = 1 AND enroll = ?1 AND expires < ?2)"

weft_err store_federated_sweep(store *s, uint64_t before, uint64_t *removed)
{
    struct sqlite3_stmt *st = store_sql(s, "DELETE FROM key WHERE subject" OIDC_ENDED);
    weft_err err;

    store_bind_u64(st, 1, PKI_ENROLL_OIDC);
    store_bind_u64(st, 2, before);
    err = store_run(s, st, NULL);
    if (err != WEFT_OK)
        return err;
    st = store_sql(s, "DELETE FROM node WHERE id" OIDC_ENDED);
    store_bind_u64(st, 1, PKI_ENROLL_OIDC);
    store_bind_u64(st, 2, before);
    return store_run(s, st, removed);
}

/* ---- tokens that were presented */

weft_err store_presented_add(store *s, const struct store_presented *row)
{
    struct sqlite3_stmt *st =
        store_sql(s, "INSERT INTO presented (digest, node, pin, until) VALUES (?1, ?2, ?3, ?4)");

    store_bind_blob(st, 1, row->digest, sizeof row->digest);
    store_bind_id(st, 2, &row->node);
    store_bind_blob(st, 3, row->pin.b, sizeof row->pin.b);
    store_bind_u64(st, 4, row->until);
    return store_run(s, st, NULL);
}

weft_err store_presented_get(store *s, const uint8_t digest[32], struct store_presented *out)
{
    struct sqlite3_stmt *st =
        store_sql(s, "SELECT node, pin, until FROM presented WHERE digest = ?1");
    weft_err err;

    store_bind_blob(st, 1, digest, 32);
    err = store_step(s, st);
    if (err == WEFT_OK) {
        memset(out, 0, sizeof *out);
        memcpy(out->digest, digest, 32);
        out->until = store_u64(st, 2);
        if (!store_get_id(st, 0, &out->node) ||
            !store_get_bytes(st, 1, out->pin.b, sizeof out->pin.b))
            err = store_bad(s, "presented token");
    }
    return store_done(st, err);
}

weft_err store_presented_sweep(store *s, uint64_t now)
{
    struct sqlite3_stmt *st = store_sql(s, "DELETE FROM presented WHERE until < ?1");

    store_bind_u64(st, 1, now);
    return store_run(s, st, NULL);
}
