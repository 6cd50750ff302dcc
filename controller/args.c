#include "controller/args.h"
#include "controller/rights.h"
#include <assert.h>
#include <jansson.h>
#include <string.h>

/* Nesting by brackets outside of strings: cheaper than the parser, and before it. */
static bool is_shallow(wf_span json)
{
    unsigned depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < json.len; i++) {
        uint8_t c = json.data[i];

        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > ARGS_DEPTH_MAX)
                return false;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return true;
}

weft_err args_open(struct args *args, wf_span json, wf_why *why)
{
    json_error_t error;

    *args = (struct args){.why = why};
    if (json.len > ARGS_SIZE_MAX)
        return wf_fail(why, WEFT_ELIMIT, "the arguments take %zu bytes; at most %u are read",
                       json.len, ARGS_SIZE_MAX);
    if (!is_shallow(json))
        return wf_fail(why, WEFT_ELIMIT, "the arguments are nested deeper than %u", ARGS_DEPTH_MAX);
    if (json.len == 0)
        args->root = json_object();
    else
        args->root = json_loadb((const char *)json.data, json.len, JSON_REJECT_DUPLICATES, &error);
    if (args->root == NULL)
        return wf_fail(why, WEFT_EINVAL, "the arguments are no JSON: %s",
                       json.len == 0 ? "out of memory" : error.text);
    if (!json_is_object(args->root)) {
        args_close(args);
        return wf_fail(why, WEFT_EINVAL, "the arguments must be one JSON object");
    }
    return WEFT_OK;
}

void args_close(struct args *args)
{
    json_decref(args->root);
    args->root = NULL;
}

static json_t *ask(struct args *args, const char *key)
{
    bool known = false;

    for (size_t i = 0; i < args->asked_count; i++)
        known = known || strcmp(args->asked[i], key) == 0;
    if (!known) {
        assert(args->asked_count < ARGS_KEYS_MAX);
        args->asked[args->asked_count++] = key;
    }
    return json_object_get(args->root, key);
}

bool args_has(struct args *args, const char *key)
{
    return ask(args, key) != NULL;
}

weft_err args_end(const struct args *args)
{
    const char *key;
    json_t *value;

    json_object_foreach(args->root, key, value)
    {
        bool known = false;

        for (size_t i = 0; i < args->asked_count; i++)
            known = known || strcmp(args->asked[i], key) == 0;
        if (!known)
            return wf_fail(args->why, WEFT_EINVAL, "unknown argument '%.64s'", key);
    }
    return WEFT_OK;
}

/* The string under key, or NULL with *err set when it is no string or absent though required. */
static const char *string_of(struct args *args, const char *key, bool required, weft_err *err)
{
    const json_t *value = ask(args, key);

    *err = WEFT_OK;
    if (value == NULL) {
        if (required)
            *err = wf_fail(args->why, WEFT_EINVAL, "argument '%s' is missing", key);
        return NULL;
    }
    if (!json_is_string(value)) {
        *err = wf_fail(args->why, WEFT_EINVAL, "argument '%s' must be text", key);
        return NULL;
    }
    /* jansson refuses NUL inside strings, so its length is strlen's. */
    return json_string_value(value);
}

weft_err args_name(struct args *args, const char *key, bool required, char out[WF_NAME_MAX + 1])
{
    weft_err err;
    const char *text = string_of(args, key, required, &err);

    if (text != NULL) {
        size_t len = strlen(text);

        err = wf_name_check(text, len, key, args->why);
        if (err == WEFT_OK)
            memcpy(out, text, len + 1);
        return err == WEFT_OK ? err : WEFT_EINVAL;
    }
    if (err == WEFT_OK)
        out[0] = '\0';
    return err;
}

weft_err args_text(struct args *args, const char *key, bool required, char *out, size_t max)
{
    weft_err err;
    const char *text = string_of(args, key, required, &err);
    size_t len;

    if (text == NULL) {
        if (err == WEFT_OK)
            out[0] = '\0';
        return err;
    }
    len = strlen(text);
    if (len == 0 || len >= max || !wf_is_printable(text, len))
        return wf_fail(args->why, WEFT_EINVAL,
                       "argument '%s' must be 1 to %zu printable characters", key, max - 1);
    memcpy(out, text, len + 1);
    return WEFT_OK;
}

