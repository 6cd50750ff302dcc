/*
 * What follows each change is what a start from nothing would find: the
 * catalog in memory, its indexes, the issued grants and the floors, after
 * random acts on the real operation table, some of them refused or tried dry.
 */
#include "controller/catalog_index.h"
#include "desk.h"
#include "proto/base/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEOPLE 6
#define SERVICES 5
#define POLICIES 6
#define GRANTS_MAX 4096

static struct desk d;
static uint64_t seed = 0x0dd5eed5a11ca7e5ull;

static struct person_of_test {
    struct node node;
    char name[16];
    bool there;
} people[PEOPLE];

/* A grant that somebody holds, as it was signed. */
struct held {
    wf_id identity, service;
    enum policy_type role;
    struct pki_terms terms; /* hours and sources alone */
    uint64_t epoch;
    bool dead;
};
static struct held held[GRANTS_MAX];
static size_t held_count;

static uint64_t dice(uint64_t sides)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 11) % sides;
}

/* ---- from nothing: over rows of the store, with nothing but the definition */

struct world {
    struct store_policy policies[64];
    size_t policy_count;
    struct store_service services[64];
    size_t service_count;
};
static struct world world;

static weft_err see_policy(void *arg, const struct store_policy *row)
{
    struct world *w = arg;

    assert_in_range(w->policy_count, 0, 63);
    w->policies[w->policy_count++] = *row;
    return WEFT_OK;
}

static weft_err see_service(void *arg, const struct store_service *row)
{
    struct world *w = arg;

    assert_in_range(w->service_count, 0, 63);
    w->services[w->service_count++] = *row;
    return WEFT_OK;
}

static void look_at_the_world(void)
{
    world.policy_count = world.service_count = 0;
    assert_int_equal(store_policy_each(d.c.home.store, NULL, see_policy, &world), WEFT_OK);
    assert_int_equal(store_service_each(d.c.home.store, NULL, see_service, &world), WEFT_OK);
}

static const struct store_service *service_of(const wf_id *id)
{
    for (size_t i = 0; i < world.service_count; i++)
        if (wf_id_equal(&world.services[i].id, id))
            return &world.services[i];
    return NULL;
}

static struct policy_thing thing_of(const struct store_service *s)
{
    return (struct policy_thing){
        .id = s->id, .attributes = s->roles.names, .attribute_count = s->roles.count};
}

static bool fits(const struct store_policy *p, const struct policy_thing *who,
                 const struct policy_thing *what, enum policy_type type)
{
    struct policy_roles identities = {p->identities, p->identity_count};
    struct policy_roles services = {p->services, p->service_count};

    return p->type == type && policy_roles_match(&identities, p->semantic, who) &&
           policy_roles_match(&services, p->semantic, what);
}

static bool same_terms(const struct pki_terms *a, const struct pki_terms *b)
{
    return a->window_count == b->window_count && a->source_count == b->source_count &&
           memcmp(a->windows, b->windows, a->window_count * sizeof *a->windows) == 0 &&
           memcmp(a->sources, b->sources, a->source_count * sizeof *a->sources) == 0;
}

/* Whether what was granted may go on: the terms of some policy that fits are these, or it has none.
 */
static bool still_stands(const struct held *h)
{
    const struct store_service *service = service_of(&h->service);
    struct policy_thing who, what;
    struct store_node node;

    if (store_node_get(d.c.home.store, PKI_IDENTITY, &h->identity, &node) != WEFT_OK ||
        node.disabled || service == NULL)
        return false;
    who = catalog_thing(&node);
    what = thing_of(service);
    for (size_t i = 0; i < world.policy_count; i++) {
        const struct store_policy *p = &world.policies[i];
        struct pki_terms terms;

        conditions_terms(&p->conditions, &terms);
        if (!fits(p, &who, &what, h->role))
            continue;
        /* A policy that asks for an operating system lets nobody in here: nobody tells theirs. */
        if (conditions_are_empty(&p->conditions) ||
            (p->conditions.attested[CONDITION_OS][0] == '\0' && same_terms(&terms, &h->terms)))
            return true;
    }
    return false;
}

static bool same_pair(const struct held *a, const struct held *b)
{
    return wf_id_equal(&a->identity, &b->identity) && wf_id_equal(&a->service, &b->service) &&
           a->role == b->role;
}

