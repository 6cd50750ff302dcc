/*
 * The administration: each command is an operation of the same name
 * ("identity create" is identity.create), whose arguments are made from what
 * was typed. What differs from row to row is which arguments it takes.
 */
#include "proto/base/text.h"
#include "sdk/cli/cli.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define NOTE_PAGES_MAX 8u /* a note is not worth more of them */
#define TOKEN_LIFE_MAX_MS (30ull * 86400000ull)
#define LIFE_MIN_MS 300000ull
#define LIFE_MAX_MS (366ull * 86400000ull)

const struct wf_option cli_no_options[] = {{NULL, WF_OPTION_FLAG, NULL, NULL}};

/* A role or name as stored: role:ci -> #ci, all -> #all, #x and @x as they are, x -> @x. */
static void selector(const char *typed, char out[WF_NAME_MAX + 8])
{
    if (strncmp(typed, "role:", 5) == 0)
        snprintf(out, WF_NAME_MAX + 8, "#%s", typed + 5);
    else if (strcmp(typed, "all") == 0)
        snprintf(out, WF_NAME_MAX + 8, "#all");
    else if (typed[0] == '#' || typed[0] == '@')
        snprintf(out, WF_NAME_MAX + 8, "%s", typed);
    else
        snprintf(out, WF_NAME_MAX + 8, "@%s", typed);
}

json_t *cli_list_of(const char *text, bool selectors)
{
    json_t *list = json_array();
    while (list != NULL && *text != 0) {
        char part[WF_NAME_MAX + 8], made[WF_NAME_MAX + 8];
        size_t len = strcspn(text, ",");
        snprintf(part, sizeof part, "%.*s", (int)(len < sizeof part ? len : sizeof part - 1), text);
        if (selectors)
            selector(part, made);
        else /* a role: with or without the mark that the language puts before it */
            snprintf(made, sizeof made, "%s",
                     strncmp(part, "role:", 5) == 0 ? part + 5 : part + (part[0] == '#'));
        if (len != 0)
            json_array_append_new(list, json_string(made));
        text += len + (text[len] == ',');
    }
    return list;
}

void cli_put_text(json_t *args, const struct wf_call_line *line, const char *option,
                  const char *key)
{
    const char *text = wf_line_text(line, option);
    if (text != NULL)
        json_object_set_new(args, key, json_string(text));
}

static void put_list(json_t *args, const struct wf_call_line *line, const char *option,
                     const char *key, bool selectors)
{
    const char *text = wf_line_text(line, option);
    if (text != NULL)
        json_object_set_new(args, key, cli_list_of(text, selectors));
}

static weft_err put_token_life(json_t *args, const struct wf_call_line *line, wf_why *why)
{
    unsigned long long ms;
    if (wf_line_text(line, "token-life") == NULL)
        return WEFT_OK;
    weft_err err = wf_line_duration(line, "token-life", 0, &ms, why);
    if (err == WEFT_OK && (ms < 1000 || ms > TOKEN_LIFE_MAX_MS))
        err = wf_fail(why, WEFT_EUSAGE, "--token-life: at %s", ms < 1000 ? "least 1s" : "most 30d");
    if (err == WEFT_OK)
        json_object_set_new(args, "token_life_s", json_integer((json_int_t)(ms / 1000)));
    return err;
}

static weft_err put_life(json_t *args, const struct wf_call_line *line, wf_why *why)
{
    unsigned long long ms;
    if (wf_line_text(line, "life") == NULL)
        return WEFT_OK;
    weft_err err = wf_line_duration(line, "life", 0, &ms, why);
    if (err == WEFT_OK && (ms < LIFE_MIN_MS || ms > LIFE_MAX_MS))
        err =
            wf_fail(why, WEFT_EUSAGE, "--life: at %s", ms < LIFE_MIN_MS ? "least 5m" : "most 366d");
    if (err == WEFT_OK)
        json_object_set_new(args, "life_s", json_integer((json_int_t)(ms / 1000)));
    return err;
}

/* "identity create" -> "identity.create". */
static void operation_of(const struct wf_call_line *line, char out[64])
{
    snprintf(out, 64, "%s", wf_line_command(line));
    char *space = strchr(out, ' ');
    if (space != NULL)
        *space = '.';
}

