/*
 * The one-line explanation that travels beside a weft_err: what was refused,
 * by which rule, and what to do. Wrapped as it rises, logged once.
 */
#ifndef PROTO_BASE_WHY_H
#define PROTO_BASE_WHY_H

#include <weft/err.h>

#define WF_WHY_MAX WEFT_WHY_MAX
typedef weft_why wf_why;

/* Sets the text (cut to fit, made printable) when why is not NULL; returns err. */
weft_err wf_fail(wf_why *why, weft_err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text that why holds already; returns err. */
weft_err wf_wrap(wf_why *why, weft_err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
