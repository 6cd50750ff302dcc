/*
 * Conditions of a policy, in addition to its roles: hours of the UTC week,
 * prefixes of source addresses, and what the identity attests of itself.
 * Pure: facts in, a verdict out. docs/security.md, "Policy".
 *
 * All that are set must hold. A fact can be open: whoever uses the permission
 * decides it then (hours and sources are carried in the grant as terms).
 */
#ifndef CONTROLLER_CONDITION_H
#define CONTROLLER_CONDITION_H

#include "pki/terms.h"

#define CONDITION_WINDOWS_MAX WF_WINDOWS_MAX   /* of one policy, once written out by days */
#define CONDITION_HOURS_MAX 8                  /* texts of hours */
#define CONDITION_HOURS_TEXT 64                /* one of them, with its NUL */
#define CONDITION_SOURCES_MAX WF_SOURCES_MAX   /* prefixes */
#define CONDITION_ATTESTED_TEXT 96             /* a condition on one attested fact, with its NUL */
#define CONDITION_FACT_TEXT (WF_AGENT_MAX + 1) /* an attested fact, with its NUL */
/* What an identity says of the machine it runs on. Nobody proves it. */
struct condition_posture {
    char os[CONDITION_FACT_TEXT]; /* lower case: "linux" */
    char os_version[CONDITION_FACT_TEXT];
    char arch[CONDITION_FACT_TEXT];
    char agent[CONDITION_FACT_TEXT];
};

/* The conditions on posture: one row each in condition.c, which is all that a new one needs here.
 */
enum condition_attested { CONDITION_OS, CONDITION_OS_VERSION_MIN, CONDITION_ATTESTED_COUNT };
struct condition_row {
    const char *key; /* in JSON, in the store, in messages */
    enum condition_how {
        CONDITION_ANY_OF,   /* "a,b": the fact is one of them */
        CONDITION_AT_LEAST, /* a version: the fact is that or a later one */
    } how;
    size_t fact;      /* offset in struct condition_posture */
    const char *noun; /* "operating system" */
};
const struct condition_row *condition_row(enum condition_attested which);

struct conditions {
    char hours[CONDITION_HOURS_MAX][CONDITION_HOURS_TEXT]; /* as written */
    size_t hours_count;
    struct pki_window windows[CONDITION_WINDOWS_MAX]; /* the same: in order, apart */
    size_t window_count;
    struct pki_prefix sources[CONDITION_SOURCES_MAX];
    size_t source_count;
    char attested[CONDITION_ATTESTED_COUNT][CONDITION_ATTESTED_TEXT]; /* "": none */
};

struct policy_facts {
    bool knows_now, knows_source, knows_posture; /* false: open */
    uint64_t now;                                /* wall ms */
    struct pki_prefix source;                    /* all bits */
    struct condition_posture posture;            /* empty text: it says nothing of it */
};

enum condition_verdict {
    CONDITION_HOLDS,
    CONDITION_NOT_NOW,
    CONDITION_NOT_FROM_THERE,
    CONDITION_NOT_ATTESTED, /* the first row that fails is in *row */
};

bool conditions_are_empty(const struct conditions *conditions);
/* Nothing that a grant carries as terms: no hours, no sources. */
bool conditions_carry_nothing(const struct conditions *conditions);
enum condition_verdict conditions_check(const struct conditions *conditions,
                                        const struct policy_facts *facts,
                                        const struct condition_row **row);
/* "between mon-fri 08:00-18:00 UTC, from 10.0.0.0/8, ..." of what the facts leave open; "":
 * nothing. */
void conditions_say_open(const struct conditions *conditions, const struct policy_facts *facts,
                         char *out, size_t cap);

/*
 * "mon-fri 08:00-18:00", "daily 22:00-06:00" (into the next day), "sat,sun 00:00-24:00":
 * adds it. WEFT_EINVAL with how to write it, WEFT_ELIMIT.
 */
weft_err condition_hours_add(struct conditions *to, const char *text, wf_why *why);
/* "10.0.0.0/8", "2001:db8::/32", an address alone. Bits behind the prefix must be zero. */
weft_err condition_source_add(struct conditions *to, const char *text, wf_why *why);
/* Adds one text to the condition of this row; a row that wants a version takes one. */
weft_err condition_attested_add(struct conditions *to, enum condition_attested which,
                                const char *text, wf_why *why);
/* An address without a prefix, as a fact. */
bool condition_address_parse(const char *text, struct pki_prefix *out);
/* What a grant carries of them: hours and sources. */
void conditions_terms(const struct conditions *conditions, struct pki_terms *out);
/* 1..63 of letters, digits and ._+~- */
bool condition_fact_is_good(const char *text);
/* Numbers compared as numbers, piece by piece: 5.9 < 5.10 < 5.10.1. Below, at, above zero. */
int condition_version_compare(const char *a, const char *b);

/* For the store: one text each for hours, sources and attested; out holds CONDITIONS_TEXT. */
#define CONDITIONS_TEXT 1024
void conditions_hours_text(const struct conditions *conditions, char out[CONDITIONS_TEXT]);
void conditions_sources_text(const struct conditions *conditions, char out[CONDITIONS_TEXT]);
void conditions_attested_text(const struct conditions *conditions, char out[CONDITIONS_TEXT]);
/* Reads the three back. WEFT_EINVAL. */
weft_err conditions_read(const char *hours, const char *sources, const char *attested,
                         struct conditions *out);

#endif
