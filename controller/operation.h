/*
 * The operation table: everything the controller does for a peer.
 * docs/operations.md lists the rows. Deny by default: a call that names no
 * row is refused, and so is a caller who is not in the row.
 *
 * A call runs inside the turn's transaction, in a savepoint of its own. Its
 * handler reads its arguments strictly, changes the store, notes effects,
 * and fills the result; whatever it did is taken back if it fails.
 */
#ifndef CONTROLLER_OPERATION_H
#define CONTROLLER_OPERATION_H

#include "controller/args.h"
#include "controller/controller.h"

/* Classes of callers; a caller may be in several. */
enum operation_who {
    WHO_ANYONE = 1,   /* on weft-enroll/1: no certificate */
    WHO_EXPIRED = 2,  /* on weft-renew/1: a certificate that may have expired */
    WHO_IDENTITY = 4, /* on weft/1 */
    WHO_ROUTER = 8,   /* on weft/1 */
    WHO_ADMIN = 16,   /* an identity that is an administrator */
};
#define WHO_NODE (WHO_IDENTITY | WHO_ROUTER)

#define CALL_CHANGES_MAX 64

struct call {
    struct controller *c;              /* borrowed, as all here */
    unsigned who;                      /* mask of classes, without WHO_ADMIN: that is looked up */
    const struct pki_subject *subject; /* of the verified leaf; NULL: anonymous */
    const char *remote;                /* for the log */
    uint64_t floors_version;           /* that the caller said it holds */
    uint64_t bundle_version;           /* likewise; 0: it didn't say */
    const uint8_t *pinned;             /* digest of the bundle that the caller's token names */
    /* The exporter of the caller's channel. */
    weft_err (*exporter)(void *arg, const char *label, uint8_t out[32]);
    void *exporter_arg;
    bool is_probe; /* a look that may find nothing: no line in the log, no refusal counted */
    bool by_login; /* the caller showed a login (login.h), not its certificate */
    const char *operation;
    wf_span arguments;
    unsigned rights; /* of an administrator, filled when it is admitted: rights.h */
    bool is_act;     /* the operation changes something; filled then, too */
    uint64_t now;    /* wall ms */
    wf_buf result;   /* owned by the call's maker; bounded by what a reply holds */
    wf_why why;      /* for the caller */
    wf_why logged;   /* for the log alone: what the caller must not learn; empty: why says all */
    wf_why what;     /* acts: on what, for the log and the audit log; no secrets */
    uint64_t noted_count;     /* for the audit log: how many, and a digest over all of them */
    uint8_t noted_digest[32]; /* meant if noted_count > 0 */
    bool is_admin;            /* the row takes administrators, and the caller is one */
    bool touched;             /* the members were changed: see call_touch */
    bool dry_run;             /* an act that is to be undone, and to say what it would do */
    struct call_change {
        enum catalog_kind kind;
        wf_id id;
    } changes[CALL_CHANGES_MAX]; /* of the catalog: to be read again if the call is undone */
    size_t change_count;         /* above the maximum: all of it */
    struct withdrawn withdrawn;
    uint64_t gains;       /* dry_run of a policy: pairs that could do more */
    bool counts_gains;    /* it is such a call */
    bool gains_are_fewer; /* gains is but an upper bound */
};

#define OPERATION_RESULT_MAX (WF_CONTROL_MAX - 1024u) /* a reply adds its envelope and reason */

/*
 * Runs the call in its savepoint. WEFT_OK: the effects and the result stand;
 * anything else: nothing was changed, call->why holds the reason. Logs
 * refusals, and notes acts of administrators to be logged once durable.
 */
weft_err operation_run(struct call *call);

/*
 * Whether the caller's act may concern this node: an identity that is an
 * administrator with rights the caller lacks is out of reach, so that no
 * delegate takes over, renames, or locks out who stands above it. WEFT_EREFUSED.
 */
weft_err call_may_touch(struct call *call, const struct store_node *node);

/* Enters how many refused attempts have no entry of their own, if there are any. */
weft_err operation_note_left_out(struct controller *c, uint64_t now);

/* Routers change: what memory holds of them is read afresh, undone or not. */
void call_touch(struct call *call);
/* The store has a service, policy or identity otherwise than before: the catalog follows. */
weft_err call_changed(struct call *call, enum catalog_kind kind, const wf_id *id);
/* An identity or service is about to go: remove does it, and the policies that named it follow. */
weft_err call_removing(struct call *call, enum catalog_kind kind, const wf_id *id,
                       weft_err (*remove)(store *s, const wf_id *id));
/* Adds an effect about a node or session. WEFT_ENOMEM. */
weft_err call_note(struct call *call, enum effect_kind kind, enum pki_kind of,
                   const wf_id *subject);
