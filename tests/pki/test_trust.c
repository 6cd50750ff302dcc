/* Signed records: grants, member records, binds and revocations, each with every single fault. */
#include "pki/trust.h"
#include "tests/helpers/authority.h"
#include "tests/helpers/test.h"
#include <stdlib.h>
#include <string.h>

#define DAY_MS 86400000ull
#define NOW 1800000000000ull
#define DIAL WEFT__WIRE__ROLE__ROLE_DIAL
#define BIND WEFT__WIRE__ROLE__ROLE_BIND

struct world {
    struct authority a;
    struct authority_node ci, host, router;
    struct pki_subject ci_is, host_is, router_is;
    pki_trust *trust;
    wf_id web, mail, instance;
};

static int open_world(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    authority_init(&w->a, "test.weft", NOW - 10 * DAY_MS);
    w->a.now = NOW;
    authority_issue(&w->a, PKI_IDENTITY, "ci", &w->ci);
    authority_issue(&w->a, PKI_IDENTITY, "host", &w->host);
    authority_issue(&w->a, PKI_ROUTER, "r1", &w->router);
    authority_subject(&w->a, &w->ci, &w->ci_is);
    authority_subject(&w->a, &w->host, &w->host_is);
    authority_subject(&w->a, &w->router, &w->router_is);
    w->trust = authority_trust(&w->a);
    w->web = wf_id_random();
    w->mail = wf_id_random();
    w->instance = wf_id_random();
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;
    pki_trust_unref(w->trust);
    authority_node_fini(&w->ci);
    authority_node_fini(&w->host);
    authority_node_fini(&w->router);
    authority_fini(&w->a);
    free(w);
    return 0;
}

/* ---- grants */

static weft_err ask(struct world *w, const Weft__Wire__Signed *grant, const struct pki_subject *who,
                    const wf_id *service, Weft__Wire__Role role, uint64_t now)
{
    struct pki_grant out;
    wf_why why = {.text = ""};
    weft_err err = pki_trust_check_grant(w->trust, grant, who, service, role, now, &out, &why);
    if (err != WEFT_OK)
        assert_true(strlen(why.text) > 0);
    return err;
}

static void a_grant_permits_what_it_names(void **state)
{
    struct world *w = *state;
    struct pki_grant out;
    wf_why why;
    Weft__Wire__Signed *g = authority_grant(&w->a, &w->ci, &w->web, "web", DIAL);
    for (int again = 0; again < 2; again++) {
        memset(&out, 0, sizeof out);
        assert_int_equal(
            pki_trust_check_grant(w->trust, g, &w->ci_is, &w->web, DIAL, NOW, &out, &why), WEFT_OK);
        assert_true(wf_id_equal(&out.service, &w->web));
        assert_true(wf_id_equal(&out.subject, &w->ci.id));
        assert_string_equal(out.service_name, "web");
        assert_int_equal(out.role, DIAL);
        assert_int_equal(out.epoch, NOW);
        assert_int_equal(out.expiry, NOW + WF_GRANT_LIFE_MS);
    }
    assert_int_equal(ask(w, g, &w->ci_is, NULL, DIAL, NOW), WEFT_OK);
    wf_signed_free(g);
}

static void a_grant_permits_nothing_else(void **state)
{
    struct world *w = *state;
    Weft__Wire__Signed *g = authority_grant(&w->a, &w->ci, &w->web, "web", DIAL);
    assert_int_equal(ask(w, g, &w->host_is, &w->web, DIAL, NOW), WEFT_EREFUSED);
    assert_int_equal(ask(w, g, &w->ci_is, &w->mail, DIAL, NOW), WEFT_EREFUSED);
    assert_int_equal(ask(w, g, &w->ci_is, &w->web, BIND, NOW), WEFT_EREFUSED);
    assert_int_equal(ask(w, g, &w->ci_is, &w->web, WEFT__WIRE__ROLE__ROLE_NONE, NOW),
                     WEFT_EREFUSED);
    struct pki_subject other_key = w->ci_is;
    other_key.pin = w->host.pin;
    assert_int_equal(ask(w, g, &other_key, &w->web, DIAL, NOW), WEFT_EREFUSED);
    struct pki_subject other_id = w->ci_is; /* the same key under another name */
    other_id.id = w->host.id;
    assert_int_equal(ask(w, g, &other_id, &w->web, DIAL, NOW), WEFT_EREFUSED);
    struct pki_subject as_router = w->ci_is;
    as_router.kind = PKI_ROUTER;
    assert_int_equal(ask(w, g, &as_router, &w->web, DIAL, NOW), WEFT_EREFUSED);
    wf_signed_free(g);
}

