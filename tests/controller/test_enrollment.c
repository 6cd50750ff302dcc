/* Tokens redeemed at the operation table: once, by the right key, in time, or not at all. */
#include "controller/issue.h"
#include "desk.h"
#include "proto/base/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct desk d;

static void new_token(const char *name, char out[WF_TOKEN_MAX])
{
    desk_do(&d, "identity.create", "{\"name\":\"%s\"}", name);
    snprintf(out, WF_TOKEN_MAX, "%s", desk_text(&d, "token"));
}

static void a_token_makes_one_certificate(void **state)
{
    struct node a = {NULL}, b = {NULL};
    char token[WF_TOKEN_MAX];

    (void)state;
    new_token("once", token);
    assert_int_equal(desk_enroll(&d, token, &a), WEFT_OK);
    assert_string_equal(a.subject.name, "once");
    assert_int_equal(a.subject.kind, PKI_IDENTITY);
    assert_int_equal(desk_enroll(&d, token, &b), WEFT_EUSED);
    assert_non_null(strstr(d.why.text, "used already"));
    assert_non_null(strstr(d.why.text, "weft identity reissue once"));
    desk_do(&d, "identity.show", "{\"name\":\"once\"}");
    assert_string_equal(desk_text(&d, "state"), "active");
    node_fini(&a);
    node_fini(&b);
}

static void the_same_key_again_gets_the_same_certificate_for_ten_minutes(void **state)
{
    struct node a = {NULL};
    char token[WF_TOKEN_MAX];
    wf_buf first;
    uint64_t now = wf_now_wall_ms();

    (void)state;
    new_token("again", token);
    d.now = now;
    assert_int_equal(desk_enroll(&d, token, &a), WEFT_OK);
    wf_buf_init(&first, WF_CHAIN_MAX);
    wf_buf_put(&first, pki_chain_der(a.chain, 0).data, pki_chain_der(a.chain, 0).len);
    d.now = now + WF_REDEEM_AGAIN_MS;
    assert_int_equal(desk_enroll(&d, token, &a), WEFT_OK);
    assert_true(wf_span_equal(wf_span_of(first.data, first.len), pki_chain_der(a.chain, 0)));
    d.now = now + WF_REDEEM_AGAIN_MS + 1;
    assert_int_equal(desk_enroll(&d, token, &a), WEFT_EUSED);
    d.now = 0;
    wf_buf_fini(&first);
    node_fini(&a);
}

static void an_expired_token_is_refused(void **state)
{
    struct node a = {NULL};
    char token[WF_TOKEN_MAX];

    (void)state;
    desk_do(&d, "identity.create", "{\"name\":\"late\",\"token_life_s\":60}");
    snprintf(token, sizeof token, "%s", desk_text(&d, "token"));
    d.now = wf_now_wall_ms() + 61000 + WF_CLOCK_TOLERANCE_MS;
    assert_int_equal(desk_enroll(&d, token, &a), WEFT_EEXPIRED);
    d.now = 0;
    assert_int_equal(desk_enroll(&d, token, &a), WEFT_OK);
    node_fini(&a);
}

static void an_altered_token_is_refused_wherever_it_is_altered(void **state)
{
    struct node a = {NULL};
    char token[WF_TOKEN_MAX];
    size_t len;

    (void)state;
    new_token("altered", token);
    len = strlen(token);
    for (size_t i = 0; i < len; i += 11) {
        char kept = token[i];

        token[i] = kept == 'A' ? 'B' : 'A';
        assert_int_not_equal(desk_enroll(&d, token, &a), WEFT_OK);
        token[i] = kept;
    }
    assert_int_equal(desk_enroll(&d, token, &a), WEFT_OK);
    node_fini(&a);
}

static void a_token_of_another_enrollment_key_is_refused(void **state)
{
    struct store_token row;
    struct store_node node;
    struct home forged = d.c.home;
    struct node a = {NULL};
    wf_buf jwt;

    (void)state;
    desk_do(&d, "identity.create", "{\"name\":\"forged\"}");
    assert_int_equal(store_node_find(d.c.home.store, PKI_IDENTITY, "forged", &node), WEFT_OK);
    assert_int_equal(pki_key_new(PKI_KEY_ED25519, &forged.enrollment, NULL), WEFT_OK);
    wf_buf_init(&jwt, WF_TOKEN_MAX);
    assert_int_equal(issue_token(&forged, &node, wf_now_wall_ms(), 60000, &row, &jwt), WEFT_OK);
    assert_int_equal(desk_enroll(&d, wf_buf_cstr(&jwt), &a), WEFT_ECREDENTIAL);
    wf_buf_fini(&jwt);
    pki_key_free(forged.enrollment);
    node_fini(&a);
}

