/* Floors: raised for exactly what was withdrawn, and learned by whoever joins late. */
#include "controller/restore.h"
#include "desk.h"
#include "pki/floors.h"
#include "proto/base/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct desk d;

static uint64_t version(void)
{
    uint64_t v = 0;

    assert_int_equal(floors_version(&d.c.home, &v), WEFT_OK);
    return v;
}

static Weft__Wire__Signed *one_grant(const struct node *n, Weft__Wire__GrantsResult **keep)
{
    assert_int_equal(desk_grants(&d, n, NULL, 0, keep), WEFT_OK);
    assert_int_equal((*keep)->n_grants, 1);
    return (*keep)->grants[0];
}

static void a_harmless_edit_cuts_nobody(void **state)
{
    Weft__Wire__GrantsResult *r;
    const Weft__Wire__Signed *grant;
    struct node n;
    uint64_t before;

    (void)state;
    desk_do(&d, "service.create", "{\"name\":\"calm\",\"roles\":[\"#c\"]}");
    desk_identity(&d, "calm-one", "[\"#k\"]", &n);
    desk_do(&d, "allow", "{\"who\":\"#k\",\"type\":\"dial\",\"what\":\"@calm\"}");
    grant = one_grant(&n, &r);
    before = version();
    desk_do(&d, "policy.create",
            "{\"name\":\"more\",\"type\":\"dial\",\"identity_roles\":[\"#k\"],"
            "\"service_roles\":[\"#c\"]}");
    desk_do(&d, "policy.delete", "{\"name\":\"role.k-dial-calm\"}"); /* `more` still allows it */
    desk_do(&d, "identity.update", "{\"name\":\"calm-one\",\"roles\":[\"#k\",\"#extra\"]}");
    desk_do(&d, "service.update", "{\"name\":\"calm\",\"roles\":[\"#c\",\"#d\"]}");
    desk_do(&d, "service.update", "{\"name\":\"calm\",\"mode\":\"both\"}");
    desk_do(&d, "policy.update", "{\"name\":\"more\",\"semantic\":\"allOf\"}");
    assert_int_equal(version(), before);
    assert_int_equal(desk_check(&d, &n, grant, POLICY_DIAL), WEFT_OK);
    wf_grants_result_free(r);
    node_fini(&n);
}