static void check_grants(void)
{
    for (size_t i = 0; i < held_count; i++)
        if (!held[i].dead && !still_stands(&held[i]))
            held[i].dead = true;
    for (size_t i = 0; i < held_count; i++) {
        struct store_floor pair = {.kind = STORE_FLOOR_GRANT,
                                   .identity = held[i].identity,
                                   .service = held[i].service,
                                   .role = held[i].role};
        struct store_floor who = {.kind = STORE_FLOOR_IDENTITY, .identity = held[i].identity};
        bool floored = false, shadowed = false;

        if (store_floor_get(d.c.home.store, &pair) == WEFT_OK)
            floored = held[i].epoch < pair.epoch;
        if (store_floor_get(d.c.home.store, &who) == WEFT_OK)
            floored = floored || held[i].epoch < who.epoch;
        /* The floor of a pair is one: a grant goes with an other one of its pair that fell. */
        for (size_t k = 0; k < held_count && !held[i].dead; k++)
            shadowed = shadowed || (held[k].dead && held[k].epoch >= held[i].epoch &&
                                    same_pair(&held[k], &held[i]));
        for (size_t k = 0; k < held_count && !held[i].dead && floored && !shadowed; k++)
            shadowed = held[k].dead && same_pair(&held[k], &held[i]);
        if (held[i].dead != floored && !(floored && shadowed))
            fail_msg("grant %zu of %zu is %s, and it %s", i, held_count,
                     floored ? "floored" : "not floored", held[i].dead ? "fell" : "stands");
        held[i].dead = floored;
    }
}

static weft_err stands_by_its_witness(void *arg, const struct store_issued *row)
{
    const struct store_service *service = service_of(&row->service);
    const struct store_policy *witness = NULL;
    struct policy_thing who, what;
    struct store_node node;
    uint8_t digest[CATALOG_DIGEST];

    (void)arg;
    assert_non_null(service);
    assert_int_equal(store_node_get(d.c.home.store, PKI_IDENTITY, &row->identity, &node), WEFT_OK);
    assert_false(node.disabled);
    who = catalog_thing(&node);
    what = thing_of(service);
    for (size_t i = 0; i < world.policy_count; i++)
        if (wf_id_equal(&world.policies[i].id, &row->rule))
            witness = &world.policies[i];
    assert_non_null(witness);
    conditions_digest(&witness->conditions, digest);
    assert_true(fits(witness, &who, &what, row->role));
    assert_true(conditions_are_empty(&witness->conditions) ||
                memcmp(digest, row->terms, sizeof digest) == 0);
    return WEFT_OK;
}

/* ---- the catalog against one that was loaded just now */

static weft_err decides_alike(void *arg, const struct store_node *node)
{
    struct catalog *fresh = arg;
    struct catalog *old = &d.c.catalog;
    struct policy_facts facts = {.knows_posture = true};
    struct policy_thing who = catalog_thing(node);
    const struct policy_thing *cached;
    struct catalog_mine mine;

    assert_int_equal(catalog_mine(old, &who, &facts, &mine), WEFT_OK);
    assert_int_equal(catalog_identity(old, d.c.home.store, &node->id, &cached), WEFT_OK);
    assert_int_equal(cached->disabled, node->disabled);
    assert_int_equal(cached->attribute_count, node->roles.count);
    assert_memory_equal(cached->attributes, node->roles.names,
                        node->roles.count * sizeof node->roles.names[0]);
    for (size_t i = 0; i < fresh->service_count; i++)
        for (enum policy_type type = POLICY_DIAL; type <= POLICY_BIND; type++) {
            const struct catalog_service *s = old->services[i], *t = fresh->services[i];
            const struct catalog_rule *a = catalog_allows(old, &who, s, type, &facts);
            const struct catalog_rule *b = catalog_allows(fresh, &who, t, type, &facts);
            struct policy_decision all = catalog_decide(fresh, &who, t, type, &facts);

            assert_ptr_equal(catalog_mine_allows(&mine, s, type), a);
            assert_int_equal(a == NULL, b == NULL);
            assert_int_equal(a != NULL, all.verdict == POLICY_ALLOWED);
            if (a != NULL) {
                assert_string_equal(a->rule.name, b->rule.name);
                assert_string_equal(a->rule.name, all.rule->name);
            }
            assert_int_equal(catalog_may(old, &who, s, type, NULL),
                             catalog_may(fresh, &who, t, type, NULL));
        }
    catalog_mine_free(&mine);
    return WEFT_OK;
}