static void a_proof_for_another_channel_is_refused(void **state)
{
    Weft__Wire__EnrollCall ask;
    struct node a = {NULL};
    char token[WF_TOKEN_MAX];
    wf_buf csr, proof, encoded;
    uint8_t channel[32];

    (void)state;
    new_token("relayed", token);
    wf_buf_init(&csr, WF_CSR_MAX);
    wf_buf_init(&proof, 1024);
    wf_buf_init(&encoded, WF_CONTROL_MAX);
    memset(channel, 9, sizeof channel); /* of the man in the middle */
    assert_int_equal(pki_key_new(PKI_KEY_P256, &a.key, NULL), WEFT_OK);
    assert_int_equal(pki_csr_make(a.key, &csr, NULL), WEFT_OK);
    assert_int_equal(
        pki_proof_make(a.key, PKI_LABEL_ENROLL, wf_span_of(token, strlen(token)), channel, &proof),
        WEFT_OK);
    weft__wire__enroll_call__init(&ask);
    ask.token = token;
    ask.csr = wf_pb_bytes(csr.data, csr.len);
    ask.proof = wf_pb_bytes(proof.data, proof.len);
    wf_message_put(&ask.base, &encoded);
    assert_int_equal(
        desk_call(&d, WHO_ANYONE, NULL, "enroll", wf_span_of(encoded.data, encoded.len)),
        WEFT_ECREDENTIAL);
    assert_non_null(strstr(d.why.text, "proof of possession"));
    assert_int_equal(desk_enroll(&d, token, &a), WEFT_OK);
    wf_buf_fini(&csr);
    wf_buf_fini(&proof);
    wf_buf_fini(&encoded);
    node_fini(&a);
}

static void no_two_subjects_share_a_key(void **state)
{
    struct node a = {NULL};
    char one[WF_TOKEN_MAX], two[WF_TOKEN_MAX];

    (void)state;
    new_token("first-owner", one);
    new_token("second-owner", two);
    assert_int_equal(desk_enroll(&d, one, &a), WEFT_OK);
    assert_int_equal(desk_enroll(&d, two, &a), WEFT_ECREDENTIAL);
    assert_non_null(strstr(d.why.text, "another's"));
    node_fini(&a);
}

static void a_reissued_token_voids_the_older_one_and_floors_the_older_key(void **state)
{
    struct node a = {NULL}, b = {NULL};
    char one[WF_TOKEN_MAX], two[WF_TOKEN_MAX], three[WF_TOKEN_MAX];
    uint64_t now = wf_now_wall_ms();
    struct pki_subject subject;

    (void)state;
    new_token("lost", one);
    desk_do(&d, "identity.reissue", "{\"name\":\"lost\"}");
    snprintf(two, sizeof two, "%s", desk_text(&d, "token"));
    assert_int_equal(desk_enroll(&d, one, &a), WEFT_ECREDENTIAL);
    assert_non_null(strstr(d.why.text, "void"));
    assert_int_equal(desk_enroll(&d, two, &a), WEFT_OK);

    desk_do(&d, "identity.reissue", "{\"name\":\"lost\"}");
    snprintf(three, sizeof three, "%s", desk_text(&d, "token"));
    /* The old key lives until the new certificate is made. */
    assert_int_equal(pki_trust_check_chain(d.c.home.trust, a.chain, PKI_IDENTITY, PKI_CLIENT, false,
                                           now, &subject, NULL),
                     WEFT_OK);
    assert_int_equal(desk_enroll(&d, three, &b), WEFT_OK);
    assert_true(wf_id_equal(&a.subject.id, &b.subject.id));
    assert_int_equal(pki_trust_check_chain(d.c.home.trust, a.chain, PKI_IDENTITY, PKI_CLIENT, false,
                                           now, &subject, NULL),
                     WEFT_EREVOKED);
    assert_int_equal(pki_trust_check_chain(d.c.home.trust, b.chain, PKI_IDENTITY, PKI_CLIENT, false,
                                           now, &subject, NULL),
                     WEFT_OK);
    /* And it is never certified again. */
    desk_do(&d, "identity.reissue", "{\"name\":\"lost\"}");
    assert_int_equal(desk_enroll(&d, desk_text(&d, "token"), &a), WEFT_EREVOKED);
    node_fini(&a);
    node_fini(&b);
}

