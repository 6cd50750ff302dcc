#include "proto/node/program.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/node/program_help.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUES_MAX 128 /* flags given on one line */
#define ARGS_MAX 256
#define LIST_MAX 64

struct value {
    const struct wf_option *option; /* borrowed: the program's tables */
    const char *text;               /* borrowed: argv */
};

struct wf_call_line {
    const struct wf_program *program;
    const struct wf_command *command;
    struct value values[VALUES_MAX];
    size_t value_count;
    const char *args[ARGS_MAX]; /* borrowed: argv */
    size_t arg_count;
};

static const struct wf_option *find_in(const struct wf_option *options, const char *name,
                                       size_t len)
{
    for (; options != NULL && options->name != NULL; options++)
        if (strlen(options->name) == len && memcmp(options->name, name, len) == 0)
            return options;
    return NULL;
}

static const struct wf_option *find_option(const struct wf_program *program,
                                           const struct wf_command *command, const char *name,
                                           size_t len)
{
    const struct wf_option *found = NULL;
    if (command != NULL)
        found = find_in(command->options, name, len);
    if (found == NULL)
        found = find_in(program->options, name, len);
    if (found == NULL)
        found = find_in(wf_help_built_in, name, len);
    return found;
}

static const char *from_environment(const char *option)
{
    const char *text = getenv(wf_help_variable(option));
    return text != NULL && *text != 0 ? text : NULL;
}

/* ---- what was typed */

const char *wf_line_text(const struct wf_call_line *line, const char *option)
{
    for (size_t i = line->value_count; i-- > 0;)
        if (strcmp(line->values[i].option->name, option) == 0)
            return line->values[i].text;
    return from_environment(option);
}

bool wf_line_flag(const struct wf_call_line *line, const char *option)
{
    const char *text = wf_line_text(line, option);
    return text != NULL && strcmp(text, "0") != 0 && strcmp(text, "false") != 0;
}

const char *wf_line_list(const struct wf_call_line *line, const char *option, size_t i)
{
    static _Thread_local char item[8192];
    bool given = false;
    for (size_t k = 0; k < line->value_count; k++) {
        if (strcmp(line->values[k].option->name, option) != 0)
            continue;
        given = true;
        if (i-- == 0)
            return line->values[k].text;
    }
    const char *text = given ? NULL : from_environment(option);
    while (text != NULL && *text != 0) {
        size_t len = strcspn(text, "\n");
        if (len != 0 && i-- == 0) {
            snprintf(item, sizeof item, "%.*s", (int)len, text);
            return item;
        }
        text += len + (text[len] == '\n');
    }
    return NULL;
}

const char *wf_line_command(const struct wf_call_line *line)
{
    return line->command->name;
}

size_t wf_line_count(const struct wf_call_line *line)
{
    return line->arg_count;
}

const char *wf_line_arg(const struct wf_call_line *line, size_t i)
{
    return i < line->arg_count ? line->args[i] : NULL;
}

weft_err wf_line_number(const struct wf_call_line *line, const char *option, long fallback,
                        long min, long max, long *out, wf_why *why)
{
    const char *text = wf_line_text(line, option);
    if (text == NULL) {
        *out = fallback;
        return WEFT_OK;
    }
    char *end;
    errno = 0;
    long v = strtol(text, &end, 10);
    if (errno != 0 || *end != 0 || end == text || v < min || v > max)
        return wf_fail(why, WEFT_EUSAGE, "--%s takes a whole number from %ld to %ld, not \"%s\"",
                       option, min, max, text);
    *out = v;
    return WEFT_OK;
}

weft_err wf_line_duration(const struct wf_call_line *line, const char *option,
                          unsigned long long fallback_ms, unsigned long long *out_ms, wf_why *why)
{
    const char *text = wf_line_text(line, option);
    uint64_t v;
    if (text == NULL) {
        *out_ms = fallback_ms;
        return WEFT_OK;
    }
    if (wf_duration_parse(text, &v) != WEFT_OK)
        return wf_fail(why, WEFT_EUSAGE,
                       "--%s takes a time such as 30s, 5m, 12h or 30d, not \"%s\"", option, text);
    *out_ms = v;
    return WEFT_OK;
}

/* ---- parsing */

/* The command whose words begin argv; the one with the most words wins. */
static const struct wf_command *match(const struct wf_program *p, int argc, char **argv,
                                      size_t *words)
{
    const struct wf_command *best = NULL;
    size_t best_words = 0;
    for (const struct wf_command *c = p->commands; c->name != NULL; c++) {
        const char *at = c->name;
        size_t n = 0;
        bool same = true;
        while (*at != 0 && same) {
            size_t len = strcspn(at, " ");
            same = (int)n < argc && strlen(argv[n]) == len && memcmp(argv[n], at, len) == 0;
            at += len + (at[len] == ' ');
            n++;
        }
        if (same && (best == NULL || n > best_words)) {
            best = c;
            best_words = n;
        }
    }
    *words = best_words;
    return best;
}

