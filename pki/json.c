/* Strict reading of JSON. */
#include "pki/json.h"
#include "proto/base/secret.h"
#include <string.h>

weft_err pki_json_load(wf_span text, const char *what, json_t **out, wf_why *why)
{
    json_error_t error = {.line = -1}; /* jansson leaves it alone if memory fails early */
    json_t *json = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &error);
    if (json == NULL && json_error_code(&error) == json_error_out_of_memory)
        return wf_fail(why, WEFT_ENOMEM, "no memory to read the %s", what);
    if (json == NULL) {
        /* jansson's message may quote the text, which may be a secret: only the place is told. */
        return wf_fail(why, WEFT_ECREDENTIAL, "the %s is not strict JSON (line %d, column %d)",
                       what, error.line, error.column);
    }
    if (!json_is_object(json)) {
        json_decref(json);
        return wf_fail(why, WEFT_ECREDENTIAL, "the %s is no JSON object", what);
    }
    *out = json;
    return WEFT_OK;
}

weft_err pki_json_fields(json_t *object, const char *const *names, size_t count, size_t required,
                         const char *what, wf_why *why)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        bool known = false;
        for (size_t i = 0; i < count; i++)
            known = known || strcmp(key, names[i]) == 0;
        if (!known) {
            return wf_fail(why, WEFT_ECREDENTIAL, "the %s has an unknown field \"%.40s\"", what,
                           key);
        }
    }
    for (size_t i = 0; i < required; i++)
        if (json_object_get(object, names[i]) == NULL)
            return wf_fail(why, WEFT_ECREDENTIAL, "the %s lacks the field \"%s\"", what, names[i]);
    return WEFT_OK;
}

static weft_err take_text(const json_t *value, const char *name, size_t max, wf_span *out,
                          wf_why *why)
{
    if (!json_is_string(value))
        return wf_fail(why, WEFT_ECREDENTIAL, "the field \"%s\" is no text", name);
    size_t len = json_string_length(value);
    if (len == 0 || len > max) {
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the field \"%s\" has %zu bytes, allowed are 1 to %zu", name, len, max);
    }
    *out = wf_span_of(json_string_value(value), len);
    return WEFT_OK;
}

weft_err pki_json_text(json_t *object, const char *name, size_t max, wf_span *out, wf_why *why)
{
    return take_text(json_object_get(object, name), name, max, out, why);
}

weft_err pki_json_array(json_t *object, const char *name, size_t min, size_t max, json_t **out,
                        wf_why *why)
{
    json_t *array = json_object_get(object, name);
    if (!json_is_array(array))
        return wf_fail(why, WEFT_ECREDENTIAL, "the field \"%s\" is no list", name);
    size_t count = json_array_size(array);
    if (count < min || count > max) {
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the field \"%s\" has %zu entries, allowed are %zu to %zu", name, count, min,
                       max);
    }
    *out = array;
    return WEFT_OK;
}

weft_err pki_json_entry(json_t *array, size_t i, const char *name, size_t max, wf_span *out,
                        wf_why *why)
{
    return take_text(json_array_get(array, i), name, max, out, why);
}

void pki_json_wipe(json_t *text)
{
    if (json_is_string(text)) {
        /* jansson lends its text as const; it lies in jansson's own heap all the same. */
        wf_wipe((void *)(uintptr_t)json_string_value(text), json_string_length(text));
    }
}
