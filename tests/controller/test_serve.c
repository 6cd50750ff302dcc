/* The controller as a process on real links: enrollment, grants, revocation, strangers, kill -9. */
#include "controller/notice.h"
#include "pki/record.h"
#include "proto/base/clock.h"
#include "proto/link/enroll.h"
#include "proto/link/renew.h"
#include "served.h"
#include "tests/helpers/authority.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct served served;
static struct hall hall;
static struct person admin;
static struct line desk; /* the administrator's link */

static int start(void **state)
{
    (void)state;
    served_init(&served);
    served_start(&served);
    hall_open(&hall);
    person_load(&admin, served.folder.admin);
    line_open(&desk, &hall, &served.address, admin.tls, admin.trust);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    line_close(&desk);
    person_fini(&admin);
    hall_close(&hall);
    served_fini(&served);
    return 0;
}

/* The grants of a person, over its own line; NULL when refused. */
static Weft__Wire__GrantsResult *grants_of(struct line *line)
{
    Weft__Wire__GrantsResult *result = NULL;

    if (line_call(line, "grants", wf_span_of("", 0)) != WEFT_OK)
        return NULL;
    assert_int_equal(wf_grants_result_decode(line->result.data, line->result.len, &result, NULL),
                     WEFT_OK);
    return result;
}

static weft_err check_dial(struct person *p, const Weft__Wire__Signed *grant)
{
    struct pki_subject self;
    struct pki_grant seen;

    assert_int_equal(pki_trust_check_chain(p->trust, p->identity.chain, PKI_IDENTITY, PKI_CLIENT,
                                           false, wf_now_wall_ms(), &self, NULL),
                     WEFT_OK);
    return pki_trust_check_grant(p->trust, grant, &self, NULL, WEFT__WIRE__ROLE__ROLE_DIAL,
                                 wf_now_wall_ms(), &seen, NULL);
}

static void one_share_lets_two_enroll_and_get_their_grants(void **state)
{
    struct wf_enroll_config config = {.kind = PKI_IDENTITY};
    char token[WF_TOKEN_MAX], out[160];
    static const char *const keys[] = {"host_token", "dial_token"};

    (void)state;
    assert_int_equal(line_ask(&desk, "share", "{\"name\":\"web\"}"), WEFT_OK);
    for (unsigned i = 0; i < 2; i++) {
        Weft__Wire__EnrollResult *enrolled = NULL;
        Weft__Wire__GrantsResult *grants;
        struct pki_grant seen;
        struct pki_subject self;
        struct person p = {.trust = NULL};
        struct line line;
        wf_why why = {""};

        if (i == 1) { /* the first turn has overwritten the result */
            assert_int_equal(line_ask(&desk, "identity.reissue", "{\"name\":\"web-dialer\"}"),
                             WEFT_OK);
            line_text(&desk, "token", token, sizeof token);
        } else {
            line_text(&desk, keys[i], token, sizeof token);
        }
        snprintf(out, sizeof out, "%s/%s.json", served.folder.top, keys[i]);
        config.token = token;
        config.token_len = strlen(token);
        config.out = out;
        if (wf_enroll(&config, NULL, &enrolled, &why) != WEFT_OK)
            fail_msg("%s", why.text);
        wf_enroll_result_free(enrolled);
        person_load(&p, out);
        line_open(&line, &hall, &served.address, p.tls, p.trust);
        grants = grants_of(&line);
        assert_non_null(grants);
        assert_int_equal(grants->n_grants, 1);
        assert_int_equal(pki_trust_check_chain(p.trust, p.identity.chain, PKI_IDENTITY, PKI_CLIENT,
                                               false, wf_now_wall_ms(), &self, NULL),
                         WEFT_OK);
        assert_int_equal(pki_trust_check_grant(p.trust, grants->grants[0], &self, NULL,
                                               i == 0 ? WEFT__WIRE__ROLE__ROLE_BIND
                                                      : WEFT__WIRE__ROLE__ROLE_DIAL,
                                               wf_now_wall_ms(), &seen, &why),
                         WEFT_OK);
        assert_string_equal(seen.service_name, "web");
        wf_grants_result_free(grants);
        line_close(&line);
        person_fini(&p);
    }
}

/* ---- one token, many hands */

#define HANDS 1000

struct hand {
    struct line line;
    pki_key *key;
    bool asked, answered;
};

static pki_tls_ctx *nobody(const char *token)
{
    struct pki_token read;
    struct pki_tls_identity identity = {.key = NULL};
    pki_tls_ctx *tls = NULL;

    assert_int_equal(pki_token_read(token, strlen(token), &read, NULL), WEFT_OK);
    identity.server_pins = read.server_pins;
    identity.server_pin_count = read.server_pin_count;
    assert_int_equal(pki_tls_ctx_new(&identity, &tls, NULL), WEFT_OK);
    return tls;
}

