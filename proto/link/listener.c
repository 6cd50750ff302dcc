/*
 * A listener: strangers in, links out.
 *
 * Happy path: a connection is accepted, takes one of the places for
 * handshakes, finishes TLS and its Hello, and gives the place back.
 *
 * What a stranger may cost us is bounded before anything is known of him:
 * - All places taken, or all of his address: the oldest stranger (of that
 *   address) goes if he had his fair second; otherwise the new one waits,
 *   unread, at the price of a socket. The newest is served first: an honest
 *   crowd is through in a moment either way, and behind a crowd that isn't
 *   honest nobody has to queue. Too many wait: the oldest is refused.
 * - Slow, garbage, no certificate: deadline or TLS error, one line in the log
 *   with the address and the reason; above LINES_MAX in ten seconds they are
 *   only counted, and one line sums them up.
 * - Not a byte came: somebody looked whether the port is open, which is no
 *   line but for debugging.
 * - Whoever enrolls or renews keeps his place until he is gone.
 * - One address may not fill the queue: it leaves as many seats to others as it may have places.
 * - Out of descriptors: libuv refuses for us; it is counted. So that it doesn't come to that,
 *   links, places and seats together have less than the limit: the disk needs some too.
 * - Out of memory: libuv asks for no more connections until the one at hand is
 *   accepted, so it is, into a handle that is always there, and closed.
 */
#include "proto/base/log.h"
#include "proto/link/internal.h"
#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define BACKLOG 4096
#define LOOK_MS 100u /* how often those who wait are looked at, if nothing else happens */
#define WAITING_PER_PLACE 4u
#define WINDOW_MS 10000u
#define LINES_MAX 10u

struct wf_listener {
    uv_tcp_t tcp;
    uv_tcp_t spare; /* for a connection that there is no memory for */
    bool spare_busy, spare_wanted;
    wf_net *net;    /* counted */
    unsigned users; /* the handles and the links that came from here */
    bool is_closing;
    struct wf_listener_config config; /* tls counted */
    wf_node pending;                  /* links that hold a place, oldest first */
    wf_node waiting;                  /* links that wait for one, oldest first */
    unsigned pending_count, waiting_count;
    unsigned waiting_max, waiting_per_address_max;
    unsigned up_count;
    wf_alarm look;       /* at those who wait: someone may have had his second */
    struct wf_soon soon; /* a place came free */
    wf_alarm report;     /* end of the log's ten seconds */
    unsigned lines, refused, dropped, failed; /* in these ten seconds */
};

void wf_listener_drop(wf_listener *listener)
{
    assert(listener->users > 0);
    if (--listener->users > 0)
        return;
    wf_net *net = listener->net;
    wf_alarm_cancel(&listener->look);
    wf_alarm_cancel(&listener->report);
    pki_tls_ctx_unref(listener->config.tls);
    free(listener);
    wf_net_drop(net);
}

/* ---- the log */

static void report(wf_listener *listener)
{
    unsigned all = listener->refused + listener->dropped + listener->failed;
    if (all > LINES_MAX)
        wf_log_warn(
            "listener: refused %u connections in the last %u s: %u over the cap, %u dropped "
            "as too slow, %u failed the handshake",
            all, WINDOW_MS / 1000u, listener->refused, listener->dropped, listener->failed);
    listener->lines = listener->refused = listener->dropped = listener->failed = 0;
}

static void on_report(wf_alarm *alarm, uint64_t now)
{
    (void)now;
    report(wf_container_of(alarm, wf_listener, report));
}

static void count_one(wf_listener *listener, unsigned *counter)
{
    (*counter)++;
    if (listener->report.net == NULL && !listener->is_closing)
        wf_alarm_set(listener->net, &listener->report, wf_net_now() + WINDOW_MS);
}

/* ---- places */

static void place_take(wf_listener *listener, wf_link *link, uint64_t now)
{
    wf_list_push(&listener->pending, &link->pending);
    listener->pending_count++;
    link->started = now;
}

static void leave_queue(wf_listener *listener, wf_link *link)
{
    assert(link->is_waiting);
    link->is_waiting = false;
    wf_list_remove(&link->pending);
    listener->waiting_count--;
    listener->net->counters.handshakes_waiting--;
}

static void place_leave(wf_listener *listener, wf_link *link)
{
    if (link->is_waiting) {
        leave_queue(listener, link);
        return;
    }
    if (!wf_node_is_linked(&link->pending))
        return;
    wf_list_remove(&link->pending);
    listener->pending_count--;
    if (listener->waiting_count > 0 && !listener->is_closing)
        wf_net_soon(listener->net, &listener->soon);
}

