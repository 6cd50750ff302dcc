#include "pki/terms.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE_MS 60000u
#define WEEK_MS ((uint64_t)WF_WEEK_MINUTES * MINUTE_MS)
#define MONDAY_MS (3u * 1440u * (uint64_t)MINUTE_MS) /* 1970-01-01 was a Thursday */

/* ---- from the wire */

/* An IPv4-mapped prefix is one of IPv4: then there is one way to say it. */
static void unmap(struct pki_prefix *p)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (p->len != 16 || p->bits < 96 || memcmp(p->address, mapped, sizeof mapped) != 0)
        return;
    memmove(p->address, p->address + 12, 4);
    memset(p->address + 4, 0, 12);
    p->len = 4;
    p->bits = (uint8_t)(p->bits - 96);
}

/* Whether everything beyond the length is zero. */
static bool is_clean(const struct pki_prefix *p)
{
    for (size_t i = p->bits; i < 8u * p->len; i++)
        if (p->address[i / 8] & (0x80u >> (i % 8)))
            return false;
    return true;
}

static bool prefix_get(const uint8_t *data, size_t len, struct pki_prefix *out)
{
    struct pki_prefix p = {0};
    if ((len != 5 && len != 17) || data[0] > 8 * (len - 1))
        return false;
    p.bits = data[0];
    p.len = (uint8_t)(len - 1);
    memcpy(p.address, data + 1, p.len);
    if (!is_clean(&p))
        return false;
    unmap(&p);
    *out = p;
    return true;
}

bool pki_terms_from_wire(const Weft__Wire__Terms *m, struct pki_terms *out)
{
    if (m->n_windows > WF_WINDOWS_MAX || m->n_sources > WF_SOURCES_MAX ||
        m->idle_ms > WF_TERM_MS_MAX || m->age_ms > WF_TERM_MS_MAX)
        return false;
    struct pki_terms t = {.sessions = m->sessions,
                          .sessions_per_identity = m->sessions_per_identity,
                          .idle_ms = m->idle_ms,
                          .age_ms = m->age_ms,
                          .window_count = m->n_windows,
                          .source_count = m->n_sources};
    for (size_t i = 0; i < m->n_windows; i++) {
        const Weft__Wire__Window *w = m->windows[i];
        if (w->from >= w->to || w->to > WF_WEEK_MINUTES)
            return false;
        t.windows[i] = (struct pki_window){.from = (uint16_t)w->from, .to = (uint16_t)w->to};
    }
    for (size_t i = 0; i < m->n_sources; i++)
        if (!prefix_get(m->sources[i].data, m->sources[i].len, &t.sources[i]))
            return false;
    *out = t;
    return true;
}

/* ---- windows */

/* Milliseconds since Monday 00:00 UTC. */
static uint64_t in_week(uint64_t now)
{
    return (now % WEEK_MS + MONDAY_MS) % WEEK_MS;
}

static bool covers(const struct pki_window *w, uint64_t at)
{
    uint64_t from = (uint64_t)w->from * MINUTE_MS, to = (uint64_t)w->to * MINUTE_MS;
    /* How long ago it opened, early as it does, also over the end of the week. */
    uint64_t since = (at + WEEK_MS + WF_CLOCK_TOLERANCE_MS - from) % WEEK_MS;
    return since < to - from + WF_CLOCK_TOLERANCE_MS;
}

bool pki_terms_is_open(const struct pki_terms *t, uint64_t now)
{
    uint64_t at = in_week(now);
    for (size_t i = 0; i < t->window_count; i++)
        if (covers(&t->windows[i], at))
            return true;
    return t->window_count == 0;
}

uint64_t pki_terms_next_change(const struct pki_terms *t, uint64_t now)
{
    bool open = pki_terms_is_open(t, now);
    uint64_t best = UINT64_MAX, at = in_week(now);
    /* It changes at an edge of some window, within a week, or never. */
    for (size_t i = 0; i < t->window_count; i++) {
        uint64_t edge =
            open ? (uint64_t)t->windows[i].to * MINUTE_MS
                 : (uint64_t)t->windows[i].from * MINUTE_MS + WEEK_MS - WF_CLOCK_TOLERANCE_MS;
        uint64_t wait = (edge + WEEK_MS - at) % WEEK_MS;
        if (wait == 0)
            wait = WEEK_MS;
        if (wait < best && pki_terms_is_open(t, now + wait) != open)
            best = wait;
    }
    return best == UINT64_MAX || best > UINT64_MAX - now ? UINT64_MAX : now + best;
}

uint64_t pki_terms_closes(const struct pki_terms *t, uint64_t now)
{
    return pki_terms_is_open(t, now) ? pki_terms_next_change(t, now) : 0;
}

static const char *const days[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};

char *pki_terms_windows_text(const struct pki_terms *t, char buf[PKI_WINDOWS_TEXT])
{
    size_t used = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < t->window_count; i++) {
        unsigned from = t->windows[i].from, to = t->windows[i].to;
        char one[48];
        const char *comma = i > 0 ? ", " : "";
        if ((to - 1) / 1440 == from / 1440) /* 24:00 is of its own day */
            (void)snprintf(one, sizeof one, "%s%s %02u:%02u-%02u:%02u", comma, days[from / 1440],
                           from % 1440 / 60, from % 60, (to - from / 1440 * 1440) / 60, to % 60);
        else
            (void)snprintf(one, sizeof one, "%s%s %02u:%02u-%s %02u:%02u", comma, days[from / 1440],
                           from % 1440 / 60, from % 60, days[(to - 1) / 1440],
                           (to - (to - 1) / 1440 * 1440) / 60, to % 60);
        size_t len = strlen(one);
        if (used + len + sizeof " and more" > PKI_WINDOWS_TEXT) {
            memcpy(buf + used, " and more", sizeof " and more");
            break;
        }
        memcpy(buf + used, one, len + 1);
        used += len;
    }
    return buf;
}

