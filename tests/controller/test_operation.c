/* The operation table: who may what, and what each administrator's operation does. */
#include "desk.h"
#include "proto/base/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct desk d;

static weft_err as(unsigned who, const struct pki_subject *subject, const char *operation)
{
    return desk_call(&d, who, subject, operation, wf_span_of("", 0));
}

/* What a caller who isn't in the row hears. */
static bool is_denied(weft_err err)
{
    return err == WEFT_EREFUSED && strstr(d.why.text, "no such operation") != NULL;
}

static void every_row_takes_its_own_callers_and_no_others(void **state)
{
    struct node plain, router = {NULL};
    struct operation_row row;
    unsigned rows = 0;

    (void)state;
    desk_identity(&d, "plain", "[]", &plain);
    desk_do(&d, "router.create", "{\"name\":\"r\"}");
    assert_int_equal(desk_enroll(&d, desk_text(&d, "token"), &router), WEFT_OK);
    for (size_t i = 0; (row = operation_row(i)).name != NULL; i++) {
        rows++;
        assert_int_equal(!is_denied(as(WHO_ANYONE, NULL, row.name)), (row.who & WHO_ANYONE) != 0);
        assert_int_equal(!is_denied(as(WHO_EXPIRED, &plain.subject, row.name)),
                         (row.who & WHO_EXPIRED) != 0);
        assert_int_equal(!is_denied(as(WHO_IDENTITY, &plain.subject, row.name)),
                         (row.who & WHO_IDENTITY) != 0);
        assert_int_equal(!is_denied(as(WHO_ROUTER, &router.subject, row.name)),
                         (row.who & WHO_ROUTER) != 0);
        assert_int_equal(!is_denied(as(WHO_IDENTITY, &d.admin, row.name)),
                         (row.who & (WHO_IDENTITY | WHO_ADMIN)) != 0);
        /* An administrator's expired certificate renews and administers nothing. */
        assert_int_equal(!is_denied(as(WHO_EXPIRED, &d.admin, row.name)),
                         (row.who & WHO_EXPIRED) != 0);
    }
    assert_in_range(rows, 35, 80);
    /* Anonymous callers and routers are in no administrator's row, whatever the table grows to. */
    for (size_t i = 0; (row = operation_row(i)).name != NULL; i++)
        if ((row.who & WHO_ADMIN) != 0)
            assert_int_equal(row.who, WHO_ADMIN);
    node_fini(&plain);
    node_fini(&router);
}

/* weft-renew/1 is the one way in for a leaf that has ended: what it opens is one row. */
static void an_expired_certificate_may_renew_and_nothing_else(void **state)
{
    struct node plain, router = {NULL};
    struct operation_row row;
    unsigned denied = 0;

    (void)state;
    desk_identity(&d, "late", "[]", &plain);
    desk_do(&d, "router.create", "{\"name\":\"late-r\"}");
    assert_int_equal(desk_enroll(&d, desk_text(&d, "token"), &router), WEFT_OK);
    d.now = wf_now_wall_ms() + WF_LEAF_LIFE_MS + WF_RENEW_GRACE_MS / 2;
    for (size_t i = 0; (row = operation_row(i)).name != NULL; i++) {
        const struct pki_subject *callers[] = {&plain.subject, &router.subject, &d.admin};

        for (size_t k = 0; k < 3; k++) {
            weft_err err = as(WHO_EXPIRED, callers[k], row.name);

            if (strcmp(row.name, "renew") == 0) {
                assert_false(is_denied(err)); /* what it says then, test_enrollment tells */
            } else {
                assert_true(is_denied(err));
                denied++;
            }
        }
    }
    assert_in_range(denied, 3 * 34, 3 * 80);
    assert_true(is_denied(as(WHO_EXPIRED, &d.admin, "no.such.row")));
    d.now = 0;
    node_fini(&plain);
    node_fini(&router);
}

/* Over a link that was open before: nothing says that it is closed at once. */
static void a_key_that_was_replaced_administers_nothing(void **state)
{
    struct node thief, owner = {NULL};

    (void)state;
    desk_identity(&d, "boss", "[]", &thief);
    desk_do(&d, "admin.add", "{\"identity\":\"boss\"}");
    assert_false(is_denied(as(WHO_IDENTITY, &thief.subject, "admin.list")));
    desk_do(&d, "identity.reissue", "{\"name\":\"boss\"}");
    assert_int_equal(desk_enroll(&d, desk_text(&d, "token"), &owner), WEFT_OK);
    assert_true(is_denied(as(WHO_IDENTITY, &thief.subject, "admin.list")));
    assert_false(is_denied(as(WHO_IDENTITY, &owner.subject, "admin.list")));
    desk_do(&d, "admin.remove", "{\"identity\":\"boss\"}");
    node_fini(&thief);
    node_fini(&owner);
}

