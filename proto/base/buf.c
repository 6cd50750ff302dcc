/* The growing buffer: doubles, never past its maximum. */
#include "proto/base/buf.h"
#include "proto/base/secret.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST 64u

void wf_buf_init(wf_buf *buf, size_t max)
{
    *buf = (wf_buf){.max = max};
}

void wf_buf_fini(wf_buf *buf)
{
    free(buf->data);
    wf_buf_init(buf, buf->max);
}

void wf_buf_wipe(wf_buf *buf)
{
    /* The whole memory: dropped and cleared bytes are still in it. */
    wf_wipe(buf->data, buf->cap);
    wf_buf_fini(buf);
}

void wf_buf_clear(wf_buf *buf)
{
    buf->len = 0;
}

/* Makes cap at least want; want may be one over max, for a NUL. */
static weft_err grow(wf_buf *buf, size_t want)
{
    assert(buf->len <= buf->cap && (buf->data != NULL || buf->cap == 0));
    if (want <= buf->cap)
        return WEFT_OK;
    size_t cap = buf->cap <= buf->max / 2 ? buf->cap * 2 : buf->max;
    if (cap < SMALLEST && buf->max >= SMALLEST)
        cap = SMALLEST;
    if (cap < want)
        cap = want;
    uint8_t *data = realloc(buf->data, cap);
    if (data == NULL)
        return WEFT_ENOMEM;
    buf->data = data;
    buf->cap = cap;
    return WEFT_OK;
}

weft_err wf_buf_reserve(wf_buf *buf, size_t extra)
{
    assert(buf->len <= buf->max);
    if (extra > buf->max - buf->len)
        return WEFT_ELIMIT;
    return grow(buf, buf->len + extra);
}

weft_err wf_buf_put(wf_buf *buf, const void *data, size_t len)
{
    if (len == 0)
        return WEFT_OK;
    weft_err err = wf_buf_reserve(buf, len);
    if (err != WEFT_OK)
        return err;
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    return WEFT_OK;
}

static weft_err put_number(wf_buf *buf, uint64_t v, unsigned bytes)
{
    uint8_t big[8];
    for (unsigned i = 0; i < bytes; i++)
        big[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
    return wf_buf_put(buf, big, bytes);
}

weft_err wf_buf_put_u8(wf_buf *buf, uint8_t v)
{
    return put_number(buf, v, 1);
}

weft_err wf_buf_put_u16(wf_buf *buf, uint16_t v)
{
    return put_number(buf, v, 2);
}

weft_err wf_buf_put_u24(wf_buf *buf, uint32_t v)
{
    assert(v < 1u << 24);
    return put_number(buf, v, 3);
}

weft_err wf_buf_put_u32(wf_buf *buf, uint32_t v)
{
    return put_number(buf, v, 4);
}

weft_err wf_buf_put_u64(wf_buf *buf, uint64_t v)
{
    return put_number(buf, v, 8);
}

weft_err wf_buf_put_text(wf_buf *buf, const char *text)
{
    return wf_buf_put(buf, text, strlen(text));
}

weft_err wf_buf_printf(wf_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0)
        return WEFT_EINVAL;
    size_t len = (size_t)n;
    if (len > buf->max - buf->len)
        return WEFT_ELIMIT;
    weft_err err = grow(buf, buf->len + len + 1); /* vsnprintf writes a NUL */
    if (err != WEFT_OK)
        return err;
    va_start(args, format);
    (void)vsnprintf((char *)buf->data + buf->len, len + 1, format, args);
    va_end(args);
    buf->len += len;
    return WEFT_OK;
}

void wf_buf_drop(wf_buf *buf, size_t n)
{
    assert(n <= buf->len);
    buf->len -= n;
    if (n > 0 && buf->len > 0)
        memmove(buf->data, buf->data + n, buf->len);
}

const char *wf_buf_cstr(wf_buf *buf)
{
    if (grow(buf, buf->len + 1) != WEFT_OK)
        return NULL;
    buf->data[buf->len] = '\0';
    return (const char *)buf->data;
}