static weft_err take_option(struct wf_call_line *line, int argc, char **argv, int *i, wf_why *why)
{
    const char *text = argv[*i] + 2;
    size_t len = strcspn(text, "=");
    const struct wf_option *option = find_option(line->program, line->command, text, len);
    if (option == NULL)
        return wf_fail(why, WEFT_EUSAGE, "unknown option --%.*s; --help lists them", (int)len,
                       text);
    if (line->value_count == VALUES_MAX)
        return wf_fail(why, WEFT_EUSAGE, "too many options");
    const char *value = text[len] == '=' ? text + len + 1 : NULL;
    if (option->kind == WF_OPTION_FLAG) {
        if (value != NULL)
            return wf_fail(why, WEFT_EUSAGE, "--%s takes no value", option->name);
        value = "1";
    } else if (value == NULL) {
        if (*i + 1 >= argc)
            return wf_fail(why, WEFT_EUSAGE, "--%s needs a value: %s", option->name, option->value);
        value = argv[++*i];
    }
    if (option->kind == WF_OPTION_FILE && value[0] == '{')
        return wf_fail(why, WEFT_EUSAGE,
                       "--%s takes a file: its content would show in the process list; %s may hold "
                       "it instead",
                       option->name, wf_help_variable(option->name));
    size_t same = 0;
    for (size_t k = 0; k < line->value_count; k++)
        same += line->values[k].option == option;
    if (option->kind == WF_OPTION_LIST && same == LIST_MAX)
        return wf_fail(why, WEFT_EUSAGE, "--%s may be given %d times", option->name, LIST_MAX);
    line->values[line->value_count++] = (struct value){option, value};
    return WEFT_OK;
}

static weft_err parse(struct wf_call_line *line, int argc, char **argv, wf_why *why)
{
    bool only_args = false;
    for (int i = 0; i < argc; i++) {
        /* "-c FILE" is what people type for --config, and "-f FILE" for --file */
        static char config[] = "--config", file[] = "--file";
        if (!only_args && strcmp(argv[i], "-c") == 0 && i + 1 < argc)
            argv[i] = config;
        if (!only_args && strcmp(argv[i], "-f") == 0 && i + 1 < argc)
            argv[i] = file;
        if (!only_args && strcmp(argv[i], "-h") == 0) {
            line->values[line->value_count++] =
                (struct value){find_in(wf_help_built_in, "help", 4), "1"};
        } else if (!only_args && strcmp(argv[i], "--") == 0) {
            only_args = true;
        } else if (!only_args && strncmp(argv[i], "--", 2) == 0) {
            weft_err err = take_option(line, argc, argv, &i, why);
            if (err != WEFT_OK)
                return err;
        } else if (!only_args && argv[i][0] == '-' && argv[i][1] != 0) {
            return wf_fail(why, WEFT_EUSAGE, "unknown option %s; --help lists them", argv[i]);
        } else {
            if (line->arg_count == ARGS_MAX)
                return wf_fail(why, WEFT_EUSAGE, "too many arguments");
            line->args[line->arg_count++] = argv[i];
        }
    }
    return WEFT_OK;
}

static weft_err open_log(const struct wf_call_line *line, wf_why *why)
{
    enum wf_log_level level = line->program->is_quiet ? WF_LOG_WARN : WF_LOG_INFO;
    enum wf_log_format format = WF_LOG_TEXT;
    const char *text = wf_line_text(line, "log-level");
    if (text != NULL && wf_log_level_parse(text, &level) != WEFT_OK)
        return wf_fail(why, WEFT_EUSAGE, "--log-level is error, warn, info or debug, not \"%s\"",
                       text);
    text = wf_line_text(line, "log-format");
    if (text != NULL && strcmp(text, "json") == 0)
        format = WF_LOG_JSON;
    else if (text != NULL && strcmp(text, "text") != 0)
        return wf_fail(why, WEFT_EUSAGE, "--log-format is text or json, not \"%s\"", text);
    wf_log_open(line->program->name, level, format);
    return WEFT_OK;
}

static weft_err run(struct wf_call_line *line, wf_why *why)
{
    const struct wf_command *c = line->command;
    if (line->arg_count < c->args_min || line->arg_count > c->args_max)
        return wf_fail(why, WEFT_EUSAGE, "%s: usage: %s %s%s%s",
                       line->arg_count < c->args_min ? "an argument is missing"
                                                     : "too many arguments",
                       line->program->name, c->name, *c->arguments != 0 ? " " : "", c->arguments);
    weft_err err = open_log(line, why);
    return err == WEFT_OK ? c->run(line, why) : err;
}

static int fail(const struct wf_program *p, const struct wf_command *c, weft_err err,
                const wf_why *why)
{
    fflush(stdout);
    fprintf(stderr, "%s: %s%s%s\n", p->name, c != NULL ? c->name : "",
            c != NULL && *c->name ? ": " : "", why->text[0] ? why->text : weft_err_sentence(err));
    return weft_err_exit_status(err);
}

static bool wants(int argc, char **argv, const char *a, const char *b)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], a) == 0 || (b != NULL && strcmp(argv[i], b) == 0))
            return true;
    return false;
}