static void unknown_and_forbidden_sound_the_same(void **state)
{
    struct node plain;
    wf_why unknown;

    (void)state;
    desk_identity(&d, "curious", "[]", &plain);
    assert_int_equal(as(WHO_IDENTITY, &plain.subject, "identity.nothing"), WEFT_EREFUSED);
    unknown = d.why;
    assert_int_equal(as(WHO_IDENTITY, &plain.subject, "identity.list"), WEFT_EREFUSED);
    assert_string_equal(d.why.text, unknown.text);
    assert_int_equal(as(WHO_IDENTITY, &plain.subject, ""), WEFT_EREFUSED);
    node_fini(&plain);
}

static void an_administrator_is_one_by_row_not_by_role(void **state)
{
    struct node pretender;

    (void)state;
    desk_identity(&d, "pretender", "[\"#admin\",\"#admins\"]", &pretender);
    assert_true(is_denied(as(WHO_IDENTITY, &pretender.subject, "identity.list")));
    desk_do(&d, "admin.add", "{\"identity\":\"pretender\"}");
    assert_int_equal(as(WHO_IDENTITY, &pretender.subject, "identity.list"), WEFT_OK);
    desk_do(&d, "admin.remove", "{\"identity\":\"pretender\"}");
    assert_true(is_denied(as(WHO_IDENTITY, &pretender.subject, "identity.list")));
    node_fini(&pretender);
}

static void the_last_administrator_stays(void **state)
{
    (void)state;
    assert_int_equal(desk_ask(&d, "admin.remove", "{\"identity\":\"admin\"}"), WEFT_ECONFLICT);
    assert_int_equal(desk_ask(&d, "identity.delete", "{\"name\":\"admin\"}"), WEFT_ECONFLICT);
    assert_int_equal(desk_ask(&d, "identity.disable", "{\"name\":\"admin\"}"), WEFT_ECONFLICT);
    /* A disabled one doesn't count. */
    desk_do(&d, "identity.create", "{\"name\":\"second\"}");
    desk_do(&d, "admin.add", "{\"identity\":\"second\"}");
    desk_do(&d, "identity.disable", "{\"name\":\"second\"}");
    assert_int_equal(desk_ask(&d, "admin.remove", "{\"identity\":\"admin\"}"), WEFT_ECONFLICT);
    desk_do(&d, "admin.list", "{}");
    desk_do(&d, "admin.remove", "{\"identity\":\"second\"}");
    assert_int_equal(desk_ask(&d, "admin.remove", "{\"identity\":\"second\"}"), WEFT_ENOTFOUND);
}

static void refusals_without_end_are_counted_but_do_not_fill_the_log(void **state)
{
    struct node plain;
    unsigned lines = 0;
    uint64_t before = d.c.counters.refusals[WEFT_EREFUSED], began;

    (void)state;
    desk_identity(&d, "noisy", "[]", &plain);
    d.c.log_full_at = 0;
    began = wf_now_mono_ms();
    desk_hush(&d);
    for (int i = 0; i < 200; i++)
        assert_int_equal(as(WHO_IDENTITY, &plain.subject, "x"), WEFT_EREFUSED);
    for (const char *at = d.log; (at = strstr(at, "refused x")) != NULL; at++)
        lines++;
    assert_in_range(lines, 1, 40 + (wf_now_mono_ms() - began) / 50 + 1);
    assert_int_equal(d.c.counters.refusals[WEFT_EREFUSED], before + 200);
    node_fini(&plain);
}

static void acts_are_logged_with_who_and_what_once_they_are_durable(void **state)
{
    (void)state;
    d.c.log_full_at = 0; /* whatever was refused before */
    desk_hush(&d);
    desk_do(&d, "service.create", "{\"name\":\"logged\"}");
    assert_non_null(strstr(d.log, "administrator admin"));
    assert_non_null(strstr(d.log, "service.create logged"));
    desk_hush(&d);
    assert_int_equal(desk_ask(&d, "service.create", "{\"name\":\"logged\"}"), WEFT_EEXIST);
    assert_null(strstr(d.log, "administrator admin"));
    assert_non_null(strstr(d.log, "refused service.create"));
    desk_hush(&d);
    desk_do(&d, "service.list", "{}");
    assert_int_equal(d.log[0], '\0');
}

