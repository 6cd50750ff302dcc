/* The blocking face, with several threads; also run under ThreadSanitizer. */
#include "tests/helpers/fabric.h"
#include "tests/helpers/test.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <weft/weft.h>

static struct fabric fabric;
static weft_client *host_client, *dial_client;
static weft_server *server;

#define ok(call)                                                                                   \
    do {                                                                                           \
        weft_why why = {""};                                                                       \
        weft_err err = (call);                                                                     \
        if (err != WEFT_OK)                                                                        \
            fail_msg("%s: %s: %s", #call, weft_err_name((int)err), why.text);                      \
    } while (0)

static weft_client *open_client(const char *identity)
{
    weft_client *client = NULL;
    ok(weft_client_open(fabric_path(&fabric, identity), &client, &why));
    return client;
}

/* A connection as both sides have it. */
static void connect_pair(weft_conn **near, weft_conn **far);

struct dialing {
    weft_conn *conn;
    weft_err err;
};

static void *dial_in_thread(void *arg)
{
    struct dialing *d = arg;
    weft_why why = {""};
    d->err = weft_client_dial(dial_client, "web", &(struct weft_dial_options){.timeout_ms = 10000},
                              &d->conn, &why);
    return NULL;
}

static void connect_pair(weft_conn **near, weft_conn **far)
{
    struct dialing d = {.err = WEFT_EINTERNAL};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, dial_in_thread, &d), 0);
    ok(weft_server_accept(server, 10000, far, &why));
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(d.err, WEFT_OK);
    *near = d.conn;
}

static void a_request_and_an_answer_with_clean_ends(void **state)
{
    weft_conn *near, *far;
    char buf[64];
    size_t got;
    (void)state;
    connect_pair(&near, &far);
    assert_string_equal(weft_conn_peer(near)->name, "web-host");
    assert_string_equal(weft_conn_peer(far)->name, "web-dialer");
    assert_string_equal(weft_conn_peer(far)->service, "web");
    assert_string_equal(weft_conn_peer(far)->session, weft_conn_peer(near)->session);
    ok(weft_conn_write(near, "question", 8, 5000, &why));
    ok(weft_conn_end(near, &why));
    ok(weft_conn_read(far, buf, sizeof buf, &got, 5000, &why));
    assert_int_equal(got, 8);
    assert_memory_equal(buf, "question", 8);
    ok(weft_conn_read(far, buf, sizeof buf, &got, 5000, &why));
    assert_int_equal(got, 0);
    ok(weft_conn_write(far, "answer", 6, 5000, &why));
    ok(weft_conn_end(far, &why));
    ok(weft_conn_read(near, buf, sizeof buf, &got, 5000, &why));
    assert_int_equal(got, 6);
    ok(weft_conn_read(near, buf, sizeof buf, &got, 5000, &why));
    assert_int_equal(got, 0);
    weft_conn_close(near);
    weft_conn_close(far);
}

static void a_read_times_out_and_the_connection_lives_on(void **state)
{
    weft_conn *near, *far;
    char buf[8];
    size_t got = 99;
    weft_why text = {""};
    (void)state;
    connect_pair(&near, &far);
    assert_int_equal(weft_conn_read(near, buf, sizeof buf, &got, 50, &text), WEFT_ETIMEDOUT);
    assert_int_equal(got, 99);
    ok(weft_conn_write(far, "x", 1, 5000, &why));
    ok(weft_conn_read(near, buf, sizeof buf, &got, 5000, &why));
    assert_int_equal(got, 1);
    weft_conn_close(near);
    weft_conn_close(far);
}

static void a_write_times_out_when_nobody_reads(void **state)
{
    static char big[8 << 20];
    weft_conn *near, *far;
    weft_why text = {""};
    (void)state;
    connect_pair(&near, &far);
    assert_int_equal(weft_conn_write(near, big, sizeof big, 300, &text), WEFT_ETIMEDOUT);
    weft_conn_close(near);
    weft_conn_close(far);
}

