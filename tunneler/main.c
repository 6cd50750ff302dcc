/* weft-tunneler: sits beside servers and clients that can't embed the SDK. */
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/node/daemon.h"
#include "proto/node/metrics.h"
#include "proto/node/program.h"
#include "tunneler/config.h"
#include "tunneler/host.h"
#include "tunneler/proxy.h"
#include "tunneler/relay.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DRAIN_MS 10000u
#define SESSIONS_MAX 10000

struct program {
    struct tunneler t;
    uv_loop_t loop;
    wf_daemon *daemon;   /* owned */
    wf_metrics *metrics; /* owned; NULL: not asked for */
    uv_timer_t drain;
    struct config *config; /* owned: the rules in force */
    const char *path;      /* borrowed: of the file, NULL when rules were typed */
    uint64_t drain_left_ms;
    bool leaving;
    bool was_in;     /* the controller or a router let us in */
    weft_err failed; /* why we leave unasked; WEFT_OK: we don't */
    wf_why why;
};

/* ---- the rules in force */

static bool in_rules(const struct rule *rules, size_t count, const struct rule *rule)
{
    for (size_t i = 0; i < count; i++)
        if (rule_equal(&rules[i], rule))
            return true;
    return false;
}

static weft_err open_rules(struct program *p, const struct config *old, const struct config *c,
                           wf_why *why)
{
    weft_err err = WEFT_OK;
    for (size_t i = 0; err == WEFT_OK && i < c->host_count; i++)
        if (old == NULL || !in_rules(old->hosts, old->host_count, &c->hosts[i]))
            err = host_open(&p->t, c->hosts[i].service, &c->hosts[i].address, why);
    for (size_t i = 0; err == WEFT_OK && i < c->proxy_count; i++)
        if (old == NULL || !in_rules(old->proxies, old->proxy_count, &c->proxies[i]))
            err = proxy_open(&p->t, &c->proxies[i].address, c->proxies[i].service, why);
    return err;
}

/* Closes what the new rules (NULL: none) don't have any more. */
static void close_rules(struct program *p, const struct config *c)
{
    struct rule rule;
    for (wf_node *n = p->t.hosts.next; n != &p->t.hosts; n = n->next) {
        struct host *h = wf_container_of(n, struct host, node);
        memcpy(rule.service, h->service, sizeof rule.service);
        rule.address = h->target;
        if (c == NULL || !in_rules(c->hosts, c->host_count, &rule))
            host_close(h);
    }
    for (wf_node *n = p->t.proxies.next; n != &p->t.proxies; n = n->next) {
        struct proxy *x = wf_container_of(n, struct proxy, node);
        memcpy(rule.service, x->service, sizeof rule.service);
        rule.address = x->listen;
        if (c == NULL || !in_rules(c->proxies, c->proxy_count, &rule))
            proxy_close(x);
    }
}

static void on_reload(void *arg)
{
    struct program *p = arg;
    struct config *fresh;
    wf_why why = {""};
    if (p->path == NULL || p->leaving) {
        wf_log_info("nothing to reload: the rules were typed");
        return;
    }
    if (config_load(p->path, &fresh, &why) != WEFT_OK) {
        wf_log_error("the old rules stay in force: %s", why.text);
        return;
    }
    close_rules(p, fresh);
    if (open_rules(p, p->config, fresh, &why) != WEFT_OK)
        wf_log_error("a new rule could not be opened: %s", why.text);
    config_free(p->config);
    p->config = fresh;
    wf_log_info("reloaded %s; sessions live on", p->path);
}

/* ---- the end */

static void on_endpoint_closed(void *arg)
{
    struct program *p = arg;
    if (p->t.relays != NULL)
        relays_close(p->t.relays);
    uv_close((uv_handle_t *)&p->drain, NULL);
    wf_metrics_close(p->metrics);
    if (p->daemon != NULL)
        wf_daemon_close(p->daemon);
}

static void leave(struct program *p)
{
    uv_timer_stop(&p->drain);
    close_rules(p, NULL);
    host_cut_attempts(&p->t);
    if (p->t.relays != NULL)
        relays_cut(p->t.relays);
    weft_endpoint_close(p->t.endpoint, on_endpoint_closed, p);
}

static void on_drain(uv_timer_t *timer)
{
    struct program *p = wf_container_of(timer, struct program, drain);
    const uint64_t step = 100;
    p->drain_left_ms -= p->drain_left_ms < step ? p->drain_left_ms : step;
    if (relays_count(p->t.relays) == 0 || p->drain_left_ms == 0)
        leave(p);
}

