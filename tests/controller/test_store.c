/*
 * The store: rows, savepoints, a process killed while it commits, a disk that is full.
 * UNTESTED: a power failure. That synchronous=FULL is set, no test here notices.
 */
#include "controller/store.h"
#include "desk.h"
#include "proto/base/clock.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct folder folder;
static char path[128];
static store *s;

static void make_folder(void)
{
    memcpy(folder.top, "/tmp/weft-test-XXXXXX", sizeof "/tmp/weft-test-XXXXXX");
    assert_non_null(mkdtemp(folder.top));
    snprintf(path, sizeof path, "%s/weft.db", folder.top);
}

static int make_store(void **state)
{
    (void)state;
    make_folder();
    assert_int_equal(store_create(path, NULL), WEFT_OK);
    assert_int_equal(store_open(path, &s, NULL), WEFT_OK);
    return 0;
}

static int drop_store(void **state)
{
    (void)state;
    store_close(s);
    s = NULL;
    folder_remove(&folder);
    return 0;
}

static struct store_node node_named(const char *name)
{
    struct store_node node = {
        .id = wf_id_random(), .kind = PKI_IDENTITY, .enroll = PKI_ENROLL_OTT, .created = 5};

    snprintf(node.name, sizeof node.name, "%s", name);
    return node;
}

static void a_node_reads_back_as_it_was_written(void **state)
{
    struct store_node node = node_named("ci"), seen;

    (void)state;
    node.enrolled = true;
    memset(node.pin.b, 3, sizeof node.pin.b);
    node.expires = 77;
    node.roles.count = 2;
    snprintf(node.roles.names[0], WF_NAME_MAX + 1, "a");
    snprintf(node.roles.names[1], WF_NAME_MAX + 1, "b");
    assert_int_equal(store_begin(s), WEFT_OK);
    assert_int_equal(store_node_add(s, &node), WEFT_OK);
    assert_int_equal(store_node_get(s, PKI_IDENTITY, &node.id, &seen), WEFT_OK);
    assert_string_equal(seen.name, "ci");
    assert_true(seen.enrolled && !seen.disabled);
    assert_int_equal(seen.expires, 77);
    assert_int_equal(seen.roles.count, 2);
    assert_string_equal(seen.roles.names[1], "b");
    /* Kinds are never confused. */
    assert_int_equal(store_node_get(s, PKI_ROUTER, &node.id, &seen), WEFT_ENOTFOUND);
    assert_int_equal(store_node_find(s, PKI_ROUTER, "ci", &seen), WEFT_ENOTFOUND);
    node.roles.count = 0;
    node.disabled = true;
    assert_int_equal(store_node_put(s, &node), WEFT_OK);
    assert_int_equal(store_node_find(s, PKI_IDENTITY, "ci", &seen), WEFT_OK);
    assert_int_equal(seen.roles.count, 0);
    assert_true(seen.disabled);
    assert_int_equal(store_commit(s), WEFT_OK);
}

static void a_name_is_taken_once_a_kind(void **state)
{
    struct store_node one = node_named("same"), two = node_named("same"),
                      router = node_named("same");

    (void)state;
    router.kind = PKI_ROUTER;
    assert_int_equal(store_begin(s), WEFT_OK);
    assert_int_equal(store_node_add(s, &one), WEFT_OK);
    assert_int_equal(store_node_add(s, &two), WEFT_EEXIST);
    assert_int_equal(store_node_add(s, &router), WEFT_OK);
    assert_int_equal(store_check(s, NULL), WEFT_OK);
    assert_int_equal(store_commit(s), WEFT_OK);
}

static void an_undone_call_leaves_the_others_of_its_turn_alone(void **state)
{
    struct store_node one = node_named("one"), two = node_named("two"), three = node_named("three");
    struct store_node seen;

    (void)state;
    assert_int_equal(store_begin(s), WEFT_OK);
    assert_int_equal(store_mark(s), WEFT_OK);
    assert_int_equal(store_node_add(s, &one), WEFT_OK);
    assert_int_equal(store_keep(s), WEFT_OK);
    assert_int_equal(store_mark(s), WEFT_OK);
    assert_int_equal(store_node_add(s, &two), WEFT_OK);
    assert_int_equal(store_undo(s), WEFT_OK);
    assert_int_equal(store_mark(s), WEFT_OK);
    assert_int_equal(store_node_add(s, &three), WEFT_OK);
    assert_int_equal(store_keep(s), WEFT_OK);
    assert_int_equal(store_commit(s), WEFT_OK);
    store_close(s);
    assert_int_equal(store_open(path, &s, NULL), WEFT_OK);
    assert_int_equal(store_node_find(s, PKI_IDENTITY, "one", &seen), WEFT_OK);
    assert_int_equal(store_node_find(s, PKI_IDENTITY, "two", &seen), WEFT_ENOTFOUND);
    assert_int_equal(store_node_find(s, PKI_IDENTITY, "three", &seen), WEFT_OK);
}