static void check_catalog(void)
{
    struct catalog fresh = {.loaded = false};
    struct catalog *old = &d.c.catalog;

    if (!old->loaded) /* nothing asked for it since a change too large to follow */
        return;
    assert_int_equal(catalog_load(&fresh, d.c.home.store), WEFT_OK);
    assert_int_equal(old->service_count, fresh.service_count);
    assert_int_equal(old->rule_count, fresh.rule_count);
    assert_int_equal(wf_map_count(old->service_ids), fresh.service_count);
    assert_int_equal(wf_map_count(old->rule_ids), fresh.rule_count);
    for (size_t i = 0; i < fresh.service_count; i++) {
        const struct catalog_service *s = old->services[i], *t = fresh.services[i];

        assert_string_equal(s->name, t->name);
        assert_true(wf_id_equal(&s->thing.id, &t->thing.id));
        assert_ptr_equal(catalog_get(old, &s->thing.id), s);
        assert_ptr_equal(catalog_find(old, s->name), s);
        assert_memory_equal(&s->limits, &t->limits, sizeof s->limits);
        assert_int_equal(s->thing.attribute_count, t->thing.attribute_count);
        assert_memory_equal(s->thing.attributes, t->thing.attributes,
                            s->thing.attribute_count * sizeof s->thing.attributes[0]);
    }
    for (size_t i = 0; i < fresh.rule_count; i++) {
        const struct catalog_rule *r = old->rules[i], *t = fresh.rules[i];

        assert_string_equal(r->rule.name, t->rule.name);
        assert_ptr_equal(catalog_rule(old, &r->rule.id), r);
        assert_memory_equal(r->digest, t->digest, sizeof r->digest);
        assert_int_equal(r->rule.identities.count, t->rule.identities.count);
        assert_int_equal(r->rule.services.count, t->rule.services.count);
        assert_int_equal(r->rule.conditions != NULL, t->rule.conditions != NULL);
    }
    assert_int_equal(wf_map_count(old->by_identity.ids), wf_map_count(fresh.by_identity.ids));
    assert_int_equal(wf_map_count(old->by_service.ids), wf_map_count(fresh.by_service.ids));
    assert_int_equal(old->by_identity.all.count, fresh.by_identity.all.count);
    assert_int_equal(old->by_service.all.count, fresh.by_service.all.count);
    assert_int_equal(store_node_each(d.c.home.store, PKI_IDENTITY, NULL, decides_alike, &fresh),
                     WEFT_OK);
    catalog_forget(&fresh);
}

/* ---- random acts */

static char *some_roles(char out[64])
{
    size_t len = (size_t)snprintf(out, 64, "[");

    for (unsigned i = 0; i < 3; i++)
        if (dice(2) == 0)
            len += (size_t)snprintf(out + len, 64 - len, "%s\"#%c\"", len > 1 ? "," : "", 'a' + i);
    snprintf(out + len, 64 - len, "]");
    return out;
}

static char *some_selectors(char out[128], const char *names, unsigned count)
{
    size_t len = (size_t)snprintf(out, 128, "[");

    if (dice(6) == 0) {
        snprintf(out, 128, "[\"#all\"]");
        return out;
    }
    for (unsigned i = 0; i < 3; i++)
        if (dice(3) == 0)
            len += (size_t)snprintf(out + len, 128 - len, "%s\"#%c\"", len > 1 ? "," : "", 'a' + i);
    if (dice(2) == 0)
        len += (size_t)snprintf(out + len, 128 - len, "%s\"@%s%u\"", len > 1 ? "," : "", names,
                                (unsigned)dice(count));
    snprintf(out + len, 128 - len, "]");
    return out;
}

