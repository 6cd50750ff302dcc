/*
 * What waits because a link is blocked: frames queued per circuit, in memory
 * that is counted against one budget, and taken out by deficit round robin, so
 * that every circuit of a link gets an equal share of it in bytes. Pure.
 * docs/architecture.md, "Credit, windows, queues".
 */
#ifndef ROUTER_SCHEDULE_H
#define ROUTER_SCHEDULE_H

#include "proto/base/list.h"
#include <stdint.h>
#include <weft/err.h>

/* ---- memory */

struct chunk;

struct pool {
    uint64_t used; /* bytes that queues hold, with what holding them costs */
    uint64_t
        budget; /* what `used` should not exceed: the caller closes circuits until it doesn't */
    uint64_t peak;
    struct chunk *spare; /* owned: large chunks kept for the next queue */
    unsigned spare_count;
};

void pool_init(struct pool *pool, uint64_t budget);
void pool_fini(struct pool *pool); /* all queues must be gone */
static inline bool pool_is_over(const struct pool *pool)
{
    return pool->used > pool->budget;
}

/* ---- one circuit's queue towards one link; there is one only while something waits */

struct queue {
    wf_node node;              /* in the schedule's ring */
    void *owner;               /* borrowed: whose frames these are */
    struct chunk *head, *tail; /* owned: whole frames, one behind the other */
    uint64_t bytes;            /* payload bytes in the chunks */
    uint32_t deficit;          /* bytes that it may still send in this turn */
    uint16_t code;             /* of the CLOSE */
    bool has_turn;
    bool ack;   /* an ACK is due, before the frames */
    bool close; /* a CLOSE is due, behind the frames */
};

struct schedule {
    wf_node ring;    /* struct queue; the first one has the turn */
    uint64_t memory; /* bytes in use by its queues */
};

#define SCHEDULE_QUANTUM 32768u

void schedule_init(struct schedule *schedule);
static inline bool schedule_is_idle(const struct schedule *schedule)
{
    return wf_list_is_empty(&schedule->ring);
}

/* An empty queue at the ring's end; NULL without memory. The caller makes something wait in it. */
struct queue *queue_new(struct schedule *schedule, struct pool *pool, void *owner);
/* Copies one whole frame (header and payload; len > payload > 0). WEFT_ENOMEM. */
weft_err queue_push(struct queue *queue, struct schedule *schedule, struct pool *pool,
                    const uint8_t *frame, uint32_t len, uint32_t payload);
/* Frees the queue with all that waits in it. */
void queue_free(struct queue *queue, struct schedule *schedule, struct pool *pool);

/*
 * Where a turn's output goes. The first three answer whether the link takes
 * more; `idle` says that nothing waits any more: the queue is freed when it
 * returns, and the owner forgets it there.
 */
struct schedule_out {
    bool (*ack)(void *arg, struct queue *queue);
    bool (*frame)(void *arg, struct queue *queue, uint8_t *frame, uint32_t len, uint32_t payload);
    bool (*close)(void *arg, struct queue *queue);
    void (*idle)(void *arg, void *owner, bool closed);
};
/* Sends until the link takes no more or nothing waits. */
void schedule_run(struct schedule *schedule, struct pool *pool, const struct schedule_out *out,
                  void *arg);

#endif
