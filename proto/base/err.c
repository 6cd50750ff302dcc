/* The codes of weft_err as text and as exit statuses, all from one table. */
#include <stddef.h>
#include <weft/err.h>

struct row {
    int code;
    int status;
    const char *name;
    const char *sentence;
};

static const struct row rows[] = {
#define WEFT_ERR_ROW(code, number, status, sentence) {number, status, #code, sentence},
    WEFT_ERR_MAP(WEFT_ERR_ROW)
#undef WEFT_ERR_ROW
};

static const struct row *row_of(int err)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].code == err)
            return &rows[i];
    return &rows[WEFT_EINTERNAL];
}

const char *weft_err_name(int err)
{
    return row_of(err)->name;
}

const char *weft_err_sentence(int err)
{
    return row_of(err)->sentence;
}

int weft_err_exit_status(int err)
{
    return row_of(err)->status;
}
