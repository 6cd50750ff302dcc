/* Queues, turns and the budget, with a link that takes what the test lets it. */
#include "router/schedule.h"
#include "tests/helpers/test.h"
#include <stdlib.h>
#include <string.h>

struct flow {
    struct queue *queue;
    uint64_t sent, frames;
    unsigned acks, closes, idles;
    bool idle_closed;
    uint32_t next; /* number expected in the next frame */
};

struct link {
    int64_t room; /* bytes it still takes */
};

static bool on_ack(void *arg, struct queue *queue)
{
    struct link *link = arg;
    struct flow *flow = queue->owner;

    flow->acks++;
    link->room -= 24;
    return link->room > 0;
}

static bool on_frame(void *arg, struct queue *queue, uint8_t *frame, uint32_t len, uint32_t payload)
{
    struct link *link = arg;
    struct flow *flow = queue->owner;
    uint32_t number;

    assert_int_equal(len, payload + 8);
    memcpy(&number, frame, sizeof number);
    assert_int_equal(number, flow->next++);
    assert_int_equal(frame[len - 1], (uint8_t)number);
    flow->sent += payload;
    flow->frames++;
    link->room -= len;
    return link->room > 0;
}

static bool on_close(void *arg, struct queue *queue)
{
    struct link *link = arg;
    struct flow *flow = queue->owner;

    assert_int_equal(queue->bytes, 0);
    flow->closes++;
    link->room -= 10;
    return link->room > 0;
}

static void on_idle(void *arg, void *owner, bool closed)
{
    struct flow *flow = owner;

    (void)arg;
    flow->queue = NULL;
    flow->idles++;
    flow->idle_closed = closed;
}

static const struct schedule_out out = {
    .ack = on_ack, .frame = on_frame, .close = on_close, .idle = on_idle};

static void push(struct flow *flow, struct schedule *schedule, struct pool *pool, uint32_t number,
                 uint32_t payload)
{
    static uint8_t frame[70000];

    if (flow->queue == NULL)
        flow->queue = queue_new(schedule, pool, flow);
    assert_non_null(flow->queue);
    memset(frame, (int)(number & 0xff), payload + 8);
    memcpy(frame, &number, sizeof number);
    frame[payload + 7] = (uint8_t)number;
    assert_int_equal(queue_push(flow->queue, schedule, pool, frame, payload + 8, payload), WEFT_OK);
}

static void frames_come_out_in_order_and_memory_comes_back(void **state)
{
    static const uint32_t sizes[] = {1, 100, 16340, 65536, 900, 5, 16340, 40000};
    struct pool pool;
    struct schedule schedule;
    struct flow flow = {0};
    struct link link = {.room = 1 << 30};
    uint64_t total = 0;

    (void)state;
    pool_init(&pool, 1 << 30);
    schedule_init(&schedule);
    for (uint32_t i = 0; i < 400; i++) {
        push(&flow, &schedule, &pool, i, sizes[i % 8]);
        total += sizes[i % 8];
    }
    assert_int_equal(flow.queue->bytes, total);
    assert_true(pool.used >= total);
    assert_int_equal(pool.used, schedule.memory);
    schedule_run(&schedule, &pool, &out, &link);
    assert_int_equal(flow.sent, total);
    assert_int_equal(flow.idles, 1);
    assert_false(flow.idle_closed);
    assert_null(flow.queue);
    assert_int_equal(pool.used, 0);
    assert_true(schedule_is_idle(&schedule));
    pool_fini(&pool);
}

static void an_ack_goes_before_and_a_close_behind_the_frames(void **state)
{
    struct pool pool;
    struct schedule schedule;
    struct flow flow = {0};
    struct link link = {.room = 1};

    (void)state;
    pool_init(&pool, 1 << 20);
    schedule_init(&schedule);
    push(&flow, &schedule, &pool, 0, 100);
    flow.queue->ack = true;
    flow.queue->close = true;
    schedule_run(&schedule, &pool, &out, &link);
    assert_int_equal(flow.acks, 1);
    assert_int_equal(flow.frames, 0);
    link.room = 1;
    schedule_run(&schedule, &pool, &out, &link);
    assert_int_equal(flow.frames, 1);
    assert_int_equal(flow.closes, 0);
    assert_non_null(flow.queue);
    link.room = 1;
    schedule_run(&schedule, &pool, &out, &link);
    assert_int_equal(flow.closes, 1);
    assert_true(flow.idle_closed);
    assert_int_equal(pool.used, 0);
    pool_fini(&pool);
}