static void what_points_at_a_thing_goes_with_it(void **state)
{
    struct store_node node = node_named("bob");
    struct store_service service = {.id = wf_id_random(), .name = "db", .mode = STORE_MODE_STREAM};
    struct store_policy policy = {.id = wf_id_random(),
                                  .name = "p",
                                  .type = POLICY_DIAL,
                                  .identity_count = 2,
                                  .service_count = 1};
    struct store_issued issued = {.role = POLICY_DIAL, .expiry = 100};
    struct store_policy seen;
    uint64_t end;

    (void)state;
    policy.identities[0] = (struct policy_role){.kind = POLICY_ROLE_ID, .id = node.id};
    policy.identities[1] = (struct policy_role){.kind = POLICY_ROLE_ATTRIBUTE, .attribute = "x"};
    policy.services[0] = (struct policy_role){.kind = POLICY_ROLE_ID, .id = service.id};
    issued.identity = node.id;
    issued.service = service.id;
    assert_int_equal(store_begin(s), WEFT_OK);
    /* A policy about what isn't there is refused by the store itself. */
    assert_int_equal(store_mark(s), WEFT_OK);
    assert_int_equal(store_policy_add(s, &policy), WEFT_ECONFLICT);
    assert_int_equal(store_undo(s), WEFT_OK);
    assert_int_equal(store_node_add(s, &node), WEFT_OK);
    assert_int_equal(store_service_add(s, &service), WEFT_OK);
    assert_int_equal(store_policy_add(s, &policy), WEFT_OK);
    assert_int_equal(store_issued_put(s, &issued), WEFT_OK);
    assert_int_equal(store_issued_end(s, &node.id, &end), WEFT_OK);
    assert_int_equal(end, 100);
    assert_int_equal(store_node_remove(s, &node.id), WEFT_OK);
    assert_int_equal(store_policy_find(s, "p", &seen), WEFT_OK);
    assert_int_equal(seen.identity_count, 1);
    assert_string_equal(seen.identities[0].attribute, "x");
    assert_int_equal(store_issued_end(s, &node.id, &end), WEFT_OK);
    assert_int_equal(end, 0);
    assert_int_equal(store_service_remove(s, &service.id), WEFT_OK);
    assert_int_equal(store_policy_find(s, "p", &seen), WEFT_OK);
    assert_int_equal(seen.service_count, 0);
    assert_int_equal(store_commit(s), WEFT_OK);
}

static void a_token_is_redeemed_once(void **state)
{
    struct store_node node = node_named("t");
    struct store_token token = {.kind = PKI_IDENTITY, .expires = 9}, seen;
    pki_pin pin;

    (void)state;
    memset(pin.b, 4, sizeof pin.b);
    token.subject = node.id;
    assert_int_equal(store_begin(s), WEFT_OK);
    assert_int_equal(store_node_add(s, &node), WEFT_OK);
    assert_int_equal(store_token_add(s, &token), WEFT_OK);
    assert_int_equal(store_token_redeem(s, token.hash, 7, &pin, wf_span_of("pem", 3)), WEFT_OK);
    assert_int_equal(store_token_redeem(s, token.hash, 8, &pin, wf_span_of("pem", 3)), WEFT_EUSED);
    assert_int_equal(store_token_get(s, token.hash, &seen), WEFT_OK);
    assert_int_equal(seen.redeemed, 7);
    assert_true(pki_pin_equal(&seen.pin, &pin));
    assert_int_equal(store_commit(s), WEFT_OK);
}

