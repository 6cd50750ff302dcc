/*
 * libweft: dial services by name, or bind them, over a Weft fabric.
 *
 * Two faces of the same machine. The asynchronous one (weft_endpoint,
 * weft_stream, weft_listener) runs on a libuv loop, the caller's or its own,
 * and must be used from that loop's thread only. The blocking one
 * (weft_client, weft_conn, weft_server, at the end of this file) may be used
 * from any thread.
 *
 * Common rules:
 * - Functions that return weft_err: WEFT_OK means it began or is done as
 *   said; any other value means nothing happened and no callback comes.
 *   A `why` parameter may be NULL; otherwise it gets one line: what was
 *   refused, by which rule, what to do.
 * - Callbacks never come from inside the call that asked for them.
 * - Parameters are borrowed for the call unless their comment says otherwise.
 * - Streams are end-to-end encrypted and mutually authenticated; the names
 *   shown come from the peer's verified certificate.
 */
#ifndef WEFT_WEFT_H
#define WEFT_WEFT_H

#include <stddef.h>
#include <stdint.h>
#include <weft/err.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(WEFT_BUILDING)
#define WEFT_API __attribute__((visibility("default")))
#else
#define WEFT_API
#endif

struct uv_loop_s;

WEFT_API const char *weft_version(void); /* "0.1.0", static */
/* The functions of <weft/err.h> are exported too. */

/* ------------------------------------------------------------------ endpoint */

/* An identity at work: its trust, grants, controller and router connections. */
typedef struct weft_endpoint weft_endpoint;

/* How a connection to one node of the fabric stands. Strings are borrowed for the callback. */
struct weft_event {
    enum weft_event_kind {
        WEFT_EVENT_CONTROLLER_UP = 1,
        WEFT_EVENT_CONTROLLER_DOWN,
        WEFT_EVENT_ROUTER_UP,
        WEFT_EVENT_ROUTER_DOWN,
        WEFT_EVENT_RENEWED,     /* the certificate was renewed */
        WEFT_EVENT_REVOKED,     /* this identity was disabled or deleted */
        WEFT_EVENT_AUDIT_ALARM, /* the controller's audit log contradicts what it signed before */
    } kind;
    weft_err err;
    const char *text; /* one line */
};

struct weft_options {
    /* A path to an identity file, or the JSON itself (begins with '{'). A path
     * to a token file (*.jwt) is enrolled on first use. NULL: $WEFT_IDENTITY. */
    const char *identity;
    struct uv_loop_s *loop; /* borrowed; NULL: the endpoint makes its own, see weft_endpoint_run */
    /* Where grants, routers and revocations are kept; NULL: $XDG_STATE_HOME/weft/<id>
     * (or ~/.local/state/weft/<id>), in memory if that can't be written. "" : in memory. */
    const char *state_dir;
    /* "HOST:PORT" to use instead of the controllers named in the identity; NULL: those. */
    const char *controller;
    /* Connection news; may be NULL. */
    void (*event)(void *arg, const struct weft_event *event);
    void *arg;
    unsigned dial_timeout_ms; /* 0: 15,000 */
};

/*
 * Reads (or enrolls) the identity; connects to nothing yet. Enrolling on
 * first use blocks for up to 30 s. Errors: WEFT_ECREDENTIAL, WEFT_EEXPIRED,
 * WEFT_EUSAGE (an inline token), WEFT_EIO...
 */
WEFT_API weft_err weft_endpoint_open(const struct weft_options *options, weft_endpoint **out,
                                     weft_why *why);
/* Runs the endpoint's own loop until weft_endpoint_close is done. Only without options.loop. */
WEFT_API weft_err weft_endpoint_run(weft_endpoint *endpoint);
/* The loop it runs on, valid as long as the endpoint. */
WEFT_API struct uv_loop_s *weft_endpoint_loop(weft_endpoint *endpoint);
/*
 * Resets what is open, closes connections, then calls closed (may be NULL);
 * the endpoint's memory is gone after that. Idempotent.
 */
WEFT_API void weft_endpoint_close(weft_endpoint *endpoint, void (*closed)(void *arg), void *arg);
/* The identity's name and id (32 hex digits); valid as long as the endpoint. */
WEFT_API const char *weft_endpoint_name(const weft_endpoint *endpoint);
WEFT_API const char *weft_endpoint_id(const weft_endpoint *endpoint);

/* -------------------------------------------------------------------- stream */

typedef struct weft_stream weft_stream;

