/*
 * Happy path: a request comes whole -> it waits for the end of the loop's turn
 * -> who it is, is settled -> it is done as operations in the turn's
 * transaction -> the turn commits -> it is answered.
 *
 * Failure modes:
 * - Too many requests, of an address or of an administrator, or too many wrong
 *   logins: 429, and when to come again.
 * - No certificate and no login, or one that has ended: 401. Both, of two identities: 400.
 * - The store breaks: who waits is answered 500, nothing was done.
 * - The client leaves: what it asked for is done, the answer goes nowhere.
 * - No memory: 503.
 */
#include "controller/api.h"
#include "controller/api_cert.h"
#include "controller/api_reply.h"
#include "controller/args.h"
#include "controller/peer.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

#define BODY_MAX (2u * ARGS_SIZE_MAX) /* above what is taken, so that most hear why from us */
#define WORK_PER_TURN 64u
#define ADMIN_BURST 1024u /* requests of one administrator, and then one in */
#define ADMIN_EACH_MS 10u
#define ADDRESS_BURST 2048u /* of one address, whoever it is */
#define ADDRESS_EACH_MS 5u
#define WRONG_BURST 32u /* logins of one address that were none */
#define WRONG_EACH_MS 1000u

struct api {
    struct controller *c;   /* borrowed: outlives us */
    wf_http_server *server; /* NULL once closed */
    pki_web *web;
    bool is_own;     /* the certificate is ours to renew */
    uv_idle_t awake; /* while something waits: the loop must come round */
    wf_node waiting; /* struct job */
};

struct job {
    wf_node node;
    wf_http_exchange *exchange;
    const struct wf_http_request *request; /* valid until it is answered */
};

static void on_awake(uv_idle_t *idle)
{
    (void)idle; /* that it is active is all: poll doesn't block, the check handle comes */
}

static void on_request(void *arg, wf_http_exchange *exchange, const struct wf_http_request *request)
{
    struct api *api = arg;
    struct job *job = calloc(1, sizeof *job);

    if (job == NULL) {
        wf_http_answer(exchange, 503, NULL, 0, wf_span_of(NULL, 0));
        return;
    }
    job->exchange = exchange;
    job->request = request;
    wf_list_push(&api->waiting, &job->node);
    uv_idle_start(&api->awake, on_awake);
}

/* ---- limits */

/* 0, or so many ms until there is room again. */
static uint64_t draw(struct api *api, char tag, const void *key, size_t len, unsigned burst,
                     unsigned each_ms)
{
    uint8_t full[WF_QUOTA_KEY_MAX] = {(uint8_t)tag};
    uint64_t now = wf_now_mono_ms(), wait;
    struct wf_quota *row;

    assert(len < sizeof full);
    memcpy(full + 1, key, len);
    if (wf_quota_take(api->c->quotas, full, len + 1, ~0u, &row) != WEFT_OK)
        return each_ms; /* no room to remember another one */
    wait = wf_quota_draw(&row->full_at, now, burst, each_ms);
    wf_quota_give(api->c->quotas, row, now);
    return wait;
}

/* An IPv4 address whole, of IPv6 the network: a host has 2^64 of its own. */
static size_t address_key(const char *remote, uint8_t out[8])
{
    struct sockaddr_storage sa;
    wf_address address;

    memset(out, 0, 8);
    if (wf_address_parse(remote, 0, &address, NULL) != WEFT_OK ||
        !wf_address_get_sockaddr(&address, &sa))
        return 8;
    if (sa.ss_family == AF_INET)
        memcpy(out, &((const struct sockaddr_in *)(const void *)&sa)->sin_addr, 4);
    else
        memcpy(out, &((const struct sockaddr_in6 *)(const void *)&sa)->sin6_addr, 8);
    return 8;
}

static void come_again(struct api_reply *reply, uint64_t wait_ms)
{
    api_reply_problem(reply, 429, WEFT_EBUSY, "too many requests; Retry-After says when");
    reply->retry_after = (unsigned)((wait_ms + 999) / 1000);
}

/* ---- who it is */

static bool is_bearer(wf_span value, wf_span *token)
{
    static const char word[] = "bearer ";

    if (value.len < sizeof word - 1 ||
        strncasecmp((const char *)value.data, word, sizeof word - 1) != 0)
        return false;
    *token = wf_span_of(value.data + sizeof word - 1, value.len - (sizeof word - 1));
    while (token->len > 0 && token->data[0] == ' ')
        *token = wf_span_of(token->data + 1, token->len - 1);
    return true;
}

static bool is_named(const struct wf_http_field *field, const char *name)
{
    size_t len = strlen(name);

    return field->name.len == len && strncasecmp((const char *)field->name.data, name, len) == 0;
}

/* False: the reply says what is wrong. Nobody at all is true, with caller->subject NULL. */
static bool find_caller(struct api *api, const struct wf_http_request *request,
                        struct api_reply *reply, struct api_caller *caller)
{
    const struct pki_subject *login;
    wf_span given = {NULL, 0}, token = {NULL, 0};
    uint64_t now = wf_now_wall_ms(), wait;
    uint8_t address[8];
    wf_why why = {""};
    weft_err err;

