/*
 * The net: what the links of one loop share.
 *
 * Happy path: a link encrypts into chunks and puts itself on the dirty list;
 * the prepare handle, which runs only while that list holds one, sends for
 * all of them before the loop sleeps. Things for "soon" run from an idle
 * handle in the same manner.
 *
 * - Close callbacks of one turn run in no helpful order, so users (links,
 *   listeners, uplinks) are counted and the memory goes with the last.
 */
#include "proto/link/internal.h"
#include <assert.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t wf_net_now(void)
{
    return uv_hrtime() / 1000000u;
}

static void on_idle(uv_idle_t *idle)
{
    wf_net *net = wf_container_of(idle, wf_net, idle);
    wf_node now;

    /* Only what is there now: one that comes meanwhile runs in the next turn. */
    now = net->soon;
    if (wf_list_is_empty(&net->soon)) {
        uv_idle_stop(idle);
        return;
    }
    now.next->prev = &now;
    now.prev->next = &now;
    wf_list_init(&net->soon);
    wf_net_hold(net);
    while (!wf_list_is_empty(&now)) {
        struct wf_soon *soon = wf_container_of(now.next, struct wf_soon, node);
        wf_list_remove(&soon->node);
        soon->run(soon);
    }
    if (wf_list_is_empty(&net->soon))
        uv_idle_stop(idle);
    wf_net_drop(net);
}

void wf_net_soon(wf_net *net, struct wf_soon *soon)
{
    if (wf_node_is_linked(&soon->node))
        return;
    wf_list_push(&net->soon, &soon->node);
    if (!uv_is_active((const uv_handle_t *)&net->idle))
        uv_idle_start(&net->idle, on_idle);
}

/* A write to a connection that the peer has reset must be an error, not a signal. */
static void ignore_sigpipe(void)
{
    struct sigaction action;
    if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        (void)sigaction(SIGPIPE, &action, NULL);
    }
}

/* A kernel limit as root set it, 0 if it can't be read. */
static long kernel_limit(const char *path)
{
    char text[32];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    return strtol(text, NULL, 10);
}

weft_err wf_net_open(struct uv_loop_s *loop, wf_net **out)
{
    wf_net *net = calloc(1, sizeof *net);
    if (net == NULL)
        return WEFT_ENOMEM;
    net->loop = loop;
    net->times = (struct wf_net_times){
        .connect_ms = WF_CONNECT_MS,
        .handshake_ms = WF_HANDSHAKE_MS,
        .hello_ms = WF_HELLO_MS,
        .ping_ms = WF_PING_MS,
        .silence_ms = WF_SILENCE_MS,
        .call_ms = WF_CALL_MS,
        .close_ms = 1000,
        .fair_ms = 1000,
        .backoff_min_ms = WF_BACKOFF_MIN_MS,
        .backoff_max_ms = WF_BACKOFF_MAX_MS,
        .settled_ms = 1000,
    };
    wf_list_init(&net->dirty);
    wf_list_init(&net->soon);
    wf_buf_init(&net->control, WF_FRAME_HEADER + WF_CONTROL_MAX);
    net->cipher = malloc(WF_CIPHER_SCRATCH);
    net->plain = malloc(WF_PLAIN_SCRATCH);
    if (net->cipher == NULL || net->plain == NULL)
        goto fail;
    /* These three can't fail in libuv; were one to, nothing is open yet to close. */
    if (uv_prepare_init(loop, &net->flush) != 0 || uv_idle_init(loop, &net->idle) != 0 ||
        wf_wheel_init(net) != WEFT_OK)
        goto fail;
    net->handles = 3;
    net->receive_limit = kernel_limit("/proc/sys/net/core/rmem_max");
    net->send_limit = kernel_limit("/proc/sys/net/core/wmem_max");
    ignore_sigpipe();
    *out = net;
    return WEFT_OK;
fail:
    free(net->plain);
    free(net->cipher);
    free(net);
    return WEFT_ENOMEM;
}

static void free_when_done(wf_net *net)
{
    if (net->handles > 0 || net->users > 0)
        return;
    assert(net->is_closing);
    void (*closed)(void *arg) = net->closed;
    void *arg = net->closed_arg;
    while (net->pool != NULL) {
        struct wf_chunk *chunk = net->pool;
        net->pool = chunk->next;
        free(chunk);
    }
    wf_buf_wipe(&net->control);
    free(net->plain);
    free(net->cipher);
    free(net);
    if (closed != NULL)
        closed(arg);
}

void wf_net_hold(wf_net *net)
{
    net->users++;
}

/* Nobody uses the net any more, so its handles can go: alarms and `soon` served until now. */
static void close_handles(wf_net *net);

void wf_net_drop(wf_net *net)
{
    assert(net->users > 0);
    if (--net->users > 0)
        return;
    if (net->is_closing && net->handles == 3)
        close_handles(net);
    free_when_done(net);
}

static void on_prepare_closed(uv_handle_t *handle)
{
    wf_net *net = handle->data;
    net->handles--;
    free_when_done(net);
}

static void close_handles(wf_net *net)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&net->flush, (uv_handle_t *)&net->idle,
                              (uv_handle_t *)&net->wheel.timer};
    for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++) {
        if (uv_is_closing(handles[i]))
            continue;
        handles[i]->data = net;
        uv_close(handles[i], on_prepare_closed);
    }
}

void wf_net_close(wf_net *net, void (*closed)(void *arg), void *arg)
{
    assert(!net->is_closing);
    net->is_closing = true;
    net->closed = closed;
    net->closed_arg = arg;
    if (net->users == 0)
        close_handles(net);
}

struct uv_loop_s *wf_net_loop(const wf_net *net)
{
    return net->loop;
}
const struct wf_net_counters *wf_net_counters(const wf_net *net)
{
    return &net->counters;
}

/*
 * A size asked for is a size fixed: the kernel then stops tuning the buffer by
 * itself. So ask only where it lets us have what we ask for.
 */
void wf_net_tune(const wf_net *net, uv_tcp_t *tcp, bool listens)
{
    int receive = 4 * 1024 * 1024, send = 1024 * 1024;

    if (net->receive_limit >= receive)
        (void)uv_recv_buffer_size((uv_handle_t *)tcp, &receive);
    if (net->send_limit >= send)
        (void)uv_send_buffer_size((uv_handle_t *)tcp, &send);
    if (!listens)
        (void)uv_tcp_nodelay(tcp, 1);
}

void wf_net_sockaddr_text(const struct sockaddr *sa, char *out, size_t cap)
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        (void)uv_ip4_name(&in, host, sizeof host);
        (void)snprintf(out, cap, "%s:%u", host, (unsigned)ntohs(in.sin_port));
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof in6);
        (void)uv_ip6_name(&in6, host, sizeof host);
        (void)snprintf(out, cap, "[%s]:%u", host, (unsigned)ntohs(in6.sin6_port));
    } else {
        (void)snprintf(out, cap, "?");
    }
}
