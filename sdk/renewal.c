/*
 * Renewal of our own certificate: the same key, at half life, canary first.
 *
 * Happy path: at renew_at a worker asks for a new certificate; with it a
 * connection to the controller is made and comes up; only then does it replace
 * the old one, in memory and in the identity file.
 *
 * - Somebody else has renewed the file meanwhile: that certificate is taken.
 * - Asking or the canary fails: tried again retry_ms later; the old one goes on.
 * - The controller refuses (an identity by OIDC isn't renewed): said once.
 * - The identity can't be written (it came as text): renewed in memory, in its
 *   last days, with a warning.
 * - It has expired: renewed when the endpoint is opened, before anything else.
 */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/link/enroll.h"
#include "proto/link/renew.h"
#include "sdk/credential.h"
#include "sdk/endpoint.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define RETRY_MS 3600000u
#define RETRY_MIN_MS 5000u
#define LAST_DAYS_MS (7ull * 86400000ull)
#define WORKER_TIMEOUT_MS 10000u

/* An hour; of a short life a twentieth. */
static uint64_t retry_ms(const weft_endpoint *e)
{
    uint64_t part = (e->self.not_after - e->self.not_before) / 20;
    return part > RETRY_MS ? RETRY_MS : part < RETRY_MIN_MS ? RETRY_MIN_MS : part;
}

/* ---- the canary: does the controller take this certificate? */

struct canary {
    wf_link *link;    /* NULL once it is closed */
    pki_tls_ctx *tls; /* owned */
    weft_err err;
    wf_why why;
    void (*done)(void *arg, weft_err err, const char *why); /* once, when the link is closed */
    void *arg;
};

static void canary_up(wf_link *link, void *arg, const Weft__Wire__Hello *hello)
{
    struct canary *canary = arg;
    (void)hello;
    canary->err = WEFT_OK;
    wf_link_close(link);
}

static void canary_control(wf_link *link, void *arg, Weft__Wire__Control *message)
{
    (void)link;
    (void)arg;
    (void)message;
}

static void canary_closed(wf_link *link, void *arg, weft_err err, const wf_why *why)
{
    struct canary *canary = arg;
    (void)link;
    canary->link = NULL;
    pki_tls_ctx_unref(canary->tls);
    canary->tls = NULL;
    if (canary->err != WEFT_OK && why != NULL)
        (void)wf_fail(&canary->why, err, "%s", why->text);
    canary->done(canary->arg, canary->err, canary->why.text);
}

static const struct wf_link_handler canary_handler = {
    .up = canary_up,
    .control = canary_control,
    .closed = canary_closed,
};

static weft_err canary_start(struct canary *canary, wf_net *net, const struct pki_identity *id,
                             const pki_key *key, const pki_chain *chain, pki_trust *trust,
                             wf_why *why)
{
    const struct pki_tls_identity self = {.key = key, .chain = chain, .trust = trust};
    if (id->controller_count == 0)
        return wf_fail(why, WEFT_EUNREACHABLE, "no controller is known");
    weft_err err = pki_tls_ctx_new(&self, &canary->tls, why);
    if (err != WEFT_OK)
        return err;
    const struct wf_link_config config = {
        .tls = canary->tls,
        .alpn = PKI_ALPN_LINK,
        .kinds = PKI_CONTROLLER,
        .handler = &canary_handler,
        .arg = canary,
    };
    canary->err = WEFT_EUNREACHABLE;
    err = wf_link_dial(net, &id->controllers[0], &config, &canary->link);
    if (err != WEFT_OK) {
        pki_tls_ctx_unref(canary->tls);
        canary->tls = NULL;
        return wf_fail(why, err, "no connection to the controller");
    }
    return WEFT_OK;
}

/* ---- when */

static void plan(weft_endpoint *e)
{
    uint64_t life = e->self.not_after - e->self.not_before;
    if (e->identity.path == NULL) {
        e->renew_at = life > 2 * LAST_DAYS_MS ? e->self.not_after - LAST_DAYS_MS
                                              : e->self.not_before + life / 2;
        return;
    }
    /* 40 to 60 % of its life, by chance, so that a fleet doesn't come at once. */
    wf_id random = wf_id_random();
    uint64_t part = 40 + random.b[0] % 21u;
    e->renew_at = e->self.not_before + life / 100 * part;
}

