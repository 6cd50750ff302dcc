/*
 * The HTTP server alone, as a program for the scripts of this folder:
 *
 *     http_serve DIR [LIMIT=NUMBER...] [clear]
 *
 * Writes ca.pem and the identities of a throw-away fabric into DIR, prints
 * "PORT <n>" and serves until its standard input ends.
 *
 *     /echo        the body, and what was understood of the request
 *     /mirror      the body alone
 *     /bytes?N     N bytes
 *     /later?MS    answers then
 *     /now         answers all of those at once, from inside this request
 *     /counters    what the server counted, and the memory of this process
 *     /peer        who the client is
 */
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/base/list.h"
#include "proto/http/server.h"
#include "tests/helpers/authority.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

static wf_http_server *server;

static void must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "http_serve: %s\n", what);
    exit(1);
}

static void answer(wf_http_exchange *x, unsigned status, wf_span body)
{
    const struct wf_http_field type = {wf_span_of("Content-Type", 12),
                                       wf_span_of("text/plain", 10)};
    wf_http_answer(x, status, &type, 1, body);
}

static bool is(wf_span s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

static unsigned long number(wf_span s)
{
    unsigned long n = 0;
    for (size_t i = 0; i < s.len && s.data[i] >= '0' && s.data[i] <= '9'; i++)
        n = n * 10 + (unsigned long)(s.data[i] - '0');
    return n;
}

struct later {
    wf_node node;
    uv_timer_t timer;
    wf_http_exchange *exchange;
};

static wf_node laters = {&laters, &laters};

static void on_later_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_later(uv_timer_t *timer)
{
    struct later *l = timer->data;
    wf_list_remove(&l->node);
    answer(l->exchange, 200, wf_span_of("later\n", 6));
    uv_close((uv_handle_t *)timer, on_later_closed);
}

static long resident(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f != NULL && fscanf(f, "%*s %ld", &pages) != 1)
        pages = 0;
    if (f != NULL)
        fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

static void put_counters(wf_buf *out)
{
    const struct wf_http_counters *c = wf_http_server_counters(server);
    wf_buf_printf(out,
                  "{\"connections\":%llu,\"accepted\":%llu,\"refused\":%llu,\"handshakes_failed\":"
                  "%llu,\"late\":%llu,\"requests\":%llu,\"rejected\":%llu,\"floods\":%llu,"
                  "\"body_bytes\":%llu,\"resident\":%ld}\n",
                  (unsigned long long)c->connections, (unsigned long long)c->accepted,
                  (unsigned long long)c->refused, (unsigned long long)c->handshakes_failed,
                  (unsigned long long)c->late, (unsigned long long)c->requests,
                  (unsigned long long)c->rejected, (unsigned long long)c->floods,
                  (unsigned long long)c->body_bytes, resident());
}

static void on_request(void *arg, wf_http_exchange *x, const struct wf_http_request *r)
{
    wf_buf out;
    wf_buf_init(&out, 64u * 1024 * 1024);
    if (is(r->path, "/mirror")) { /* an answer made of the request itself */
        answer(x, 200, r->body);
        return;
    }
    if (is(r->path, "/later")) {
        struct later *l = calloc(1, sizeof *l);
        must(l != NULL && uv_timer_init(arg, &l->timer) == 0, "timer");
        l->timer.data = l;
        l->exchange = x;
        wf_list_push(&laters, &l->node);
        uv_timer_start(&l->timer, on_later, number(r->query), 0);
        return;
    }
    while (is(r->path, "/now") && !wf_list_is_empty(&laters))
        on_later(&wf_container_of(laters.next, struct later, node)->timer);
    if (is(r->path, "/bytes")) {
        size_t n = number(r->query);
        must(n < 32u * 1024 * 1024 && wf_buf_reserve(&out, n + 1) == WEFT_OK, "memory");
        memset(out.data, 'x', n);
        out.len = n;
    } else if (is(r->path, "/counters")) {
        put_counters(&out);
    } else if (is(r->path, "/peer")) {
        wf_buf_put_text(&out, r->peer == NULL ? "nobody" : r->peer->name);
    } else if (is(r->path, "/echo")) {
        wf_buf_printf(&out, "v%u %.*s %.*s %zu:", r->version, (int)r->method.len,
                      (const char *)r->method.data, (int)r->host.len, (const char *)r->host.data,
                      r->body.len);
        wf_buf_put(&out, r->body.data, r->body.len);
    } else {
        wf_buf_put_text(&out, "ok\n");
    }
    answer(x, 200, wf_span_of(out.data, out.len));
    wf_buf_fini(&out);
}

static void save(const char *dir, const char *name, wf_buf *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "we");
    must(f != NULL && fwrite(text->data, 1, text->len, f) == text->len && fclose(f) == 0, path);
    wf_buf_fini(text);
}