/* Calls, then prints the answer; takes args. */
static weft_err call_and_print(const struct wf_call_line *line, json_t *args, wf_why *why)
{
    char operation[64];
    json_t *result = NULL;
    bool is_look = strstr(wf_line_command(line), " show") != NULL;
    operation_of(line, operation);
    weft_err err = args == NULL ? WEFT_ENOMEM
                   : is_look    ? cli_call(line, operation, args, &result, why)
                                : cli_act(line, operation, args, &result, why);
    if (err == WEFT_OK && (is_look || !cli_say_dry_run(line, result)))
        cli_print(result, wf_line_flag(line, "json"));
    json_decref(result);
    json_decref(args);
    return err;
}

/* The same for what takes something away: its last state, shown as if it stood, would mislead. */
static weft_err call_and_say_gone(const struct wf_call_line *line, json_t *args, const char *what,
                                  wf_why *why)
{
    char operation[64];
    json_t *result = NULL;
    operation_of(line, operation);
    weft_err err = args != NULL ? cli_act(line, operation, args, &result, why) : WEFT_ENOMEM;
    if (err == WEFT_OK && cli_say_dry_run(line, result))
        ;
    else if (err == WEFT_OK && wf_line_flag(line, "json"))
        cli_print(result, true);
    else if (err == WEFT_OK)
        fprintf(stderr, "gone: %s\n", what);
    json_decref(result);
    json_decref(args);
    return err;
}

static weft_err call_for_token(const struct wf_call_line *line, json_t *args, wf_why *why)
{
    char operation[64];
    json_t *result = NULL;
    const char *file = wf_line_text(line, "token-out");
    operation_of(line, operation);
    weft_err err = cli_check_token_file(file, why);
    if (err == WEFT_OK)
        err = put_token_life(args, line, why);
    if (err == WEFT_OK)
        err = cli_act(line, operation, args, &result, why);
    bool as_json = wf_line_flag(line, "json");
    if (err == WEFT_OK && cli_say_dry_run(line, result))
        goto done; /* a token of what isn't there would be of no use */
    if (err == WEFT_OK && (file != NULL || !as_json))
        err = cli_give_token(result, "token", file, why);
    if (err == WEFT_OK && as_json) {
        if (file != NULL)
            json_object_del(result, "token"); /* it is where it was asked for, and nowhere else */
        cli_print(result, true);
    }
done:
    json_decref(result);
    json_decref(args);
    return err;
}

/* ---- the shapes of commands */

/*
 * A listing comes in pages (docs/operations.md): all of them, as one; *out is
 * the caller's. WEFT_ELIMIT: there are more pages.
 */
static weft_err fetch_list(const struct wf_call_line *line, const char *operation, unsigned pages,
                           json_t **out, wf_why *why)
{
    json_t *all = json_object(), *items = json_array(), *args = json_object();
    weft_err err = json_object_set(all, "items", items) == 0 ? WEFT_OK : WEFT_ENOMEM;
    for (bool more = true; more && err == WEFT_OK;) {
        json_t *page = NULL;
        if (pages-- == 0) {
            err = WEFT_ELIMIT;
            break;
        }
        err = cli_call(line, operation, args, &page, why);
        json_t *next = json_object_get(page, "next");
        more = json_is_string(next);
        if (err == WEFT_OK && (json_array_extend(items, json_object_get(page, "items")) != 0 ||
                               (more && json_object_set(args, "after", next) != 0)))
            err = wf_fail(why, WEFT_EPROTO, "the controller's listing can't be read");
        json_decref(page);
    }
    json_decref(args);
    json_decref(items);
    if (err == WEFT_OK)
        *out = all;
    else
        json_decref(all);
    return err;
}

weft_err cli_run_list(const struct wf_call_line *line, wf_why *why)
{
    char operation[64];
    json_t *all = NULL;
    operation_of(line, operation);
    weft_err err = fetch_list(line, operation, UINT_MAX, &all, why);
    if (err == WEFT_OK)
        cli_print(all, wf_line_flag(line, "json"));
    json_decref(all);
    return err;
}

