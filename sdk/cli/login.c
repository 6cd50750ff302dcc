#include "proto/base/address.h"
#include "proto/base/file.h"
#include "sdk/cli/cli.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "$XDG_CONFIG_HOME/weft/login.json" or "~/.config/weft/login.json". */
static weft_err login_path(char out[PATH_MAX], wf_why *why)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (config != NULL && config[0] == '/')
        snprintf(out, PATH_MAX, "%s/weft/login.json", config);
    else if (home != NULL && home[0] == '/')
        snprintf(out, PATH_MAX, "%s/.config/weft/login.json", home);
    else
        return wf_fail(why, WEFT_EUSAGE, "neither XDG_CONFIG_HOME nor HOME is set");
    return WEFT_OK;
}

void cli_login_free(struct cli_login *login)
{
    free(login->identity);
    free(login->controller);
    *login = (struct cli_login){NULL, NULL};
}

weft_err cli_login_load(struct cli_login *out, wf_why *why)
{
    char path[PATH_MAX];
    wf_buf text;
    json_t *root = NULL;
    const char *identity = NULL, *controller = NULL;
    wf_buf_init(&text, 65536);
    weft_err err = login_path(path, why);
    if (err == WEFT_OK && !wf_file_exists(path))
        err =
            wf_fail(why, WEFT_EUSAGE, "not logged in: weft login HOST:PORT --identity admin.json");
    if (err == WEFT_OK)
        err = wf_file_read(path, &text, why);
    if (err != WEFT_OK)
        goto done;
    root = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
    if (json_unpack(root, "{s:s, s:s}", "identity", &identity, "controller", &controller) != 0) {
        err = wf_fail(why, WEFT_EINVAL, "%s is damaged: weft login again", path);
        goto done;
    }
    struct cli_login login = {strdup(identity), strdup(controller)};
    if (login.identity == NULL || login.controller == NULL) {
        cli_login_free(&login);
        err = WEFT_ENOMEM;
        goto done;
    }
    *out = login;
done:
    json_decref(root);
    wf_buf_fini(&text);
    return err;
}

static weft_err login_save(const char *identity, const char *controller, wf_why *why)
{
    char path[PATH_MAX], folder[PATH_MAX];
    weft_err err = login_path(path, why);
    if (err != WEFT_OK)
        return err;
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = 0;
    err = wf_folder_make(folder, why);
    if (err != WEFT_OK)
        return err;
    json_t *root = json_pack("{s:s, s:s}", "identity", identity, "controller", controller);
    char *text = root != NULL ? json_dumps(root, JSON_INDENT(2)) : NULL;
    err = text != NULL ? wf_file_write(path, text, strlen(text), 0600, why) : WEFT_ENOMEM;
    free(text);
    json_decref(root);
    return err;
}

weft_err cli_identity(const struct wf_call_line *line, bool remembered, char **out, wf_why *why)
{
    const char *given = wf_line_text(line, "identity");
    if (given != NULL) {
        *out = strdup(given);
        return *out != NULL ? WEFT_OK : WEFT_ENOMEM;
    }
    if (!remembered)
        return wf_fail(why, WEFT_EUSAGE,
                       "whose identity? give --identity FILE or set WEFT_IDENTITY");
    struct cli_login login;
    weft_err err = cli_login_load(&login, why);
    if (err != WEFT_OK)
        return err;
    *out = login.identity;
    login.identity = NULL;
    cli_login_free(&login);
    return WEFT_OK;
}

const struct wf_option cli_login_options[] = {
    {"print-token", WF_OPTION_FLAG, NULL, "print a token for the HTTPS API, good for an hour"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};

/* Remembers nothing: it is the way to be called from a script, over and over. */
static weft_err print_token(const struct wf_call_line *line, wf_why *why)
{
    json_t *result = NULL;
    weft_err err = cli_call(line, "login", NULL, &result, why);
    const char *token = json_string_value(json_object_get(result, "token"));
    if (err == WEFT_OK && token == NULL)
        err = wf_fail(why, WEFT_EPROTO, "the controller gave no token");
    if (err == WEFT_OK)
        puts(token);
    json_decref(result);
    return err;
}

weft_err cli_login(const struct wf_call_line *line, wf_why *why)
{
    if (wf_line_flag(line, "print-token") && wf_line_count(line) == 0)
        return print_token(line, why);
    if (wf_line_count(line) == 0)
        return wf_fail(why, WEFT_EUSAGE, "the controller's HOST:PORT is missing");
    wf_address address;
    char text[WF_ADDRESS_TEXT], full[PATH_MAX];
    json_t *status = NULL;
    weft_err err = wf_address_parse(wf_line_arg(line, 0), 9338, &address, why);
    if (err != WEFT_OK)
        return wf_wrap(why, WEFT_EUSAGE, "the controller's address");
    const char *identity = wf_line_text(line, "identity");
    if (identity == NULL)
        return wf_fail(why, WEFT_EUSAGE, "give --identity admin.json");
    if (realpath(identity, full) == NULL)
        return wf_fail(why, WEFT_ENOTFOUND, "%s can't be found: --identity takes a file here",
                       identity);
    wf_address_text(&address, text);
    err = cli_call_as(full, text, "status", NULL, &status, why);
    json_decref(status);
    if (err == WEFT_OK)
        err = login_save(full, text, why);
    if (err == WEFT_OK)
        fprintf(stderr, "logged in to %s\n", text);
    if (err == WEFT_OK && wf_line_flag(line, "print-token"))
        err = print_token(line, why);
    return err;
}
