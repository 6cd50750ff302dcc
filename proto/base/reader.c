/* The bounded reader: one function takes bytes, the others go through it. */
#include "proto/base/reader.h"
#include <assert.h>
#include <string.h>

wf_span wf_span_of(const void *data, size_t len)
{
    return (wf_span){.data = data, .len = len};
}

bool wf_span_equal(wf_span a, wf_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

void wf_reader_init(wf_reader *r, const void *data, size_t len)
{
    assert(data != NULL || len == 0);
    *r = (wf_reader){.at = data, .left = len};
}

/* The next len bytes, or NULL and failed for good. */
static const uint8_t *take(wf_reader *r, size_t len)
{
    if (r->failed || len > r->left) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *at = r->at;
    if (len > 0) {
        r->at += len;
        r->left -= len;
    }
    return at;
}

static bool get_number(wf_reader *r, unsigned bytes, uint64_t *out)
{
    const uint8_t *at = take(r, bytes);
    if (at == NULL)
        return false;
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | at[i];
    *out = v;
    return true;
}

bool wf_get_u8(wf_reader *r, uint8_t *out)
{
    uint64_t v;
    if (!get_number(r, 1, &v))
        return false;
    *out = (uint8_t)v;
    return true;
}

bool wf_get_u16(wf_reader *r, uint16_t *out)
{
    uint64_t v;
    if (!get_number(r, 2, &v))
        return false;
    *out = (uint16_t)v;
    return true;
}

bool wf_get_u24(wf_reader *r, uint32_t *out)
{
    uint64_t v;
    if (!get_number(r, 3, &v))
        return false;
    *out = (uint32_t)v;
    return true;
}

bool wf_get_u32(wf_reader *r, uint32_t *out)
{
    uint64_t v;
    if (!get_number(r, 4, &v))
        return false;
    *out = (uint32_t)v;
    return true;
}

bool wf_get_u64(wf_reader *r, uint64_t *out)
{
    return get_number(r, 8, out);
}

bool wf_get_span(wf_reader *r, size_t len, wf_span *out)
{
    const uint8_t *at = take(r, len);
    if (r->failed)
        return false;
    *out = wf_span_of(at, len);
    return true;
}

bool wf_get_bytes(wf_reader *r, void *out, size_t len)
{
    const uint8_t *at = take(r, len);
    if (r->failed)
        return false;
    if (len > 0)
        memcpy(out, at, len);
    return true;
}

bool wf_reader_end(const wf_reader *r)
{
    return !r->failed && r->left == 0;
}