weft_err args_number(struct args *args, const char *key, uint64_t fallback, uint64_t min,
                     uint64_t max, uint64_t *out)
{
    const json_t *value = ask(args, key);
    json_int_t number;

    if (value == NULL) {
        *out = fallback;
        return WEFT_OK;
    }
    number = json_is_integer(value) ? json_integer_value(value) : -1;
    if (number < 0 || (uint64_t)number < min || (uint64_t)number > max)
        return wf_fail(args->why, WEFT_EINVAL,
                       "argument '%s' must be a whole number from %llu to %llu", key,
                       (unsigned long long)min, (unsigned long long)max);
    *out = (uint64_t)number;
    return WEFT_OK;
}

weft_err args_flag(struct args *args, const char *key, bool *out)
{
    const json_t *value = ask(args, key);

    if (value != NULL && !json_is_boolean(value))
        return wf_fail(args->why, WEFT_EINVAL, "argument '%s' must be true or false", key);
    *out = json_is_true(value);
    return WEFT_OK;
}

weft_err args_texts(struct args *args, const char *key, size_t max, args_text_fn take, void *arg)
{
    const json_t *value = ask(args, key);
    bool is_list = json_is_array(value);
    size_t count = is_list ? json_array_size(value) : value != NULL;
    weft_err err = WEFT_OK;

    if (count > max)
        return wf_fail(args->why, WEFT_EINVAL, "argument '%s' holds more than %zu", key, max);
    for (size_t i = 0; err == WEFT_OK && i < count; i++) {
        const char *text = json_string_value(is_list ? json_array_get(value, i) : value);
        size_t len = text != NULL ? strlen(text) : 0;

        if (len == 0 || len > 255 || !wf_is_printable(text, len))
            return wf_fail(args->why, WEFT_EINVAL, "argument '%s' must hold plain text", key);
        err = take(arg, text, args->why);
    }
    return err;
}

static weft_err object_of(struct args *args, const char *key, const json_t **out)
{
    *out = ask(args, key);
    if (*out != NULL && !json_is_object(*out))
        return wf_fail(args->why, WEFT_EINVAL, "argument '%s' must be an object", key);
    return WEFT_OK;
}

weft_err args_number_in(struct args *args, const char *object, const char *key, uint64_t max,
                        uint64_t *out)
{
    const json_t *in, *value;
    json_int_t number;
    weft_err err = object_of(args, object, &in);

    value = err == WEFT_OK ? json_object_get(in, key) : NULL;
    if (value == NULL)
        return err;
    number = json_is_integer(value) ? json_integer_value(value) : -1;
    if (number < 0 || (uint64_t)number > max)
        return wf_fail(args->why, WEFT_EINVAL, "'%s' in '%s' must be a whole number from 0 to %llu",
                       key, object, (unsigned long long)max);
    *out = (uint64_t)number;
    return WEFT_OK;
}

weft_err args_object_end(struct args *args, const char *object, const char *const *keys)
{
    const json_t *in;
    void *at;
    weft_err err = object_of(args, object, &in);

    if (err != WEFT_OK || in == NULL)
        return err;
    for (at = json_object_iter((json_t *)(uintptr_t)in); at != NULL;
         at = json_object_iter_next((json_t *)(uintptr_t)in, at)) {
        size_t i = 0;

        while (keys[i] != NULL && strcmp(keys[i], json_object_iter_key(at)) != 0)
            i++;
        if (keys[i] == NULL)
            return wf_fail(args->why, WEFT_EINVAL, "'%.65s' in '%s' is not known",
                           json_object_iter_key(at), object);
    }
    return WEFT_OK;
}

weft_err args_bytes(struct args *args, const char *key, bool required, wf_buf *out)
{
    weft_err err;
    const char *text = string_of(args, key, required, &err);

    if (text == NULL)
        return err;
    err = wf_base64_decode(text, strlen(text), out);
    if (err == WEFT_ENOMEM)
        return err;
    if (err != WEFT_OK || out->len == 0)
        return wf_fail(args->why, WEFT_EINVAL, "argument '%s' must be base64 of 1 to %zu bytes",
                       key, out->max);
    return WEFT_OK;
}

weft_err args_which(struct args *args, wf_id *id, char name[WF_NAME_MAX + 1], bool *by_id)
{
    bool has_name = args_has(args, "name");
    weft_err err;
    const char *text = string_of(args, "id", false, &err);

    if (err != WEFT_OK)
        return err;
    if (has_name == (text != NULL))
        return wf_fail(args->why, WEFT_EINVAL, "give 'name' or 'id', exactly one of them");
    *by_id = text != NULL;
    if (text == NULL)
        return args_name(args, "name", true, name);
    if (!wf_id_parse(text, strlen(text), id))
        return wf_fail(args->why, WEFT_EINVAL, "argument 'id' must be 32 lower-case hex digits");
    return WEFT_OK;
}

