/* Small files: bounds, modes, and what is left behind when writing fails. */
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "tests/helpers/alloc.h"
#include "tests/helpers/test.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/weft-file-XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

/* What the disk does to a write and to an fsync; the linker sends both here. */
static size_t disk_takes;    /* bytes per write; 0: all */
static int disk_fails_after; /* writes, with ENOSPC; 0: never */
static int disk_sync_errno;

ssize_t __real_write(int fd, const void *data, size_t len);
int __real_fsync(int fd);

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    if (disk_fails_after > 0 && --disk_fails_after == 0) {
        errno = ENOSPC;
        return -1;
    }
    return __real_write(fd, data, disk_takes > 0 && len > disk_takes ? disk_takes : len);
}

int __wrap_fsync(int fd)
{
    if (disk_sync_errno == 0)
        return __real_fsync(fd);
    errno = disk_sync_errno;
    return -1;
}

/* How many names the folder holds; with remove, none afterwards. */
static int names(bool and_remove)
{
    int count = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        count++;
        if (and_remove)
            assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
    }
    closedir(dir);
    return count;
}

static int empty_folder(void **state)
{
    (void)state;
    names(true);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static void assert_content(const char *expected)
{
    wf_buf buf;
    wf_buf_init(&buf, 1000);
    assert_int_equal(wf_file_read(path, &buf, NULL), WEFT_OK);
    assert_string_equal(wf_buf_cstr(&buf), expected);
    wf_buf_fini(&buf);
}

static void what_was_written_is_read_with_its_mode(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(wf_file_write(path, "one", 3, 0600, NULL), WEFT_OK);
    assert_content("one");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(wf_file_write(path, "", 0, 0600, NULL), WEFT_OK);
    assert_content("");
    assert_int_equal(names(false), 1);
}

static void a_file_that_was_open_to_all_is_closed_by_writing_it(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(wf_file_write(path, "public", 6, 0644, NULL), WEFT_OK);
    assert_int_equal(chmod(path, 0666), 0);
    assert_int_equal(wf_file_write(path, "secret", 6, 0600, NULL), WEFT_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_name_without_a_folder_is_written_here(void **state)
{
    (void)state;
    char *before = getcwd(NULL, 0);
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(wf_file_write("file", "here", 4, 0600, NULL), WEFT_OK);
    assert_int_equal(chdir(before), 0);
    free(before);
    assert_content("here");
}

static void create_never_replaces(void **state)
{
    (void)state;
    wf_why why;
    assert_int_equal(wf_file_create(path, "one", 3, 0600, &why), WEFT_OK);
    assert_int_equal(wf_file_create(path, "two", 3, 0600, &why), WEFT_EEXIST);
    assert_non_null(strstr(why.text, path));
    assert_content("one");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/nonexistent/aim", path), 0);
    assert_true(wf_file_exists(path));
    assert_int_equal(wf_file_create(path, "two", 3, 0600, &why), WEFT_EEXIST);
    assert_int_equal(names(false), 1);
}

static void a_file_of_exactly_the_maximum_fits_and_one_byte_more_does_not(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 99, 100, 101, 65536, 1u << 20};
    static char lot[1u << 20];
    memset(lot, 'x', sizeof lot);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        wf_buf buf;
        wf_buf_init(&buf, 100);
        assert_int_equal(wf_file_write(path, lot, sizes[i], 0600, NULL), WEFT_OK);
        weft_err err = wf_file_read(path, &buf, NULL);
        assert_int_equal(err, sizes[i] <= 100 ? WEFT_OK : WEFT_ELIMIT);
        assert_int_equal(buf.len, sizes[i] <= 100 ? sizes[i] : 0);
        wf_buf_clear(&buf);
        assert_int_equal(wf_file_read_secret(path, &buf, NULL), err);
        wf_buf_fini(&buf);
    }
}

static void a_file_without_a_size_is_bounded_while_it_is_read(void **state)
{
    (void)state;
    /* /proc files say 0 and then hold something. */
    wf_buf buf;
    wf_buf_init(&buf, 10);
    assert_int_equal(wf_file_read("/proc/self/status", &buf, NULL), WEFT_ELIMIT);
    assert_int_equal(buf.len, 0);
    buf.max = 1u << 20;
    assert_int_equal(wf_file_read("/proc/self/status", &buf, NULL), WEFT_OK);
    assert_true(buf.len > 100);
    wf_buf_fini(&buf);
}

static void a_failed_read_leaves_what_was_in_the_buffer(void **state)
{
    (void)state;
    wf_buf buf;
    wf_buf_init(&buf, 10);
    wf_buf_put_text(&buf, "kept");
    wf_file_write(path, "1234567", 7, 0600, NULL);
    assert_int_equal(wf_file_read(path, &buf, NULL), WEFT_ELIMIT);
    assert_string_equal(wf_buf_cstr(&buf), "kept");
    wf_file_write(path, "123456", 6, 0600, NULL);
    assert_int_equal(wf_file_read(path, &buf, NULL), WEFT_OK);
    assert_string_equal(wf_buf_cstr(&buf), "kept123456");
    wf_buf_fini(&buf);
}

static void what_is_absent_or_no_file_is_named_in_the_refusal(void **state)
{
    (void)state;
    wf_why why;
    wf_buf buf;
    wf_buf_init(&buf, 100);
    assert_int_equal(wf_file_read(path, &buf, &why), WEFT_ENOTFOUND);
    assert_non_null(strstr(why.text, path));
    assert_non_null(strstr(why.text, "No such file"));
    assert_int_equal(wf_file_read(folder, &buf, &why), WEFT_EIO);
    assert_non_null(strstr(why.text, "not a regular file"));
    assert_int_equal(wf_file_read("/dev/zero", &buf, &why), WEFT_EIO);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(wf_file_read(path, &buf, &why), WEFT_EIO); /* and doesn't wait */
    assert_false(wf_file_exists("/proc/nonexistent/x"));
    wf_buf_fini(&buf);
}

static void a_secret_that_others_may_read_or_write_is_refused(void **state)
{
    (void)state;
    static const unsigned modes[] = {0640, 0620, 0604, 0602, 0666, 0644};
    wf_buf buf;
    wf_buf_init(&buf, 100);
    wf_file_write(path, "key", 3, 0600, NULL);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        wf_why why;
        assert_int_equal(chmod(path, modes[i]), 0);
        assert_int_equal(wf_file_read_secret(path, &buf, &why), WEFT_ECREDENTIAL);
        assert_non_null(strstr(why.text, "chmod 600"));
        assert_int_equal(buf.len, 0);
    }
    static const unsigned fine[] = {0600, 0400, 0700, 0611};
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        assert_int_equal(chmod(path, fine[i]), 0);
        wf_buf_clear(&buf);
        assert_int_equal(wf_file_read_secret(path, &buf, NULL), WEFT_OK);
    }
    wf_buf_fini(&buf);
}

