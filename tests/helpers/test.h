/* CMocka with the headers that it wants before itself. */
#ifndef TESTS_HELPERS_TEST_H
#define TESTS_HELPERS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
