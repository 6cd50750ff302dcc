/* Revocation floors, and what a router remembers: all without a controller. */
#include "tests/router/fabric.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct pair {
    struct fabric f;
    struct station s, other;
    struct raw dialer, host, watcher;
    char home[64];
};

static int pair_setup(void **state)
{
    struct pair *p = test_calloc(1, sizeof *p);

    fabric_init(&p->f);
    station_init(&p->s, &p->f, "edge");
    station_init(&p->other, &p->f, "other");
    (void)snprintf(p->home, sizeof p->home, "/tmp/weft-router-test-XXXXXX");
    assert_non_null(mkdtemp(p->home));
    p->s.home = p->home;
    station_start(&p->s);
    station_start(&p->other);
    raw_init(&p->dialer, &p->f, "ci");
    raw_init(&p->host, &p->f, "web-host");
    raw_init(&p->watcher, &p->f, "watcher");
    raw_open(&p->dialer, &p->s);
    raw_open(&p->host, &p->s);
    raw_bind(&p->host, &p->s);
    *state = p;
    return 0;
}

static void remove_home(struct pair *p)
{
    static const char *const names[] = {"/state/members", "/state/floors", "/state/bundle",
                                        "/state", ""};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s%s", p->home, names[i]);
        (void)remove(path);
    }
}

static int pair_teardown(void **state)
{
    struct pair *p = *state;

    raw_fini(&p->dialer);
    raw_fini(&p->host);
    raw_fini(&p->watcher);
    station_fini(&p->s);
    station_fini(&p->other);
    remove_home(p);
    fabric_fini(&p->f);
    test_free(p);
    return 0;
}

static Weft__Wire__Floor floor_on(const wf_id *identity)
{
    Weft__Wire__Floor floor = WEFT__WIRE__FLOOR__INIT;

    floor.identity = wf_pb_id(identity);
    floor.epoch = wf_now_wall_ms() + 1000;
    floor.expires = wf_now_wall_ms() + WF_GRANT_LIFE_MS;
    return floor;
}

static Weft__Wire__Floor floor_on_grant(const wf_id *identity, const wf_id *service,
                                        Weft__Wire__Role role)
{
    Weft__Wire__Floor floor = floor_on(identity);

    floor.service = wf_pb_id(service);
    floor.role = role;
    return floor;
}

/* Applies one set at the router, as if the controller had sent it. */
static void apply(struct pair *p, uint64_t version, const uint8_t *previous,
                  Weft__Wire__Floor *floor, uint8_t digest[32])
{
    Weft__Wire__Signed *set = fabric_floor(&p->f, version, previous, floor);
    wf_why why = {""};

    if (router_add_floors(p->s.router, set, &why) != WEFT_OK)
        fail_msg("%s", why.text);
    fabric_digest(set, digest);
    wf_signed_free(set);
}

static void a_cut_identity_loses_its_link_and_its_circuits(void **state)
{
    struct pair *p = *state;
    Weft__Wire__Floor floor = floor_on(&p->dialer.node.id);
    uint8_t digest[32];

    raw_connect(&p->dialer, &p->host, 0);
    floor.cut = true;
    apply(p, 1, NULL, &floor, digest);
    fabric_wait(&p->f, 1000, p->dialer.link == NULL && p->host.close_count == 1);
    assert_int_equal(p->host.close_code, WEFT_EREVOKED);
    assert_int_equal(station_counters(&p->s)->edges_cut, 1);
    assert_int_equal(p->host.floors_count, 1); /* the others hear of it */
    assert_non_null(p->host.link);
    /* And it doesn't come in again. */
    raw_start(&p->dialer, &p->s);
    fabric_wait(&p->f, 5000, p->dialer.link == NULL);
    assert_int_equal(station_counters(&p->s)->edges, 1);
}

static void a_withdrawn_dial_ends_its_circuits_and_only_those(void **state)
{
    struct pair *p = *state;
    Weft__Wire__Floor floor =
        floor_on_grant(&p->dialer.node.id, &p->f.service, WEFT__WIRE__ROLE__ROLE_DIAL);
    uint8_t digest[32];
    struct raw_circuit c, withdrawn = raw_connect(&p->dialer, &p->host, 0);

    raw_open(&p->watcher, &p->s);
    c = raw_connect(&p->watcher, &p->host, 0);
    p->host.out_label = withdrawn.host_out; /* where its answer to the CLOSE goes */
    apply(p, 1, NULL, &floor, digest);
    fabric_wait(&p->f, 1000, p->dialer.close_count == 1);
    assert_int_equal(p->dialer.close_code, WEFT_EREVOKED);
    assert_non_null(p->dialer.link); /* the identity itself is welcome */
    assert_int_equal(station_counters(&p->s)->circuits, 1);
    raw_data(&p->watcher, c.dialer_out, "on", 2);
    fabric_wait(&p->f, 1000, p->host.data_bytes == 2);
    raw_dial(&p->dialer, &(struct raw_dial){.label = 5});
    fabric_wait(&p->f, 1000, p->dialer.reply_count == 2);
    assert_int_equal(p->dialer.replies[1].code, WEFT_EREFUSED);
}

