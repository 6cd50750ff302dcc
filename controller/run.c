/*
 * The program at work: one loop, one address.
 *
 * Happy path: the home opens, the listener listens, calls run as they come;
 * after each poll the check handle ends the turn (one commit for all calls in
 * it); SIGTERM closes the listener and the links, and the loop runs empty.
 *
 * Failure modes:
 * - The store breaks: nothing of the turn is acknowledged, links are cut, exit
 *   with the store's own sentence.
 * - The address is taken, the home is in use, a key is missing: one line, nothing was started.
 */
#include "controller/api.h"
#include "controller/backup.h"
#include "controller/follow.h"
#include "controller/jwks.h"
#include "controller/notice.h"
#include "controller/operation.h"
#include "controller/peer.h"
#include "controller/rotated.h"
#include "controller/view.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/node/daemon.h"
#include "proto/node/metrics.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define LOOK_AFTER_MS 600000u /* records and rows, now and then */
#define TELL_AT_ONCE 64u      /* of those who have to renew, and then a pause */
#define TELL_EACH_MS 100u
#define NOTICES_MS 1u      /* until the next slice of notices */
#define CHECKPOINT_MS 500u /* until what a rate held back is tried again */
#define SWEEP_MS 15000u    /* while somebody is there who isn't enrolled */

struct program {
    struct controller c;
    uv_loop_t loop;
    uv_check_t turn_end;
    uv_timer_t look_after, sweep, checkpoint, backup, notices;
    uv_timer_t rotation; /* until new keys sign; then, while peers are told */
    wf_net *net;
    pki_tls_ctx *tls;
    wf_listener *listener;
    wf_daemon *daemon;
    wf_metrics *metrics;
    Weft__Wire__Signed *shown; /* owned: the checkpoint in the last Hello */
    struct api *api;
    bool stopping;
    weft_err failed;
    wf_why why;
};

static void stop(struct program *p)
{
    if (p->stopping)
        return;
    p->stopping = true;
    p->c.draining = true;
    /* What was done and waits for its commit is kept, and told. */
    if (p->failed == WEFT_OK)
        p->failed = controller_end_turn(&p->c, &p->why);
    if (p->api != NULL)
        api_close(p->api);
    p->api = NULL;
    uv_close((uv_handle_t *)&p->turn_end, NULL);
    uv_close((uv_handle_t *)&p->look_after, NULL);
    uv_close((uv_handle_t *)&p->sweep, NULL);
    uv_close((uv_handle_t *)&p->checkpoint, NULL);
    uv_close((uv_handle_t *)&p->backup, NULL);
    uv_close((uv_handle_t *)&p->notices, NULL);
    uv_close((uv_handle_t *)&p->rotation, NULL);
    if (p->listener != NULL)
        wf_listener_close(p->listener);
    if (p->metrics != NULL)
        wf_metrics_close(p->metrics);
    if (p->daemon != NULL)
        wf_daemon_close(p->daemon);
    jwks_close(p->c.jwks);
    peer_close_all(&p->c);
    wf_net_close(p->net, NULL, NULL);
}

/* The store is broken: whoever waits for an answer learns that there is none. */
static void fail(struct program *p, weft_err err)
{
    wf_node *n, *next;

    if (p->failed != WEFT_OK)
        return;
    p->failed = err;
    wf_log_error("%s; stopping, nothing more is acknowledged", p->why.text);
    for (n = p->c.peers.next; n != &p->c.peers; n = next) {
        next = n->next;
        wf_link_cut(wf_container_of(n, struct peer, node)->link, WEFT_EIO,
                    "the controller stops: its store failed");
    }
    stop(p);
}

/* What a rate or a slice held back: the turns have ended, nothing else may come. */
static void on_checkpoint(uv_timer_t *timer);
static void on_notices(uv_timer_t *timer);

static void owe(struct program *p)
{
    if (!p->stopping && notice_is_owed(&p->c) && !uv_is_active((uv_handle_t *)&p->notices))
        uv_timer_start(&p->notices, on_notices, NOTICES_MS, 0);
    if (!p->stopping && controller_owes_checkpoint(&p->c) &&
        !uv_is_active((uv_handle_t *)&p->checkpoint))
        uv_timer_start(&p->checkpoint, on_checkpoint, CHECKPOINT_MS, 0);
}

