/*
 * The blocking face's inside: a client is an endpoint on a thread of its own,
 * one lock, and wishes: what callers want done on that thread.
 *
 * Streams, listeners and the endpoint are touched by the loop's thread alone;
 * every field of connections and servers is touched under the client's lock.
 */
#ifndef SDK_CLIENT_H
#define SDK_CLIENT_H

#include "proto/base/buf.h"
#include "proto/base/id.h"
#include "proto/base/list.h"
#include "proto/base/text.h"
#include "proto/base/why.h"
#include <pthread.h>
#include <stdbool.h>
#include <time.h>
#include <weft/weft.h>

/* What the loop's thread is to do for an object. */
enum {
    WF_DO_DIAL = 1,
    WF_DO_WRITE = 2,
    WF_DO_END = 4,
    WF_DO_RESUME = 8,
    WF_DO_CLOSE = 16,
    WF_DO_LISTEN = 32,
    WF_DO_ACCEPT = 64,
};

struct wf_wish {
    wf_node node; /* among the client's wishes */
    unsigned todo;
    /* On the loop's thread, under the lock. */
    void (*grant)(struct wf_wish *wish, unsigned todo);
};

void wf_client_lock(weft_client *client);
void wf_client_unlock(weft_client *client);
/* The loop's thread's; valid as long as the client is open. */
weft_endpoint *wf_client_endpoint(weft_client *client);
/* Under the lock: wakes the loop's thread to grant this. */
void wf_client_wish(weft_client *client, struct wf_wish *wish, unsigned todo);

/* A condition that wf_client_wait can wait on. WEFT_ENOMEM. */
weft_err wf_client_cond(pthread_cond_t *cond);
struct timespec wf_client_deadline(unsigned ms);
/* Waits for a change; false once the deadline (NULL: none) has passed. */
bool wf_client_wait(weft_client *client, pthread_cond_t *changed, const struct timespec *deadline);

/* ---- connections (conn.c) */

struct weft_conn {
    weft_client *client; /* borrowed: outlives us */
    struct wf_wish wish;
    pthread_cond_t changed;
    weft_stream *stream;              /* the loop's thread's; NULL before and after */
    char *service;                    /* owned: while dialing */
    struct weft_dial_options options; /* its text is borrowed: the caller waits for the dial */
    bool opened, closed;
    weft_err err; /* how it closed */
    wf_why why;
    wf_buf in; /* owned: bytes in[in_at..len) wait for a reader */
    size_t in_at;
    bool starved;       /* the stream holds bytes that did not fit */
    bool ended;         /* their end of stream */
    const uint8_t *out; /* borrowed from the writer that waits; NULL: none */
    size_t out_len, out_done;
    bool end_done;
    weft_err end_err;
    wf_node ready; /* in server->ready */
    struct weft_peer peer;
    char name[WF_NAME_MAX + 1], id[WF_ID_TEXT], spiffe[256], service_name[WF_NAME_MAX + 1];
    char session[WF_ID_TEXT];
};

/* Without a stream yet. */
weft_err wf_conn_new(weft_client *client, weft_conn **out);
/* Its stream is gone, or never was. */
void wf_conn_free(weft_conn *conn);
/* For the stream of a connection; its arg is the connection. */
extern const struct weft_stream_handler wf_conn_handler;

#endif