static void on_hand_reply(void *arg, weft_err code, const char *reason, wf_span result)
{
    struct hand *hand = arg;

    hand->line.code = code;
    hand->answered = code == WEFT_OK || code == WEFT_EUSED;
    snprintf(hand->line.reason, sizeof hand->line.reason, "%s", reason);
    wf_buf_clear(&hand->line.result);
    assert_int_equal(wf_buf_put(&hand->line.result, result.data, result.len), WEFT_OK);
    if (hand->line.link != NULL)
        wf_link_close(hand->line.link);
}

static void hand_ask(struct hand *hand, const char *token)
{
    Weft__Wire__EnrollCall ask;
    char copy[WF_TOKEN_MAX];
    uint8_t channel[32];
    wf_buf csr, proof, encoded;

    snprintf(copy, sizeof copy, "%s", token);
    wf_buf_init(&csr, WF_CSR_MAX);
    wf_buf_init(&proof, 1024);
    wf_buf_init(&encoded, WF_CONTROL_MAX);
    assert_int_equal(wf_link_export(hand->line.link, "EXPORTER-weft-enroll", channel), WEFT_OK);
    assert_int_equal(pki_csr_make(hand->key, &csr, NULL), WEFT_OK);
    assert_int_equal(pki_proof_make(hand->key, PKI_LABEL_ENROLL, wf_span_of(copy, strlen(copy)),
                                    channel, &proof),
                     WEFT_OK);
    weft__wire__enroll_call__init(&ask);
    ask.token = copy;
    ask.csr = wf_pb_bytes(csr.data, csr.len);
    ask.proof = wf_pb_bytes(proof.data, proof.len);
    assert_int_equal(wf_message_put(&ask.base, &encoded), WEFT_OK);
    hand->asked = true;
    assert_int_equal(wf_link_call(hand->line.link, "enroll", wf_span_of(encoded.data, encoded.len),
                                  60000, on_hand_reply, hand),
                     WEFT_OK);
    wf_buf_fini(&csr);
    wf_buf_fini(&proof);
    wf_buf_fini(&encoded);
}

static void hand_dial(struct hand *hand, pki_tls_ctx *tls)
{
    wf_buf_fini(&hand->line.result);
    memset(&hand->line, 0, sizeof hand->line);
    hand->asked = false;
    line_dial(&hand->line, &hall, &served.address, tls, PKI_ALPN_ENROLL);
}

/* One more turn for every hand; how many have their answer. */
static unsigned hands_turn(struct hand *hands, const char *token, pki_tls_ctx *tls)
{
    unsigned done = 0;

    uv_run(&hall.loop, UV_RUN_NOWAIT);
    for (unsigned i = 0; i < HANDS; i++) {
        struct hand *hand = &hands[i];

        if (hand->answered && hand->line.closed)
            done++;
        else if (hand->line.closed) /* no place was free: again, as the program does */
            hand_dial(hand, tls);
        else if (hand->line.secured && !hand->asked)
            hand_ask(hand, token);
    }
    return done;
}

static void a_thousand_parallel_redeems_of_one_token_make_one_certificate(void **state)
{
    struct hand *hands = calloc(HANDS, sizeof *hands);
    uint64_t end = wf_now_mono_ms() + 90000;
    unsigned won = 0, used = 0;
    char token[WF_TOKEN_MAX];
    pki_tls_ctx *tls;

    (void)state;
    assert_non_null(hands);
    assert_int_equal(line_ask(&desk, "identity.create", "{\"name\":\"popular\"}"), WEFT_OK);
    line_text(&desk, "token", token, sizeof token);
    tls = nobody(token);
    for (unsigned i = 0; i < HANDS; i++) {
        assert_int_equal(pki_key_new(PKI_KEY_P256, &hands[i].key, NULL), WEFT_OK);
        hand_dial(&hands[i], tls);
    }
    while (hands_turn(hands, token, tls) < HANDS && wf_now_mono_ms() < end)
        uv_sleep(1);
    for (unsigned i = 0; i < HANDS; i++) {
        won += hands[i].answered && hands[i].line.code == WEFT_OK;
        used += hands[i].answered && hands[i].line.code == WEFT_EUSED;
        wf_buf_fini(&hands[i].line.result);
        pki_key_free(hands[i].key);
    }
    assert_int_equal(won, 1);
    assert_int_equal(used, HANDS - 1);
    pki_tls_ctx_unref(tls);
    free(hands);
}

