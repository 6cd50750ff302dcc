/*
 * What a grant is bound to: hours of the week, addresses, how many sessions,
 * how long. Pure decisions; who holds to which is in docs/security.md, "Policy".
 */
#ifndef PKI_TERMS_H
#define PKI_TERMS_H

#include "proto/base/why.h"
#include "proto/wire/control.h"
#include "proto/wire/limits.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Minutes of the UTC week, Monday 00:00 is 0: from `from` on, before `to`. */
struct pki_window {
    uint16_t from, to;
};

struct pki_prefix {
    uint8_t bits;
    uint8_t len; /* of the address: 4 or 16 */
    uint8_t address[16];
};

/* 0, or none: nothing is bound. */
struct pki_terms {
    uint32_t sessions, sessions_per_identity;
    uint64_t idle_ms, age_ms;
    size_t window_count, source_count;
    struct pki_window windows[WF_WINDOWS_MAX];
    struct pki_prefix sources[WF_SOURCES_MAX];
};

/* False: beyond the bounds that proto/wire/rules.c sets; out is as before. */
bool pki_terms_from_wire(const Weft__Wire__Terms *terms, struct pki_terms *out);

/* ---- windows */

/*
 * Whether a window is open at now (wall ms). One opens WF_CLOCK_TOLERANCE_MS
 * early, as clocks may differ by that, and closes on time by the clock of
 * whoever asks. Without windows: always.
 */
bool pki_terms_is_open(const struct pki_terms *terms, uint64_t now);
/* WEFT_EREFUSED with "open Mon 08:00-18:00 UTC, and it is Tue 19:12". */
weft_err pki_terms_check_window(const struct pki_terms *terms, uint64_t now, wf_why *why);
/*
 * When terms that are open now close: UINT64_MAX if they never do, 0 if they are closed.
 */
uint64_t pki_terms_closes(const struct pki_terms *terms, uint64_t now);
/*
 * The next change, in wall ms: when the open windows close (those that touch
 * or overlap are one), or the next one opens. UINT64_MAX: it never changes.
 */
uint64_t pki_terms_next_change(const struct pki_terms *terms, uint64_t now);
/* "Mon 08:00-18:00, Tue 08:00-18:00"; cut to fit. Returns buf. */
#define PKI_WINDOWS_TEXT 160
char *pki_terms_windows_text(const struct pki_terms *terms, char buf[PKI_WINDOWS_TEXT]);

/* ---- sources */

/*
 * Whether one of the sources holds this address of 4 or 16 bytes. An
 * IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) is IPv4, in prefixes as
 * well. Without sources: any. Another length: none.
 */
bool pki_terms_allows(const struct pki_terms *terms, const uint8_t *address, size_t len);
/*
 * The same for the far end of a link as text, "192.0.2.7:5001" or
 * "[2001:db8::7]:5001". WEFT_EREFUSED names the address and the rule.
 */
weft_err pki_terms_check_source(const struct pki_terms *terms, const char *remote, wf_why *why);

/* "10.0.0.0/8", "2001:db8::/32", or an address alone. Bits beyond the length: WEFT_EINVAL. */
weft_err pki_prefix_parse(const char *text, struct pki_prefix *out, wf_why *why);
#define PKI_PREFIX_TEXT 64
char *pki_prefix_text(const struct pki_prefix *prefix, char buf[PKI_PREFIX_TEXT]);
/* As in Terms.sources: 5 or 17 bytes; returns how many. */
size_t pki_prefix_put(const struct pki_prefix *prefix, uint8_t out[17]);

#endif