/* The other side, from its verified certificate. Strings live as long as the stream. */
struct weft_peer {
    const char *name;      /* display name */
    const char *id;        /* 32 hex digits */
    const char *spiffe_id; /* spiffe://domain/identity/<id> */
    const char *service;   /* the service's name */
    const char *session;   /* 32 hex digits, for logs on both sides */
};

struct weft_stream_handler {
    /* The host accepted (dialer), or our acceptance is on its way (host). Data may flow. */
    void (*opened)(weft_stream *stream, void *arg, const struct weft_peer *peer);
    /*
     * Bytes of the stream, borrowed for the call. Returns how many were taken.
     * The rest is kept (within the window) and comes again after
     * weft_stream_resume; until then nothing more is delivered and the
     * sender is held back.
     */
    size_t (*data)(weft_stream *stream, void *arg, const uint8_t *data, size_t len);
    /* The other side's authenticated end of stream, after its last byte was taken. */
    void (*ended)(weft_stream *stream, void *arg);
    /* weft_stream_write will take bytes again (after it took fewer than asked). */
    void (*writable)(weft_stream *stream, void *arg);
    /* One datagram, borrowed for the call; NULL if the stream isn't a datagram stream. */
    void (*datagram)(weft_stream *stream, void *arg, const uint8_t *data, size_t len);
    /*
     * The last callback; afterwards the stream is gone. WEFT_OK: both
     * directions ended cleanly or weft_stream_close after that. Anything else
     * is the reason why the stream did not end cleanly.
     */
    void (*closed)(weft_stream *stream, void *arg, weft_err err, const char *why);
};

struct weft_dial_options {
    const char *instance; /* 32 hex digits: this host and no other; NULL: any */
    unsigned timeout_ms;  /* 0: the endpoint's */
    int datagram;         /* non-zero: datagrams instead of a byte stream */
};

/*
 * Dials a service by name; options may be NULL, handler is borrowed: static.
 * `opened` or `closed` follows. WEFT_EREFUSED, WEFT_EUNREACHABLE, WEFT_ENOHOST,
 * WEFT_ETIMEDOUT, WEFT_ETAMPERED... come through `closed`.
 */
WEFT_API weft_err weft_dial(weft_endpoint *endpoint, const char *service,
                            const struct weft_dial_options *options,
                            const struct weft_stream_handler *handler, void *arg, weft_stream **out,
                            weft_why *why);
/*
 * Stream bytes that fill one record, one frame and one record of the hop:
 * reads from elsewhere in multiples of this leave no short records behind.
 */
#define WEFT_PIECE 16314u
/*
 * Writes what may be sent now: *taken <= len bytes, encrypted before it
 * returns. With an error, too, *taken says what had left before it. After
 * fewer: `writable`. A dialer may write before `opened`: it
 * takes nothing until the host is verified, when `writable` comes; the host
 * holds such bytes until it accepts, which saves a round trip. A dial that
 * fails after that with WEFT_EBACKEND, WEFT_EBUSY, WEFT_ENOHOST or
 * WEFT_EREFUSED was refused by the host itself and nothing was processed;
 * with any other error it may have been.
 */
WEFT_API weft_err weft_stream_write(weft_stream *stream, const void *data, size_t len,
                                    size_t *taken);
/* One datagram of at most 65,507 bytes; the oldest unsent ones are dropped above 256 KiB. */
WEFT_API weft_err weft_stream_send_datagram(weft_stream *stream, const void *data, size_t len);
/* Delivers again from where `data` took fewer; from the loop, later. */
WEFT_API void weft_stream_resume(weft_stream *stream);
/* No more data from this side; the other direction lives on. Idempotent. */
WEFT_API weft_err weft_stream_end(weft_stream *stream);
/*
 * Gives the stream up: a reset unless both directions have ended. `closed`
 * follows (with WEFT_OK if both had ended, else WEFT_ECANCELED), unless it came already.
 */
WEFT_API void weft_stream_close(weft_stream *stream);
/* As weft_stream_close, and tells the other side why: it gets this error and text. */
WEFT_API void weft_stream_reset(weft_stream *stream, weft_err err, const char *reason);
WEFT_API void *weft_stream_arg(const weft_stream *stream);
/*
 * Bytes on the wire, as encrypted and with what is not yours (the handshake),
 * that the other side's endpoint has not yet acknowledged. It does so for a
 * quarter of its window at a time: a rest stays, also when all has arrived.
 */
