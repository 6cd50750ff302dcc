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

struct wf_metrics_config {
    const char *address; /* "HOST:PORT" */
    void (*collect)(void *arg, wf_buf *out);
    bool (*ready)(void *arg, wf_why *why); /* false: 503 with the reason */
    void *arg;
};
/* Adds process figures (resident bytes, open files, processor seconds) by itself. */
weft_err wf_metrics_open(struct uv_loop_s *loop, const struct wf_metrics_config *config,
                         wf_metrics **out, wf_why *why);
uint16_t wf_metrics_port(const wf_metrics *metrics);
void wf_metrics_close(wf_metrics *metrics); /* frees in its close callbacks */

#endif
