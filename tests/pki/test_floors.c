/* Revocation floors: rules by example, and 10,000 random histories against a naive list. */
#include "pki/floors.h"
#include "tests/helpers/test.h"
#include <stdlib.h>
#include <string.h>

#define DIAL WEFT__WIRE__ROLE__ROLE_DIAL
#define BIND WEFT__WIRE__ROLE__ROLE_BIND
#define NONE WEFT__WIRE__ROLE__ROLE_NONE

/* ---- building sets */

static wf_id id_of(unsigned n)
{
    wf_id id;
    memset(id.b, (int)n + 1, sizeof id.b);
    return id;
}

static pki_pin pin_of(unsigned n)
{
    pki_pin pin;
    memset(pin.b, (int)n + 101, sizeof pin.b);
    return pin;
}

/* What a floor names, as small numbers; -1: not named. */
struct thing {
    int identity, service, key, router;
    Weft__Wire__Role role;
};

static struct thing identity(int i)
{
    return (struct thing){i, -1, -1, -1, NONE};
}
static struct thing grant(int i, int s, Weft__Wire__Role role)
{
    return (struct thing){i, s, -1, -1, role};
}
static struct thing key(int k)
{
    return (struct thing){-1, -1, k, -1, NONE};
}
static struct thing router(int r)
{
    return (struct thing){-1, -1, -1, r, NONE};
}

struct entry {
    struct thing thing;
    uint64_t epoch, expires;
    bool cut;
};

#define SET_MAX 16
struct set {
    struct entry entries[SET_MAX];
    size_t count;
    uint64_t version;
    bool snapshot;
    uint8_t previous[32];
    size_t previous_len;
    uint8_t digest[32];
};

static weft_err apply(pki_floors *floors, const struct set *set, uint64_t now, bool *changed)
{
    Weft__Wire__FloorsBody body;
    Weft__Wire__Floor rows[SET_MAX], *list[SET_MAX];
    wf_id ids[SET_MAX][3];
    pki_pin pins[SET_MAX];
    uint8_t previous[32];
    memcpy(previous, set->previous, sizeof previous);
    weft__wire__floors_body__init(&body);
    for (size_t i = 0; i < set->count; i++) {
        const struct entry *e = &set->entries[i];
        weft__wire__floor__init(&rows[i]);
        if (e->thing.identity >= 0) {
            ids[i][0] = id_of((unsigned)e->thing.identity);
            rows[i].identity = wf_pb_id(&ids[i][0]);
        }
        if (e->thing.service >= 0) {
            ids[i][1] = id_of(50 + (unsigned)e->thing.service);
            rows[i].service = wf_pb_id(&ids[i][1]);
        }
        if (e->thing.router >= 0) {
            ids[i][2] = id_of((unsigned)e->thing.router);
            rows[i].router = wf_pb_id(&ids[i][2]);
        }
        if (e->thing.key >= 0) {
            pins[i] = pin_of((unsigned)e->thing.key);
            rows[i].key = wf_pb_bytes(pins[i].b, sizeof pins[i].b);
        }
        rows[i].role = e->thing.role;
        rows[i].epoch = e->epoch;
        rows[i].cut = e->cut;
        rows[i].expires = e->expires;
        list[i] = &rows[i];
    }
    body.version = set->version;
    body.snapshot = set->snapshot;
    body.previous = wf_pb_bytes(previous, set->previous_len);
    body.floors = list;
    body.n_floors = set->count;
    return pki_floors_apply(floors, &body, set->digest, now, changed);
}

/* The next delta after what floors holds, with one entry. */
static struct set delta(const pki_floors *floors, struct thing thing, uint64_t epoch, bool cut,
                        uint64_t expires)
{
    struct set set = {.version = pki_floors_version(floors) + 1, .previous_len = 32};
    pki_floors_digest(floors, set.previous);
    set.entries[0] = (struct entry){thing, epoch, expires, cut};
    set.count = 1;
    memset(set.digest, (int)(set.version & 0xff), sizeof set.digest);
    return set;
}

static void learn(pki_floors *floors, struct thing thing, uint64_t epoch, bool cut,
                  uint64_t expires, uint64_t now)
{
    bool changed;
    struct set set = delta(floors, thing, epoch, cut, expires);
    assert_int_equal(apply(floors, &set, now, &changed), WEFT_OK);
    assert_true(changed);
}