static void a_secret_that_another_user_owns_is_refused(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip(); /* only root can give a file away */
    wf_buf buf;
    wf_why why;
    wf_buf_init(&buf, 100);
    wf_file_write(path, "key", 3, 0600, NULL);
    assert_int_equal(chown(path, 12345, (gid_t)-1), 0);
    assert_int_equal(wf_file_read_secret(path, &buf, &why), WEFT_ECREDENTIAL);
    assert_non_null(strstr(why.text, "12345"));
    assert_non_null(strstr(why.text, "chown"));
    assert_int_equal(buf.len, 0);
    assert_int_equal(wf_file_read(path, &buf, NULL), WEFT_OK); /* what is no secret may be read */
    wf_buf_clear(&buf);
    /* For its owner, and what root laid down for him, all is well. */
    assert_int_equal(chmod(folder, 0711), 0);
    assert_int_equal(seteuid(12345), 0);
    weft_err own = wf_file_read_secret(path, &buf, NULL);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(folder, 0700), 0);
    assert_int_equal(own, WEFT_OK);
    wf_buf_fini(&buf);
}

static void a_disk_that_fills_up_leaves_the_old_content_and_nothing_else(void **state)
{
    (void)state;
    assert_int_equal(wf_file_write(path, "old", 3, 0600, NULL), WEFT_OK);
    static char lot[10000];
    /* A limit on file size cuts the write short, then fails it: what a full disk does. */
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 4096;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    wf_why why;
    weft_err replaced = wf_file_write(path, lot, sizeof lot, 0600, &why);
    char none[80];
    snprintf(none, sizeof none, "%s-new", path);
    weft_err created = wf_file_create(none, lot, sizeof lot, 0600, NULL);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
    assert_int_equal(replaced, WEFT_EIO);
    assert_int_equal(created, WEFT_EIO);
    assert_non_null(strstr(why.text, path));
    assert_non_null(strstr(why.text, "File too large"));
    assert_content("old");
    assert_int_equal(names(false), 1);
}

static void a_disk_that_takes_little_at_a_time_gets_all(void **state)
{
    (void)state;
    disk_takes = 3;
    assert_int_equal(wf_file_write(path, "0123456789", 10, 0600, NULL), WEFT_OK);
    disk_takes = 0;
    assert_content("0123456789");
}

static void no_room_or_a_failed_sync_leaves_the_old_content(void **state)
{
    (void)state;
    wf_why why;
    assert_int_equal(wf_file_write(path, "old", 3, 0600, NULL), WEFT_OK);
    disk_takes = 3;
    disk_fails_after = 3;
    assert_int_equal(wf_file_write(path, "0123456789", 10, 0600, &why), WEFT_EIO);
    disk_takes = 0;
    assert_non_null(strstr(why.text, path));
    assert_non_null(strstr(why.text, "No space left"));
    assert_content("old");
    disk_sync_errno = EIO;
    assert_int_equal(wf_file_write(path, "new", 3, 0600, &why), WEFT_EIO);
    disk_sync_errno = 0;
    assert_content("old");
    assert_int_equal(names(false), 1);
}