static void killed_between_request_and_answer_a_retry_gets_the_same_certificate(void **state)
{
    struct hand hand = {.key = NULL};
    Weft__Wire__EnrollResult *first = NULL, *second = NULL;
    char token[WF_TOKEN_MAX], text[64];
    pki_tls_ctx *tls;

    (void)state;
    assert_int_equal(line_ask(&desk, "identity.create", "{\"name\":\"unlucky\"}"), WEFT_OK);
    line_text(&desk, "token", token, sizeof token);
    tls = nobody(token);
    assert_int_equal(pki_key_new(PKI_KEY_P256, &hand.key, NULL), WEFT_OK);

    /* Asks, and is gone before the answer. */
    hand_dial(&hand, tls);
    hall_wait(&hall, 10000, hand.line.secured);
    hand_ask(&hand, token);
    wf_link_flush(hand.line.link);
    wf_link_cut(hand.line.link, WEFT_ECANCELED, "killed");
    hall_wait(&hall, 10000, hand.line.closed);
    do {
        assert_int_equal(line_ask(&desk, "identity.show", "{\"name\":\"unlucky\"}"), WEFT_OK);
        line_text(&desk, "state", text, sizeof text);
    } while (strcmp(text, "pending") == 0);

    hand.answered = false;
    hand_dial(&hand, tls);
    hall_wait(&hall, 10000, hand.line.secured);
    hand_ask(&hand, token);
    hall_wait(&hall, 10000, hand.answered && hand.line.closed);
    assert_int_equal(hand.line.code, WEFT_OK);
    assert_int_equal(
        wf_enroll_result_decode(hand.line.result.data, hand.line.result.len, &first, NULL),
        WEFT_OK);

    /* The controller dies as well: what it issued it issued. */
    line_close(&desk);
    served_kill(&served);
    served_start(&served);
    line_open(&desk, &hall, &served.address, admin.tls, admin.trust);
    hand.answered = false;
    hand_dial(&hand, tls);
    hall_wait(&hall, 10000, hand.line.secured);
    hand_ask(&hand, token);
    hall_wait(&hall, 10000, hand.answered && hand.line.closed);
    assert_int_equal(hand.line.code, WEFT_OK);
    assert_int_equal(
        wf_enroll_result_decode(hand.line.result.data, hand.line.result.len, &second, NULL),
        WEFT_OK);
    assert_int_equal(first->chain[0].len, second->chain[0].len);
    assert_memory_equal(first->chain[0].data, second->chain[0].data, first->chain[0].len);
    wf_enroll_result_free(first);
    wf_enroll_result_free(second);
    wf_buf_fini(&hand.line.result);
    pki_key_free(hand.key);
    pki_tls_ctx_unref(tls);
}

/* ---- withdrawal */

static void disabling_cuts_the_link_and_everybody_hears_of_it(void **state)
{
    struct person victim, witness;
    struct line victim_line, witness_line, again;
    Weft__Wire__GrantsResult *grants;
    Weft__Wire__Signed *kept;
    uint64_t asked;

    (void)state;
    assert_int_equal(line_ask(&desk, "service.create", "{\"name\":\"db\"}"), WEFT_OK);
    assert_int_equal(
        line_ask(&desk, "allow", "{\"who\":\"#app\",\"type\":\"dial\",\"what\":\"@db\"}"), WEFT_OK);
    person_enroll(&victim, &served, &desk, "victim", "[\"#app\"]");
    person_enroll(&witness, &served, &desk, "witness", "[]");
    line_open(&victim_line, &hall, &served.address, victim.tls, victim.trust);
    line_open(&witness_line, &hall, &served.address, witness.tls, witness.trust);
    grants = grants_of(&victim_line);
    assert_int_equal(grants->n_grants, 1);
    kept = grants->grants[0];
    assert_int_equal(check_dial(&victim, kept), WEFT_OK);

    witness_line.floors = 0;
    asked = uv_hrtime();
    assert_int_equal(line_ask(&desk, "identity.disable", "{\"name\":\"victim\"}"), WEFT_OK);
    hall_wait(&hall, 5000, witness_line.floors > 0 && victim_line.closed);
    assert_true(witness_line.floors_at - asked < 1000000000ull);
    assert_true(pki_floors_is_cut(pki_trust_floors(witness.trust), PKI_IDENTITY,
                                  &victim.identity.id, NULL));
    assert_true(
        pki_floors_is_cut(pki_trust_floors(victim.trust), PKI_IDENTITY, &victim.identity.id, NULL));

    /* No way back in. */
    memset(&again, 0, sizeof again);
    line_dial(&again, &hall, &served.address, victim.tls, PKI_ALPN_LINK);
    hall_wait(&hall, 10000, again.closed);
    assert_false(again.up);
    wf_buf_fini(&again.result);

    /* Enabled: the certificate is good again, what was granted before is not. */
    assert_int_equal(line_ask(&desk, "identity.enable", "{\"name\":\"victim\"}"), WEFT_OK);
    line_close(&victim_line);
    line_open(&victim_line, &hall, &served.address, victim.tls, victim.trust);
    hall_wait(&hall, 5000,
              !pki_floors_is_cut(pki_trust_floors(victim.trust), PKI_IDENTITY, &victim.identity.id,
                                 NULL));
    assert_int_equal(check_dial(&victim, kept), WEFT_EREVOKED);
    wf_grants_result_free(grants);
    grants = grants_of(&victim_line);
    assert_int_equal(grants->n_grants, 1);
    assert_int_equal(check_dial(&victim, grants->grants[0]), WEFT_OK);
    wf_grants_result_free(grants);
    line_close(&victim_line);
    line_close(&witness_line);
    person_fini(&victim);
    person_fini(&witness);
}

