/* weft ca and weft oidc: who else may vouch for those that enroll. docs/cli.md. */
#include "pki/foreign.h"
#include "proto/base/file.h"
#include "proto/base/text.h"
#include "sdk/cli/cli.h"
#include <stdio.h>
#include <string.h>

#define FILE_MAX 65536u
#define CONDITIONS_MAX 8u

static void put_roles(json_t *args, const struct wf_call_line *line)
{
    const char *text = wf_line_text(line, "roles");
    if (text != NULL)
        json_object_set_new(args, "roles", cli_list_of(text, false));
}

/* A duration as whole seconds under key. */
static weft_err put_seconds(json_t *args, const struct wf_call_line *line, const char *option,
                            const char *key, wf_why *why)
{
    unsigned long long ms;
    if (wf_line_text(line, option) == NULL)
        return WEFT_OK;
    weft_err err = wf_line_duration(line, option, 0, &ms, why);
    if (err == WEFT_OK && ms < 1000)
        err = wf_fail(why, WEFT_EUSAGE, "--%s: at least 1s", option);
    if (err == WEFT_OK)
        json_object_set_new(args, key, json_integer((json_int_t)(ms / 1000)));
    return err;
}

static weft_err put_base64(json_t *args, const char *key, wf_span bytes)
{
    wf_buf text;
    wf_buf_init(&text, 2 * FILE_MAX);
    weft_err err = wf_base64_encode(bytes.data, bytes.len, &text);
    if (err == WEFT_OK)
        json_object_set_new(args, key, json_stringn((const char *)text.data, text.len));
    wf_buf_fini(&text);
    return err;
}

/* A file's bytes in base64 under key; without the option nothing happens. */
static weft_err put_file(json_t *args, const struct wf_call_line *line, const char *option,
                         const char *key, wf_why *why)
{
    const char *path = wf_line_text(line, option);
    wf_buf bytes;
    if (path == NULL)
        return WEFT_OK;
    wf_buf_init(&bytes, FILE_MAX);
    weft_err err = wf_file_read(path, &bytes, why);
    if (err == WEFT_OK)
        err = put_base64(args, key, wf_span_of(bytes.data, bytes.len));
    wf_buf_fini(&bytes);
    return err;
}

/* Calls and prints; a token of the answer goes to its file, or alone to stdout. */
static weft_err call(const struct wf_call_line *line, const char *operation, json_t *args,
                     bool has_token, json_t **kept, wf_why *why)
{
    const char *file = has_token ? wf_line_text(line, "token-out") : NULL;
    const bool as_json = wf_line_flag(line, "json");
    json_t *result = NULL;
    weft_err err = cli_check_token_file(file, why);
    if (err == WEFT_OK)
        err = cli_act(line, operation, args, &result, why);
    const bool is_done = err == WEFT_OK && !cli_say_dry_run(line, result);
    if (is_done && has_token && (file != NULL || !as_json))
        err = cli_give_token(result, "token", file, why);
    if (is_done && has_token && file != NULL)
        json_object_del(result, "token");
    if (is_done && err == WEFT_OK && (as_json || !has_token))
        cli_print(result, as_json);
    if (kept != NULL)
        *kept = result;
    else
        json_decref(result);
    return err;
}

/* ---- ca */

static weft_err run_ca_add(const struct wf_call_line *line, wf_why *why)
{
    json_t *args = json_pack("{s:s, s:b}", "name", wf_line_arg(line, 0), "auto",
                             (int)wf_line_flag(line, "auto")),
           *result = NULL;
    weft_err err = WEFT_OK;
    if (wf_line_text(line, "cert") == NULL)
        err = wf_fail(why, WEFT_EUSAGE, "--cert FILE is needed: the authority's certificate");
    cli_put_text(args, line, "name-template", "name_template");
    put_roles(args, line);
    if (err == WEFT_OK)
        err = put_file(args, line, "cert", "certificate", why);
    if (err == WEFT_OK)
        err = call(line, "ca.add", args, false, &result, why);
    if (err == WEFT_OK && !wf_line_flag(line, "json") && !wf_line_flag(line, "dry-run"))
        fprintf(stderr,
                "next, where its key is:  printf %%s \"$CHALLENGE\" | openssl dgst -sha256 -sign "
                "KEY -out SIG\nand then:  weft ca verify %s --signature SIG   (or --key KEY for "
                "both)\n",
                wf_line_arg(line, 0));
    json_decref(result);
    json_decref(args);
    return err;
}

