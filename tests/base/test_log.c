/* The log: silence first, one line an event, no byte from outside out of its place. */
#include "proto/base/log.h"
#include "tests/helpers/test.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char last[8192];
static unsigned lines;

static void take_line(void *arg, const char *text)
{
    (void)arg;
    snprintf(last, sizeof last, "%s", text);
    lines++;
}

static void a_library_that_nobody_opened_is_silent(void **state)
{
    (void)state;
    wf_log_redirect(take_line, NULL);
    wf_log_error("lost");
    assert_int_equal(lines, 0);
}

static void a_line_has_its_time_level_program_and_message(void **state)
{
    (void)state;
    wf_log_redirect(take_line, NULL);
    wf_log_open("weft-router", WF_LOG_INFO, WF_LOG_TEXT);
    wf_log_info("link %d up", 7);
    assert_int_equal(strlen(last), strlen("2026-11-20T16:34:28.123Z info  weft-router: link 7 up"));
    assert_string_equal(last + 24, " info  weft-router: link 7 up");
    assert_int_equal(last[10], 'T');
    assert_int_equal(last[23], 'Z');
}

static void levels_above_the_chosen_one_are_left_out(void **state)
{
    (void)state;
    wf_log_redirect(take_line, NULL);
    wf_log_open("p", WF_LOG_WARN, WF_LOG_TEXT);
    lines = 0;
    wf_log_error("e");
    wf_log_warn("w");
    wf_log_info("i");
    wf_log_debug("d");
    assert_int_equal(lines, 2);
    wf_log_open("p", WF_LOG_DEBUG, WF_LOG_TEXT);
    wf_log_debug("d");
    assert_int_equal(lines, 3);
}

static void json_escapes_what_would_end_its_string(void **state)
{
    (void)state;
    wf_log_redirect(take_line, NULL);
    wf_log_open("p", WF_LOG_INFO, WF_LOG_JSON);
    wf_log_info("%s", "a\"},{\"level\":\"x\\\n\x01\xff");
    static const char ts[] = "{\"ts\":\"2026-11-20T16:34:28.123Z";
    assert_string_equal(
        last + strlen(ts),
        "\",\"level\":\"info\",\"program\":\"p\",\"msg\":\"a\\\"},{\\\"level\\\":\\\"x\\\\???\"}");
}

static void a_newline_in_a_value_starts_no_line(void **state)
{
    (void)state;
    wf_log_redirect(take_line, NULL);
    wf_log_open("p", WF_LOG_INFO, WF_LOG_TEXT);
    wf_log_info("peer says %s", "x\n2026-11-20T00:00:00.000Z error p: forged\r\x1b[2J");
    assert_null(strpbrk(last, "\n\r\x1b"));
}

static void the_longest_message_full_of_quotes_fits_one_line(void **state)
{
    (void)state;
    char lot[5000];
    memset(lot, '"', sizeof lot - 1);
    lot[sizeof lot - 1] = '\0';
    wf_log_redirect(take_line, NULL);
    wf_log_open("p", WF_LOG_INFO, WF_LOG_JSON);
    lines = 0;
    wf_log_info("%s", lot);
    assert_int_equal(lines, 1);
    assert_string_equal(last + strlen(last) - 4, "\\\"\"}");
}

static void errno_survives_a_line(void **state)
{
    (void)state;
    wf_log_redirect(NULL, NULL);
    wf_log_open("p", WF_LOG_INFO, WF_LOG_TEXT);
    int keep = dup(STDERR_FILENO);
    close(STDERR_FILENO); /* the write fails and sets errno */
    errno = ENOSPC;
    wf_log_info("x");
    int after = errno;
    dup2(keep, STDERR_FILENO);
    close(keep);
    assert_int_equal(after, ENOSPC);
}

static void levels_are_read_by_name_only(void **state)
{
    (void)state;
    enum wf_log_level level = WF_LOG_DEBUG;
    assert_int_equal(wf_log_level_parse("error", &level), WEFT_OK);
    assert_int_equal(level, WF_LOG_ERROR);
    assert_int_equal(wf_log_level_parse("debug", &level), WEFT_OK);
    assert_int_equal(level, WF_LOG_DEBUG);
    static const char *const bad[] = {"", "Error", "inf", "info ", "3", "trace"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(wf_log_level_parse(bad[i], &level), WEFT_EINVAL);
    assert_int_equal(level, WF_LOG_DEBUG);
}

#define THREADS 4
#define EACH 200

static void *write_lines(void *arg)
{
    for (int i = 0; i < EACH; i++)
        wf_log_info("%s", (const char *)arg);
    return NULL;
}

static void lines_of_many_threads_do_not_mix(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    assert_non_null(file);
    int keep = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    wf_log_redirect(NULL, NULL);
    wf_log_open("p", WF_LOG_INFO, WF_LOG_TEXT);

    static char texts[THREADS][301];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        memset(texts[i], 'a' + i, 300);
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, texts[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    dup2(keep, STDERR_FILENO);
    close(keep);

    rewind(file);
    char line[1000];
    int whole[THREADS] = {0};
    while (fgets(line, sizeof line, file) != NULL) {
        const char *text = strstr(line, ": ");
        assert_non_null(text);
        int who = text[2] - 'a';
        assert_in_range(who, 0, THREADS - 1);
        assert_memory_equal(text + 2, texts[who], 300);
        assert_string_equal(text + 302, "\n");
        whole[who]++;
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(whole[i], EACH);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_library_that_nobody_opened_is_silent),
        cmocka_unit_test(a_line_has_its_time_level_program_and_message),
        cmocka_unit_test(levels_above_the_chosen_one_are_left_out),
        cmocka_unit_test(json_escapes_what_would_end_its_string),
        cmocka_unit_test(a_newline_in_a_value_starts_no_line),
        cmocka_unit_test(the_longest_message_full_of_quotes_fits_one_line),
        cmocka_unit_test(errno_survives_a_line),
        cmocka_unit_test(levels_are_read_by_name_only),
        cmocka_unit_test(lines_of_many_threads_do_not_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
