/*
 * One call over a link of its own.
 *
 * Happy path: the first controller is dialed, the call goes out as soon as
 * the link is secured, its reply is the result, the link closes.
 *
 * - A controller can't be reached or throws us out before it answers: the
 *   next one, and after a pause all of them again. One that was reached (it is
 *   busy) is worth more rounds than one that wasn't.
 * - It isn't the one that it should be: the next one; no second round.
 * - It answers with an error: that is the answer, unless it says busy.
 * - The time is up: the last error.
 */
#include "proto/link/ask.h"
#include "proto/base/id.h"
#include "proto/link/internal.h"
#include <assert.h>
#include <string.h>

#define TIMEOUT_MS 30000u
#define PAUSE_MS 250u
#define PAUSE_MAX_MS 4000u
#define ROUNDS_UNREACHED 3u /* when no controller took a connection */

struct errand {
    const struct wf_ask *ask; /* borrowed */
    wf_net *net;              /* owned by wf_ask */
    wf_link *link;            /* NULL while none */
    wf_alarm alarm;           /* the end of all, or of a pause */
    uint64_t end;
    bool is_over_time, is_paused;
    bool is_answered;
    weft_err err;
    wf_why why;
    wf_buf *result; /* borrowed */
};

static void on_reply(void *arg, weft_err code, const char *reason, wf_span result)
{
    struct errand *errand = arg;

    if (errand->link == NULL || !wf_link_is_secured(errand->link))
        return; /* the link closed: `closed` comes next and knows why */
    errand->is_answered = code != WEFT_ETIMEDOUT;
    errand->err = code;
    (void)wf_fail(&errand->why, code, "%s",
                  reason[0] != '\0' ? reason : weft_err_sentence((int)code));
    if (code == WEFT_OK)
        errand->err = wf_buf_put(errand->result, result.data, result.len);
    wf_link_close(errand->link);
}

static void on_secured(wf_link *link, void *arg)
{
    struct errand *errand = arg;
    wf_buf arguments;
    wf_why why = {""};

    wf_buf_init(&arguments, WF_CONTROL_MAX);
    weft_err err = errand->ask->arguments(errand->ask->arg, link, &arguments, &why);
    if (err == WEFT_OK)
        err = wf_link_call(link, errand->ask->operation, wf_span_of(arguments.data, arguments.len),
                           (unsigned)(errand->end - wf_net_now() + 1000), on_reply, errand);
    wf_buf_wipe(&arguments);
    if (err != WEFT_OK)
        wf_link_cut(link, err, why.text[0] != '\0' ? why.text : NULL);
}

static void on_up(wf_link *link, void *arg, const Weft__Wire__Hello *hello)
{
    (void)link;
    (void)arg;
    (void)hello;
}

static void on_control(wf_link *link, void *arg, Weft__Wire__Control *message)
{
    (void)link;
    (void)arg;
    (void)message; /* a notice, floors: not for who asks only once */
}

static void on_closed(wf_link *link, void *arg, weft_err err, const wf_why *why)
{
    struct errand *errand = arg;
    (void)link;
    errand->link = NULL;
    if (errand->is_answered || errand->err != WEFT_OK)
        return; /* told already */
    errand->err = err == WEFT_OK || err == WEFT_EEOF ? WEFT_EUNREACHABLE : err;
    errand->why = *why;
}

static const struct wf_link_handler handler = {
    .secured = on_secured,
    .up = on_up,
    .control = on_control,
    .closed = on_closed,
};

static void on_alarm(wf_alarm *alarm, uint64_t now)
{
    struct errand *errand = wf_container_of(alarm, struct errand, alarm);
    errand->is_paused = false;
    if (now < errand->end)
        return;
    errand->is_over_time = true;
    if (errand->link != NULL)
        wf_link_cut(errand->link, WEFT_ETIMEDOUT, "no answer in time");
}

static void on_hello(void *arg, Weft__Wire__Hello *hello)
{
    const struct errand *errand = arg;
    const pki_trust *trust = pki_tls_ctx_trust(errand->ask->tls);
    if (trust != NULL) /* an enrollee has none yet */
        hello->bundle_version = pki_trust_version(trust);
}

