/* weft: everyday and admin commands over a Weft fabric. */
#include "sdk/cli/cli.h"
#include <stdlib.h>
#include <string.h>

static const struct wf_command everyday[] = {
    {"quickstart", "", "a whole fabric on this machine, and a real delivery through it",
     "weft quickstart", cli_quickstart_options, 0, 0, cli_quickstart},
    {"enroll", "TOKEN.jwt|-", "makes a key here and turns a one-time token into an identity",
     "weft enroll ci-bot.jwt --out ci-bot.json", cli_enroll_options, 1, 1, cli_enroll},
    {"post", "SERVICE PATH", "an HTTP request to a service by name; any 2xx is success",
     "weft post web /hook --data @event.json --identity web-dial.jwt", cli_post_options, 2, 2,
     cli_post},
    {"dial", "SERVICE", "stdin and stdout to a service, like nc",
     "weft dial db --identity dev.json", cli_dial_options, 1, 1, cli_dial},
    {"status", "", "truth by end-to-end probes", "weft status --identity dev.json",
     cli_status_options, 0, 0, cli_status},
    {"doctor", "", "checks clock, files, names and ports, and says what to mend", "weft doctor",
     cli_no_options, 0, 0, cli_doctor},
    {"renew", "", "renews this identity's certificate now", "weft renew --identity dev.json",
     cli_renew_options, 0, 0, cli_renew},
    {"apply", "", "makes identities, services and policies what a file says",
     "weft apply -f fabric.yaml --dry-run", cli_apply_options, 0, 0, cli_apply},
    {"login", "[HOST:PORT]", "remembers the controller and the administrator's identity",
     "weft login 127.0.0.1:9338 --identity admin.json", cli_login_options, 0, 1, cli_login},
    {"backup", "DIR", "a copy of the controller's home, made while it runs", "weft backup monday",
     cli_no_options, 1, 1, cli_backup},
};

/* `weft --help` has too many rows for one list. */
static const struct wf_heading headings[] = {
    {"quickstart", "every day"},
    {"apply", "administration"},
    {"identity create", "identities and services"},
    {"allow", "who may do what"},
    {"router create", "routers and sessions"},
    {"audit tail", "audit log and rotation"},
    {"ca add", "authorities and issuers of your own"},
    {NULL, NULL},
};

static const struct wf_option common[] = {
    {"identity", WF_OPTION_FILE, "FILE",
     "who acts: an identity file or a token file; the variable may hold the JSON itself"},
    {"controller", WF_OPTION_TEXT, "HOST:PORT", "instead of the one that login remembered"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};

int main(int argc, char **argv)
{
    const size_t n = sizeof everyday / sizeof *everyday;
    size_t rows = 0, more = 0;
    while (cli_admin_commands[rows].name != NULL)
        rows++;
    while (cli_trust_commands[more].name != NULL)
        more++;
    struct wf_command *commands = calloc(n + rows + more + 1, sizeof *commands);
    if (commands == NULL)
        return 1;
    memcpy(commands, everyday, sizeof everyday);
    memcpy(commands + n, cli_admin_commands, rows * sizeof *commands);
    memcpy(commands + n + rows, cli_trust_commands, more * sizeof *commands);
    const struct wf_program program = {
        "weft",   "Reach services inside private networks by name, end to end encrypted.",
        commands, common,
        true,     headings};
    int status = wf_program_run(&program, argc, argv);
    free(commands);
    return status;
}
