/*
 * The controller, as an endpoint sees it: connected when something needs it,
 * asked for grants, heard for floors and notices.
 *
 * Happy path: a fetch opens the uplink, asks for grants once it is up, puts
 * what came into the endpoint, and tells those who wait.
 *
 * - The controller can't be reached: those who wait hear WEFT_EUNREACHABLE or
 *   WEFT_ETIMEDOUT; dials with a grant at hand never come here.
 * - It refuses a service: those who wait for that one hear why.
 * - A record in the answer does not verify: it is left out, and logged.
 */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "sdk/endpoint.h"
#include "sdk/listener.h"
#include "sdk/posture.h"
#include "sdk/stream.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct wf_fetch {
    wf_node node;                  /* in controller.fetches */
    weft_endpoint *endpoint;       /* borrowed: outlives its calls */
    char service[WF_NAME_MAX + 1]; /* "": all */
    wf_node waits;                 /* struct wf_wait */
};

static void used(weft_endpoint *e)
{
    e->controller.used = wf_now_mono_ms();
}

/* ---- the uplink */

static void on_up(wf_uplink *uplink, void *arg, wf_link *link, const Weft__Wire__Hello *hello)
{
    weft_endpoint *e = arg;
    (void)uplink;
    used(e);
    e->controller.is_up = true;
    e->controller.failures = 0;
    wf_endpoint_event(e, WEFT_EVENT_CONTROLLER_UP, WEFT_OK, wf_link_remote(link));
    uint64_t have = pki_floors_version(pki_trust_floors(e->trust));
    if (hello->floors_version > have) {
        Weft__Wire__FloorsWanted wanted = WEFT__WIRE__FLOORS_WANTED__INIT;
        Weft__Wire__Control message = WEFT__WIRE__CONTROL__INIT;
        wanted.have = have;
        message.of_case = WEFT__WIRE__CONTROL__OF_FLOORS_WANTED;
        message.floors_wanted = &wanted;
        (void)wf_link_send_control(link, &message);
    }
    wf_witness_take(e, hello->checkpoint, true);
    if (e->state == WF_ENDPOINT_OPEN) /* else the application closed it over the news */
        wf_listeners_controller_up(e);
}

static void cut_sessions(weft_endpoint *e, const Weft__Wire__Notice *notice)
{
    static const char words[] = "cut by an administrator";
    for (size_t i = 0; i < notice->n_cut_sessions; i++) {
        wf_id id = wf_pb_get_id(notice->cut_sessions[i]);
        for (wf_node *n = e->streams.next; n != &e->streams; n = n->next) {
            weft_stream *s = wf_container_of(n, weft_stream, node);
            if (s->state == WF_STREAM_OPEN && wf_id_equal(&s->session_id, &id)) {
                /* As the routers', whose word is nobody's: whichever comes first. */
                wf_session_cut(s->session, WEFT_ELOST, words, WEFT_ELOST, words);
            }
        }
    }
}

/*
 * What we hold or lack may be another now. Many were told at once, so we ask by chance within a
 * moment; what is withdrawn doesn't wait, for floors say it. What nobody uses can wait until it
 * is wanted, unless the policy key was changed: it must not end with the older one.
 */
static void fetch_later(weft_endpoint *e)
{
    if (e->state != WF_ENDPOINT_OPEN || e->controller.due != 0 ||
        (wf_list_is_empty(&e->listeners) && wf_list_is_empty(&e->streams) &&
         !wf_grants_are_outdated(&e->grants)))
        return;
    wf_id chance = wf_id_random();
    uint64_t part = (uint64_t)chance.b[0] << 8 | chance.b[1];
    e->controller.due = wf_now_mono_ms() + 1 + WF_NOTICE_SPREAD_MS * part / 65536;
    wf_house_by(e, e->controller.due);
}

uint64_t wf_controller_look(weft_endpoint *e, uint64_t mono)
{
    if (e->controller.due == 0)
        return UINT64_MAX;
    if (mono < e->controller.due)
        return e->controller.due;
    e->controller.due = 0;
    (void)wf_controller_fetch(e, NULL, NULL, WF_CALL_MS);
    return UINT64_MAX;
}

static void on_control(wf_uplink *uplink, void *arg, Weft__Wire__Control *message)
{
    weft_endpoint *e = arg;
    switch (message->of_case) {
    case WEFT__WIRE__CONTROL__OF_FLOORS:
        for (size_t i = 0; i < message->floors->n_sets; i++)
            wf_endpoint_take_floors(e, message->floors->sets[i], wf_uplink_link(uplink));
        break;
    case WEFT__WIRE__CONTROL__OF_NOTICE:
        if (message->notice->bundle != NULL)
            wf_endpoint_take_bundle(e, message->notice->bundle);
        if (message->notice->renew > 0)
            wf_renewal_told(e, message->notice->renew);
        cut_sessions(e, message->notice);
        wf_witness_take(e, message->notice->checkpoint, true);
        if (message->notice->grants || message->notice->members)
            fetch_later(e);
        break;
    default:
        break; /* nothing that an endpoint awaits; harmless */
    }
}

