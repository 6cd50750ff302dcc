/* weft enroll and weft renew. */
#include "proto/base/file.h"
#include "sdk/cli/cli.h"
#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVICES_MAX 64

const struct wf_option cli_enroll_options[] = {
    {"out", WF_OPTION_TEXT, "FILE", "the identity file to write (TOKEN's name with .json)"},
    {"key", WF_OPTION_TEXT, "KEY",
     "where it is: file:PATH (made if absent) or pkcs11:URI (inside)"},
    {"key-kind", WF_OPTION_TEXT, "KIND", "of a key that is made: p256, p384 or ed25519 (p256)"},
    {"key-passphrase-file", WF_OPTION_TEXT, "FILE", "its first line encrypts a key that is made"},
    {"carry", WF_OPTION_TEXT, "TIME",
     "puts grants and routers inside: no controller needed, such as 30d"},
    {"service", WF_OPTION_LIST, "NAME", "with --carry: only these services"},
    {"ca-cert", WF_OPTION_TEXT, "FILE",
     "a certificate of your own authority in PEM, for tokens that ask for one"},
    {"ca-key", WF_OPTION_TEXT, "FILE", "its private key in PEM; it is used here and stays here"},
    {"oidc-token", WF_OPTION_TEXT, "FILE",
     "the token of the workload's issuer: a file, - for stdin, or env:NAME"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};

#define OIDC_TOKEN_MAX 16384u

/* The text of a workload's token; "" when none is given. */
static weft_err read_oidc_token(const char *from, wf_buf *out, wf_why *why)
{
    weft_err err = WEFT_OK;
    if (from == NULL)
        return WEFT_OK;
    if (strncmp(from, "eyJ", 3) == 0)
        return wf_fail(why, WEFT_EUSAGE,
                       "a token on the command line shows in the process list: give a file, - or "
                       "env:NAME");
    if (strncmp(from, "env:", 4) == 0) {
        const char *text = getenv(from + 4);
        if (text == NULL || text[0] == '\0')
            return wf_fail(why, WEFT_EUSAGE, "--oidc-token: the variable %s is empty", from + 4);
        err = wf_buf_put(out, text, strlen(text));
    } else {
        err = wf_file_read(from, out, why);
    }
    while (err == WEFT_OK && out->len != 0 && isspace(out->data[out->len - 1]))
        out->len--;
    if (err == WEFT_ELIMIT)
        return wf_fail(why, err, "--oidc-token: more than %u characters", OIDC_TOKEN_MAX);
    if (err == WEFT_OK && (out->len == 0 || memchr(out->data, '\0', out->len) != NULL))
        return wf_fail(why, WEFT_ECREDENTIAL, "--oidc-token: no token in %s", from);
    return err;
}

/* "x.jwt" -> "x.json", anything else with ".json" behind it. */
static weft_err default_out(const char *token, char out[PATH_MAX], wf_why *why)
{
    size_t len = strlen(token);
    if (strcmp(token, "-") == 0)
        return wf_fail(why, WEFT_EUSAGE, "a token from stdin needs --out FILE");
    if (len > 4 && strcmp(token + len - 4, ".jwt") == 0)
        len -= 4;
    snprintf(out, PATH_MAX, "%.*s.json", (int)len, token);
    return WEFT_OK;
}

weft_err cli_enroll(const struct wf_call_line *line, wf_why *why)
{
    const char *token = wf_line_arg(line, 0), *out = wf_line_text(line, "out");
    const char *services[SERVICES_MAX + 1] = {NULL};
    char made[PATH_MAX];
    wf_buf text, issued;
    weft_err err = WEFT_OK;
    wf_buf_init(&text, 65536);
    wf_buf_init(&issued, OIDC_TOKEN_MAX + 1);
    if (strlen(token) > 100 && strncmp(token, "eyJ", 3) == 0)
        err =
            wf_fail(why, WEFT_EUSAGE,
                    "a token on the command line shows in the process list: give a file, or - and "
                    "pipe it in");
    if (err == WEFT_OK && out == NULL) {
        err = default_out(token, made, why);
        out = made;
    }
    if (err == WEFT_OK)
        err = wf_file_read(token, &text, why);
    if (err != WEFT_OK)
        goto done;
    while (text.len != 0 && isspace(text.data[text.len - 1]))
        text.len--;
    if (text.len != 0 && text.data[0] == '{') {
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "%s is no enrollment token but an identity: enrolled already", token);
        goto done;
    }
    const char *jwt = wf_buf_cstr(&text);
    if (jwt == NULL) {
        err = WEFT_ENOMEM;
        goto done;
    }
    for (size_t i = 0; i < SERVICES_MAX; i++) {
        const char *name = wf_line_list(line, "service", i);
        if (name == NULL)
            break;
        services[i] = name;
    }
    if (strcmp(token, "-") == 0 && wf_line_text(line, "oidc-token") != NULL &&
        strcmp(wf_line_text(line, "oidc-token"), "-") == 0)
        err = wf_fail(why, WEFT_EUSAGE, "stdin can give one token only");
    if (err == WEFT_OK)
        err = read_oidc_token(wf_line_text(line, "oidc-token"), &issued, why);
    if (err != WEFT_OK)
        goto done;
    const char *passphrase = wf_line_text(line, "key-passphrase-file");
    /* The library reads the variable, as every later use of the identity will. */
    if (passphrase != NULL && setenv("WEFT_KEY_PASSPHRASE_FILE", passphrase, 1) != 0) {
        err = WEFT_ENOMEM;
        goto done;
    }
    const char *key = wf_line_text(line, "key");
    struct weft_enroll_options options = {
        .token = jwt,
        .out = out,
        .key = key,
        .key_kind = wf_line_text(line, "key-kind"),
        .key_sealed = passphrase != NULL && !(key != NULL && strncmp(key, "pkcs11:", 7) == 0),
        .carry = wf_line_text(line, "carry"),
        .services = services[0] != NULL ? services : NULL,
        .ca_cert = wf_line_text(line, "ca-cert"),
        .ca_key = wf_line_text(line, "ca-key"),
        .oidc_token = issued.len > 0 ? wf_buf_cstr(&issued) : NULL};
    if (issued.len > 0 && options.oidc_token == NULL) {
        err = WEFT_ENOMEM;
        goto done;
    }
    err = weft_enroll(&options, why);
    if (err == WEFT_OK)
        fprintf(stderr, "enrolled: %s\n", out);
done:
    wf_buf_wipe(&text);
    wf_buf_wipe(&issued);
    return err;
}