weft_err cli_run_gone(const struct wf_call_line *line, wf_why *why)
{
    const char *name = wf_line_arg(line, 0), *command = wf_line_command(line);
    const char *key = strcmp(command, "admin remove") == 0  ? "identity"
                      : strcmp(command, "session cut") == 0 ? "id"
                                                            : "name";
    return call_and_say_gone(line, json_pack("{s:s}", key, name), name, why);
}

static weft_err run_plain(const struct wf_call_line *line, wf_why *why)
{
    return call_and_print(line, json_object(), why);
}

weft_err cli_run_named(const struct wf_call_line *line, wf_why *why)
{
    return call_and_print(line, json_pack("{s:s}", "name", wf_line_arg(line, 0)), why);
}

static weft_err run_identity_create(const struct wf_call_line *line, wf_why *why)
{
    json_t *args = json_pack("{s:s}", "name", wf_line_arg(line, 0));
    put_list(args, line, "roles", "roles", false);
    cli_put_text(args, line, "enroll", "enroll");
    cli_put_text(args, line, "ca", "ca");
    weft_err err = put_life(args, line, why);
    if (err != WEFT_OK) {
        json_decref(args);
        return err;
    }
    return call_for_token(line, args, why);
}

static weft_err run_token(const struct wf_call_line *line, wf_why *why)
{
    return call_for_token(line, json_pack("{s:s}", "name", wf_line_arg(line, 0)), why);
}

static weft_err run_router_create(const struct wf_call_line *line, wf_why *why)
{
    json_t *args = json_pack("{s:s}", "name", wf_line_arg(line, 0));
    weft_err err = put_life(args, line, why);
    if (err != WEFT_OK) {
        json_decref(args);
        return err;
    }
    return call_for_token(line, args, why);
}

static weft_err run_thing(const struct wf_call_line *line, wf_why *why)
{
    json_t *args = json_pack("{s:s}", "name", wf_line_arg(line, 0));
    put_list(args, line, "roles", "roles", false);
    cli_put_text(args, line, "mode", "mode");
    cli_put_text(args, line, "rename", "new_name");
    weft_err err = strncmp(wf_line_command(line), "service", 7) == 0
                       ? cli_put_limits(args, line, why)
                       : put_life(args, line, why);
    if (err != WEFT_OK) {
        json_decref(args);
        return err;
    }
    if (strstr(wf_line_command(line), " update") != NULL && json_object_size(args) < 2) {
        json_decref(args);
        return wf_fail(why, WEFT_EUSAGE, "nothing to change: give --roles%s or --rename",
                       strncmp(wf_line_command(line), "service", 7) == 0 ? ", --mode, a limit"
                                                                         : ", --life");
    }
    return call_and_print(line, args, why);
}

static bool has_role(const json_t *roles, const char *wanted)
{
    size_t i;
    const json_t *role;
    json_array_foreach(roles, i, role)
    {
        const char *text = json_is_string(role) ? json_string_value(role) : "";
        if (strcmp(text + (text[0] == '#'), wanted) == 0)
            return true;
    }
    return false;
}

/* Whether a policy's selectors fit these roles; a name among them was looked up when it was made.
 */
static bool selectors_fit(const json_t *selectors, const json_t *roles, bool all_of)
{
    size_t i, found = 0;
    const json_t *one;
    json_array_foreach(selectors, i, one)
    {
        const char *text = json_is_string(one) ? json_string_value(one) : "@";
        if (text[0] != '#' || strcmp(text, "#all") == 0)
            return true;
        found += has_role(roles, text + 1);
    }
    return found != 0 && (!all_of || found == json_array_size(selectors));
}

/* A note when nothing there is fits the policy: often a typing error, though roles may come later.
 */
static void note_if_idle(const struct wf_call_line *line, const json_t *policy, const char *key,
                         const char *operation, const char *noun)
{
    const char *semantic = json_string_value(json_object_get(policy, "semantic"));
    bool all_of = semantic != NULL && strcmp(semantic, "allOf") == 0, fits = false;
    json_t *list = NULL, *item;
    size_t i;
    if (fetch_list(line, operation, NOTE_PAGES_MAX, &list, NULL) != WEFT_OK)
        return;
    json_array_foreach(json_object_get(list, "items"), i, item) fits =
        fits || selectors_fit(json_object_get(policy, key), json_object_get(item, "roles"), all_of);
    if (!fits)
        fprintf(stderr, "note: it matches no %s as things stand\n", noun);
    json_decref(list);
}

