/* weft-router: enroll, run, check-config. docs/cli.md. */
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/base/text.h"
#include "proto/link/enroll.h"
#include "proto/link/renew.h"
#include "proto/node/daemon.h"
#include "proto/node/metrics.h"
#include "proto/node/program.h"
#include "router/config.h"
#include "router/router.h"
#include "router/state.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define DRAIN_MS 5000u
#define MAIN_PATH_MAX 4096u

static weft_err home_of(const struct wf_call_line *line, const char **home, wf_why *why)
{
    *home = wf_line_text(line, "home");
    if (*home == NULL)
        return wf_fail(why, WEFT_EUSAGE, "name the router's folder: --home DIR");
    return WEFT_OK;
}

static weft_err path_in(const char *home, const char *name, char path[MAIN_PATH_MAX], wf_why *why)
{
    int len = snprintf(path, MAIN_PATH_MAX, "%s/%s", home, name);

    if (len < 0 || (unsigned)len >= MAIN_PATH_MAX)
        return wf_fail(why, WEFT_EINVAL, "the path of the home folder is too long");
    return WEFT_OK;
}

/* ---- enroll */

static weft_err addresses_from_line(const struct wf_call_line *line, struct router_config *config,
                                    wf_why *why)
{
    const char *text = wf_line_text(line, "listen");
    weft_err err;

    if (text != NULL) {
        err = wf_address_parse(text, ROUTER_PORT, &config->listen, why);
        if (err != WEFT_OK)
            return wf_wrap(why, WEFT_EUSAGE, "--listen");
    }
    err = config_check_listen("--listen", &config->listen, why);
    if (err != WEFT_OK)
        return err;
    /* What a file of before advertises stands for where that one listened. */
    if (text != NULL || wf_line_list(line, "advertise", 0) != NULL)
        config->advertise_count = 0;
    for (size_t i = 0; (text = wf_line_list(line, "advertise", i)) != NULL; i++) {
        if (i == WF_ADDRESSES_MAX)
            return wf_fail(why, WEFT_EUSAGE, "--advertise: at most %u addresses", WF_ADDRESSES_MAX);
        err = wf_address_parse(text, ROUTER_PORT, &config->advertise[i], why);
        if (err != WEFT_OK)
            return wf_wrap(why, WEFT_EUSAGE, "--advertise");
        config->advertise_count = i + 1;
    }
    if (config->advertise_count == 0) {
        if (strcmp(config->listen.host, "0.0.0.0") == 0 || strcmp(config->listen.host, "::") == 0)
            return wf_fail(
                why, WEFT_EUSAGE,
                "listening everywhere says not where to be found: add --advertise HOST:PORT");
        config->advertise[0] = config->listen;
        config->advertise_count = 1;
    }
    if (config->listen.port == 0 || config->advertise[0].port == 0)
        return wf_fail(why, WEFT_EUSAGE, "port 0 can't be advertised: choose a port");
    return WEFT_OK;
}

static weft_err keep_result(const char *home, const Weft__Wire__EnrollResult *result, wf_why *why)
{
    struct records members = {0};
    weft_err err = WEFT_OK;

    if (result->member != NULL)
        err = records_add(&members, result->member);
    for (size_t i = 0; err == WEFT_OK && i < result->n_members; i++)
        err = records_add(&members, result->members[i]);
    if (err == WEFT_OK)
        err = state_save(home, "members", members.list, members.count, why);
    if (err == WEFT_OK && result->n_floors > 0)
        err = state_save(home, "floors", result->floors, result->n_floors, why);
    records_fini(&members);
    return err;
}