static void a_grant_has_its_time(void **state)
{
    struct world *w = *state;
    Weft__Wire__Signed *g = authority_grant(&w->a, &w->ci, &w->web, "web", DIAL);
    uint64_t begin = NOW - WF_CLOCK_TOLERANCE_MS, end = NOW + WF_GRANT_LIFE_MS;
    assert_int_equal(ask(w, g, &w->ci_is, &w->web, DIAL, end - 1), WEFT_OK);
    assert_int_equal(ask(w, g, &w->ci_is, &w->web, DIAL, end), WEFT_EEXPIRED);
    assert_int_equal(ask(w, g, &w->ci_is, &w->web, DIAL, begin - WF_CLOCK_TOLERANCE_MS), WEFT_OK);
    assert_int_equal(ask(w, g, &w->ci_is, &w->web, DIAL, begin - WF_CLOCK_TOLERANCE_MS - 1),
                     WEFT_ECREDENTIAL);
    wf_signed_free(g);
}

static void a_grant_of_another_fabric_is_refused(void **state)
{
    struct world *w = *state;
    struct authority named_so = w->a; /* the same policy key signs for another name */
    strcpy(named_so.domain, "other.weft");
    Weft__Wire__Signed *g = authority_grant(&named_so, &w->ci, &w->web, "web", DIAL);
    assert_int_equal(ask(w, g, &w->ci_is, &w->web, DIAL, NOW), WEFT_ECREDENTIAL);
    wf_signed_free(g);

    struct authority b;
    authority_init(&b, "test.weft", NOW);
    g = authority_grant(&b, &w->ci, &w->web, "web", DIAL);
    assert_int_equal(ask(w, g, &w->ci_is, &w->web, DIAL, NOW), WEFT_ECREDENTIAL);
    wf_signed_free(g);
    authority_fini(&b);
}

static Weft__Wire__Signed *grant_signed_by(struct world *w, const pki_key *key, const char *label)
{
    Weft__Wire__Signed *true_one = authority_grant(&w->a, &w->ci, &w->web, "web", DIAL);
    Weft__Wire__GrantBody *body;
    assert_int_equal(wf_grant_body_decode(true_one->body.data, true_one->body.len, &body, NULL),
                     WEFT_OK);
    Weft__Wire__Signed *g = authority_sign(key, label, &body->base);
    wf_grant_body_free(body);
    wf_signed_free(true_one);
    return g;
}

static void a_grant_signed_by_another_key_or_for_another_purpose_is_refused(void **state)
{
    struct world *w = *state;
    const pki_key *keys[] = {w->a.enrollment, w->a.audit, w->ci.key, pki_ca_key(w->a.root)};
    for (size_t i = 0; i < 4; i++) {
        Weft__Wire__Signed *g = grant_signed_by(w, keys[i], PKI_LABEL_GRANT);
        assert_int_equal(ask(w, g, &w->ci_is, &w->web, DIAL, NOW), WEFT_ECREDENTIAL);
        wf_signed_free(g);
    }
    static const char *const labels[] = {PKI_LABEL_MEMBER, PKI_LABEL_FLOORS, PKI_LABEL_BIND,
                                         PKI_LABEL_BUNDLE, PKI_LABEL_LINKS};
    for (size_t i = 0; i < 5; i++) {
        Weft__Wire__Signed *g = grant_signed_by(w, w->a.policy, labels[i]);
        assert_int_equal(ask(w, g, &w->ci_is, &w->web, DIAL, NOW), WEFT_ECREDENTIAL);
        wf_signed_free(g);
    }
    Weft__Wire__Signed *g = grant_signed_by(w, w->a.policy, PKI_LABEL_GRANT);
    assert_int_equal(ask(w, g, &w->ci_is, &w->web, DIAL, NOW), WEFT_OK);
    wf_signed_free(g);
}

static void a_record_verified_for_one_purpose_is_not_remembered_for_another(void **state)
{
    struct world *w = *state;
    struct pki_member m;
    wf_why why;
    Weft__Wire__Signed *g = grant_signed_by(w, w->a.policy, PKI_LABEL_MEMBER);
    (void)pki_trust_check_member(w->trust, g, NOW, &m, &why); /* a true signature: remembered */
    assert_int_equal(ask(w, g, &w->ci_is, &w->web, DIAL, NOW), WEFT_ECREDENTIAL);
    wf_signed_free(g);
}

