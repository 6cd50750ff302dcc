/*
 * Deficit round robin (Shreedhar and Varghese, 1995): the queue at the head of
 * the ring gets a quantum when its turn begins and sends while its deficit
 * lasts. A turn that the link interrupts goes on later without a new quantum.
 */
#include "router/schedule.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

/*
 * Frames stand in a chunk as they go over the wire, each behind its length.
 * A large chunk holds one full frame (16,348 bytes); a queue starts with a
 * small one if its first frame is small, so that many circuits with a few
 * bytes each cost little.
 */
struct chunk {
    struct chunk *next;
    uint32_t at, len; /* data[at..len) waits */
    uint32_t cap;
    uint8_t data[];
};

#define CHUNK_SMALL (1024u - sizeof(struct chunk))
#define CHUNK_LARGE (16384u - sizeof(struct chunk))
#define RECORD_HEAD 8u /* length and payload of the frame behind it, u32 each */
#define SPARE_MAX 64u

void pool_init(struct pool *pool, uint64_t budget)
{
    *pool = (struct pool){.budget = budget};
}

void pool_fini(struct pool *pool)
{
    assert(pool->used == 0);
    while (pool->spare != NULL) {
        struct chunk *chunk = pool->spare;

        pool->spare = chunk->next;
        free(chunk);
    }
    pool->spare_count = 0;
}

static void account(struct schedule *schedule, struct pool *pool, size_t bytes)
{
    schedule->memory += bytes;
    pool->used += bytes;
    if (pool->used > pool->peak)
        pool->peak = pool->used;
}

static void unaccount(struct schedule *schedule, struct pool *pool, size_t bytes)
{
    assert(schedule->memory >= bytes && pool->used >= bytes);
    schedule->memory -= bytes;
    pool->used -= bytes;
}

static struct chunk *chunk_new(struct schedule *schedule, struct pool *pool, uint32_t cap)
{
    struct chunk *chunk = NULL;

    if (cap == CHUNK_LARGE && pool->spare != NULL) {
        chunk = pool->spare;
        pool->spare = chunk->next;
        pool->spare_count--;
    } else {
        chunk = malloc(sizeof *chunk + cap);
    }
    if (chunk == NULL)
        return NULL;
    *chunk = (struct chunk){.cap = cap};
    account(schedule, pool, sizeof *chunk + cap);
    return chunk;
}

static void chunk_free(struct chunk *chunk, struct schedule *schedule, struct pool *pool)
{
    unaccount(schedule, pool, sizeof *chunk + chunk->cap);
    if (chunk->cap == CHUNK_LARGE && pool->spare_count < SPARE_MAX) {
        chunk->next = pool->spare;
        pool->spare = chunk;
        pool->spare_count++;
    } else {
        free(chunk);
    }
}

void schedule_init(struct schedule *schedule)
{
    wf_list_init(&schedule->ring);
    schedule->memory = 0;
}

struct queue *queue_new(struct schedule *schedule, struct pool *pool, void *owner)
{
    struct queue *queue = calloc(1, sizeof *queue);

    if (queue == NULL)
        return NULL;
    queue->owner = owner;
    wf_list_push(&schedule->ring, &queue->node);
    account(schedule, pool, sizeof *queue);
    return queue;
}

void queue_free(struct queue *queue, struct schedule *schedule, struct pool *pool)
{
    while (queue->head != NULL) {
        struct chunk *chunk = queue->head;

        queue->head = chunk->next;
        chunk_free(chunk, schedule, pool);
    }
    wf_list_remove(&queue->node);
    unaccount(schedule, pool, sizeof *queue);
    free(queue);
}

weft_err queue_push(struct queue *queue, struct schedule *schedule, struct pool *pool,
                    const uint8_t *frame, uint32_t len, uint32_t payload)
{
    struct chunk *tail = queue->tail;
    uint32_t need = RECORD_HEAD + len;

    assert(payload > 0 && payload < len && !queue->close);
    if (tail == NULL || tail->cap - tail->len < need) {
        uint32_t cap = need > CHUNK_LARGE                    ? need
                       : tail == NULL && need <= CHUNK_SMALL ? (uint32_t)CHUNK_SMALL
                                                             : (uint32_t)CHUNK_LARGE;
        struct chunk *chunk = chunk_new(schedule, pool, cap);

        if (chunk == NULL)
            return WEFT_ENOMEM;
        if (tail == NULL)
            queue->head = chunk;
        else
            tail->next = chunk;
        queue->tail = tail = chunk;
    }
    memcpy(tail->data + tail->len, &len, sizeof len);
    memcpy(tail->data + tail->len + sizeof len, &payload, sizeof payload);
    memcpy(tail->data + tail->len + RECORD_HEAD, frame, len);
    tail->len += need;
    queue->bytes += payload;
    return WEFT_OK;
}

/* The frame at the queue's head. */
static bool front(struct queue *queue, uint8_t **frame, uint32_t *len, uint32_t *payload)
{
    struct chunk *chunk = queue->head;

    if (chunk == NULL)
        return false;
    assert(chunk->at < chunk->len);
    memcpy(len, chunk->data + chunk->at, sizeof *len);
    memcpy(payload, chunk->data + chunk->at + sizeof *len, sizeof *payload);
    *frame = chunk->data + chunk->at + RECORD_HEAD;
    return true;
}

static void pop(struct queue *queue, struct schedule *schedule, struct pool *pool, uint32_t len,
                uint32_t payload)
{
    struct chunk *chunk = queue->head;

    chunk->at += RECORD_HEAD + len;
    queue->bytes -= payload;
    if (chunk->at < chunk->len)
        return;
    queue->head = chunk->next;
    if (queue->head == NULL)
        queue->tail = NULL;
    chunk_free(chunk, schedule, pool);
}

/* What is due behind the last frame; the queue is gone afterwards. */
static bool finish(struct queue *queue, struct schedule *schedule, struct pool *pool,
                   const struct schedule_out *out, void *arg)
{
    bool closes = queue->close;
    bool more = !closes || out->close(arg, queue);
    void *owner = queue->owner;

    queue_free(queue, schedule, pool);
    out->idle(arg, owner, closes);
    return more;
}

void schedule_run(struct schedule *schedule, struct pool *pool, const struct schedule_out *out,
                  void *arg)
{
    bool more = true;

    while (more && !schedule_is_idle(schedule)) {
        struct queue *queue = wf_container_of(schedule->ring.next, struct queue, node);
        uint8_t *frame;
        uint32_t len, payload;

        if (queue->ack) {
            queue->ack = false;
            more = out->ack(arg, queue);
            continue;
        }
        if (!front(queue, &frame, &len, &payload)) {
            more = finish(queue, schedule, pool, out, arg);
            continue;
        }
        if (!queue->has_turn) {
            queue->has_turn = true;
            queue->deficit += SCHEDULE_QUANTUM;
        }
        if (len > queue->deficit) {
            queue->has_turn = false;
            wf_list_remove(&queue->node);
            wf_list_push(&schedule->ring, &queue->node);
            continue;
        }
        queue->deficit -= len;
        more = out->frame(arg, queue, frame, len, payload);
        pop(queue, schedule, pool, len, payload);
        if (queue->head == NULL && !queue->ack && !more) {
            /* Nothing waits: don't leave an empty queue until the link drains. */
            if (!queue->close)
                finish(queue, schedule, pool, out, arg);
        }
    }
}
