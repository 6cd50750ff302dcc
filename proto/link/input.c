/*
 * A link's input: from socket bytes to frames.
 *
 * Happy path: the socket is read into the net's scratch, TLS opens records
 * into the net's plaintext scratch, and each frame is handed up where it
 * lies. A data frame is one record, so nothing is left over and nothing is
 * copied.
 *
 * - A frame's beginning is left at the end: it is copied into a buffer of the
 *   link, and what TLS opens next goes right behind it, up to that frame's end.
 *   The buffer grows with what has arrived, not with what a header claims.
 * - A handler cuts or closes this link: we stop after the frame; the memory
 *   lives until the close callback, which can't run in here.
 * - A bad record, a bad frame, the end of the stream: the link is cut.
 */
#include "proto/link/internal.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    wf_link *link = wf_container_of((uv_tcp_t *)handle, wf_link, tcp);
    (void)suggested;
    *buf = uv_buf_init((char *)link->net->cipher, WF_CIPHER_SCRATCH);
}

/* The peer has said that it ends: so do we. */
static void peer_closes(wf_link *link)
{
    (void)wf_fail(&link->why, WEFT_EEOF, "the peer closed the link");
    link->err = WEFT_EEOF;
    wf_link_close(link);
}

static void partial_free(wf_link *link)
{
    free(link->partial);
    link->partial = NULL;
    link->partial_len = link->partial_cap = 0;
}

/* Room for more of a frame that takes `need` bytes in all. */
static bool partial_grow(wf_link *link, size_t need)
{
    size_t cap = link->partial_len < 1024 ? 2048 : 2 * link->partial_len;
    if (cap > need)
        cap = need;
    if (cap <= link->partial_cap)
        return true;
    uint8_t *data = realloc(link->partial, cap);
    if (data == NULL) {
        wf_link_fail(link, WEFT_ENOMEM, "no memory for a frame of %zu bytes", need);
        return false;
    }
    link->partial = data;
    link->partial_cap = cap;
    return true;
}

/* More of the frame in link->partial has come. It never holds more than that one frame. */
static void partial_go_on(wf_link *link)
{
    struct wf_frame frame;
    size_t need;
    wf_why why = {""};

    weft_err err = wf_frame_decode(link->partial, link->partial_len, &frame, &need, &why);
    if (err != WEFT_OK) {
        wf_link_fail(link, err, "bad frame: %s", why.text);
        return;
    }
    if (need > 0) {
        (void)partial_grow(link, need);
        return;
    }
    assert(frame.length + WF_FRAME_HEADER == link->partial_len);
    uint8_t *bytes = link->partial; /* ours while the handlers run */
    link->partial = NULL;
    link->partial_len = link->partial_cap = 0;
    wf_link_take(link, &frame);
    free(bytes);
}

/* Hands up the whole frames in data, returns their bytes. *need: what the rest takes (0: none). */
static size_t take_frames(wf_link *link, uint8_t *data, size_t len, size_t *need)
{
    size_t used = 0;

    *need = 0;
    while (used < len && wf_link_is_open(link)) {
        struct wf_frame frame;
        wf_why why = {""};
        weft_err err = wf_frame_decode(data + used, len - used, &frame, need, &why);
        if (err != WEFT_OK) {
            wf_link_fail(link, err, "bad frame: %s", why.text);
            return len;
        }
        if (*need > 0)
            return used;
        used += WF_FRAME_HEADER + frame.length;
        wf_link_take(link, &frame);
    }
    return used;
}

/* Opens all records that were fed and hands up their frames. */
static void drain(wf_link *link)
{
    uint8_t *plain = link->net->plain;
    size_t start = 0, end = 0, need = 0, got;
    wf_why why = {""};

    while (wf_link_is_open(link)) {
        bool has_partial = link->partial != NULL;
        uint8_t *at = has_partial ? link->partial + link->partial_len : plain + end;
        size_t room = has_partial ? link->partial_cap - link->partial_len : WF_PLAIN_SCRATCH - end;
        assert(room > 0);
        weft_err err = pki_tls_read(link->tls, at, room, &got, &why);
        if (err == WEFT_EEOF) {
            peer_closes(link);
            return;
        }
        if (err != WEFT_OK) {
            wf_link_fail(link, err, "%s", why.text);
            return;
        }
        if (got == 0)
            break;
        if (has_partial) {
            link->partial_len += got;
            partial_go_on(link);
            continue;
        }
        end += got;
        start += take_frames(link, plain + start, end - start, &need);
        if (start == end) {
            start = end = 0;
        } else if (WF_PLAIN_SCRATCH - end < 16384) {
            memmove(plain, plain + start, end - start);
            end -= start;
            start = 0;
        }
    }
    if (start == end || !wf_link_is_open(link))
        return;
    link->partial_len = end - start;
    if (!partial_grow(link, need))
        return;
    memcpy(link->partial, plain + start, end - start);
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    wf_link *link = wf_container_of((uv_tcp_t *)stream, wf_link, tcp);

    if (nread == 0 || link->state == LINK_CLOSED)
        return;
    if (link->state == LINK_CLOSING) {
        if (nread < 0) /* else what comes now was sent before the peer knew */
            wf_link_finish(link);
        return;
    }
    if (nread < 0) {
        const char *where = link->state == LINK_SECURING
                                ? "connection lost during the TLS handshake"
                                : "connection lost";
        wf_link_fail(link, WEFT_EUNREACHABLE, "%s: %s", where,
                     nread == UV_EOF ? "the peer ended it" : uv_strerror((int)nread));
        return;
    }
    link->heard = uv_now(link->net->loop);
    link->has_spoken = true;
    link->net->counters.bytes_in += (uint64_t)nread;
    pki_tls_feed(link->tls, (const uint8_t *)buf->base, (size_t)nread);
    if (link->state == LINK_SECURING) {
        wf_link_secure(link);
        if (link->state == LINK_SECURING)
            return;
    }
    drain(link);
    if (!wf_link_is_open(link))
        partial_free(link);
}

weft_err wf_input_start(wf_link *link)
{
    return uv_read_start((uv_stream_t *)&link->tcp, on_alloc, on_read) == 0 ? WEFT_OK : WEFT_EIO;
}
