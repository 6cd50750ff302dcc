/*
 * Happy path: open -> ready -> (reload)* -> stop, told once -> close.
 * - a second SIGTERM or SIGINT while the program drains ends it at once
 * - no NOTIFY_SOCKET, or nobody listens there: nothing is sent
 */
#include "proto/node/daemon.h"
#include "proto/base/log.h"
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#define DESCRIPTORS_MAX 1048576u

enum { TERM, INT, HUP, SIGNALS };

struct wf_daemon {
    uv_signal_t signals[SIGNALS];
    uv_timer_t watchdog;
    unsigned open_handles;
    bool stopping;
    const struct wf_daemon_handler *handler; /* borrowed: static */
    void *arg;                               /* borrowed: outlives us */
};

static void notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (path == NULL || strlen(path) >= sizeof to.sun_path)
        return;
    memcpy(to.sun_path, path, strlen(path));
    if (to.sun_path[0] == '@') /* an abstract address */
        to.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&to, len) < 0)
        wf_log_warn("systemd could not be told: %s", text);
    close(fd);
}

static void on_signal(uv_signal_t *signal, int number)
{
    wf_daemon *d = signal->data;
    if (number == SIGHUP) {
        if (d->handler->reload != NULL)
            d->handler->reload(d->arg);
        return;
    }
    if (d->stopping) {
        wf_log_warn("stopped at once by a second signal");
        _exit(1);
    }
    d->stopping = true;
    notify("STOPPING=1");
    d->handler->stop(d->arg);
}

/*
 * The limit that most systems set is 1,024, lower than the connections that a
 * listener lets wait; without a free descriptor nothing is written to disk either.
 */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    rlim_t most = limit.rlim_max < DESCRIPTORS_MAX ? limit.rlim_max : DESCRIPTORS_MAX;
    if (most <= limit.rlim_cur)
        return;
    limit.rlim_cur = most;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        wf_log_warn("the limit of open files stays low: %s", strerror(errno));
}

weft_err wf_daemon_open(uv_loop_t *loop, const struct wf_daemon_handler *handler, void *arg,
                        wf_daemon **out)
{
    static const int numbers[SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
    wf_daemon *d = calloc(1, sizeof *d);
    if (d == NULL)
        return WEFT_ENOMEM;
    signal(SIGPIPE, SIG_IGN);
    raise_descriptors();
    d->handler = handler;
    d->arg = arg;
    for (int i = 0; i < SIGNALS; i++) {
        uv_signal_init(loop, &d->signals[i]);
        d->signals[i].data = d;
        d->open_handles++;
        if (uv_signal_start(&d->signals[i], on_signal, numbers[i]) != 0)
            wf_log_warn("signal %d can't be watched", numbers[i]);
        uv_unref((uv_handle_t *)&d->signals[i]);
    }
    uv_timer_init(loop, &d->watchdog);
    d->watchdog.data = d;
    d->open_handles++;
    uv_unref((uv_handle_t *)&d->watchdog);
    *out = d;
    return WEFT_OK;
}

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    notify("WATCHDOG=1");
}

void wf_daemon_ready(wf_daemon *d, const char *text)
{
    char message[512];
    snprintf(message, sizeof message, "READY=1\nSTATUS=%s", text);
    notify(message);
    const char *every = getenv("WATCHDOG_USEC");
    unsigned long long usec = every != NULL ? strtoull(every, NULL, 10) : 0;
    if (usec >= 2000 && getenv("NOTIFY_SOCKET") != NULL)
        uv_timer_start(&d->watchdog, on_watchdog, 0, usec / 2000);
}

static void on_closed(uv_handle_t *handle)
{
    wf_daemon *d = handle->data;
    if (--d->open_handles == 0)
        free(d);
}

void wf_daemon_close(wf_daemon *d)
{
    for (int i = 0; i < SIGNALS; i++)
        uv_close((uv_handle_t *)&d->signals[i], on_closed);
    uv_close((uv_handle_t *)&d->watchdog, on_closed);
}
