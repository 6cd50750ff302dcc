/*
 * The whole: opening, the one port, timers, and the way out.
 *
 * Happy path: the identity and the state on disk make trust -> the port listens
 * -> edges and routers come in, the controller and the other routers are dialed
 * -> router_close: nothing new, circuits may end -> all links close -> the
 * close callbacks come -> the router is gone.
 *
 * Failure modes: anything missing at the start is undone in reverse and said in
 * one line; a state file that can't be read is a warning, for the controller
 * can tell it all again; one that can't be written is an error in the log.
 */
#include "router/router.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/node/metrics.h"
#include "router/config.h"
#include "router/inside.h"
#include "router/state.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SAVE_AFTER_MS 50u
#define SWEEP_MAX_MS                                                                               \
    3600000u /* look at the wall clock at least this often while something can end */
#define DRAIN_STEP_MS 100u
#define EDGE_QUOTAS_MAX 65536u /* as many links as a listener has */
#define FLOORS_ANSWERS 16u     /* at once to one link, and then one in */
#define FLOORS_ANSWER_MS 1000u
#define LOG_LINES_PER_SECOND 20u

bool router_is_running(const struct router *router)
{
    return router->state == ROUTER_RUNNING;
}

bool router_may_log(struct router *router)
{
    uint64_t second = wf_now_mono_ms() / 1000;

    if (second != router->log_second) {
        if (router->log_lines > LOG_LINES_PER_SECOND)
            wf_log_info("%u more lines like the last ones were left out",
                        router->log_lines - LOG_LINES_PER_SECOND);
        router->log_second = second;
        router->log_lines = 0;
    }
    return ++router->log_lines <= LOG_LINES_PER_SECOND;
}

/* ---- state on disk */

static void save_members(struct router *router)
{
    struct records records = {0};
    size_t cursor = 0;
    struct member *member;
    wf_why why = {""};
    weft_err err = WEFT_OK;

    while (err == WEFT_OK && (member = wf_map_next(router->members.by_id, &cursor)) != NULL)
        err = records_add(&records, member->record);
    if (err == WEFT_OK)
        err = state_save(router->home, "members", records.list, records.count, &why);
    if (err != WEFT_OK)
        wf_log_error("can't keep the member records: %s", why.text);
    records_fini(&records);
}

static void save_bundle(struct router *router)
{
    wf_span encoded = pki_trust_bundle(router->trust);
    Weft__Wire__Signed *bundle = NULL;
    wf_why why = {""};
    weft_err err = wf_signed_decode(encoded.data, encoded.len, &bundle, &why);

    if (err == WEFT_OK)
        err = state_save(router->home, "bundle", &bundle, 1, &why);
    if (err != WEFT_OK)
        wf_log_error("can't keep the trust bundle: %s", why.text);
    wf_signed_free(bundle);
}

static void save(struct router *router)
{
    wf_why why = {""};

    if (router->home == NULL)
        router->dirty = 0;
    if ((router->dirty & DIRTY_FLOORS) != 0 &&
        state_save(router->home, "floors", router->floors.sets.list, router->floors.sets.count,
                   &why) != WEFT_OK)
        wf_log_error("can't keep the revocations: %s", why.text);
    if ((router->dirty & DIRTY_BUNDLE) != 0)
        save_bundle(router);
    if ((router->dirty & DIRTY_MEMBERS) != 0)
        save_members(router);
    if ((router->dirty & DIRTY_CHECKPOINTS) != 0)
        witness_save(router);
    router->dirty = 0;
}

static void on_save(uv_timer_t *timer)
{
    save(timer->data);
}

void router_set_dirty(struct router *router, unsigned what)
{
    router->dirty |= what;
    if (router->state != ROUTER_CLOSING &&
        !uv_is_active((uv_handle_t *)&router->timers[TIMER_SAVE]))
        uv_timer_start(&router->timers[TIMER_SAVE], on_save, SAVE_AFTER_MS, 0);
}

