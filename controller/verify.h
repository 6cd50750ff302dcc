/* weft-controller audit-verify: the log of a home, or of a copy of one, without running it. */
#ifndef CONTROLLER_VERIFY_H
#define CONTROLLER_VERIFY_H

#include "pki/ledger.h"

struct verify_result {
    uint64_t entries, sound;
    size_t checkpoints;
    uint64_t first_bad, last_bad; /* as in pki_ledger */
};

/*
 * Reads dir's store and trust bundle, writes nothing. bundle NULL: dir's own.
 * against: files with lines {"checkpoint":"base64"}; count of them.
 * WEFT_ETAMPERED: the sentence names the first bad entry, or the span.
 */
weft_err verify_home(const char *dir, const char *bundle, const char *const *against, size_t count,
                     struct verify_result *out, wf_why *why);

#endif
