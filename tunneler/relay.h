/*
 * A relay carries bytes between one TCP connection and one stream, with
 * half-close both ways. A stream that does not end cleanly becomes a TCP
 * reset, and a TCP reset becomes a stream reset: neither side ever sees a
 * clean end that the other did not send.
 */
#ifndef TUNNELER_RELAY_H
#define TUNNELER_RELAY_H

#include "tunneler/tunneler.h"

typedef struct relay relay;

/* What all relays of a loop share: the scratch buffer and the list of those with unsent bytes. */
struct relays *relays_open(struct tunneler *tunneler); /* NULL without memory */
/* After the last relay has gone; frees in its close callback. */
void relays_close(struct relays *relays);
/* Resets every relay. */
void relays_cut(struct relays *relays);
size_t relays_count(const struct relays *relays);

/*
 * A relay of this service (copied) with a TCP handle, initialised, not
 * connected. NULL without memory or over the limit.
 */
relay *relay_new(struct tunneler *tunneler, const char *service);
uv_tcp_t *relay_tcp(relay *r);
extern const struct weft_stream_handler relay_stream_handler; /* its arg is the relay */
/* The stream is known (dialed, or accepted); the relay owns it until its `closed`. */
void relay_set_stream(relay *r, weft_stream *stream);
/* Who is at the stream's other end; borrowed: it lives as long as the stream. */
void relay_set_peer(relay *r, const struct weft_peer *peer);
/* TCP is connected and the stream is open: bytes may flow. A dialed stream calls it by itself. */
void relay_begin(relay *r);
/* Gives both sides up; the relay frees itself. */
void relay_cut(relay *r, weft_err err, const char *why);

#endif
