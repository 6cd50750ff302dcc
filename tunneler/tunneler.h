/* What the tunneler's rooms share: one process, one identity, many rules. */
#ifndef TUNNELER_TUNNELER_H
#define TUNNELER_TUNNELER_H

#include "proto/base/address.h"
#include "proto/base/list.h"
#include "proto/base/text.h"
#include "proto/base/why.h"
#include <uv.h>
#include <weft/weft.h>

struct counters {
    uint64_t sessions_hosted, sessions_dialed, sessions_open;
    uint64_t refused_backend, refused_limit, dial_failures, broken;
    uint64_t bytes_to_tcp, bytes_to_stream;
};

struct tunneler {
    uv_loop_t *loop;         /* borrowed: outlives us */
    weft_endpoint *endpoint; /* owned */
    struct relays *relays;   /* owned, see relay.h */
    struct counters counters;
    unsigned sessions_max;
    bool is_revoked;        /* our identity is disabled, and that has been said */
    wf_node hosts, proxies; /* of struct host, struct proxy */
    wf_node attempts;       /* of host.c: dialers that wait for their backend */
};

#endif
