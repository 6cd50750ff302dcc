/*
 * weft apply: the file says which identities, services and policies there are
 * to be, and how; what differs is computed against the controller, shown, and
 * changed. docs/api.md, "weft apply".
 *
 * Order: identities and services are made first, then policies, which name
 * them; what goes away goes in the other order. Each object is one call,
 * which happens whole or not at all.
 */
#include "sdk/cli/apply.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/base/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ERRORS_SHOWN 20u

struct change {
    enum apply_noun noun;
    char mark; /* '+', '~', '-' */
    int line;  /* of the file; 0: it isn't there */
    char name[WF_NAME_MAX + 1];
    json_t *args;  /* owned: of the call */
    json_t *shown; /* owned: {field: [old, new]} */
};

struct apply {
    const struct wf_call_line *line;
    const char *tokens_dir;
    bool as_json, prune;
    struct apply_file file;
    json_t *existing[NOUNS]; /* owned: name -> object */
    struct change *changes;  /* owned */
    size_t count, room;
    const struct change **part; /* owned: those of one phase */
    size_t part_count;
    enum apply_noun listing;
    json_t *list_args; /* owned: of the next page */
    size_t done, failed, tokens;
    weft_err err; /* of the first that failed */
    struct cli_calls *calls;
    wf_why list_why;
};

/* ---- what is there */

static json_t *ask_page(void *arg, size_t i, const char **operation)
{
    struct apply *a = arg;
    (void)i;
    *operation = apply_kinds[a->listing].list;
    return json_incref(a->list_args);
}

static void on_page(void *arg, size_t i, weft_err err, const wf_why *why, json_t *result)
{
    struct apply *a = arg;
    json_t *item, *next = json_object_get(result, "next");
    size_t n;
    (void)i;
    if (err != WEFT_OK) {
        a->err = wf_fail(&a->list_why, err, "%s", why->text);
        return;
    }
    json_array_foreach(json_object_get(result, "items"), n, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name != NULL)
            json_object_set(a->existing[a->listing], name, item);
    }
    if (json_is_string(next)) {
        json_object_set(a->list_args, "after", next);
        a->calls->count++;
    }
}

static weft_err read_controller(struct apply *a, wf_why *why)
{
    weft_err err = WEFT_OK;
    for (enum apply_noun noun = IDENTITY; noun < NOUNS && err == WEFT_OK; noun++) {
        struct cli_calls calls = {.count = 1, .ask = ask_page, .done = on_page, .arg = a};
        if (json_object_size(a->file.wanted[noun]) == 0 && !a->prune)
            continue;
        a->listing = noun;
        a->calls = &calls;
        a->list_args = json_object();
        if (a->file.prefix != NULL)
            json_object_set_new(a->list_args, "prefix", json_string(a->file.prefix));
        err = cli_calls(a->line, &calls, why);
        json_decref(a->list_args);
        a->list_args = NULL;
        if (err == WEFT_OK && a->err != WEFT_OK)
            err = wf_fail(why, a->err, "%s", a->list_why.text);
    }
    return err;
}

/* ---- the difference */

static struct change *add_change(struct apply *a, enum apply_noun noun, char mark, const char *name,
                                 int line)
{
    if (a->count == a->room) {
        size_t room = a->room == 0 ? 64 : 2 * a->room;
        struct change *more = realloc(a->changes, room * sizeof *more);
        if (more == NULL)
            return NULL;
        a->changes = more;
        a->room = room;
    }
    struct change *change = &a->changes[a->count++];
    *change = (struct change){.noun = noun,
                              .mark = mark,
                              .line = line,
                              .args = json_pack("{s:s}", "name", name),
                              .shown = json_object()};
    snprintf(change->name, sizeof change->name, "%s", name);
    return change;
}

/* As an argument: a limit that isn't there is to go. */
static json_t *as_argument(json_t *value, enum apply_shape shape)
{
    json_t *all;
    if (shape != LIMITS)
        return json_incref(value);
    all = json_deep_copy(value);
    for (const char *const *key = apply_limits; *key != NULL; key++)
        if (json_object_get(all, *key) == NULL)
            json_object_set_new(all, *key, json_integer(0));
    return all;
}