/* IPv4 as it is, IPv6 by its /64: what one customer has at least. */
static void origin_of(const struct sockaddr_storage *sa, uint8_t origin[16])
{
    memset(origin, 0, 16);
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
        origin[0] = 4;
        memcpy(origin + 1, &in->sin_addr, 4);
    } else if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
        bool is_mapped = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
        origin[0] = is_mapped ? 4 : 6;
        if (is_mapped)
            memcpy(origin + 1, in6->sin6_addr.s6_addr + 12, 4);
        else
            memcpy(origin + 1, &in6->sin6_addr, 8);
    }
}

/*
 * Finds room for one more stranger from origin. False: not now. A link that is
 * up (it enrolls) is never the one that goes.
 */
static bool make_room(wf_listener *listener, const uint8_t origin[16], uint64_t now)
{
    wf_link *oldest = NULL, *oldest_here = NULL;
    unsigned here = 0;

    for (wf_node *n = listener->pending.next; n != &listener->pending; n = n->next) {
        wf_link *link = wf_container_of(n, wf_link, pending);
        bool may_go = link->state != LINK_UP && now >= link->started + listener->net->times.fair_ms;
        if (may_go && oldest == NULL)
            oldest = link;
        if (memcmp(link->origin, origin, 16) != 0)
            continue;
        here++;
        if (may_go && oldest_here == NULL)
            oldest_here = link;
    }
    wf_link *victim = NULL;
    if (here >= listener->config.per_address_max)
        victim = oldest_here;
    else if (listener->pending_count >= listener->config.handshakes_max)
        victim = oldest;
    else
        return true;
    if (victim == NULL)
        return false;
    wf_link_fail(victim, WEFT_ETIMEDOUT, "dropped: too slow while others wait");
    return true;
}

/* ---- accepting */

static void count_refused(wf_listener *listener)
{
    listener->net->counters.handshakes_refused++;
    count_one(listener, &listener->refused);
}

static void accept_one(wf_listener *listener);

static void on_spare_closed(uv_handle_t *handle)
{
    wf_listener *listener = wf_container_of((uv_tcp_t *)handle, wf_listener, spare);
    bool wanted = listener->spare_wanted;
    listener->spare_busy = listener->spare_wanted = false;
    if (wanted && !listener->is_closing)
        accept_one(listener);
    wf_listener_drop(listener);
}

/* Takes the connection only to end it; as soon as the spare handle is free. */
static void refuse(wf_listener *listener)
{
    if (listener->spare_busy) {
        listener->spare_wanted = true;
        return;
    }
    if (uv_tcp_init(listener->net->loop, &listener->spare) != 0)
        return;
    listener->spare_busy = true;
    listener->users++;
    (void)uv_accept((uv_stream_t *)&listener->tcp, (uv_stream_t *)&listener->spare);
    uv_close((uv_handle_t *)&listener->spare, on_spare_closed);
    count_refused(listener);
}

/* Gives the link a place and begins its handshake. False: there is no place now. */
static bool admit(wf_listener *listener, wf_link *link, uint64_t now)
{
    const struct pki_tls_config tls = {
        .side = PKI_SERVER,
        .alpn = listener->config.alpn,
        .kinds = listener->config.kinds,
        .output = wf_output_put,
        .arg = link,
    };
    if (!make_room(listener, link->origin, now))
        return false;
    if (link->is_waiting)
        leave_queue(listener, link);
    place_take(listener, link, now);
    weft_err err = pki_tls_new(listener->config.tls, &tls, &link->tls);
    if (err != WEFT_OK)
        wf_link_fail(link, err, "TLS can't be set up");
    else
        wf_link_connected(link);
    return true;
}

/* Whom the queue refuses for the sake of one more from origin; NULL: nobody has to go. */
static wf_link *find_surplus(wf_listener *listener, const uint8_t origin[16])
{
    wf_link *oldest_here = NULL;
    unsigned here = 0;

    for (wf_node *n = listener->waiting.next; n != &listener->waiting; n = n->next) {
        wf_link *link = wf_container_of(n, wf_link, pending);
        if (memcmp(link->origin, origin, sizeof link->origin) != 0)
            continue;
        if (here++ == 0)
            oldest_here = link;
    }
    if (here >= listener->waiting_per_address_max)
        return oldest_here;
    if (listener->waiting_count >= listener->waiting_max)
        return wf_container_of(listener->waiting.next, wf_link, pending);
    return NULL;
}

