/*
 * What somebody may take: so many things at once (links), and so many a while
 * (calls, lines in the log). One row for each who holds or took something.
 */
#ifndef PROTO_BASE_QUOTA_H
#define PROTO_BASE_QUOTA_H

#include "proto/base/map.h"

#define WF_QUOTA_KEY_MAX 32u

struct wf_quota {
    unsigned held;
    uint64_t full_at; /* monotonic ms: when all that was taken is given back. See wf_quota_draw */
    uint8_t key_len, key[WF_QUOTA_KEY_MAX];
};

/*
 * Takes one more thing for key (1..WF_QUOTA_KEY_MAX bytes); *out is its row,
 * borrowed until it is given back. WEFT_ELIMIT: it has `most` already, or rows
 * has no room for another; WEFT_ENOMEM.
 */
weft_err wf_quota_take(wf_map *rows, const void *key, size_t key_len, unsigned most,
                       struct wf_quota **out);
/* Gives one back. A row that holds nothing stays until what it drew is full again. */
void wf_quota_give(wf_map *rows, struct wf_quota *row, uint64_t now);
/* Forgets rows that hold nothing and have drawn nothing lately. */
void wf_quota_sweep(wf_map *rows, uint64_t now);
/* Frees the rows and the map (NULL is fine). */
void wf_quota_free(wf_map *rows);

/*
 * A bucket of `burst` that gets one back every each_ms; *full_at begins as 0.
 * Draws one: 0, or it is empty and has one again in so many ms.
 */
uint64_t wf_quota_draw(uint64_t *full_at, uint64_t now, unsigned burst, unsigned each_ms);

#endif