static void allow_is_noticed_and_disallow_kills_exactly_that_grant(void **state)
{
    struct person p;
    struct line line;
    Weft__Wire__GrantsResult *grants;

    (void)state;
    assert_int_equal(line_ask(&desk, "service.create", "{\"name\":\"s1\"}"), WEFT_OK);
    assert_int_equal(line_ask(&desk, "service.create", "{\"name\":\"s2\"}"), WEFT_OK);
    person_enroll(&p, &served, &desk, "worker", "[\"#work\"]");
    line_open(&line, &hall, &served.address, p.tls, p.trust);
    assert_int_equal(
        line_ask(&desk, "allow", "{\"who\":\"#work\",\"type\":\"dial\",\"what\":\"@s1\"}"),
        WEFT_OK);
    assert_int_equal(
        line_ask(&desk, "allow", "{\"who\":\"@worker\",\"type\":\"dial\",\"what\":\"@s2\"}"),
        WEFT_OK);
    hall_wait(&hall, 5000, line.grants >= 2);
    grants = grants_of(&line);
    assert_int_equal(grants->n_grants, 2);
    line.floors = 0;
    assert_int_equal(
        line_ask(&desk, "disallow", "{\"who\":\"#work\",\"type\":\"dial\",\"what\":\"@s1\"}"),
        WEFT_OK);
    hall_wait(&hall, 5000, line.floors > 0);
    assert_int_equal(check_dial(&p, grants->grants[0]), WEFT_EREVOKED); /* s1: by name */
    assert_int_equal(check_dial(&p, grants->grants[1]), WEFT_OK);
    wf_grants_result_free(grants);
    line_close(&line);
    person_fini(&p);
}

static bool all_have(const struct line *lines, size_t count, unsigned notices, unsigned floors)
{
    for (size_t i = 0; i < count; i++)
        if (lines[i].grants < notices || lines[i].floors < floors)
            return false;
    return true;
}

/* More than a slice of notices: those who come in later turns hear it too, and nobody twice. */
static void a_change_that_concerns_a_crowd_reaches_each_of_it_once(void **state)
{
    enum { CROWD = NOTICES_PER_TURN + 24 };
    static struct line lines[CROWD];
    struct person p;

    (void)state;
    assert_int_equal(line_ask(&desk, "service.create", "{\"name\":\"square\"}"), WEFT_OK);
    person_enroll(&p, &served, &desk, "crowd", "[\"#crowd\"]");
    for (size_t i = 0; i < CROWD; i++)
        line_open(&lines[i], &hall, &served.address, p.tls, p.trust);
    wf_grants_result_free(grants_of(&lines[0]));
    assert_int_equal(
        line_ask(&desk, "allow", "{\"who\":\"#crowd\",\"type\":\"dial\",\"what\":\"@square\"}"),
        WEFT_OK);
    hall_wait(&hall, 5000, all_have(lines, CROWD, 1, 0));
    wf_grants_result_free(grants_of(&lines[0])); /* so that there is something to withdraw */
    for (size_t i = 0; i < CROWD; i++) {
        assert_int_equal(lines[i].grants, 1);
        lines[i].floors = 0;
    }
    assert_int_equal(
        line_ask(&desk, "disallow", "{\"who\":\"#crowd\",\"type\":\"dial\",\"what\":\"@square\"}"),
        WEFT_OK);
    hall_wait(&hall, 5000, all_have(lines, CROWD, 2, 1));
    for (size_t i = 0; i < CROWD; i++) {
        assert_int_equal(lines[i].grants, 2);
        line_close(&lines[i]);
    }
    person_fini(&p);
}

