/* The policy decision, against examples and against another way to say the same. */
#include "controller/policy.h"
#include "tests/helpers/test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

/* ---- conditions, said another way: days and hours, numbers of 32 bits, pairs of numbers */

struct simple_condition {
    bool has_hours, has_source, has_os, has_version;
    unsigned days, from, to; /* bits from Monday; hours of the day, from != to, to may be before */
    uint32_t network, bits;
    unsigned os; /* bits */
    unsigned major, minor;
};

struct simple_facts {
    bool knows_now, knows_source, knows_posture;
    uint64_t now;
    uint32_t source;
    unsigned os, major, minor;
};

static const char *const systems[] = {"linux", "darwin", "plan9"};

static bool simple_holds(const struct simple_condition *c, const struct simple_facts *f)
{
    if (c->has_hours && f->knows_now) {
        time_t seconds = (time_t)(f->now / 1000);
        struct tm tm;
        unsigned day, before, hour;

        gmtime_r(&seconds, &tm);
        day = (unsigned)(tm.tm_wday + 6) % 7;
        before = (day + 6) % 7;
        hour = (unsigned)tm.tm_hour;
        if (!(c->from < c->to && (c->days >> day & 1) && hour >= c->from && hour < c->to) &&
            !(c->from > c->to && (c->days >> day & 1) && hour >= c->from) &&
            !(c->from > c->to && (c->days >> before & 1) && hour < c->to))
            return false;
    }
    if (c->has_source && f->knows_source && c->bits != 0 &&
        (f->source ^ c->network) >> (32 - c->bits) != 0)
        return false;
    if (c->has_os && f->knows_posture && !(c->os >> f->os & 1))
        return false;
    if (c->has_version && f->knows_posture &&
        (f->major < c->major || (f->major == c->major && f->minor < c->minor)))
        return false;
    return true;
}

static void spell_condition(const struct simple_condition *c, struct conditions *out)
{
    static const char *const days[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
    char text[64] = "";
    size_t len = 0;

    memset(out, 0, sizeof *out);
    if (c->has_hours) {
        for (unsigned i = 0; i < 7; i++)
            if (c->days >> i & 1)
                len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", len > 0 ? "," : "",
                                        days[i]);
        snprintf(text + len, sizeof text - len, " %02u:00-%02u:00", c->from, c->to);
        assert_int_equal(condition_hours_add(out, text, NULL), WEFT_OK);
    }
    if (c->has_source) {
        snprintf(text, sizeof text, "%u.%u.%u.%u/%u", c->network >> 24, c->network >> 16 & 255,
                 c->network >> 8 & 255, c->network & 255, c->bits);
        assert_int_equal(condition_source_add(out, text, NULL), WEFT_OK);
    }
    for (unsigned i = 0; c->has_os && i < 3; i++)
        if (c->os >> i & 1)
            assert_int_equal(condition_attested_add(out, CONDITION_OS, systems[i], NULL), WEFT_OK);
    if (c->has_version) {
        snprintf(text, sizeof text, "%u.%u", c->major, c->minor);
        assert_int_equal(condition_attested_add(out, CONDITION_OS_VERSION_MIN, text, NULL),
                         WEFT_OK);
    }
}

static struct simple_condition some_condition(uint64_t *seed)
{
    struct simple_condition c = {.has_hours = next_random(seed) % 3 == 0,
                                 .has_source = next_random(seed) % 3 == 0,
                                 .has_os = next_random(seed) % 4 == 0,
                                 .has_version = next_random(seed) % 4 == 0};

    c.days = 1 + (unsigned)(next_random(seed) % 127);
    c.from = (unsigned)(next_random(seed) % 24);
    c.to = (c.from + 1 + (unsigned)(next_random(seed) % 23)) % 24;
    c.bits = (uint32_t)(next_random(seed) % 5 * 4);
    c.network = c.bits == 0 ? 0 : (uint32_t)next_random(seed) & (0xffffffffu << (32 - c.bits));
    if (next_random(seed) % 2 != 0)
        c.network &= 0x0fffffffu & (c.bits == 0 ? 0 : 0xffffffffu << (32 - c.bits));
    c.os = 1 + (unsigned)(next_random(seed) % 7);
    c.major = 3 + (unsigned)(next_random(seed) % 3);
    c.minor = (unsigned)(next_random(seed) % 12);
    return c;
}

