#include "controller/condition.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct condition_row rows[CONDITION_ATTESTED_COUNT] = {
    [CONDITION_OS] = {"os", CONDITION_ANY_OF, offsetof(struct condition_posture, os),
                      "operating system"},
    [CONDITION_OS_VERSION_MIN] = {"os_version_min", CONDITION_AT_LEAST,
                                  offsetof(struct condition_posture, os_version),
                                  "operating system's version"},
};

const struct condition_row *condition_row(enum condition_attested which)
{
    assert(which < CONDITION_ATTESTED_COUNT);
    return &rows[which];
}

/* ---- hours */

static const char *const days[7] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

static weft_err bad_hours(const char *text, wf_why *why)
{
    return wf_fail(why, WEFT_EINVAL,
                   "'%.63s' are no hours; write such as 'mon-fri 08:00-18:00', 'sat,sun "
                   "10:00-12:30' or 'daily 22:00-06:00' (UTC)",
                   text);
}

static bool take_day(const char **at, unsigned *day)
{
    for (unsigned i = 0; i < 7; i++)
        if (strncmp(*at, days[i], 3) == 0) {
            *at += 3;
            *day = i;
            return true;
        }
    return false;
}

/* "daily", or days and spans of days: bits from Monday. */
static bool take_days(const char **at, unsigned *bits)
{
    *bits = 0;
    if (strncmp(*at, "daily ", 6) == 0) {
        *at += 5;
        *bits = 127;
        return true;
    }
    for (;;) {
        unsigned first, last;

        if (!take_day(at, &first))
            return false;
        last = first;
        if (**at == '-') {
            ++*at;
            if (!take_day(at, &last))
                return false;
        }
        for (unsigned day = first;; day = (day + 1) % 7) {
            *bits |= 1u << day;
            if (day == last)
                break;
        }
        if (**at != ',')
            return true;
        ++*at;
    }
}

/* "HH:MM", to 24:00. */
static bool take_time(const char **at, unsigned *minutes)
{
    unsigned digits[4];
    static const unsigned places[4] = {0, 1, 3, 4};

    for (unsigned i = 0; i < 4; i++) {
        char c = (*at)[places[i]];

        /* In order: nothing behind the end is looked at. */
        if (c < '0' || c > '9' || (i == 1 && (*at)[2] != ':'))
            return false;
        digits[i] = (unsigned)(c - '0');
    }
    *minutes = (digits[0] * 10 + digits[1]) * 60 + digits[2] * 10 + digits[3];
    *at += 5;
    return digits[2] < 6 && *minutes <= 1440;
}

static int by_start(const void *a, const void *b)
{
    const struct pki_window *x = a, *y = b;

    return x->from < y->from ? -1 : x->from > y->from;
}

weft_err condition_hours_add(struct conditions *to, const char *text, wf_why *why)
{
    struct pki_window all[CONDITION_WINDOWS_MAX + 8];
    const char *at = text;
    unsigned bits, from, until;
    size_t count = to->window_count, kept = 0;

    if (strlen(text) >= CONDITION_HOURS_TEXT || !take_days(&at, &bits) || *at++ != ' ' ||
        !take_time(&at, &from) || *at++ != '-' || !take_time(&at, &until) || *at != '\0' ||
        from == until || from == 1440)
        return bad_hours(text, why);
    if (until == 0)
        until = 1440;
    if (to->hours_count == CONDITION_HOURS_MAX)
        return wf_fail(why, WEFT_ELIMIT, "more than %u texts of hours in one policy",
                       CONDITION_HOURS_MAX);
    memcpy(all, to->windows, count * sizeof *all);
    for (unsigned day = 0; day < 7; day++) {
        uint32_t start = day * 1440 + from, end = day * 1440 + until;

        if ((bits >> day & 1) == 0)
            continue;
        if (until < from)
            end += 1440;
        if (end > WF_WEEK_MINUTES) { /* Sunday night goes on on Monday */
            all[count++] = (struct pki_window){0, (uint16_t)(end - WF_WEEK_MINUTES)};
            end = WF_WEEK_MINUTES;
        }
        all[count++] = (struct pki_window){(uint16_t)start, (uint16_t)end};
    }
    qsort(all, count, sizeof *all, by_start);
    for (size_t i = 0; i < count; i++)
        if (kept > 0 && all[i].from <= all[kept - 1].to) {
            if (all[i].to > all[kept - 1].to)
                all[kept - 1].to = all[i].to;
        } else {
            all[kept++] = all[i];
        }
    if (kept > CONDITION_WINDOWS_MAX)
        return wf_fail(why, WEFT_ELIMIT,
                       "the hours come to more than %u spans a week; join some of them",
                       CONDITION_WINDOWS_MAX);
    memcpy(to->windows, all, kept * sizeof *all);
    to->window_count = kept;
    memcpy(to->hours[to->hours_count++], text, strlen(text) + 1);
    return WEFT_OK;
}