/* Signs the authority's challenge with the key in a file, which stays here. */
static weft_err sign_challenge(const struct wf_call_line *line, const char *key_file, json_t *args,
                               wf_why *why)
{
    json_t *name = json_pack("{s:s}", "name", wf_line_arg(line, 0)), *shown = NULL;
    pki_foreign_key *key = NULL;
    wf_buf pem, signature;
    wf_buf_init(&pem, FILE_MAX);
    wf_buf_init(&signature, 2048);
    weft_err err = wf_file_read_secret(key_file, &pem, why);
    if (err == WEFT_OK)
        err = pki_foreign_key_from_pem(wf_span_of(pem.data, pem.len), &key, why);
    if (err == WEFT_OK)
        err = cli_call(line, "ca.show", name, &shown, why);
    const char *text = json_string_value(json_object_get(shown, "challenge"));
    /* Nothing else than such a challenge is ever signed with an authority's key here. */
    if (err == WEFT_OK && (text == NULL || strncmp(text, "weft-ca-1 ", 10) != 0))
        err = wf_fail(why, WEFT_ECONFLICT, "the authority '%s' is verified already",
                      wf_line_arg(line, 0));
    if (err == WEFT_OK)
        err = pki_foreign_sign(key, wf_span_of(text, strlen(text)), &signature);
    if (err == WEFT_OK)
        err = put_base64(args, "signature", wf_span_of(signature.data, signature.len));
    pki_foreign_key_free(key);
    wf_buf_fini(&signature);
    wf_buf_wipe(&pem);
    json_decref(shown);
    json_decref(name);
    return err;
}

static weft_err run_ca_verify(const struct wf_call_line *line, wf_why *why)
{
    const char *key = wf_line_text(line, "key"), *signature = wf_line_text(line, "signature");
    json_t *args = json_pack("{s:s}", "name", wf_line_arg(line, 0));
    weft_err err;
    if ((key == NULL) == (signature == NULL))
        err = wf_fail(why, WEFT_EUSAGE, "give --signature FILE or --key FILE, one of them");
    else if (key != NULL)
        err = sign_challenge(line, key, args, why);
    else
        err = put_file(args, line, "signature", "signature", why);
    if (err == WEFT_OK)
        err = call(line, "ca.verify", args, false, NULL, why);
    json_decref(args);
    return err;
}

static weft_err run_join_token(const struct wf_call_line *line, wf_why *why)
{
    json_t *args = json_pack("{s:s}", "name", wf_line_arg(line, 0));
    weft_err err = put_seconds(args, line, "token-life", "token_life_s", why);
    if (err == WEFT_OK)
        err = call(line, strcmp(wf_line_command(line), "ca token") == 0 ? "ca.token" : "oidc.token",
                   args, true, NULL, why);
    json_decref(args);
    return err;
}

/* ---- oidc */

static weft_err run_oidc_add(const struct wf_call_line *line, wf_why *why)
{
    json_t *args = json_pack("{s:s}", "name", wf_line_arg(line, 0)), *claims = json_array();
    static const char *const needed[] = {"issuer", "audience"};
    weft_err err = WEFT_OK;
    for (size_t i = 0; err == WEFT_OK && i < sizeof needed / sizeof *needed; i++)
        if (wf_line_text(line, needed[i]) == NULL)
            err = wf_fail(why, WEFT_EUSAGE, "--%s is needed", needed[i]);
    for (size_t i = 0; wf_line_list(line, "claim", i) != NULL; i++)
        json_array_append_new(claims, json_string(wf_line_list(line, "claim", i)));
    if (err == WEFT_OK && json_array_size(claims) == 0)
        err = wf_fail(why, WEFT_EUSAGE,
                      "--claim is needed, such as --claim 'repository == acme/shop': without one "
                      "any workload of that issuer could enroll");
    cli_put_text(args, line, "issuer", "issuer");
    cli_put_text(args, line, "audience", "audience");
    cli_put_text(args, line, "jwks-url", "jwks_url");
    cli_put_text(args, line, "name-template", "name_template");
    put_roles(args, line);
    json_object_set_new(args, "claims", claims);
    if (err == WEFT_OK)
        err = put_file(args, line, "jwks", "jwks", why);
    if (err == WEFT_OK)
        err = put_file(args, line, "jwks-ca", "jwks_ca", why);
    if (err == WEFT_OK)
        err = put_seconds(args, line, "life", "life_s", why);
    if (err == WEFT_OK)
        err = put_seconds(args, line, "token-life", "token_life_s", why);
    if (err == WEFT_OK)
        err = call(line, "oidc.add", args, true, NULL, why);
    json_decref(args);
    return err;
}

