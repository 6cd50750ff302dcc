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

struct policy_decision policy_decide(const struct policy_rule *rules, size_t count,
                                     const struct policy_thing *identity,
                                     const struct policy_thing *service, enum policy_type type)
{
    struct policy_decision nearest = {.verdict = POLICY_NO_RULES};

    if (identity->disabled)
        return (struct policy_decision){.verdict = POLICY_DISABLED};
    for (size_t i = 0; i < count; i++) {
        const struct policy_rule *rule = &rules[i];
        bool who, what;

        if (rule->type != type)
            continue;
        who = policy_roles_match(&rule->identities, rule->semantic, identity);
        what = policy_roles_match(&rule->services, rule->semantic, service);
        if (who && what)
            return (struct policy_decision){POLICY_ALLOWED, rule};
        /* A rule that names the service tells an administrator most about what is missing. */
        if (what && nearest.verdict != POLICY_NOT_THIS_IDENTITY)
            nearest = (struct policy_decision){POLICY_NOT_THIS_IDENTITY, rule};
        else if (who && nearest.rule == NULL)
            nearest = (struct policy_decision){POLICY_NOT_THIS_SERVICE, rule};
        else if (nearest.verdict == POLICY_NO_RULES)
            nearest.verdict = POLICY_NO_MATCH;
    }
    assert(nearest.verdict != POLICY_ALLOWED);
    return nearest;
}

bool policy_may(const struct policy_rule *rules, size_t count, const struct policy_thing *identity,
                const struct policy_thing *service, enum policy_type type)
{
    if (identity->disabled)
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct policy_rule *rule = &rules[i];

        if (rule->type == type && policy_roles_match(&rule->identities, rule->semantic, identity) &&
            policy_roles_match(&rule->services, rule->semantic, service))
            return true;
    }
    return false;
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
