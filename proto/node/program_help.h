/*
 * What a program says of itself: help, completions for shells, the manual
 * page, all made from the rows of proto/node/program.h. For program.c alone.
 */
#ifndef PROTO_NODE_PROGRAM_HELP_H
#define PROTO_NODE_PROGRAM_HELP_H

#include "proto/node/program.h"
#include <stdio.h>

/* --log-level and the others that every command takes; ends with a NULL name. */
extern const struct wf_option wf_help_built_in[];
/* "token-out" -> "WEFT_TOKEN_OUT"; valid until this thread's next call. */
const char *wf_help_variable(const char *option);

/* One command: usage, sentence, options, example. */
void wf_help_command(FILE *out, const struct wf_program *p, const struct wf_command *c);
/* `completion` or `man`; false, with nothing printed: name is neither. */
bool wf_help_tool(FILE *out, const struct wf_program *p, const char *name);
/* The commands that begin with these words ("": all). Returns how many there are; 0 prints none. */
size_t wf_help_group(FILE *out, const struct wf_program *p, const char *words);
/* A completion script on stdout for "bash", "zsh" or "fish". WEFT_EUSAGE: another shell. */
weft_err wf_help_completion(const struct wf_program *p, const char *shell, wf_why *why);
/* The manual page on stdout, as man(7) takes it. */
void wf_help_man(const struct wf_program *p);

#endif