static void a_disabled_or_deleted_identity_does_not_enroll(void **state)
{
    struct node a = {NULL};
    char token[WF_TOKEN_MAX];

    (void)state;
    new_token("off", token);
    desk_do(&d, "identity.disable", "{\"name\":\"off\"}");
    assert_int_equal(desk_enroll(&d, token, &a), WEFT_EREVOKED);
    desk_do(&d, "identity.enable", "{\"name\":\"off\"}");
    desk_do(&d, "identity.delete", "{\"name\":\"off\"}");
    assert_int_equal(desk_enroll(&d, token, &a), WEFT_ECREDENTIAL);
    node_fini(&a);
}

static void a_router_enrolls_with_a_member_record(void **state)
{
    Weft__Wire__SyncResult *sync = NULL;
    struct pki_member member;
    struct node r = {NULL}, other = {NULL};
    char token[WF_TOKEN_MAX];

    (void)state;
    desk_do(&d, "router.create", "{\"name\":\"r1\"}");
    snprintf(token, sizeof token, "%s", desk_text(&d, "token"));
    assert_int_equal(desk_enroll(&d, token, &r), WEFT_OK);
    assert_int_equal(desk_enroll(&d, token, &other), WEFT_EUSED);
    assert_non_null(strstr(d.why.text, "weft router reissue r1"));
    node_fini(&other);
    assert_int_equal(r.subject.kind, PKI_ROUTER);
    assert_int_equal(desk_call(&d, WHO_ROUTER, &r.subject, "sync", wf_span_of("", 0)), WEFT_OK);
    assert_int_equal(wf_sync_result_decode(d.result.data, d.result.len, &sync, NULL), WEFT_OK);
    assert_non_null(sync->member);
    assert_int_equal(sync->n_members, 1);
    assert_int_equal(
        pki_trust_check_member(d.c.home.trust, sync->member, wf_now_wall_ms(), &member, NULL),
        WEFT_OK);
    assert_string_equal(member.name, "r1");
    assert_int_equal(member.addresses[0].port, 9339);
    assert_true(pki_pin_equal(&member.pins[0], &r.subject.pin));
    wf_sync_result_free(sync);

    desk_do(&d, "router.show", "{\"name\":\"r1\"}");
    assert_string_equal(desk_text(&d, "state"), "active");
    desk_do(&d, "router.disable", "{\"name\":\"r1\"}");
    assert_int_equal(desk_call(&d, WHO_ROUTER, &r.subject, "sync", wf_span_of("", 0)),
                     WEFT_EREVOKED);
    node_fini(&r);
}

static weft_err renew(struct node *n, const pki_key *key)
{
    Weft__Wire__RenewCall ask;
    Weft__Wire__RenewResult *result = NULL;
    wf_buf csr, proof, encoded;
    uint8_t channel[32];
    wf_span der[WF_CHAIN_DEPTH];
    weft_err err;

    wf_buf_init(&csr, WF_CSR_MAX);
    wf_buf_init(&proof, 1024);
    wf_buf_init(&encoded, WF_CONTROL_MAX);
    memcpy(channel, d.channel, 32);
    channel[0] = (uint8_t)(channel[0] ^ strlen("EXPORTER-weft-renew"));
    assert_int_equal(pki_csr_make(key, &csr, NULL), WEFT_OK);
    assert_int_equal(
        pki_proof_make(key, PKI_LABEL_RENEW, wf_span_of(csr.data, csr.len), channel, &proof),
        WEFT_OK);
    weft__wire__renew_call__init(&ask);
    ask.csr = wf_pb_bytes(csr.data, csr.len);
    ask.proof = wf_pb_bytes(proof.data, proof.len);
    wf_message_put(&ask.base, &encoded);
    err = desk_call(&d, WHO_EXPIRED, &n->subject, "renew", wf_span_of(encoded.data, encoded.len));
    wf_buf_fini(&csr);
    wf_buf_fini(&proof);
    wf_buf_fini(&encoded);
    if (err != WEFT_OK)
        return err;
    assert_int_equal(wf_renew_result_decode(d.result.data, d.result.len, &result, NULL), WEFT_OK);
    for (size_t i = 0; i < result->n_chain; i++)
        der[i] = wf_pb_span(result->chain[i]);
    pki_chain_free(n->chain);
    assert_int_equal(pki_chain_from_der(der, result->n_chain, &n->chain, NULL), WEFT_OK);
    wf_renew_result_free(result);
    return WEFT_OK;
}