static void an_altered_grant_is_refused_also_after_the_true_one(void **state)
{
    struct world *w = *state;
    Weft__Wire__Signed *g = authority_grant(&w->a, &w->ci, &w->web, "web", DIAL);
    assert_int_equal(ask(w, g, &w->ci_is, &w->web, DIAL, NOW), WEFT_OK);
    ProtobufCBinaryData *parts[] = {&g->body, &g->signature, &g->signer};
    for (size_t p = 0; p < 3; p++) {
        for (size_t at = 0; at < parts[p]->len; at++) {
            parts[p]->data[at] ^= 0x10;
            assert_int_equal(ask(w, g, &w->ci_is, &w->web, DIAL, NOW), WEFT_ECREDENTIAL);
            parts[p]->data[at] ^= 0x10;
        }
        parts[p]->len--;
        assert_int_equal(ask(w, g, &w->ci_is, &w->web, DIAL, NOW), WEFT_ECREDENTIAL);
        parts[p]->len++;
    }
    assert_int_equal(ask(w, g, &w->ci_is, &w->web, DIAL, NOW), WEFT_OK);
    wf_signed_free(g);
}

/* ---- revocations */

static weft_err apply(struct world *w, Weft__Wire__Signed *set, bool *changed)
{
    wf_why why = {.text = ""};
    weft_err err = pki_trust_apply_floors(w->trust, set, NOW, changed, &why);
    if (err != WEFT_OK)
        assert_true(strlen(why.text) > 0);
    wf_signed_free(set);
    return err;
}

static Weft__Wire__Signed *set_of(struct world *w, uint64_t version, Weft__Wire__Floor *floor)
{
    return authority_floors(&w->a, version, NULL, &floor, 1);
}

static void learn(struct world *w, uint64_t version, Weft__Wire__Floor *floor)
{
    bool changed;
    assert_int_equal(apply(w, set_of(w, version, floor), &changed), WEFT_OK);
    assert_true(changed);
}

static void a_grant_below_its_floor_is_withdrawn(void **state)
{
    struct world *w = *state;
    Weft__Wire__Floor floor = WEFT__WIRE__FLOOR__INIT;
    Weft__Wire__Signed *web = authority_grant(&w->a, &w->ci, &w->web, "web", DIAL);
    Weft__Wire__Signed *mail = authority_grant(&w->a, &w->ci, &w->mail, "mail", DIAL);
    assert_int_equal(ask(w, web, &w->ci_is, &w->web, DIAL, NOW), WEFT_OK);
    floor.identity = wf_pb_id(&w->ci.id);
    floor.service = wf_pb_id(&w->web);
    floor.role = DIAL;
    floor.epoch = NOW; /* the grant reaches it */
    learn(w, 1, &floor);
    assert_int_equal(ask(w, web, &w->ci_is, &w->web, DIAL, NOW), WEFT_OK);
    floor.epoch = NOW + 1;
    learn(w, 2, &floor);
    assert_int_equal(ask(w, web, &w->ci_is, &w->web, DIAL, NOW), WEFT_EREVOKED);
    assert_int_equal(ask(w, web, &w->ci_is, NULL, DIAL, NOW), WEFT_EREVOKED);
    assert_int_equal(ask(w, mail, &w->ci_is, &w->mail, DIAL, NOW), WEFT_OK);
    w->a.now = NOW + 1; /* permitted anew: a grant of a later epoch */
    Weft__Wire__Signed *again = authority_grant(&w->a, &w->ci, &w->web, "web", DIAL);
    assert_int_equal(ask(w, again, &w->ci_is, &w->web, DIAL, NOW), WEFT_OK);
    wf_signed_free(again);
    wf_signed_free(web);
    wf_signed_free(mail);
}