/* ---- asking */

static bool identity_is_cut(const pki_floors *floors, unsigned i)
{
    wf_id id = id_of(i);
    pki_pin pin = pin_of(99);
    return pki_floors_is_cut(floors, PKI_IDENTITY, &id, &pin);
}

static bool router_is_cut(const pki_floors *floors, unsigned r)
{
    wf_id id = id_of(r);
    pki_pin pin = pin_of(99);
    return pki_floors_is_cut(floors, PKI_ROUTER, &id, &pin);
}

static bool key_is_cut(const pki_floors *floors, enum pki_kind kind, unsigned k)
{
    wf_id id = id_of(98);
    pki_pin pin = pin_of(k);
    return pki_floors_is_cut(floors, kind, &id, &pin);
}

static uint64_t grant_floor(const pki_floors *floors, unsigned i, unsigned s, Weft__Wire__Role role)
{
    wf_id id = id_of(i), service = id_of(50 + s);
    return pki_floors_for_grant(floors, &id, &service, role);
}

static uint64_t router_floor(const pki_floors *floors, unsigned r)
{
    wf_id id = id_of(r);
    return pki_floors_for_router(floors, &id);
}

static int new_floors(void **state)
{
    *state = pki_floors_new();
    return *state == NULL;
}

static int free_floors(void **state)
{
    pki_floors_free(*state);
    return 0;
}

/* ---- rules */

static void nothing_is_revoked_at_first(void **state)
{
    uint8_t digest[32], zero[32] = {0};
    pki_floors_digest(*state, digest);
    assert_int_equal(pki_floors_version(*state), 0);
    assert_memory_equal(digest, zero, sizeof zero);
    assert_false(identity_is_cut(*state, 1));
    assert_false(router_is_cut(*state, 1));
    assert_int_equal(grant_floor(*state, 1, 1, DIAL), 0);
    assert_int_equal(router_floor(*state, 1), 0);
}

static void an_identity_floor_holds_for_all_its_grants_and_only_for_its_own(void **state)
{
    learn(*state, identity(1), 10, false, 0, 1);
    assert_int_equal(grant_floor(*state, 1, 1, DIAL), 10);
    assert_int_equal(grant_floor(*state, 1, 2, BIND), 10);
    assert_int_equal(grant_floor(*state, 2, 1, DIAL), 0);
    assert_false(identity_is_cut(*state, 1));
}

static void a_grant_floor_holds_for_one_service_and_role(void **state)
{
    learn(*state, grant(1, 1, DIAL), 10, false, 0, 1);
    assert_int_equal(grant_floor(*state, 1, 1, DIAL), 10);
    assert_int_equal(grant_floor(*state, 1, 1, BIND), 0);
    assert_int_equal(grant_floor(*state, 1, 2, DIAL), 0);
    assert_int_equal(grant_floor(*state, 2, 1, DIAL), 0);
}

static void the_higher_of_identity_and_grant_floor_holds(void **state)
{
    learn(*state, identity(1), 10, false, 0, 1);
    learn(*state, grant(1, 1, DIAL), 7, false, 0, 1);
    assert_int_equal(grant_floor(*state, 1, 1, DIAL), 10);
    learn(*state, grant(1, 1, DIAL), 17, false, 0, 1);
    assert_int_equal(grant_floor(*state, 1, 1, DIAL), 17);
    assert_int_equal(grant_floor(*state, 1, 2, DIAL), 10);
}

static void a_floor_never_sinks(void **state)
{
    learn(*state, identity(1), 10, true, 0, 1);
    learn(*state, identity(1), 9, false, 0, 1);
    assert_int_equal(grant_floor(*state, 1, 1, DIAL), 10);
    assert_true(identity_is_cut(*state, 1));
}

static void enabling_lifts_the_cut_and_leaves_the_epoch(void **state)
{
    learn(*state, identity(1), 10, true, 0, 1);
    assert_true(identity_is_cut(*state, 1));
    learn(*state, identity(1), 10, false, 0, 1);
    assert_false(identity_is_cut(*state, 1));
    assert_int_equal(grant_floor(*state, 1, 1, DIAL), 10);
}