WEFT_API uint64_t weft_stream_unacked(const weft_stream *stream);

/* -------------------------------------------------------------------- listen */

typedef struct weft_listener weft_listener;

struct weft_listener_handler {
    /* The service is bound on so many routers now; 0: on none, with the reason. */
    void (*bound)(weft_listener *listener, void *arg, unsigned routers, const char *why);
    /*
     * A verified dialer. Answer now or later with weft_stream_accept or
     * weft_stream_refuse; the peer's strings live as long as the stream.
     */
    void (*incoming)(weft_listener *listener, void *arg, weft_stream *stream,
                     const struct weft_peer *peer);
    void (*closed)(weft_listener *listener, void *arg, weft_err err, const char *why);
};

/* Binds a service by name on every router it can reach, and keeps it. handler: borrowed, static. */
WEFT_API weft_err weft_listen(weft_endpoint *endpoint, const char *service,
                              const struct weft_listener_handler *handler, void *arg,
                              weft_listener **out, weft_why *why);
WEFT_API const char *weft_listener_instance(const weft_listener *listener); /* 32 hex digits */
/* Unbinds; streams live on. `closed` follows. */
WEFT_API void weft_listener_close(weft_listener *listener);
/* Sends ACCEPT; `opened` follows. */
WEFT_API weft_err weft_stream_accept(weft_stream *stream, const struct weft_stream_handler *handler,
                                     void *arg);
/* Instead of weft_stream_accept: an authenticated refusal. The stream is gone; no callback. */
WEFT_API void weft_stream_refuse(weft_stream *stream, weft_err err, const char *reason);
/*
 * While a stream that came in waits for its answer: `gone` is called if the
 * dialer gives up meanwhile, and the stream is gone then. Without it the
 * stream waits for its answer all the same: weft_stream_accept fails with the
 * reason, weft_stream_refuse lets it go.
 */
WEFT_API void weft_stream_on_gone(weft_stream *stream, void (*gone)(void *arg), void *arg);

/* ------------------------------------------------------- identity and status */

struct weft_enroll_options {
    const char *token; /* the JWT's text */
    const char *out;   /* the identity file to write */
    const char *key;   /* NULL: inside the file; "file:PATH" (made if absent); "pkcs11:URI" */
    const char *carry; /* NULL, or a lifetime such as "30d": grants and routers go into the file */
    const char *const *services; /* with carry: only these; NULL-terminated; may be NULL */
    const char *key_kind;        /* of a key that is made: NULL or "p256"; "p384"; "ed25519" */
    int key_sealed; /* not 0: a key that is made is kept under the passphrase that is the first
                     * line of $WEFT_KEY_PASSPHRASE_FILE, which every later use needs too */
    const char *ca_cert, *ca_key; /* PEM files: a certificate of your own authority, and its key */
    const char *oidc_token;       /* the text of a workload's token from its issuer */
};
/* Blocking. docs/protocol.md, "Enrollment". */
WEFT_API weft_err weft_enroll(const struct weft_enroll_options *options, weft_why *why);
/* Renews the certificate of an identity file now; blocking. */
WEFT_API weft_err weft_renew(const char *identity, weft_why *why);
/* The same for one that a certificate of your own authority vouches for, when that was replaced. */
WEFT_API weft_err weft_renew_vouched(const char *identity, const char *ca_cert, const char *ca_key,
                                     weft_why *why);
/*
 * The same for a new key, which takes the old one's place in the file. The old one is believed
 * until its certificate ends, or until the operation "retire" is called with the new one.
 */
WEFT_API weft_err weft_renew_key(const char *identity, weft_why *why);
/*
 * Renews the endpoint's certificate now, in the background, with another key if wanted; sessions
 * and connections go on. WEFT_EVENT_RENEWED tells when the new one is in use. WEFT_EBUSY: a renewal
 * runs.
 */
WEFT_API weft_err weft_endpoint_renew(weft_endpoint *endpoint, int new_key);

/*
 * How an endpoint stands, from memory: for metrics. Counts are since it was
 * opened; the arrays are indexed by weft_err. A later version may append
 * fields: size is sizeof(struct weft_facts) of the caller's header.
 */
