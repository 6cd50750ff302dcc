/* Durations and times as text; that the clocks move. */
#include "proto/base/clock.h"
#include "tests/helpers/test.h"

static void durations_are_read_with_each_unit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } rows[] = {{"30d", 2592000000u},
                {"12h", 43200000},
                {"15m", 900000},
                {"20s", 20000},
                {"250ms", 250},
                {"7", 7000},
                {"0", 0},
                {"0d", 0},
                {"18446744073709551615ms", UINT64_MAX}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t ms = 1;
        assert_int_equal(wf_duration_parse(rows[i].text, &ms), WEFT_OK);
        assert_int_equal(ms, rows[i].ms);
    }
}

static void a_doubtful_duration_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "d",
                                        "-1s",
                                        "+1s",
                                        " 1s",
                                        "1s ",
                                        "1 s",
                                        "1.5h",
                                        "1w",
                                        "1D",
                                        "1sm",
                                        "0x10",
                                        "1ss",
                                        "1h5",
                                        "s1",
                                        "1e3",
                                        "1s\n",
                                        "18446744073709551616ms",
                                        "18446744073709551615",
                                        "213503982335d",
                                        "99999999999999999999999999"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        uint64_t ms = 77;
        assert_int_equal(wf_duration_parse(texts[i], &ms), WEFT_EINVAL);
        assert_int_equal(ms, 77);
    }
}

static void times_are_written_as_rfc_3339(void **state)
{
    (void)state;
    char buf[24];
    assert_string_equal(wf_time_text(0, buf), "1970-01-01T00:00:00Z");
    assert_string_equal(wf_time_text(1795192468000u, buf), "2026-11-20T16:34:28Z");
    assert_string_equal(wf_time_text(1795192468999u, buf), "2026-11-20T16:34:28Z");
    assert_string_equal(wf_time_text(1709164800000u, buf), "2024-02-29T00:00:00Z");
}

static void a_time_beyond_four_digit_years_stays_in_its_buffer(void **state)
{
    (void)state;
    char buf[24];
    assert_string_equal(wf_time_text(253402300799000u, buf), "9999-12-31T23:59:59Z");
    assert_string_equal(wf_time_text(253402300800000u, buf), "9999-12-31T23:59:59Z");
    assert_string_equal(wf_time_text(UINT64_MAX, buf), "9999-12-31T23:59:59Z");
}

static void the_monotonic_clock_never_goes_back(void **state)
{
    (void)state;
    uint64_t last = wf_now_mono_ms();
    for (int i = 0; i < 10000; i++) {
        uint64_t now = wf_now_mono_ms();
        assert_true(now >= last);
        last = now;
    }
    assert_true(wf_now_wall_ms() > 1700000000000u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_read_with_each_unit),
        cmocka_unit_test(a_doubtful_duration_is_refused_and_changes_nothing),
        cmocka_unit_test(times_are_written_as_rfc_3339),
        cmocka_unit_test(a_time_beyond_four_digit_years_stays_in_its_buffer),
        cmocka_unit_test(the_monotonic_clock_never_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
