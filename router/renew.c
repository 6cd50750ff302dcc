/*
 * Our own certificate: the same key, a new chain, at about half of its life.
 *
 * Happy path: the sweep finds it due -> "renew" over the controller's link,
 * with a proof bound to that very link -> the chain that comes is verified ->
 * a probe: a link to the controller with the new certificate comes up -> only
 * then it replaces the old one, in memory and in the identity file.
 *
 * Failure modes: the controller is away, refuses, or the probe fails: the old
 * one goes on, and it is tried again in an hour, or a twentieth of its life. A certificate that had
 * expired while the router was down is main.c's business, before it starts.
 */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "router/inside.h"
#include <stdlib.h>

#define RETRY_MS 3600000u
#define RETRY_MIN_MS 5000u

struct renewal {
    struct router *router; /* borrowed: outlives us */
    pki_chain *chain;      /* owned; NULL until it came */
    pki_tls_ctx *tls;      /* owned; of the probe */
    wf_link *link;         /* the probe's; NULL unless it is there */
    bool is_proven;
    wf_why why;
};

static uint64_t due(struct router *router)
{
    uint64_t begin, end;

    pki_chain_validity(router->identity.chain, &begin, &end);
    if (router->renew_by != 0)
        return router->renew_by;
    /* 40 to 60 % of its life, by the id, so that routers don't come all at once. */
    return begin + (end - begin) / 100 * (40 + router->identity.id.b[0] % 21u);
}

void renew_told(struct router *router, uint64_t spread_ms)
{
    wf_id random = wf_id_random();
    uint64_t part = (uint64_t)random.b[0] << 8 | random.b[1];

    if (router->renewal != NULL || router->renew_by != 0)
        return;
    router->renew_by = wf_now_wall_ms() + spread_ms * part / 65536;
    router_sweep_by(router, router->renew_by);
}

static void finish(struct renewal *renewal)
{
    struct router *router = renewal->router;

    pki_tls_ctx_unref(renewal->tls);
    pki_chain_free(renewal->chain);
    free(renewal);
    router->renewal = NULL;
    router_part_gone(router);
}

static void fail(struct renewal *renewal, const char *reason)
{
    struct router *router = renewal->router;
    uint64_t begin, end, wait;

    pki_chain_validity(router->identity.chain, &begin, &end);
    wait = (end - begin) / 20; /* of a short life */
    wait = wait > RETRY_MS ? RETRY_MS : wait < RETRY_MIN_MS ? RETRY_MIN_MS : wait;
    wf_log_warn("the certificate is not renewed: %s; again in %llu s", reason,
                (unsigned long long)(wait / 1000));
    router->renew_again = wf_now_wall_ms() + wait;
    router_sweep_by(router, router->renew_again);
    finish(renewal);
}

/* ---- the probe */

static void adopt(struct renewal *renewal)
{
    struct router *router = renewal->router;
    wf_why why = {""};
    weft_err err;

    err = pki_tls_ctx_replace(router->tls, router->identity.key, renewal->chain, &why);
    if (err != WEFT_OK) {
        fail(renewal, why.text);
        return;
    }
    pki_chain_free(router->identity.chain);
    router->identity.chain = renewal->chain;
    renewal->chain = NULL;
    if (router->identity.path != NULL &&
        pki_identity_save(&router->identity, router->identity.path, &why) != WEFT_OK)
        wf_log_error("the renewed certificate is not saved: %s", why.text);
    wf_log_info("the certificate was renewed");
    router->counters.renewals++;
    router->renew_by = 0;
    link_state_announce(router); /* the records that we sign carry the new chain */
    renew_plan(router);
    finish(renewal);
}

static void probe_up(wf_link *link, void *arg, const Weft__Wire__Hello *hello)
{
    struct renewal *renewal = arg;

    (void)hello;
    renewal->is_proven = true;
    wf_link_close(link);
}

static void probe_control(wf_link *link, void *arg, Weft__Wire__Control *message)
{
    (void)link;
    (void)arg;
    (void)message; /* pushes that the other link gets too */
}

static void probe_closed(wf_link *link, void *arg, weft_err err, const wf_why *why)
{
    struct renewal *renewal = arg;

    (void)link;
    (void)err;
    renewal->link = NULL;
    if (renewal->router->state == ROUTER_CLOSING)
        finish(renewal);
    else if (renewal->is_proven)
        adopt(renewal);
    else
        fail(renewal, why->text);
}

static const struct wf_link_handler probe = {
    .up = probe_up, .control = probe_control, .closed = probe_closed};

static weft_err probe_start(struct renewal *renewal, wf_why *why)
{
    struct router *router = renewal->router;
    const struct pki_tls_identity self = {
        .key = router->identity.key, .chain = renewal->chain, .trust = router->trust};
    struct wf_link_config config = {
        .alpn = PKI_ALPN_LINK, .kinds = PKI_CONTROLLER, .handler = &probe, .arg = renewal};
    wf_address address;
    weft_err err;

    err = wf_address_parse(wf_link_remote(wf_uplink_link(router->controller)), 0, &address, why);
    if (err == WEFT_OK)
        err = pki_tls_ctx_new(&self, &renewal->tls, why);
    if (err != WEFT_OK)
        return err;
    config.tls = renewal->tls;
    return wf_link_dial(router->net, &address, &config, &renewal->link);
}