static void a_floor_or_cut_of_the_identity_withdraws_all_its_grants(void **state)
{
    struct world *w = *state;
    Weft__Wire__Floor floor = WEFT__WIRE__FLOOR__INIT;
    Weft__Wire__Signed *web = authority_grant(&w->a, &w->ci, &w->web, "web", DIAL);
    Weft__Wire__Signed *mail = authority_grant(&w->a, &w->ci, &w->mail, "mail", BIND);
    floor.identity = wf_pb_id(&w->ci.id);
    floor.epoch = NOW + 1;
    learn(w, 1, &floor);
    assert_int_equal(ask(w, web, &w->ci_is, &w->web, DIAL, NOW), WEFT_EREVOKED);
    assert_int_equal(ask(w, mail, &w->ci_is, &w->mail, BIND, NOW), WEFT_EREVOKED);
    w->a.now = NOW + 1;
    Weft__Wire__Signed *later = authority_grant(&w->a, &w->ci, &w->web, "web", DIAL);
    assert_int_equal(ask(w, later, &w->ci_is, &w->web, DIAL, NOW), WEFT_OK);
    floor.cut = true;
    learn(w, 2, &floor);
    assert_int_equal(ask(w, later, &w->ci_is, &w->web, DIAL, NOW), WEFT_EREVOKED);
    wf_signed_free(web);
    wf_signed_free(mail);
    wf_signed_free(later);
}

static void a_revoked_key_makes_its_grants_useless(void **state)
{
    struct world *w = *state;
    Weft__Wire__Floor floor = WEFT__WIRE__FLOOR__INIT;
    Weft__Wire__Signed *g = authority_grant(&w->a, &w->ci, &w->web, "web", DIAL);
    floor.key = wf_pb_bytes(w->ci.pin.b, PKI_PIN_LEN);
    learn(w, 1, &floor);
    assert_int_equal(ask(w, g, &w->ci_is, &w->web, DIAL, NOW), WEFT_EREVOKED);
    wf_signed_free(g);
}

static void revocations_are_believed_from_the_policy_key_of_this_fabric_alone(void **state)
{
    struct world *w = *state;
    struct authority liar = w->a;
    Weft__Wire__Floor floor = WEFT__WIRE__FLOOR__INIT, *list[] = {&floor};
    bool changed = true;
    floor.identity = wf_pb_id(&w->ci.id);
    floor.cut = true;
    liar.policy = w->a.enrollment;
    assert_int_equal(apply(w, authority_floors(&liar, 1, NULL, list, 1), &changed),
                     WEFT_ECREDENTIAL);
    assert_false(changed);
    liar = w->a;
    strcpy(liar.domain, "other.weft");
    assert_int_equal(apply(w, authority_floors(&liar, 1, NULL, list, 1), &changed),
                     WEFT_ECREDENTIAL);
    assert_false(changed);
    Weft__Wire__Signed *altered = authority_floors(&w->a, 1, NULL, list, 1);
    altered->body.data[altered->body.len - 1] ^= 1;
    assert_int_equal(apply(w, altered, &changed), WEFT_ECREDENTIAL);
    assert_int_equal(pki_floors_version(pki_trust_floors(w->trust)), 0);
    floor.identity.len = 0; /* names nothing */
    assert_int_not_equal(apply(w, authority_floors(&w->a, 1, NULL, list, 1), &changed), WEFT_OK);
    assert_false(changed);
}

/* ---- trust bundles */

static weft_err follow(pki_trust *trust, const wf_buf *bundle, bool *changed)
{
    return pki_trust_update(trust, wf_span_of(bundle->data, bundle->len), changed, NULL);
}

/* Well signed: of that version, behind what `before` holds. */
static void make_bundle(struct world *w, uint64_t version, const pki_trust *before, wf_buf *out)
{
    uint8_t previous[32];
    pki_trust_digest(before, previous);
    wf_buf_init(out, WF_BUNDLE_MAX);
    authority_bundle(&w->a, version, previous, out);
}

/* (r, s) of an ECDSA signature of P-256 in DER becomes (r, n - s), which verifies as well. */
static void turn_signature(wf_buf *bundle)
{
    static const uint8_t order[32] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
                                      0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
    Weft__Wire__Signed *s;
    assert_int_equal(wf_signed_decode(bundle->data, bundle->len, &s, NULL), WEFT_OK);
    const uint8_t *at = s->signature.data;
    size_t r_len = at[3], s_len = at[4 + r_len + 1];
    const uint8_t *old = at + 4 + r_len + 2;
    uint8_t number[32] = {0}, turned[33] = {0}, der[80];
    for (size_t i = 0; i < s_len && i < 32; i++)
        number[31 - i] = old[s_len - 1 - i];
    int borrow = 0;
    for (size_t i = 32; i-- > 0;) {
        int d = order[i] - number[i] - borrow;
        borrow = d < 0;
        turned[i + 1] = (uint8_t)(d + (borrow ? 256 : 0));
    }
    size_t skip = 0;
    while (turned[skip] == 0 && (turned[skip + 1] & 0x80) == 0)
        skip++;
    size_t n = sizeof turned - skip;
    der[0] = 0x30;
    der[1] = (uint8_t)(2 + r_len + 2 + n);
    memcpy(der + 2, at + 2, 2 + r_len);
    der[4 + r_len] = 2;
    der[5 + r_len] = (uint8_t)n;
    memcpy(der + 6 + r_len, turned + skip, n);
    free(s->signature.data);
    s->signature.len = 6 + r_len + n;
    s->signature.data = malloc(s->signature.len);
    assert_non_null(s->signature.data);
    memcpy(s->signature.data, der, s->signature.len);
    wf_buf_clear(bundle);
    assert_int_equal(wf_signed_encode(s, bundle), WEFT_OK);
    wf_signed_free(s);
}

