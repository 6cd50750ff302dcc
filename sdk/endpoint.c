/*
 * The endpoint: what its parts share, its opening and its closing.
 *
 * Happy path: open reads the identity, what it carries and what was cached,
 * and connects to nothing; the parts do the rest when they are used. Closing
 * goes in steps, each when the one before is done: streams and listeners tell
 * their users; edges and the controller's uplink close; the net and the timers
 * close; the memory goes.
 *
 * - Opening fails: everything made so far is undone; on a caller's loop the
 *   handles close with its next turn.
 * - Closed from inside one of its callbacks: every step is a job of its own.
 */
#include "sdk/endpoint.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "sdk/credential.h"
#include "sdk/listener.h"
#include "sdk/stream.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define CONTROLLER_PORT 9338

/* A handle that does nothing but be there. */
struct wf_keeper {
    uv_async_t handle;
    weft_endpoint *endpoint; /* borrowed: outlives us */
};

const char *weft_version(void)
{
    return WEFT_VERSION;
}

void wf_endpoint_event(weft_endpoint *e, enum weft_event_kind kind, weft_err err, const char *text)
{
    if (e->event == NULL)
        return;
    const struct weft_event event = {.kind = kind, .err = err, .text = text};
    e->event(e->event_arg, &event);
}

void wf_endpoint_hello(void *arg, Weft__Wire__Hello *hello)
{
    weft_endpoint *e = arg;
    hello->floors_version = pki_floors_version(pki_trust_floors(e->trust));
    wf_signed_free(e->shown);
    e->shown = pki_witness_newest(&e->grants.witness);
    hello->checkpoint = e->shown;
    hello->bundle_version = pki_trust_version(e->trust);
}

/* ---- records from anybody */

void wf_endpoint_take_floors(weft_endpoint *e, const Weft__Wire__Signed *record, wf_link *from)
{
    bool changed = false;
    wf_why why = {""};
    weft_err err = wf_grants_add_floors(&e->grants, record, wf_now_wall_ms(), &changed, &why);
    if (changed && e->state == WF_ENDPOINT_OPEN)
        wf_jobs_post(&e->jobs, &e->changed);
    if (err == WEFT_ECONFLICT && from != NULL) {
        Weft__Wire__FloorsWanted wanted = WEFT__WIRE__FLOORS_WANTED__INIT;
        Weft__Wire__Control message = WEFT__WIRE__CONTROL__INIT;
        wanted.have = pki_floors_version(pki_trust_floors(e->trust));
        message.of_case = WEFT__WIRE__CONTROL__OF_FLOORS_WANTED;
        message.floors_wanted = &wanted;
        (void)wf_link_send_control(from, &message);
    } else if (err != WEFT_OK && err != WEFT_ECONFLICT) {
        wf_lines_put(&e->lines, wf_now_mono_ms(), WF_LOG_WARN,
                     "a set of floors is not believed: %s", why.text);
    }
}

void wf_endpoint_take_router(weft_endpoint *e, const Weft__Wire__Signed *record)
{
    bool changed = false;
    wf_why why = {""};
    weft_err err = wf_grants_add_router(&e->grants, record, wf_now_wall_ms(), &changed, &why);
    if (err != WEFT_OK)
        wf_lines_put(&e->lines, wf_now_mono_ms(), WF_LOG_WARN,
                     "a router's record is not believed: %s", why.text);
    if (!changed)
        return;
    for (size_t i = 0; i < WF_EDGES_MAX; i++) {
        const struct wf_route *route = &e->routers.routes[i];
        if (route->edge == NULL || route->is_closing)
            continue;
        for (size_t k = 0; k < e->grants.router_count; k++)
            if (wf_id_equal(&e->grants.routers[k].member.router,
                            &wf_edge_router(route->edge)->router))
                wf_edge_set_router(route->edge, &e->grants.routers[k].member);
    }
}

