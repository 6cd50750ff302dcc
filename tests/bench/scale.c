/*
 * How large a fabric one controller holds. Loads identities, services and
 * policies through the real operation table, then starts the program on that
 * home and asks it. No test: prints figures as JSON lines, and fails only if
 * an answer is wrong. Clients and controller share the machine.
 *
 *   weft-scale CONTROLLER IDENTITIES SERVICES POLICIES
 */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "tests/controller/served.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLS_PER_TURN 500u
#define TEAMS 500u /* attributes that identities carry, two each */
#define LINES 4u
#define AT_ONCE 16u
#define GRANT_CALLS 900u /* of one identity: below the burst that it may take */

static struct served served;
static struct hall hall;
static struct person admin;
static struct line desk;
static struct controller loader;
static struct pki_subject loader_admin;
static const char *program;
static unsigned identities, services, policies;

static void say(const char *what, double value)
{
    printf("{\"identities\": %u, \"%s\": %.2f}\n", identities, what, value);
    fflush(stdout);
}

static double seconds_since(uint64_t start)
{
    return (double)(uv_hrtime() - start) / 1e9;
}

/* ---- loading: calls of an administrator, many to a turn */

static weft_err first_admin(void *arg, const struct store_node *row)
{
    struct pki_subject *subject = arg;

    *subject = (struct pki_subject){
        .id = row->id, .kind = PKI_IDENTITY, .pin = row->pin, .not_after = row->expires};
    memcpy(subject->name, row->name, sizeof row->name);
    return WEFT_EEOF;
}

static void load_one(const char *operation, const char *json, ...)
    __attribute__((format(printf, 2, 3)));
static void load_one(const char *operation, const char *json, ...)
{
    static unsigned calls;
    static struct call call;
    char text[1024];
    va_list args;

    va_start(args, json);
    vsnprintf(text, sizeof text, json, args);
    va_end(args);
    call = (struct call){.c = &loader,
                         .who = WHO_IDENTITY,
                         .subject = &loader_admin,
                         .remote = "here",
                         .operation = operation,
                         .arguments = wf_span_of(text, strlen(text)),
                         .now = wf_now_wall_ms()};
    wf_buf_init(&call.result, OPERATION_RESULT_MAX);
    if (operation_run(&call) != WEFT_OK)
        fail_msg("%s %s: %s", operation, text, call.why.text);
    wf_buf_fini(&call.result);
    if (++calls % CALLS_PER_TURN == 0)
        assert_int_equal(controller_end_turn(&loader, NULL), WEFT_OK);
}

static void load(void)
{
    wf_why why = {""};
    uint64_t start;

    if (controller_init(&loader, served.folder.home, &why) != WEFT_OK)
        fail_msg("%s", why.text);
    assert_int_equal(store_admin_each(loader.home.store, NULL, first_admin, &loader_admin),
                     WEFT_OK);
    start = uv_hrtime();
    for (unsigned i = 0; i < services; i++)
        load_one("service.create", "{\"name\":\"s%u\",\"roles\":[\"#app%u\",\"#zone%u\"]}", i,
                 i % (services / 10 + 1), i % 10);
    say("load_services_s", seconds_since(start));
    start = uv_hrtime();
    for (unsigned i = 0; i < policies; i++)
        load_one("policy.create",
                 "{\"name\":\"r%u\",\"type\":\"%s\",\"semantic\":\"%s\","
                 "\"identity_roles\":[\"#team%u\",\"#team%u\"],"
                 "\"service_roles\":[\"#app%u\",\"#zone%u\"]%s}",
                 i, i % 10 == 0 ? "bind" : "dial", i % 3 == 0 ? "anyOf" : "allOf", i % TEAMS,
                 (i * 7 + 1) % TEAMS, i % (services / 10 + 1), i % 10,
                 i % 4 == 0 ? ",\"windows\":[\"mon-fri 08:00-18:00\"],\"sources\":[\"10.0.0.0/8\"]"
                            : "");
    say("load_policies_s", seconds_since(start));
    start = uv_hrtime();
    for (unsigned i = 0; i < identities; i++)
        load_one("identity.create", "{\"name\":\"i%u\",\"roles\":[\"#team%u\",\"#team%u\"]}", i,
                 i % TEAMS, (i * 7 + 1) % TEAMS);
    say("load_identities_s", seconds_since(start));
    assert_int_equal(controller_end_turn(&loader, NULL), WEFT_OK);
    controller_fini(&loader);
}

