/* The allocator between our objects and libc's. */
#include "tests/helpers/alloc.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t len);

static atomic_uint countdown;
static atomic_bool failed, all;
static atomic_size_t largest, total;

void alloc_fail_at(unsigned n)
{
    atomic_store(&failed, false);
    atomic_store(&largest, 0);
    atomic_store(&total, 0);
    atomic_store(&all, false);
    atomic_store(&countdown, n);
}
void alloc_fail_all(void)
{
    alloc_fail_at(0);
    atomic_store(&all, true);
}

bool alloc_has_failed(void)
{
    return atomic_load(&failed);
}
size_t alloc_largest(void)
{
    return atomic_load(&largest);
}
size_t alloc_bytes(void)
{
    return atomic_load(&total);
}

static bool fails(size_t size)
{
    size_t seen = atomic_load(&largest);
    while (size > seen && !atomic_compare_exchange_weak(&largest, &seen, size))
        continue;
    atomic_fetch_add(&total, size);
    unsigned left = atomic_load(&countdown);
    while (left > 0 && !atomic_compare_exchange_weak(&countdown, &left, left - 1))
        continue;
    if (left != 1 && !atomic_load(&all))
        return false;
    atomic_store(&failed, true);
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails(size) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes))
        bytes = (size_t)-1;
    return fails(bytes) ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails(size) ? NULL : __real_realloc(memory, size);
}

char *__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, strlen(text));
}

char *__wrap_strndup(const char *text, size_t len)
{
    len = strnlen(text, len);
    char *copy = __wrap_malloc(len + 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}
