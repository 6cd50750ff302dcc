/* Calls of the controller's operation table, for administration. */
#include "proto/base/text.h"
#include "sdk/endpoint.h"
#include <stdlib.h>
#include <string.h>

struct call {
    weft_endpoint *endpoint;
    weft_call_fn done;
    void *arg;
};

static void on_done(void *arg, weft_err code, const char *reason, wf_span result)
{
    struct call call = *(struct call *)arg;
    free(arg);
    call.endpoint->controller.calls--;
    call.done(call.arg, code,
              reason != NULL && reason[0] != '\0' ? reason : weft_err_sentence((int)code),
              (const char *)result.data, result.len);
    wf_endpoint_go_on_closing(call.endpoint);
}

weft_err weft_call(weft_endpoint *e, const char *operation, const char *arguments,
                   unsigned timeout_ms, weft_call_fn done, void *arg)
{
    size_t len = strlen(operation);
    if (len == 0 || len > WF_NAME_MAX)
        return WEFT_EINVAL;
    struct call *call = malloc(sizeof *call);
    if (call == NULL)
        return WEFT_ENOMEM;
    *call = (struct call){.endpoint = e, .done = done, .arg = arg};
    weft_err err = wf_controller_call(
        e, operation, wf_span_of(arguments, arguments != NULL ? strlen(arguments) : 0), timeout_ms,
        on_done, call);
    if (err != WEFT_OK) {
        free(call);
        return err;
    }
    e->controller.calls++;
    return WEFT_OK;
}
