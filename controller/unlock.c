/*
 * From the name of a source to the key it gives, and the file HOME/seal.
 *
 * A relative path in HOME/seal is one of the home, so that the home can be
 * moved with the key in it.
 */
#include "controller/unlock.h"
#include "controller/home.h"
#include "pki/key.h"
#include "proto/base/file.h"
#include "proto/base/secret.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PASSPHRASE_MIN 8u
#define PASSPHRASE_MAX 1024u
#define DEFAULT_SOURCE "file:" HOME_SEAL_KEY

static const char file_is[] = "file:";
static const char credential_is[] = "credential:";
static const char passphrase_is[] = "passphrase-file:";
static const char token_is[] = "pkcs11:";

static const char *behind(const char *source, const char *prefix)
{
    size_t len = strlen(prefix);

    return strncmp(source, prefix, len) == 0 && source[len] != '\0' ? source + len : NULL;
}

static weft_err no_memory(wf_why *why)
{
    return wf_fail(why, WEFT_ENOMEM, "out of memory");
}

/* ---- sources */

/* What kind of lock a source makes. */
static weft_err kind_of(const char *source, enum pki_lock_kind *out, wf_why *why)
{
    if (behind(source, file_is) != NULL || behind(source, credential_is) != NULL)
        *out = PKI_LOCK_KEY;
    else if (behind(source, passphrase_is) != NULL)
        *out = PKI_LOCK_PASSPHRASE;
    else if (behind(source, token_is) != NULL)
        *out = PKI_LOCK_TOKEN;
    else
        return wf_fail(why, WEFT_EUSAGE,
                       "'%.60s' names no seal key: say file:PATH, credential:NAME, "
                       "passphrase-file:PATH or pkcs11:URI",
                       source);
    return WEFT_OK;
}

/* The file that a source names: of the home if relative (what HOME/seal says), absolute else. */
static weft_err path_of(const char *dir, const char *source, char **out, wf_why *why)
{
    const char *name, *folder;

    name = behind(source, credential_is);
    if (name != NULL) {
        folder = getenv("CREDENTIALS_DIRECTORY");
        if (folder == NULL || folder[0] != '/')
            return wf_fail(why, WEFT_ECREDENTIAL,
                           "the seal key is %s, but there is no $CREDENTIALS_DIRECTORY: start the "
                           "program by its systemd unit (LoadCredential=%s:...), or say --seal-key",
                           source, name);
        if (strchr(name, '/') != NULL || strcmp(name, "..") == 0)
            return wf_fail(why, WEFT_EUSAGE, "'%s' is no name of a credential", name);
        *out = home_path(folder, "", name);
        return *out == NULL ? no_memory(why) : WEFT_OK;
    }
    name = behind(source, file_is);
    if (name == NULL)
        name = behind(source, passphrase_is);
    if (name == NULL)
        return wf_fail(why, WEFT_ECREDENTIAL, "%s/" HOME_LOCK " names no source of its seal key",
                       dir);
    *out = name[0] == '/' ? strdup(name) : home_path(dir, name, "");
    return *out == NULL ? no_memory(why) : WEFT_OK;
}

/* As typed to as kept: absolute, as the working directory isn't there next time. */
static weft_err settle(const char *source, char **out, wf_why *why)
{
    const char *name = behind(source, file_is);
    const char *prefix = file_is;
    char *here = NULL;
    int made;

    if (name == NULL) {
        name = behind(source, passphrase_is);
        prefix = passphrase_is;
    }
    if (name == NULL || name[0] == '/') {
        *out = strdup(source);
        return *out == NULL ? no_memory(why) : WEFT_OK;
    }
    here = getcwd(NULL, 0);
    if (here == NULL)
        return wf_fail(why, WEFT_EIO, "the working directory can't be named: %s", strerror(errno));
    made = asprintf(out, "%s%s/%s", prefix, here, name);
    free(here);
    return made < 0 ? no_memory(why) : WEFT_OK;
}

/* The 32 bytes of a file. A credential's folder is systemd's to guard: its modes may show an ACL's
 * mask. */
static weft_err read_outer(const char *path, const char *source, uint8_t outer[PKI_VAULT_KEY],
                           wf_why *why)
{
    wf_buf bytes;
    weft_err err;

    wf_buf_init(&bytes, PKI_VAULT_KEY + 1);
    err = behind(source, credential_is) != NULL ? wf_file_read(path, &bytes, why)
                                                : wf_file_read_secret(path, &bytes, why);
    if (err == WEFT_OK && bytes.len != PKI_VAULT_KEY)
        err = WEFT_ELIMIT;
    if (err == WEFT_ELIMIT)
        err = wf_fail(why, WEFT_ECREDENTIAL, "%s is no seal key: it must be %u random bytes", path,
                      PKI_VAULT_KEY);
    else if (err != WEFT_OK)
        wf_wrap(why, err, "the seal key %s", source);
    else
        memcpy(outer, bytes.data, PKI_VAULT_KEY);
    wf_buf_wipe(&bytes);
    return err == WEFT_ENOTFOUND ? WEFT_ECREDENTIAL : err;
}

