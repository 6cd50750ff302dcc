/* The queue of datagrams: a singly linked list in order of arrival. */
#include "sdk/datagrams.h"
#include "proto/wire/item.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct wf_datagram {
    struct wf_datagram *next; /* owned */
    size_t sent, len;         /* of bytes */
    uint8_t bytes[];
};

static void drop_after(struct wf_datagrams *queue, struct wf_datagram *kept)
{
    struct wf_datagram **at = kept != NULL ? &kept->next : &queue->first;
    struct wf_datagram *gone = *at;
    *at = gone->next;
    if (gone->next == NULL)
        queue->last = kept;
    queue->bytes -= gone->len;
    free(gone);
}

weft_err wf_datagrams_push(struct wf_datagrams *queue, const uint8_t *data, size_t len)
{
    if (len > WF_DATAGRAM_MAX)
        return WEFT_ELIMIT;
    struct wf_datagram *entry = malloc(sizeof *entry + WF_ITEM_HEADER + len);
    if (entry == NULL)
        return WEFT_ENOMEM;
    entry->next = NULL;
    entry->sent = 0;
    entry->len = WF_ITEM_HEADER + len;
    wf_item_put_header(entry->bytes, WF_ITEM_DATAGRAM, (uint32_t)len);
    if (len > 0)
        memcpy(entry->bytes + WF_ITEM_HEADER, data, len);

    while (queue->bytes + entry->len > WF_DATAGRAM_QUEUE) {
        struct wf_datagram *open = wf_datagrams_is_open(queue) ? queue->first : NULL;
        if (open != NULL ? open->next == NULL : queue->first == NULL)
            break; /* only the open one is left; one entry always fits beside it */
        drop_after(queue, open);
        queue->dropped++;
    }
    if (queue->last != NULL)
        queue->last->next = entry;
    else
        queue->first = entry;
    queue->last = entry;
    queue->bytes += entry->len;
    return WEFT_OK;
}

wf_span wf_datagrams_next(const struct wf_datagrams *queue)
{
    const struct wf_datagram *entry = queue->first;
    if (entry == NULL)
        return wf_span_of(NULL, 0);
    return wf_span_of(entry->bytes + entry->sent, entry->len - entry->sent);
}

void wf_datagrams_sent(struct wf_datagrams *queue, size_t n)
{
    struct wf_datagram *entry = queue->first;
    assert(entry != NULL && n <= entry->len - entry->sent);
    entry->sent += n;
    if (entry->sent == entry->len)
        drop_after(queue, NULL);
}

void wf_datagrams_clear(struct wf_datagrams *queue)
{
    while (queue->first != NULL)
        drop_after(queue, NULL);
}

int wf_datagrams_is_open(const struct wf_datagrams *queue)
{
    return queue->first != NULL && queue->first->sent > 0;
}