static void a_failing_call_changes_nothing(void **state)
{
    uint64_t before, after;

    (void)state;
    /* The second policy's name is taken when the service and both identities are there already. */
    desk_do(&d, "service.create", "{\"name\":\"filler\"}");
    desk_do(&d, "policy.create", "{\"name\":\"half-dial\",\"type\":\"dial\"}");
    assert_int_equal(store_node_count(d.c.home.store, PKI_IDENTITY, &before), WEFT_OK);
    assert_int_equal(desk_ask(&d, "share", "{\"name\":\"half\"}"), WEFT_EEXIST);
    assert_int_equal(store_node_count(d.c.home.store, PKI_IDENTITY, &after), WEFT_OK);
    assert_int_equal(before, after);
    assert_int_equal(desk_ask(&d, "service.show", "{\"name\":\"half\"}"), WEFT_ENOTFOUND);
    desk_do(&d, "policy.delete", "{\"name\":\"half-dial\"}");
    desk_do(&d, "share", "{\"name\":\"half\"}");
}

static void share_makes_all_that_a_service_needs(void **state)
{
    (void)state;
    desk_do(&d, "share", "{\"name\":\"web\"}");
    assert_string_equal(desk_text(&d, "service/name"), "web");
    assert_string_equal(desk_text(&d, "host/name"), "web-host");
    assert_string_equal(desk_text(&d, "dialer/name"), "web-dialer");
    assert_non_null(desk_text(&d, "host_token"));
    assert_non_null(desk_text(&d, "dial_token"));
    desk_do(&d, "explain", "{\"identity\":\"web-dialer\",\"service\":\"web\"}");
    assert_string_equal(desk_text(&d, "rule"), "web-dial");
    desk_do(&d, "explain", "{\"identity\":\"web-host\",\"service\":\"web\",\"type\":\"bind\"}");
    assert_string_equal(desk_text(&d, "rule"), "web-bind");
    desk_do(&d, "explain", "{\"identity\":\"web-host\",\"service\":\"web\",\"type\":\"dial\"}");
    assert_non_null(strstr(desk_text(&d, "reason"), "'web-dial' names the service, but not"));
    assert_int_equal(desk_ask(&d, "share", "{\"name\":\"web\"}"), WEFT_EEXIST);
    assert_int_equal(
        desk_ask(&d, "share",
                 "{\"name\":\"a1234567890123456789012345678901234567890123456789012345678\"}"),
        WEFT_EINVAL);
}

static void allow_is_the_same_when_said_twice_and_disallow_takes_it_back(void **state)
{
    char first[WF_ID_TEXT];

    (void)state;
    desk_do(&d, "service.create", "{\"name\":\"jenkins\"}");
    desk_do(&d, "allow", "{\"who\":\"#ci\",\"type\":\"dial\",\"what\":\"@jenkins\"}");
    assert_string_equal(desk_text(&d, "name"), "role.ci-dial-jenkins");
    snprintf(first, sizeof first, "%s", desk_text(&d, "id"));
    desk_do(&d, "allow", "{\"who\":\"#ci\",\"type\":\"dial\",\"what\":\"@jenkins\"}");
    assert_string_equal(desk_text(&d, "id"), first);
    desk_do(&d, "disallow", "{\"who\":\"#ci\",\"type\":\"dial\",\"what\":\"@jenkins\"}");
    assert_string_equal(desk_text(&d, "id"), first);
    assert_int_equal(
        desk_ask(&d, "disallow", "{\"who\":\"#ci\",\"type\":\"dial\",\"what\":\"@jenkins\"}"),
        WEFT_ENOTFOUND);
    assert_int_equal(
        desk_ask(&d, "allow", "{\"who\":\"@ghost\",\"type\":\"dial\",\"what\":\"@jenkins\"}"),
        WEFT_EINVAL);
    assert_int_equal(
        desk_ask(&d, "allow", "{\"who\":\"#ci\",\"type\":\"host\",\"what\":\"@jenkins\"}"),
        WEFT_EINVAL);
    /* A name that is taken by another policy is no obstacle. */
    desk_do(&d, "policy.create", "{\"name\":\"role.x-bind-all\",\"type\":\"dial\"}");
    desk_do(&d, "allow", "{\"who\":\"#x\",\"type\":\"bind\",\"what\":\"#all\"}");
    assert_non_null(strstr(desk_text(&d, "name"), "bind-"));
}

