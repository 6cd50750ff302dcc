/*
 * A hostile router between two honest ends, in memory: it flips each byte of
 * every flight and record, replays, reorders, drops and cuts. Whatever it does,
 * the end that it fooled gets an error, and no byte after the tampered one.
 */
#include "tests/helpers/test.h"
#include "tests/sdk/talk.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each byte in turn with WEFT_FULL; else a sample that moves with this. */
#define STRIDE 5u

static struct talk world, *const t = &world;

static const char question[] = "the question, in one record";
static const char more[] = "and some more of it in the next";
static const char answer[] = "the answer";

/* ---- the script: what two honest ends say to each other */

static void say(int side, const char *text)
{
    size_t taken = 0;
    if (t->end[side].over == 0 && wf_session_state(t->end[side].session) == WF_SESSION_OPEN)
        (void)wf_session_write(t->end[side].session, (const uint8_t *)text, strlen(text), &taken);
}

static void play(void)
{
    wf_why why = {""};
    talk_open(t);
    assert_int_equal(wf_session_start(t->end[DIALER].session, &why), WEFT_OK);
    talk_settle(t);
    if (t->end[HOST].verified > 0 && t->end[HOST].over == 0)
        (void)wf_session_accept(t->end[HOST].session);
    talk_settle(t);
    say(DIALER, question);
    talk_settle(t);
    say(DIALER, more);
    say(HOST, answer);
    talk_settle(t);
    for (int side = 0; side < 2; side++)
        if (wf_session_state(t->end[side].session) == WF_SESSION_OPEN)
            (void)wf_session_end(t->end[side].session);
    talk_settle(t);
    talk_settle(t);
}

static void assert_prefix(int side, const char *one, const char *two)
{
    char all[256];
    snprintf(all, sizeof all, "%s%s", one, two);
    const struct end *end = &t->end[side];
    assert_true(end->heard.len <= strlen(all));
    if (end->heard.len > 0)
        assert_memory_equal(end->heard.data, all, end->heard.len);
}

static bool is_complete(void)
{
    return t->end[DIALER].over == 1 && t->end[DIALER].err == WEFT_OK && t->end[HOST].over == 1 &&
           t->end[HOST].err == WEFT_OK &&
           t->end[HOST].heard.len == strlen(question) + strlen(more) &&
           t->end[DIALER].heard.len == strlen(answer) && t->end[DIALER].ended == 1 &&
           t->end[HOST].ended == 1;
}

/* ---- what goes over the wire, by direction: to know which byte is what */

struct trace {
    uint8_t bytes[2][32768];
    size_t len[2];
};

static bool trace_it(void *arg, int from, uint64_t offset, uint8_t *bytes, size_t *len)
{
    struct trace *trace = arg;
    assert_int_equal(offset, trace->len[from]);
    assert_true(offset + *len <= sizeof trace->bytes[0]);
    memcpy(trace->bytes[from] + offset, bytes, *len);
    trace->len[from] += *len;
    return true;
}

/* The offset at which the record behind this byte ends. */
static size_t record_end(const struct trace *trace, int from, size_t at)
{
    size_t record = 0;
    while (record + 5 <= trace->len[from]) {
        const uint8_t *header = trace->bytes[from] + record;
        record += 5 + ((size_t)header[3] << 8 | header[4]);
        if (at < record)
            return record;
    }
    return trace->len[from];
}

static size_t record_start(const struct trace *trace, int from, size_t at)
{
    size_t record = 0;
    for (;;) {
        size_t end = record_end(trace, from, record);
        if (at < end)
            return record;
        record = end;
    }
}

static void learn(struct trace *trace)
{
    memset(trace, 0, sizeof *trace);
    t->meddle = trace_it;
    t->meddle_arg = trace;
    play();
    assert_true(is_complete());
    talk_close(t);
}

/* The end that the router lied to must know; the other may be through already. */
static void assert_detected(int victim)
{
    talk_cut(t);
    assert_prefix(HOST, question, more);
    assert_prefix(DIALER, answer, "");
    assert_int_equal(t->end[victim].over, 1);
    assert_int_not_equal(t->end[victim].err, WEFT_OK);
    assert_int_equal(t->end[0].over + t->end[1].over, 2);
}

/* ---- flips */

struct flip {
    int from;
    size_t at;
    uint8_t mask;
    bool done;
};

static bool flip_it(void *arg, int from, uint64_t offset, uint8_t *bytes, size_t *len)
{
    struct flip *flip = arg;
    if (from == flip->from && flip->at >= offset && flip->at < offset + *len) {
        bytes[flip->at - offset] ^= flip->mask;
        flip->done = true;
    }
    return true;
}

