/* A map for finding, a ring in order of use for forgetting: the oldest is next to the head. */
#include "pki/seen.h"
#include "proto/base/list.h"
#include "proto/base/map.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define KEY_LEN 32

struct entry {
    wf_node node;
    uint8_t key[KEY_LEN];
    uint8_t value[];
};

struct pki_seen {
    wf_map *map;    /* owned, and the entries in it */
    wf_node by_use; /* least recently used first */
    size_t max;
    size_t value_len;
};

pki_seen *pki_seen_new(size_t max, size_t value_len)
{
    assert(max > 0);
    pki_seen *seen = calloc(1, sizeof *seen);
    if (seen == NULL)
        return NULL;
    seen->map = wf_map_new(max);
    if (seen->map == NULL) {
        free(seen);
        return NULL;
    }
    wf_list_init(&seen->by_use);
    seen->max = max;
    seen->value_len = value_len;
    return seen;
}

static void forget(pki_seen *seen, struct entry *e)
{
    wf_map_remove(seen->map, e->key, KEY_LEN);
    wf_list_remove(&e->node);
    free(e);
}

void pki_seen_clear(pki_seen *seen)
{
    while (!wf_list_is_empty(&seen->by_use))
        forget(seen, wf_container_of(seen->by_use.next, struct entry, node));
}

void pki_seen_free(pki_seen *seen)
{
    if (seen == NULL)
        return;
    pki_seen_clear(seen);
    wf_map_free(seen->map);
    free(seen);
}

bool pki_seen_find(pki_seen *seen, const uint8_t key[32], void *out)
{
    struct entry *e = wf_map_find(seen->map, key, KEY_LEN);
    if (e == NULL)
        return false;
    wf_list_remove(&e->node);
    wf_list_push(&seen->by_use, &e->node);
    if (seen->value_len > 0)
        memcpy(out, e->value, seen->value_len);
    return true;
}

void pki_seen_add(pki_seen *seen, const uint8_t key[32], const void *value)
{
    if (wf_map_find(seen->map, key, KEY_LEN) != NULL)
        return;
    if (wf_map_count(seen->map) >= seen->max)
        forget(seen, wf_container_of(seen->by_use.next, struct entry, node));
    struct entry *e = malloc(sizeof *e + seen->value_len);
    if (e == NULL)
        return;
    memcpy(e->key, key, KEY_LEN);
    if (seen->value_len > 0)
        memcpy(e->value, value, seen->value_len);
    if (wf_map_add(seen->map, e->key, KEY_LEN, e) != WEFT_OK) {
        free(e);
        return;
    }
    wf_list_push(&seen->by_use, &e->node);
}