#define WEFT_FACTS_CODES 32
struct weft_facts {
    int64_t certificate_from, certificate_until; /* of the one in use, Unix seconds */
    uint64_t renewals;                           /* of it */
    uint64_t bundle_version;                     /* of the trust bundle that is held */
    uint64_t dial_grants, bind_grants;           /* held, and valid now */
    uint64_t audit_size;   /* entries of the audit log under the newest checkpoint known; 0: none */
    uint64_t audit_alarms; /* WEFT_EVENT_AUDIT_ALARM so many times */
    uint64_t dials_failed[WEFT_FACTS_CODES];     /* before the stream was open */
    uint64_t sessions_refused[WEFT_FACTS_CODES]; /* as a host: by us, the application included */
    uint64_t binds_refused[WEFT_FACTS_CODES];    /* by routers, or no grant for it */
};
/* Fills *out, at most size bytes of it; the rest of size is zero. From the loop's thread. */
WEFT_API void weft_endpoint_facts(const weft_endpoint *endpoint, struct weft_facts *out,
                                  size_t size);

/* Calls an operation of the controller, with JSON arguments; later `done` gets result, borrowed. */
typedef void (*weft_call_fn)(void *arg, weft_err err, const char *why, const char *result,
                             size_t result_len);
WEFT_API weft_err weft_call(weft_endpoint *endpoint, const char *operation, const char *arguments,
                            unsigned timeout_ms, weft_call_fn done, void *arg);

/* Truth by probes: filled after asking the controller and every router. */
struct weft_status_router {
    char name[65];
    char address[300];
    weft_err err; /* WEFT_OK: TLS, Hello and a ping went through */
    double rtt_ms;
};
struct weft_status {
    char name[65], id[33], domain[129];
    int64_t certificate_days_left; /* negative: expired */
    weft_err controller;
    char controller_address[300];
    double controller_rtt_ms;
    size_t router_count;
    struct weft_status_router routers[8];
    size_t dial_count, bind_count; /* grants held */
    int64_t grants_hours_left;     /* of the shortest grant; -1 without any */
    char services[16][65];         /* first ones */
    weft_err services_dial[16];    /* WEFT_OK: a host accepted or refused a dial, end to end */
};
/* Blocking; timeout_ms bounds all of it together. probe non-zero: services are dialed too. */
WEFT_API weft_err weft_status_get(const char *identity, unsigned timeout_ms, int probe,
                                  struct weft_status *out, weft_why *why);

/* ------------------------------------------------------------------ blocking */

/* An endpoint on a thread of its own. Thread safe. */
typedef struct weft_client weft_client;
typedef struct weft_conn weft_conn;     /* one stream; reads and writes may come from two threads */
typedef struct weft_server weft_server; /* one bound service */

WEFT_API weft_err weft_client_open(const char *identity, weft_client **out, weft_why *why);
/* Connections and servers of it must be closed before. */
WEFT_API void weft_client_close(weft_client *client);
/* options may be NULL; a byte stream always. */
WEFT_API weft_err weft_client_dial(weft_client *client, const char *service,
                                   const struct weft_dial_options *options, weft_conn **out,
                                   weft_why *why);
WEFT_API weft_err weft_client_listen(weft_client *client, const char *service, weft_server **out,
                                     weft_why *why);
/* Waits until the service is bound on a router. */
WEFT_API weft_err weft_server_wait_bound(weft_server *server, unsigned timeout_ms, weft_why *why);
/* Waits for a dialer and accepts it; timeout_ms 0: for ever. WEFT_ECANCELED: server is closed. */
WEFT_API weft_err weft_server_accept(weft_server *server, unsigned timeout_ms, weft_conn **out,
                                     weft_why *why);
WEFT_API void weft_server_close(weft_server *server);

/* 1..cap bytes; *got = 0 with WEFT_OK: the authenticated end of stream. timeout_ms 0: for ever. */
WEFT_API weft_err weft_conn_read(weft_conn *conn, void *buf, size_t cap, size_t *got,
                                 unsigned timeout_ms, weft_why *why);
/* Writes all of it or fails. */
WEFT_API weft_err weft_conn_write(weft_conn *conn, const void *data, size_t len,
                                  unsigned timeout_ms, weft_why *why);
/* Half-close. */
WEFT_API weft_err weft_conn_end(weft_conn *conn, weft_why *why);
/* Name, id, SPIFFE id of the other side; valid as long as the connection. */
WEFT_API const struct weft_peer *weft_conn_peer(const weft_conn *conn);
/* Frees; a reset unless both sides ended. Must not race with a read or write in progress. */
WEFT_API void weft_conn_close(weft_conn *conn);

#ifdef __cplusplus
}
#endif
#endif
