/*
 * What dialers can make a host hold: bytes that its application does not take
 * yet, and dials that it does not answer yet.
 */
#include "sdk/endpoint.h"
#include "tests/hostile/stage.h"
#include <stdlib.h>
#include <string.h>

#define STREAMS 128u
#define TO_SAY (256u * 1024u)
#define PROMISE (8u * 1024u * 1024u)
#define MIB (1024u * 1024u)

static struct stage stage;

static struct one {
    weft_stream *stream; /* NULL: none, or closed */
    size_t said, heard;
    bool is_open, closed;
    weft_err err;
} dialed[STREAMS], came[STREAMS];
static unsigned opened, incoming, closed;
static bool may_speak, accepts, takes;

static void speak(struct one *o)
{
    static uint8_t piece[64 * 1024];
    while (may_speak && o->stream != NULL && o->said < TO_SAY) {
        size_t taken = 0, some = TO_SAY - o->said < sizeof piece ? TO_SAY - o->said : sizeof piece;
        if (weft_stream_write(o->stream, piece, some, &taken) != WEFT_OK)
            return;
        o->said += taken;
        if (taken < some)
            return;
    }
}

static void on_opened(weft_stream *stream, void *arg, const struct weft_peer *peer)
{
    struct one *o = arg;
    (void)peer;
    o->stream = stream;
    o->is_open = true;
    opened++;
    speak(o);
}

static void on_writable(weft_stream *stream, void *arg)
{
    (void)stream;
    speak(arg);
}

static size_t on_data(weft_stream *stream, void *arg, const uint8_t *data, size_t len)
{
    struct one *o = arg;
    (void)stream, (void)data;
    if (!takes)
        return 0; /* its backend is slow */
    o->heard += len;
    return len;
}

static void on_closed(weft_stream *stream, void *arg, weft_err err, const char *why)
{
    struct one *o = arg;
    (void)stream, (void)why;
    o->stream = NULL;
    o->closed = true;
    o->err = err;
    closed++;
}

static const struct weft_stream_handler dialer_handler = {
    .opened = on_opened, .writable = on_writable, .closed = on_closed};
static const struct weft_stream_handler host_handler = {
    .opened = on_opened, .data = on_data, .closed = on_closed};

static void on_bound(weft_listener *l, void *arg, unsigned routers, const char *why)
{
    (void)l, (void)arg, (void)why;
    stage.bound += routers > 0;
}

static void on_incoming(weft_listener *l, void *arg, weft_stream *stream,
                        const struct weft_peer *peer)
{
    struct one *o = &came[incoming++];
    (void)l, (void)arg, (void)peer;
    assert_true(incoming <= STREAMS);
    o->stream = stream;
    if (accepts)
        assert_int_equal(weft_stream_accept(stream, &host_handler, o), WEFT_OK);
}

static void on_listener_closed(weft_listener *l, void *arg, weft_err err, const char *why)
{
    (void)l, (void)arg, (void)err, (void)why;
}

static const struct weft_listener_handler listener_handler = {on_bound, on_incoming,
                                                              on_listener_closed};

static int open_stage(void **state)
{
    weft_listener *l;
    (void)state;
    stage_open(&stage);
    weft_listener_close(stage.listeners[0]);
    stage_wait(&stage, 5000, stage.listeners[0] == NULL);
    stage.bound = 0;
    memset(dialed, 0, sizeof dialed);
    memset(came, 0, sizeof came);
    opened = incoming = closed = 0;
    may_speak = accepts = takes = false;
    assert_int_equal(weft_listen(stage.host.endpoint, "web", &listener_handler, NULL, &l, NULL),
                     WEFT_OK);
    stage_wait(&stage, 5000, stage.bound > 0);
    assert_true(stage.bound > 0);
    return 0;
}

static int close_stage(void **state)
{
    (void)state;
    stage_close(&stage);
    return 0;
}

static void dial(weft_endpoint *from, unsigned i)
{
    weft_why why = {""};
    assert_int_equal(
        weft_dial(from, "web", NULL, &dialer_handler, &dialed[i], &dialed[i].stream, &why),
        WEFT_OK);
}

static size_t all_heard(void)
{
    size_t heard = 0;
    for (unsigned i = 0; i < STREAMS; i++)
        heard += came[i].heard;
    return heard;
}

