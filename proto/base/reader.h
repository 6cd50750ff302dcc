/*
 * The bounded reader: the only way bytes from outside are taken apart.
 * Getters are all-or-nothing; the first failure sticks, so a parser may read
 * everything and ask wf_reader_end() once.
 */
#ifndef PROTO_BASE_READER_H
#define PROTO_BASE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <weft/err.h>

typedef struct wf_span {
    const uint8_t *data; /* borrowed */
    size_t len;
} wf_span;

typedef struct wf_reader {
    const uint8_t *at; /* borrowed */
    size_t left;
    bool failed;
} wf_reader;

wf_span wf_span_of(const void *data, size_t len);
bool wf_span_equal(wf_span a, wf_span b); /* not constant time: see secret.h */

void wf_reader_init(wf_reader *r, const void *data, size_t len);
bool wf_get_u8(wf_reader *r, uint8_t *out);
bool wf_get_u16(wf_reader *r, uint16_t *out); /* big-endian, as all below */
bool wf_get_u24(wf_reader *r, uint32_t *out);
bool wf_get_u32(wf_reader *r, uint32_t *out);
bool wf_get_u64(wf_reader *r, uint64_t *out);
/* A view of exactly len bytes; valid as long as the bytes under the reader. */
bool wf_get_span(wf_reader *r, size_t len, wf_span *out);
bool wf_get_bytes(wf_reader *r, void *out, size_t len);
/* True if no getter failed and nothing is left: trailing bytes are an error. */
bool wf_reader_end(const wf_reader *r);

#endif