static void end_turn(struct program *p)
{
    weft_err err;

    if (p->failed != WEFT_OK)
        return;
    if (p->api != NULL)
        api_work(p->api);
    err = controller_end_turn(&p->c, &p->why);
    if (err != WEFT_OK)
        fail(p, err);
    else
        owe(p);
}

static void on_checkpoint(uv_timer_t *timer)
{
    end_turn(wf_container_of(timer, struct program, checkpoint));
}

static void on_notices(uv_timer_t *timer)
{
    end_turn(wf_container_of(timer, struct program, notices));
}

/* A piece of a backup, and then whoever waits: the loop never stalls for all of it. */
static void on_backup(uv_timer_t *timer)
{
    struct program *p = wf_container_of(timer, struct program, backup);

    if (!backup_step(p->c.backup, &p->c.home))
        uv_timer_stop(timer);
}

static void on_turn_end(uv_check_t *check)
{
    struct program *p = wf_container_of(check, struct program, turn_end);

    end_turn(p);
    if (backup_is_busy(p->c.backup) && !p->stopping && !uv_is_active((uv_handle_t *)&p->backup))
        uv_timer_start(&p->backup, on_backup, 1, 2);
}

static void on_look_after(uv_timer_t *timer)
{
    struct program *p = wf_container_of(timer, struct program, look_after);
    bool renewed = false;
    weft_err err = controller_look_after(&p->c, wf_now_wall_ms(), &renewed);

    if (err == WEFT_OK && renewed)
        err = pki_tls_ctx_replace(p->tls, p->c.home.key, p->c.home.chain, &p->why);
    if (err != WEFT_OK) {
        if (store_check(p->c.home.store, &p->why) != WEFT_OK)
            fail(p, err);
        else
            wf_log_error("looking after the records failed: %s", weft_err_sentence(err));
        return;
    }
    if (p->api != NULL)
        api_look_after(p->api, wf_now_wall_ms());
    peer_sweep(&p->c, wf_now_mono_ms(), wf_now_wall_ms());
    end_turn(p);
}

static void on_sweep(uv_timer_t *timer)
{
    struct program *p = wf_container_of(timer, struct program, sweep);
    bool strangers = false;

    peer_sweep(&p->c, wf_now_mono_ms(), wf_now_wall_ms());
    for (wf_node *n = p->c.peers.next; n != &p->c.peers; n = n->next)
        strangers = strangers || (wf_container_of(n, struct peer, node)->who & WHO_NODE) == 0;
    if (!strangers)
        uv_timer_stop(timer);
}