static struct simple_facts some_facts(uint64_t *seed, struct policy_facts *out)
{
    struct simple_facts f = {.knows_now = next_random(seed) % 4 != 0,
                             .knows_source = next_random(seed) % 4 != 0,
                             .knows_posture = next_random(seed) % 4 != 0};
    char text[64];

    f.now = 1700000000000ull + next_random(seed) % (20ull * 86400000ull);
    f.source = (uint32_t)next_random(seed) & (next_random(seed) & 1 ? 0x0fffffffu : 0xffffffffu);
    f.os = (unsigned)(next_random(seed) % 3);
    f.major = 3 + (unsigned)(next_random(seed) % 3);
    f.minor = (unsigned)(next_random(seed) % 12);
    *out = (struct policy_facts){.knows_now = f.knows_now,
                                 .knows_source = f.knows_source,
                                 .knows_posture = f.knows_posture,
                                 .now = f.now};
    snprintf(text, sizeof text, "%u.%u.%u.%u", f.source >> 24, f.source >> 16 & 255,
             f.source >> 8 & 255, f.source & 255);
    assert_true(condition_address_parse(text, &out->source));
    snprintf(out->posture.os, sizeof out->posture.os, "%s", systems[f.os]);
    snprintf(out->posture.os_version, sizeof out->posture.os_version, "%u.%u.0-1", f.major,
             f.minor);
    return f;
}

#define RULES 8

struct simple_case {
    struct simple_rule roles[RULES];
    struct simple_condition conditions[RULES];
    bool is_conditional[RULES];
    struct policy_role who[RULES][KINDS + IDS], what[RULES][KINDS + IDS];
    struct conditions spelled[RULES];
    struct policy_rule rules[RULES];
    char names[RULES][4];
};

static void some_rule(struct simple_case *k, size_t i, size_t shift, uint64_t *seed)
{
    struct simple_rule *s = &k->roles[i];

    s->type = next_random(seed) & 1 ? POLICY_BIND : POLICY_DIAL;
    s->all_of = next_random(seed) & 1;
    s->who_attributes = some_bits(seed, KINDS);
    s->who_ids = some_bits(seed, IDS);
    s->what_attributes = some_bits(seed, KINDS);
    s->what_ids = some_bits(seed, IDS);
    if (next_random(seed) % 8 == 0)
        s->who_ids = 1u << ALL_BIT;
    if (next_random(seed) % 8 == 0)
        s->what_ids = 1u << ALL_BIT;
    k->conditions[i] = (struct simple_condition){.has_hours = false};
    if (next_random(seed) % 3 != 0)
        k->conditions[i] = some_condition(seed);
    spell_condition(&k->conditions[i], &k->spelled[i]);
    k->is_conditional[i] = k->conditions[i].has_hours || k->conditions[i].has_source ||
                           k->conditions[i].has_os || k->conditions[i].has_version;
    assert_int_equal(conditions_are_empty(&k->spelled[i]), !k->is_conditional[i]);
    snprintf(k->names[i], sizeof k->names[i], "r%zu", (i * 5 + shift) % RULES);
    k->rules[i] = (struct policy_rule){
        .name = k->names[i],
        .type = s->type,
        .semantic = s->all_of ? POLICY_ALL_OF : POLICY_ANY_OF,
        .identities = {k->who[i], spell(s->who_attributes, s->who_ids, k->who[i])},
        .services = {k->what[i], spell(s->what_attributes, s->what_ids, k->what[i])},
        .conditions = k->is_conditional[i] ? &k->spelled[i] : NULL,
    };
}