/* One controller, until its link is closed. */
static void try_one(struct errand *errand, const wf_address *controller)
{
    const struct wf_ask *ask = errand->ask;
    const struct wf_link_config config = {
        .tls = ask->tls,
        .alpn = ask->alpn,
        .kinds = PKI_CONTROLLER,
        .hello = on_hello,
        .hello_arg = errand,
        .handler = &handler,
        .arg = errand,
    };
    char text[WF_ADDRESS_TEXT];

    errand->is_answered = false;
    errand->err = WEFT_OK;
    errand->why.text[0] = '\0';
    wf_alarm_set(errand->net, &errand->alarm, errand->end);
    weft_err err = wf_link_dial(errand->net, controller, &config, &errand->link);
    if (err != WEFT_OK) {
        errand->link = NULL;
        errand->err = wf_fail(&errand->why, err, "%s", weft_err_sentence((int)err));
    }
    while (errand->link != NULL)
        (void)uv_run(wf_net_loop(errand->net), UV_RUN_ONCE);
    wf_address_text(controller, text);
    /* A connection error names its address already. */
    if (errand->err != WEFT_OK && strncmp(errand->why.text, text, strlen(text)) != 0)
        (void)wf_wrap(&errand->why, errand->err, "controller %s", text);
}

static void pause_for(struct errand *errand, unsigned ms)
{
    wf_id chance = wf_id_random();
    uint64_t until = wf_net_now() + ms / 2 + chance.b[0] * ms / 512;
    if (until > errand->end)
        until = errand->end;
    errand->is_paused = true;
    wf_alarm_set(errand->net, &errand->alarm, until);
    while (errand->is_paused)
        (void)uv_run(wf_net_loop(errand->net), UV_RUN_ONCE);
}

static bool is_worth_another_round(weft_err err)
{
    return err == WEFT_EUNREACHABLE || err == WEFT_ETIMEDOUT || err == WEFT_EBUSY;
}

static void run(struct errand *errand)
{
    const struct wf_ask *ask = errand->ask;
    unsigned pause = PAUSE_MS;

    for (unsigned round = 1;; round++) {
        bool again = false;
        uint64_t sent = wf_net_counters(errand->net)->bytes_out;
        for (size_t i = 0; i < ask->controller_count; i++) {
            try_one(errand, &ask->controllers[i]);
            if (errand->is_answered && errand->err != WEFT_EBUSY)
                return;
            again = again || is_worth_another_round(errand->err);
            if (errand->is_over_time)
                return;
        }
        bool was_reached = wf_net_counters(errand->net)->bytes_out > sent;
        if (!again || (!was_reached && round == ROUNDS_UNREACHED))
            return;
        pause_for(errand, pause);
        if (errand->is_over_time)
            return;
        if (pause < PAUSE_MAX_MS)
            pause *= 2;
    }
}

weft_err wf_ask(const struct wf_ask *ask, wf_buf *result, bool *refused, wf_why *why)
{
    uv_loop_t loop;
    struct errand errand = {.ask = ask, .result = result};
    assert(ask->controller_count > 0);

    int status = uv_loop_init(&loop);
    if (status != 0)
        return wf_fail(why, WEFT_EIO, "no event loop: %s", uv_strerror(status));
    weft_err err = wf_net_open(&loop, &errand.net);
    if (err != WEFT_OK) {
        (void)wf_fail(why, err, "no memory for the network");
        goto close_loop;
    }
    errand.alarm.ring = on_alarm;
    errand.end = wf_net_now() + (ask->timeout_ms != 0 ? ask->timeout_ms : TIMEOUT_MS);
    run(&errand);
    wf_alarm_cancel(&errand.alarm);
    wf_net_close(errand.net, NULL, NULL);
    err = errand.err;
    *refused = errand.is_answered && err != WEFT_OK;
    if (err != WEFT_OK)
        (void)wf_fail(why, err, "%s", errand.why.text);
close_loop:
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    status = uv_loop_close(&loop);
    assert(status == 0);
    (void)status;
    return err;
}
