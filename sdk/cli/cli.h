/* What the commands of `weft` share: whose identity acts, calls to the controller, and printing. */
#ifndef SDK_CLI_CLI_H
#define SDK_CLI_CLI_H

#include "proto/node/program.h"
#include <jansson.h>
#include <weft/weft.h>

extern const struct wf_command cli_admin_commands[]; /* admin.c; ends with a NULL name */
extern const struct wf_command cli_trust_commands[]; /* trust.c; ends with a NULL name */

/* Rows of options that many commands have. */
#define CLI_JSON_ROW                                                                               \
    {                                                                                              \
        "json", WF_OPTION_FLAG, NULL, "JSON on stdout and nothing else there"                      \
    }
#define CLI_DRY_ROW                                                                                \
    {                                                                                              \
        "dry-run", WF_OPTION_FLAG, NULL, "changes nothing, and says what it would do"              \
    }
#define CLI_END_ROW                                                                                \
    {                                                                                              \
        NULL, WF_OPTION_FLAG, NULL, NULL                                                           \
    }
/* admin.c: no option; --json alone; --dry-run and --json. */
extern const struct wf_option cli_no_options[], cli_json_only[], cli_act_only[];

weft_err cli_enroll(const struct wf_call_line *line, wf_why *why);     /* identity.c */
weft_err cli_renew(const struct wf_call_line *line, wf_why *why);      /* identity.c */
weft_err cli_login(const struct wf_call_line *line, wf_why *why);      /* login.c */
weft_err cli_post(const struct wf_call_line *line, wf_why *why);       /* post.c */
weft_err cli_dial(const struct wf_call_line *line, wf_why *why);       /* dial.c */
weft_err cli_status(const struct wf_call_line *line, wf_why *why);     /* status.c */
weft_err cli_doctor(const struct wf_call_line *line, wf_why *why);     /* doctor.c */
weft_err cli_apply(const struct wf_call_line *line, wf_why *why);      /* apply.c */
weft_err cli_backup(const struct wf_call_line *line, wf_why *why);     /* backup.c */
weft_err cli_quickstart(const struct wf_call_line *line, wf_why *why); /* quickstart.c */
extern const struct wf_option cli_enroll_options[], cli_renew_options[], cli_post_options[],
    cli_dial_options[], cli_status_options[], cli_quickstart_options[], cli_login_options[],
    cli_apply_options[];

/* audit.c, audit_verify.c */
weft_err cli_audit_tail(const struct wf_call_line *line, wf_why *why);
weft_err cli_audit_export(const struct wf_call_line *line, wf_why *why);
weft_err cli_audit_prove(const struct wf_call_line *line, wf_why *why);
weft_err cli_audit_verify(const struct wf_call_line *line, wf_why *why);
extern const struct wf_option cli_audit_tail_options[], cli_audit_prove_options[],
    cli_audit_verify_options[];

/* admin.c: the shapes of commands, for rows of other files */

/* An operation of the same name: all pages of a listing; one thing; one that is gone then. */
weft_err cli_run_list(const struct wf_call_line *line, wf_why *why);
weft_err cli_run_named(const struct wf_call_line *line, wf_why *why);
weft_err cli_run_gone(const struct wf_call_line *line, wf_why *why);
/* "a,b" as a JSON list, the caller's; as selectors ("role:ci", "@name") when asked, else as roles.
 */
json_t *cli_list_of(const char *text, bool selectors);
/* The option's text under key of args; without the option nothing happens. */
void cli_put_text(json_t *args, const struct wf_call_line *line, const char *option,
                  const char *key);

/* token.c */

/* A token file must be writable before the controller makes what only its token can use. */
weft_err cli_check_token_file(const char *file, wf_why *why);
/* Writes the token under `key` of result to the file, or to stdout (file NULL), and says so. */
weft_err cli_give_token(const json_t *result, const char *key, const char *file, wf_why *why);

/* login.c */

