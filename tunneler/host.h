/* A hosted service: bound by name, forwarded to one local server, and nowhere else. */
#ifndef TUNNELER_HOST_H
#define TUNNELER_HOST_H

#include "tunneler/tunneler.h"

struct host {
    wf_node node;              /* in tunneler.hosts */
    struct tunneler *tunneler; /* borrowed: outlives us */
    weft_listener *listener;   /* owned; NULL while it waits for another try */
    uv_timer_t again;
    char service[WF_NAME_MAX + 1];
    wf_address target;
    unsigned routers; /* that it is bound on */
    unsigned wait_ms; /* before the next try, after a refusal */
    bool closing;
};

/* "SERVICE=HOST:PORT". WEFT_EUSAGE. */
weft_err host_parse(const char *rule, char service[WF_NAME_MAX + 1], wf_address *target,
                    wf_why *why);
weft_err host_open(struct tunneler *tunneler, const char *service, const wf_address *target,
                   wf_why *why);
/* Unbinds; sessions live on. Frees itself. */
void host_close(struct host *host);
/* Refuses all dialers that still wait for their backend. */
void host_cut_attempts(struct tunneler *tunneler);

#endif
