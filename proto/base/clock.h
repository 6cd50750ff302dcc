/*
 * Time. Deadlines are on the monotonic clock, validity is on the wall clock.
 * Pure code takes `now` as a parameter; these are for the edges.
 */
#ifndef PROTO_BASE_CLOCK_H
#define PROTO_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <weft/err.h>

uint64_t wf_now_mono_ms(void);
uint64_t wf_now_wall_ms(void); /* milliseconds since 1970-01-01 UTC */

/* "30d", "12h", "15m", "20s", "250ms" to milliseconds; a bare number is seconds. WEFT_EINVAL. */
weft_err wf_duration_parse(const char *text, uint64_t *out_ms);
/* "2026-11-20T16:34:28Z" (RFC 3339, seconds); buf of at least 21 bytes; returns buf. */
char *wf_time_text(uint64_t wall_ms, char buf[24]);
/* That form back, seconds may be left out: "2026-11-20T16:34Z". False: no such time; *out stays. */
bool wf_time_parse(const char *text, uint64_t *out_ms);

#endif
