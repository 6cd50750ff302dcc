/*
 * What the files of the server share. A session (h1.c, h2.c) is one
 * connection's protocol without I/O: plaintext in, plaintext drawn out, `now`
 * given; connection.c moves its bytes, server.c accepts. Inside proto/http only.
 */
#ifndef PROTO_HTTP_INTERNAL_H
#define PROTO_HTTP_INTERNAL_H

#include "proto/base/list.h"
#include "proto/base/quota.h"
#include "proto/http/server.h"
#include <uv.h>

#define WF_HTTP_NEVER UINT64_MAX
#define WF_HTTP_DRAW 16384u                    /* plaintext drawn at once: one record */
#define WF_HTTP_ANSWER_MAX (64u * 1024 * 1024) /* bytes of one answer */
#define WF_HTTP_REMOTE_MAX 64u

/* What all connections of a server share. */
struct wf_http_service {
    void (*request)(void *arg, wf_http_exchange *exchange, const struct wf_http_request *request);
    void *arg; /* borrowed: outlives us */
    size_t body_max;
    struct wf_http_limits limits; /* no zero in it */
    struct wf_http_counters counters;
    size_t strange_bytes; /* of counters.body_bytes: from peers without a certificate */
    bool may_know;        /* there is TLS: a peer may show one */
    char date[32];        /* of date_at */
    uint64_t date_at;
};
/* RFC 9110 section 5.6.7, of this second; valid until the next call. */
const char *wf_http_date(struct wf_http_service *service);
/* When that many bytes must have gone that began at `since`. */
uint64_t wf_http_due(const struct wf_http_service *service, uint64_t since, uint64_t bytes);

/* ---- sessions */

typedef struct wf_http_session wf_http_session;

struct wf_http_session_ops {
    /*
     * Takes plaintext; *taken < len: it waits for something, feed the rest after
     * the next draw or wake. An error: the connection ends once the output is out.
     */
    weft_err (*feed)(wf_http_session *s, const uint8_t *data, size_t len, uint64_t now,
                     size_t *taken);
    bool (*wants_input)(const wf_http_session *s);
    /* Appends about WF_HTTP_DRAW bytes at most; nothing appended: no more for now. */
    weft_err (*draw)(wf_http_session *s, wf_buf *out, uint64_t now);
    bool (*is_done)(const wf_http_session *s); /* nothing more comes or goes once drawn empty */
    uint64_t (*deadline)(const wf_http_session *s); /* mono ms; WF_HTTP_NEVER */
    /* The deadline has passed. WEFT_ETIMEDOUT: cut the connection; WEFT_OK: draw. */
    weft_err (*expire)(wf_http_session *s, uint64_t now);
    void (*finish)(
        wf_http_session *s); /* the peer sends no more: answer what is whole, then done */
    void (*drain)(
        wf_http_session *s); /* we want no more: say so, answer what there is, then done */
    /* An exchange of it is answered: takes the exchange, also on an error, which ends all. */
    weft_err (*answer)(wf_http_session *s, wf_http_exchange *x, unsigned status,
                       const struct wf_http_field *fields, size_t count, wf_span body);
    void (*free)(wf_http_session *s);
};

struct wf_http_peer {
    const struct pki_subject *subject; /* borrowed: outlives the session; NULL: nobody */
    const char *remote;                /* borrowed */
    bool secure;                       /* over TLS */
};

struct wf_http_session {
    const struct wf_http_session_ops *ops;
    struct wf_http_service *service; /* borrowed: outlives us */
    struct wf_http_peer peer;
    void (*wake)(void *arg); /* something came to be drawn, outside of feed and expire */
    void *arg;
    wf_node exchanges; /* all of this connection */
    uint64_t now;      /* of the last call */
    bool broken;       /* an answer could not be given: the connection must end */
};

weft_err wf_http_h1_new(struct wf_http_service *service, const struct wf_http_peer *peer,
                        void (*wake)(void *arg), void *arg, uint64_t now, wf_http_session **out);
weft_err wf_http_h2_new(struct wf_http_service *service, const struct wf_http_peer *peer,
                        void (*wake)(void *arg), void *arg, uint64_t now, wf_http_session **out);
void wf_http_session_init(wf_http_session *s, const struct wf_http_session_ops *ops,
                          struct wf_http_service *service, const struct wf_http_peer *peer,
                          void (*wake)(void *arg), void *arg, uint64_t now);
