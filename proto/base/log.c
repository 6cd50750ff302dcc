/*
 * The log. A line is made on the stack and leaves in one write(2), so lines of
 * several threads, or of several programs in one pipe, don't mix.
 */
#include "proto/base/log.h"
#include "proto/base/clock.h"
#include "proto/base/text.h"
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MESSAGE_MAX 1024
/* Every byte of the message may need a backslash in JSON. */
#define LINE_MAX_BYTES (2 * MESSAGE_MAX + 256)

static const char *const level_names[] = {"error", "warn", "info", "debug"};

/* The levels below this one are written; 0 is silence. Read without the lock. */
static atomic_int levels_on;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    const char *program; /* borrowed: outlives us */
    enum wf_log_format format;
    void (*line)(void *arg, const char *text);
    void *arg; /* borrowed until the next redirect */
} out = {.program = ""};

void wf_log_open(const char *program, enum wf_log_level level, enum wf_log_format format)
{
    pthread_mutex_lock(&lock);
    out.program = program;
    out.format = format;
    pthread_mutex_unlock(&lock);
    atomic_store(&levels_on, (int)level + 1);
}

void wf_log_redirect(void (*line)(void *arg, const char *text), void *arg)
{
    pthread_mutex_lock(&lock);
    out.line = line;
    out.arg = arg;
    pthread_mutex_unlock(&lock);
}

weft_err wf_log_level_parse(const char *text, enum wf_log_level *out_level)
{
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *out_level = (enum wf_log_level)i;
            return WEFT_OK;
        }
    }
    return WEFT_EINVAL;
}

/* text is printable already, so JSON needs a backslash for two characters only. */
static void json_escape(const char *text, char *to)
{
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            *to++ = '\\';
        *to++ = *text;
    }
    *to = '\0';
}

static void write_line(const char *line, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, line, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* nobody is left to tell */
        line += n;
        len -= (size_t)n;
    }
}

void wf_log(enum wf_log_level level, const char *format, ...)
{
    if ((int)level >= atomic_load_explicit(&levels_on, memory_order_relaxed))
        return;
    int saved_errno = errno;

    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    if (vsnprintf(message, sizeof message, format, args) < 0)
        message[0] = '\0';
    va_end(args);
    wf_make_printable(message, strlen(message));

    uint64_t now = wf_now_wall_ms();
    char ts[24 + 8];
    wf_time_text(now, ts);
    size_t seconds = strlen("2026-11-20T16:34:28");
    (void)snprintf(ts + seconds, sizeof ts - seconds, ".%03uZ", (unsigned)(now % 1000));

    char escaped[2 * MESSAGE_MAX];
    char line[LINE_MAX_BYTES];
    int n;
    pthread_mutex_lock(&lock);
    if (out.format == WF_LOG_JSON) {
        json_escape(message, escaped);
        n = snprintf(line, sizeof line,
                     "{\"ts\":\"%s\",\"level\":\"%s\",\"program\":\"%.64s\",\"msg\":\"%s\"}\n", ts,
                     level_names[level], out.program, escaped);
    } else {
        n = snprintf(line, sizeof line, "%s %-5s %.64s: %s\n", ts, level_names[level], out.program,
                     message);
    }
    if (n > 0 && (size_t)n < sizeof line) {
        if (out.line != NULL) {
            line[n - 1] = '\0';
            out.line(out.arg, line);
        } else {
            write_line(line, (size_t)n);
        }
    }
    pthread_mutex_unlock(&lock);
    errno = saved_errno;
}