static void explain_says_yes_or_no_and_the_rule(void **state)
{
    json_t *answer;

    (void)state;
    desk_do(&d, "service.create", "{\"name\":\"explained\",\"roles\":[\"#internal\"]}");
    desk_do(&d, "identity.create", "{\"name\":\"asker\",\"roles\":[\"#guest\"]}");
    desk_do(&d, "policy.create",
            "{\"name\":\"guests\",\"type\":\"dial\",\"identity_roles\":[\"#guest\"],"
            "\"service_roles\":[\"#public\"]}");
    desk_do(&d, "explain", "{\"identity\":\"asker\",\"service\":\"explained\"}");
    answer = desk_json(&d);
    assert_true(json_is_false(json_object_get(answer, "allowed")));
    json_decref(answer);
    assert_string_equal(desk_text(&d, "rule"), "guests");
    assert_non_null(strstr(desk_text(&d, "reason"), "no dial policy matches"));
    desk_do(&d, "policy.update", "{\"name\":\"guests\",\"service_roles\":[\"#internal\"]}");
    desk_do(&d, "explain", "{\"identity\":\"asker\",\"service\":\"explained\"}");
    answer = desk_json(&d);
    assert_true(json_is_true(json_object_get(answer, "allowed")));
    json_decref(answer);
    assert_non_null(strstr(desk_text(&d, "reason"), "not enrolled yet"));
    desk_do(&d, "identity.disable", "{\"name\":\"asker\"}");
    desk_do(&d, "explain", "{\"identity\":\"asker\",\"service\":\"explained\"}");
    assert_non_null(strstr(desk_text(&d, "reason"), "is disabled"));
    assert_int_equal(desk_ask(&d, "explain", "{\"identity\":\"ghost\",\"service\":\"explained\"}"),
                     WEFT_ENOTFOUND);
    assert_int_equal(desk_ask(&d, "explain", "{\"identity\":\"asker\",\"service\":\"ghost\"}"),
                     WEFT_ENOTFOUND);
}

static void policies_speak_the_whole_language(void **state)
{
    json_t *answer;

    (void)state;
    desk_do(&d, "service.create", "{\"name\":\"spoken\"}");
    desk_do(&d, "identity.create", "{\"name\":\"speaker\"}");
    desk_do(&d, "policy.create",
            "{\"name\":\"mixed\",\"type\":\"bind\",\"semantic\":\"allOf\","
            "\"identity_roles\":[\"#a\",\"@speaker\",\"#b\"],\"service_roles\":[\"@spoken\"]}");
    desk_do(&d, "policy.show", "{\"name\":\"mixed\"}");
    answer = desk_json(&d);
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(answer, "identity_roles"), 0)), "#a");
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(answer, "identity_roles"), 1)),
        "@speaker");
    assert_string_equal(json_string_value(json_object_get(answer, "semantic")), "allOf");
    json_decref(answer);
    /* A name is an id inside: it follows the rename. */
    desk_do(&d, "service.update", "{\"name\":\"spoken\",\"new_name\":\"sung\"}");
    desk_do(&d, "policy.show", "{\"name\":\"mixed\"}");
    answer = desk_json(&d);
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(answer, "service_roles"), 0)), "@sung");
    json_decref(answer);
    /* And a new thing of the old name is another thing. */
    desk_do(&d, "service.delete", "{\"name\":\"sung\"}");
    desk_do(&d, "service.create", "{\"name\":\"sung\"}");
    desk_do(&d, "policy.show", "{\"name\":\"mixed\"}");
    answer = desk_json(&d);
    assert_int_equal(json_array_size(json_object_get(answer, "service_roles")), 0);
    json_decref(answer);
    assert_int_equal(
        desk_ask(&d, "policy.create",
                 "{\"name\":\"bad\",\"type\":\"dial\",\"identity_roles\":[\"@ghost\"]}"),
        WEFT_EINVAL);
    assert_int_equal(
        desk_ask(&d, "policy.create", "{\"name\":\"bad\",\"type\":\"dial\",\"colour\":\"red\"}"),
        WEFT_EINVAL);
    assert_int_equal(desk_ask(&d, "policy.create", "{\"name\":\"bad\"}"), WEFT_EINVAL);
}

