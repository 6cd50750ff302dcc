/*
 * measure_controller: what one controller does in a second, and how large it
 * is. No test: prints figures as JSON lines. Clients and controller share the machine.
 */
#include "controller/store.h"
#include "proto/base/clock.h"
#include "served.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENROLLMENTS 2000
#define AT_ONCE 64
#define LINES 16
#define GRANT_CALLS 20000

static struct served served;
static struct hall hall;
static struct person admin;
static struct line desk;

static void say(const char *what, double value)
{
    printf("{\"%s\": %.1f}\n", what, value);
    fflush(stdout);
}

static double resident_mb(pid_t pid)
{
    char path[64], line[256];
    double kb = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "VmRSS: %lf", &kb) == 1)
            break;
    if (f != NULL)
        fclose(f);
    return kb / 1024;
}

/* Processor seconds of a process so far. */
static double busy_s(pid_t pid)
{
    char path[64], text[1024], *at;
    unsigned long user = 0, system = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    f = fopen(path, "r");
    if (f == NULL)
        return 0;
    at = fgets(text, sizeof text, f) != NULL ? strrchr(text, ')') : NULL;
    if (at != NULL)
        (void)sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                     &system);
    fclose(f);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* ---- enrollment: keys and requests are made before the clock runs */

struct hand {
    struct line line;
    char *token; /* owned */
    pki_key *key;
    pki_tls_ctx *tls;
    wf_buf csr;
    bool dialed, asked, done;
};

static void on_enrolled(void *arg, weft_err code, const char *reason, wf_span result)
{
    struct hand *hand = arg;

    (void)result;
    if (code != WEFT_OK)
        fail_msg("%s", reason);
    hand->done = true;
    wf_link_close(hand->line.link);
}

static void ask(struct hand *hand)
{
    Weft__Wire__EnrollCall call;
    uint8_t channel[32];
    wf_buf proof, encoded;

    wf_buf_init(&proof, 1024);
    wf_buf_init(&encoded, WF_CONTROL_MAX);
    wf_link_export(hand->line.link, "EXPORTER-weft-enroll", channel);
    pki_proof_make(hand->key, PKI_LABEL_ENROLL, wf_span_of(hand->token, strlen(hand->token)),
                   channel, &proof);
    weft__wire__enroll_call__init(&call);
    call.token = hand->token;
    call.csr = wf_pb_bytes(hand->csr.data, hand->csr.len);
    call.proof = wf_pb_bytes(proof.data, proof.len);
    wf_message_put(&call.base, &encoded);
    wf_link_call(hand->line.link, "enroll", wf_span_of(encoded.data, encoded.len), 60000,
                 on_enrolled, hand);
    hand->asked = true;
    wf_buf_fini(&proof);
    wf_buf_fini(&encoded);
}

static void prepare(struct hand *hand, unsigned i)
{
    struct pki_tls_identity nobody = {.key = NULL};
    struct pki_token read;
    char token[WF_TOKEN_MAX];

    assert_int_equal(line_ask(&desk, "identity.create", "{\"name\":\"e%u\"}", i), WEFT_OK);
    line_text(&desk, "token", token, sizeof token);
    hand->token = strdup(token);
    pki_token_read(token, strlen(token), &read, NULL);
    nobody.server_pins = read.server_pins;
    nobody.server_pin_count = read.server_pin_count;
    pki_tls_ctx_new(&nobody, &hand->tls, NULL);
    pki_key_new(PKI_KEY_P256, &hand->key, NULL);
    wf_buf_init(&hand->csr, WF_CSR_MAX);
    pki_csr_make(hand->key, &hand->csr, NULL);
}

static void measure_enrollments(void)
{
    struct hand *hands = calloc(ENROLLMENTS, sizeof *hands);
    unsigned next = 0, done = 0, first = 0;
    double busy, own;
    uint64_t start;

    for (unsigned i = 0; i < ENROLLMENTS; i++)
        prepare(&hands[i], i);
    busy = busy_s(served.pid);
    own = busy_s(getpid());
    start = uv_hrtime();
    while (done < ENROLLMENTS) {
        unsigned live = 0;

        while (first < next && hands[first].done && hands[first].line.closed)
            first++;
        done = 0;
        for (unsigned i = first; i < next; i++) {
            done += hands[i].done && hands[i].line.closed;
            live += !(hands[i].done && hands[i].line.closed);
            if (hands[i].line.closed && !hands[i].done)
                fail_msg("%s", hands[i].line.why.text);
            if (hands[i].line.secured && !hands[i].asked)
                ask(&hands[i]);
        }
        done += first;
        for (; live < AT_ONCE && next < ENROLLMENTS; live++, next++)
            line_dial(&hands[next].line, &hall, &served.address, hands[next].tls, PKI_ALPN_ENROLL);
        uv_run(&hall.loop, UV_RUN_NOWAIT);
    }
    say("enrollments_per_s", ENROLLMENTS / ((double)(uv_hrtime() - start) / 1e9));
    say("enrollment_us_of_the_controllers_processor",
        (busy_s(served.pid) - busy) * 1e6 / ENROLLMENTS);
    say("enrollment_us_of_the_clients_processor", (busy_s(getpid()) - own) * 1e6 / ENROLLMENTS);
    for (unsigned i = 0; i < ENROLLMENTS; i++) {
        wf_buf_fini(&hands[i].line.result);
        wf_buf_fini(&hands[i].csr);
        pki_tls_ctx_unref(hands[i].tls);
        pki_key_free(hands[i].key);
        free(hands[i].token);
    }
    free(hands);
}