/* The list under key, or NULL with *err set. */
static const json_t *list_of(struct args *args, const char *key, bool required, weft_err *err)
{
    const json_t *list = ask(args, key);

    *err = WEFT_OK;
    if (list == NULL) {
        if (required)
            *err = wf_fail(args->why, WEFT_EINVAL, "argument '%s' is missing", key);
        return NULL;
    }
    if (!json_is_array(list) || json_array_size(list) > POLICY_ROLES_MAX) {
        *err = wf_fail(args->why, WEFT_EINVAL, "argument '%s' must be a list of at most %d roles",
                       key, POLICY_ROLES_MAX);
        return NULL;
    }
    return list;
}

weft_err args_rights(struct args *args, const char *key, unsigned *out)
{
    const json_t *list = ask(args, key);
    unsigned rights = 0;

    if (list == NULL) {
        *out = RIGHTS_FULL;
        return WEFT_OK;
    }
    if (!json_is_array(list) || json_array_size(list) == 0 ||
        json_array_size(list) > RIGHTS_WORDS_MAX)
        return wf_fail(args->why, WEFT_EINVAL, "argument '%s' must be a list of 1 to %u rights",
                       key, RIGHTS_WORDS_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *word = json_string_value(json_array_get(list, i));

        if (word == NULL)
            return wf_fail(args->why, WEFT_EINVAL, "argument '%s' must hold text only", key);
        if (rights_parse(word, &rights, args->why) != WEFT_OK)
            return WEFT_EINVAL;
    }
    *out = rights;
    return WEFT_OK;
}

weft_err args_attributes(struct args *args, const char *key, struct store_roles *out)
{
    weft_err err;
    const json_t *list = list_of(args, key, false, &err);

    if (err != WEFT_OK)
        return err;
    out->count = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        size_t len;

        if (text == NULL)
            return wf_fail(args->why, WEFT_EINVAL, "argument '%s' must hold text only", key);
        if (text[0] == '@')
            return wf_fail(args->why, WEFT_EINVAL,
                           "'%.65s' is a name; a thing carries attributes such as '#ci'", text);
        if (text[0] == '#')
            text++;
        len = strlen(text);
        if (wf_name_check(text, len, "role", args->why) != WEFT_OK)
            return WEFT_EINVAL;
        if (strcmp(text, "all") == 0)
            return wf_fail(args->why, WEFT_EINVAL,
                           "'#all' stands for everything in a policy; no thing can carry it");
        memcpy(out->names[out->count++], text, len + 1);
    }
    return WEFT_OK;
}

weft_err args_role(wf_why *why, const char *key, const char *text, args_find_fn find, void *arg,
                   struct policy_role *out)
{
    size_t len = strlen(text);
    struct policy_role role = {.kind = POLICY_ROLE_ALL};
    weft_err err;

    if (strcmp(text, "#all") == 0) {
        *out = role;
        return WEFT_OK;
    }
    if (len < 2 || (text[0] != '#' && text[0] != '@'))
        return wf_fail(why, WEFT_EINVAL,
                       "'%.65s' in '%s' is no role; write '#attribute', '@name' or '#all'", text,
                       key);
    if (wf_name_check(text + 1, len - 1, "role", why) != WEFT_OK)
        return WEFT_EINVAL;
    if (text[0] == '#') {
        role.kind = POLICY_ROLE_ATTRIBUTE;
        memcpy(role.attribute, text + 1, len);
    } else {
        role.kind = POLICY_ROLE_ID;
        err = find(arg, text + 1, &role.id);
        if (err == WEFT_ENOTFOUND)
            return wf_fail(why, WEFT_EINVAL,
                           "'%s' in '%s' names nothing that exists; create it first, or mend the "
                           "name",
                           text, key);
        if (err != WEFT_OK)
            return err;
    }
    *out = role;
    return WEFT_OK;
}

weft_err args_roles(struct args *args, const char *key, bool required, args_find_fn find, void *arg,
                    struct policy_role *out, size_t *count)
{
    weft_err err;
    const json_t *list = list_of(args, key, required, &err);
    size_t n = json_array_size(list);

    if (err != WEFT_OK)
        return err;
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(list, i));

        if (text == NULL)
            return wf_fail(args->why, WEFT_EINVAL, "argument '%s' must hold text only", key);
        err = args_role(args->why, key, text, find, arg, &out[i]);
        if (err != WEFT_OK)
            return err;
        if (out[i].kind == POLICY_ROLE_ALL && n > 1)
            return wf_fail(args->why, WEFT_EINVAL, "'#all' stands alone in '%s'", key);
    }
    *count = n;
    return WEFT_OK;
}