/* Each way to withdraw kills the grant; granting again gives a living one. */
static void every_way_to_withdraw_kills_the_grant(void **state)
{
    static const struct {
        const char *undo, *undo_json, *redo, *redo_json;
    } ways[] = {
        {"disallow", "{\"who\":\"#w\",\"type\":\"dial\",\"what\":\"#v\"}", "allow",
         "{\"who\":\"#w\",\"type\":\"dial\",\"what\":\"#v\"}"},
        {"policy.update", "{\"name\":\"role.w-dial-role.v\",\"type\":\"bind\"}", "policy.update",
         "{\"name\":\"role.w-dial-role.v\",\"type\":\"dial\"}"},
        {"policy.update", "{\"name\":\"role.w-dial-role.v\",\"identity_roles\":[]}",
         "policy.update", "{\"name\":\"role.w-dial-role.v\",\"identity_roles\":[\"#w\"]}"},
        {"identity.update", "{\"name\":\"w-one\",\"roles\":[]}", "identity.update",
         "{\"name\":\"w-one\",\"roles\":[\"#w\"]}"},
        {"service.update", "{\"name\":\"v-one\",\"roles\":[]}", "service.update",
         "{\"name\":\"v-one\",\"roles\":[\"#v\"]}"},
        {"identity.disable", "{\"name\":\"w-one\"}", "identity.enable", "{\"name\":\"w-one\"}"},
        {"policy.delete", "{\"name\":\"role.w-dial-role.v\"}", "allow",
         "{\"who\":\"#w\",\"type\":\"dial\",\"what\":\"#v\"}"},
    };
    Weft__Wire__GrantsResult *r;
    struct node n, bystander;
    Weft__Wire__GrantsResult *kept;
    const Weft__Wire__Signed *other;

    (void)state;
    desk_do(&d, "service.create", "{\"name\":\"v-one\",\"roles\":[\"#v\"]}");
    desk_do(&d, "service.create", "{\"name\":\"by-service\"}");
    desk_identity(&d, "w-one", "[\"#w\"]", &n);
    desk_identity(&d, "bystander", "[]", &bystander);
    desk_do(&d, "allow", "{\"who\":\"#w\",\"type\":\"dial\",\"what\":\"#v\"}");
    desk_do(&d, "allow", "{\"who\":\"@bystander\",\"type\":\"dial\",\"what\":\"@by-service\"}");
    other = one_grant(&bystander, &kept);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const Weft__Wire__Signed *grant = one_grant(&n, &r);
        uint64_t before = version();

        assert_int_equal(desk_check(&d, &n, grant, POLICY_DIAL), WEFT_OK);
        desk_do(&d, ways[i].undo, "%s", ways[i].undo_json);
        assert_int_equal(version(), before + 1);
        assert_int_equal(desk_check(&d, &n, grant, POLICY_DIAL), WEFT_EREVOKED);
        desk_do(&d, ways[i].redo, "%s", ways[i].redo_json);
        assert_int_equal(desk_check(&d, &n, grant, POLICY_DIAL), WEFT_EREVOKED);
        wf_grants_result_free(r);
        /* A new grant is above the floor, though no millisecond may have passed. */
        grant = one_grant(&n, &r);
        assert_int_equal(desk_check(&d, &n, grant, POLICY_DIAL), WEFT_OK);
        wf_grants_result_free(r);
        assert_int_equal(desk_check(&d, &bystander, other, POLICY_DIAL), WEFT_OK);
    }
    {
        const Weft__Wire__Signed *grant = one_grant(&n, &r);

        desk_do(&d, "service.delete", "{\"name\":\"v-one\"}");
        assert_int_equal(desk_check(&d, &n, grant, POLICY_DIAL), WEFT_EREVOKED);
        wf_grants_result_free(r);
    }
    wf_grants_result_free(kept);
    node_fini(&n);
    node_fini(&bystander);
}

/* A session whose host is away from the controller outlives its grant for a day. */
static void what_outlives_its_grant_is_withdrawn_too(void **state)
{
    Weft__Wire__GrantsResult *r;
    struct node n;
    uint64_t before, expiry = wf_now_wall_ms() + WF_GRANT_LIFE_MS;
    bool renewed;

    (void)state;
    desk_do(&d, "service.create", "{\"name\":\"late\"}");
    desk_identity(&d, "late-one", "[]", &n);
    desk_do(&d, "allow", "{\"who\":\"@late-one\",\"type\":\"dial\",\"what\":\"@late\"}");
    one_grant(&n, &r);
    wf_grants_result_free(r);
    before = version();
    d.now = expiry + WF_SESSION_GRACE_MS;
    assert_int_equal(controller_look_after(&d.c, d.now, &renewed), WEFT_OK);
    assert_int_equal(controller_end_turn(&d.c, NULL), WEFT_OK);
    desk_do(&d, "disallow", "{\"who\":\"@late-one\",\"type\":\"dial\",\"what\":\"@late\"}");
    d.now = 0;
    assert_int_equal(version(), before + 1);
    node_fini(&n);
}

static void a_deleted_identity_is_cut_everywhere(void **state)
{
    struct node n;
    struct pki_subject seen;

    (void)state;
    desk_identity(&d, "gone", "[]", &n);
    desk_do(&d, "identity.delete", "{\"name\":\"gone\"}");
    assert_int_equal(pki_trust_check_chain(d.c.home.trust, n.chain, PKI_IDENTITY, PKI_CLIENT, false,
                                           wf_now_wall_ms(), &seen, NULL),
                     WEFT_EREVOKED);
    assert_int_equal(desk_call(&d, WHO_IDENTITY, &n.subject, "grants", wf_span_of("", 0)),
                     WEFT_EREVOKED);
    node_fini(&n);
}

