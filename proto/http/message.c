/*
 * The strict HTTP/1.1 parser: one state per thing it expects, a line is
 * gathered whole (bounded by the head's limit) before it is judged.
 */
#include "proto/http/message.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/*
 *   HEAD -> BODY_LENGTH ------------------------> HEAD (next message)
 *        -> CHUNK_SIZE -> CHUNK_DATA -> CHUNK_END -> CHUNK_SIZE
 *                      -> CHUNK_LAST -> HEAD
 *        -> BODY_TO_END (answers only) -> DONE
 *   any -> BROKEN
 */
enum state {
    HEAD,
    BODY_LENGTH,
    BODY_TO_END,
    CHUNK_SIZE,
    CHUNK_DATA,
    CHUNK_END,
    CHUNK_LAST,
    DONE,
    BROKEN,
};

#define CHUNK_LINE_MAX (16u + WF_HTTP_EXTENSION_MAX + 2u)

struct wf_http_parser {
    enum wf_http_side side;
    enum state state;
    uint64_t body_max;
    uint64_t body_seen;
    uint64_t left; /* of the body or the chunk */
    bool no_body;  /* the next answer is to HEAD */
    weft_err broken;
    wf_buf line;      /* owned: the head, or a chunk's size line */
    unsigned refusal; /* the status that tells a client why */
    struct wf_http_head head;
    const struct wf_http_handler *handler; /* borrowed: outlives us */
    void *arg;                             /* borrowed: outlives us */
};

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_token_byte(uint8_t c)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != 0 && strchr(marks, c) != NULL);
}

/* "host", "host:port", "[v6]:port": RFC 9110 section 7.2, without percent-encoding. */
bool wf_http_is_host(wf_span text)
{
    const uint8_t *at = text.data, *end = text.data + text.len;
    const uint8_t *begin = at;
    bool bracket = at < end && *at == '[';
    if (bracket) {
        for (at++; at < end && (is_digit(*at) || *at == ':' || *at == '.' ||
                                ((*at | 0x20) >= 'a' && (*at | 0x20) <= 'f'));
             at++)
            ;
        if (at == begin + 1 || at == end || *at++ != ']')
            return false;
    } else {
        while (at < end && (is_digit(*at) || ((*at | 0x20) >= 'a' && (*at | 0x20) <= 'z') ||
                            *at == '-' || *at == '.' || *at == '_'))
            at++;
    }
    if (at == begin || at - begin > 255)
        return false;
    if (at == end)
        return true;
    if (*at++ != ':' || at == end || end - at > 5)
        return false;
    for (; at < end; at++)
        if (!is_digit(*at))
            return false;
    return true;
}

bool wf_http_is_token(wf_span text)
{
    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!is_token_byte(text.data[i]))
            return false;
    return true;
}

static bool span_is(wf_span s, const char *text)
{
    return s.len == strlen(text) && strncasecmp((const char *)s.data, text, s.len) == 0;
}

wf_span wf_http_find(const struct wf_http_head *head, const char *name)
{
    for (size_t i = 0; i < head->field_count; i++)
        if (span_is(head->fields[i].name, name))
            return head->fields[i].value;
    return (wf_span){NULL, 0};
}

/* Digits only, at most 19 of them, so it fits in 64 bits. */
static bool decimal(wf_span s, uint64_t *out)
{
    uint64_t v = 0;
    if (s.len == 0 || s.len > 19)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_digit(s.data[i]))
            return false;
        v = v * 10 + (uint64_t)(s.data[i] - '0');
    }
    *out = v;
    return true;
}

weft_err wf_http_parser_new(enum wf_http_side side, uint64_t body_max,
                            const struct wf_http_handler *handler, void *arg, wf_http_parser **out)
{
    wf_http_parser *p = calloc(1, sizeof *p);
    if (p == NULL)
        return WEFT_ENOMEM;
    p->side = side;
    p->body_max = body_max;
    p->handler = handler;
    p->arg = arg;
    wf_buf_init(&p->line, WF_HTTP_HEAD_MAX);
    *out = p;
    return WEFT_OK;
}

