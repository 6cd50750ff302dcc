/*
 * What a router costs: a real weft-router process, and raw endpoints in this one.
 *
 *   measure_router PATH-TO-weft-router [EDGES CIRCUITS SECONDS]
 *
 * Prints its resident memory empty, per idle endpoint and per idle circuit, its
 * processor time while all is idle, and the throughput of one circuit on loopback.
 */
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/link/link.h"
#include "router/state.h"
#include "tests/helpers/authority.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#define AT_ONCE 16

struct bench;

struct end {
    struct bench *b;
    wf_link *link;
    bool is_up, is_bound;
    unsigned setups, replies;
    uint32_t setup_label, reply_label;
    uint64_t received, sent, credit, acked;
};

struct bench {
    uv_loop_t loop;
    wf_net *net;
    struct authority a;
    struct authority_node router, node;
    pki_trust *trust;
    pki_tls_ctx *tls;
    wf_address address;
    wf_id service;
    pid_t pid;
    char home[64];
    unsigned up;
};

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "measure_router: %s\n", what);
    exit(1);
}

/* ---- the process */

static void make_home(struct bench *b)
{
    char path[128];
    struct pki_identity identity;
    Weft__Wire__Signed *member = authority_member(&b->a, &b->router, NULL, 0);
    wf_why why = {""};

    (void)snprintf(b->home, sizeof b->home, "/tmp/weft-measure-XXXXXX");
    must(mkdtemp(b->home) != NULL, "no folder");
    (void)snprintf(path, sizeof path, "%s/router.json", b->home);
    authority_identity(&b->a, &b->router, &identity);
    must(wf_address_parse("127.0.0.1:9", 0, &identity.controllers[0], NULL) == WEFT_OK, "address");
    identity.controller_count = 1;
    must(pki_identity_save(&identity, path, &why) == WEFT_OK, why.text);
    must(state_save(b->home, "members", &member, 1, &why) == WEFT_OK, why.text);
    pki_identity_fini(&identity);
    wf_signed_free(member);
}

