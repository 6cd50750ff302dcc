/*
 * Names made from what a foreign certificate or token says: "{cn}" or
 * "{repository}:{run_id}". The outcome is a name by wf_name_check: each
 * printable character that a name can't hold becomes "_" and two hex digits,
 * and "_" itself does where it would read as such, so that two different texts
 * never make one name.
 */
#ifndef CONTROLLER_TEMPLATE_H
#define CONTROLLER_TEMPLATE_H

#include "proto/base/text.h"

/* The value of a placeholder, NULL: there is none. Valid until the next call. */
typedef const char *(*template_value_fn)(void *arg, const char *placeholder);

/*
 * Whether it is one: printable, braces paired, at least one placeholder, each
 * among `known` (NULL-terminated; NULL: any of [A-Za-z0-9._-]). WEFT_EINVAL.
 */
weft_err template_check(const char *template, const char *const *known, wf_why *why);
/* WEFT_ECREDENTIAL: a value is missing, or the outcome is no name. */
weft_err template_fill(const char *template, template_value_fn value, void *arg,
                       char out[WF_NAME_MAX + 1], wf_why *why);

#endif