static bool is_within_hours(const struct conditions *c, uint64_t now)
{
    /* 1970-01-01 was a Thursday. */
    uint32_t minute = (uint32_t)((now / 60000 + 3 * 1440) % WF_WEEK_MINUTES);

    for (size_t i = 0; i < c->window_count; i++)
        if (minute >= c->windows[i].from && minute < c->windows[i].to)
            return true;
    return false;
}

/* ---- sources */

bool condition_address_parse(const char *text, struct pki_prefix *out)
{
    struct pki_prefix read;

    if (strchr(text, '/') != NULL || pki_prefix_parse(text, &read, NULL) != WEFT_OK)
        return false;
    *out = read;
    return true;
}

weft_err condition_source_add(struct conditions *to, const char *text, wf_why *why)
{
    struct pki_prefix read = {.bits = 0};
    size_t at;
    weft_err err = pki_prefix_parse(text, &read, why);

    if (err != WEFT_OK)
        return err;
    for (size_t i = 0; i < to->source_count; i++)
        if (memcmp(&to->sources[i], &read, sizeof read) == 0)
            return WEFT_OK;
    if (to->source_count == CONDITION_SOURCES_MAX)
        return wf_fail(why, WEFT_ELIMIT, "more than %u sources in one policy",
                       CONDITION_SOURCES_MAX);
    /* In one order, however they were written. */
    at = to->source_count++;
    for (; at > 0 && memcmp(&read, &to->sources[at - 1], sizeof read) < 0; at--)
        to->sources[at] = to->sources[at - 1];
    to->sources[at] = read;
    return WEFT_OK;
}

void conditions_terms(const struct conditions *c, struct pki_terms *out)
{
    *out = (struct pki_terms){.window_count = c->window_count, .source_count = c->source_count};
    for (size_t i = 0; i < c->window_count; i++)
        out->windows[i] = c->windows[i];
    memcpy(out->sources, c->sources, c->source_count * sizeof *c->sources);
}

static bool is_from_there(const struct conditions *c, const struct pki_prefix *source)
{
    struct pki_terms terms;

    conditions_terms(c, &terms);
    return pki_terms_allows(&terms, source->address, source->len);
}

/* ---- what is attested */

bool condition_fact_is_good(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && len < CONDITION_FACT_TEXT &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+~-") ==
               len;
}

/* Digits from the start of *at, without leading zeros; how many. */
static size_t take_digits(const char **at, const char **digits)
{
    size_t len;

    while (**at == '0' && (*at)[1] >= '0' && (*at)[1] <= '9')
        ++*at;
    *digits = *at;
    len = strspn(*at, "0123456789");
    *at += len;
    return len;
}

/* The next piece of a version; "0" once it has ended. What isn't a number ends it: 6.1.0-18. */
static size_t take_piece_of_version(const char **at, const char **digits)
{
    size_t len = take_digits(at, digits);

    *at = len > 0 && **at == '.' ? *at + 1 : "";
    if (len == 0)
        *digits = "0";
    return len > 0 ? len : 1;
}

int condition_version_compare(const char *a, const char *b)
{
    while (*a != '\0' || *b != '\0') {
        const char *x, *y;
        size_t n = take_piece_of_version(&a, &x), m = take_piece_of_version(&b, &y);
        int order = n != m ? (n < m ? -1 : 1) : memcmp(x, y, n);

        if (order != 0)
            return order;
    }
    return 0;
}

static const char *fact_of(const struct condition_row *row, const struct condition_posture *posture)
{
    return (const char *)posture + row->fact;
}

