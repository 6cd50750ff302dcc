/*
 * weft post: one HTTP request to a service by name.
 *
 * Happy path: dial -> the host is verified -> write the head and the body as
 * the stream takes them -> end -> the answer -> close -> the loop ends.
 * - nothing was written yet and the dial failed in a way that may pass
 *   (no host, backend away, not reachable, timed out, lost), or the host itself refused the session
 *   (what it held of it is gone): again, if tries are left
 * - an answer of 429 or 503: again, with the same idempotency key
 * - the stream was lost after bytes were written: an error, never again, as
 *   the server may have acted on them
 * - the answer comes before the request is out: the answer counts
 * - the answer is complete and the server keeps the connection: it has LINGER_MS to end it, so that
 *   its side sees an orderly end
 * - the deadline passes, over all tries: WEFT_ETIMEDOUT, or the last try's failure if nothing of
 * the present one was written
 */
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/base/id.h"
#include "proto/base/list.h"
#include "proto/base/text.h"
#include "proto/http/message.h"
#include "sdk/cli/cli.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <uv.h>

#define BODY_MAX (256u * 1024u * 1024u)
#define ANSWER_MAX (1024ull * 1024ull * 1024ull)
#define LINGER_MS 200u
#define RETRY_WAIT_MIN_MS 200u
#define RETRY_WAIT_MAX_MS 10000u

