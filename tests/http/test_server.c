/* The small HTTP server: what strangers and missing memory do to it. */
#include "proto/base/clock.h"
#include "proto/http/server.h"
#include "tests/helpers/alloc.h"
#include "tests/helpers/test.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

static uv_loop_t loop;
static wf_http_server *server;

static void on_request(void *arg, wf_http_exchange *exchange, const struct wf_http_request *request)
{
    (void)arg, (void)request;
    wf_http_answer(exchange, 200, NULL, 0, wf_span_of("hello\n", 6));
}

static int open_server(void **state)
{
    const struct wf_http_server_config config = {
        .address = &(const wf_address){.host = "127.0.0.1"}, .request = on_request};
    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(wf_http_server_open(&loop, &config, &server, NULL), WEFT_OK);
    return 0;
}

static int close_server(void **state)
{
    (void)state;
    wf_http_server_close(server);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

static int connected(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(wf_http_server_port(server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

/* What came until the server closed, as text; false: it didn't within 5 s. */
static bool read_to_end(int fd, char *out, size_t cap)
{
    uint64_t end = wf_now_mono_ms() + 5000;
    size_t len = 0;
    while (wf_now_mono_ms() < end) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        ssize_t n = read(fd, out + len, cap - 1 - len);
        if (n == 0 || (n < 0 && errno == ECONNRESET)) {
            out[len] = '\0';
            return true;
        }
        if (n > 0)
            len += (size_t)n;
        else
            uv_sleep(1);
    }
    return false;
}

static void assert_served(void)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
    char text[1024];
    int fd = connected();
    assert_int_equal(write(fd, request, sizeof request - 1), sizeof request - 1);
    assert_true(read_to_end(fd, text, sizeof text));
    assert_non_null(strstr(text, "200 OK"));
    assert_non_null(strstr(text, "hello\n"));
    close(fd);
}

static void a_listener_accepts_again_after_memory_was_short(void **state)
{
    char text[1024];
    int strangers[3];
    (void)state;
    assert_served();
    for (size_t i = 0; i < 3; i++)
        strangers[i] = connected();
    alloc_fail_all();
    for (int i = 0; i < 10; i++)
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    bool failed = alloc_has_failed();
    alloc_fail_at(0);
    assert_true(failed);
    for (size_t i = 0; i < 3; i++) {
        assert_true(read_to_end(strangers[i], text, sizeof text)); /* refused, not left waiting */
        close(strangers[i]);
    }
    assert_served();
}

static void a_server_may_close_while_it_refuses(void **state)
{
    (void)state;
    int stranger = connected();
    alloc_fail_all();
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    bool failed = alloc_has_failed();
    alloc_fail_at(0);
    assert_true(failed);
    close(stranger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_listener_accepts_again_after_memory_was_short,
                                        open_server, close_server),
        cmocka_unit_test_setup_teardown(a_server_may_close_while_it_refuses, open_server,
                                        close_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
