/* What a grant is bound to: hours of the UTC week, prefixes of addresses. */
#include "pki/terms.h"
#include "pki/trust.h"
#include "tests/helpers/authority.h"
#include "tests/helpers/test.h"
#include <string.h>

#define MINUTE 60000ull
#define DAY (1440ull * MINUTE)
#define WEEK (7ull * DAY)
#define TOLERANCE ((uint64_t)WF_CLOCK_TOLERANCE_MS)
/* 2026-11-16 00:00 UTC, a Monday */
#define MONDAY 1794787200000ull

static struct pki_terms one(uint16_t from, uint16_t to)
{
    return (struct pki_terms){.window_count = 1, .windows = {{from, to}}};
}

/* ---- windows */

static void without_windows_it_is_always_open(void **state)
{
    (void)state;
    struct pki_terms none = {0};
    assert_true(pki_terms_is_open(&none, 0));
    assert_true(pki_terms_is_open(&none, UINT64_MAX));
    assert_true(pki_terms_next_change(&none, MONDAY) == UINT64_MAX);
    assert_int_equal(pki_terms_check_window(&none, MONDAY, NULL), WEFT_OK);
}

static void a_window_opens_early_by_the_tolerance_and_closes_on_time(void **state)
{
    (void)state;
    struct pki_terms t = one(8 * 60, 18 * 60); /* Mon 08:00-18:00 */
    uint64_t from = MONDAY + 480 * MINUTE, to = MONDAY + 1080 * MINUTE;
    assert_false(pki_terms_is_open(&t, from - TOLERANCE - 1));
    assert_true(pki_terms_is_open(&t, from - TOLERANCE));
    assert_true(pki_terms_is_open(&t, from));
    assert_true(pki_terms_is_open(&t, to - 1));
    assert_false(pki_terms_is_open(&t, to));
    assert_false(pki_terms_is_open(&t, from + DAY));
    assert_true(pki_terms_is_open(&t, from + WEEK));
    assert_true(pki_terms_is_open(&t, from + 100 * WEEK));
}

static void the_week_begins_on_monday_in_1970_as_well(void **state)
{
    (void)state;
    struct pki_terms thursday = one(3 * 1440, 3 * 1440 + 1);
    assert_true(pki_terms_is_open(&thursday, 0)); /* 1970-01-01 */
    assert_true(pki_terms_is_open(&thursday, MINUTE - 1));
    assert_false(pki_terms_is_open(&thursday, MINUTE));
}

static void a_window_that_opens_on_monday_opens_early_on_sunday(void **state)
{
    (void)state;
    struct pki_terms t = one(0, 1);
    assert_true(pki_terms_is_open(&t, MONDAY - TOLERANCE));
    assert_true(pki_terms_is_open(&t, MONDAY));
    assert_false(pki_terms_is_open(&t, MONDAY + MINUTE));
    assert_false(pki_terms_is_open(&t, MONDAY - TOLERANCE - 1));
}

static void two_windows_are_one_over_sunday_midnight(void **state)
{
    (void)state;
    struct pki_terms t = {.window_count = 2, .windows = {{0, 60}, {10020, 10080}}};
    uint64_t from = MONDAY + WEEK - 60 * MINUTE, to = MONDAY + WEEK + 60 * MINUTE;
    assert_true(pki_terms_is_open(&t, MONDAY + WEEK - 1));
    assert_true(pki_terms_is_open(&t, MONDAY + WEEK));
    assert_true(pki_terms_next_change(&t, from) == to);
    assert_true(pki_terms_next_change(&t, MONDAY + WEEK) == to);
    assert_true(pki_terms_next_change(&t, to) == from + WEEK - TOLERANCE);
}

static void the_whole_week_never_closes(void **state)
{
    (void)state;
    struct pki_terms t = one(0, 10080);
    for (uint64_t at = MONDAY; at < MONDAY + WEEK; at += 7 * MINUTE + 1)
        assert_true(pki_terms_is_open(&t, at));
    assert_true(pki_terms_next_change(&t, MONDAY + 1234) == UINT64_MAX);
}