void wf_endpoint_take_bundle(weft_endpoint *e, const Weft__Wire__Signed *record)
{
    bool changed = false;
    wf_why why = {""};
    wf_buf encoded;
    wf_buf_init(&encoded, WF_BUNDLE_MAX);
    weft_err err = wf_signed_encode(record, &encoded);
    if (err == WEFT_OK)
        err = pki_trust_update(e->trust, wf_span_of(encoded.data, encoded.len), &changed, &why);
    wf_buf_fini(&encoded);
    if (err != WEFT_OK)
        wf_lines_put(&e->lines, wf_now_mono_ms(), WF_LOG_WARN, "a trust bundle is not believed: %s",
                     why.text);
    e->grants.dirty |= changed;
    if (changed) {
        wf_grants_recheck(&e->grants, wf_now_wall_ms());
        wf_renewal_repin(e);
        wf_controller_say_bundle(e);
    }
    if (changed && e->state == WF_ENDPOINT_OPEN)
        wf_jobs_post(&e->jobs, &e->changed);
}

/* ---- closing */

static void done_if_all_closed(weft_endpoint *e)
{
    if (e->state != WF_ENDPOINT_NET || !e->net_closed || e->timers.open > 0 || e->keeper != NULL)
        return;
    e->state = WF_ENDPOINT_CLOSED;
    void (*closed)(void *) = e->closed;
    void *arg = e->closed_arg;
    wf_grants_fini(&e->grants);
    wf_signed_free(e->shown);
    pki_tls_ctx_unref(e->tls);
    pki_trust_unref(e->trust);
    pki_identity_fini(&e->identity);
    for (size_t i = 0; i < WF_PINS_MAX; i++)
        pki_key_free(e->older_keys[i]);
    free(e->state_path);
    free(e->scratch);
    free(e);
    if (closed != NULL)
        closed(arg);
}

static void on_net_closed(void *arg)
{
    weft_endpoint *e = arg;
    e->net_closed = true;
    done_if_all_closed(e);
}

static void on_timers_closed(void *arg)
{
    done_if_all_closed(arg);
}

static void on_keeper_closed(uv_handle_t *handle)
{
    struct wf_keeper *keeper = wf_container_of((uv_async_t *)handle, struct wf_keeper, handle);
    weft_endpoint *e = keeper->endpoint;
    free(keeper);
    e->keeper = NULL;
    done_if_all_closed(e);
}

static void close_net(weft_endpoint *e)
{
    e->state = WF_ENDPOINT_NET;
    wf_job_cancel(&e->changed);
    wf_job_cancel(&e->closing);
    wf_timer_free(e->routers.race);
    wf_timer_free(e->house);
    wf_jobs_fini(&e->jobs);
    if (e->keeper != NULL)
        uv_close((uv_handle_t *)&e->keeper->handle, on_keeper_closed);
    if (e->net != NULL)
        wf_net_close(e->net, on_net_closed, e);
    else
        e->net_closed = true;
}

static void closing_step(struct wf_job *job)
{
    weft_endpoint *e = wf_container_of(job, weft_endpoint, closing);
    if (e->state == WF_ENDPOINT_STREAMS && wf_list_is_empty(&e->streams) &&
        wf_list_is_empty(&e->listeners)) {
        e->state = WF_ENDPOINT_CONNECTIONS;
        wf_house_save(e);
        wf_routers_close(e);
        wf_controller_close(e);
        wf_renewal_cancel(e);
    }
    if (e->state == WF_ENDPOINT_CONNECTIONS && wf_routers_are_closed(e) &&
        e->controller.uplink == NULL && e->controller.calls == 0 && e->renewal == NULL)
        close_net(e);
}

void wf_endpoint_go_on_closing(weft_endpoint *e)
{
    if (e->state == WF_ENDPOINT_STREAMS || e->state == WF_ENDPOINT_CONNECTIONS)
        wf_jobs_post(&e->jobs, &e->closing);
}

void weft_endpoint_close(weft_endpoint *e, void (*closed)(void *arg), void *arg)
{
    if (e->state != WF_ENDPOINT_OPEN)
        return;
    e->closed = closed;
    e->closed_arg = arg;
    e->state = WF_ENDPOINT_STREAMS;
    wf_timer_stop(e->house);
    wf_job_cancel(&e->changed);
    for (wf_node *n = e->streams.next; n != &e->streams; n = n->next)
        wf_stream_shut(wf_container_of(n, weft_stream, node));
    for (wf_node *n = e->listeners.next; n != &e->listeners; n = n->next)
        weft_listener_close(wf_container_of(n, weft_listener, node));
    wf_jobs_post(&e->jobs, &e->closing);
}

