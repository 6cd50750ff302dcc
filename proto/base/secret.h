/* Wiping and constant-time comparison. */
#ifndef PROTO_BASE_SECRET_H
#define PROTO_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/* Overwrites len bytes in a way the compiler keeps. */
void wf_wipe(void *data, size_t len);
/* Compares len bytes in time that depends on len alone. */
bool wf_equal_ct(const void *a, const void *b, size_t len);

#endif
