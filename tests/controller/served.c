#include "served.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/link/enroll.h"
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * A port that is free at this moment. The address has to be known before the
 * controller runs, so port 0 won't do; below the range that the kernel gives to
 * outgoing connections nobody takes it in between by chance.
 */
static uint16_t free_port(void)
{
    for (unsigned tries = 0; tries < 1000; tries++) {
        wf_id random = wf_id_random();
        uint16_t port = (uint16_t)(10000 + (random.b[0] << 8 | random.b[1]) % 20000);
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int status;

        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        status = bind(fd, (struct sockaddr *)&in, sizeof in);
        close(fd);
        if (status == 0)
            return port;
    }
    fail_msg("no port is free");
    return 0;
}

void served_init(struct served *s)
{
    struct init_config config = {.domain = "test.weft", .address_count = 1};
    wf_why why = {""};

    memset(s, 0, sizeof *s);
    memcpy(s->folder.top, "/tmp/weft-test-XXXXXX", sizeof "/tmp/weft-test-XXXXXX");
    assert_non_null(mkdtemp(s->folder.top));
    snprintf(s->folder.home, sizeof s->folder.home, "%.60s/home", s->folder.top);
    snprintf(s->folder.admin, sizeof s->folder.admin, "%.70s/admin.json", s->folder.home);
    memcpy(s->address.host, "127.0.0.1", sizeof "127.0.0.1");
    s->address.port = free_port();
    config.dir = s->folder.home;
    config.addresses = &s->address;
    if (init_home(&config, &why) != WEFT_OK)
        fail_msg("init: %s", why.text);
}

static void say_listening(void *arg, uint16_t port)
{
    const int *fd = arg;

    (void)!write(*fd, &port, sizeof port);
}

void served_start(struct served *s)
{
    int fds[2];
    uint16_t port = 0;

    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0) {
        struct controller_run run = {.dir = s->folder.home,
                                     .listen = s->address,
                                     .listening = say_listening,
                                     .arg = &fds[1]};
        wf_why why = {""};

        close(fds[0]);
        if (s->file_limit != 0) {
            struct rlimit limit = {.rlim_cur = s->file_limit, .rlim_max = s->file_limit};

            signal(SIGXFSZ, SIG_IGN);
            if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
                _exit(9);
        }
        wf_log_open("controller", getenv("WEFT_TEST_LOG") != NULL ? WF_LOG_DEBUG : WF_LOG_ERROR,
                    WF_LOG_TEXT);
        weft_err err = controller_run(&run, &why);
        if (err != WEFT_OK)
            fprintf(stderr, "controller: %s\n", why.text);
        exit(err == WEFT_OK ? 0 : 1);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &port, sizeof port), sizeof port);
    close(fds[0]);
    assert_int_equal(port, s->address.port);
}

