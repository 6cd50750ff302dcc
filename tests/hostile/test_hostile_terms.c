/*
 * What a grant is bound to, held by a real router and two real endpoints on
 * one loop: hours, sources, limits of the session. With a router gone bad: what
 * the endpoints hold to by themselves, and that sources rest on the router.
 */
#include "sdk/endpoint.h"
#include "tests/hostile/mallory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE 60000ull
#define WEEK (10080ull * MINUTE)
#define MONDAY 1794787200000ull /* 2026-11-16 */

/* ---- the wall clock of everything in this program */

uint64_t __real_wf_now_wall_ms(void);
uint64_t __wrap_wf_now_wall_ms(void);
static int64_t ahead; /* ms */

uint64_t __wrap_wf_now_wall_ms(void)
{
    return __real_wf_now_wall_ms() + (uint64_t)ahead;
}

static void set_clock(uint64_t now)
{
    ahead = (int64_t)now - (int64_t)__real_wf_now_wall_ms();
}

static struct stage stage;

static void start(const struct pki_terms *dialer, const struct pki_terms *host)
{
    stage_open_bound(&stage, dialer, host, "127.0.0.1");
}

static void start_bound(const struct pki_terms *dialer, const struct pki_terms *host)
{
    start(dialer, host);
    stage_wait(&stage, 5000, stage.bound == 2);
    assert_int_equal(stage.bound, 2);
}

static int stop(void **state)
{
    (void)state;
    stage_close(&stage);
    ahead = 0;
    return 0;
}

/* ---- many sessions at once, that say nothing by themselves */

struct call {
    weft_stream *stream;
    bool opened, closed, is_host;
    weft_err err;
    char why[WEFT_WHY_MAX];
    size_t heard;
};

static struct call calls[8], taken[8];
static size_t taken_count;

static void on_opened(weft_stream *stream, void *arg, const struct weft_peer *peer)
{
    struct call *call = arg;
    (void)peer;
    call->stream = stream;
    call->opened = true;
}

static size_t on_data(weft_stream *stream, void *arg, const uint8_t *data, size_t len)
{
    (void)stream, (void)data;
    ((struct call *)arg)->heard += len;
    return len;
}

static void on_closed(weft_stream *stream, void *arg, weft_err err, const char *why)
{
    struct call *call = arg;
    (void)stream;
    call->stream = NULL;
    call->closed = true;
    call->err = err;
    snprintf(call->why, sizeof call->why, "%s", why);
}

static void on_finished(void *arg)
{
    *(bool *)arg = true;
}

static const struct weft_stream_handler handler = {
    .opened = on_opened, .data = on_data, .closed = on_closed};

static weft_listener *listener;
static unsigned bound;
static char bound_why[WEFT_WHY_MAX];

static void on_bound(weft_listener *l, void *arg, unsigned routers, const char *why)
{
    (void)l, (void)arg;
    bound = routers;
    snprintf(bound_why, sizeof bound_why, "%s", why != NULL ? why : "");
}

static void on_incoming(weft_listener *l, void *arg, weft_stream *stream,
                        const struct weft_peer *peer)
{
    (void)l, (void)arg, (void)peer;
    struct call *call = &taken[taken_count++ % 8];
    *call = (struct call){.is_host = true};
    if (weft_stream_accept(stream, &handler, call) == WEFT_OK)
        call->stream = stream;
}

static void on_listener_closed(weft_listener *l, void *arg, weft_err err, const char *why)
{
    (void)l, (void)arg, (void)err, (void)why;
    listener = NULL;
}

static const struct weft_listener_handler hosting = {on_bound, on_incoming, on_listener_closed};

/* Takes "web" over from the stage's own listener, which says more than we want. */
static void host_calls(bool waits)
{
    weft_listener_close(stage.listeners[0]);
    stage_wait(&stage, 5000, stage.listeners[0] == NULL);
    taken_count = 0;
    bound = 0;
    bound_why[0] = '\0';
    memset(taken, 0, sizeof taken);
    memset(calls, 0, sizeof calls);
    assert_int_equal(weft_listen(stage.host.endpoint, "web", &hosting, NULL, &listener, NULL),
                     WEFT_OK);
    if (waits) {
        stage_wait(&stage, 5000, bound == 1);
        assert_int_equal(bound, 1);
    }
}

