/*
 * Happy path: open an endpoint -> weft_call for as many as may be under way -> each answer makes
 * room for the next -> the last one closes -> the loop ends.
 * - the endpoint can't be opened, or a call can't begin: said at once
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
#define CALLS_AT_ONCE 60u /* a link takes 64, and the endpoint may have calls of its own */

struct calls {
    weft_endpoint *endpoint; /* owned until closed */
    uv_timer_t patience;     /* runs while the controller is down */
    struct cli_calls *of;    /* borrowed */
    size_t next, under_way;
    bool leaving;
    weft_err err, down;
    wf_why *why; /* borrowed: outlives the loop's run */
    wf_why down_why;
};

struct one_call {
    struct calls *calls;
    size_t i;
};

static void leave(struct calls *c)
{
    if (c->leaving)
        return;
    c->leaving = true;
    uv_close((uv_handle_t *)&c->patience, NULL);
    weft_endpoint_close(c->endpoint, NULL, NULL);
}

static void on_patience(uv_timer_t *timer)
{
    leave(wf_container_of(timer, struct calls, patience));
}

static void on_event(void *arg, const struct weft_event *event)
{
    struct calls *c = arg;
    if (c->leaving)
        return;
    if (event->kind == WEFT_EVENT_CONTROLLER_UP) {
        uv_timer_stop(&c->patience);
    } else if (event->kind == WEFT_EVENT_CONTROLLER_DOWN) {
        c->down = wf_fail(&c->down_why, event->err, "controller %s", event->text);
        uv_timer_start(&c->patience, on_patience, PATIENCE_MS, 0);
    }
}

static void go_on(struct calls *c);

static void on_done(void *arg, weft_err err, const char *why, const char *result, size_t len)
{
    struct one_call *one = arg;
    struct calls *c = one->calls;
    json_t *json = NULL;
    wf_why said = {""};
    if (c->leaving && c->down != WEFT_OK)
        err = wf_fail(&said, c->down, "%s", c->down_why.text);
    else if (err != WEFT_OK)
        wf_fail(&said, err, "%s", why != NULL && *why ? why : weft_err_sentence(err));
    else if ((json = json_loadb(result, len, JSON_REJECT_DUPLICATES, NULL)) == NULL)
        err = wf_fail(&said, WEFT_EPROTO, "the controller's answer is not JSON");
    c->under_way--;
    c->of->done(c->of->arg, one->i, err, &said, json);
    json_decref(json);
    free(one);
    go_on(c);
}

static weft_err begin(struct calls *c, size_t i)
{
    struct one_call *one = calloc(1, sizeof *one);
    const char *operation = NULL;
    json_t *args = c->of->ask(c->of->arg, i, &operation);
    char *text = args != NULL ? json_dumps(args, JSON_COMPACT) : NULL;
    weft_err err = WEFT_ENOMEM;
    if (one != NULL && text != NULL) {
        *one = (struct one_call){c, i};
        err = weft_call(c->endpoint, operation, text, CALL_MS, on_done, one);
    }
    if (err != WEFT_OK)
        free(one);
    free(text);
    json_decref(args);
    return err;
}

static void go_on(struct calls *c)
{
    while (!c->leaving && c->err == WEFT_OK && c->next < c->of->count &&
           c->under_way < CALLS_AT_ONCE) {
        weft_err err = begin(c, c->next);
        if (err == WEFT_ELIMIT && c->under_way > 0)
            return; /* the endpoint's own calls: an answer makes room */
        if (err != WEFT_OK) {
            c->err = wf_fail(c->why, err, "%s", weft_err_sentence(err));
            break;
        }
        c->next++;
        c->under_way++;
    }
    if (c->under_way == 0)
        leave(c);
}

weft_err cli_calls_as(const char *identity, const char *controller, struct cli_calls *calls,
                      wf_why *why)
{
    struct calls c = {.why = why, .of = calls};
    struct weft_options options = {.identity = identity,
                                   .controller = controller,
                                   .state_dir = "",
                                   .event = on_event,
                                   .arg = &c};
    weft_err err = weft_endpoint_open(&options, &c.endpoint, why);
    if (err != WEFT_OK)
        return err;
    uv_timer_init(weft_endpoint_loop(c.endpoint), &c.patience);
    go_on(&c);
    weft_endpoint_run(c.endpoint);
    if (c.err == WEFT_OK && c.next < calls->count)
        c.err = wf_fail(why, c.down != WEFT_OK ? c.down : WEFT_ECANCELED, "%s",
                        c.down != WEFT_OK ? c.down_why.text : "stopped");
    return c.err;
}

struct single {
    const char *operation;
    json_t *args, *result;
    weft_err err;
    wf_why *why;
};

static json_t *ask_single(void *arg, size_t i, const char **operation)
{
    struct single *single = arg;
    (void)i;
    *operation = single->operation;
    return single->args != NULL ? json_incref(single->args) : json_object();
}

static void on_single(void *arg, size_t i, weft_err err, const wf_why *why, json_t *result)
{
    struct single *single = arg;
    (void)i;
    single->err = err;
    if (err != WEFT_OK)
        wf_fail(single->why, err, "%s", why->text);
    single->result = json_incref(result);
}

weft_err cli_call_as(const char *identity, const char *controller, const char *operation,
                     json_t *args, json_t **result, wf_why *why)
{
    struct single single = {.operation = operation, .args = args, .why = why};
    struct cli_calls calls = {.count = 1, .ask = ask_single, .done = on_single, .arg = &single};
    weft_err err = cli_calls_as(identity, controller, &calls, why);
    if (err == WEFT_OK)
        err = single.err;
    if (err == WEFT_OK)
        *result = single.result;
    return err;
}

weft_err cli_calls(const struct wf_call_line *line, struct cli_calls *calls, wf_why *why)
{
    struct cli_login login = {NULL, NULL};
    const char *identity = wf_line_text(line, "identity");
    const char *controller = wf_line_text(line, "controller");
    weft_err err = WEFT_OK;
    if (identity == NULL)
        err = cli_login_load(&login, why);
    if (err == WEFT_OK)
        err = cli_calls_as(identity != NULL ? identity : login.identity,
                           controller != NULL ? controller : login.controller, calls, why);
    cli_login_free(&login);
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
