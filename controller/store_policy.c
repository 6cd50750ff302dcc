/* Services and policies in the store. */
#include "controller/store_sql.h"
#include <sqlite3.h>
#include <string.h>

/* ---- services */

#define SERVICE_COLUMNS                                                                            \
    "SELECT id, name, mode, created, sessions, sessions_per_identity, idle_ms, age_ms,"            \
    " (SELECT group_concat(role, ' ') FROM service_role WHERE service = id) FROM service "

static bool read_service(struct sqlite3_stmt *st, struct store_service *out)
{
    char roles[POLICY_ROLES_MAX * (WF_NAME_MAX + 1)];

    memset(out, 0, sizeof *out);
    out->mode = (enum store_mode)store_u64(st, 2);
    out->created = store_u64(st, 3);
    out->limits = (struct store_limits){store_u64(st, 4), store_u64(st, 5), store_u64(st, 6),
                                        store_u64(st, 7)};
    return store_get_id(st, 0, &out->id) && store_get_text(st, 1, out->name, sizeof out->name) &&
           store_get_text(st, 8, roles, sizeof roles) && store_roles_split(roles, &out->roles);
}

static weft_err write_service(store *s, struct sqlite3_stmt *st, const struct store_service *row)
{
    uint64_t changed = 0;
    weft_err err;

    store_bind_id(st, 1, &row->id);
    store_bind_text(st, 2, row->name);
    store_bind_u64(st, 3, row->mode);
    store_bind_u64(st, 4, row->created);
    store_bind_u64(st, 5, row->limits.sessions);
    store_bind_u64(st, 6, row->limits.sessions_per_identity);
    store_bind_u64(st, 7, row->limits.idle_ms);
    store_bind_u64(st, 8, row->limits.age_ms);
    err = store_run(s, st, &changed);
    if (err == WEFT_OK && changed == 0)
        err = WEFT_ENOTFOUND;
    if (err == WEFT_OK) {
        st = store_sql(s, "DELETE FROM service_role WHERE service = ?1");
        store_bind_id(st, 1, &row->id);
        err = store_run(s, st, NULL);
    }
    for (size_t i = 0; err == WEFT_OK && i < row->roles.count; i++) {
        st = store_sql(s, "INSERT OR IGNORE INTO service_role (service, role) VALUES (?1, ?2)");
        store_bind_id(st, 1, &row->id);
        store_bind_text(st, 2, row->roles.names[i]);
        err = store_run(s, st, NULL);
    }
    return err;
}

