/* Commands, flags and variables as people type them, right and wrong. */
#include "proto/node/program.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char told[512]; /* what the command that ran saw */

static weft_err run_create(const struct wf_call_line *line, wf_why *why)
{
    long n = 0;
    weft_err err = wf_line_number(line, "retry", 7, 0, 9, &n, why);
    if (err != WEFT_OK)
        return err;
    const char *roles = wf_line_text(line, "roles");
    snprintf(told, sizeof told, "create %s roles=%s stay=%d retry=%ld", wf_line_arg(line, 0),
             roles != NULL ? roles : "-", wf_line_flag(line, "stay"), n);
    for (size_t i = 0; wf_line_list(line, "header", i) != NULL; i++) {
        size_t at = strlen(told);
        snprintf(told + at, sizeof told - at, " h=%s", wf_line_list(line, "header", i));
    }
    return WEFT_OK;
}

static weft_err run_refused(const struct wf_call_line *line, wf_why *why)
{
    (void)line;
    return wf_fail(why, WEFT_EREFUSED, "refused by a rule");
}

static const struct wf_option create_options[] = {
    {"roles", WF_OPTION_TEXT, "A,B", "roles"}, {"stay", WF_OPTION_FLAG, NULL, "stay"},
    {"retry", WF_OPTION_TEXT, "N", "tries"},   {"header", WF_OPTION_LIST, "K:V", "headers"},
    {"who", WF_OPTION_FILE, "FILE", "who"},    {NULL, WF_OPTION_FLAG, NULL, NULL},
};

