/*
 * Frames: what a hop carries inside its TLS. docs/protocol.md, "Frames".
 *
 *   byte 0     type (high 4 bits), flags (low 4 bits)
 *   bytes 1-3  length of the payload, big-endian, <= 65,536
 *   bytes 4-7  label, big-endian; 0 for frames of the link itself
 *   payload
 */
#ifndef PROTO_WIRE_FRAME_H
#define PROTO_WIRE_FRAME_H

#include "proto/base/reader.h"
#include "proto/base/why.h"
#include "proto/wire/limits.h"

enum wf_frame_type {
    WF_FRAME_CONTROL = 1, /* label 0, a protobuf Control */
    WF_FRAME_DATA = 2,    /* label, end-to-end ciphertext, never empty */
    WF_FRAME_ACK = 3,     /* label, struct wf_ack */
    WF_FRAME_CLOSE = 4,   /* label, u16 weft_err (0: both close_notify seen) */
    WF_FRAME_PING = 5,    /* label 0, 8 bytes to send back; flag REPLY on the way back */
};
#define WF_FRAME_FLAG_REPLY 1u

/*
 * A frame in memory: WF_FRAME_HEADER bytes and then length bytes of payload,
 * contiguous, so that a router swaps the label and writes the same bytes on.
 */
struct wf_frame {
    enum wf_frame_type type;
    unsigned flags;
    uint32_t label;
    uint32_t length;
    uint8_t *bytes; /* borrowed: the header; the payload starts at bytes + WF_FRAME_HEADER */
};

/* Absolute offsets in bytes of the end-to-end ciphertext that flows *towards* the frame's maker. */
struct wf_ack {
    uint64_t received; /* contiguous bytes fed to the receiver's TLS */
    uint64_t credit;   /* the sender may send up to this offset */
};
#define WF_ACK_LEN 16u

/* Writes the 8 header bytes. */
void wf_frame_put_header(uint8_t *out, enum wf_frame_type type, unsigned flags, uint32_t label,
                         uint32_t length);
/* Writes the label of a header in place. */
void wf_frame_set_label(uint8_t *header, uint32_t label);
/*
 * Looks at the first bytes of len available. Returns WEFT_OK with *need = 0
 * and *out filled when a whole frame is there; WEFT_OK with *need = the total
 * bytes that the frame takes (8 until the header is there) when it isn't;
 * WEFT_EPROTO for an unknown type or flag, a length above the type's
 * maximum or not its exact size, a label where there must be none or none
 * where there must be one.
 */
weft_err wf_frame_decode(uint8_t *bytes, size_t len, struct wf_frame *out, size_t *need,
                         wf_why *why);

void wf_ack_encode(const struct wf_ack *ack, uint8_t out[WF_ACK_LEN]);
/* False unless len is 16 and credit >= received. */
bool wf_ack_decode(const uint8_t *data, size_t len, struct wf_ack *out);

#endif
