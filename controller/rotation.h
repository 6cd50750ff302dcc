/*
 * Making new authorities and keys for a home. docs/operations.md, "Rotation".
 *
 * Everything is made in DIR/rotate.new and becomes real by one rename, to
 * DIR/rotate.ready; home_switch then puts it in place, and whoever opens the
 * home does that first. So a crash at any point leaves the old state or the new.
 */
#ifndef CONTROLLER_ROTATION_H
#define CONTROLLER_ROTATION_H

#include "controller/home.h"

enum rotation_what { /* a mask */
                     ROTATE_IDENTITIES = 1,
                     ROTATE_ROUTERS = 2,
                     ROTATE_CONTROLLERS = 4,
                     ROTATE_ROOT = 8,
                     ROTATE_POLICY = 16,
                     ROTATE_AUDIT = 32,
                     ROTATE_ENROLLMENT = 64,
                     ROTATE_ALL = 127,
};

struct rotation {
    const char *dir;
    const char *passphrase_file; /* NULL: the home's own */
    const char *seal_key;        /* as for home_open_sealed */
    unsigned what;
    bool finish;     /* what: nothing; takes the older keys out of the bundle */
    bool forced;     /* who has not followed was not asked for */
    uint64_t tokens; /* not redeemed, that finish voids */
};

/* "policy" and the like; 0: no such word. */
unsigned rotation_what(const char *word);
/* "identities,policy", "--finish --force": for the audit log; cut to size, at least 1. */
void rotation_words(const struct rotation *rotation, char *out, size_t size);
/*
 * Makes it ready. The caller holds the lock of DIR/rotate. WEFT_ECONFLICT: nothing to finish, or
 * too many unfinished; WEFT_EBUSY: one is ready already; WEFT_ECREDENTIAL: the passphrase.
 */
weft_err rotation_stage(const struct rotation *rotation, wf_why *why);
/* How many roots, policy, audit and enrollment keys the bundle has: one of each is the rule. */
weft_err rotation_overlap(const struct home *home, size_t counts[4]);

#endif
