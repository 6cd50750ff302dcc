/* The policy decision, against examples and against another way to say the same. */
#include "controller/policy.h"
#include "tests/helpers/test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct policy_role attribute(const char *name)
{
    struct policy_role role = {.kind = POLICY_ROLE_ATTRIBUTE};

    snprintf(role.attribute, sizeof role.attribute, "%s", name);
    return role;
}

static struct policy_role all(void)
{
    return (struct policy_role){.kind = POLICY_ROLE_ALL};
}

static struct policy_role exactly(wf_id id)
{
    return (struct policy_role){.kind = POLICY_ROLE_ID, .id = id};
}

static wf_id id_of(uint8_t n)
{
    wf_id id = {{0}};

    id.b[0] = n;
    return id;
}

static const char ci_and_dev[][WF_NAME_MAX + 1] = {"ci", "dev"};

static struct policy_thing thing(uint8_t n, size_t attributes)
{
    return (struct policy_thing){
        .id = id_of(n), .attributes = ci_and_dev, .attribute_count = attributes};
}

static bool matches(const struct policy_role *roles, size_t count, enum policy_semantic semantic,
                    struct policy_thing t)
{
    struct policy_roles list = {roles, count};

    return policy_roles_match(&list, semantic, &t);
}

static const struct policy_facts nothing_known;

static struct policy_decision decide(const struct policy_rule *rules, size_t count,
                                     const struct policy_thing *identity,
                                     const struct policy_thing *service, enum policy_type type)
{
    const struct policy_rule *list[16];

    for (size_t i = 0; i < count; i++)
        list[i] = &rules[i];
    return policy_decide(list, count, identity, service, type, &nothing_known);
}

static void an_empty_list_matches_nothing(void **state)
{
    (void)state;
    assert_false(matches(NULL, 0, POLICY_ANY_OF, thing(1, 2)));
    assert_false(matches(NULL, 0, POLICY_ALL_OF, thing(1, 2)));
    assert_false(matches(NULL, 0, POLICY_ALL_OF, thing(1, 0)));
}

static void all_matches_everything(void **state)
{
    struct policy_role roles[] = {all()};

    (void)state;
    assert_true(matches(roles, 1, POLICY_ANY_OF, thing(1, 0)));
    assert_true(matches(roles, 1, POLICY_ALL_OF, thing(1, 0)));
}

static void a_name_matches_whatever_the_semantic(void **state)
{
    struct policy_role roles[] = {attribute("ci"), attribute("ops"), exactly(id_of(9))};

    (void)state;
    assert_true(matches(roles, 3, POLICY_ALL_OF, thing(9, 0)));
    assert_true(matches(roles, 3, POLICY_ANY_OF, thing(9, 0)));
    /* "ops" is missing, and the name is another's. */
    assert_false(matches(roles, 3, POLICY_ALL_OF, thing(8, 2)));
    assert_true(matches(roles, 3, POLICY_ANY_OF, thing(8, 2)));
}

static void all_of_names_only_matches_no_stranger(void **state)
{
    struct policy_role roles[] = {exactly(id_of(9))};

    (void)state;
    assert_false(matches(roles, 1, POLICY_ALL_OF, thing(8, 2)));
}

static void all_of_wants_each_attribute(void **state)
{
    struct policy_role roles[] = {attribute("ci"), attribute("dev")};

    (void)state;
    assert_true(matches(roles, 2, POLICY_ALL_OF, thing(1, 2)));
    assert_false(matches(roles, 2, POLICY_ALL_OF, thing(1, 1)));
    assert_true(matches(roles, 2, POLICY_ANY_OF, thing(1, 1)));
    assert_false(matches(roles, 2, POLICY_ANY_OF, thing(1, 0)));
}

