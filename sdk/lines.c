/* A peer that repeats itself fills no disk. */
#include "sdk/lines.h"
#include "proto/base/why.h"
#include <stdarg.h>
#include <stdio.h>

void wf_lines_look(struct wf_lines *l, uint64_t mono)
{
    if (mono - l->since < WF_LINES_MS)
        return;
    if (l->count > WF_LINES_MAX)
        wf_log_warn("endpoint: %u more lines like these were left out", l->count - WF_LINES_MAX);
    l->count = 0;
}

void wf_lines_put(struct wf_lines *l, uint64_t mono, enum wf_log_level level, const char *format,
                  ...)
{
    char text[WEFT_WHY_MAX + 128];
    va_list args;
    wf_lines_look(l, mono);
    if (l->count == 0)
        l->since = mono;
    if (l->count++ >= WF_LINES_MAX)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    wf_log(level, "%s", text);
}
