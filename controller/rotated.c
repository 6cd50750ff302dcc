/*
 * Happy path: rotation_stage writes the file, home_switch puts it in place, the
 * controller enters it when it starts or has taken the keys up, commits, and
 * removes the file.
 *
 * Failure modes:
 * - It dies between commit and removal: the id of the last one that was entered
 *   is in the store with its entry, and what is up to it is passed over.
 * - Several rotations while no controller runs: each takes those before along.
 */
#include "controller/rotated.h"
#include "proto/base/reader.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOME_ROTATED "rotated"
#define SETTING_ENTERED "rotation-entered"
#define FILE_MAX (1024u * 1024u)
#define WHAT_MAX 128u

/* One of them; what it borrows is the file's. */
struct rotated {
    wf_id id;
    uint64_t version, tokens;
    wf_span what;
};

static weft_err read_file(const char *dir, wf_buf *out, wf_why *why)
{
    weft_err err = home_read(dir, HOME_ROTATED, "", false, out, why);

    if (err == WEFT_ENOTFOUND && why != NULL)
        why->text[0] = '\0';
    return err == WEFT_ENOTFOUND ? WEFT_OK : err; /* nothing waits */
}

static weft_err put(wf_buf *out, const struct rotation *rotation, uint64_t version)
{
    const wf_id id = wf_id_random();
    char what[WHAT_MAX];
    weft_err err = wf_buf_put(out, id.b, sizeof id.b);

    rotation_words(rotation, what, sizeof what);
    if (err == WEFT_OK)
        err = wf_buf_put_u64(out, version);
    if (err == WEFT_OK)
        err = wf_buf_put_u64(out, rotation->tokens);
    if (err == WEFT_OK)
        err = wf_buf_put_u8(out, (uint8_t)strlen(what));
    return err == WEFT_OK ? wf_buf_put_text(out, what) : err;
}

weft_err rotated_stage(const struct rotation *rotation, const char *stage, uint64_t version,
                       wf_why *why)
{
    wf_buf file;
    weft_err err;

    wf_buf_init(&file, FILE_MAX);
    err = read_file(rotation->dir, &file, why);
    if (err == WEFT_OK && (err = put(&file, rotation, version)) != WEFT_OK)
        wf_fail(why, err, "%s/" HOME_ROTATED ": too many rotations wait for a start", stage);
    if (err == WEFT_OK)
        err = home_write(stage, HOME_ROTATED, "", 0600, wf_span_of(file.data, file.len), why);
    wf_buf_fini(&file);
    return err;
}

static bool get(wf_reader *r, struct rotated *out)
{
    uint8_t len = 0;

    return wf_get_bytes(r, out->id.b, sizeof out->id.b) && wf_get_u64(r, &out->version) &&
           wf_get_u64(r, &out->tokens) && wf_get_u8(r, &len) && len < WHAT_MAX &&
           wf_get_span(r, len, &out->what);
}

static weft_err enter(const struct home *home, const struct rotated *one, uint64_t now)
{
    char what[WHAT_MAX] = "";
    const struct audit_event event = {.kind = AUDIT_ROTATION,
                                      .time = now,
                                      .operation = "rotate-ca",
                                      .as = "controller",
                                      .what = what,
                                      .count = one->tokens,
                                      .version = one->version};

    memcpy(what, one->what.data, one->what.len);
    return audit_append(home, &event);
}

weft_err rotated_enter(const struct home *home, uint64_t now, wf_why *why)
{
    struct rotated one, newest;
    size_t count = 0, passed = 0;
    wf_buf file, entered;
    wf_reader r;
    weft_err err;

    wf_buf_init(&file, FILE_MAX);
    wf_buf_init(&entered, sizeof one.id.b);
    err = read_file(home->dir, &file, why);
    if (err != WEFT_OK || file.len == 0)
        goto out;
    err = store_setting_get(home->store, SETTING_ENTERED, &entered);
    if (err == WEFT_ENOTFOUND)
        err = WEFT_OK;
    wf_reader_init(&r, file.data, file.len);
    while (err == WEFT_OK && !wf_reader_end(&r)) {
        if (!get(&r, &one)) {
            err = wf_fail(why, WEFT_EIO,
                          "%s/" HOME_ROTATED " is damaged; move it away, rotations that were not "
                          "entered in the audit log are in it",
                          home->dir);
            break;
        }
        count++;
        if (entered.len == sizeof one.id.b && memcmp(entered.data, one.id.b, entered.len) == 0)
            passed = count;
        newest = one;
    }
    if (err != WEFT_OK || passed == count)
        goto out;
    wf_reader_init(&r, file.data, file.len);
    for (size_t i = 0; err == WEFT_OK && i < count && get(&r, &one); i++)
        if (i >= passed)
            err = enter(home, &one, now);
    if (err == WEFT_OK)
        err = store_setting_put(home->store, SETTING_ENTERED, newest.id.b, sizeof newest.id.b);
out:
    wf_buf_fini(&file);
    wf_buf_fini(&entered);
    return err;
}

void rotated_forget(const struct home *home)
{
    char *path = home_path(home->dir, HOME_ROTATED, "");

    if (path != NULL)
        (void)unlink(path); /* it is passed over if it stays */
    free(path);
}
