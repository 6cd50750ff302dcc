/*
 * weft quickstart: a whole fabric of separate processes on this machine, a
 * server that knows nothing of Weft, and one real delivery through it all.
 * Everything made lives in one folder and ends with the command, unless
 * --home named the folder or a log in it says what failed.
 */
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/base/id.h"
#include "proto/base/text.h"
#include "sdk/cli/cli.h"
#include "sdk/cli/receiver.h"
#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS_MAX 16
#define WAIT_MS 10000u

const struct wf_option cli_quickstart_options[] = {
    {"home", WF_OPTION_TEXT, "DIR", "where everything is kept (a temporary folder)"},
    {"stay", WF_OPTION_FLAG, NULL, "leave it running until Ctrl-C"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};

static const char event[] =
    "{\"ref\":\"refs/heads/main\",\"repository\":{\"full_name\":\"acme/shop\"},"
    "\"pusher\":{\"name\":\"mona\"},\"head_commit\":{\"message\":\"Ship it\"}}";
static const char secret[] = "It's a Secret to Everybody";

struct stage {
    char home[PATH_MAX / 2], bin[PATH_MAX / 2];
    pid_t controller, router, tunneler, receiver; /* 0: not running */
    uint16_t controller_port, router_port, server_port;
};

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

/* A port that was free a moment ago, below those that outgoing connections take (ip(7)). 0: none.
 */
static uint16_t free_port(void)
{
    for (int tries = 0; tries < 64; tries++) {
        wf_id dice = wf_id_random();
        uint16_t port = (uint16_t)(10000 + (dice.b[0] << 8 | dice.b[1]) % 20000);
        struct sockaddr_in a = {.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons(port)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool is_free = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0;
        if (fd >= 0)
            close(fd);
        if (is_free)
            return port;
    }
    return 0;
}

static volatile sig_atomic_t interrupted;
static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* Ctrl-C, a request to end, a closed terminal (unless nohup said to live on): all end it tidily. */
static void watch_signals(void (*handler)(int))
{
    const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (signal(numbers[i], handler) == SIG_IGN)
            signal(numbers[i], SIG_IGN);
}

/* fork, and the child ends when this program does, however that comes about. */
static pid_t fork_bound(void)
{
    pid_t parent = getpid();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        watch_signals(SIG_DFL);
    if (pid == 0 && (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent))
        _exit(127);
    return pid;
}

/* Starts bin/<words[0]> with its output in home/<log>. 0 on failure. */
static pid_t start(const struct stage *s, const char *log, const char *const *words)
{
    char program[PATH_MAX], path[PATH_MAX], state[PATH_MAX], *argv[WORDS_MAX + 1];
    size_t n = 0;
    snprintf(program, sizeof program, "%s/%s", s->bin, words[0]);
    snprintf(path, sizeof path, "%s/%s", s->home, log);
    snprintf(state, sizeof state, "%s/state", s->home);
    for (; words[n] != NULL && n < WORDS_MAX; n++)
        argv[n] = strdup(words[n]);
    argv[n] = NULL;
    pid_t pid = fork_bound();
    if (pid == 0) {
        setenv("XDG_STATE_HOME", state, 1);
        FILE *out = freopen(path, "a", stderr); /* stays open over exec */
        if (out != NULL)
            dup2(fileno(out), STDOUT_FILENO);
        execv(program, argv);
        _exit(127);
    }
    for (size_t i = 0; i < n; i++)
        free(argv[i]);
    return pid > 0 ? pid : 0;
}

static weft_err run(const struct stage *s, const char *log, const char *const *words, wf_why *why)
{
    int status = -1;
    pid_t pid = start(s, log, words);
    if (pid == 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
        WEXITSTATUS(status) != 0)
        return wf_fail(why, WEFT_EIO, "%s %s failed: see %s/%s", words[0], words[1], s->home, log);
    return WEFT_OK;
}

static weft_err wait_for_port(const char *what, uint16_t port, pid_t pid, wf_why *why)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    uint64_t end = wf_now_mono_ms() + WAIT_MS;
    while (wf_now_mono_ms() < end) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int rc = fd >= 0 ? connect(fd, (struct sockaddr *)&a, sizeof a) : -1;
        if (fd >= 0)
            close(fd);
        if (rc == 0)
            return WEFT_OK;
        if (waitpid(pid, NULL, WNOHANG) == pid)
            return wf_fail(why, WEFT_EIO, "%s ended at once: its log says why", what);
        usleep(20000);
    }
    return wf_fail(why, WEFT_ETIMEDOUT, "%s does not listen", what);
}

static void stop(pid_t *pid)
{
    if (*pid == 0)
        return;
    kill(*pid, SIGTERM);
    waitpid(*pid, NULL, 0);
    *pid = 0;
}

