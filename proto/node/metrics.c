#include "proto/node/metrics.h"
#include "proto/base/address.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/http/server.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define ANSWER_MAX (1024u * 1024u)

struct wf_metrics {
    wf_http_server *server; /* owned */
    void (*collect)(void *arg, wf_buf *out);
    bool (*ready)(void *arg, wf_why *why);
    void *arg; /* borrowed: outlives us */
};

/* HELP and TYPE stand once, before the first sample of a name. */
static void put_header(wf_buf *out, const char *name, const char *help, const char *type)
{
    char line[96];
    snprintf(line, sizeof line, "# TYPE %s ", name);
    if (out->len != 0 && memmem(out->data, out->len, line, strlen(line)) != NULL)
        return;
    wf_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_name(wf_buf *out, const char *name, const char *labels)
{
    if (labels != NULL)
        wf_buf_printf(out, "%s{%s} ", name, labels);
    else
        wf_buf_printf(out, "%s ", name);
}

void wf_metric_gauge(wf_buf *out, const char *name, const char *help, const char *labels,
                     double value)
{
    put_header(out, name, help, "gauge");
    put_name(out, name, labels);
    wf_buf_printf(out, "%.17g\n", value);
}

void wf_metric_counter(wf_buf *out, const char *name, const char *help, const char *labels,
                       uint64_t value)
{
    put_header(out, name, help, "counter");
    put_name(out, name, labels);
    wf_buf_printf(out, "%llu\n", (unsigned long long)value);
}

void wf_metrics_put_standing(wf_buf *out, const char *program, const struct wf_metrics_standing *s)
{
    const uint64_t now = wf_now_wall_ms();
    const struct {
        const char *name, *help;
        double value;
        bool counts;
    } rows[] = {
        {"certificate_days_left", "Days until the certificate in use ends.",
         ((double)s->certificate_until - (double)now) / 86400000.0, false},
        {"certificate_renewed_seconds", "When the certificate in use begins, Unix time.",
         (double)(s->certificate_from / 1000), false},
        {"certificate_renewals_total", "Renewals of the own certificate.", (double)s->renewals,
         true},
        {"bundle_version", "The trust bundle that is held.", (double)s->bundle_version, false},
        {"audit_size", "Entries of the audit log under the newest checkpoint known.",
         (double)s->audit_size, false},
        {"audit_alarms_total", "Contradictions in the controller's audit log.",
         (double)s->audit_alarms, true},
    };
    char name[96];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(name, sizeof name, "weft_%s_%s", program, rows[i].name);
        if (rows[i].counts)
            wf_metric_counter(out, name, rows[i].help, NULL, (uint64_t)rows[i].value);
        else
            wf_metric_gauge(out, name, rows[i].help, NULL, rows[i].value);
    }
}

void wf_metrics_put_refusals(wf_buf *out, const char *program, const char *at,
                             const uint64_t *by_code, size_t count)
{
    char name[96], labels[96];
    snprintf(name, sizeof name, "weft_%s_refusals_total", program);
    for (size_t code = 0; code < count; code++) {
        if (by_code[code] == 0)
            continue;
        snprintf(labels, sizeof labels, "at=\"%s\",reason=\"%s\"", at, weft_err_name((int)code));
        wf_metric_counter(out, name, "What was refused here, by kind and reason.", labels,
                          by_code[code]);
    }
}

static double resident_bytes(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f != NULL) {
        if (fscanf(f, "%*s %ld", &pages) != 1)
            pages = 0;
        fclose(f);
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double open_files(void)
{
    double n = 0;
    DIR *d = opendir("/proc/self/fd");
    if (d == NULL)
        return 0;
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n - 3; /* ".", ".." and the folder itself */
}

static void collect_process(wf_buf *out)
{
    struct rusage use;
    double cpu = 0;
    if (getrusage(RUSAGE_SELF, &use) == 0)
        cpu = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
              (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
    wf_metric_gauge(out, "process_resident_memory_bytes", "Resident memory.", NULL,
                    resident_bytes());
    wf_metric_gauge(out, "process_open_fds", "Open file descriptors.", NULL, open_files());
    wf_metric_gauge(out, "process_cpu_seconds_total", "Processor time used.", NULL, cpu);
}

static bool is_path(wf_span path, const char *text)
{
    return path.len == strlen(text) && memcmp(path.data, text, path.len) == 0;
}

/* Fills body and *type (static text), returns the status. */
static unsigned figures(const wf_metrics *m, const struct wf_http_request *request, wf_buf *body,
                        const char **type)
{
    wf_why why = {""};
    if (request->method.len != 3 || memcmp(request->method.data, "GET", 3) != 0) {
        wf_buf_put_text(body, "only GET\n");
        return 405;
    }
    if (is_path(request->path, "/metrics")) {
        *type = "text/plain; version=0.0.4; charset=utf-8";
        m->collect(m->arg, body);
        collect_process(body);
        return 200;
    }
    if (is_path(request->path, "/livez")) {
        wf_buf_put_text(body, "ok\n");
        return 200;
    }
    if (is_path(request->path, "/readyz")) {
        bool ready = m->ready == NULL || m->ready(m->arg, &why);
        wf_buf_printf(body, "%s\n", ready ? "ok" : why.text);
        return ready ? 200 : 503;
    }
    wf_buf_put_text(body, "/metrics, /livez and /readyz are here\n");
    return 404;
}

static void on_request(void *arg, wf_http_exchange *exchange, const struct wf_http_request *request)
{
    const char *type = "text/plain; charset=utf-8";
    wf_buf body;
    wf_buf_init(&body, ANSWER_MAX);
    unsigned status = figures(arg, request, &body, &type);
    const struct wf_http_field field = {wf_span_of("Content-Type", 12),
                                        wf_span_of(type, strlen(type))};
    wf_http_answer(exchange, status, &field, 1, wf_span_of(body.data, body.len));
    wf_buf_fini(&body);
}

weft_err wf_metrics_open(struct uv_loop_s *loop, const struct wf_metrics_config *config,
                         wf_metrics **out, wf_why *why)
{
    wf_address address;
    weft_err err = wf_address_parse(config->address, 0, &address, why);
    if (err != WEFT_OK)
        return wf_wrap(why, WEFT_EUSAGE, "--metrics");
    wf_metrics *m = calloc(1, sizeof *m);
    if (m == NULL)
        return WEFT_ENOMEM;
    m->collect = config->collect;
    m->ready = config->ready;
    m->arg = config->arg;
    struct wf_http_server_config server = {
        .address = &address,
        .clear_anywhere = true, /* the operator names the address; nothing secret is shown */
        .request = on_request,
        .arg = m,
        .limits = {.connections = 32},
    };
    err = wf_http_server_open(loop, &server, &m->server, why);
    if (err != WEFT_OK) {
        free(m);
        return wf_wrap(why, err, "--metrics");
    }
    char text[WF_ADDRESS_TEXT];
    address.port = wf_http_server_port(m->server);
    wf_log_info("/metrics, /livez and /readyz at http://%s", wf_address_text(&address, text));
    *out = m;
    return WEFT_OK;
}

uint16_t wf_metrics_port(const wf_metrics *m)
{
    return wf_http_server_port(m->server);
}

void wf_metrics_close(wf_metrics *m)
{
    if (m == NULL)
        return;
    wf_http_server_close(m->server); /* asks nothing of us any more */
    free(m);
}
