/* Small files: bounded reads, atomic durable writes, locks. */
#include "proto/base/file.h"
#include "proto/base/clock.h"
#include "proto/base/id.h"
#include "proto/base/secret.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define READ_STEP 65536u
#define LOCK_STEP_MS 10u

static weft_err fail_errno(wf_why *why, const char *what, const char *path)
{
    int e = errno;
    weft_err err = e == ENOENT ? WEFT_ENOTFOUND : e == ENOMEM ? WEFT_ENOMEM : WEFT_EIO;
    return wf_fail(why, err, "can't %s %s: %s", what, path, strerror(e));
}

/* Reads fd to its end, behind what out holds; on failure out is as before, the new bytes wiped. */
static weft_err read_all(int fd, const char *path, wf_buf *out, wf_why *why)
{
    size_t start = out->len;
    weft_err err = WEFT_OK;
    for (;;) {
        size_t room = out->max - out->len;
        size_t step = room < READ_STEP ? room : READ_STEP;
        uint8_t over; /* one byte more than fits tells too large from just full */
        if (room > 0 && (err = wf_buf_reserve(out, step)) != WEFT_OK) {
            err = wf_fail(why, err, "can't read %s: %s", path, weft_err_sentence(err));
            break;
        }
        ssize_t n = room > 0 ? read(fd, out->data + out->len, step) : read(fd, &over, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            err = fail_errno(why, "read", path);
            break;
        }
        if (n == 0)
            return WEFT_OK;
        if (room == 0) {
            err = wf_fail(why, WEFT_ELIMIT, "%s is larger than %zu bytes", path, out->max - start);
            break;
        }
        out->len += (size_t)n;
    }
    if (out->len > start)
        wf_wipe(out->data + start, out->len - start);
    out->len = start;
    return err;
}

static weft_err read_file(const char *path, bool secret, wf_buf *out, wf_why *why)
{
    if (strcmp(path, "-") == 0)
        return read_all(STDIN_FILENO, "standard input", out, why);

    /* O_NONBLOCK: opening a FIFO without a writer must not wait. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fail_errno(why, "open", path);
    weft_err err;
    struct stat st;
    if (fstat(fd, &st) != 0) {
        err = fail_errno(why, "look at", path);
        goto close_fd;
    }
    if (!S_ISREG(st.st_mode)) {
        err = wf_fail(why, WEFT_EIO, "%s is not a regular file", path);
        goto close_fd;
    }
    if (secret && (st.st_mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH)) != 0) {
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "%s may be read or written by others (mode %03o): run chmod 600 on it", path,
                      (unsigned)st.st_mode & 0777u);
        goto close_fd;
    }
    /* Who owns it may change it at any time, and put a key of his own there. */
    if (secret && st.st_uid != geteuid() && st.st_uid != 0) {
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "%s belongs to another user (uid %lu, this program runs as %lu): chown it to "
                      "%lu, or run this program as its owner",
                      path, (unsigned long)st.st_uid, (unsigned long)geteuid(),
                      (unsigned long)geteuid());
        goto close_fd;
    }
    if (st.st_size > 0 && (uintmax_t)st.st_size > out->max - out->len) {
        err = wf_fail(why, WEFT_ELIMIT, "%s is larger than %zu bytes", path, out->max - out->len);
        goto close_fd;
    }
    err = read_all(fd, path, out, why);

close_fd:
    (void)close(fd);
    return err;
}

weft_err wf_file_read(const char *path, wf_buf *out, wf_why *why)
{
    return read_file(path, false, out, why);
}

weft_err wf_file_read_secret(const char *path, wf_buf *out, wf_why *why)
{
    /* Room for all at once: growing would leave copies of the secret behind. */
    weft_err err = wf_buf_reserve(out, out->max - out->len);
    if (err != WEFT_OK)
        return wf_fail(why, err, "can't read %s: %s", path, weft_err_sentence(err));
    return read_file(path, true, out, why);
}

/* ---- writing */

static weft_err write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return WEFT_EIO;
        if (n == 0) {
            errno = ENOSPC;
            return WEFT_EIO;
        }
        data += n;
        len -= (size_t)n;
    }
    return WEFT_OK;
}

/* The folder that holds path, to be synced after a change; -1 with errno. */
static int open_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL   ? strdup(".")
                   : slash == path ? strdup("/")
                                   : strndup(path, (size_t)(slash - path));
    if (folder == NULL)
        return -1;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int saved_errno = errno;
    free(folder);
    errno = saved_errno;
    return fd;
}

