/* What policies and services are asked for beyond their roles: conditions, limits, facts, dry runs.
 */
#include "sdk/cli/cli.h"
#include <stdio.h>
#include <string.h>

#define TEXTS_MAX 64

/* The texts of an option as a list; "any" stands for none of them. */
static void put_texts(json_t *args, const struct wf_call_line *line, const char *option,
                      const char *key)
{
    json_t *list = json_array();
    const char *text;
    size_t count = 0;

    while (count < TEXTS_MAX && (text = wf_line_list(line, option, count)) != NULL) {
        count++;
        if (strcmp(text, "any") != 0)
            json_array_append_new(list, json_string(text));
    }
    if (count > 0)
        json_object_set_new(args, key, list);
    else
        json_decref(list);
}

void cli_put_conditions(json_t *args, const struct wf_call_line *line)
{
    put_texts(args, line, "hours", "windows");
    put_texts(args, line, "source", "sources");
    put_texts(args, line, "os", "os");
    put_texts(args, line, "os-version-min", "os_version_min");
}

static weft_err put_number(json_t *limits, const struct wf_call_line *line, const char *option,
                           const char *key, wf_why *why)
{
    long number = 0;
    weft_err err;

    if (wf_line_text(line, option) == NULL)
        return WEFT_OK;
    err = wf_line_number(line, option, 0, 0, 1000000, &number, why);
    if (err == WEFT_OK)
        json_object_set_new(limits, key, json_integer(number));
    return err;
}

static weft_err put_seconds(json_t *limits, const struct wf_call_line *line, const char *option,
                            const char *key, wf_why *why)
{
    unsigned long long ms = 0;
    weft_err err;

    if (wf_line_text(line, option) == NULL)
        return WEFT_OK;
    err = wf_line_duration(line, option, 0, &ms, why);
    if (err == WEFT_OK && (ms % 1000 != 0 || ms > 30ull * 86400000ull))
        err = wf_fail(why, WEFT_EUSAGE, "--%s: whole seconds, at most 30d", option);
    if (err == WEFT_OK)
        json_object_set_new(limits, key, json_integer((json_int_t)(ms / 1000)));
    return err;
}

weft_err cli_put_limits(json_t *args, const struct wf_call_line *line, wf_why *why)
{
    json_t *limits = json_object();
    weft_err err = put_number(limits, line, "max-sessions", "sessions", why);

    if (err == WEFT_OK)
        err = put_number(limits, line, "max-sessions-per-identity", "sessions_per_identity", why);
    if (err == WEFT_OK)
        err = put_seconds(limits, line, "idle", "idle", why);
    if (err == WEFT_OK)
        err = put_seconds(limits, line, "max-age", "max_age", why);
    if (err == WEFT_OK && json_object_size(limits) > 0)
        json_object_set(args, "limits", limits);
    json_decref(limits);
    return err;
}

void cli_put_facts(json_t *args, const struct wf_call_line *line)
{
    static const char *const facts[][2] = {
        {"at", "at"}, {"from", "from"}, {"os", "os"}, {"os-version", "os_version"}};

    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        const char *text = wf_line_text(line, facts[i][0]);

        if (text != NULL)
            json_object_set_new(args, facts[i][1], json_string(text));
    }
}

weft_err cli_act(const struct wf_call_line *line, const char *operation, json_t *args,
                 json_t **result, wf_why *why)
{
    if (wf_line_flag(line, "dry-run"))
        json_object_set_new(args, "dry_run", json_true());
    return cli_call(line, operation, args, result, why);
}

bool cli_say_dry_run(const struct wf_call_line *line, json_t *result)
{
    json_t *withdraws, *item;
    const json_t *gains, *most;
    json_int_t count;
    size_t i;

    if (!wf_line_flag(line, "dry-run"))
        return false;
    if (wf_line_flag(line, "json")) {
        cli_print(result, true);
        return true;
    }
    withdraws = json_object_get(result, "withdraws");
    count = json_integer_value(json_object_get(withdraws, "count"));
    printf("dry run: nothing is changed; it would withdraw %lld permission%s in use\n",
           (long long)count, count == 1 ? "" : "s");
    json_array_foreach(json_object_get(withdraws, "items"), i, item)
    {
        const char *who = json_string_value(json_object_get(item, "identity"));
        const char *what = json_string_value(json_object_get(item, "service"));
        const char *type = json_string_value(json_object_get(item, "type"));

        printf("  %s %s %s\n", who != NULL ? who : "?", type != NULL ? type : "?",
               what != NULL ? what : "?");
    }
    if (count > (json_int_t)i)
        printf("  and %lld more\n", (long long)count - (long long)i);
    gains = json_object_get(result, "allows");
    most = json_object_get(result, "allows_at_most");
    if (gains != NULL || most != NULL)
        printf("it would allow %s%lld more pairs of identity and service\n",
               gains != NULL ? "" : "at most ",
               (long long)json_integer_value(gains != NULL ? gains : most));
    return true;
}
