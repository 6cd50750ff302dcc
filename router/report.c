/*
 * What the controller's `session list` shows: the circuits that our own edges
 * dialed. The whole list, a second after something opened or ended; nothing
 * while nothing changes.
 */
#include "proto/base/clock.h"
#include "router/inside.h"
#include <stdlib.h>

#define REPORT_AFTER_MS 1000u
#define REPORT_ROWS_MAX 500u

struct list {
    size_t count;
    Weft__Wire__SessionRow rows[REPORT_ROWS_MAX];
    Weft__Wire__SessionRow *views[REPORT_ROWS_MAX];
};

static void on_time(uv_timer_t *timer)
{
    struct router *router = timer->data;

    report_send(router);
}

void report_changed(void *arg)
{
    struct router *router = arg;
    uv_timer_t *timer = &router->timers[TIMER_REPORT];

    if (router->state == ROUTER_CLOSING || router->controller == NULL ||
        uv_is_active((uv_handle_t *)timer))
        return;
    uv_timer_start(timer, on_time, REPORT_AFTER_MS, 0);
}

static void add(struct list *list, const struct circuit *circuit)
{
    Weft__Wire__SessionRow *row = &list->rows[list->count];

    weft__wire__session_row__init(row);
    row->session = wf_pb_id(&circuit->session);
    row->service_id = wf_pb_id(&circuit->service);
    row->dialer = wf_pb_id(&circuit->dialer);
    row->host = wf_pb_id(&circuit->host);
    row->started = circuit->started;
    row->bytes_to_host = circuit->half[HOST].sent;
    row->bytes_to_dialer = circuit->half[DIALER].sent;
    list->views[list->count] = row;
    list->count++;
}

static void collect(struct router *router, struct list *list)
{
    for (wf_node *n = router->circuits.wires.next; n != &router->circuits.wires; n = n->next) {
        struct wire *wire = wf_container_of(n, struct wire, node);
        uint32_t cursor = 0;
        struct half *half;

        while ((half = labels_next(&wire->labels, &cursor)) != NULL) {
            const struct circuit *circuit = circuit_of(half);

            if (half->side != DIALER || !circuit->is_first || circuit->state != CIRCUIT_OPEN)
                continue;
            if (list->count == REPORT_ROWS_MAX)
                return;
            add(list, circuit);
        }
    }
}

static void reported(void *arg, weft_err code, const char *reason, wf_span result)
{
    struct router *router = arg;

    /* A controller that doesn't want it is told again at the next change. */
    (void)code;
    (void)reason;
    (void)result;
    router->is_reporting = false;
}

void report_send(struct router *router)
{
    Weft__Wire__SessionReport report = WEFT__WIRE__SESSION_REPORT__INIT;
    struct list *list;
    wf_buf encoded;

    if (router->controller == NULL || !wf_uplink_is_up(router->controller))
        return; /* coming up will do it */
    if (router->is_reporting) {
        report_changed(router);
        return;
    }
    list = calloc(1, sizeof *list);
    if (list == NULL)
        return;
    collect(router, list);
    report.n_rows = list->count;
    report.rows = list->views;
    wf_buf_init(&encoded, WF_CONTROL_MAX);
    if (wf_message_put(&report.base, &encoded) == WEFT_OK)
        router->is_reporting =
            wf_uplink_call(router->controller, "sessions", wf_span_of(encoded.data, encoded.len),
                           WF_CALL_MS, reported, router) == WEFT_OK;
    wf_buf_fini(&encoded);
    free(list);
}