static struct call *dial_by(weft_endpoint *by, size_t i)
{
    calls[i] = (struct call){.opened = false};
    assert_int_equal(weft_dial(by, "web", NULL, &handler, &calls[i], &calls[i].stream, NULL),
                     WEFT_OK);
    stage_wait(&stage, 5000, calls[i].opened || calls[i].closed);
    return &calls[i];
}

static struct call *dial(size_t i)
{
    return dial_by(stage.dialer.endpoint, i);
}

static void assert_ends(struct call *call, weft_err err, const char *words, unsigned ms)
{
    stage_wait(&stage, ms, call->closed);
    if (!call->closed)
        fail_msg("it goes on");
    if (call->err != err || strstr(call->why, words) == NULL)
        fail_msg("%s: %s", weft_err_name(call->err), call->why);
    assert_null(strchr(call->why, '\n'));
}

static struct pki_terms hours(uint16_t from, uint16_t to)
{
    return (struct pki_terms){.window_count = 1, .windows = {{from, to}}};
}

/* ---- hours */

static void a_session_ends_with_the_hours_of_either_grant(void **state)
{
    (void)state;
    for (int whose = 0; whose < 2; whose++) {
        struct pki_terms t = hours(480, 1080);
        set_clock(MONDAY + 1080 * MINUTE - 1200);
        start_bound(whose == 0 ? &t : NULL, whose == 1 ? &t : NULL);
        host_calls(true);
        struct call *call = dial(0);
        assert_true(call->opened);
        uint64_t begun = wf_now_mono_ms();
        /* Whether the router, the host or we ourselves are the first to look. */
        assert_ends(call, WEFT_EREFUSED, "outside of its hours: open Mon 08:00-18:00 UTC", 4000);
        assert_true(wf_now_mono_ms() - begun < 2500);
        assert_ends(&taken[0], WEFT_EREFUSED, "outside of its hours", 1000);
        if (whose == 0)
            stop(NULL);
        else
            stage_wait(&stage, 2000, bound == 0);
    }
    assert_int_equal(bound, 0); /* the host knows that it rests */
    struct call *again = dial(1);
    assert_true(again->closed);
    assert_int_equal(again->err, WEFT_ENOHOST);
}

static void the_endpoints_end_it_though_the_router_goes_on(void **state)
{
    (void)state;
    struct pki_terms t = hours(480, 1080);
    set_clock(MONDAY + 1080 * MINUTE - 1200);
    start_bound(&t, NULL);
    memset(&bad, 0, sizeof bad);
    bad.believes = true; /* its SETUP knows no hours, so it closes nothing */
    host_calls(true);
    struct call *call = dial(0);
    assert_true(call->opened);
    assert_ends(&taken[0], WEFT_EREFUSED, "outside of its hours", 4000);
    assert_ends(call, WEFT_EREFUSED, "outside of its hours", 1000);
}

static void a_dialer_outside_of_its_hours_asks_nobody(void **state)
{
    (void)state;
    struct pki_terms t = hours(480, 1080);
    set_clock(MONDAY + 1152 * MINUTE);
    start_bound(&t, NULL);
    host_calls(true);
    struct call *call = dial(0);
    assert_ends(call, WEFT_EREFUSED,
                "dialer may not dial web now: outside of its hours: open Mon 08:00-18:00 UTC, and "
                "it is Mon 19:12",
                1000);
    assert_int_equal(taken_count, 0);
}

/* Mallory's own library would not dial either; she says the items herself. */
static struct mallory mallory;

static void mallory_shows(const struct pki_terms *terms)
{
    Weft__Wire__Signed *grant = authority_grant_bound(&stage.a, &stage.mallory, &stage.web, "web",
                                                      WEFT__WIRE__ROLE__ROLE_DIAL, terms);
    memset(&mallory, 0, sizeof mallory);
    mallory.pretence.hello.grant = grant;
    mallory_open(&mallory, &stage);
    mallory_dial(&mallory, grant);
    wf_signed_free(grant);
}

