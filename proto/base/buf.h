/*
 * A growing byte buffer that was born with a maximum. Appends are
 * all-or-nothing: after a failure the content is as before.
 */
#ifndef PROTO_BASE_BUF_H
#define PROTO_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <weft/err.h>

typedef struct wf_buf {
    uint8_t *data; /* owned; NULL while empty */
    size_t len;
    size_t cap;
    size_t max; /* bytes that len may never exceed */
} wf_buf;

void wf_buf_init(wf_buf *buf, size_t max);
/* Frees the memory; the buffer may be used again, with the same maximum. */
void wf_buf_fini(wf_buf *buf);
/* As wf_buf_fini, but wipes the bytes first (secrets). */
void wf_buf_wipe(wf_buf *buf);
void wf_buf_clear(wf_buf *buf); /* len = 0, memory kept */
/* Makes room for extra more bytes behind len. WEFT_ELIMIT over max, WEFT_ENOMEM. */
weft_err wf_buf_reserve(wf_buf *buf, size_t extra);
weft_err wf_buf_put(wf_buf *buf, const void *data, size_t len);
weft_err wf_buf_put_u8(wf_buf *buf, uint8_t v);
weft_err wf_buf_put_u16(wf_buf *buf, uint16_t v); /* big-endian, as all below */
weft_err wf_buf_put_u24(wf_buf *buf, uint32_t v); /* v < 2^24 */
weft_err wf_buf_put_u32(wf_buf *buf, uint32_t v);
weft_err wf_buf_put_u64(wf_buf *buf, uint64_t v);
/* Appends text without its NUL. */
weft_err wf_buf_put_text(wf_buf *buf, const char *text);
weft_err wf_buf_printf(wf_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Drops the first n bytes (n <= len) by moving the rest to the front. */
void wf_buf_drop(wf_buf *buf, size_t n);
/* data as a C string, with a NUL behind the content that len doesn't count; NULL without memory. */
const char *wf_buf_cstr(wf_buf *buf);

#endif