static void epochs_only_rise_also_over_a_restart_and_a_clock_that_goes_back(void **state)
{
    uint64_t a, b, c;

    (void)state;
    assert_int_equal(store_begin(s), WEFT_OK);
    a = store_next_epoch(s, 1000);
    b = store_next_epoch(s, 1000);
    assert_int_equal(a, 1000);
    assert_int_equal(b, 1001);
    assert_int_equal(store_commit(s), WEFT_OK);
    store_close(s);
    assert_int_equal(store_open(path, &s, NULL), WEFT_OK);
    assert_int_equal(store_begin(s), WEFT_OK);
    c = store_next_epoch(s, 10);
    assert_int_equal(c, 1002);
    assert_int_equal(store_commit(s), WEFT_OK);
}

static weft_err take_floor(void *arg, const struct store_floor *row)
{
    struct store_floor *list = arg;

    list[row->kind] = *row;
    return WEFT_OK;
}

static void floors_of_all_kinds_read_back_and_rise(void **state)
{
    struct store_floor floors[4] = {
        {.kind = STORE_FLOOR_GRANT, .role = POLICY_BIND, .epoch = 10, .expires = 50},
        {.kind = STORE_FLOOR_IDENTITY, .epoch = 20, .cut = true, .expires = 60},
        {.kind = STORE_FLOOR_KEY, .epoch = 30, .cut = true, .expires = 70},
        {.kind = STORE_FLOOR_ROUTER, .epoch = 40, .expires = 80},
    };
    struct store_floor seen[4] = {{.epoch = 0}};
    uint64_t count;

    (void)state;
    floors[0].identity = floors[1].identity = wf_id_random();
    floors[0].service = wf_id_random();
    floors[3].router = wf_id_random();
    memset(floors[2].key.b, 6, sizeof floors[2].key.b);
    assert_int_equal(store_begin(s), WEFT_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(store_floor_put(s, &floors[i]), WEFT_OK);
    assert_int_equal(store_floor_each(s, 0, take_floor, seen), WEFT_OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(seen[i].epoch, floors[i].epoch);
        assert_int_equal(seen[i].cut, floors[i].cut);
        assert_true(wf_id_equal(&seen[i].identity, &floors[i].identity));
        assert_true(wf_id_equal(&seen[i].service, &floors[i].service));
        assert_true(wf_id_equal(&seen[i].router, &floors[i].router));
        assert_true(pki_pin_equal(&seen[i].key, &floors[i].key));
    }
    floors[1].epoch = 5; /* an older one doesn't lower it */
    assert_int_equal(store_floor_put(s, &floors[1]), WEFT_OK);
    assert_int_equal(store_floor_get(s, &floors[1]), WEFT_OK);
    assert_int_equal(floors[1].epoch, 20);
    assert_int_equal(store_floor_sweep(s, 65), WEFT_OK);
    assert_int_equal(store_floor_count(s, &count), WEFT_OK);
    assert_int_equal(count, 2);
    assert_int_equal(store_commit(s), WEFT_OK);
}

static void one_process_has_the_store(void **state)
{
    store *second = NULL;
    wf_why why = {""};

    (void)state;
    assert_int_equal(store_open(path, &second, &why), WEFT_EBUSY);
    assert_null(second);
}

static void what_is_no_store_is_refused(void **state)
{
    char other[160];
    store *none = NULL;
    wf_why why = {""};
    int fd;

    (void)state;
    snprintf(other, sizeof other, "%s/other.db", folder.top);
    assert_int_equal(store_open(other, &none, &why), WEFT_ENOTFOUND);
    fd = open(other, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, "this is no database at all, is it", 33), 33);
    close(fd);
    assert_int_equal(store_open(other, &none, &why), WEFT_EIO);
    assert_int_equal(truncate(other, 0), 0);
    assert_int_equal(store_open(other, &none, &why), WEFT_EVERSION);
    assert_int_equal(store_create(other, &why), WEFT_EEXIST);
    assert_null(none);
}

/* ---- a process that is killed while it commits */

static void write_until_killed(int out)
{
    store *mine = NULL;

    if (store_open(path, &mine, NULL) != WEFT_OK)
        _exit(1);
    for (uint32_t i = 0;; i++) {
        char name[32];
        struct store_node node;

        snprintf(name, sizeof name, "n%u", i);
        node = node_named(name);
        if (store_begin(mine) != WEFT_OK || store_mark(mine) != WEFT_OK ||
            store_node_add(mine, &node) != WEFT_OK || store_keep(mine) != WEFT_OK ||
            store_commit(mine) != WEFT_OK)
            _exit(2);
        if (write(out, &i, sizeof i) != sizeof i) /* the acknowledgement */
            _exit(3);
    }
}

