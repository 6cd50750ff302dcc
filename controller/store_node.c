/* Identities, routers and administrators in the store. */
#include "controller/rights.h"
#include "controller/store_sql.h"
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS                                                                                    \
    "SELECT n.id, n.kind, n.name, n.disabled, n.enroll, n.created, n.pin, n.expires, n.addresses," \
    " n.member_expires,"                                                                           \
    " (SELECT group_concat(role, ' ') FROM node_role WHERE node = n.id),"                          \
    " (SELECT life FROM follow WHERE node = n.id) FROM node AS n "

#define ROLES_TEXT (POLICY_ROLES_MAX * (WF_NAME_MAX + 1))
#define ADDRESSES_TEXT (WF_ADDRESSES_MAX * WF_ADDRESS_TEXT)

static bool addresses_split(const char *text, struct store_node *node)
{
    node->address_count = 0;
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        char one[WF_ADDRESS_TEXT];

        if (len >= sizeof one || node->address_count == WF_ADDRESSES_MAX)
            return false;
        memcpy(one, text, len);
        one[len] = '\0';
        if (wf_address_parse(one, 0, &node->addresses[node->address_count++], NULL) != WEFT_OK)
            return false;
        text += len + (text[len] == ' ');
    }
    return true;
}

static bool read_node(struct sqlite3_stmt *st, struct store_node *node)
{
    char roles[ROLES_TEXT], addresses[ADDRESSES_TEXT];

    memset(node, 0, sizeof *node);
    node->kind = (enum pki_kind)store_u64(st, 1);
    node->disabled = store_u64(st, 3) != 0;
    node->enroll = (enum pki_enroll_method)store_u64(st, 4);
    node->created = store_u64(st, 5);
    node->enrolled = !store_is_null(st, 6);
    node->expires = store_u64(st, 7);
    node->member_expires = store_u64(st, 9);
    node->life = store_is_null(st, 11) ? 0 : store_u64(st, 11);
    return store_get_id(st, 0, &node->id) && store_get_text(st, 2, node->name, sizeof node->name) &&
           (!node->enrolled || store_get_bytes(st, 6, node->pin.b, sizeof node->pin.b)) &&
           store_get_text(st, 8, addresses, sizeof addresses) && addresses_split(addresses, node) &&
           store_get_text(st, 10, roles, sizeof roles) && store_roles_split(roles, &node->roles);
}

static weft_err put_roles(store *s, const struct store_node *node)
{
    struct sqlite3_stmt *st = store_sql(s, "DELETE FROM node_role WHERE node = ?1");
    weft_err err;

    store_bind_id(st, 1, &node->id);
    err = store_run(s, st, NULL);
    for (size_t i = 0; err == WEFT_OK && i < node->roles.count; i++) {
        st = store_sql(s, "INSERT OR IGNORE INTO node_role (node, role) VALUES (?1, ?2)");
        store_bind_id(st, 1, &node->id);
        store_bind_text(st, 2, node->roles.names[i]);
        err = store_run(s, st, NULL);
    }
    return err;
}

static weft_err write_node(store *s, struct sqlite3_stmt *st, const struct store_node *node,
                           uint64_t *changed)
{
    char addresses[ADDRESSES_TEXT] = "", one[WF_ADDRESS_TEXT];
    size_t len = 0;
    weft_err err;

    for (size_t i = 0; i < node->address_count; i++)
        len += (size_t)snprintf(addresses + len, sizeof addresses - len, "%s%s", i > 0 ? " " : "",
                                wf_address_text(&node->addresses[i], one));
    store_bind_id(st, 1, &node->id);
    store_bind_u64(st, 2, node->kind);
    store_bind_text(st, 3, node->name);
    store_bind_u64(st, 4, node->disabled);
    store_bind_u64(st, 5, node->enroll);
    store_bind_u64(st, 6, node->created);
    if (node->enrolled)
        store_bind_blob(st, 7, node->pin.b, sizeof node->pin.b);
    else
        store_bind_null(st, 7);
    store_bind_u64(st, 8, node->expires);
    store_bind_text(st, 9, addresses);
    store_bind_u64(st, 10, node->member_expires);
    err = store_run(s, st, changed);
    return err == WEFT_OK ? put_roles(s, node) : err;
}

weft_err store_node_add(store *s, const struct store_node *node)
{
    return write_node(s,
                      store_sql(s, "INSERT INTO node (id, kind, name, disabled, enroll, created,"
                                   " pin, expires, addresses, member_expires)"
                                   " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"),
                      node, NULL);
}

weft_err store_node_put(store *s, const struct store_node *node)
{
    uint64_t changed = 0;
    weft_err err =
        write_node(s,
                   store_sql(s, "UPDATE node SET name = ?3, disabled = ?4, enroll = ?5, pin = ?7,"
                                " expires = ?8, addresses = ?9, member_expires = ?10"
                                " WHERE id = ?1 AND kind = ?2 AND created = ?6"),
                   node, &changed);

    return err == WEFT_OK && changed == 0 ? WEFT_ENOTFOUND : err;
}

static weft_err one_node(store *s, struct sqlite3_stmt *st, struct store_node *out)
{
    weft_err err = store_step(s, st);

    if (err == WEFT_OK && !read_node(st, out))
        err = store_bad(s, "node");
    return store_done(st, err);
}