static weft_err key_from_line(const struct wf_call_line *line, struct wf_enroll_config *config,
                              wf_why *why)
{
    static const struct {
        const char *word;
        enum pki_key_kind kind;
    } kinds[] = {{"p256", PKI_KEY_P256}, {"p384", PKI_KEY_P384}, {"ed25519", PKI_KEY_ED25519}};
    const char *key = wf_line_text(line, "key"), *kind = wf_line_text(line, "key-kind");
    const char *passphrase = wf_line_text(line, "key-passphrase-file");
    size_t i = 0;

    config->key_kind = PKI_KEY_P256;
    if (key != NULL && strncmp(key, "pkcs11:", 7) == 0) {
        if (kind != NULL)
            return wf_fail(why, WEFT_EUSAGE, "--key-kind: a key in a token has its kind there");
        config->key_path = key;
        return WEFT_OK;
    }
    if (key != NULL && (strncmp(key, "file:", 5) != 0 || key[5] == '\0'))
        return wf_fail(why, WEFT_EUSAGE, "--key: '%.60s' is no key: say file:PATH or pkcs11:URI",
                       key);
    config->key_path = key;
    while (kind != NULL && i < 3 && strcmp(kind, kinds[i].word) != 0)
        i++;
    if (i == 3)
        return wf_fail(why, WEFT_EUSAGE, "--key-kind: say p256, p384 or ed25519");
    config->key_kind = kinds[i].kind;
    /* pki reads the variable, as every later start will. */
    config->key_sealed = passphrase != NULL;
    if (passphrase != NULL && setenv("WEFT_KEY_PASSPHRASE_FILE", passphrase, 1) != 0)
        return wf_fail(why, WEFT_ENOMEM, "no memory for a path");
    return WEFT_OK;
}

static weft_err enroll(const struct wf_call_line *line, wf_why *why)
{
    char identity_path[MAIN_PATH_MAX], address[WF_ADDRESS_TEXT];
    Weft__Wire__EnrollResult *result = NULL;
    struct wf_enroll_config enrollment = {0};
    struct router_config config;
    const char *home;
    wf_buf token;
    weft_err err;

    wf_buf_init(&token, WF_TOKEN_MAX + 2);
    err = home_of(line, &home, why);
    if (err == WEFT_OK)
        err = wf_folder_make(home, why);
    if (err == WEFT_OK)
        err = config_load(home, &config, why);
    if (err == WEFT_OK)
        err = addresses_from_line(line, &config, why);
    if (err == WEFT_OK)
        err = path_in(home, "router.json", identity_path, why);
    if (err == WEFT_OK && wf_file_exists(identity_path))
        err = wf_fail(why, WEFT_EEXIST, "%s is there already: this router is enrolled",
                      identity_path);
    if (err == WEFT_OK)
        err = wf_file_read(wf_line_arg(line, 0), &token, why);
    if (err != WEFT_OK)
        goto out;
    while (token.len > 0 &&
           (token.data[token.len - 1] == '\n' || token.data[token.len - 1] == '\r'))
        token.len--;
    enrollment.token = (const char *)token.data;
    enrollment.token_len = token.len;
    enrollment.out = identity_path;
    enrollment.kind = PKI_ROUTER;
    err = key_from_line(line, &enrollment, why);
    if (err != WEFT_OK)
        goto out;
    enrollment.addresses = config.advertise;
    enrollment.address_count = config.advertise_count;
    err = wf_enroll(&enrollment, NULL, &result, why);
    if (err == WEFT_OK)
        err = config_save(home, &config, why);
    if (err == WEFT_OK)
        err = keep_result(home, result, why);
    if (err == WEFT_OK)
        fprintf(stderr,
                "enrolled as router %s; it will listen on %s. Next: weft-router run --home %s\n",
                result->name, wf_address_text(&config.listen, address), home);
    if (result != NULL)
        wf_enroll_result_free(result);
out:
    wf_buf_wipe(&token);
    return err;
}

/* ---- run */

struct running {
    const char *home;
    const char *level; /* of the command line; NULL: the file's */
    uv_loop_t loop;
    wf_net *net;
    struct router *router; /* NULL once it is gone */
    wf_daemon *daemon;
    wf_metrics *metrics;
};

static void net_gone(void *arg)
{
    (void)arg;
}

