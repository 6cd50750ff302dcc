/*
 * A first pass over an encoded message, before anything is allocated for it.
 * It refuses what a later look at the decoded message can't see any more, or
 * what two decoders could read in two ways: a singular field or a oneof given
 * twice (the last one would win), text with a NUL inside (C would see less of
 * it), numbers wider than their field, floods of elements or of unknown
 * fields. All text of Weft's messages is printable ASCII.
 */
#ifndef PROTO_WIRE_SCAN_H
#define PROTO_WIRE_SCAN_H

#include "proto/base/why.h"
#include <protobuf-c/protobuf-c.h>

/* Of a message and all messages within it. WEFT_EPROTO, WEFT_ELIMIT. */
weft_err wf_scan(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t len,
                 wf_why *why);

#endif
