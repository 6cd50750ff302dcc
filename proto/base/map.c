/*
 * The hash map: open addressing with linear probing over pointers to entries.
 * A removed entry leaves a mark in its slot, so that a walk may remove what it
 * has just been given; marks go when the table is next rebuilt.
 */
#include "proto/base/map.h"
#include "proto/base/id.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define KEY_MAX 64u
#define SLOTS_MIN 8u

struct entry {
    uint64_t hash;
    void *value; /* borrowed: the caller's */
    uint8_t key_len;
    uint8_t key[];
};

struct wf_map {
    struct entry **slots; /* owned, also what they point to; NULL until the first add */
    size_t slot_count;    /* a power of two, or 0 */
    size_t count;
    size_t marks;
    size_t max;
    wf_id seed;
};

static struct entry removed_mark;

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static uint64_t little_endian(const uint8_t *at, size_t len)
{
    uint64_t v = 0;
    for (size_t i = 0; i < len; i++)
        v |= (uint64_t)at[i] << (8 * i);
    return v;
}

static void sip_rounds(uint64_t v[4], unsigned rounds)
{
    while (rounds-- > 0) {
        v[0] += v[1];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[0] = rotate(v[0], 32);
        v[2] += v[3];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
    }
}

uint64_t wf_siphash(const uint8_t key[16], const void *data, size_t len)
{
    uint64_t k0 = little_endian(key, 8);
    uint64_t k1 = little_endian(key + 8, 8);
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du, k0 ^ 0x6c7967656e657261u,
                     k1 ^ 0x7465646279746573u};
    const uint8_t *at = data;
    size_t left = len;
    for (; left >= 8; at += 8, left -= 8) {
        uint64_t word = little_endian(at, 8);
        v[3] ^= word;
        sip_rounds(v, 2);
        v[0] ^= word;
    }
    uint64_t last = little_endian(at, left) | (uint64_t)len << 56;
    v[3] ^= last;
    sip_rounds(v, 2);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

wf_map *wf_map_new(size_t max_entries)
{
    wf_map *map = calloc(1, sizeof *map);
    if (map == NULL)
        return NULL;
    map->max = max_entries;
    map->seed = wf_id_random();
    return map;
}

void wf_map_free(wf_map *map)
{
    if (map == NULL)
        return;
    for (size_t i = 0; i < map->slot_count; i++)
        if (map->slots[i] != &removed_mark)
            free(map->slots[i]);
    free(map->slots);
    free(map);
}

size_t wf_map_count(const wf_map *map)
{
    return map->count;
}

/* The slot that holds the key, or the empty one that ends its probe. */
static size_t probe(const wf_map *map, uint64_t hash, const void *key, size_t key_len)
{
    size_t mask = map->slot_count - 1;
    size_t i = (size_t)hash & mask;
    for (;; i = (i + 1) & mask) {
        const struct entry *e = map->slots[i];
        if (e == NULL)
            return i;
        if (e != &removed_mark && e->hash == hash && e->key_len == key_len &&
            memcmp(e->key, key, key_len) == 0)
            return i;
    }
}

/* The slot of the key, or slot_count. */
static size_t find_slot(const wf_map *map, const void *key, size_t key_len)
{
    if (map->count == 0 || key_len == 0 || key_len > KEY_MAX)
        return map->slot_count;
    size_t i = probe(map, wf_siphash(map->seed.b, key, key_len), key, key_len);
    return map->slots[i] == NULL ? map->slot_count : i;
}

/* A table at most half full with one entry more, and without marks. */
static weft_err rebuild(wf_map *map)
{
    size_t want = SLOTS_MIN;
    while (want / 2 < map->count + 1)
        want *= 2;
    struct entry **slots = calloc(want, sizeof(struct entry *));
    if (slots == NULL)
        return WEFT_ENOMEM;
    for (size_t i = 0; i < map->slot_count; i++) {
        struct entry *e = map->slots[i];
        if (e == NULL || e == &removed_mark)
            continue;
        size_t at = (size_t)e->hash & (want - 1);
        while (slots[at] != NULL)
            at = (at + 1) & (want - 1);
        slots[at] = e;
    }
    free(map->slots);
    map->slots = slots;
    map->slot_count = want;
    map->marks = 0;
    return WEFT_OK;
}

weft_err wf_map_add(wf_map *map, const void *key, size_t key_len, void *value)
{
    assert(key_len >= 1 && key_len <= KEY_MAX && value != NULL);
    if (wf_map_find(map, key, key_len) != NULL)
        return WEFT_EEXIST;
    if (map->count >= map->max)
        return WEFT_ELIMIT;

    struct entry *e = malloc(sizeof *e + key_len);
    if (e == NULL)
        return WEFT_ENOMEM;
    /* Up to three quarters may be in use or marked: a probe always ends. */
    if ((map->count + map->marks + 1) * 4 > map->slot_count * 3 && rebuild(map) != WEFT_OK) {
        free(e);
        return WEFT_ENOMEM;
    }
    e->hash = wf_siphash(map->seed.b, key, key_len);
    e->value = value;
    e->key_len = (uint8_t)key_len;
    memcpy(e->key, key, key_len);
    size_t i = probe(map, e->hash, key, key_len);
    assert(map->slots[i] == NULL);
    map->slots[i] = e;
    map->count++;
    return WEFT_OK;
}

void *wf_map_find(const wf_map *map, const void *key, size_t key_len)
{
    size_t i = find_slot(map, key, key_len);
    return i < map->slot_count ? map->slots[i]->value : NULL;
}

void *wf_map_remove(wf_map *map, const void *key, size_t key_len)
{
    size_t i = find_slot(map, key, key_len);
    if (i >= map->slot_count)
        return NULL;
    struct entry *e = map->slots[i];
    void *value = e->value;
    map->slots[i] = &removed_mark;
    map->marks++;
    map->count--;
    free(e);
    return value;
}

void *wf_map_next(const wf_map *map, size_t *cursor)
{
    while (*cursor < map->slot_count) {
        const struct entry *e = map->slots[(*cursor)++];
        if (e != NULL && e != &removed_mark)
            return e->value;
    }
    return NULL;
}