weft_err pki_terms_check_window(const struct pki_terms *t, uint64_t now, wf_why *why)
{
    char text[PKI_WINDOWS_TEXT];
    if (pki_terms_is_open(t, now))
        return WEFT_OK;
    unsigned at = (unsigned)(in_week(now) / MINUTE_MS);
    return wf_fail(why, WEFT_EREFUSED, "outside of its hours: open %s UTC, and it is %s %02u:%02u",
                   pki_terms_windows_text(t, text), days[at / 1440], at % 1440 / 60, at % 60);
}

/* ---- sources */

static bool holds(const struct pki_prefix *p, const uint8_t *address)
{
    size_t whole = p->bits / 8u, rest = p->bits % 8u;
    if (memcmp(p->address, address, whole) != 0)
        return false;
    return rest == 0 || ((p->address[whole] ^ address[whole]) & (0xff00u >> rest) & 0xffu) == 0;
}

bool pki_terms_allows(const struct pki_terms *t, const uint8_t *address, size_t len)
{
    struct pki_prefix one = {0};
    if (t->source_count == 0)
        return true;
    if (len != 4 && len != 16)
        return false;
    one.len = (uint8_t)len;
    one.bits = (uint8_t)(8 * len);
    memcpy(one.address, address, len);
    unmap(&one);
    for (size_t i = 0; i < t->source_count; i++)
        if (t->sources[i].len == one.len && holds(&t->sources[i], one.address))
            return true;
    return false;
}

/* The address in "a.b.c.d:port" or "[v6%zone]:port"; its length, 0: there is none. */
static size_t remote_get(const char *remote, uint8_t out[16])
{
    char host[64];
    size_t len;
    if (remote[0] == '[') {
        len = strcspn(++remote, "]%");
        if (remote[len] == '\0')
            return 0;
    } else {
        len = strcspn(remote, ":");
    }
    if (len >= sizeof host)
        return 0;
    memcpy(host, remote, len);
    host[len] = '\0';
    if (inet_pton(AF_INET, host, out) == 1)
        return 4;
    return inet_pton(AF_INET6, host, out) == 1 ? 16 : 0;
}

weft_err pki_terms_check_source(const struct pki_terms *t, const char *remote, wf_why *why)
{
    uint8_t address[16];
    char first[PKI_PREFIX_TEXT];
    if (t->source_count == 0 || pki_terms_allows(t, address, remote_get(remote, address)))
        return WEFT_OK;
    pki_prefix_text(&t->sources[0], first);
    if (t->source_count == 1)
        return wf_fail(why, WEFT_EREFUSED, "it comes from %s, and the grant is for %s alone",
                       remote, first);
    return wf_fail(why, WEFT_EREFUSED, "it comes from %s, and the grant is for %s and %zu more",
                   remote, first, t->source_count - 1);
}

weft_err pki_prefix_parse(const char *text, struct pki_prefix *out, wf_why *why)
{
    struct pki_prefix p = {0};
    char host[64];
    size_t len = strcspn(text, "/");
    if (len == 0 || len >= sizeof host)
        goto bad;
    memcpy(host, text, len);
    host[len] = '\0';
    if (inet_pton(AF_INET, host, p.address) == 1)
        p.len = 4;
    else if (inet_pton(AF_INET6, host, p.address) == 1)
        p.len = 16;
    else
        goto bad;
    unsigned bits = 8u * p.len;
    if (text[len] == '/') {
        const char *digits = text + len + 1;
        size_t count = strspn(digits, "0123456789");
        if (count == 0 || count > 3 || digits[count] != '\0' || (digits[0] == '0' && count > 1))
            goto bad;
        unsigned n = (unsigned)strtoul(digits, NULL, 10);
        if (n > bits)
            goto bad;
        bits = n;
    }
    p.bits = (uint8_t)bits;
    if (!is_clean(&p))
        return wf_fail(why, WEFT_EINVAL,
                       "the prefix '%s' has bits beyond its length: write the network's address",
                       text);
    unmap(&p);
    *out = p;
    return WEFT_OK;
bad:
    return wf_fail(why, WEFT_EINVAL,
                   "'%s' is no prefix: write 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32", text);
}

char *pki_prefix_text(const struct pki_prefix *p, char buf[PKI_PREFIX_TEXT])
{
    char host[INET6_ADDRSTRLEN];
    if (inet_ntop(p->len == 4 ? AF_INET : AF_INET6, p->address, host, sizeof host) == NULL)
        host[0] = '\0';
    (void)snprintf(buf, PKI_PREFIX_TEXT, "%s/%u", host, (unsigned)p->bits);
    return buf;
}

size_t pki_prefix_put(const struct pki_prefix *p, uint8_t out[17])
{
    out[0] = p->bits;
    memcpy(out + 1, p->address, p->len);
    return 1u + p->len;
}
