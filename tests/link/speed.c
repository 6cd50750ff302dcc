/*
 * How fast one link is, and what an idle one weighs. Not a test: it prints.
 *
 *     ninja link_speed && build/release/tests/link_speed [seconds] [links]
 *
 * Speed: one thread sends full data frames, another one receives them, over
 * one link on loopback. Weight: both ends of many idle links in one loop.
 */
#include "proto/base/clock.h"
#include "proto/link/link.h"
#include "tests/helpers/authority.h"
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

struct side {
    uv_loop_t loop;
    uv_async_t stop;
    wf_net *net;
    wf_link *link;
    pki_trust *trust;
    pki_tls_ctx *tls;
    unsigned up, closed;
    uint64_t bytes;
    bool sends;
};

static struct authority authority;
static struct authority_node router, ci;
static struct side server, client;
static wf_listener *listener;
static wf_address address = {.host = "127.0.0.1"};
static uint8_t frame[WF_FRAME_HEADER + WF_DATA_MAX];
static atomic_bool is_over;

static void pump(struct side *side)
{
    while (!atomic_load_explicit(&is_over, memory_order_relaxed) &&
           !wf_link_is_blocked(side->link) &&
           wf_link_send_frame(side->link, frame, sizeof frame) == WEFT_OK)
        side->bytes += WF_DATA_MAX;
}

static void on_up(wf_link *link, void *arg, const Weft__Wire__Hello *hello)
{
    struct side *side = arg;
    (void)hello;
    side->up++;
    side->link = link;
    if (side->sends)
        pump(side);
}

static void on_control(wf_link *link, void *arg, Weft__Wire__Control *message)
{
    (void)link;
    (void)arg;
    (void)message;
}

static void on_frame(wf_link *link, void *arg, struct wf_frame *got)
{
    struct side *side = arg;
    (void)link;
    side->bytes += got->length;
}

static void on_drained(wf_link *link, void *arg)
{
    (void)link;
    pump(arg);
}

static void on_closed(wf_link *link, void *arg, weft_err err, const wf_why *why)
{
    struct side *side = arg;
    (void)link;
    (void)err;
    (void)why;
    side->closed++;
}

static const struct wf_link_handler handler = {
    .up = on_up,
    .control = on_control,
    .frame = on_frame,
    .drained = on_drained,
    .closed = on_closed,
};

static const struct wf_link_handler *on_accepted(void *arg, wf_link *link, void **link_arg)
{
    (void)link;
    *link_arg = arg;
    return &handler;
}

static void on_stop(uv_async_t *async)
{
    struct side *side = async->data;
    if (side->link != NULL && side->closed < side->up)
        wf_link_cut(side->link, WEFT_ECANCELED, NULL);
    if (side == &server)
        wf_listener_close(listener);
    wf_net_close(side->net, NULL, NULL);
    uv_close((uv_handle_t *)async, NULL);
}

static void open_side(struct side *side, const struct authority_node *node)
{
    wf_net *net;
    memset(side, 0, sizeof *side);
    side->trust = authority_trust(&authority);
    side->tls = authority_tls(node, side->trust);
    (void)uv_loop_init(&side->loop);
    (void)uv_async_init(&side->loop, &side->stop, on_stop);
    side->stop.data = side;
    if (wf_net_open(&side->loop, &net) != WEFT_OK)
        abort();
    side->net = net;
}

static void close_side(struct side *side)
{
    (void)uv_run(&side->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&side->loop);
    pki_tls_ctx_unref(side->tls);
    pki_trust_unref(side->trust);
}

static void listen_and_say(void)
{
    const struct wf_listener_config config = {
        .tls = server.tls,
        .alpn = PKI_ALPN_LINK,
        .kinds = PKI_IDENTITY,
        .handshakes_max = 4096,
        .per_address_max = 4096,
        .accepted = on_accepted,
        .arg = &server,
    };
    wf_why why = {""};
    address.port = 0;
    if (wf_listener_open(server.net, &address, &config, &listener, &why) != WEFT_OK)
        abort();
    address.port = wf_listener_port(listener);
}

