/*
 * The labels that we gave out on one link: label -> what waits for its frames.
 * A label is ours from label_take until label_put, and the caller puts it only
 * once both closes have crossed, so a late frame never meets a new circuit.
 * Labels come from a counter with a random start, so a new link never begins
 * with the labels of the one before it. Pure.
 */
#ifndef ROUTER_LABEL_H
#define ROUTER_LABEL_H

#include <stddef.h>
#include <stdint.h>
#include <weft/err.h>

struct label_slot {
    uint32_t label; /* 0: empty */
    void *value;    /* borrowed */
};

/* Holds no memory while it holds no label. */
struct labels {
    struct label_slot *slots; /* owned; a power of two of them, NULL while empty */
    uint32_t mask;            /* slots - 1 */
    uint32_t count, max;
    uint32_t next; /* the next label to try */
};

/* start: any number, random in earnest. max: labels held at most. */
void labels_init(struct labels *labels, uint32_t start, uint32_t max);
void labels_fini(struct labels *labels);
/* Gives out a label that isn't held, never 0. WEFT_ELIMIT, WEFT_ENOMEM. */
weft_err labels_take(struct labels *labels, void *value, uint32_t *label);
/* NULL if the label isn't held. */
void *labels_find(const struct labels *labels, uint32_t label);
/* Gives the label back; it must be held. */
void labels_put(struct labels *labels, uint32_t label);
/*
 * Walks the values, each once, in no order; start with *cursor = 0, ends with NULL.
 * Nothing may be taken or put meanwhile.
 */
void *labels_next(const struct labels *labels, uint32_t *cursor);

#endif
