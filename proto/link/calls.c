/*
 * Calls over a link and their replies.
 *
 * Happy path: a call gets the next id, its reply names it, `done` is told.
 *
 * - No reply in time: done with WEFT_ETIMEDOUT; the reply that comes later
 *   finds nobody and is counted.
 * - The link closes: done with WEFT_EUNREACHABLE, from the close callback.
 * - `done` makes new calls or closes the link: the call is off the list first.
 */
#include "proto/base/log.h"
#include "proto/link/internal.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct call {
    wf_node node;
    wf_alarm alarm;
    wf_link *link; /* borrowed: calls end before their link */
    uint64_t id;
    wf_call_fn done;
    void *arg;
};

void wf_calls_init(wf_link *link)
{
    wf_list_init(&link->calls);
    link->call_next = 1;
}

static void finish(struct call *call, weft_err code, const char *reason, wf_span result)
{
    wf_call_fn done = call->done;
    void *arg = call->arg;

    wf_list_remove(&call->node);
    wf_alarm_cancel(&call->alarm);
    assert(call->link->call_count > 0);
    call->link->call_count--;
    free(call);
    done(arg, code, reason, result);
}

static void on_overdue(wf_alarm *alarm, uint64_t now)
{
    struct call *call = wf_container_of(alarm, struct call, alarm);
    (void)now;
    finish(call, WEFT_ETIMEDOUT, "no answer to the call in time", wf_span_of(NULL, 0));
}

/* A code that this version doesn't know is a failure, never a success. */
static weft_err known(uint32_t code)
{
    switch (code) {
#define KNOWN(name, number, status, sentence) case number:
        WEFT_ERR_MAP(KNOWN)
#undef KNOWN
        return (weft_err)code;
    default:
        return WEFT_EINTERNAL;
    }
}

void wf_calls_take_reply(wf_link *link, const Weft__Wire__Reply *reply)
{
    for (wf_node *n = link->calls.next; n != &link->calls; n = n->next) {
        struct call *call = wf_container_of(n, struct call, node);
        if (call->id != reply->id)
            continue;
        finish(call, known(reply->code), reply->reason, wf_pb_span(reply->result));
        return;
    }
    link->net->counters.replies_unmatched++;
    wf_log_debug("link %s: a reply to no pending call", link->remote);
}

void wf_calls_fail(wf_link *link)
{
    char reason[WEFT_WHY_MAX];
    (void)snprintf(reason, sizeof reason, "the link closed before the answer came%s%s",
                   link->why.text[0] != '\0' ? ": " : "", link->why.text);
    while (!wf_list_is_empty(&link->calls))
        finish(wf_container_of(link->calls.next, struct call, node), WEFT_EUNREACHABLE, reason,
               wf_span_of(NULL, 0));
}

weft_err wf_link_call(wf_link *link, const char *operation, wf_span arguments, unsigned timeout_ms,
                      wf_call_fn done, void *arg)
{
    Weft__Wire__Control control;
    Weft__Wire__Call message;
    char name[WF_NAME_MAX + 1];

    weft__wire__control__init(&control);
    weft__wire__call__init(&message);
    if (!wf_link_is_secured(link))
        return WEFT_EUNREACHABLE;
    if (link->call_count >= WF_CALLS_PER_LINK)
        return WEFT_ELIMIT;
    size_t len = strlen(operation);
    if (len > WF_NAME_MAX || arguments.len > WF_CONTROL_MAX - 256u)
        return WEFT_ELIMIT; /* would cut the link: refuse it before anything happens */
    memcpy(name, operation, len + 1);
    struct call *call = calloc(1, sizeof *call);
    if (call == NULL)
        return WEFT_ENOMEM;
    call->link = link;
    call->id = link->call_next++;
    call->done = done;
    call->arg = arg;
    call->alarm.ring = on_overdue;
    wf_list_push(&link->calls, &call->node);
    link->call_count++;
    wf_alarm_set(link->net, &call->alarm,
                 wf_net_now() + (timeout_ms != 0 ? timeout_ms : link->net->times.call_ms));

    message.id = call->id;
    message.operation = name;
    message.arguments = wf_pb_bytes(arguments.data, arguments.len);
    control.of_case = WEFT__WIRE__CONTROL__OF_CALL;
    control.call = &message;
    /* A failure cuts the link, and its closing is what ends the call. */
    (void)wf_link_send_control(link, &control);
    return WEFT_OK;
}

weft_err wf_link_call_message(wf_link *link, const char *operation, const ProtobufCMessage *message,
                              unsigned timeout_ms, wf_call_fn done, void *arg)
{
    wf_buf arguments;
    wf_buf_init(&arguments, WF_CONTROL_MAX);
    weft_err err = wf_message_put(message, &arguments);
    if (err == WEFT_OK)
        err = wf_link_call(link, operation, wf_span_of(arguments.data, arguments.len), timeout_ms,
                           done, arg);
    wf_buf_wipe(&arguments);
    return err;
}

weft_err wf_link_reply(wf_link *link, uint64_t id, weft_err code, const char *reason,
                       wf_span result)
{
    Weft__Wire__Control control;
    Weft__Wire__Reply message;
    char text[WF_REASON_TEXT] = "";

    weft__wire__control__init(&control);
    weft__wire__reply__init(&message);
    if (result.len > WF_CONTROL_MAX - 2 * WF_REASON_TEXT) {
        code = WEFT_ELIMIT;
        reason = "the answer is longer than a control message may be";
        result = wf_span_of(NULL, 0);
    }
    if (reason != NULL)
        (void)wf_reason_text(reason, text);
    message.id = id;
    message.code = (uint32_t)code;
    message.reason = text;
    message.result = wf_pb_bytes(result.data, result.len);
    control.of_case = WEFT__WIRE__CONTROL__OF_REPLY;
    control.reply = &message;
    return wf_link_send_control(link, &control);
}
