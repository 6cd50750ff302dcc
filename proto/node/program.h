/*
 * A program as a table of commands: parsing of flags, help, completion and
 * man pages all come from the same rows, so they can't disagree.
 * Rules (docs/cli.md): a flag beats its WEFT_ variable; an unknown flag, a
 * missing value or a wrong count of arguments is one line and exit status 2.
 */
#ifndef PROTO_NODE_PROGRAM_H
#define PROTO_NODE_PROGRAM_H

#include "proto/base/why.h"
#include <stdbool.h>
#include <stddef.h>

enum wf_option_kind {
    WF_OPTION_FLAG, /* --stay */
    WF_OPTION_TEXT, /* --home DIR; the last one counts */
    WF_OPTION_LIST, /* --header K:V, as often as wanted, up to 64 */
    WF_OPTION_FILE, /* --identity FILE; JSON typed is refused, as process lists show it */
};

struct wf_option {
    const char *name; /* without dashes: "token-out"; its variable is WEFT_TOKEN_OUT */
    enum wf_option_kind kind;
    const char *value; /* what stands for the value in help: "FILE" */
    const char *help;  /* one line */
};

struct wf_call_line; /* what was typed */

struct wf_command {
    const char
        *name; /* "identity create"; words separated by one space; "" for the program itself */
    const char *arguments;           /* "NAME", "WHO dial|bind WHAT", "" */
    const char *help;                /* one line */
    const char *example;             /* a whole line to type, NULL: none */
    const struct wf_option *options; /* ends with a NULL name; may be NULL */
    size_t args_min, args_max;
    /* Returns WEFT_OK or the error whose exit status the program ends with; why is printed then. */
    weft_err (*run)(const struct wf_call_line *line, wf_why *why);
};

/* A title over the commands from this one on, in --help of the program. */
struct wf_heading {
    const char *command; /* "identity create" */
    const char *title;   /* "identities and services" */
};

struct wf_program {
    const char *name;
    const char *summary;               /* one line */
    const struct wf_command *commands; /* ends with a NULL name */
    const struct wf_option *options; /* for every command, besides the built-in ones; may be NULL */
    bool is_quiet; /* logs warnings and errors alone unless --log-level says more */
    const struct wf_heading *headings; /* ends with a NULL command; may be NULL: one list */
};

/*
 * Runs the command that argv names and returns the exit status. Built in:
 * --help and --version on each level, --log-level, --log-format, `help`,
 * `completion bash|zsh|fish` and `man`. Prints an error as one line:
 * "weft: identity create: ...".
 */
int wf_program_run(const struct wf_program *program, int argc, char **argv);

/* The value of a flag or its variable; NULL if neither is there. Valid while the command runs. */
const char *wf_line_text(const struct wf_call_line *line, const char *option);
bool wf_line_flag(const struct wf_call_line *line, const char *option);
/* The i-th value of a list, NULL behind the last; its variable holds one value a line. */
const char *wf_line_list(const struct wf_call_line *line, const char *option, size_t i);
/* The command's name as in its row: "identity create". */
const char *wf_line_command(const struct wf_call_line *line);
size_t wf_line_count(const struct wf_call_line *line);              /* of arguments */
const char *wf_line_arg(const struct wf_call_line *line, size_t i); /* NULL behind the last */
/* A whole number option within bounds, or fallback when absent. WEFT_EUSAGE. */
weft_err wf_line_number(const struct wf_call_line *line, const char *option, long fallback,
                        long min, long max, long *out, wf_why *why);
/* A duration option in ms, or fallback when absent. WEFT_EUSAGE. */
weft_err wf_line_duration(const struct wf_call_line *line, const char *option,
                          unsigned long long fallback_ms, unsigned long long *out_ms, wf_why *why);

#endif
