/* Arguments of administrators: whatever comes, a refusal or values within their bounds. */
#include "controller/args.h"
#include "tests/fuzz/check.h"
#include <string.h>

static weft_err find(void *arg, const char *name, wf_id *id)
{
    (void)arg;
    memset(id->b, name[0], sizeof id->b);
    return name[0] == 'x' ? WEFT_ENOTFOUND : WEFT_OK;
}

struct taking {
    struct conditions conditions;
    enum condition_attested which;
};

static weft_err take_hours(void *arg, const char *text, wf_why *why)
{
    struct taking *t = arg;

    return condition_hours_add(&t->conditions, text, why);
}

static weft_err take_source(void *arg, const char *text, wf_why *why)
{
    struct taking *t = arg;

    return condition_source_add(&t->conditions, text, why);
}

static weft_err take_attested(void *arg, const char *text, wf_why *why)
{
    struct taking *t = arg;

    return condition_attested_add(&t->conditions, t->which, text, why);
}

/* Whatever is taken lies within its bounds, and reads back from its texts as it was. */
static void check_conditions(struct args *args)
{
    static char hours[CONDITIONS_TEXT], sources[CONDITIONS_TEXT], attested[CONDITIONS_TEXT];
    static struct taking t;
    static struct conditions again;
    const struct conditions *c = &t.conditions;
    bool dry;

    memset(&t, 0, sizeof t);
    (void)args_flag(args, "dry_run", &dry);
    (void)args_texts(args, "windows", CONDITION_HOURS_MAX, take_hours, &t);
    (void)args_texts(args, "sources", CONDITION_SOURCES_MAX, take_source, &t);
    for (unsigned i = 0; i < CONDITION_ATTESTED_COUNT; i++) {
        t.which = (enum condition_attested)i;
        (void)args_texts(args, condition_row(t.which)->key, 16, take_attested, &t);
    }
    CHECK(c->window_count <= CONDITION_WINDOWS_MAX && c->source_count <= CONDITION_SOURCES_MAX);
    for (size_t i = 0; i < c->window_count; i++)
        CHECK(c->windows[i].from < c->windows[i].to && c->windows[i].to <= WF_WEEK_MINUTES &&
              (i == 0 || c->windows[i - 1].to < c->windows[i].from));
    conditions_hours_text(c, hours);
    conditions_sources_text(c, sources);
    conditions_attested_text(c, attested);
    CHECK(conditions_read(hours, sources, attested, &again) == WEFT_OK);
    CHECK(memcmp(&again, c, sizeof again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct policy_role roles[POLICY_ROLES_MAX];
    static struct store_roles attributes;
    char name[WF_NAME_MAX + 1], text[16];
    struct args args;
    size_t count = 0;
    uint64_t number;
    bool by_id;
    wf_id id;
    wf_why why;

    if (args_open(&args, wf_span_of(data, size), &why) != WEFT_OK)
        return 0;
    if (args_which(&args, &id, name, &by_id) == WEFT_OK && !by_id)
        CHECK(wf_name_check(name, strlen(name), "name", NULL) == WEFT_OK);
    if (args_name(&args, "new_name", false, name) == WEFT_OK)
        CHECK(strlen(name) <= WF_NAME_MAX);
    if (args_text(&args, "type", false, text, sizeof text) == WEFT_OK)
        CHECK(strlen(text) < sizeof text && wf_is_printable(text, strlen(text)));
    if (args_number(&args, "token_life_s", 5, 1, 100, &number) == WEFT_OK)
        CHECK(number >= 1 && number <= 100);
    if (args_attributes(&args, "roles", &attributes) == WEFT_OK)
        CHECK(attributes.count <= POLICY_ROLES_MAX);
    if (args_roles(&args, "identity_roles", true, find, NULL, roles, &count) == WEFT_OK) {
        CHECK(count <= POLICY_ROLES_MAX);
        for (size_t i = 0; i < count; i++)
            CHECK(roles[i].kind != POLICY_ROLE_ALL || count == 1);
    }
    number = 7;
    (void)args_number_in(&args, "limits", "sessions", 100, &number);
    CHECK(number <= 100);
    check_conditions(&args);
    (void)args_end(&args);
    args_close(&args);
    return 0;
}