    *caller = (struct api_caller){.subject = request->peer};
    for (size_t i = 0; i < request->field_count; i++) {
        if (!is_named(&request->fields[i], "authorization"))
            continue;
        if (given.data != NULL) {
            api_reply_problem(reply, 400, WEFT_EINVAL, "there are two Authorization fields");
            return false;
        }
        given = request->fields[i].value;
    }
    if (given.data != NULL) {
        size_t len = address_key(request->remote, address);

        login = is_bearer(given, &token)
                    ? logins_find(&api->c->logins, (const char *)token.data, token.len, now)
                    : NULL;
        if (login == NULL) {
            wait = draw(api, 'w', address, len, WRONG_BURST, WRONG_EACH_MS);
            if (wait > 0)
                come_again(reply, wait);
            else
                api_reply_problem(reply, 401, WEFT_ECREDENTIAL,
                                  "this is no login, or it has ended; make one with: weft login "
                                  "--print-token");
            return false;
        }
        if (request->peer != NULL && !wf_id_equal(&request->peer->id, &login->id)) {
            api_reply_problem(reply, 400, WEFT_EINVAL,
                              "the certificate is one identity's and the login another's; show one "
                              "of them");
            return false;
        }
        *caller = (struct api_caller){.subject = login, .by_login = true};
    }
    if (caller->subject == NULL)
        return true;
    /* A connection, or a login, may outlive the certificate that it began with. */
    err = pki_trust_check_again(api->c->home.trust, caller->subject, now, &why);
    if (err != WEFT_OK) {
        api_reply_problem(reply, 401, err, why.text);
        return false;
    }
    wait = draw(api, 'a', caller->subject->id.b, WF_ID_LEN, ADMIN_BURST, ADMIN_EACH_MS);
    if (wait > 0)
        come_again(reply, wait);
    return wait == 0;
}

/* ---- work */

static void serve(struct api *api, struct job *job, struct api_reply *reply)
{
    struct api_caller caller;
    uint8_t address[8];
    size_t len = address_key(job->request->remote, address);
    uint64_t wait = draw(api, 'h', address, len, ADDRESS_BURST, ADDRESS_EACH_MS);

    if (wait > 0) {
        come_again(reply, wait);
    } else if (api->c->draining) {
        api_reply_problem(reply, 503, WEFT_EBUSY, "the controller is stopping");
        reply->retry_after = 5;
    } else if (find_caller(api, job->request, reply, &caller)) {
        api_call(api->c, &caller, job->request, reply);
    }
}

void api_work(struct api *api)
{
    for (unsigned i = 0; i < WORK_PER_TURN && !wf_list_is_empty(&api->waiting); i++) {
        struct job *job = wf_container_of(api->waiting.next, struct job, node);
        struct api_reply *reply = api_reply_new(job->exchange);
        struct effect *effect;

        wf_list_remove(&job->node);
        if (reply == NULL) {
            wf_http_answer(job->exchange, 503, NULL, 0, wf_span_of(NULL, 0));
            free(job);
            continue;
        }
        serve(api, job, reply);
        free(job);
        effect = turn_add(&api->c->turn, EFFECT_HTTP, 0);
        if (effect != NULL) {
            effect->reply = reply;
            continue;
        }
        /* It may have been done; that it is kept nobody can say now. */
        api_reply_problem(reply, 503, WEFT_ENOMEM, "out of memory; look whether it was done");
        api_reply_send(reply);
        api_reply_free(reply);
    }
    if (wf_list_is_empty(&api->waiting))
        uv_idle_stop(&api->awake);
}

/* ---- life */

weft_err api_open(struct controller *c, struct uv_loop_s *loop, const struct api_config *config,
                  struct api **out, wf_why *why)
{
    struct wf_http_server_config server = {
        .address = config->address, .body_max = BODY_MAX, .request = on_request};
    struct api *api = calloc(1, sizeof *api);
    weft_err err;

    if (api == NULL)
        return wf_fail(why, WEFT_ENOMEM, "out of memory");
    api->c = c;
    wf_list_init(&api->waiting);
    api->is_own = config->cert == NULL;
    err = api->is_own ? api_cert_open(&c->home, wf_now_wall_ms(), &api->web, why)
                      : api_cert_load(config->cert, config->key, c->home.trust, &api->web, why);
    if (err != WEFT_OK)
        goto fail;
    server.tls = api->web;
    server.arg = api;
    err = wf_http_server_open(loop, &server, &api->server, why);
    if (err != WEFT_OK) {
        wf_wrap(why, err, "--api");
        goto fail;
    }
    uv_idle_init(loop, &api->awake);
    *out = api;
    return WEFT_OK;
fail:
    pki_web_unref(api->web);
    free(api);
    return err;
}

uint16_t api_port(const struct api *api)
{
    return wf_http_server_port(api->server);
}

void api_look_after(struct api *api, uint64_t now)
{
    bool renewed = false;
    wf_why why = {""};

    if (!api->is_own)
        return;
    if (api_cert_renew(&api->c->home, now, api->web, &renewed, &why) != WEFT_OK)
        wf_log_error("the API's certificate can't be renewed: %s", why.text);
    else if (renewed)
        wf_log_info("the API's certificate was renewed");
}

static void on_asleep(uv_handle_t *handle)
{
    struct api *api = wf_container_of((uv_idle_t *)(void *)handle, struct api, awake);

    pki_web_unref(api->web);
    free(api);
}

void api_close(struct api *api)
{
    while (!wf_list_is_empty(&api->waiting)) {
        struct job *job = wf_container_of(api->waiting.next, struct job, node);

        wf_list_remove(&job->node);
        wf_http_answer(job->exchange, 503, NULL, 0, wf_span_of(NULL, 0));
        free(job);
    }
    wf_http_server_close(api->server);
    api->server = NULL;
    uv_close((uv_handle_t *)&api->awake, on_asleep);
}
