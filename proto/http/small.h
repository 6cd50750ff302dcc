/*
 * A small HTTP/1.1 server in clear text for loopback: what --metrics needs.
 * Bounded connections, an absolute deadline for each, one answer and close.
 */
#ifndef PROTO_HTTP_SMALL_H
#define PROTO_HTTP_SMALL_H

#include "proto/base/address.h"
#include "proto/http/message.h"

struct uv_loop_s;
typedef struct wf_http_small wf_http_small;

#define WF_HTTP_SMALL_CONNECTIONS 32
#define WF_HTTP_SMALL_DEADLINE_MS 10000u
#define WF_HTTP_SMALL_ANSWER_MAX (1024u * 1024u)

struct wf_http_small_config {
    const wf_address *address; /* copied; port 0 picks one */
    /* Fills body and *type (static text), returns the status. A request's body is refused (413). */
    unsigned (*request)(void *arg, const struct wf_http_head *head, wf_buf *body,
                        const char **type);
    void *arg;
};

weft_err wf_http_small_open(struct uv_loop_s *loop, const struct wf_http_small_config *config,
                            wf_http_small **out, wf_why *why);
uint16_t wf_http_small_port(const wf_http_small *server);
/* Closes the listener and every connection; frees in the close callbacks. */
void wf_http_small_close(wf_http_small *server);

#endif