void wf_http_parser_free(wf_http_parser *p)
{
    if (p == NULL)
        return;
    wf_buf_fini(&p->line);
    free(p);
}

unsigned wf_http_parser_refusal(const wf_http_parser *p)
{
    return p->refusal == 0 ? 400 : p->refusal;
}

void wf_http_parser_expect_no_body(wf_http_parser *p)
{
    assert(p->side == WF_HTTP_ANSWERS);
    p->no_body = true;
}

/* Cuts the next line, without its CRLF, off *rest. The head is known to end in an empty line. */
static bool next_line(wf_span *rest, wf_span *line)
{
    const uint8_t *lf = memchr(rest->data, '\n', rest->len);
    if (lf == NULL || lf == rest->data || lf[-1] != '\r')
        return false;
    size_t len = (size_t)(lf - rest->data);
    *line = (wf_span){rest->data, len - 1};
    *rest = (wf_span){lf + 1, rest->len - len - 1};
    return memchr(line->data, '\r', line->len) == NULL;
}

/* "HTTP/d.d", whatever the digits. */
static bool is_version(wf_span s)
{
    return s.len == 8 && memcmp(s.data, "HTTP/", 5) == 0 && is_digit(s.data[5]) &&
           s.data[6] == '.' && is_digit(s.data[7]);
}

static bool version_minor(wf_span s, unsigned *minor)
{
    if (s.len != 8 || memcmp(s.data, "HTTP/1.", 7) != 0 || (s.data[7] != '0' && s.data[7] != '1'))
        return false;
    *minor = (unsigned)(s.data[7] - '0');
    return true;
}

static weft_err read_request_line(struct wf_http_head *h, wf_span line, wf_why *why)
{
    const uint8_t *a = memchr(line.data, ' ', line.len);
    if (a == NULL)
        return wf_fail(why, WEFT_EPROTO, "HTTP request line without a target");
    h->method = wf_span_of(line.data, (size_t)(a - line.data));
    wf_span rest = wf_span_of(a + 1, line.len - h->method.len - 1);
    const uint8_t *b = memchr(rest.data, ' ', rest.len);
    if (b == NULL)
        return wf_fail(why, WEFT_EPROTO, "HTTP request line without a version");
    h->target = wf_span_of(rest.data, (size_t)(b - rest.data));
    wf_span version = wf_span_of(b + 1, rest.len - h->target.len - 1);
    if (!wf_http_is_token(h->method) || h->method.len > 32)
        return wf_fail(why, WEFT_EPROTO, "HTTP method is no token");
    h->status = is_version(version) ? 414 : 400;
    if (h->target.len == 0 || h->target.len > WF_HTTP_TARGET_MAX)
        return wf_fail(why, WEFT_ELIMIT, "HTTP target is empty or over %u bytes",
                       WF_HTTP_TARGET_MAX);
    h->status = 400;
    for (size_t i = 0; i < h->target.len; i++)
        if (h->target.data[i] <= ' ' || h->target.data[i] >= 0x7f)
            return wf_fail(why, WEFT_EPROTO, "HTTP target holds a byte that must be escaped");
    if (!version_minor(version, &h->minor)) {
        h->status = is_version(version) ? 505 : 400;
        return wf_fail(why, WEFT_EPROTO, "HTTP version is neither 1.0 nor 1.1");
    }
    return WEFT_OK;
}

