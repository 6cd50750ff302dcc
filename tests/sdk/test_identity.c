/* Identities: enrolled on first use, carried, renewed, and asked how they are. */
#include "pki/identity.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "tests/helpers/fabric.h"
#include "tests/helpers/test.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <weft/weft.h>

static struct fabric fabric;

static char *read_all(const char *name, size_t max)
{
    wf_buf buf;
    wf_why why = {""};
    wf_buf_init(&buf, max);
    if (wf_file_read(fabric_path(&fabric, name), &buf, &why) != WEFT_OK)
        fail_msg("%s", why.text);
    char *text = strndup((const char *)buf.data, buf.len);
    wf_buf_wipe(&buf);
    return text;
}

static struct pki_identity load(const char *name)
{
    struct pki_identity identity;
    wf_why why = {""};
    pki_identity_init(&identity);
    if (pki_identity_load(fabric_path(&fabric, name), &identity, &why) != WEFT_OK)
        fail_msg("%s", why.text);
    return identity;
}

/* ---- a host for all of them */

static weft_client *host_client;
static weft_server *server;
static pthread_t host_thread;

static void *serve(void *arg)
{
    weft_conn *conn;
    weft_why why = {""};
    (void)arg;
    while (weft_server_accept(server, 0, &conn, &why) == WEFT_OK) {
        char buf[64];
        size_t got = 0;
        while (weft_conn_read(conn, buf, sizeof buf, &got, 5000, &why) == WEFT_OK && got > 0)
            (void)weft_conn_write(conn, buf, got, 5000, &why);
        (void)weft_conn_end(conn, &why);
        weft_conn_close(conn);
    }
    return NULL;
}

static weft_err talk_as(const char *identity, weft_why *why)
{
    weft_client *client;
    weft_conn *conn;
    char buf[8];
    size_t got = 0;
    weft_err err = weft_client_open(identity, &client, why);
    if (err != WEFT_OK)
        return err;
    err = weft_client_dial(client, "web", &(struct weft_dial_options){.timeout_ms = 8000}, &conn,
                           why);
    if (err == WEFT_OK) {
        err = weft_conn_write(conn, "hi", 2, 5000, why);
        if (err == WEFT_OK)
            err = weft_conn_end(conn, why);
        if (err == WEFT_OK)
            err = weft_conn_read(conn, buf, sizeof buf, &got, 5000, why);
        if (err == WEFT_OK)
            assert_int_equal(got, 2);
        while (err == WEFT_OK && got > 0)
            err = weft_conn_read(conn, buf, sizeof buf, &got, 5000, why);
        weft_conn_close(conn);
    }
    weft_client_close(client);
    return err;
}

#define assert_talks(identity)                                                                     \
    do {                                                                                           \
        weft_why talk_why = {""};                                                                  \
        weft_err talk_err = talk_as(identity, &talk_why);                                          \
        if (talk_err != WEFT_OK)                                                                   \
            fail_msg("%s: %s", weft_err_name((int)talk_err), talk_why.text);                       \
    } while (0)

/* ---- tests */

static void *open_it(void *arg)
{
    weft_why why = {""};
    weft_client *client;
    weft_err err = weft_client_open(arg, &client, &why);
    if (err != WEFT_OK) {
        fprintf(stderr, "%s\n", why.text);
        return (void *)1;
    }
    weft_client_close(client);
    return NULL;
}

