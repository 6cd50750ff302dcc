/*
 * A home from a backup.
 *
 * Happy path: the manifest is read, each file it names is copied into
 * DIR.new-XXXXXXXX and hashed on the way, the seal key opens the lock, the
 * manifest's seal is the manifest's, the home opens as `run` would open it, and
 * the folder is renamed to DIR.
 *
 * Failure modes: whatever is missing, cut short or altered is named in one
 * line; the new folder goes again; DIR is there whole or not at all.
 */
#include "controller/backup.h"
#include "controller/init.h"
#include "controller/unlock.h"
#include "pki/digest.h"
#include "proto/base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE 65536u

static weft_err broken(wf_why *why, const char *from, const char *what)
{
    return wf_fail(why, WEFT_ECREDENTIAL, "%.120s is no whole backup: %s; nothing was restored",
                   from, what);
}

/* Copies and hashes one file; it must have exactly this size. */
static weft_err copy_file(int in, int out, uint64_t size, char hex[PKI_DIGEST_HEX])
{
    uint8_t piece[PIECE];
    pki_digest *digest = pki_digest_new();
    weft_err err = digest == NULL ? WEFT_ENOMEM : WEFT_OK;
    uint64_t done = 0;

    while (err == WEFT_OK) {
        ssize_t n = read(in, piece, sizeof piece);

        if (n < 0 || (n > 0 && write(out, piece, (size_t)n) != n)) {
            err = WEFT_EIO;
        } else if (n == 0) {
            break;
        } else {
            done += (uint64_t)n;
            err = done > size ? WEFT_ELIMIT : pki_digest_add(digest, wf_span_of(piece, (size_t)n));
        }
    }
    if (err == WEFT_OK && done != size)
        err = WEFT_EEOF;
    if (err == WEFT_OK)
        err = pki_digest_hex(digest, hex);
    if (err == WEFT_OK && fsync(out) != 0)
        err = WEFT_EIO;
    pki_digest_free(digest);
    return err;
}

static weft_err take_file(const char *from, const char *fresh, const char *name, uint64_t size,
                          const char *sha256, wf_why *why)
{
    const char *dot = strrchr(name, '.');
    bool is_public = (dot != NULL && strcmp(dot, ".pem") == 0) || strcmp(name, HOME_BUNDLE) == 0;
    char *source = home_path(from, name, ""), *target = home_path(fresh, name, "");
    char hex[PKI_DIGEST_HEX], words[160];
    int in = -1, out = -1;
    weft_err err = WEFT_ENOMEM;

    if (source == NULL || target == NULL)
        goto out;
    in = open(source, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (in < 0) {
        snprintf(words, sizeof words, "%s is missing", name);
        err = broken(why, from, words);
        goto out;
    }
    out = open(target, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, is_public ? 0644 : 0600);
    if (out < 0) {
        err = wf_fail(why, WEFT_EIO, "%s can't be written: %s", target, strerror(errno));
        goto out;
    }
    err = copy_file(in, out, size, hex);
    if (err == WEFT_ELIMIT || err == WEFT_EEOF) {
        snprintf(words, sizeof words, "%s isn't as long as the manifest says", name);
        err = broken(why, from, words);
    } else if (err == WEFT_OK && strcmp(hex, sha256) != 0) {
        snprintf(words, sizeof words, "%s was altered", name);
        err = broken(why, from, words);
    } else if (err != WEFT_OK) {
        err = wf_fail(why, err, "%s can't be copied: %s", name, strerror(errno));
    }
out:
    if (in >= 0)
        close(in);
    if (out >= 0 && close(out) != 0 && err == WEFT_OK)
        err = wf_fail(why, WEFT_EIO, "%s can't be written: %s", target, strerror(errno));
    free(source);
    free(target);
    return err;
}

/* The files that the manifest lists; unknown fields and names are refused. */
static weft_err take_files(const char *from, const char *fresh, wf_span manifest, wf_why *why)
{
    json_t *root = NULL, *list, *entry;
    size_t i, files = 0;
    bool has_store = false, has_lock = false;
    weft_err err = WEFT_OK;

    root = json_loadb((const char *)manifest.data, manifest.len, JSON_REJECT_DUPLICATES, NULL);
    if (root == NULL)
        return broken(why, from, "its manifest is damaged");
    list = json_object_get(root, "files");
    if (json_integer_value(json_object_get(root, "weft_backup")) != 1)
        err = broken(why, from, "its manifest is of no version that this program knows");
    else if (!json_is_array(list) || json_array_size(list) > BACKUP_FILES_MAX)
        err = broken(why, from, "its manifest is damaged");
    json_array_foreach(list, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        const char *sha256 = json_string_value(json_object_get(entry, "sha256"));
        json_int_t size = json_integer_value(json_object_get(entry, "size"));

        if (err != WEFT_OK)
            break;
        if (name == NULL || sha256 == NULL || size < 0 || !backup_takes(name)) {
            err = broken(why, from, "its manifest is damaged");
            break;
        }
        has_store = has_store || strcmp(name, HOME_STORE) == 0;
        has_lock = has_lock || strcmp(name, HOME_LOCK) == 0;
        err = take_file(from, fresh, name, (uint64_t)size, sha256, why);
        files++;
    }
    if (err == WEFT_OK && (files == 0 || !has_store || !has_lock))
        err = broken(why, from, "its manifest names no store or no lock");
    json_decref(root);
    return err;
}

/* The vault's own word that this is its manifest. */
static weft_err check_seal(const char *from, const pki_vault *vault, wf_span manifest, wf_why *why)
{
    uint8_t sum[32];
    wf_buf sealed, plain;
    weft_err err;

    wf_buf_init(&sealed, 1024);
    wf_buf_init(&plain, 1024);
    err = home_read(from, BACKUP_SEAL, "", false, &sealed, why);
    if (err == WEFT_OK)
        err = pki_vault_open(vault, wf_span_of(BACKUP_SEAL_LABEL, strlen(BACKUP_SEAL_LABEL)),
                             wf_span_of(sealed.data, sealed.len), &plain, NULL);
    pki_sha256(manifest.data, manifest.len, sum);
    if (err != WEFT_OK || !wf_span_equal(wf_span_of(plain.data, plain.len), wf_span_of(sum, 32)))
        err = broken(why, from, "its manifest isn't the one that the controller sealed");
    wf_buf_fini(&sealed);
    wf_buf_fini(&plain);
    return err;
}

static weft_err open_lock(const char *from, const char *fresh, const char *seal_key,
                          pki_vault **vault, wf_why *why)
{
    weft_err err;

    if (seal_key == NULL && unlock_is_inside(fresh))
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "%.120s doesn't hold the seal key, which was " HOME_SEAL_KEY
                       " in the home: give "
                       "it by --seal-key file:PATH",
                       from);
    err = unlock_open(fresh, seal_key, vault, why);
    if (err == WEFT_ECREDENTIAL && why != NULL && strstr(why->text, "doesn't open") != NULL)
        return wf_fail(why, err,
                       "the seal key doesn't open %.120s: give the one of that time by --seal-key",
                       from);
    /* From now on the key is where it was given, not where it was. */
    if (err == WEFT_OK && seal_key != NULL)
        err = unlock_change(fresh, seal_key, seal_key, why);
    return err;
}