static void wait_for_place(wf_listener *listener, wf_link *link, uint64_t now)
{
    wf_link *surplus = find_surplus(listener, link->origin);

    if (surplus != NULL) {
        count_refused(listener);
        wf_link_finish(surplus);
    }
    link->is_waiting = true;
    wf_list_push(&listener->waiting, &link->pending);
    listener->waiting_count++;
    listener->net->counters.handshakes_waiting++;
    wf_link_set_deadline(link, now + listener->net->times.handshake_ms);
    if (listener->look.net == NULL)
        wf_alarm_set(listener->net, &listener->look, now + LOOK_MS);
}

/* The newest first. Who shares his address with one that found no place finds none either. */
static void serve_waiting(wf_listener *listener)
{
    uint64_t now = wf_net_now();
    const uint8_t *full = NULL;

    for (wf_node *n = listener->waiting.prev; n != &listener->waiting;) {
        wf_link *link = wf_container_of(n, wf_link, pending);
        n = n->prev;
        if (full != NULL && memcmp(link->origin, full, sizeof link->origin) == 0)
            continue;
        if (!admit(listener, link, now))
            full = link->origin;
    }
    if (listener->waiting_count > 0)
        wf_alarm_set(listener->net, &listener->look, now + LOOK_MS);
}

static void on_look(wf_alarm *alarm, uint64_t now)
{
    (void)now;
    serve_waiting(wf_container_of(alarm, wf_listener, look));
}

static void on_soon(struct wf_soon *soon)
{
    serve_waiting(wf_container_of(soon, wf_listener, soon));
}

static void accept_one(wf_listener *listener)
{
    weft_err err = WEFT_OK;
    struct sockaddr_storage sa = {0};
    int sa_len = sizeof sa;

    wf_link *link = wf_link_new(listener->net, PKI_ALPN_LINK, listener->config.tls, &err);
    if (link == NULL) {
        refuse(listener);
        return;
    }
    if (uv_tcp_init(listener->net->loop, &link->tcp) != 0) {
        wf_link_free(link);
        refuse(listener);
        return;
    }
    link->hello = listener->config.hello;
    link->hello_arg = listener->config.hello_arg;
    wf_link_move(link, LINK_SECURING);
    link->listener = listener;
    listener->users++;
    if (uv_accept((uv_stream_t *)&listener->tcp, (uv_stream_t *)&link->tcp) != 0 ||
        uv_tcp_getpeername(&link->tcp, (struct sockaddr *)&sa, &sa_len) != 0) {
        wf_link_fail(link, WEFT_EUNREACHABLE, "gone before it was accepted");
        return;
    }
    wf_net_sockaddr_text((struct sockaddr *)&sa, link->remote, sizeof link->remote);
    origin_of(&sa, link->origin);
    if (listener->up_count >= listener->config.links_max) {
        count_refused(listener);
        wf_link_finish(link); /* without an error: it isn't logged by itself */
        return;
    }
    wf_net_tune(listener->net, &link->tcp, false);
    uint64_t now = wf_net_now();
    if (!admit(listener, link, now))
        wait_for_place(listener, link, now);
}

static void on_connection(uv_stream_t *stream, int status)
{
    wf_listener *listener = wf_container_of((uv_tcp_t *)stream, wf_listener, tcp);

    if (status < 0) /* out of descriptors, most likely: libuv has closed it */
        count_refused(listener);
    else
        accept_one(listener);
}

static unsigned least(uint64_t a, uint64_t b)
{
    return (unsigned)(a < b ? a : b);
}

/* The caps, where the owner has said none, and within what descriptors there are. */
static void set_caps(wf_listener *listener)
{
    struct wf_listener_config *config = &listener->config;
    struct rlimit limit;
    uint64_t descriptors = UINT32_MAX;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < descriptors)
        descriptors = limit.rlim_cur < 16 ? 16 : limit.rlim_cur;
    config->links_max = least(config->links_max == 0 ? 65536 : config->links_max, descriptors / 2);
    config->handshakes_max =
        least(config->handshakes_max == 0 ? 256 : config->handshakes_max, descriptors / 8);
    config->per_address_max =
        least(config->per_address_max == 0 ? 64 : config->per_address_max, config->handshakes_max);
    listener->waiting_max = least(WAITING_PER_PLACE * config->handshakes_max, descriptors / 4);
    listener->waiting_per_address_max = config->per_address_max < listener->waiting_max
                                            ? listener->waiting_max - config->per_address_max
                                            : 1;
}

