/* The table of errors: stable numbers, stable exit statuses. */
#include "tests/helpers/test.h"
#include <limits.h>
#include <string.h>
#include <weft/err.h>

static void the_numbers_on_the_wire_do_not_move(void **state)
{
    (void)state;
    /* Written out on purpose: this list is what older nodes speak. */
    static const struct {
        int number;
        const char *name;
        int status;
    } rows[] = {
        {0, "WEFT_OK", 0},         {1, "WEFT_EINTERNAL", 1},     {2, "WEFT_ENOMEM", 1},
        {3, "WEFT_EIO", 1},        {4, "WEFT_EINVAL", 2},        {5, "WEFT_EUSAGE", 2},
        {6, "WEFT_EPROTO", 1},     {7, "WEFT_ELIMIT", 1},        {8, "WEFT_EVERSION", 1},
        {9, "WEFT_EREFUSED", 3},   {10, "WEFT_EUNREACHABLE", 4}, {11, "WEFT_ENOHOST", 4},
        {12, "WEFT_EBACKEND", 4},  {13, "WEFT_ECREDENTIAL", 5},  {14, "WEFT_EEXPIRED", 5},
        {15, "WEFT_EREVOKED", 5},  {16, "WEFT_EUSED", 5},        {17, "WEFT_ETIMEDOUT", 6},
        {18, "WEFT_ELOST", 4},     {19, "WEFT_ERESET", 1},       {20, "WEFT_ETAMPERED", 1},
        {21, "WEFT_ECANCELED", 1}, {22, "WEFT_EEXIST", 1},       {23, "WEFT_ENOTFOUND", 1},
        {24, "WEFT_EBUSY", 1},     {25, "WEFT_ECONFLICT", 1},    {26, "WEFT_ECLOCK", 5},
        {27, "WEFT_EEOF", 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_string_equal(weft_err_name(rows[i].number), rows[i].name);
        assert_int_equal(weft_err_exit_status(rows[i].number), rows[i].status);
        assert_true(strlen(weft_err_sentence(rows[i].number)) > 0);
    }
}

static void an_unknown_number_reads_as_internal(void **state)
{
    (void)state;
    static const int strange[] = {-1, 28, 999, INT_MAX, INT_MIN};
    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++) {
        assert_string_equal(weft_err_name(strange[i]), "WEFT_EINTERNAL");
        assert_string_equal(weft_err_sentence(strange[i]), "internal failure");
        assert_int_equal(weft_err_exit_status(strange[i]), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_numbers_on_the_wire_do_not_move),
        cmocka_unit_test(an_unknown_number_reads_as_internal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
