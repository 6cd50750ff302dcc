/* What OpenSSL says when it refuses, as one line of ours. */
#include "pki/internal.h"
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>

weft_err pki_openssl_fail(wf_why *why, weft_err err, const char *format, ...)
{
    char sentence[WF_WHY_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);

    const char *reason = NULL;
    unsigned long code;
    while ((code = ERR_get_error()) != 0) {
        if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE) {
            ERR_clear_error();
            return wf_fail(why, WEFT_ENOMEM, "%s: out of memory", sentence);
        }
        if (reason == NULL) {
            reason = ERR_reason_error_string(code);
        }
    }
    if (reason == NULL) {
        return wf_fail(why, err, "%s", sentence);
    }
    return wf_fail(why, err, "%s (%s)", sentence, reason);
}