static weft_err run_policy(const struct wf_call_line *line, wf_why *why)
{
    bool creates = strcmp(wf_line_command(line), "policy create") == 0;
    json_t *args = json_pack("{s:s}", "name", wf_line_arg(line, 0)), *result = NULL;
    weft_err err = args != NULL ? WEFT_OK : WEFT_ENOMEM;
    cli_put_text(args, line, "type", "type");
    cli_put_text(args, line, "semantic", "semantic");
    put_list(args, line, "identity-roles", "identity_roles", true);
    put_list(args, line, "service-roles", "service_roles", true);
    cli_put_conditions(args, line);
    if (creates && wf_line_text(line, "type") == NULL)
        err = wf_fail(why, WEFT_EUSAGE, "--type dial or bind is needed");
    else if (!creates && json_object_size(args) < 2)
        err = wf_fail(why, WEFT_EUSAGE,
                      "nothing to change: give --type, --identity-roles, --service-roles, "
                      "--semantic or a condition");
    if (err == WEFT_OK)
        err = cli_act(line, creates ? "policy.create" : "policy.update", args, &result, why);
    if (err == WEFT_OK && !cli_say_dry_run(line, result)) {
        cli_print(result, wf_line_flag(line, "json"));
        note_if_idle(line, result, "identity_roles", "identity.list", "identity");
        note_if_idle(line, result, "service_roles", "service.list", "service");
    }
    json_decref(result);
    json_decref(args);
    return err;
}

static weft_err run_allow(const struct wf_call_line *line, wf_why *why)
{
    char who[WF_NAME_MAX + 8], what[WF_NAME_MAX + 8];
    const char *type = wf_line_arg(line, 1);
    if (strcmp(type, "dial") != 0 && strcmp(type, "bind") != 0)
        return wf_fail(why, WEFT_EUSAGE, "say WHO dial WHAT or WHO bind WHAT, not \"%s\"", type);
    selector(wf_line_arg(line, 0), who);
    selector(wf_line_arg(line, 2), what);
    json_t *args = json_pack("{s:s, s:s, s:s}", "who", who, "type", type, "what", what);
    if (strcmp(wf_line_command(line), "allow") == 0)
        return call_and_print(line, args, why);
    char gone[3 * WF_NAME_MAX];
    snprintf(gone, sizeof gone, "%s %s %s", wf_line_arg(line, 0), type, wf_line_arg(line, 2));
    return call_and_say_gone(line, args, gone, why);
}

static weft_err run_explain(const struct wf_call_line *line, wf_why *why)
{
    json_t *result = NULL;
    json_t *args =
        json_pack("{s:s, s:s, s:s}", "identity", wf_line_arg(line, 0), "service",
                  wf_line_arg(line, 1), "type", wf_line_flag(line, "bind") ? "bind" : "dial");
    cli_put_facts(args, line);
    weft_err err = cli_call(line, "explain", args, &result, why);
    json_decref(args);
    if (err != WEFT_OK)
        return err;
    bool allowed = json_is_true(json_object_get(result, "allowed"));
    const char *reason = json_string_value(json_object_get(result, "reason"));
    if (wf_line_flag(line, "json"))
        cli_print(result, true);
    else if (allowed)
        printf("yes: %s\n", reason != NULL ? reason : "");
    if (!allowed)
        err = wf_fail(why, WEFT_EREFUSED, "no: %s", reason != NULL ? reason : "");
    json_decref(result);
    return err;
}

static weft_err run_admin(const struct wf_call_line *line, wf_why *why)
{
    json_t *args = json_pack("{s:s}", "identity", wf_line_arg(line, 0));
    const char *rights = wf_line_text(line, "rights");
    if (rights != NULL)
        json_object_set_new(args, "rights", cli_list_of(rights, false));
    return call_and_print(line, args, why);
}

