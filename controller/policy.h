/*
 * The policy decision: who may dial or bind what, and by which rule.
 * Pure: no store, no clock, no memory of its own. docs/security.md, "Policy".
 *
 * A list of roles matches a thing if it is `#all`, or holds the thing's own
 * id (whatever the semantic), or its attributes match: any one of them
 * (anyOf), or each of them (allOf). An empty list matches nothing.
 *
 * A rule whose conditions don't hold doesn't match. Among those that match,
 * one without conditions decides, else the first by name.
 */
#ifndef CONTROLLER_POLICY_H
#define CONTROLLER_POLICY_H

#include "controller/condition.h"
#include "proto/base/id.h"
#include "proto/base/text.h"

/* Numbered as Role of the wire. */
enum policy_type { POLICY_DIAL = 1, POLICY_BIND = 2 };
enum policy_semantic { POLICY_ANY_OF = 0, POLICY_ALL_OF = 1 };

#define POLICY_ROLES_MAX 32 /* in one list, of a policy or of a thing */

struct policy_role {
    enum policy_role_kind { POLICY_ROLE_ALL, POLICY_ROLE_ATTRIBUTE, POLICY_ROLE_ID } kind;
    wf_id id;                        /* POLICY_ROLE_ID */
    char attribute[WF_NAME_MAX + 1]; /* POLICY_ROLE_ATTRIBUTE */
};

struct policy_roles {
    const struct policy_role *items; /* borrowed */
    size_t count;
};

struct policy_rule {
    wf_id id;
    const char *name; /* borrowed */
    enum policy_type type;
    enum policy_semantic semantic;
    struct policy_roles identities, services;
    const struct conditions *conditions; /* borrowed; NULL: none */
};

/* An identity or a service, as far as policy sees it. */
struct policy_thing {
    wf_id id;
    bool disabled;                             /* identities only */
    const char (*attributes)[WF_NAME_MAX + 1]; /* borrowed */
    size_t attribute_count;
};

struct policy_decision {
    enum policy_verdict {
        POLICY_ALLOWED = 1,       /* by rule */
        POLICY_DISABLED,          /* the identity is disabled */
        POLICY_NO_RULES,          /* there is no rule of this type */
        POLICY_NO_MATCH,          /* none of them matches either side */
        POLICY_NOT_THIS_IDENTITY, /* the nearest rule matches the service only */
        POLICY_NOT_THIS_SERVICE,  /* the nearest rule matches the identity only */
        POLICY_NOT_NOW,           /* the nearest matches both, but not at this hour */
        POLICY_NOT_FROM_THERE,    /* ... not from this source */
        POLICY_NOT_ATTESTED,      /* ... not with what is attested: row says what */
    } verdict;
    const struct policy_rule *rule;  /* the one that decided, or the nearest; may be NULL */
    const struct condition_row *row; /* POLICY_NOT_ATTESTED */
};

bool policy_roles_match(const struct policy_roles *roles, enum policy_semantic semantic,
                        const struct policy_thing *thing);
/* By type and roles alone: what the identity's own state and the conditions say is not asked. */
bool policy_rule_fits(const struct policy_rule *rule, const struct policy_thing *identity,
                      const struct policy_thing *service, enum policy_type type);
/* Which of two rules that match decides. a may be NULL. */
const struct policy_rule *policy_prefer(const struct policy_rule *a, const struct policy_rule *b);
/* Rules are the caller's array. Facts that are open hinder nothing. */
struct policy_decision policy_decide(const struct policy_rule *const *rules, size_t count,
                                     const struct policy_thing *identity,
                                     const struct policy_thing *service, enum policy_type type,
                                     const struct policy_facts *facts);

/* "dial", "bind"; "anyOf", "allOf". The parsers leave *out alone and say false otherwise. */
const char *policy_type_text(enum policy_type type);
bool policy_type_parse(const char *text, enum policy_type *out);
const char *policy_semantic_text(enum policy_semantic semantic);
bool policy_semantic_parse(const char *text, enum policy_semantic *out);

#endif