struct cli_login {
    char *identity;   /* owned: a path, absolute */
    char *controller; /* owned: HOST:PORT */
};
/* What `weft login` remembered. WEFT_ENOTFOUND with the remedy. */
weft_err cli_login_load(struct cli_login *out, wf_why *why);
void cli_login_free(struct cli_login *login);
/* --identity, WEFT_IDENTITY, or with `remembered` what login stored; the caller's. WEFT_EUSAGE. */
weft_err cli_identity(const struct wf_call_line *line, bool remembered, char **out, wf_why *why);

/* call.c */

/*
 * Calls one operation as the administrator (see cli_identity, remembered) and
 * waits for the answer. args is borrowed (NULL: {}); *result is owned by the caller.
 */
weft_err cli_call(const struct wf_call_line *line, const char *operation, json_t *args,
                  json_t **result, wf_why *why);
/* The same with an identity and controller (NULL: the identity's) given. */
weft_err cli_call_as(const char *identity, const char *controller, const char *operation,
                     json_t *args, json_t **result, wf_why *why);

/*
 * Many calls over one link, up to 60 at once. count may grow in `done`.
 * ask: the arguments of call i, a new reference (NULL: out of memory), and its operation.
 * done: its answer, borrowed (NULL unless err is WEFT_OK). Calls that never began have none.
 */
struct cli_calls {
    size_t count;
    json_t *(*ask)(void *arg, size_t i, const char **operation);
    void (*done)(void *arg, size_t i, weft_err err, const wf_why *why, json_t *result);
    void *arg;
};
/* WEFT_OK: every call was answered, each with its own error maybe. */
weft_err cli_calls_as(const char *identity, const char *controller, struct cli_calls *calls,
                      wf_why *why);
weft_err cli_calls(const struct wf_call_line *line, struct cli_calls *calls, wf_why *why);

/* policy.c */

/* --hours, --source, --os, --os-version-min, as policy.* takes them. */
void cli_put_conditions(json_t *args, const struct wf_call_line *line);
/* --max-sessions and the like, as service.* takes them. WEFT_EUSAGE. */
weft_err cli_put_limits(json_t *args, const struct wf_call_line *line, wf_why *why);
/* --at, --from, --os, --os-version, as explain takes them. */
void cli_put_facts(json_t *args, const struct wf_call_line *line);
/* cli_call for what changes something: with --dry-run it only tells what it would do. */
weft_err cli_act(const struct wf_call_line *line, const char *operation, json_t *args,
                 json_t **result, wf_why *why);
/* With --dry-run: prints what would be, and says true. */
bool cli_say_dry_run(const struct wf_call_line *line, json_t *result);

/* reach.c */

/* --timeout in ms, or fallback_ms when absent; one that leaves no time is refused. WEFT_EUSAGE. */
weft_err cli_timeout(const struct wf_call_line *line, unsigned fallback_ms, unsigned *out_ms,
                     wf_why *why);
/*
 * "web: TEXT" as the reason, without saying web twice, with the remedy where one is known. text
 * (NULL or "": err's sentence) must not be why's own; tries, such as " (3 tries in 2 s)", may be
 * "". Returns err.
 */
weft_err cli_not_reached(const char *service, weft_err err, const char *text, const char *tries,
                         wf_why *why);

/* print.c */

/* {"items":[...]} as a table (as_json: JSON lines); an object as "key  value" lines (JSON). */
void cli_print(const json_t *result, bool as_json);

/* sign.c */

#define CLI_SIGNATURE_TEXT 72 /* "sha256=" and 64 hex digits and NUL */
/* X-Hub-Signature-256 over the exact bytes (docs.github.com, "Validating webhook deliveries"). */
void cli_sign(const void *secret, size_t secret_len, const void *body, size_t len,
              char out[CLI_SIGNATURE_TEXT]);
/* Whether text is the signature of body; in constant time. */
bool cli_sign_check(const void *secret, size_t secret_len, const void *body, size_t len,
                    const char *text);

#endif
