#include "controller/follow.h"
#include "controller/operation.h"
#include "controller/rotation.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include <jansson.h>
#include <string.h>

#define SEEN_EVERY_MS 3600000u /* a row isn't written for each Hello */
#define SPREAD_MIN_MS 1000u
#define SPREAD_EACH_MS 50u /* a certificate takes a few ms to issue */
#define SETTING_SIGNER "records-signer"
#define BEHIND_SHOWN 256u

static bool is_zero(const pki_pin *pin)
{
    static const pki_pin none;

    return pki_pin_equal(pin, &none);
}

/* ---- telling */

static void send_notice(struct peer *peer, const Weft__Wire__Notice *notice)
{
    Weft__Wire__Control control;
    union { /* protobuf-c's fields aren't const; packing only reads */
        const Weft__Wire__Notice *in;
        Weft__Wire__Notice *out;
    } u = {.in = notice};

    weft__wire__control__init(&control);
    control.of_case = WEFT__WIRE__CONTROL__OF_NOTICE;
    control.notice = u.out;
    (void)wf_link_send_control(peer->link, &control);
}

void follow_push_bundles(struct peer *peer, uint64_t have)
{
    const struct home *home = &peer->c->home;

    for (size_t i = home_bundles_after(home, have); i < home->bundle_count; i++) {
        Weft__Wire__Notice notice;

        weft__wire__notice__init(&notice);
        if (wf_signed_decode(home->bundles[i].data, home->bundles[i].len, &notice.bundle, NULL) !=
            WEFT_OK)
            return;
        send_notice(peer, &notice);
        wf_signed_free(notice.bundle);
    }
}

void follow_tell(struct peer *peer)
{
    const struct home *home = &peer->c->home;
    struct store_follow row;
    Weft__Wire__Notice notice;
    pki_pin issuer, policy;

    if (store_follow_get(home->store, &peer->subject.id, &row) != WEFT_OK || home->is_switching)
        return; /* a broken store ends the turn */
    weft__wire__notice__init(&notice);
    home_issuer_pin(home, peer->subject.kind, &issuer);
    pki_key_pin(home->policy, &policy);
    if (!pki_pin_equal(&row.issuer, &issuer)) {
        notice.renew = (uint64_t)peer->c->peer_count * SPREAD_EACH_MS;
        if (notice.renew < SPREAD_MIN_MS)
            notice.renew = SPREAD_MIN_MS;
        if (notice.renew > WF_RENEW_SPREAD_MAX_MS)
            notice.renew = WF_RENEW_SPREAD_MAX_MS;
    }
    notice.grants = !is_zero(&row.policy) && !pki_pin_equal(&row.policy, &policy);
    if (notice.renew > 0 || notice.grants)
        send_notice(peer, &notice);
}

void follow_hello(struct peer *peer, uint64_t bundle_version)
{
    const struct home *home = &peer->c->home;
    uint64_t now = wf_now_wall_ms();
    struct store_follow row;
    pki_pin issuer = {{0}};
    weft_err err;

    peer->bundle_version = bundle_version;
    if ((peer->who & WHO_NODE) == 0)
        return;
    follow_push_bundles(peer, bundle_version);
    err = store_follow_get(home->store, &peer->subject.id, &row);
    if (wf_link_peer_chain(peer->link) != NULL)
        pki_chain_issuer_pin(wf_link_peer_chain(peer->link), &issuer);
    /* What it is told now it holds when it says Hello the next time. */
    if (err == WEFT_OK && (row.bundle < bundle_version || now - row.seen > SEEN_EVERY_MS ||
                           (is_zero(&row.issuer) && !is_zero(&issuer)))) {
        row.seen = now;
        row.bundle = bundle_version;
        if (is_zero(&row.issuer))
            row.issuer = issuer;
        err = store_begin(home->store);
        if (err == WEFT_OK)
            err = store_follow_put(home->store, &row);
        if (err != WEFT_OK && err != WEFT_ECONFLICT)
            return; /* a broken store ends the turn; ECONFLICT: the node was deleted */
    }
    follow_tell(peer);
}

/* ---- noting */

weft_err follow_certified(const struct home *home, enum pki_kind kind, const wf_id *node)
{
    struct store_follow row;
    weft_err err = store_follow_get(home->store, node, &row);

    home_issuer_pin(home, kind, &row.issuer);
    return err == WEFT_OK ? store_follow_put(home->store, &row) : err;
}

weft_err follow_granted(const struct home *home, const wf_id *identity)
{
    struct store_follow row;
    pki_pin policy;
    weft_err err = store_follow_get(home->store, identity, &row);

    pki_key_pin(home->policy, &policy);
    if (err != WEFT_OK || pki_pin_equal(&row.policy, &policy))
        return err;
    row.policy = policy;
    return store_follow_put(home->store, &row);
}

/* ---- signing anew */

struct routers {
    const struct home *home;
    uint64_t now;
};

static weft_err sign_one(void *arg, const struct store_node *node)
{
    struct routers *r = arg;
    weft_err err;

    if (node->disabled || !node->enrolled || node->expires <= r->now)
        return WEFT_OK;
    err = members_sign(r->home, node, r->now);
    return err == WEFT_ECONFLICT ? WEFT_OK : err; /* without a living key it is no member */
}

