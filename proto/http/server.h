/*
 * The HTTP server: HTTP/1.1 and HTTP/2 over TLS 1.3, or HTTP/1.1 in clear
 * text on loopback. Each request comes whole, is judged strictly (RFC 9110,
 * 9112, 9113; docs/architecture.md, "HTTP") and is answered once, at once or
 * later. Every wait has a deadline and every buffer a bound.
 */
#ifndef PROTO_HTTP_SERVER_H
#define PROTO_HTTP_SERVER_H

#include "pki/web.h"
#include "proto/base/address.h"
#include "proto/http/message.h"

struct uv_loop_s;
typedef struct wf_http_server wf_http_server;
typedef struct wf_http_exchange wf_http_exchange; /* one request that awaits its answer */

/*
 * All of it belongs to the exchange: valid until wf_http_answer is called on
 * that exchange, also when the connection has gone meanwhile.
 */
struct wf_http_request {
    wf_span method;      /* a token, as sent: "GET" */
    wf_span host;        /* Host, or :authority; empty only in HTTP/1.0 */
    wf_span path, query; /* path begins with '/', percent-encoding untouched; query without the '?';
                            data NULL: there is none */
    const struct wf_http_field *fields; /* names as sent in 1.1, lower case in 2 */
    size_t field_count;
    wf_span body;                   /* whole, at most config.body_max; data NULL while len is 0 */
    const struct pki_subject *peer; /* the verified certificate of an identity; NULL: none shown */
    const char *remote;             /* "HOST:PORT" */
    unsigned version;               /* 1 or 2 */
};
/* The value of the first field of that name (ASCII case ignored); data NULL if absent. */
wf_span wf_http_request_find(const struct wf_http_request *request, const char *name);

/* Each: 0 takes the default behind it. Times in ms, sizes in bytes. */
struct wf_http_limits {
    unsigned connections; /* 1,024; one too many is accepted and closed */
    unsigned
        connections_per_address; /* 256, of an IPv4 address or an IPv6 /64; not on clear text */
    unsigned streams;            /* 100 at once in one HTTP/2 connection */
    uint32_t handshake_ms;       /* 10,000: TLS is up by then */
    uint32_t head_ms;            /* 10,000, from a head's first byte to its last */
    uint32_t idle_ms;            /* 60,000 without a request under way */
    uint32_t grace_ms;           /* 10,000 before the rates count */
    uint32_t rate_min;           /* 1,024 bytes a second, of a body that comes in and of an
                                    answer that is taken */
    uint32_t linger_ms;          /* 1,000 for the peer to take the last answer and close */
    size_t bodies;               /* 64 MiB of request bodies in memory, of all connections; over
                                    TLS half of it for peers that show a certificate */
};

struct wf_http_server_config {
    const wf_address *address; /* copied; port 0 picks one */
    pki_web *tls;              /* counted; NULL: clear text, on loopback only (WEFT_EUSAGE) */
    bool clear_anywhere;       /* clear text beyond loopback too: figures, if an operator says so */
    size_t body_max;           /* a larger body is 413; 0: any body is */
    /*
     * One request. The handler answers exactly once, from inside this call or
     * later, from the loop's thread. It may close the server.
     */
    void (*request)(void *arg, wf_http_exchange *exchange, const struct wf_http_request *request);
    void *arg;
    struct wf_http_limits limits;
};

/* WEFT_EUSAGE, WEFT_EIO (can't listen), WEFT_ENOMEM. */
weft_err wf_http_server_open(struct uv_loop_s *loop, const struct wf_http_server_config *config,
                             wf_http_server **out, wf_why *why);
uint16_t wf_http_server_port(const wf_http_server *server);
/*
 * Accepts no more, says so to every peer (GOAWAY, Connection: close), and ends
 * each connection as soon as its requests are answered.
 */
void wf_http_server_drain(wf_http_server *server);
/*
 * Closes the listener and every connection at once; memory goes in the close
 * callbacks. Exchanges that await their answer stay valid: answer them still.
 */
void wf_http_server_close(wf_http_server *server);

struct wf_http_counters {
    uint64_t connections, accepted, refused; /* open now; since the start; for want of room */
    uint64_t handshakes_failed, late;        /* TLS refused or broken; cut by a deadline */
    uint64_t requests, rejected;             /* given to the handler; refused before */
    uint64_t floods;                         /* HTTP/2 connections cut for frames without use */
    uint64_t body_bytes;                     /* request bodies in memory now */
};
const struct wf_http_counters *wf_http_server_counters(const wf_http_server *server);

/*
 * Answers a request, exactly once, and frees the exchange; if the connection
 * has gone meanwhile that is all. fields and body are copied, and may be parts
 * of the request. Content-Length, Connection and Date are the server's own:
 * don't give them. A field that could inject, or no memory: the peer gets 500
 * or the connection ends. A body goes with no 204 or 304, and to no HEAD.
 * status: 200..599.
 */
void wf_http_answer(wf_http_exchange *exchange, unsigned status, const struct wf_http_field *fields,
                    size_t count, wf_span body);

#endif