static weft_err save_token(const struct stage *s, const json_t *result, const char *key,
                           const char *file, wf_why *why)
{
    char path[PATH_MAX];
    const char *token = json_string_value(json_object_get(result, key));
    if (token == NULL)
        return wf_fail(why, WEFT_EPROTO, "the controller gave no %s", key);
    snprintf(path, sizeof path, "%s/%s", s->home, file);
    return wf_file_write(path, token, strlen(token), 0600, why);
}

static weft_err start_control(struct stage *s, wf_why *why)
{
    char home[PATH_MAX], address[32], admin[PATH_MAX];
    snprintf(home, sizeof home, "%s/controller", s->home);
    snprintf(admin, sizeof admin, "%s/admin.json", s->home);
    snprintf(address, sizeof address, "127.0.0.1:%u", s->controller_port);
    weft_err err = run(s, "controller.log",
                       (const char *const[]){"weft-controller", "init", "--home", home, "--domain",
                                             "quickstart.weft", "--address", address, "--admin-out",
                                             admin, NULL},
                       why);
    if (err != WEFT_OK)
        return err;
    s->controller = start(s, "controller.log",
                          (const char *const[]){"weft-controller", "run", "--home", home, NULL});
    err = wait_for_port("the controller", s->controller_port, s->controller, why);
    if (err == WEFT_OK)
        say("1  controller on %s: keys, certificates and policy made, nothing asked", address);
    return err;
}

static weft_err start_router(struct stage *s, wf_why *why)
{
    char home[PATH_MAX], address[32], admin[PATH_MAX], token[PATH_MAX];
    json_t *result = NULL;
    snprintf(home, sizeof home, "%s/router", s->home);
    snprintf(admin, sizeof admin, "%s/admin.json", s->home);
    snprintf(token, sizeof token, "%s/router.jwt", s->home);
    snprintf(address, sizeof address, "127.0.0.1:%u", s->router_port);
    json_t *args = json_pack("{s:s}", "name", "r1");
    weft_err err = cli_call_as(admin, NULL, "router.create", args, &result, why);
    json_decref(args);
    if (err == WEFT_OK)
        err = save_token(s, result, "token", "router.jwt", why);
    json_decref(result);
    if (err == WEFT_OK)
        err = run(s, "router.log",
                  (const char *const[]){"weft-router", "enroll", token, "--home", home, "--listen",
                                        address, "--advertise", address, NULL},
                  why);
    if (err != WEFT_OK)
        return err;
    s->router =
        start(s, "router.log", (const char *const[]){"weft-router", "run", "--home", home, NULL});
    err = wait_for_port("the router", s->router_port, s->router, why);
    if (err == WEFT_OK)
        say("2  router on %s: enrolled with a one-time token", address);
    return err;
}

static weft_err start_receiver(struct stage *s, wf_why *why)
{
    char admin[PATH_MAX], token[PATH_MAX], rule[64];
    json_t *result = NULL;
    int fd = cli_receiver_listen(&s->server_port);
    if (fd < 0)
        return wf_fail(why, WEFT_EIO, "no port for the server: %s", strerror(errno));
    s->receiver = fork_bound();
    if (s->receiver == 0)
        _exit(cli_receiver_run(fd, secret));
    close(fd);
    snprintf(admin, sizeof admin, "%s/admin.json", s->home);
    snprintf(token, sizeof token, "%s/hook-host.jwt", s->home);
    snprintf(rule, sizeof rule, "hook=127.0.0.1:%u", s->server_port);
    json_t *args = json_pack("{s:s}", "name", "hook");
    weft_err err = cli_call_as(admin, NULL, "share", args, &result, why);
    json_decref(args);
    if (err == WEFT_OK)
        err = save_token(s, result, "host_token", "hook-host.jwt", why);
    if (err == WEFT_OK)
        err = save_token(s, result, "dial_token", "hook-dial.jwt", why);
    json_decref(result);
    if (err != WEFT_OK)
        return err;
    say("3  service \"hook\" shared: one identity may host it, one may dial it");
    s->tunneler =
        start(s, "tunneler.log",
              (const char *const[]){"weft-tunneler", "host", rule, "--identity", token, NULL});
    say("4  tunneler beside a plain HTTP server on 127.0.0.1:%u: it dials out, nothing listens for "
        "it",
        s->server_port);
    return WEFT_OK;
}