static weft_err read_passphrase(const char *path, const struct pki_lock *lock,
                                uint8_t outer[PKI_VAULT_KEY], wf_why *why)
{
    wf_buf text;
    const uint8_t *end;
    weft_err err;

    wf_buf_init(&text, PASSPHRASE_MAX);
    err = wf_file_read_secret(path, &text, why);
    if (err != WEFT_OK) {
        wf_wrap(why, err, "the passphrase of the seal");
        goto out;
    }
    end = text.len > 0 ? memchr(text.data, '\n', text.len) : NULL;
    if (end != NULL)
        text.len = (size_t)(end - text.data);
    if (text.len < PASSPHRASE_MIN)
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "%s: the first line must be a passphrase of %u characters or more", path,
                      PASSPHRASE_MIN);
    else
        err = pki_lock_stretch(lock, wf_span_of(text.data, text.len), outer, why);
out:
    wf_buf_wipe(&text);
    return err == WEFT_ENOTFOUND ? WEFT_ECREDENTIAL : err;
}

/*
 * The outer key that the token's key and the lock's agree on. fresh: the lock gets a new public
 * key, whose private half is forgotten here; only the token can agree with it again.
 */
static weft_err agree_with_token(struct pki_lock *lock, bool fresh, uint8_t outer[PKI_VAULT_KEY],
                                 wf_why *why)
{
    pki_key *token = NULL, *other = NULL;
    wf_buf secret, spki, box;
    weft_err err = pki_key_from_token(lock->source, &token, why);

    wf_buf_init(&secret, 128);
    wf_buf_init(&spki, PKI_LOCK_BOX_MAX);
    wf_buf_init(&box, PKI_LOCK_BOX_MAX);
    if (err == WEFT_OK)
        err = pki_key_put_spki(token, &spki);
    if (err == WEFT_OK && fresh) {
        err = pki_key_new(pki_key_kind_of(token), &other, why);
        if (err == WEFT_OK)
            err = pki_key_put_spki(other, &box);
        if (err == WEFT_OK) {
            memcpy(lock->box, box.data, box.len);
            lock->box_len = box.len;
        }
    }
    /* By the token also when it is fresh: a key that may only sign is refused now, not at a
     * restart. */
    if (err == WEFT_OK)
        err = pki_key_agree(token, wf_span_of(lock->box, lock->box_len), &secret, why);
    if (err == WEFT_OK)
        pki_lock_agree(lock, wf_span_of(secret.data, secret.len), wf_span_of(spki.data, spki.len),
                       outer);
    else if (token != NULL)
        err = wf_wrap(why, err, "the seal key in the token (it must be made with --usage-derive)");
    wf_buf_wipe(&secret);
    wf_buf_fini(&spki);
    wf_buf_fini(&box);
    pki_key_free(other);
    pki_key_free(token);
    return err;
}

/* The outer key. dir: what relative paths are of. */
static weft_err get_outer(const char *dir, struct pki_lock *lock, uint8_t outer[PKI_VAULT_KEY],
                          wf_why *why)
{
    char *path = NULL;
    weft_err err;

    if (lock->kind == PKI_LOCK_TOKEN)
        return agree_with_token(lock, false, outer, why);
    err = path_of(dir, lock->source, &path, why);

    if (err == WEFT_OK)
        err = lock->kind == PKI_LOCK_PASSPHRASE ? read_passphrase(path, lock, outer, why)
                                                : read_outer(path, lock->source, outer, why);
    free(path);
    return err;
}

/* ---- the file */

static weft_err read_lock(const char *dir, struct pki_lock *out, wf_why *why)
{
    wf_buf bytes;
    weft_err err;

    wf_buf_init(&bytes, PKI_LOCK_MAX);
    err = home_read(dir, HOME_LOCK, "", true, &bytes, why);
    if (err == WEFT_OK) {
        err = pki_lock_parse(wf_span_of(bytes.data, bytes.len), out, why);
        if (err != WEFT_OK)
            wf_wrap(why, err, "%s/" HOME_LOCK " can't be used: restore it from a backup", dir);
    } else if (err == WEFT_ENOTFOUND) {
        wf_fail(why, err,
                "%s/" HOME_LOCK " is missing: without it the keys can't be opened; restore it "
                "from a backup",
                dir);
    }
    wf_buf_fini(&bytes);
    return err;
}

