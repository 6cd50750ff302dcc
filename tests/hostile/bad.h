/*
 * A real router gone bad: the sources of router/ compiled once more with the functions
 * through which it believes and sends replaced by those of bad.c, which ask
 * the test. Everything else (links, labels, queues) is the router's own.
 */
#ifndef TESTS_HOSTILE_BAD_H
#define TESTS_HOSTILE_BAD_H

#include "proto/link/link.h"

struct bad {
    /* Takes every bind and every dial for right, whoever asks and whatever is signed. */
    bool believes;
    /* Takes no revocation, whoever tells it: what was allowed goes on, as far as it is concerned.
     */
    bool is_deaf;
    /*
     * Each sees what goes out on a link and may change it, send something else
     * with the functions below, or return true to keep it back. NULL: honest.
     */
    bool (*control)(void *arg, wf_link *to, Weft__Wire__Control *message);
    bool (*frame)(void *arg, wf_link *to, uint8_t *bytes, size_t len);
    bool (*ack)(void *arg, wf_link *to, uint32_t label, struct wf_ack *ack);
    bool (*close)(void *arg, wf_link *to, uint32_t label, weft_err *code);
    void *arg;
};

extern struct bad bad; /* all zero: honest */

#endif