/* Every minute of a week, against the definition said in another way. */
static void the_next_change_is_where_it_changes(void **state)
{
    (void)state;
    static const struct pki_terms cases[] = {
        {.window_count = 1, .windows = {{480, 1080}}},
        {.window_count = 2, .windows = {{480, 1080}, {1000, 1200}}},
        {.window_count = 2, .windows = {{480, 1080}, {1080, 1200}}},
        {.window_count = 2,
         .windows = {{480, 1080}, {1083, 1200}}}, /* the gap is the tolerance's */
        {.window_count = 3, .windows = {{10000, 10080}, {0, 3}, {5000, 5001}}},
        {.window_count = 1, .windows = {{0, 10079}}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        for (uint64_t at = MONDAY; at < MONDAY + WEEK; at += 11 * MINUTE) {
            uint64_t next = pki_terms_next_change(&cases[c], at);
            bool open = pki_terms_is_open(&cases[c], at);
            if (next == UINT64_MAX)
                next = at + WEEK;
            else
                assert_true(pki_terms_is_open(&cases[c], next) != open);
            assert_true(next > at && next <= at + WEEK);
            for (uint64_t t = at; t < next && t < at + DAY; t += MINUTE)
                assert_true(pki_terms_is_open(&cases[c], t) == open);
            assert_true(pki_terms_is_open(&cases[c], next - 1) == open);
        }
    }
}

static void the_refusal_says_which_hours_and_what_time_it_is(void **state)
{
    (void)state;
    wf_why why = {""};
    struct pki_terms t = {.window_count = 3,
                          .windows = {{480, 1080}, {1440 + 1320, 2 * 1440 + 360}, {8640, 10080}}};
    assert_int_equal(pki_terms_check_window(&t, MONDAY + 3 * DAY + 1152 * MINUTE, &why),
                     WEFT_EREFUSED);
    assert_string_equal(why.text,
                        "outside of its hours: open Mon 08:00-18:00, Tue 22:00-Wed 06:00, "
                        "Sun 00:00-24:00 UTC, and it is Thu 19:12");
    char text[PKI_WINDOWS_TEXT];
    t.window_count = WF_WINDOWS_MAX;
    for (size_t i = 0; i < WF_WINDOWS_MAX; i++)
        t.windows[i] = (struct pki_window){(uint16_t)(600 * i + 1), (uint16_t)(600 * i + 2)};
    assert_non_null(strstr(pki_terms_windows_text(&t, text), " and more"));
}

/* ---- sources */

static bool allows(const char *prefix, const char *remote)
{
    struct pki_terms t = {.source_count = 1};
    wf_why why = {""};
    assert_int_equal(pki_prefix_parse(prefix, &t.sources[0], &why), WEFT_OK);
    weft_err err = pki_terms_check_source(&t, remote, &why);
    assert_true(err == WEFT_OK || (err == WEFT_EREFUSED && strstr(why.text, remote) != NULL));
    return err == WEFT_OK;
}

static void a_source_holds_its_addresses_and_no_other(void **state)
{
    (void)state;
    assert_true(allows("0.0.0.0/0", "192.0.2.7:5001"));
    assert_true(allows("128.0.0.0/1", "192.0.2.7:5001"));
    assert_false(allows("0.0.0.0/1", "192.0.2.7:5001"));
    assert_true(allows("10.1.2.4/31", "10.1.2.5:1"));
    assert_false(allows("10.1.2.4/31", "10.1.2.6:1"));
    assert_true(allows("10.1.2.4/32", "10.1.2.4:1"));
    assert_true(allows("10.1.2.4", "10.1.2.4:1"));
    assert_false(allows("10.1.2.4/32", "10.1.2.5:1"));
    assert_true(allows("::/0", "[2001:db8::7]:5001"));
    assert_true(allows("2001:db8::4/127", "[2001:db8::5]:1"));
    assert_false(allows("2001:db8::4/127", "[2001:db8::6]:1"));
    assert_true(allows("2001:db8::4/128", "[2001:db8::4]:1"));
    assert_false(allows("2001:db8::4", "[2001:db8::5]:1"));
    assert_true(allows("2001:db8::/33", "[2001:db8:7fff::]:1"));
    assert_false(allows("2001:db8::/33", "[2001:db8:8000::]:1"));
    assert_true(allows("fe80::/10", "[fe80::1%eth0]:1"));
}

static void a_mapped_address_is_ipv4(void **state)
{
    (void)state;
    assert_true(allows("10.0.0.0/8", "[::ffff:10.1.2.3]:1"));
    assert_false(allows("10.0.0.0/8", "[::ffff:11.1.2.3]:1"));
    assert_true(allows("::ffff:10.0.0.0/104", "10.1.2.3:1"));
    assert_true(allows("::ffff:0.0.0.0/96", "10.1.2.3:1"));
    assert_false(allows("::/0", "10.1.2.3:1")); /* all of IPv6 is not IPv4 */
    assert_false(allows("::/0", "[::ffff:10.1.2.3]:1"));
    assert_false(allows("0.0.0.0/0", "[2001:db8::7]:1"));
}

static void what_is_no_address_comes_from_nowhere(void **state)
{
    (void)state;
    static const char *const junk[] = {"",
                                       "?",
                                       "[",
                                       "[]:1",
                                       "[::1",
                                       "host:1",
                                       "10.1.2:1",
                                       "1111111111111111111111111111111111111111111111111111111111"
                                       "1111111111:1"};
    for (size_t i = 0; i < sizeof junk / sizeof junk[0]; i++) {
        struct pki_terms t = {.source_count = 2, .sources = {{.len = 4}, {.len = 16}}};
        assert_int_equal(pki_terms_check_source(&t, junk[i], NULL), WEFT_EREFUSED);
        t.source_count = 0;
        assert_int_equal(pki_terms_check_source(&t, junk[i], NULL), WEFT_OK);
    }
    static const uint8_t zeros[32];
    struct pki_terms all = {.source_count = 2, .sources = {{.len = 4}, {.len = 16}}};
    for (size_t len = 0; len <= sizeof zeros; len++)
        assert_int_equal(pki_terms_allows(&all, zeros, len), len == 4 || len == 16);
}

static void a_prefix_that_says_too_much_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",        "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/-1", "::/129",
        "::1/127", "10.0.0/8",    "x/8",        "/8",        "10.0.0.0/8 ", "10.0.0.0/8/8"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct pki_prefix p;
        wf_why why = {""};
        assert_int_equal(pki_prefix_parse(bad[i], &p, &why), WEFT_EINVAL);
        assert_true(strlen(why.text) > 0);
    }
    char text[PKI_PREFIX_TEXT];
    struct pki_prefix p;
    assert_int_equal(pki_prefix_parse("2001:DB8::/32", &p, NULL), WEFT_OK);
    assert_string_equal(pki_prefix_text(&p, text), "2001:db8::/32");
    assert_int_equal(pki_prefix_parse("192.0.2.7", &p, NULL), WEFT_OK);
    assert_string_equal(pki_prefix_text(&p, text), "192.0.2.7/32");
}

