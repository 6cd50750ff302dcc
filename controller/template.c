#include "controller/template.h"
#include <stdbool.h>
#include <string.h>

#define PLACEHOLDER_MAX 65u
#define EXPANDED_MAX 512u

/* The placeholder that begins at "{"; false: none. *end is behind its "}". */
static bool take_placeholder(const char *at, char out[PLACEHOLDER_MAX], const char **end)
{
    size_t len =
        strspn(at + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

    if (len == 0 || len >= PLACEHOLDER_MAX || at[1 + len] != '}')
        return false;
    memcpy(out, at + 1, len);
    out[len] = '\0';
    *end = at + len + 2;
    return true;
}

weft_err template_check(const char *template, const char *const *known, wf_why *why)
{
    char placeholder[PLACEHOLDER_MAX];
    const char *at = template;
    bool any = false;

    if (!wf_is_printable(template, strlen(template)))
        return wf_fail(why, WEFT_EINVAL, "a name template is made of printable characters");
    while (*at != '\0') {
        bool is_known = known == NULL;

        if (*at == '}')
            return wf_fail(why, WEFT_EINVAL, "the name template has a '}' without its '{'");
        if (*at != '{') {
            at++;
            continue;
        }
        if (!take_placeholder(at, placeholder, &at))
            return wf_fail(why, WEFT_EINVAL,
                           "the name template has a '{' that begins no "
                           "placeholder such as {cn}");
        for (size_t i = 0; known != NULL && known[i] != NULL; i++)
            is_known = is_known || strcmp(known[i], placeholder) == 0;
        if (!is_known)
            return wf_fail(why, WEFT_EINVAL, "the name template's {%s} is unknown here",
                           placeholder);
        any = true;
    }
    return any ? WEFT_OK
               : wf_fail(why, WEFT_EINVAL,
                         "the name template holds no placeholder: all would have one name");
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
}

static weft_err escape(const char *text, char out[WF_NAME_MAX + 1], wf_why *why)
{
    size_t len = 0;

    for (const char *at = text; *at != '\0'; at++) {
        bool is_marked = !is_plain(*at) || (*at == '_' && is_hex(at[1]) && is_hex(at[2]));

        if (len + (is_marked ? 3 : 1) > WF_NAME_MAX)
            return wf_fail(why, WEFT_ECREDENTIAL,
                           "the name made by the template is longer than %d characters",
                           WF_NAME_MAX);
        out[len++] = is_marked ? '_' : *at;
        if (is_marked) {
            wf_hex(at, 1, out + len);
            len += 2;
        }
    }
    out[len] = '\0';
    return wf_name_check(out, len, "name made by the template", why) == WEFT_OK ? WEFT_OK
                                                                                : WEFT_ECREDENTIAL;
}

weft_err template_fill(const char *template, template_value_fn value, void *arg,
                       char out[WF_NAME_MAX + 1], wf_why *why)
{
    char expanded[EXPANDED_MAX], placeholder[PLACEHOLDER_MAX];
    const char *at = template;
    size_t len = 0;

    while (*at != '\0') {
        const char *text = at;
        size_t n = 1;

        if (*at == '{' && take_placeholder(at, placeholder, &at)) {
            text = value(arg, placeholder);
            if (text == NULL || text[0] == '\0')
                return wf_fail(why, WEFT_ECREDENTIAL,
                               "the name template asks for {%s}, which isn't there as text",
                               placeholder);
            n = strlen(text);
            if (!wf_is_printable(text, n))
                return wf_fail(why, WEFT_ECREDENTIAL, "{%s} is not printable ASCII", placeholder);
        } else {
            at++;
        }
        if (len + n >= sizeof expanded)
            return wf_fail(why, WEFT_ECREDENTIAL,
                           "the name made by the template is longer than %d characters",
                           WF_NAME_MAX);
        memcpy(expanded + len, text, n);
        len += n;
    }
    expanded[len] = '\0';
    return escape(expanded, out, why);
}