/* ---- the program on that home */

static double resident_mb(pid_t pid)
{
    char path[64], line[256];
    double kb = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "VmRSS: %lf", &kb) == 1)
            break;
    if (f != NULL)
        fclose(f);
    return kb / 1024;
}

static void begin(void)
{
    uint64_t start = uv_hrtime();

    served.pid = fork();
    assert_true(served.pid >= 0);
    if (served.pid == 0) {
        execl(program, program, "run", "--home", served.folder.home, "--log-level", "error",
              (char *)NULL);
        _exit(9);
    }
    /* Until it answers its first question: that needs all that it keeps in memory. */
    for (;;) {
        memset(&desk, 0, sizeof desk);
        line_dial(&desk, &hall, &served.address, admin.tls, PKI_ALPN_LINK);
        hall_wait(&hall, 10000, desk.up || desk.closed);
        if (desk.up)
            break;
        line_close(&desk);
        assert_true(seconds_since(start) < 60);
    }
    assert_int_equal(line_ask(&desk, "explain", "{\"identity\":\"i0\",\"service\":\"s0\"}"),
                     WEFT_OK);
    say("start_to_first_answer_s", seconds_since(start));
    say("rss_mb", resident_mb(served.pid));
}

/* ---- calls, without the pauses of line_call */

struct asking {
    struct line *line;
    unsigned left, *done;
    bool answered;
    weft_err code;
};

static void on_answer(void *arg, weft_err code, const char *reason, wf_span result)
{
    struct asking *a = arg;

    (void)result;
    if (code != WEFT_OK)
        print_message("%s\n", reason);
    a->answered = true;
    a->code = code;
}

static void ask(struct line *line, const char *operation, const char *json)
{
    struct asking a = {.line = line};

    assert_int_equal(
        wf_link_call(line->link, operation, wf_span_of(json, strlen(json)), 30000, on_answer, &a),
        WEFT_OK);
    while (!a.answered)
        uv_run(&hall.loop, UV_RUN_ONCE);
    assert_int_equal(a.code, WEFT_OK);
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static void say_spread(const char *what, double *ms, unsigned count)
{
    char name[96];

    qsort(ms, count, sizeof *ms, by_size);
    snprintf(name, sizeof name, "%s_p50_ms", what);
    say(name, ms[count / 2]);
    snprintf(name, sizeof name, "%s_p99_ms", what);
    say(name, ms[count - 1 - count / 100]);
}

static void measure_explain(void)
{
    static double ms[2000];
    char text[128];

    for (unsigned i = 0; i < 2000; i++) {
        uint64_t start = uv_hrtime();

        snprintf(text, sizeof text, "{\"identity\":\"i%u\",\"service\":\"s%u\"}",
                 i * 7919u % identities, i * 104729u % services);
        ask(&desk, "explain", text);
        ms[i] = seconds_since(start) * 1e3;
    }
    say_spread("explain", ms, 2000);
}

/* Each at once, from the identity's making to its certificate, both sides' work together. */
static void measure_enrollments(struct person *people, unsigned count)
{
    uint64_t start = uv_hrtime();
    char name[32], roles[64];

    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof name, "e%u", i);
        snprintf(roles, sizeof roles, "[\"#team%u\",\"#team%u\"]", i % TEAMS, (i * 7 + 1) % TEAMS);
        person_enroll(&people[i], &served, &desk, name, roles);
    }
    say("enrollments_one_by_one_per_s", count / seconds_since(start));
}

static uint64_t grants;

static void count_grants(wf_span result)
{
    static Weft__Wire__GrantsResult *decoded;

    assert_int_equal(wf_grants_result_decode(result.data, result.len, &decoded, NULL), WEFT_OK);
    grants += decoded->n_grants;
    wf_grants_result_free(decoded);
}

