/* The server's two sessions without a socket: missing memory, late answers, the handler's rights.
 */
#include "proto/http/internal.h"
#include "tests/helpers/alloc.h"
#include "tests/helpers/test.h"
#include <string.h>

static const char h1_text[] =
    "POST /echo?x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello";
/* preface, SETTINGS, HEADERS (POST, https, /, :authority localhost), DATA "hello" with the end */
static const char h2_text[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
                              "\0\0\016\1\4\0\0\0\1\203\207\204\101\011localhost"
                              "\0\0\5\0\1\0\0\0\1hello";

static wf_http_exchange *kept;
static bool keep;
static unsigned asked;
static const struct wf_http_field *extra;

static void on_request(void *arg, wf_http_exchange *x, const struct wf_http_request *r)
{
    (void)arg;
    asked++;
    assert_int_equal(r->body.len, 5);
    assert_memory_equal(r->host.data, "localhost", 9);
    if (keep)
        kept = x;
    else
        wf_http_answer(x, 200, extra, extra != NULL, r->body);
}

static void on_wake(void *arg)
{
    (void)arg;
}

static struct wf_http_service service = {
    .request = on_request,
    .body_max = 1000,
    .limits = {.streams = 10,
               .handshake_ms = 1000,
               .head_ms = 1000,
               .idle_ms = 1000,
               .grace_ms = 1000,
               .rate_min = 1000,
               .bodies = 5000},
};
static const struct wf_http_peer peer = {.remote = "127.0.0.1:1", .secure = true};
static wf_buf said;

static weft_err draw(wf_http_session *s)
{
    weft_err err;
    size_t before;
    do {
        before = said.len;
        err = s->ops->draw(s, &said, 1);
    } while (err == WEFT_OK && said.len > before);
    return err;
}

/* One request through a new session; *out is NULL if there was no memory for it. */
static weft_err converse(bool two, wf_http_session **out)
{
    size_t taken;
    *out = NULL;
    wf_buf_clear(&said);
    weft_err err = (two ? wf_http_h2_new : wf_http_h1_new)(&service, &peer, on_wake, NULL, 1, out);
    if (err == WEFT_OK)
        err =
            two ? (*out)->ops->feed(*out, (const uint8_t *)h2_text, sizeof h2_text - 1, 1, &taken)
                : (*out)->ops->feed(*out, (const uint8_t *)h1_text, sizeof h1_text - 1, 1, &taken);
    if (err == WEFT_OK)
        err = draw(*out);
    if (err == WEFT_OK && (*out)->broken)
        err = WEFT_ENOMEM;
    return err;
}

static bool was_said(const char *text)
{
    return memmem(said.data, said.len, text, strlen(text)) != NULL;
}

static void a_session_without_memory_ends_and_leaks_nothing(void **state)
{
    (void)state;
    for (int two = 0; two < 2; two++)
        for (unsigned n = 1;; n++) {
            wf_http_session *s;
            alloc_fail_at(n);
            weft_err err = converse(two, &s);
            bool failed = alloc_has_failed();
            alloc_fail_at(0);
            if (s != NULL)
                s->ops->free(s);
            assert_int_equal(service.counters.body_bytes, 0);
            if (!failed) {
                assert_int_equal(err, WEFT_OK);
                assert_true(was_said("hello"));
                break;
            }
            if (err == WEFT_OK)
                assert_false(was_said("hello")); /* that stream alone got 503 */
            else
                assert_int_equal(err, WEFT_ENOMEM);
            assert_true(n < 1000);
        }
}

static void a_request_outlives_its_connection_until_it_is_answered(void **state)
{
    (void)state;
    keep = true;
    for (int two = 0; two < 2; two++) {
        wf_http_session *s;
        assert_int_equal(converse(two, &s), WEFT_OK);
        assert_non_null(kept);
        s->ops->free(s);
        assert_int_equal(service.counters.body_bytes, 0);
        assert_memory_equal(kept->request.body.data, "hello", 5);
        assert_string_equal(kept->request.remote, "127.0.0.1:1");
        wf_http_answer(kept, 200, NULL, 0, kept->request.body);
        kept = NULL;
    }
    keep = false;
}

static void an_answer_that_could_inject_becomes_500(void **state)
{
    static const struct wf_http_field bad[] = {
        {{(const uint8_t *)"X", 1}, {(const uint8_t *)"a\r\nSet-Cookie: b", 16}},
        {{(const uint8_t *)"X\n", 2}, {(const uint8_t *)"a", 1}},
        {{(const uint8_t *)"Content-Length", 14}, {(const uint8_t *)"1", 1}},
        {{(const uint8_t *)"X", 1}, {(const uint8_t *)"a\0b", 3}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        wf_http_session *s;
        extra = &bad[i];
        assert_int_equal(converse(false, &s), WEFT_OK);
        assert_true(was_said("HTTP/1.1 500 "));
        assert_false(was_said("Set-Cookie"));
        assert_false(was_said("hello"));
        s->ops->free(s);
    }
    extra = NULL;
}

static void what_comes_or_goes_too_slowly_has_an_end_that_does_not_move(void **state)
{
    static const char part[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n";
    wf_http_session *s;
    size_t taken;
    (void)state;
    wf_buf_clear(&said);
    assert_int_equal(wf_http_h1_new(&service, &peer, on_wake, NULL, 1, &s), WEFT_OK);
    assert_int_equal(s->ops->deadline(s), 1001); /* idle */
    assert_int_equal(s->ops->feed(s, (const uint8_t *)part, 10, 500, &taken), WEFT_OK);
    assert_int_equal(s->ops->deadline(s), 1500); /* the head, from its first byte */
    assert_int_equal(s->ops->feed(s, (const uint8_t *)part + 10, 10, 900, &taken), WEFT_OK);
    assert_int_equal(s->ops->deadline(s), 1500);
    assert_int_equal(s->ops->feed(s, (const uint8_t *)part + 20, sizeof part - 21, 1000, &taken),
                     WEFT_OK);
    assert_int_equal(s->ops->deadline(s), 2000); /* the body: 1,000 bytes a second from then */
    assert_int_equal(s->ops->feed(s, (const uint8_t *)part, 40, 1900, &taken), WEFT_OK);
    assert_int_equal(s->ops->deadline(s), 2040);
    assert_int_equal(s->ops->expire(s, 2040), WEFT_OK);
    assert_int_equal(draw(s), WEFT_OK);
    assert_true(was_said("HTTP/1.1 408 "));
    assert_true(s->ops->is_done(s));
    s->ops->free(s);
}

static int begin(void **state)
{
    (void)state;
    wf_buf_init(&said, 1u << 20);
    return 0;
}

static int end(void **state)
{
    (void)state;
    wf_buf_fini(&said);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_session_without_memory_ends_and_leaks_nothing, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_request_outlives_its_connection_until_it_is_answered,
                                        begin, end),
        cmocka_unit_test_setup_teardown(an_answer_that_could_inject_becomes_500, begin, end),
        cmocka_unit_test_setup_teardown(what_comes_or_goes_too_slowly_has_an_end_that_does_not_move,
                                        begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