static void on_stop(void *arg)
{
    struct program *p = arg;
    if (p->leaving)
        return;
    p->leaving = true;
    size_t sessions = relays_count(p->t.relays);
    if (sessions > 0)
        wf_log_info("stopping: %zu session%s may end by themselves for %u s", sessions,
                    sessions == 1 ? "" : "s", DRAIN_MS / 1000);
    else
        wf_log_info("stopping");
    close_rules(p, NULL);
    p->drain_left_ms = DRAIN_MS;
    uv_timer_start(&p->drain, on_drain, 0, 100);
}

static const struct wf_daemon_handler daemon_handler = {on_stop, on_reload};

/* ---- what it shows */

/* Who was never let in has nothing to wait for that its supervisor can't wait for. */
static void give_up(struct program *p, const struct weft_event *event)
{
    p->leaving = true;
    p->failed = wf_fail(&p->why, WEFT_EREVOKED,
                        "%s: an administrator can let it back in: weft identity enable, or reissue",
                        event->text);
    p->drain_left_ms = 0;
    uv_timer_start(&p->drain, on_drain, 0, 0); /* not from inside the library's call */
}

/* The library logs what goes wrong by itself; what is there is for us to say. */
static void on_event(void *arg, const struct weft_event *event)
{
    struct program *p = arg;
    if (event->kind == WEFT_EVENT_REVOKED && !p->was_in) {
        if (!p->leaving)
            give_up(p, event);
        return;
    }
    if (event->kind == WEFT_EVENT_REVOKED) {
        if (!p->t.is_revoked)
            wf_log_error("%s: an administrator can let it back in: weft identity enable",
                         event->text);
        p->t.is_revoked = true;
        return;
    }
    if (event->kind == WEFT_EVENT_CONTROLLER_UP || event->kind == WEFT_EVENT_ROUTER_UP)
        p->was_in = true;
    if (event->kind == WEFT_EVENT_CONTROLLER_UP)
        p->t.is_revoked = false; /* it lets no disabled one in */
    if (event->kind == WEFT_EVENT_CONTROLLER_UP)
        wf_log_info("the controller is there: %s", event->text);
    else if (event->kind == WEFT_EVENT_ROUTER_UP)
        wf_log_info("router %s is there", event->text);
}

#define GAUGE(name, help, labels, value)                                                           \
    wf_metric_gauge(out, "weft_tunneler_" name, help, labels, (double)(value))
#define COUNTER(name, help, labels, value)                                                         \
    wf_metric_counter(out, "weft_tunneler_" name, help, labels, value)

/* What the library knows of the identity. */
static void collect_facts(const struct program *p, wf_buf *out)
{
    struct weft_facts facts;
    weft_endpoint_facts(p->t.endpoint, &facts, sizeof facts);
    const struct wf_metrics_standing standing = {
        .certificate_from = (uint64_t)facts.certificate_from * 1000,
        .certificate_until = (uint64_t)facts.certificate_until * 1000,
        .renewals = facts.renewals,
        .bundle_version = facts.bundle_version,
        .audit_size = facts.audit_size,
        .audit_alarms = facts.audit_alarms};
    wf_metrics_put_standing(out, "tunneler", &standing);
    GAUGE("grants", "Grants held that are valid now.", "role=\"dial\"", facts.dial_grants);
    GAUGE("grants", "Grants held that are valid now.", "role=\"bind\"", facts.bind_grants);
    wf_metrics_put_refusals(out, "tunneler", "session", facts.sessions_refused, WEFT_FACTS_CODES);
    wf_metrics_put_refusals(out, "tunneler", "dial", facts.dials_failed, WEFT_FACTS_CODES);
    wf_metrics_put_refusals(out, "tunneler", "bind", facts.binds_refused, WEFT_FACTS_CODES);
}

