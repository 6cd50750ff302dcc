#include "controller/node.h"
#include "controller/rights.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* One of the two handlers; an act is logged with who did it. */
struct operation {
    const char *name;
    unsigned who;
    unsigned kinds; /* administrators: of things it looks at or acts on (right_kind) */
    enum operation_kind {
        KIND_LOOK,
        KIND_ACT,      /* its savepoint holds all that it does: dry_run undoes it */
        KIND_ACT_ONLY, /* it does something beside the store: no dry_run */
    } kind;
    enum audit_kind audit; /* the entry that it leaves when it is done */
    weft_err (*node)(struct call *call);
    weft_err (*admin)(struct call *call, struct args *args);
};

/* LOOK and ACT: `kinds` is what an administrator needs the right for (rights.h). */
#define NODE(name, who, handler)                                                                   \
    {                                                                                              \
        name, who, 0, KIND_LOOK, AUDIT_NONE, handler, NULL                                         \
    }
#define NODE_NOTED(name, who, audit, handler)                                                      \
    {                                                                                              \
        name, who, 0, KIND_LOOK, audit, handler, NULL                                              \
    }
#define LOOK(name, kinds, handler)                                                                 \
    {                                                                                              \
        name, WHO_ADMIN, kinds, KIND_LOOK, AUDIT_NONE, NULL, handler                               \
    }
#define ACT(name, kinds, handler)                                                                  \
    {                                                                                              \
        name, WHO_ADMIN, kinds, KIND_ACT, AUDIT_ADMIN, NULL, handler                               \
    }

#define ACT_ONLY(name, kinds, handler)                                                             \
    {                                                                                              \
        name, WHO_ADMIN, kinds, KIND_ACT_ONLY, AUDIT_ADMIN, NULL, handler                          \
    }

static const struct operation table[] = {
    NODE_NOTED("enroll", WHO_ANYONE, AUDIT_ENROLL, op_enroll),
    NODE_NOTED("renew", WHO_NODE | WHO_EXPIRED, AUDIT_RENEW, op_renew),
    NODE_NOTED("grants", WHO_IDENTITY, AUDIT_GRANTS, op_grants),
    NODE_NOTED("retire", WHO_NODE, AUDIT_RENEW, op_retire),
    NODE("holds", WHO_NODE, op_holds),
    NODE("sync", WHO_ROUTER, op_sync),
    NODE("sessions", WHO_NODE, op_sessions),
    ACT("identity.create", KIND_IDENTITIES, op_identity_create),
    LOOK("identity.list", KIND_IDENTITIES, op_identity_list),
    LOOK("identity.show", KIND_IDENTITIES, op_identity_show),
    ACT("identity.update", KIND_IDENTITIES, op_identity_update),
    ACT("identity.disable", KIND_IDENTITIES, op_identity_disable),
    ACT("identity.enable", KIND_IDENTITIES, op_identity_enable),
    ACT("identity.delete", KIND_IDENTITIES, op_identity_delete),
    ACT("identity.reissue", KIND_IDENTITIES, op_identity_reissue),
    ACT("service.create", KIND_SERVICES, op_service_create),
    LOOK("service.list", KIND_SERVICES, op_service_list),
    LOOK("service.show", KIND_SERVICES, op_service_show),
    ACT("service.update", KIND_SERVICES, op_service_update),
    ACT("service.delete", KIND_SERVICES, op_service_delete),
    ACT("policy.create", KIND_POLICIES, op_policy_create),
    LOOK("policy.list", KIND_POLICIES, op_policy_list),
    LOOK("policy.show", KIND_POLICIES, op_policy_show),
    ACT("policy.update", KIND_POLICIES, op_policy_update),
    ACT("policy.delete", KIND_POLICIES, op_policy_delete),
    ACT("allow", KIND_POLICIES, op_allow),
    ACT("disallow", KIND_POLICIES, op_disallow),
    ACT("share", KIND_IDENTITIES | KIND_SERVICES | KIND_POLICIES, op_share),
    LOOK("explain", KIND_IDENTITIES | KIND_SERVICES | KIND_POLICIES, op_explain),
    ACT("router.create", KIND_ROUTERS, op_router_create),
    LOOK("router.list", KIND_ROUTERS, op_router_list),
    LOOK("router.show", KIND_ROUTERS, op_router_show),
    ACT("router.disable", KIND_ROUTERS, op_router_disable),
    ACT("router.enable", KIND_ROUTERS, op_router_enable),
    ACT("router.delete", KIND_ROUTERS, op_router_delete),
    ACT("router.reissue", KIND_ROUTERS, op_router_reissue),
    ACT("admin.add", KIND_FULL, op_admin_add),
    LOOK("admin.list", KIND_FULL, op_admin_list),
    ACT("admin.remove", KIND_FULL, op_admin_remove),
    ACT("ca.add", KIND_CAS | KIND_IDENTITIES, op_ca_add),
    ACT("ca.verify", KIND_CAS, op_ca_verify),
    LOOK("ca.list", KIND_CAS, op_ca_list),
    LOOK("ca.show", KIND_CAS, op_ca_show),
    ACT("ca.token", KIND_CAS, op_ca_token),
    ACT("ca.remove", KIND_CAS, op_ca_remove),
    ACT("oidc.add", KIND_CAS | KIND_IDENTITIES, op_oidc_add),
    LOOK("oidc.list", KIND_CAS, op_oidc_list),
    LOOK("oidc.show", KIND_CAS, op_oidc_show),
    ACT("oidc.token", KIND_CAS, op_oidc_token),
    ACT("oidc.remove", KIND_CAS, op_oidc_remove),
    LOOK("session.list", KIND_SESSIONS, op_session_list),
    ACT("session.cut", KIND_SESSIONS, op_session_cut),
    NODE("audit.consistency", WHO_NODE, op_audit_consistency),
    LOOK("audit.list", KIND_AUDIT, op_audit_list),
    LOOK("audit.checkpoints", KIND_AUDIT, op_audit_checkpoints),
    LOOK("audit.prove", KIND_AUDIT, op_audit_prove),
    ACT_ONLY("login", KIND_ANY, op_login),
    LOOK("rotation.status", KIND_ANY, op_rotation_status),
    LOOK("status", KIND_ANY, op_status),
    {"backup.begin", WHO_ADMIN, KIND_FULL, KIND_ACT_ONLY, AUDIT_ADMIN, NULL, op_backup_begin},
    LOOK("backup.status", KIND_FULL, op_backup_status),
    LOOK("backup.read", KIND_FULL, op_backup_read),
    LOOK("backup.end", KIND_FULL, op_backup_end),
};
#define ROWS (sizeof table / sizeof *table)