static void closing_without_an_end_is_a_reset(void **state)
{
    weft_conn *near, *far;
    char buf[8];
    size_t got;
    weft_why text = {""};
    (void)state;
    connect_pair(&near, &far);
    weft_conn_close(near);
    assert_int_equal(weft_conn_read(far, buf, sizeof buf, &got, 5000, &text), WEFT_ERESET);
    assert_true(text.text[0] != '\0');
    assert_int_equal(weft_conn_write(far, "x", 1, 5000, &text), WEFT_ERESET);
    weft_conn_close(far);
}

/* ---- one thread reads while another writes, on both sides */

enum { BULK = 6 << 20 };

static unsigned char byte_at(size_t i)
{
    return (unsigned char)(i * 2654435761u >> 11);
}

static void *write_bulk(void *arg)
{
    weft_conn *conn = arg;
    unsigned char buf[50000];
    weft_why why = {""};
    for (size_t i = 0; i < BULK;) {
        size_t n = BULK - i < sizeof buf ? BULK - i : sizeof buf;
        for (size_t k = 0; k < n; k++)
            buf[k] = byte_at(i + k);
        if (weft_conn_write(conn, buf, n, 30000, &why) != WEFT_OK)
            return (void *)1;
        i += n;
    }
    return weft_conn_end(conn, &why) == WEFT_OK ? NULL : (void *)1;
}

static void *read_bulk(void *arg)
{
    weft_conn *conn = arg;
    unsigned char buf[30000];
    weft_why why = {""};
    size_t i = 0, got = 0;
    while (weft_conn_read(conn, buf, sizeof buf, &got, 30000, &why) == WEFT_OK) {
        if (got == 0)
            return i == BULK ? NULL : (void *)1;
        for (size_t k = 0; k < got; k++)
            if (buf[k] != byte_at(i + k))
                return (void *)1;
        i += got;
    }
    return (void *)1;
}

static void four_threads_move_megabytes_both_ways(void **state)
{
    weft_conn *near, *far;
    pthread_t threads[4];
    (void)state;
    connect_pair(&near, &far);
    assert_int_equal(pthread_create(&threads[0], NULL, write_bulk, near), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, read_bulk, near), 0);
    assert_int_equal(pthread_create(&threads[2], NULL, write_bulk, far), 0);
    assert_int_equal(pthread_create(&threads[3], NULL, read_bulk, far), 0);
    for (size_t i = 0; i < 4; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    weft_conn_close(near);
    weft_conn_close(far);
}

/* ---- many at once */

static void *dial_and_ask(void *arg)
{
    weft_conn *conn = NULL;
    weft_why why = {""};
    char buf[8];
    size_t got = 0;
    (void)arg;
    if (weft_client_dial(dial_client, "web", &(struct weft_dial_options){.timeout_ms = 15000},
                         &conn, &why) != WEFT_OK)
        return (void *)1;
    bool good = weft_conn_write(conn, "hi", 2, 5000, &why) == WEFT_OK &&
                weft_conn_end(conn, &why) == WEFT_OK &&
                weft_conn_read(conn, buf, sizeof buf, &got, 10000, &why) == WEFT_OK && got == 2 &&
                weft_conn_read(conn, buf, sizeof buf, &got, 10000, &why) == WEFT_OK && got == 0;
    weft_conn_close(conn);
    return good ? NULL : (void *)1;
}

static void *accept_and_answer(void *arg)
{
    unsigned *count = arg;
    for (unsigned i = 0; i < *count; i++) {
        weft_conn *conn;
        weft_why why = {""};
        char buf[8];
        size_t got = 0;
        if (weft_server_accept(server, 15000, &conn, &why) != WEFT_OK)
            return (void *)1;
        bool good = weft_conn_read(conn, buf, sizeof buf, &got, 5000, &why) == WEFT_OK &&
                    weft_conn_write(conn, buf, got, 5000, &why) == WEFT_OK &&
                    weft_conn_end(conn, &why) == WEFT_OK;
        while (good && got > 0)
            good = weft_conn_read(conn, buf, sizeof buf, &got, 5000, &why) == WEFT_OK;
        weft_conn_close(conn);
        if (!good)
            return (void *)1;
    }
    return NULL;
}

