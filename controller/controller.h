/*
 * The controller at work: what its handlers share, and the life of the program.
 */
#ifndef CONTROLLER_CONTROLLER_H
#define CONTROLLER_CONTROLLER_H

#include "controller/catalog.h"
#include "controller/floors.h"
#include "controller/home.h"
#include "controller/login.h"
#include "controller/members.h"
#include "controller/sessions.h"
#include "controller/turn.h"
#include "proto/base/quota.h"
#include "proto/link/link.h"

struct jwks;

#define CONTROLLER_ERR_COUNT 28 /* codes of weft_err */

struct controller_counters {
    uint64_t calls, grants_dial, grants_bind, enrollments, renewals, floors;
    uint64_t own_renewals;                   /* of the controller's own certificate */
    uint64_t audit_alarms;                   /* routers that remember a longer log */
    uint64_t refusals[CONTROLLER_ERR_COUNT]; /* of calls, by code */
    uint64_t links[CONTROLLER_ERR_COUNT];    /* refused, by code */
};

struct controller {
    struct home home;
    struct catalog catalog;
    struct members members;
    struct sessions sessions;
    struct logins logins;
    struct turn turn;
    struct controller_counters counters;
    uint64_t started; /* wall ms */
    wf_node peers;    /* struct peer, peer.h */
    wf_node owed;     /* those of them that a notice is to go to: notice.h */
    size_t peer_count;
    wf_map *quotas;       /* owned; kind and id -> struct wf_quota: links, and calls for grants */
    uint64_t log_full_at; /* wf_quota_draw of lines that a peer can cause at will */
    unsigned log_left_out;
    uint64_t audit_strangers_full_at, audit_nodes_full_at; /* entries about refused calls */
    uint64_t audit_left_out;      /* refused calls since the last entry about such */
    uint64_t checkpoint_shown_at; /* mono ms, to routers */
    bool checkpoint_unshown;      /* routers haven't seen the newest one */
    uint64_t behind;              /* the longest log that a router remembered */
    struct jwks *jwks;            /* owned by who runs the loop; NULL: nothing is fetched */
    struct backup *backup;        /* owned; NULL: none (backup.h) */
    bool draining;                /* no new links, no new calls */
};

/* Opens the home and what rests in memory; no network yet. */
weft_err controller_init(struct controller *c, const char *dir, wf_why *why);
/* As controller_init, with the seal key from this source; NULL: from where the home says. */
weft_err controller_init_sealed(struct controller *c, const char *dir, const char *seal_key,
                                wf_why *why);
void controller_fini(struct controller *c);
/* Rate limit for lines that a peer can cause at will: whether one more may be logged now. */
bool controller_may_log(struct controller *c);

/*
 * Ends the turn: commits, then lets the effects happen (peer.h). WEFT_OK, or
 * the store is broken: nothing of the turn was acknowledged and the program has to end.
 */
weft_err controller_end_turn(struct controller *c, wf_why *why);
/* The same, with a checkpoint that no rate holds back. */
weft_err controller_end_turn_signed(struct controller *c, wf_why *why);
/* Whether a checkpoint has to be signed, or shown to routers, a little later. */
bool controller_owes_checkpoint(const struct controller *c);
/* Enters that the program starts or stops. */
weft_err controller_note(struct controller *c, enum audit_kind kind);
/* What has to be done now and then: records to refresh, rows to forget, the own leaf. */
weft_err controller_look_after(struct controller *c, uint64_t now, bool *leaf_renewed);

/* ---- the program */

struct controller_run {
    const char *dir;
    wf_address listen;
    const char *seal_key;  /* unlock.h; NULL: as the home says */
    const char *metrics;   /* "HOST:PORT" or NULL */
    const wf_address *api; /* NULL: no HTTPS API */
    bool api_may_fail;     /* nobody asked for it by name: without the address, go on without it */
    const char *api_cert, *api_key;              /* PEM files of the operator's; NULL: our own */
    void (*listening)(void *arg, uint16_t port); /* may be NULL: tests */
    void *arg;
};
/* Serves until SIGTERM or SIGINT. */
weft_err controller_run(const struct controller_run *run, wf_why *why);

#endif
