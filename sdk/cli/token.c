/* Tokens of an answer: each goes to a file or to stdout, and nowhere else. */
#include "proto/base/file.h"
#include "sdk/cli/cli.h"
#include <stdio.h>

weft_err cli_give_token(const json_t *result, const char *key, const char *file, wf_why *why)
{
    const char *token = json_string_value(json_object_get(result, key));
    if (token == NULL)
        return wf_fail(why, WEFT_EPROTO, "the controller gave no %s", key);
    if (file == NULL) {
        puts(token);
        return WEFT_OK;
    }
    wf_buf text;
    wf_buf_init(&text, 65536);
    weft_err err = wf_buf_printf(&text, "%s\n", token);
    if (err == WEFT_OK)
        err = wf_file_write(file, text.data, text.len, 0600, why);
    wf_buf_wipe(&text);
    if (err == WEFT_OK)
        fprintf(stderr, "token written to %s\n", file);
    return err;
}

weft_err cli_check_token_file(const char *file, wf_why *why)
{
    if (file == NULL)
        return WEFT_OK;
    if (wf_file_exists(file))
        return wf_fail(why, WEFT_EEXIST, "%s exists already: remove it or name another file", file);
    weft_err err = wf_file_write(file, "", 0, 0600, why);
    if (err == WEFT_OK)
        remove(file);
    return err;
}