static void router_gone(void *arg)
{
    struct running *running = arg;

    running->router = NULL;
    wf_net_close(running->net, net_gone, NULL);
    wf_daemon_close(running->daemon);
    if (running->metrics != NULL)
        wf_metrics_close(running->metrics);
}

static void stop(void *arg)
{
    struct running *running = arg;

    wf_log_info("stopping: circuits have %u s to end", DRAIN_MS / 1000);
    if (running->router != NULL)
        router_close(running->router, DRAIN_MS, router_gone, running);
}

static void reload(void *arg)
{
    struct running *running = arg;
    struct router_config config;
    wf_why why = {""};

    if (config_load(running->home, &config, &why) != WEFT_OK) {
        wf_log_error("reload: %s; the old settings stay", why.text);
        return;
    }
    if (config.has_log_level && running->level == NULL)
        wf_log_open("weft-router", config.log_level, WF_LOG_TEXT);
    wf_log_info("reloaded; all but log_level changes with a restart");
}

static void collect(void *arg, wf_buf *out)
{
    struct running *running = arg;
    const struct router_counters *c;
    struct wf_metrics_standing standing;

    if (running->router == NULL)
        return;
    c = router_counters(running->router);
#define GAUGE(name, help, labels, value)                                                           \
    wf_metric_gauge(out, "weft_router_" name, help, labels, (double)(value))
#define COUNTER(name, help, labels, value)                                                         \
    wf_metric_counter(out, "weft_router_" name, help, labels, value)
    GAUGE("edges", "Endpoints that are linked", NULL, c->edges);
    GAUGE("routers", "Routers that are linked", NULL, c->routers);
    GAUGE("terminators", "Binds that this router knows", "at=\"here\"", c->binds);
    GAUGE("terminators", "Binds that this router knows", "at=\"elsewhere\"", c->remote_binds);
    GAUGE("circuits", "Circuits that stand", NULL, c->circuits);
    GAUGE("circuits_pending", "Circuits that await their reply", NULL, c->pending);
    GAUGE("queued_bytes", "Memory of frames that wait for blocked links", NULL, c->queued_bytes);
    COUNTER("setups_total", "Dials by result", "result=\"opened\"", c->setups_opened);
    COUNTER("setups_total", "Dials by result", "result=\"policy\"", c->setups_refused_policy);
    COUNTER("setups_total", "Dials by result", "result=\"expired\"", c->setups_refused_expired);
    COUNTER("setups_total", "Dials by result", "result=\"no_host\"", c->setups_refused_no_host);
    COUNTER("setups_total", "Dials by result", "result=\"no_path\"", c->setups_refused_no_path);
    COUNTER("setups_total", "Dials by result", "result=\"limit\"", c->setups_refused_limit);
    COUNTER("setups_total", "Dials by result", "result=\"host\"", c->setups_refused_by_host);
    COUNTER("setups_total", "Dials by result", "result=\"timeout\"", c->setups_timed_out);
    COUNTER("setups_total", "Dials by result", "result=\"lost\"", c->setups_lost);
    COUNTER("frames_total", "Data frames forwarded", NULL, c->frames_forwarded);
    COUNTER("bytes_total", "Payload bytes forwarded", NULL, c->bytes_forwarded);
    COUNTER("frames_queued_total", "Data frames that waited for a blocked link", NULL,
            c->frames_queued);
    COUNTER("closed_total", "Circuits closed by this router", "reason=\"breach\"",
            c->closed_breach);
    COUNTER("closed_total", "Circuits closed by this router", "reason=\"budget\"",
            c->closed_budget);
    COUNTER("closed_total", "Circuits closed by this router", "reason=\"revoked\"",
            c->closed_revoked);
    COUNTER("closed_total", "Circuits closed by this router", "reason=\"lost\"", c->closed_lost);
    COUNTER("binds_total", "Binds by result", "result=\"accepted\"", c->binds_accepted);
    COUNTER("binds_total", "Binds by result", "result=\"refused\"", c->binds_refused);
    COUNTER("cut_total", "Links cut by revocation or expiry", "peer=\"edge\"", c->edges_cut);
    COUNTER("cut_total", "Links cut by revocation or expiry", "peer=\"router\"", c->routers_cut);
    COUNTER("floors_total", "Sets of revocations by result", "result=\"applied\"",
            c->floors_applied);
    COUNTER("floors_total", "Sets of revocations by result", "result=\"refused\"",
            c->floors_refused);
    router_standing(running->router, &standing);
    wf_metrics_put_standing(out, "router", &standing);
    wf_metrics_put_refusals(out, "router", "link", c->links_refused, ROUTER_ERR_COUNT);
    wf_metrics_put_refusals(out, "router", "dial", c->dials_refused, ROUTER_ERR_COUNT);
    wf_metrics_put_refusals(out, "router", "bind", c->hosts_refused, ROUTER_ERR_COUNT);
    GAUGE("handshakes_pending", "Connections not yet up", NULL,
          wf_net_counters(running->net)->handshakes_pending);
    COUNTER("handshakes_failed_total", "Connections that ended before they were up", NULL,
            wf_net_counters(running->net)->handshakes_failed);
#undef GAUGE
#undef COUNTER
}

