/* The strict HTTP/1.1 parser against a corpus, whole and byte by byte with the same verdict. */
#include "proto/http/message.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct seen {
    unsigned heads, ends, status;
    char method[16], target[64];
    char body[4096];
    size_t body_len;
};

static weft_err on_head(void *arg, const struct wf_http_head *head)
{
    struct seen *s = arg;
    s->heads++;
    s->status = head->status;
    if (head->is_request) {
        snprintf(s->method, sizeof s->method, "%.*s", (int)head->method.len, head->method.data);
        snprintf(s->target, sizeof s->target, "%.*s", (int)head->target.len, head->target.data);
    }
    return WEFT_OK;
}

static weft_err on_body(void *arg, wf_span data)
{
    struct seen *s = arg;
    assert_true(s->body_len + data.len <= sizeof s->body);
    memcpy(s->body + s->body_len, data.data, data.len);
    s->body_len += data.len;
    return WEFT_OK;
}

static weft_err on_end(void *arg)
{
    ((struct seen *)arg)->ends++;
    return WEFT_OK;
}

static const struct wf_http_handler handler = {on_head, on_body, on_end};

/* Feeds text in pieces of `piece` bytes (0: whole) and says what came of it. */
static weft_err feed(enum wf_http_side side, const char *text, size_t len, size_t piece,
                     bool finish, struct seen *seen)
{
    wf_http_parser *p;
    wf_why why;
    weft_err err = WEFT_OK;
    memset(seen, 0, sizeof *seen);
    assert_int_equal(wf_http_parser_new(side, 1000, &handler, seen, &p), WEFT_OK);
    if (piece == 0)
        piece = len;
    for (size_t at = 0; at < len && err == WEFT_OK; at += piece) {
        size_t some = len - at < piece ? len - at : piece, taken;
        err = wf_http_parser_feed(p, (const uint8_t *)text + at, some, false, &taken, &why);
        if (err == WEFT_OK)
            assert_int_equal(taken, some);
    }
    if (err == WEFT_OK && finish)
        err = wf_http_parser_finish(p, &why);
    wf_http_parser_free(p);
    return err;
}

struct row {
    const char *name, *text;
    size_t len; /* 0: strlen */
    unsigned messages;
    const char *body;
};

#define OK(name, n, body, text)                                                                    \
    {                                                                                              \
        name, text, sizeof(text) - 1, n, body                                                      \
    }
#define BAD(name, text)                                                                            \
    {                                                                                              \
        name, text, sizeof(text) - 1, 0, NULL                                                      \
    }

