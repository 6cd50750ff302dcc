/* What a router counts for its operator. Gauges say so; all else only rises. */
#ifndef ROUTER_COUNTERS_H
#define ROUTER_COUNTERS_H

#include <stdint.h>

#define ROUTER_ERR_COUNT 28 /* codes of weft_err */

struct router_counters {
    uint64_t edges, routers, binds; /* gauges: endpoints, linked routers, local terminators */
    uint64_t remote_binds;          /* gauge: terminators at other routers */
    uint64_t circuits;              /* gauge: that stand */
    uint64_t pending;               /* gauge: that await their reply */
    uint64_t queued_bytes;          /* gauge: memory of queues */

    uint64_t setups_opened;
    uint64_t setups_refused_policy; /* no grant, a wrong one, or a revoked one */
    uint64_t setups_refused_expired;
    uint64_t setups_refused_no_host;
    uint64_t setups_refused_no_path;
    uint64_t setups_refused_limit; /* too many circuits, too much that waits, or draining */
    uint64_t setups_refused_by_host;
    uint64_t setups_timed_out;
    uint64_t setups_lost; /* the link to the host's side went meanwhile */

    uint64_t frames_forwarded, bytes_forwarded; /* of DATA; bytes of payload */
    uint64_t frames_queued;                     /* of those, that had to wait for a link */

    uint64_t closed_breach; /* circuits closed over forged credit, acknowledgements or labels */
    uint64_t closed_budget; /* circuits closed to get back under the memory budget */
    uint64_t closed_revoked;
    uint64_t closed_lost; /* with their link */

    uint64_t binds_accepted, binds_refused;
    uint64_t edges_cut, routers_cut; /* links closed by a revocation or an expired certificate */
    uint64_t floors_applied, floors_refused;
    uint64_t links_refused[ROUTER_ERR_COUNT]; /* by code, as the two below */
    uint64_t dials_refused[ROUTER_ERR_COUNT];
    uint64_t hosts_refused[ROUTER_ERR_COUNT]; /* binds */
    uint64_t renewals;                        /* of our certificate */
    uint64_t audit_alarms; /* the controller's audit log contradicts what was signed before */
};

#endif
