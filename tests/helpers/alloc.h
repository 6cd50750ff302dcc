/*
 * Fails the n-th allocation. Link test_alloc: the linker then sends every
 * malloc, calloc, realloc, strdup and strndup written in our own objects here;
 * shared libraries keep theirs.
 *
 *     for (unsigned n = 1;; n++) {
 *         alloc_fail_at(n);
 *         weft_err err = the_thing();
 *         if (!alloc_has_failed())
 *             break; // it needs fewer than n
 *         assert_int_equal(err, WEFT_ENOMEM);
 *     }
 */
#ifndef TESTS_HELPERS_ALLOC_H
#define TESTS_HELPERS_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* The n-th allocation from now fails, once; 0: none does. Starts the counts afresh. */
void alloc_fail_at(unsigned n);
/* Every allocation fails until alloc_fail_at. */
void alloc_fail_all(void);
bool alloc_has_failed(void); /* since alloc_fail_at */
size_t alloc_largest(void);  /* bytes of the largest request since then */
size_t alloc_bytes(void);    /* bytes asked for since then, all together */

#endif