static weft_err run_share(const struct wf_call_line *line, wf_why *why)
{
    const char *name = wf_line_arg(line, 0);
    const char *host = wf_line_text(line, "host-token"), *dial = wf_line_text(line, "dial-token");
    char host_file[WF_NAME_MAX + 16], dial_file[WF_NAME_MAX + 16];
    json_t *result = NULL;
    weft_err err = wf_name_check(name, strlen(name), "service", why);
    if (err != WEFT_OK)
        return err;
    snprintf(host_file, sizeof host_file, "%s-host.jwt", name);
    snprintf(dial_file, sizeof dial_file, "%s-dial.jwt", name);
    host = host != NULL ? host : host_file;
    dial = dial != NULL ? dial : dial_file;
    if ((err = cli_check_token_file(host, why)) != WEFT_OK ||
        (err = cli_check_token_file(dial, why)) != WEFT_OK)
        return err;
    json_t *args = json_pack("{s:s}", "name", name);
    err = cli_act(line, "share", args, &result, why);
    json_decref(args);
    if (err == WEFT_OK && cli_say_dry_run(line, result)) {
        json_decref(result);
        return WEFT_OK;
    }
    if (err == WEFT_OK)
        err = cli_give_token(result, "host_token", host, why);
    if (err == WEFT_OK)
        err = cli_give_token(result, "dial_token", dial, why);
    json_object_del(result, "host_token");
    json_object_del(result, "dial_token");
    if (err == WEFT_OK && wf_line_flag(line, "json"))
        cli_print(result, true);
    else if (err == WEFT_OK)
        fprintf(stderr,
                "next, beside the server:  weft-tunneler host %s=127.0.0.1:PORT --identity %s\n"
                "and where you send from:  weft post %s / --data @FILE --identity %s\n",
                name, host, name, dial);
    json_decref(result);
    return err;
}

/* ---- the table */

#define LIFE_ROW                                                                                   \
    {                                                                                              \
        "life", WF_OPTION_TEXT, "TIME", "how long a certificate lasts, 5m to 366d (90d)"           \
    }
#define LIMIT_ROWS                                                                                 \
    {"max-sessions", WF_OPTION_TEXT, "N", "live sessions at one host; 0: any number"},             \
        {"max-sessions-per-identity", WF_OPTION_TEXT, "N", "of one dialer at one host"},           \
        {"idle", WF_OPTION_TEXT, "TIME", "a session without data ends then, such as 10m"},         \
    {                                                                                              \
        "max-age", WF_OPTION_TEXT, "TIME", "every session ends then, such as 8h"                   \
    }

const struct wf_option cli_json_only[] = {CLI_JSON_ROW, CLI_END_ROW};
const struct wf_option cli_act_only[] = {CLI_DRY_ROW, CLI_JSON_ROW, CLI_END_ROW};
static const struct wf_option identity_create[] = {
    {"roles", WF_OPTION_TEXT, "A,B", "role attributes"},
    {"enroll", WF_OPTION_TEXT, "HOW",
     "ott, the default, or ottca: a token and a certificate of --ca"},
    {"ca", WF_OPTION_TEXT, "NAME", "with ottca: the authority of its certificate, see ca add"},
    {"token-out", WF_OPTION_TEXT, "FILE", "write the one-time token here instead of stdout"},
    {"token-life", WF_OPTION_TEXT, "TIME", "how long the token can be redeemed, such as 24h"},
    LIFE_ROW,
    CLI_DRY_ROW,
    CLI_JSON_ROW,
    CLI_END_ROW};
static const struct wf_option router_create[] = {
    {"token-out", WF_OPTION_TEXT, "FILE", "write the one-time token here instead of stdout"},
    {"token-life", WF_OPTION_TEXT, "TIME", "how long the token can be redeemed, such as 24h"},
    LIFE_ROW,
    CLI_DRY_ROW,
    CLI_JSON_ROW,
    CLI_END_ROW};
static const struct wf_option token_only[] = {
    {"token-out", WF_OPTION_TEXT, "FILE", "write the one-time token here instead of stdout"},
    {"token-life", WF_OPTION_TEXT, "TIME", "how long the token can be redeemed, such as 24h"},
    CLI_DRY_ROW,
    CLI_JSON_ROW,
    CLI_END_ROW};