static void tell_all_waiting(weft_endpoint *e, weft_err err, const char *why)
{
    wf_node told;
    wf_list_init(&told);
    for (wf_node *n = e->controller.fetches.next; n != &e->controller.fetches; n = n->next) {
        struct wf_fetch *fetch = wf_container_of(n, struct wf_fetch, node);
        while (!wf_list_is_empty(&fetch->waits)) {
            wf_node *wait = fetch->waits.next;
            wf_list_remove(wait);
            wf_list_push(&told, wait);
        }
    }
    while (!wf_list_is_empty(&told)) {
        struct wf_wait *wait = wf_container_of(told.next, struct wf_wait, node);
        wf_list_remove(&wait->node);
        wait->done(wait, err, why);
    }
}

static void on_down(wf_uplink *uplink, void *arg, weft_err err, const wf_why *why,
                    uint64_t retry_ms)
{
    weft_endpoint *e = arg;
    (void)uplink;
    (void)retry_ms;
    const char *text =
        why != NULL && why->text[0] != '\0' ? why->text : weft_err_sentence((int)err);
    if (e->controller.is_up || e->controller.failures == 0) {
        wf_log_info("controller: %s", text);
        e->controller.is_up = false;
        wf_endpoint_event(e, err == WEFT_EREVOKED ? WEFT_EVENT_REVOKED : WEFT_EVENT_CONTROLLER_DOWN,
                          err, text);
    }
    /* Every address has failed: the call goes on, but who waits for it can decide now. */
    if (++e->controller.failures >= e->identity.controller_count)
        tell_all_waiting(e, err == WEFT_EREVOKED || err == WEFT_EEXPIRED ? err : WEFT_EUNREACHABLE,
                         text);
}

static void on_closed(wf_uplink *uplink, void *arg)
{
    weft_endpoint *e = arg;
    (void)uplink;
    e->controller.uplink = NULL;
    e->controller.failures = 0;
    e->controller.is_closing = e->controller.is_up = false;
    wf_endpoint_go_on_closing(e);
}

static const struct wf_uplink_handler uplink_handler = {
    .up = on_up,
    .control = on_control,
    .down = on_down,
    .closed = on_closed,
};

weft_err wf_controller_want(weft_endpoint *e)
{
    if (e->state != WF_ENDPOINT_OPEN)
        return WEFT_ECANCELED;
    if (e->identity.controller_count == 0)
        return WEFT_EUNREACHABLE;
    used(e);
    if (e->controller.is_closing)
        return WEFT_EBUSY;
    if (e->controller.uplink != NULL)
        return WEFT_OK;
    const struct wf_uplink_config config = {
        .link =
            {
                .tls = e->tls,
                .alpn = PKI_ALPN_LINK,
                .kinds = PKI_CONTROLLER,
                .hello = wf_endpoint_hello,
                .hello_arg = e,
            },
        .addresses = e->identity.controllers,
        .address_count = e->identity.controller_count,
        .handler = &uplink_handler,
        .arg = e,
    };
    weft_err err = wf_uplink_open(e->net, &config, &e->controller.uplink);
    if (err == WEFT_OK)
        wf_endpoint_watch(e);
    return err;
}

void wf_controller_close(weft_endpoint *e)
{
    if (e->controller.uplink == NULL || e->controller.is_closing)
        return;
    e->controller.is_closing = true;
    wf_uplink_close(e->controller.uplink);
}

weft_err wf_controller_call(weft_endpoint *e, const char *operation, wf_span arguments,
                            unsigned timeout_ms, wf_call_fn done, void *arg)
{
    weft_err err = wf_controller_want(e);
    if (err != WEFT_OK)
        return err;
    return wf_uplink_call(e->controller.uplink, operation, arguments,
                          timeout_ms > 0 ? timeout_ms : WF_CALL_MS, done, arg);
}

static void on_said(void *arg, weft_err code, const char *reason, wf_span result)
{
    weft_endpoint *e = arg;
    (void)code; /* its next Hello says it again */
    (void)reason;
    (void)result;
    e->controller.calls--;
    wf_endpoint_go_on_closing(e);
}

void wf_controller_say_bundle(weft_endpoint *e)
{
    wf_buf version;
    if (!e->controller.is_up || e->state != WF_ENDPOINT_OPEN)
        return;
    wf_buf_init(&version, 8);
    if (wf_buf_put_u64(&version, pki_trust_version(e->trust)) == WEFT_OK &&
        wf_controller_call(e, "holds", wf_span_of(version.data, version.len), WF_CALL_MS, on_said,
                           e) == WEFT_OK)
        e->controller.calls++;
    wf_buf_fini(&version);
}

