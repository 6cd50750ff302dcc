/* HTTP/1.1 answers and requests: whole or byte by byte, the verdict and the body are the same. */
#include "proto/http/message.h"
#include <stdlib.h>
#include <string.h>

struct seen {
    unsigned heads, ends;
    uint64_t body_len, body_sum;
};

static weft_err on_head(void *arg, const struct wf_http_head *head)
{
    struct seen *s = arg;
    s->heads++;
    for (size_t i = 0; i < head->field_count; i++)
        s->body_sum += head->fields[i].name.len + head->fields[i].value.len;
    return WEFT_OK;
}

static weft_err on_body(void *arg, wf_span data)
{
    struct seen *s = arg;
    for (size_t i = 0; i < data.len; i++)
        s->body_sum = s->body_sum * 31 + data.data[i];
    s->body_len += data.len;
    return WEFT_OK;
}

static weft_err on_end(void *arg)
{
    ((struct seen *)arg)->ends++;
    return WEFT_OK;
}

static const struct wf_http_handler handler = {on_head, on_body, on_end};

static weft_err feed(enum wf_http_side side, const uint8_t *data, size_t len, size_t piece,
                     struct seen *seen)
{
    wf_http_parser *p;
    weft_err err = WEFT_OK;
    memset(seen, 0, sizeof *seen);
    if (wf_http_parser_new(side, 1u << 20, &handler, seen, &p) != WEFT_OK)
        abort();
    for (size_t at = 0; at < len && err == WEFT_OK; at += piece) {
        size_t taken;
        err = wf_http_parser_feed(p, data + at, len - at < piece ? len - at : piece, false, &taken,
                                  NULL);
    }
    if (err == WEFT_OK)
        err = wf_http_parser_finish(p, NULL);
    wf_http_parser_free(p);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    for (enum wf_http_side side = WF_HTTP_REQUESTS; side <= WF_HTTP_ANSWERS; side++) {
        struct seen whole, pieces;
        weft_err a = feed(side, data, len, len + 1, &whole), b = feed(side, data, len, 1, &pieces);
        if ((a == WEFT_OK) != (b == WEFT_OK))
            abort();
        if (a == WEFT_OK &&
            (whole.heads != pieces.heads || whole.ends != pieces.ends ||
             whole.body_len != pieces.body_len || whole.body_sum != pieces.body_sum))
            abort();
    }
    return 0;
}