static void collect(void *arg, wf_buf *out)
{
    struct program *p = arg;
    const struct counters *c = &p->t.counters;
    collect_facts(p, out); /* the endpoint lives as long as we are asked */
    GAUGE("sessions_open", "Sessions that are open.", NULL, c->sessions_open);
    COUNTER("sessions_total", "Sessions begun.", "side=\"host\"", c->sessions_hosted);
    COUNTER("sessions_total", "Sessions begun.", "side=\"dial\"", c->sessions_dialed);
    COUNTER("turned_away_total", "Sessions refused by the tunneler itself.", "by=\"backend\"",
            c->refused_backend);
    COUNTER("turned_away_total", "Sessions refused by the tunneler itself.", "by=\"limit\"",
            c->refused_limit);
    COUNTER("dial_failures_total", "Dials that failed.", NULL, c->dial_failures);
    COUNTER("broken_total", "Sessions that did not end cleanly.", NULL, c->broken);
    COUNTER("bytes_total", "Bytes carried.", "to=\"tcp\"", c->bytes_to_tcp);
    COUNTER("bytes_total", "Bytes carried.", "to=\"stream\"", c->bytes_to_stream);
    for (wf_node *n = p->t.hosts.next; n != &p->t.hosts; n = n->next) {
        const struct host *h = wf_container_of(n, struct host, node);
        char labels[WF_NAME_MAX + 16];
        snprintf(labels, sizeof labels, "service=\"%s\"", h->service);
        GAUGE("bound_routers", "Routers on which a service is bound.", labels, h->routers);
    }
}
#undef GAUGE
#undef COUNTER

static bool is_ready(void *arg, wf_why *why)
{
    struct program *p = arg;
    if (p->leaving)
        return wf_fail(why, WEFT_EBUSY, "stopping") == WEFT_OK;
    for (wf_node *n = p->t.hosts.next; n != &p->t.hosts; n = n->next) {
        const struct host *h = wf_container_of(n, struct host, node);
        if (h->routers == 0)
            return wf_fail(why, WEFT_EUNREACHABLE, "%s is bound on no router", h->service) ==
                   WEFT_OK;
    }
    return true;
}

/* ---- the beginning */

static weft_err serve(struct program *p, const char *identity, const char *metrics, wf_why *why)
{
    const struct wf_metrics_config shown = {metrics, collect, is_ready, p};
    struct weft_options options = {
        .identity = identity, .loop = &p->loop, .event = on_event, .arg = p};
    wf_list_init(&p->t.hosts);
    wf_list_init(&p->t.attempts);
    wf_list_init(&p->t.proxies);
    p->t.loop = &p->loop;
    weft_err err = weft_endpoint_open(&options, &p->t.endpoint, why);
    if (err != WEFT_OK)
        return err;
    uv_timer_init(&p->loop, &p->drain);
    p->t.relays = relays_open(&p->t);
    if (p->t.relays == NULL)
        err = WEFT_ENOMEM;
    if (err == WEFT_OK)
        err = wf_daemon_open(&p->loop, &daemon_handler, p, &p->daemon);
    if (err == WEFT_OK && metrics != NULL)
        err = wf_metrics_open(&p->loop, &shown, &p->metrics, why);
    if (err == WEFT_OK)
        err = open_rules(p, NULL, p->config, why);
    if (err != WEFT_OK)
        leave(p);
    else
        wf_daemon_ready(p->daemon, "carrying");
    uv_run(&p->loop, UV_RUN_DEFAULT);
    if (err == WEFT_OK && p->failed != WEFT_OK) {
        err = p->failed;
        *why = p->why;
    }
    return err;
}

static weft_err run_rules(const struct wf_call_line *line, struct config *config, const char *path,
                          wf_why *why)
{
    struct program *p = calloc(1, sizeof *p);
    const char *identity = wf_line_text(line, "identity"), *metrics = wf_line_text(line, "metrics");
    long sessions = SESSIONS_MAX;
    weft_err err = p != NULL ? WEFT_OK : WEFT_ENOMEM;
    if (err == WEFT_OK)
        err = wf_line_number(line, "max-sessions", SESSIONS_MAX, 1, 1000000, &sessions, why);
    if (err == WEFT_OK && identity == NULL && config->identity == NULL)
        err =
            wf_fail(why, WEFT_EUSAGE, "whose identity? give --identity FILE or set WEFT_IDENTITY");
    if (err != WEFT_OK) {
        config_free(config);
        free(p);
        return err;
    }
    char *own_identity = config->identity != NULL ? strdup(config->identity) : NULL;
    char *own_metrics = config->metrics != NULL ? strdup(config->metrics) : NULL;
    p->config = config;
    p->path = path;
    p->t.sessions_max = (unsigned)sessions;
    uv_loop_init(&p->loop);
    err = serve(p, identity != NULL ? identity : own_identity,
                metrics != NULL ? metrics : own_metrics, why);
    uv_loop_close(&p->loop);
    config_free(p->config);
    free(own_identity);
    free(own_metrics);
    free(p);
    return err;
}

