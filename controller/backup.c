/*
 * Happy path: begin makes HOME/backup.tmp; steps copy the store into it, a few
 * pages each; with the last page the other files are read, in the same step,
 * so that all is of one moment; steps hash the copy; the manifest is ready;
 * the client reads the files in pieces, and ends.
 *
 * Failure modes:
 * - The disk is full, a file can't be read: the backup is failed and says so when it is looked at.
 * - The client goes away: after a minute without a read the next one may begin.
 * - The process dies: HOME/backup.tmp goes at the next start.
 */
#include "controller/backup.h"
#include "controller/unlock.h"
#include "pki/digest.h"
#include "proto/base/file.h"
#include "proto/base/text.h"
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_NAME "backup.tmp"
#define PAGES_A_STEP 256u
#define BYTES_A_STEP (1u << 20)
#define IDLE_MS 60000u
#define SMALL_MAX 262144u /* bytes of a file that isn't the store */

enum backup_state {
    BACKUP_COPIES, /* -> HASHES, FAILED */
    BACKUP_HASHES, /* -> READY, FAILED */
    BACKUP_READY,
    BACKUP_FAILED,
};

struct small {
    char name[BACKUP_NAME_MAX];
    wf_buf bytes;
};

struct backup {
    enum backup_state state;
    wf_id id, owner;
    uint64_t used; /* wall ms of the last call */
    char *path;    /* owned: the copy of the store */
    store_copy *copy;
    int fd; /* of the copy, once it is whole; -1 */
    uint64_t size, hashed;
    pki_digest *digest;
    char store_hex[PKI_DIGEST_HEX];
    struct small *small; /* owned array */
    size_t small_count;
    uint64_t created;
    wf_buf manifest, sealed;
    wf_why why;
};

static bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);

    return a > b && strcmp(text + a - b, end) == 0;
}

bool backup_takes(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len >= BACKUP_NAME_MAX || name[0] == '.' ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != len)
        return false;
    if (strcmp(name, HOME_SEAL_KEY) == 0)
        return false; /* what opens the rest is kept apart */
    return strcmp(name, HOME_STORE) == 0 || strcmp(name, HOME_LOCK) == 0 ||
           strncmp(name, HOME_BUNDLE, strlen(HOME_BUNDLE)) == 0 || ends_with(name, ".key") ||
           ends_with(name, ".pem");
}

void backup_free(struct backup *b)
{
    if (b == NULL)
        return;
    store_copy_close(b->copy);
    if (b->fd >= 0)
        close(b->fd);
    if (b->path != NULL)
        (void)unlink(b->path);
    free(b->path);
    pki_digest_free(b->digest);
    for (size_t i = 0; i < b->small_count; i++)
        wf_buf_fini(&b->small[i].bytes);
    free(b->small);
    wf_buf_fini(&b->manifest);
    wf_buf_fini(&b->sealed);
    free(b);
}

bool backup_is_busy(const struct backup *b)
{
    return b != NULL && (b->state == BACKUP_COPIES || b->state == BACKUP_HASHES);
}

bool backup_is_idle(const struct backup *b, uint64_t now)
{
    return b != NULL && now > b->used + IDLE_MS;
}

void backup_sweep(const char *dir)
{
    char *path = home_path(dir, COPY_NAME, "");

    if (path != NULL)
        (void)unlink(path);
    free(path);
}

weft_err backup_begin(struct backup **io, const struct home *home, const wf_id *owner, uint64_t now,
                      wf_id *id, wf_why *why)
{
    struct backup *b = *io;
    weft_err err = WEFT_ENOMEM;
    int fd;

    if (b != NULL && !wf_id_equal(&b->owner, owner) && !backup_is_idle(b, now))
        return wf_fail(
            why, WEFT_EBUSY,
            "another administrator makes a backup at this moment; try again in a minute");
    backup_free(b);
    *io = NULL;
    b = calloc(1, sizeof *b);
    if (b == NULL)
        return wf_fail(why, err, "out of memory");
    b->fd = -1;
    b->id = wf_id_random();
    b->owner = *owner;
    b->used = b->created = now;
    wf_buf_init(&b->manifest, BACKUP_MANIFEST_MAX);
    wf_buf_init(&b->sealed, 1024);
    b->path = home_path(home->dir, COPY_NAME, "");
    b->digest = pki_digest_new();
    if (b->path == NULL || b->digest == NULL) {
        wf_fail(why, err, "out of memory");
        goto fail;
    }
    (void)unlink(b->path);
    fd = open(b->path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) {
        err = wf_fail(why, WEFT_EIO, "%s can't be made: %s", b->path, strerror(errno));
        goto fail;
    }
    close(fd);
    err = store_copy_open(home->store, b->path, &b->copy, why);
    if (err != WEFT_OK)
        goto fail;
    *id = b->id;
    *io = b;
    return WEFT_OK;
fail:
    backup_free(b);
    return err;
}