static const struct wf_option identity_update[] = {
    {"roles", WF_OPTION_TEXT, "A,B", "the role attributes from now on"},
    LIFE_ROW,
    {"rename", WF_OPTION_TEXT, "NAME", "a new name"},
    CLI_DRY_ROW,
    CLI_JSON_ROW,
    CLI_END_ROW};
static const struct wf_option service_create[] = {
    {"roles", WF_OPTION_TEXT, "A,B", "role attributes"},
    {"mode", WF_OPTION_TEXT, "MODE", "stream, the default; parcel and both change nothing yet"},
    LIMIT_ROWS,
    CLI_DRY_ROW,
    CLI_JSON_ROW,
    CLI_END_ROW};
static const struct wf_option service_update[] = {
    {"roles", WF_OPTION_TEXT, "A,B", "the role attributes from now on"},
    {"mode", WF_OPTION_TEXT, "MODE", "stream; parcel and both change nothing yet"},
    {"rename", WF_OPTION_TEXT, "NAME", "a new name"},
    LIMIT_ROWS,
    CLI_DRY_ROW,
    CLI_JSON_ROW,
    CLI_END_ROW};
static const struct wf_option policy_fields[] = {
    {"type", WF_OPTION_TEXT, "TYPE", "dial or bind"},
    {"identity-roles", WF_OPTION_TEXT, "LIST", "such as 'role:ci,deploy-bot' or '#ci,@deploy-bot'"},
    {"service-roles", WF_OPTION_TEXT, "LIST", "such as 'jenkins' or 'role:prod'"},
    {"semantic", WF_OPTION_TEXT, "HOW", "anyOf (the default) or allOf, for the # roles"},
    {"hours", WF_OPTION_LIST, "HOURS", "only then, UTC: 'mon-fri 08:00-18:00'; any: at all hours"},
    {"source", WF_OPTION_LIST, "PREFIX", "only from there: 10.0.0.0/8; any: from anywhere"},
    {"os", WF_OPTION_LIST, "NAME", "only where the dialer says it runs this, such as linux"},
    {"os-version-min", WF_OPTION_LIST, "VERSION", "only where it says so much, such as 5.10"},
    CLI_DRY_ROW,
    CLI_JSON_ROW,
    CLI_END_ROW};
static const struct wf_option explain_options[] = {
    {"bind", WF_OPTION_FLAG, NULL, "may it host, instead of dial"},
    {"at", WF_OPTION_TEXT, "TIME", "at this time, such as 2026-11-20T16:30:00Z"},
    {"from", WF_OPTION_TEXT, "ADDRESS", "from this address"},
    {"os", WF_OPTION_TEXT, "NAME", "saying that it runs this"},
    {"os-version", WF_OPTION_TEXT, "VERSION", "of this version"},
    CLI_JSON_ROW,
    CLI_END_ROW};
static const struct wf_option admin_add[] = {
    {"rights", WF_OPTION_TEXT, "LIST",
     "full (the default), read, or such as 'read,services:write'"},
    CLI_DRY_ROW,
    CLI_JSON_ROW,
    CLI_END_ROW};
static const struct wf_option share_options[] = {
    {"host-token", WF_OPTION_TEXT, "FILE", "where the host's token goes (NAME-host.jwt)"},
    {"dial-token", WF_OPTION_TEXT, "FILE", "where the dialer's token goes (NAME-dial.jwt)"},
    CLI_DRY_ROW,
    CLI_JSON_ROW,
    CLI_END_ROW};

#define LIST(noun, help)                                                                           \
    {                                                                                              \
        noun " list", "", help, "weft " noun " list --json", cli_json_only, 0, 0, cli_run_list     \
    }
#define GONE(command, argument, help)                                                              \
    {                                                                                              \
        command, argument, help, NULL, cli_act_only, 1, 1, cli_run_gone                            \
    }
#define SHOW(command, help)                                                                        \
    {                                                                                              \
        command, "NAME", help, NULL, cli_json_only, 1, 1, cli_run_named                            \
    }
#define NAMED(command, help)                                                                       \
    {                                                                                              \
        command, "NAME", help, NULL, cli_act_only, 1, 1, cli_run_named                             \
    }