static void bundles_follow_on_each_other_whatever_a_forwarder_makes_of_them(void **state)
{
    struct world *w = *state;
    pki_trust *true_one = authority_trust(&w->a);
    wf_buf second, third, fourth;
    bool changed;
    make_bundle(w, 2, true_one, &second);
    assert_int_equal(follow(true_one, &second, &changed), WEFT_OK);
    make_bundle(w, 3, true_one, &third);
    assert_int_equal(follow(true_one, &third, &changed), WEFT_OK);
    make_bundle(w, 4, true_one, &fourth);

    /* A router in between adds a field that nobody knows: 15, varint 1. */
    assert_int_equal(wf_buf_put(&second, "\x78\x01", 2), WEFT_OK);
    assert_int_equal(follow(w->trust, &second, &changed), WEFT_OK);
    assert_true(changed);
    turn_signature(&third);
    assert_int_equal(follow(w->trust, &third, &changed), WEFT_OK);
    assert_true(changed);
    assert_int_equal(follow(w->trust, &fourth, &changed), WEFT_OK);
    assert_true(changed);
    assert_int_equal(pki_trust_version(w->trust), 4);
    wf_buf_fini(&second);
    wf_buf_fini(&third);
    wf_buf_fini(&fourth);
    pki_trust_unref(true_one);
}

static void a_bundle_that_forks_or_goes_back_is_not_taken(void **state)
{
    struct world *w = *state;
    pki_trust *other = authority_trust(&w->a);
    wf_buf first, second, fork, third;
    bool changed;
    wf_buf_init(&first, WF_BUNDLE_MAX);
    assert_int_equal(wf_buf_put(&first, w->a.bundle.data, w->a.bundle.len), WEFT_OK);
    make_bundle(w, 2, w->trust, &second);
    assert_int_equal(follow(w->trust, &second, &changed), WEFT_OK);
    wf_buf_init(&fork, WF_BUNDLE_MAX);
    authority_bundle(&w->a, 2, NULL, &fork); /* the same number, other content */
    assert_int_equal(follow(w->trust, &fork, &changed), WEFT_ECONFLICT);
    assert_int_equal(follow(w->trust, &first, &changed), WEFT_OK);
    assert_false(changed);
    make_bundle(w, 3, other, &third); /* it follows on version 1 */
    assert_int_equal(follow(w->trust, &third, &changed), WEFT_ECONFLICT);
    assert_int_equal(pki_trust_version(w->trust), 2);
    wf_buf_fini(&first);
    wf_buf_fini(&second);
    wf_buf_fini(&fork);
    wf_buf_fini(&third);
    pki_trust_unref(other);
}

/* Who was away for long gets the newest alone: a root that it holds has to answer for that one. */
static void a_bundle_that_skips_versions_needs_a_root_that_is_held_and_none_goes_back(void **state)
{
    struct world *w = *state;
    struct authority stranger;
    pki_trust *other;
    wf_buf second, fifth, strange;
    uint8_t digest[32], after[32];
    bool changed;
    authority_init(&stranger, "test.weft", w->a.now);
    other = authority_trust(&stranger);
    pki_trust_digest(w->trust, digest);
    wf_buf_init(&strange, WF_BUNDLE_MAX);
    authority_bundle(&stranger, 5, digest, &strange); /* names ours, signed by another root */
    assert_int_equal(follow(w->trust, &strange, &changed), WEFT_ECREDENTIAL);
    assert_false(changed);
    assert_int_equal(pki_trust_version(w->trust), 1);

    make_bundle(w, 2, w->trust, &second);
    make_bundle(w, 5, other, &fifth); /* what it follows on was never seen here */
    assert_int_equal(follow(w->trust, &fifth, &changed), WEFT_OK);
    assert_true(changed);
    pki_trust_digest(w->trust, digest);
    assert_int_equal(follow(w->trust, &second, &changed), WEFT_OK); /* passed over */
    assert_false(changed);
    assert_int_equal(pki_trust_version(w->trust), 5);
    pki_trust_digest(w->trust, after);
    assert_memory_equal(digest, after, 32);
    wf_buf_fini(&second);
    wf_buf_fini(&fifth);
    wf_buf_fini(&strange);
    pki_trust_unref(other);
    authority_fini(&stranger);
}

