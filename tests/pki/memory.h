/* Lets alloc_fail_at (helpers/alloc.h) reach the allocations of OpenSSL and jansson too. */
#ifndef TESTS_PKI_MEMORY_H
#define TESTS_PKI_MEMORY_H

#include <stdbool.h>

/* First thing in main: OpenSSL takes an allocator only before it has used one. */
void memory_hook(void);
/*
 * Whether OpenSSL's allocations count from now (at first: no). OpenSSL 3.0 itself
 * falls over in places: d2i_ECDSA_SIG uses a BN_new that failed. Such calls
 * can be tried with our own and jansson's allocations only.
 */
void memory_reach_openssl(bool reach);
/*
 * What alloc_fail_at is to try after n: n + 1 with WEFT_FULL in the environment,
 * else coarser steps from 24 on.
 */
unsigned memory_next(unsigned n);

#endif