weft_err store_service_add(store *s, const struct store_service *service)
{
    return write_service(s,
                         store_sql(s, "INSERT INTO service (id, name, mode, created, sessions,"
                                      " sessions_per_identity, idle_ms, age_ms)"
                                      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"),
                         service);
}

weft_err store_service_put(store *s, const struct store_service *service)
{
    return write_service(s,
                         store_sql(s, "UPDATE service SET name = ?2, mode = ?3, sessions = ?5,"
                                      " sessions_per_identity = ?6, idle_ms = ?7, age_ms = ?8"
                                      " WHERE id = ?1 AND created = ?4"),
                         service);
}

static weft_err one_service(store *s, struct sqlite3_stmt *st, struct store_service *out)
{
    weft_err err = store_step(s, st);

    if (err == WEFT_OK && !read_service(st, out))
        err = store_bad(s, "service");
    return store_done(st, err);
}

weft_err store_service_get(store *s, const wf_id *id, struct store_service *out)
{
    struct sqlite3_stmt *st = store_sql(s, SERVICE_COLUMNS "WHERE id = ?1");

    store_bind_id(st, 1, id);
    return one_service(s, st, out);
}

weft_err store_service_find(store *s, const char *name, struct store_service *out)
{
    struct sqlite3_stmt *st = store_sql(s, SERVICE_COLUMNS "WHERE name = ?1");

    store_bind_text(st, 1, name);
    return one_service(s, st, out);
}

static weft_err remove_by_id(store *s, struct sqlite3_stmt *st, const wf_id *id)
{
    uint64_t changed = 0;
    weft_err err;

    store_bind_id(st, 1, id);
    err = store_run(s, st, &changed);
    return err == WEFT_OK && changed == 0 ? WEFT_ENOTFOUND : err;
}

weft_err store_service_remove(store *s, const wf_id *id)
{
    return remove_by_id(s, store_sql(s, "DELETE FROM service WHERE id = ?1"), id);
}

weft_err store_service_each(store *s, const char *after, store_service_fn row, void *arg)
{
    struct sqlite3_stmt *st = store_sql(s, SERVICE_COLUMNS "WHERE name > ?1 ORDER BY name");
    struct store_service service;
    weft_err err;

    store_bind_text(st, 1, after == NULL ? "" : after);
    while ((err = store_step(s, st)) == WEFT_OK) {
        err = read_service(st, &service) ? row(arg, &service) : store_bad(s, "service");
        if (err != WEFT_OK)
            break;
    }
    return store_done(st, err == WEFT_ENOTFOUND || err == WEFT_EEOF ? WEFT_OK : err);
}

weft_err store_service_count(store *s, uint64_t *out)
{
    return store_number(s, store_sql(s, "SELECT count(*) FROM service"), out);
}

/* ---- policies */

#define POLICY_COLUMNS                                                                             \
    "SELECT id, name, type, semantic, created, hours, sources, attested FROM policy "

static weft_err read_list(store *s, struct sqlite3_stmt *st, const wf_id *policy,
                          struct policy_role *list, size_t *count)
{
    weft_err err;

    *count = 0;
    store_bind_id(st, 1, policy);
    while ((err = store_step(s, st)) == WEFT_OK) {
        struct policy_role *role = &list[*count];
        bool good = *count < POLICY_ROLES_MAX;

        if (good) {
            memset(role, 0, sizeof *role);
            if (!store_is_null(st, 0)) {
                role->kind = POLICY_ROLE_ATTRIBUTE;
                good = store_get_text(st, 0, role->attribute, sizeof role->attribute);
            } else if (!store_is_null(st, 1)) {
                role->kind = POLICY_ROLE_ID;
                good = store_get_id(st, 1, &role->id);
            } else {
                role->kind = POLICY_ROLE_ALL;
            }
        }
        if (!good)
            return store_done(st, store_bad(s, "list of roles"));
        ++*count;
    }
    return store_done(st, err == WEFT_ENOTFOUND ? WEFT_OK : err);
}

static weft_err read_lists(store *s, struct store_policy *row)
{
    weft_err err = read_list(s,
                             store_sql(s, "SELECT attribute, identity FROM policy_identity"
                                          " WHERE policy = ?1 ORDER BY position"),
                             &row->id, row->identities, &row->identity_count);

    if (err == WEFT_OK)
        err = read_list(s,
                        store_sql(s, "SELECT attribute, service FROM policy_service"
                                     " WHERE policy = ?1 ORDER BY position"),
                        &row->id, row->services, &row->service_count);
    return err;
}

static bool read_policy(struct sqlite3_stmt *st, struct store_policy *out)
{
    char hours[CONDITIONS_TEXT], sources[CONDITIONS_TEXT], attested[CONDITIONS_TEXT];

    memset(out, 0, sizeof *out);
    out->type = (enum policy_type)store_u64(st, 2);
    out->semantic = (enum policy_semantic)store_u64(st, 3);
    out->created = store_u64(st, 4);
    return store_get_id(st, 0, &out->id) && store_get_text(st, 1, out->name, sizeof out->name) &&
           store_get_text(st, 5, hours, sizeof hours) &&
           store_get_text(st, 6, sources, sizeof sources) &&
           store_get_text(st, 7, attested, sizeof attested) &&
           conditions_read(hours, sources, attested, &out->conditions) == WEFT_OK;
}

static weft_err write_list(store *s, const char *clear, const char *add, const wf_id *policy,
                           const struct policy_role *list, size_t count)
{
    struct sqlite3_stmt *st = store_sql(s, clear);
    weft_err err;

    store_bind_id(st, 1, policy);
    err = store_run(s, st, NULL);
    for (size_t i = 0; err == WEFT_OK && i < count; i++) {
        st = store_sql(s, add);
        store_bind_id(st, 1, policy);
        store_bind_u64(st, 2, i);
        if (list[i].kind == POLICY_ROLE_ATTRIBUTE)
            store_bind_text(st, 3, list[i].attribute);
        if (list[i].kind == POLICY_ROLE_ID)
            store_bind_id(st, 4, &list[i].id);
        err = store_run(s, st, NULL);
    }
    return err;
}

static weft_err write_policy(store *s, struct sqlite3_stmt *st, const struct store_policy *row)
{
    static const char clear_identities[] = "DELETE FROM policy_identity WHERE policy = ?1";
    static const char add_identity[] =
        "INSERT INTO policy_identity (policy, position, attribute, identity)"
        " VALUES (?1, ?2, ?3, ?4)";
    static const char clear_services[] = "DELETE FROM policy_service WHERE policy = ?1";
    static const char add_service[] =
        "INSERT INTO policy_service (policy, position, attribute, service)"
        " VALUES (?1, ?2, ?3, ?4)";
    char hours[CONDITIONS_TEXT], sources[CONDITIONS_TEXT], attested[CONDITIONS_TEXT];
    uint64_t changed = 0;
    weft_err err;

    conditions_hours_text(&row->conditions, hours);
    conditions_sources_text(&row->conditions, sources);
    conditions_attested_text(&row->conditions, attested);
    store_bind_text(st, 6, hours);
    store_bind_text(st, 7, sources);
    store_bind_text(st, 8, attested);
    store_bind_id(st, 1, &row->id);
    store_bind_text(st, 2, row->name);
    store_bind_u64(st, 3, row->type);
    store_bind_u64(st, 4, row->semantic);
    store_bind_u64(st, 5, row->created);
    err = store_run(s, st, &changed);
    if (err == WEFT_OK && changed == 0)
        err = WEFT_ENOTFOUND;
    if (err == WEFT_OK)
        err = write_list(s, clear_identities, add_identity, &row->id, row->identities,
                         row->identity_count);
    if (err == WEFT_OK)
        err =
            write_list(s, clear_services, add_service, &row->id, row->services, row->service_count);
    return err;
}

weft_err store_policy_add(store *s, const struct store_policy *policy)
{
    return write_policy(s,
                        store_sql(s, "INSERT INTO policy (id, name, type, semantic, created,"
                                     " hours, sources, attested)"
                                     " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"),
                        policy);
}

weft_err store_policy_put(store *s, const struct store_policy *policy)
{
    return write_policy(s,
                        store_sql(s, "UPDATE policy SET name = ?2, type = ?3, semantic = ?4,"
                                     " hours = ?6, sources = ?7, attested = ?8"
                                     " WHERE id = ?1 AND created = ?5"),
                        policy);
}

static weft_err one_policy(store *s, struct sqlite3_stmt *st, struct store_policy *out)
{
    weft_err err = store_step(s, st);

    if (err == WEFT_OK && !read_policy(st, out))
        err = store_bad(s, "policy");
    err = store_done(st, err);
    return err == WEFT_OK ? read_lists(s, out) : err;
}

weft_err store_policy_get(store *s, const wf_id *id, struct store_policy *out)
{
    struct sqlite3_stmt *st = store_sql(s, POLICY_COLUMNS "WHERE id = ?1");

    store_bind_id(st, 1, id);
    return one_policy(s, st, out);
}

weft_err store_policy_find(store *s, const char *name, struct store_policy *out)
{
    struct sqlite3_stmt *st = store_sql(s, POLICY_COLUMNS "WHERE name = ?1");

    store_bind_text(st, 1, name);
    return one_policy(s, st, out);
}

weft_err store_policy_remove(store *s, const wf_id *id)
{
    return remove_by_id(s, store_sql(s, "DELETE FROM policy WHERE id = ?1"), id);
}

weft_err store_policy_each(store *s, const char *after, store_policy_fn row, void *arg)
{
    struct sqlite3_stmt *st = store_sql(s, POLICY_COLUMNS "WHERE name > ?1 ORDER BY name");
    struct store_policy policy;
    weft_err err;

    store_bind_text(st, 1, after == NULL ? "" : after);
    while ((err = store_step(s, st)) == WEFT_OK) {
        err = read_policy(st, &policy) ? read_lists(s, &policy) : store_bad(s, "policy");
        if (err == WEFT_OK)
            err = row(arg, &policy);
        if (err != WEFT_OK)
            break;
    }
    return store_done(st, err == WEFT_ENOTFOUND || err == WEFT_EEOF ? WEFT_OK : err);
}

weft_err store_policy_count(store *s, uint64_t *out)
{
    return store_number(s, store_sql(s, "SELECT count(*) FROM policy"), out);
}