/* Locks the vault with the key of source, which is as it will be kept; makes a file: that isn't. */
static weft_err lock_with(const char *dir, const char *source, const pki_vault *vault, wf_why *why)
{
    struct pki_lock lock = {.kind = PKI_LOCK_KEY};
    uint8_t outer[PKI_VAULT_KEY];
    char *path = NULL;
    bool is_made = false;
    wf_buf bytes;
    weft_err err = kind_of(source, &lock.kind, why);

    if (err != WEFT_OK)
        return err;
    if (strlen(source) > PKI_LOCK_SOURCE_MAX)
        return wf_fail(why, WEFT_EINVAL, "the name of the seal key is too long");
    memcpy(lock.source, source, strlen(source) + 1);
    wf_buf_init(&bytes, PKI_LOCK_MAX);
    if (lock.kind == PKI_LOCK_TOKEN)
        err = agree_with_token(&lock, true, outer, why);
    else
        err = path_of(dir, source, &path, why);
    if (lock.kind == PKI_LOCK_TOKEN) {
        /* the outer key is there, or the error */
    } else if (err == WEFT_OK && behind(source, file_is) != NULL && !wf_file_exists(path)) {
        pki_lock_random(outer);
        err = wf_file_create(path, outer, sizeof outer, 0600, why);
        is_made = err == WEFT_OK;
    } else if (err == WEFT_OK) {
        if (lock.kind == PKI_LOCK_PASSPHRASE)
            pki_lock_choose(&lock);
        err = get_outer(dir, &lock, outer, why);
    }
    if (err != WEFT_OK)
        goto out;
    err = pki_lock_close(&lock, outer, vault);
    if (err == WEFT_OK)
        err = pki_lock_put(&lock, &bytes);
    if (err != WEFT_OK)
        wf_fail(why, err, "the lock can't be made: %s", weft_err_sentence(err));
    else
        err = home_write(dir, HOME_LOCK, "", 0600, wf_span_of(bytes.data, bytes.len), why);
    if (err != WEFT_OK && is_made)
        (void)unlink(path); /* it opens nothing */
out:
    wf_wipe(outer, sizeof outer);
    wf_buf_fini(&bytes);
    free(path);
    return err;
}

weft_err unlock_make(const char *dir, const char *source, pki_vault **out, wf_why *why)
{
    char *settled = NULL;
    pki_vault *vault = NULL;
    weft_err err = pki_vault_new(&vault, why);

    if (err == WEFT_OK && source != NULL)
        err = settle(source, &settled, why);
    if (err == WEFT_OK)
        err = lock_with(dir, settled != NULL ? settled : DEFAULT_SOURCE, vault, why);
    free(settled);
    if (err != WEFT_OK) {
        pki_vault_free(vault);
        return err;
    }
    *out = vault;
    return WEFT_OK;
}

weft_err unlock_open(const char *dir, const char *source, pki_vault **out, wf_why *why)
{
    struct pki_lock lock, asked;
    enum pki_lock_kind kind;
    uint8_t outer[PKI_VAULT_KEY];
    char *settled = NULL;
    weft_err err = read_lock(dir, &lock, why);

    if (err != WEFT_OK)
        return err;
    asked = lock;
    if (source != NULL) {
        err = kind_of(source, &kind, why);
        if (err == WEFT_OK && kind != lock.kind)
            err =
                wf_fail(why, WEFT_ECREDENTIAL,
                        "%s is sealed with %.100s, not with a key of that sort", dir, lock.source);
        if (err == WEFT_OK)
            err = settle(source, &settled, why);
        if (err == WEFT_OK && strlen(settled) > PKI_LOCK_SOURCE_MAX)
            err = wf_fail(why, WEFT_EINVAL, "the name of the seal key is too long");
        if (err != WEFT_OK)
            goto out;
        memcpy(asked.source, settled, strlen(settled) + 1);
    }
    err = get_outer(dir, &asked, outer, why);
    if (err == WEFT_OK) {
        err = pki_lock_open(&lock, outer, out, why);
        if (err == WEFT_ECREDENTIAL)
            wf_fail(why, err,
                    "the seal key %.120s doesn't open %s: give the right one by --seal-key (seal: "
                    "--from)",
                    asked.source, dir);
    }
out:
    wf_wipe(outer, sizeof outer);
    free(settled);
    return err;
}

weft_err unlock_change(const char *dir, const char *from, const char *to, wf_why *why)
{
    pki_vault *vault = NULL;
    char *settled = NULL;
    weft_err err = unlock_open(dir, from, &vault, why);

    if (err != WEFT_OK)
        return err;
    err = settle(to, &settled, why);
    if (err == WEFT_OK)
        err = lock_with(dir, settled, vault, why);
    free(settled);
    pki_vault_free(vault);
    return err;
}

weft_err unlock_source(const char *dir, wf_buf *out, wf_why *why)
{
    struct pki_lock lock;
    weft_err err = read_lock(dir, &lock, why);

    return err == WEFT_OK ? wf_buf_put_text(out, lock.source) : err;
}

bool unlock_is_inside(const char *dir)
{
    struct pki_lock lock;
    const char *path;

    if (read_lock(dir, &lock, NULL) != WEFT_OK)
        return false;
    path = behind(lock.source, file_is);
    if (path == NULL)
        path = behind(lock.source, passphrase_is);
    return path != NULL && path[0] != '/';
}