static void a_write_onto_a_folder_fails_and_leaves_nothing(void **state)
{
    (void)state;
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(wf_file_write(path, "x", 1, 0600, NULL), WEFT_EIO);
    assert_int_equal(names(false), 1);
    assert_int_equal(rmdir(path), 0);
    wf_why why;
    assert_int_equal(wf_file_write("/proc/nonexistent/x", "x", 1, 0600, &why), WEFT_ENOTFOUND);
}

static void folders_are_made_all_the_way_and_for_us_alone(void **state)
{
    (void)state;
    char deep[100];
    struct stat st;
    snprintf(deep, sizeof deep, "%s//a/b/", folder);
    assert_int_equal(wf_folder_make(deep, NULL), WEFT_OK);
    assert_int_equal(wf_folder_make(deep, NULL), WEFT_OK);
    assert_int_equal(stat(deep, &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(wf_folder_make("/", NULL), WEFT_OK);
    snprintf(deep, sizeof deep, "%s/a/b", folder);
    rmdir(deep);
    snprintf(deep, sizeof deep, "%s/a", folder);
    rmdir(deep);

    wf_why why;
    wf_file_write(path, "x", 1, 0600, NULL);
    assert_int_equal(wf_folder_make(path, &why), WEFT_EIO);
    assert_non_null(strstr(why.text, "Not a directory"));
    snprintf(deep, sizeof deep, "%s/below", path);
    assert_int_equal(wf_folder_make(deep, &why), WEFT_EIO);
}

static void a_lock_is_held_by_one_until_it_is_closed(void **state)
{
    (void)state;
    int first = -1, second = -1;
    wf_why why;
    assert_int_equal(wf_file_lock(path, 0, &first, NULL), WEFT_OK);
    uint64_t start = wf_now_mono_ms();
    assert_int_equal(wf_file_lock(path, 50, &second, &why), WEFT_EBUSY);
    assert_true(wf_now_mono_ms() - start >= 50);
    assert_int_equal(second, -1);
    assert_int_equal(close(first), 0);
    assert_int_equal(wf_file_lock(path, 0, &second, NULL), WEFT_OK);
    assert_int_equal(close(second), 0);
}

static void a_lock_that_is_waited_for_comes(void **state)
{
    (void)state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        int fd;
        if (wf_file_lock(path, 0, &fd, NULL) != WEFT_OK || write(ready[1], "x", 1) != 1)
            _exit(1);
        usleep(100000);
        _exit(0); /* the kernel lets go of the lock */
    }
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    int fd;
    assert_int_equal(wf_file_lock(path, 5000, &fd, NULL), WEFT_OK);
    close(fd);
    close(ready[0]);
    close(ready[1]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void without_memory_nothing_is_left_behind(void **state)
{
    (void)state;
    wf_file_write(path, "old", 3, 0600, NULL);
    for (unsigned n = 1;; n++) {
        wf_buf buf;
        wf_buf_init(&buf, 100);
        alloc_fail_at(n);
        weft_err err = wf_file_read_secret(path, &buf, NULL);
        bool failed = alloc_has_failed();
        alloc_fail_at(0);
        wf_buf_fini(&buf);
        if (!failed)
            break;
        assert_int_equal(err, WEFT_ENOMEM);
    }
    for (unsigned n = 1;; n++) {
        alloc_fail_at(n);
        weft_err err = wf_folder_make(folder, NULL);
        if (err == WEFT_OK)
            err = wf_file_write(path, "new", 3, 0600, NULL);
        if (!alloc_has_failed())
            break;
        assert_int_equal(err, WEFT_ENOMEM);
        assert_int_equal(names(false), 1);
        assert_content("old");
    }
    alloc_fail_at(0);
    assert_content("new");
}

#define TEST(f) cmocka_unit_test_teardown(f, empty_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_written_is_read_with_its_mode),
        TEST(a_file_that_was_open_to_all_is_closed_by_writing_it),
        TEST(a_name_without_a_folder_is_written_here),
        TEST(create_never_replaces),
        TEST(a_file_of_exactly_the_maximum_fits_and_one_byte_more_does_not),
        TEST(a_file_without_a_size_is_bounded_while_it_is_read),
        TEST(a_failed_read_leaves_what_was_in_the_buffer),
        TEST(what_is_absent_or_no_file_is_named_in_the_refusal),
        TEST(a_secret_that_others_may_read_or_write_is_refused),
        TEST(a_secret_that_another_user_owns_is_refused),
        TEST(a_disk_that_fills_up_leaves_the_old_content_and_nothing_else),
        TEST(a_disk_that_takes_little_at_a_time_gets_all),
        TEST(no_room_or_a_failed_sync_leaves_the_old_content),
        TEST(a_write_onto_a_folder_fails_and_leaves_nothing),
        TEST(folders_are_made_all_the_way_and_for_us_alone),
        TEST(a_lock_is_held_by_one_until_it_is_closed),
        TEST(a_lock_that_is_waited_for_comes),
        TEST(without_memory_nothing_is_left_behind),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
