#include "proto/base/clock.h"
#include "proto/base/text.h"
#include "sdk/cli/apply.h"
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES_MAX (64u * 1024u * 1024u)
#define FILE_NODES_MAX 4000000u

const char *const apply_limits[] = {"sessions", "sessions_per_identity", "idle", "max_age", NULL};
static const struct apply_field identity_fields[] = {
    {"roles", ROLES, "", NULL}, {"life", DURATION, "90d", "life_s"}, {NULL, TEXT, NULL, NULL}};
static const struct apply_field service_fields[] = {{"roles", ROLES, "", NULL},
                                                    {"mode", TEXT, "stream", NULL},
                                                    {"limits", LIMITS, "", NULL},
                                                    {NULL, TEXT, NULL, NULL}};
static const struct apply_field policy_fields[] = {{"type", TEXT, NULL, NULL},
                                                   {"identity_roles", SELECTORS, "", NULL},
                                                   {"service_roles", SELECTORS, "", NULL},
                                                   {"semantic", TEXT, "anyOf", NULL},
                                                   {"windows", TEXTS, "", NULL},
                                                   {"sources", TEXTS, "", NULL},
                                                   {"os", TEXTS, "", NULL},
                                                   {"os_version_min", TEXTS, "", NULL},
                                                   {NULL, TEXT, NULL, NULL}};

const struct apply_kind apply_kinds[NOUNS] = {
    {"identity", "identities", "identity.list", "identity.create", "identity.update",
     "identity.delete", identity_fields},
    {"service", "services", "service.list", "service.create", "service.update", "service.delete",
     service_fields},
    {"policy", "policies", "policy.list", "policy.create", "policy.update", "policy.delete",
     policy_fields},
};

/* A text as the controller stores it. */
static json_t *stored_text(const char *typed, enum apply_shape shape)
{
    bool is_selector = shape == SELECTORS;
    if (shape == TEXTS)
        return json_string(typed);
    if (strncmp(typed, "role:", 5) == 0)
        return json_sprintf("#%s", typed + 5);
    if (typed[0] == '#' || (is_selector && typed[0] == '@'))
        return json_string(typed);
    if (is_selector && strcmp(typed, "all") == 0)
        return json_string("#all");
    return json_sprintf("%c%s", is_selector ? '@' : '#', typed);
}

static int by_text(const void *a, const void *b)
{
    const json_t *const *x = a, *const *y = b;
    return strcmp(json_string_value(*x), json_string_value(*y));
}

/* Lists are sets: sorted, each once, so that order is no difference. */
json_t *apply_set(const json_t *list)
{
    if (json_is_string(list))
        return json_pack("[O]", list);
    size_t n = json_array_size(list), count = 0;
    json_t **items = calloc(n + 1, sizeof *items), *out = json_array();
    for (size_t i = 0; items != NULL && i < n; i++)
        if (json_is_string(json_array_get(list, i)))
            items[count++] = json_array_get(list, i);
    if (items != NULL)
        qsort(items, count, sizeof *items, by_text);
    for (size_t i = 0; items != NULL && i < count; i++)
        if (i == 0 || strcmp(json_string_value(items[i]), json_string_value(items[i - 1])) != 0)
            json_array_append(out, items[i]);
    free(items);
    return out;
}

static weft_err read_list(const wf_yaml *node, const struct apply_field *field, json_t **out,
                          wf_why *why)
{
    json_t *list = json_array();
    weft_err err = WEFT_OK;
    if (wf_yaml_scalar(node) != NULL || wf_yaml_key(node, 0) != NULL)
        err = wf_yaml_fail(node, why, "\"%s\" must be a list", field->name);
    for (size_t i = 0; err == WEFT_OK && i < wf_yaml_count(node); i++) {
        const wf_yaml *item = wf_yaml_item(node, i);
        const char *text = wf_yaml_scalar(item);
        if (text == NULL || *text == 0)
            err =
                wf_yaml_fail(item, why, "\"%s\" must hold text (quote a role: '#ci')", field->name);
        else
            json_array_append_new(list, stored_text(text, field->shape));
    }
    if (err == WEFT_OK)
        *out = apply_set(list);
    json_decref(list);
    return err;
}

static weft_err read_limits(const wf_yaml *node, json_t **out, wf_why *why)
{
    json_t *limits = json_object();
    weft_err err = wf_yaml_only(node, apply_limits, why);
    for (size_t i = 0; err == WEFT_OK && i < wf_yaml_count(node); i++) {
        const char *text = wf_yaml_scalar(wf_yaml_item(node, i));
        char *end = NULL;
        long number = text != NULL && *text >= '0' && *text <= '9' ? strtol(text, &end, 10) : -1;
        if (number < 0 || *end != 0)
            err = wf_yaml_fail(wf_yaml_item(node, i), why, "\"%s\" must be a whole number",
                               wf_yaml_key(node, i));
        else if (number > 0)
            json_object_set_new(limits, wf_yaml_key(node, i), json_integer(number));
    }
    if (err == WEFT_OK)
        *out = json_incref(limits);
    json_decref(limits);
    return err;
}

