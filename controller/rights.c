#include "controller/rights.h"
#include <stdio.h>
#include <string.h>

#define WRITE_SHIFT 8

static const char *const kinds_text[] = {"identities", "services", "policies", "routers",
                                         "sessions",   "audit",    "cas"};
#define KINDS (sizeof kinds_text / sizeof *kinds_text)

bool rights_allow(unsigned rights, unsigned kinds, bool is_act)
{
    unsigned needed = is_act ? kinds << WRITE_SHIFT : kinds;

    if ((rights & RIGHTS_FULL) != 0)
        return true;
    return (kinds & KIND_FULL) == 0 && (rights & needed) == needed;
}

bool rights_include(unsigned a, unsigned b)
{
    return (a & RIGHTS_FULL) != 0 || (b & ~a) == 0;
}

weft_err rights_parse(const char *word, unsigned *io, wf_why *why)
{
    if (strcmp(word, "full") == 0) {
        *io |= RIGHTS_FULL;
        return WEFT_OK;
    }
    if (strcmp(word, "read") == 0 || strcmp(word, "read-only") == 0) {
        *io |= RIGHTS_READ;
        return WEFT_OK;
    }
    for (unsigned i = 0; i < KINDS; i++) {
        size_t len = strlen(kinds_text[i]);

        if (strncmp(word, kinds_text[i], len) != 0 || word[len] != ':')
            continue;
        if (strcmp(word + len + 1, "read") == 0)
            *io |= 1u << i;
        else if (strcmp(word + len + 1, "write") == 0)
            *io |= 1u << i | 1u << (i + WRITE_SHIFT);
        else
            break;
        return WEFT_OK;
    }
    return wf_fail(why, WEFT_EINVAL,
                   "'%.40s' is no right; say full, read, or KIND:read or KIND:write, where KIND is "
                   "identities, services, policies, routers, sessions, audit or cas",
                   word);
}

bool rights_word(unsigned rights, size_t i, char out[RIGHTS_WORD_MAX])
{
    bool reads_all = (rights & RIGHTS_READ) == RIGHTS_READ;

    if ((rights & RIGHTS_FULL) != 0) {
        snprintf(out, RIGHTS_WORD_MAX, "full");
        return i == 0;
    }
    if (reads_all && i-- == 0) {
        snprintf(out, RIGHTS_WORD_MAX, "read");
        return true;
    }
    for (unsigned k = 0; k < KINDS; k++) {
        bool writes = (rights & 1u << (k + WRITE_SHIFT)) != 0;

        if (!writes && (reads_all || (rights & 1u << k) == 0))
            continue;
        if (i-- == 0) {
            snprintf(out, RIGHTS_WORD_MAX, "%s:%s", kinds_text[k], writes ? "write" : "read");
            return true;
        }
    }
    return false;
}

void rights_text(unsigned rights, char *out, size_t cap)
{
    char word[RIGHTS_WORD_MAX];
    size_t len = 0;

    out[0] = '\0';
    for (size_t i = 0; rights_word(rights, i, word) && len < cap; i++)
        len += (size_t)snprintf(out + len, cap - len, "%s%s", i > 0 ? ", " : "", word);
}

void rights_needed(unsigned kinds, bool is_act, char *out, size_t cap)
{
    size_t len = 0;

    snprintf(out, cap, "full");
    for (unsigned k = 0; k < KINDS && (kinds & KIND_FULL) == 0 && len < cap; k++)
        if ((kinds & 1u << k) != 0)
            len += (size_t)snprintf(out + len, cap - len, "%s%s:%s", len > 0 ? ", " : "",
                                    kinds_text[k], is_act ? "write" : "read");
}
