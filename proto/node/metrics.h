/*
 * What every program shows its operator on --metrics HOST:PORT: /metrics
 * (Prometheus text format 0.0.4), /livez and /readyz, over the strict
 * HTTP/1.1 of proto/http. Loopback unless told.
 */
#ifndef PROTO_NODE_METRICS_H
#define PROTO_NODE_METRICS_H

#include "proto/base/buf.h"
#include "proto/base/why.h"
#include <stdbool.h>
#include <stdint.h>

struct uv_loop_s;
typedef struct wf_metrics wf_metrics;

/* One sample; inside collect alone. labels: NULL or `reason="expired"`, made by the program. */
void wf_metric_gauge(wf_buf *out, const char *name, const char *help, const char *labels,
                     double value);
void wf_metric_counter(wf_buf *out, const char *name, const char *help, const char *labels,
                       uint64_t value);

/*
 * What each program has: weft_<program>_certificate_..., _bundle_version,
 * _audit_... Times are wall ms, 0: not known. docs/operations.md, "Metrics".
 */
struct wf_metrics_standing {
    uint64_t certificate_from, certificate_until; /* of the certificate in use */
    uint64_t renewals;                            /* since the start */
    uint64_t bundle_version;
    uint64_t audit_size;   /* entries of the audit log that the newest checkpoint covers */
    uint64_t audit_alarms; /* since the start */
};
void wf_metrics_put_standing(wf_buf *out, const char *program,
                             const struct wf_metrics_standing *standing);
/* Rows weft_<program>_refusals_total{at="dial",reason="..."}, by weft_err; zeros are left out. */
void wf_metrics_put_refusals(wf_buf *out, const char *program, const char *at,
                             const uint64_t *by_code, size_t count);

struct wf_metrics_config {
    const char *address; /* "HOST:PORT" */
    void (*collect)(void *arg, wf_buf *out);
    bool (*ready)(void *arg, wf_why *why); /* false: 503 with the reason */
    void *arg;
};
/*
 * Adds process figures (resident bytes, open files, processor seconds) by
 * itself, and logs where it listens: the port may have been 0.
 */
weft_err wf_metrics_open(struct uv_loop_s *loop, const struct wf_metrics_config *config,
                         wf_metrics **out, wf_why *why);
uint16_t wf_metrics_port(const wf_metrics *metrics);
void wf_metrics_close(wf_metrics *metrics); /* frees in its close callbacks */

#endif
