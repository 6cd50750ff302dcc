/* Live sessions by who, what and where, as routers and endpoints report them; in memory only. */
#ifndef CONTROLLER_SESSIONS_H
#define CONTROLLER_SESSIONS_H

#include "pki/cert.h"
#include "proto/wire/control.h"

struct session {
    wf_id id, service, dialer, host;
    wf_id reporter;
    enum pki_kind reporter_kind;
    uint64_t started, bytes_to_host, bytes_to_dialer;
};

struct sessions {
    struct session *items; /* owned; a session may stand here once for each reporter */
    size_t count, cap;
};

#define SESSIONS_MAX 1000000u

/*
 * Replaces everything that this reporter said before. An identity's word
 * counts for sessions that it dials or hosts, a router's for all.
 */
weft_err sessions_report(struct sessions *sessions, const struct pki_subject *reporter,
                         const Weft__Wire__SessionReport *report);
void sessions_forget(struct sessions *sessions, const wf_id *reporter);
void sessions_fini(struct sessions *sessions);

#endif