static void a_router_hears_of_new_members_and_of_floors(void **state)
{
    struct wf_enroll_config config = {.kind = PKI_ROUTER, .address_count = 1};
    wf_address where = {.host = "127.0.0.1", .port = 9339};
    Weft__Wire__EnrollResult *result = NULL;
    Weft__Wire__SyncResult *sync = NULL;
    char token[WF_TOKEN_MAX], out[160];
    struct person r, other;
    struct line line;

    (void)state;
    config.addresses = &where;
    config.out = out;
    config.token = token;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(line_ask(&desk, "router.create", "{\"name\":\"r%u\"}", i), WEFT_OK);
        line_text(&desk, "token", token, sizeof token);
        config.token_len = strlen(token);
        snprintf(out, sizeof out, "%s/r%u.json", served.folder.top, i);
        assert_int_equal(wf_enroll(&config, NULL, &result, NULL), WEFT_OK);
        assert_non_null(result->member);
        wf_enroll_result_free(result);
        if (i == 0) {
            person_load(&r, out);
            line_open(&line, &hall, &served.address, r.tls, r.trust);
        }
    }
    hall_wait(&hall, 5000, line.members > 0);
    assert_int_equal(line_call(&line, "sync", wf_span_of("", 0)), WEFT_OK);
    assert_int_equal(wf_sync_result_decode(line.result.data, line.result.len, &sync, NULL),
                     WEFT_OK);
    assert_int_equal(sync->n_members, 2);
    wf_sync_result_free(sync);
    assert_int_equal(line_ask(&desk, "router.show", "{\"name\":\"r0\"}"), WEFT_OK);
    assert_non_null(memmem(desk.result.data, desk.result.len, "\"online\":true", 13));

    person_enroll(&other, &served, &desk, "short-lived", "[]");
    line.floors = 0;
    assert_int_equal(line_ask(&desk, "identity.delete", "{\"name\":\"short-lived\"}"), WEFT_OK);
    hall_wait(&hall, 5000, line.floors > 0);
    assert_true(
        pki_floors_is_cut(pki_trust_floors(r.trust), PKI_IDENTITY, &other.identity.id, NULL));
    /* A router is no administrator and gets no grants. */
    assert_int_equal(line_call(&line, "grants", wf_span_of("", 0)), WEFT_EREFUSED);
    assert_int_equal(line_ask(&line, "identity.list", "{}"), WEFT_EREFUSED);
    line_close(&line);
    person_fini(&other);
    person_fini(&r);
}

/* ---- strangers */

static void an_enrollee_and_an_identity_reach_only_their_rows(void **state)
{
    struct person p;
    struct line line;
    char token[WF_TOKEN_MAX], unknown[WF_REASON_MAX + 1];
    pki_tls_ctx *tls;

    (void)state;
    person_enroll(&p, &served, &desk, "plain", "[]");
    line_open(&line, &hall, &served.address, p.tls, p.trust);
    assert_int_equal(line_ask(&line, "no.such.thing", "{}"), WEFT_EREFUSED);
    memcpy(unknown, line.reason, sizeof unknown);
    assert_int_equal(line_ask(&line, "identity.create", "{\"name\":\"mine\"}"), WEFT_EREFUSED);
    assert_string_equal(line.reason, unknown);
    assert_int_equal(line_ask(&line, "admin.add", "{\"identity\":\"plain\"}"), WEFT_EREFUSED);
    assert_int_equal(line_call(&line, "sync", wf_span_of("", 0)), WEFT_EREFUSED);
    line_close(&line);
    person_fini(&p);

    assert_int_equal(line_ask(&desk, "identity.create", "{\"name\":\"nobody\"}"), WEFT_OK);
    line_text(&desk, "token", token, sizeof token);
    tls = nobody(token);
    memset(&line, 0, sizeof line);
    line_dial(&line, &hall, &served.address, tls, PKI_ALPN_ENROLL);
    hall_wait(&hall, 10000, line.up);
    assert_int_equal(line_call(&line, "grants", wf_span_of("", 0)), WEFT_EREFUSED);
    assert_int_equal(line_ask(&line, "identity.list", "{}"), WEFT_EREFUSED);
    /* It has eight tries in all. */
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(line_ask(&line, "status", "{}"), WEFT_EREFUSED);
    assert_int_not_equal(line_ask(&line, "status", "{}"), WEFT_EREFUSED);
    hall_wait(&hall, 5000, line.closed);
    line_close(&line);
    pki_tls_ctx_unref(tls);
}

static void a_certificate_of_another_authority_is_refused(void **state)
{
    struct authority other;
    struct authority_node impostor;
    struct line line;
    pki_tls_ctx *tls;

    (void)state;
    authority_init(&other, "test.weft", wf_now_wall_ms());
    authority_issue(&other, PKI_IDENTITY, "admin", &impostor);
    impostor.id = admin.identity.id;
    authority_renew(&other, &impostor, other.now - 1000, other.now + 3600000);
    tls = authority_tls(&impostor, admin.trust);
    memset(&line, 0, sizeof line);
    line_dial(&line, &hall, &served.address, tls, PKI_ALPN_LINK);
    hall_wait(&hall, 15000, line.closed);
    assert_false(line.up);
    line_close(&line);
    pki_tls_ctx_unref(tls);
    authority_node_fini(&impostor);
    authority_fini(&other);
}

