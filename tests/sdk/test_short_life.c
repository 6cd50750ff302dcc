/* A certificate of five minutes, under a clock that we move: when it is renewed, and what goes on
 * until then. */
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "sdk/endpoint.h"
#include "tests/helpers/fabric.h"
#include "tests/helpers/test.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include <weft/weft.h>

#define LIFE_MS 300000u

static struct fabric fabric;
static uv_loop_t loop;
static unsigned renewed;

/* ---- our wall clock; the controller's is the true one */

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

/* ---- the canary: a link to the controller with other credentials than the endpoint's, on its loop
 */

static const weft_endpoint *watched;
static pthread_t here;
static unsigned canaries;
static bool kills_canary;

weft_err __real_wf_link_dial(wf_net *net, const wf_address *address,
                             const struct wf_link_config *config, wf_link **out);
weft_err __wrap_wf_link_dial(wf_net *net, const wf_address *address,
                             const struct wf_link_config *config, wf_link **out);
weft_err __wrap_wf_link_dial(wf_net *net, const wf_address *address,
                             const struct wf_link_config *config, wf_link **out)
{
    if (watched != NULL && pthread_equal(pthread_self(), here) != 0 &&
        config->kinds == PKI_CONTROLLER && config->tls != watched->tls) {
        canaries++;
        if (kills_canary)
            fabric_kill_controller(&fabric);
    }
    return __real_wf_link_dial(net, address, config, out);
}

/* ---- */

static void on_event(void *arg, const struct weft_event *event)
{
    (void)arg;
    renewed += event->kind == WEFT_EVENT_RENEWED;
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static bool turn_until(const bool *flag, const weft_endpoint *e, unsigned ms)
{
    uint64_t end = wf_now_mono_ms() + ms;
    while (wf_now_mono_ms() < end && !(flag != NULL ? *flag : e->renewal == NULL)) {
        uv_run(&loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    return flag != NULL ? *flag : e->renewal == NULL;
}

static weft_endpoint *open_brief(void)
{
    weft_why why = {""};
    weft_endpoint *e = NULL;
    const struct weft_options options = {.identity = fabric_path(&fabric, "brief.json"),
                                         .loop = &loop,
                                         .state_dir = "",
                                         .event = on_event};
    if (weft_endpoint_open(&options, &e, &why) != WEFT_OK)
        fail_msg("%s", why.text);
    return e;
}

static void close_brief(weft_endpoint *e)
{
    bool closed = false;
    weft_endpoint_close(e, on_closed, &closed);
    assert_true(turn_until(&closed, NULL, 20000));
}

static uint64_t end_in_file(void)
{
    struct pki_identity file;
    wf_why why = {""};
    uint64_t from, until;
    pki_identity_init(&file);
    if (pki_identity_load(fabric_path(&fabric, "brief.json"), &file, &why) != WEFT_OK)
        fail_msg("%s", why.text);
    pki_chain_validity(file.chain, &from, &until);
    pki_identity_fini(&file);
    return until;
}

static void a_life_of_five_minutes_is_renewed_at_40_to_60_percent_of_it(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        weft_endpoint *e = open_brief();
        uint64_t life = e->self.not_after - e->self.not_before;
        assert_in_range(life, LIFE_MS, LIFE_MS + WF_CLOCK_TOLERANCE_MS);
        assert_in_range(e->renew_at - e->self.not_before, life / 100 * 40, life / 100 * 60);
        set_clock(e->self.not_before + life / 100 * 40 - 1000);
        wf_house_look(e);
        assert_null(e->renewal);
        ahead = 0;
        close_brief(e);
    }
}

static void the_old_certificate_is_kept_until_the_new_one_was_seen_to_work(void **state)
{
    weft_endpoint *e = open_brief();
    uint64_t before = e->self.not_after, life = before - e->self.not_before;
    unsigned turns = 0;
    (void)state;
    uv_sleep(1100); /* certificates count in seconds */
    set_clock(e->self.not_before + life / 100 * 60 + 1000);
    watched = e;
    here = pthread_self();
    /* The new one is made, and then the controller isn't there to take it. */
    kills_canary = true;
    wf_house_look(e);
    assert_non_null(e->renewal);
    assert_true(turn_until(NULL, e, 25000));
    assert_int_equal(canaries, 1);
    assert_int_equal(renewed, 0);
    assert_int_equal(e->self.not_after, before);
    assert_int_equal(end_in_file(), before);
    assert_in_range(e->renew_at - wf_now_wall_ms(), 1, life / 20); /* soon: its life is short */
    kills_canary = false;
    fabric_start_controller(&fabric);

    e->renew_at = 0;
    wf_house_look(e);
    assert_non_null(e->renewal);
    while (e->renewal != NULL && turns++ < 20000) {
        assert_int_equal(e->self.not_after, before);
        assert_int_equal(end_in_file(), before);
        uv_run(&loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    watched = NULL;
    assert_int_equal(canaries, 2);
    assert_int_equal(renewed, 1);
    assert_true(e->self.not_after > before);
    assert_int_equal(end_in_file(), e->self.not_after);
    life = e->self.not_after - e->self.not_before;
    assert_in_range(e->renew_at - e->self.not_before, life / 100 * 40, life / 100 * 60);
    ahead = 0;
    close_brief(e);
}

static int setup(void **state)
{
    weft_why why = {""};
    struct weft_enroll_options options = {.out = NULL};
    char *result;
    (void)state;
    fabric_open(&fabric, 1);
    result = fabric_call(&fabric, "identity.create", "{\"name\":\"brief\",\"life_s\":300}");
    fabric_save_text(&fabric, result, "token", "brief.jwt");
    free(result);
    wf_buf token;
    wf_buf_init(&token, WF_TOKEN_MAX);
    if (wf_file_read_secret(fabric_path(&fabric, "brief.jwt"), &token, NULL) != WEFT_OK)
        return -1;
    options.token = wf_buf_cstr(&token);
    options.out = fabric_path(&fabric, "brief.json");
    weft_err err = weft_enroll(&options, &why);
    wf_buf_fini(&token);
    if (err != WEFT_OK) {
        print_error("%s\n", why.text);
        return -1;
    }
    return uv_loop_init(&loop);
}

static int teardown(void **state)
{
    (void)state;
    fabric_close(&fabric);
    return uv_loop_close(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_life_of_five_minutes_is_renewed_at_40_to_60_percent_of_it),
        cmocka_unit_test(the_old_certificate_is_kept_until_the_new_one_was_seen_to_work),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
