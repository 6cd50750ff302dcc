/*
 * Items, parsed as the plaintext comes. Small items mostly arrive whole and
 * are then handed on without being copied; only one cut in two by a record's
 * end is put together in p->whole.
 */
#include "proto/wire/item.h"
#include <assert.h>

static const struct rule {
    uint32_t shortest, longest;
} rules[] = {
    [WF_ITEM_HELLO] = {1, WF_ITEM_CONTROL_MAX},
    [WF_ITEM_ACCEPT] = {0, 0},
    [WF_ITEM_REFUSE] = {1, WF_ITEM_CONTROL_MAX},
    [WF_ITEM_DATA] = {1, (1u << 24) - 1}, /* never gathered */
    [WF_ITEM_DATAGRAM] = {0, WF_DATAGRAM_MAX},
    [WF_ITEM_END] = {0, 0},
    [WF_ITEM_GRANT] = {1, WF_ITEM_CONTROL_MAX},
    [WF_ITEM_RESET] = {1, WF_ITEM_CONTROL_MAX},
};

void wf_item_put_header(uint8_t out[WF_ITEM_HEADER], enum wf_item_type type, uint32_t length)
{
    assert(type >= WF_ITEM_HELLO && type <= WF_ITEM_RESET);
    assert(length >= rules[type].shortest && length <= rules[type].longest);
    out[0] = (uint8_t)type;
    out[1] = (uint8_t)(length >> 16);
    out[2] = (uint8_t)(length >> 8);
    out[3] = (uint8_t)length;
}

void wf_item_parser_init(struct wf_item_parser *p)
{
    *p = (struct wf_item_parser){.header_len = 0};
    wf_buf_init(&p->whole, WF_DATAGRAM_MAX);
}

void wf_item_parser_fini(struct wf_item_parser *p)
{
    wf_buf_wipe(&p->whole);
}

/* The header is complete: its type and length decide what may follow. */
static weft_err begin_item(struct wf_item_parser *p, wf_why *why)
{
    wf_reader r;
    uint8_t type = 0;
    uint32_t length = 0;
    wf_reader_init(&r, p->header, sizeof p->header);
    wf_get_u8(&r, &type);
    wf_get_u24(&r, &length);
    assert(wf_reader_end(&r));
    if (type < WF_ITEM_HELLO || type > WF_ITEM_RESET)
        return wf_fail(why, WEFT_EPROTO, "item of unknown type %u", type);
    if (length < rules[type].shortest || length > rules[type].longest)
        return wf_fail(why, WEFT_EPROTO, "item of type %u with a length of %u, not %u to %u", type,
                       length, rules[type].shortest, rules[type].longest);
    p->type = (enum wf_item_type)type;
    p->left = length;
    return WEFT_OK;
}

weft_err wf_item_parser_feed(struct wf_item_parser *p, const uint8_t *data, size_t len,
                             wf_item_fn item, void *arg, wf_why *why)
{
    if (p->stopped != WEFT_OK)
        return wf_fail(why, p->stopped, "the items ended with an error before");
    weft_err err = WEFT_OK;
    while (len > 0) {
        if (p->header_len < WF_ITEM_HEADER) {
            p->header[p->header_len++] = *data++;
            len--;
            if (p->header_len < WF_ITEM_HEADER)
                continue;
            err = begin_item(p, why);
            if (err != WEFT_OK)
                goto stop;
            if (p->left > 0)
                continue; /* else an item without content is whole now */
        }

        size_t n = len < p->left ? len : p->left;
        wf_span content = wf_span_of(data, n);
        p->left -= (uint32_t)n;
        data += n;
        len -= n;
        bool whole = p->left == 0;
        bool gathers = p->type != WF_ITEM_DATA && (!whole || p->whole.len > 0);
        if (gathers) {
            err = wf_buf_put(&p->whole, content.data, content.len);
            if (err != WEFT_OK)
                goto stop;
            content = wf_span_of(p->whole.data, p->whole.len);
        }
        if (whole)
            p->header_len = 0;
        if (whole || p->type == WF_ITEM_DATA) {
            err = item(arg, p->type, content);
            if (err != WEFT_OK)
                goto stop;
        }
        if (whole && gathers)
            wf_buf_wipe(&p->whole);
    }
    return WEFT_OK;

stop:
    p->stopped = err;
    wf_buf_wipe(&p->whole);
    return err;
}
