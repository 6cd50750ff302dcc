/* The libraries' allocators, led through our own object, where the linker wraps malloc. */
#include "tests/pki/memory.h"
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_realloc(void *memory, size_t size);

static bool reach;

static void *take(size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    return reach ? malloc(len) : __real_malloc(len);
}

static void *grow(void *at, size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    return reach ? realloc(at, len) : __real_realloc(at, len);
}

static void give(void *at, const char *file, int line)
{
    (void)file;
    (void)line;
    free(at);
}

static void *take_json(size_t len)
{
    return malloc(len);
}

static void give_json(void *at)
{
    free(at);
}

void memory_hook(void)
{
    if (CRYPTO_set_mem_functions(take, grow, give) != 1)
        abort();
    json_set_alloc_funcs(take_json, give_json);
}

void memory_reach_openssl(bool yes)
{
    reach = yes;
}

unsigned memory_next(unsigned n)
{
    return n < 24 || getenv("WEFT_FULL") != NULL ? n + 1 : n + n / 8;
}
