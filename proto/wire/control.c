/*
 * Decoding, in the order that costs a stranger most and us least: the size,
 * a pass over the raw bytes, protobuf-c under a cap of memory, the rules.
 */
#include "proto/wire/control.h"
#include "proto/base/text.h"
#include "proto/wire/rules.h"
#include "proto/wire/scan.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* What decoding may allocate for an encoding of len bytes. */
#define MEMORY_PER_BYTE 16u
#define MEMORY_BASE 8192u

struct purse {
    size_t left;
    weft_err err;
};

static void *purse_alloc(void *arg, size_t size)
{
    struct purse *purse = arg;
    if (size > purse->left) {
        purse->err = WEFT_ELIMIT;
        return NULL;
    }
    void *memory = malloc(size);
    if (memory == NULL)
        purse->err = WEFT_ENOMEM;
    else
        purse->left -= size;
    return memory;
}

static void purse_free(void *arg, void *memory)
{
    (void)arg;
    free(memory);
}

static void drop_unknown(ProtobufCMessage *message);

static void drop_unknown_below(ProtobufCMessage *message, const ProtobufCFieldDescriptor *f)
{
    uint8_t *base = (uint8_t *)message;
    ProtobufCMessage *one, **many;
    size_t count = 1;
    uint32_t chosen;
    if (f->type != PROTOBUF_C_TYPE_MESSAGE)
        return;
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        memcpy(&count, base + f->quantifier_offset, sizeof count);
        memcpy(&many, base + f->offset, sizeof many);
        for (size_t i = 0; i < count; i++)
            drop_unknown(many[i]);
        return;
    }
    if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        memcpy(&chosen, base + f->quantifier_offset, sizeof chosen);
        if (chosen != f->id)
            return;
    }
    memcpy(&one, base + f->offset, sizeof one);
    if (one != NULL)
        drop_unknown(one);
}

/*
 * Unknown fields are ignored, so nobody below us holds them: what is kept or
 * passed on would carry them along, and grow beyond what a message may have.
 */
static void drop_unknown(ProtobufCMessage *message)
{
    for (unsigned i = 0; i < message->n_unknown_fields; i++)
        free(message->unknown_fields[i].data);
    free(message->unknown_fields);
    message->unknown_fields = NULL;
    message->n_unknown_fields = 0;
    for (unsigned i = 0; i < message->descriptor->n_fields; i++)
        drop_unknown_below(message, &message->descriptor->fields[i]);
}

static weft_err decode(const ProtobufCMessageDescriptor *d, size_t max, wf_rule rule,
                       const void *data, size_t len, ProtobufCMessage **out, wf_why *why)
{
    if (len > max)
        return wf_fail(why, WEFT_ELIMIT, "%s of %zu bytes, at most %zu are allowed", d->short_name,
                       len, max);
    weft_err err = wf_scan(d, data, len, why);
    if (err != WEFT_OK)
        return err;

    struct purse purse = {.left = len * MEMORY_PER_BYTE + MEMORY_BASE, .err = WEFT_EPROTO};
    ProtobufCAllocator allocator = {purse_alloc, purse_free, &purse};
    static const uint8_t nothing[1];
    ProtobufCMessage *message =
        protobuf_c_message_unpack(d, &allocator, len, len > 0 ? data : nothing);
    if (message == NULL)
        return wf_fail(why, purse.err, "%s: can't be decoded: %s", d->short_name,
                       weft_err_sentence(purse.err));

    drop_unknown(message);
    struct wf_check check = {.err = WEFT_OK, .why = why, .message = d->short_name};
    rule(&check, message);
    if (check.err != WEFT_OK) {
        protobuf_c_message_free_unpacked(message, NULL);
        return check.err;
    }
    *out = message;
    return WEFT_OK;
}

weft_err wf_control_decode(const uint8_t *data, size_t len, Weft__Wire__Control **out, wf_why *why)
{
    ProtobufCMessage *message;
    weft_err err = decode(&weft__wire__control__descriptor, WF_CONTROL_MAX, wf_rule_control, data,
                          len, &message, why);
    if (err == WEFT_OK)
        *out = (Weft__Wire__Control *)message;
    return err;
}

void wf_control_free(Weft__Wire__Control *control)
{
    weft__wire__control__free_unpacked(control, NULL);
}

#define WF_MESSAGE_DEFINE(Name, snake, max)                                                        \
    weft_err wf_##snake##_decode(const void *data, size_t len, Weft__Wire__##Name **out,           \
                                 wf_why *why)                                                      \
    {                                                                                              \
        ProtobufCMessage *message;                                                                 \
        weft_err err = decode(&weft__wire__##snake##__descriptor, max, wf_rule_##snake, data, len, \
                              &message, why);                                                      \
        if (err == WEFT_OK)                                                                        \
            *out = (Weft__Wire__##Name *)message;                                                  \
        return err;                                                                                \
    }                                                                                              \
    void wf_##snake##_free(Weft__Wire__##Name *message)                                            \
    {                                                                                              \
        weft__wire__##snake##__free_unpacked(message, NULL);                                       \
    }
WF_MESSAGE_MAP(WF_MESSAGE_DEFINE)

weft_err wf_message_put(const ProtobufCMessage *message, wf_buf *out)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    if (size == 0)
        return WEFT_OK;
    weft_err err = wf_buf_reserve(out, size);
    if (err != WEFT_OK)
        return err;
    size_t packed = protobuf_c_message_pack(message, out->data + out->len);
    assert(packed == size);
    out->len += packed;
    return WEFT_OK;
}

ProtobufCBinaryData wf_pb_bytes(const void *data, size_t len)
{
    /* protobuf-c has no const; packing only reads. */
    union {
        const void *in;
        uint8_t *out;
    } view = {.in = data};
    return (ProtobufCBinaryData){.len = len, .data = view.out};
}

ProtobufCBinaryData wf_pb_id(const wf_id *id)
{
    return wf_pb_bytes(id->b, WF_ID_LEN);
}

wf_span wf_pb_span(ProtobufCBinaryData data)
{
    return wf_span_of(data.data, data.len);
}

wf_id wf_pb_get_id(ProtobufCBinaryData data)
{
    wf_id id;
    assert(data.len == WF_ID_LEN);
    memcpy(id.b, data.data, WF_ID_LEN);
    return id;
}

weft_err wf_signed_encode(const Weft__Wire__Signed *s, wf_buf *out)
{
    return wf_message_put(&s->base, out);
}

char *wf_reason_text(const char *text, char buf[WF_REASON_TEXT])
{
    size_t len = strnlen(text, WF_REASON_MAX);
    memcpy(buf, text, len);
    buf[len] = '\0';
    wf_make_printable(buf, len);
    return buf;
}