static void a_host_refuses_outside_of_the_hours_whatever_the_router_lets_through(void **state)
{
    (void)state;
    struct pki_terms closed = hours(480, 1080), open = hours(1140, 1200);
    set_clock(MONDAY + 1152 * MINUTE);
    start_bound(NULL, NULL);
    memset(&bad, 0, sizeof bad);
    bad.believes = true;
    mallory_shows(&open);
    assert_int_equal(mallory.opened, 1);
    assert_int_equal(stage.incoming, 1);
    mallory_close(&mallory);
    mallory_shows(&closed);
    assert_true(mallory.setup_replies > 0);
    assert_int_equal(mallory.opened, 0);
    assert_int_equal(mallory.err, WEFT_EREFUSED);
    assert_int_equal(stage.incoming, 1);
    mallory_close(&mallory);
    memset(&bad, 0, sizeof bad); /* an honest router: it comes no further than that */
    mallory_shows(&closed);
    assert_int_equal(mallory.setup_code, WEFT_EREFUSED);
    mallory_close(&mallory);
}

static void a_host_rests_outside_of_its_hours_and_comes_back(void **state)
{
    (void)state;
    struct pki_terms t = hours(480, 1080);
    set_clock(MONDAY + 300 * MINUTE);
    start(NULL, &t);
    host_calls(false);
    stage_wait(&stage, 3000, bound_why[0] != '\0');
    assert_int_equal(bound, 0);
    assert_non_null(strstr(bound_why, "host may not bind web now: outside of its hours"));
    set_clock(MONDAY + 479 * MINUTE); /* within the tolerance */
    wf_house_look(stage.host.endpoint);
    stage_wait(&stage, 5000, bound == 1);
    assert_int_equal(bound, 1);
    assert_true(dial(0)->opened);
}

/* ---- sources */

