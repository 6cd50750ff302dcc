/* Calls of which the n-th allocation fails: refused whole, nothing leaks, the next one works. */
#include "desk.h"
#include "tests/helpers/alloc.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct desk d;

/* One call through operation_run alone, so that only what is tested allocates. */
static weft_err run(unsigned who, const struct pki_subject *subject, const char *operation,
                    wf_span arguments, unsigned n)
{
    struct call call = {.c = &d.c,
                        .who = who,
                        .subject = subject,
                        .remote = "desk",
                        .operation = operation,
                        .arguments = arguments,
                        .now = 1800000000000ull};
    weft_err err;

    wf_buf_init(&call.result, OPERATION_RESULT_MAX);
    alloc_fail_at(n);
    err = operation_run(&call);
    alloc_fail_at(0);
    wf_buf_fini(&call.result);
    assert_int_equal(controller_end_turn(&d.c, NULL), WEFT_OK);
    return err;
}

/* Puts a number in place of '%'. */
static void name_it(const char *json, unsigned n, char *out, size_t cap)
{
    size_t head = strcspn(json, "%");

    if (json[head] == '\0')
        snprintf(out, cap, "%s", json);
    else
        snprintf(out, cap, "%.*s%u%s", (int)head, json, n, json + head + 1);
}

static void every_administrators_call_survives_each_failing_allocation(void **state)
{
    static const struct {
        const char *operation, *json;
    } calls[] = {
        {"service.create", "{\"name\":\"m%\",\"roles\":[\"#a\"]}"},
        {"share", "{\"name\":\"n%\"}"},
        {"allow", "{\"who\":\"#x%\",\"type\":\"dial\",\"what\":\"#all\"}"},
        {"identity.list", "{}"},
        {"policy.list", "{}"},
        {"explain", "{\"identity\":\"admin\",\"service\":\"m1\"}"},
        {"session.list", "{}"},
        {"status", "{}"},
    };
    unsigned failures = 0;

    (void)state;
    desk_do(&d, "service.create", "{\"name\":\"m1\"}");
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        unsigned n = 1;

        for (;; n++) {
            char json[256];
            weft_err err;

            name_it(calls[i].json, n + 100, json, sizeof json);
            call_touch(&(struct call){.c = &d.c});
            err =
                run(WHO_IDENTITY, &d.admin, calls[i].operation, wf_span_of(json, strlen(json)), n);
            if (err == WEFT_OK)
                break;
            assert_int_equal(err, WEFT_ENOMEM);
            failures++;
            assert_true(n < 5000);
        }
    }
    assert_true(failures > 20);
}

static void grants_survive_each_failing_allocation(void **state)
{
    struct node n;
    unsigned at = 1;
    weft_err err;

    (void)state;
    desk_do(&d, "service.create", "{\"name\":\"granted\"}");
    desk_identity(&d, "grantee", "[\"#g\"]", &n);
    desk_do(&d, "allow", "{\"who\":\"#g\",\"type\":\"dial\",\"what\":\"@granted\"}");
    do {
        call_touch(&(struct call){.c = &d.c});
        err = run(WHO_IDENTITY, &n.subject, "grants", wf_span_of("", 0), at++);
        assert_true(err == WEFT_OK || err == WEFT_ENOMEM);
    } while (err != WEFT_OK);
    assert_true(at > 5);
    node_fini(&n);
}

static void a_call_that_fails_half_way_withdraws_nothing(void **state)
{
    static const char json[] = "{\"name\":\"victim\"}";
    const pki_floors *floors = pki_trust_floors(d.c.home.trust);
    unsigned failures = 0;
    struct node n;
    weft_err err;

    (void)state;
    desk_identity(&d, "victim", "[]", &n);
    for (unsigned at = 1;; at++) {
        err = run(WHO_IDENTITY, &d.admin, "identity.disable", wf_span_of(json, strlen(json)), at);
        if (err == WEFT_OK)
            break;
        failures++;
        assert_false(pki_floors_is_cut(floors, PKI_IDENTITY, &n.subject.id, NULL));
        desk_do(&d, "identity.show", "%s", json);
        assert_string_equal(desk_text(&d, "state"), "active");
    }
    assert_true(failures > 5);
    assert_true(pki_floors_is_cut(floors, PKI_IDENTITY, &n.subject.id, NULL));
    node_fini(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_administrators_call_survives_each_failing_allocation),
        cmocka_unit_test(grants_survive_each_failing_allocation),
        cmocka_unit_test(a_call_that_fails_half_way_withdraws_nothing),
    };

    desk_use(&d);
    return cmocka_run_group_tests(tests, open_desk, close_desk);
}
