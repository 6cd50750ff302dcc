/*
 * What a long-running program owes its system: a clean stop on SIGTERM and
 * SIGINT, a reload on SIGHUP, readiness and watchdog for systemd
 * (sd_notify), and never SIGPIPE.
 */
#ifndef PROTO_NODE_DAEMON_H
#define PROTO_NODE_DAEMON_H

#include "proto/base/why.h"
#include <stdbool.h>

struct uv_loop_s;
typedef struct wf_daemon wf_daemon;

struct wf_daemon_handler {
    void (*stop)(void *arg);   /* drain, then leave. A second signal ends the process at once */
    void (*reload)(void *arg); /* may be NULL */
};

weft_err wf_daemon_open(struct uv_loop_s *loop, const struct wf_daemon_handler *handler, void *arg,
                        wf_daemon **out);
/* Tells systemd (where NOTIFY_SOCKET is set) READY=1 and the status line; starts its watchdog. */
void wf_daemon_ready(wf_daemon *daemon, const char *text);
/* Frees in its close callbacks; the loop must still run once. */
void wf_daemon_close(wf_daemon *daemon);

#endif