const struct wf_option cli_renew_options[] = {
    {"ca-cert", WF_OPTION_TEXT, "FILE",
     "the newer certificate of your own authority that vouches for this identity, in PEM"},
    {"ca-key", WF_OPTION_TEXT, "FILE", "its private key in PEM"},
    {"new-key", WF_OPTION_FLAG, NULL,
     "with a new key; the old one is believed beside it for a while"},
    {"retire", WF_OPTION_FLAG, NULL,
     "withdraws all older keys of this identity, and cuts who runs with them"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};

weft_err cli_renew(const struct wf_call_line *line, wf_why *why)
{
    char *identity;
    weft_err err = cli_identity(line, false, &identity, why);
    if (err != WEFT_OK)
        return err;
    bool new_key = wf_line_flag(line, "new-key"), retire = wf_line_flag(line, "retire");
    json_t *result = NULL;
    const char *cert = wf_line_text(line, "ca-cert"), *key = wf_line_text(line, "ca-key");
    if ((cert == NULL) != (key == NULL))
        err = wf_fail(why, WEFT_EUSAGE, "--ca-cert and --ca-key go together");
    else if (cert != NULL && (new_key || retire))
        err = wf_fail(why, WEFT_EUSAGE, "--ca-cert goes without --new-key and --retire");
    else if (new_key && retire)
        err = wf_fail(why, WEFT_EUSAGE,
                      "--new-key and --retire are two steps: retire the old key once nothing runs "
                      "with it");
    else if (retire)
        err = cli_call(line, "retire", NULL, &result, why);
    else if (cert != NULL)
        err = weft_renew_vouched(identity, cert, key, why);
    else
        err = new_key ? weft_renew_key(identity, why) : weft_renew(identity, why);
    free(identity);
    json_decref(result);
    if (err == WEFT_OK)
        fputs(retire ? "the older keys are withdrawn\n" : "renewed\n", stderr);
    return err;
}