/* ---- work, in pieces */

static weft_err take_small(struct backup *b, const char *dir, const char *name)
{
    struct small *more = realloc(b->small, (b->small_count + 1) * sizeof *more);
    struct small *small;
    weft_err err;

    if (more == NULL)
        return wf_fail(&b->why, WEFT_ENOMEM, "out of memory");
    b->small = more;
    small = &b->small[b->small_count];
    snprintf(small->name, sizeof small->name, "%s", name);
    wf_buf_init(&small->bytes, SMALL_MAX);
    b->small_count++;
    err = home_read(dir, name, "", false, &small->bytes, &b->why);
    if (err != WEFT_OK)
        return err;
    /* A key in clear has no place in the home, and none in a backup. */
    if (ends_with(name, ".key") &&
        !pki_vault_is_sealed(wf_span_of(small->bytes.data, small->bytes.len)) &&
        memmem(small->bytes.data, small->bytes.len, "BEGIN ENCRYPTED PRIVATE KEY", 27) == NULL)
        return wf_fail(&b->why, WEFT_ECREDENTIAL,
                       "%s/%s is a key in clear: move it out of the home", dir, name);
    return WEFT_OK;
}

static weft_err take_smalls(struct backup *b, const char *dir)
{
    DIR *d = opendir(dir);
    const struct dirent *entry;
    weft_err err = WEFT_OK;

    if (d == NULL)
        return wf_fail(&b->why, WEFT_EIO, "%s can't be read: %s", dir, strerror(errno));
    while (err == WEFT_OK && (entry = readdir(d)) != NULL) {
        if (!backup_takes(entry->d_name) || strcmp(entry->d_name, HOME_STORE) == 0)
            continue;
        if (b->small_count == BACKUP_FILES_MAX - 1)
            err = wf_fail(&b->why, WEFT_ELIMIT, "%s holds more files than a backup takes", dir);
        else
            err = take_small(b, dir, entry->d_name);
    }
    closedir(d);
    return err;
}

static weft_err copy_some(struct backup *b, const struct home *home)
{
    struct stat st;
    bool done = false;
    weft_err err = store_copy_step(b->copy, PAGES_A_STEP, &done, &b->why);

    if (err != WEFT_OK || !done)
        return err;
    store_copy_close(b->copy);
    b->copy = NULL;
    err = take_smalls(b, home->dir);
    if (err != WEFT_OK)
        return err;
    b->fd = open(b->path, O_RDONLY | O_CLOEXEC);
    if (b->fd < 0 || fstat(b->fd, &st) != 0)
        return wf_fail(&b->why, WEFT_EIO, "%s can't be read: %s", b->path, strerror(errno));
    b->size = (uint64_t)st.st_size;
    (void)unlink(b->path); /* read through the descriptor from here on */
    b->state = BACKUP_HASHES;
    return WEFT_OK;
}

static weft_err put_file(struct backup *b, const char *name, uint64_t size, const char *hex,
                         bool last)
{
    return wf_buf_printf(&b->manifest,
                         "    {\"name\": \"%s\", \"size\": %llu, \"sha256\": \"%s\"}%s\n", name,
                         (unsigned long long)size, hex, last ? "" : ",");
}

