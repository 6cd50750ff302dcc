/*
 * Conditions on claims and templates of names, by what is claimed: a condition,
 * NUL, a template, NUL, the claim's text. A star must match as a table of all
 * ways says; a name must lead back to the text that it was made from.
 */
#include "controller/claims.h"
#include "controller/template.h"
#include "tests/fuzz/check.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_MAX 200u

/* Row by row of the pattern: which beginnings of the text it matches. */
static bool is_like(const char *text, const char *pattern)
{
    bool row[TEXT_MAX + 1] = {true}, next[TEXT_MAX + 1];
    size_t len = strlen(text);

    for (const char *p = pattern; *p != '\0'; p++) {
        next[0] = *p == '*' && row[0];
        for (size_t i = 1; i <= len; i++)
            next[i] = *p == '*' ? row[i] || next[i - 1] : row[i - 1] && *p == text[i - 1];
        memcpy(row, next, sizeof row);
    }
    return row[len];
}

static void try_condition(const char *condition, const char *text)
{
    wf_why why;
    const char *op = strchr(condition, ' ');

    CHECK(!claims_fit(condition, NULL));
    if (claims_check(condition, &why) != WEFT_OK)
        return;
    CHECK(op != NULL);
    if (op[1] == '~')
        CHECK(claims_fit(condition, text) == is_like(text, op + 3));
    else
        CHECK(claims_fit(condition, text) == ((strcmp(text, op + 4) == 0) == (op[1] == '=')));
}

static unsigned digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static const char *value(void *arg, const char *placeholder)
{
    (void)placeholder;
    return arg;
}

static void try_template(const char *template, char *text)
{
    char name[WF_NAME_MAX + 1], back[WF_NAME_MAX + 1];
    size_t len = 0;
    wf_why why;
    weft_err err;

    if (template_check(template, NULL, &why) != WEFT_OK)
        return;
    err = template_fill(template, value, text, name, &why);
    CHECK(err == WEFT_OK || err == WEFT_ECREDENTIAL);
    if (err != WEFT_OK)
        return;
    CHECK(wf_name_check(name, strlen(name), "name", NULL) == WEFT_OK);
    if (template_fill("{x}", value, text, name, &why) != WEFT_OK)
        return;
    for (const char *at = name; *at != '\0'; at++) {
        bool is_marked = *at == '_' && is_hex(at[1]) && is_hex(at[2]);

        back[len++] = is_marked ? (char)(digit(at[1]) << 4 | digit(at[2])) : *at;
        at += is_marked ? 2 : 0;
    }
    back[len] = '\0';
    CHECK(strcmp(back, text) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char texts[3][TEXT_MAX + 1] = {"", "", ""};
    size_t len = 0, which = 0;

    for (size_t i = 0; i < size; i++) {
        if (data[i] == 0 && which < 2) {
            which++;
            len = 0;
        } else if (data[i] != 0 && len < TEXT_MAX) {
            texts[which][len++] = (char)data[i];
            texts[which][len] = '\0';
        }
    }
    try_condition(texts[0], texts[2]);
    try_template(texts[1], texts[2]);
    return 0;
}