static void a_denial_names_the_nearest_rule(void **state)
{
    struct policy_role ci = attribute("ci"), nine = exactly(id_of(9)), other = exactly(id_of(7));
    struct policy_rule rules[] = {
        {.name = "bind", .type = POLICY_BIND, .identities = {&ci, 1}, .services = {&nine, 1}},
        {.name = "who", .type = POLICY_DIAL, .identities = {&ci, 1}, .services = {&other, 1}},
        {.name = "what", .type = POLICY_DIAL, .identities = {&other, 1}, .services = {&nine, 1}},
    };
    struct policy_thing ci_thing = thing(1, 1), nobody = thing(2, 0), service = thing(9, 0);
    struct policy_decision d;

    (void)state;
    d = decide(rules, 3, &ci_thing, &service, POLICY_DIAL);
    assert_int_equal(d.verdict, POLICY_NOT_THIS_IDENTITY);
    assert_string_equal(d.rule->name, "what");
    d = decide(rules, 2, &ci_thing, &service, POLICY_DIAL);
    assert_int_equal(d.verdict, POLICY_NOT_THIS_SERVICE);
    assert_string_equal(d.rule->name, "who");
    d = decide(rules, 2, &nobody, &service, POLICY_DIAL);
    assert_int_equal(d.verdict, POLICY_NO_MATCH);
    d = decide(rules, 1, &ci_thing, &service, POLICY_DIAL);
    assert_int_equal(d.verdict, POLICY_NO_RULES);
    d = decide(rules, 3, &ci_thing, &service, POLICY_BIND);
    assert_int_equal(d.verdict, POLICY_ALLOWED);
    assert_string_equal(d.rule->name, "bind");
    ci_thing.disabled = true;
    d = decide(rules, 3, &ci_thing, &service, POLICY_BIND);
    assert_int_equal(d.verdict, POLICY_DISABLED);
}

/* ---- the oracle: sets as bits, the definition word by word */

#define KINDS 5 /* attributes a..e */
#define IDS 4
#define ALL_BIT 31

struct simple_rule {
    enum policy_type type;
    bool all_of;
    uint32_t who_attributes, who_ids, what_attributes, what_ids; /* bit ALL_BIT of ids: #all */
};

static bool simple_match(uint32_t attributes, uint32_t ids, bool all_of, unsigned id, uint32_t has)
{
    if (ids >> ALL_BIT & 1)
        return true;
    if (ids >> id & 1)
        return true;
    if (attributes == 0)
        return false;
    return all_of ? (attributes & ~has) == 0 : (attributes & has) != 0;
}

static size_t spell(uint32_t attributes, uint32_t ids, struct policy_role *out)
{
    size_t n = 0;
    char name[2] = "a";

    if (ids >> ALL_BIT & 1) {
        out[n++] = all();
        return n;
    }
    for (unsigned i = 0; i < KINDS; i++)
        if (attributes >> i & 1) {
            name[0] = (char)('a' + i);
            out[n++] = attribute(name);
        }
    for (unsigned i = 0; i < IDS; i++)
        if (ids >> i & 1)
            out[n++] = exactly(id_of((uint8_t)(i + 1)));
    return n;
}

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static uint32_t some_bits(uint64_t *seed, unsigned width)
{
    uint32_t bits = (uint32_t)(next_random(seed) & ((1u << width) - 1));

    /* Sparse sets decide more. */
    return bits & (uint32_t)next_random(seed);
}

