#include "proto/base/quota.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

weft_err wf_quota_take(wf_map *rows, const void *key, size_t key_len, unsigned most,
                       struct wf_quota **out)
{
    struct wf_quota *row = wf_map_find(rows, key, key_len);
    weft_err err;

    assert(key_len > 0 && key_len <= WF_QUOTA_KEY_MAX);
    if (row == NULL) {
        row = calloc(1, sizeof *row);
        if (row == NULL)
            return WEFT_ENOMEM;
        row->key_len = (uint8_t)key_len;
        memcpy(row->key, key, key_len);
        err = wf_map_add(rows, key, key_len, row);
        if (err != WEFT_OK) {
            free(row);
            return err;
        }
    }
    if (row->held >= most)
        return WEFT_ELIMIT;
    row->held++;
    *out = row;
    return WEFT_OK;
}

static void settle(wf_map *rows, struct wf_quota *row, uint64_t now)
{
    if (row->held > 0 || row->full_at > now)
        return;
    wf_map_remove(rows, row->key, row->key_len);
    free(row);
}

void wf_quota_give(wf_map *rows, struct wf_quota *row, uint64_t now)
{
    assert(row->held > 0);
    row->held--;
    settle(rows, row, now);
}

void wf_quota_sweep(wf_map *rows, uint64_t now)
{
    size_t cursor = 0;
    struct wf_quota *row;

    while ((row = wf_map_next(rows, &cursor)) != NULL)
        settle(rows, row, now);
}

void wf_quota_free(wf_map *rows)
{
    size_t cursor = 0;
    struct wf_quota *row;

    if (rows == NULL)
        return;
    while ((row = wf_map_next(rows, &cursor)) != NULL) {
        wf_map_remove(rows, row->key, row->key_len);
        free(row);
    }
    wf_map_free(rows);
}

uint64_t wf_quota_draw(uint64_t *full_at, uint64_t now, unsigned burst, unsigned each_ms)
{
    uint64_t full = (*full_at > now ? *full_at : now) + each_ms;
    uint64_t most = now + (uint64_t)burst * each_ms;

    if (full > most)
        return full - most;
    *full_at = full;
    return 0;
}
