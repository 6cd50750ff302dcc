/*
 * A link's output: ciphertext on its way to the socket.
 *
 * Happy path: TLS appends records to the link's last chunk and the link joins
 * the net's dirty list. Before the loop sleeps, or as soon as one more full
 * record would not fit into a chunk, one write takes all of it and the chunk
 * goes back to the net's pool, so a link that is idle holds none.
 *
 * - The socket is full: the rest goes with one uv_write at a time. Its bytes
 *   stay where they are; new ones are appended behind them. Above
 *   WF_OUTPUT_LOW the link is blocked until the write has brought it below.
 * - More than WF_OUTPUT_MAX waits: the peer doesn't read, the link is cut.
 * - The socket is broken: what waits is dropped, and the reading side gets a
 *   second to find the reason (the peer's alert may lie there), then the link
 *   is cut.
 */
#include "proto/link/internal.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define BUFS 4u /* chunks to one write; libuv copies up to four descriptors without allocating */
/* When one more full record would not fit into a chunk any more, it is full. */
#define FULL (WF_CHUNK_SIZE - (WF_HOP_PLAINTEXT + WF_TLS_OVERHEAD) + 1u)

static struct wf_chunk *chunk_get(wf_net *net)
{
    struct wf_chunk *chunk = net->pool;
    if (chunk != NULL) {
        net->pool = chunk->next;
        net->pool_count--;
    } else {
        chunk = malloc(sizeof *chunk);
        if (chunk == NULL)
            return NULL;
    }
    chunk->next = NULL;
    chunk->off = chunk->len = 0;
    return chunk;
}

void wf_chunk_put(wf_net *net, struct wf_chunk *chunk)
{
    if (net->pool_count >= WF_CHUNK_POOL) {
        free(chunk);
        return;
    }
    chunk->next = net->pool;
    net->pool = chunk;
    net->pool_count++;
}

/* Takes n bytes off the front. */
static void consume(wf_link *link, size_t n)
{
    assert(n <= link->queued);
    link->queued -= n;
    link->net->counters.output_queued -= n;
    while (n > 0) {
        struct wf_chunk *chunk = link->out_head;
        size_t here = chunk->len - chunk->off;
        if (here > n) {
            chunk->off += n;
            return;
        }
        n -= here;
        link->out_head = chunk->next;
        if (link->out_head == NULL)
            link->out_tail = NULL;
        wf_chunk_put(link->net, chunk);
    }
}

static void mark_dirty(wf_link *link);

weft_err wf_output_put(void *arg, const uint8_t *data, size_t len)
{
    wf_link *link = arg;

    if (link->state == LINK_CLOSED)
        return WEFT_EUNREACHABLE;
    if (link->is_broken)
        return WEFT_OK;
    if (link->queued + len > WF_OUTPUT_MAX) {
        wf_link_fail(link, WEFT_ELIMIT, "the peer doesn't read: %zu bytes of output wait for it",
                     link->queued);
        return WEFT_ELIMIT;
    }
    while (len > 0) {
        struct wf_chunk *chunk = link->out_tail;
        if (chunk == NULL || chunk->len == WF_CHUNK_SIZE) {
            chunk = chunk_get(link->net);
            if (chunk == NULL) {
                wf_link_fail(link, WEFT_ENOMEM, "no memory for output");
                return WEFT_ENOMEM;
            }
            if (link->out_tail == NULL)
                link->out_head = chunk;
            else
                link->out_tail->next = chunk;
            link->out_tail = chunk;
        }
        size_t n = WF_CHUNK_SIZE - chunk->len;
        if (n > len)
            n = len;
        memcpy(chunk->data + chunk->len, data, n);
        chunk->len += n;
        data += n;
        len -= n;
        link->queued += n;
        link->net->counters.output_queued += n;
    }
    if (link->writing > 0) {
        if (link->queued > WF_OUTPUT_LOW)
            link->is_blocked = true;
    } else if (link->queued >= FULL) {
        wf_output_flush(link);
    } else {
        mark_dirty(link);
    }
    return WEFT_OK;
}

static void on_prepare(uv_prepare_t *prepare)
{
    wf_net *net = wf_container_of(prepare, wf_net, flush);
    while (!wf_list_is_empty(&net->dirty)) {
        wf_link *link = wf_container_of(net->dirty.next, wf_link, dirty);
        wf_output_flush(link); /* takes it off the list */
    }
    uv_prepare_stop(prepare);
}

static void mark_dirty(wf_link *link)
{
    wf_net *net = link->net;
    if (wf_node_is_linked(&link->dirty))
        return;
    wf_list_push(&net->dirty, &link->dirty);
    if (!uv_is_active((const uv_handle_t *)&net->flush))
        uv_prepare_start(&net->flush, on_prepare);
}