static void a_flood_of_calls_on_one_link_is_cut_and_others_are_served(void **state)
{
    struct person p;
    struct line line;

    (void)state;
    person_enroll(&p, &served, &desk, "flooder", "[]");
    line_open(&line, &hall, &served.address, p.tls, p.trust);
    for (unsigned i = 0; i < 20000 && line.link != NULL; i++) {
        Weft__Wire__Control control;
        Weft__Wire__Call call;
        char operation[] = "grants";

        weft__wire__control__init(&control);
        weft__wire__call__init(&call);
        control.of_case = WEFT__WIRE__CONTROL__OF_CALL;
        control.call = &call;
        call.id = i + 1000;
        call.operation = operation;
        if (wf_link_send_control(line.link, &control) != WEFT_OK)
            break;
    }
    assert_int_equal(line_ask(&desk, "status", "{}"), WEFT_OK);
    hall_wait(&hall, 10000, line.closed);
    line_close(&line);
    person_fini(&p);
}

/* Nothing that a peer says, so often as it likes, may cost more than it should. */
static void floors_are_told_once_to_a_link_that_asks_again_and_again(void **state)
{
    struct person p;
    struct line line;
    Weft__Wire__Control control;
    Weft__Wire__FloorsWanted wanted;
    unsigned before;

    (void)state;
    person_enroll(&p, &served, &desk, "asker", "[]");
    /* Somebody cut: there are floors. */
    assert_int_equal(line_ask(&desk, "identity.create", "{\"name\":\"cut\"}"), WEFT_OK);
    assert_int_equal(line_ask(&desk, "identity.disable", "{\"name\":\"cut\"}"), WEFT_OK);
    line_open(&line, &hall, &served.address, p.tls, p.trust);
    assert_int_equal(line_call(&line, "grants", wf_span_of("", 0)), WEFT_OK);
    before = line.floors;
    weft__wire__control__init(&control);
    weft__wire__floors_wanted__init(&wanted);
    control.of_case = WEFT__WIRE__CONTROL__OF_FLOORS_WANTED;
    control.floors_wanted = &wanted;
    for (int i = 0; i < 100; i++)
        assert_int_equal(wf_link_send_control(line.link, &control), WEFT_OK);
    assert_int_equal(line_call(&line, "grants", wf_span_of("", 0)), WEFT_OK);
    assert_in_range(line.floors, before + 1, before + 4); /* one answer, in some messages */
    line_close(&line);
    person_fini(&p);
}

static void who_asks_for_grants_without_end_is_told_to_wait(void **state)
{
    struct person p;
    struct line line, again;
    weft_err err = WEFT_OK;
    unsigned asked;

    (void)state;
    person_enroll(&p, &served, &desk, "greedy", "[]");
    line_open(&line, &hall, &served.address, p.tls, p.trust);
    for (asked = 0; asked < 4000 && err == WEFT_OK; asked++)
        err = line_call(&line, "grants", wf_span_of("", 0));
    assert_int_equal(err, WEFT_EBUSY);
    assert_true(asked > 1024);
    assert_non_null(strstr(line.reason, "too many requests: try again in 1 s"));
    /* Another link is no way around, and nobody else is concerned. */
    line_close(&line);
    line_open(&again, &hall, &served.address, p.tls, p.trust);
    for (asked = 0; asked < 100 && err == WEFT_OK; asked++)
        err = line_call(&again, "grants", wf_span_of("", 0));
    assert_int_equal(err, WEFT_EBUSY);
    assert_int_equal(line_call(&desk, "grants", wf_span_of("", 0)), WEFT_OK);
    line_close(&again);
    person_fini(&p);
}

/* The person's certificate again, of this time; nobody runs on the home. */
static void reissue(struct person *p, const struct served *s, uint64_t from, uint64_t until)
{
    struct home home;
    struct pki_leaf leaf = {.kind = PKI_IDENTITY,
                            .id = p->identity.id,
                            .name = p->identity.name,
                            .spki = pki_chain_spki(p->identity.chain)};
    pki_chain *chain = NULL;
    wf_why why = {""};

    if (home_open(s->folder.home, &home, &why) != WEFT_OK)
        fail_msg("%s", why.text);
    leaf.domain = home.domain;
    leaf.not_before = from;
    leaf.not_after = until;
    if (pki_ca_issue(home.identities, &leaf, &chain, &why) != WEFT_OK)
        fail_msg("%s", why.text);
    home_close(&home);
    pki_chain_free(p->identity.chain);
    p->identity.chain = chain;
    pki_trust_unref(p->trust);
    pki_tls_ctx_unref(p->tls);
    p->trust = NULL;
    p->tls = NULL;
    if (pki_identity_open(&p->identity, wf_now_wall_ms(), &p->trust, &p->tls, &why) != WEFT_OK)
        fail_msg("%s", why.text);
}

static void a_link_does_nothing_once_its_certificate_has_ended(void **state)
{
    struct person p;
    struct line line;
    uint64_t end;

    (void)state;
    person_enroll(&p, &served, &desk, "ending", "[]");
    line_close(&desk);
    served_stop(&served);
    reissue(&p, &served, wf_now_wall_ms() - 60000, wf_now_wall_ms() + 4000);
    end = wf_now_wall_ms() + 4000;
    served_start(&served);
    line_open(&desk, &hall, &served.address, admin.tls, admin.trust);
    line_open(&line, &hall, &served.address, p.tls, p.trust);
    assert_int_equal(line_call(&line, "grants", wf_span_of("", 0)), WEFT_OK);
    hall_wait(&hall, 6000, wf_now_wall_ms() > end + 1000);
    assert_false(line.closed); /* nobody looked since */
    assert_int_not_equal(line_call(&line, "grants", wf_span_of("", 0)), WEFT_OK);
    hall_wait(&hall, 5000, line.closed);
    line_close(&line);
    person_fini(&p);
}

