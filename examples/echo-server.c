/*
 * An asynchronous server: binds a service by name and sends back what comes.
 *
 *     WEFT_IDENTITY=web-host.jwt echo-server web [COUNT]
 *
 * Leaves after COUNT connections; without it, never. It listens on no port:
 * the endpoint dials out to the routers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <weft/weft.h>

static weft_endpoint *endpoint;
static weft_listener *listener;
static long left = -1;
static int status;

static void on_opened(weft_stream *stream, void *arg, const struct weft_peer *peer)
{
    (void)stream;
    (void)arg;
    /* The name is the one in the dialer's verified certificate. */
    fprintf(stderr, "%s dialed %s (session %s)\n", peer->name, peer->service, peer->session);
}

static size_t on_data(weft_stream *stream, void *arg, const uint8_t *data, size_t len)
{
    size_t taken = 0;
    (void)arg;
    /* What we can't send yet we don't take: it is held for us, and the sender is held back. */
    if (weft_stream_write(stream, data, len, &taken) != WEFT_OK)
        return len; /* `closed` follows */
    return taken;
}

static void on_writable(weft_stream *stream, void *arg)
{
    (void)arg;
    weft_stream_resume(stream);
}

static void on_ended(weft_stream *stream, void *arg)
{
    (void)arg;
    weft_stream_end(stream);
}

static void on_closed(weft_stream *stream, void *arg, weft_err err, const char *why)
{
    (void)stream;
    (void)arg;
    if (err != WEFT_OK)
        fprintf(stderr, "connection: %s\n", why);
    if (left > 0 && --left == 0)
        weft_endpoint_close(endpoint, NULL, NULL);
}

static const struct weft_stream_handler stream_handler = {
    .opened = on_opened,
    .data = on_data,
    .ended = on_ended,
    .writable = on_writable,
    .closed = on_closed,
};

static void on_bound(weft_listener *l, void *arg, unsigned routers, const char *why)
{
    (void)l;
    (void)arg;
    if (routers > 0)
        fprintf(stderr, "bound on %u router%s\n", routers, routers == 1 ? "" : "s");
    else
        fprintf(stderr, "not bound: %s\n", why);
}

static void on_incoming(weft_listener *l, void *arg, weft_stream *stream,
                        const struct weft_peer *peer)
{
    (void)l;
    (void)arg;
    (void)peer;
    if (weft_stream_accept(stream, &stream_handler, NULL) != WEFT_OK)
        weft_stream_refuse(stream, WEFT_EINTERNAL, NULL);
}

static void on_listener_closed(weft_listener *l, void *arg, weft_err err, const char *why)
{
    (void)l;
    (void)arg;
    if (err != WEFT_OK) {
        fprintf(stderr, "%s\n", why);
        status = weft_err_exit_status((int)err);
        weft_endpoint_close(endpoint, NULL, NULL);
    }
}

static const struct weft_listener_handler listener_handler = {
    .bound = on_bound,
    .incoming = on_incoming,
    .closed = on_listener_closed,
};

int main(int argc, char **argv)
{
    weft_why why = {""};
    if (argc < 2) {
        fprintf(stderr, "usage: WEFT_IDENTITY=FILE %s SERVICE [COUNT]\n", argv[0]);
        return 2;
    }
    if (argc > 2)
        left = strtol(argv[2], NULL, 10);

    const struct weft_options options = {.identity = NULL}; /* $WEFT_IDENTITY */
    weft_err err = weft_endpoint_open(&options, &endpoint, &why);
    if (err != WEFT_OK) {
        fprintf(stderr, "%s\n", why.text);
        return weft_err_exit_status((int)err);
    }
    err = weft_listen(endpoint, argv[1], &listener_handler, NULL, &listener, &why);
    if (err != WEFT_OK) {
        fprintf(stderr, "%s\n", why.text);
        status = weft_err_exit_status((int)err);
        weft_endpoint_close(endpoint, NULL, NULL);
    }
    weft_endpoint_run(endpoint);
    return status;
}