/* `help`, and `help` before the words of a command, a group or a tool. */
static int run_help(const struct wf_program *p, int argc, char **argv)
{
    wf_why why = {""};
    char words[128] = "";
    size_t count;
    const struct wf_command *c = match(p, argc, argv, &count);
    if (c != NULL && *c->name != 0) {
        wf_help_command(stdout, p, c);
        return 0;
    }
    for (int i = 0; i < argc && argv[i][0] != '-'; i++) {
        size_t at = strlen(words);
        snprintf(words + at, sizeof words - at, "%s%s", at != 0 ? " " : "", argv[i]);
    }
    if (wf_help_tool(stdout, p, words) || wf_help_group(stdout, p, words) != 0)
        return 0;
    weft_err err =
        wf_fail(&why, WEFT_EUSAGE, "unknown command \"%s\"; %s --help lists them", words, p->name);
    return fail(p, NULL, err, &why);
}

/* An option that stands before everything else: known or not, and where it belongs. */
static weft_err refuse_option_first(const struct wf_program *p, int argc, char **argv, wf_why *why)
{
    const struct wf_command *c = NULL;
    size_t words;
    for (int i = 1; i < argc && (c == NULL || *c->name == 0); i++)
        c = match(p, argc - i, argv + i, &words);
    const char *name = argv[0] + strspn(argv[0], "-");
    const struct wf_option *option = find_option(p, c, name, strcspn(name, "="));
    if (option == NULL)
        return wf_fail(why, WEFT_EUSAGE, "unknown option %s; %s --help lists the commands", argv[0],
                       p->name);
    return wf_fail(why, WEFT_EUSAGE, "options come after the command: %s %s --%s%s%s", p->name,
                   c != NULL ? c->name : "COMMAND", option->name, option->value != NULL ? " " : "",
                   option->value != NULL ? option->value : "");
}

/* What stands before any command: help, version, completion, man. Returns -1 to go on. */
static int without_command(const struct wf_program *p, int argc, char **argv)
{
    wf_why why = {""};
    char words[128] = "";
    for (int i = 0; i < argc && argv[i][0] != '-'; i++) {
        size_t at = strlen(words);
        snprintf(words + at, sizeof words - at, "%s%s", at != 0 ? " " : "", argv[i]);
    }
    if (argc >= 1 && strcmp(argv[0], "help") == 0)
        return run_help(p, argc - 1, argv + 1);
    if (wants(argc, argv, "--help", "-h")) {
        if (wf_help_tool(stdout, p, words) || wf_help_group(stdout, p, words) != 0)
            return 0;
    } else if (wants(argc, argv, "--version", NULL)) {
        printf("%s %s\n", p->name, WEFT_VERSION);
        return 0;
    }
    if (argc >= 1 && strcmp(argv[0], "completion") == 0) {
        weft_err err = wf_help_completion(p, argc == 2 ? argv[1] : "", &why);
        return err == WEFT_OK ? 0 : fail(p, NULL, err, &why);
    }
    if (argc >= 1 && strcmp(argv[0], "man") == 0) {
        wf_help_man(p);
        return 0;
    }
    if (argc == 0) {
        wf_help_group(stderr, p, "");
        return weft_err_exit_status(WEFT_EUSAGE);
    }
    weft_err err = WEFT_EUSAGE;
    if (words[0] == 0)
        (void)refuse_option_first(p, argc, argv, &why);
    else if (wf_help_group(stderr, p, words) != 0)
        return weft_err_exit_status(err);
    else
        (void)wf_fail(&why, err, "unknown command \"%s\"; %s --help lists them", words, p->name);
    return fail(p, NULL, err, &why);
}

int wf_program_run(const struct wf_program *p, int argc, char **argv)
{
    wf_why why = {""};
    size_t words;
    argc--;
    argv++;
    const struct wf_command *c = match(p, argc, argv, &words);
    if (c == NULL || (*c->name == 0 && argc == 0 && c->args_min > 0))
        return without_command(p, argc, argv);

    struct wf_call_line *line = calloc(1, sizeof *line);
    if (line == NULL)
        return fail(p, c, WEFT_ENOMEM, &why);
    line->program = p;
    line->command = c;
    int status = 0;
    weft_err err = parse(line, argc - (int)words, argv + words, &why);
    if (err != WEFT_OK) {
        status = fail(p, c, err, &why);
    } else if (wants(argc, argv, "--help", "-h")) {
        wf_help_command(stdout, p, c);
    } else if (wants(argc, argv, "--version", NULL)) {
        printf("%s %s\n", p->name, WEFT_VERSION);
    } else if ((err = run(line, &why)) != WEFT_OK) {
        status = fail(p, c, err, &why);
    }
    if (fflush(stdout) != 0 && status == 0) {
        wf_fail(&why, WEFT_EIO, "standard output can't be written: %s", strerror(errno));
        status = fail(p, c, WEFT_EIO, &why);
    }
    free(line);
    return status;
}