/* Reads one file and hands each record to `take`. */
static void load(struct router *router, const char *name,
                 void (*take)(struct router *router, const Weft__Wire__Signed *record))
{
    struct records records = {0};
    wf_why why = {""};

    if (state_load(router->home, name, &records, &why) != WEFT_OK)
        wf_log_warn("state not read, the controller will tell it again: %s", why.text);
    for (size_t i = 0; i < records.count; i++)
        take(router, records.list[i]);
    records_fini(&records);
}

static void load_bundle(struct router *router, const Weft__Wire__Signed *record)
{
    bool changed;
    wf_why why = {""};
    wf_buf encoded;

    wf_buf_init(&encoded, WF_BUNDLE_MAX);
    if (wf_signed_encode(record, &encoded) != WEFT_OK ||
        pki_trust_update(router->trust, wf_span_of(encoded.data, encoded.len), &changed, &why) !=
            WEFT_OK)
        wf_log_warn("the trust bundle on disk is not taken: %s", why.text);
    wf_buf_fini(&encoded);
}

static void load_floors(struct router *router, const Weft__Wire__Signed *record)
{
    bool changed;
    wf_why why = {""};

    if (pki_trust_apply_floors(router->trust, record, wf_now_wall_ms(), &changed, &why) !=
            WEFT_OK ||
        floor_log_add(&router->floors, record) != WEFT_OK)
        wf_log_warn("a set of revocations on disk is not taken: %s", why.text);
}

static void load_member(struct router *router, const Weft__Wire__Signed *record)
{
    struct member *member;
    bool changed;
    wf_why why = {""};

    if (members_learn(&router->members, router->trust, record, wf_now_wall_ms(), &member, &changed,
                      &why) != WEFT_OK)
        wf_log_info("a member record on disk is not taken: %s", why.text);
}

/* Records that came inside the identity file. */
static void load_carried(struct router *router)
{
    const struct pki_identity *identity = &router->identity;
    Weft__Wire__Signed *record;

    for (size_t i = 0; i < identity->member_count; i++) {
        if (wf_signed_decode(identity->members[i].data, identity->members[i].len, &record, NULL) !=
            WEFT_OK)
            continue;
        load_member(router, record);
        wf_signed_free(record);
    }
}

/* ---- floors and hellos */

void router_hello(void *arg, Weft__Wire__Hello *hello)
{
    struct router *router = arg;
    struct member *own =
        members_find(&router->members, router->trust, &router->identity.id, wf_now_wall_ms());
    const pki_chain *chain = router->identity.chain;

    hello->member = own == NULL ? NULL : own->record;
    hello->floors_version = pki_floors_version(pki_trust_floors(router->trust));
    wf_signed_free(router->shown);
    router->shown = pki_witness_newest(&router->witness);
    hello->checkpoint = router->shown;
    hello->bundle_version = pki_trust_version(router->trust);
    hello->chain = router->hello_chain;
    for (hello->n_chain = 0;
         hello->n_chain < pki_chain_count(chain) && hello->n_chain < WF_CHAIN_DEPTH;
         hello->n_chain++) {
        wf_span der = pki_chain_der(chain, hello->n_chain);

        router->hello_chain[hello->n_chain] = wf_pb_bytes(der.data, der.len);
    }
}

void router_level_floors(struct router *router, wf_link *link, uint64_t theirs, bool may_ask)
{
    uint64_t ours = pki_floors_version(pki_trust_floors(router->trust));

    if (theirs < ours) {
        floor_log_send(&router->floors, floor_log_from(&router->floors, theirs), link);
    } else if (theirs > ours && may_ask) {
        Weft__Wire__FloorsWanted wanted = WEFT__WIRE__FLOORS_WANTED__INIT;
        Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;

        wanted.have = ours;
        control.of_case = WEFT__WIRE__CONTROL__OF_FLOORS_WANTED;
        control.floors_wanted = &wanted;
        wf_link_send_control(link, &control);
    }
}