static char *some_conditions(char out[256])
{
    static const char *const hours[] = {"[]", "[\"mon-fri 08:00-18:00\"]",
                                        "[\"mon,tue,wed,thu,fri 08:00-18:00\"]",
                                        "[\"sat 10:00-12:00\"]"};
    static const char *const sources[] = {"[]", "[\"10.0.0.0/8\",\"192.0.2.0/24\"]",
                                          "[\"192.0.2.0/24\",\"10.0.0.0/8\"]"};

    out[0] = '\0';
    if (dice(3) == 0)
        snprintf(out, 256, ",\"windows\":%s,\"sources\":%s,\"os\":%s", hours[dice(4)],
                 sources[dice(3)], dice(4) == 0 ? "[\"linux\"]" : "[]");
    return out;
}

static void fetch(struct person_of_test *p)
{
    Weft__Wire__GrantsResult *result = NULL;

    if (desk_grants(&d, &p->node, NULL, 0, &result) != WEFT_OK)
        return; /* it is disabled */
    for (size_t i = 0; i < result->n_grants; i++) {
        Weft__Wire__GrantBody *body = NULL;
        struct held *h = &held[held_count];

        if (held_count == GRANTS_MAX)
            break;
        assert_int_equal(wf_grant_body_decode(result->grants[i]->body.data,
                                              result->grants[i]->body.len, &body, NULL),
                         WEFT_OK);
        *h = (struct held){.identity = p->node.subject.id,
                           .role = (enum policy_type)body->role,
                           .epoch = body->epoch};
        assert_true(wf_id_from_bytes(body->service_id.data, body->service_id.len, &h->service));
        if (body->terms != NULL)
            assert_true(pki_terms_from_wire(body->terms, &h->terms));
        held_count++;
        wf_grant_body_free(body);
    }
    wf_grants_result_free(result);
}

static void be_born(struct person_of_test *p, unsigned i)
{
    static unsigned births;
    char roles[64];

    snprintf(p->name, sizeof p->name, "p%u", i);
    if (p->there)
        return;
    node_fini(&p->node);
    memset(&p->node, 0, sizeof p->node);
    /* Its name may rest: then under another one for a while. */
    if (desk_ask(&d, "identity.create", "{\"name\":\"%s\",\"roles\":%s}", p->name,
                 some_roles(roles)) != WEFT_OK) {
        snprintf(p->name, sizeof p->name, "p%u-%u", i, births++);
        desk_do(&d, "identity.create", "{\"name\":\"%s\",\"roles\":%s}", p->name, roles);
    }
    assert_int_equal(desk_enroll(&d, desk_text(&d, "token"), &p->node), WEFT_OK);
    p->there = true;
}

static const char *maybe_dry(bool *dry)
{
    *dry = dice(5) == 0;
    return *dry ? ",\"dry_run\":true" : "";
}