static void many_threads_dial_one_server_with_many_threads(void **state)
{
    enum { DIALS = 12, SERVERS = 3 };
    pthread_t dials[DIALS], servers[SERVERS];
    unsigned each = DIALS / SERVERS;
    void *failed;
    (void)state;
    for (size_t i = 0; i < SERVERS; i++)
        assert_int_equal(pthread_create(&servers[i], NULL, accept_and_answer, &each), 0);
    for (size_t i = 0; i < DIALS; i++)
        assert_int_equal(pthread_create(&dials[i], NULL, dial_and_ask, NULL), 0);
    for (size_t i = 0; i < DIALS; i++) {
        assert_int_equal(pthread_join(dials[i], &failed), 0);
        assert_null(failed);
    }
    for (size_t i = 0; i < SERVERS; i++) {
        assert_int_equal(pthread_join(servers[i], &failed), 0);
        assert_null(failed);
    }
}

/* ---- what can't be */

static void a_refused_dial_says_why(void **state)
{
    weft_conn *conn;
    weft_why text = {""};
    (void)state;
    assert_int_equal(weft_client_dial(dial_client, "nowhere",
                                      &(struct weft_dial_options){.timeout_ms = 5000}, &conn,
                                      &text),
                     WEFT_EREFUSED);
    assert_non_null(strstr(text.text, "nowhere"));
    assert_int_equal(weft_client_dial(dial_client, "no such name!",
                                      &(struct weft_dial_options){.timeout_ms = 5000}, &conn,
                                      &text),
                     WEFT_EINVAL);
}

static void an_inline_token_is_no_identity(void **state)
{
    weft_client *client;
    weft_why text = {""};
    (void)state;
    assert_int_equal(weft_client_open("eyJhbGciOiJFZERTQSJ9.e30.AAAA", &client, &text),
                     WEFT_EUSAGE);
    assert_non_null(strstr(text.text, "weft enroll"));
    assert_int_equal(weft_client_open(fabric_path(&fabric, "none.json"), &client, &text),
                     WEFT_ENOTFOUND);
}

static void accepting_times_out(void **state)
{
    weft_conn *conn;
    weft_why text = {""};
    (void)state;
    assert_int_equal(weft_server_accept(server, 50, &conn, &text), WEFT_ETIMEDOUT);
}

struct accepting {
    weft_server *server;
    weft_err err;
};

static void *accept_for_ever(void *arg)
{
    struct accepting *a = arg;
    weft_conn *conn;
    weft_why why = {""};
    a->err = weft_server_accept(a->server, 0, &conn, &why);
    return NULL;
}

static void closing_a_server_wakes_who_accepts(void **state)
{
    weft_server *other;
    pthread_t thread;
    const struct timespec moment = {.tv_nsec = 50000000};
    (void)state;
    ok(weft_client_listen(host_client, "web", &other, &why));
    struct accepting a = {.server = other, .err = WEFT_OK};
    assert_int_equal(pthread_create(&thread, NULL, accept_for_ever, &a), 0);
    nanosleep(&moment, NULL);
    weft_server_close(other);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(a.err, WEFT_ECANCELED);
}

static int setup(void **state)
{
    weft_why why = {""};
    (void)state;
    fabric_open(&fabric, 1);
    fabric_share(&fabric, "web");
    host_client = open_client("web-host.jwt");
    dial_client = open_client("web-dial.jwt");
    if (weft_client_listen(host_client, "web", &server, &why) != WEFT_OK ||
        weft_server_wait_bound(server, 10000, &why) != WEFT_OK) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    weft_server_close(server);
    weft_client_close(dial_client);
    weft_client_close(host_client);
    fabric_close(&fabric);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_and_an_answer_with_clean_ends),
        cmocka_unit_test(a_read_times_out_and_the_connection_lives_on),
        cmocka_unit_test(a_write_times_out_when_nobody_reads),
        cmocka_unit_test(closing_without_an_end_is_a_reset),
        cmocka_unit_test(four_threads_move_megabytes_both_ways),
        cmocka_unit_test(many_threads_dial_one_server_with_many_threads),
        cmocka_unit_test(a_refused_dial_says_why),
        cmocka_unit_test(an_inline_token_is_no_identity),
        cmocka_unit_test(accepting_times_out),
        cmocka_unit_test(closing_a_server_wakes_who_accepts),
    };
    return cmocka_run_group_tests_name("sdk_client", tests, setup, teardown);
}
