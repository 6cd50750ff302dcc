/* What post, dial and status share: how long, and how a service that was not reached is spoken of.
 */
#include "sdk/cli/cli.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>

weft_err cli_timeout(const struct wf_call_line *line, unsigned fallback_ms, unsigned *out_ms,
                     wf_why *why)
{
    unsigned long long ms;
    weft_err err = wf_line_duration(line, "timeout", fallback_ms, &ms, why);
    if (err == WEFT_OK && ms == 0 && wf_line_text(line, "timeout") != NULL)
        err = wf_fail(why, WEFT_EUSAGE, "--timeout %s leaves no time: give one such as 10s",
                      wf_line_text(line, "timeout"));
    if (err == WEFT_OK)
        *out_ms = ms < UINT_MAX ? (unsigned)ms : UINT_MAX;
    return err;
}

weft_err cli_not_reached(const char *service, weft_err err, const char *text, const char *tries,
                         wf_why *why)
{
    char remedy[192] = "";
    size_t len = strlen(service);
    if (text == NULL || *text == 0)
        text = weft_err_sentence(err);
    bool names_it = strncmp(text, service, len) == 0 && text[len] == ':';
    if (err == WEFT_ENOHOST && strcmp(text, weft_err_sentence(err)) == 0)
        snprintf(remedy, sizeof remedy, "; is weft-tunneler host %s=HOST:PORT running?", service);
    return wf_fail(why, err, "%s%s%s%s%s", names_it ? "" : service, names_it ? "" : ": ", text,
                   tries, remedy);
}