weft_err wf_listener_open(wf_net *net, const wf_address *address,
                          const struct wf_listener_config *config, wf_listener **out, wf_why *why)
{
    struct sockaddr_storage sa = {0};
    char text[WF_ADDRESS_TEXT];
    int status;
    assert(config->accepted != NULL && config->tls != NULL);

    wf_address_text(address, text);
    if (!wf_address_get_sockaddr(address, &sa))
        return wf_fail(why, WEFT_EIO,
                       "can't listen on %s: give an IP address, such as 0.0.0.0 or [::]", text);
    wf_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        return wf_fail(why, WEFT_ENOMEM, "no memory for a listener");
    listener->net = net;
    listener->config = *config;
    set_caps(listener);
    wf_list_init(&listener->pending);
    wf_list_init(&listener->waiting);
    listener->look.ring = on_look;
    listener->soon.run = on_soon;
    listener->report.ring = on_report;
    listener->config.tls = pki_tls_ctx_ref(config->tls);
    listener->users = 1;
    wf_net_hold(net);
    status = uv_tcp_init_ex(net->loop, &listener->tcp, sa.ss_family);
    if (status != 0) {
        wf_listener_drop(listener);
        return wf_fail(why, WEFT_EIO, "can't listen on %s: %s", text, uv_strerror(status));
    }
    wf_net_tune(net, &listener->tcp, true);
    status = uv_tcp_bind(&listener->tcp, (struct sockaddr *)&sa, 0);
    if (status == 0)
        status = uv_listen((uv_stream_t *)&listener->tcp, BACKLOG, on_connection);
    if (status != 0) {
        wf_listener_close(listener);
        return wf_fail(why, WEFT_EIO, "can't listen on %s: %s%s", text, uv_strerror(status),
                       status == UV_EADDRINUSE ? " (another program listens there: stop it or "
                                                 "choose another port)"
                       : status == UV_EACCES   ? " (ports below 1024 need the right to: choose "
                                                 "another port)"
                                               : "");
    }
    *out = listener;
    return WEFT_OK;
}

uint16_t wf_listener_port(const wf_listener *listener)
{
    struct sockaddr_storage sa = {0};
    int len = sizeof sa;
    if (uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)&sa, &len) != 0)
        return 0;
    return wf_sockaddr_port(&sa);
}

static void on_closed(uv_handle_t *handle)
{
    wf_listener_drop(wf_container_of((uv_tcp_t *)handle, wf_listener, tcp));
}

void wf_listener_close(wf_listener *listener)
{
    if (listener->is_closing)
        return;
    report(listener);
    listener->is_closing = true;
    wf_alarm_cancel(&listener->look);
    wf_alarm_cancel(&listener->report);
    wf_list_remove(&listener->soon.node);
    uv_close((uv_handle_t *)&listener->tcp, on_closed);
    /* Handshakes that nobody was asked about end here; the others are links already. */
    while (!wf_list_is_empty(&listener->waiting))
        wf_link_finish(wf_container_of(listener->waiting.next, wf_link, pending));
    for (wf_node *n = listener->pending.next; n != &listener->pending;) {
        wf_link *link = wf_container_of(n, wf_link, pending);
        n = n->next;
        if (link->handler == NULL)
            wf_link_finish(link);
    }
}

/* ---- what links report */

bool wf_listener_secured(wf_link *link)
{
    wf_listener *listener = link->listener;
    void *arg = NULL;

    const struct wf_link_handler *handler =
        listener->config.accepted(listener->config.arg, link, &arg);
    if (link->state == LINK_CLOSED)
        return false; /* refused by cutting it, with a reason */
    if (handler == NULL) {
        wf_link_fail(link, WEFT_EREFUSED, "refused");
        return false;
    }
    link->handler = handler;
    link->arg = arg;
    return true;
}

void wf_listener_up(wf_link *link)
{
    link->listener->up_count++;
    if (link->alpn == PKI_ALPN_LINK)
        place_leave(link->listener, link);
}

void wf_listener_gone(wf_link *link)
{
    wf_listener *listener = link->listener;

    if (link->counted_up) {
        listener->up_count--;
    } else if (link->err != WEFT_OK && !link->has_spoken && link->err != WEFT_ETIMEDOUT) {
        /* Somebody looked whether the port is open: a health check, `weft doctor`. */
        wf_log_debug("listener: %s came and went without a byte", link->remote);
    } else if (link->err != WEFT_OK && !listener->is_closing) {
        if (listener->lines < LINES_MAX) {
            listener->lines++;
            wf_log_info("listener: no link with %s: %s", link->remote, link->why.text);
        }
        count_one(listener, link->err == WEFT_ETIMEDOUT ? &listener->dropped : &listener->failed);
    }
    place_leave(listener, link);
    link->listener = NULL;
    wf_listener_drop(listener);
}
