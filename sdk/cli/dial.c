/*
 * weft dial: stdin and stdout to a service, like nc. One thread carries each
 * direction, so half-close works both ways.
 */
#include "proto/base/text.h"
#include "sdk/cli/cli.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE (64u * 1024u)

const struct wf_option cli_dial_options[] = {
    {"timeout", WF_OPTION_TEXT, "TIME", "for the dial, such as 10s"},
    {"instance", WF_OPTION_TEXT, "ID", "this host of the service and no other: 32 hex digits"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};

struct downward {
    weft_conn *conn; /* borrowed: outlives the thread */
    weft_err err;
    wf_why why;
};

static bool write_all(int fd, const uint8_t *data, size_t len)
{
    while (len != 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* Whoever reads our output sees its end now, though the input may go on. The number stays taken. */
static void end_stdout(void)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere < 0)
        return;
    (void)dup2(nowhere, STDOUT_FILENO);
    close(nowhere);
}

/* From the service to stdout until its authenticated end. An error exits: stdin may never end. */
static void *run_downward(void *arg)
{
    struct downward *d = arg;
    uint8_t *buf = malloc(PIECE);
    size_t got;
    d->err = buf != NULL ? WEFT_OK : WEFT_ENOMEM;
    while (d->err == WEFT_OK) {
        d->err = weft_conn_read(d->conn, buf, PIECE, &got, 0, &d->why);
        if (d->err != WEFT_OK || got == 0)
            break;
        if (!write_all(STDOUT_FILENO, buf, got))
            d->err = wf_fail(&d->why, WEFT_EIO, "stdout: %s", strerror(errno));
    }
    free(buf);
    if (d->err == WEFT_OK) {
        end_stdout();
    } else {
        static const char start[] = "weft: dial: ";
        char line[WF_WHY_MAX + 32];
        size_t n = strlen(d->why.text);
        memcpy(line, start, sizeof start - 1);
        memcpy(line + sizeof start - 1, d->why.text, n);
        line[sizeof start - 1 + n] = '\n';
        (void)write_all(STDERR_FILENO, (const uint8_t *)line, sizeof start + n);
        _exit(weft_err_exit_status(d->err));
    }
    return NULL;
}

static weft_err upward(weft_conn *conn, wf_why *why)
{
    uint8_t *buf = malloc(PIECE);
    weft_err err = buf != NULL ? WEFT_OK : WEFT_ENOMEM;
    while (err == WEFT_OK) {
        ssize_t n = read(STDIN_FILENO, buf, PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            err = wf_fail(why, WEFT_EIO, "stdin: %s", strerror(errno));
        if (n <= 0)
            break;
        err = weft_conn_write(conn, buf, (size_t)n, 0, why);
    }
    if (err == WEFT_OK)
        err = weft_conn_end(conn, why);
    free(buf);
    return err;
}

weft_err cli_dial(const struct wf_call_line *line, wf_why *why)
{
    weft_client *client = NULL;
    struct downward down = {NULL, WEFT_OK, {""}};
    struct weft_dial_options options = {.instance = wf_line_text(line, "instance")};
    pthread_t thread;
    char *identity;
    const char *service = wf_line_arg(line, 0);
    weft_err err = wf_name_check(service, strlen(service), "service's name", why);
    if (err == WEFT_OK)
        err = cli_timeout(line, 0, &options.timeout_ms, why);
    if (err == WEFT_OK)
        err = cli_identity(line, false, &identity, why);
    if (err != WEFT_OK)
        return err;
    err = weft_client_open(identity, &client, why);
    free(identity);
    if (err != WEFT_OK)
        return err;
    err = weft_client_dial(client, service, &options, &down.conn, &down.why);
    if (err != WEFT_OK) {
        err = cli_not_reached(service, err, down.why.text, "", why);
        goto close_client;
    }
    if (pthread_create(&thread, NULL, run_downward, &down) != 0) {
        err = wf_fail(why, WEFT_ENOMEM, "no thread can be made");
        goto close_conn;
    }
    err = upward(down.conn, why);
    pthread_join(thread, NULL); /* ends the program itself when it fails */
close_conn:
    weft_conn_close(down.conn);
close_client:
    weft_client_close(client);
    return err;
}
