/*
 * A hash map from short byte keys to pointers, keyed with a random seed so
 * that a stranger can't aim collisions (SipHash-2-4).
 */
#ifndef PROTO_BASE_MAP_H
#define PROTO_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <weft/err.h>

typedef struct wf_map wf_map;

wf_map *wf_map_new(size_t max_entries); /* NULL without memory */
void wf_map_free(wf_map *map);          /* values are the caller's */
size_t wf_map_count(const wf_map *map);
/* Copies the key (1..64 bytes). WEFT_EEXIST, WEFT_ELIMIT, WEFT_ENOMEM. value is not NULL. */
weft_err wf_map_add(wf_map *map, const void *key, size_t key_len, void *value);
void *wf_map_find(const wf_map *map, const void *key, size_t key_len); /* NULL if absent */
void *wf_map_remove(wf_map *map, const void *key, size_t key_len); /* the value, NULL if absent */
/*
 * Walks all values, each once, in no order; start with *cursor = 0, ends with
 * NULL. Removing is allowed meanwhile, adding is not.
 */
void *wf_map_next(const wf_map *map, size_t *cursor);

/* SipHash-2-4 of len bytes under a 16-byte key (Aumasson and Bernstein, 2012). */
uint64_t wf_siphash(const uint8_t key[16], const void *data, size_t len);

#endif