static void a_hundred_thousand_random_cases_agree_with_the_definition(void **state)
{
    static struct simple_case k;
    uint64_t seed = 0x5eed5eed12345678ull;
    unsigned allowed = 0, by_condition = 0, denied_by_condition = 0;

    (void)state;
    for (unsigned round = 0; round < 100000; round++) {
        size_t count = next_random(&seed) % (RULES + 1), shift = next_random(&seed) % RULES;
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
        const struct policy_rule *list[RULES];
        struct policy_decision decision;
        struct policy_facts facts;
        struct simple_facts simple_facts = some_facts(&seed, &facts);
        size_t expected = RULES; /* none */
        bool fits_but = false;

        for (unsigned i = 0; i < KINDS; i++) {
            if (has >> i & 1)
                snprintf(names[0][identity.attribute_count++], WF_NAME_MAX + 1, "%c", 'a' + i);
            if (service_has >> i & 1)
                snprintf(names[1][service.attribute_count++], WF_NAME_MAX + 1, "%c", 'a' + i);
        }
        for (size_t i = 0; i < count; i++) {
            const struct simple_rule *s = &k.roles[i];

            some_rule(&k, i, shift, &seed);
            list[i] = &k.rules[i];
            if (s->type != type || identity.disabled ||
                !simple_match(s->who_attributes, s->who_ids, s->all_of, id, has) ||
                !simple_match(s->what_attributes, s->what_ids, s->all_of, service_id, service_has))
                continue;
            if (!simple_holds(&k.conditions[i], &simple_facts)) {
                fits_but = true;
                continue;
            }
            /* Without conditions before with them, then by name. */
            if (expected == RULES || k.is_conditional[i] < k.is_conditional[expected] ||
                (k.is_conditional[i] == k.is_conditional[expected] &&
                 strcmp(k.names[i], k.names[expected]) < 0))
                expected = i;
        }
        decision = policy_decide(list, count, &identity, &service, type, &facts);
        assert_int_equal(decision.verdict == POLICY_ALLOWED, expected != RULES);
        if (expected != RULES) {
            assert_ptr_equal(decision.rule, &k.rules[expected]);
            by_condition += k.is_conditional[expected];
        } else if (fits_but) {
            /* A condition stood in the way, and that is what is said. */
            assert_true(decision.verdict >= POLICY_NOT_NOW && decision.rule != NULL);
            assert_int_equal(decision.verdict == POLICY_NOT_ATTESTED, decision.row != NULL);
            denied_by_condition++;
        }
        allowed += expected != RULES;
    }
    /* The cases are of all sorts, or the test says nothing. */
    assert_in_range(allowed, 20000, 80000);
    assert_in_range(by_condition, 2000, 60000);
    assert_in_range(denied_by_condition, 2000, 60000);
}

/* ---- how conditions are written */

static void hours_are_read_strictly(void **state)
{
    static const char *const bad[] = {
        "",
        "mon",
        "mon 08:00",
        "mon 8:00-9:00",
        "mon 08:00-08:00",
        "mon-",
        "mon, 08:00-9",
        "Mon 08:00-09:00",
        "mon  08:00-09:00",
        "mon 08:00-24:01",
        "mon 24:00-01:00",
        "mon 08:60-09:00",
        "mon 08:00-09:00 ",
        "daily08:00-09:00",
        "08:00-09:00",
        "mon 08:00-09:00;tue 08:00-09:00",
    };
    struct conditions c = {.hours_count = 0};
    wf_why why;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(condition_hours_add(&c, bad[i], &why), WEFT_EINVAL);
    assert_int_equal(c.window_count + c.hours_count, 0);
    assert_int_equal(condition_hours_add(&c, "mon-fri 08:00-18:00", &why), WEFT_OK);
    assert_int_equal(c.window_count, 5);
    assert_int_equal(c.windows[0].from, 480);
    assert_int_equal(c.windows[4].to, 4 * 1440 + 1080);
    /* Through the night, and from Sunday into Monday: what touches is one. */
    assert_int_equal(condition_hours_add(&c, "sun,mon 18:00-08:00", &why), WEFT_OK);
    assert_int_equal(c.window_count, 5);
    assert_int_equal(c.windows[0].from, 0);
    assert_int_equal(c.windows[0].to, 1440 + 1080);
    assert_int_equal(condition_hours_add(&c, "daily 00:00-00:00", &why), WEFT_EINVAL);
    assert_int_equal(condition_hours_add(&c, "daily 00:00-24:00", &why), WEFT_OK);
    assert_int_equal(c.window_count, 1);
    /* Sixteen spans and no more. */
    memset(&c, 0, sizeof c);
    assert_int_equal(condition_hours_add(&c, "daily 01:00-02:00", &why), WEFT_OK);
    assert_int_equal(condition_hours_add(&c, "daily 03:00-04:00", &why), WEFT_OK);
    assert_int_equal(condition_hours_add(&c, "daily 05:00-06:00", &why), WEFT_ELIMIT);
    assert_int_equal(condition_hours_add(&c, "mon,tue 05:00-06:00", &why), WEFT_OK);
    assert_int_equal(c.window_count, 16);
}