static void each_flipped_byte_is_an_error_and_nothing_behind_it_is_delivered(void **state)
{
    struct trace trace;
    unsigned tried = 0;
    (void)state;
    learn(&trace);
    size_t stride = getenv("WEFT_FULL") != NULL ? 1 : STRIDE;
    for (int from = 0; from < 2; from++) {
        /* The header of the first record has bytes that TLS doesn't look at: always tried. */
        for (size_t at = 0; at < trace.len[from]; at += at < 5 ? 1 : stride) {
            struct flip flip = {.from = from, .at = at, .mask = (uint8_t)(1u << at % 8)};
            t->meddle = flip_it;
            t->meddle_arg = &flip;
            play();
            assert_true(flip.done);
            assert_false(is_complete());
            assert_detected(1 - from);
            talk_close(t);
            tried++;
        }
    }
    print_message("%u flips\n", tried);
    assert_true(tried > 500);
}

static void a_tampered_record_ends_the_session_at_once(void **state)
{
    (void)state;
    for (int victim = 0; victim < 2; victim++) {
        talk_open(t);
        talk_meet(t);
        struct flip flip = {
            .from = 1 - victim, .at = (size_t)t->offset[1 - victim] + 20, .mask = 0x40};
        t->meddle = flip_it;
        t->meddle_arg = &flip;
        say(1 - victim, question);
        talk_settle(t);
        assert_int_equal(t->end[victim].over, 1);
        assert_int_equal(t->end[victim].err, WEFT_ETAMPERED);
        assert_int_equal(t->end[victim].heard.len, 0);
        talk_close(t);
    }
}

/* ---- whole records: dropped, doubled, swapped */

struct records {
    int from;
    size_t start, end; /* of the record that is dropped */
    size_t next_end;   /* or swapped with the one up to here; 0: dropped */
    bool done;
};

static bool rebuild(void *arg, int from, uint64_t offset, uint8_t *bytes, size_t *len)
{
    struct records *r = arg;
    uint64_t last = offset + *len;
    if (from != r->from || r->end <= offset || r->start >= last)
        return true;
    if (r->next_end > 0) {
        /* Only what came in one delivery can be put into another order. */
        if (r->start < offset || r->next_end > last)
            return true;
        uint8_t first[16384 + 512];
        size_t n = r->end - r->start, m = r->next_end - r->end;
        uint8_t *at = bytes + (r->start - offset);
        memcpy(first, at, n);
        memmove(at, at + n, m);
        memcpy(at + m, first, n);
        r->done = true;
        return true;
    }
    size_t from_here = r->start > offset ? (size_t)(r->start - offset) : 0;
    size_t to_here = r->end < last ? (size_t)(r->end - offset) : *len;
    memmove(bytes + from_here, bytes + to_here, *len - to_here);
    *len -= to_here - from_here;
    r->done = true;
    return *len > 0;
}

static void each_dropped_record_is_an_error(void **state)
{
    struct trace trace;
    unsigned tried = 0;
    (void)state;
    learn(&trace);
    for (int from = 0; from < 2; from++)
        for (size_t at = 0; at < trace.len[from]; at = record_end(&trace, from, at)) {
            /* ChangeCipherSpec is there for middleboxes only; without it nothing is missing. */
            if (trace.bytes[from][at] == 20)
                continue;
            struct records r = {.from = from, .start = at, .end = record_end(&trace, from, at)};
            t->meddle = rebuild;
            t->meddle_arg = &r;
            play();
            assert_true(r.done);
            if (is_complete())
                fail_msg("record at %zu of %d", at, from);
            assert_detected(1 - from);
            talk_close(t);
            tried++;
        }
    assert_true(tried >= 12);
}

static void records_in_another_order_are_an_error(void **state)
{
    struct trace trace;
    unsigned tried = 0;
    (void)state;
    learn(&trace);
    for (int from = 0; from < 2; from++)
        for (size_t at = 0; at < trace.len[from]; at = record_end(&trace, from, at)) {
            size_t end = record_end(&trace, from, at);
            if (end == trace.len[from] || trace.bytes[from][at] == 20 ||
                trace.bytes[from][end] == 20)
                continue;
            struct records r = {
                .from = from, .start = at, .end = end, .next_end = record_end(&trace, from, end)};
            t->meddle = rebuild;
            t->meddle_arg = &r;
            play();
            if (r.done) {
                assert_false(is_complete());
                assert_detected(1 - from);
                tried++;
            }
            talk_close(t);
        }
    assert_true(tried >= 3);
}

/* ---- replay: a record that went through comes again later */

struct replay {
    int from;
    size_t start, end; /* kept when it passes */
    uint8_t kept[4096];
    size_t kept_len;
};

static bool keep_it(void *arg, int from, uint64_t offset, uint8_t *bytes, size_t *len)
{
    struct replay *r = arg;
    if (from == r->from && r->start >= offset && r->end <= offset + *len) {
        r->kept_len = r->end - r->start;
        assert_true(r->kept_len <= sizeof r->kept);
        memcpy(r->kept, bytes + (r->start - offset), r->kept_len);
    }
    return true;
}