static weft_err read_duration(const wf_yaml *map, const struct apply_field *field, json_t **out,
                              wf_why *why)
{
    const char *text = field->fallback;
    uint64_t ms = 0;
    weft_err err = wf_yaml_text(map, field->name, false, &text, why);
    if (err != WEFT_OK)
        return err;
    if (wf_duration_parse(text, &ms) != WEFT_OK || ms == 0 || ms % 1000 != 0)
        return wf_yaml_fail(wf_yaml_get(map, field->name), why,
                            "\"%s\" must be a time such as 12h or 30d, in whole seconds",
                            field->name);
    *out = json_integer((json_int_t)(ms / 1000));
    return WEFT_OK;
}

static weft_err read_thing(struct apply_file *a, enum apply_noun noun, const wf_yaml *map,
                           wf_why *why)
{
    const char *keys[16] = {"name"}, *name = NULL, *text;
    size_t n = 1;
    json_t *thing = json_object(), *list = NULL;
    weft_err err;
    for (const struct apply_field *f = apply_kinds[noun].fields; f->name != NULL; f++)
        keys[n++] = f->name;
    keys[n] = NULL;
    err = wf_yaml_only(map, keys, why);
    if (err == WEFT_OK)
        err = wf_yaml_text(map, "name", true, &name, why);
    if (err == WEFT_OK &&
        wf_name_check(name, strlen(name), apply_kinds[noun].noun, why) != WEFT_OK) {
        wf_why said = *why;
        err = wf_yaml_fail(wf_yaml_get(map, "name"), why, "%s", said.text);
    }
    if (err == WEFT_OK && json_object_get(a->wanted[noun], name) != NULL)
        err = wf_yaml_fail(map, why, "%s '%s' is there twice", apply_kinds[noun].noun, name);
    if (err == WEFT_OK && a->prefix != NULL && strncmp(name, a->prefix, strlen(a->prefix)) != 0)
        err = wf_yaml_fail(map, why, "'%s' doesn't begin with the file's prefix '%s'", name,
                           a->prefix);
    for (const struct apply_field *f = apply_kinds[noun].fields; err == WEFT_OK && f->name != NULL;
         f++) {
        const wf_yaml *node = wf_yaml_get(map, f->name);
        if (f->shape == DURATION) {
            err = read_duration(map, f, &list, why);
            if (err == WEFT_OK)
                json_object_set_new(thing, f->name, list);
            continue;
        }
        if (f->shape != TEXT) {
            list = NULL;
            if (node != NULL)
                err = f->shape == LIMITS ? read_limits(node, &list, why)
                                         : read_list(node, f, &list, why);
            if (err == WEFT_OK && list == NULL)
                list = f->shape == LIMITS ? json_object() : json_array();
            if (err == WEFT_OK)
                json_object_set_new(thing, f->name, list);
            continue;
        }
        text = f->fallback;
        err = wf_yaml_text(map, f->name, f->fallback == NULL, &text, why);
        if (err == WEFT_OK)
            json_object_set_new(thing, f->name, json_string(text));
    }
    if (err == WEFT_OK) {
        json_object_set_new(thing, "line", json_integer(wf_yaml_line(map)));
        json_object_set(a->wanted[noun], name, thing);
    }
    json_decref(thing);
    return err;
}

weft_err apply_file_read(struct apply_file *a, wf_why *why)
{
    static const char *const keys[] = {"prefix", "identities", "services", "policies", NULL};
    weft_err err = WEFT_OK;
    for (size_t i = 0; i < NOUNS; i++)
        if ((a->wanted[i] = json_object()) == NULL)
            return WEFT_ENOMEM;
    err = wf_yaml_load_large(a->path, FILE_BYTES_MAX, FILE_NODES_MAX, &a->root, why);
    if (err == WEFT_OK)
        err = wf_yaml_only(a->root, keys, why);
    if (err == WEFT_OK)
        err = wf_yaml_text(a->root, "prefix", false, &a->prefix, why);
    if (err == WEFT_OK && a->prefix != NULL &&
        wf_name_check(a->prefix, strlen(a->prefix), "prefix", why) != WEFT_OK) {
        wf_why said = *why;
        err = wf_yaml_fail(wf_yaml_get(a->root, "prefix"), why, "%s", said.text);
    }
    if (err == WEFT_OK && a->prunes && a->prefix == NULL)
        err = wf_fail(why, WEFT_EUSAGE,
                      "%s: --prune deletes what begins with the file's \"prefix\" and isn't in the "
                      "file; it has no prefix",
                      a->path);
    for (enum apply_noun noun = IDENTITY; noun < NOUNS && err == WEFT_OK; noun++) {
        const wf_yaml *section = wf_yaml_get(a->root, apply_kinds[noun].section);
        if (section == NULL)
            continue;
        if (wf_yaml_scalar(section) != NULL || wf_yaml_key(section, 0) != NULL)
            err = wf_yaml_fail(section, why, "\"%s\" must be a list", apply_kinds[noun].section);
        for (size_t i = 0; err == WEFT_OK && i < wf_yaml_count(section); i++)
            err = read_thing(a, noun, wf_yaml_item(section, i), why);
    }
    return err;
}

void apply_file_free(struct apply_file *a)
{
    for (size_t i = 0; i < NOUNS; i++)
        json_decref(a->wanted[i]);
    wf_yaml_free(a->root);
}
