/* Wiping and constant-time comparison, on libc alone. */
#include "proto/base/secret.h"
#include <stdint.h>
#include <string.h>

void wf_wipe(void *data, size_t len)
{
    if (len > 0)
        explicit_bzero(data, len);
}

bool wf_equal_ct(const void *a, const void *b, size_t len)
{
    const volatile uint8_t *x = a;
    const volatile uint8_t *y = b;
    unsigned differ = 0;
    for (size_t i = 0; i < len; i++)
        differ |= (unsigned)x[i] ^ y[i];
    return differ == 0;
}