/* ---- grants */

static void tell_fetch(struct wf_fetch *fetch, weft_err err, const char *why)
{
    wf_list_remove(&fetch->node);
    while (!wf_list_is_empty(&fetch->waits)) {
        struct wf_wait *wait = wf_container_of(fetch->waits.next, struct wf_wait, node);
        wf_list_remove(&wait->node);
        wait->done(wait, err, why);
    }
    free(fetch);
}

static void take_grants(weft_endpoint *e, const Weft__Wire__GrantsResult *result)
{
    wf_why why = {""};
    uint64_t now = wf_now_wall_ms();
    if (result->bundle != NULL)
        wf_endpoint_take_bundle(e, result->bundle);
    /* A reply is encoded when the call is done; a notice of the same turn, sent before it, may show
       a newer one. Hello and notices tell of a log that went back. */
    wf_witness_take(e, result->checkpoint, false);
    for (size_t i = 0; i < result->n_floors; i++)
        wf_endpoint_take_floors(e, result->floors[i], NULL);
    for (size_t i = 0; i < result->n_members; i++)
        wf_endpoint_take_router(e, result->members[i]);
    for (size_t i = 0; i < result->n_grants; i++)
        if (wf_grants_add(&e->grants, result->grants[i], now, &why) != WEFT_OK)
            wf_log_warn("a grant from the controller is left out: %s", why.text);
}

static void on_grants(void *arg, weft_err code, const char *reason, wf_span bytes)
{
    struct wf_fetch *fetch = arg;
    weft_endpoint *e = fetch->endpoint;
    Weft__Wire__GrantsResult *result = NULL;
    wf_why why = {""};
    used(e);
    e->controller.calls--;
    if (code == WEFT_OK)
        code = wf_grants_result_decode(bytes.data, bytes.len, &result, &why);
    else
        (void)wf_fail(&why, code, "%s",
                      reason != NULL && reason[0] != '\0' ? reason : weft_err_sentence((int)code));
    if (code == WEFT_OK) {
        take_grants(e, result);
        if (fetch->service[0] != '\0' && result->refused_code != 0) {
            code =
                result->refused_code <= WEFT_EEOF ? (weft_err)result->refused_code : WEFT_EREFUSED;
            (void)wf_fail(&why, code, "%s: %s", fetch->service,
                          result->refused_reason != NULL && result->refused_reason[0] != '\0'
                              ? result->refused_reason
                              : weft_err_sentence((int)code));
        }
        wf_grants_result_free(result);
        if (e->state == WF_ENDPOINT_OPEN)
            wf_jobs_post(&e->jobs, &e->changed);
    }
    tell_fetch(fetch, code, why.text);
    wf_endpoint_go_on_closing(e);
}

weft_err wf_controller_fetch(weft_endpoint *e, const char *service, struct wf_wait *wait,
                             unsigned timeout_ms)
{
    if (service == NULL)
        service = "";
    for (wf_node *n = e->controller.fetches.next; n != &e->controller.fetches; n = n->next) {
        struct wf_fetch *running = wf_container_of(n, struct wf_fetch, node);
        if (strcmp(running->service, service) == 0) {
            if (wait != NULL)
                wf_list_push(&running->waits, &wait->node);
            return WEFT_OK;
        }
    }

    struct wf_fetch *fetch = calloc(1, sizeof *fetch);
    if (fetch == NULL)
        return WEFT_ENOMEM;
    fetch->endpoint = e;
    size_t len = strlen(service);
    assert(len <= WF_NAME_MAX);
    memcpy(fetch->service, service, len + 1);
    wf_list_init(&fetch->waits);

    Weft__Wire__GrantsCall call = WEFT__WIRE__GRANTS_CALL__INIT;
    struct wf_posture posture;
    wf_posture_fill(&posture);
    call.posture = &posture.message;
    char *names[] = {fetch->service};
    if (len > 0) {
        call.n_services = 1;
        call.services = names;
    }
    wf_buf arguments;
    wf_buf_init(&arguments, WF_CONTROL_MAX);
    weft_err err = wf_message_put(&call.base, &arguments);
    if (err == WEFT_OK)
        err = wf_controller_call(e, "grants", wf_span_of(arguments.data, arguments.len), timeout_ms,
                                 on_grants, fetch);
    wf_buf_fini(&arguments);
    if (err != WEFT_OK) {
        free(fetch);
        return err;
    }
    e->controller.calls++;
    wf_list_push(&e->controller.fetches, &fetch->node);
    if (wait != NULL)
        wf_list_push(&fetch->waits, &wait->node);
    return WEFT_OK;
}
