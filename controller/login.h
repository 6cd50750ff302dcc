/*
 * Logins: what an administrator shows to the HTTPS API instead of its
 * certificate. A login is a random secret for an hour; its hash alone is kept,
 * in memory, so a restart ends them all. It stands for the key it was made
 * with: what the store says of the administrator is asked with every call, and
 * a key that has been replaced has no logins.
 */
#ifndef CONTROLLER_LOGIN_H
#define CONTROLLER_LOGIN_H

#include "pki/cert.h"
#include "proto/base/map.h"

#define LOGIN_LIFE_MS 3600000u
#define LOGINS_EACH 16u /* of one administrator; the oldest goes for another */
#define LOGINS_MAX 4096u
#define LOGIN_SECRET 32 /* random bytes */
#define LOGIN_TEXT 44   /* as base64url, with NUL */

struct logins {
    wf_map *rows; /* owned; SHA-256 of the secret's text -> struct login; NULL: none yet */
};

void logins_fini(struct logins *logins);
/* A new one for this subject; out is a secret. WEFT_ELIMIT, WEFT_ENOMEM. */
weft_err logins_add(struct logins *logins, const struct pki_subject *subject, uint64_t now,
                    char out[LOGIN_TEXT], uint64_t *expires);
/* Whose it is, borrowed until the next call here; NULL: nobody's, or it has ended. */
const struct pki_subject *logins_find(struct logins *logins, const char *text, size_t len,
                                      uint64_t now);

#endif
