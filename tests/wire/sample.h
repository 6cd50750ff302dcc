/* One valid message of every kind, each field filled, and the way to judge an encoding of it. */
#ifndef TESTS_WIRE_SAMPLE_H
#define TESTS_WIRE_SAMPLE_H

#include "proto/wire/control.h"

struct sample {
    const char *name;          /* "Setup", as its descriptor has it */
    ProtobufCMessage *message; /* may be changed, if it is changed back */
    unsigned control_field;    /* its number inside Control; 0: decoded by itself */
    size_t max;                /* largest encoding accepted */
    weft_err (*decode_and_free)(const void *data, size_t len, wf_why *why);
};

extern struct sample samples[];
extern const size_t sample_count;

/* Decodes one encoded message of the sample's kind, inside a Control where that is its place. */
weft_err sample_judge(const struct sample *s, const void *data, size_t len, wf_why *why);
/* Encodes the message as it is now. */
void sample_encode(const struct sample *s, wf_buf *out);
/* As sample_encode, wrapped into a Control where it belongs there: what goes over the wire. */
void sample_wrap(const struct sample *s, const void *data, size_t len, wf_buf *out);

#endif
