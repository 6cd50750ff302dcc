/*
 * The log: one line per event on stderr, as text or JSON. Values are made
 * printable: no byte from outside can start a new line or a new field.
 */
#ifndef PROTO_BASE_LOG_H
#define PROTO_BASE_LOG_H

#include <weft/err.h>

enum wf_log_level { WF_LOG_ERROR, WF_LOG_WARN, WF_LOG_INFO, WF_LOG_DEBUG };
enum wf_log_format { WF_LOG_TEXT, WF_LOG_JSON };

/*
 * A library starts silent: until wf_log_open no line is written. `program` is
 * borrowed and outlives the log.
 */
void wf_log_open(const char *program, enum wf_log_level level, enum wf_log_format format);
/* Takes each line instead of stderr (tests, embedding); NULL takes it back. */
void wf_log_redirect(void (*line)(void *arg, const char *text), void *arg);
/* "error", "warn", "info", "debug"; WEFT_EINVAL. */
weft_err wf_log_level_parse(const char *text, enum wf_log_level *out);

/* One event: a message, without a newline. */
void wf_log(enum wf_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define wf_log_error(...) wf_log(WF_LOG_ERROR, __VA_ARGS__)
#define wf_log_warn(...) wf_log(WF_LOG_WARN, __VA_ARGS__)
#define wf_log_info(...) wf_log(WF_LOG_INFO, __VA_ARGS__)
#define wf_log_debug(...) wf_log(WF_LOG_DEBUG, __VA_ARGS__)

#endif