const struct wf_command cli_admin_commands[] = {
    {"share", "NAME", "a service, a host, a dialer, both policies and both tokens in one step",
     "weft share web", share_options, 1, 1, run_share},
    {"identity create", "NAME", "an identity and its one-time token",
     "weft identity create ci-bot --roles ci --token-out ci-bot.jwt", identity_create, 1, 1,
     run_identity_create},
    LIST("identity", "all identities"),
    SHOW("identity show", "one identity"),
    {"identity update", "NAME", "changes roles, the life of certificates, or name",
     "weft identity update ci-bot --roles ci,prod", identity_update, 1, 1, run_thing},
    NAMED("identity disable", "cuts an identity everywhere, until it is enabled"),
    NAMED("identity enable", "lets a disabled identity back in"),
    GONE("identity delete", "NAME", "cuts an identity everywhere, for good"),
    {"identity reissue", "NAME", "a new token for a lost or spoilt enrollment",
     "weft identity reissue ci-bot --token-out ci-bot.jwt", token_only, 1, 1, run_token},
    {"service create", "NAME", "a service that identities can be allowed to dial and bind",
     "weft service create jenkins", service_create, 1, 1, run_thing},
    LIST("service", "all services"),
    SHOW("service show", "one service"),
    {"service update", "NAME", "changes roles, mode or name", NULL, service_update, 1, 1,
     run_thing},
    GONE("service delete", "NAME", "deletes a service; one made later under its name is another"),
    {"allow", "WHO dial|bind WHAT", "a policy in one line", "weft allow role:ci dial jenkins",
     cli_act_only, 3, 3, run_allow},
    {"disallow", "WHO dial|bind WHAT", "undoes allow", "weft disallow role:ci dial jenkins",
     cli_act_only, 3, 3, run_allow},
    {"policy create", "NAME", "a policy in full",
     "weft policy create ci --type dial --identity-roles role:ci --service-roles jenkins",
     policy_fields, 1, 1, run_policy},
    LIST("policy", "all policies"),
    SHOW("policy show", "one policy"),
    {"policy update", "NAME", "changes a policy", NULL, policy_fields, 1, 1, run_policy},
    GONE("policy delete", "NAME", "deletes a policy"),
    {"admin add", "IDENTITY", "lets an identity administer, or changes what it may",
     "weft admin add ops-bot --rights read,services:write", admin_add, 1, 1, run_admin},
    LIST("admin", "who may administer"),
    GONE("admin remove", "IDENTITY", "takes that right back"),
    {"explain", "IDENTITY SERVICE", "may it dial, and which rule decided: exit 0 yes, 3 no",
     "weft explain ci-bot jenkins", explain_options, 2, 2, run_explain},
    {"router create", "NAME", "a router and its one-time token",
     "weft router create r1 --token-out r1.jwt", router_create, 1, 1, run_router_create},
    LIST("router", "all routers"),
    SHOW("router show", "one router"),
    NAMED("router disable", "expels a router, until it is enabled"),
    NAMED("router enable", "lets a disabled router back in"),
    GONE("router delete", "NAME", "expels a router, for good"),
    {"router reissue", "NAME", "a new token for a lost or spoilt enrollment",
     "weft router reissue r1 --token-out r1.jwt", token_only, 1, 1, run_token},
    LIST("session", "live sessions by who, what and path"),
    GONE("session cut", "ID", "ends one live session"),
    {"audit tail", "", "the newest entries of the audit log", "weft audit tail --n 50",
     cli_audit_tail_options, 0, 0, cli_audit_tail},
    {"audit export", "FILE.jsonl", "the whole audit log with its signed checkpoints, as JSON lines",
     "weft audit export audit.jsonl", cli_no_options, 1, 1, cli_audit_export},
    {"audit verify", "", "the audit log against every signed checkpoint at hand",
     "weft audit verify --file audit.jsonl --against r1-checkpoints.jsonl",
     cli_audit_verify_options, 0, 0, cli_audit_verify},
    {"audit prove", "SEQ", "that one entry is in the log that was signed for",
     "weft audit prove 17", cli_audit_prove_options, 1, 1, cli_audit_prove},
    {"rotation status", "", "who has not followed a rotation of authorities or keys",
     "weft rotation status --json", cli_json_only, 0, 0, run_plain},
    {NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};
