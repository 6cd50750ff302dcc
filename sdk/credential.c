/*
 * Identities by path, by content, or by token.
 *
 * A token file is spent once: two processes that start together both come
 * here, one enrolls under the lock of x.json, the other finds x.json there.
 */
#include "sdk/credential.h"
#include "proto/base/file.h"
#include "proto/link/enroll.h"
#include <stdlib.h>
#include <string.h>

static bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a > b && strcmp(text + a - b, end) == 0;
}

/* The text of a token, without the newline that an editor leaves. */
static weft_err read_token(const char *path, wf_buf *out, wf_why *why)
{
    weft_err err = wf_file_read(path, out, why);
    while (err == WEFT_OK && out->len > 0 &&
           (out->data[out->len - 1] == '\n' || out->data[out->len - 1] == '\r'))
        out->len--;
    return err;
}

static weft_err enroll_first(const char *token_path, struct pki_identity *out, wf_why *why)
{
    size_t stem = strlen(token_path) - strlen(".jwt");
    char *path = malloc(stem + sizeof ".json");
    wf_buf token;
    wf_buf_init(&token, WF_TOKEN_MAX);
    if (path == NULL)
        return wf_fail(why, WEFT_ENOMEM, "no memory for a path");
    memcpy(path, token_path, stem);
    memcpy(path + stem, ".json", sizeof ".json");

    weft_err err = WEFT_OK;
    if (!wf_file_exists(path)) {
        err = read_token(token_path, &token, why);
        if (err != WEFT_OK)
            goto done;
        const struct wf_enroll_config config = {
            .token = (const char *)token.data,
            .token_len = token.len,
            .out = path,
            .kind = PKI_IDENTITY,
            .key_kind = PKI_KEY_P256,
            .key_sealed = getenv("WEFT_KEY_PASSPHRASE_FILE") != NULL,
        };
        err = wf_enroll(&config, out, NULL, why);
        if (err == WEFT_OK)
            goto done;
        if (!wf_file_exists(path)) {
            (void)wf_wrap(why, err, "enrolling with %s", token_path);
            goto done;
        }
        /* Somebody else was faster; what it wrote is ours, too. */
    }
    err = pki_identity_load(path, out, why);
done:
    wf_buf_wipe(&token);
    free(path);
    return err;
}

weft_err wf_credential_load(const char *text, struct pki_identity *out, wf_why *why)
{
    if (text == NULL)
        text = getenv("WEFT_IDENTITY");
    if (text == NULL || text[0] == '\0')
        return wf_fail(why, WEFT_EUSAGE, "no identity: set WEFT_IDENTITY to an identity file");
    while (*text == ' ' || *text == '\n' || *text == '\r' || *text == '\t')
        text++;
    weft_err err;
    if (text[0] == '{')
        err = pki_identity_parse(wf_span_of(text, strlen(text)), out, why);
    else if (strncmp(text, "eyJ", 3) == 0 && strchr(text, '/') == NULL && !wf_file_exists(text))
        return wf_fail(why, WEFT_EUSAGE,
                       "a token can't be used in place of an identity: run `weft enroll` first");
    else if (ends_with(text, ".jwt"))
        err = enroll_first(text, out, why);
    else
        err = pki_identity_load(text, out, why);
    if (err == WEFT_OK && out->kind != PKI_IDENTITY)
        return wf_fail(why, WEFT_EUSAGE, "%s is the identity of %s %s; give one of weft enroll",
                       text[0] == '{' ? "this" : text,
                       out->kind == PKI_ROUTER ? "router" : "controller", out->name);
    return err;
}
