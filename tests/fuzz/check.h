/* A belief that a fuzz target checks, also in builds without asserts. */
#ifndef TESTS_FUZZ_CHECK_H
#define TESTS_FUZZ_CHECK_H

#include <stdlib.h>

#define CHECK(belief)                                                                              \
    do {                                                                                           \
        if (!(belief))                                                                             \
            abort();                                                                               \
    } while (0)

#endif