static void nothing_acknowledged_is_lost_when_the_process_is_killed(void **state)
{
    uint32_t total = 0;

    (void)state;
    for (unsigned round = 0; round < 12; round++) {
        uint32_t i, last = 0;
        bool any = false;
        struct store_node seen;
        char name[32];
        int fds[2];
        pid_t pid;

        store_close(s);
        s = NULL;
        folder_remove(&folder);
        make_folder();
        assert_int_equal(store_create(path, NULL), WEFT_OK);
        assert_int_equal(pipe(fds), 0);
        fflush(NULL);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(fds[0]);
            write_until_killed(fds[1]);
        }
        close(fds[1]);
        usleep(20000 + 17000 * round);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        while (read(fds[0], &i, sizeof i) == sizeof i) {
            last = i;
            any = true;
            total++;
        }
        close(fds[0]);
        assert_int_equal(store_open(path, &s, NULL), WEFT_OK);
        for (i = 0; any && i <= last; i++) {
            snprintf(name, sizeof name, "n%u", i);
            assert_int_equal(store_node_find(s, PKI_IDENTITY, name, &seen), WEFT_OK);
        }
    }
    assert_true(total > 0);
}

/* ---- a disk that is full */

static void fill_until_it_breaks(int out)
{
    struct rlimit limit = {.rlim_cur = 300000, .rlim_max = 300000};
    uint32_t acknowledged = 0;
    store *mine = NULL;
    wf_why why = {""};
    weft_err err = WEFT_OK;

    signal(SIGXFSZ, SIG_IGN);
    if (store_open(path, &mine, NULL) != WEFT_OK || setrlimit(RLIMIT_FSIZE, &limit) != 0)
        _exit(1);
    while (err == WEFT_OK && acknowledged < 100000) {
        char name[32];
        struct store_node node;

        snprintf(name, sizeof name, "n%u", acknowledged);
        node = node_named(name);
        err = store_begin(mine);
        if (err == WEFT_OK)
            err = store_node_add(mine, &node);
        if (err == WEFT_OK)
            err = store_commit(mine);
        if (err == WEFT_OK)
            acknowledged++;
    }
    if (write(out, &acknowledged, sizeof acknowledged) != sizeof acknowledged)
        _exit(2);
    /* Broken for good: no later call pretends. */
    if (err != WEFT_EIO || store_begin(mine) == WEFT_OK || store_commit(mine) == WEFT_OK ||
        store_check(mine, &why) == WEFT_OK || why.text[0] == '\0')
        _exit(3);
    _exit(0);
}

static void a_full_disk_stops_the_store_and_keeps_what_was_acknowledged(void **state)
{
    uint32_t acknowledged = 0;
    struct store_node seen;
    char name[32];
    int fds[2], status;
    pid_t pid;

    (void)state;
    store_close(s);
    s = NULL;
    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        fill_until_it_breaks(fds[1]);
    close(fds[1]);
    assert_int_equal(read(fds[0], &acknowledged, sizeof acknowledged), sizeof acknowledged);
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_in_range(acknowledged, 1, 99999);
    assert_int_equal(store_open(path, &s, NULL), WEFT_OK);
    for (uint32_t i = 0; i < acknowledged; i++) {
        snprintf(name, sizeof name, "n%u", i);
        assert_int_equal(store_node_find(s, PKI_IDENTITY, name, &seen), WEFT_OK);
    }
}

#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, make_store, drop_store)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(a_node_reads_back_as_it_was_written),
        STORE_TEST(a_name_is_taken_once_a_kind),
        STORE_TEST(an_undone_call_leaves_the_others_of_its_turn_alone),
        STORE_TEST(what_points_at_a_thing_goes_with_it),
        STORE_TEST(a_token_is_redeemed_once),
        STORE_TEST(epochs_only_rise_also_over_a_restart_and_a_clock_that_goes_back),
        STORE_TEST(floors_of_all_kinds_read_back_and_rise),
        STORE_TEST(one_process_has_the_store),
        STORE_TEST(what_is_no_store_is_refused),
        STORE_TEST(nothing_acknowledged_is_lost_when_the_process_is_killed),
        STORE_TEST(a_full_disk_stops_the_store_and_keeps_what_was_acknowledged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
