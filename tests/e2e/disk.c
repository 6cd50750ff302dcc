/*
 * A disk that fails when told to: loaded into a program in front of libc. The file named by
 * DISK_FAULT holds one word while it shall fail: "fsync" (EIO), "full" (ENOSPC) or "readonly"
 * (EROFS); no such file: the disk is well. Only what lies below DISK_HOME fails.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

ssize_t write(int fd, const void *data, size_t len);
ssize_t pwrite(int fd, const void *data, size_t len, off_t at);
ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at);
int fsync(int fd);
int fdatasync(int fd);

static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);

    if (found == NULL)
        abort();
    return found;
}

/* A function pointer is no object pointer; this is how POSIX lets one become the other. */
#define REAL(type, name)                                                                           \
    static type name##_real;                                                                       \
    if (name##_real == NULL)                                                                       \
    *(void **)&name##_real = real(#name)

static int fault(int fd, const char *kind)
{
    const char *control = getenv("DISK_FAULT"), *home = getenv("DISK_HOME");
    char word[16] = "", link[64], path[4096];
    ssize_t len;
    int file;

    if (control == NULL || home == NULL || (file = open(control, O_RDONLY | O_CLOEXEC)) < 0)
        return 0;
    len = read(file, word, sizeof word - 1);
    close(file);
    if (len <= 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof path - 1);
    if (len <= 0 || strncmp(path, home, strlen(home)) != 0)
        return 0;
    if (strcmp(kind, "sync") == 0)
        return strcmp(word, "fsync") == 0 ? EIO : 0;
    return strcmp(word, "full") == 0 ? ENOSPC : strcmp(word, "readonly") == 0 ? EROFS : 0;
}

ssize_t write(int fd, const void *data, size_t len)
{
    typedef ssize_t (*fn)(int, const void *, size_t);
    REAL(fn, write);
    int err = fault(fd, "write");

    if (err == 0)
        return write_real(fd, data, len);
    errno = err;
    return -1;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at)
{
    typedef ssize_t (*fn)(int, const void *, size_t, off64_t);
    REAL(fn, pwrite64);
    int err = fault(fd, "write");

    if (err == 0)
        return pwrite64_real(fd, data, len, at);
    errno = err;
    return -1;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    return pwrite64(fd, data, len, at);
}

int fsync(int fd)
{
    typedef int (*fn)(int);
    REAL(fn, fsync);
    int err = fault(fd, "sync");

    if (err == 0)
        return fsync_real(fd);
    errno = err;
    return -1;
}

int fdatasync(int fd)
{
    typedef int (*fn)(int);
    REAL(fn, fdatasync);
    int err = fault(fd, "sync");

    if (err == 0)
        return fdatasync_real(fd);
    errno = err;
    return -1;
}
