/* A local port that leads to a service by name. */
#ifndef TUNNELER_PROXY_H
#define TUNNELER_PROXY_H

#include "tunneler/tunneler.h"

struct proxy {
    wf_node node;              /* in tunneler.proxies */
    struct tunneler *tunneler; /* borrowed: outlives us */
    uv_tcp_t tcp;
    uv_tcp_t spare; /* for a connection that is refused */
    bool tcp_open, spare_busy, spare_wanted;
    char service[WF_NAME_MAX + 1];
    wf_address listen;
};

/* "LISTEN=SERVICE", LISTEN being PORT (on 127.0.0.1) or HOST:PORT. WEFT_EUSAGE. */
weft_err proxy_parse(const char *rule, wf_address *listen, char service[WF_NAME_MAX + 1],
                     wf_why *why);
weft_err proxy_open(struct tunneler *tunneler, const wf_address *listen, const char *service,
                    wf_why *why);
/* The port it listens on (for LISTEN with port 0). */
uint16_t proxy_port(const struct proxy *proxy);
/* Stops listening; sessions live on. Frees itself. */
void proxy_close(struct proxy *proxy);

#endif
