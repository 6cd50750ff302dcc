/*
 * Endpoints of many identities in one process, each with so many sessions that stay idle: who is
 * cut when, seen by the dialer.
 *
 *   crowd SERVICE SESSIONS IDENTITY...
 *
 * Prints "open NUMBER" when all sessions of identity NUMBER are open, and for each that ends
 * "cut NUMBER MS CODE TEXT" (CLOCK_MONOTONIC). A line NUMBER on stdin opens its sessions anew;
 * the end of stdin ends the program.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>
#include <weft/weft.h>

#define AT_ONCE 16 /* dials under way */

struct member {
    weft_endpoint *endpoint;
    int number, wanted, dialing, open;
};

struct crowd {
    uv_loop_t loop;
    uv_pipe_t input;
    struct member *members;
    int count, sessions, dialing;
    const char *service;
    char line[32], piece[64];
    size_t line_len;
};

static struct crowd crowd;

static void more(void);

static double now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

struct session {
    struct member *member;
    int is_open;
};

static void on_opened(weft_stream *stream, void *arg, const struct weft_peer *peer)
{
    struct session *session = arg;
    size_t taken;
    char name[16];
    int len = snprintf(name, sizeof name, "%d\n", session->member->number);

    (void)peer;
    session->is_open = 1;
    (void)weft_stream_write(stream, name, (size_t)len, &taken); /* so that the server knows whose */
    session->member->dialing--;
    crowd.dialing--;
    if (++session->member->open == crowd.sessions)
        printf("open %d\n", session->member->number);
    more();
}

static size_t on_data(weft_stream *stream, void *arg, const uint8_t *data, size_t len)
{
    (void)stream, (void)arg, (void)data;
    return len;
}

static void on_ended(weft_stream *stream, void *arg)
{
    (void)arg;
    (void)weft_stream_end(stream);
}

static void on_closed(weft_stream *stream, void *arg, weft_err err, const char *why)
{
    struct session *session = arg;
    struct member *member = session->member;

    (void)stream;
    if (session->is_open) {
        member->open--;
    } else {
        member->dialing--;
        crowd.dialing--;
    }
    printf("%s %d %.3f %s %s\n", session->is_open ? "cut" : "refused", member->number, now_ms(),
           weft_err_name(err), why != NULL ? why : "");
    free(session);
    more();
}

static const struct weft_stream_handler handler = {
    .opened = on_opened, .data = on_data, .ended = on_ended, .closed = on_closed};

static void dial(struct member *member)
{
    struct session *session = calloc(1, sizeof *session);
    weft_stream *stream;
    weft_why why = {""};

    if (session == NULL)
        exit(1);
    session->member = member;
    member->wanted--;
    if (weft_dial(member->endpoint, crowd.service, NULL, &handler, session, &stream, &why) !=
        WEFT_OK) {
        printf("refused %d %.3f - %s\n", member->number, now_ms(), why.text);
        free(session);
        return;
    }
    member->dialing++;
    crowd.dialing++;
}

static void more(void)
{
    for (int i = 0; i < crowd.count; i++)
        while (crowd.members[i].wanted > 0 && crowd.dialing < AT_ONCE)
            dial(&crowd.members[i]);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)handle, (void)suggested;
    *out = uv_buf_init(crowd.piece, sizeof crowd.piece);
}

static void on_input(uv_stream_t *input, ssize_t n, const uv_buf_t *buf)
{
    (void)input;
    if (n < 0)
        exit(0); /* the kernel takes the connections down */
    for (ssize_t i = 0; i < n; i++) {
        int number;

        if (buf->base[i] != '\n') {
            if (crowd.line_len < sizeof crowd.line - 1)
                crowd.line[crowd.line_len++] = buf->base[i];
            continue;
        }
        crowd.line[crowd.line_len] = '\0';
        crowd.line_len = 0;
        number = atoi(crowd.line);
        if (number >= 0 && number < crowd.count)
            crowd.members[number].wanted =
                crowd.sessions - crowd.members[number].open - crowd.members[number].dialing;
    }
    more();
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fputs("usage: crowd SERVICE SESSIONS IDENTITY...\n", stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    crowd.service = argv[1];
    crowd.sessions = atoi(argv[2]);
    crowd.count = argc - 3;
    crowd.members = calloc((size_t)crowd.count, sizeof *crowd.members);
    if (crowd.members == NULL || uv_loop_init(&crowd.loop) != 0)
        return 1;
    uv_pipe_init(&crowd.loop, &crowd.input, 0);
    if (uv_pipe_open(&crowd.input, STDIN_FILENO) == 0)
        uv_read_start((uv_stream_t *)&crowd.input, on_alloc, on_input);
    for (int i = 0; i < crowd.count; i++) {
        struct weft_options options = {
            .identity = argv[3 + i], .loop = &crowd.loop, .state_dir = ""};
        weft_why why = {""};

        crowd.members[i].number = i;
        if (weft_endpoint_open(&options, &crowd.members[i].endpoint, &why) != WEFT_OK) {
            fprintf(stderr, "crowd: %s\n", why.text);
            return 1;
        }
        crowd.members[i].wanted = crowd.sessions;
    }
    more();
    return uv_run(&crowd.loop, UV_RUN_DEFAULT);
}
