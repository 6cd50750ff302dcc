/* The clocks, durations as people type them, and times as people read them. */
#include "proto/base/clock.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t now_ms(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) != 0 || t.tv_sec < 0)
        return 0; /* a wall clock before 1970 accepts nothing that has a beginning */
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t wf_now_mono_ms(void)
{
    return now_ms(CLOCK_MONOTONIC);
}

uint64_t wf_now_wall_ms(void)
{
    return now_ms(CLOCK_REALTIME);
}

weft_err wf_duration_parse(const char *text, uint64_t *out_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    uint64_t n = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(n, 10u, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*at - '0'), &n))
            return WEFT_EINVAL;
    }
    if (at == text)
        return WEFT_EINVAL;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(at, units[i].unit) != 0)
            continue;
        if (__builtin_mul_overflow(n, units[i].ms, &n))
            return WEFT_EINVAL;
        *out_ms = n;
        return WEFT_OK;
    }
    return WEFT_EINVAL;
}

char *wf_time_text(uint64_t wall_ms, char buf[24])
{
    const uint64_t end_of_9999 = 253402300799u; /* four digits of year, no more */
    uint64_t seconds = wall_ms / 1000;
    time_t t = (time_t)(seconds < end_of_9999 ? seconds : end_of_9999);
    struct tm tm;
    if (gmtime_r(&t, &tm) == NULL || strftime(buf, 24, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        buf[0] = '\0';
    return buf;
}
