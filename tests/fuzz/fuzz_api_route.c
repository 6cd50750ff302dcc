/* Method, path and query of the API: any bytes lead to a route, to none, or to one line; what comes
 * out is plain. */
#include "controller/api_route.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void look_at(const json_t *args)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)args, key, value)
    {
        const char *text = json_string_value(value);

        if (text != NULL && !wf_is_printable(text, strlen(text)))
            abort();
        if (json_is_integer(value) && json_integer_value(value) < 0)
            abort();
    }
}

/* "METHOD path?query" */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const uint8_t *space = len > 0 ? memchr(data, ' ', len) : NULL;
    size_t method = space != NULL ? (size_t)(space - data) : len;
    const uint8_t *path = data + method + (space != NULL);
    size_t left = len - method - (space != NULL);
    const uint8_t *mark = left > 0 ? memchr(path, '?', left) : NULL;
    size_t path_len = mark != NULL ? (size_t)(mark - path) : left;
    wf_span query = {NULL, 0};
    struct api_match match;
    wf_why why = {""};
    json_t *args = json_object();

    if (mark != NULL)
        query = wf_span_of(mark + 1, left - path_len - 1);
    if (api_route_find(wf_span_of(data, method), wf_span_of(path, path_len), &match, &why) !=
        WEFT_OK) {
        if (why.text[0] == '\0')
            abort();
    } else if (match.route != NULL) {
        if (!match.is_path || !wf_is_printable(match.variable, strlen(match.variable)))
            abort();
        if (api_route_query(match.route, query, args, &why) == WEFT_OK) {
            (void)api_route_variable(&match, false, args, &why);
            look_at(args);
        } else if (why.text[0] == '\0') {
            abort();
        }
    }
    json_decref(args);
    return 0;
}
