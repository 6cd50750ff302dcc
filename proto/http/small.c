/*
 * Happy path: accept -> read until the parser ends one request -> write the
 * answer -> shut down -> close.
 * - no room for another connection: it is accepted and closed at once
 * - the deadline passes, the peer leaves, the request is in doubt: 400 where
 *   it can still be said, and close
 * - the server closes: every connection closes; the last one frees the server
 */
#include "proto/http/small.h"
#include "proto/base/list.h"
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct wf_http_small {
    uv_tcp_t tcp;
    unsigned (*request)(void *arg, const struct wf_http_head *head, wf_buf *body,
                        const char **type);
    void *arg;           /* borrowed: outlives us */
    wf_node connections; /* of struct connection */
    size_t count;
    bool closing;
    bool tcp_open;
    uv_tcp_t spare; /* for a connection that there is no memory for */
    bool spare_busy, spare_wanted;
};

struct connection {
    wf_node node;
    wf_http_small *server; /* borrowed: outlives us */
    uv_tcp_t tcp;
    uv_timer_t deadline;
    unsigned open_handles;
    wf_http_parser *parser; /* owned */
    uv_write_t write;
    wf_buf answer; /* owned */
    bool answered;
    char input[4096];
};

static void server_maybe_free(wf_http_small *s)
{
    if (s->closing && !s->tcp_open && !s->spare_busy && s->count == 0)
        free(s);
}

static void connection_handle_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    if (--c->open_handles != 0)
        return;
    wf_http_small *s = c->server;
    wf_list_remove(&c->node);
    s->count--;
    wf_http_parser_free(c->parser);
    wf_buf_fini(&c->answer);
    free(c);
    server_maybe_free(s);
}

static void connection_close(struct connection *c)
{
    if (uv_is_closing((uv_handle_t *)&c->tcp))
        return;
    uv_close((uv_handle_t *)&c->deadline, connection_handle_closed);
    uv_close((uv_handle_t *)&c->tcp, connection_handle_closed);
}

static void on_written(uv_write_t *write, int status)
{
    (void)status;
    connection_close(wf_container_of(write, struct connection, write));
}

static void answer(struct connection *c, unsigned status, const char *type, const wf_buf *body)
{
    char length[32];
    snprintf(length, sizeof length, "%zu", body->len);
    c->answered = true;
    uv_read_stop((uv_stream_t *)&c->tcp);
    weft_err err = wf_http_put_answer(&c->answer, status);
    if (err == WEFT_OK)
        err = wf_http_put_field(&c->answer, "Content-Type", type, NULL);
    if (err == WEFT_OK)
        err = wf_http_put_field(&c->answer, "Content-Length", length, NULL);
    if (err == WEFT_OK)
        err = wf_http_put_field(&c->answer, "Connection", "close", NULL);
    if (err == WEFT_OK)
        err = wf_http_put_end(&c->answer);
    if (err == WEFT_OK)
        err = wf_buf_put(&c->answer, body->data, body->len);
    uv_buf_t out = uv_buf_init((char *)c->answer.data, (unsigned)c->answer.len);
    if (err != WEFT_OK || uv_write(&c->write, (uv_stream_t *)&c->tcp, &out, 1, on_written) != 0)
        connection_close(c);
}

static void answer_text(struct connection *c, unsigned status)
{
    wf_buf body;
    wf_buf_init(&body, 256);
    if (wf_buf_printf(&body, "%s\n", wf_http_reason(status)) == WEFT_OK)
        answer(c, status, "text/plain; charset=utf-8", &body);
    else
        connection_close(c);
    wf_buf_fini(&body);
}

static weft_err on_head(void *arg, const struct wf_http_head *head)
{
    struct connection *c = arg;
    if (head->chunked || (head->has_length && head->length != 0)) {
        answer_text(c, 413);
        return WEFT_ELIMIT;
    }
    wf_buf body;
    const char *type = "text/plain; charset=utf-8";
    wf_buf_init(&body, WF_HTTP_SMALL_ANSWER_MAX);
    unsigned status = c->server->request(c->server->arg, head, &body, &type);
    answer(c, status, type, &body);
    wf_buf_fini(&body);
    return WEFT_OK;
}

static weft_err on_body(void *arg, wf_span data)
{
    (void)arg, (void)data;
    return WEFT_ELIMIT;
}

static weft_err on_end(void *arg)
{
    (void)arg;
    return WEFT_OK;
}

