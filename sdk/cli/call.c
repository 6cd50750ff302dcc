/*
 * Happy path: open an endpoint -> weft_call -> its answer -> close -> the loop ends.
 * - the endpoint can't be opened, or the call can't begin: said at once
 * - no answer in time, or a refusal: the controller's own sentence
 */
#include "sdk/cli/cli.h"
#include <stdlib.h>
#include <string.h>

#define CALL_MS 15000u

struct call {
    weft_endpoint *endpoint; /* owned until closed */
    weft_err err;
    wf_why *why;    /* borrowed: outlives the loop's run */
    json_t *result; /* owned */
};

static void on_done(void *arg, weft_err err, const char *why, const char *result, size_t len)
{
    struct call *c = arg;
    c->err = err;
    if (err != WEFT_OK)
        wf_fail(c->why, err, "%s", why != NULL && *why ? why : weft_err_sentence(err));
    else if ((c->result = json_loadb(result, len, JSON_REJECT_DUPLICATES, NULL)) == NULL)
        c->err = wf_fail(c->why, WEFT_EPROTO, "the controller's answer is not JSON");
    weft_endpoint_close(c->endpoint, NULL, NULL);
}

weft_err cli_call_as(const char *identity, const char *controller, const char *operation,
                     json_t *args, json_t **result, wf_why *why)
{
    struct call c = {.why = why};
    struct weft_options options = {.identity = identity, .controller = controller, .state_dir = ""};
    char *text = args != NULL ? json_dumps(args, JSON_COMPACT) : strdup("{}");
    if (text == NULL)
        return WEFT_ENOMEM;
    weft_err err = weft_endpoint_open(&options, &c.endpoint, why);
    if (err != WEFT_OK) {
        free(text);
        return err;
    }
    err = weft_call(c.endpoint, operation, text, CALL_MS, on_done, &c);
    if (err != WEFT_OK)
        weft_endpoint_close(c.endpoint, NULL, NULL);
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
    cli_login_free(&login);
    return err;
}
