/*
 * What the files of proto/link share and nobody else sees: the net's and the
 * link's fields, and the functions by which one file hands over to the next.
 * Tests include it too, to shorten the times of a net.
 */
#ifndef PROTO_LINK_INTERNAL_H
#define PROTO_LINK_INTERNAL_H

#include "proto/base/list.h"
#include "proto/link/link.h"
#include <stdarg.h>
#include <uv.h>

/* The list's macro by way of void, which says to clang that the alignment is meant. */
#undef wf_container_of
#define wf_container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* ---- alarms: all times of a net on one timer (alarm.c) */

#define WF_TICK_MS 128u    /* alarms ring up to this late, so that idle links share wake-ups */
#define WF_TICK_SLOTS 256u /* horizon of about 32 s; later alarms go round again */

typedef struct wf_alarm wf_alarm;
struct wf_alarm {
    wf_node node;
    wf_net *net; /* borrowed; NULL while it isn't set */
    uint64_t due;
    void (*ring)(wf_alarm *alarm, uint64_t now);
};

/* Sets or moves an alarm: it rings once at due (wf_net_now's clock) or up to a tick later. */
void wf_alarm_set(wf_net *net, wf_alarm *alarm, uint64_t due);
void wf_alarm_cancel(wf_alarm *alarm); /* also if it isn't set */

struct wf_wheel {
    uv_timer_t timer;
    wf_node slots[WF_TICK_SLOTS];
    uint64_t tick;  /* the last one done */
    uint64_t armed; /* the tick that the timer waits for; 0: none */
    size_t count;   /* alarms that are set */
};
weft_err wf_wheel_init(wf_net *net);

/* ---- the net (net.c) */

/* Deadlines of a net, from limits.h; tests make them short. */
struct wf_net_times {
    unsigned connect_ms, handshake_ms, hello_ms, ping_ms, silence_ms, call_ms, close_ms;
    unsigned backoff_min_ms, backoff_max_ms;
    unsigned settled_ms; /* up for so long, an uplink's link counts as a success */
    unsigned fair_ms;    /* what a stranger's handshake has before others may take its place */
};

#define WF_CIPHER_SCRATCH (64u * 1024u)
/* The largest frame and one record behind it. */
#define WF_PLAIN_SCRATCH (WF_FRAME_HEADER + WF_FRAME_PAYLOAD_MAX + 16384u)
#define WF_CHUNK_SIZE (128u * 1024u)
#define WF_CHUNK_POOL 8u /* free chunks that a net keeps */

/* A piece of a link's output. */
struct wf_chunk {
    struct wf_chunk *next;
    size_t off, len; /* data[off..len) waits */
    uint8_t data[WF_CHUNK_SIZE];
};

/* Something to do soon: when the loop next turns, outside of any other call. */
struct wf_soon {
    wf_node node;
    void (*run)(struct wf_soon *soon);
};

struct wf_net {
    uv_loop_t *loop; /* borrowed: outlives us */
    uv_prepare_t flush;
    uv_idle_t idle;
    struct wf_wheel wheel;
    unsigned handles; /* of the three, those not closed yet */
    size_t users;     /* links, listeners and uplinks; the net's memory stays for them */
    bool is_closing;
    void (*closed)(void *arg);
    void *closed_arg;
    uint8_t *cipher;       /* owned: what a socket is read into */
    uint8_t *plain;        /* owned: what that decrypts to */
    wf_buf control;        /* owned: a control frame being made */
    wf_node dirty;         /* links with output that nobody has tried to send */
    wf_node soon;          /* struct wf_soon */
    struct wf_chunk *pool; /* owned */
    unsigned pool_count;
    struct wf_net_counters counters;
    struct wf_net_times times;
    long receive_limit, send_limit; /* the kernel's, for socket buffers */
};

uint64_t wf_net_now(void); /* ms of the loop's clock, read afresh */
void wf_net_hold(wf_net *net);
void wf_net_drop(wf_net *net); /* the last one, after wf_net_close, frees */
void wf_net_soon(wf_net *net, struct wf_soon *soon);
/* Asks for the socket buffers of the data path; sets TCP_NODELAY unless it listens. */
void wf_net_tune(const wf_net *net, uv_tcp_t *tcp, bool listens);
/* "127.0.0.1:4711", "[::1]:4711". */
void wf_net_sockaddr_text(const struct sockaddr *sa, char *out, size_t cap);

/* ---- the link */

/*
 * CONNECTING -> SECURING -> GREETING -> UP -> CLOSING -> CLOSED
 * Named by what they expect: a TCP connection, the peer's handshake, its
 * Hello, frames, the end of its stream, our close callback. CLOSED can follow
 * each of them; accepted links begin at SECURING.
 */