static const struct wf_http_handler request_handler = {on_head, on_body, on_end};

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct connection *c = handle->data;
    (void)suggested;
    *out = uv_buf_init(c->input, sizeof c->input);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *c = stream->data;
    size_t taken;
    if (n < 0) {
        connection_close(c);
        return;
    }
    weft_err err =
        wf_http_parser_feed(c->parser, (const uint8_t *)buf->base, (size_t)n, true, &taken, NULL);
    if (err != WEFT_OK && !c->answered)
        answer_text(c, err == WEFT_ELIMIT ? 431 : 400);
}

static void on_deadline(uv_timer_t *timer)
{
    connection_close(timer->data);
}

static void on_connection(uv_stream_t *listener, int status);

static void on_spare_closed(uv_handle_t *handle)
{
    wf_http_small *s = handle->data;
    bool wanted = s->spare_wanted;
    s->spare_busy = s->spare_wanted = false;
    if (wanted && !s->closing)
        on_connection((uv_stream_t *)&s->tcp, 0);
    server_maybe_free(s);
}

/* libuv asks for no more connections until this one is accepted: it is, and closed. */
static void refuse(wf_http_small *s)
{
    if (s->spare_busy) {
        s->spare_wanted = true;
        return;
    }
    if (uv_tcp_init(s->tcp.loop, &s->spare) != 0)
        return;
    s->spare.data = s;
    s->spare_busy = true;
    (void)uv_accept((uv_stream_t *)&s->tcp, (uv_stream_t *)&s->spare);
    uv_close((uv_handle_t *)&s->spare, on_spare_closed);
}

static void on_connection(uv_stream_t *listener, int status)
{
    wf_http_small *s = listener->data;
    if (status != 0)
        return;
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL) {
        refuse(s);
        return;
    }
    c->server = s;
    c->tcp.data = c->deadline.data = c;
    wf_buf_init(&c->answer, WF_HTTP_SMALL_ANSWER_MAX + 1024);
    wf_list_push(&s->connections, &c->node);
    s->count++;
    uv_tcp_init(s->tcp.loop, &c->tcp);
    uv_timer_init(s->tcp.loop, &c->deadline);
    c->open_handles = 2;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0 || s->count > WF_HTTP_SMALL_CONNECTIONS ||
        wf_http_parser_new(WF_HTTP_REQUESTS, 0, &request_handler, c, &c->parser) != WEFT_OK ||
        uv_timer_start(&c->deadline, on_deadline, WF_HTTP_SMALL_DEADLINE_MS, 0) != 0 ||
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
        connection_close(c);
}

static void on_listener_closed(uv_handle_t *handle)
{
    wf_http_small *s = handle->data;
    s->tcp_open = false;
    server_maybe_free(s);
}

weft_err wf_http_small_open(uv_loop_t *loop, const struct wf_http_small_config *config,
                            wf_http_small **out, wf_why *why)
{
    struct sockaddr_storage sa;
    char text[WF_ADDRESS_TEXT];
    weft_err err = wf_address_get_listen(config->address, &sa, why);
    if (err != WEFT_OK)
        return err;
    wf_http_small *s = calloc(1, sizeof *s);
    if (s == NULL)
        return WEFT_ENOMEM;
    wf_list_init(&s->connections);
    s->request = config->request;
    s->arg = config->arg;
    int rc = uv_tcp_init(loop, &s->tcp);
    if (rc != 0) {
        free(s);
        return wf_fail(why, WEFT_EIO, "socket: %s", uv_strerror(rc));
    }
    s->tcp.data = s;
    s->tcp_open = true;
    rc = uv_tcp_bind(&s->tcp, (struct sockaddr *)&sa, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&s->tcp, 16, on_connection);
    if (rc != 0) {
        wf_http_small_close(s);
        return wf_fail(why, WEFT_EIO, "can't listen on %s: %s",
                       wf_address_text(config->address, text), uv_strerror(rc));
    }
    *out = s;
    return WEFT_OK;
}

uint16_t wf_http_small_port(const wf_http_small *s)
{
    struct sockaddr_storage sa;
    int len = sizeof sa;
    if (uv_tcp_getsockname(&s->tcp, (struct sockaddr *)&sa, &len) != 0)
        return 0;
    return wf_sockaddr_port(&sa);
}

void wf_http_small_close(wf_http_small *s)
{
    if (s->closing)
        return;
    s->closing = true;
    for (wf_node *n = s->connections.next; n != &s->connections; n = n->next)
        connection_close(wf_container_of(n, struct connection, node));
    uv_close((uv_handle_t *)&s->tcp, on_listener_closed);
}