static void a_router_admits_only_the_addresses_that_a_grant_is_for(void **state)
{
    (void)state;
    static const struct {
        const char *listen, *prefix;
        bool fine;
    } rows[] = {
        {"127.0.0.1", "127.0.0.0/8", true}, {"127.0.0.1", "10.0.0.0/8", false},
        {"127.0.0.1", "::/0", false},       {"::1", "::1/128", true},
        {"::1", "0.0.0.0/0", false},        {"::1", "2001:db8::/32", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pki_terms t = {.source_count = 1};
        assert_int_equal(pki_prefix_parse(rows[i].prefix, &t.sources[0], NULL), WEFT_OK);
        stage_open_bound(&stage, &t, NULL, rows[i].listen);
        stage_wait(&stage, 5000, stage.bound == 2);
        assert_int_equal(stage.bound, 2);
        host_calls(true);
        struct call *call = dial(0);
        if (rows[i].fine)
            assert_true(call->opened);
        else
            assert_ends(call, WEFT_EREFUSED, "and the grant is for", 1000);
        assert_int_equal(taken_count, rows[i].fine);
        if (i + 1 < sizeof rows / sizeof rows[0])
            stop(NULL);
    }
}

static void a_router_lets_a_host_bind_only_from_its_addresses(void **state)
{
    (void)state;
    struct pki_terms t = {.source_count = 1};
    assert_int_equal(pki_prefix_parse("10.0.0.0/8", &t.sources[0], NULL), WEFT_OK);
    start(NULL, &t);
    host_calls(false);
    stage_wait(&stage, 3000, strstr(bound_why, "10.0.0.0/8") != NULL);
    assert_int_equal(bound, 0);
    assert_non_null(strstr(bound_why, "it comes from 127.0.0.1:"));
}

/* What the endpoints can't know: docs/security.md says so. */
static void sources_rest_on_the_dialers_router_alone(void **state)
{
    (void)state;
    struct pki_terms t = {.source_count = 1};
    assert_int_equal(pki_prefix_parse("10.0.0.0/8", &t.sources[0], NULL), WEFT_OK);
    start_bound(&t, NULL);
    host_calls(true);
    assert_int_equal(dial(0)->err, WEFT_EREFUSED);
    memset(&bad, 0, sizeof bad);
    bad.believes = true;
    assert_true(dial(1)->opened);
}

/* ---- limits of a session */

static void an_idle_session_is_reset_with_a_timeout_on_both_sides(void **state)
{
    (void)state;
    struct pki_terms loose = {.idle_ms = 60000}, tight = {.idle_ms = 500};
    for (int whose = 0; whose < 2; whose++) {
        start_bound(whose == 0 ? &tight : &loose, whose == 0 ? &loose : &tight);
        host_calls(true);
        struct call *call = dial(0);
        assert_true(call->opened);
        for (int i = 0; i < 3; i++) { /* each byte gives it another while, whoever sends it */
            size_t n = 0;
            stage_wait(&stage, 300, false);
            assert_false(call->closed);
            weft_stream *from = i % 2 == 0 ? call->stream : taken[0].stream;
            assert_int_equal(weft_stream_write(from, "x", 1, &n), WEFT_OK);
            assert_int_equal(n, 1);
        }
        uint64_t begun = wf_now_mono_ms();
        assert_ends(call, WEFT_ETIMEDOUT, "the session was idle for 0.500 s", 2000);
        uint64_t took = wf_now_mono_ms() - begun;
        assert_true(took >= 400 && took < 1300);
        assert_ends(&taken[0], WEFT_ETIMEDOUT, "the session was idle for 0.500 s", 1000);
        assert_int_equal(call->heard + taken[0].heard, 3);
        if (whose == 0)
            stop(NULL);
    }
}

static void a_session_that_is_old_enough_is_reset_by_policy(void **state)
{
    (void)state;
    struct pki_terms loose = {.age_ms = 60000, .idle_ms = 60000}, tight = {.age_ms = 800};
    for (int whose = 0; whose < 2; whose++) {
        start_bound(whose == 0 ? &tight : &loose, whose == 0 ? &loose : &tight);
        host_calls(true);
        struct call *call = dial(0);
        uint64_t begun = wf_now_mono_ms();
        assert_true(call->opened);
        for (int i = 0; i < 6 && !call->closed; i++) { /* bytes don't help */
            size_t n = 0;
            stage_wait(&stage, 100, call->closed);
            if (call->stream != NULL)
                (void)weft_stream_write(call->stream, "x", 1, &n);
        }
        assert_ends(call, WEFT_EREFUSED, "the session has its greatest age: 0.800 s", 2000);
        uint64_t took = wf_now_mono_ms() - begun;
        assert_true(took >= 700 && took < 1600);
        assert_ends(&taken[0], WEFT_EREFUSED, "the session has its greatest age: 0.800 s", 1000);
        if (whose == 0)
            stop(NULL);
    }
}

/* Mallory looks at nothing by herself; her grant says less than the host's. */
static void a_host_holds_a_dialer_to_its_limits_that_holds_to_none(void **state)
{
    (void)state;
    struct pki_terms loose = {.age_ms = 60000, .idle_ms = 60000};
    static const struct pki_terms tight[] = {{.age_ms = 500}, {.idle_ms = 500}};
    static const weft_err ends[] = {WEFT_EREFUSED, WEFT_ETIMEDOUT};
    start_bound(NULL, &loose);
    for (size_t i = 0; i < 2; i++) {
        memset(&bad, 0, sizeof bad);
        mallory_shows(&tight[i]);
        assert_int_equal(mallory.opened, 1);
        stage_wait(&stage, 2000, mallory.over > 0);
        assert_int_equal(mallory.over, 1);
        assert_int_equal(mallory.err, ends[i]);
        mallory_close(&mallory);
        stage_wait(&stage, 2000, stage.host.stream == NULL);
    }
}

static void a_session_without_limits_stays(void **state)
{
    (void)state;
    start_bound(NULL, NULL);
    host_calls(true);
    struct call *call = dial(0);
    assert_true(call->opened);
    stage_wait(&stage, 600, false); /* what it opened with is kept by now */
    uint64_t due = stage.dialer.endpoint->house_due;
    stage_wait(&stage, 700, false);
    assert_false(call->closed);
    assert_true(stage.dialer.endpoint->house_due == due); /* nobody woke for it */
}

static void a_host_takes_as_many_sessions_as_policy_allows(void **state)
{
    (void)state;
    struct pki_terms host = {.sessions = 2};
    start_bound(NULL, &host);
    host_calls(true);
    assert_true(dial(0)->opened);
    assert_true(dial(1)->opened);
    assert_ends(dial(2), WEFT_EBUSY, "web has 2 sessions here, as many as policy allows", 1000);
    assert_int_equal(taken_count, 2);
    weft_stream_close(calls[0].stream);
    stage_wait(&stage, 2000, calls[0].closed && taken[0].closed);
    assert_true(dial(3)->opened);
}

static void one_identity_has_as_many_sessions_as_policy_allows_it(void **state)
{
    (void)state;
    struct pki_terms dialer = {.sessions_per_identity = 1, .sessions = 3};
    bool finished = false;
    start_bound(&dialer, NULL);
    host_calls(true);
    weft_endpoint *other = stage_endpoint(&stage, &stage.mallory, WEFT__WIRE__ROLE__ROLE_DIAL);
    assert_true(dial(0)->opened);
    assert_ends(dial(1), WEFT_EBUSY,
                "dialer has 1 sessions of web here, as many as policy allows one identity", 1000);
    assert_true(dial_by(other, 2)->opened); /* another one has its own */
    weft_stream_close(calls[0].stream);
    stage_wait(&stage, 2000, calls[0].closed && taken[0].closed);
    assert_true(dial(3)->opened);
    weft_stream_close(calls[2].stream);
    stage_wait(&stage, 2000, calls[2].closed);
    weft_endpoint_close(other, on_finished, &finished);
    stage_wait(&stage, 5000, finished);
    assert_true(finished);
}

/* ---- floors that come with a HELLO */

static void a_hello_carries_as_many_floors_as_it_has_room_for(void **state)
{
    (void)state;
    static Weft__Wire__Floor floors[230];
    static wf_id who[230];
    Weft__Wire__Floor *list[230];
    bool changed = false;
    start_bound(NULL, NULL);
    host_calls(true);
    for (size_t i = 0; i < 230; i++) {
        weft__wire__floor__init(&floors[i]);
        who[i] = wf_id_random();
        floors[i].identity = wf_pb_id(&who[i]);
        floors[i].service = wf_pb_id(&stage.web);
        floors[i].role = WEFT__WIRE__ROLE__ROLE_DIAL;
        floors[i].epoch = stage.a.now;
        floors[i].expires = stage.a.now + 86400000;
        list[i] = &floors[i];
    }
    Weft__Wire__Signed *set = authority_floors(&stage.a, 1, NULL, list, 230);
    assert_true(set->body.len > 12000);
    /* As from the host's own controller: the router hears nothing of it. */
    assert_int_equal(
        wf_grants_add_floors(&stage.host.endpoint->grants, set, stage.a.now, &changed, NULL),
        WEFT_OK);
    assert_true(changed);
    assert_true(dial(0)->opened);
    assert_int_equal(pki_floors_version(pki_trust_floors(stage.dialer.endpoint->trust)), 1);
    wf_signed_free(set);
}

int main(void)
{
#define HELD(test) cmocka_unit_test_teardown(test, stop)
    const struct CMUnitTest tests[] = {
        HELD(a_session_ends_with_the_hours_of_either_grant),
        HELD(the_endpoints_end_it_though_the_router_goes_on),
        HELD(a_dialer_outside_of_its_hours_asks_nobody),
        HELD(a_host_refuses_outside_of_the_hours_whatever_the_router_lets_through),
        HELD(a_host_rests_outside_of_its_hours_and_comes_back),
        HELD(a_router_admits_only_the_addresses_that_a_grant_is_for),
        HELD(a_router_lets_a_host_bind_only_from_its_addresses),
        HELD(sources_rest_on_the_dialers_router_alone),
        HELD(a_hello_carries_as_many_floors_as_it_has_room_for),
        HELD(an_idle_session_is_reset_with_a_timeout_on_both_sides),
        HELD(a_session_that_is_old_enough_is_reset_by_policy),
        HELD(a_host_holds_a_dialer_to_its_limits_that_holds_to_none),
        HELD(a_session_without_limits_stays),
        HELD(a_host_takes_as_many_sessions_as_policy_allows),
        HELD(one_identity_has_as_many_sessions_as_policy_allows_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
