#include "controller/claims.h"
#include <stdbool.h>
#include <string.h>

#define CLAIM_MAX 65u

struct condition {
    char claim[CLAIM_MAX];
    enum { IS, IS_NOT, IS_LIKE } op;
    const char *value; /* into the text */
};

static bool take(const char *text, struct condition *out)
{
    size_t len = strcspn(text, " ");
    const char *at = text + len;

    if (len == 0 || len >= CLAIM_MAX || *at == '\0')
        return false;
    memcpy(out->claim, text, len);
    out->claim[len] = '\0';
    at++;
    if (strncmp(at, "== ", 3) == 0 || strncmp(at, "!= ", 3) == 0) {
        out->op = at[0] == '=' ? IS : IS_NOT;
        out->value = at + 3;
    } else if (strncmp(at, "~ ", 2) == 0) {
        out->op = IS_LIKE;
        out->value = at + 2;
    } else {
        return false;
    }
    return out->value[0] != '\0' && out->value[0] != ' ';
}

weft_err claims_check(const char *condition, wf_why *why)
{
    struct condition c;

    if (take(condition, &c) && !(c.op == IS_LIKE && strspn(c.value, "*") == strlen(c.value)))
        return WEFT_OK;
    return wf_fail(why, WEFT_EINVAL,
                   "'%.120s' is no condition: write 'CLAIM == VALUE', '!=' or '~' with * in the "
                   "value",
                   condition);
}

/* Without recursion: the last star is tried again one character further. */
static bool is_like(const char *text, const char *pattern)
{
    const char *star = NULL, *kept = NULL;

    while (*text != '\0') {
        if (*pattern == '*') {
            star = pattern++;
            kept = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star != NULL) {
            pattern = star + 1;
            text = ++kept;
        } else {
            return false;
        }
    }
    return strspn(pattern, "*") == strlen(pattern);
}

static bool holds(const struct condition *c, const char *text)
{
    if (text == NULL)
        return false;
    return c->op == IS_LIKE ? is_like(text, c->value)
                            : (strcmp(text, c->value) == 0) == (c->op == IS);
}

bool claims_fit(const char *condition, const char *text)
{
    struct condition c;

    return take(condition, &c) && holds(&c, text);
}

weft_err claims_hold(const struct store_issuer *issuer, const pki_jwt *jwt, wf_why *why,
                     wf_why *logged)
{
    for (size_t i = 0; i < issuer->condition_count; i++) {
        struct condition c;

        if (!take(issuer->conditions[i], &c))
            return WEFT_EINTERNAL;
        if (!holds(&c, pki_jwt_text(jwt, c.claim))) {
            (void)wf_fail(logged, WEFT_EREFUSED, "%.150s", issuer->conditions[i]);
            return wf_fail(why, WEFT_EREFUSED,
                           "the token's claim '%s' isn't one that an administrator lets enroll",
                           c.claim);
        }
    }
    return issuer->condition_count > 0 ? WEFT_OK : WEFT_EREFUSED;
}