static weft_err check(weft_endpoint *e, const pki_chain *chain, uint64_t now,
                      struct pki_subject *out, wf_why *why)
{
    weft_err err =
        pki_trust_check_chain(e->trust, chain, PKI_IDENTITY, PKI_CLIENT, false, now, out, why);
    if (err == WEFT_OK && !wf_id_equal(&out->id, &e->identity.id))
        err = wf_fail(why, WEFT_ECREDENTIAL, "the certificate is another identity's");
    return err;
}

const pki_key *wf_renewal_key_of(const weft_endpoint *e, const wf_edge *edge)
{
    for (size_t i = 0; i < WF_EDGES_MAX; i++) {
        const struct wf_route *route = &e->routers.routes[i];
        if (route->edge == edge && route->key_number != e->key_number &&
            e->older_keys[route->key_number % WF_PINS_MAX] != NULL)
            return e->older_keys[route->key_number % WF_PINS_MAX];
    }
    return e->identity.key;
}

/* Links that are open go on with the key that they were made with. */
static void change_key(weft_endpoint *e, pki_key *key)
{
    pki_key **slot = &e->older_keys[e->key_number % WF_PINS_MAX];
    pki_key_free(*slot);
    *slot = e->identity.key;
    e->identity.key = key;
    e->key_number++;
    e->renew_key = false;
}

/* Takes the chain, which is verified, and key, unless that is NULL: then it stays. */
static weft_err adopt(weft_endpoint *e, pki_key *key, pki_chain *chain,
                      const struct pki_subject *self, bool save, wf_why *why)
{
    weft_err err = pki_tls_ctx_replace(e->tls, key != NULL ? key : e->identity.key, chain, why);
    if (err != WEFT_OK)
        return err;
    if (key != NULL)
        change_key(e, key);
    pki_chain_free(e->identity.chain);
    e->identity.chain = chain;
    e->self = *self;
    e->renew_told = e->renew_refused = false;
    plan(e);
    if (e->identity.path == NULL) {
        wf_log_warn("the certificate was renewed in memory only: renew the stored identity");
        return WEFT_OK;
    }
    wf_why text = {""};
    if (save && pki_identity_save(&e->identity, e->identity.path, &text) != WEFT_OK)
        wf_log_warn("the renewed certificate is not saved: %s", text.text);
    else if (key != NULL)
        wf_rekey_end(&e->identity);
    return WEFT_OK;
}

weft_err wf_renewal_check_self(weft_endpoint *e, uint64_t now, wf_why *why)
{
    weft_err err = check(e, e->identity.chain, now, &e->self, why);
    if (err == WEFT_OK)
        plan(e);
    if (err != WEFT_EEXPIRED)
        return err;

    /* Expired: within its grace it may still do one thing. */
    pki_chain *chain = NULL;
    wf_why renewal = {""};
    struct pki_subject self;
    const struct wf_renew_config config = {.identity = &e->identity, .trust = e->trust};
    if (wf_renew(&config, &chain, NULL, &renewal) != WEFT_OK) {
        (void)wf_wrap(why, err, "%s", renewal.text);
        return err;
    }
    wf_renewal_repin(e);
    err = check(e, chain, wf_now_wall_ms(), &self, why);
    if (err == WEFT_OK)
        err = adopt(e, NULL, chain, &self, true, why);
    if (err != WEFT_OK)
        pki_chain_free(chain);
    return err;
}

/* ---- in the background */

struct wf_renewal {
    uv_work_t work;
    weft_endpoint *endpoint; /* borrowed: outlives us */
    struct pki_identity
        copy;         /* owned: the worker's alone; counts of keys are no business of two threads */
    pki_chain *chain; /* owned */
    bool changes_key;
    bool is_owed; /* key and chain are the file's; the renewal that we were told of comes after */
    pki_key *key; /* owned; the new one, or NULL */
    struct wf_wait wait; /* for grants that pin both keys */
    struct canary canary;
    weft_err err;
    wf_why why;
};

static void renewal_free(struct wf_renewal *r)
{
    weft_endpoint *e = r->endpoint;
    pki_identity_fini(&r->copy);
    pki_chain_free(r->chain);
    pki_key_free(r->key);
    free(r);
    e->renewal = NULL;
    wf_endpoint_go_on_closing(e);
}

static void failed(struct wf_renewal *r, const char *why)
{
    wf_log_warn("the certificate is not renewed: %s", why);
    r->endpoint->renew_at = wf_now_wall_ms() + retry_ms(r->endpoint);
    renewal_free(r);
}