static void a_withdrawn_bind_ends_the_terminator_and_its_circuits(void **state)
{
    struct pair *p = *state;
    Weft__Wire__Floor floor =
        floor_on_grant(&p->host.node.id, &p->f.service, WEFT__WIRE__ROLE__ROLE_BIND);
    uint8_t digest[32];

    raw_connect(&p->dialer, &p->host, 0);
    apply(p, 1, NULL, &floor, digest);
    fabric_wait(&p->f, 1000, p->dialer.close_count == 1 && p->host.close_count == 1);
    assert_int_equal(p->host.close_code, WEFT_EREVOKED);
    assert_int_equal(station_counters(&p->s)->binds, 0);
    assert_non_null(p->host.link);
}

static void floors_are_flooded_over_routers_and_cut_there(void **state)
{
    struct pair *p = *state;
    Weft__Wire__Floor floor = floor_on(&p->watcher.node.id);
    uint8_t digest[32];

    stations_join(&p->s, &p->other);
    raw_open(&p->watcher, &p->other);
    floor.cut = true;
    apply(p, 1, NULL, &floor, digest);
    fabric_wait(&p->f, 1000, p->watcher.link == NULL);
    assert_int_equal(station_counters(&p->other)->edges_cut, 1);
    assert_int_equal(station_counters(&p->other)->floors_applied, 1);
    assert_int_equal(p->host.floors_count, 1); /* each once, though two routers know it */
}

static void a_router_that_knows_less_is_told_when_it_links(void **state)
{
    struct pair *p = *state;
    Weft__Wire__Floor floor = floor_on(&p->watcher.node.id);
    uint8_t digest[32];

    raw_open(&p->watcher, &p->other);
    floor.cut = true;
    apply(p, 1, NULL, NULL, digest);
    apply(p, 2, digest, &floor, digest);
    stations_join(&p->s, &p->other);
    fabric_wait(&p->f, 1000, p->watcher.link == NULL);
    assert_int_equal(station_counters(&p->other)->floors_applied, 2);
}

static void an_endpoint_that_knows_less_is_told_what_it_lacks(void **state)
{
    struct pair *p = *state;
    wf_id somebody = wf_id_random();
    Weft__Wire__Floor floor = floor_on(&somebody);
    uint8_t digest[32];

    apply(p, 1, NULL, NULL, digest);
    apply(p, 2, digest, &floor, digest);
    apply(p, 3, digest, &floor, digest);
    raw_open(&p->watcher, &p->s);
    fabric_wait(&p->f, 1000, p->watcher.floors_count == 1);
    raw_fini(&p->watcher);
    fabric_wait(&p->f, 5000, station_counters(&p->s)->edges == 2);
    raw_init(&p->watcher, &p->f, "watcher");
    p->watcher.floors_version = 3;
    raw_open(&p->watcher, &p->s);
    fabric_run(&p->f, 30);
    assert_int_equal(p->watcher.floors_count, 0);
}

static void send_floors(struct raw *r, Weft__Wire__Signed *set)
{
    Weft__Wire__Floors floors = WEFT__WIRE__FLOORS__INIT;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;

    floors.n_sets = 1;
    floors.sets = &set;
    control.of_case = WEFT__WIRE__CONTROL__OF_FLOORS;
    control.floors = &floors;
    wf_link_send_control(r->link, &control);
}

static void floors_that_no_policy_key_signed_cut_whoever_sends_them(void **state)
{
    struct pair *p = *state;
    Weft__Wire__Floor floor = floor_on(&p->host.node.id), *list[] = {&floor};
    Weft__Wire__FloorsBody body;
    char domain[] = "test.weft";
    Weft__Wire__Signed *set;

    weft__wire__floors_body__init(&body);
    body.trust_domain = domain;
    body.version = 1;
    body.snapshot = true;
    body.floors = list;
    body.n_floors = 1;
    floor.cut = true;
    set = authority_sign(p->dialer.node.key, PKI_LABEL_FLOORS, &body.base);
    send_floors(&p->dialer, set);
    fabric_wait(&p->f, 1000, p->dialer.link == NULL);
    fabric_run(&p->f, 30);
    assert_non_null(p->host.link);
    assert_int_equal(station_counters(&p->s)->floors_refused, 1);
    wf_signed_free(set);
}

static void genuine_floors_are_taken_from_anyone(void **state)
{
    struct pair *p = *state;
    Weft__Wire__Floor floor = floor_on(&p->host.node.id);
    Weft__Wire__Signed *set;

    floor.cut = true;
    set = fabric_floor(&p->f, 1, NULL, &floor);
    send_floors(&p->dialer, set);
    fabric_wait(&p->f, 1000, p->host.link == NULL);
    assert_int_equal(p->dialer.floors_count, 0); /* it knows already */
    wf_signed_free(set);
}

/* ---- restarts */

