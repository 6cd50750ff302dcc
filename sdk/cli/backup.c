/*
 * weft backup: a controller's backup, over the calls of an administrator.
 *
 * Happy path: begin -> status until it is ready -> read file by file, piece by
 * piece, each hashed and written into DIR.new -> end -> the manifest is
 * written, the folder renamed to DIR.
 * - the controller goes, refuses or has no space: DIR.new goes, one line
 * - a file isn't what the manifest says: the same
 */
#include "pki/digest.h"
#include "proto/base/file.h"
#include "proto/base/list.h"
#include "proto/base/text.h"
#include "sdk/cli/cli.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#define CALL_MS 30000u
#define POLL_MS 50u
#define PIECE_MAX 65536u
#define FILES_MAX 128u

enum step { BEGIN, STATUS, READ, END };

struct backup {
    weft_endpoint *endpoint;
    uv_timer_t pause;
    enum step step;
    bool leaving, done;
    char id[64];
    const char *folder; /* borrowed: being filled */
    wf_buf manifest, sealed;
    json_t *files; /* owned: of the manifest */
    size_t file;
    uint64_t offset;
    int fd;
    pki_digest *digest;
    weft_err err;
    wf_why *why;
};

static void ask(struct backup *b);

static void leave(struct backup *b, weft_err err)
{
    if (b->leaving)
        return;
    b->leaving = true;
    b->err = err;
    uv_close((uv_handle_t *)&b->pause, NULL);
    weft_endpoint_close(b->endpoint, NULL, NULL);
}

static void on_pause(uv_timer_t *timer)
{
    ask(wf_container_of(timer, struct backup, pause));
}

static const char *file_name(const struct backup *b)
{
    return json_string_value(json_object_get(json_array_get(b->files, b->file), "name"));
}

/* A name of the controller's is only ever a plain one. */
static bool is_plain(const char *name)
{
    size_t len = name == NULL ? 0 : strlen(name);

    return len > 0 && len < 64 && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-_") == len;
}

static weft_err open_file(struct backup *b)
{
    char path[4096];

    if (!is_plain(file_name(b)))
        return wf_fail(b->why, WEFT_EPROTO, "the controller's manifest names no file");
    snprintf(path, sizeof path, "%s/%s", b->folder, file_name(b));
    b->offset = 0;
    b->digest = pki_digest_new();
    b->fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (b->digest == NULL)
        return WEFT_ENOMEM;
    return b->fd >= 0 ? WEFT_OK
                      : wf_fail(b->why, WEFT_EIO, "%s can't be written: %s", path, strerror(errno));
}

static weft_err close_file(struct backup *b)
{
    const json_t *entry = json_array_get(b->files, b->file);
    const char *sha256 = json_string_value(json_object_get(entry, "sha256"));
    char hex[PKI_DIGEST_HEX];
    weft_err err = pki_digest_hex(b->digest, hex);

    if (err == WEFT_OK && (sha256 == NULL || strcmp(sha256, hex) != 0))
        err = wf_fail(b->why, WEFT_EPROTO, "%s came altered; try again", file_name(b));
    if (fsync(b->fd) != 0 && err == WEFT_OK)
        err = wf_fail(b->why, WEFT_EIO, "%s can't be written: %s", file_name(b), strerror(errno));
    close(b->fd);
    b->fd = -1;
    pki_digest_free(b->digest);
    b->digest = NULL;
    b->file++;
    return err;
}

static weft_err decode(const json_t *answer, const char *key, wf_buf *out)
{
    const char *text = json_string_value(json_object_get(answer, key));

    wf_buf_clear(out);
    return text == NULL ? WEFT_EPROTO : wf_base64_decode(text, strlen(text), out);
}

static weft_err take_status(struct backup *b, const json_t *answer)
{
    json_t *root;
    weft_err err;

    if (!json_is_true(json_object_get(answer, "ready"))) {
        uv_timer_start(&b->pause, on_pause, POLL_MS, 0);
        return WEFT_EBUSY;
    }
    err = decode(answer, "manifest", &b->manifest);
    if (err == WEFT_OK)
        err = decode(answer, "sealed", &b->sealed);
    if (err != WEFT_OK)
        return wf_fail(b->why, WEFT_EPROTO, "the controller's answer is no manifest");
    root =
        json_loadb((const char *)b->manifest.data, b->manifest.len, JSON_REJECT_DUPLICATES, NULL);
    b->files = json_incref(json_object_get(root, "files"));
    if (json_is_true(json_object_get(root, "seal_key_inside")))
        fputs(
            "the seal key is seal.key in the controller's home and not in this backup: keep a copy "
            "of it elsewhere, without it the backup opens nothing\n",
            stderr);
    else
        fputs("the seal key is not in this backup: keep a copy of it elsewhere\n", stderr);
    json_decref(root);
    if (!json_is_array(b->files) || json_array_size(b->files) == 0 ||
        json_array_size(b->files) > FILES_MAX)
        return wf_fail(b->why, WEFT_EPROTO, "the controller's answer is no manifest");
    b->step = READ;
    return open_file(b);
}

static weft_err take_piece(struct backup *b, const json_t *answer)
{
    json_int_t size =
        json_integer_value(json_object_get(json_array_get(b->files, b->file), "size"));
    wf_buf piece;
    weft_err err;

    wf_buf_init(&piece, PIECE_MAX);
    err = decode(answer, "data", &piece);
    if (err == WEFT_OK && (size < 0 || piece.len > (uint64_t)size - b->offset ||
                           (piece.len == 0 && b->offset != (uint64_t)size)))
        err = WEFT_EPROTO;
    if (err != WEFT_OK)
        wf_fail(b->why, err, "%s doesn't come as the manifest says", file_name(b));
    else if (piece.len > 0 && write(b->fd, piece.data, piece.len) != (ssize_t)piece.len)
        err = wf_fail(b->why, WEFT_EIO, "%s can't be written: %s", file_name(b), strerror(errno));
    if (err == WEFT_OK)
        err = pki_digest_add(b->digest, wf_span_of(piece.data, piece.len));
    b->offset += piece.len;
    wf_buf_fini(&piece);
    if (err != WEFT_OK || b->offset < (uint64_t)size)
        return err;
    err = close_file(b);
    if (err == WEFT_OK && b->file < json_array_size(b->files))
        return open_file(b);
    b->step = END;
    return err;
}