/* ---- asking */

static weft_err verify(struct renewal *renewal, wf_span result, wf_why *why)
{
    struct router *router = renewal->router;
    Weft__Wire__RenewResult *answer = NULL;
    wf_span certs[WF_CHAIN_DEPTH];
    uint64_t begin, end, old_end;
    struct pki_subject subject;
    pki_pin pin;
    weft_err err;

    err = wf_renew_result_decode(result.data, result.len, &answer, why);
    if (err != WEFT_OK)
        return err;
    if (answer->n_chain == 0 || answer->n_chain > WF_CHAIN_DEPTH) {
        err = wf_fail(why, WEFT_EPROTO, "%zu certificates came", answer->n_chain);
        goto out;
    }
    for (size_t i = 0; i < answer->n_chain; i++)
        certs[i] = wf_pb_span(answer->chain[i]);
    err = pki_chain_from_der(certs, answer->n_chain, &renewal->chain, why);
    if (err == WEFT_OK)
        err = pki_trust_check_chain(router->trust, renewal->chain, PKI_ROUTER, PKI_CLIENT, false,
                                    wf_now_wall_ms(), &subject, why);
    if (err != WEFT_OK)
        goto out;
    pki_key_pin(router->identity.key, &pin);
    pki_chain_validity(renewal->chain, &begin, &end);
    pki_chain_validity(router->identity.chain, &begin, &old_end);
    if (!wf_id_equal(&subject.id, &router->identity.id) || !pki_pin_equal(&subject.pin, &pin))
        err = wf_fail(why, WEFT_ECREDENTIAL, "the certificate that came is not for our id and key");
    else if (end < old_end)
        err = wf_fail(why, WEFT_ECREDENTIAL, "the certificate that came ends before ours");
out:
    wf_renew_result_free(answer);
    return err;
}

static void answered(void *arg, weft_err code, const char *reason, wf_span result)
{
    struct renewal *renewal = arg;
    wf_why why = {""};

    if (renewal->router->state == ROUTER_CLOSING) {
        finish(renewal);
        return;
    }
    if (code != WEFT_OK)
        fail(renewal, reason);
    else if (verify(renewal, result, &why) != WEFT_OK || probe_start(renewal, &why) != WEFT_OK)
        fail(renewal, why.text);
}

static weft_err ask(struct renewal *renewal, wf_why *why)
{
    struct router *router = renewal->router;
    wf_link *link = wf_uplink_link(router->controller);
    Weft__Wire__RenewCall call = WEFT__WIRE__RENEW_CALL__INIT;
    wf_buf csr, proof;
    uint8_t exporter[32];
    weft_err err;

    wf_buf_init(&csr, WF_CSR_MAX);
    wf_buf_init(&proof, 256);
    err = pki_csr_make(router->identity.key, &csr, why);
    if (err == WEFT_OK)
        err = wf_link_export(link, "EXPORTER-weft-renew", exporter);
    if (err == WEFT_OK)
        err = pki_proof_make(router->identity.key, PKI_LABEL_RENEW, wf_span_of(csr.data, csr.len),
                             exporter, &proof);
    if (err == WEFT_OK) {
        call.csr = wf_pb_bytes(csr.data, csr.len);
        call.proof = wf_pb_bytes(proof.data, proof.len);
        err = wf_link_call_message(link, "renew", &call.base, WF_CALL_MS, answered, renewal);
    }
    wf_buf_wipe(&proof);
    wf_buf_fini(&csr);
    return err;
}

void renew_plan(struct router *router)
{
    uint64_t at = due(router);

    if (at < router->renew_again)
        at = router->renew_again;
    /* Overdue already: the controller's coming up will do it. */
    if (router->controller != NULL && at > wf_now_wall_ms())
        router_sweep_by(router, at);
}

void renew_if_due(struct router *router)
{
    uint64_t now = wf_now_wall_ms();
    struct renewal *renewal;
    wf_why why = {""};

    if (router->renewal != NULL || router->controller == NULL ||
        !wf_uplink_is_up(router->controller) || now < due(router) || now < router->renew_again)
        return;
    renewal = calloc(1, sizeof *renewal);
    if (renewal == NULL)
        return;
    renewal->router = router;
    router->renewal = renewal;
    if (ask(renewal, &why) != WEFT_OK)
        fail(renewal, why.text);
}

void renew_close(struct router *router)
{
    /* A call that awaits its answer ends with the controller's link, a probe here. */
    if (router->renewal != NULL && router->renewal->link != NULL)
        wf_link_cut(router->renewal->link, WEFT_ECANCELED, "the router is going down");
}
