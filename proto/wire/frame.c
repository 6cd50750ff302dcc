/* Frames: eight bytes of header, judged as a whole before any payload is. */
#include "proto/wire/frame.h"
#include <assert.h>

/* What a frame of each type may look like. */
static const struct rule {
    unsigned flags; /* those that may be set */
    uint32_t shortest, longest;
    bool labelled;
} rules[] = {
    [WF_FRAME_CONTROL] = {.shortest = 1, .longest = WF_CONTROL_MAX},
    [WF_FRAME_DATA] = {.shortest = 1, .longest = WF_FRAME_PAYLOAD_MAX, .labelled = true},
    [WF_FRAME_ACK] = {.shortest = WF_ACK_LEN, .longest = WF_ACK_LEN, .labelled = true},
    [WF_FRAME_CLOSE] = {.shortest = 2, .longest = 2, .labelled = true},
    [WF_FRAME_PING] = {.flags = WF_FRAME_FLAG_REPLY, .shortest = 8, .longest = 8},
};

static void put_u32(uint8_t *out, uint32_t v)
{
    out[0] = (uint8_t)(v >> 24);
    out[1] = (uint8_t)(v >> 16);
    out[2] = (uint8_t)(v >> 8);
    out[3] = (uint8_t)v;
}

static void put_u64(uint8_t *out, uint64_t v)
{
    put_u32(out, (uint32_t)(v >> 32));
    put_u32(out + 4, (uint32_t)v);
}

void wf_frame_put_header(uint8_t *out, enum wf_frame_type type, unsigned flags, uint32_t label,
                         uint32_t length)
{
    assert(type >= WF_FRAME_CONTROL && type <= WF_FRAME_PING);
    assert((flags & ~rules[type].flags) == 0);
    assert(length >= rules[type].shortest && length <= rules[type].longest);
    assert((label != 0) == rules[type].labelled);
    put_u32(out, length); /* the length is 24 bits, so its first byte is free */
    out[0] = (uint8_t)((unsigned)type << 4 | flags);
    put_u32(out + 4, label);
}

void wf_frame_set_label(uint8_t *header, uint32_t label)
{
    assert(label != 0);
    put_u32(header + 4, label);
}

weft_err wf_frame_decode(uint8_t *bytes, size_t len, struct wf_frame *out, size_t *need,
                         wf_why *why)
{
    if (len < WF_FRAME_HEADER) {
        *need = WF_FRAME_HEADER;
        return WEFT_OK;
    }
    uint8_t first = 0;
    uint32_t length = 0, label = 0;
    wf_reader r;
    wf_reader_init(&r, bytes, WF_FRAME_HEADER);
    wf_get_u8(&r, &first);
    wf_get_u24(&r, &length);
    wf_get_u32(&r, &label);
    assert(wf_reader_end(&r));

    unsigned type = first >> 4, flags = first & 15u;
    if (type < WF_FRAME_CONTROL || type > WF_FRAME_PING)
        return wf_fail(why, WEFT_EPROTO, "frame of unknown type %u", type);
    const struct rule *rule = &rules[type];
    if ((flags & ~rule->flags) != 0)
        return wf_fail(why, WEFT_EPROTO, "frame of type %u with unknown flags %#x", type, flags);
    if (length < rule->shortest || length > rule->longest)
        return wf_fail(why, WEFT_EPROTO, "frame of type %u with a length of %u, not %u to %u", type,
                       length, rule->shortest, rule->longest);
    if ((label != 0) != rule->labelled)
        return wf_fail(why, WEFT_EPROTO, "frame of type %u %s a label", type,
                       rule->labelled ? "without" : "with");

    size_t whole = WF_FRAME_HEADER + (size_t)length;
    if (len < whole) {
        *need = whole;
        return WEFT_OK;
    }
    *out = (struct wf_frame){.type = (enum wf_frame_type)type,
                             .flags = flags,
                             .label = label,
                             .length = length,
                             .bytes = bytes};
    *need = 0;
    return WEFT_OK;
}

void wf_ack_encode(const struct wf_ack *ack, uint8_t out[WF_ACK_LEN])
{
    assert(ack->credit >= ack->received);
    put_u64(out, ack->received);
    put_u64(out + 8, ack->credit);
}

bool wf_ack_decode(const uint8_t *data, size_t len, struct wf_ack *out)
{
    struct wf_ack ack;
    wf_reader r;
    wf_reader_init(&r, data, len);
    wf_get_u64(&r, &ack.received);
    wf_get_u64(&r, &ack.credit);
    if (!wf_reader_end(&r) || ack.credit < ack.received)
        return false;
    *out = ack;
    return true;
}