static bool is_ready(void *arg, wf_why *why)
{
    struct running *running = arg;

    if (running->router != NULL)
        return router_is_ready(running->router, why);
    wf_fail(why, WEFT_EBUSY, "going down");
    return false;
}

/* A certificate past half of its life is renewed before we begin, if the controller is there. */
static void renew_if_due(const char *path, struct pki_identity *identity)
{
    struct wf_renew_config config = {.identity = identity, .timeout_ms = 5000};
    uint64_t begin, end, now = wf_now_wall_ms();
    pki_chain *chain = NULL;
    wf_why why = {""};
    bool changed = false;
    wf_buf bundle;
    weft_err err;

    pki_chain_validity(identity->chain, &begin, &end);
    if (now < begin + (end - begin) / 2 || identity->controller_count == 0)
        return;
    wf_buf_init(&bundle, WF_BUNDLE_MAX);
    err = wf_renew(&config, &chain, &bundle, &why);
    if (err == WEFT_OK) {
        pki_chain_free(identity->chain);
        identity->chain = chain;
        if (bundle.len > 0)
            (void)pki_identity_take_bundle(identity, wf_span_of(bundle.data, bundle.len), &changed,
                                           &why);
        err = pki_identity_save(identity, path, &why);
    }
    wf_buf_fini(&bundle);
    if (err != WEFT_OK)
        wf_log_warn("the certificate could not be renewed: %s", why.text);
    else
        wf_log_info("the certificate was renewed");
}

static weft_err options_from(const struct wf_call_line *line, const char *home,
                             struct router_config *config, struct pki_identity *identity,
                             wf_why *why)
{
    char path[MAIN_PATH_MAX];
    const char *text;
    weft_err err;

    err = config_load(home, config, why);
    if (err != WEFT_OK)
        return err;
    text = wf_line_text(line, "listen");
    if (text != NULL && wf_address_parse(text, ROUTER_PORT, &config->listen, why) != WEFT_OK)
        return wf_wrap(why, WEFT_EUSAGE, "--listen");
    err = config_check_listen(text != NULL ? "--listen" : "router.yaml: listen", &config->listen,
                              why);
    if (err != WEFT_OK)
        return err;
    text = wf_line_text(line, "memory");
    if (text != NULL && config_parse_size(text, &config->memory, why) != WEFT_OK)
        return wf_wrap(why, WEFT_EUSAGE, "--memory");
    if (config->memory < ROUTER_MEMORY_MIN)
        return wf_fail(why, WEFT_EUSAGE, "--memory: at least 1MiB is needed");
    text = wf_line_text(line, "metrics");
    if (text != NULL) {
        wf_address address;

        if (wf_address_parse(text, 0, &address, why) != WEFT_OK)
            return wf_wrap(why, WEFT_EUSAGE, "--metrics");
        wf_address_text(&address, config->metrics);
    }
    err = path_in(home, "router.json", path, why);
    if (err == WEFT_OK)
        err = pki_identity_load(path, identity, why);
    if (err == WEFT_ENOTFOUND)
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "no %s: enroll first, weft-router enroll TOKEN.jwt --home %s", path, home);
    if (err == WEFT_OK && identity->kind != PKI_ROUTER)
        return wf_fail(why, WEFT_ECREDENTIAL, "%s is not a router's identity", path);
    return err;
}