/* The controller says no, and will again: it is said once, and when the certificate ends. */
static void refused(struct wf_renewal *r)
{
    weft_endpoint *e = r->endpoint;
    char ends[24];
    if (!e->renew_refused)
        wf_log_warn("the certificate is not renewed: %s; this one ends at %s, and what it opened "
                    "with it",
                    r->why.text, wf_time_text(e->self.not_after, ends));
    e->renew_refused = true;
    e->renew_at = wf_now_wall_ms() + RETRY_MS;
    renewal_free(r);
}

static void on_canary(void *arg, weft_err err, const char *why)
{
    struct wf_renewal *r = arg;
    weft_endpoint *e = r->endpoint;
    struct pki_subject self;
    wf_why text = {""};
    if (e->state != WF_ENDPOINT_OPEN) {
        renewal_free(r);
        return;
    }
    if (err != WEFT_OK) {
        failed(r, why);
        return;
    }
    err = check(e, r->chain, wf_now_wall_ms(), &self, &text);
    if (err == WEFT_OK)
        err = adopt(e, r->key, r->chain, &self, true, &text);
    if (err != WEFT_OK) {
        failed(r, text.text);
        return;
    }
    r->chain = NULL;
    r->key = NULL;
    if (r->is_owed) {
        e->renew_told = true;
        e->renew_at = wf_now_wall_ms();
    }
    renewal_free(r);
    wf_house_by(e, wf_now_mono_ms() + 1);
    e->renewals++;
    wf_log_info("the certificate was renewed");
    wf_endpoint_event(e, WEFT_EVENT_RENEWED, WEFT_OK, "the certificate was renewed");
}

static void work(uv_work_t *handle)
{
    struct wf_renewal *r = wf_container_of(handle, struct wf_renewal, work);
    struct wf_renew_config config = {.identity = &r->copy, .timeout_ms = WORKER_TIMEOUT_MS};
    r->err = r->changes_key ? wf_rekey_begin(&r->copy, &r->key, &r->why) : WEFT_OK;
    config.new_key = r->key;
    if (r->err == WEFT_OK)
        r->err = wf_renew(&config, &r->chain, NULL, &r->why);
}

static void probe_now(struct wf_renewal *r)
{
    weft_endpoint *e = r->endpoint;
    r->canary.done = on_canary;
    r->canary.arg = r;
    if (canary_start(&r->canary, e->net, &e->identity, r->key != NULL ? r->key : e->identity.key,
                     r->chain, e->trust, &r->why) != WEFT_OK)
        failed(r, r->why.text);
}

/* The grants at hand pin both keys now. */
static void on_both(struct wf_wait *wait, weft_err err, const char *why)
{
    struct wf_renewal *r = wf_container_of(wait, struct wf_renewal, wait);
    if (r->endpoint->state != WF_ENDPOINT_OPEN)
        renewal_free(r);
    else if (err != WEFT_OK)
        failed(r, why);
    else
        probe_now(r);
}

static void worked(uv_work_t *handle, int status)
{
    struct wf_renewal *r = wf_container_of(handle, struct wf_renewal, work);
    weft_endpoint *e = r->endpoint;
    if (status != 0 || e->state != WF_ENDPOINT_OPEN) {
        renewal_free(r);
        return;
    }
    if (r->err == WEFT_EREFUSED) {
        refused(r);
        return;
    }
    if (r->err != WEFT_OK) {
        failed(r, r->why.text);
        return;
    }
    if (r->key == NULL) {
        probe_now(r);
        return;
    }
    r->wait.done = on_both;
    weft_err err = wf_controller_fetch(e, NULL, &r->wait, WF_CALL_MS);
    if (err != WEFT_OK)
        failed(r, weft_err_sentence((int)err));
}

/* Whether the file holds a newer certificate of ours already; then it is taken. */
static bool take_from_file(weft_endpoint *e, uint64_t now)
{
    struct pki_identity file;
    struct pki_subject self;
    bool taken = false;
    if (e->identity.path == NULL)
        return false;
    pki_identity_init(&file);
    pki_pin ours;
    pki_key_pin(e->identity.key, &ours);
    if (pki_identity_load(e->identity.path, &file, NULL) == WEFT_OK &&
        check(e, file.chain, now, &self, NULL) == WEFT_OK && self.not_after > e->self.not_after &&
        pki_pin_equal(&self.pin, &ours)) {
        taken = adopt(e, NULL, file.chain, &self, false, NULL) == WEFT_OK;
        if (taken)
            file.chain = NULL;
    }
    pki_identity_fini(&file);
    return taken;
}