void router_answer_floors(struct router *router, wf_link *link, struct floors_told *told,
                          uint64_t have)
{
    uint64_t ours = pki_floors_version(pki_trust_floors(router->trust));

    if (have >= ours || told->version == ours ||
        wf_quota_draw(&told->full_at, wf_now_mono_ms(), FLOORS_ANSWERS, FLOORS_ANSWER_MS) != 0)
        return;
    told->version = ours;
    router_level_floors(router, link, have, false);
}

void router_after_members(struct router *router)
{
    struct member *own =
        members_find(&router->members, router->trust, &router->identity.id, wf_now_wall_ms());

    if (own != NULL) {
        uint64_t half = own->info.expiry - WF_MEMBER_LIFE_MS / 2;

        router_sweep_by(router, half);
    }
    peers_dial(router);
}

/* ---- timers */

static void on_setup(uv_timer_t *timer)
{
    struct router *router = timer->data;
    uint64_t now = wf_now_mono_ms();
    uint64_t next = circuits_expire(&router->circuits, now);

    if (next != 0)
        uv_timer_start(timer, on_setup, next - now, 0);
}

static void waits(void *arg, uint64_t due)
{
    struct router *router = arg;
    uint64_t now = wf_now_mono_ms();
    uv_timer_t *timer = &router->timers[TIMER_SETUP];

    if (router->state != ROUTER_CLOSING && !uv_is_active((uv_handle_t *)timer))
        uv_timer_start(timer, on_setup, due > now ? due - now : 0, 0);
}

static bool may_log(void *arg)
{
    return router_may_log(arg);
}

static const struct circuits_hooks hooks = {
    .changed = report_changed,
    .ended = dial_ended,
    .host_missing = dial_host_missing,
    .waits = waits,
    .may_log = may_log,
};

static void on_sweep(uv_timer_t *timer)
{
    struct router *router = timer->data;
    struct member *own =
        members_find(&router->members, router->trust, &router->identity.id, wf_now_wall_ms());

    revoke_check_all(router);
    if (own == NULL || own->info.expiry < wf_now_wall_ms() + WF_MEMBER_LIFE_MS / 2)
        sync_now(router);
    renew_if_due(router);
    renew_plan(router);
    router_sweep_by(router, UINT64_MAX);
}

void router_sweep_by(struct router *router, uint64_t wall)
{
    uv_timer_t *timer = &router->timers[TIMER_SWEEP];
    uint64_t now = wf_now_wall_ms(), wait = SWEEP_MAX_MS;

    if (router->state == ROUTER_CLOSING)
        return;
    if (wall < now + SWEEP_MAX_MS)
        wait = wall > now ? wall - now + 1 : 1000; /* what is over already has been looked at */
    if (uv_is_active((uv_handle_t *)timer) && uv_timer_get_due_in(timer) <= wait)
        return;
    uv_timer_start(timer, on_sweep, wait, 0);
}

/* ---- the one port */

static const struct wf_link_handler *accepted(void *arg, wf_link *link, void **link_arg)
{
    struct router *router = arg;

    if (!router_is_running(router))
        return NULL;
    if (wf_link_peer(link)->kind == PKI_ROUTER)
        return peer_accepted(router, link, link_arg);
    return edge_accepted(router, link, link_arg);
}

static weft_err listen_on(struct router *router, const wf_address *address, wf_why *why)
{
    struct wf_listener_config config = {
        .tls = router->tls,
        .alpn = PKI_ALPN_LINK,
        .kinds = PKI_IDENTITY | PKI_ROUTER,
        .hello = router_hello,
        .hello_arg = router,
        .accepted = accepted,
        .arg = router,
    };

    return wf_listener_open(router->net, address, &config, &router->listener, why);
}

/* ---- opening */

static void router_free(struct router *router)
{
    wf_quota_free(router->quotas);
    binds_fini(&router->binds);
    circuits_fini(&router->circuits);
    link_states_fini(router);
    paths_free(router->paths);
    members_fini(&router->members);
    floor_log_fini(&router->floors);
    pki_witness_fini(&router->witness);
    wf_signed_free(router->shown);
    pki_tls_ctx_unref(router->tls);
    pki_trust_unref(router->trust);
    pki_identity_fini(&router->identity);
    free(router);
}