static void a_router_and_an_identity_of_the_same_id_are_not_confused(void **state)
{
    learn(*state, router(3), 10, true, 0, 1);
    assert_true(router_is_cut(*state, 3));
    assert_false(identity_is_cut(*state, 3));
    assert_int_equal(router_floor(*state, 3), 10);
    assert_int_equal(grant_floor(*state, 3, 1, DIAL), 0);
}

static void a_key_floor_cuts_every_kind_for_ever(void **state)
{
    learn(*state, key(5), 1, false, 100, 1); /* neither `cut` absent nor an end weakens it */
    learn(*state, identity(1), 1, false, 0, 1000000000);
    assert_true(key_is_cut(*state, PKI_IDENTITY, 5));
    assert_true(key_is_cut(*state, PKI_ROUTER, 5));
    assert_true(key_is_cut(*state, PKI_CONTROLLER, 5));
    assert_false(key_is_cut(*state, PKI_IDENTITY, 6));
    learn(*state, key(5), 2, false, 100, 2000000000);
    assert_true(key_is_cut(*state, PKI_IDENTITY, 5));
}

static void an_older_or_equal_version_changes_nothing(void **state)
{
    learn(*state, identity(1), 10, true, 0, 1);
    struct set old = delta(*state, identity(1), 99, false, 0);
    bool changed = true;
    old.version = pki_floors_version(*state);
    assert_int_equal(apply(*state, &old, 1, &changed), WEFT_OK);
    assert_false(changed);
    old.snapshot = true;
    old.count = 0;
    assert_int_equal(apply(*state, &old, 1, &changed), WEFT_OK);
    assert_false(changed);
    assert_true(identity_is_cut(*state, 1));
}

static void a_gap_is_a_conflict_and_changes_nothing(void **state)
{
    learn(*state, identity(1), 10, false, 0, 1);
    struct set gap = delta(*state, identity(2), 10, true, 0);
    bool changed = true;
    gap.version++;
    assert_int_equal(apply(*state, &gap, 1, &changed), WEFT_ECONFLICT);
    assert_false(changed);
    assert_false(identity_is_cut(*state, 2));
    assert_int_equal(pki_floors_version(*state), 1);
}

static void a_delta_of_another_past_is_a_conflict(void **state)
{
    learn(*state, identity(1), 10, false, 0, 1);
    struct set fork = delta(*state, identity(2), 10, true, 0);
    bool changed;
    fork.previous[0] ^= 1;
    assert_int_equal(apply(*state, &fork, 1, &changed), WEFT_ECONFLICT);
    fork.previous_len = 0;
    assert_int_equal(apply(*state, &fork, 1, &changed), WEFT_ECONFLICT);
    assert_false(identity_is_cut(*state, 2));
}

static void a_snapshot_replaces_all_but_lowers_nothing_it_names(void **state)
{
    learn(*state, identity(1), 10, true, 0, 1);
    learn(*state, identity(2), 10, true, 0, 1);
    struct set all = delta(*state, identity(2), 5, false, 0);
    bool changed;
    all.snapshot = true;
    all.previous_len = 0;
    all.version = 77;
    assert_int_equal(apply(*state, &all, 1, &changed), WEFT_OK);
    assert_true(changed);
    assert_int_equal(pki_floors_version(*state), 77);
    assert_false(identity_is_cut(*state, 1));
    assert_int_equal(grant_floor(*state, 1, 1, DIAL), 0);
    assert_true(identity_is_cut(*state, 2));
    assert_int_equal(grant_floor(*state, 2, 1, DIAL), 10);
}

