/*
 * What an administrator may do: look at or act on each kind of thing, or
 * everything (`full`). A set of bits, kept with the administrator's row and
 * asked for at one place, operation.c. Acting on a kind includes looking at it.
 */
#ifndef CONTROLLER_RIGHTS_H
#define CONTROLLER_RIGHTS_H

#include "proto/base/why.h"
#include <stdbool.h>
#include <stddef.h>

enum right_kind {
    KIND_ANY = 0, /* no kind: every administrator may */
    KIND_IDENTITIES = 1,
    KIND_SERVICES = 2,
    KIND_POLICIES = 4,
    KIND_ROUTERS = 8,
    KIND_SESSIONS = 16,
    KIND_AUDIT = 32,
    KIND_CAS = 64,
    KIND_ALL = 127,
    KIND_FULL = 128, /* administrators, and what no delegate may touch: in `full` alone */
};

#define RIGHTS_FULL 0x10000u
#define RIGHTS_READ ((unsigned)KIND_ALL)
#define RIGHTS_WORDS_MAX 16u /* that a list may hold */
#define RIGHTS_WORD_MAX 20u  /* bytes of one, with NUL */

/* Whether these rights let one look at, or act on, all of these kinds. */
bool rights_allow(unsigned rights, unsigned kinds, bool is_act);
/* Whether everything that b may do a may do as well. */
bool rights_include(unsigned a, unsigned b);

/*
 * Adds what a word says: "full", "read" (or "read-only"), "KIND:read",
 * "KIND:write". WEFT_EINVAL with the words there are.
 */
weft_err rights_parse(const char *word, unsigned *io, wf_why *why);
/* The i-th word of these rights, as few as say it; false behind the last. */
bool rights_word(unsigned rights, size_t i, char out[RIGHTS_WORD_MAX]);
/* All words, "read, services:write", for people. */
void rights_text(unsigned rights, char *out, size_t cap);
/* What a row of the table needs, "services:write". */
void rights_needed(unsigned kinds, bool is_act, char *out, size_t cap);

#endif
