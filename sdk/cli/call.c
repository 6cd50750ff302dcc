/*
 * Happy path: open an endpoint -> weft_call -> its answer -> close -> the loop ends.
 * - the endpoint can't be opened, or the call can't begin: said at once
 * - the controller is not there: who typed the command need not wait as long as a daemon would;
 *   once an attempt has failed, PATIENCE_MS remain for other addresses and further attempts
 * - no answer in time, or a refusal: the controller's own sentence
 */
#include "proto/base/list.h"
#include "sdk/cli/cli.h"
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define CALL_MS 15000u
#define PATIENCE_MS 2000u

struct call {
    weft_endpoint *endpoint; /* owned until closed */
    uv_timer_t patience;     /* runs while the controller is down */
    bool leaving;
    weft_err err, down;
    wf_why *why; /* borrowed: outlives the loop's run */
    wf_why down_why;
    json_t *result; /* owned */
};

static void leave(struct call *c)
{
    if (c->leaving)
        return;
    c->leaving = true;
    uv_close((uv_handle_t *)&c->patience, NULL);
    weft_endpoint_close(c->endpoint, NULL, NULL);
}

static void on_patience(uv_timer_t *timer)
{
    leave(wf_container_of(timer, struct call, patience));
}

static void on_event(void *arg, const struct weft_event *event)
{
    struct call *c = arg;
    if (c->leaving)
        return;
    if (event->kind == WEFT_EVENT_CONTROLLER_UP) {
        uv_timer_stop(&c->patience);
    } else if (event->kind == WEFT_EVENT_CONTROLLER_DOWN) {
        c->down = wf_fail(&c->down_why, event->err, "controller %s", event->text);
        uv_timer_start(&c->patience, on_patience, PATIENCE_MS, 0);
    }
}

static void on_done(void *arg, weft_err err, const char *why, const char *result, size_t len)
{
    struct call *c = arg;
    c->err = err;
    if (c->leaving && c->down != WEFT_OK)
        c->err = wf_fail(c->why, c->down, "%s", c->down_why.text);
    else if (err != WEFT_OK)
        wf_fail(c->why, err, "%s", why != NULL && *why ? why : weft_err_sentence(err));
    else if ((c->result = json_loadb(result, len, JSON_REJECT_DUPLICATES, NULL)) == NULL)
        c->err = wf_fail(c->why, WEFT_EPROTO, "the controller's answer is not JSON");
    leave(c);
}

weft_err cli_call_as(const char *identity, const char *controller, const char *operation,
                     json_t *args, json_t **result, wf_why *why)
{
    struct call c = {.why = why};
    struct weft_options options = {.identity = identity,
                                   .controller = controller,
                                   .state_dir = "",
                                   .event = on_event,
                                   .arg = &c};
    char *text = args != NULL ? json_dumps(args, JSON_COMPACT) : strdup("{}");
    if (text == NULL)
        return WEFT_ENOMEM;
    weft_err err = weft_endpoint_open(&options, &c.endpoint, why);
    if (err != WEFT_OK) {
        free(text);
        return err;
    }
    uv_timer_init(weft_endpoint_loop(c.endpoint), &c.patience);
    err = weft_call(c.endpoint, operation, text, CALL_MS, on_done, &c);
    if (err != WEFT_OK)
        leave(&c);
    weft_endpoint_run(c.endpoint);
    free(text);
    if (err == WEFT_OK)
        err = c.err;
    if (err == WEFT_OK)
        *result = c.result;
    return err;
}

weft_err cli_call(const struct wf_call_line *line, const char *operation, json_t *args,
                  json_t **result, wf_why *why)
{
    struct cli_login login = {NULL, NULL};
    const char *identity = wf_line_text(line, "identity");
    const char *controller = wf_line_text(line, "controller");
    weft_err err = WEFT_OK;
    if (identity == NULL)
        err = cli_login_load(&login, why);
    if (err == WEFT_OK)
        err = cli_call_as(identity != NULL ? identity : login.identity,
                          controller != NULL ? controller : login.controller, operation, args,
                          result, why);
    if (err == WEFT_EREFUSED && why != NULL && strstr(why->text, "for this caller") != NULL) {
        wf_why said = *why;
        wf_fail(why, err, "%s; is it an administrator? (weft admin list)", said.text);
    }
    cli_login_free(&login);
    return err;
}
