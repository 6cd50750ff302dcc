/* The n-th allocation fails: in opening a session, in a transfer, in opening an endpoint. */
#include "proto/base/file.h"
#include "tests/helpers/alloc.h"
#include "tests/helpers/test.h"
#include "tests/sdk/talk.h"
#include <string.h>
#include <unistd.h>
#include <weft/weft.h>

static struct talk world, *const t = &world;

/* Asserts of the harness would fail with us: what it allocates comes from before. */
static struct {
    wf_session *session;
    uint8_t queue[65536];
    size_t len;
    unsigned opened, verified, over, ended;
    weft_err err;
    size_t heard;
} ends[2];

static weft_err put(void *arg, const uint8_t *data, size_t len)
{
    int side = *(int *)arg;
    assert_true(ends[side].len + len <= sizeof ends[side].queue);
    memcpy(ends[side].queue + ends[side].len, data, len);
    ends[side].len += len;
    return WEFT_OK;
}

static bool is_blocked(void *arg)
{
    (void)arg;
    return false;
}

static void on_ack(void *arg, const struct wf_ack *ack)
{
    (void)arg;
    (void)ack;
}

static void on_verified(void *arg)
{
    ends[*(int *)arg].verified++;
}

static void on_opened(void *arg)
{
    ends[*(int *)arg].opened++;
}

static size_t on_data(void *arg, const uint8_t *data, size_t len)
{
    (void)data;
    ends[*(int *)arg].heard += len;
    return len / 2; /* so that something must be held */
}

static void on_ended(void *arg)
{
    ends[*(int *)arg].ended++;
}

static void on_writable(void *arg)
{
    (void)arg;
}

static void on_over(void *arg, weft_err err, const char *why)
{
    (void)why;
    ends[*(int *)arg].over++;
    ends[*(int *)arg].err = err;
}

static const struct wf_session_handler handler = {
    .output = put,
    .blocked = is_blocked,
    .ack = on_ack,
    .verified = on_verified,
    .opened = on_opened,
    .data = on_data,
    .ended = on_ended,
    .writable = on_writable,
    .over = on_over,
};

static int sides[2] = {DIALER, HOST};

static void deliver(void)
{
    static uint8_t bytes[65536];
    for (bool moved = true; moved;) {
        moved = false;
        for (int from = 0; from < 2; from++) {
            size_t len = ends[from].len;
            if (len == 0)
                continue;
            moved = true;
            memcpy(bytes, ends[from].queue, len);
            ends[from].len = 0;
            wf_session *to = ends[1 - from].session;
            if (from == HOST && wf_session_state(to) == WF_SESSION_FLIGHT)
                wf_session_answered(to, t->window, &t->instance);
            wf_session_input(to, bytes, len, t->a.now);
        }
    }
}

/* Goes as far as it goes. */
static weft_err converse(void)
{
    wf_why why = {""};
    weft_err err = WEFT_OK;
    size_t taken;
    memset(ends, 0, sizeof ends);
    for (int side = 0; side < 2 && err == WEFT_OK; side++) {
        const struct wf_session_config config = {
            .tls = t->ctx[side],
            .host = side == HOST,
            .self = talk_hello(t, side),
            .window = t->window,
            .scratch = t->scratch,
            .handler = &handler,
            .arg = &sides[side],
        };
        err = wf_session_new(&config, &ends[side].session, &why);
    }
    if (err == WEFT_OK)
        err = wf_session_start(ends[DIALER].session, &why);
    if (err != WEFT_OK)
        return err;
    deliver();
    if (ends[HOST].verified > 0 && ends[HOST].over == 0)
        (void)wf_session_accept(ends[HOST].session);
    deliver();
    static uint8_t block[10000];
    for (int side = 0; side < 2; side++)
        if (wf_session_state(ends[side].session) == WF_SESSION_OPEN) {
            (void)wf_session_write(ends[side].session, block, sizeof block, &taken);
            (void)wf_session_end(ends[side].session);
        }
    deliver();
    for (int side = 0; side < 2; side++)
        wf_session_lost(ends[side].session, WEFT_OK, "the test is over");
    return ends[DIALER].err != WEFT_OK ? ends[DIALER].err : ends[HOST].err;
}

static void finish(void)
{
    for (int side = 0; side < 2; side++)
        wf_session_free(ends[side].session);
}

static void a_session_survives_each_failing_allocation(void **state)
{
    unsigned failures = 0;
    (void)state;
    for (unsigned n = 1;; n++) {
        alloc_fail_at(n);
        weft_err err = converse();
        bool failed = alloc_has_failed();
        alloc_fail_at(0);
        for (int side = 0; side < 2; side++)
            assert_true(ends[side].over <= 1);
        if (!failed) {
            assert_int_equal(err, WEFT_OK);
            assert_int_equal(ends[DIALER].opened, 1);
            finish();
            break;
        }
        failures++;
        /* Not every allocation is needed (caches); but a failure is an error, not a clean end. */
        if (err == WEFT_OK)
            assert_int_equal(ends[HOST].verified, 1);
        finish();
    }
    print_message("%u allocations\n", failures);
    assert_true(failures > 20);
}

static void an_endpoint_survives_each_failing_allocation(void **state)
{
    struct pki_identity identity;
    wf_buf json;
    unsigned failures = 0;
    (void)state;
    authority_identity(&t->a, &t->ci, &identity);
    authority_carry(&identity, &identity.grants, &identity.grant_count, t->grant[DIALER]);
    wf_buf_init(&json, WF_IDENTITY_FILE_MAX);
    assert_int_equal(pki_identity_put_json(&identity, &json), WEFT_OK);
    const char *text = wf_buf_cstr(&json);
    assert_non_null(text);
    const struct weft_options options = {.identity = text, .state_dir = ""};
    for (unsigned n = 1;; n++) {
        weft_endpoint *endpoint = NULL;
        weft_why why = {""};
        alloc_fail_at(n);
        weft_err err = weft_endpoint_open(&options, &endpoint, &why);
        bool failed = alloc_has_failed();
        alloc_fail_at(0);
        if (err == WEFT_OK) {
            weft_endpoint_close(endpoint, NULL, NULL);
            assert_int_equal(weft_endpoint_run(endpoint), WEFT_OK);
        }
        if (!failed) {
            assert_int_equal(err, WEFT_OK);
            break;
        }
        failures++;
    }
    print_message("%u allocations\n", failures);
    assert_true(failures > 20);
    wf_buf_wipe(&json);
    pki_identity_fini(&identity);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_survives_each_failing_allocation),
        cmocka_unit_test(an_endpoint_survives_each_failing_allocation),
    };
    talk_use(&world);
    return cmocka_run_group_tests_name("sdk_alloc", tests, open_world, close_world);
}
