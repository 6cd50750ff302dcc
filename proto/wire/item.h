/*
 * Items: what the end-to-end session carries inside its TLS.
 * docs/protocol.md, "Items". Header: type u8, length u24 big-endian.
 * DATA and DATAGRAM may span TLS records; DATA is handed on as it comes.
 */
#ifndef PROTO_WIRE_ITEM_H
#define PROTO_WIRE_ITEM_H

#include "proto/base/buf.h"
#include "proto/base/reader.h"
#include "proto/base/why.h"
#include "proto/wire/limits.h"

enum wf_item_type {
    WF_ITEM_HELLO = 1,    /* ItemHello */
    WF_ITEM_ACCEPT = 2,   /* empty */
    WF_ITEM_REFUSE = 3,   /* ItemRefuse */
    WF_ITEM_DATA = 4,     /* bytes of the stream */
    WF_ITEM_DATAGRAM = 5, /* one datagram */
    WF_ITEM_END = 6,      /* empty: this direction is complete */
    WF_ITEM_GRANT = 7,    /* ItemGrant: a refreshed grant */
    WF_ITEM_RESET = 8,    /* ItemRefuse: gives the stream up */
};

/* Writes the 4 header bytes. */
void wf_item_put_header(uint8_t out[WF_ITEM_HEADER], enum wf_item_type type, uint32_t length);

/*
 * The incremental parser. Feed plaintext; events come for DATA as bytes
 * arrive and for every other item once it is whole. It bounds each item by
 * its type before it buffers anything, and frees its buffer when idle.
 */
struct wf_item_parser {
    uint8_t header[WF_ITEM_HEADER];
    unsigned header_len;
    enum wf_item_type type;
    uint32_t left;
    wf_buf whole;     /* owned: the item under assembly */
    weft_err stopped; /* the failure that ended it, for good */
};

/*
 * data is borrowed for the call. A non-OK answer stops the parser and is
 * returned by feed, then and ever after. It may neither feed the parser nor
 * fini it.
 */
typedef weft_err (*wf_item_fn)(void *arg, enum wf_item_type type, wf_span data);

/* init allocates nothing; fini wipes what was gathered. */
void wf_item_parser_init(struct wf_item_parser *p);
void wf_item_parser_fini(struct wf_item_parser *p);
/*
 * WEFT_EPROTO for an unknown type or a length that the type can't have,
 * WEFT_ENOMEM, or what item answered. Empty DATA is refused: it would be work
 * without progress. An empty DATAGRAM is a datagram.
 */
weft_err wf_item_parser_feed(struct wf_item_parser *p, const uint8_t *data, size_t len,
                             wf_item_fn item, void *arg, wf_why *why);

#endif
