/* What one identity may have of a router, so that there is enough for the others. */
#include "tests/router/fabric.h"
#include <stdlib.h>

struct pair {
    struct fabric f;
    struct station s;
    struct raw host, again, third, other;
};

static int pair_setup(void **state)
{
    struct pair *p = test_calloc(1, sizeof *p);

    fabric_init(&p->f);
    station_init(&p->s, &p->f, "router");
    p->s.links_per_identity = 2;
    station_start(&p->s);
    raw_init(&p->host, &p->f, "web-host");
    raw_init_same(&p->again, &p->f, &p->host);
    raw_init_same(&p->third, &p->f, &p->host);
    raw_init(&p->other, &p->f, "other");
    *state = p;
    return 0;
}

static int pair_teardown(void **state)
{
    struct pair *p = *state;

    raw_fini(&p->host);
    raw_fini(&p->again);
    raw_fini(&p->third);
    raw_fini(&p->other);
    station_fini(&p->s);
    fabric_fini(&p->f);
    test_free(p);
    return 0;
}

static void one_identity_cannot_open_all_links(void **state)
{
    struct pair *p = *state;

    raw_open(&p->host, &p->s);
    raw_open(&p->again, &p->s);
    raw_start(&p->third, &p->s);
    fabric_wait(&p->f, 5000, p->third.link == NULL);
    assert_int_equal(station_counters(&p->s)->edges, 2);
    assert_non_null(strstr(p->f.log, "too many links of this identity"));
    raw_open(&p->other, &p->s);
    wf_link_close(p->again.link);
    fabric_wait(&p->f, 5000, p->again.link == NULL && station_counters(&p->s)->edges == 2);
    raw_open(&p->third, &p->s);
}

static void want_floors(struct raw *r, uint64_t have)
{
    Weft__Wire__FloorsWanted wanted = WEFT__WIRE__FLOORS_WANTED__INIT;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;

    wanted.have = have;
    control.of_case = WEFT__WIRE__CONTROL__OF_FLOORS_WANTED;
    control.floors_wanted = &wanted;
    assert_int_equal(wf_link_send_control(r->link, &control), WEFT_OK);
}

/* Adds a floor that concerns nobody here; its digest is the next one's `previous`. */
static void raise_floors(struct pair *p, uint64_t version, uint8_t digest[32])
{
    wf_id nobody = wf_id_random();
    Weft__Wire__Floor floor = WEFT__WIRE__FLOOR__INIT;
    Weft__Wire__Signed *set;
    wf_why why = {""};

    floor.identity = wf_pb_id(&nobody);
    floor.cut = true;
    set = fabric_floor(&p->f, version, version == 1 ? NULL : digest, &floor);
    if (router_add_floors(p->s.router, set, &why) != WEFT_OK)
        fail_msg("%s", why.text);
    fabric_digest(set, digest);
    wf_signed_free(set);
}

static void floors_are_told_once_to_a_link_that_asks_again_and_again(void **state)
{
    struct pair *p = *state;
    uint8_t digest[32];
    unsigned before;

    raise_floors(p, 1, digest);
    p->host.floors_version = 1; /* so that it hears nothing with the Hello */
    raw_open(&p->host, &p->s);
    before = p->host.floors_count;
    for (int i = 0; i < 50; i++)
        want_floors(&p->host, 0);
    fabric_wait(&p->f, 5000, p->host.floors_count > before);
    fabric_run(&p->f, 100);
    assert_int_equal(p->host.floors_count, before + 1);
    raise_floors(p, 2, digest); /* comes by itself */
    fabric_wait(&p->f, 5000, p->host.floors_count == before + 2);
    want_floors(&p->host, 0);
    fabric_wait(&p->f, 5000, p->host.floors_count == before + 3);
}

static void credit_beyond_all_bounds_fills_no_log(void **state)
{
    struct pair *p = *state;
    unsigned lines = 0;

    raw_open(&p->host, &p->s);
    raw_open(&p->other, &p->s);
    raw_bind(&p->host, &p->s);
    for (int i = 0; i < 100; i++) {
        struct raw_circuit c = raw_connect(&p->other, &p->host, 0);
        unsigned closes = p->other.close_count;

        raw_ack(&p->other, c.dialer_out, 1u << 30, 1u << 30);
        fabric_wait(&p->f, 5000, p->other.close_count > closes);
    }
    assert_int_equal(station_counters(&p->s)->closed_breach, 100);
    for (const char *at = p->f.log; (at = strstr(at, "circuit closed")) != NULL; at++)
        lines++;
    assert_in_range(lines, 1, 90);
}

int main(void)
{
#define IN_PAIR(test) cmocka_unit_test_setup_teardown(test, pair_setup, pair_teardown)
    const struct CMUnitTest tests[] = {
        IN_PAIR(one_identity_cannot_open_all_links),
        IN_PAIR(floors_are_told_once_to_a_link_that_asks_again_and_again),
        IN_PAIR(credit_beyond_all_bounds_fills_no_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