static const struct wf_link_handler *on_accepted(void *arg, wf_link *link, void **link_arg)
{
    struct program *p = arg;
    const struct wf_link_handler *handler = peer_accept(&p->c, link, link_arg);

    if (handler != NULL && wf_link_alpn(link) != PKI_ALPN_LINK &&
        !uv_is_active((uv_handle_t *)&p->sweep))
        uv_timer_start(&p->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    return handler;
}

static void on_hello(void *arg, Weft__Wire__Hello *hello)
{
    struct program *p = arg;
    uint64_t version = 0;

    if (floors_version(&p->c.home, &version) == WEFT_OK)
        hello->floors_version = version;
    wf_signed_free(p->shown);
    p->shown = NULL;
    if (p->c.home.log->newest.len > 0 &&
        wf_signed_decode(p->c.home.log->newest.data, p->c.home.log->newest.len, &p->shown, NULL) ==
            WEFT_OK)
        hello->checkpoint = p->shown;
}

/* ---- metrics */

static void collect(void *arg, wf_buf *out)
{
    struct program *p = arg;
    const struct controller *c = &p->c;
    const struct wf_net_counters *net = wf_net_counters(p->net);
    uint64_t identities = 0, routers = 0;
    struct wf_metrics_standing standing = {.renewals = c->counters.own_renewals,
                                           .bundle_version = pki_trust_version(c->home.trust),
                                           .audit_size = c->home.log->signed_size,
                                           .audit_alarms = c->counters.audit_alarms};

    (void)store_node_count(c->home.store, PKI_IDENTITY, &identities);
    (void)store_node_count(c->home.store, PKI_ROUTER, &routers);
    pki_chain_validity(c->home.chain, &standing.certificate_from, &standing.certificate_until);
    wf_metrics_put_standing(out, "controller", &standing);
    wf_metric_gauge(out, "weft_controller_identities", "Identities that exist.", NULL,
                    (double)identities);
    wf_metric_gauge(out, "weft_controller_routers", "Routers that exist.", NULL, (double)routers);
    wf_metric_gauge(out, "weft_controller_peers", "Nodes that are connected.", NULL,
                    (double)c->peer_count);
    wf_metric_gauge(out, "weft_controller_sessions", "Live sessions as reported.", NULL,
                    (double)c->sessions.count);
    wf_metric_gauge(out, "weft_controller_handshakes_pending", "Connections not yet up.", NULL,
                    (double)net->handshakes_pending);
    wf_metric_counter(out, "weft_controller_handshakes_failed_total",
                      "Connections that ended before they were up.", NULL, net->handshakes_failed);
    wf_metric_counter(out, "weft_controller_calls_total", "Calls taken.", NULL, c->counters.calls);
    wf_metric_counter(out, "weft_controller_grants_total", "Grants issued.", "role=\"dial\"",
                      c->counters.grants_dial);
    wf_metric_counter(out, "weft_controller_grants_total", "Grants issued.", "role=\"bind\"",
                      c->counters.grants_bind);
    wf_metric_counter(out, "weft_controller_enrollments_total", "Tokens redeemed.", NULL,
                      c->counters.enrollments);
    wf_metric_counter(out, "weft_controller_renewals_total", "Certificates renewed.", NULL,
                      c->counters.renewals);
    wf_metric_counter(out, "weft_controller_floors_total", "Records of floors pushed.", NULL,
                      c->counters.floors);
    wf_metric_counter(out, "weft_controller_commits_total", "Commits of the store.", NULL,
                      store_commits(c->home.store));
    wf_metrics_put_refusals(out, "controller", "call", c->counters.refusals, CONTROLLER_ERR_COUNT);
    wf_metrics_put_refusals(out, "controller", "link", c->counters.links, CONTROLLER_ERR_COUNT);
}

static bool is_ready(void *arg, wf_why *why)
{
    struct program *p = arg;

    return !p->stopping && store_check(p->c.home.store, why) == WEFT_OK;
}

/* ---- life */

/* For `rotate-ca --status` and `--finish`, which can't open the store while we do. */
static void write_rotation(struct program *p)
{
    struct json_t *object = NULL;
    wf_why why = {""};
    size_t behind;
    wf_buf text;
    weft_err err = follow_status(&p->c.home, wf_now_wall_ms(), &object, &behind);

    wf_buf_init(&text, OPERATION_RESULT_MAX);
    if (err == WEFT_OK)
        err = view_put(object, &text);
    if (err == WEFT_OK)
        err = home_write(p->c.home.dir, HOME_ROTATION, "", 0600, wf_span_of(text.data, text.len),
                         &why);
    if (err != WEFT_OK)
        wf_log_error("the state of the rotation can't be written: %s",
                     why.text[0] != '\0' ? why.text : weft_err_sentence(err));
    wf_buf_fini(&text);
}

static weft_err write_pid(const char *dir, wf_why *why)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());

    return home_write(dir, HOME_PID, "", 0644, wf_span_of(text, (size_t)len), why);
}

static void on_stop(void *arg)
{
    struct program *p = arg;
    weft_err err = p->failed != WEFT_OK ? p->failed : controller_note(&p->c, AUDIT_STOP);

    wf_log_info("stopping");
    if (err == WEFT_OK)
        err = controller_end_turn_signed(&p->c, &p->why);
    if (err != WEFT_OK && p->failed == WEFT_OK) {
        p->failed = err;
        wf_log_error("the stop couldn't be entered in the audit log: %s", p->why.text);
    }
    stop(p);
}

/* ---- rotation: SIGHUP takes up what `rotate-ca` has made ready */