static void who_never_enrolled_leaves_no_floor(void **state)
{
    uint64_t before = version();

    (void)state;
    desk_do(&d, "identity.create", "{\"name\":\"unborn\"}");
    desk_do(&d, "identity.disable", "{\"name\":\"unborn\"}");
    desk_do(&d, "identity.enable", "{\"name\":\"unborn\"}");
    desk_do(&d, "identity.delete", "{\"name\":\"unborn\"}");
    assert_int_equal(version(), before);
}

/* ---- the chain of records */

struct reading {
    pki_floors *floors;
    uint64_t now;
};

static weft_err read_record(void *arg, uint64_t v, wf_span encoded)
{
    struct reading *r = arg;
    Weft__Wire__Signed *record = NULL;
    Weft__Wire__FloorsBody *body = NULL;
    uint8_t digest[32];
    bool changed;

    assert_int_equal(wf_signed_decode(encoded.data, encoded.len, &record, NULL), WEFT_OK);
    assert_int_equal(wf_floors_body_decode(record->body.data, record->body.len, &body, NULL),
                     WEFT_OK);
    assert_int_equal(body->version, v);
    pki_record_digest(encoded, digest);
    assert_int_equal(pki_floors_apply(r->floors, body, digest, r->now, &changed), WEFT_OK);
    assert_true(changed);
    wf_floors_body_free(body);
    wf_signed_free(record);
    return WEFT_OK;
}

/* What a node that holds `have` reads: all that is missing, each record applying. */
static void catch_up(pki_floors *floors, uint64_t have)
{
    struct reading r = {floors, wf_now_wall_ms()};
    uint64_t first;

    assert_int_equal(floors_first_missing(&d.c.home, have, &first), WEFT_OK);
    if (first != 0)
        assert_int_equal(store_record_each(d.c.home.store, first, read_record, &r), WEFT_OK);
    assert_int_equal(pki_floors_version(floors), version());
}

static void latecomers_learn_the_same_over_many_snapshots(void **state)
{
    pki_floors *early = pki_floors_new(), *late;
    struct node n[8];
    uint8_t a[32], b[32];

    (void)state;
    catch_up(early, 0);
    for (unsigned i = 0; i < 8; i++) {
        char name[16];

        snprintf(name, sizeof name, "chain-%u", i);
        desk_identity(&d, name, "[]", &n[i]);
    }
    for (unsigned i = 0; i < 700; i++) {
        desk_do(&d, i / 8 % 2 == 0 ? "identity.disable" : "identity.enable",
                "{\"name\":\"chain-%u\"}", i % 8);
        if (i % 50 == 0)
            catch_up(early, pki_floors_version(early));
    }
    catch_up(early, pki_floors_version(early));
    late = pki_floors_new();
    catch_up(late, 0);
    pki_floors_digest(early, a);
    pki_floors_digest(late, b);
    assert_memory_equal(a, b, 32);
    for (unsigned i = 0; i < 8; i++) {
        bool cut = pki_floors_is_cut(early, PKI_IDENTITY, &n[i].subject.id, NULL);

        /* 700 = 87 rounds of 8 and 4 more: 0..3 ended with `enable`, the rest with `disable`. */
        assert_int_equal(cut, i >= 4);
        assert_int_equal(pki_floors_is_cut(late, PKI_IDENTITY, &n[i].subject.id, NULL), cut);
        node_fini(&n[i]);
    }
    /* The chain didn't grow with history. */
    {
        uint64_t base;

        assert_int_equal(store_record_base(d.c.home.store, &base), WEFT_OK);
        assert_true(base > 1 && version() - base <= FLOORS_CHAIN_MAX);
    }
    pki_floors_free(early);
    pki_floors_free(late);
}

/* ---- a store from a backup */