static weft_err start(struct running *running, struct pki_identity *identity,
                      const struct router_config *config, wf_why *why)
{
    static const struct wf_daemon_handler daemon = {.stop = stop, .reload = reload};
    struct router_options options = {
        .home = running->home,
        .listen = config->listen,
        .memory = config->memory,
        .links_per_identity = config->links_per_identity,
        .advertise = config->advertise,
        .advertise_count = config->advertise_count,
    };
    weft_err err;

    err = wf_net_open(&running->loop, &running->net);
    if (err != WEFT_OK)
        return err;
    err = wf_daemon_open(&running->loop, &daemon, running, &running->daemon);
    if (err != WEFT_OK)
        goto fail_net;
    if (config->metrics[0] != '\0') {
        struct wf_metrics_config metrics = {
            .address = config->metrics, .collect = collect, .ready = is_ready, .arg = running};

        err = wf_metrics_open(&running->loop, &metrics, &running->metrics, why);
        if (err != WEFT_OK)
            goto fail_daemon;
    }
    err = router_open(running->net, identity, &options, &running->router, why);
    if (err != WEFT_OK)
        goto fail_metrics;
    return WEFT_OK;
fail_metrics:
    if (running->metrics != NULL)
        wf_metrics_close(running->metrics);
fail_daemon:
    wf_daemon_close(running->daemon);
fail_net:
    wf_net_close(running->net, net_gone, NULL);
    return err;
}

static weft_err run(const struct wf_call_line *line, wf_why *why)
{
    struct running running = {.level = wf_line_text(line, "log-level")};
    char path[MAIN_PATH_MAX], listen[WF_ADDRESS_TEXT], status[WF_ADDRESS_TEXT + 32];
    struct pki_identity identity;
    struct router_config config;
    wf_address address;
    weft_err err;

    pki_identity_init(&identity);
    err = home_of(line, &running.home, why);
    if (err == WEFT_OK)
        err = options_from(line, running.home, &config, &identity, why);
    if (err == WEFT_OK)
        err = path_in(running.home, "router.json", path, why);
    if (err != WEFT_OK)
        goto out;
    if (config.has_log_level && running.level == NULL)
        wf_log_open("weft-router", config.log_level, WF_LOG_TEXT);
    renew_if_due(path, &identity);
    if (uv_loop_init(&running.loop) != 0) {
        err = WEFT_ENOMEM;
        goto out;
    }
    err = start(&running, &identity, &config, why);
    if (err == WEFT_OK) {
        address = config.listen;
        address.port = router_port(running.router);
        (void)snprintf(status, sizeof status, "listening on %s", wf_address_text(&address, listen));
        wf_log_info("%s", status);
        wf_daemon_ready(running.daemon, status);
    }
    uv_run(&running.loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&running.loop) != 0)
        wf_log_error("a handle was left open");
out:
    pki_identity_fini(&identity);
    return err;
}

/* ---- check-config */

static weft_err check_config(const struct wf_call_line *line, wf_why *why)
{
    char listen[WF_ADDRESS_TEXT];
    struct pki_identity identity;
    struct router_config config;
    pki_tls_ctx *tls = NULL;
    pki_trust *trust = NULL;
    const char *home;
    weft_err err;

    pki_identity_init(&identity);
    err = home_of(line, &home, why);
    if (err == WEFT_OK)
        err = options_from(line, home, &config, &identity, why);
    if (err == WEFT_OK)
        err = pki_identity_open(&identity, wf_now_wall_ms(), &trust, &tls, why);
    if (err == WEFT_OK)
        fprintf(stderr, "router %s of %s: the configuration is good; it would listen on %s\n",
                identity.name, identity.domain, wf_address_text(&config.listen, listen));
    pki_tls_ctx_unref(tls);
    pki_trust_unref(trust);
    pki_identity_fini(&identity);
    return err;
}