static void revocations_come_in_order_whatever_a_forwarder_adds(void **state)
{
    struct world *w = *state;
    Weft__Wire__Floor floor = WEFT__WIRE__FLOOR__INIT, *list[] = {&floor};
    bool changed;
    uint8_t digest[32], held[32];
    wf_buf encoded;
    floor.identity = wf_pb_id(&w->ci.id);
    floor.epoch = 7;
    Weft__Wire__Signed *first = authority_floors(&w->a, 5, NULL, list, 1);
    wf_buf_init(&encoded, WF_SIGNED_MAX);
    assert_int_equal(wf_signed_encode(first, &encoded), WEFT_OK);
    pki_record_digest(wf_span_of(encoded.data, encoded.len), digest);

    /* The same record with a field that nobody knows: 15, varint 1. */
    wf_signed_free(first);
    assert_int_equal(wf_buf_put(&encoded, "\x78\x01", 2), WEFT_OK);
    assert_int_equal(wf_signed_decode(encoded.data, encoded.len, &first, NULL), WEFT_OK);
    assert_int_equal(apply(w, first, &changed), WEFT_OK);
    pki_floors_digest(pki_trust_floors(w->trust), held);
    assert_memory_equal(held, digest, 32);

    floor.epoch = 8;
    assert_int_equal(apply(w, authority_floors(&w->a, 7, digest, list, 1), &changed),
                     WEFT_ECONFLICT);
    assert_int_equal(apply(w, authority_floors(&w->a, 6, digest, list, 1), &changed), WEFT_OK);
    assert_true(changed);
    assert_int_equal(apply(w, authority_floors(&w->a, 7, digest, list, 1), &changed),
                     WEFT_ECONFLICT);
    assert_int_equal(pki_floors_version(pki_trust_floors(w->trust)), 6);
    wf_buf_fini(&encoded);
}

/* ---- routers */

static weft_err ask_member(struct world *w, const Weft__Wire__Signed *record, uint64_t now,
                           struct pki_member *out)
{
    wf_why why = {.text = ""};
    weft_err err = pki_trust_check_member(w->trust, record, now, out, &why);
    if (err != WEFT_OK)
        assert_true(strlen(why.text) > 0);
    return err;
}

static void a_member_record_says_where_and_who_a_router_is(void **state)
{
    struct world *w = *state;
    static const char *const addresses[] = {"r1.example:9339", "[::1]:19339"};
    struct pki_member m;
    Weft__Wire__Signed *record = authority_member(&w->a, &w->router, addresses, 2);
    assert_int_equal(ask_member(w, record, NOW, &m), WEFT_OK);
    assert_true(wf_id_equal(&m.router, &w->router.id));
    assert_string_equal(m.name, "r1");
    assert_int_equal(m.pin_count, 1);
    assert_true(pki_pin_equal(&m.pins[0], &w->router.pin));
    assert_int_equal(m.address_count, 2);
    assert_string_equal(m.addresses[0].host, "r1.example");
    assert_int_equal(m.addresses[1].port, 19339);
    assert_int_equal(m.expiry, NOW + WF_MEMBER_LIFE_MS);
    assert_int_equal(ask_member(w, record, m.expiry - 1, &m), WEFT_OK);
    assert_int_equal(ask_member(w, record, m.expiry, &m), WEFT_EEXPIRED);
    record->body.data[5] ^= 1;
    assert_int_equal(ask_member(w, record, NOW, &m), WEFT_ECREDENTIAL);
    wf_signed_free(record);

    struct authority liar = w->a;
    liar.policy = w->a.enrollment;
    record = authority_member(&liar, &w->router, addresses, 2);
    assert_int_equal(ask_member(w, record, NOW, &m), WEFT_ECREDENTIAL);
    wf_signed_free(record);
    liar = w->a;
    strcpy(liar.domain, "other.weft");
    record = authority_member(&liar, &w->router, addresses, 2);
    assert_int_equal(ask_member(w, record, NOW, &m), WEFT_ECREDENTIAL);
    wf_signed_free(record);
    record = authority_grant(&w->a, &w->ci, &w->web, "web", DIAL); /* of another label */
    assert_int_equal(ask_member(w, record, NOW, &m), WEFT_ECREDENTIAL);
    wf_signed_free(record);
}