static weft_err make_parts(struct router *router, uint64_t memory, wf_why *why)
{
    weft_err err;

    circuits_init(&router->circuits, memory == 0 ? ROUTER_MEMORY : memory, &router->counters,
                  &hooks, router);
    err = binds_init(&router->binds);
    if (err == WEFT_OK) {
        router->quotas = wf_map_new(EDGE_QUOTAS_MAX);
        err = router->quotas == NULL ? WEFT_ENOMEM : WEFT_OK;
    }
    if (err == WEFT_OK)
        err = members_init(&router->members);
    if (err == WEFT_OK)
        err = link_states_init(router);
    if (err == WEFT_OK) {
        router->paths = paths_new(&router->identity.id);
        err = router->paths == NULL ? WEFT_ENOMEM : WEFT_OK;
    }
    if (err == WEFT_OK && router->identity.kind != PKI_ROUTER)
        return wf_fail(
            why, WEFT_ECREDENTIAL,
            "the identity file is not a router's; make a token with `weft router create`");
    if (err == WEFT_OK)
        err = pki_identity_open(&router->identity, wf_now_wall_ms(), &router->trust, &router->tls,
                                why);
    return err;
}

/* Others go by the member record, whatever router.yaml says now. */
static void compare_advertise(struct router *router, const struct router_options *options)
{
    const struct member *own =
        members_find(&router->members, router->trust, &router->identity.id, wf_now_wall_ms());
    bool same = own == NULL || options->advertise_count == own->info.address_count;

    if (own == NULL || options->advertise_count == 0)
        return;
    for (size_t i = 0; same && i < own->info.address_count; i++)
        same = options->advertise[i].port == own->info.addresses[i].port &&
               strcmp(options->advertise[i].host, own->info.addresses[i].host) == 0;
    if (!same)
        wf_log_warn("router.yaml: advertise is told at enrollment only; another address means a "
                    "new router");
}

weft_err router_open(wf_net *net, struct pki_identity *identity,
                     const struct router_options *options, struct router **out, wf_why *why)
{
    struct router *router = calloc(1, sizeof *router);
    const wf_address *controllers = options->controllers;
    size_t controller_count = options->controller_count;
    weft_err err;

    if (router == NULL) {
        pki_identity_fini(identity);
        return WEFT_ENOMEM;
    }
    router->net = net;
    router->home = options->home;
    router->identity = *identity;
    pki_identity_init(identity);
    router->links_per_identity =
        options->links_per_identity == 0 ? ROUTER_LINKS_PER_IDENTITY : options->links_per_identity;
    wf_list_init(&router->edges);
    wf_list_init(&router->peers);
    pki_witness_init(&router->witness);
    err = make_parts(router, options->memory, why);
    if (err != WEFT_OK)
        goto fail;
    err = listen_on(router, &options->listen, why);
    if (err != WEFT_OK)
        goto fail;
    for (size_t i = 0; i < ROUTER_TIMERS; i++) {
        uv_timer_init(wf_net_loop(net), &router->timers[i]);
        router->timers[i].data = router;
        router->timers_open++;
    }
    if (router->home != NULL) {
        load(router, "bundle", load_bundle);
        load(router, "floors", load_floors);
        load(router, "members", load_member);
        witness_load(router);
    }
    load_carried(router);
    compare_advertise(router, options);
    if (controllers == NULL) {
        controllers = router->identity.controllers;
        controller_count = router->identity.controller_count;
    }
    if (!options->no_controller && controller_count > 0 &&
        sync_open(router, controllers, controller_count) != WEFT_OK)
        wf_log_error("can't look for the controller: %s", weft_err_sentence((int)WEFT_ENOMEM));
    link_state_announce(router);
    router_after_members(router);
    renew_plan(router);
    *out = router;
    return WEFT_OK;
fail:
    router_free(router);
    return err;
}

