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

/* `digits` of them at *at, then the mark (0: none). */
static bool take_number(const char **at, unsigned digits, char mark, int *out)
{
    *out = 0;
    while (digits-- > 0) {
        if (**at < '0' || **at > '9')
            return false;
        *out = *out * 10 + (*(*at)++ - '0');
    }
    if (mark == 0)
        return true;
    return *(*at)++ == mark;
}

bool wf_time_parse(const char *text, uint64_t *out_ms)
{
    struct tm tm = {.tm_sec = 0};
    char again[24];
    time_t seconds;
    if (!take_number(&text, 4, '-', &tm.tm_year) || !take_number(&text, 2, '-', &tm.tm_mon) ||
        !take_number(&text, 2, 'T', &tm.tm_mday) || !take_number(&text, 2, ':', &tm.tm_hour) ||
        !take_number(&text, 2, 0, &tm.tm_min))
        return false;
    if (*text == ':') {
        text++;
        if (!take_number(&text, 2, 0, &tm.tm_sec))
            return false;
    }
    if (strcmp(text, "Z") != 0 || tm.tm_year < 1970)
        return false;
    snprintf(again, sizeof again, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year % 10000,
             tm.tm_mon % 100, tm.tm_mday % 100, tm.tm_hour % 100, tm.tm_min % 100, tm.tm_sec % 100);
    tm.tm_year -= 1900;
    tm.tm_mon--;
    seconds = timegm(&tm);
    /* A 30th of February would have become another day. */
    char said[24];
    if (seconds < 0 || strcmp(wf_time_text((uint64_t)seconds * 1000, said), again) != 0)
        return false;
    *out_ms = (uint64_t)seconds * 1000;
    return true;
}