static bool is_listed(const char *list, const char *fact)
{
    size_t len = strlen(fact);

    if (len == 0)
        return false;
    for (const char *at = list; *at != '\0'; at += *at == ',') {
        size_t n = strcspn(at, ",");

        if (n == len && memcmp(at, fact, n) == 0)
            return true;
        at += n;
    }
    return false;
}

static bool is_attested(const struct condition_row *row, const char *wanted, const char *fact)
{
    if (row->how == CONDITION_ANY_OF)
        return is_listed(wanted, fact);
    return fact[0] >= '0' && fact[0] <= '9' && condition_version_compare(fact, wanted) >= 0;
}

weft_err condition_attested_add(struct conditions *to, enum condition_attested which,
                                const char *text, wf_why *why)
{
    const struct condition_row *row = condition_row(which);
    char *have = to->attested[which], *at = have, rest[CONDITION_ATTESTED_TEXT];
    size_t len = strlen(have), more = strlen(text);

    if (!condition_fact_is_good(text) ||
        (row->how == CONDITION_AT_LEAST && (strspn(text, "0123456789.") != more || text[0] == '.' ||
                                            text[more - 1] == '.' || strstr(text, "..") != NULL)))
        return wf_fail(why, WEFT_EINVAL, "%s '%.63s' is no %s", row->key, text,
                       row->how == CONDITION_AT_LEAST ? "version such as 5.10" : "plain word");
    if (row->how == CONDITION_AT_LEAST && len > 0)
        return wf_fail(why, WEFT_EINVAL, "%s takes one version", row->key);
    if (is_listed(have, text))
        return WEFT_OK;
    if (len + more + 2 > CONDITION_ATTESTED_TEXT)
        return wf_fail(why, WEFT_ELIMIT, "%s takes at most %u characters", row->key,
                       CONDITION_ATTESTED_TEXT - 1);
    /* In order, however they were written. */
    while (*at != '\0') {
        size_t n = strcspn(at, ",");
        size_t shorter = n < more ? n : more;
        int order = memcmp(at, text, shorter);

        if (order > 0 || (order == 0 && n > more))
            break;
        at += n + (at[n] == ',');
    }
    snprintf(rest, sizeof rest, "%s", at);
    snprintf(at, CONDITION_ATTESTED_TEXT - (size_t)(at - have), "%s%s%s%s",
             at > have && rest[0] == '\0' ? "," : "", text, rest[0] != '\0' ? "," : "", rest);
    return WEFT_OK;
}

/* ---- all of them */

bool conditions_carry_nothing(const struct conditions *c)
{
    return c->window_count == 0 && c->source_count == 0;
}

bool conditions_are_empty(const struct conditions *c)
{
    for (unsigned i = 0; i < CONDITION_ATTESTED_COUNT; i++)
        if (c->attested[i][0] != '\0')
            return false;
    return conditions_carry_nothing(c);
}

enum condition_verdict conditions_check(const struct conditions *c,
                                        const struct policy_facts *facts,
                                        const struct condition_row **row)
{
    *row = NULL;
    if (facts->knows_posture)
        for (unsigned i = 0; i < CONDITION_ATTESTED_COUNT; i++)
            if (c->attested[i][0] != '\0' &&
                !is_attested(&rows[i], c->attested[i], fact_of(&rows[i], &facts->posture))) {
                *row = &rows[i];
                return CONDITION_NOT_ATTESTED;
            }
    if (facts->knows_source && c->source_count > 0 && !is_from_there(c, &facts->source))
        return CONDITION_NOT_FROM_THERE;
    if (facts->knows_now && c->window_count > 0 && !is_within_hours(c, facts->now))
        return CONDITION_NOT_NOW;
    return CONDITION_HOLDS;
}

static void append(char *out, size_t cap, const char *text)
{
    size_t len = strlen(out);

    snprintf(out + len, cap - len, "%s", text);
}