static weft_err fill(const char *from, const char *fresh, const char *seal_key, wf_why *why)
{
    struct home home;
    pki_vault *vault = NULL;
    wf_buf manifest;
    weft_err err;

    wf_buf_init(&manifest, BACKUP_MANIFEST_MAX);
    err = home_read(from, BACKUP_MANIFEST, "", false, &manifest, why);
    if (err != WEFT_OK) {
        err = broken(why, from, "it has no manifest, which is written last");
        goto out;
    }
    err = take_files(from, fresh, wf_span_of(manifest.data, manifest.len), why);
    if (err == WEFT_OK)
        err = open_lock(from, fresh, seal_key, &vault, why);
    if (err == WEFT_OK)
        err = check_seal(from, vault, wf_span_of(manifest.data, manifest.len), why);
    pki_vault_free(vault);
    if (err == WEFT_OK)
        err = home_open(fresh, &home, why);
    if (err == WEFT_OK)
        home_close(&home);
out:
    wf_buf_fini(&manifest);
    return err;
}

weft_err backup_restore(const char *from, const char *dir, const char *seal_key, wf_why *why)
{
    struct stat st;
    char *fresh = NULL, *parent = NULL, *slash, suffix[WF_ID_TEXT];
    wf_id random = wf_id_random();
    size_t len = strlen(dir);
    weft_err err = WEFT_ENOMEM;

    while (len > 1 && dir[len - 1] == '/')
        len--;
    if (lstat(dir, &st) == 0)
        return wf_fail(why, WEFT_EEXIST, "%s is there already; give another --home", dir);
    if (stat(from, &st) != 0 || !S_ISDIR(st.st_mode))
        return wf_fail(why, WEFT_ENOTFOUND, "%s is no folder with a backup", from);
    if (asprintf(&fresh, "%.*s.new-%.8s", (int)len, dir, wf_id_text(&random, suffix)) < 0)
        fresh = NULL;
    parent = strndup(dir, len);
    if (fresh == NULL || parent == NULL) {
        wf_fail(why, err, "out of memory");
        goto out;
    }
    slash = strrchr(parent, '/');
    if (slash != NULL)
        slash[slash == parent] = '\0';
    else
        memcpy(parent, ".", 2); /* dir has a byte at least */
    err = wf_folder_make(parent, why);
    if (err == WEFT_OK && mkdir(fresh, 0700) != 0)
        err = wf_fail(why, WEFT_EIO, "%s can't be made: %s", fresh, strerror(errno));
    if (err != WEFT_OK)
        goto out;
    err = fill(from, fresh, seal_key, why);
    if (err == WEFT_OK)
        err = init_sync_folder(fresh);
    if (err == WEFT_OK && rename(fresh, dir) != 0)
        err = wf_fail(why, WEFT_EIO, "%s: can't be put in place: %s", dir, strerror(errno));
    if (err != WEFT_OK)
        init_remove_folder(fresh);
    else
        (void)init_sync_folder(parent);
out:
    free(fresh);
    free(parent);
    return err;
}
