/*
 * A node's network: one per loop. It owns what the links of a loop share (the
 * scratch buffer that ciphertext is read into, the plaintext scratch, the list
 * of links with unsent output) so that an idle link holds no buffer at all.
 */
#ifndef PROTO_LINK_NET_H
#define PROTO_LINK_NET_H

#include <stdint.h>
#include <weft/err.h>

struct uv_loop_s;
typedef struct wf_net wf_net;

/*
 * loop is borrowed: it outlives the net. If SIGPIPE would end the process, it
 * is ignored from here on.
 */
weft_err wf_net_open(struct uv_loop_s *loop, wf_net **out);
/*
 * Links, listeners and uplinks must be closed first (their closes may still be
 * under way). Memory goes once the loop has run the close callbacks; `closed`
 * (may be NULL) is called then.
 */
void wf_net_close(wf_net *net, void (*closed)(void *arg), void *arg);
struct uv_loop_s *wf_net_loop(const wf_net *net);

struct wf_net_counters {
    uint64_t links_open, handshakes_pending, handshakes_failed, handshakes_refused;
    uint64_t bytes_in, bytes_out, frames_in, frames_out;
    uint64_t output_queued;      /* bytes of ciphertext that wait for sockets */
    uint64_t handshakes_waiting; /* of the pending ones, those without a place at the listener */
    uint64_t replies_unmatched;  /* replies that no pending call asked for */
};
const struct wf_net_counters *wf_net_counters(const wf_net *net);

#endif
