/*
 * A small HTTP/1.1 server in clear text for loopback: what --metrics needs.
 * Bounded connections, an absolute deadline for each, one answer and close.
 */
#ifndef PROTO_HTTP_SERVER_H
#define PROTO_HTTP_SERVER_H

#include "proto/base/address.h"
#include "proto/http/message.h"

struct uv_loop_s;
typedef struct wf_http_server wf_http_server;

#define WF_HTTP_SERVER_CONNECTIONS 32
#define WF_HTTP_SERVER_DEADLINE_MS 10000u
#define WF_HTTP_SERVER_ANSWER_MAX (1024u * 1024u)

struct wf_http_server_config {
    const wf_address *address; /* copied; port 0 picks one */
    /* Fills body and *type (static text), returns the status. A request's body is refused (413). */
    unsigned (*request)(void *arg, const struct wf_http_head *head, wf_buf *body,
                        const char **type);
    void *arg;
};

weft_err wf_http_server_open(struct uv_loop_s *loop, const struct wf_http_server_config *config,
                             wf_http_server **out, wf_why *why);
uint16_t wf_http_server_port(const wf_http_server *server);
/* Closes the listener and every connection; frees in the close callbacks. */
void wf_http_server_close(wf_http_server *server);

#endif