void conditions_say_open(const struct conditions *c, const struct policy_facts *facts, char *out,
                         size_t cap)
{
    char text[PKI_PREFIX_TEXT];
    bool is_first = true;

    out[0] = '\0';
    if (!facts->knows_now && c->window_count > 0) {
        append(out, cap, "between ");
        for (size_t i = 0; i < c->hours_count; i++) {
            append(out, cap, i > 0 ? " or " : "");
            append(out, cap, c->hours[i]);
        }
        append(out, cap, " UTC");
    }
    if (!facts->knows_source && c->source_count > 0) {
        append(out, cap, out[0] != '\0' ? " from " : "from ");
        for (size_t i = 0; i < c->source_count; i++) {
            append(out, cap, i > 0 ? " or " : "");
            append(out, cap, pki_prefix_text(&c->sources[i], text));
        }
    }
    for (unsigned i = 0; !facts->knows_posture && i < CONDITION_ATTESTED_COUNT; i++)
        if (c->attested[i][0] != '\0') {
            append(out, cap, out[0] != '\0' ? " " : "");
            append(out, cap, is_first ? "where " : "and ");
            is_first = false;
            append(out, cap, rows[i].key);
            append(out, cap, " is ");
            append(out, cap, c->attested[i]);
        }
}

/* ---- as text */

void conditions_hours_text(const struct conditions *c, char out[CONDITIONS_TEXT])
{
    out[0] = '\0';
    for (size_t i = 0; i < c->hours_count; i++) {
        append(out, CONDITIONS_TEXT, i > 0 ? ";" : "");
        append(out, CONDITIONS_TEXT, c->hours[i]);
    }
}

void conditions_sources_text(const struct conditions *c, char out[CONDITIONS_TEXT])
{
    char text[PKI_PREFIX_TEXT];

    out[0] = '\0';
    for (size_t i = 0; i < c->source_count; i++) {
        append(out, CONDITIONS_TEXT, i > 0 ? ";" : "");
        append(out, CONDITIONS_TEXT, pki_prefix_text(&c->sources[i], text));
    }
}

void conditions_attested_text(const struct conditions *c, char out[CONDITIONS_TEXT])
{
    out[0] = '\0';
    for (unsigned i = 0; i < CONDITION_ATTESTED_COUNT; i++)
        if (c->attested[i][0] != '\0') {
            append(out, CONDITIONS_TEXT, out[0] != '\0' ? ";" : "");
            append(out, CONDITIONS_TEXT, rows[i].key);
            append(out, CONDITIONS_TEXT, "=");
            append(out, CONDITIONS_TEXT, c->attested[i]);
        }
}

/* The next piece before a ';' (or ','), into out; false: too long. */
static bool take_piece(const char **at, char stop, char *out, size_t cap)
{
    const char stops[2] = {stop, '\0'};
    size_t len = strcspn(*at, stops);

    if (len >= cap)
        return false;
    memcpy(out, *at, len);
    out[len] = '\0';
    *at += len + ((*at)[len] == stop);
    return true;
}

static weft_err read_attested(const char *text, struct conditions *out)
{
    char piece[CONDITION_ATTESTED_TEXT + 32], one[CONDITION_ATTESTED_TEXT];

    while (*text != '\0') {
        const char *value;
        unsigned which = 0;

        if (!take_piece(&text, ';', piece, sizeof piece) || (value = strchr(piece, '=')) == NULL)
            return WEFT_EINVAL;
        while (which < CONDITION_ATTESTED_COUNT &&
               (strlen(rows[which].key) != (size_t)(value - piece) ||
                memcmp(rows[which].key, piece, (size_t)(value - piece)) != 0))
            which++;
        if (which == CONDITION_ATTESTED_COUNT)
            return WEFT_EINVAL;
        for (value++; *value != '\0';)
            if (!take_piece(&value, ',', one, sizeof one) ||
                condition_attested_add(out, (enum condition_attested)which, one, NULL) != WEFT_OK)
                return WEFT_EINVAL;
    }
    return WEFT_OK;
}

weft_err conditions_read(const char *hours, const char *sources, const char *attested,
                         struct conditions *out)
{
    char piece[CONDITION_HOURS_TEXT]; /* longer than any source */

    memset(out, 0, sizeof *out);
    while (*hours != '\0')
        if (!take_piece(&hours, ';', piece, sizeof piece) ||
            condition_hours_add(out, piece, NULL) != WEFT_OK)
            return WEFT_EINVAL;
    while (*sources != '\0')
        if (!take_piece(&sources, ';', piece, sizeof piece) ||
            condition_source_add(out, piece, NULL) != WEFT_OK)
            return WEFT_EINVAL;
    return read_attested(attested, out);
}