/* ---- checkpoints */

static weft_err checkpoints(const struct wf_call_line *line, wf_why *why)
{
    struct records records = {0};
    const char *home;
    wf_buf record, text;
    weft_err err = home_of(line, &home, why);

    if (err == WEFT_OK)
        err = state_load(home, "checkpoints", &records, why);
    if (err == WEFT_OK && records.count == 0)
        err = wf_fail(why, WEFT_ENOTFOUND, "%s: no checkpoint of the audit log came yet", home);
    wf_buf_init(&record, WF_SIGNED_MAX);
    wf_buf_init(&text, 2 * WF_SIGNED_MAX);
    for (size_t i = 1; err == WEFT_OK && i < records.count; i++) { /* the first one is a copy */
        wf_buf_clear(&record);
        wf_buf_clear(&text);
        err = wf_signed_encode(records.list[i], &record);
        if (err == WEFT_OK)
            err = wf_base64_encode(record.data, record.len, &text);
        if (err == WEFT_OK)
            printf("{\"checkpoint\":\"%s\"}\n", wf_buf_cstr(&text));
    }
    wf_buf_fini(&text);
    wf_buf_fini(&record);
    records_fini(&records);
    return err;
}

/* ---- the program */

static const struct wf_option enroll_options[] = {
    {"home", WF_OPTION_TEXT, "DIR", "the router's folder; made if it isn't there"},
    {"listen", WF_OPTION_TEXT, "HOST:PORT", "where to listen (default 127.0.0.1:9339)"},
    {"advertise", WF_OPTION_LIST, "HOST:PORT", "where others reach it (default: as listen)"},
    {"key", WF_OPTION_TEXT, "KEY",
     "where it is: file:PATH (made if absent) or pkcs11:URI (inside)"},
    {"key-kind", WF_OPTION_TEXT, "KIND", "of a key that is made: p256, p384 or ed25519 (p256)"},
    {"key-passphrase-file", WF_OPTION_TEXT, "FILE", "its first line encrypts a key that is made"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};
static const struct wf_option run_options[] = {
    {"home", WF_OPTION_TEXT, "DIR", "the router's folder"},
    {"listen", WF_OPTION_TEXT, "HOST:PORT", "instead of what enroll wrote"},
    {"memory", WF_OPTION_TEXT, "SIZE", "budget for what waits for blocked links (default 256MiB)"},
    {"metrics", WF_OPTION_TEXT, "HOST:PORT", "serve /metrics, /livez and /readyz there"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};
static const struct wf_option checkpoints_options[] = {
    {"home", WF_OPTION_TEXT, "DIR", "the router's folder; it may be running"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};
static const struct wf_command commands[] = {
    {"enroll", "TOKEN.jwt|- --home DIR", "redeem a token: this machine becomes a router",
     "weft-router enroll router.jwt --home /var/lib/weft-router --listen 0.0.0.0:9339 "
     "--advertise router.example.org:9339",
     enroll_options, 1, 1, enroll},
    {"run", "--home DIR", "serve", "weft-router run --home /var/lib/weft-router", run_options, 0, 0,
     run},
    {"check-config", "--home DIR", "say whether run would start",
     "weft-router check-config --home /var/lib/weft-router", run_options, 0, 0, check_config},
    {"checkpoints", "--home DIR",
     "print the checkpoints of the audit log that this router remembers",
     "weft-router checkpoints --home /var/lib/weft-router >r1.jsonl", checkpoints_options, 0, 0,
     checkpoints},
    {NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};

int main(int argc, char **argv)
{
    static const struct wf_program program = {
        .name = "weft-router",
        .summary = "moves ciphertext between endpoints of a Weft fabric",
        .commands = commands,
    };

    return wf_program_run(&program, argc, argv);
}