static void a_hundred_thousand_random_cases_agree_with_the_definition(void **state)
{
    static struct policy_role who[8][KINDS + IDS], what[8][KINDS + IDS];
    uint64_t seed = 0x5eed5eed12345678ull;
    unsigned allowed = 0;

    (void)state;
    for (unsigned round = 0; round < 100000; round++) {
        struct simple_rule simple[8];
        struct policy_rule rules[8];
        size_t count = next_random(&seed) % 9;
        unsigned id = (unsigned)(next_random(&seed) % IDS);
        unsigned service_id = (unsigned)(next_random(&seed) % IDS);
        uint32_t has = (uint32_t)(next_random(&seed) & ((1u << KINDS) - 1));
        uint32_t service_has = (uint32_t)(next_random(&seed) & ((1u << KINDS) - 1));
        enum policy_type type = next_random(&seed) & 1 ? POLICY_BIND : POLICY_DIAL;
        char names[2][KINDS][WF_NAME_MAX + 1];
        struct policy_thing identity = {.id = id_of((uint8_t)(id + 1)),
                                        .disabled = next_random(&seed) % 16 == 0,
                                        .attributes = names[0]};
        struct policy_thing service = {.id = id_of((uint8_t)(service_id + 1)),
                                       .attributes = names[1]};
        struct policy_decision decision;
        bool expected = false;

        for (unsigned i = 0; i < KINDS; i++) {
            if (has >> i & 1)
                snprintf(names[0][identity.attribute_count++], WF_NAME_MAX + 1, "%c", 'a' + i);
            if (service_has >> i & 1)
                snprintf(names[1][service.attribute_count++], WF_NAME_MAX + 1, "%c", 'a' + i);
        }
        for (size_t i = 0; i < count; i++) {
            struct simple_rule *s = &simple[i];

            s->type = next_random(&seed) & 1 ? POLICY_BIND : POLICY_DIAL;
            s->all_of = next_random(&seed) & 1;
            s->who_attributes = some_bits(&seed, KINDS);
            s->who_ids = some_bits(&seed, IDS);
            s->what_attributes = some_bits(&seed, KINDS);
            s->what_ids = some_bits(&seed, IDS);
            if (next_random(&seed) % 8 == 0)
                s->who_ids = 1u << ALL_BIT;
            if (next_random(&seed) % 8 == 0)
                s->what_ids = 1u << ALL_BIT;
            rules[i] = (struct policy_rule){
                .name = "r",
                .type = s->type,
                .semantic = s->all_of ? POLICY_ALL_OF : POLICY_ANY_OF,
                .identities = {who[i], spell(s->who_attributes, s->who_ids, who[i])},
                .services = {what[i], spell(s->what_attributes, s->what_ids, what[i])},
            };
            expected =
                expected ||
                (s->type == type && !identity.disabled &&
                 simple_match(s->who_attributes, s->who_ids, s->all_of, id, has) &&
                 simple_match(s->what_attributes, s->what_ids, s->all_of, service_id, service_has));
        }
        decision = decide(rules, count, &identity, &service, type);
        assert_int_equal(decision.verdict == POLICY_ALLOWED, expected);
        if (expected)
            assert_true(decision.rule >= rules && decision.rule < rules + count);
        allowed += expected;
    }
    /* The cases are of both sorts, or the test says nothing. */
    assert_in_range(allowed, 20000, 80000);
}

static void the_words_of_policies_read_back(void **state)
{
    enum policy_type type = POLICY_DIAL;
    enum policy_semantic semantic = POLICY_ANY_OF;

    (void)state;
    assert_true(policy_type_parse("bind", &type) && type == POLICY_BIND);
    assert_true(policy_type_parse("dial", &type) && type == POLICY_DIAL);
    assert_false(policy_type_parse("Dial", &type));
    assert_false(policy_type_parse("", &type));
    assert_true(policy_semantic_parse("allOf", &semantic) && semantic == POLICY_ALL_OF);
    assert_true(policy_semantic_parse("anyOf", &semantic) && semantic == POLICY_ANY_OF);
    assert_false(policy_semantic_parse("anyof", &semantic));
    assert_string_equal(policy_type_text(POLICY_BIND), "bind");
    assert_string_equal(policy_semantic_text(POLICY_ALL_OF), "allOf");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_list_matches_nothing),
        cmocka_unit_test(all_matches_everything),
        cmocka_unit_test(a_name_matches_whatever_the_semantic),
        cmocka_unit_test(all_of_names_only_matches_no_stranger),
        cmocka_unit_test(all_of_wants_each_attribute),
        cmocka_unit_test(a_denial_names_the_nearest_rule),
        cmocka_unit_test(a_hundred_thousand_random_cases_agree_with_the_definition),
        cmocka_unit_test(the_words_of_policies_read_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