static void a_set_with_a_floor_that_names_nothing_or_two_things_is_refused_whole(void **state)
{
    static const struct thing bad[] = {
        {-1, -1, -1, -1, NONE}, {1, -1, 1, -1, NONE}, {1, -1, -1, 1, NONE},
        {-1, -1, 1, 1, NONE},   {1, 1, -1, -1, NONE}, {1, -1, -1, -1, DIAL},
        {-1, 1, 1, -1, DIAL},   {-1, 1, -1, 1, BIND}, {-1, 1, -1, -1, DIAL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        for (int snapshot = 0; snapshot < 2; snapshot++) {
            struct set set = delta(*state, identity(1), 10, true, 0);
            bool changed;
            set.snapshot = snapshot;
            set.entries[1] = (struct entry){bad[i], 10, 0, true};
            set.count = 2;
            assert_int_equal(apply(*state, &set, 1, &changed), WEFT_EPROTO);
            assert_false(changed);
            assert_false(identity_is_cut(*state, 1));
            assert_int_equal(pki_floors_version(*state), 0);
        }
    }
}

static void a_floor_ends_when_it_says(void **state)
{
    learn(*state, identity(1), 10, true, 5000, 1000);
    learn(*state, identity(2), 10, true, 0, 4999);
    assert_true(identity_is_cut(*state, 1));
    learn(*state, identity(2), 11, true, 0, 10000000);
    assert_false(identity_is_cut(*state, 1));
    assert_int_equal(grant_floor(*state, 1, 1, DIAL), 0);
    assert_true(identity_is_cut(*state, 2));
}

static void a_floor_raised_again_ends_at_the_later_time(void **state)
{
    learn(*state, identity(1), 10, true, 5000, 1000);
    learn(*state, identity(1), 11, true, 3000, 1000);
    learn(*state, identity(2), 10, true, 0, 4000);
    assert_true(identity_is_cut(*state, 1));
}

/* ---- the oracle: a list, walked */

#define IDENTITIES 3
#define SERVICES 2
#define KEYS 3
#define ROUTERS 2

struct oracle {
    struct entry list[64];
    size_t count;
};

static bool same(const struct thing *a, const struct thing *b)
{
    return a->identity == b->identity && a->service == b->service && a->key == b->key &&
           a->router == b->router && a->role == b->role;
}

static struct entry *oracle_find(struct oracle *o, const struct thing *t)
{
    for (size_t i = 0; i < o->count; i++)
        if (same(&o->list[i].thing, t))
            return &o->list[i];
    return NULL;
}

static bool over(const struct entry *e, uint64_t now)
{
    return e->expires != 0 && e->expires <= now;
}

static void oracle_raise(struct oracle *o, struct entry in, uint64_t now)
{
    struct entry *e = oracle_find(o, &in.thing);
    if (in.thing.key >= 0) {
        in.expires = 0;
        in.cut = true;
    }
    if (e == NULL || over(e, now)) {
        if (over(&in, now))
            return;
        if (e == NULL)
            e = &o->list[o->count++];
        *e = in;
    } else if (in.epoch >= e->epoch) {
        uint64_t end = e->expires == 0 || in.expires == 0 ? 0
                       : e->expires > in.expires          ? e->expires
                                                          : in.expires;
        *e = in;
        e->expires = end;
    }
}

/* The epoch and the cut, with and without what is over: between the two is right. */
struct bounds {
    uint64_t low, high;
    bool must, may;
};

static struct bounds oracle_ask(struct oracle *o, struct thing t, uint64_t now)
{
    struct entry *e = oracle_find(o, &t);
    struct bounds b = {0};
    if (e == NULL)
        return b;
    b.high = e->epoch;
    b.may = e->cut;
    if (!over(e, now)) {
        b.low = b.high;
        b.must = b.may;
    }
    return b;
}

static struct thing random_thing(void)
{
    switch (rand() % 4) {
    case 0:
        return identity(rand() % IDENTITIES);
    case 1:
        return grant(rand() % IDENTITIES, rand() % SERVICES, rand() % 2 ? DIAL : BIND);
    case 2:
        return key(rand() % KEYS);
    default:
        return router(rand() % ROUTERS);
    }
}

static void agree(const pki_floors *floors, struct oracle *o, uint64_t now)
{
    for (int i = 0; i < IDENTITIES; i++) {
        struct bounds whole = oracle_ask(o, identity(i), now);
        bool cut = identity_is_cut(floors, (unsigned)i);
        assert_true((!whole.must || cut) && (whole.may || !cut));
        for (int s = 0; s < SERVICES; s++)
            for (int r = 0; r < 2; r++) {
                struct bounds one = oracle_ask(o, grant(i, s, r ? DIAL : BIND), now);
                uint64_t f = grant_floor(floors, (unsigned)i, (unsigned)s, r ? DIAL : BIND);
                uint64_t low = whole.low > one.low ? whole.low : one.low;
                uint64_t high = whole.high > one.high ? whole.high : one.high;
                assert_in_range(f, low, high);
            }
    }
    for (int k = 0; k < KEYS; k++)
        assert_int_equal(key_is_cut(floors, PKI_IDENTITY, (unsigned)k),
                         oracle_ask(o, key(k), now).must);
    for (int r = 0; r < ROUTERS; r++) {
        struct bounds b = oracle_ask(o, router(r), now);
        bool cut = router_is_cut(floors, (unsigned)r);
        assert_true((!b.must || cut) && (b.may || !cut));
        assert_in_range(router_floor(floors, (unsigned)r), b.low, b.high);
    }
}

static void one_history(unsigned seed)
{
    pki_floors *floors = pki_floors_new();
    struct oracle oracle = {.count = 0};
    uint64_t now = 1000;
    srand(seed);
    assert_non_null(floors);
    for (int step = 0; step < 12; step++) {
        struct set set = {.version = pki_floors_version(floors) + 1, .previous_len = 32};
        weft_err expected = WEFT_OK;
        bool changed, applies = true;
        now += rand() % 3 == 0 ? 700000u : (unsigned)(rand() % 1000);
        pki_floors_digest(floors, set.previous);
        set.count = (size_t)(rand() % 4);
        for (size_t i = 0; i < set.count; i++)
            set.entries[i] =
                (struct entry){random_thing(), (uint64_t)(rand() % 5),
                               rand() % 2 ? 0 : now + (unsigned)(rand() % 900000) - 1, rand() % 2};
        for (size_t i = 0; i < set.count; i++)
            if (set.entries[i].thing.service >= 0)
                set.entries[i].cut = false;
        for (size_t i = 0; i < sizeof set.digest; i++)
            set.digest[i] = (uint8_t)rand();
        switch (rand() % 8) {
        case 0:
            set.version += 1 + (unsigned)(rand() % 3);
            applies = false;
            expected = WEFT_ECONFLICT;
            break;
        case 1:
            set.previous[rand() % 32] ^= 0x40;
            applies = false;
            expected = WEFT_ECONFLICT;
            break;
        case 2:
            set.version -= 1; /* of the present, or 0 */
            applies = false;
            break;
        case 3:
            set.snapshot = true;
            set.previous_len = 0;
            set.version += (unsigned)(rand() % 3);
            break;
        default:
            break;
        }
        assert_int_equal(apply(floors, &set, now, &changed), expected);
        assert_int_equal(changed, applies);
        if (applies) {
            struct oracle next = set.snapshot ? (struct oracle){.count = 0} : oracle;
            for (size_t i = 0; i < set.count; i++) {
                struct entry *known = oracle_find(&oracle, &set.entries[i].thing);
                if (set.snapshot && known != NULL && !over(known, now) &&
                    oracle_find(&next, &known->thing) == NULL)
                    next.list[next.count++] = *known;
                oracle_raise(&next, set.entries[i], now);
            }
            oracle = next;
        }
        agree(floors, &oracle, now);
    }
    pki_floors_free(floors);
}

static void random_histories_agree_with_a_naive_list(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 10000; seed++)
        one_history(seed);
}

int main(void)
{
#define RULE(test) cmocka_unit_test_setup_teardown(test, new_floors, free_floors)
    const struct CMUnitTest tests[] = {
        RULE(nothing_is_revoked_at_first),
        RULE(an_identity_floor_holds_for_all_its_grants_and_only_for_its_own),
        RULE(a_grant_floor_holds_for_one_service_and_role),
        RULE(the_higher_of_identity_and_grant_floor_holds),
        RULE(a_floor_never_sinks),
        RULE(enabling_lifts_the_cut_and_leaves_the_epoch),
        RULE(a_router_and_an_identity_of_the_same_id_are_not_confused),
        RULE(a_key_floor_cuts_every_kind_for_ever),
        RULE(an_older_or_equal_version_changes_nothing),
        RULE(a_gap_is_a_conflict_and_changes_nothing),
        RULE(a_delta_of_another_past_is_a_conflict),
        RULE(a_snapshot_replaces_all_but_lowers_nothing_it_names),
        RULE(a_set_with_a_floor_that_names_nothing_or_two_things_is_refused_whole),
        RULE(a_floor_ends_when_it_says),
        RULE(a_floor_raised_again_ends_at_the_later_time),
        cmocka_unit_test(random_histories_agree_with_a_naive_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