static const struct row requests[] = {
    OK("plain", 1, "", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    OK("old", 1, "", "GET / HTTP/1.0\r\n\r\n"),
    OK("length", 1, "hello", "POST /x HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\nhello"),
    OK("zero length", 1, "", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
    OK("chunked", 1, "hello",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
       "chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n"),
    OK("two in a row", 2, "", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    OK("blank around a value", 1, "", "GET / HTTP/1.1\r\nHost: \t a \t\r\n\r\n"),
    OK("absolute form", 1, "", "GET http://a/x HTTP/1.1\r\nHost: A\r\n\r\n"),
    BAD("both lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: "
                        "chunked\r\n\r\n0\r\n\r\n"),
    BAD("two lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    BAD("a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello"),
    BAD("signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello"),
    BAD("hex length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello"),
    BAD("empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"),
    BAD("huge length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"),
    BAD("length over the limit", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n"),
    BAD("bare LF", "GET / HTTP/1.1\nHost: a\n\n"),
    BAD("bare LF in a field", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
    BAD("bare CR", "GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n"),
    BAD("folded field", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n"),
    BAD("blank before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    BAD("field without a colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
    BAD("empty field name", "GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n"),
    BAD("no Host", "GET / HTTP/1.1\r\n\r\n"),
    BAD("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    BAD("Host with a slash", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    BAD("absolute form of another host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD("NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n"),
    BAD("NUL in the target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD("control byte in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n"),
    BAD("space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD("lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n"),
    BAD("version 2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    BAD("no version", "GET /\r\nHost: a\r\n\r\n"),
    BAD("leading empty line", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD("method is no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    BAD("encoding gzip, chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    BAD("encoding twice", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                          "chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    BAD("encoding identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"),
    BAD("chunked in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    BAD("chunk size empty", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\n"),
    BAD("chunk size signed",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+2\r\nhe\r\n0\r\n\r\n"),
    BAD("chunk size 0x",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nhe\r\n0\r\n\r\n"),
    BAD("chunk size with a blank",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nhe\r\n0\r\n\r\n"),
    BAD("chunk size huge",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n"),
    BAD("chunk over the limit",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n"),
    BAD("chunk bare LF",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\nhe\r\n0\r\n\r\n"),
    BAD("chunk data too long",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhel\r\n0\r\n\r\n"),
    BAD("trailer",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n"),
    BAD("announced trailer",
        "POST / HTTP/1.1\r\nHost: a\r\nTrailer: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    BAD("cut in the head", "GET / HTTP/1.1\r\nHost: a\r\n"),
    BAD("cut in the body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell"),
    BAD("cut in a chunk",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"),
};

static const struct row answers[] = {
    OK("plain", 1, "ok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    OK("to the end", 1, "all of it", "HTTP/1.0 200 OK\r\n\r\nall of it"),
    OK("no content", 1, "", "HTTP/1.1 204 No Content\r\n\r\n"),
    OK("interim first", 1, "x",
       "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
    OK("chunked", 1, "ab",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"),
    BAD("not HTTP", "SSH-2.0-OpenSSH_9.2\r\n"),
    BAD("status of four digits", "HTTP/1.1 2000 OK\r\n\r\n"),
    BAD("status 099", "HTTP/1.1 099 OK\r\n\r\n"),
    BAD("status 600", "HTTP/1.1 600 OK\r\n\r\n"),
    BAD("switching protocols", "HTTP/1.1 101 Switching\r\n\r\n"),
    BAD("control byte in the reason", "HTTP/1.1 200 O\x1bK\r\n\r\n"),
    BAD("cut in the body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"),
};

static void run_corpus(enum wf_http_side side, const struct row *rows, size_t count)
{
    static const size_t pieces[] = {0, 1, 2, 3, 7};
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
            struct seen seen;
            weft_err err = feed(side, rows[i].text, rows[i].len, pieces[k], true, &seen);
            if ((err == WEFT_OK) != (rows[i].body != NULL))
                fail_msg("%s (pieces of %zu): %s", rows[i].name, pieces[k], weft_err_name(err));
            if (err != WEFT_OK)
                continue;
            assert_int_equal(seen.ends, rows[i].messages);
            assert_int_equal(seen.body_len, strlen(rows[i].body));
            assert_memory_equal(seen.body, rows[i].body, seen.body_len);
        }
    }
}

static void requests_in_any_doubt_are_refused_however_they_arrive(void **state)
{
    (void)state;
    run_corpus(WF_HTTP_REQUESTS, requests, sizeof requests / sizeof *requests);
}

static void answers_in_any_doubt_are_refused_however_they_arrive(void **state)
{
    (void)state;
    run_corpus(WF_HTTP_ANSWERS, answers, sizeof answers / sizeof *answers);
}

static void a_head_over_its_limit_is_refused_and_one_at_the_limit_is_not(void **state)
{
    (void)state;
    static char text[WF_HTTP_HEAD_MAX + 16];
    struct seen seen;
    for (int over = 0; over < 2; over++) {
        size_t n = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
        memset(text + n, 'y', sizeof text - n);
        size_t total = WF_HTTP_HEAD_MAX + (size_t)over;
        memcpy(text + total - 4, "\r\n\r\n", 4);
        weft_err err = feed(WF_HTTP_REQUESTS, text, total, 100, false, &seen);
        assert_int_equal(err, over ? WEFT_ELIMIT : WEFT_OK);
    }
}

static void too_many_fields_are_refused(void **state)
{
    (void)state;
    char text[2048];
    struct seen seen;
    for (unsigned extra = 0; extra < 2; extra++) {
        size_t n = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: a\r\n");
        for (unsigned i = 0; i < WF_HTTP_FIELDS_MAX - 1 + extra; i++)
            n += (size_t)sprintf(text + n, "X: y\r\n");
        n += (size_t)sprintf(text + n, "\r\n");
        assert_int_equal(feed(WF_HTTP_REQUESTS, text, n, 0, false, &seen),
                         extra ? WEFT_ELIMIT : WEFT_OK);
    }
}

static void an_answer_to_head_has_no_body(void **state)
{
    (void)state;
    struct seen seen = {0};
    wf_http_parser *p;
    size_t taken;
    const char *text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert_int_equal(wf_http_parser_new(WF_HTTP_ANSWERS, 1000, &handler, &seen, &p), WEFT_OK);
    wf_http_parser_expect_no_body(p);
    assert_int_equal(
        wf_http_parser_feed(p, (const uint8_t *)text, strlen(text), false, &taken, NULL), WEFT_OK);
    assert_int_equal(seen.ends, 1);
    wf_http_parser_free(p);
}

static void one_message_is_taken_and_the_bytes_behind_it_are_left(void **state)
{
    (void)state;
    struct seen seen = {0};
    wf_http_parser *p;
    size_t taken;
    const char *text = "GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
    assert_int_equal(wf_http_parser_new(WF_HTTP_REQUESTS, 0, &handler, &seen, &p), WEFT_OK);
    assert_int_equal(
        wf_http_parser_feed(p, (const uint8_t *)text, strlen(text), true, &taken, NULL), WEFT_OK);
    assert_int_equal(taken, strlen(text) - 4);
    wf_http_parser_free(p);
}

static void an_error_is_final(void **state)
{
    (void)state;
    struct seen seen = {0};
    wf_http_parser *p;
    size_t taken;
    assert_int_equal(wf_http_parser_new(WF_HTTP_REQUESTS, 0, &handler, &seen, &p), WEFT_OK);
    assert_int_equal(wf_http_parser_feed(p, (const uint8_t *)"\n", 1, false, &taken, NULL),
                     WEFT_EPROTO);
    const char *good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_int_equal(
        wf_http_parser_feed(p, (const uint8_t *)good, strlen(good), false, &taken, NULL),
        WEFT_EPROTO);
    assert_int_equal(seen.heads, 0);
    wf_http_parser_free(p);
}

static void what_could_inject_is_never_written(void **state)
{
    (void)state;
    wf_buf out;
    wf_why why;
    wf_buf_init(&out, 4096);
    assert_int_equal(wf_http_put_field(&out, "X", "a\r\nEvil: b", &why), WEFT_EINVAL);
    assert_int_equal(wf_http_put_field(&out, "X: y\r\nZ", "a", &why), WEFT_EINVAL);
    assert_int_equal(wf_http_put_field(&out, "", "a", &why), WEFT_EINVAL);
    assert_int_equal(wf_http_put_request(&out, "GET", "/a b", "h", &why), WEFT_EINVAL);
    assert_int_equal(wf_http_put_request(&out, "GET", "http://x/", "h", &why), WEFT_EINVAL);
    assert_int_equal(wf_http_put_request(&out, "GET\r\n", "/", "h", &why), WEFT_EINVAL);
    assert_int_equal(wf_http_put_request(&out, "GET", "/", "h\r\nx", &why), WEFT_EINVAL);
    assert_int_equal(out.len, 0);
    assert_int_equal(wf_http_put_request(&out, "POST", "/hook?x=1", "web", &why), WEFT_OK);
    assert_int_equal(wf_http_put_field(&out, "Content-Length", "0", &why), WEFT_OK);
    assert_int_equal(wf_http_put_end(&out), WEFT_OK);
    assert_string_equal(wf_buf_cstr(&out),
                        "POST /hook?x=1 HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\n\r\n");
    wf_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_in_any_doubt_are_refused_however_they_arrive),
        cmocka_unit_test(answers_in_any_doubt_are_refused_however_they_arrive),
        cmocka_unit_test(a_head_over_its_limit_is_refused_and_one_at_the_limit_is_not),
        cmocka_unit_test(too_many_fields_are_refused),
        cmocka_unit_test(an_answer_to_head_has_no_body),
        cmocka_unit_test(one_message_is_taken_and_the_bytes_behind_it_are_left),
        cmocka_unit_test(an_error_is_final),
        cmocka_unit_test(what_could_inject_is_never_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