static weft_err deliver(struct stage *s, wf_why *why)
{
    char data[PATH_MAX], file[PATH_MAX], token[PATH_MAX], secret_file[PATH_MAX];
    snprintf(file, sizeof file, "%s/push.json", s->home);
    snprintf(data, sizeof data, "@%s", file);
    snprintf(secret_file, sizeof secret_file, "%s/webhook-secret", s->home);
    snprintf(token, sizeof token, "%s/hook-dial.jwt", s->home);
    weft_err err = wf_file_write(file, event, sizeof event - 1, 0600, why);
    if (err == WEFT_OK)
        err = wf_file_write(secret_file, secret, sizeof secret - 1, 0600, why);
    if (err != WEFT_OK)
        return err;
    say("5  weft post hook /webhook --data @push.json   (a GitHub push event, signed)");
    err = run(s, "post.log",
              (const char *const[]){"weft", "post", "hook", "/webhook", "--data", data, "--header",
                                    "X-GitHub-Event: push", "--webhook-secret-file", secret_file,
                                    "--retry", "20", "--identity", token, NULL},
              why);
    if (err == WEFT_OK)
        say("6  delivered: end to end encrypted, through a router that could not read it");
    return err;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static weft_err find_programs(struct stage *s, wf_why *why)
{
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", s->bin, sizeof s->bin - 1);
    if (n <= 0)
        return wf_fail(why, WEFT_EIO, "this program's own place can't be found");
    s->bin[n] = 0;
    *strrchr(s->bin, '/') = 0;
    for (const char *const *name =
             (const char *const[]){"weft-controller", "weft-router", "weft-tunneler", NULL};
         *name != NULL; name++) {
        snprintf(program, sizeof program, "%s/%s", s->bin, *name);
        if (access(program, X_OK) != 0)
            return wf_fail(why, WEFT_ENOTFOUND, "%s is not beside weft in %s: build or install it",
                           *name, s->bin);
    }
    return WEFT_OK;
}

/* The folder of everything: the one that was named, if no fabric is in it, or a new one. */
static weft_err make_home(struct stage *s, const char *home, wf_why *why)
{
    const char *tmp = getenv("TMPDIR");
    char controller[PATH_MAX];
    if (home == NULL) {
        snprintf(s->home, sizeof s->home, "%s/weft-quickstart.XXXXXX", tmp != NULL ? tmp : "/tmp");
        if (mkdtemp(s->home) == NULL)
            return wf_fail(why, WEFT_EIO, "%s: %s", s->home, strerror(errno));
        return WEFT_OK;
    }
    weft_err err = wf_folder_make(home, why);
    if (err != WEFT_OK)
        return err;
    char *whole = realpath(home, NULL);
    if (whole != NULL && strlen(whole) < sizeof s->home)
        memcpy(s->home, whole, strlen(whole) + 1);
    else
        err = wf_fail(why, WEFT_EIO, "%s: %s", home,
                      whole != NULL ? "too long a path" : strerror(errno));
    free(whole);
    snprintf(controller, sizeof controller, "%s/controller", s->home);
    if (err == WEFT_OK && wf_file_exists(controller))
        err = wf_fail(why, WEFT_EEXIST, "%s holds a fabric already; name another --home", home);
    return err;
}

static bool is_in_path(const char *folder)
{
    const char *at = getenv("PATH");
    size_t len = strlen(folder);
    while (at != NULL && *at != 0) {
        size_t part = strcspn(at, ":");
        if (part == len && memcmp(at, folder, len) == 0)
            return true;
        at += part + (at[part] == ':');
    }
    return false;
}

/* Lines to paste, in this order. All they write stays in the quickstart's own folder. */
static void say_what_to_try(const struct stage *s)
{
    say("\ntry next");
    if (!is_in_path(s->bin))
        say("  export PATH=\"%s:$PATH\"", s->bin);
    say("  export WEFT_IDENTITY=\"%s/hook-dial.jwt\" XDG_STATE_HOME=\"%s/state\"\n"
        "  weft status\n"
        "  weft post hook /anything --data hello --webhook-secret-file \"%s/webhook-secret\"\n"
        "  weft explain hook-dialer hook --controller 127.0.0.1:%u --identity \"%s/admin.json\"",
        s->home, s->home, s->home, s->controller_port, s->home);
}

weft_err cli_quickstart(const struct wf_call_line *line, wf_why *why)
{
    static weft_err (*const steps[])(struct stage *, wf_why *) = {start_control, start_router,
                                                                  start_receiver, deliver};
    struct stage s = {.controller_port = free_port(), .router_port = free_port()};
    const char *home = wf_line_text(line, "home");
    weft_err err = find_programs(&s, why);
    if (err == WEFT_OK)
        err = make_home(&s, home, why);
    if (err != WEFT_OK)
        return err;
    watch_signals(on_interrupt);
    for (size_t i = 0; i < sizeof steps / sizeof *steps && err == WEFT_OK && !interrupted; i++)
        err = steps[i](&s, why);
    if (interrupted) {
        err = wf_fail(why, WEFT_ECANCELED, "interrupted");
    } else if (err == WEFT_OK && wf_line_flag(line, "stay")) {
        say_what_to_try(&s);
        say("\nrunning until Ctrl-C; logs are in %s", s.home);
        while (!interrupted)
            usleep(100000);
    } else if (err == WEFT_OK) {
        say("\ntry next\n  weft quickstart --stay    the same, left running to play with\n"
            "  docs/quickstart.md        your own service in three commands");
    }
    stop(&s.tunneler);
    stop(&s.receiver);
    stop(&s.router);
    stop(&s.controller);
    if ((err == WEFT_OK || interrupted) && home == NULL)
        (void)nftw(s.home, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return err;
}
