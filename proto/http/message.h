/*
 * HTTP/1.1 messages, read strictly and without I/O (RFC 9112).
 * CRLF only, no obs-fold, token names with ":" adjacent, exactly one Host in a
 * request, Content-Length digits only and single, Transfer-Encoding exactly
 * "chunked" and alone, never both, chunk extensions <= 256 bytes, no
 * trailers, no NUL anywhere. Any doubt is an error, and then the connection
 * is closed.
 */
#ifndef PROTO_HTTP_MESSAGE_H
#define PROTO_HTTP_MESSAGE_H

#include "proto/base/buf.h"
#include "proto/base/reader.h"
#include "proto/base/why.h"
#include <stdbool.h>

#define WF_HTTP_HEAD_MAX 32768u /* bytes of a request's or answer's head */
#define WF_HTTP_FIELDS_MAX 100u
#define WF_HTTP_TARGET_MAX 8192u
#define WF_HTTP_EXTENSION_MAX 256u

struct wf_http_field {
    wf_span name, value; /* into the head; value without surrounding white space */
};

struct wf_http_head {
    bool is_request;
    wf_span method, target; /* request */
    unsigned status;        /* answer: 100..599; of no meaning in a request */
    unsigned minor;         /* 1.<minor>: 0 or 1 */
    struct wf_http_field fields[WF_HTTP_FIELDS_MAX];
    size_t field_count;
    bool keep_alive;
    bool chunked;
    bool has_length;
    uint64_t length; /* with has_length */
};

/* The value of the first field of that name (ASCII case ignored); data NULL if absent. */
wf_span wf_http_find(const struct wf_http_head *head, const char *name);

struct wf_http_handler {
    /* Borrowed for the call. Answers: 1xx heads are skipped and not told. */
    weft_err (*head)(void *arg, const struct wf_http_head *head);
    weft_err (*body)(void *arg, wf_span data); /* borrowed for the call */
    weft_err (*end)(void *arg);                /* the message is complete */
};

typedef struct wf_http_parser wf_http_parser;

enum wf_http_side { WF_HTTP_REQUESTS, WF_HTTP_ANSWERS };

/* handler and arg are borrowed as long as the parser lives. Bodies over body_max: WEFT_ELIMIT. */
weft_err wf_http_parser_new(enum wf_http_side side, uint64_t body_max,
                            const struct wf_http_handler *handler, void *arg, wf_http_parser **out);
void wf_http_parser_free(wf_http_parser *parser);
/* Answers only: the next answer is to HEAD and has no body. */
void wf_http_parser_expect_no_body(wf_http_parser *parser);
/*
 * Takes bytes; *taken < len only after `end` of a message when `one` is set,
 * or on an error, which is final: WEFT_EPROTO, WEFT_ELIMIT, or what a handler returned.
 */
weft_err wf_http_parser_feed(wf_http_parser *parser, const uint8_t *data, size_t len, bool one,
                             size_t *taken, wf_why *why);
/* After an error of feed, requests only: the status to refuse with (400, 413, 414, 431, 501, 505).
 */
unsigned wf_http_parser_refusal(const wf_http_parser *parser);
/* The connection ended: that completes an answer without a length, and is WEFT_EPROTO elsewhere. */
weft_err wf_http_parser_finish(wf_http_parser *parser, wf_why *why);

/* Writing. A name, value or target that could inject (CR, LF, NUL, space) is WEFT_EINVAL. */

weft_err wf_http_put_request(wf_buf *out, const char *method, const char *target, const char *host,
                             wf_why *why);
weft_err wf_http_put_answer(wf_buf *out, unsigned status);
weft_err wf_http_put_field(wf_buf *out, const char *name, const char *value, wf_why *why);
weft_err wf_http_put_end(wf_buf *out);       /* the empty line */
const char *wf_http_reason(unsigned status); /* "Not Found" */
bool wf_http_is_token(wf_span text);
bool wf_http_is_host(wf_span text); /* "name", "name:port", "[v6]:port" */

#endif
