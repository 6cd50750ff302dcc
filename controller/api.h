/*
 * The HTTPS management API: the operation table for HTTP clients. Who calls is
 * an administrator, by the certificate of its identity or by a login; the
 * operations, their checks and their transaction are those of a link.
 */
#ifndef CONTROLLER_API_H
#define CONTROLLER_API_H

#include "controller/controller.h"
#include "proto/http/server.h"

struct uv_loop_s;
struct api;

struct api_config {
    const wf_address *address; /* port 0 picks one */
    const char *cert, *key;    /* PEM files of the operator's, both or none */
};

/* Serves. WEFT_EUSAGE, WEFT_EIO and what the certificate's files say. */
weft_err api_open(struct controller *c, struct uv_loop_s *loop, const struct api_config *config,
                  struct api **out, wf_why *why);
uint16_t api_port(const struct api *api);
/*
 * Does what came in since the last time, for the turn that is about to end.
 * Requests are never done from inside the server's own callback: one that
 * follows on an answer would join a turn whose effects are happening.
 */
void api_work(struct api *api);
/* Renews the own certificate when it is due; operators renew theirs and restart. */
void api_look_after(struct api *api, uint64_t now);
/* What waits is answered 503; frees when the loop has let go. */
void api_close(struct api *api);

/* api_call.c: does one request and fills the reply. Who it is, is settled. */
struct api_reply;
struct api_caller {
    const struct pki_subject *subject;
    bool by_login;
};
void api_call(struct controller *c, const struct api_caller *caller,
              const struct wf_http_request *request, struct api_reply *reply);
extern const char api_document[]; /* docs/openapi.json */
extern const size_t api_document_len;

#endif