/* Up to BUFS pieces from the front; their total in *total. */
static unsigned gather(const wf_link *link, uv_buf_t bufs[BUFS], size_t *total)
{
    unsigned n = 0;
    *total = 0;
    for (struct wf_chunk *chunk = link->out_head; chunk != NULL && n < BUFS; chunk = chunk->next) {
        size_t len = chunk->len - chunk->off;
        if (len == 0)
            continue;
        bufs[n++] = uv_buf_init((char *)chunk->data + chunk->off, (unsigned)len);
        *total += len;
    }
    return n;
}

/* The socket takes nothing more. */
static void give_up(wf_link *link, int status)
{
    if (link->is_broken || link->state == LINK_CLOSED)
        return;
    link->is_broken = true;
    if (link->writing == 0)
        wf_output_drop(link);
    if (link->err == WEFT_OK && link->state != LINK_CLOSING)
        (void)wf_fail(&link->why, WEFT_EUNREACHABLE, "connection lost: %s", uv_strerror(status));
    wf_link_set_deadline(link, wf_net_now() + link->net->times.close_ms);
}

static void on_written(uv_write_t *write, int status)
{
    wf_link *link = wf_container_of(write, wf_link, write);
    size_t n = link->writing;

    link->writing = 0;
    if (link->state == LINK_CLOSED)
        return; /* the chunks go in the close callback */
    if (status < 0) {
        give_up(link, status);
        return;
    }
    consume(link, n);
    link->net->counters.bytes_out += n;
    wf_output_flush(link);
    if (link->state == LINK_CLOSING)
        return;
    if (link->is_blocked && link->queued <= WF_OUTPUT_LOW && link->state != LINK_CLOSED) {
        link->is_blocked = false;
        if (link->handler != NULL && link->handler->drained != NULL)
            link->handler->drained(link, link->arg);
    }
}

void wf_output_flush(wf_link *link)
{
    uv_buf_t bufs[BUFS];
    size_t total;

    wf_list_remove(&link->dirty);
    if (link->writing > 0 || link->state == LINK_CLOSED || link->is_broken)
        return;
    while (link->queued > 0) {
        unsigned n = gather(link, bufs, &total);
        int sent = uv_try_write((uv_stream_t *)&link->tcp, bufs, n);
        if (sent < 0 && sent != UV_EAGAIN) {
            give_up(link, sent);
            return;
        }
        if (sent > 0) {
            consume(link, (size_t)sent);
            link->net->counters.bytes_out += (uint64_t)sent;
            if ((size_t)sent == total)
                continue;
        }
        n = gather(link, bufs, &total);
        int status = uv_write(&link->write, (uv_stream_t *)&link->tcp, bufs, n, on_written);
        if (status < 0) {
            give_up(link, status);
            return;
        }
        link->writing = total;
        if (link->queued > WF_OUTPUT_LOW)
            link->is_blocked = true;
        return;
    }
    if (link->state == LINK_CLOSING)
        wf_output_shut(link);
}

void wf_output_last_try(wf_link *link)
{
    uv_buf_t bufs[BUFS];
    size_t total;

    if (link->writing > 0 || link->queued == 0 || link->is_broken)
        return;
    unsigned n = gather(link, bufs, &total);
    int sent = uv_try_write((uv_stream_t *)&link->tcp, bufs, n);
    if (sent > 0) {
        consume(link, (size_t)sent);
        link->net->counters.bytes_out += (uint64_t)sent;
    }
}

void wf_output_drop(wf_link *link)
{
    assert(link->writing == 0);
    wf_list_remove(&link->dirty);
    consume(link, link->queued);
    /* An append that failed half-way may have left an empty chunk. */
    while (link->out_head != NULL) {
        struct wf_chunk *chunk = link->out_head;
        link->out_head = chunk->next;
        wf_chunk_put(link->net, chunk);
    }
    link->out_tail = NULL;
}

/*
 * All we had to say and our end are with the kernel, and nothing that may
 * still come is wanted: waiting for the peer's end would cost whoever closes
 * a round trip. What it sends into the closed socket is answered by a reset,
 * which reaches it behind our last bytes.
 */
static void on_shut(uv_shutdown_t *shutdown, int status)
{
    wf_link *link = wf_container_of(shutdown, wf_link, once.shutdown);
    if (status == 0 && link->state == LINK_CLOSING)
        wf_link_finish(link);
}

void wf_output_shut(wf_link *link)
{
    if (link->is_shut || link->writing > 0 || link->queued > 0)
        return;
    link->is_shut = true;
    if (uv_shutdown(&link->once.shutdown, (uv_stream_t *)&link->tcp, on_shut) != 0)
        wf_link_finish(link);
}
