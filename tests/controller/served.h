/*
 * A controller that serves, as a process of its own, and what connects to it:
 * real links on one loop of the test's.
 */
#ifndef TESTS_CONTROLLER_SERVED_H
#define TESTS_CONTROLLER_SERVED_H

#include "desk.h"
#include "pki/identity.h"
#include <sys/types.h>
#include <uv.h>

struct served {
    struct folder folder;
    wf_address address;
    pid_t pid;         /* 0: not running */
    size_t file_limit; /* bytes that its files may have; 0: any. For a full disk */
};
void served_init(struct served *s);  /* a fresh home; not running */
void served_start(struct served *s); /* waits until it listens */
void served_stop(struct served *s);  /* SIGTERM; it must end well */
void served_kill(struct served *s);  /* SIGKILL */
int served_wait(struct served *s);   /* until it ends by itself: its exit status */
void served_fini(struct served *s);

/* Where links live. */
struct hall {
    uv_loop_t loop;
    wf_net *net;
};
void hall_open(struct hall *h);
void hall_close(struct hall *h);
/* Turns the loop until the condition holds; fails after ms. */
#define hall_wait(h, ms, condition)                                                                \
    do {                                                                                           \
        uint64_t end_ = uv_hrtime() / 1000000 + (ms);                                              \
        while (!(condition) && uv_hrtime() / 1000000 < end_) {                                     \
            uv_run(&(h)->loop, UV_RUN_NOWAIT);                                                     \
            if (!(condition))                                                                      \
                uv_sleep(1);                                                                       \
        }                                                                                          \
        assert_true(condition);                                                                    \
    } while (0)

/* A link to the controller and what came over it. */
struct line {
    struct hall *hall;
    wf_link *link; /* NULL once closed */
    bool secured, up, closed;
    weft_err err; /* of closed */
    wf_why why;
    bool replied;
    weft_err code; /* of the last reply */
    char reason[WF_REASON_MAX + 1];
    wf_buf result;
    unsigned floors, grants, members, cuts; /* pushes */
    uint64_t floors_at;                     /* hrtime ns of the last one */
    pki_trust *trust;                       /* pushed floors are applied there; may be NULL */
    uint64_t floors_version;                /* what our Hello says */
};
/* Dials; alpn and credentials as given. Doesn't wait. */
void line_dial(struct line *line, struct hall *hall, const wf_address *address, pki_tls_ctx *tls,
               enum pki_alpn alpn);
/* line_dial on weft/1, and waits until it is up. */
void line_open(struct line *line, struct hall *hall, const wf_address *address, pki_tls_ctx *tls,
               pki_trust *trust);
weft_err line_call(struct line *line, const char *operation, wf_span arguments);
weft_err line_ask(struct line *line, const char *operation, const char *json, ...)
    __attribute__((format(printf, 3, 4)));
/* The text under a key of the last result. */
void line_text(struct line *line, const char *key, char *out, size_t cap);
void line_close(struct line *line);

/* An identity with its trust and TLS. */
struct person {
    struct pki_identity identity;
    pki_trust *trust;
    pki_tls_ctx *tls;
};
void person_load(struct person *p, const char *path);
void person_fini(struct person *p);
/* Asks the administrator for a token, redeems it over the wire. */
void person_enroll(struct person *p, struct served *s, struct line *admin, const char *name,
                   const char *roles);

#endif