const struct wf_option cli_post_options[] = {
    {"data", WF_OPTION_TEXT, "@FILE|-|TEXT", "the body: a file, stdin, or the text itself"},
    {"method", WF_OPTION_TEXT, "M", "POST unless said otherwise"},
    {"header", WF_OPTION_LIST, "K:V", "a header of the request"},
    {"timeout", WF_OPTION_TEXT, "TIME", "for everything, all tries included (30s)"},
    {"retry", WF_OPTION_TEXT, "N",
     "tries after the first, where the request can't have been processed"},
    {"webhook-secret-file", WF_OPTION_TEXT, "FILE",
     "signs the body: X-Hub-Signature-256 (or WEFT_WEBHOOK_SECRET holds the secret)"},
    {"durable", WF_OPTION_FLAG, NULL,
     "sealed and queued for a receiver that is away (not built yet)"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};

struct post {
    weft_endpoint *endpoint; /* owned until closed */
    weft_stream *stream;     /* owned by the endpoint; NULL while none is open */
    wf_http_parser *parser;  /* owned: of this try's answer */
    uv_timer_t deadline, wait;
    const char *service; /* borrowed: argv */
    wf_buf request;      /* owned: head and body */
    size_t written;      /* of this try */
    long tries_left;
    unsigned tries;   /* begun */
    uint64_t begun;   /* ms, of the loop's clock */
    weft_err failure; /* of the last try that failed, and failure_text what it said */
    wf_why failure_text;
    unsigned wait_ms;
    unsigned status; /* of this try's answer; 0: none yet */
    unsigned retry_after_s;
    bool finished; /* the answer is complete */
    bool is_head;
    bool opened; /* the host accepted this try */
    bool leaving;
    weft_err err;
    wf_why *why; /* borrowed: outlives the loop's run */
};

static void leave(struct post *p, weft_err err)
{
    if (p->leaving)
        return;
    p->leaving = true;
    p->err = err;
    uv_close((uv_handle_t *)&p->deadline, NULL);
    uv_close((uv_handle_t *)&p->wait, NULL);
    weft_endpoint_close(p->endpoint, NULL, NULL);
}

static void begin_try(struct post *p);

static void on_wait(uv_timer_t *timer)
{
    begin_try(wf_container_of(timer, struct post, wait));
}

/* " (11 tries in 30 s)", or "" when none but the first was asked for. */
static const char *tries_text(const struct post *p, char out[64])
{
    uint64_t ms = uv_now(weft_endpoint_loop(p->endpoint)) - p->begun;
    out[0] = 0;
    if (p->tries > 1 || p->tries_left > 0)
        snprintf(out, 64, " (%u %s in %.*f s)", p->tries, p->tries == 1 ? "try" : "tries",
                 ms < 10000 ? 1 : 0, (double)ms / 1000);
    return out;
}

static void leave_with_failure(struct post *p)
{
    char text[64];
    leave(p, cli_not_reached(p->service, p->failure, p->failure_text.text, tries_text(p, text),
                             p->why));
}

static void try_again(struct post *p)
{
    unsigned ms = p->retry_after_s != 0 ? p->retry_after_s * 1000 : p->wait_ms;
    p->tries_left--;
    p->wait_ms = 2 * p->wait_ms < RETRY_WAIT_MAX_MS ? 2 * p->wait_ms : RETRY_WAIT_MAX_MS;
    uv_timer_start(&p->wait, on_wait, ms, 0);
}

/* ---- the answer */

static bool wants_another_try(const struct post *p)
{
    return p->tries_left > 0 && (p->status == 429 || p->status == 503);
}

static weft_err on_head(void *arg, const struct wf_http_head *head)
{
    struct post *p = arg;
    p->status = head->status;
    wf_span after = wf_http_find(head, "retry-after");
    p->retry_after_s = 0;
    for (size_t i = 0; i < after.len && i < 3;
         i++) /* up to 999 s; dates are left to the back-off */
        if (after.data[i] >= '0' && after.data[i] <= '9')
            p->retry_after_s = p->retry_after_s * 10 + (unsigned)(after.data[i] - '0');
    if (!wants_another_try(p))
        fprintf(stderr, "HTTP %u\n", head->status);
    return WEFT_OK;
}

static weft_err on_body(void *arg, wf_span data)
{
    struct post *p = arg;
    if (wants_another_try(p))
        return WEFT_OK;
    return fwrite(data.data, 1, data.len, stdout) == data.len ? WEFT_OK : WEFT_EIO;
}

static weft_err on_end(void *arg)
{
    ((struct post *)arg)->finished = true;
    return WEFT_OK;
}

static const struct wf_http_handler answer_handler = {on_head, on_body, on_end};

/* ---- the stream */

static void drop_stream(struct post *p)
{
    weft_stream *stream = p->stream;
    p->stream = NULL;
    if (stream != NULL)
        weft_stream_close(stream);
}

/* What the complete answer means. */
static void settle(struct post *p)
{
    drop_stream(p);
    if (wants_another_try(p)) {
        p->failure = wf_fail(&p->failure_text, WEFT_EIO, "the server answered HTTP %u", p->status);
        try_again(p);
        return;
    }
    if (p->status >= 200 && p->status < 300)
        leave(p, WEFT_OK);
    else
        leave(p, wf_fail(p->why, WEFT_EIO, "the server behind %s answered HTTP %u", p->service,
                         p->status));
}

static void on_linger(uv_timer_t *timer)
{
    settle(wf_container_of(timer, struct post, wait));
}

static void conclude(struct post *p)
{
    if (p->written == p->request.len)
        uv_timer_start(&p->wait, on_linger, LINGER_MS, 0);
    else
        settle(p);
}

static void write_some(struct post *p)
{
    size_t taken = 0;
    if (p->stream == NULL || p->written == p->request.len)
        return;
    weft_err err = weft_stream_write(p->stream, p->request.data + p->written,
                                     p->request.len - p->written, &taken);
    p->written += taken;
    if (err != WEFT_OK)
        return; /* `closed` follows and says why */
    if (p->written == p->request.len)
        (void)weft_stream_end(p->stream);
}

static void on_opened(weft_stream *stream, void *arg, const struct weft_peer *peer)
{
    struct post *p = arg;
    (void)stream, (void)peer;
    p->opened = true;
    write_some(p);
}

static size_t on_data(weft_stream *stream, void *arg, const uint8_t *data, size_t len)
{
    struct post *p = arg;
    size_t taken;
    (void)stream;
    if (p->stream == NULL || p->finished)
        return len;
    weft_err err = wf_http_parser_feed(p->parser, data, len, true, &taken, p->why);
    if (err != WEFT_OK) {
        drop_stream(p);
        leave(p, wf_wrap(p->why, err, "the answer of %s", p->service));
    } else if (p->finished) {
        conclude(p);
    }
    return len;
}

static void on_ended(weft_stream *stream, void *arg)
{
    struct post *p = arg;
    (void)stream;
    if (p->stream == NULL)
        return;
    if (p->finished) { /* both ends have crossed: the rest is leave-taking, and the library's own */
        uv_timer_stop(&p->wait);
        settle(p);
        return;
    }
    weft_err err = wf_http_parser_finish(p->parser, p->why);
    if (err == WEFT_OK && !p->finished)
        err = wf_fail(p->why, WEFT_EPROTO, "the server closed without an answer");
    if (err == WEFT_OK) {
        conclude(p);
    } else {
        drop_stream(p);
        leave(p, wf_wrap(p->why, err, "%s", p->service));
    }
}

static void on_writable(weft_stream *stream, void *arg)
{
    (void)stream;
    write_some(arg);
}

/* Whether the server can't have seen anything of this try, and the next one may fare better. */
static bool may_try_again(const struct post *p, weft_err err)
{
    if (p->written > 0)
        return !p->opened && (err == WEFT_EBACKEND || err == WEFT_EBUSY || err == WEFT_ENOHOST);
    return err == WEFT_ENOHOST || err == WEFT_EBACKEND || err == WEFT_EUNREACHABLE ||
           err == WEFT_ETIMEDOUT || err == WEFT_ELOST || err == WEFT_EBUSY;
}

static void on_closed(weft_stream *stream, void *arg, weft_err err, const char *why)
{
    struct post *p = arg;
    if (p->stream != stream) /* we let it go ourselves */
        return;
    p->stream = NULL;
    if (p->finished) {
        uv_timer_stop(&p->wait);
        settle(p);
        return;
    }
    if (err == WEFT_OK)
        err = WEFT_ELOST;
    p->failure =
        wf_fail(&p->failure_text, err, "%s", why != NULL && *why ? why : weft_err_sentence(err));
    if (may_try_again(p, err) && p->tries_left > 0)
        try_again(p);
    else
        leave_with_failure(p);
}

static const struct weft_stream_handler stream_handler = {
    .opened = on_opened,
    .data = on_data,
    .ended = on_ended,
    .writable = on_writable,
    .closed = on_closed,
};

static void begin_try(struct post *p)
{
    wf_http_parser_free(p->parser);
    p->parser = NULL;
    p->tries++;
    p->written = 0;
    p->opened = false;
    p->status = 0;
    p->finished = false;
    weft_err err = wf_http_parser_new(WF_HTTP_ANSWERS, ANSWER_MAX, &answer_handler, p, &p->parser);
    if (err == WEFT_OK && p->is_head)
        wf_http_parser_expect_no_body(p->parser);
    if (err == WEFT_OK)
        err = weft_dial(p->endpoint, p->service, NULL, &stream_handler, p, &p->stream, p->why);
    if (err != WEFT_OK)
        leave(p, err);
}

static void on_deadline(uv_timer_t *timer)
{
    struct post *p = wf_container_of(timer, struct post, deadline);
    bool nothing_sent = p->stream == NULL || p->written == 0;
    drop_stream(p);
    if (p->failure != WEFT_OK && nothing_sent)
        leave_with_failure(p);
    else
        leave(p, wf_fail(p->why, WEFT_ETIMEDOUT, "%s: no answer in time (--timeout)", p->service));
}

/* ---- the request */

static weft_err read_body(const char *data, wf_buf *body, wf_why *why)
{
    if (data == NULL)
        return WEFT_OK;
    if (strcmp(data, "-") == 0 || strcmp(data, "@-") == 0)
        return wf_file_read("-", body, why);
    if (data[0] == '@')
        return wf_file_read(data + 1, body, why);
    return wf_buf_put_text(body, data);
}

/* "K: V" as typed, with or without the blank. */
static weft_err put_header(struct post *p, const char *typed, bool *has_type, bool *has_key,
                           wf_why *why)
{
    char name[256];
    const char *colon = strchr(typed, ':');
    if (colon == NULL || (size_t)(colon - typed) >= sizeof name)
        return wf_fail(why, WEFT_EUSAGE, "--header takes K:V, not \"%s\"", typed);
    snprintf(name, sizeof name, "%.*s", (int)(colon - typed), typed);
    for (const char *const *own =
             (const char *const[]){"host", "content-length", "transfer-encoding", "connection",
                                   "trailer", "upgrade", NULL};
         *own != NULL; own++)
        if (strcasecmp(name, *own) == 0)
            return wf_fail(why, WEFT_EUSAGE, "--header %s: weft post sets that one itself", name);
    *has_type = *has_type || strcasecmp(name, "content-type") == 0;
    *has_key = *has_key || strcasecmp(name, "idempotency-key") == 0;
    colon++;
    while (*colon == ' ' || *colon == '\t')
        colon++;
    return wf_http_put_field(&p->request, name, colon, why);
}

static weft_err put_signature(const struct wf_call_line *line, struct post *p, const wf_buf *body,
                              wf_why *why)
{
    const char *file = wf_line_text(line, "webhook-secret-file");
    const char *text = getenv("WEFT_WEBHOOK_SECRET");
    char signature[CLI_SIGNATURE_TEXT];
    wf_buf secret;
    weft_err err = WEFT_OK;
    wf_buf_init(&secret, 65536);
    if (file != NULL) {
        err = wf_file_read(file, &secret, why);
        while (err == WEFT_OK && secret.len != 0 &&
               (secret.data[secret.len - 1] == '\n' || secret.data[secret.len - 1] == '\r'))
            secret.len--;
    } else if (text != NULL && *text != 0) {
        err = wf_buf_put_text(&secret, text);
    } else {
        return WEFT_OK;
    }
    if (err == WEFT_OK && secret.len == 0)
        err = wf_fail(why, WEFT_EUSAGE, "the webhook secret is empty");
    if (err == WEFT_OK) {
        cli_sign(secret.data, secret.len, body->data, body->len, signature);
        err = wf_http_put_field(&p->request, "X-Hub-Signature-256", signature, why);
    }
    wf_buf_wipe(&secret);
    return err;
}

static weft_err make_request(const struct wf_call_line *line, struct post *p, wf_why *why)
{
    const char *method = wf_line_text(line, "method"), *typed;
    bool has_type = false, has_key = false;
    char text[64];
    wf_buf body;
    wf_buf_init(&body, BODY_MAX);
    if (method == NULL)
        method = "POST";
    p->is_head = strcmp(method, "HEAD") == 0;
    weft_err err = read_body(wf_line_text(line, "data"), &body, why);
    if (err != WEFT_OK)
        goto done;
    err = wf_http_put_request(&p->request, method, wf_line_arg(line, 1), p->service, why);
    for (size_t i = 0; err == WEFT_OK && (typed = wf_line_list(line, "header", i)) != NULL; i++)
        err = put_header(p, typed, &has_type, &has_key, why);
    if (err == WEFT_OK && body.len != 0 && !has_type)
        err = wf_http_put_field(&p->request, "Content-Type",
                                body.data[0] == '{' || body.data[0] == '['
                                    ? "application/json"
                                    : "application/octet-stream",
                                why);
    if (err == WEFT_OK && p->tries_left > 0 && !has_key) {
        char id[WF_ID_TEXT];
        wf_id fresh = wf_id_random();
        err = wf_http_put_field(&p->request, "Idempotency-Key", wf_id_text(&fresh, id), why);
    }
    if (err == WEFT_OK)
        err = put_signature(line, p, &body, why);
    snprintf(text, sizeof text, "%zu", body.len);
    if (err == WEFT_OK)
        err = wf_http_put_field(&p->request, "Content-Length", text, why);
    if (err == WEFT_OK)
        err = wf_http_put_field(&p->request, "Connection", "close", why);
    if (err == WEFT_OK)
        err = wf_http_put_end(&p->request);
    if (err == WEFT_OK)
        err = wf_buf_put(&p->request, body.data, body.len);
done:
    wf_buf_fini(&body);
    return err == WEFT_EINVAL ? WEFT_EUSAGE : err;
}

weft_err cli_post(const struct wf_call_line *line, wf_why *why)
{
    struct post p = {.service = wf_line_arg(line, 0), .wait_ms = RETRY_WAIT_MIN_MS, .why = why};
    struct weft_options options = {0};
    char *identity = NULL;
    unsigned timeout;
    wf_buf_init(&p.request, BODY_MAX + WF_HTTP_HEAD_MAX);
    if (wf_line_flag(line, "durable"))
        return wf_fail(why, WEFT_EUSAGE, "--durable is not built yet: post without it");
    weft_err err = wf_name_check(p.service, strlen(p.service), "service's name", why);
    if (err == WEFT_OK)
        err = cli_timeout(line, 30000, &timeout, why);
    if (err == WEFT_OK)
        err = wf_line_number(line, "retry", 0, 0, 100, &p.tries_left, why);
    if (err == WEFT_OK)
        err = make_request(line, &p, why);
    if (err == WEFT_OK)
        err = cli_identity(line, false, &identity, why);
    if (err != WEFT_OK)
        goto done;
    options.identity = identity;
    err = weft_endpoint_open(&options, &p.endpoint, why);
    if (err != WEFT_OK)
        goto done;
    uv_timer_init(weft_endpoint_loop(p.endpoint), &p.deadline);
    uv_timer_init(weft_endpoint_loop(p.endpoint), &p.wait);
    p.begun = uv_now(weft_endpoint_loop(p.endpoint));
    uv_timer_start(&p.deadline, on_deadline, timeout, 0);
    begin_try(&p);
    weft_endpoint_run(p.endpoint);
    err = p.err;
    if (err == WEFT_OK && fflush(stdout) != 0)
        err = wf_fail(why, WEFT_EIO, "stdout: %s", strerror(errno));
done:
    wf_http_parser_free(p.parser);
    wf_buf_fini(&p.request);
    free(identity);
    return err;
}
