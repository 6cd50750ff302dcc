/* The raw pass: protobuf's wire format, read field by field beside its descriptor. */
#include "proto/wire/scan.h"
#include "proto/base/reader.h"
#include "proto/base/text.h"
#include "proto/wire/limits.h"
#include <assert.h>

#define FIELDS_MAX 32u /* of one message of ours */
#define DEPTH_MAX 8u

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

static bool get_varint(wf_reader *r, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte;
        if (!wf_get_u8(r, &byte))
            return false;
        if (shift == 63 && byte > 1)
            break; /* more than 64 bits */
        v |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *out = v;
            return true;
        }
    }
    r->failed = true;
    return false;
}

/* The content of one field, of any type. */
static bool get_content(wf_reader *r, uint64_t wire, uint64_t *number, wf_span *bytes)
{
    uint64_t len;
    switch (wire) {
    case WIRE_VARINT:
        return get_varint(r, number);
    case WIRE_64:
        return wf_get_span(r, 8, bytes);
    case WIRE_BYTES:
        return get_varint(r, &len) && len <= r->left && wf_get_span(r, (size_t)len, bytes);
    case WIRE_32:
        return wf_get_span(r, 4, bytes);
    default: /* groups are history */
        return false;
    }
}

static weft_err scan(const ProtobufCMessageDescriptor *d, wf_span message, unsigned depth,
                     wf_why *why);

static weft_err scan_content(const ProtobufCMessageDescriptor *d, const ProtobufCFieldDescriptor *f,
                             uint64_t wire, uint64_t number, wf_span bytes, unsigned depth,
                             wf_why *why)
{
    uint64_t want = WIRE_BYTES;
    uint64_t most = 0;
    switch (f->type) {
    case PROTOBUF_C_TYPE_UINT64:
        want = WIRE_VARINT;
        most = UINT64_MAX;
        break;
    case PROTOBUF_C_TYPE_UINT32:
        want = WIRE_VARINT;
        most = UINT32_MAX;
        break;
    case PROTOBUF_C_TYPE_ENUM:
        want = WIRE_VARINT;
        most = INT32_MAX;
        break;
    case PROTOBUF_C_TYPE_BOOL:
        want = WIRE_VARINT;
        most = 1;
        break;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    default:
        return wf_fail(why, WEFT_EINTERNAL, "%s.%s: type not known to the scan", d->short_name,
                       f->name);
    }
    if (wire != want)
        return wf_fail(why, WEFT_EPROTO, "%s.%s: wrong wire type", d->short_name, f->name);
    if (want == WIRE_VARINT && number > most)
        return wf_fail(why, WEFT_EPROTO, "%s.%s: number out of range", d->short_name, f->name);
    if (f->type == PROTOBUF_C_TYPE_STRING) {
        char byte;
        wf_reader r;
        wf_reader_init(&r, bytes.data, bytes.len);
        while (wf_get_bytes(&r, &byte, 1))
            if (!wf_is_printable(&byte, 1))
                return wf_fail(why, WEFT_EPROTO, "%s.%s: text with a byte that is not printable",
                               d->short_name, f->name);
    }
    if (f->type == PROTOBUF_C_TYPE_MESSAGE)
        return scan(f->descriptor, bytes, depth + 1, why);
    return WEFT_OK;
}

static weft_err scan(const ProtobufCMessageDescriptor *d, wf_span message, unsigned depth,
                     wf_why *why)
{
    assert(d->n_fields <= FIELDS_MAX);
    if (depth > DEPTH_MAX)
        return wf_fail(why, WEFT_ELIMIT, "%s: nested too deep", d->short_name);
    unsigned seen[FIELDS_MAX] = {0};
    unsigned unknown = 0;
    bool oneof_seen = false; /* no message of ours has two */
    wf_reader r;
    wf_reader_init(&r, message.data, message.len);
    while (r.left > 0) {
        uint64_t tag, number = 0;
        wf_span bytes = {0};
        if (!get_varint(&r, &tag) || tag > UINT32_MAX || tag >> 3 == 0 ||
            !get_content(&r, tag & 7, &number, &bytes))
            return wf_fail(why, WEFT_EPROTO, "%s: malformed encoding", d->short_name);
        const ProtobufCFieldDescriptor *f =
            protobuf_c_message_descriptor_get_field(d, (unsigned)(tag >> 3));
        if (f == NULL) {
            if (++unknown > WF_UNKNOWN_MAX)
                return wf_fail(why, WEFT_ELIMIT, "%s: more than %u unknown fields", d->short_name,
                               WF_UNKNOWN_MAX);
            continue;
        }
        unsigned times = ++seen[f - d->fields];
        bool oneof = (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
        if (f->label == PROTOBUF_C_LABEL_REPEATED ? times > WF_REPEATED_MAX : times > 1)
            return wf_fail(why, f->label == PROTOBUF_C_LABEL_REPEATED ? WEFT_ELIMIT : WEFT_EPROTO,
                           "%s.%s: given too often", d->short_name, f->name);
        if (oneof && oneof_seen)
            return wf_fail(why, WEFT_EPROTO, "%s: more than one kind of content", d->short_name);
        oneof_seen = oneof_seen || oneof;
        weft_err err = scan_content(d, f, tag & 7, number, bytes, depth, why);
        if (err != WEFT_OK)
            return err;
    }
    return WEFT_OK;
}

weft_err wf_scan(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t len,
                 wf_why *why)
{
    return scan(descriptor, wf_span_of(data, len), 1, why);
}
