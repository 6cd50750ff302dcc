/* What a peer can make us write into the log. */
#include "sdk/lines.h"
#include "tests/helpers/test.h"
#include <stdio.h>
#include <string.h>

static unsigned written;
static char last[512];

static void on_line(void *arg, const char *text)
{
    (void)arg;
    written++;
    snprintf(last, sizeof last, "%s", text);
}

static int open_log(void **state)
{
    (void)state;
    written = 0;
    wf_log_open("test", WF_LOG_DEBUG, WF_LOG_TEXT);
    wf_log_redirect(on_line, NULL);
    return 0;
}

static void a_peer_that_repeats_itself_is_counted_not_written_down(void **state)
{
    struct wf_lines l = {0};
    uint64_t now = 777777;
    (void)state;
    for (int i = 0; i < 5000; i++)
        wf_lines_put(&l, now + (uint64_t)i, WF_LOG_INFO, "again %d", i);
    assert_int_equal(written, WF_LINES_MAX);
    assert_non_null(strstr(last, "again 9"));
    wf_lines_look(&l, now + WF_LINES_MS - 1);
    assert_int_equal(written, WF_LINES_MAX);
    wf_lines_look(&l, now + WF_LINES_MS);
    assert_int_equal(written, WF_LINES_MAX + 1);
    assert_non_null(strstr(last, "4990 more"));
    wf_lines_look(&l, now + 5 * WF_LINES_MS);
    assert_int_equal(written, WF_LINES_MAX + 1); /* said once */
}

static void the_count_comes_with_the_next_line_and_then_there_is_room_again(void **state)
{
    struct wf_lines l = {0};
    (void)state;
    for (int i = 0; i < 11; i++)
        wf_lines_put(&l, 5, WF_LOG_INFO, "first");
    wf_lines_put(&l, 5 + WF_LINES_MS, WF_LOG_INFO, "second");
    assert_int_equal(written, WF_LINES_MAX + 2);
    assert_non_null(strstr(last, "second"));
    for (int i = 0; i < 20; i++)
        wf_lines_put(&l, 6 + WF_LINES_MS, WF_LOG_INFO, "third");
    assert_int_equal(written, 2 * WF_LINES_MAX + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_peer_that_repeats_itself_is_counted_not_written_down, open_log),
        cmocka_unit_test_setup(the_count_comes_with_the_next_line_and_then_there_is_room_again,
                               open_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