static void a_record_that_comes_again_is_an_error(void **state)
{
    struct trace trace;
    unsigned tried = 0;
    (void)state;
    learn(&trace);
    for (int from = 0; from < 2; from++)
        for (size_t at = 0; at < trace.len[from]; at = record_end(&trace, from, at)) {
            struct replay r = {.from = from, .start = at, .end = record_end(&trace, from, at)};
            if (trace.bytes[from][at] != 23)
                continue;
            t->meddle = keep_it;
            t->meddle_arg = &r;
            talk_open(t);
            talk_meet(t);
            say(DIALER, question);
            say(HOST, answer);
            talk_settle(t);
            if (r.kept_len > 0 && t->end[1 - from].over == 0) {
                size_t before = t->end[1 - from].heard.len;
                wf_session_input(t->end[1 - from].session, r.kept, r.kept_len, t->a.now);
                assert_int_equal(t->end[1 - from].heard.len, before);
                assert_detected(1 - from);
                tried++;
            }
            talk_close(t);
        }
    assert_true(tried >= 6);
}

/* Two conversations of the same two ends; the router gives one the other's bytes. */
static void records_of_another_session_are_an_error(void **state)
{
    struct trace other, trace;
    (void)state;
    learn(&other);
    learn(&trace);
    for (int from = 0; from < 2; from++) {
        talk_open(t);
        talk_meet(t);
        /* The last application record of the other session: its DATA, END and close_notify. */
        size_t at = record_start(&other, from, other.len[from] - 1);
        wf_session_input(t->end[1 - from].session, other.bytes[from] + at, other.len[from] - at,
                         t->a.now);
        assert_detected(1 - from);
        talk_close(t);
    }
}

/* ---- cut: the circuit ends after each byte */

struct cut {
    int from;
    size_t at;
    bool done;
};

static bool cut_it(void *arg, int from, uint64_t offset, uint8_t *bytes, size_t *len)
{
    struct cut *cut = arg;
    (void)bytes;
    if (from != cut->from || cut->at >= offset + *len)
        return true;
    cut->done = true;
    *len = cut->at > offset ? (size_t)(cut->at - offset) : 0;
    return *len > 0;
}

static void a_stream_cut_at_any_point_never_ends_cleanly(void **state)
{
    struct trace trace;
    (void)state;
    learn(&trace);
    size_t stride = getenv("WEFT_FULL") != NULL ? 1 : 3 * STRIDE;
    for (int from = 0; from < 2; from++)
        for (size_t at = 0; at < trace.len[from]; at += stride) {
            struct cut cut = {.from = from, .at = at};
            t->meddle = cut_it;
            t->meddle_arg = &cut;
            play();
            if (cut.done) {
                assert_false(is_complete());
                assert_detected(1 - from);
            }
            talk_close(t);
        }
}

/* A router that makes up an end: its own close of the circuit, without both close_notify. */
static void an_end_that_the_router_makes_up_is_no_end(void **state)
{
    (void)state;
    for (int victim = 0; victim < 2; victim++) {
        talk_open(t);
        talk_meet(t);
        say(1 - victim, question);
        talk_settle(t);
        wf_session_lost(t->end[victim].session, WEFT_OK, "the circuit was closed");
        assert_int_equal(t->end[victim].err, WEFT_ELOST);
        assert_int_equal(t->end[victim].ended, 0);
        talk_close(t);
    }
}

/* ---- the handshake to another end: a router that answers the ClientHello itself */

static void another_enrolled_identity_can_not_stand_in_for_the_host(void **state)
{
    (void)state;
    /* It has a chain, but its bind grant is for another service: none of ours names its key. */
    talk_open_end(t, DIALER);
    talk_open_liar(t, HOST, t->other_ctx);
    t->answered = false;
    talk_start(t);
    wf_id elsewhere = wf_id_random();
    Weft__Wire__Signed *own =
        authority_grant(&t->a, &t->other, &elsewhere, "elsewhere", WEFT__WIRE__ROLE__ROLE_BIND);
    struct wf_hello hello = talk_hello(t, HOST);
    hello.grant = own;
    liar_hello(&t->end[HOST], &hello);
    talk_settle(t);
    assert_int_equal(t->end[DIALER].verified, 0);
    assert_int_equal(t->end[DIALER].err, WEFT_EREFUSED);
    wf_signed_free(own);
}

#define TALK(name) cmocka_unit_test_teardown(name, close_talk)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TALK(each_flipped_byte_is_an_error_and_nothing_behind_it_is_delivered),
        TALK(a_tampered_record_ends_the_session_at_once),
        TALK(each_dropped_record_is_an_error),
        TALK(records_in_another_order_are_an_error),
        TALK(a_record_that_comes_again_is_an_error),
        TALK(records_of_another_session_are_an_error),
        TALK(a_stream_cut_at_any_point_never_ends_cleanly),
        TALK(an_end_that_the_router_makes_up_is_no_end),
        TALK(another_enrolled_identity_can_not_stand_in_for_the_host),
    };
    talk_use(&world);
    return cmocka_run_group_tests_name("sdk_hostile", tests, open_world, close_world);
}
