/* Explanations: formatted aside first, so an argument may be the old text. */
#include "proto/base/why.h"
#include "proto/base/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

weft_err wf_fail(wf_why *why, weft_err err, const char *format, ...)
{
    if (why == NULL)
        return err;
    char text[WF_WHY_MAX];
    va_list args;
    va_start(args, format);
    if (vsnprintf(text, sizeof text, format, args) < 0)
        text[0] = '\0';
    va_end(args);
    wf_make_printable(text, strlen(text));
    memcpy(why->text, text, strlen(text) + 1);
    return err;
}

weft_err wf_wrap(wf_why *why, weft_err err, const char *format, ...)
{
    if (why == NULL)
        return err;
    char text[WF_WHY_MAX];
    va_list args;
    va_start(args, format);
    if (vsnprintf(text, sizeof text, format, args) < 0)
        text[0] = '\0';
    va_end(args);

    size_t used = strlen(text);
    (void)snprintf(text + used, sizeof text - used, ": %s", why->text);
    wf_make_printable(text, strlen(text));
    memcpy(why->text, text, strlen(text) + 1);
    return err;
}