static void a_withdrawn_router_is_no_member(void **state)
{
    struct world *w = *state;
    static const char *const addresses[] = {"r1.example:9339"};
    struct pki_member m;
    Weft__Wire__Floor floor = WEFT__WIRE__FLOOR__INIT;
    Weft__Wire__Signed *record = authority_member(&w->a, &w->router, addresses, 1);
    floor.router = wf_pb_id(&w->router.id);
    floor.epoch = NOW + 1;
    learn(w, 1, &floor);
    assert_int_equal(ask_member(w, record, NOW, &m), WEFT_EREVOKED);
    floor.epoch = NOW;
    wf_signed_free(record);
    w->a.now = NOW + 2;
    record = authority_member(&w->a, &w->router, addresses, 1);
    assert_int_equal(ask_member(w, record, NOW, &m), WEFT_OK);
    Weft__Wire__Floor key = WEFT__WIRE__FLOOR__INIT;
    key.key = wf_pb_bytes(w->router.pin.b, PKI_PIN_LEN);
    learn(w, 2, &key);
    assert_int_equal(ask_member(w, record, NOW, &m), WEFT_EREVOKED);
    wf_signed_free(record);
}

/* ---- binds */

static weft_err ask_bind(struct world *w, const Weft__Wire__Signed *bind,
                         const Weft__Wire__Signed *grant, const struct authority_node *shown,
                         uint64_t now)
{
    struct pki_bind out;
    struct pki_subject host;
    wf_why why = {.text = ""};
    weft_err err =
        pki_trust_check_bind(w->trust, bind, grant, shown->chain, now, &out, &host, &why);
    if (err != WEFT_OK) {
        assert_true(strlen(why.text) > 0);
        return err;
    }
    assert_true(wf_id_equal(&out.service, &w->web));
    assert_true(wf_id_equal(&out.instance, &w->instance));
    assert_true(wf_id_equal(&out.router, &w->router.id));
    assert_true(wf_id_equal(&out.subject, &w->host.id));
    assert_int_equal(out.grant.role, BIND);
    assert_string_equal(host.name, "host");
    return WEFT_OK;
}

static void a_bind_is_the_hosts_own_word_for_a_service_it_may_bind(void **state)
{
    struct world *w = *state;
    Weft__Wire__Signed *bind =
        authority_bind(&w->a, &w->host, &w->web, &w->instance, &w->router.id);
    Weft__Wire__Signed *grant = authority_grant(&w->a, &w->host, &w->web, "web", BIND);
    Weft__Wire__Signed *dial = authority_grant(&w->a, &w->host, &w->web, "web", DIAL);
    Weft__Wire__Signed *mail = authority_grant(&w->a, &w->host, &w->mail, "mail", BIND);
    Weft__Wire__Signed *others = authority_grant(&w->a, &w->ci, &w->web, "web", BIND);
    assert_int_equal(ask_bind(w, bind, grant, &w->host, NOW), WEFT_OK);
    assert_int_equal(ask_bind(w, bind, dial, &w->host, NOW), WEFT_EREFUSED);
    assert_int_equal(ask_bind(w, bind, mail, &w->host, NOW), WEFT_EREFUSED);
    assert_int_equal(ask_bind(w, bind, others, &w->host, NOW), WEFT_EREFUSED);
    assert_int_equal(ask_bind(w, bind, grant, &w->ci, NOW), WEFT_ECREDENTIAL);
    assert_int_equal(ask_bind(w, bind, grant, &w->router, NOW), WEFT_ECREDENTIAL);
    w->a.now = NOW + DAY_MS / 2;
    Weft__Wire__Signed *longer = authority_grant(&w->a, &w->host, &w->web, "web", BIND);
    uint64_t end = NOW + WF_BIND_LIFE_MS;
    assert_int_equal(ask_bind(w, bind, longer, &w->host, end - 1), WEFT_OK);
    assert_int_equal(ask_bind(w, bind, longer, &w->host, end), WEFT_EEXPIRED);
    wf_signed_free(longer);
    assert_int_equal(ask_bind(w, bind, grant, &w->host, NOW + 365 * DAY_MS), WEFT_EEXPIRED);
    /* Not a grant in the place of a bind, nor a bind altered. */
    assert_int_equal(ask_bind(w, grant, grant, &w->host, NOW), WEFT_ECREDENTIAL);
    for (size_t at = 0; at < bind->body.len; at++) {
        bind->body.data[at] ^= 4;
        assert_int_equal(ask_bind(w, bind, grant, &w->host, NOW), WEFT_ECREDENTIAL);
        bind->body.data[at] ^= 4;
    }
    wf_signed_free(bind);

    /* Another identity signs with its own key, but in the host's name. */
    struct authority_node liar = w->ci;
    liar.id = w->host.id;
    bind = authority_bind(&w->a, &liar, &w->web, &w->instance, &w->router.id);
    assert_int_equal(ask_bind(w, bind, grant, &w->ci, NOW), WEFT_ECREDENTIAL);
    assert_int_equal(ask_bind(w, bind, grant, &w->host, NOW), WEFT_ECREDENTIAL);
    assert_int_equal(ask_bind(w, bind, others, &w->ci, NOW), WEFT_ECREDENTIAL);
    wf_signed_free(bind);
    wf_signed_free(grant);
    wf_signed_free(dial);
    wf_signed_free(mail);
    wf_signed_free(others);
}