static json_t *as_compared(json_t *value, enum apply_shape shape)
{
    if (shape == TEXT || shape == DURATION)
        return json_incref(value);
    if (shape != LIMITS)
        return apply_set(value);
    return value != NULL ? json_incref(value) : json_object();
}

/* As it is typed: of seconds the largest unit that they are a whole number of. */
static json_t *as_shown(json_t *value, enum apply_shape shape)
{
    static const struct {
        json_int_t seconds;
        char unit;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    json_int_t n = json_integer_value(value);
    size_t i = 0;
    if (shape != DURATION || !json_is_integer(value))
        return json_incref(value);
    while (n % units[i].seconds != 0)
        i++;
    return json_sprintf("%lld%c", (long long)(n / units[i].seconds), units[i].unit);
}

/* Of something that isn't there yet: this is what it would have anyway. */
static bool says_nothing(const json_t *value, const struct apply_field *field)
{
    uint64_t ms = 0;
    if (field->shape == TEXT)
        return false;
    if (field->shape == DURATION)
        return wf_duration_parse(field->fallback, &ms) == WEFT_OK &&
               (uint64_t)json_integer_value(value) == ms / 1000;
    return json_array_size(value) + json_object_size(value) == 0;
}

static weft_err compare(struct apply *a, enum apply_noun noun, const char *name,
                        const json_t *wanted)
{
    json_t *existing = json_object_get(a->existing[noun], name);
    int line = (int)json_integer_value(json_object_get(wanted, "line"));
    struct change *change = NULL;
    if (existing == NULL && (change = add_change(a, noun, '+', name, line)) == NULL)
        return WEFT_ENOMEM;
    for (const struct apply_field *f = apply_kinds[noun].fields; f->name != NULL; f++) {
        json_t *new = json_object_get(wanted, f->name);
        const char *key = f->key != NULL ? f->key : f->name;
        json_t *old = json_object_get(existing, key);
        json_t *was = as_compared(old, f->shape);
        if (existing == NULL || !json_equal(was, new)) {
            if (change == NULL && (change = add_change(a, noun, '~', name, line)) == NULL) {
                json_decref(was);
                return WEFT_ENOMEM;
            }
            json_object_set_new(change->args, key, as_argument(new, f->shape));
            if (existing == NULL && says_nothing(new, f)) { /* nothing to say of it */
                json_object_del(change->args, key);
                json_decref(was);
                continue;
            }
            json_object_set_new(change->shown, f->name,
                                json_pack("[o?,o]",
                                          existing != NULL ? as_shown(was, f->shape) : NULL,
                                          as_shown(new, f->shape)));
        }
        json_decref(was);
    }
    return WEFT_OK;
}

static weft_err find_changes(struct apply *a)
{
    const char *name;
    json_t *thing;
    for (enum apply_noun noun = IDENTITY; noun < NOUNS; noun++) {
        json_object_foreach(a->file.wanted[noun], name, thing)
        {
            if (compare(a, noun, name, thing) != WEFT_OK)
                return WEFT_ENOMEM;
        }
        if (!a->prune)
            continue;
        json_object_foreach(a->existing[noun], name, thing)
        {
            /* The prefix again: what the controller sent is not what we asked for, perhaps. */
            if (strncmp(name, a->file.prefix, strlen(a->file.prefix)) == 0 &&
                json_object_get(a->file.wanted[noun], name) == NULL &&
                add_change(a, noun, '-', name, 0) == NULL)
                return WEFT_ENOMEM;
        }
    }
    return WEFT_OK;
}

/* ---- showing */

static void put_value(FILE *out, const json_t *value)
{
    size_t i;
    const json_t *item;
    if (json_is_string(value)) {
        fputs(json_string_value(value), out);
    } else if (json_is_array(value) && json_array_size(value) > 0) {
        json_array_foreach(value, i, item)
            fprintf(out, "%s%s", i > 0 ? "," : "", json_string_value(item));
    } else if (json_object_size(value) > 0) {
        const char *key;
        json_t *number;
        const char *between = "";
        json_object_foreach((json_t *)(uintptr_t)value, key, number)
        {
            fprintf(out, "%s%s=%lld", between, key, (long long)json_integer_value(number));
            between = ",";
        }
    } else {
        fputs("none", out);
    }
}

static void show_change(const struct apply *a, const struct change *change)
{
    const char *key;
    json_t *pair;
    size_t n = 0;
    if (a->as_json) {
        json_t *line = json_pack("{s:s, s:s, s:s, s:O}", "change",
                                 change->mark == '+'   ? "create"
                                 : change->mark == '~' ? "update"
                                                       : "delete",
                                 "kind", apply_kinds[change->noun].noun, "name", change->name,
                                 "fields", change->shown);
        cli_print(line, true);
        json_decref(line);
        return;
    }
    printf("%c %s %s", change->mark, apply_kinds[change->noun].noun, change->name);
    json_object_foreach(change->shown, key, pair)
    {
        const json_t *old = json_array_get(pair, 0);
        printf("%s %s: ", n++ > 0 ? ";" : "", key);
        if (change->mark == '~') {
            put_value(stdout, old);
            fputs(" -> ", stdout);
        }
        put_value(stdout, json_array_get(pair, 1));
    }
    putchar('\n');
}

/* ---- doing */

static json_t *ask_change(void *arg, size_t i, const char **operation)
{
    const struct apply *a = arg;
    const struct change *change = a->part[i];
    *operation = change->mark == '+'   ? apply_kinds[change->noun].create
                 : change->mark == '~' ? apply_kinds[change->noun].update
                                       : apply_kinds[change->noun].delete;
    return json_incref(change->args);
}

static weft_err keep_token(struct apply *a, const char *name, const json_t *result, wf_why *why)
{
    const char *token = json_string_value(json_object_get(result, "token"));
    weft_err err = WEFT_OK;
    char *path = NULL;
    wf_buf text;
    if (token == NULL)
        return WEFT_OK;
    a->tokens++;
    if (a->tokens_dir == NULL)
        return WEFT_OK;
    wf_buf_init(&text, 65536);
    if (asprintf(&path, "%s/%s.jwt", a->tokens_dir, name) < 0)
        path = NULL;
    err = path != NULL ? wf_buf_printf(&text, "%s\n", token) : WEFT_ENOMEM;
    if (err == WEFT_OK)
        err = wf_file_write(path, text.data, text.len, 0600, why);
    wf_buf_wipe(&text);
    free(path);
    return err;
}

static void on_change(void *arg, size_t i, weft_err err, const wf_why *why, json_t *result)
{
    struct apply *a = arg;
    const struct change *change = a->part[i];
    wf_why said = *why;
    if (err == WEFT_OK)
        err = keep_token(a, change->name, result, &said);
    if (err == WEFT_OK) {
        a->done++;
        return;
    }
    if (a->failed++ == 0)
        a->err = err;
    if (a->failed > ERRORS_SHOWN)
        return;
    if (change->line > 0)
        fprintf(stderr, "%s:%d: %s '%s': %s\n", a->file.path, change->line,
                apply_kinds[change->noun].noun, change->name, said.text);
    else
        fprintf(stderr, "%s '%s': %s\n", apply_kinds[change->noun].noun, change->name, said.text);
}

/* The changes with this mark, of policies or of the rest. */
static weft_err run_part(struct apply *a, char mark, bool is_policy, wf_why *why)
{
    struct cli_calls calls = {.ask = ask_change, .done = on_change, .arg = a};
    a->part_count = 0;
    for (size_t i = 0; i < a->count; i++)
        if (a->changes[i].mark == mark && (a->changes[i].noun == POLICY) == is_policy)
            a->part[a->part_count++] = &a->changes[i];
    calls.count = a->part_count;
    return calls.count == 0 ? WEFT_OK : cli_calls(a->line, &calls, why);
}

static weft_err make_changes(struct apply *a, wf_why *why)
{
    static const struct {
        char mark;
        bool is_policy;
    } order[] = {{'+', false}, {'~', false}, {'+', true}, {'~', true}, {'-', true}, {'-', false}};
    weft_err err = WEFT_OK;
    a->part = calloc(a->count + 1, sizeof *a->part);
    if (a->part == NULL)
        return WEFT_ENOMEM;
    for (size_t i = 0; err == WEFT_OK && i < sizeof order / sizeof *order; i++)
        err = run_part(a, order[i].mark, order[i].is_policy, why);
    if (a->tokens > 0 && a->tokens_dir == NULL)
        fprintf(stderr,
                "%zu tokens were not kept: give --tokens-dir, or weft identity reissue NAME\n",
                a->tokens);
    if (err == WEFT_OK && a->failed > 0)
        err = wf_fail(why, a->err, "%zu of %zu changes failed; the others were made", a->failed,
                      a->count);
    return err;
}

static weft_err check_tokens_dir(const struct apply *a, wf_why *why)
{
    char *probe = NULL;
    weft_err err = WEFT_OK;
    if (a->tokens_dir == NULL)
        return err;
    err = wf_folder_make(a->tokens_dir, why);
    if (err == WEFT_OK && asprintf(&probe, "%s/.weft-apply", a->tokens_dir) < 0)
        err = WEFT_ENOMEM;
    if (err == WEFT_OK)
        err = wf_file_write(probe, "", 0, 0600, why);
    if (err == WEFT_OK)
        remove(probe);
    free(probe);
    return err;
}

static void count_marks(const struct apply *a, size_t marks[3])
{
    for (size_t i = 0; i < a->count; i++)
        marks[a->changes[i].mark == '+' ? 0 : a->changes[i].mark == '~' ? 1 : 2]++;
}

weft_err cli_apply(const struct wf_call_line *line, wf_why *why)
{
    struct apply a = {
        .line = line,
        .file = {.path = wf_line_text(line, "file"), .prunes = wf_line_flag(line, "prune")},
        .tokens_dir = wf_line_text(line, "tokens-dir"),
        .as_json = wf_line_flag(line, "json"),
        .prune = wf_line_flag(line, "prune")};
    bool is_dry = wf_line_flag(line, "dry-run");
    size_t marks[3] = {0, 0, 0};
    weft_err err = WEFT_OK;
    if (a.file.path == NULL)
        return wf_fail(why, WEFT_EUSAGE, "which file? give -f FILE.yaml");
    for (enum apply_noun noun = IDENTITY; noun < NOUNS; noun++) {
        a.existing[noun] = json_object();
    }
    err = apply_file_read(&a.file, why);
    if (err == WEFT_OK && !is_dry)
        err = check_tokens_dir(&a, why);
    if (err == WEFT_OK)
        err = read_controller(&a, why);
    if (err == WEFT_OK)
        err = find_changes(&a);
    for (size_t i = 0; err == WEFT_OK && i < a.count; i++)
        show_change(&a, &a.changes[i]);
    count_marks(&a, marks);
    if (err == WEFT_OK && a.count == 0)
        fprintf(stderr, "no changes\n");
    else if (err == WEFT_OK)
        fprintf(stderr, "%zu to create, %zu to change, %zu to delete%s\n", marks[0], marks[1],
                marks[2], is_dry ? "; nothing was done" : "");
    if (err == WEFT_OK && !is_dry && a.count > 0)
        err = make_changes(&a, why);
    for (size_t i = 0; i < a.count; i++) {
        json_decref(a.changes[i].args);
        json_decref(a.changes[i].shown);
    }
    for (enum apply_noun noun = IDENTITY; noun < NOUNS; noun++) {
        json_decref(a.existing[noun]);
    }
    free(a.changes);
    free(a.part);
    apply_file_free(&a.file);
    return err;
}

const struct wf_option cli_apply_options[] = {
    {"file", WF_OPTION_TEXT, "FILE", "what there is to be, as YAML; -f is the same"},
    {"dry-run", WF_OPTION_FLAG, NULL, "show what differs and change nothing"},
    {"prune", WF_OPTION_FLAG, NULL,
     "delete what begins with the file's prefix and isn't in the file"},
    {"tokens-dir", WF_OPTION_TEXT, "DIR", "write the tokens of new identities there, NAME.jwt"},
    CLI_JSON_ROW,
    {NULL, WF_OPTION_FLAG, NULL, NULL}};
