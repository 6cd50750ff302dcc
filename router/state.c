#include "router/state.h"
#include "proto/base/file.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

#define STATE_PATH_MAX 4096u
/* Files begin with this line; each record follows as a u32 length and an encoded Signed. */
static const char magic[] = "weft-router-state-1\n";

static weft_err path_of(const char *home, const char *name, char path[STATE_PATH_MAX], wf_why *why)
{
    int len =
        snprintf(path, STATE_PATH_MAX, "%s/state%s%s", home, name[0] == '\0' ? "" : "/", name);

    if (len < 0 || (unsigned)len >= STATE_PATH_MAX)
        return wf_fail(why, WEFT_EINVAL, "the path of the home folder is too long");
    return WEFT_OK;
}

weft_err state_save(const char *home, const char *name, Weft__Wire__Signed *const *list,
                    size_t count, wf_why *why)
{
    char path[STATE_PATH_MAX];
    wf_buf file, one;
    weft_err err;

    assert(name[0] != '\0');
    wf_buf_init(&file, STATE_FILE_MAX);
    wf_buf_init(&one, WF_BUNDLE_MAX);
    err = path_of(home, "", path, why);
    if (err == WEFT_OK)
        err = wf_folder_make(path, why);
    if (err != WEFT_OK)
        goto out;
    err = wf_buf_put(&file, magic, sizeof magic - 1);
    for (size_t i = 0; err == WEFT_OK && i < count; i++) {
        wf_buf_clear(&one);
        err = wf_signed_encode(list[i], &one);
        if (err == WEFT_OK)
            err = wf_buf_put_u32(&file, (uint32_t)one.len);
        if (err == WEFT_OK)
            err = wf_buf_put(&file, one.data, one.len);
    }
    if (err == WEFT_OK)
        err = path_of(home, name, path, why);
    if (err == WEFT_OK)
        err = wf_file_write(path, file.data, file.len, 0600, why);
out:
    wf_buf_fini(&one);
    wf_buf_fini(&file);
    return err;
}

static weft_err parse(wf_span text, struct records *out, wf_why *why)
{
    wf_reader r;
    wf_span head;

    wf_reader_init(&r, text.data, text.len);
    if (!wf_get_span(&r, sizeof magic - 1, &head) || memcmp(head.data, magic, head.len) != 0)
        return wf_fail(why, WEFT_EINVAL, "not a state file of this version");
    while (!wf_reader_end(&r)) {
        Weft__Wire__Signed *record;
        uint32_t len;
        wf_span bytes;
        weft_err err;

        if (!wf_get_u32(&r, &len) || !wf_get_span(&r, len, &bytes))
            return wf_fail(why, WEFT_EINVAL, "cut short");
        err = wf_signed_decode(bytes.data, bytes.len, &record, why);
        if (err != WEFT_OK)
            return err;
        err = records_take(out, record);
        if (err != WEFT_OK) {
            wf_signed_free(record);
            return err;
        }
    }
    return WEFT_OK;
}

weft_err state_load(const char *home, const char *name, struct records *out, wf_why *why)
{
    char path[STATE_PATH_MAX];
    wf_buf file;
    weft_err err;

    wf_buf_init(&file, STATE_FILE_MAX);
    err = path_of(home, name, path, why);
    if (err == WEFT_OK)
        err = wf_file_read(path, &file, why);
    if (err == WEFT_ENOTFOUND)
        err = WEFT_OK;
    else if (err == WEFT_OK)
        err = parse(wf_span_of(file.data, file.len), out, why);
    if (err != WEFT_OK)
        wf_wrap(why, err, "%s", path);
    wf_buf_fini(&file);
    return err;
}