static weft_err read_status_line(struct wf_http_head *h, wf_span line, wf_why *why)
{
    if (line.len < 13 || line.data[8] != ' ' || line.data[12] != ' ' ||
        !version_minor(wf_span_of(line.data, 8), &h->minor))
        return wf_fail(why, WEFT_EPROTO, "the answer is not HTTP/1.1");
    uint64_t status;
    if (!decimal(wf_span_of(line.data + 9, 3), &status) || status < 100 || status > 599)
        return wf_fail(why, WEFT_EPROTO, "HTTP status is no number from 100 to 599");
    for (size_t i = 13; i < line.len; i++)
        if ((line.data[i] < ' ' && line.data[i] != '\t') || line.data[i] == 0x7f)
            return wf_fail(why, WEFT_EPROTO, "HTTP status line holds a control byte");
    h->status = (unsigned)status;
    return WEFT_OK;
}

static weft_err read_field(struct wf_http_head *h, wf_span line, wf_why *why)
{
    if (h->field_count == WF_HTTP_FIELDS_MAX) {
        h->status = h->is_request ? 431 : h->status;
        return wf_fail(why, WEFT_ELIMIT, "over %u HTTP fields", WF_HTTP_FIELDS_MAX);
    }
    const uint8_t *colon = memchr(line.data, ':', line.len);
    if (colon == NULL)
        return wf_fail(why, WEFT_EPROTO, "HTTP field without a colon");
    wf_span name = wf_span_of(line.data, (size_t)(colon - line.data));
    if (!wf_http_is_token(name)) /* also a leading blank: obs-fold */
        return wf_fail(why, WEFT_EPROTO, "HTTP field name is no token");
    const uint8_t *v = colon + 1, *end = line.data + line.len;
    while (v < end && (*v == ' ' || *v == '\t'))
        v++;
    while (end > v && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    for (const uint8_t *at = v; at < end; at++)
        if ((*at < ' ' && *at != '\t') || *at == 0x7f)
            return wf_fail(why, WEFT_EPROTO, "HTTP field value holds a control byte");
    h->fields[h->field_count++] = (struct wf_http_field){name, wf_span_of(v, (size_t)(end - v))};
    return WEFT_OK;
}

static size_t count_field(const struct wf_http_head *h, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < h->field_count; i++)
        n += span_is(h->fields[i].name, name);
    return n;
}

/* Whether a Connection field lists the option (RFC 9110 section 7.6.1). */
static bool connection_says(const struct wf_http_head *h, const char *option)
{
    for (size_t i = 0; i < h->field_count; i++) {
        if (!span_is(h->fields[i].name, "connection"))
            continue;
        const uint8_t *at = h->fields[i].value.data, *end = at + h->fields[i].value.len;
        while (at < end) {
            const uint8_t *comma = memchr(at, ',', (size_t)(end - at));
            const uint8_t *stop = comma != NULL ? comma : end, *last = stop;
            while (at < last && (*at == ' ' || *at == '\t'))
                at++;
            while (last > at && (last[-1] == ' ' || last[-1] == '\t'))
                last--;
            if (span_is(wf_span_of(at, (size_t)(last - at)), option))
                return true;
            at = stop < end ? stop + 1 : end;
        }
    }
    return false;
}

