#include "controller/login.h"
#include "pki/key.h"
#include "proto/base/buf.h"
#include "proto/base/secret.h"
#include "proto/base/text.h"
#include <stdlib.h>
#include <string.h>

struct login {
    uint8_t hash[32];
    struct pki_subject subject;
    uint64_t expires;
};

static void forget(struct logins *logins, struct login *login)
{
    (void)wf_map_remove(logins->rows, login->hash, sizeof login->hash);
    free(login);
}

void logins_fini(struct logins *logins)
{
    struct login *login;
    size_t cursor = 0;

    if (logins->rows == NULL)
        return;
    while ((login = wf_map_next(logins->rows, &cursor)) != NULL)
        forget(logins, login);
    wf_map_free(logins->rows);
    logins->rows = NULL;
}

/* Ended ones go, and the oldest of a subject that has as many as it may. */
static void make_room(struct logins *logins, const wf_id *subject, uint64_t now)
{
    struct login *login, *oldest = NULL;
    size_t cursor = 0;
    unsigned count = 0;

    while ((login = wf_map_next(logins->rows, &cursor)) != NULL) {
        if (login->expires <= now) {
            forget(logins, login);
        } else if (wf_id_equal(&login->subject.id, subject)) {
            count++;
            if (oldest == NULL || login->expires < oldest->expires)
                oldest = login;
        }
    }
    if (count >= LOGINS_EACH)
        forget(logins, oldest);
}

weft_err logins_add(struct logins *logins, const struct pki_subject *subject, uint64_t now,
                    char out[LOGIN_TEXT], uint64_t *expires)
{
    struct login *login;
    wf_id random[LOGIN_SECRET / WF_ID_LEN];
    wf_buf text;
    weft_err err;

    if (logins->rows == NULL)
        logins->rows = wf_map_new(LOGINS_MAX);
    login = calloc(1, sizeof *login);
    if (logins->rows == NULL || login == NULL) {
        free(login);
        return WEFT_ENOMEM;
    }
    for (size_t i = 0; i < sizeof random / sizeof *random; i++)
        random[i] = wf_id_random();
    wf_buf_init(&text, LOGIN_TEXT);
    err = wf_base64url_encode(random, sizeof random, &text);
    wf_wipe(random, sizeof random);
    if (err == WEFT_OK) {
        pki_sha256(text.data, text.len, login->hash);
        login->subject = *subject;
        login->expires = now + LOGIN_LIFE_MS;
        make_room(logins, &subject->id, now);
        err = wf_map_add(logins->rows, login->hash, sizeof login->hash, login);
    }
    if (err == WEFT_OK) {
        memcpy(out, text.data, text.len);
        out[text.len] = '\0';
        *expires = login->expires;
    } else {
        free(login);
    }
    wf_buf_wipe(&text);
    return err;
}

const struct pki_subject *logins_find(struct logins *logins, const char *text, size_t len,
                                      uint64_t now)
{
    struct login *login;
    uint8_t hash[32];

    if (logins->rows == NULL || len != LOGIN_TEXT - 1)
        return NULL;
    /* Looked up by hash: how long that takes says nothing about the secret. */
    pki_sha256(text, len, hash);
    login = wf_map_find(logins->rows, hash, sizeof hash);
    if (login == NULL)
        return NULL;
    if (login->expires <= now) {
        forget(logins, login);
        return NULL;
    }
    return &login->subject;
}
