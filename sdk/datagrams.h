/*
 * Datagrams that wait for credit: a queue of at most WF_DATAGRAM_QUEUE bytes
 * whose oldest entries make room for newer ones. One that is partly sent is
 * never dropped, because its item is already open on the wire.
 */
#ifndef SDK_DATAGRAMS_H
#define SDK_DATAGRAMS_H

#include "proto/base/reader.h"
#include <stdint.h>

struct wf_datagram; /* one entry: item header and bytes */

struct wf_datagrams {
    struct wf_datagram *first, *last; /* owned */
    size_t bytes;
    uint64_t dropped;
};

/* Copies; WEFT_ENOMEM or WEFT_ELIMIT (longer than WF_DATAGRAM_MAX). */
weft_err wf_datagrams_push(struct wf_datagrams *queue, const uint8_t *data, size_t len);
/* What goes out next: the rest of the oldest entry, item header included; empty: there is none. */
wf_span wf_datagrams_next(const struct wf_datagrams *queue);
/* n bytes of wf_datagrams_next are on their way. */
void wf_datagrams_sent(struct wf_datagrams *queue, size_t n);
void wf_datagrams_clear(struct wf_datagrams *queue);
/* Whether an item is open on the wire: nothing else may be sent until it is complete. */
int wf_datagrams_is_open(const struct wf_datagrams *queue);

#endif