void served_stop(struct served *s)
{
    int status = -1;

    if (s->pid == 0)
        return;
    kill(s->pid, SIGTERM);
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
    s->pid = 0;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

void served_kill(struct served *s)
{
    kill(s->pid, SIGKILL);
    assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
    s->pid = 0;
}

int served_wait(struct served *s)
{
    int status = -1;

    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
    s->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void served_fini(struct served *s)
{
    served_stop(s);
    folder_remove(&s->folder);
}

/* ---- the hall */

void hall_open(struct hall *h)
{
    assert_int_equal(uv_loop_init(&h->loop), 0);
    assert_int_equal(wf_net_open(&h->loop, &h->net), WEFT_OK);
}

void hall_close(struct hall *h)
{
    wf_net_close(h->net, NULL, NULL);
    uv_run(&h->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&h->loop), 0);
}

/* ---- lines */

static void on_secured(wf_link *link, void *arg)
{
    struct line *line = arg;

    (void)link;
    line->secured = true;
}

static void on_up(wf_link *link, void *arg, const Weft__Wire__Hello *hello)
{
    struct line *line = arg;

    (void)link;
    (void)hello;
    line->up = true;
}

static void on_control(wf_link *link, void *arg, Weft__Wire__Control *message)
{
    struct line *line = arg;
    bool changed;

    (void)link;
    if (message->of_case == WEFT__WIRE__CONTROL__OF_FLOORS) {
        line->floors++;
        line->floors_at = uv_hrtime();
        for (size_t i = 0; line->trust != NULL && i < message->floors->n_sets; i++)
            assert_int_equal(pki_trust_apply_floors(line->trust, message->floors->sets[i],
                                                    wf_now_wall_ms(), &changed, &line->why),
                             WEFT_OK);
    } else if (message->of_case == WEFT__WIRE__CONTROL__OF_NOTICE) {
        line->grants += message->notice->grants != 0;
        line->members += message->notice->members != 0;
        line->cuts += message->notice->n_cut_sessions > 0;
    }
}

static void on_closed(wf_link *link, void *arg, weft_err err, const wf_why *why)
{
    struct line *line = arg;

    (void)link;
    line->link = NULL;
    line->closed = true;
    line->err = err;
    line->why = *why;
}

static void on_hello(void *arg, Weft__Wire__Hello *hello)
{
    const struct line *line = arg;

    hello->floors_version = line->floors_version;
}

void line_dial(struct line *line, struct hall *hall, const wf_address *address, pki_tls_ctx *tls,
               enum pki_alpn alpn)
{
    static const struct wf_link_handler handler = {
        .secured = on_secured, .up = on_up, .control = on_control, .closed = on_closed};
    const struct wf_link_config config = {
        .tls = tls,
        .alpn = alpn,
        .kinds = PKI_CONTROLLER,
        .hello = on_hello,
        .hello_arg = line,
        .handler = &handler,
        .arg = line,
    };

    line->hall = hall;
    wf_buf_init(&line->result, WF_CONTROL_MAX);
    assert_int_equal(wf_link_dial(hall->net, address, &config, &line->link), WEFT_OK);
}

void line_open(struct line *line, struct hall *hall, const wf_address *address, pki_tls_ctx *tls,
               pki_trust *trust)
{
    memset(line, 0, sizeof *line);
    line->trust = trust;
    if (trust != NULL)
        line->floors_version = pki_floors_version(pki_trust_floors(trust));
    line_dial(line, hall, address, tls, PKI_ALPN_LINK);
    hall_wait(hall, 10000, line->up || line->closed);
    if (!line->up)
        fail_msg("%s: %s", weft_err_name(line->err), line->why.text);
}

static void on_reply(void *arg, weft_err code, const char *reason, wf_span result)
{
    struct line *line = arg;

    line->replied = true;
    line->code = code;
    snprintf(line->reason, sizeof line->reason, "%s", reason);
    wf_buf_clear(&line->result);
    assert_int_equal(wf_buf_put(&line->result, result.data, result.len), WEFT_OK);
}

weft_err line_call(struct line *line, const char *operation, wf_span arguments)
{
    line->replied = false;
    if (line->link == NULL)
        return WEFT_EUNREACHABLE;
    assert_int_equal(wf_link_call(line->link, operation, arguments, 10000, on_reply, line),
                     WEFT_OK);
    hall_wait(line->hall, 12000, line->replied);
    return line->code;
}

weft_err line_ask(struct line *line, const char *operation, const char *json, ...)
{
    char text[4096];
    va_list args;

    va_start(args, json);
    vsnprintf(text, sizeof text, json, args);
    va_end(args);
    return line_call(line, operation, wf_span_of(text, strlen(text)));
}

void line_text(struct line *line, const char *key, char *out, size_t cap)
{
    json_t *root = json_loadb((const char *)line->result.data, line->result.len, 0, NULL);
    const char *text = json_string_value(json_object_get(root, key));

    assert_non_null(text);
    snprintf(out, cap, "%s", text);
    json_decref(root);
}

void line_close(struct line *line)
{
    if (line->link != NULL) {
        wf_link_close(line->link);
        hall_wait(line->hall, 5000, line->closed);
    }
    wf_buf_fini(&line->result);
}

/* ---- persons */

static void person_open(struct person *p)
{
    wf_why why = {""};

    if (pki_identity_open(&p->identity, wf_now_wall_ms(), &p->trust, &p->tls, &why) != WEFT_OK)
        fail_msg("%s", why.text);
}

void person_load(struct person *p, const char *path)
{
    wf_why why = {""};

    memset(p, 0, sizeof *p);
    pki_identity_init(&p->identity);
    if (pki_identity_load(path, &p->identity, &why) != WEFT_OK)
        fail_msg("%s", why.text);
    person_open(p);
}

void person_fini(struct person *p)
{
    pki_identity_fini(&p->identity);
    pki_trust_unref(p->trust);
    pki_tls_ctx_unref(p->tls);
}

void person_enroll(struct person *p, struct served *s, struct line *admin, const char *name,
                   const char *roles)
{
    char token[WF_TOKEN_MAX], out[160];
    struct wf_enroll_config config = {.token = token, .out = out, .kind = PKI_IDENTITY};
    Weft__Wire__EnrollResult *result = NULL;
    wf_why why = {""};

    memset(p, 0, sizeof *p);
    assert_int_equal(
        line_ask(admin, "identity.create", "{\"name\":\"%s\",\"roles\":%s}", name, roles), WEFT_OK);
    line_text(admin, "token", token, sizeof token);
    config.token_len = strlen(token);
    snprintf(out, sizeof out, "%s/%s.json", s->folder.top, name);
    pki_identity_init(&p->identity);
    if (wf_enroll(&config, &p->identity, &result, &why) != WEFT_OK)
        fail_msg("%s", why.text);
    wf_enroll_result_free(result);
    person_open(p);
}