static void a_restarted_router_goes_on_from_its_own_state(void **state)
{
    struct pair *p = *state;
    Weft__Wire__Floor floor = floor_on(&p->watcher.node.id);
    uint8_t digest[32];
    Weft__Wire__Signed *older;

    stations_join(&p->s, &p->other);
    floor.cut = true;
    apply(p, 1, NULL, NULL, digest);
    apply(p, 2, digest, &floor, digest);
    fabric_run(&p->f, 100);
    station_stop(&p->s);
    fabric_wait(&p->f, 5000, p->dialer.link == NULL && p->host.link == NULL);
    station_start(&p->s); /* nobody gives it a member record this time */
    assert_true(router_is_ready(p->s.router, NULL));
    fabric_wait(&p->f, 10000, station_counters(&p->s)->routers == 1);
    raw_open(&p->host, &p->s);
    raw_bind(&p->host, &p->s);
    raw_open(&p->dialer, &p->s);
    raw_connect(&p->dialer, &p->host, 0);
    /* The revoked stays out. */
    raw_start(&p->watcher, &p->s);
    fabric_wait(&p->f, 5000, p->watcher.link == NULL);
    /* An older set takes nothing back. */
    older = fabric_floor(&p->f, 1, NULL, NULL);
    assert_int_equal(router_add_floors(p->s.router, older, NULL), WEFT_OK);
    raw_start(&p->watcher, &p->s);
    fabric_wait(&p->f, 5000, p->watcher.link == NULL);
    wf_signed_free(older);
}

static void a_restarted_router_remembers_the_revoked_by_itself(void **state)
{
    struct pair *p = *state;
    Weft__Wire__Floor floor = floor_on(&p->watcher.node.id);
    uint8_t digest[32];

    floor.cut = true;
    apply(p, 1, NULL, &floor, digest);
    station_stop(&p->s);
    station_start(&p->s);
    raw_start(&p->watcher, &p->s);
    fabric_wait(&p->f, 5000, p->watcher.link == NULL);
    assert_int_equal(station_counters(&p->s)->edges, 0);
    /* And it can tell who asks. */
    fabric_wait(&p->f, 5000, p->host.link == NULL);
    p->host.floors_count = 0;
    raw_open(&p->host, &p->s);
    fabric_wait(&p->f, 1000, p->host.floors_count == 1);
}

static void state_that_was_tampered_with_is_forgotten_not_believed(void **state)
{
    struct pair *p = *state;
    char path[128];
    FILE *file;
    long size;

    fabric_run(&p->f, 100);
    station_stop(&p->s);
    (void)snprintf(path, sizeof path, "%s/state/members", p->home);
    file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size = ftell(file);
    assert_true(size > 100);
    assert_int_equal(fseek(file, 60, SEEK_SET), 0);
    assert_int_equal(fwrite("XX", 1, 2, file), 2);
    assert_int_equal(fclose(file), 0);
    {
        struct router_options options = {
            .home = p->home, .listen = p->s.address, .no_controller = true};
        struct pki_identity identity;
        wf_why why = {""};

        authority_identity(&p->f.a, &p->s.node, &identity);
        assert_int_equal(router_open(p->f.net, &identity, &options, &p->s.router, &why), WEFT_OK);
    }
    assert_false(router_is_ready(p->s.router, NULL));
}

static void a_draining_router_takes_nothing_new_and_lets_circuits_end(void **state)
{
    struct pair *p = *state;
    struct raw_circuit c = raw_connect(&p->dialer, &p->host, 0);

    router_close(p->s.router, 3000, NULL, NULL);
    raw_dial(&p->dialer, &(struct raw_dial){.label = 5});
    fabric_wait(&p->f, 1000, p->dialer.reply_count == 2);
    assert_int_equal(p->dialer.replies[1].code, WEFT_EBUSY);
    raw_data(&p->dialer, c.dialer_out, "finish", 6);
    fabric_wait(&p->f, 1000, p->host.data_bytes == 6);
    p->dialer.answers_close = false;
    raw_close(&p->dialer, c.dialer_out, 0);
    fabric_wait(&p->f, 2000, p->dialer.link == NULL && p->host.link == NULL);
    assert_int_equal(p->host.close_code, 0);
    p->s.router = NULL;
}

int main(void)
{
#define IN_PAIR(test) cmocka_unit_test_setup_teardown(test, pair_setup, pair_teardown)
    const struct CMUnitTest tests[] = {
        IN_PAIR(a_cut_identity_loses_its_link_and_its_circuits),
        IN_PAIR(a_withdrawn_dial_ends_its_circuits_and_only_those),
        IN_PAIR(a_withdrawn_bind_ends_the_terminator_and_its_circuits),
        IN_PAIR(floors_are_flooded_over_routers_and_cut_there),
        IN_PAIR(a_router_that_knows_less_is_told_when_it_links),
        IN_PAIR(an_endpoint_that_knows_less_is_told_what_it_lacks),
        IN_PAIR(floors_that_no_policy_key_signed_cut_whoever_sends_them),
        IN_PAIR(genuine_floors_are_taken_from_anyone),
        IN_PAIR(a_restarted_router_goes_on_from_its_own_state),
        IN_PAIR(a_restarted_router_remembers_the_revoked_by_itself),
        IN_PAIR(state_that_was_tampered_with_is_forgotten_not_believed),
        IN_PAIR(a_draining_router_takes_nothing_new_and_lets_circuits_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
