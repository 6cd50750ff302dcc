/* Text forms of bytes, and the rules for what people type. */
#include "proto/base/text.h"
#include <stdio.h>
#include <string.h>

/* The locale has no say in any of these. */
static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static bool is_alnum(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static bool is_printable(char c)
{
    return c >= 0x20 && c <= 0x7e;
}

void wf_make_printable(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!is_printable(text[i]))
            text[i] = '?';
}

bool wf_is_printable(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!is_printable(text[i]))
            return false;
    return true;
}

char *wf_hex(const void *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *in = data;
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[in[i] >> 4];
        out[2 * i + 1] = digits[in[i] & 15];
    }
    out[2 * len] = '\0';
    return out;
}

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

bool wf_unhex(const char *text, size_t text_len, void *out, size_t len)
{
    if (text_len / 2 != len || text_len % 2 != 0)
        return false;
    for (size_t i = 0; i < text_len; i++)
        if (hex_digit(text[i]) < 0)
            return false;
    uint8_t *to = out;
    for (size_t i = 0; i < len; i++)
        to[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    return true;
}

/* ---- base64 */

static const char alphabet_std[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char alphabet_url[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static weft_err encode(const uint8_t *in, size_t len, const char *alphabet, bool pad, wf_buf *out)
{
    if (len > SIZE_MAX / 2)
        return WEFT_ELIMIT;
    size_t tail = len % 3;
    size_t size = len / 3 * 4 + (tail == 0 ? 0 : pad ? 4 : tail + 1);
    weft_err err = wf_buf_reserve(out, size);
    if (err != WEFT_OK)
        return err;
    for (size_t i = 0; i < len; i += 3) {
        size_t have = len - i < 3 ? len - i : 3;
        uint32_t v = (uint32_t)in[i] << 16;
        if (have > 1)
            v |= (uint32_t)in[i + 1] << 8;
        if (have > 2)
            v |= in[i + 2];
        for (size_t k = 0; k < 4; k++) {
            if (k <= have)
                out->data[out->len++] = (uint8_t)alphabet[v >> (18 - 6 * k) & 63];
            else if (pad)
                out->data[out->len++] = '=';
        }
    }
    return WEFT_OK;
}

static int sextet(char c, const char *alphabet)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (is_digit(c))
        return c - '0' + 52;
    if (c == alphabet[62])
        return 62;
    if (c == alphabet[63])
        return 63;
    return -1;
}

/* text holds no padding any more. */
static weft_err decode(const char *text, size_t len, const char *alphabet, wf_buf *out)
{
    size_t tail = len % 4;
    if (tail == 1)
        return WEFT_EINVAL;
    size_t size = len / 4 * 3 + (tail == 0 ? 0 : tail - 1);
    weft_err err = wf_buf_reserve(out, size);
    if (err != WEFT_OK)
        return err;
    size_t start = out->len;
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < len; i++) {
        int six = sextet(text[i], alphabet);
        if (six < 0)
            goto fail;
        bits = bits << 6 | (uint32_t)six;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out->data[out->len++] = (uint8_t)(bits >> have);
            bits &= (1u << have) - 1;
        }
    }
    if (bits != 0) /* two texts for the same bytes */
        goto fail;
    return WEFT_OK;

fail:
    out->len = start;
    return WEFT_EINVAL;
}

weft_err wf_base64_encode(const void *data, size_t len, wf_buf *out)
{
    return encode(data, len, alphabet_std, true, out);
}

weft_err wf_base64url_encode(const void *data, size_t len, wf_buf *out)
{
    return encode(data, len, alphabet_url, false, out);
}

weft_err wf_base64_decode(const char *text, size_t len, wf_buf *out)
{
    if (len % 4 != 0)
        return WEFT_EINVAL;
    for (int i = 0; i < 2 && len > 0 && text[len - 1] == '='; i++)
        len--;
    return decode(text, len, alphabet_std, out);
}

weft_err wf_base64url_decode(const char *text, size_t len, wf_buf *out)
{
    return decode(text, len, alphabet_url, out);
}

/* ---- names */

weft_err wf_name_check(const char *name, size_t len, const char *what, wf_why *why)
{
    if (len == 0)
        return wf_fail(why, WEFT_EINVAL, "the %s is empty", what);
    if (len > WF_NAME_MAX)
        return wf_fail(why, WEFT_EINVAL, "the %s has %zu characters, at most %d are allowed", what,
                       len, WF_NAME_MAX);
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        if (is_alnum(c) || (i > 0 && (c == '.' || c == '_' || c == '-')))
            continue;
        return wf_fail(why, WEFT_EINVAL,
                       "the %s \"%.*s\" may hold only letters, digits, '.', '_' and '-', and "
                       "starts with a letter or a digit",
                       what, (int)len, name);
    }
    return WEFT_OK;
}