/* ---- the table */

#define TOKEN_ROWS                                                                                 \
    {"token-out", WF_OPTION_TEXT, "FILE", "write the join token here instead of stdout"},          \
    {                                                                                              \
        "token-life", WF_OPTION_TEXT, "TIME", "how long the join token lasts (365d)"               \
    }

static const struct wf_option token_options[] = {TOKEN_ROWS, CLI_DRY_ROW, CLI_JSON_ROW,
                                                 CLI_END_ROW};
static const struct wf_option ca_add[] = {
    {"cert", WF_OPTION_TEXT, "FILE", "the authority's certificate in PEM"},
    {"auto", WF_OPTION_FLAG, NULL, "its certificates make identities by themselves"},
    {"name-template", WF_OPTION_TEXT, "TEXT",
     "with --auto: their names, {cn} unless said; {san.uri} {san.dns} {serial} {ca}"},
    {"roles", WF_OPTION_TEXT, "A,B", "with --auto: their role attributes"},
    CLI_DRY_ROW,
    CLI_JSON_ROW,
    CLI_END_ROW};
static const struct wf_option ca_verify[] = {
    {"signature", WF_OPTION_TEXT, "FILE", "the signature of its key over the challenge"},
    {"key", WF_OPTION_TEXT, "FILE", "its private key in PEM: signs here, and stays here"},
    CLI_DRY_ROW,
    CLI_JSON_ROW,
    CLI_END_ROW};
static const struct wf_option oidc_add[] = {
    {"issuer", WF_OPTION_TEXT, "URL", "the iss of its tokens, exactly"},
    {"audience", WF_OPTION_TEXT, "TEXT", "the aud of its tokens, exactly"},
    {"jwks", WF_OPTION_TEXT, "FILE", "its public keys"},
    {"jwks-url", WF_OPTION_TEXT, "URL", "or where the controller fetches them, https only"},
    {"jwks-ca", WF_OPTION_TEXT, "FILE",
     "with --jwks-url: authorities of that server in PEM instead of the system's"},
    {"claim", WF_OPTION_LIST, "CONDITION",
     "such as 'ref == refs/heads/main'; also != and ~ with *; all must hold"},
    {"roles", WF_OPTION_TEXT, "A,B", "role attributes of its identities"},
    {"name-template", WF_OPTION_TEXT, "TEXT",
     "their names, such as '{repository}:{run_id}'; {sub} unless said"},
    {"life", WF_OPTION_TEXT, "TIME", "how long such an identity lasts, 1m to 24h (15m)"},
    TOKEN_ROWS,
    CLI_DRY_ROW,
    CLI_JSON_ROW,
    CLI_END_ROW};

const struct wf_command cli_trust_commands[] = {
    {"ca add", "NAME", "an authority of your own; it vouches for nobody until it is verified",
     "weft ca add corp --cert corp-ca.pem --auto --roles ci", ca_add, 1, 1, run_ca_add},
    {"ca verify", "NAME", "shows that you hold the authority's key",
     "weft ca verify corp --key corp-ca.key", ca_verify, 1, 1, run_ca_verify},
    {"ca list", "", "all authorities", "weft ca list --json", cli_json_only, 0, 0, cli_run_list},
    {"ca show", "NAME", "one authority", NULL, cli_json_only, 1, 1, cli_run_named},
    {"ca token", "NAME", "the join token for its certificates: no secret, of any use",
     "weft ca token corp --token-out corp.jwt", token_options, 1, 1, run_join_token},
    {"ca remove", "NAME", "its certificates enroll and renew nobody any more", NULL, cli_act_only,
     1, 1, cli_run_gone},
    {"oidc add", "NAME", "an issuer whose tokens enroll workloads, and its join token",
     "weft oidc add git --issuer https://git.example.com --audience weft "
     "--jwks-url https://git.example.com/keys --claim 'repository == acme/shop' --roles ci",
     oidc_add, 1, 1, run_oidc_add},
    {"oidc list", "", "all issuers", "weft oidc list --json", cli_json_only, 0, 0, cli_run_list},
    {"oidc show", "NAME", "one issuer", NULL, cli_json_only, 1, 1, cli_run_named},
    {"oidc token", "NAME", "its join token again: no secret, of any use",
     "weft oidc token github --token-out github.jwt", token_options, 1, 1, run_join_token},
    {"oidc remove", "NAME", "its tokens enroll nobody any more", NULL, cli_act_only, 1, 1,
     cli_run_gone},
    {NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};
