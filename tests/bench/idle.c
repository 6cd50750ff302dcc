/*
 * N endpoints of one identity in one process, each with its own connection to
 * a router and one bound service: what a router holds for idle endpoints.
 *
 *   idle IDENTITY SERVICE N     prints "bound" when all are, keeps them until stdin ends
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>
#include <weft/weft.h>

#define AT_ONCE 32 /* handshakes under way */

struct all {
    uv_loop_t loop;
    uv_pipe_t input;
    const char *identity, *service;
    int wanted, begun, bound;
    char byte[16];
};

static void begin(struct all *all);

static void on_bound(weft_listener *listener, void *arg, unsigned routers, const char *why)
{
    struct all *all = arg;
    (void)listener;
    if (routers == 0) {
        fprintf(stderr, "idle: %s\n", why != NULL ? why : "bound nowhere");
        return;
    }
    if (++all->bound == all->wanted) {
        puts("bound");
        fflush(stdout);
    }
    begin(all);
}

static void on_incoming(weft_listener *listener, void *arg, weft_stream *stream,
                        const struct weft_peer *peer)
{
    (void)listener, (void)arg, (void)peer;
    weft_stream_refuse(stream, WEFT_EBUSY, "only idle");
}

static void on_closed(weft_listener *listener, void *arg, weft_err err, const char *why)
{
    (void)listener, (void)arg;
    fprintf(stderr, "idle: %s: %s\n", weft_err_name(err), why != NULL ? why : "");
}

static const struct weft_listener_handler handler = {on_bound, on_incoming, on_closed};

static void begin(struct all *all)
{
    struct weft_options options = {.identity = all->identity, .loop = &all->loop, .state_dir = ""};
    weft_endpoint *endpoint;
    weft_listener *listener;
    weft_why why = {""};
    if (all->begun == all->wanted)
        return;
    all->begun++;
    if (weft_endpoint_open(&options, &endpoint, &why) != WEFT_OK ||
        weft_listen(endpoint, all->service, &handler, all, &listener, &why) != WEFT_OK) {
        fprintf(stderr, "idle: %s\n", why.text);
        exit(1);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct all *all = handle->data;
    (void)suggested;
    *out = uv_buf_init(all->byte, sizeof all->byte);
}

static void on_input(uv_stream_t *input, ssize_t n, const uv_buf_t *buf)
{
    (void)input, (void)buf;
    if (n < 0)
        exit(0); /* the kernel takes the connections down: nothing here is worth an orderly end */
}

int main(int argc, char **argv)
{
    static struct all all;
    if (argc != 4) {
        fputs("usage: idle IDENTITY SERVICE N\n", stderr);
        return 2;
    }
    all.identity = argv[1];
    all.service = argv[2];
    all.wanted = (int)strtol(argv[3], NULL, 10);
    uv_loop_init(&all.loop);
    uv_pipe_init(&all.loop, &all.input, 0);
    all.input.data = &all;
    if (uv_pipe_open(&all.input, STDIN_FILENO) == 0)
        uv_read_start((uv_stream_t *)&all.input, on_alloc, on_input);
    for (int i = 0; i < AT_ONCE; i++)
        begin(&all);
    return uv_run(&all.loop, UV_RUN_DEFAULT);
}