static void renewal_keeps_the_key_and_moves_the_end(void **state)
{
    struct node a;
    uint64_t from, first_end, second_end;
    pki_key *other = NULL;
    pki_pin pin;

    (void)state;
    desk_identity(&d, "renewing", "[]", &a);
    pki_chain_validity(a.chain, &from, &first_end);
    d.now = wf_now_wall_ms() + 50 * 86400000ull;
    assert_int_equal(renew(&a, a.key), WEFT_OK);
    pki_chain_validity(a.chain, &from, &second_end);
    assert_true(second_end > first_end + 49 * 86400000ull);
    pki_chain_pin(a.chain, &pin);
    assert_true(pki_pin_equal(&pin, &a.subject.pin));

    assert_int_equal(pki_key_new(PKI_KEY_P256, &other, NULL), WEFT_OK);
    assert_int_equal(renew(&a, other), WEFT_EINVAL);
    d.now = 0;
    desk_do(&d, "identity.disable", "{\"name\":\"renewing\"}");
    assert_int_equal(renew(&a, a.key), WEFT_EREVOKED);
    pki_key_free(other);
    node_fini(&a);
}

static void a_name_rests_as_long_as_its_certificate_lives(void **state)
{
    struct node a;

    (void)state;
    desk_identity(&d, "unique", "[]", &a);
    desk_do(&d, "identity.delete", "{\"name\":\"unique\"}");
    assert_int_equal(desk_ask(&d, "identity.create", "{\"name\":\"unique\"}"), WEFT_EEXIST);
    assert_non_null(strstr(d.why.text, "lives until"));
    d.now = wf_now_wall_ms() + WF_LEAF_LIFE_MS + 1000;
    desk_do(&d, "identity.create", "{\"name\":\"unique\"}");
    d.now = 0;
    node_fini(&a);
}

static void garbage_is_refused_without_a_trace(void **state)
{
    static const char *const junk[] = {"", "\xff", "\x0a\x00", "\x0a\x05hello", "{}"};
    uint64_t before = d.c.counters.enrollments;

    (void)state;
    for (size_t i = 0; i < sizeof junk / sizeof *junk; i++)
        assert_int_not_equal(
            desk_call(&d, WHO_ANYONE, NULL, "enroll", wf_span_of(junk[i], strlen(junk[i]))),
            WEFT_OK);
    assert_int_equal(d.c.counters.enrollments, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_makes_one_certificate),
        cmocka_unit_test(the_same_key_again_gets_the_same_certificate_for_ten_minutes),
        cmocka_unit_test(an_expired_token_is_refused),
        cmocka_unit_test(an_altered_token_is_refused_wherever_it_is_altered),
        cmocka_unit_test(a_token_of_another_enrollment_key_is_refused),
        cmocka_unit_test(a_proof_for_another_channel_is_refused),
        cmocka_unit_test(no_two_subjects_share_a_key),
        cmocka_unit_test(a_reissued_token_voids_the_older_one_and_floors_the_older_key),
        cmocka_unit_test(a_disabled_or_deleted_identity_does_not_enroll),
        cmocka_unit_test(a_router_enrolls_with_a_member_record),
        cmocka_unit_test(renewal_keeps_the_key_and_moves_the_end),
        cmocka_unit_test(a_name_rests_as_long_as_its_certificate_lives),
        cmocka_unit_test(garbage_is_refused_without_a_trace),
    };

    desk_use(&d);
    return cmocka_run_group_tests(tests, open_desk, close_desk);
}