/* ---- opening */

/* $XDG_STATE_HOME/weft/<id>/state.json, or below ~/.local/state; NULL if it can't be. */
static char *find_state(const struct weft_options *options, const char *id)
{
    wf_why why = {""};
    wf_buf path;
    char *out = NULL;
    wf_buf_init(&path, 4096);
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    weft_err err;
    if (options->state_dir != NULL) {
        if (options->state_dir[0] == '\0')
            return NULL;
        err = wf_buf_printf(&path, "%s", options->state_dir);
    } else if (state != NULL && state[0] == '/') {
        err = wf_buf_printf(&path, "%s/weft/%s", state, id);
    } else if (home != NULL && home[0] == '/') {
        err = wf_buf_printf(&path, "%s/.local/state/weft/%s", home, id);
    } else {
        return NULL;
    }
    if (err == WEFT_OK && wf_buf_cstr(&path) != NULL) {
        err = wf_folder_make(wf_buf_cstr(&path), &why);
        if (err != WEFT_OK)
            wf_log_warn("grants are kept in memory only: %s", why.text);
        else if (wf_buf_put_text(&path, "/state.json") == WEFT_OK && wf_buf_cstr(&path) != NULL)
            out = strdup(wf_buf_cstr(&path));
    }
    wf_buf_fini(&path);
    return out;
}

static void take_carried(weft_endpoint *e, const wf_buf *records, size_t count, int kind,
                         uint64_t now)
{
    for (size_t i = 0; i < count; i++) {
        Weft__Wire__Signed *record = NULL;
        wf_why why = {""};
        bool changed;
        weft_err err = wf_signed_decode(records[i].data, records[i].len, &record, &why);
        if (err == WEFT_OK)
            err = kind == 0   ? wf_grants_add_floors(&e->grants, record, now, &changed, &why)
                  : kind == 1 ? wf_grants_add_router(&e->grants, record, now, &changed, &why)
                              : wf_grants_add(&e->grants, record, now, &why);
        if (err != WEFT_OK)
            wf_log_info("a record that the identity carries is left out: %s", why.text);
        wf_signed_free(record);
    }
}

static weft_err load_identity(weft_endpoint *e, const struct weft_options *options, uint64_t now,
                              wf_why *why)
{
    weft_err err = wf_credential_load(options->identity, &e->identity, why);
    if (err != WEFT_OK)
        return err;
    if (options->controller != NULL) {
        err = wf_address_parse(options->controller, CONTROLLER_PORT, &e->identity.controllers[0],
                               why);
        if (err != WEFT_OK)
            return err;
        e->identity.controller_count = 1;
    }
    (void)wf_id_text(&e->identity.id, e->id_text);
    err = pki_identity_open(&e->identity, now, &e->trust, &e->tls, why);
    if (err != WEFT_OK)
        return err;
    wf_grants_init(&e->grants, e->trust, &e->self);
    err = wf_renewal_check_self(e, now, why);
    if (err != WEFT_OK)
        return err;
    take_carried(e, e->identity.floors, e->identity.floors_count, 0, now);
    take_carried(e, e->identity.members, e->identity.member_count, 1, now);
    take_carried(e, e->identity.grants, e->identity.grant_count, 2, now);
    bool carried = e->grants.dirty;
    e->state_path = find_state(options, e->id_text);
    if (e->state_path != NULL && wf_file_exists(e->state_path)) {
        wf_why text = {""};
        if (wf_grants_load(&e->grants, e->state_path, now, &text) != WEFT_OK)
            wf_log_warn("%s", text.text);
    }
    e->grants.dirty = carried;
    /* The cache's floors may have cut us; whether they still do, dial.c asks the fabric. */
    err = pki_trust_check_again(e->trust, &e->self, now, why);
    return err == WEFT_EREVOKED ? WEFT_OK : err;
}