/* ---- inside a grant */

static void a_grant_keeps_its_hours_though_it_was_seen_before(void **state)
{
    (void)state;
    struct authority a;
    struct authority_node ci;
    struct pki_subject who;
    struct pki_grant out;
    wf_why why = {""};
    wf_id web = wf_id_random();
    struct pki_terms t = {.sessions = 3,
                          .sessions_per_identity = 2,
                          .idle_ms = 4,
                          .age_ms = 5,
                          .window_count = 1,
                          .windows = {{480, 1080}},
                          .source_count = 2};
    assert_int_equal(pki_prefix_parse("10.0.0.0/8", &t.sources[0], NULL), WEFT_OK);
    assert_int_equal(pki_prefix_parse("2001:db8::/32", &t.sources[1], NULL), WEFT_OK);
    authority_init(&a, "test.weft", MONDAY + 540 * MINUTE);
    authority_issue(&a, PKI_IDENTITY, "ci", &ci);
    authority_subject(&a, &ci, &who);
    pki_trust *trust = authority_trust(&a);
    Weft__Wire__Signed *g =
        authority_grant_bound(&a, &ci, &web, "web", WEFT__WIRE__ROLE__ROLE_DIAL, &t);

    assert_int_equal(
        pki_trust_check_grant(trust, g, &who, &web, WEFT__WIRE__ROLE__ROLE_DIAL, a.now, &out, &why),
        WEFT_OK);
    assert_memory_equal(&out.terms, &t, sizeof t);
    out.epoch = 7;
    assert_int_equal(pki_trust_check_grant(trust, g, &who, &web, WEFT__WIRE__ROLE__ROLE_DIAL,
                                           MONDAY + 1080 * MINUTE, &out, &why),
                     WEFT_EREFUSED);
    assert_int_equal(out.epoch, 7); /* untouched */
    assert_string_equal(why.text, "ci may not dial web now: outside of its hours: open Mon "
                                  "08:00-18:00 UTC, and it is Mon 18:00");
    assert_int_equal(pki_trust_read_grant(trust, g, &who, &web, WEFT__WIRE__ROLE__ROLE_DIAL,
                                          MONDAY + 1080 * MINUTE, &out, &why),
                     WEFT_OK);
    wf_signed_free(g);
    pki_trust_unref(trust);
    authority_node_fini(&ci);
    authority_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_windows_it_is_always_open),
        cmocka_unit_test(a_window_opens_early_by_the_tolerance_and_closes_on_time),
        cmocka_unit_test(the_week_begins_on_monday_in_1970_as_well),
        cmocka_unit_test(a_window_that_opens_on_monday_opens_early_on_sunday),
        cmocka_unit_test(two_windows_are_one_over_sunday_midnight),
        cmocka_unit_test(the_whole_week_never_closes),
        cmocka_unit_test(the_next_change_is_where_it_changes),
        cmocka_unit_test(the_refusal_says_which_hours_and_what_time_it_is),
        cmocka_unit_test(a_source_holds_its_addresses_and_no_other),
        cmocka_unit_test(a_mapped_address_is_ipv4),
        cmocka_unit_test(what_is_no_address_comes_from_nowhere),
        cmocka_unit_test(a_prefix_that_says_too_much_is_refused),
        cmocka_unit_test(a_grant_keeps_its_hours_though_it_was_seen_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
