/*
 * The router as a witness of the controller's audit log: it remembers signed
 * checkpoints, on disk, and says so when the log contradicts them.
 * docs/protocol.md, "The audit log".
 *
 * Happy path: a checkpoint comes with a Hello, a notice or a sync -> it is
 * larger than the one remembered -> kept; at most once an hour the controller
 * is asked to prove that its log begins with the one remembered before.
 *
 * Failure modes: it is smaller, or of the same size with another root, or the
 * proof fails: an alarm, in the log and the metrics; what is remembered stays.
 * The controller gives no proof: said in the log, and asked again an hour later.
 */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "router/inside.h"
#include <stdlib.h>

struct question {
    struct router *router; /* borrowed: it outlives its calls */
    uint64_t first, second;
};

static void judge(struct router *router, weft_err err, const wf_why *why)
{
    router->counters.audit_alarms = router->witness.alarms;
    if (err == WEFT_ETAMPERED && router_may_log(router))
        wf_log_error("AUDIT ALARM: %s", why->text);
    else if (err != WEFT_OK && err != WEFT_ETAMPERED && router_may_log(router))
        wf_log_warn("a checkpoint of the audit log is not taken: %s", why->text);
    if (router->witness.dirty) {
        router->witness.dirty = false;
        router_set_dirty(router, DIRTY_CHECKPOINTS);
    }
}

static void proved(void *arg, weft_err code, const char *reason, wf_span result)
{
    struct question *q = arg;
    struct router *router = q->router;
    wf_why why = {""};

    if (router->state != ROUTER_CLOSING && code == WEFT_OK)
        judge(router, pki_witness_prove(&router->witness, q->first, q->second, result, &why), &why);
    else if (router->state != ROUTER_CLOSING)
        wf_log_warn("the controller didn't prove that its audit log goes on: %s", reason);
    free(q);
}

static void ask(struct router *router)
{
    Weft__Wire__ConsistencyCall call = WEFT__WIRE__CONSISTENCY_CALL__INIT;
    struct question *q;
    wf_buf arguments;
    weft_err err;

    if (router->controller == NULL || !wf_uplink_is_up(router->controller) ||
        !pki_witness_wants_proof(&router->witness, wf_now_mono_ms(), &call.first, &call.second))
        return;
    q = malloc(sizeof *q);
    if (q == NULL)
        return;
    *q = (struct question){router, call.first, call.second};
    wf_buf_init(&arguments, WF_SIGNED_MAX);
    err = wf_message_put(&call.base, &arguments);
    if (err == WEFT_OK)
        err = wf_uplink_call(router->controller, "audit.consistency",
                             wf_span_of(arguments.data, arguments.len), WF_CALL_MS, proved, q);
    wf_buf_fini(&arguments);
    if (err != WEFT_OK)
        free(q);
}

void witness_take(struct router *router, const Weft__Wire__Signed *checkpoint, bool from_controller)
{
    wf_why why = {""};

    if (checkpoint == NULL)
        return;
    judge(router,
          pki_witness_take(&router->witness, router->trust, checkpoint, from_controller, &why),
          &why);
    if (from_controller)
        ask(router);
}

void witness_save(struct router *router)
{
    struct records records = {0};
    wf_why why = {""};
    weft_err err = WEFT_OK;

    for (size_t i = 0; err == WEFT_OK && i < pki_witness_records(&router->witness); i++) {
        wf_span encoded = pki_witness_record(&router->witness, i);
        Weft__Wire__Signed *record = NULL;

        err = wf_signed_decode(encoded.data, encoded.len, &record, &why);
        if (err == WEFT_OK)
            err = records_take(&records, record);
        if (err != WEFT_OK)
            wf_signed_free(record);
    }
    if (err == WEFT_OK)
        err = state_save(router->home, "checkpoints", records.list, records.count, &why);
    if (err != WEFT_OK)
        wf_log_error("can't keep the checkpoints of the audit log: %s", why.text);
    records_fini(&records);
}

void witness_load(struct router *router)
{
    struct records records = {0};
    wf_why why = {""};

    if (state_load(router->home, "checkpoints", &records, &why) != WEFT_OK)
        wf_log_error("the checkpoints of the audit log that were remembered can't be read: %s",
                     why.text);
    for (size_t i = 0; i < records.count; i++)
        pki_witness_restore(&router->witness, router->trust, records.list[i], i);
    records_fini(&records);
}
