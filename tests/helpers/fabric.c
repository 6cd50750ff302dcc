#include "tests/helpers/fabric.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <weft/weft.h>

#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno));   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define START_MS 20000

/* ---- processes */

static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    must(s >= 0);
    must(bind(s, (struct sockaddr *)&address, sizeof address) == 0);
    must(getsockname(s, (struct sockaddr *)&address, &len) == 0);
    close(s);
    return ntohs(address.sin_port);
}

static void sleep_ms(long ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&t, NULL);
}

static bool is_serving(uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    must(s >= 0);
    bool up = connect(s, (const struct sockaddr *)&address, sizeof address) == 0;
    close(s);
    return up;
}

/* Its output goes to f->dir/log. */
static pid_t start(const struct fabric *f, const char *log, char *const *arguments)
{
    char program[512], path[256];
    snprintf(program, sizeof program, "%s/%s", WEFT_BIN, arguments[0]);
    snprintf(path, sizeof path, "%s/%s", f->dir, log);
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        /* A test that aborts leaves nothing running. */
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        int out = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (out < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
            _exit(126);
        execv(program, arguments);
        _exit(127);
    }
    return pid;
}

static void finish(pid_t pid)
{
    int status;
    must(waitpid(pid, &status, 0) == pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fprintf(stderr, "a program of the fabric ended with status %#x\n", (unsigned)status);
    must(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void stop(pid_t *pid, int signal)
{
    int status;
    if (*pid == 0)
        return;
    must(kill(*pid, signal) == 0);
    must(waitpid(*pid, &status, 0) == *pid);
    *pid = 0;
}

static void await(uint16_t port, pid_t pid)
{
    for (int waited = 0; !is_serving(port); waited += 20) {
        int status;
        must(waited < START_MS);
        must(waitpid(pid, &status, WNOHANG) == 0); /* it ended instead of serving: see its log */
        sleep_ms(20);
    }
}

const char *fabric_path(const struct fabric *f, const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", f->dir, name);
    return path;
}

static char *arg(const char *text)
{
    char *copy = strdup(text);
    must(copy != NULL);
    return copy;
}

static void free_args(char **arguments)
{
    for (; *arguments != NULL; arguments++)
        free(*arguments);
}

void fabric_start_controller(struct fabric *f)
{
    char *run[] = {arg("weft-controller"), arg("run"), arg("--home"),
                   arg(fabric_path(f, "controller")), NULL};
    must(f->controller == 0);
    f->controller = start(f, "controller.log", run);
    free_args(run);
    await(f->controller_port, f->controller);
}

void fabric_kill_controller(struct fabric *f)
{
    stop(&f->controller, SIGKILL);
}

void fabric_start_router(struct fabric *f, unsigned i)
{
    char name[32], log[32];
    snprintf(name, sizeof name, "router%u", i);
    snprintf(log, sizeof log, "router%u.log", i);
    char *run[] = {arg("weft-router"), arg("run"), arg("--home"), arg(fabric_path(f, name)), NULL};
    must(f->routers[i] == 0);
    f->routers[i] = start(f, log, run);
    free_args(run);
    await(f->router_ports[i], f->routers[i]);
}

void fabric_kill_router(struct fabric *f, unsigned i)
{
    stop(&f->routers[i], SIGKILL);
}

/* ---- administration */

struct call {
    weft_endpoint *endpoint;
    char *result;
    weft_err err;
    weft_why why;
};

static void on_called(void *data, weft_err err, const char *why, const char *result, size_t len)
{
    struct call *call = data;
    call->err = err;
    snprintf(call->why.text, sizeof call->why.text, "%s", why);
    if (err == WEFT_OK)
        call->result = strndup(result != NULL ? result : "", len);
    weft_endpoint_close(call->endpoint, NULL, NULL);
}

weft_err fabric_try(struct fabric *f, const char *operation, const char *arguments, char **result,
                    weft_why *why)
{
    struct call call = {.err = WEFT_EINTERNAL};
    const struct weft_options options = {.identity = fabric_path(f, "admin.json"), .state_dir = ""};
    must(weft_endpoint_open(&options, &call.endpoint, &call.why) == WEFT_OK);
    must(weft_call(call.endpoint, operation, arguments, 10000, on_called, &call) == WEFT_OK);
    must(weft_endpoint_run(call.endpoint) == WEFT_OK);
    if (why != NULL)
        *why = call.why;
    if (result != NULL)
        *result = call.result;
    else
        free(call.result);
    return call.err;
}

char *fabric_call(struct fabric *f, const char *operation, const char *arguments)
{
    weft_why why = {""};
    char *result = NULL;
    weft_err err = fabric_try(f, operation, arguments, &result, &why);
    if (err != WEFT_OK)
        fprintf(stderr, "%s %s: %s: %s\n", operation, arguments, weft_err_name((int)err), why.text);
    must(err == WEFT_OK && result != NULL);
    return result;
}

void fabric_save_text(struct fabric *f, const char *json, const char *key, const char *file)
{
    json_t *root = json_loads(json, 0, NULL);
    const char *text = json_string_value(json_object_get(root, key));
    must(text != NULL);
    FILE *out = fopen(fabric_path(f, file), "w");
    must(out != NULL);
    must(fchmod(fileno(out), 0600) == 0);
    must(fputs(text, out) >= 0);
    must(fclose(out) == 0);
    json_decref(root);
}

void fabric_share(struct fabric *f, const char *service)
{
    char arguments[128], file[128];
    snprintf(arguments, sizeof arguments, "{\"name\":\"%s\"}", service);
    char *result = fabric_call(f, "share", arguments);
    snprintf(file, sizeof file, "%s-host.jwt", service);
    fabric_save_text(f, result, "host_token", file);
    snprintf(file, sizeof file, "%s-dial.jwt", service);
    fabric_save_text(f, result, "dial_token", file);
    free(result);
}

void fabric_identity(struct fabric *f, const char *name, const char *roles)
{
    char arguments[512], file[128];
    snprintf(arguments, sizeof arguments, "{\"name\":\"%s\",\"roles\":%s,\"enroll\":\"ott\"}", name,
             roles);
    char *result = fabric_call(f, "identity.create", arguments);
    snprintf(file, sizeof file, "%s.jwt", name);
    fabric_save_text(f, result, "token", file);
    free(result);
}

/* ---- the whole */

static void add_router(struct fabric *f, unsigned i)
{
    char name[32], arguments[64], token[32], address[64], log[32];
    snprintf(name, sizeof name, "router%u", i);
    snprintf(token, sizeof token, "router%u.jwt", i);
    snprintf(log, sizeof log, "router%u.log", i);
    snprintf(arguments, sizeof arguments, "{\"name\":\"%s\"}", name);
    char *result = fabric_call(f, "router.create", arguments);
    fabric_save_text(f, result, "token", token);
    free(result);
    f->router_ports[i] = free_port();
    snprintf(address, sizeof address, "127.0.0.1:%u", f->router_ports[i]);
    char *enroll[] = {arg("weft-router"),
                      arg("enroll"),
                      arg(fabric_path(f, token)),
                      arg("--home"),
                      arg(fabric_path(f, name)),
                      arg("--listen"),
                      arg(address),
                      arg("--advertise"),
                      arg(address),
                      NULL};
    finish(start(f, log, enroll));
    free_args(enroll);
    fabric_start_router(f, i);
}

void fabric_open(struct fabric *f, unsigned routers)
{
    char address[64];
    must(routers <= FABRIC_ROUTERS);
    *f = (struct fabric){.router_count = routers};
    snprintf(f->dir, sizeof f->dir, "/tmp/weft-fabric.XXXXXX");
    must(mkdtemp(f->dir) != NULL);
    must(setenv("XDG_STATE_HOME", fabric_path(f, "state"), 1) == 0);
    must(setenv("XDG_CONFIG_HOME", fabric_path(f, "config"), 1) == 0);
    (void)signal(SIGPIPE, SIG_IGN);
    f->controller_port = free_port();
    snprintf(address, sizeof address, "127.0.0.1:%u", f->controller_port);
    char *init[] = {arg("weft-controller"),
                    arg("init"),
                    arg("--home"),
                    arg(fabric_path(f, "controller")),
                    arg("--domain"),
                    arg("test.weft"),
                    arg("--address"),
                    arg(address),
                    arg("--admin-out"),
                    arg(fabric_path(f, "admin.json")),
                    NULL};
    finish(start(f, "controller.log", init));
    free_args(init);
    fabric_start_controller(f);
    for (unsigned i = 0; i < routers; i++)
        add_router(f, i);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void fabric_close(struct fabric *f)
{
    for (unsigned i = 0; i < f->router_count; i++)
        stop(&f->routers[i], SIGTERM);
    stop(&f->controller, SIGTERM);
    if (getenv("WEFT_KEEP") == NULL)
        (void)nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