/* One act; most succeed, some are refused, which must change nothing. */
static void act(void)
{
    struct person_of_test *p = &people[dice(PEOPLE)];
    unsigned service = (unsigned)dice(SERVICES), policy = (unsigned)dice(POLICIES);
    char who[128], what[128], roles[64], conditions[256];
    const char *type = dice(3) == 0 ? "bind" : "dial";
    bool dry;
    const char *tail = maybe_dry(&dry);

    switch (dice(16)) {
    case 0:
        be_born(p, (unsigned)(p - people));
        break;
    case 1:
        if (desk_ask(&d, "identity.delete", "{\"name\":\"%s\"%s}", p->name, tail) == WEFT_OK &&
            !dry)
            p->there = false;
        break;
    case 2:
    case 3:
        (void)desk_ask(&d, "identity.update", "{\"name\":\"%s\",\"roles\":%s%s}", p->name,
                       some_roles(roles), tail);
        break;
    case 4:
        (void)desk_ask(&d, dice(3) == 0 ? "identity.disable" : "identity.enable",
                       "{\"name\":\"%s\"%s}", p->name, tail);
        break;
    case 5:
    case 6:
        (void)desk_ask(&d, "service.create", "{\"name\":\"s%u\",\"roles\":%s%s}", service,
                       some_roles(roles), tail);
        break;
    case 7:
        (void)desk_ask(&d, "service.update",
                       "{\"name\":\"s%u\",\"roles\":%s,\"limits\":{\"sessions\":%u}%s}", service,
                       some_roles(roles), (unsigned)dice(4), tail);
        break;
    case 8:
        (void)desk_ask(&d, dice(3) == 0 ? "service.delete" : "service.update",
                       "{\"name\":\"s%u\",\"new_name\":\"s%u\"}", service,
                       (unsigned)dice(SERVICES));
        (void)desk_ask(&d, "service.delete", "{\"name\":\"s%u\"%s}", (unsigned)dice(SERVICES * 3),
                       tail);
        break;
    case 9:
    case 10:
    case 11:
        (void)desk_ask(
            &d, "policy.create",
            "{\"name\":\"r%u\",\"type\":\"%s\",\"semantic\":\"%s\",\"identity_roles\":%s,"
            "\"service_roles\":%s%s%s}",
            policy, type, dice(3) == 0 ? "allOf" : "anyOf", some_selectors(who, "p", PEOPLE),
            some_selectors(what, "s", SERVICES), some_conditions(conditions), tail);
        break;
    case 12:
        (void)desk_ask(&d, "policy.update", "{\"name\":\"r%u\",\"identity_roles\":%s%s%s}", policy,
                       some_selectors(who, "p", PEOPLE), some_conditions(conditions), tail);
        break;
    case 13:
        (void)desk_ask(&d, "policy.update", "{\"name\":\"r%u\",\"service_roles\":%s%s%s}", policy,
                       some_selectors(what, "s", SERVICES), some_conditions(conditions), tail);
        break;
    case 14:
        (void)desk_ask(&d, "policy.delete", "{\"name\":\"r%u\"%s}", policy, tail);
        break;
    case 15:
        /* Often refused halfway: the name of its host or dialer is taken. */
        (void)desk_ask(&d, dice(2) == 0 ? "share" : "allow",
                       "{\"who\":\"@p%u\",\"type\":\"%s\",\"what\":\"@s%u\"}",
                       (unsigned)dice(PEOPLE), type, service);
        if (dice(4) == 0)
            (void)desk_ask(&d, "share", "{\"name\":\"s%u\"}", service);
        break;
    }
}

static void after_each_act_all_is_as_if_evaluated_from_nothing(void **state)
{
    unsigned acts = getenv("WEFT_FULL") != NULL ? 20000 : 1200;
    size_t fallen = 0, granted = 0;

    (void)state;
    for (unsigned i = 0; i < PEOPLE; i++)
        be_born(&people[i], i);
    for (unsigned i = 0; i < acts; i++) {
        act();
        look_at_the_world();
        check_catalog();
        check_grants();
        assert_int_equal(
            store_issued_each(d.c.home.store, NULL, NULL, NULL, 0, stands_by_its_witness, NULL),
            WEFT_OK);
        if (dice(2) == 0)
            fetch(&people[dice(PEOPLE)]);
        if (held_count > GRANTS_MAX / 8 || i + 1 == acts) { /* the dead stay dead */
            size_t kept = 0;

            for (size_t k = 0; k < held_count; k++) {
                fallen += held[k].dead;
                granted++;
                if (!held[k].dead && kept < GRANTS_MAX / 16)
                    held[kept++] = held[k];
            }
            held_count = kept;
        }
    }
    /* Both fates are met, or the test says nothing. */
    assert_in_range(granted, acts / 8, 1000000);
    assert_in_range(fallen, acts / 32, granted);
    for (unsigned i = 0; i < PEOPLE; i++)
        node_fini(&people[i].node);
}

