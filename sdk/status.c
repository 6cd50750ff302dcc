/*
 * weft_status_get: what works, found out by trying it.
 *
 * Happy path: an endpoint opens; the controller is asked for our grants, every
 * router is connected to, and then each service that we may dial is dialed, all
 * at the same time; when the last answer is in, the endpoint closes.
 *
 * - The time is over: what has no answer yet is WEFT_ETIMEDOUT.
 */
#include "proto/base/clock.h"
#include "sdk/endpoint.h"
#include "sdk/stream.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include <weft/weft.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

struct router_probe {
    struct status_probe *probe;
    wf_edge *edge; /* NULL: not open, or closed */
    uint64_t ready_ns;
    bool answered;
};

/* Named by what it waits for. One way: CONTROLLER -> TURN -> ANSWERS -> EDGES; any -> EDGES. */
enum probe_state {
    PROBE_CONTROLLER, /* its answer */
    PROBE_TURN,       /* the loop's next turn, to try routers and services */
    PROBE_ANSWERS,    /* theirs */
    PROBE_EDGES,      /* their last callbacks; then the endpoint closes */
};

struct status_probe {
    enum probe_state state;
    weft_endpoint *endpoint;
    struct weft_status *out;
    wf_timer *deadline;
    struct router_probe routers[LENGTH(((struct weft_status *)0)->routers)];
    struct wf_wait wait; /* for the controller */
    struct wf_job next;  /* goes on when the loop turns */
    uint64_t asked_ns;
    size_t edges; /* open */
    size_t dials; /* that have not ended */
    bool services_wanted;
};

struct service_probe {
    struct status_probe *probe;
    size_t index;
};

static void go_on(struct status_probe *p);

static double since_ms(uint64_t ns)
{
    return (double)(uv_hrtime() - ns) / 1e6;
}

/* ---- routers */

static void router_ready(void *arg, wf_edge *edge)
{
    struct router_probe *r = arg;
    (void)edge;
    r->ready_ns = uv_hrtime();
}

/* Our Hello left when the edge was ready; theirs is the answer to it, one round trip later. */
static void router_up(void *arg, wf_edge *edge, const Weft__Wire__Hello *hello)
{
    struct router_probe *r = arg;
    struct status_probe *p = r->probe;
    struct weft_status_router *out = &p->out->routers[r - p->routers];
    (void)hello;
    out->err = WEFT_OK;
    out->rtt_ms = since_ms(r->ready_ns);
    (void)snprintf(out->address, sizeof out->address, "%s", wf_link_remote(wf_edge_link(edge)));
    r->answered = true;
    go_on(p);
}

static void router_down(void *arg, wf_edge *edge, weft_err err, const wf_why *why,
                        uint64_t retry_ms)
{
    struct router_probe *r = arg;
    (void)edge;
    (void)why;
    (void)retry_ms;
    if (!r->answered)
        r->probe->out->routers[r - r->probe->routers].err = err;
    r->answered = true;
    go_on(r->probe);
}

static void router_setup(void *arg, wf_edge *edge, wf_circuit *circuit,
                         const Weft__Wire__Setup *setup)
{
    (void)arg;
    (void)edge;
    (void)setup;
    wf_circuit_turn_away(circuit, WEFT_ENOHOST, "no such bind here");
}

static void router_control(void *arg, wf_edge *edge, Weft__Wire__Control *message)
{
    (void)arg;
    (void)edge;
    (void)message;
}

static void router_closed(void *arg, wf_edge *edge)
{
    struct router_probe *r = arg;
    (void)edge;
    r->edge = NULL;
    r->probe->edges--;
    go_on(r->probe);
}

static const struct wf_edge_handler router_handler = {
    .ready = router_ready,
    .up = router_up,
    .down = router_down,
    .setup = router_setup,
    .control = router_control,
    .closed = router_closed,
};