static void copy_home(const char *to)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        execlp("cp", "cp", "-a", d.folder.home, to, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* Puts the copy in the home's place. */
static void move_home(const char *from)
{
    char old[128];

    controller_fini(&d.c);
    snprintf(old, sizeof old, "%s/old-%u", d.folder.top, (unsigned)strlen(from));
    assert_int_equal(rename(d.folder.home, old), 0);
    assert_int_equal(rename(from, d.folder.home), 0);
    assert_int_equal(controller_init(&d.c, d.folder.home, &d.why), WEFT_OK);
}

struct chain {
    Weft__Wire__Signed *sets[512]; /* owned */
    size_t count;
};

static weft_err keep_record(void *arg, uint64_t v, wf_span encoded)
{
    struct chain *chain = arg;

    (void)v;
    assert_true(chain->count < 512);
    return wf_signed_decode(encoded.data, encoded.len, &chain->sets[chain->count++], NULL);
}

static void a_store_from_a_backup_learns_what_was_withdrawn_since(void **state)
{
    static struct chain chain;
    pki_floors *router = pki_floors_new();
    char backup[128];
    struct node cut, reissued, newer = {NULL}, fine;
    struct pki_subject seen;
    uint64_t base, before, now = wf_now_wall_ms();
    size_t learned = 0;
    Weft__Wire__GrantsResult *r;
    const Weft__Wire__Signed *grant;

    (void)state;
    desk_identity(&d, "b-cut", "[]", &cut);
    desk_identity(&d, "b-reissued", "[]", &reissued);
    desk_identity(&d, "b-fine", "[]", &fine);
    desk_do(&d, "service.create", "{\"name\":\"b-service\"}");
    desk_do(&d, "allow", "{\"who\":\"@b-fine\",\"type\":\"dial\",\"what\":\"@b-service\"}");
    controller_fini(&d.c);
    snprintf(backup, sizeof backup, "%s/backup", d.folder.top);
    copy_home(backup);
    assert_int_equal(controller_init(&d.c, d.folder.home, &d.why), WEFT_OK);

    desk_do(&d, "identity.disable", "{\"name\":\"b-cut\"}");
    desk_do(&d, "identity.reissue", "{\"name\":\"b-reissued\"}");
    assert_int_equal(desk_enroll(&d, desk_text(&d, "token"), &newer), WEFT_OK);
    grant = one_grant(&fine, &r);
    desk_do(&d, "disallow", "{\"who\":\"@b-fine\",\"type\":\"dial\",\"what\":\"@b-service\"}");
    catch_up(router, 0);
    before = version();
    assert_int_equal(store_record_base(d.c.home.store, &base), WEFT_OK);
    assert_int_equal(store_record_each(d.c.home.store, base, keep_record, &chain), WEFT_OK);

    move_home(backup);
    assert_true(version() < before);
    assert_int_equal(pki_trust_check_chain(d.c.home.trust, cut.chain, PKI_IDENTITY, PKI_CLIENT,
                                           false, now, &seen, NULL),
                     WEFT_OK);
    assert_int_equal(store_begin(d.c.home.store), WEFT_OK);
    assert_int_equal(
        restore_learn(&d.c.home, &d.c.turn, chain.sets, chain.count, now, &learned, &d.why),
        WEFT_OK);
    assert_int_equal(learned, 3);
    assert_int_equal(controller_end_turn(&d.c, NULL), WEFT_OK);
    assert_true(version() > before);
    assert_int_equal(pki_trust_check_chain(d.c.home.trust, cut.chain, PKI_IDENTITY, PKI_CLIENT,
                                           false, now, &seen, NULL),
                     WEFT_EREVOKED);
    assert_int_equal(pki_trust_check_chain(d.c.home.trust, reissued.chain, PKI_IDENTITY, PKI_CLIENT,
                                           false, now, &seen, NULL),
                     WEFT_EREVOKED);
    assert_int_equal(desk_check(&d, &fine, grant, POLICY_DIAL), WEFT_EREVOKED);
    desk_do(&d, "identity.show", "{\"name\":\"b-cut\"}");
    assert_string_equal(desk_text(&d, "state"), "disabled");
    /* The router goes on from where it was, and the same again teaches nothing. */
    catch_up(router, pki_floors_version(router));
    assert_true(pki_floors_is_cut(router, PKI_IDENTITY, &cut.subject.id, NULL));
    assert_int_equal(store_begin(d.c.home.store), WEFT_OK);
    assert_int_equal(
        restore_learn(&d.c.home, &d.c.turn, chain.sets, chain.count, now, &learned, &d.why),
        WEFT_OK);
    assert_int_equal(learned, 0);
    assert_int_equal(controller_end_turn(&d.c, NULL), WEFT_OK);

    /* What another key signed teaches nothing either. */
    chain.sets[0]->signature.data[5] ^= 1;
    assert_int_equal(store_begin(d.c.home.store), WEFT_OK);
    assert_int_equal(restore_learn(&d.c.home, &d.c.turn, chain.sets, 1, now, &learned, &d.why),
                     WEFT_ECREDENTIAL);
    assert_int_equal(controller_end_turn(&d.c, NULL), WEFT_OK);
    for (size_t i = 0; i < chain.count; i++)
        wf_signed_free(chain.sets[i]);
    wf_grants_result_free(r);
    pki_floors_free(router);
    node_fini(&cut);
    node_fini(&reissued);
    node_fini(&newer);
    node_fini(&fine);
}

/* A router hands back what it was given, with a field more that means nothing. */
static void an_old_set_in_new_clothes_teaches_nothing(void **state)
{
    static const uint8_t unknown_field[] = {15u << 3 | 2, 1, 'x'};
    static struct chain chain;
    struct node n;
    struct pki_subject seen;
    Weft__Wire__Signed *dressed = NULL;
    uint64_t first = version() + 1, before, now = wf_now_wall_ms();
    size_t learned = 0;
    wf_buf bytes;

    (void)state;
    desk_identity(&d, "clothes", "[]", &n);
    desk_do(&d, "identity.disable", "{\"name\":\"clothes\"}");
    desk_do(&d, "identity.enable", "{\"name\":\"clothes\"}");
    desk_do(&d, "identity.disable", "{\"name\":\"clothes\"}");
    before = version();
    assert_int_equal(store_record_each(d.c.home.store, first, keep_record, &chain), WEFT_OK);
    assert_int_equal(chain.count, 3);

    /* The second of them said that it is enabled. */
    wf_buf_init(&bytes, WF_BUNDLE_MAX);
    assert_int_equal(wf_signed_encode(chain.sets[1], &bytes), WEFT_OK);
    assert_int_equal(wf_buf_put(&bytes, unknown_field, sizeof unknown_field), WEFT_OK);
    assert_int_equal(wf_signed_decode(bytes.data, bytes.len, &dressed, &d.why), WEFT_OK);
    assert_int_equal(store_begin(d.c.home.store), WEFT_OK);
    assert_int_equal(restore_learn(&d.c.home, &d.c.turn, &dressed, 1, now, &learned, &d.why),
                     WEFT_OK);
    assert_int_equal(controller_end_turn(&d.c, NULL), WEFT_OK);
    assert_int_equal(learned, 0);
    assert_int_equal(version(), before);
    desk_do(&d, "identity.show", "{\"name\":\"clothes\"}");
    assert_string_equal(desk_text(&d, "state"), "disabled");
    assert_int_equal(pki_trust_check_chain(d.c.home.trust, n.chain, PKI_IDENTITY, PKI_CLIENT, false,
                                           now, &seen, NULL),
                     WEFT_EREVOKED);
    wf_signed_free(dressed);
    wf_buf_fini(&bytes);
    for (size_t i = 0; i < chain.count; i++)
        wf_signed_free(chain.sets[i]);
    node_fini(&n);
}

/* ---- against the naive way: all pairs before and after */

#define PEOPLE 6
#define SERVICES 5

static bool allowed(const char *identity, const char *service, const char *type)
{
    json_t *answer;
    bool yes;

    desk_do(&d, "explain", "{\"identity\":\"%s\",\"service\":\"%s\",\"type\":\"%s\"}", identity,
            service, type);
    answer = desk_json(&d);
    yes = json_is_true(json_object_get(answer, "allowed"));
    json_decref(answer);
    return yes;
}

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void roles_text(uint64_t *seed, char *out, size_t cap)
{
    size_t n = next_random(seed) % 3, len = 0;

    len += (size_t)snprintf(out, cap, "[");
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(out + len, cap - len, "%s\"#%c\"", i > 0 ? "," : "",
                                (int)('a' + next_random(seed) % 3));
    snprintf(out + len, cap - len, "]");
}

static void random_edit(uint64_t *seed)
{
    char roles[64], other[64];

    roles_text(seed, roles, sizeof roles);
    roles_text(seed, other, sizeof other);
    switch (next_random(seed) % 3) {
    case 0:
        desk_do(&d, "identity.update", "{\"name\":\"p%u\",\"roles\":%s}",
                (unsigned)(next_random(seed) % PEOPLE), roles);
        return;
    case 1:
        desk_do(&d, "service.update", "{\"name\":\"s%u\",\"roles\":%s}",
                (unsigned)(next_random(seed) % SERVICES), roles);
        return;
    default:
        desk_do(&d, "policy.update",
                "{\"name\":\"q%u\",\"type\":\"%s\",\"semantic\":\"%s\",\"identity_roles\":%s,"
                "\"service_roles\":%s}",
                (unsigned)(next_random(seed) % 3), next_random(seed) & 1 ? "dial" : "bind",
                next_random(seed) & 1 ? "anyOf" : "allOf", roles, other);
    }
}

static void random_edits_kill_exactly_the_pairs_that_were_allowed_and_are_not(void **state)
{
    static const char *const types[] = {"dial", "bind"};
    uint64_t seed = 0x1234567890abcdefull;
    struct node n[PEOPLE];
    unsigned killed = 0, kept = 0;

    (void)state;
    for (unsigned i = 0; i < PEOPLE; i++) {
        char name[8];

        snprintf(name, sizeof name, "p%u", i);
        desk_identity(&d, name, "[\"#a\"]", &n[i]);
    }
    for (unsigned i = 0; i < SERVICES; i++)
        desk_do(&d, "service.create", "{\"name\":\"s%u\",\"roles\":[\"#b\"]}", i);
    for (unsigned i = 0; i < 3; i++)
        desk_do(&d, "policy.create",
                "{\"name\":\"q%u\",\"type\":\"dial\",\"identity_roles\":[\"#a\"],"
                "\"service_roles\":[\"#b\"]}",
                i);
    for (unsigned round = 0; round < 60; round++) {
        static const char *all[SERVICES + 1] = {"s0", "s1", "s2", "s3", "s4", NULL};
        Weft__Wire__GrantsResult *r[PEOPLE];

        for (unsigned i = 0; i < PEOPLE; i++)
            assert_int_equal(desk_grants(&d, &n[i], all, 0, &r[i]), WEFT_OK);
        random_edit(&seed);
        for (unsigned i = 0; i < PEOPLE; i++) {
            for (size_t g = 0; g < r[i]->n_grants; g++) {
                Weft__Wire__GrantBody *body = NULL;
                weft_err err;
                bool still;

                assert_int_equal(wf_grant_body_decode(r[i]->grants[g]->body.data,
                                                      r[i]->grants[g]->body.len, &body, NULL),
                                 WEFT_OK);
                still = allowed(n[i].subject.name, body->service_name,
                                types[body->role == WEFT__WIRE__ROLE__ROLE_BIND]);
                err = desk_check(&d, &n[i], r[i]->grants[g], (enum policy_type)body->role);
                assert_int_equal(err, still ? WEFT_OK : WEFT_EREVOKED);
                killed += !still;
                kept += still;
                wf_grant_body_free(body);
            }
            wf_grants_result_free(r[i]);
        }
    }
    assert_true(killed > 20 && kept > 20);
    for (unsigned i = 0; i < PEOPLE; i++)
        node_fini(&n[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_harmless_edit_cuts_nobody),
        cmocka_unit_test(every_way_to_withdraw_kills_the_grant),
        cmocka_unit_test(what_outlives_its_grant_is_withdrawn_too),
        cmocka_unit_test(a_deleted_identity_is_cut_everywhere),
        cmocka_unit_test(who_never_enrolled_leaves_no_floor),
        cmocka_unit_test(latecomers_learn_the_same_over_many_snapshots),
        cmocka_unit_test(a_store_from_a_backup_learns_what_was_withdrawn_since),
        cmocka_unit_test(an_old_set_in_new_clothes_teaches_nothing),
        cmocka_unit_test(random_edits_kill_exactly_the_pairs_that_were_allowed_and_are_not),
    };

    desk_use(&d);
    return cmocka_run_group_tests(tests, open_desk, close_desk);
}
