/*
 * Happy path: a connection comes -> dial -> opened -> relay.
 * - the dial fails: the connection is reset, the log says why
 * - too many sessions: the connection is closed at once
 */
#include "tunneler/proxy.h"
#include "proto/base/log.h"
#include "tunneler/relay.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BACKLOG 512

weft_err proxy_parse(const char *rule, wf_address *listen, char service[WF_NAME_MAX + 1],
                     wf_why *why)
{
    char left[WF_ADDRESS_TEXT + 16];
    const char *equals = strrchr(rule, '=');
    if (equals == NULL || (size_t)(equals - rule) >= WF_ADDRESS_TEXT)
        return wf_fail(why, WEFT_EUSAGE, "\"%s\": say PORT=SERVICE or HOST:PORT=SERVICE", rule);
    int len = (int)(equals - rule);
    bool only_port = len > 0 && (int)strspn(rule, "0123456789") == len;
    snprintf(left, sizeof left, "%s%.*s", only_port ? "127.0.0.1:" : "", len, rule);
    weft_err err = wf_name_check(equals + 1, strlen(equals + 1), "service", why);
    if (err == WEFT_OK)
        err = wf_address_parse(left, 0, listen, why);
    if (err != WEFT_OK)
        return wf_wrap(why, WEFT_EUSAGE, "\"%s\"", rule);
    snprintf(service, WF_NAME_MAX + 1, "%s", equals + 1);
    return WEFT_OK;
}

static void on_connection(uv_stream_t *listener, int status);

static void proxy_drop(struct proxy *p)
{
    if (p->tcp_open || p->spare_busy)
        return;
    wf_list_remove(&p->node);
    free(p);
}

static void on_spare_closed(uv_handle_t *handle)
{
    struct proxy *p = handle->data;
    bool wanted = p->spare_wanted;
    p->spare_busy = p->spare_wanted = false;
    if (wanted && !uv_is_closing((uv_handle_t *)&p->tcp))
        on_connection((uv_stream_t *)&p->tcp, 0);
    proxy_drop(p);
}

/*
 * libuv has no way to refuse, and asks for no more connections until this one
 * is accepted: it is, into a handle that needs no memory, and closed.
 */
static bool refuse_connection(struct proxy *p)
{
    if (p->spare_busy) {
        p->spare_wanted = true; /* soon */
        return false;
    }
    if (uv_tcp_init(p->tcp.loop, &p->spare) != 0)
        return false;
    p->spare.data = p;
    p->spare_busy = true;
    (void)uv_accept((uv_stream_t *)&p->tcp, (uv_stream_t *)&p->spare);
    uv_close((uv_handle_t *)&p->spare, on_spare_closed);
    return true;
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct proxy *p = listener->data;
    struct tunneler *t = p->tunneler;
    weft_stream *stream = NULL;
    wf_why why = {""};
    if (status != 0) {
        wf_log_warn("%s: %s", p->service, uv_strerror(status));
        return;
    }
    relay *r = relay_new(t, p->service);
    if (r == NULL) {
        if (refuse_connection(p)) {
            t->counters.refused_limit++;
            wf_log_warn("%s: too many sessions (--max-sessions)", p->service);
        }
        return;
    }
    if (uv_accept(listener, (uv_stream_t *)relay_tcp(r)) != 0) {
        relay_cut(r, WEFT_EIO, "accept");
        return;
    }
    weft_err err =
        weft_dial(t->endpoint, p->service, NULL, &relay_stream_handler, r, &stream, &why);
    if (err != WEFT_OK) {
        t->counters.dial_failures++;
        wf_log_warn("%s: %s", p->service, why.text);
        relay_cut(r, err, why.text);
        return;
    }
    t->counters.sessions_dialed++;
    relay_set_stream(r, stream);
}

static void on_closed(uv_handle_t *handle)
{
    struct proxy *p = handle->data;
    p->tcp_open = false;
    proxy_drop(p);
}

weft_err proxy_open(struct tunneler *t, const wf_address *listen, const char *service, wf_why *why)
{
    struct sockaddr_storage sa;
    char text[WF_ADDRESS_TEXT];
    weft_err err = wf_address_get_listen(listen, &sa, why);
    if (err != WEFT_OK)
        return err;
    struct proxy *p = calloc(1, sizeof *p);
    if (p == NULL)
        return WEFT_ENOMEM;
    p->tunneler = t;
    p->listen = *listen;
    p->tcp.data = p;
    snprintf(p->service, sizeof p->service, "%s", service);
    int rc = uv_tcp_init(t->loop, &p->tcp);
    if (rc != 0) {
        free(p);
        return wf_fail(why, WEFT_EIO, "socket: %s", uv_strerror(rc));
    }
    p->tcp.data = p;
    p->tcp_open = true;
    wf_list_push(&t->proxies, &p->node);
    rc = uv_tcp_bind(&p->tcp, (struct sockaddr *)&sa, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&p->tcp, BACKLOG, on_connection);
    if (rc != 0) {
        proxy_close(p);
        return wf_fail(why, WEFT_EIO, "can't listen on %s: %s%s", wf_address_text(listen, text),
                       uv_strerror(rc),
                       rc == UV_EADDRINUSE ? " (another program listens there: stop it or choose "
                                             "another port)"
                                           : "");
    }
    p->listen.port = proxy_port(p);
    wf_log_info("%s leads to %s", wf_address_text(&p->listen, text), service);
    return WEFT_OK;
}

uint16_t proxy_port(const struct proxy *p)
{
    struct sockaddr_storage sa;
    int len = sizeof sa;
    if (uv_tcp_getsockname(&p->tcp, (struct sockaddr *)&sa, &len) != 0)
        return 0;
    return wf_sockaddr_port(&sa);
}

void proxy_close(struct proxy *p)
{
    if (!uv_is_closing((uv_handle_t *)&p->tcp))
        uv_close((uv_handle_t *)&p->tcp, on_closed);
}