static weft_err run_typed(const struct wf_call_line *line, wf_why *why)
{
    bool host = strcmp(wf_line_command(line), "host") == 0;
    struct config *config = config_new();
    weft_err err = config != NULL ? WEFT_OK : WEFT_ENOMEM;
    for (size_t i = 0; err == WEFT_OK && i < wf_line_count(line); i++)
        err = host ? config_add_host(config, wf_line_arg(line, i), why)
                   : config_add_proxy(config, wf_line_arg(line, i), why);
    if (err != WEFT_OK) {
        config_free(config);
        return err;
    }
    return run_rules(line, config, NULL, why);
}

static weft_err run_file(const struct wf_call_line *line, wf_why *why)
{
    struct config *config;
    const char *path = wf_line_text(line, "config");
    if (path == NULL)
        return wf_fail(why, WEFT_EUSAGE, "give the file: -c FILE.yaml");
    weft_err err = config_load(path, &config, why);
    return err == WEFT_OK ? run_rules(line, config, path, why) : err;
}

/* Whether the identity can be used. A token is only looked for: it may be spent but once. */
static weft_err check_identity(const char *identity, wf_why *why)
{
    struct weft_options options = {.identity = identity, .state_dir = ""};
    weft_endpoint *endpoint;
    size_t len = strlen(identity);
    if (len > 4 && strcmp(identity + len - 4, ".jwt") == 0 && wf_file_exists(identity))
        return WEFT_OK;
    weft_err err = weft_endpoint_open(&options, &endpoint, why);
    if (err != WEFT_OK)
        return err;
    weft_endpoint_close(endpoint, NULL, NULL);
    return weft_endpoint_run(endpoint);
}

static weft_err check_file(const struct wf_call_line *line, wf_why *why)
{
    struct config *config;
    const char *path = wf_line_text(line, "config");
    if (path == NULL)
        return wf_fail(why, WEFT_EUSAGE, "give the file: -c FILE.yaml");
    weft_err err = config_load(path, &config, why);
    if (err != WEFT_OK)
        return err;
    const char *identity = wf_line_text(line, "identity");
    if (identity == NULL)
        identity = config->identity;
    err = identity != NULL ? check_identity(identity, why) : WEFT_OK;
    if (err != WEFT_OK) {
        config_free(config);
        return err;
    }
    fprintf(stderr, "%s is right: %zu hosted, %zu proxied\n", path, config->host_count,
            config->proxy_count);
    config_free(config);
    return WEFT_OK;
}

static const struct wf_option file_options[] = {
    {"config", WF_OPTION_TEXT, "FILE.yaml", "the rules (also -c)"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};

static const struct wf_option common[] = {
    {"identity", WF_OPTION_FILE, "FILE",
     "an identity file or a token file; the variable may hold the JSON itself"},
    {"metrics", WF_OPTION_TEXT, "HOST:PORT", "Prometheus text, /livez and /readyz"},
    {"max-sessions", WF_OPTION_TEXT, "N", "sessions at a time (10000)"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};

static const struct wf_command commands[] = {
    {"host", "SERVICE=HOST:PORT...", "binds services and forwards them to local servers",
     "weft-tunneler host web=127.0.0.1:8080 --identity web-host.jwt", NULL, 1, CONFIG_RULES_MAX,
     run_typed},
    {"proxy", "LISTEN=SERVICE...", "local ports that lead to services",
     "weft-tunneler proxy 127.0.0.1:5432=db --identity dev.json", NULL, 1, CONFIG_RULES_MAX,
     run_typed},
    {"run", "--config FILE.yaml", "all of it from one file, reloaded on SIGHUP",
     "weft-tunneler run -c tunneler.yaml", file_options, 0, 0, run_file},
    {"check-config", "--config FILE.yaml", "reads the file and says whether it is right",
     "weft-tunneler check-config -c tunneler.yaml", file_options, 0, 0, check_file},
    {NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};

int main(int argc, char **argv)
{
    static const struct wf_program program = {
        "weft-tunneler", "Sits beside servers and clients that can't embed the SDK.",
        commands,        common,
        false,           NULL};
    return wf_program_run(&program, argc, argv);
}