static void try_routers(struct status_probe *p)
{
    weft_endpoint *e = p->endpoint;
    for (size_t i = 0; i < e->grants.router_count && i < LENGTH(p->routers); i++) {
        const struct pki_member *member = &e->grants.routers[i].member;
        struct weft_status_router *out = &p->out->routers[i];
        struct router_probe *r = &p->routers[i];
        char text[WF_ADDRESS_TEXT] = "";
        p->out->router_count = i + 1;
        memcpy(out->name, member->name, sizeof member->name);
        if (member->address_count > 0)
            (void)wf_address_text(&member->addresses[0], text);
        (void)snprintf(out->address, sizeof out->address, "%s", text);
        out->err = WEFT_ETIMEDOUT;
        r->probe = p;
        const struct wf_edge_config config = {
            .net = e->net,
            .tls = e->tls,
            .router = member,
            .self = e->identity.name,
            .hello = wf_endpoint_hello,
            .hello_arg = e,
            .frame = e->scratch->frame,
            .handler = &router_handler,
            .arg = r,
        };
        out->err = wf_edge_open(&config, &r->edge);
        if (out->err == WEFT_OK) {
            out->err = WEFT_ETIMEDOUT;
            p->edges++;
        } else {
            r->answered = true;
        }
    }
}

/* ---- services */

static void service_opened(weft_stream *stream, void *arg, const struct weft_peer *peer)
{
    struct service_probe *s = arg;
    (void)peer;
    s->probe->out->services_dial[s->index] = WEFT_OK;
    weft_stream_close(stream);
}

static void service_closed(weft_stream *stream, void *arg, weft_err err, const char *why)
{
    struct service_probe *s = arg;
    struct status_probe *p = s->probe;
    weft_err *out = &p->out->services_dial[s->index];
    (void)why;
    /* A host that was verified and then refused is a host that was reached. */
    if (*out == WEFT_ETIMEDOUT)
        *out = stream->peer_id[0] != '\0' ? WEFT_OK : err;
    free(s);
    p->dials--;
    go_on(p);
}

static const struct weft_stream_handler service_handler = {.opened = service_opened,
                                                           .closed = service_closed};

static void try_service(struct status_probe *p, size_t index, unsigned ms)
{
    weft_err *out = &p->out->services_dial[index];
    struct service_probe *s = malloc(sizeof *s);
    weft_stream *stream;
    if (s == NULL) {
        *out = WEFT_ENOMEM;
        return;
    }
    *s = (struct service_probe){.probe = p, .index = index};
    const struct weft_dial_options options = {.timeout_ms = ms};
    *out = weft_dial(p->endpoint, p->out->services[index], &options, &service_handler, s, &stream,
                     NULL);
    if (*out != WEFT_OK) {
        free(s);
        return;
    }
    *out = WEFT_ETIMEDOUT;
    p->dials++;
}

static void count_grants(struct status_probe *p, unsigned ms)
{
    weft_endpoint *e = p->endpoint;
    struct weft_status *out = p->out;
    uint64_t now = wf_now_wall_ms(), shortest = UINT64_MAX;
    size_t shown = 0;
    wf_grants_sweep(&e->grants, now);
    for (wf_node *n = e->grants.list.next; n != &e->grants.list; n = n->next) {
        const struct wf_grant *grant = wf_container_of(n, struct wf_grant, node);
        if (grant->grant.expiry - now < shortest)
            shortest = grant->grant.expiry - now;
        if (grant->grant.role != WEFT__WIRE__ROLE__ROLE_DIAL) {
            out->bind_count++;
            continue;
        }
        out->dial_count++;
        if (shown < LENGTH(out->services)) {
            memcpy(out->services[shown], grant->grant.service_name, WF_NAME_MAX + 1);
            if (p->services_wanted)
                try_service(p, shown, ms);
            shown++;
        }
    }
    out->grants_hours_left = shortest == UINT64_MAX ? -1 : (int64_t)(shortest / 3600000u);
}

