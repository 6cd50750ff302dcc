/*
 * A small memory of what was verified before, by SHA-256: the least recently
 * used entry goes when it is full. It only saves work: forgetting is never
 * wrong, and what changes with time (validity, floors) is never kept here.
 * Inside pki only.
 */
#ifndef PKI_SEEN_H
#define PKI_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pki_seen pki_seen;

/* Holds at most max values of value_len bytes (0 for a mere set). NULL without memory. */
pki_seen *pki_seen_new(size_t max, size_t value_len);
void pki_seen_free(pki_seen *seen); /* NULL is fine */
void pki_seen_clear(pki_seen *seen);
/* True if the key is there; copies its value to out. */
bool pki_seen_find(pki_seen *seen, const uint8_t key[32], void *out);
/* Copies the value; a key that is there already keeps its value. Without memory nothing is kept. */
void pki_seen_add(pki_seen *seen, const uint8_t key[32], const void *value);

#endif