/* ---- grants: one each call, LINES links, 32 calls under way on each */

static unsigned granted, asked_for;
static uint64_t slowest;

struct asking {
    struct line *line;
    uint64_t since;
};

static void on_granted(void *arg, weft_err code, const char *reason, wf_span result);

static void ask_grants(struct asking *a)
{
    if (asked_for >= GRANT_CALLS)
        return;
    asked_for++;
    a->since = uv_hrtime();
    assert_int_equal(wf_link_call(a->line->link, "grants", wf_span_of("", 0), 30000, on_granted, a),
                     WEFT_OK);
}

static void on_granted(void *arg, weft_err code, const char *reason, wf_span result)
{
    struct asking *a = arg;

    if (code != WEFT_OK || result.len < 100)
        fail_msg("%s", reason);
    granted++;
    if (uv_hrtime() - a->since > slowest)
        slowest = uv_hrtime() - a->since;
    ask_grants(a);
}

static void measure_grants(void)
{
    static struct asking asking[LINES][32];
    struct person people[LINES];
    struct line lines[LINES];
    uint64_t start;

    assert_int_equal(line_ask(&desk, "service.create", "{\"name\":\"web\"}"), WEFT_OK);
    assert_int_equal(
        line_ask(&desk, "allow", "{\"who\":\"#g\",\"type\":\"dial\",\"what\":\"@web\"}"), WEFT_OK);
    for (unsigned i = 0; i < LINES; i++) {
        char name[16];

        snprintf(name, sizeof name, "g%u", i);
        person_enroll(&people[i], &served, &desk, name, "[\"#g\"]");
        line_open(&lines[i], &hall, &served.address, people[i].tls, people[i].trust);
    }
    start = uv_hrtime();
    for (unsigned i = 0; i < LINES; i++)
        for (unsigned k = 0; k < 32; k++) {
            asking[i][k].line = &lines[i];
            ask_grants(&asking[i][k]);
        }
    while (granted < GRANT_CALLS)
        uv_run(&hall.loop, UV_RUN_ONCE);
    say("grants_per_s", GRANT_CALLS / ((double)(uv_hrtime() - start) / 1e9));
    say("grants_slowest_ms", (double)slowest / 1e6);

    /* One at a time: what a single dialer waits. */
    start = uv_hrtime();
    for (unsigned i = 0; i < 200; i++)
        assert_int_equal(line_call(&lines[0], "grants", wf_span_of("", 0)), WEFT_OK);
    say("grants_one_at_a_time_per_s", 200 / ((double)(uv_hrtime() - start) / 1e9));
    for (unsigned i = 0; i < LINES; i++) {
        line_close(&lines[i]);
        person_fini(&people[i]);
    }
}

/* ---- revocation: from the administrator's word to the floor at another node */

static void measure_revocation(void)
{
    double worst = 0, sum = 0;
    struct person witness;
    struct line line;

    person_enroll(&witness, &served, &desk, "witness", "[]");
    line_open(&line, &hall, &served.address, witness.tls, witness.trust);
    for (unsigned i = 0; i < 200; i++) {
        uint64_t start = uv_hrtime();
        double ms;

        line.floors = 0;
        assert_int_equal(line_ask(&desk, i % 2 == 0 ? "identity.disable" : "identity.enable",
                                  "{\"name\":\"e%u\"}", i / 2),
                         WEFT_OK);
        hall_wait(&hall, 5000, line.floors > 0);
        ms = (double)(line.floors_at - start) / 1e6;
        sum += ms;
        if (ms > worst)
            worst = ms;
    }
    say("floor_reaches_a_node_ms_mean", sum / 200);
    say("floor_reaches_a_node_ms_worst", worst);
    line_close(&line);
    person_fini(&witness);
}

/* ---- the store alone */

static void measure_commits(void)
{
    char path[160];
    uint64_t start;
    unsigned n = 0;
    store *s = NULL;

    snprintf(path, sizeof path, "%s/measure.db", served.folder.top);
    assert_int_equal(store_create(path, NULL), WEFT_OK);
    assert_int_equal(store_open(path, &s, NULL), WEFT_OK);
    start = uv_hrtime();
    for (; uv_hrtime() - start < 3000000000ull; n++) {
        struct store_node node = {
            .id = wf_id_random(), .kind = PKI_IDENTITY, .enroll = PKI_ENROLL_OTT, .created = 1};

        snprintf(node.name, sizeof node.name, "n%u", n);
        assert_int_equal(store_begin(s), WEFT_OK);
        assert_int_equal(store_node_add(s, &node), WEFT_OK);
        assert_int_equal(store_commit(s), WEFT_OK);
    }
    say("commits_per_s", n / ((double)(uv_hrtime() - start) / 1e9));
    store_close(s);
}

static void measure(void **state)
{
    (void)state;
    served_init(&served);
    served_start(&served);
    hall_open(&hall);
    person_load(&admin, served.folder.admin);
    line_open(&desk, &hall, &served.address, admin.tls, admin.trust);
    say("rss_mb_empty", resident_mb(served.pid));
    measure_commits();
    measure_enrollments();
    measure_grants();
    measure_revocation();
    say("rss_mb_after", resident_mb(served.pid));
    line_close(&desk);
    person_fini(&admin);
    hall_close(&hall);
    served_fini(&served);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(measure)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