/* What the fields say about the body and the connection, or why they can't be believed. */
static weft_err judge_fields(struct wf_http_head *h, wf_why *why)
{
    size_t lengths = count_field(h, "content-length");
    size_t encodings = count_field(h, "transfer-encoding");
    if (lengths > 1 || encodings > 1 || (lengths != 0 && encodings != 0))
        return wf_fail(why, WEFT_EPROTO, "HTTP message with two lengths");
    if (lengths == 1) {
        if (!decimal(wf_http_find(h, "content-length"), &h->length))
            return wf_fail(why, WEFT_EPROTO, "HTTP Content-Length is no number");
        h->has_length = true;
    }
    if (encodings == 1) {
        if (h->minor == 0 || !span_is(wf_http_find(h, "transfer-encoding"), "chunked")) {
            if (h->is_request && h->minor == 1)
                h->status = 501;
            return wf_fail(why, WEFT_EPROTO,
                           "HTTP Transfer-Encoding other than \"chunked\" in 1.1");
        }
        h->chunked = true;
    }
    if (count_field(h, "trailer") != 0)
        return wf_fail(why, WEFT_EPROTO, "HTTP trailers are not taken");
    h->keep_alive = h->minor == 1 ? !connection_says(h, "close") : connection_says(h, "keep-alive");
    if (!h->is_request)
        return WEFT_OK;
    if (count_field(h, "host") > 1 || (h->minor == 1 && count_field(h, "host") != 1))
        return wf_fail(why, WEFT_EPROTO, "HTTP request without exactly one Host");
    wf_span host = wf_http_find(h, "host");
    if (host.len != 0 && !wf_http_is_host(host))
        return wf_fail(why, WEFT_EPROTO, "HTTP Host is none");
    if (h->target.data[0] == '/' || span_is(h->target, "*"))
        return WEFT_OK;
    /* absolute form must name the same host */
    static const char *const schemes[] = {"http://", "https://"};
    size_t skip = 0;
    for (size_t i = 0; i < 2; i++) {
        size_t len = strlen(schemes[i]);
        if (h->target.len > len && strncasecmp((const char *)h->target.data, schemes[i], len) == 0)
            skip = len;
    }
    if (skip == 0)
        return wf_fail(why, WEFT_EPROTO, "HTTP target is neither a path nor an http address");
    wf_span authority = wf_span_of(h->target.data + skip, h->target.len - skip);
    const uint8_t *slash = memchr(authority.data, '/', authority.len);
    if (slash != NULL)
        authority.len = (size_t)(slash - authority.data);
    if (host.len != authority.len ||
        strncasecmp((const char *)host.data, (const char *)authority.data, host.len) != 0)
        return wf_fail(why, WEFT_EPROTO, "HTTP target and Host differ");
    return WEFT_OK;
}

static weft_err read_head(wf_http_parser *p, wf_why *why)
{
    struct wf_http_head *h = &p->head;
    memset(h, 0, sizeof *h);
    h->is_request = p->side == WF_HTTP_REQUESTS;
    if (h->is_request)
        h->status = 400;
    wf_span rest = wf_span_of(p->line.data, p->line.len), line;
    if (memchr(rest.data, 0, rest.len) != NULL)
        return wf_fail(why, WEFT_EPROTO, "HTTP head holds a NUL");
    if (!next_line(&rest, &line))
        return wf_fail(why, WEFT_EPROTO, "HTTP line does not end in CRLF");
    weft_err err = h->is_request ? read_request_line(h, line, why) : read_status_line(h, line, why);
    while (err == WEFT_OK) {
        if (!next_line(&rest, &line))
            return wf_fail(why, WEFT_EPROTO, "HTTP line does not end in CRLF");
        if (line.len == 0)
            break;
        err = read_field(h, line, why);
    }
    if (err != WEFT_OK)
        return err;
    if (rest.len != 0)
        return wf_fail(why, WEFT_EPROTO, "HTTP head ends early");
    return judge_fields(h, why);
}

static weft_err message_end(wf_http_parser *p)
{
    p->state = HEAD;
    p->body_seen = 0;
    wf_buf_fini(&p->line);
    return p->handler->end(p->arg);
}