static void what_many_sessions_make_a_host_hold_stays_within_its_promise(void **state)
{
    weft_endpoint *host = stage.host.endpoint;
    size_t said = 0, heard = 0;
    (void)state;
    assert_int_equal(host->promise_max, WF_PROMISE_MAX);
    assert_int_equal(host->promised, 0);
    host->promise_max = PROMISE;
    accepts = true;
    for (unsigned i = 0; i < STREAMS; i++)
        dial(stage.dialer.endpoint, i);
    stage_wait(&stage, 60000, opened == 2 * STREAMS);
    assert_int_equal(opened, 2 * STREAMS);

    may_speak = true;
    for (unsigned i = 0; i < STREAMS; i++)
        speak(&dialed[i]);
    stage_wait(&stage, 2000, false);
    for (unsigned i = 0; i < STREAMS; i++)
        said += dialed[i].said;
    print_message("said, and taken by nobody: %zu KiB\n", said / 1024u);
    assert_true(said >= STREAMS * (WF_WINDOW_MIN - 3u * WF_WINDOW_RESERVE));
    assert_true(said <= PROMISE + STREAMS * WF_WINDOW_MIN);
    assert_true(host->promised >= said);
    assert_true(host->promised <= PROMISE + STREAMS * WF_WINDOW_MIN);

    /* Nobody was forgotten: all of it comes once it is taken. */
    takes = true;
    for (unsigned i = 0; i < STREAMS; i++)
        weft_stream_resume(came[i].stream);
    stage_wait(&stage, 60000, (heard = all_heard()) == STREAMS * TO_SAY);
    assert_int_equal(heard, STREAMS * TO_SAY);
    assert_true(host->promised <= PROMISE + STREAMS * WF_WINDOW_MIN);

    for (unsigned i = 0; i < STREAMS; i++)
        weft_stream_close(dialed[i].stream);
    stage_wait(&stage, 30000, closed == 2 * STREAMS && host->promised == 0);
    assert_int_equal(closed, 2 * STREAMS);
    assert_int_equal(host->promised, 0);
}

static void a_session_alone_gets_the_whole_window(void **state)
{
    (void)state;
    accepts = true;
    dial(stage.dialer.endpoint, 0);
    stage_wait(&stage, 10000, opened == 2);
    assert_int_equal(opened, 2);
    assert_true(stage.host.endpoint->promised > MIB - WF_HANDSHAKE_BYTES_MAX);
    assert_true(stage.host.endpoint->promised <= MIB);
    weft_stream_close(dialed[0].stream);
    stage_wait(&stage, 10000, closed == 2);
}

static void dials_that_wait_for_an_answer_are_counted_for_each_identity(void **state)
{
    weft_endpoint *host = stage.host.endpoint;
    weft_endpoint *other;
    (void)state;
    assert_int_equal(host->decisions_per_peer_max, WF_DECISIONS_PER_PEER_MAX);
    host->decisions_per_peer_max = 3;
    for (unsigned i = 0; i < 4; i++)
        dial(stage.dialer.endpoint, i);
    stage_wait(&stage, 10000, incoming == 3 && closed == 1);
    assert_int_equal(incoming, 3);
    assert_int_equal(closed, 1);
    for (unsigned i = 0; i < 4; i++)
        if (dialed[i].closed)
            assert_int_equal(dialed[i].err, WEFT_EBUSY);

    /* Somebody else is not kept out. */
    other = stage_endpoint(&stage, &stage.mallory, WEFT__WIRE__ROLE__ROLE_DIAL);
    dial(other, 4);
    stage_wait(&stage, 10000, incoming == 4);
    assert_int_equal(incoming, 4);

    /* An answer makes room. */
    assert_int_equal(weft_stream_accept(came[0].stream, &host_handler, &came[0]), WEFT_OK);
    dial(stage.dialer.endpoint, 5);
    stage_wait(&stage, 10000, incoming == 5);
    assert_int_equal(incoming, 5);
    assert_int_equal(closed, 1);
    weft_endpoint_close(other, NULL, NULL); /* done when stage_close has run the loop dry */
}

static void dials_that_wait_for_an_answer_are_bounded_all_together(void **state)
{
    weft_endpoint *host = stage.host.endpoint;
    (void)state;
    assert_int_equal(host->decisions_max, WF_DECISIONS_MAX);
    host->decisions_max = 2;
    for (unsigned i = 0; i < 3; i++)
        dial(stage.dialer.endpoint, i);
    stage_wait(&stage, 10000, incoming == 2 && closed == 1);
    assert_int_equal(incoming, 2);
    assert_int_equal(closed, 1);
    assert_int_equal(host->decisions, 2);
    weft_stream_refuse(came[0].stream, WEFT_EREFUSED, "no");
    assert_int_equal(host->decisions, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define STAGED(name) cmocka_unit_test_setup_teardown(name, open_stage, close_stage)
        STAGED(what_many_sessions_make_a_host_hold_stays_within_its_promise),
        STAGED(a_session_alone_gets_the_whole_window),
        STAGED(dials_that_wait_for_an_answer_are_counted_for_each_identity),
        STAGED(dials_that_wait_for_an_answer_are_bounded_all_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