static const struct wf_command commands[] = {
    {"identity create", "NAME", "makes one", "prog identity create x", create_options, 1, 1,
     run_create},
    {"refused", "", "is refused", NULL, NULL, 0, 0, run_refused},
    {NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};

static const struct wf_program program = {"prog", "A program.", commands, NULL, false, NULL};

static char out_text[8192], err_text[8192];

static void slurp(FILE *f, char *text, size_t size)
{
    rewind(f);
    size_t n = fread(text, 1, size - 1, f);
    text[n] = 0;
    fclose(f);
}

/* Runs the words (NULL-terminated) with both outputs caught; returns the exit status. */
static int run(const char *const *words)
{
    char *argv[16], text[16][64];
    int argc = 0;
    for (; words[argc] != NULL; argc++) {
        snprintf(text[argc], sizeof text[argc], "%s", words[argc]);
        argv[argc] = text[argc];
    }
    argv[argc] = NULL;
    told[0] = 0;
    fflush(stdout);
    fflush(stderr);
    FILE *out = tmpfile(), *err = tmpfile();
    int keep_out = dup(1), keep_err = dup(2);
    dup2(fileno(out), 1);
    dup2(fileno(err), 2);
    int status = wf_program_run(&program, argc, argv);
    fflush(stdout);
    fflush(stderr);
    dup2(keep_out, 1);
    dup2(keep_err, 2);
    close(keep_out);
    close(keep_err);
    slurp(out, out_text, sizeof out_text);
    slurp(err, err_text, sizeof err_text);
    return status;
}

#define RUN(...) run((const char *const[]){"prog", __VA_ARGS__, NULL})

static void flags_may_stand_anywhere_and_take_both_forms(void **state)
{
    (void)state;
    assert_int_equal(RUN("identity", "create", "--roles", "a,b", "x", "--retry=3", "--stay"), 0);
    assert_string_equal(told, "create x roles=a,b stay=1 retry=3");
}

static void a_flag_beats_its_variable_which_beats_the_default(void **state)
{
    (void)state;
    setenv("WEFT_ROLES", "env", 1);
    setenv("WEFT_HEADER", "A:1\nB:2", 1);
    assert_int_equal(RUN("identity", "create", "x"), 0);
    assert_string_equal(told, "create x roles=env stay=0 retry=7 h=A:1 h=B:2");
    assert_int_equal(RUN("identity", "create", "x", "--roles", "line", "--header", "C:3"), 0);
    assert_string_equal(told, "create x roles=line stay=0 retry=7 h=C:3");
    unsetenv("WEFT_ROLES");
    unsetenv("WEFT_HEADER");
}

static void wrong_usage_is_one_line_and_status_2(void **state)
{
    (void)state;
    assert_int_equal(RUN("identity", "create"), 2);
    assert_string_equal(
        err_text,
        "prog: identity create: an argument is missing: usage: prog identity create NAME\n");
    assert_int_equal(RUN("identity", "create", "x", "y"), 2);
    assert_int_equal(RUN("identity", "create", "x", "--rolls", "a"), 2);
    assert_string_equal(err_text,
                        "prog: identity create: unknown option --rolls; --help lists them\n");
    assert_int_equal(RUN("identity", "create", "x", "--roles"), 2);
    assert_int_equal(RUN("identity", "create", "x", "--stay=1"), 2);
    assert_int_equal(RUN("identity", "create", "x", "-q"), 2);
    assert_int_equal(RUN("identity", "create", "x", "--retry", "10"), 2);
    assert_int_equal(RUN("identity", "create", "x", "--retry", "3x"), 2);
    assert_int_equal(RUN("identity", "create", "x", "--log-level", "loud"), 2);
    assert_int_equal(RUN("identity"), 2);
    assert_int_equal(RUN("nonsense"), 2);
    assert_string_equal(err_text, "prog: unknown command \"nonsense\"; prog --help lists them\n");
    assert_int_equal(RUN("identity", "make"), 2);
    assert_string_equal(err_text,
                        "prog: unknown command \"identity make\"; prog --help lists them\n");
    assert_int_equal(RUN("--nonsense"), 2);
    assert_string_equal(err_text,
                        "prog: unknown option --nonsense; prog --help lists the commands\n");
    assert_int_equal(run((const char *const[]){"prog", NULL}), 2);
}

static void what_would_show_in_the_process_list_is_refused(void **state)
{
    (void)state;
    assert_int_equal(RUN("identity", "create", "x", "--who", "a.json"), 0);
    assert_int_equal(RUN("identity", "create", "x", "--who", "{\"key\":1}"), 2);
    assert_null(strstr(err_text, "key"));
    assert_non_null(strstr(err_text, "WEFT_WHO"));
    assert_int_equal(RUN("identity", "create", "x", "--who={\"key\":1}"), 2);
    setenv("WEFT_WHO", "{\"key\":1}", 1);
    assert_int_equal(RUN("identity", "create", "x"), 0);
    unsetenv("WEFT_WHO");
}

static void an_error_ends_with_its_exit_status_and_one_line(void **state)
{
    (void)state;
    assert_int_equal(RUN("refused"), 3);
    assert_string_equal(err_text, "prog: refused: refused by a rule\n");
    assert_string_equal(out_text, "");
}

static void help_stands_on_each_level(void **state)
{
    (void)state;
    assert_int_equal(RUN("--help"), 0);
    assert_non_null(strstr(out_text, "identity create NAME"));
    assert_int_equal(RUN("identity", "--help"), 0);
    assert_non_null(strstr(out_text, "identity create NAME"));
    assert_null(strstr(out_text, "is refused"));
    assert_int_equal(RUN("identity", "create", "--help"), 0);
    assert_non_null(strstr(out_text, "--header K:V..."));
    assert_non_null(strstr(out_text, "prog identity create x"));
    assert_int_equal(RUN("--version"), 0);
    assert_string_equal(out_text, "prog " WEFT_VERSION "\n");
}

static void a_double_dash_ends_the_flags(void **state)
{
    (void)state;
    assert_int_equal(RUN("identity", "create", "--", "--stay"), 0);
    assert_string_equal(told, "create --stay roles=- stay=0 retry=7");
}

static void help_before_a_command_is_help_behind_it(void **state)
{
    static char behind[sizeof out_text];
    (void)state;
    assert_int_equal(RUN("identity", "create", "--help"), 0);
    memcpy(behind, out_text, sizeof behind);
    assert_non_null(strstr(behind, "Makes one.\n"));
    assert_non_null(strstr(behind, "--roles is WEFT_ROLES"));
    assert_int_equal(RUN("help", "identity", "create"), 0);
    assert_string_equal(out_text, behind);
    assert_int_equal(RUN("refused", "--help"), 0);
    assert_null(strstr(out_text, "variable")); /* there is no option to show it by */
    assert_int_equal(RUN("help", "identity"), 0);
    assert_non_null(strstr(out_text, "usage: prog identity COMMAND"));
    assert_int_equal(RUN("completion", "--help"), 0);
    assert_non_null(strstr(out_text, "usage: prog completion bash|zsh|fish\n"));
    assert_int_equal(RUN("man", "--help"), 0);
    assert_non_null(strstr(out_text, "usage: prog man\n"));
    assert_int_equal(RUN("help", "nonsense"), 2);
    assert_string_equal(err_text, "prog: unknown command \"nonsense\"; prog --help lists them\n");
}

static void an_option_before_the_command_is_told_its_place(void **state)
{
    (void)state;
    assert_int_equal(RUN("--who", "a.json", "identity", "create", "x"), 2);
    assert_string_equal(err_text,
                        "prog: options come after the command: prog identity create --who FILE\n");
    assert_int_equal(RUN("--log-level=info"), 2);
    assert_string_equal(err_text,
                        "prog: options come after the command: prog COMMAND --log-level LEVEL\n");
}

static void the_manual_has_common_options_examples_and_marks_lists(void **state)
{
    (void)state;
    assert_int_equal(RUN("man"), 0);
    assert_non_null(strstr(out_text, "\\-\\-header K:V...: headers\n"));
    assert_non_null(strstr(out_text, "Example: prog identity create x\n"));
    assert_non_null(strstr(out_text, "\\-\\-log\\-level LEVEL: "));
}

static void completions_come_for_three_shells_and_no_other(void **state)
{
    (void)state;
    assert_int_equal(RUN("completion", "bash"), 0);
    assert_non_null(
        strstr(out_text, "\"identity create\"*) words=\"--roles --stay --retry --header"));
    assert_int_equal(RUN("completion", "zsh"), 0);
    assert_int_equal(RUN("completion", "fish"), 0);
    assert_int_equal(RUN("completion", "dos"), 2);
    assert_int_equal(RUN("man"), 0);
    assert_memory_equal(out_text, ".TH", 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_may_stand_anywhere_and_take_both_forms),
        cmocka_unit_test(a_flag_beats_its_variable_which_beats_the_default),
        cmocka_unit_test(wrong_usage_is_one_line_and_status_2),
        cmocka_unit_test(what_would_show_in_the_process_list_is_refused),
        cmocka_unit_test(an_error_ends_with_its_exit_status_and_one_line),
        cmocka_unit_test(help_stands_on_each_level),
        cmocka_unit_test(a_double_dash_ends_the_flags),
        cmocka_unit_test(help_before_a_command_is_help_behind_it),
        cmocka_unit_test(an_option_before_the_command_is_told_its_place),
        cmocka_unit_test(the_manual_has_common_options_examples_and_marks_lists),
        cmocka_unit_test(completions_come_for_three_shells_and_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