static void start(struct bench *b, const char *program)
{
    int fds[2];
    char line[512];
    FILE *log;

    must(pipe(fds) == 0, "no pipe");
    b->pid = fork();
    must(b->pid >= 0, "no process");
    if (b->pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        execl(program, program, "run", "--home", b->home, "--listen", "127.0.0.1:0", "--log-level",
              "info", (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    log = fdopen(fds[0], "r");
    must(log != NULL, "no pipe");
    while (fgets(line, sizeof line, log) != NULL) {
        char *at = strstr(line, "listening on ");

        if (at == NULL)
            continue;
        at += strlen("listening on ");
        at[strcspn(at, " \n")] = '\0';
        must(wf_address_parse(at, 0, &b->address, NULL) == WEFT_OK, "address");
        return; /* the pipe stays open: the router may go on logging */
    }
    must(false, "the router did not start");
}

static long rss(const struct bench *b) /* bytes */
{
    char path[64];
    long size = 0, resident = 0;
    FILE *file;

    (void)snprintf(path, sizeof path, "/proc/%d/statm", (int)b->pid);
    file = fopen(path, "r");
    must(file != NULL && fscanf(file, "%ld %ld", &size, &resident) == 2, "no statm");
    fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

static double cpu(const struct bench *b) /* seconds */
{
    char path[64], text[1024] = "", *at;
    unsigned long user = 0, system = 0;
    FILE *file;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)b->pid);
    file = fopen(path, "r");
    must(file != NULL && fgets(text, sizeof text, file) != NULL, "no stat");
    fclose(file);
    at = strrchr(text, ')');
    must(at != NULL && sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                              &system) == 2,
         "no stat");
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* ---- endpoints */

static void send_data(struct end *e)
{
    static uint8_t frame[WF_FRAME_HEADER + WF_DATA_MAX];

    while (e->link != NULL && !wf_link_is_blocked(e->link) && e->sent + WF_DATA_MAX <= e->credit) {
        wf_frame_put_header(frame, WF_FRAME_DATA, 0, e->reply_label, WF_DATA_MAX);
        wf_link_send_frame(e->link, frame, sizeof frame);
        e->sent += WF_DATA_MAX;
    }
}

static void on_up(wf_link *link, void *arg, const Weft__Wire__Hello *hello)
{
    struct end *e = arg;

    (void)link;
    (void)hello;
    e->is_up = true;
    e->b->up++;
}

static void on_control(wf_link *link, void *arg, Weft__Wire__Control *message)
{
    struct end *e = arg;

    if (message->of_case == WEFT__WIRE__CONTROL__OF_SETUP) {
        Weft__Wire__SetupReply reply;
        Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;

        weft__wire__setup_reply__init(&reply);
        e->setup_label = reply.to = message->setup->label;
        reply.label = 1 + e->setups++;
        reply.window = message->setup->window;
        control.of_case = WEFT__WIRE__CONTROL__OF_SETUP_REPLY;
        control.setup_reply = &reply;
        wf_link_send_control(link, &control);
    } else if (message->of_case == WEFT__WIRE__CONTROL__OF_SETUP_REPLY) {
        must(message->setup_reply->code == 0, message->setup_reply->reason);
        e->replies++;
        e->reply_label = message->setup_reply->label;
        e->credit = message->setup_reply->window;
    } else if (message->of_case == WEFT__WIRE__CONTROL__OF_BIND_REPLY) {
        must(message->bind_reply->code == 0, message->bind_reply->reason);
        e->is_bound = true;
    }
}

static void on_frame(wf_link *link, void *arg, struct wf_frame *frame)
{
    struct end *e = arg;

    if (frame->type == WF_FRAME_DATA) {
        e->received += frame->length;
        if (e->received - e->acked >= 16 * WF_DATA_MAX) {
            struct wf_ack ack = {.received = e->received,
                                 .credit = e->received + WF_WINDOW_DEFAULT};
            e->acked = e->received;
            wf_link_send_ack(link, e->setup_label, &ack);
        }
    } else if (frame->type == WF_FRAME_ACK) {
        struct wf_ack ack;

        must(wf_ack_decode(frame->bytes + WF_FRAME_HEADER, frame->length, &ack), "bad ack");
        e->credit = ack.credit;
        send_data(e);
    } else {
        must(false, "a circuit was closed");
    }
}

static void on_drained(wf_link *link, void *arg)
{
    struct end *e = arg;

    (void)link;
    if (e->reply_label != 0)
        send_data(e);
}

static void on_closed(wf_link *link, void *arg, weft_err err, const wf_why *why)
{
    struct end *e = arg;

    (void)link;
    (void)err;
    must(e->b->pid == 0, why->text);
    e->link = NULL;
}

static const struct wf_link_handler handler = {.up = on_up,
                                               .control = on_control,
                                               .frame = on_frame,
                                               .drained = on_drained,
                                               .closed = on_closed};

static void dial(struct end *e, struct bench *b)
{
    const struct wf_link_config config = {.tls = b->tls,
                                          .alpn = PKI_ALPN_LINK,
                                          .kinds = PKI_ROUTER,
                                          .peer_id = &b->router.id,
                                          .handler = &handler,
                                          .arg = e};
    e->b = b;
    must(wf_link_dial(b->net, &b->address, &config, &e->link) == WEFT_OK, "can't dial");
}

#define until(b, condition)                                                                        \
    while (!(condition))                                                                           \
    uv_run(&(b)->loop, UV_RUN_ONCE)

static void turn(struct bench *b, unsigned ms)
{
    uint64_t end = wf_now_mono_ms() + ms;

    while (wf_now_mono_ms() < end) {
        uv_run(&b->loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
}

static void bind_service(struct end *e)
{
    struct bench *b = e->b;
    wf_id instance = wf_id_random();
    Weft__Wire__Bind bind = WEFT__WIRE__BIND__INIT;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;

    bind.request = 1;
    bind.bind = authority_bind(&b->a, &b->node, &b->service, &instance, &b->router.id);
    bind.grant = authority_grant(&b->a, &b->node, &b->service, "web", WEFT__WIRE__ROLE__ROLE_BIND);
    control.of_case = WEFT__WIRE__CONTROL__OF_BIND;
    control.bind = &bind;
    wf_link_send_control(e->link, &control);
    until(b, e->is_bound);
    wf_signed_free(bind.bind);
    wf_signed_free(bind.grant);
}

static void setup(struct end *e, uint32_t label, Weft__Wire__Signed *grant)
{
    wf_id session = wf_id_random();
    Weft__Wire__Setup message = WEFT__WIRE__SETUP__INIT;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;

    message.label = label;
    message.service_id = wf_pb_id(&e->b->service);
    message.session = wf_pb_id(&session);
    message.window = WF_WINDOW_DEFAULT;
    message.grant = grant;
    control.of_case = WEFT__WIRE__CONTROL__OF_SETUP;
    control.setup = &message;
    wf_link_send_control(e->link, &control);
}

static void measure_edges(struct bench *b, unsigned count)
{
    struct end *ends = calloc(count, sizeof *ends);
    long before = rss(b);

    must(ends != NULL, "no memory");
    b->up = 0;
    for (unsigned i = 0; i < count; i++) {
        dial(&ends[i], b);
        until(b, b->up + AT_ONCE > i);
    }
    until(b, b->up == count);
    turn(b, 1500);
    printf("per idle endpoint    %7.1f KiB   (%u endpoints)\n",
           (double)(rss(b) - before) / count / 1024, count);
}

static void measure_circuits(struct bench *b, struct end *dialer, struct end *host, unsigned count,
                             Weft__Wire__Signed *grant)
{
    long before = rss(b);
    double busy;
    uint64_t began = wf_now_mono_ms();

    for (unsigned i = 0; i < count; i++) {
        setup(dialer, 10 + i, grant);
        until(b, dialer->replies + AT_ONCE > i);
    }
    until(b, dialer->replies == count);
    printf("circuits set up      %7.0f /s\n", 1000.0 * count / (double)(wf_now_mono_ms() - began));
    turn(b, 1500);
    printf("per idle circuit     %7.0f bytes (%u circuits)\n", (double)(rss(b) - before) / count,
           count);
    (void)host;
    busy = cpu(b);
    turn(b, 5000);
    printf("processor, all idle  %7.2f %%\n", (cpu(b) - busy) / 5 * 100);
}

static void measure_bulk(struct bench *b, struct end *dialer, struct end *host, unsigned seconds,
                         Weft__Wire__Signed *grant)
{
    unsigned replies = dialer->replies;
    uint64_t began, end, bytes;
    double busy;

    setup(dialer, 9, grant);
    until(b, dialer->replies == replies + 1);
    send_data(dialer);
    end = wf_now_mono_ms() + 500;
    until(b, wf_now_mono_ms() >= end);
    began = wf_now_mono_ms();
    bytes = host->received;
    busy = cpu(b);
    end = began + seconds * 1000u;
    until(b, wf_now_mono_ms() >= end);
    bytes = host->received - bytes;
    printf("one circuit          %7.2f Gbit/s, router %.0f %% of a core, %.2f core-s per GB\n",
           (double)bytes * 8 / 1e6 / (double)(wf_now_mono_ms() - began),
           (cpu(b) - busy) / seconds * 100, (cpu(b) - busy) / ((double)bytes / 1e9));
    dialer->credit = 0;
}

int main(int argc, char **argv)
{
    unsigned edges = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1000;
    unsigned circuits = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 20000;
    unsigned seconds = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 3;
    static struct bench b;
    struct end dialer = {0}, host = {0};
    Weft__Wire__Signed *grant;
    static const char *const files[] = {"state/members", "state/floors", "state", "router.json",
                                        "router.json.lock"};
    char path[128];
    int status;

    must(argc > 1, "name the weft-router program");
    must(uv_loop_init(&b.loop) == 0 && wf_net_open(&b.loop, &b.net) == WEFT_OK, "no loop");
    authority_init(&b.a, "test.weft", wf_now_wall_ms());
    authority_issue(&b.a, PKI_ROUTER, "edge", &b.router);
    authority_issue(&b.a, PKI_IDENTITY, "node", &b.node);
    b.trust = authority_trust(&b.a);
    b.tls = authority_tls(&b.node, b.trust);
    b.service = wf_id_random();
    make_home(&b);
    start(&b, argv[1]);
    turn(&b, 300);
    printf("router, empty        %7.2f MiB\n", (double)rss(&b) / 1048576);

    dial(&host, &b);
    dial(&dialer, &b);
    until(&b, dialer.is_up && host.is_up);
    bind_service(&host);
    grant = authority_grant(&b.a, &b.node, &b.service, "web", WEFT__WIRE__ROLE__ROLE_DIAL);
    measure_edges(&b, edges);
    measure_circuits(&b, &dialer, &host, circuits, grant);
    measure_bulk(&b, &dialer, &host, seconds, grant);
    printf("router at the end    %7.2f MiB\n", (double)rss(&b) / 1048576);

    must(kill(b.pid, SIGKILL) == 0 && waitpid(b.pid, &status, 0) == b.pid, "no process");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", b.home, files[i]);
        (void)remove(path);
    }
    (void)rmdir(b.home);
    wf_signed_free(grant);
    return 0; /* what is open goes with the process */
}