static void dial(wf_net *net, struct side *side, wf_link **out)
{
    const struct wf_link_config config = {
        .tls = client.tls,
        .alpn = PKI_ALPN_LINK,
        .kinds = PKI_ROUTER,
        .peer_id = &router.id,
        .handler = &handler,
        .arg = side,
    };
    if (wf_link_dial(net, &address, &config, out) != WEFT_OK)
        abort();
}

static void *run_server(void *arg)
{
    (void)arg;
    close_side(&server);
    return NULL;
}

static void *run_client(void *arg)
{
    (void)arg;
    close_side(&client);
    return NULL;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void measure_speed(unsigned seconds)
{
    pthread_t threads[2];
    open_side(&server, &router);
    open_side(&client, &ci);
    client.sends = true;
    listen_and_say();
    dial(client.net, &client, &client.link);
    double cpu = cpu_seconds();
    uint64_t start = wf_now_mono_ms();
    (void)pthread_create(&threads[0], NULL, run_server, NULL);
    (void)pthread_create(&threads[1], NULL, run_client, NULL);
    sleep(seconds);
    atomic_store(&is_over, true);
    uint64_t ms = wf_now_mono_ms() - start;
    cpu = cpu_seconds() - cpu;
    (void)uv_async_send(&client.stop);
    (void)pthread_join(threads[1], NULL);
    (void)uv_async_send(&server.stop);
    (void)pthread_join(threads[0], NULL);
    double gbit = (double)server.bytes * 8 / 1e6 / (double)ms;
    printf("one link, frames of %u bytes: %.2f Gbit/s, %.2f core-seconds per GB\n", WF_DATA_MAX,
           gbit, cpu / ((double)server.bytes / 1e9));
}

static long resident_kib(void)
{
    long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f != NULL) {
        if (fscanf(f, "%ld %ld", &pages, &resident) != 2)
            resident = 0;
        (void)fclose(f);
    }
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void measure_weight(unsigned count)
{
    wf_link **links = calloc(count, sizeof *links);
    if (links == NULL)
        abort();
    open_side(&server, &router);
    open_side(&client, &ci);
    uv_close((uv_handle_t *)&client.stop, NULL); /* both ends in the server's loop */
    wf_net_close(client.net, NULL, NULL);
    listen_and_say();
    long before = 0;
    uint64_t start = wf_now_mono_ms();
    for (unsigned i = 0; i < count; i++) {
        if (i == 16)
            before = resident_kib(); /* what the first links bring once */
        dial(server.net, &client, &links[i]);
        while (client.up < i + 1 || server.up < i + 1)
            (void)uv_run(&server.loop, UV_RUN_ONCE);
    }
    double ms = (double)(wf_now_mono_ms() - start);
    long after = resident_kib();
    struct mallinfo2 info = mallinfo2();
    printf("%u links one after the other: %.0f per second, both ends on one core\n", count,
           count * 1000.0 / ms);
    printf("an idle link's end: %.1f KiB resident (%.1f MiB in use in all)\n",
           (double)(after - before) / 2 / (count - 16), (double)info.uordblks / 1048576);
    for (unsigned i = 0; i < count; i++)
        wf_link_cut(links[i], WEFT_ECANCELED, NULL);
    server.link = NULL;
    (void)uv_async_send(&server.stop);
    close_side(&server);
    close_side(&client);
    free(links);
}

int main(int argc, char **argv)
{
    unsigned seconds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 3;
    unsigned links = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1000;
    authority_init(&authority, "test.weft", wf_now_wall_ms());
    authority_issue(&authority, PKI_ROUTER, "edge", &router);
    authority_issue(&authority, PKI_IDENTITY, "ci", &ci);
    wf_frame_put_header(frame, WF_FRAME_DATA, 0, 1, WF_DATA_MAX);
    if (seconds > 0)
        measure_speed(seconds);
    if (links > 16)
        measure_weight(links);
    authority_node_fini(&router);
    authority_node_fini(&ci);
    authority_fini(&authority);
    return 0;
}