static void an_expired_certificate_comes_in_to_renew_alone_and_not_beyond_its_grace(void **state)
{
    static const char *const others[] = {
        "grants", "retire", "holds", "sync", "status", "identity.list", "audit.consistency"};
    const uint64_t now = wf_now_wall_ms();
    struct person p, gone;
    struct wf_renew_config config = {.identity = &p.identity};
    struct line line;
    pki_chain *chain = NULL;
    wf_why why = {""};

    (void)state;
    person_enroll(&p, &served, &desk, "graced", "[]");
    person_enroll(&gone, &served, &desk, "gone", "[]");
    line_close(&desk);
    served_stop(&served);
    reissue(&p, &served, now - 40 * 86400000ull, now - WF_RENEW_GRACE_MS + 600000);
    reissue(&gone, &served, now - 40 * 86400000ull, now - WF_RENEW_GRACE_MS - 600000);
    served_start(&served);
    line_open(&desk, &hall, &served.address, admin.tls, admin.trust);

    memset(&line, 0, sizeof line);
    line_dial(&line, &hall, &served.address, p.tls, PKI_ALPN_LINK);
    hall_wait(&hall, 5000, line.up || line.closed);
    assert_true(line.closed && !line.up); /* it is no node's any more */
    line_close(&line);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        memset(&line, 0, sizeof line);
        line_dial(&line, &hall, &served.address, p.tls, PKI_ALPN_RENEW);
        hall_wait(&hall, 5000, line.up || line.closed);
        assert_true(line.up);
        assert_int_equal(line_call(&line, others[i], wf_span_of("", 0)), WEFT_EREFUSED);
        line_close(&line);
    }
    if (wf_renew(&config, &chain, NULL, &why) != WEFT_OK)
        fail_msg("%s", why.text);
    pki_chain_free(chain);
    chain = NULL;
    config.identity = &gone.identity;
    assert_int_not_equal(wf_renew(&config, &chain, NULL, &why), WEFT_OK);
    assert_null(chain);
    memset(&line, 0, sizeof line);
    line_dial(&line, &hall, &served.address, gone.tls, PKI_ALPN_RENEW);
    hall_wait(&hall, 5000, line.up || line.closed);
    assert_true(line.closed && !line.up);
    line_close(&line);
    person_fini(&p);
    person_fini(&gone);
}

static void a_certificate_is_renewed_over_the_wire(void **state)
{
    struct person p;
    struct wf_renew_config config = {.identity = &p.identity};
    pki_chain *chain = NULL;
    pki_pin before, after;
    wf_buf bundle;
    wf_why why = {""};

    (void)state;
    person_enroll(&p, &served, &desk, "renewer", "[]");
    wf_buf_init(&bundle, WF_BUNDLE_MAX);
    if (wf_renew(&config, &chain, &bundle, &why) != WEFT_OK)
        fail_msg("%s", why.text);
    pki_chain_pin(p.identity.chain, &before);
    pki_chain_pin(chain, &after);
    assert_true(pki_pin_equal(&before, &after));
    assert_false(wf_span_equal(pki_chain_der(chain, 0), pki_chain_der(p.identity.chain, 0)));
    wf_buf_fini(&bundle);
    pki_chain_free(chain);
    person_fini(&p);
}

static void a_session_is_listed_and_cut(void **state)
{
    Weft__Wire__SessionReport report;
    Weft__Wire__SessionRow row, *rows[] = {&row};
    char text[WF_ID_TEXT];
    wf_id session = wf_id_random(), service = wf_id_random();
    struct person p;
    struct line line;
    wf_buf encoded;

    (void)state;
    person_enroll(&p, &served, &desk, "talker", "[]");
    line_open(&line, &hall, &served.address, p.tls, p.trust);
    weft__wire__session_report__init(&report);
    weft__wire__session_row__init(&row);
    row.session = wf_pb_id(&session);
    row.service_id = wf_pb_id(&service);
    row.dialer = wf_pb_id(&p.identity.id);
    report.n_rows = 1;
    report.rows = rows;
    wf_buf_init(&encoded, WF_CONTROL_MAX);
    assert_int_equal(wf_message_put(&report.base, &encoded), WEFT_OK);
    assert_int_equal(line_call(&line, "sessions", wf_span_of(encoded.data, encoded.len)), WEFT_OK);
    assert_int_equal(line_ask(&desk, "session.list", "{}"), WEFT_OK);
    wf_id_text(&session, text);
    assert_non_null(memmem(desk.result.data, desk.result.len, text, strlen(text)));
    assert_non_null(memmem(desk.result.data, desk.result.len, "\"talker\"", 8));
    assert_int_equal(line_ask(&desk, "session.cut", "{\"id\":\"%s\"}", text), WEFT_OK);
    hall_wait(&hall, 5000, line.cuts > 0);
    line_close(&line);
    /* Who reported it has gone, and so has the report. */
    do
        assert_int_equal(line_ask(&desk, "session.list", "{}"), WEFT_OK);
    while (memmem(desk.result.data, desk.result.len, text, strlen(text)) != NULL);
    wf_buf_fini(&encoded);
    person_fini(&p);
}