static void on_granted(void *arg, weft_err code, const char *reason, wf_span result)
{
    struct asking *a = arg;

    if (code != WEFT_OK || result.len < 100)
        fail_msg("%s", reason);
    ++*a->done;
    count_grants(result);
    if (a->left-- > 0)
        assert_int_equal(
            wf_link_call(a->line->link, "grants", wf_span_of("", 0), 60000, on_granted, a),
            WEFT_OK);
}

/* All that policy gives to one identity, with each call. */
static void measure_grants(struct line *lines)
{
    static struct asking asking[LINES][AT_ONCE];
    unsigned done = 0, each = identities > 5000 ? GRANT_CALLS / AT_ONCE : 4;
    uint64_t start = uv_hrtime();

    for (unsigned i = 0; i < LINES; i++)
        for (unsigned k = 0; k < AT_ONCE; k++) {
            asking[i][k] = (struct asking){.line = &lines[i], .left = each - 1, .done = &done};
            assert_int_equal(wf_link_call(lines[i].link, "grants", wf_span_of("", 0), 60000,
                                          on_granted, &asking[i][k]),
                             WEFT_OK);
        }
    while (done < LINES * AT_ONCE * each)
        uv_run(&hall.loop, UV_RUN_ONCE);
    say("grant_calls_per_s", done / seconds_since(start));
    say("grants_per_s", (double)grants / seconds_since(start));
}

/* From the administrator's call to the grants that a connected endpoint fetched because of it. */
static void measure_role_change(struct line *line, const char *name)
{
    static double ms[40];
    char text[128];

    for (unsigned i = 0; i < 40; i++) {
        uint64_t start = uv_hrtime();
        unsigned before = line->grants;

        snprintf(text, sizeof text, "{\"name\":\"%s\",\"roles\":[\"#team%u\"]}", name,
                 i * 13 % TEAMS);
        ask(&desk, "identity.update", text);
        while (line->grants == before)
            uv_run(&hall.loop, UV_RUN_ONCE);
        ask(line, "grants", "");
        ms[i] = seconds_since(start) * 1e3;
    }
    say_spread("role_change_to_new_grants", ms, 40);
}

static void measure_policy_change(void)
{
    static double ms[40];
    char text[256];

    for (unsigned i = 0; i < 40; i++) {
        uint64_t start = uv_hrtime();

        snprintf(text, sizeof text,
                 "{\"name\":\"r%u\",\"identity_roles\":[\"#team%u\",\"#team%u\"]}", i % policies,
                 i * 17 % TEAMS, i * 19 % TEAMS);
        ask(&desk, "policy.update", text);
        ms[i] = seconds_since(start) * 1e3;
    }
    say_spread("policy_change", ms, 40);
}

static void measure(void **state)
{
    static struct person people[200];
    struct line lines[LINES];
    unsigned count = identities > 5000 ? 200 : 20;

    (void)state;
    wf_log_open("scale", WF_LOG_ERROR, WF_LOG_TEXT);
    served_init(&served);
    load();
    hall_open(&hall);
    person_load(&admin, served.folder.admin);
    begin();
    measure_explain();
    measure_enrollments(people, count);
    for (unsigned i = 0; i < LINES; i++)
        line_open(&lines[i], &hall, &served.address, people[i].tls, people[i].trust);
    measure_grants(lines);
    measure_role_change(&lines[1], "e1");
    measure_policy_change();
    say("rss_mb_after", resident_mb(served.pid));
    for (unsigned i = 0; i < LINES; i++)
        line_close(&lines[i]);
    for (unsigned i = 0; i < count; i++)
        person_fini(&people[i]);
    line_close(&desk);
    person_fini(&admin);
    hall_close(&hall);
    served_fini(&served);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(measure)};

    if (argc != 5) {
        fprintf(stderr, "usage: weft-scale CONTROLLER IDENTITIES SERVICES POLICIES\n");
        return 2;
    }
    program = argv[1];
    identities = (unsigned)strtoul(argv[2], NULL, 10);
    services = (unsigned)strtoul(argv[3], NULL, 10);
    policies = (unsigned)strtoul(argv[4], NULL, 10);
    if (identities < LINES || services < 10 || policies < 10)
        return 2;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