/*
 * Whether the file holds another key by now (weft renew --new-key): then that
 * one is taken, once grants pin it, instead of ours being written over it.
 */
static bool take_key_from_file(weft_endpoint *e, uint64_t now)
{
    struct pki_identity file;
    struct pki_subject self;
    struct wf_renewal *r = NULL;
    pki_pin ours;
    if (e->identity.path == NULL)
        return false;
    pki_identity_init(&file);
    pki_key_pin(e->identity.key, &ours);
    if (pki_identity_load(e->identity.path, &file, NULL) == WEFT_OK && file.key != NULL &&
        check(e, file.chain, now, &self, NULL) == WEFT_OK && !pki_pin_equal(&self.pin, &ours) &&
        self.not_before > e->self.not_before)
        r = calloc(1, sizeof *r);
    if (r != NULL) {
        r->endpoint = e;
        wf_list_init(&r->wait.node);
        pki_identity_init(&r->copy);
        r->key = file.key;
        r->chain = file.chain;
        file.key = NULL;
        file.chain = NULL;
        r->wait.done = on_both;
        r->is_owed = e->renew_told;
        e->renewal = r;
        e->renew_at = now + RETRY_MS;
        weft_err err = wf_controller_fetch(e, NULL, &r->wait, WF_CALL_MS);
        if (err != WEFT_OK)
            failed(r, weft_err_sentence((int)err));
    }
    pki_identity_fini(&file);
    return r != NULL;
}

void wf_renewal_repin(weft_endpoint *e)
{
    wf_span bundle = pki_trust_bundle(e->trust);
    bool changed = false;
    wf_why why = {""};
    weft_err err = pki_identity_take_bundle(&e->identity, bundle, &changed, &why);
    if (err == WEFT_OK && changed && e->identity.path != NULL)
        err = pki_identity_repin(e->identity.path, bundle, &why);
    if (err != WEFT_OK)
        wf_log_warn("the newer trust bundle is not kept in the identity file: %s",
                    why.text[0] != '\0' ? why.text : weft_err_sentence((int)err));
}

void wf_renewal_told(weft_endpoint *e, uint64_t spread_ms)
{
    wf_id random = wf_id_random();
    uint64_t part = (uint64_t)random.b[0] << 8 | random.b[1];
    uint64_t at = wf_now_wall_ms() + spread_ms * part / 65536;
    if (e->state != WF_ENDPOINT_OPEN || e->renewal != NULL)
        return;
    if (at < e->renew_at)
        e->renew_at = at;
    e->renew_told = true;
    wf_endpoint_watch(e);
    wf_house_by(e, wf_now_mono_ms() + spread_ms * part / 65536 + 1);
}

void wf_renewal_look(weft_endpoint *e, uint64_t now)
{
    if (now < e->renew_at || e->renewal != NULL || take_key_from_file(e, now) ||
        (!e->renew_told && take_from_file(e, now)))
        return;
    struct wf_renewal *r = calloc(1, sizeof *r);
    e->renew_at = now + RETRY_MS;
    if (r == NULL)
        return;
    r->endpoint = e;
    r->changes_key = e->renew_key;
    wf_list_init(&r->wait.node);
    pki_identity_init(&r->copy);
    weft_err err = pki_identity_dup(&e->identity, &r->copy);
    if (err != WEFT_OK)
        (void)wf_fail(&r->why, err, "%s", weft_err_sentence((int)err));
    e->renewal = r;
    if (err != WEFT_OK || uv_queue_work(e->loop, &r->work, work, worked) != 0)
        failed(r, r->why.text);
}

weft_err weft_endpoint_renew(weft_endpoint *e, int new_key)
{
    if (e->state != WF_ENDPOINT_OPEN)
        return WEFT_ECANCELED;
    if (e->renewal != NULL)
        return WEFT_EBUSY;
    e->renew_key = new_key != 0;
    e->renew_at = 0;
    e->renew_told = true;
    wf_timer_start(e->house, 0);
    return WEFT_OK;
}

void wf_renewal_cancel(weft_endpoint *e)
{
    if (e->renewal == NULL)
        return;
    if (e->renewal->canary.link != NULL)
        wf_link_cut(e->renewal->canary.link, WEFT_ECANCELED, "the endpoint is being closed");
    else
        (void)uv_cancel((uv_req_t *)&e->renewal->work); /* or it ends by its own deadline */
}

