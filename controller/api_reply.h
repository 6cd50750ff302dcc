/*
 * An answer of the HTTPS API: JSON, or a problem (RFC 9457) that holds the same
 * one line and code as everywhere. It waits in the turn for the commit, and
 * whatever becomes of the turn the exchange is answered once.
 */
#ifndef CONTROLLER_API_REPLY_H
#define CONTROLLER_API_REPLY_H

#include "proto/base/buf.h"
#include "proto/base/why.h"
#include <stdbool.h>

struct wf_http_exchange;

#define API_ETAG_TEXT 36 /* 32 hex digits, quotes, NUL */
#define API_BODY_MAX (1024u * 1024u)

struct api_reply {
    struct wf_http_exchange *exchange; /* NULL once answered */
    unsigned status;
    bool is_problem;
    wf_buf body;
    char etag[API_ETAG_TEXT]; /* each: "" is none */
    char location[128];
    char allow[64];
    unsigned retry_after; /* seconds; 0: none */
};

/* NULL without memory. Takes the exchange. */
struct api_reply *api_reply_new(struct wf_http_exchange *exchange);
/* Answers; once. */
void api_reply_send(struct api_reply *reply);
/* Answers 500 if nobody has. NULL is fine. */
void api_reply_free(struct api_reply *reply);

/* The status of an error of ours: docs/api.md. */
unsigned api_status_of(weft_err err);
/* Makes it a problem; what was in the body goes. */
void api_reply_problem(struct api_reply *reply, unsigned status, weft_err err, const char *detail);
/* The strong ETag of these bytes. */
void api_etag(const void *data, size_t len, char out[API_ETAG_TEXT]);

#endif
