#include "controller/api_reply.h"
#include "pki/key.h"
#include "proto/base/text.h"
#include "proto/http/server.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct api_reply *api_reply_new(struct wf_http_exchange *exchange)
{
    struct api_reply *reply = calloc(1, sizeof *reply);

    if (reply == NULL)
        return NULL;
    reply->exchange = exchange;
    reply->status = 500;
    wf_buf_init(&reply->body, API_BODY_MAX);
    return reply;
}

static void add(struct wf_http_field *fields, size_t *count, const char *name, const char *value)
{
    if (value[0] == '\0')
        return;
    fields[*count].name = wf_span_of(name, strlen(name));
    fields[*count].value = wf_span_of(value, strlen(value));
    ++*count;
}

void api_reply_send(struct api_reply *reply)
{
    struct wf_http_exchange *exchange = reply->exchange;
    struct wf_http_field fields[8];
    char retry[16] = "";
    size_t count = 0;

    if (reply->retry_after > 0)
        snprintf(retry, sizeof retry, "%u", reply->retry_after);
    if (reply->body.len > 0)
        add(fields, &count, "content-type",
            reply->is_problem ? "application/problem+json" : "application/json");
    add(fields, &count, "cache-control", "no-store");
    add(fields, &count, "etag", reply->etag);
    add(fields, &count, "location", reply->location);
    add(fields, &count, "allow", reply->allow);
    add(fields, &count, "retry-after", retry);
    if (reply->status == 401)
        add(fields, &count, "www-authenticate", "Bearer realm=\"weft\"");
    reply->exchange = NULL;
    wf_http_answer(exchange, reply->status, fields, count,
                   wf_span_of(reply->body.data, reply->body.len));
}

void api_reply_free(struct api_reply *reply)
{
    if (reply == NULL)
        return;
    if (reply->exchange != NULL) {
        api_reply_problem(reply, 500, WEFT_EIO, "the controller stops: its store failed");
        api_reply_send(reply);
    }
    wf_buf_wipe(&reply->body); /* it may hold a token */
    free(reply);
}

unsigned api_status_of(weft_err err)
{
    switch (err) {
    case WEFT_OK:
        return 200;
    case WEFT_EINVAL:
    case WEFT_EUSAGE:
    case WEFT_ELIMIT:
    case WEFT_EPROTO:
        return 400;
    case WEFT_ECREDENTIAL:
    case WEFT_EEXPIRED:
    case WEFT_EREVOKED:
    case WEFT_EUSED:
        return 401;
    case WEFT_EREFUSED:
        return 403;
    case WEFT_ENOTFOUND:
        return 404;
    case WEFT_EEXIST:
    case WEFT_ECONFLICT:
        return 409;
    case WEFT_EBUSY:
    case WEFT_ENOMEM:
        return 503;
    default:
        return 500;
    }
}

void api_reply_problem(struct api_reply *reply, unsigned status, weft_err err, const char *detail)
{
    json_t *problem =
        json_pack("{ss ss sI ss ss}", "type", "about:blank", "title", wf_http_reason(status),
                  "status", (json_int_t)status, "code", weft_err_name(err), "detail", detail);
    char *text = problem != NULL ? json_dumps(problem, JSON_COMPACT) : NULL;

    json_decref(problem);
    wf_buf_wipe(&reply->body);
    reply->status = status;
    reply->is_problem = true;
    reply->etag[0] = reply->location[0] = '\0';
    if (text != NULL) /* without memory the status alone */
        (void)wf_buf_printf(&reply->body, "%s\n", text);
    free(text);
}

void api_etag(const void *data, size_t len, char out[API_ETAG_TEXT])
{
    uint8_t digest[32];
    char hex[33];

    pki_sha256(data, len, digest);
    snprintf(out, API_ETAG_TEXT, "\"%s\"", wf_hex(digest, 16, hex));
}
