/*
 * PEM (RFC 7468), read strictly: blocks with white space between them and
 * nothing else, no headers inside, canonical base64. OpenSSL's own reader
 * skips what it does not know and may ask for a passphrase; this one can't.
 */
#include "pki/internal.h"
#include "proto/base/secret.h"
#include "proto/base/text.h"
#include <string.h>

static const char head[] = "-----BEGIN ";
static const char tail[] = "-----END ";
static const char dashes[] = "-----";

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool starts_with(wf_span text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len >= len && memcmp(text.data, prefix, len) == 0;
}

static void skip(wf_span *text, size_t n)
{
    text->data += n;
    text->len -= n;
}

/* Takes "\n" or "\r\n" off the front. */
static bool take_line_end(wf_span *text)
{
    if (starts_with(*text, "\r\n")) {
        skip(text, 2);
        return true;
    }
    if (starts_with(*text, "\n")) {
        skip(text, 1);
        return true;
    }
    return false;
}

static weft_err take_label(wf_span *text, char label[PKI_PEM_LABEL_MAX], wf_why *why)
{
    size_t n = 0;
    while (n < text->len && n < PKI_PEM_LABEL_MAX && text->data[n] != '-') {
        uint8_t c = text->data[n];
        if ((c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != ' ')
            break;
        n++;
    }
    if (n == 0 || n >= PKI_PEM_LABEL_MAX || n == text->len || text->data[n] != '-')
        return wf_fail(why, WEFT_ECREDENTIAL, "a PEM block's first line is broken");
    memcpy(label, text->data, n);
    label[n] = '\0';
    skip(text, n);
    if (!starts_with(*text, dashes))
        return wf_fail(why, WEFT_ECREDENTIAL, "a PEM block's first line is broken");
    skip(text, strlen(dashes));
    if (!take_line_end(text))
        return wf_fail(why, WEFT_ECREDENTIAL, "a PEM block's first line is broken");
    return WEFT_OK;
}

/* Takes "-----END label-----" and its line end, if any, off the front. */
static bool take_tail(wf_span *text, const char *label)
{
    wf_span at = *text;
    skip(&at, strlen(tail));
    if (!starts_with(at, label))
        return false;
    skip(&at, strlen(label));
    if (!starts_with(at, dashes))
        return false;
    skip(&at, strlen(dashes));
    if (at.len > 0 && !take_line_end(&at))
        return false;
    *text = at;
    return true;
}

weft_err pki_pem_next(wf_span *text, char label[PKI_PEM_LABEL_MAX], wf_buf *der, wf_why *why)
{
    wf_span at = *text;
    char found[PKI_PEM_LABEL_MAX] = "";
    while (at.len > 0 && is_space(*at.data))
        skip(&at, 1);
    if (at.len == 0) {
        *text = at;
        return wf_fail(why, WEFT_ENOTFOUND, "there is no PEM block");
    }
    if (!starts_with(at, head))
        return wf_fail(why, WEFT_ECREDENTIAL, "this is no PEM: a block starts with \"%s\"", head);
    skip(&at, strlen(head));
    weft_err err = take_label(&at, found, why);
    if (err != WEFT_OK)
        return err;

    /* The lines between, without their ends, are one base64 text. */
    wf_buf lines;
    size_t longest = der->max / 3 * 4 + 4;
    wf_buf_init(&lines, at.len < longest ? at.len : longest);
    bool closed = false;
    err = wf_buf_reserve(&lines, lines.max); /* growing would leave copies of a secret */
    if (err != WEFT_OK) {
        err = wf_fail(why, err, "no memory for the PEM block %s", found);
        goto out;
    }
    while (!closed && at.len > 0) {
        if (starts_with(at, tail)) {
            closed = take_tail(&at, found);
            break;
        }
        size_t n = 0;
        while (n < at.len && at.data[n] != '\n' && at.data[n] != '\r')
            n++;
        if (n == 0)
            break;
        err = wf_buf_put(&lines, at.data, n);
        if (err != WEFT_OK) {
            err = wf_fail(why, err, "the PEM block %s: %s", found, weft_err_sentence(err));
            goto out;
        }
        skip(&at, n);
        if (!take_line_end(&at))
            break;
    }
    if (!closed || lines.len == 0) {
        err = wf_fail(why, WEFT_ECREDENTIAL, "the PEM block %s does not end as it began", found);
        goto out;
    }
    wf_buf_clear(der);
    err = wf_base64_decode((const char *)lines.data, lines.len, der);
    if (err == WEFT_EINVAL)
        err = wf_fail(why, WEFT_ECREDENTIAL, "the PEM block %s is no base64", found);
    else if (err != WEFT_OK)
        err = wf_fail(why, err, "the PEM block %s: %s", found, weft_err_sentence(err));
    if (err == WEFT_OK) {
        memcpy(label, found, sizeof found);
        *text = at;
    }
out:
    wf_buf_wipe(&lines);
    return err;
}

weft_err pki_pem_put(const char *label, wf_span der, wf_buf *out)
{
    const size_t before = out->len;
    wf_buf text;
    wf_buf_init(&text, 4 * ((der.len + 2) / 3)); /* encoding reserves it in one piece */
    weft_err err = wf_base64_encode(der.data, der.len, &text);
    if (err == WEFT_OK)
        err = wf_buf_printf(out, "-----BEGIN %s-----\n", label);
    for (size_t i = 0; err == WEFT_OK && i < text.len; i += 64) {
        size_t n = text.len - i < 64 ? text.len - i : 64;
        err = wf_buf_put(out, text.data + i, n);
        if (err == WEFT_OK)
            err = wf_buf_put(out, "\n", 1);
    }
    if (err == WEFT_OK)
        err = wf_buf_printf(out, "-----END %s-----\n", label);
    wf_buf_wipe(&text);
    if (err != WEFT_OK && out->data != NULL) {
        wf_wipe(out->data + before, out->len - before);
        out->len = before;
    }
    return err;
}