static void versions_compare_as_numbers(void **state)
{
    static const char *const rising[] = {
        "4.19", "5.9.16-1-amd64", "5.10", "5.10.1", "5.11.0", "6", "6.1", "10.0"};

    (void)state;
    for (size_t i = 0; i < 8; i++)
        for (size_t j = 0; j < 8; j++) {
            int order = condition_version_compare(rising[i], rising[j]);

            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
        }
    assert_int_equal(condition_version_compare("6.1.0-18-amd64", "6.1.0"), 0);
    assert_int_equal(condition_version_compare("05.010", "5.10"), 0);
    assert_int_equal(condition_version_compare("5.10", "5.10.0.0"), 0);
}

static void conditions_read_back_from_their_texts(void **state)
{
    char texts[3][CONDITIONS_TEXT], again[CONDITIONS_TEXT];
    struct conditions c = {.hours_count = 0}, read;

    (void)state;
    assert_int_equal(condition_hours_add(&c, "mon-fri 08:00-18:00", NULL), WEFT_OK);
    assert_int_equal(condition_hours_add(&c, "sat 10:00-12:00", NULL), WEFT_OK);
    assert_int_equal(condition_source_add(&c, "2001:db8::/32", NULL), WEFT_OK);
    assert_int_equal(condition_source_add(&c, "10.0.0.0/8", NULL), WEFT_OK);
    assert_int_equal(condition_source_add(&c, "10.0.0.0/8", NULL), WEFT_OK);
    assert_int_equal(c.source_count, 2);
    assert_int_equal(condition_attested_add(&c, CONDITION_OS, "linux", NULL), WEFT_OK);
    assert_int_equal(condition_attested_add(&c, CONDITION_OS, "darwin", NULL), WEFT_OK);
    assert_string_equal(c.attested[CONDITION_OS], "darwin,linux");
    assert_int_equal(condition_attested_add(&c, CONDITION_OS, "a,b", NULL), WEFT_EINVAL);
    assert_int_equal(condition_attested_add(&c, CONDITION_OS_VERSION_MIN, "5.10", NULL), WEFT_OK);
    assert_int_equal(condition_attested_add(&c, CONDITION_OS_VERSION_MIN, "6", NULL), WEFT_EINVAL);
    conditions_hours_text(&c, texts[0]);
    conditions_sources_text(&c, texts[1]);
    conditions_attested_text(&c, texts[2]);
    assert_int_equal(conditions_read(texts[0], texts[1], texts[2], &read), WEFT_OK);
    assert_memory_equal(&read, &c, sizeof c);
    conditions_attested_text(&read, again);
    assert_string_equal(again, "os=darwin,linux;os_version_min=5.10");
    assert_int_equal(conditions_read("", "", "shoe_size=44", &read), WEFT_EINVAL);
    assert_int_equal(conditions_read("nonsense", "", "", &read), WEFT_EINVAL);
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
        cmocka_unit_test(hours_are_read_strictly),
        cmocka_unit_test(versions_compare_as_numbers),
        cmocka_unit_test(conditions_read_back_from_their_texts),
        cmocka_unit_test(the_words_of_policies_read_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