/* Jain's index of what each of n got. */
static double jain(const struct flow *flows, size_t n)
{
    double sum = 0, squares = 0;

    for (size_t i = 0; i < n; i++) {
        double x = (double)flows[i].sent;
        sum += x;
        squares += x * x;
    }
    return sum * sum / ((double)n * squares);
}

#define FLOWS 32

static void circuits_share_a_link_in_bytes_whatever_their_frames(void **state)
{
    static struct flow flows[FLOWS];
    static uint32_t pushed[FLOWS];
    struct pool pool;
    struct schedule schedule;
    uint64_t total = 0;

    (void)state;
    pool_init(&pool, 1 << 30);
    schedule_init(&schedule);
    memset(flows, 0, sizeof flows);
    memset(pushed, 0, sizeof pushed);
    /* Frames from 200 bytes to 65,536: taking turns per frame would be grossly unfair. */
    for (int turn = 0; turn < 4000; turn++) {
        struct link link = {.room = 131072};

        for (size_t i = 0; i < FLOWS; i++)
            while (flows[i].queue == NULL || flows[i].queue->bytes < 200000)
                push(&flows[i], &schedule, &pool, pushed[i]++,
                     i == 0   ? 65536u
                     : i == 1 ? 200u
                              : 1000u + (uint32_t)i * 500u);
        schedule_run(&schedule, &pool, &out, &link);
        total += 131072 - (uint64_t)(link.room > 0 ? link.room : 0);
    }
    assert_true(total >= 4000ull * 131072);
    assert_true(jain(flows, FLOWS) > 0.999);
    for (size_t i = 0; i < FLOWS; i++)
        queue_free(flows[i].queue, &schedule, &pool);
    assert_int_equal(pool.used, 0);
    pool_fini(&pool);
}

static void a_newcomer_gets_its_turn_beside_deep_queues(void **state)
{
    static struct flow flows[3];
    struct pool pool;
    struct schedule schedule;
    struct link link = {.room = 3 * (int64_t)SCHEDULE_QUANTUM};

    (void)state;
    memset(flows, 0, sizeof flows);
    pool_init(&pool, 1 << 30);
    schedule_init(&schedule);
    for (uint32_t i = 0; i < 1000; i++)
        for (int f = 0; f < 2; f++)
            push(&flows[f], &schedule, &pool, i, 16340);
    push(&flows[2], &schedule, &pool, 0, 64);
    schedule_run(&schedule, &pool, &out, &link);
    assert_int_equal(flows[2].frames, 1);
    assert_true(flows[0].frames <= 4 && flows[1].frames <= 4);
    queue_free(flows[0].queue, &schedule, &pool);
    queue_free(flows[1].queue, &schedule, &pool);
    pool_fini(&pool);
}

static void tiny_frames_are_counted_with_what_they_cost(void **state)
{
    struct pool pool;
    struct schedule schedule;
    struct flow flow = {0};

    (void)state;
    pool_init(&pool, 1 << 20);
    schedule_init(&schedule);
    push(&flow, &schedule, &pool, 0, 1);
    assert_true(pool.used <= 2048); /* a circuit with a little in its queue costs little */
    for (uint32_t i = 1; i < 100000; i++)
        push(&flow, &schedule, &pool, i, 1);
    /* 17 bytes each: header, payload, and the note before it. */
    assert_true(pool.used >= 100000 * 17);
    assert_true(pool.used <= 100000 * 17 * 12 / 10);
    assert_true(pool_is_over(&pool));
    queue_free(flow.queue, &schedule, &pool);
    assert_false(pool_is_over(&pool));
    pool_fini(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_out_in_order_and_memory_comes_back),
        cmocka_unit_test(an_ack_goes_before_and_a_close_behind_the_frames),
        cmocka_unit_test(circuits_share_a_link_in_bytes_whatever_their_frames),
        cmocka_unit_test(a_newcomer_gets_its_turn_beside_deep_queues),
        cmocka_unit_test(tiny_frames_are_counted_with_what_they_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