static void on_answer(void *arg, weft_err err, const char *why, const char *result, size_t len)
{
    struct backup *b = arg;
    json_t *answer = NULL;
    const char *id;

    if (b->leaving)
        return;
    if (err != WEFT_OK) {
        leave(b, wf_fail(b->why, err, "%s", why != NULL && *why ? why : weft_err_sentence(err)));
        return;
    }
    answer = json_loadb(result, len, JSON_REJECT_DUPLICATES, NULL);
    switch (b->step) {
    case BEGIN:
        id = json_string_value(json_object_get(answer, "id"));
        if (id == NULL)
            err = wf_fail(b->why, WEFT_EPROTO, "the controller's answer is no backup");
        else
            snprintf(b->id, sizeof b->id, "%s", id);
        b->step = STATUS;
        break;
    case STATUS:
        err = take_status(b, answer);
        break;
    case READ:
        err = take_piece(b, answer);
        break;
    case END:
        b->done = true;
        break;
    }
    json_decref(answer);
    if (err == WEFT_EBUSY && b->step == STATUS)
        return;
    if (err != WEFT_OK || b->done)
        leave(b, err);
    else
        ask(b);
}

static void ask(struct backup *b)
{
    static const char *const operations[] = {"backup.begin", "backup.status", "backup.read",
                                             "backup.end"};
    char text[256];
    weft_err err;

    if (b->step == BEGIN)
        snprintf(text, sizeof text, "{}");
    else if (b->step == READ)
        snprintf(text, sizeof text, "{\"id\":\"%s\",\"file\":\"%s\",\"offset\":%llu}", b->id,
                 file_name(b), (unsigned long long)b->offset);
    else
        snprintf(text, sizeof text, "{\"id\":\"%s\"}", b->id);
    err = weft_call(b->endpoint, operations[b->step], text, CALL_MS, on_answer, b);
    if (err != WEFT_OK)
        leave(b, wf_fail(b->why, err, "the controller can't be asked: %s", weft_err_sentence(err)));
}

/* Plain files, one level: what we made. */
static void remove_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir != NULL)
        closedir(dir);
    (void)rmdir(folder);
}

static weft_err write_in(const char *folder, const char *name, const wf_buf *bytes, wf_why *why)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return wf_file_write(path, bytes->data, bytes->len, 0600, why);
}

static weft_err fetch(const char *identity, const char *controller, struct backup *b)
{
    struct weft_options options = {.identity = identity, .controller = controller, .state_dir = ""};
    weft_err err = weft_endpoint_open(&options, &b->endpoint, b->why);

    if (err != WEFT_OK)
        return err;
    uv_timer_init(weft_endpoint_loop(b->endpoint), &b->pause);
    ask(b);
    weft_endpoint_run(b->endpoint);
    if (b->err == WEFT_OK && !b->done)
        return wf_fail(b->why, WEFT_EUNREACHABLE, "the controller went away");
    return b->err;
}

weft_err cli_backup(const struct wf_call_line *line, wf_why *why)
{
    const char *dir = wf_line_arg(line, 0);
    const char *identity = wf_line_text(line, "identity");
    const char *controller = wf_line_text(line, "controller");
    struct cli_login login = {NULL, NULL};
    struct backup b = {.fd = -1, .why = why};
    struct stat st;
    char *fresh = NULL;
    size_t len = strlen(dir);
    weft_err err = WEFT_OK;

    while (len > 1 && dir[len - 1] == '/')
        len--;
    if (lstat(dir, &st) == 0)
        return wf_fail(why, WEFT_EEXIST, "%s is there already; name a new folder", dir);
    wf_buf_init(&b.manifest, PIECE_MAX);
    wf_buf_init(&b.sealed, PIECE_MAX);
    if (asprintf(&fresh, "%.*s.new-%d", (int)len, dir, (int)getpid()) < 0)
        return WEFT_ENOMEM;
    b.folder = fresh;
    if (identity == NULL)
        err = cli_login_load(&login, why);
    if (err == WEFT_OK && mkdir(fresh, 0700) != 0)
        err = wf_fail(why, WEFT_EIO, "%s can't be made: %s", fresh, strerror(errno));
    if (err != WEFT_OK)
        goto out;
    err = fetch(identity != NULL ? identity : login.identity,
                controller != NULL ? controller : login.controller, &b);
    if (err == WEFT_OK)
        err = write_in(fresh, "manifest.sealed", &b.sealed, why);
    if (err == WEFT_OK)
        err = write_in(fresh, "manifest.json", &b.manifest, why);
    if (err == WEFT_OK && rename(fresh, dir) != 0)
        err = wf_fail(why, WEFT_EIO, "%s can't be put in place: %s", dir, strerror(errno));
    if (err != WEFT_OK)
        remove_folder(fresh);
    else
        fprintf(stderr, "backup: %s, %zu files\n", dir, json_array_size(b.files));
out:
    if (b.fd >= 0)
        close(b.fd);
    pki_digest_free(b.digest);
    json_decref(b.files);
    wf_buf_fini(&b.manifest);
    wf_buf_fini(&b.sealed);
    cli_login_free(&login);
    free(fresh);
    return err;
}
