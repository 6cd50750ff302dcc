/* explain: whether an identity may, and which policy decides. docs/operations.md. */
#include "controller/view.h"
#include "proto/base/clock.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define REASON_MAX 512

struct explaining {
    const struct store_node *identity;
    struct policy_decision decision;
    enum policy_type type;
    struct policy_facts facts;
};

static void say_condition(const struct explaining *e, const char *word, char out[REASON_MAX])
{
    const struct policy_rule *rule = e->decision.rule;
    struct policy_facts nothing = {.knows_now = true, .knows_source = true, .knows_posture = true};
    char condition[REASON_MAX / 2] = "", time[24], source[PKI_PREFIX_TEXT];

    switch (e->decision.verdict) {
    case POLICY_NOT_NOW:
        nothing.knows_now = false;
        conditions_say_open(rule->conditions, &nothing, condition, sizeof condition);
        snprintf(out, REASON_MAX, "%s policy '%s' holds %s only, not at %s", word, rule->name,
                 condition, wf_time_text(e->facts.now, time));
        return;
    case POLICY_NOT_FROM_THERE:
        nothing.knows_source = false;
        conditions_say_open(rule->conditions, &nothing, condition, sizeof condition);
        snprintf(out, REASON_MAX, "%s policy '%s' holds %s only, not from %s", word, rule->name,
                 condition, pki_prefix_text(&e->facts.source, source));
        return;
    default: {
        const struct condition_row *row = e->decision.row;
        const char *fact = (const char *)&e->facts.posture + row->fact;
        const char *wanted = "";

        for (unsigned i = 0; i < CONDITION_ATTESTED_COUNT; i++)
            if (condition_row((enum condition_attested)i) == row)
                wanted = rule->conditions->attested[i];
        snprintf(out, REASON_MAX, "%s policy '%s' wants %s %s; the %s is %s", word, rule->name,
                 row->key, wanted, row->noun, fact[0] != '\0' ? fact : "not told");
        return;
    }
    }
}

static void say_why(const struct explaining *e, char out[REASON_MAX])
{
    const char *word = policy_type_text(e->type);
    const char *rule = e->decision.rule != NULL ? e->decision.rule->name : "";
    char open[REASON_MAX / 2] = "";

    switch (e->decision.verdict) {
    case POLICY_ALLOWED:
        if (e->decision.rule->conditions != NULL)
            conditions_say_open(e->decision.rule->conditions, &e->facts, open, sizeof open);
        snprintf(out, REASON_MAX, "%s%s%s policy '%s' allows it%s", open,
                 open[0] != '\0' ? ": " : "", word, rule,
                 e->identity->enrolled ? "" : "; the identity has not enrolled yet");
        return;
    case POLICY_DISABLED:
        snprintf(out, REASON_MAX, "the identity is disabled; weft identity enable %s",
                 e->identity->name);
        return;
    case POLICY_NO_RULES:
        snprintf(out, REASON_MAX, "no %s policy matches: there is none; see: weft allow --help",
                 word);
        return;
    case POLICY_NO_MATCH:
        snprintf(out, REASON_MAX, "no %s policy matches: none names the identity or the service",
                 word);
        return;
    case POLICY_NOT_THIS_IDENTITY:
        snprintf(out, REASON_MAX,
                 "no %s policy matches: '%s' names the service, but not this identity", word, rule);
        return;
    case POLICY_NOT_THIS_SERVICE:
        snprintf(out, REASON_MAX,
                 "no %s policy matches: '%s' names the identity, but not this service", word, rule);
        return;
    case POLICY_NOT_NOW:
    case POLICY_NOT_FROM_THERE:
    case POLICY_NOT_ATTESTED:
        say_condition(e, word, out);
        return;
    }
}

/* ---- facts, as far as they are given */

static weft_err take_fact(struct args *args, const char *key, char out[CONDITION_FACT_TEXT],
                          bool *given)
{
    weft_err err = args_text(args, key, false, out, CONDITION_FACT_TEXT);

    if (err == WEFT_OK && out[0] != '\0' && !condition_fact_is_good(out))
        err = wf_fail(args->why, WEFT_EINVAL, "%s '%s' is no plain word", key, out);
    *given = *given || out[0] != '\0';
    return err;
}

static weft_err take_facts(struct args *args, struct policy_facts *facts)
{
    char text[64];
    weft_err err = args_text(args, "at", false, text, sizeof text);

    if (err == WEFT_OK && text[0] != '\0') {
        facts->knows_now = true;
        if (!wf_time_parse(text, &facts->now))
            err = wf_fail(args->why, WEFT_EINVAL,
                          "'%s' is no time; write such as 2026-11-20T16:30:00Z", text);
    }
    if (err == WEFT_OK)
        err = args_text(args, "from", false, text, sizeof text);
    if (err == WEFT_OK && text[0] != '\0') {
        facts->knows_source = true;
        if (!condition_address_parse(text, &facts->source))
            err =
                wf_fail(args->why, WEFT_EINVAL, "'%s' is no address; write such as 10.1.2.3", text);
    }
    if (err == WEFT_OK)
        err = take_fact(args, "os", facts->posture.os, &facts->knows_posture);
    if (err == WEFT_OK)
        err = take_fact(args, "os_version", facts->posture.os_version, &facts->knows_posture);
    if (err == WEFT_OK)
        err = take_fact(args, "arch", facts->posture.arch, &facts->knows_posture);
    return err;
}

weft_err op_explain(struct call *call, struct args *args)
{
    struct controller *c = call->c;
    const struct catalog_service *service;
    char identity[WF_NAME_MAX + 1], service_name[WF_NAME_MAX + 1], type[16],
        reason[REASON_MAX] = "";
    struct explaining e = {.type = POLICY_DIAL};
    struct policy_thing thing;
    struct store_node node;
    weft_err err = args_name(args, "identity", true, identity);

    if (err == WEFT_OK)
        err = args_name(args, "service", true, service_name);
    if (err == WEFT_OK)
        err = args_text(args, "type", false, type, sizeof type);
    if (err == WEFT_OK && type[0] != '\0' && !policy_type_parse(type, &e.type))
        err = wf_fail(&call->why, WEFT_EINVAL, "type '%s' is neither dial nor bind", type);
    if (err == WEFT_OK)
        err = take_facts(args, &e.facts);
    if (err == WEFT_OK)
        err = args_end(args);
    if (err != WEFT_OK)
        return err;
    err = store_node_find(c->home.store, PKI_IDENTITY, identity, &node);
    if (err != WEFT_OK)
        return call_fail(call, err, "identity", identity);
    err = catalog_load(&c->catalog, c->home.store);
    if (err != WEFT_OK)
        return err;
    service = catalog_find(&c->catalog, service_name);
    if (service == NULL)
        return call_fail(call, WEFT_ENOTFOUND, "service", service_name);
    thing = catalog_thing(&node);
    e.identity = &node;
    e.decision = catalog_decide(&c->catalog, &thing, service, e.type, &e.facts);
    say_why(&e, reason);
    return view_answer(
        call, json_pack("{sb ss? ss}", "allowed", e.decision.verdict == POLICY_ALLOWED, "rule",
                        e.decision.rule != NULL ? e.decision.rule->name : NULL, "reason", reason));
}
