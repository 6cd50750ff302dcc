#include "sdk/cli/receiver.h"
#include "proto/http/message.h"
#include "sdk/cli/cli.h"
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_MAX (32u * 1024u * 1024u)

struct reception {
    char method[16], target[256], event[64], signature[128];
    wf_buf body; /* owned */
    bool whole;
};

static void copy(wf_span from, char *to, size_t size)
{
    snprintf(to, size, "%.*s", (int)(from.len < size ? from.len : size - 1),
             from.data != NULL ? (const char *)from.data : "");
}

static weft_err on_head(void *arg, const struct wf_http_head *head)
{
    struct reception *r = arg;
    copy(head->method, r->method, sizeof r->method);
    copy(head->target, r->target, sizeof r->target);
    copy(wf_http_find(head, "x-github-event"), r->event, sizeof r->event);
    copy(wf_http_find(head, "x-hub-signature-256"), r->signature, sizeof r->signature);
    return WEFT_OK;
}

static weft_err on_body(void *arg, wf_span data)
{
    return wf_buf_put(&((struct reception *)arg)->body, data.data, data.len);
}

static weft_err on_end(void *arg)
{
    ((struct reception *)arg)->whole = true;
    return WEFT_OK;
}

static const struct wf_http_handler handler = {on_head, on_body, on_end};

int cli_receiver_listen(uint16_t *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 16) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) != 0) {
        close(fd);
        return -1;
    }
    *port = ntohs(a.sin_port);
    return fd;
}

static void serve(int fd, const char *secret)
{
    struct reception r = {.whole = false};
    wf_http_parser *parser = NULL;
    char piece[16384];
    size_t taken;
    ssize_t n;
    wf_buf_init(&r.body, BODY_MAX);
    weft_err err = wf_http_parser_new(WF_HTTP_REQUESTS, BODY_MAX, &handler, &r, &parser);
    while (err == WEFT_OK && !r.whole && (n = read(fd, piece, sizeof piece)) > 0)
        err = wf_http_parser_feed(parser, (const uint8_t *)piece, (size_t)n, true, &taken, NULL);
    if (r.whole) {
        bool right = cli_sign_check(secret, strlen(secret), r.body.data, r.body.len, r.signature);
        printf("   | the server got %s %s, event \"%s\", %zu bytes, signature %s\n   | %.*s\n",
               r.method, r.target, r.event, r.body.len, right ? "verified" : "WRONG",
               (int)(r.body.len < 200 ? r.body.len : 200), (const char *)r.body.data);
        fflush(stdout);
        static const char yes[] = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nreceived\n";
        static const char no[] = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
        if (write(fd, right ? yes : no, strlen(right ? yes : no)) < 0)
            perror("write");
    }
    wf_http_parser_free(parser);
    wf_buf_fini(&r.body);
}

int cli_receiver_run(int listener, const char *secret)
{
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            return 1;
        serve(fd, secret);
        close(fd);
    }
}