/* Fills why, if nobody has yet: WEFT_EEXIST and WEFT_ENOTFOUND in words that say `what` `name`. */
weft_err call_fail(struct call *call, weft_err err, const char *what, const char *name);
/* What an operation is about: "name" or "id", exactly one of them. */
struct call_which {
    wf_id id;
    char name[WF_NAME_MAX + 1];
    bool by_id;
};
weft_err call_which(struct call *call, struct args *args, struct call_which *out);
/* How looking it up ended: notes its name for the log, or says that there is none. Returns err. */
weft_err call_found(struct call *call, weft_err err, const char *what,
                    const struct call_which *which, const char *name);
/* Appends one embedded message, encoded already, to the result: protobuf field number < 16. */
weft_err call_put_field(wf_buf *out, unsigned field, wf_span encoded);
/* Appends as many records as fit into budget: members, and floors from version have + 1 on. */
weft_err call_put_members(struct call *call, unsigned field, size_t budget);
weft_err call_put_floors(struct call *call, unsigned field, uint64_t have, size_t budget);

/* What an operation's row says, for tests of the table: name NULL behind the last. */
struct operation_row {
    const char *name;
    unsigned who;
    unsigned kinds; /* administrators need the right for these: rights.h */
    bool is_act;
};
struct operation_row operation_row(size_t i);

/* ---- the handlers, by noun */

weft_err op_enroll(struct call *call);
weft_err op_renew(struct call *call);
weft_err op_retire(struct call *call);
weft_err op_holds(struct call *call);
weft_err op_grants(struct call *call);
weft_err op_sync(struct call *call);
weft_err op_sessions(struct call *call);

weft_err op_identity_create(struct call *call, struct args *args);
weft_err op_identity_list(struct call *call, struct args *args);
weft_err op_identity_show(struct call *call, struct args *args);
weft_err op_identity_update(struct call *call, struct args *args);
weft_err op_identity_disable(struct call *call, struct args *args);
weft_err op_identity_enable(struct call *call, struct args *args);
weft_err op_identity_delete(struct call *call, struct args *args);
weft_err op_identity_reissue(struct call *call, struct args *args);
weft_err op_service_create(struct call *call, struct args *args);
weft_err op_service_list(struct call *call, struct args *args);
weft_err op_service_show(struct call *call, struct args *args);
weft_err op_service_update(struct call *call, struct args *args);
weft_err op_service_delete(struct call *call, struct args *args);
weft_err op_policy_create(struct call *call, struct args *args);
weft_err op_policy_list(struct call *call, struct args *args);
weft_err op_policy_show(struct call *call, struct args *args);
weft_err op_policy_update(struct call *call, struct args *args);
weft_err op_policy_delete(struct call *call, struct args *args);
weft_err op_allow(struct call *call, struct args *args);
weft_err op_disallow(struct call *call, struct args *args);
weft_err op_share(struct call *call, struct args *args);
weft_err op_explain(struct call *call, struct args *args);
weft_err op_router_create(struct call *call, struct args *args);
weft_err op_router_list(struct call *call, struct args *args);
weft_err op_router_show(struct call *call, struct args *args);
weft_err op_router_disable(struct call *call, struct args *args);
weft_err op_router_enable(struct call *call, struct args *args);
weft_err op_router_delete(struct call *call, struct args *args);
weft_err op_router_reissue(struct call *call, struct args *args);
weft_err op_admin_add(struct call *call, struct args *args);
weft_err op_admin_list(struct call *call, struct args *args);
weft_err op_admin_remove(struct call *call, struct args *args);
weft_err op_ca_add(struct call *call, struct args *args);
weft_err op_ca_verify(struct call *call, struct args *args);
weft_err op_ca_list(struct call *call, struct args *args);
weft_err op_ca_show(struct call *call, struct args *args);
weft_err op_ca_token(struct call *call, struct args *args);
weft_err op_ca_remove(struct call *call, struct args *args);
weft_err op_oidc_add(struct call *call, struct args *args);
weft_err op_oidc_list(struct call *call, struct args *args);
weft_err op_oidc_show(struct call *call, struct args *args);
weft_err op_oidc_token(struct call *call, struct args *args);
weft_err op_oidc_remove(struct call *call, struct args *args);
weft_err op_session_list(struct call *call, struct args *args);
weft_err op_session_cut(struct call *call, struct args *args);
weft_err op_audit_consistency(struct call *call);
weft_err op_audit_list(struct call *call, struct args *args);
weft_err op_audit_checkpoints(struct call *call, struct args *args);
weft_err op_audit_prove(struct call *call, struct args *args);
weft_err op_login(struct call *call, struct args *args);
weft_err op_status(struct call *call, struct args *args);
weft_err op_backup_begin(struct call *call, struct args *args);
weft_err op_backup_status(struct call *call, struct args *args);
weft_err op_backup_read(struct call *call, struct args *args);
weft_err op_backup_end(struct call *call, struct args *args);
weft_err op_rotation_status(struct call *call, struct args *args);

#endif