static void an_identity_that_makes_itself_is_not_created(void **state)
{
    (void)state;
    assert_int_equal(desk_ask(&d, "identity.create", "{\"name\":\"fed\",\"enroll\":\"ca\"}"),
                     WEFT_EINVAL);
    assert_non_null(strstr(d.why.text, "such ones make themselves"));
    assert_int_equal(desk_ask(&d, "identity.create", "{\"name\":\"fed\",\"enroll\":\"ottca\"}"),
                     WEFT_EINVAL);
    assert_int_equal(desk_ask(&d, "identity.create", "{\"name\":\"fed\",\"ca\":\"corp\"}"),
                     WEFT_EINVAL);
    desk_do(&d, "identity.create", "{\"name\":\"fed\",\"enroll\":\"ott\"}");
}

static void a_long_listing_comes_in_pages(void **state)
{
    unsigned seen = 0, pages = 0;
    char after[WF_NAME_MAX + 1] = "";
    bool more = true;

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        desk_do(&d, "service.create", "{\"name\":\"page-%04u\"}", i);
    while (more) {
        json_t *answer;
        const json_t *items;

        if (after[0] == '\0')
            desk_do(&d, "service.list", "{}");
        else
            desk_do(&d, "service.list", "{\"after\":\"%s\"}", after);
        pages++;
        answer = desk_json(&d);
        items = json_object_get(answer, "items");
        for (size_t i = 0; i < json_array_size(items); i++)
            seen += strncmp(json_string_value(json_object_get(json_array_get(items, i), "name")),
                            "page-", 5) == 0;
        more = json_object_get(answer, "next") != NULL;
        if (more)
            snprintf(after, sizeof after, "%s", json_string_value(json_object_get(answer, "next")));
        json_decref(answer);
    }
    assert_int_equal(seen, 1000);
    assert_true(pages > 1);
}

static void grants_name_what_policy_allows_and_nothing_else(void **state)
{
    static const char *const asked[] = {"granted", NULL};
    static const char *const forbidden[] = {"ungranted", NULL};
    static const char *const unknown[] = {"no-such-service", NULL};
    Weft__Wire__GrantsResult *r = NULL, *other = NULL;
    struct node n;

    (void)state;
    desk_do(&d, "service.create", "{\"name\":\"granted\"}");
    desk_do(&d, "service.create", "{\"name\":\"ungranted\"}");
    desk_identity(&d, "grantee", "[]", &n);
    desk_do(&d, "allow", "{\"who\":\"@grantee\",\"type\":\"dial\",\"what\":\"@granted\"}");
    assert_int_equal(desk_grants(&d, &n, NULL, 0, &r), WEFT_OK);
    assert_int_equal(r->n_grants, 1);
    assert_int_equal(r->refused_code, 0);
    assert_int_equal(desk_check(&d, &n, r->grants[0], POLICY_DIAL), WEFT_OK);
    assert_int_equal(desk_check(&d, &n, r->grants[0], POLICY_BIND), WEFT_EREFUSED);
    wf_grants_result_free(r);
    assert_int_equal(desk_grants(&d, &n, asked, 0, &r), WEFT_OK);
    assert_int_equal(r->n_grants, 1);
    wf_grants_result_free(r);

    desk_hush(&d);
    assert_int_equal(desk_grants(&d, &n, forbidden, 0, &r), WEFT_OK);
    assert_non_null(strstr(d.log, "ungranted"));
    desk_hush(&d);
    assert_int_equal(desk_grants(&d, &n, unknown, 0, &other), WEFT_OK);
    assert_non_null(strstr(d.log, "there is no service"));
    assert_int_equal(r->n_grants, 0);
    assert_int_equal(r->refused_code, WEFT_EREFUSED);
    assert_int_equal(other->refused_code, WEFT_EREFUSED);
    assert_string_equal(r->refused_reason, other->refused_reason);
    wf_grants_result_free(r);
    wf_grants_result_free(other);
    node_fini(&n);
}