weft_err follow_resign(struct controller *c, uint64_t now)
{
    struct routers routers = {&c->home, now};
    struct store_record head = {.version = 0};
    store *s = c->home.store;
    pki_pin policy;
    wf_buf signer;
    weft_err err;

    pki_key_pin(c->home.policy, &policy);
    wf_buf_init(&signer, sizeof policy.b);
    err = store_setting_get(s, SETTING_SIGNER, &signer);
    if (err == WEFT_OK && signer.len == sizeof policy.b &&
        memcmp(signer.data, policy.b, sizeof policy.b) == 0)
        goto out;
    if (err == WEFT_OK) {
        err = store_record_head(s, &head);
        if (err == WEFT_OK)
            err = floors_snapshot(&c->home, &c->turn, head.version, now);
        if (err == WEFT_OK)
            err = store_node_each(s, PKI_ROUTER, NULL, sign_one, &routers);
        members_forget(&c->members);
        if (err == WEFT_OK && turn_add(&c->turn, EFFECT_MEMBERS, 0) == NULL)
            err = WEFT_ENOMEM;
        if (err == WEFT_OK)
            wf_log_info("floors and member records are signed by the new policy key");
    } else if (err == WEFT_ENOTFOUND) {
        err = WEFT_OK; /* nothing was ever rotated */
    }
    if (err == WEFT_OK)
        err = store_setting_put(s, SETTING_SIGNER, policy.b, sizeof policy.b);
out:
    wf_buf_fini(&signer);
    return err;
}

/* ---- who has not followed */

struct behind {
    const struct home *home;
    uint64_t now;
    json_t *items; /* owned by the caller */
    size_t count;
    pki_pin policy;
};

static json_t *time_or_null(uint64_t wall_ms)
{
    char text[24];

    return wall_ms == 0 ? json_null() : json_string(wf_time_text(wall_ms, text));
}

static weft_err look_at(void *arg, const struct store_node *node)
{
    struct behind *b = arg;
    struct store_follow row;
    bool bundle, certificate, grants;
    uint64_t granted_until = 0;
    pki_pin issuer;
    json_t *lacks;
    weft_err err;

    if (node->disabled || !node->enrolled || node->expires + WF_RENEW_GRACE_MS <= b->now)
        return WEFT_OK; /* it has nothing to lose, or comes back by reissue */
    err = store_follow_get(b->home->store, &node->id, &row);
    if (err == WEFT_OK && node->kind == PKI_IDENTITY)
        err = store_issued_end(b->home->store, &node->id, &granted_until);
    if (err != WEFT_OK)
        return err;
    home_issuer_pin(b->home, node->kind, &issuer);
    bundle = row.bundle < pki_trust_version(b->home->trust);
    certificate = !pki_pin_equal(&row.issuer, &issuer);
    grants =
        !is_zero(&row.policy) && !pki_pin_equal(&row.policy, &b->policy) && granted_until > b->now;
    if (!bundle && !certificate && !grants)
        return WEFT_OK;
    if (++b->count > BEHIND_SHOWN)
        return WEFT_OK;
    lacks = json_array();
    if (bundle)
        json_array_append_new(lacks, json_string("bundle"));
    if (certificate)
        json_array_append_new(lacks, json_string("certificate"));
    if (grants)
        json_array_append_new(lacks, json_string("grants"));
    return json_array_append_new(b->items,
                                 json_pack("{ss ss so sI so}", "name", node->name, "kind",
                                           node->kind == PKI_ROUTER ? "router" : "identity", "seen",
                                           time_or_null(row.seen), "bundle_version",
                                           (json_int_t)row.bundle, "lacks", lacks)) == 0
               ? WEFT_OK
               : WEFT_ENOMEM;
}

weft_err follow_status(const struct home *home, uint64_t now, struct json_t **out, size_t *behind)
{
    struct behind b = {.home = home, .now = now, .items = json_array()};
    uint64_t tokens = 0;
    pki_pin signer;
    size_t n[4];
    weft_err err = rotation_overlap(home, n);

    pki_key_pin(home->policy, &b.policy);
    pki_key_pin(home->enrollment, &signer);
    /* Without an overlap the older key's are void already. */
    if (err == WEFT_OK && n[3] > 1)
        err = store_token_count_others(home->store, &signer, now, &tokens);
    if (err == WEFT_OK)
        err = store_node_each(home->store, PKI_ROUTER, NULL, look_at, &b);
    if (err == WEFT_OK)
        err = store_node_each(home->store, PKI_IDENTITY, NULL, look_at, &b);
    if (err != WEFT_OK) {
        json_decref(b.items);
        return err;
    }
    *behind = b.count;
    *out = json_pack("{sI sb sb s{sI sI sI sI} sI sI so}", "bundle_version",
                     (json_int_t)pki_trust_version(home->trust), "taking_up", home->is_switching,
                     "unfinished", n[0] + n[1] + n[2] + n[3] > 4, "keys", "roots", (json_int_t)n[0],
                     "policy", (json_int_t)n[1], "audit", (json_int_t)n[2], "enrollment",
                     (json_int_t)n[3], "tokens_to_void", (json_int_t)tokens, "behind_count",
                     (json_int_t)b.count, "behind", b.items);
    return *out == NULL ? WEFT_ENOMEM : WEFT_OK;
}