enum wf_link_state {
    LINK_CONNECTING,
    LINK_SECURING,
    LINK_GREETING,
    LINK_UP,
    LINK_CLOSING,
    LINK_CLOSED,
};

struct wf_dialing; /* dial.c */

struct wf_link {
    uv_tcp_t tcp;
    wf_net *net; /* counted */
    enum wf_link_state state;
    enum pki_alpn alpn;
    pki_tls_ctx *ctx;                      /* counted */
    pki_tls *tls;                          /* owned */
    const struct wf_link_handler *handler; /* borrowed; NULL: nobody took the link yet */
    void *arg;
    wf_hello_fn hello;
    void *hello_arg;

    struct wf_dialing *dialing; /* owned; NULL once connected */

    wf_listener *listener; /* counted; NULL: we dialed */
    wf_node pending;       /* in the listener's list of handshakes, or of those who wait */
    bool is_waiting;       /* accepted, but there is no place for its handshake yet */
    uint64_t started;
    uint8_t origin[16]; /* the address that per-address caps count */
    bool has_spoken;    /* a byte has come */
    bool counted_up;    /* in the listener's and the net's number of links */

    wf_alarm alarm;
    uint64_t deadline;    /* of the state; 0: none */
    uint64_t heard;       /* the last byte from the peer */
    uint64_t pinged;      /* our last ping; 0: none */
    uint64_t ping_second; /* pings of the peer are counted per second */
    unsigned ping_count;

    struct wf_chunk *out_head, *out_tail; /* owned */
    size_t queued;                        /* bytes in the chunks */
    size_t writing;                       /* of those, with the pending uv_write; 0: none pending */
    uv_write_t write;
    union { /* the first and the last request of a connection */
        uv_connect_t connect;
        uv_shutdown_t shutdown;
    } once;
    bool is_shut;    /* uv_shutdown was asked for */
    bool is_blocked; /* someone may wait for `drained` */
    bool is_broken;  /* the socket takes nothing more; the reading side will say why */
    wf_node dirty;

    uint8_t *partial; /* owned; NULL unless a frame's beginning waits for its end */
    size_t partial_len, partial_cap;

    wf_node calls; /* struct call */
    unsigned call_count;
    uint64_t call_next;

    weft_err err; /* for `closed` */
    wf_why why;
    char remote[WF_ADDRESS_TEXT];
};

/* link.c */
wf_link *wf_link_new(wf_net *net, enum pki_alpn alpn, pki_tls_ctx *ctx, weft_err *err);
void wf_link_move(wf_link *link, enum wf_link_state to);
void wf_link_free(wf_link *link); /* of one whose handle was never opened or is closed */
/* The TCP connection stands: starts reading and, as a client, the handshake. */
void wf_link_connected(wf_link *link);
/* Cuts with a sentence. */
void wf_link_fail(wf_link *link, weft_err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void wf_link_finish(wf_link *link); /* to CLOSED, with link->err */
void wf_link_handle_closed(uv_handle_t *handle);
void wf_link_set_deadline(wf_link *link, uint64_t due);
/* Goes on with the handshake; after it the link is secured, still securing, or closed. */
void wf_link_secure(wf_link *link);
/* One whole frame from the peer. */
void wf_link_take(wf_link *link, struct wf_frame *frame);
static inline bool wf_link_is_open(const wf_link *link)
{
    return link->state == LINK_SECURING || link->state == LINK_GREETING || link->state == LINK_UP;
}

/* dial.c */
void wf_dialing_next(wf_link *link); /* tries the next address, or gives up */
void wf_dialing_overdue(wf_link *link, uint64_t now);
void wf_dialing_free(wf_link *link);

/* input.c */
weft_err wf_input_start(wf_link *link);

/* output.c */
weft_err wf_output_put(void *link, const uint8_t *data, size_t len); /* pki_tls's output */
void wf_output_flush(wf_link *link);
void wf_output_last_try(wf_link *link); /* before a cut: what the socket takes at once */
void wf_output_drop(wf_link *link);
void wf_output_shut(wf_link *link); /* closing: the end of our stream, once all is sent */
void wf_chunk_put(wf_net *net, struct wf_chunk *chunk);

/* calls.c */
void wf_calls_init(wf_link *link);
void wf_calls_take_reply(wf_link *link, const Weft__Wire__Reply *reply);
void wf_calls_fail(wf_link *link);

/* listener.c */
bool wf_listener_secured(wf_link *link); /* asks for a handler; false: refused */
void wf_listener_up(wf_link *link);
void wf_listener_gone(wf_link *link); /* the link is closed: frees its place */
void wf_listener_drop(wf_listener *listener);

#endif