weft_err router_add_member(struct router *router, const Weft__Wire__Signed *record, wf_why *why)
{
    struct member *member;
    bool changed = false;
    weft_err err = members_learn(&router->members, router->trust, record, wf_now_wall_ms(), &member,
                                 &changed, why);

    if (err == WEFT_OK && changed) {
        router_set_dirty(router, DIRTY_MEMBERS);
        router_after_members(router);
    }
    return err;
}

weft_err router_add_floors(struct router *router, const Weft__Wire__Signed *set, wf_why *why)
{
    Weft__Wire__Signed *copy = signed_dup(set);
    weft_err err = copy == NULL ? WEFT_ENOMEM : revoke_take(router, &copy, 1, NULL, why);

    wf_signed_free(copy);
    return err;
}

/* ---- looking in */

uint16_t router_port(const struct router *router)
{
    return router->listener == NULL ? 0 : wf_listener_port(router->listener);
}

const wf_id *router_id(const struct router *router)
{
    return &router->identity.id;
}

const struct router_counters *router_counters(struct router *router)
{
    router->counters.binds = router->binds.local;
    router->counters.remote_binds = router->binds.remote;
    router->counters.queued_bytes = router->circuits.pool.used;
    return &router->counters;
}

void router_standing(const struct router *router, struct wf_metrics_standing *out)
{
    const struct pki_witness *w = &router->witness;

    *out = (struct wf_metrics_standing){
        .renewals = router->counters.renewals,
        .bundle_version = pki_trust_version(router->trust),
        .audit_size = w->count > 0 ? w->items[w->count - 1].checkpoint.size : 0,
        .audit_alarms = w->alarms};
    pki_chain_validity(router->identity.chain, &out->certificate_from, &out->certificate_until);
}

bool router_is_ready(struct router *router, wf_why *why)
{
    if (!router_is_running(router)) {
        wf_fail(why, WEFT_EBUSY, "going down");
        return false;
    }
    if (members_find(&router->members, router->trust, &router->identity.id, wf_now_wall_ms()) ==
        NULL) {
        wf_fail(
            why, WEFT_EREFUSED,
            "no member record that holds: the controller has not given one, or has withdrawn it");
        return false;
    }
    return true;
}

/* ---- the way out */

static void timer_closed(uv_handle_t *handle)
{
    struct router *router = handle->data;

    router->timers_open--;
    router_part_gone(router);
}

void router_part_gone(struct router *router)
{
    void (*closed)(void *arg) = router->closed;
    void *arg = router->closed_arg;

    if (router->state != ROUTER_CLOSING || router->timers_open > 0 || router->controller != NULL ||
        !wf_list_is_empty(&router->edges) || !wf_list_is_empty(&router->peers))
        return;
    router_free(router);
    if (closed != NULL)
        closed(arg);
}

static void close_all(struct router *router)
{
    assert(router->state == ROUTER_DRAINING);
    router->state = ROUTER_CLOSING;
    save(router);
    edges_close(router);
    peers_close(router);
    renew_close(router);
    sync_close(router);
    for (size_t i = 0; i < ROUTER_TIMERS; i++)
        uv_close((uv_handle_t *)&router->timers[i], timer_closed);
}

static void on_drain(uv_timer_t *timer)
{
    struct router *router = timer->data;

    if (router->counters.circuits + router->counters.pending > 0 &&
        wf_now_mono_ms() < router->drain_end)
        return;
    uv_timer_stop(timer);
    close_all(router);
}

void router_close(struct router *router, unsigned drain_ms, void (*closed)(void *arg), void *arg)
{
    uint64_t end = wf_now_mono_ms() + drain_ms;

    if (router->state == ROUTER_CLOSING)
        return;
    if (router->state == ROUTER_RUNNING) {
        router->state = ROUTER_DRAINING;
        router->closed = closed;
        router->closed_arg = arg;
        router->drain_end = end;
        wf_listener_close(router->listener);
        router->listener = NULL;
        uv_timer_start(&router->timers[TIMER_DRAIN], on_drain, 0, DRAIN_STEP_MS);
    } else if (end < router->drain_end) {
        router->drain_end = end;
    }
}