static weft_err head_complete(wf_http_parser *p, bool *ended, wf_why *why)
{
    weft_err err = read_head(p, why);
    const struct wf_http_head *h = &p->head;
    p->refusal = h->status;
    if (err != WEFT_OK)
        return err;
    bool answer = p->side == WF_HTTP_ANSWERS;
    if (answer && h->status < 200) {
        if (h->status == 101 || h->has_length || h->chunked)
            return wf_fail(why, WEFT_EPROTO, "HTTP interim answer that is none");
        wf_buf_clear(&p->line); /* skipped; the real answer follows */
        return WEFT_OK;
    }
    p->refusal = 413;
    if (h->has_length && h->length > p->body_max)
        return wf_fail(why, WEFT_ELIMIT, "HTTP body of %llu bytes is over the limit of %llu",
                       (unsigned long long)h->length, (unsigned long long)p->body_max);
    p->refusal = 400;
    err = p->handler->head(p->arg, h);
    if (err != WEFT_OK)
        return err;
    bool bodiless = answer && (p->no_body || h->status == 204 || h->status == 304);
    p->no_body = false;
    if (bodiless || (h->has_length && h->length == 0) ||
        (!answer && !h->has_length && !h->chunked)) {
        *ended = true;
        return message_end(p);
    }
    wf_buf_clear(&p->line);
    p->left = h->length;
    p->state = h->chunked ? CHUNK_SIZE : h->has_length ? BODY_LENGTH : BODY_TO_END;
    return WEFT_OK;
}

/* A chunk's size line: hex digits, then nothing or ";extension". The CRLF is gone. */
static weft_err read_chunk_size(wf_http_parser *p, wf_span line, wf_why *why)
{
    uint64_t size = 0;
    size_t digits = 0;
    for (; digits < line.len; digits++) {
        uint8_t c = line.data[digits];
        unsigned v;
        if (is_digit(c))
            v = (unsigned)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            v = (unsigned)((c | 0x20) - 'a' + 10);
        else
            break;
        size = size << 4 | v;
    }
    if (digits == 0 || digits > 15)
        return wf_fail(why, WEFT_EPROTO, "HTTP chunk size is no hex number");
    if (digits < line.len) {
        if (line.data[digits] != ';' || line.len - digits > WF_HTTP_EXTENSION_MAX)
            return wf_fail(why, WEFT_EPROTO, "HTTP chunk size with something behind it");
        for (size_t i = digits; i < line.len; i++)
            if (line.data[i] < ' ' || line.data[i] >= 0x7f)
                return wf_fail(why, WEFT_EPROTO, "HTTP chunk extension holds a control byte");
    }
    if (size > p->body_max - p->body_seen) {
        p->refusal = 413;
        return wf_fail(why, WEFT_ELIMIT, "HTTP body is over the limit of %llu bytes",
                       (unsigned long long)p->body_max);
    }
    p->left = size;
    p->state = size == 0 ? CHUNK_LAST : CHUNK_DATA;
    return WEFT_OK;
}

/* Gathers a line up to its LF. *whole says whether it is there; its CRLF is checked. */
static weft_err gather(wf_http_parser *p, const uint8_t *data, size_t len, size_t max, size_t *used,
                       bool *whole, wf_why *why)
{
    const uint8_t *lf = memchr(data, '\n', len);
    size_t take = lf != NULL ? (size_t)(lf - data) + 1 : len;
    if (p->line.len + take > max)
        return wf_fail(why, WEFT_EPROTO, "HTTP chunk line is too long");
    weft_err err = wf_buf_put(&p->line, data, take);
    if (err != WEFT_OK)
        return wf_fail(why, err, "HTTP head is over %u bytes", WF_HTTP_HEAD_MAX);
    *used = take;
    *whole = lf != NULL;
    if (*whole && (p->line.len < 2 || p->line.data[p->line.len - 2] != '\r'))
        return wf_fail(why, WEFT_EPROTO, "HTTP line does not end in CRLF");
    return WEFT_OK;
}

static weft_err give_body(wf_http_parser *p, const uint8_t *data, size_t len)
{
    p->body_seen += len;
    p->left -= len;
    return p->handler->body(p->arg, wf_span_of(data, len));
}