static void grants_end_with_the_certificate_at_the_latest(void **state)
{
    static const uint64_t day = 86400000ull;
    Weft__Wire__GrantsResult *r = NULL;
    Weft__Wire__GrantBody *body = NULL;
    struct node n;
    uint64_t now = wf_now_wall_ms();

    (void)state;
    desk_do(&d, "service.create", "{\"name\":\"carried\"}");
    desk_identity(&d, "carrier", "[]", &n);
    desk_do(&d, "allow", "{\"who\":\"@carrier\",\"type\":\"dial\",\"what\":\"@carried\"}");
    static const struct {
        uint64_t at, carry, life;
    } cases[] = {{0, 0, day}, {0, 7 * day, 7 * day}, {0, 400 * day, 30 * day}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        d.now = now;
        assert_int_equal(desk_grants(&d, &n, NULL, cases[i].carry, &r), WEFT_OK);
        assert_int_equal(
            wf_grant_body_decode(r->grants[0]->body.data, r->grants[0]->body.len, &body, NULL),
            WEFT_OK);
        assert_int_equal(body->expiry - now, cases[i].life);
        wf_grant_body_free(body);
        wf_grants_result_free(r);
    }
    d.now = now + 80 * day;
    assert_int_equal(desk_grants(&d, &n, NULL, 30 * day, &r), WEFT_OK);
    assert_int_equal(
        wf_grant_body_decode(r->grants[0]->body.data, r->grants[0]->body.len, &body, NULL),
        WEFT_OK);
    assert_int_equal(body->expiry, n.subject.not_after);
    wf_grant_body_free(body);
    wf_grants_result_free(r);
    d.now = 0;
    node_fini(&n);
}

static void many_grants_fit_a_reply_or_come_by_name(void **state)
{
    static const char *const last[] = {"many-0299", NULL};
    Weft__Wire__GrantsResult *r = NULL;
    struct node n;

    (void)state;
    for (unsigned i = 0; i < 300; i++)
        desk_do(&d, "service.create", "{\"name\":\"many-%04u\",\"roles\":[\"#many\"]}", i);
    desk_identity(&d, "collector", "[]", &n);
    desk_do(&d, "allow", "{\"who\":\"@collector\",\"type\":\"dial\",\"what\":\"#many\"}");
    assert_int_equal(desk_grants(&d, &n, NULL, 0, &r), WEFT_OK);
    assert_in_range(r->n_grants, 150, WF_GRANTS_PREFETCH);
    wf_grants_result_free(r);
    assert_int_equal(desk_grants(&d, &n, last, 0, &r), WEFT_OK);
    assert_int_equal(r->n_grants, 1);
    wf_grants_result_free(r);
    node_fini(&n);
}

static void status_counts(void **state)
{
    (void)state;
    desk_do(&d, "status", "{}");
    assert_string_equal(desk_text(&d, "domain"), "test.weft");
    assert_non_null(desk_text(&d, "version"));
    assert_int_equal(desk_ask(&d, "status", "{\"verbose\":true}"), WEFT_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_takes_its_own_callers_and_no_others),
        cmocka_unit_test(an_expired_certificate_may_renew_and_nothing_else),
        cmocka_unit_test(a_key_that_was_replaced_administers_nothing),
        cmocka_unit_test(unknown_and_forbidden_sound_the_same),
        cmocka_unit_test(an_administrator_is_one_by_row_not_by_role),
        cmocka_unit_test(the_last_administrator_stays),
        cmocka_unit_test(refusals_without_end_are_counted_but_do_not_fill_the_log),
        cmocka_unit_test(acts_are_logged_with_who_and_what_once_they_are_durable),
        cmocka_unit_test(a_failing_call_changes_nothing),
        cmocka_unit_test(share_makes_all_that_a_service_needs),
        cmocka_unit_test(allow_is_the_same_when_said_twice_and_disallow_takes_it_back),
        cmocka_unit_test(explain_says_yes_or_no_and_the_rule),
        cmocka_unit_test(policies_speak_the_whole_language),
        cmocka_unit_test(an_identity_that_makes_itself_is_not_created),
        cmocka_unit_test(a_long_listing_comes_in_pages),
        cmocka_unit_test(grants_name_what_policy_allows_and_nothing_else),
        cmocka_unit_test(grants_end_with_the_certificate_at_the_latest),
        cmocka_unit_test(many_grants_fit_a_reply_or_come_by_name),
        cmocka_unit_test(status_counts),
    };

    desk_use(&d);
    return cmocka_run_group_tests(tests, open_desk, close_desk);
}