static void hex_of(const uint8_t sum[32], char out[PKI_DIGEST_HEX])
{
    for (size_t i = 0; i < 32; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", sum[i]);
}

static weft_err conclude(struct backup *b, const struct home *home)
{
    uint8_t sum[32];
    char hex[PKI_DIGEST_HEX];
    weft_err err = pki_digest_hex(b->digest, b->store_hex);

    if (err == WEFT_OK)
        err = wf_buf_printf(&b->manifest,
                            "{\n  \"weft_backup\": 1,\n  \"domain\": \"%s\",\n  \"created_ms\": "
                            "%llu,\n  \"seal_key_inside\": %s,\n  \"files\": [\n",
                            home->domain, (unsigned long long)b->created,
                            unlock_is_inside(home->dir) ? "true" : "false");
    for (size_t i = 0; err == WEFT_OK && i < b->small_count; i++) {
        pki_sha256(b->small[i].bytes.data, b->small[i].bytes.len, sum);
        hex_of(sum, hex);
        err = put_file(b, b->small[i].name, b->small[i].bytes.len, hex, false);
    }
    if (err == WEFT_OK)
        err = put_file(b, HOME_STORE, b->size, b->store_hex, true);
    if (err == WEFT_OK)
        err = wf_buf_put_text(&b->manifest, "  ]\n}\n");
    if (err == WEFT_OK) {
        pki_sha256(b->manifest.data, b->manifest.len, sum);
        err = home_seal(home, BACKUP_SEAL_LABEL, wf_span_of(sum, sizeof sum), &b->sealed);
    }
    if (err != WEFT_OK)
        return wf_fail(&b->why, err, "the backup's manifest can't be made: %s",
                       weft_err_sentence(err));
    b->state = BACKUP_READY;
    return WEFT_OK;
}

static weft_err hash_some(struct backup *b, const struct home *home)
{
    uint8_t *piece = malloc(BYTES_A_STEP);
    ssize_t n;
    weft_err err;

    if (piece == NULL)
        return wf_fail(&b->why, WEFT_ENOMEM, "out of memory");
    n = pread(b->fd, piece, BYTES_A_STEP, (off_t)b->hashed);
    if (n < 0 || (n == 0 && b->hashed != b->size)) {
        err = wf_fail(&b->why, WEFT_EIO, "the copy of the store can't be read back");
    } else if (n == 0) {
        err = conclude(b, home);
    } else {
        err = pki_digest_add(b->digest, wf_span_of(piece, (size_t)n));
        b->hashed += (uint64_t)n;
    }
    free(piece);
    return err;
}

bool backup_step(struct backup *b, const struct home *home)
{
    weft_err err = WEFT_OK;

    if (!backup_is_busy(b))
        return false;
    if (store_is_begun(home->store))
        return true; /* between transactions alone */
    if (b->state == BACKUP_COPIES)
        err = copy_some(b, home);
    else
        err = hash_some(b, home);
    if (err != WEFT_OK)
        b->state = BACKUP_FAILED;
    return backup_is_busy(b);
}

/* ---- what the client asks */

weft_err backup_find(struct backup *b, const wf_id *owner, const wf_id *id, uint64_t now,
                     wf_why *why)
{
    if (b == NULL || !wf_id_equal(&b->owner, owner) || !wf_id_equal(&b->id, id))
        return wf_fail(why, WEFT_ENOTFOUND, "there is no such backup (any more); begin again");
    b->used = now;
    return WEFT_OK;
}

weft_err backup_look(const struct backup *b, bool *ready, wf_span *manifest, wf_span *sealed,
                     wf_why *why)
{
    if (b->state == BACKUP_FAILED)
        return wf_fail(why, WEFT_EIO, "%s", b->why.text);
    *ready = b->state == BACKUP_READY;
    *manifest = wf_span_of(b->manifest.data, b->manifest.len);
    *sealed = wf_span_of(b->sealed.data, b->sealed.len);
    return WEFT_OK;
}

weft_err backup_read(struct backup *b, const char *name, uint64_t offset, wf_buf *out, wf_why *why)
{
    ssize_t n;

    if (b->state != BACKUP_READY)
        return wf_fail(why, WEFT_EINVAL, "the backup isn't ready: ask backup.status");
    if (strcmp(name, HOME_STORE) == 0) {
        weft_err err = wf_buf_reserve(out, BACKUP_CHUNK);

        if (err != WEFT_OK)
            return err;
        if (offset > b->size)
            return wf_fail(why, WEFT_EINVAL, "%s ends before that offset", name);
        n = pread(b->fd, out->data + out->len, BACKUP_CHUNK, (off_t)offset);
        if (n < 0)
            return wf_fail(why, WEFT_EIO, "the copy of the store can't be read");
        out->len += (size_t)n;
        return WEFT_OK;
    }
    for (size_t i = 0; i < b->small_count; i++) {
        const struct small *small = &b->small[i];
        size_t left;

        if (strcmp(small->name, name) != 0)
            continue;
        if (offset > small->bytes.len)
            return wf_fail(why, WEFT_EINVAL, "%s ends before that offset", name);
        left = small->bytes.len - (size_t)offset;
        return wf_buf_put(out, small->bytes.data + offset,
                          left < BACKUP_CHUNK ? left : BACKUP_CHUNK);
    }
    return wf_fail(why, WEFT_ENOTFOUND, "the backup holds no file '%s'", name);
}