struct operation_row operation_row(size_t i)
{
    return i < ROWS ? (struct operation_row){table[i].name, table[i].who, table[i].kinds,
                                             table[i].kind != KIND_LOOK}
                    : (struct operation_row){NULL, 0, 0, false};
}

static const struct operation *find(const char *name)
{
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

/* ---- what handlers share */

void call_touch(struct call *call)
{
    call->touched = true;
    members_forget(&call->c->members);
}

weft_err call_changed(struct call *call, enum catalog_kind kind, const wf_id *id)
{
    if (call->change_count < CALL_CHANGES_MAX)
        call->changes[call->change_count] = (struct call_change){kind, *id};
    if (call->change_count <= CALL_CHANGES_MAX)
        call->change_count++;
    if (call->change_count > CALL_CHANGES_MAX) {
        catalog_forget(&call->c->catalog);
        return WEFT_OK;
    }
    return catalog_sync(&call->c->catalog, call->c->home.store, kind, id);
}

weft_err call_removing(struct call *call, enum catalog_kind kind, const wf_id *id,
                       weft_err (*remove)(store *s, const wf_id *id))
{
    struct controller *c = call->c;
    wf_id naming[CALL_CHANGES_MAX];
    size_t count = 0;
    weft_err err;

    if (c->catalog.loaded)
        count = catalog_naming(&c->catalog, kind, id, naming, CALL_CHANGES_MAX);
    err = remove(c->home.store, id);
    if (err == WEFT_OK)
        err = call_changed(call, kind, id);
    if (count > CALL_CHANGES_MAX) {
        call->change_count = CALL_CHANGES_MAX + 1;
        catalog_forget(&c->catalog);
        return err;
    }
    for (size_t i = 0; err == WEFT_OK && i < count; i++)
        err = call_changed(call, CATALOG_POLICY, &naming[i]);
    return err;
}

/* The store is as it was before the call: so is the catalog. */
static void unchange(struct call *call)
{
    struct controller *c = call->c;
    weft_err err = WEFT_OK;

    if (call->change_count > CALL_CHANGES_MAX)
        catalog_forget(&c->catalog);
    for (size_t i = 0; err == WEFT_OK && c->catalog.loaded && i < call->change_count; i++)
        err = catalog_sync(&c->catalog, c->home.store, call->changes[i].kind, &call->changes[i].id);
    if (call->touched)
        call_touch(call);
}

weft_err call_note(struct call *call, enum effect_kind kind, enum pki_kind of, const wf_id *subject)
{
    struct effect *effect = turn_add(&call->c->turn, kind, 0);

    if (effect == NULL)
        return WEFT_ENOMEM;
    effect->of = of;
    if (subject != NULL)
        effect->subject = *subject;
    return WEFT_OK;
}

weft_err call_fail(struct call *call, weft_err err, const char *what, const char *name)
{
    if (err == WEFT_OK || call->why.text[0] != '\0')
        return err; /* who noticed it knows best */
    switch (err) {
    case WEFT_EEXIST:
        return wf_fail(&call->why, err, "there is a%s %s '%s' already",
                       strchr("aeiou", what[0]) != NULL ? "n" : "", what, name);
    case WEFT_ENOTFOUND:
        return wf_fail(&call->why, err, "there is no %s '%s'", what, name);
    default:
        return wf_fail(&call->why, err, "%s: %s", what, weft_err_sentence((int)err));
    }
}

weft_err call_which(struct call *call, struct args *args, struct call_which *out)
{
    (void)call;
    *out = (struct call_which){.by_id = false};
    return args_which(args, &out->id, out->name, &out->by_id);
}

weft_err call_found(struct call *call, weft_err err, const char *what,
                    const struct call_which *which, const char *name)
{
    char text[WF_ID_TEXT];

    if (err == WEFT_OK)
        wf_fail(&call->what, WEFT_OK, "%s", name);
    return call_fail(call, err, what, which->by_id ? wf_id_text(&which->id, text) : which->name);
}

weft_err call_put_field(wf_buf *out, unsigned field, wf_span encoded)
{
    uint8_t head[6];
    size_t n = 0, len = encoded.len;
    weft_err err;

    assert(field > 0 && field < 16 && len <= WF_CONTROL_MAX);
    head[n++] = (uint8_t)(field << 3 | 2);
    while (len > 127) {
        head[n++] = (uint8_t)(len | 0x80);
        len >>= 7;
    }
    head[n++] = (uint8_t)len;
    err = wf_buf_reserve(out, n + encoded.len);
    if (err == WEFT_OK)
        err = wf_buf_put(out, head, n);
    if (err == WEFT_OK)
        err = wf_buf_put(out, encoded.data, encoded.len);
    return err;
}

weft_err call_put_members(struct call *call, unsigned field, size_t budget)
{
    struct members *members = &call->c->members;
    weft_err err = members_load(members, call->c->home.store);
    size_t end = call->result.len + budget;

    for (size_t i = 0; err == WEFT_OK && i < members->count && i < WF_MEMBERS_MAX; i++) {
        const wf_buf *record = &members->items[i].record;

        if (call->result.len + record->len + 6 > end)
            break;
        err = call_put_field(&call->result, field, wf_span_of(record->data, record->len));
    }
    return err;
}

struct floors_put {
    struct call *call;
    unsigned field, count;
    size_t end;
};

static weft_err put_record(void *arg, uint64_t version, wf_span encoded)
{
    struct floors_put *put = arg;

    (void)version;
    /* In order and without a gap: what doesn't fit is pushed to the caller's link anyway. */
    if (put->count == WF_FLOOR_SETS_MAX || put->call->result.len + encoded.len + 6 > put->end)
        return WEFT_EEOF;
    put->count++;
    return call_put_field(&put->call->result, put->field, encoded);
}

weft_err call_put_floors(struct call *call, unsigned field, uint64_t have, size_t budget)
{
    struct floors_put put = {.call = call, .field = field, .end = call->result.len + budget};
    uint64_t first;
    weft_err err = floors_first_missing(&call->c->home, have, &first);

    if (err == WEFT_OK && first != 0)
        err = store_record_each(call->c->home.store, first, put_record, &put);
    return err;
}

/* ---- running */

static const char *caller_name(const struct call *call)
{
    return call->subject == NULL ? "an enrollee" : call->subject->name;
}

static const char *kind_name(const struct call *call)
{
    if (call->subject == NULL)
        return "anonymous";
    return call->subject->kind == PKI_ROUTER ? "router" : "identity";
}

/* Who may, by the row and by what the store says of the caller at this moment. */
static weft_err admit(struct call *call, const struct operation *op)
{
    struct store_node node;
    unsigned who = call->who;
    bool lives = false;
    weft_err err;

    call->rights = 0;
    call->is_act = op != NULL && op->kind != KIND_LOOK;
    if (call->subject != NULL) {
        err = store_node_get(call->c->home.store, call->subject->kind, &call->subject->id, &node);
        if (err == WEFT_ENOTFOUND || (err == WEFT_OK && node.disabled)) {
            wf_fail(&call->logged, WEFT_EREVOKED, "the caller is %s",
                    err == WEFT_OK ? "disabled" : "deleted");
            return wf_fail(&call->why, WEFT_EREVOKED,
                           "this %s is disabled or deleted; ask an administrator", kind_name(call));
        }
        if (err != WEFT_OK)
            return err;
    }
    if (op != NULL && (op->who & WHO_ADMIN) != 0 && (who & WHO_IDENTITY) != 0) {
        err = store_admin_get(call->c->home.store, &call->subject->id, &call->rights);
        if (err != WEFT_OK && err != WEFT_ENOTFOUND)
            return err;
        /* A link that is open may outlive the key that a new one has replaced. */
        if (err == WEFT_OK)
            err = node_key_lives(call->c->home.store, &node, &call->subject->pin, &lives);
        if (err != WEFT_OK && err != WEFT_ENOTFOUND)
            return err;
        if (err == WEFT_OK && lives)
            who |= WHO_ADMIN;
        call->is_admin = (who & WHO_ADMIN) != 0;
    }
    if (op == NULL || (op->who & who) == 0) {
        wf_fail(&call->logged, WEFT_EREFUSED, "%s",
                op == NULL ? "no such operation" : "the caller is not in the operation's row");
        return wf_fail(&call->why, WEFT_EREFUSED,
                       "the controller has no such operation for this caller");
    }
    if ((op->who & WHO_ADMIN) != 0 &&
        !rights_allow(call->rights, op->kinds, op->kind != KIND_LOOK)) {
        char needed[128], has[128];

        rights_needed(op->kinds, op->kind != KIND_LOOK, needed, sizeof needed);
        rights_text(call->rights, has, sizeof has);
        return wf_fail(&call->why, WEFT_EREFUSED,
                       "%s needs the right to %s; yours: %s; ask an administrator with full rights",
                       op->name, needed, has);
    }
    return WEFT_OK;
}

weft_err call_may_touch(struct call *call, const struct store_node *node)
{
    unsigned rights = 0;
    weft_err err;

    if (!call->is_act || node->kind != PKI_IDENTITY)
        return WEFT_OK;
    err = store_admin_get(call->c->home.store, &node->id, &rights);
    if (err == WEFT_ENOTFOUND || (err == WEFT_OK && rights_include(call->rights, rights)))
        return WEFT_OK;
    if (err != WEFT_OK)
        return err;
    return wf_fail(&call->why, WEFT_EREFUSED,
                   "'%s' is an administrator with rights that you don't have; ask one with full "
                   "rights",
                   node->name);
}

static weft_err run_admin(struct call *call, const struct operation *op)
{
    struct args args;
    weft_err err = args_open(&args, call->arguments, &call->why);

    if (err != WEFT_OK)
        return err;
    if (op->kind != KIND_LOOK)
        err = args_flag(&args, "dry_run", &call->dry_run);
    if (err == WEFT_OK && call->dry_run && op->kind == KIND_ACT_ONLY)
        err = wf_fail(&call->why, WEFT_EINVAL,
                      "%s does more than the store can undo: it has no dry_run", op->name);
    if (err == WEFT_OK && call->dry_run) {
        call->withdrawn.items = calloc(WITHDRAWN_ITEMS_MAX, sizeof *call->withdrawn.items);
        err = call->withdrawn.items == NULL ? WEFT_ENOMEM : WEFT_OK;
    }
    if (err == WEFT_OK)
        err = op->admin(call, &args);
    free(call->withdrawn.items);
    call->withdrawn.items = NULL;
    args_close(&args);
    return err;
}

static weft_err note_act(struct call *call)
{
    char id[WF_ID_TEXT];
    struct effect *effect = turn_add(&call->c->turn, EFFECT_LOG, 1024);

    if (effect == NULL)
        return WEFT_ENOMEM;
    return wf_buf_printf(&effect->bytes, "administrator %s (%s) at %s: %s%s%s", caller_name(call),
                         wf_id_text(&call->subject->id, id), call->remote, call->operation,
                         call->what.text[0] != '\0' ? " " : "", call->what.text);
}

/* ---- the audit log */

/* Entries about refused calls: what strangers can cause is bounded apart from what nodes can. */
#define STRANGERS_BURST 64u
#define STRANGERS_EACH_MS 1000u
#define NODES_BURST 512u
#define NODES_EACH_MS 250u

static weft_err note(struct call *call, enum audit_kind kind, weft_err code)
{
    const struct pki_subject *who = call->subject;
    struct audit_event event = {
        .kind = kind,
        .time = call->now,
        .operation = call->operation,
        .by = who != NULL ? who->name : NULL,
        .id = who != NULL ? &who->id : NULL,
        .as = who == NULL               ? "enrollee"
              : call->is_admin          ? "administrator"
              : who->kind == PKI_ROUTER ? "router"
                                        : "identity",
        .at = call->remote,
        .what = call->what.text,
        .count = call->noted_count,
        .digest = call->noted_count > 0 ? call->noted_digest : NULL,
        .code = code,
        .reason = code == WEFT_OK                ? call->logged.text
                  : call->logged.text[0] != '\0' ? call->logged.text
                                                 : call->why.text,
    };

    if (call->is_admin && kind != AUDIT_NONE)
        event.arguments = call->arguments;
    return audit_append(&call->c->home, &event);
}

weft_err operation_note_left_out(struct controller *c, uint64_t now)
{
    const struct audit_event event = {.kind = AUDIT_LEFT_OUT,
                                      .time = now,
                                      .as = "controller",
                                      .what = "refused attempts have no entries of their own",
                                      .count = c->audit_left_out};
    weft_err err;

    if (c->audit_left_out == 0)
        return WEFT_OK;
    err = audit_append(&c->home, &event);
    if (err == WEFT_OK)
        c->audit_left_out = 0;
    return err;
}

/* What the call changed is undone already; that it was made stays. */
static void note_refusal(struct call *call, weft_err code)
{
    struct controller *c = call->c;
    bool stranger = call->subject == NULL;
    weft_err err;

    if (store_check(c->home.store, NULL) != WEFT_OK)
        return;
    if (wf_quota_draw(stranger ? &c->audit_strangers_full_at : &c->audit_nodes_full_at,
                      wf_now_mono_ms(), stranger ? STRANGERS_BURST : NODES_BURST,
                      stranger ? STRANGERS_EACH_MS : NODES_EACH_MS) != 0) {
        c->audit_left_out++;
        return;
    }
    err = operation_note_left_out(c, call->now);
    if (err == WEFT_OK)
        err = note(call, AUDIT_REFUSED, code);
    if (err != WEFT_OK) {
        c->audit_left_out++;
        wf_log_error("a refused attempt couldn't be entered in the audit log: %s",
                     weft_err_sentence((int)err));
    }
}

weft_err operation_run(struct call *call)
{
    struct controller *c = call->c;
    struct pki_tree before = c->home.log->tree;
    const struct operation *op = find(call->operation);
    size_t mark = turn_mark(&c->turn);
    weft_err err;

    c->counters.calls++;
    err = store_begin(c->home.store);
    if (err == WEFT_OK)
        err = store_mark(c->home.store);
    if (err != WEFT_OK)
        goto out;
    err = admit(call, op);
    if (err == WEFT_OK)
        err = op->node != NULL ? op->node(call) : run_admin(call, op);
    if (err == WEFT_OK && op->kind != KIND_LOOK && !call->dry_run)
        err = note_act(call);
    if (err == WEFT_OK && op->audit != AUDIT_NONE && !call->dry_run)
        err = note(call, op->audit, WEFT_OK);
    if (err == WEFT_OK && call->dry_run) {
        err = store_undo(c->home.store);
        turn_undo(&c->turn, mark);
        c->home.log->tree = before;
        unchange(call);
    } else if (err == WEFT_OK) {
        err = store_keep(c->home.store);
        if (call->logged.text[0] != '\0' && controller_may_log(c)) /* part of it was refused */
            wf_log_warn("refused %s to %s %s at %s: %s", call->operation, kind_name(call),
                        caller_name(call), call->remote, call->logged.text);
    } else {
        (void)store_undo(c->home.store); /* a broken store is found when the turn ends */
        turn_undo(&c->turn, mark);
        c->home.log->tree = before;
        unchange(call);
        wf_buf_clear(&call->result);
    }
out:
    if (err != WEFT_OK) {
        if (call->why.text[0] == '\0')
            wf_fail(&call->why, err, "%s", weft_err_sentence(err));
        if (call->is_probe && err == WEFT_ENOTFOUND)
            return err;
        note_refusal(call, err);
        if ((int)err > 0 && (int)err < CONTROLLER_ERR_COUNT)
            c->counters.refusals[err]++;
        if (controller_may_log(c))
            wf_log_warn("refused %.40s to %s %s at %s: %s%s%s (%s)", call->operation,
                        kind_name(call), caller_name(call), call->remote, call->why.text,
                        call->logged.text[0] != '\0' ? ": " : "", call->logged.text,
                        weft_err_name(err));
    }
    return err;
}
