/*
 * The endpoint as a witness of the controller's audit log: it keeps signed
 * checkpoints in its state, and says so when the log contradicts them.
 * docs/protocol.md, "The audit log". Who stays connected asks for a proof now
 * and then; a program that lives for one call only compares.
 */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "sdk/endpoint.h"
#include <stdlib.h>

struct question {
    weft_endpoint *endpoint; /* borrowed: outlives its calls */
    uint64_t first, second;
};

static void judge(weft_endpoint *e, weft_err err, const wf_why *why)
{
    struct pki_witness *w = &e->grants.witness;

    e->grants.dirty |= w->dirty;
    w->dirty = false;
    if (err == WEFT_OK)
        return;
    wf_lines_put(&e->lines, wf_now_mono_ms(), err == WEFT_ETAMPERED ? WF_LOG_ERROR : WF_LOG_WARN,
                 "%s%s", err == WEFT_ETAMPERED ? "AUDIT ALARM: " : "", why->text);
    if (err == WEFT_ETAMPERED)
        wf_endpoint_event(e, WEFT_EVENT_AUDIT_ALARM, err, why->text);
}

void wf_witness_take(weft_endpoint *e, const Weft__Wire__Signed *checkpoint, bool from_controller)
{
    wf_why why = {""};
    weft_err err;

    if (checkpoint == NULL)
        return;
    err = pki_witness_take(&e->grants.witness, e->trust, checkpoint, from_controller, &why);
    judge(e, err, &why);
}

static void proved(void *arg, weft_err code, const char *reason, wf_span result)
{
    struct question *q = arg;
    weft_endpoint *e = q->endpoint;
    wf_why why = {""};
    weft_err err;

    e->controller.calls--;
    if (code == WEFT_OK) {
        err = pki_witness_prove(&e->grants.witness, q->first, q->second, result, &why);
        judge(e, err, &why);
    } else if (e->state == WF_ENDPOINT_OPEN) {
        wf_log_info("the controller didn't prove that its audit log goes on: %s",
                    reason != NULL ? reason : weft_err_sentence((int)code));
    }
    free(q);
    wf_endpoint_go_on_closing(e);
}

void wf_witness_look(weft_endpoint *e, uint64_t mono)
{
    Weft__Wire__ConsistencyCall call = WEFT__WIRE__CONSISTENCY_CALL__INIT;
    struct question *q;
    wf_buf arguments;
    weft_err err;

    if (e->state != WF_ENDPOINT_OPEN || !e->controller.is_up ||
        !pki_witness_wants_proof(&e->grants.witness, mono, &call.first, &call.second))
        return;
    q = malloc(sizeof *q);
    if (q == NULL)
        return;
    *q = (struct question){e, call.first, call.second};
    wf_buf_init(&arguments, WF_SIGNED_MAX);
    err = wf_message_put(&call.base, &arguments);
    if (err == WEFT_OK)
        err = wf_controller_call(e, "audit.consistency", wf_span_of(arguments.data, arguments.len),
                                 WF_CALL_MS, proved, q);
    wf_buf_fini(&arguments);
    if (err != WEFT_OK)
        free(q);
    else
        e->controller.calls++;
}