weft_err store_node_get(store *s, enum pki_kind kind, const wf_id *id, struct store_node *out)
{
    struct sqlite3_stmt *st = store_sql(s, COLUMNS "WHERE n.id = ?1 AND n.kind = ?2");

    store_bind_id(st, 1, id);
    store_bind_u64(st, 2, kind);
    return one_node(s, st, out);
}

weft_err store_node_find(store *s, enum pki_kind kind, const char *name, struct store_node *out)
{
    struct sqlite3_stmt *st = store_sql(s, COLUMNS "WHERE n.kind = ?1 AND n.name = ?2");

    store_bind_u64(st, 1, kind);
    store_bind_text(st, 2, name);
    return one_node(s, st, out);
}

weft_err store_node_remove(store *s, const wf_id *id)
{
    struct sqlite3_stmt *st = store_sql(s, "DELETE FROM node WHERE id = ?1");
    uint64_t changed = 0;
    weft_err err;

    store_bind_id(st, 1, id);
    err = store_run(s, st, &changed);
    return err == WEFT_OK && changed == 0 ? WEFT_ENOTFOUND : err;
}

static weft_err walk_nodes(store *s, struct sqlite3_stmt *st, store_node_fn row, void *arg)
{
    struct store_node node;
    weft_err err;

    while ((err = store_step(s, st)) == WEFT_OK) {
        err = read_node(st, &node) ? row(arg, &node) : store_bad(s, "node");
        if (err != WEFT_OK)
            break;
    }
    return store_done(st, err == WEFT_ENOTFOUND || err == WEFT_EEOF ? WEFT_OK : err);
}

weft_err store_node_each(store *s, enum pki_kind kind, const char *after, store_node_fn row,
                         void *arg)
{
    struct sqlite3_stmt *st =
        store_sql(s, COLUMNS "WHERE n.kind = ?1 AND n.name > ?2 ORDER BY n.name");

    store_bind_u64(st, 1, kind);
    store_bind_text(st, 2, after == NULL ? "" : after);
    return walk_nodes(s, st, row, arg);
}

weft_err store_node_count(store *s, enum pki_kind kind, uint64_t *out)
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT count(*) FROM node WHERE kind = ?1");

    store_bind_u64(st, 1, kind);
    return store_number(s, st, out);
}

/* ---- member records */

weft_err store_member_put(store *s, const wf_id *router, wf_span record, uint64_t expires)
{
    struct sqlite3_stmt *st = store_sql(s, "UPDATE node SET member = ?2, member_expires = ?3"
                                           " WHERE id = ?1 AND kind = 2");
    uint64_t changed = 0;
    weft_err err;

    store_bind_id(st, 1, router);
    store_bind_blob(st, 2, record.data, record.len);
    store_bind_u64(st, 3, expires);
    err = store_run(s, st, &changed);
    return err == WEFT_OK && changed == 0 ? WEFT_ENOTFOUND : err;
}

weft_err store_member_get(store *s, const wf_id *router, wf_buf *out)
{
    struct sqlite3_stmt *st =
        store_sql(s, "SELECT member FROM node WHERE id = ?1 AND kind = 2 AND member IS NOT NULL");
    weft_err err;

    store_bind_id(st, 1, router);
    err = store_step(s, st);
    if (err == WEFT_OK) {
        wf_span record = store_get_blob(st, 0);

        err = wf_buf_put(out, record.data, record.len);
    }
    return store_done(st, err);
}

/* ---- administrators */

weft_err store_admin_put(store *s, const wf_id *identity, unsigned rights)
{
    struct sqlite3_stmt *st =
        store_sql(s, "INSERT INTO admin (identity, rights) VALUES (?1, ?2)"
                     " ON CONFLICT (identity) DO UPDATE SET rights = excluded.rights");

    store_bind_id(st, 1, identity);
    store_bind_u64(st, 2, rights);
    return store_run(s, st, NULL);
}

weft_err store_admin_remove(store *s, const wf_id *identity)
{
    struct sqlite3_stmt *st = store_sql(s, "DELETE FROM admin WHERE identity = ?1");
    uint64_t changed = 0;
    weft_err err;

    store_bind_id(st, 1, identity);
    err = store_run(s, st, &changed);
    return err == WEFT_OK && changed == 0 ? WEFT_ENOTFOUND : err;
}

weft_err store_admin_get(store *s, const wf_id *identity, unsigned *rights)
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT rights FROM admin WHERE identity = ?1");
    weft_err err;

    store_bind_id(st, 1, identity);
    err = store_step(s, st);
    if (err == WEFT_OK)
        *rights = (unsigned)store_u64(st, 0);
    return store_done(st, err);
}

weft_err store_admin_count_able(store *s, uint64_t *out)
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT count(*) FROM admin AS a JOIN node AS n"
                                           " ON n.id = a.identity"
                                           " WHERE n.disabled = 0 AND a.rights & ?1 <> 0");

    store_bind_u64(st, 1, RIGHTS_FULL);
    return store_number(s, st, out);
}

weft_err store_admin_each(store *s, const char *after, store_node_fn row, void *arg)
{
    struct sqlite3_stmt *st = store_sql(s, COLUMNS "JOIN admin AS a ON a.identity = n.id"
                                                   " WHERE n.name > ?1 ORDER BY n.name");

    store_bind_text(st, 1, after == NULL ? "" : after);
    return walk_nodes(s, st, row, arg);
}