/* ---- the whole */

static void on_controller(struct wf_wait *wait, weft_err err, const char *why)
{
    struct status_probe *p = wf_container_of(wait, struct status_probe, wait);
    (void)why;
    p->out->controller = err;
    p->out->controller_rtt_ms = since_ms(p->asked_ns);
    p->state = PROBE_TURN;
    go_on(p);
}

static void finish(struct status_probe *p)
{
    wf_wait_cancel(&p->wait);
    for (size_t i = 0; i < LENGTH(p->routers); i++)
        if (p->routers[i].edge != NULL)
            wf_edge_close(p->routers[i].edge);
    wf_timer_free(p->deadline);
    p->state = PROBE_EDGES;
}

static void on_deadline(void *arg)
{
    struct status_probe *p = arg;
    finish(p);
    go_on(p);
}

static bool has_answers(const struct status_probe *p)
{
    for (size_t i = 0; i < p->out->router_count; i++)
        if (!p->routers[i].answered)
            return false;
    return p->dials == 0;
}

static void next_step(struct wf_job *job)
{
    struct status_probe *p = wf_container_of(job, struct status_probe, next);
    if (p->state == PROBE_TURN) {
        /* Routers and grants that only the controller knew are here now. */
        p->state = PROBE_ANSWERS;
        try_routers(p);
        count_grants(p, p->endpoint->dial_timeout_ms);
    }
    if (p->state == PROBE_ANSWERS && has_answers(p))
        finish(p);
    if (p->state == PROBE_EDGES && p->edges == 0)
        weft_endpoint_close(p->endpoint, NULL, NULL);
}

static void go_on(struct status_probe *p)
{
    if (p->endpoint->state == WF_ENDPOINT_OPEN)
        wf_jobs_post(&p->endpoint->jobs, &p->next);
}

weft_err weft_status_get(const char *identity, unsigned timeout_ms, int probe,
                         struct weft_status *out, weft_why *why)
{
    struct status_probe p = {.state = PROBE_CONTROLLER, .out = out};
    weft_endpoint *e;
    if (timeout_ms == 0)
        timeout_ms = 10000;
    const struct weft_options options = {.identity = identity, .dial_timeout_ms = timeout_ms};
    weft_err err = weft_endpoint_open(&options, &e, why);
    if (err != WEFT_OK)
        return err;
    *out = (struct weft_status){.controller = WEFT_EUNREACHABLE, .grants_hours_left = -1};
    p.endpoint = e;
    p.next.run = next_step;
    p.wait.done = on_controller;
    p.services_wanted = probe != 0;
    memcpy(out->name, e->identity.name, sizeof e->identity.name);
    memcpy(out->id, e->id_text, sizeof e->id_text);
    memcpy(out->domain, e->identity.domain, sizeof e->identity.domain);
    out->certificate_days_left =
        ((int64_t)e->self.not_after - (int64_t)wf_now_wall_ms()) / 86400000;
    if (e->identity.controller_count > 0) {
        char text[WF_ADDRESS_TEXT];
        (void)snprintf(out->controller_address, sizeof out->controller_address, "%s",
                       wf_address_text(&e->identity.controllers[0], text));
    }

    p.deadline = wf_timer_new(&e->timers, on_deadline, &p);
    if (p.deadline == NULL) {
        err = wf_fail(why, WEFT_ENOMEM, "no memory for a timer");
        weft_endpoint_close(e, NULL, NULL);
    } else {
        wf_timer_start(p.deadline, timeout_ms);
        p.asked_ns = uv_hrtime();
        /* A third of the time, so that an absent controller leaves some for the routers. */
        weft_err asked = wf_controller_fetch(e, NULL, &p.wait, timeout_ms / 3 + 1);
        if (asked != WEFT_OK) {
            out->controller = asked;
            p.state = PROBE_TURN;
            go_on(&p);
        }
    }
    (void)weft_endpoint_run(e);
    return err;
}
