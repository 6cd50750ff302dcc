/* Lines of the log that a peer can cause: WF_LINES_MAX in WF_LINES_MS, the others are only counted.
 */
#ifndef SDK_LINES_H
#define SDK_LINES_H

#include "proto/base/log.h"
#include <stdint.h>

#define WF_LINES_MAX 10u
#define WF_LINES_MS 10000u

struct wf_lines {
    uint64_t since; /* mono ms: when these were begun */
    unsigned count; /* since then, those left out as well */
};

/* One event, if there is room for it. */
void wf_lines_put(struct wf_lines *lines, uint64_t mono, enum wf_log_level level,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Says how many were left out, once their time is over. */
void wf_lines_look(struct wf_lines *lines, uint64_t mono);

#endif