static void a_token_file_is_spent_once_however_many_begin_together(void **state)
{
    pthread_t threads[8];
    char path[512];
    (void)state;
    fabric_identity(&fabric, "many", "[]");
    snprintf(path, sizeof path, "%s", fabric_path(&fabric, "many.jwt"));
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_it, path), 0);
    for (size_t i = 0; i < 8; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    struct stat st;
    assert_int_equal(stat(fabric_path(&fabric, "many.json"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_false(wf_file_exists(fabric_path(&fabric, "many.json.pending")));
}

static void an_identity_that_others_may_read_is_refused(void **state)
{
    weft_client *client;
    weft_why why = {""};
    (void)state;
    assert_int_equal(chmod(fabric_path(&fabric, "many.json"), 0644), 0);
    assert_int_equal(weft_client_open(fabric_path(&fabric, "many.json"), &client, &why),
                     WEFT_ECREDENTIAL);
    assert_int_equal(chmod(fabric_path(&fabric, "many.json"), 0600), 0);
}

static void a_carried_identity_needs_no_controller_and_no_disk(void **state)
{
    weft_why why = {""};
    const char *services[] = {"web", NULL};
    (void)state;
    fabric_identity(&fabric, "ci", "[\"#ci\"]");
    free(fabric_call(&fabric, "allow", "{\"who\":\"#ci\",\"type\":\"dial\",\"what\":\"@web\"}"));
    char *token = read_all("ci.jwt", WF_TOKEN_MAX);
    const struct weft_enroll_options options = {.token = token,
                                                .out = fabric_path(&fabric, "ci.json"),
                                                .carry = "30d",
                                                .services = services};
    weft_err err = weft_enroll(&options, &why);
    if (err != WEFT_OK)
        fail_msg("%s", why.text);
    free(token);
    struct pki_identity identity = load("ci.json");
    assert_true(identity.carries);
    assert_int_equal(identity.grant_count, 1);
    assert_int_equal(identity.member_count, 1);
    pki_identity_fini(&identity);

    fabric_kill_controller(&fabric);
    char *json = read_all("ci.json", WF_IDENTITY_FILE_MAX);
    assert_int_equal(setenv("XDG_STATE_HOME", "/proc/nowhere", 1), 0);
    assert_talks(json);
    assert_int_equal(setenv("XDG_STATE_HOME", fabric_path(&fabric, "state"), 1), 0);
    fabric_start_controller(&fabric);
    free(json);
}

static void carrying_what_policy_forbids_says_so_and_enrolls_all_the_same(void **state)
{
    weft_why why = {""};
    const char *services[] = {"web", NULL};
    (void)state;
    fabric_identity(&fabric, "stranger", "[]");
    char *token = read_all("stranger.jwt", WF_TOKEN_MAX);
    const struct weft_enroll_options options = {.token = token,
                                                .out = fabric_path(&fabric, "stranger.json"),
                                                .carry = "1d",
                                                .services = services};
    assert_int_equal(weft_enroll(&options, &why), WEFT_EREFUSED);
    assert_non_null(strstr(why.text, "is enrolled, but carries nothing"));
    const char *remedy = "weft identity reissue stranger";
    assert_string_equal(why.text + strlen(why.text) - strlen(remedy), remedy);
    struct pki_identity identity = load("stranger.json");
    assert_false(identity.carries);
    pki_identity_fini(&identity);
    assert_int_equal(weft_enroll(&options, &why), WEFT_EEXIST);
    free(token);
}

static void options_of_enrolling_are_checked_before_the_token_is_spent(void **state)
{
    weft_why why = {""};
    (void)state;
    fabric_identity(&fabric, "careful", "[]");
    char *token = read_all("careful.jwt", WF_TOKEN_MAX);
    struct weft_enroll_options options = {
        .token = token, .out = fabric_path(&fabric, "careful.json"), .carry = "soon"};
    assert_int_equal(weft_enroll(&options, &why), WEFT_EUSAGE);
    options.carry = NULL;
    options.key = "rsa";
    assert_int_equal(weft_enroll(&options, &why), WEFT_EUSAGE);
    options.key = "ed25519";
    assert_int_equal(weft_enroll(&options, &why), WEFT_OK);
    struct pki_identity identity = load("careful.json");
    assert_int_equal(pki_key_kind_of(identity.key), PKI_KEY_ED25519);
    pki_identity_fini(&identity);
    free(token);
}

static void renewing_keeps_the_key_and_moves_the_end(void **state)
{
    weft_why why = {""};
    uint64_t begin, end, begin_after, end_after;
    pki_pin before, after;
    (void)state;
    struct pki_identity identity = load("ci.json");
    pki_chain_validity(identity.chain, &begin, &end);
    pki_key_pin(identity.key, &before);
    pki_identity_fini(&identity);
    sleep(1); /* certificates count in seconds */
    if (weft_renew(fabric_path(&fabric, "ci.json"), &why) != WEFT_OK)
        fail_msg("%s", why.text);
    identity = load("ci.json");
    pki_chain_validity(identity.chain, &begin_after, &end_after);
    pki_key_pin(identity.key, &after);
    assert_true(pki_pin_equal(&before, &after));
    assert_true(end_after > end);
    assert_true(identity.carries); /* renewing loses nothing */
    pki_identity_fini(&identity);
    assert_talks(fabric_path(&fabric, "ci.json"));
    assert_int_equal(weft_renew("{}", &why), WEFT_ECREDENTIAL);
}

static void status_tells_what_was_tried(void **state)
{
    static struct weft_status status;
    weft_why why = {""};
    (void)state;
    if (weft_status_get(fabric_path(&fabric, "ci.json"), 8000, 1, &status, &why) != WEFT_OK)
        fail_msg("%s", why.text);
    assert_string_equal(status.name, "ci");
    assert_string_equal(status.domain, "test.weft");
    assert_int_equal(status.controller, WEFT_OK);
    assert_true(status.controller_rtt_ms > 0);
    assert_in_range(status.certificate_days_left, 80, 90);
    assert_int_equal(status.router_count, 1);
    assert_int_equal(status.routers[0].err, WEFT_OK);
    assert_true(status.routers[0].rtt_ms > 0);
    assert_int_equal(status.dial_count, 1);
    assert_int_equal(status.bind_count, 0);
    assert_string_equal(status.services[0], "web");
    assert_int_equal(status.services_dial[0], WEFT_OK);
    assert_true(status.grants_hours_left > 0);

    fabric_kill_controller(&fabric);
    fabric_kill_router(&fabric, 0);
    if (weft_status_get(fabric_path(&fabric, "ci.json"), 5000, 1, &status, &why) != WEFT_OK)
        fail_msg("%s", why.text);
    assert_int_not_equal(status.controller, WEFT_OK);
    assert_int_equal(status.router_count, 1);
    assert_int_not_equal(status.routers[0].err, WEFT_OK);
    assert_int_not_equal(status.services_dial[0], WEFT_OK);
    fabric_start_controller(&fabric);
    fabric_start_router(&fabric, 0);
}

static int setup(void **state)
{
    weft_why why = {""};
    (void)state;
    fabric_open(&fabric, 1);
    fabric_share(&fabric, "web");
    if (weft_client_open(fabric_path(&fabric, "web-host.jwt"), &host_client, &why) != WEFT_OK ||
        weft_client_listen(host_client, "web", &server, &why) != WEFT_OK ||
        weft_server_wait_bound(server, 10000, &why) != WEFT_OK) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    return pthread_create(&host_thread, NULL, serve, NULL);
}

static int teardown(void **state)
{
    (void)state;
    weft_server_close(server);
    (void)pthread_join(host_thread, NULL);
    weft_client_close(host_client);
    fabric_close(&fabric);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_file_is_spent_once_however_many_begin_together),
        cmocka_unit_test(an_identity_that_others_may_read_is_refused),
        cmocka_unit_test(a_carried_identity_needs_no_controller_and_no_disk),
        cmocka_unit_test(carrying_what_policy_forbids_says_so_and_enrolls_all_the_same),
        cmocka_unit_test(options_of_enrolling_are_checked_before_the_token_is_spent),
        cmocka_unit_test(renewing_keeps_the_key_and_moves_the_end),
        cmocka_unit_test(status_tells_what_was_tried),
    };
    return cmocka_run_group_tests_name("sdk_identity", tests, setup, teardown);
}