/* ---- now, blocking */

struct probe {
    uv_loop_t loop;
    struct canary canary;
    wf_net *net;
    weft_err err;
    wf_why why;
};

static void on_probe(void *arg, weft_err err, const char *why)
{
    struct probe *probe = arg;
    probe->err = err;
    (void)wf_fail(&probe->why, err, "%s", why);
    wf_net_close(probe->net, NULL, NULL);
}

static weft_err probe_with(const struct pki_identity *id, const pki_key *key,
                           const pki_chain *chain, pki_trust *trust, wf_why *why)
{
    struct probe probe = {.err = WEFT_OK};
    probe.canary.done = on_probe;
    probe.canary.arg = &probe;
    if (uv_loop_init(&probe.loop) != 0)
        return wf_fail(why, WEFT_ENOMEM, "no memory for a loop");
    weft_err err = wf_net_open(&probe.loop, &probe.net);
    if (err == WEFT_OK) {
        err = canary_start(&probe.canary, probe.net, id, key, chain, trust, why);
        if (err != WEFT_OK)
            wf_net_close(probe.net, NULL, NULL);
        (void)uv_run(&probe.loop, UV_RUN_DEFAULT);
        if (err == WEFT_OK && probe.err != WEFT_OK)
            err = wf_fail(why, probe.err, "the new certificate does not work: %s", probe.why.text);
    }
    (void)uv_loop_close(&probe.loop);
    return err;
}

static weft_err renew_now(const char *identity, bool new_key, const struct wf_foreign *foreign,
                          wf_why *why)
{
    pki_key *key = NULL;
    struct pki_identity id;
    pki_chain *chain = NULL;
    pki_trust *trust = NULL;
    pki_tls_ctx *tls = NULL;
    struct pki_subject self;

    pki_identity_init(&id);
    weft_err err = wf_credential_load(identity, &id, why);
    if (err == WEFT_OK && id.path == NULL)
        err = wf_fail(why, WEFT_EUSAGE,
                      "the identity was given as text: nothing can be written; name a file");
    if (err == WEFT_OK)
        err = pki_identity_open(&id, wf_now_wall_ms(), &trust, &tls, why);
    if (err != WEFT_OK)
        goto done;
    if (new_key)
        err = wf_rekey_begin(&id, &key, why);
    if (err != WEFT_OK)
        goto done;
    const struct wf_renew_config config = {
        .identity = &id, .trust = trust, .new_key = key, .foreign = foreign};
    err = wf_renew(&config, &chain, NULL, why);
    bool changed = false;
    if (!wf_span_equal(pki_trust_bundle(trust), wf_span_of(id.bundle.data, id.bundle.len)))
        (void)pki_identity_repin(id.path, pki_trust_bundle(trust), NULL); /* whatever comes */
    if (err == WEFT_OK)
        err = pki_identity_take_bundle(&id, pki_trust_bundle(trust), &changed, why);
    if (err == WEFT_OK)
        err = pki_trust_check_chain(trust, chain, PKI_IDENTITY, PKI_CLIENT, false, wf_now_wall_ms(),
                                    &self, why);
    if (err == WEFT_OK)
        err = probe_with(&id, key != NULL ? key : id.key, chain, trust, why);
    if (err == WEFT_OK) {
        pki_chain_free(id.chain);
        id.chain = chain;
        chain = NULL;
        if (key != NULL) {
            pki_key_free(id.key);
            id.key = key;
        }
        err = pki_identity_save(&id, id.path, why);
        if (err == WEFT_OK && key != NULL)
            wf_rekey_end(&id);
        key = NULL;
    }
done:
    pki_key_free(key);
    pki_chain_free(chain);
    pki_tls_ctx_unref(tls);
    pki_trust_unref(trust);
    pki_identity_fini(&id);
    return err;
}

weft_err weft_renew(const char *identity, weft_why *why)
{
    return renew_now(identity, false, NULL, why);
}

weft_err weft_renew_vouched(const char *identity, const char *ca_cert, const char *ca_key,
                            weft_why *why)
{
    struct wf_foreign foreign;
    weft_err err = wf_foreign_load(ca_cert, ca_key, &foreign, why);
    if (err != WEFT_OK)
        return err;
    err = renew_now(identity, false, &foreign, why);
    wf_foreign_fini(&foreign);
    return err;
}

weft_err weft_renew_key(const char *identity, weft_why *why)
{
    return renew_now(identity, true, NULL, why);
}