static weft_err write_file(const char *path, const void *data, size_t len, unsigned mode,
                           bool replace, wf_why *why)
{
    weft_err err;
    char random[WF_ID_TEXT];
    wf_id id = wf_id_random();
    char *temp;
    if (asprintf(&temp, "%s.%.16s.tmp", path, wf_id_text(&id, random)) < 0)
        return wf_fail(why, WEFT_ENOMEM, "can't write %s: out of memory", path);

    int folder = open_folder(path);
    if (folder < 0) {
        err = fail_errno(why, "write", path);
        goto free_temp;
    }
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode);
    if (fd < 0) {
        err = fail_errno(why, "write", path);
        goto close_folder;
    }
    if (write_all(fd, data, len) != WEFT_OK || fsync(fd) != 0) {
        err = fail_errno(why, "write", path);
        (void)close(fd);
        goto unlink_temp;
    }
    if (close(fd) != 0) {
        err = fail_errno(why, "write", path);
        goto unlink_temp;
    }
    if (replace) {
        if (rename(temp, path) != 0) {
            err = fail_errno(why, "write", path);
            goto unlink_temp;
        }
    } else {
        /* link(2), unlike rename(2), never replaces. */
        if (link(temp, path) != 0) {
            err = errno == EEXIST ? wf_fail(why, WEFT_EEXIST, "%s exists already", path)
                                  : fail_errno(why, "create", path);
            goto unlink_temp;
        }
        (void)unlink(temp);
    }
    /* The new content is in place; only whether it outlives a power cut is open. */
    err = fsync(folder) == 0 ? WEFT_OK : fail_errno(why, "make durable", path);
    goto close_folder;

unlink_temp:
    (void)unlink(temp);
close_folder:
    (void)close(folder);
free_temp:
    free(temp);
    return err;
}

weft_err wf_file_write(const char *path, const void *data, size_t len, unsigned mode, wf_why *why)
{
    return write_file(path, data, len, mode, true, why);
}

weft_err wf_file_create(const char *path, const void *data, size_t len, unsigned mode, wf_why *why)
{
    return write_file(path, data, len, mode, false, why);
}

bool wf_file_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0; /* a dangling link is there, too */
}

/* ---- folders and locks */

/* One level. A folder that is there already is fine, whatever its mode. */
static bool make_one(const char *path)
{
    struct stat st;
    if (mkdir(path, 0700) == 0)
        return true;
    int e = errno;
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return true;
        e = ENOTDIR;
    }
    errno = e;
    return false;
}

weft_err wf_folder_make(const char *path, wf_why *why)
{
    char *copy = strdup(path);
    if (copy == NULL)
        return wf_fail(why, WEFT_ENOMEM, "can't make the folder %s: out of memory", path);
    weft_err err = WEFT_OK;
    for (char *at = copy; *at != '\0'; at++) {
        bool ends_part = *at != '/' && (at[1] == '/' || at[1] == '\0');
        if (!ends_part)
            continue;
        char keep = at[1];
        at[1] = '\0';
        bool made = make_one(copy);
        at[1] = keep;
        if (!made) {
            err = fail_errno(why, "make the folder", path);
            break;
        }
    }
    free(copy);
    return err;
}

weft_err wf_file_lock(const char *path, unsigned wait_ms, int *out_fd, wf_why *why)
{
    char *name;
    if (asprintf(&name, "%s.lock", path) < 0)
        return wf_fail(why, WEFT_ENOMEM, "can't lock %s: out of memory", path);
    weft_err err;
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        err = fail_errno(why, "lock", path);
        goto free_name;
    }
    uint64_t start = wf_now_mono_ms();
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            err = fail_errno(why, "lock", path);
            goto close_fd;
        }
        if (wf_now_mono_ms() - start >= wait_ms) {
            err = wf_fail(why, WEFT_EBUSY, "%s is in use by another process", path);
            goto close_fd;
        }
        struct timespec step = {.tv_nsec = LOCK_STEP_MS * 1000000l};
        (void)nanosleep(&step, NULL);
    }
    *out_fd = fd;
    err = WEFT_OK;
    goto free_name;

close_fd:
    (void)close(fd);
free_name:
    free(name);
    return err;
}