/* Lets go of its exchanges: those that the handler has live on as orphans, the rest are freed. */
void wf_http_session_fini(wf_http_session *s);

/* ---- exchanges */

/*
 *   TAKING -> ASKED -> ANSWERED -> (freed once drawn)
 *                  \-> ORPHAN -> (freed by wf_http_answer)
 */
enum wf_http_stage { WF_HTTP_TAKING, WF_HTTP_ASKED, WF_HTTP_ANSWERED, WF_HTTP_ORPHAN };

struct wf_http_exchange {
    wf_node node;
    wf_http_session *session; /* borrowed; NULL: ORPHAN */
    enum wf_http_stage stage;
    int32_t stream;                 /* HTTP/2 */
    bool is_head;                   /* HEAD: its answer has no body */
    bool has_head;                  /* HTTP/2: it is complete */
    bool is_whole;                  /* HTTP/2: the body is as well */
    bool is_cut;                    /* HTTP/2: refused before it was whole */
    struct wf_http_request request; /* complete from ASKED on */
    wf_buf text;                    /* owned: every name and value, one behind the other */
    wf_buf slots;                   /* owned: struct wf_http_slot of each */
    struct wf_http_field *fields;   /* owned */
    wf_buf body;                    /* owned */
    struct pki_subject *peer;       /* owned; NULL: none */
    char remote[WF_HTTP_REMOTE_MAX];
    uint64_t since; /* mono ms: when this stage began */
    wf_buf answer;  /* owned: what is not sent yet, from sent on */
    size_t sent;
};

weft_err wf_http_exchange_new(wf_http_session *s, uint64_t now, wf_http_exchange **out);
void wf_http_exchange_free(wf_http_exchange *x); /* NULL is fine; leaves its session's list */

/* The four that every request has; copied. Then the fields. */
enum wf_http_part { WF_HTTP_METHOD, WF_HTTP_HOST, WF_HTTP_TARGET, WF_HTTP_PARTS };
weft_err wf_http_exchange_put(wf_http_exchange *x, wf_span name, wf_span value);
/* The body's next bytes. WEFT_ELIMIT: over body_max (413); WEFT_EBUSY: over all bodies (503). */
weft_err wf_http_exchange_put_body(wf_http_exchange *x, wf_span data);
/*
 * The request is whole: makes x->request and gives it to the handler, which may
 * answer within the call. WEFT_ENOMEM: it was not given.
 */
weft_err wf_http_exchange_ask(wf_http_exchange *x, unsigned version, uint64_t now);
/* Part or field i (from WF_HTTP_PARTS on); false: there are not so many. Valid until the next put.
 */
bool wf_http_exchange_field(const wf_http_exchange *x, size_t i, struct wf_http_field *out);
/* The body goes from memory; not while the handler has it. */
void wf_http_exchange_drop_body(wf_http_exchange *x);
/* Its session is done with it: the handler keeps what it has, the rest is freed. */
void wf_http_exchange_drop(wf_http_exchange *x);
/* A path, with what RFC 3986 allows in it and whole percent-escapes. */
bool wf_http_is_path(wf_span target);

/* ---- connections and their server */

struct wf_http_server {
    uv_tcp_t tcp;
    enum { WF_HTTP_OPEN, WF_HTTP_DRAINING, WF_HTTP_CLOSING } state;
    bool tcp_open;
    struct wf_http_service service;
    pki_web *tls;        /* counted; NULL: clear text */
    wf_map *addresses;   /* owned: struct wf_quota */
    wf_node connections; /* of struct wf_http_connection */
    bool running;        /* one of them moves its bytes: drawn and plain are its own */
    uv_tcp_t spare;      /* for a connection that there is no memory for */
    enum { SPARE_FREE, SPARE_BUSY, SPARE_WANTED } spare_state;
    wf_buf drawn;                 /* owned: plaintext on its way out */
    uint8_t cipher[WF_HTTP_DRAW]; /* what a socket gave, for the time of a callback */
    uint8_t plain[WF_HTTP_DRAW];  /* and what it says */
};

/* Accepts the connection that waits at the listener, or closes it. False: no memory even for that.
 */
bool wf_http_connection_accept(wf_http_server *server);
void wf_http_connection_drain(wf_node *connection);
void wf_http_connection_close(wf_node *connection);
/* The last connection has gone: frees the server if nothing else holds it. */
void wf_http_server_settle(wf_http_server *server);

#endif