static weft_err step(wf_http_parser *p, const uint8_t *data, size_t len, size_t *used, bool *ended,
                     wf_why *why)
{
    size_t some = len < p->left ? len : (size_t)p->left;
    bool whole;
    weft_err err;

    switch (p->state) {
    case HEAD:
        if (p->line.len == 0)
            p->refusal = 400;
        if (p->line.len + 1 > WF_HTTP_HEAD_MAX) {
            p->refusal = memchr(p->line.data, '\n', p->line.len) != NULL ? 431 : 414;
            return wf_fail(why, WEFT_ELIMIT, "HTTP head is over %u bytes", WF_HTTP_HEAD_MAX);
        }
        {
            size_t room = WF_HTTP_HEAD_MAX - p->line.len;
            err = gather(p, data, len < room ? len : room, SIZE_MAX, used, &whole, why);
        }
        if (err != WEFT_OK || !whole)
            return err;
        /* Said at once: a head with a bare CR in it might otherwise never seem to end. */
        for (size_t i = p->line.len - 2; i > 0 && p->line.data[i - 1] != '\n'; i--)
            if (p->line.data[i - 1] == '\r')
                return wf_fail(why, WEFT_EPROTO, "HTTP line with a bare CR");
        if (p->line.len == 2)
            return wf_fail(why, WEFT_EPROTO, "HTTP message begins with an empty line");
        if (p->line.len >= 4 && memcmp(p->line.data + p->line.len - 4, "\r\n\r\n", 4) == 0)
            return head_complete(p, ended, why);
        return WEFT_OK;
    case BODY_LENGTH:
        *used = some;
        err = give_body(p, data, some);
        if (err == WEFT_OK && p->left == 0) {
            *ended = true;
            err = message_end(p);
        }
        return err;
    case BODY_TO_END:
        if (len > p->body_max - p->body_seen)
            return wf_fail(why, WEFT_ELIMIT, "HTTP body is over the limit of %llu bytes",
                           (unsigned long long)p->body_max);
        *used = len;
        p->left = len;
        return give_body(p, data, len);
    case CHUNK_SIZE:
        err = gather(p, data, len, CHUNK_LINE_MAX, used, &whole, why);
        if (err == WEFT_OK && whole) {
            err = read_chunk_size(p, wf_span_of(p->line.data, p->line.len - 2), why);
            wf_buf_clear(&p->line);
        }
        return err;
    case CHUNK_DATA:
        *used = some;
        err = give_body(p, data, some);
        if (err == WEFT_OK && p->left == 0)
            p->state = CHUNK_END;
        return err;
    case CHUNK_END:
    case CHUNK_LAST:
        err = gather(p, data, len, 2, used, &whole, why);
        if (err != WEFT_OK || !whole)
            return err;
        wf_buf_clear(&p->line);
        if (p->state == CHUNK_END) {
            p->state = CHUNK_SIZE;
            return WEFT_OK;
        }
        *ended = true;
        return message_end(p);
    case DONE:
        return wf_fail(why, WEFT_EPROTO, "bytes behind the end of the HTTP answer");
    case BROKEN:
        break;
    }
    return wf_fail(why, p->broken, "the HTTP connection is broken already");
}

weft_err wf_http_parser_feed(wf_http_parser *p, const uint8_t *data, size_t len, bool one,
                             size_t *taken, wf_why *why)
{
    size_t done = 0;
    weft_err err = WEFT_OK;
    bool ended = false;
    while (done < len && err == WEFT_OK && !(one && ended)) {
        size_t used = 0;
        err = step(p, data + done, len - done, &used, &ended, why);
        done += used;
    }
    *taken = done;
    if (err != WEFT_OK && p->state != BROKEN) {
        p->state = BROKEN;
        p->broken = err;
        wf_buf_fini(&p->line);
    }
    return err;
}

weft_err wf_http_parser_finish(wf_http_parser *p, wf_why *why)
{
    if (p->state == BODY_TO_END) {
        p->state = DONE;
        return p->handler->end(p->arg);
    }
    if (p->state == DONE || (p->state == HEAD && p->line.len == 0))
        return WEFT_OK;
    return wf_fail(why, p->state == BROKEN ? p->broken : WEFT_EPROTO,
                   "the connection ended in the middle of an HTTP message");
}
