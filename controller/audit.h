/*
 * The audit log: what happened, entry by entry, in the same transaction as
 * the change itself; over it a hash tree, and signed checkpoints of that tree
 * which other nodes remember. docs/protocol.md, "The audit log".
 *
 * Entries are made here and nowhere else. An entry is one JSON object on one
 * line, in a fixed order of keys, printable ASCII only; what is hashed is what
 * is stored is what is exported. It never holds a secret: of a call's
 * arguments only those that audit.c lists are kept.
 */
#ifndef CONTROLLER_AUDIT_H
#define CONTROLLER_AUDIT_H

#include "controller/store.h"
#include "pki/checkpoint.h"

struct home;

enum audit_kind {
    AUDIT_NONE, /* an operation that only looks: no entry unless it is refused */
    AUDIT_ADMIN,
    AUDIT_ENROLL,
    AUDIT_RENEW,
    AUDIT_GRANTS,
    AUDIT_FLOORS,   /* a record of revocations was signed */
    AUDIT_REFUSED,  /* a call was refused; nothing of it was done */
    AUDIT_LEFT_OUT, /* refused calls that have no entry of their own: count */
    AUDIT_START,
    AUDIT_STOP,
    AUDIT_BEHIND,   /* a router remembers a longer log: this store is an old copy */
    AUDIT_LEARNED,  /* a restored store took revocations back from a router */
    AUDIT_LOCAL,    /* a command at the controller's own machine */
    AUDIT_ROTATION, /* authorities and keys that `rotate-ca` made or ended were taken up */
};

/* All texts may be NULL, are cut to a bound and made printable. */
struct audit_event {
    enum audit_kind kind;
    uint64_t time; /* wall ms */
    const char *operation;
    const char *by; /* a name */
    const wf_id *id;
    const char *as; /* administrator, identity, router, enrollee, controller */
    const char *at; /* address */
    const char *what;
    wf_span arguments; /* of an administrator's call: a JSON object */
    uint64_t count;    /* 0: none is said; so with version */
    uint64_t version;
    const uint8_t *digest; /* 32 bytes, of what `what` only begins to list */
    weft_err code;
    const char *reason;
};

struct audit_log {
    struct pki_tree tree;
    uint64_t signed_size; /* of the newest checkpoint in the store */
    uint64_t signed_at;   /* mono ms */
    wf_buf newest;        /* owned: the encoded Signed, committed */
    wf_buf fresh;         /* owned: the same, of the turn that is under way */
};

/* Reads the tree's edge and the newest checkpoint. *out is the caller's, by audit_close. */
weft_err audit_open(store *s, struct audit_log **out);
void audit_close(struct audit_log *log);

/* Appends an entry; a transaction is open. Any error: no entry, the change has to be undone. */
weft_err audit_append(const struct home *home, const struct audit_event *event);
/* Whether entries came since the last checkpoint and it is time for another. */
bool audit_may_sign(const struct audit_log *log, uint64_t now_mono);
/* Signs a checkpoint, if entries came since the last one, into the open transaction. */
weft_err audit_sign(const struct home *home, uint64_t now, uint64_t now_mono);
/* The transaction was committed: what was signed in it may be shown. Whether something was. */
bool audit_committed(struct audit_log *log);
/* Whether entries wait for a checkpoint. */
bool audit_is_unsigned(const struct audit_log *log);

/* The hash of a complete subtree: pki_tree_get_fn with the store as arg. */
weft_err audit_subtree(void *store, unsigned level, uint64_t index, uint8_t out[PKI_HASH_LEN]);

#endif