static void a_dry_run_says_what_would_be_and_leaves_all_as_it_is(void **state)
{
    Weft__Wire__GrantsResult *result = NULL;
    struct node node;
    uint64_t count = 0;
    json_t *answer;
    char *before;

    (void)state;
    desk_identity(&d, "drew", "[\"#dry\"]", &node);
    desk_do(&d, "service.create", "{\"name\":\"dry\"}");
    desk_do(&d, "policy.create",
            "{\"name\":\"dry\",\"type\":\"dial\",\"identity_roles\":[\"#dry\"],\"service_roles\":"
            "[\"@dry\"]}");
    assert_int_equal(desk_grants(&d, &node, NULL, 0, &result), WEFT_OK);
    wf_grants_result_free(result);
    desk_do(&d, "policy.show", "{\"name\":\"dry\"}");
    before = strndup((const char *)d.result.data, d.result.len);
    desk_hush(&d);
    desk_do(
        &d, "policy.update",
        "{\"name\":\"dry\",\"identity_roles\":[\"#all\"],\"service_roles\":[],\"dry_run\":true}");
    answer = desk_json(&d);
    assert_true(json_is_true(json_object_get(answer, "dry_run")));
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(answer, "withdraws"), "count")), 1);
    assert_string_equal(
        "drew",
        json_string_value(json_object_get(
            json_array_get(json_object_get(json_object_get(answer, "withdraws"), "items"), 0),
            "identity")));
    assert_int_equal(json_integer_value(json_object_get(answer, "allows")), 0);
    json_decref(answer);
    desk_do(&d, "service.delete", "{\"name\":\"dry\",\"dry_run\":true}");
    assert_non_null(strstr(wf_buf_cstr(&d.result), "\"service\":\"dry\""));
    desk_do(&d, "policy.update",
            "{\"name\":\"dry\",\"identity_roles\":[\"#all\"],\"dry_run\":true}");
    answer = desk_json(&d);
    assert_int_equal(store_node_count(d.c.home.store, PKI_IDENTITY, &count), WEFT_OK);
    assert_in_range(json_integer_value(json_object_get(answer, "allows")), 1, count);
    json_decref(answer);
    assert_string_equal(d.log, ""); /* no act is told, for none was done */
    desk_do(&d, "policy.show", "{\"name\":\"dry\"}");
    assert_string_equal(wf_buf_cstr(&d.result), before);
    assert_int_equal(desk_ask(&d, "policy.show", "{\"name\":\"dry\",\"dry_run\":true}"),
                     WEFT_EINVAL); /* nothing to try */
    free(before);
    node_fini(&node);
}

static void an_edit_that_means_the_same_withdraws_nothing(void **state)
{
    Weft__Wire__GrantsResult *result = NULL;
    struct node node;
    uint64_t before = 0, after = 0;

    (void)state;
    desk_identity(&d, "same", "[\"#same\"]", &node);
    desk_do(&d, "service.create", "{\"name\":\"same\"}");
    desk_do(&d, "policy.create",
            "{\"name\":\"same\",\"type\":\"dial\",\"identity_roles\":[\"#same\"],\"service_roles\":"
            "[\"@same\"],\"windows\":[\"mon-fri 08:00-18:00\"],\"sources\":[\"10.0.0.0/8\","
            "\"192.0.2.0/24\"]}");
    assert_int_equal(desk_grants(&d, &node, NULL, 0, &result), WEFT_OK);
    wf_grants_result_free(result);
    assert_int_equal(floors_version(&d.c.home, &before), WEFT_OK);
    desk_do(&d, "policy.update",
            "{\"name\":\"same\",\"windows\":[\"mon-wed 08:00-18:00\",\"thu,fri 08:00-18:00\"],"
            "\"sources\":[\"192.0.2.0/24\",\"10.0.0.0/8\"]}");
    desk_do(&d, "service.update", "{\"name\":\"same\",\"limits\":{\"sessions\":7,\"idle\":60}}");
    assert_int_equal(floors_version(&d.c.home, &after), WEFT_OK);
    assert_int_equal(before, after);
    desk_do(&d, "policy.update", "{\"name\":\"same\",\"windows\":[\"mon-fri 08:00-17:59\"]}");
    assert_int_equal(floors_version(&d.c.home, &after), WEFT_OK);
    assert_int_equal(after, before + 1);
    /* Without conditions all that was granted with some stands. */
    assert_int_equal(desk_grants(&d, &node, NULL, 0, &result), WEFT_OK);
    wf_grants_result_free(result);
    desk_do(&d, "policy.update", "{\"name\":\"same\",\"windows\":[],\"sources\":[]}");
    assert_int_equal(floors_version(&d.c.home, &after), WEFT_OK);
    assert_int_equal(after, before + 1);
    node_fini(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_each_act_all_is_as_if_evaluated_from_nothing),
        cmocka_unit_test(a_dry_run_says_what_would_be_and_leaves_all_as_it_is),
        cmocka_unit_test(an_edit_that_means_the_same_withdraws_nothing),
    };

    desk_use(&d);
    return cmocka_run_group_tests(tests, open_desk, close_desk);
}