/* ---- what was acknowledged stays */

static unsigned acknowledged;

static void on_created(void *arg, weft_err code, const char *reason, wf_span result)
{
    unsigned *at = arg;

    (void)reason;
    (void)result;
    /* Replies come in the order of the calls. */
    if (code == WEFT_OK)
        assert_int_equal(++acknowledged, ++*at);
}

/* Keeps some calls under way until the link ends or so many are acknowledged. */
static void create_many(const char *prefix, unsigned most)
{
    unsigned sent = 0, got = 0;

    acknowledged = 0;
    while (desk.link != NULL && acknowledged < most) {
        while (desk.link != NULL && sent < acknowledged + 20 && sent < most) {
            char json[64];

            snprintf(json, sizeof json, "{\"name\":\"%s%u\"}", prefix, ++sent);
            if (wf_link_call(desk.link, "service.create", wf_span_of(json, strlen(json)), 10000,
                             on_created, &got) != WEFT_OK)
                break;
        }
        uv_run(&hall.loop, UV_RUN_ONCE);
    }
}

static void all_are_there(const char *prefix)
{
    for (unsigned i = 1; i <= acknowledged; i++)
        assert_int_equal(line_ask(&desk, "service.show", "{\"name\":\"%s%u\"}", prefix, i),
                         WEFT_OK);
}

static void restart(void)
{
    line_close(&desk);
    served_start(&served);
    line_open(&desk, &hall, &served.address, admin.tls, admin.trust);
}

static void killed_under_load_it_keeps_what_it_acknowledged(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        char prefix[16];

        snprintf(prefix, sizeof prefix, "k%u-", round);
        create_many(prefix, 50 + 37 * round);
        /* More are under way: in the socket, in the turn, in the commit. */
        served_kill(&served);
        hall_wait(&hall, 5000, desk.closed);
        restart();
        all_are_there(prefix);
    }
}

static void a_full_disk_ends_the_program_and_loses_nothing_acknowledged(void **state)
{
    (void)state;
    served_stop(&served);
    hall_wait(&hall, 5000, desk.closed);
    served.file_limit = 700000;
    restart();
    create_many("full-", 20000);
    assert_in_range(acknowledged, 1, 19999);
    hall_wait(&hall, 5000, desk.closed);
    assert_int_equal(served_wait(&served), 1);
    served.file_limit = 0;
    restart();
    all_are_there("full-");
    assert_int_equal(line_ask(&desk, "service.create", "{\"name\":\"roomy\"}"), WEFT_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_share_lets_two_enroll_and_get_their_grants),
        cmocka_unit_test(a_thousand_parallel_redeems_of_one_token_make_one_certificate),
        cmocka_unit_test(killed_between_request_and_answer_a_retry_gets_the_same_certificate),
        cmocka_unit_test(disabling_cuts_the_link_and_everybody_hears_of_it),
        cmocka_unit_test(allow_is_noticed_and_disallow_kills_exactly_that_grant),
        cmocka_unit_test(a_change_that_concerns_a_crowd_reaches_each_of_it_once),
        cmocka_unit_test(a_router_hears_of_new_members_and_of_floors),
        cmocka_unit_test(an_enrollee_and_an_identity_reach_only_their_rows),
        cmocka_unit_test(a_certificate_of_another_authority_is_refused),
        cmocka_unit_test(a_flood_of_calls_on_one_link_is_cut_and_others_are_served),
        cmocka_unit_test(floors_are_told_once_to_a_link_that_asks_again_and_again),
        cmocka_unit_test(who_asks_for_grants_without_end_is_told_to_wait),
        cmocka_unit_test(a_link_does_nothing_once_its_certificate_has_ended),
        cmocka_unit_test(an_expired_certificate_comes_in_to_renew_alone_and_not_beyond_its_grace),
        cmocka_unit_test(a_certificate_is_renewed_over_the_wire),
        cmocka_unit_test(a_session_is_listed_and_cut),
        cmocka_unit_test(killed_under_load_it_keeps_what_it_acknowledged),
        cmocka_unit_test(a_full_disk_ends_the_program_and_loses_nothing_acknowledged),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