static void on_told(uv_timer_t *timer)
{
    struct program *p = wf_container_of(timer, struct program, rotation);
    unsigned told = 0;

    for (wf_node *n = p->c.peers.next; n != &p->c.peers && told < TELL_AT_ONCE; n = n->next) {
        struct peer *peer = wf_container_of(n, struct peer, node);

        if (peer->is_told || (peer->who & WHO_NODE) == 0)
            continue;
        peer->is_told = true;
        told++;
        follow_tell(peer);
    }
    if (told == TELL_AT_ONCE)
        uv_timer_start(timer, on_told, TELL_EACH_MS, 0);
}

/* Everybody who is here has had the time to take the new bundle: now its keys sign. */
static void on_settled(uv_timer_t *timer)
{
    struct program *p = wf_container_of(timer, struct program, rotation);
    wf_why why = {""};
    weft_err err = home_read_signers(&p->c.home, &why);

    if (err == WEFT_OK)
        err = pki_tls_ctx_replace(p->tls, p->c.home.key, p->c.home.chain, &why);
    if (err == WEFT_OK)
        err = store_begin(p->c.home.store);
    if (err == WEFT_OK)
        err = follow_resign(&p->c, wf_now_wall_ms());
    if (err == WEFT_OK)
        err = rotated_enter(&p->c.home, wf_now_wall_ms(), &why);
    if (err != WEFT_OK) {
        wf_log_error("the rotation can't be taken up, the older keys go on: %s",
                     why.text[0] != '\0' ? why.text : weft_err_sentence(err));
        return;
    }
    /* Now, as an answer to what they are told must not carry a checkpoint from before this turn. */
    err = controller_end_turn_signed(&p->c, &why);
    if (err != WEFT_OK) {
        wf_log_error("the rotation can't be made durable: %s", why.text);
        return; /* the turn's own end says it again, and stops us */
    }
    rotated_forget(&p->c.home);
    wf_log_info("the new authorities and keys are in use");
    for (wf_node *n = p->c.peers.next; n != &p->c.peers; n = n->next)
        wf_container_of(n, struct peer, node)->is_told = false;
    on_told(timer);
    write_rotation(p);
}

static void on_reload(void *arg)
{
    struct program *p = arg;
    wf_why why = {""};
    bool switched = false;
    uint64_t before = pki_trust_version(p->c.home.trust);
    size_t first = 0;
    weft_err err = home_switch(p->c.home.dir, &switched, &why);

    if (err == WEFT_OK && switched)
        err = home_read_bundles(&p->c.home, &first, &why);
    if (err == WEFT_OK && switched)
        err = home_read_leaf(&p->c.home, &why);
    if (err == WEFT_OK && switched)
        err = pki_tls_ctx_replace(p->tls, p->c.home.key, p->c.home.chain, &why);
    if (err != WEFT_OK) {
        wf_log_error("the rotation can't be taken up: %s", why.text);
    } else if (switched) {
        wf_log_info("a rotation is taken up: the trust bundle is of version %llu",
                    (unsigned long long)pki_trust_version(p->c.home.trust));
        for (wf_node *n = p->c.peers.next; n != &p->c.peers; n = n->next) {
            struct peer *peer = wf_container_of(n, struct peer, node);

            if ((peer->who & WHO_NODE) != 0)
                follow_push_bundles(peer, before);
        }
        uv_timer_start(&p->rotation, on_settled, FOLLOW_SETTLE_MS, 0);
    } else if (!p->c.home.is_switching) {
        write_rotation(p);
    }
}