static void save_node(const char *dir, const char *name, const struct authority_node *node)
{
    wf_buf pem;
    wf_buf_init(&pem, 65536);
    must(pki_key_put_pem(node->key, NULL, &pem) == WEFT_OK &&
             pki_chain_put_pem(node->chain, &pem) == WEFT_OK,
         name);
    save(dir, name, &pem);
}

/* An identity, a router, one that has expired, and an identity of another fabric. */
static void save_nodes(struct authority *a, const char *dir)
{
    struct authority stranger;
    struct authority_node node;
    authority_issue(a, PKI_IDENTITY, "ada", &node);
    save_node(dir, "ada.pem", &node);
    authority_renew(a, &node, a->now - 7200000, a->now - 3600000);
    save_node(dir, "expired.pem", &node);
    authority_node_fini(&node);
    authority_issue(a, PKI_ROUTER, "r1", &node);
    save_node(dir, "router.pem", &node);
    authority_node_fini(&node);
    authority_init(&stranger, "other.test", a->now);
    authority_issue(&stranger, PKI_IDENTITY, "eve", &node);
    save_node(dir, "stranger.pem", &node);
    authority_node_fini(&node);
    authority_fini(&stranger);
}

static void set_limit(struct wf_http_server_config *config, const char *text)
{
    struct wf_http_limits *l = &config->limits;
    const char *sign = strchr(text, '=');
    must(sign != NULL, text);
    unsigned long n = strtoul(sign + 1, NULL, 10);
    size_t len = (size_t)(sign - text);
#define LIMIT(name)                                                                                \
    if (len == strlen(#name) && strncmp(text, #name, len) == 0)                                    \
        l->name = (unsigned)n;
    LIMIT(connections)
    LIMIT(connections_per_address)
    LIMIT(streams)
    LIMIT(handshake_ms)
    LIMIT(head_ms)
    LIMIT(idle_ms)
    LIMIT(grace_ms)
    LIMIT(rate_min)
    LIMIT(linger_ms)
    LIMIT(bodies)
#undef LIMIT
    if (strncmp(text, "body_max", len) == 0)
        config->body_max = n;
}

static void on_input(uv_poll_t *poll, int status, int events)
{
    char byte;
    (void)status, (void)events;
    if (read(0, &byte, 1) == 1) { /* a byte: drain */
        wf_http_server_drain(server);
        return;
    }
    uv_poll_stop(poll);
    uv_close((uv_handle_t *)poll, NULL);
    wf_http_server_close(server);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "::1"};
    const wf_address address = {.host = "127.0.0.1"};
    struct wf_http_server_config config = {
        .address = &address, .body_max = 1024 * 1024, .request = on_request};
    wf_buf ca_key, ca, key, chain;
    wf_why why = {""};
    uv_loop_t loop;
    uv_poll_t input;
    struct authority a;
    bool clear = false;

    must(argc > 1, "usage: http_serve DIR [LIMIT=NUMBER...] [clear]");
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], "clear") == 0)
            clear = true;
        else
            set_limit(&config, argv[i]);
    wf_buf_init(&ca_key, 65536);
    wf_buf_init(&ca, 65536);
    wf_buf_init(&key, 65536);
    wf_buf_init(&chain, 65536);
    authority_init(&a, "test.weft", wf_now_wall_ms());
    pki_trust *trust = authority_trust(&a);
    must(pki_web_ca_new(names, 3, a.now, 86400000, &ca_key, &ca, &why) == WEFT_OK, why.text);
    must(pki_web_issue(wf_span_of(ca_key.data, ca_key.len), wf_span_of(ca.data, ca.len), names, 3,
                       a.now, 86400000, &key, &chain, &why) == WEFT_OK,
         why.text);
    pki_web *web = NULL;
    must(pki_web_new(wf_span_of(chain.data, chain.len), wf_span_of(key.data, key.len), trust, &web,
                     &why) == WEFT_OK,
         why.text);
    save(argv[1], "ca.pem", &ca);
    save_nodes(&a, argv[1]);
    must(uv_loop_init(&loop) == 0, "loop");
    config.tls = clear ? NULL : web;
    config.arg = &loop;
    must(wf_http_server_open(&loop, &config, &server, &why) == WEFT_OK, why.text);
    must(uv_poll_init(&loop, &input, 0) == 0 &&
             uv_poll_start(&input, UV_READABLE | UV_DISCONNECT, on_input) == 0,
         "standard input");
    printf("PORT %u\n", wf_http_server_port(server));
    fflush(stdout);
    uv_run(&loop, UV_RUN_DEFAULT);
    must(uv_loop_close(&loop) == 0, "the loop still holds something");
    pki_web_unref(web);
    pki_trust_unref(trust);
    authority_fini(&a);
    wf_buf_wipe(&ca_key);
    wf_buf_wipe(&key);
    wf_buf_fini(&chain);
    return 0;
}
