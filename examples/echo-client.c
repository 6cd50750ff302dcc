/*
 * An asynchronous client: dials a service by name, sends a text, prints what
 * comes back.
 *
 *     WEFT_IDENTITY=web-dial.jwt echo-client web "hello"
 */
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

struct talk {
    weft_endpoint *endpoint;
    const char *text; /* what is left to send */
    int status;
};

static void send_rest(weft_stream *stream, struct talk *talk)
{
    size_t taken = 0;
    size_t len = strlen(talk->text);
    if (weft_stream_write(stream, talk->text, len, &taken) != WEFT_OK)
        return; /* `closed` follows */
    talk->text += taken;
    if (taken == len)
        weft_stream_end(stream); /* we are through; the other direction lives on */
}

static void on_opened(weft_stream *stream, void *arg, const struct weft_peer *peer)
{
    fprintf(stderr, "talking to %s <%s>\n", peer->name, peer->spiffe_id);
    send_rest(stream, arg);
}

static size_t on_data(weft_stream *stream, void *arg, const uint8_t *data, size_t len)
{
    (void)stream;
    (void)arg;
    return fwrite(data, 1, len, stdout);
}

static void on_ended(weft_stream *stream, void *arg)
{
    (void)stream;
    (void)arg;
    putchar('\n'); /* all of it came, and the host itself said so */
}

static void on_writable(weft_stream *stream, void *arg)
{
    send_rest(stream, arg);
}

static void on_closed(weft_stream *stream, void *arg, weft_err err, const char *why)
{
    struct talk *talk = arg;
    (void)stream;
    if (err != WEFT_OK)
        fprintf(stderr, "%s\n", why);
    talk->status = weft_err_exit_status((int)err);
    weft_endpoint_close(talk->endpoint, NULL, NULL);
}

static const struct weft_stream_handler handler = {
    .opened = on_opened,
    .data = on_data,
    .ended = on_ended,
    .writable = on_writable,
    .closed = on_closed,
};

int main(int argc, char **argv)
{
    weft_why why = {""};
    weft_stream *stream;
    if (argc != 3) {
        fprintf(stderr, "usage: WEFT_IDENTITY=FILE %s SERVICE TEXT\n", argv[0]);
        return 2;
    }
    struct talk talk = {.text = argv[2]};
    const struct weft_options options = {.identity = NULL}; /* $WEFT_IDENTITY */
    weft_err err = weft_endpoint_open(&options, &talk.endpoint, &why);
    if (err != WEFT_OK) {
        fprintf(stderr, "%s\n", why.text);
        return weft_err_exit_status((int)err);
    }
    err = weft_dial(talk.endpoint, argv[1], NULL, &handler, &talk, &stream, &why);
    if (err != WEFT_OK) {
        fprintf(stderr, "%s\n", why.text);
        talk.status = weft_err_exit_status((int)err);
        weft_endpoint_close(talk.endpoint, NULL, NULL);
    }
    weft_endpoint_run(talk.endpoint);
    return talk.status;
}