static weft_err open_handles(weft_endpoint *e, const struct weft_options *options, wf_why *why)
{
    e->loop = options->loop;
    if (e->loop == NULL) {
        e->loop = calloc(1, sizeof *e->loop);
        if (e->loop == NULL || uv_loop_init(e->loop) != 0) {
            free(e->loop);
            e->loop = NULL;
            return wf_fail(why, WEFT_ENOMEM, "no memory for a loop");
        }
        e->own_loop = true;
        e->keeper = calloc(1, sizeof *e->keeper);
        if (e->keeper == NULL || uv_async_init(e->loop, &e->keeper->handle, NULL) != 0) {
            free(e->keeper);
            e->keeper = NULL;
            return wf_fail(why, WEFT_ENOMEM, "no memory for a loop");
        }
        e->keeper->endpoint = e;
    }
    e->timers = (struct wf_timers){.loop = e->loop, .none_left = on_timers_closed, .arg = e};
    e->house = wf_timer_new(&e->timers, wf_house_look, e);
    if (e->house == NULL || wf_jobs_init(&e->jobs, &e->timers) != WEFT_OK ||
        wf_routers_init(e) != WEFT_OK)
        return wf_fail(why, WEFT_ENOMEM, "no memory for timers");
    wf_timer_unref(e->house);
    weft_err err = wf_net_open(e->loop, &e->net);
    return err == WEFT_OK ? err : wf_fail(why, err, "no network: %s", weft_err_sentence((int)err));
}

weft_err weft_endpoint_open(const struct weft_options *options, weft_endpoint **out, weft_why *why)
{
    weft_endpoint *e = calloc(1, sizeof *e);
    if (e == NULL)
        return wf_fail(why, WEFT_ENOMEM, "no memory for an endpoint");
    pki_identity_init(&e->identity);
    wf_list_init(&e->streams);
    wf_list_init(&e->deciding);
    e->decisions_max = WF_DECISIONS_MAX;
    e->decisions_per_peer_max = WF_DECISIONS_PER_PEER_MAX;
    e->promise_max = WF_PROMISE_MAX;
    wf_list_init(&e->listeners);
    wf_list_init(&e->controller.fetches);
    wf_list_init(&e->routers.waiting);
    wf_list_init(&e->jobs.list);
    wf_list_init(&e->grants.list);
    e->closing.run = closing_step;
    e->changed.run = wf_house_changed;
    e->event = options->event;
    e->event_arg = options->arg;
    e->dial_timeout_ms = options->dial_timeout_ms;

    weft_err err = WEFT_ENOMEM;
    e->scratch = malloc(sizeof *e->scratch);
    if (e->scratch != NULL)
        err = load_identity(e, options, wf_now_wall_ms(), why);
    if (err == WEFT_OK)
        err = open_handles(e, options, why);
    if (err == WEFT_OK) {
        *out = e;
        return WEFT_OK;
    }

    /* The same way as any closing, only that nobody waits for it. */
    struct uv_loop_s *own = e->own_loop ? e->loop : NULL;
    close_net(e);
    done_if_all_closed(e);
    if (own != NULL) {
        (void)uv_run(own, UV_RUN_DEFAULT);
        (void)uv_loop_close(own);
        free(own);
    }
    return err;
}

weft_err weft_endpoint_run(weft_endpoint *e)
{
    struct uv_loop_s *loop = e->loop;
    if (!e->own_loop)
        return WEFT_EINVAL;
    /* The endpoint's memory is gone when nothing is left to run. */
    if (uv_run(loop, UV_RUN_DEFAULT) != 0)
        return WEFT_OK; /* somebody stopped the loop; call again */
    int left = uv_loop_close(loop);
    assert(left == 0);
    (void)left;
    free(loop);
    return WEFT_OK;
}

struct uv_loop_s *weft_endpoint_loop(weft_endpoint *e)
{
    return e->loop;
}

const char *weft_endpoint_name(const weft_endpoint *e)
{
    return e->identity.name;
}

const char *weft_endpoint_id(const weft_endpoint *e)
{
    return e->id_text;
}