static void a_bind_ends_with_its_grant_and_its_host(void **state)
{
    struct world *w = *state;
    Weft__Wire__Floor floor = WEFT__WIRE__FLOOR__INIT;
    Weft__Wire__Signed *bind =
        authority_bind(&w->a, &w->host, &w->web, &w->instance, &w->router.id);
    Weft__Wire__Signed *grant = authority_grant(&w->a, &w->host, &w->web, "web", BIND);
    floor.identity = wf_pb_id(&w->host.id);
    floor.service = wf_pb_id(&w->web);
    floor.role = BIND;
    floor.epoch = NOW + 1;
    learn(w, 1, &floor);
    assert_int_equal(ask_bind(w, bind, grant, &w->host, NOW), WEFT_EREVOKED);
    w->a.now = NOW + 1;
    Weft__Wire__Signed *later = authority_grant(&w->a, &w->host, &w->web, "web", BIND);
    assert_int_equal(ask_bind(w, bind, later, &w->host, NOW), WEFT_OK);
    floor.service.len = 0;
    floor.role = WEFT__WIRE__ROLE__ROLE_NONE;
    floor.cut = true;
    learn(w, 2, &floor);
    assert_int_equal(ask_bind(w, bind, later, &w->host, NOW), WEFT_EREVOKED);
    wf_signed_free(bind);
    wf_signed_free(grant);
    wf_signed_free(later);
}

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)
    const struct CMUnitTest tests[] = {
        IN_WORLD(a_grant_permits_what_it_names),
        IN_WORLD(a_grant_permits_nothing_else),
        IN_WORLD(a_grant_has_its_time),
        IN_WORLD(a_grant_of_another_fabric_is_refused),
        IN_WORLD(a_grant_signed_by_another_key_or_for_another_purpose_is_refused),
        IN_WORLD(a_record_verified_for_one_purpose_is_not_remembered_for_another),
        IN_WORLD(an_altered_grant_is_refused_also_after_the_true_one),
        IN_WORLD(a_grant_below_its_floor_is_withdrawn),
        IN_WORLD(a_floor_or_cut_of_the_identity_withdraws_all_its_grants),
        IN_WORLD(a_revoked_key_makes_its_grants_useless),
        IN_WORLD(revocations_are_believed_from_the_policy_key_of_this_fabric_alone),
        IN_WORLD(bundles_follow_on_each_other_whatever_a_forwarder_makes_of_them),
        IN_WORLD(a_bundle_that_forks_or_goes_back_is_not_taken),
        IN_WORLD(a_bundle_that_skips_versions_needs_a_root_that_is_held_and_none_goes_back),
        IN_WORLD(revocations_come_in_order_whatever_a_forwarder_adds),
        IN_WORLD(a_member_record_says_where_and_who_a_router_is),
        IN_WORLD(a_withdrawn_router_is_no_member),
        IN_WORLD(a_bind_is_the_hosts_own_word_for_a_service_it_may_bind),
        IN_WORLD(a_bind_ends_with_its_grant_and_its_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
