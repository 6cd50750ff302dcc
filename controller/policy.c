#include "controller/policy.h"
#include <assert.h>
#include <string.h>

static bool has_attribute(const struct policy_thing *thing, const char *attribute)
{
    for (size_t i = 0; i < thing->attribute_count; i++)
        if (strcmp(thing->attributes[i], attribute) == 0)
            return true;
    return false;
}

bool policy_roles_match(const struct policy_roles *roles, enum policy_semantic semantic,
                        const struct policy_thing *thing)
{
    size_t asked = 0, held = 0;

    for (size_t i = 0; i < roles->count; i++) {
        const struct policy_role *role = &roles->items[i];

        switch (role->kind) {
        case POLICY_ROLE_ALL:
            return true;
        case POLICY_ROLE_ID:
            if (wf_id_equal(&role->id, &thing->id))
                return true;
            break;
        case POLICY_ROLE_ATTRIBUTE:
            asked++;
            held += has_attribute(thing, role->attribute);
            break;
        }
    }
    /* Without attributes nothing is asked, and nothing asked matches nobody. */
    return semantic == POLICY_ALL_OF ? asked > 0 && held == asked : held > 0;
}

bool policy_rule_fits(const struct policy_rule *rule, const struct policy_thing *identity,
                      const struct policy_thing *service, enum policy_type type)
{
    return rule->type == type && policy_roles_match(&rule->identities, rule->semantic, identity) &&
           policy_roles_match(&rule->services, rule->semantic, service);
}

const struct policy_rule *policy_prefer(const struct policy_rule *a, const struct policy_rule *b)
{
    if (a == NULL)
        return b;
    if ((a->conditions == NULL) != (b->conditions == NULL))
        return a->conditions == NULL ? a : b;
    return strcmp(b->name, a->name) < 0 ? b : a;
}

/* What the failing condition is called in a decision. */
static struct policy_decision denied_by(const struct policy_rule *rule,
                                        enum condition_verdict verdict,
                                        const struct condition_row *row)
{
    struct policy_decision d = {.rule = rule, .row = row};

    assert(verdict != CONDITION_HOLDS);
    d.verdict = verdict == CONDITION_NOT_NOW          ? POLICY_NOT_NOW
                : verdict == CONDITION_NOT_FROM_THERE ? POLICY_NOT_FROM_THERE
                                                      : POLICY_NOT_ATTESTED;
    return d;
}

/* How near a denial was: more, nearer. */
static int nearness(enum policy_verdict verdict)
{
    switch (verdict) {
    case POLICY_NOT_NOW:
    case POLICY_NOT_FROM_THERE:
    case POLICY_NOT_ATTESTED:
        return 4;
    case POLICY_NOT_THIS_IDENTITY: /* tells an administrator most about what is missing */
        return 3;
    case POLICY_NOT_THIS_SERVICE:
        return 2;
    case POLICY_NO_MATCH:
        return 1;
    case POLICY_ALLOWED:
    case POLICY_DISABLED:
    case POLICY_NO_RULES:
        break;
    }
    return 0;
}

static struct policy_decision decide_one(const struct policy_rule *rule,
                                         const struct policy_thing *identity,
                                         const struct policy_thing *service,
                                         const struct policy_facts *facts)
{
    bool who = policy_roles_match(&rule->identities, rule->semantic, identity);
    bool what = policy_roles_match(&rule->services, rule->semantic, service);
    enum condition_verdict verdict = CONDITION_HOLDS;
    const struct condition_row *row = NULL;

    if (!who || !what)
        return (struct policy_decision){
            .verdict = what  ? POLICY_NOT_THIS_IDENTITY
                       : who ? POLICY_NOT_THIS_SERVICE
                             : POLICY_NO_MATCH,
            .rule = who || what ? rule : NULL,
        };
    if (rule->conditions != NULL)
        verdict = conditions_check(rule->conditions, facts, &row);
    if (verdict != CONDITION_HOLDS)
        return denied_by(rule, verdict, row);
    return (struct policy_decision){.verdict = POLICY_ALLOWED, .rule = rule};
}

struct policy_decision policy_decide(const struct policy_rule *const *rules, size_t count,
                                     const struct policy_thing *identity,
                                     const struct policy_thing *service, enum policy_type type,
                                     const struct policy_facts *facts)
{
    struct policy_decision nearest = {.verdict = POLICY_NO_RULES};
    const struct policy_rule *best = NULL;

    if (identity->disabled)
        return (struct policy_decision){.verdict = POLICY_DISABLED};
    for (size_t i = 0; i < count; i++) {
        struct policy_decision one;

        if (rules[i]->type != type)
            continue;
        one = decide_one(rules[i], identity, service, facts);
        if (one.verdict == POLICY_ALLOWED)
            best = policy_prefer(best, rules[i]);
        else if (nearness(one.verdict) > nearness(nearest.verdict))
            nearest = one;
    }
    return best != NULL ? (struct policy_decision){.verdict = POLICY_ALLOWED, .rule = best}
                        : nearest;
}

const char *policy_type_text(enum policy_type type)
{
    return type == POLICY_BIND ? "bind" : "dial";
}

bool policy_type_parse(const char *text, enum policy_type *out)
{
    if (strcmp(text, "dial") != 0 && strcmp(text, "bind") != 0)
        return false;
    *out = text[0] == 'b' ? POLICY_BIND : POLICY_DIAL;
    return true;
}

const char *policy_semantic_text(enum policy_semantic semantic)
{
    return semantic == POLICY_ALL_OF ? "allOf" : "anyOf";
}

bool policy_semantic_parse(const char *text, enum policy_semantic *out)
{
    if (strcmp(text, "anyOf") != 0 && strcmp(text, "allOf") != 0)
        return false;
    *out = text[1] == 'l' ? POLICY_ALL_OF : POLICY_ANY_OF;
    return true;
}