static weft_err open_network(struct program *p, const struct controller_run *run, wf_why *why)
{
    static const struct wf_daemon_handler daemon_handler = {on_stop, on_reload};
    const struct pki_tls_identity identity = {
        .key = p->c.home.key, .chain = p->c.home.chain, .trust = p->c.home.trust};
    const struct wf_metrics_config metrics = {
        .address = run->metrics, .collect = collect, .ready = is_ready, .arg = p};
    struct wf_listener_config listener = {
        .alpn = PKI_ALPN_LINK | PKI_ALPN_ENROLL | PKI_ALPN_RENEW,
        .kinds = PKI_IDENTITY | PKI_ROUTER,
        .hello = on_hello,
        .hello_arg = p,
        .accepted = on_accepted,
        .arg = p,
    };
    const struct api_config api = {.address = run->api, .cert = run->api_cert, .key = run->api_key};
    weft_err err = pki_tls_ctx_new(&identity, &p->tls, why);

    if (err != WEFT_OK)
        return err;
    listener.tls = p->tls;
    err =
        wf_daemon_open(&p->loop, &daemon_handler, p, &p->daemon); /* the listener asks its limits */
    if (err == WEFT_OK)
        err = wf_listener_open(p->net, &run->listen, &listener, &p->listener, why);
    if (err == WEFT_OK && run->metrics != NULL)
        err = wf_metrics_open(&p->loop, &metrics, &p->metrics, why);
    if (err != WEFT_OK || run->api == NULL)
        return err;
    err = api_open(&p->c, &p->loop, &api, &p->api, why);
    if (err == WEFT_EIO && run->api_may_fail) {
        wf_log_warn("the API is not served: %s; give --api HOST:PORT, or --api off",
                    why != NULL ? why->text : weft_err_sentence(err));
        if (why != NULL)
            why->text[0] = '\0';
        err = WEFT_OK;
    }
    return err;
}

weft_err controller_run(const struct controller_run *run, wf_why *why)
{
    struct program *p = calloc(1, sizeof *p);
    char listen[WF_ADDRESS_TEXT], api[WF_ADDRESS_TEXT];
    wf_address bound = run->listen;
    bool renewed = false;
    weft_err err;

    if (p == NULL)
        return wf_fail(why, WEFT_ENOMEM, "out of memory");
    err = controller_init_sealed(&p->c, run->dir, run->seal_key, why);
    if (err != WEFT_OK)
        goto fail_init;
    err = write_pid(run->dir, why);
    if (err == WEFT_OK)
        err = controller_note(&p->c, AUDIT_START);
    if (err == WEFT_OK)
        err = rotated_enter(&p->c.home, wf_now_wall_ms(), why);
    if (err == WEFT_OK)
        err = controller_look_after(&p->c, wf_now_wall_ms(), &renewed);
    if (err == WEFT_OK)
        err = controller_end_turn_signed(&p->c, why);
    if (err == WEFT_OK)
        rotated_forget(&p->c.home);
    if (err != WEFT_OK)
        goto fail_loop;
    if (uv_loop_init(&p->loop) != 0) {
        err = wf_fail(why, WEFT_EIO, "the event loop can't be made");
        goto fail_loop;
    }
    err = wf_net_open(&p->loop, &p->net);
    if (err != WEFT_OK)
        goto fail_net;
    uv_check_init(&p->loop, &p->turn_end);
    uv_timer_init(&p->loop, &p->look_after);
    uv_timer_init(&p->loop, &p->sweep);
    uv_timer_init(&p->loop, &p->checkpoint);
    uv_timer_init(&p->loop, &p->backup);
    uv_timer_init(&p->loop, &p->notices);
    uv_timer_init(&p->loop, &p->rotation);
    uv_check_start(&p->turn_end, on_turn_end);
    uv_timer_start(&p->look_after, on_look_after, LOOK_AFTER_MS, LOOK_AFTER_MS);
    err = jwks_open(&p->loop, &p->c, &p->c.jwks);
    if (err == WEFT_OK)
        err = open_network(p, run, why);
    if (err == WEFT_OK) {
        bound.port = wf_listener_port(p->listener);
        wf_address_text(&bound, listen);
        wf_log_info("controller of %s listens on %s", p->c.home.domain, listen);
        if (p->api != NULL) {
            struct wf_address at = *run->api;

            at.port = api_port(p->api);
            wf_log_info("the API is served on https://%s/v1", wf_address_text(&at, api));
        }
        wf_daemon_ready(p->daemon, listen);
        if (run->listening != NULL)
            run->listening(run->arg, bound.port);
    } else {
        stop(p);
    }
    uv_run(&p->loop, UV_RUN_DEFAULT);
    if (err == WEFT_OK && p->failed != WEFT_OK)
        err = wf_fail(why, p->failed, "%s", p->why.text);
    pki_tls_ctx_unref(p->tls);
    wf_signed_free(p->shown);
    jwks_free(p->c.jwks);
fail_net:
    if (uv_loop_close(&p->loop) != 0)
        wf_log_error("the loop ends with handles open");
fail_loop:
    controller_fini(&p->c);
fail_init:
    free(p);
    return err;
}
