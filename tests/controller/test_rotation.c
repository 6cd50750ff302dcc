/*
 * Rotation: killed at any step it leaves a home that is whole, old or new;
 * who has not followed is known; a node's two keys are pinned together.
 */
#include "controller/follow.h"
#include "controller/rotated.h"
#include "controller/rotation.h"
#include "desk.h"
#include "proto/base/clock.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static wf_why why;

/* ---- dying at the n-th change of the file system: the linker sends these here (--wrap) */

static long deadly; /* 0: never */

static void count_down(void)
{
    if (deadly > 0 && --deadly == 0)
        _exit(9);
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
    count_down();
    return __real_rename(from, to);
}

int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    count_down();
    return __real_renameat(from_dir, from, to_dir, to);
}

int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode)
{
    count_down();
    return __real_mkdir(path, mode);
}

int __real_rmdir(const char *path);
int __wrap_rmdir(const char *path);
int __wrap_rmdir(const char *path)
{
    count_down();
    return __real_rmdir(path);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    count_down();
    return __real_fsync(fd);
}

static weft_err rotate_and_open(const char *dir, unsigned what, bool finish)
{
    const struct rotation rotation = {.dir = dir, .what = what, .finish = finish};
    struct home home;
    weft_err err = rotation_stage(&rotation, &why);

    if (err == WEFT_OK)
        err = home_open(dir, &home, &why);
    if (err == WEFT_OK)
        home_close(&home);
    return err;
}

/* What a home is: its bundle's version, and which key signs policy. */
struct state {
    uint64_t version;
    pki_pin policy, issuer;
    size_t keys[4];
};

static struct state state_of(const char *dir)
{
    struct state s;
    struct home home;
    wf_span keys[WF_BUNDLE_KEYS_MAX];
    pki_pin first;
    weft_err err = home_open(dir, &home, &why);

    if (err != WEFT_OK)
        fail_msg("the home does not open: %s", why.text);
    s.version = pki_trust_version(home.trust);
    pki_key_pin(home.policy, &s.policy);
    home_issuer_pin(&home, PKI_IDENTITY, &s.issuer);
    assert_int_equal(rotation_overlap(&home, s.keys), WEFT_OK);
    assert_int_equal(home.bundle_count, s.version);
    /* The key that signs is the newest in the bundle, whichever state it is. */
    assert_true(pki_trust_policy_keys(home.trust, keys, WF_BUNDLE_KEYS_MAX) > 0);
    pki_pin_of_spki(keys[0], &first);
    assert_true(pki_pin_equal(&first, &s.policy));
    home_close(&home);
    return s;
}

static void killed_at_any_step_a_home_is_whole_and_old_or_new(void **state)
{
    const unsigned what = ROTATE_IDENTITIES | ROTATE_POLICY;
    const long stride = getenv("WEFT_FULL") != NULL ? 1 : 5;
    unsigned killed = 0, old = 0, new = 0;
    struct folder folder;

    (void)state;
    folder_make(&folder);
    struct state before = state_of(folder.home);
    for (long step = 1;; step += stride) {
        int status;
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0) {
            deadly = step;
            _exit(rotate_and_open(folder.home, what, false) == WEFT_OK ? 0 : 1);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        struct state after = state_of(folder.home);
        bool is_new = !pki_pin_equal(&after.policy, &before.policy);

        assert_int_equal(after.version, before.version + (is_new ? 1 : 0));
        assert_int_equal(!pki_pin_equal(&after.issuer, &before.issuer), is_new);
        *(is_new ? &new : &old) += 1;
        if (WEXITSTATUS(status) == 0) {
            assert_true(is_new);
            break;
        }
        assert_int_equal(WEXITSTATUS(status), 9);
        killed++;
        if (after.keys[1] > 3) {
            assert_int_equal(rotate_and_open(folder.home, 0, true), WEFT_OK);
            after = state_of(folder.home);
            assert_int_equal(after.keys[1], 1);
        }
        before = after;
    }
    printf("killed %u times: %u times the old home, %u times the new\n", killed, old, new);
    assert_true(killed > 5 && old > 0 && new > 1);
    folder_remove(&folder);
}

static void what_is_unfinished_bounds_what_may_begin(void **state)
{
    struct folder folder;

    (void)state;
    folder_make(&folder);
    assert_int_equal(rotate_and_open(folder.home, 0, true), WEFT_ECONFLICT);
    assert_int_equal(rotate_and_open(folder.home, ROTATE_ALL, false), WEFT_OK);
    struct state s = state_of(folder.home);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(s.keys[i], 2);
    assert_int_equal(rotate_and_open(folder.home, ROTATE_ROOT, false), WEFT_ECONFLICT);
    assert_int_equal(rotate_and_open(folder.home, 0, true), WEFT_OK);
    s = state_of(folder.home);
    assert_int_equal(s.version, 3);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(s.keys[i], 1);
    folder_remove(&folder);
}

static void the_wrong_passphrase_changes_nothing(void **state)
{
    struct folder folder;
    char path[128];
    struct rotation rotation = {.what = ROTATE_POLICY, .passphrase_file = path};
    int fd;

    (void)state;
    folder_make(&folder);
    snprintf(path, sizeof path, "%s/wrong", folder.top);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0 && write(fd, "not the passphrase\n", 19) == 19);
    close(fd);
    rotation.dir = folder.home;
    assert_int_equal(rotation_stage(&rotation, &why), WEFT_ECREDENTIAL);
    assert_int_equal(state_of(folder.home).version, 1);
    folder_remove(&folder);
}

/* ---- at the operation table */

static struct desk d;

/* As a running controller takes a rotation up. */
static void rotate(unsigned what)
{
    const struct rotation rotation = {.dir = d.folder.home, .what = what, .finish = what == 0};
    bool switched = false;
    size_t first;

    if (rotation_stage(&rotation, &why) != WEFT_OK)
        fail_msg("%s", why.text);
    assert_int_equal(home_switch(d.folder.home, &switched, &why), WEFT_OK);
    assert_true(switched);
    assert_int_equal(home_read_bundles(&d.c.home, &first, &why), WEFT_OK);
    assert_int_equal(home_read_signers(&d.c.home, &why), WEFT_OK);
    assert_int_equal(store_begin(d.c.home.store), WEFT_OK);
    assert_int_equal(follow_resign(&d.c, wf_now_wall_ms()), WEFT_OK);
    assert_int_equal(controller_end_turn(&d.c, &why), WEFT_OK);
}

static bool is_behind(const char *name, const char *lack)
{
    bool found = false;
    size_t i, k;
    json_t *row, *what;

    desk_do(&d, "rotation.status", "{}");
    json_t *status = desk_json(&d);
    json_array_foreach(json_object_get(status, "behind"), i, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "name")), name) != 0)
            continue;
        json_array_foreach(json_object_get(row, "lacks"), k, what)
        {
            found = found || strcmp(json_string_value(what), lack) == 0;
        }
    }
    json_decref(status);
    return found;
}

static weft_err renew(struct node *n, const pki_key *new_key)
{
    Weft__Wire__RenewCall ask;
    Weft__Wire__RenewResult *result = NULL;
    wf_buf csr, proof, new_csr, new_proof, encoded;
    uint8_t channel[32];
    weft_err err;

    wf_buf_init(&csr, WF_CSR_MAX);
    wf_buf_init(&proof, 512);
    wf_buf_init(&new_csr, WF_CSR_MAX);
    wf_buf_init(&new_proof, 512);
    wf_buf_init(&encoded, WF_CONTROL_MAX);
    memcpy(channel, d.channel, sizeof channel);
    channel[0] = (uint8_t)(channel[0] ^ strlen("EXPORTER-weft-renew"));
    assert_int_equal(pki_csr_make(n->key, &csr, NULL), WEFT_OK);
    assert_int_equal(
        pki_proof_make(n->key, PKI_LABEL_RENEW, wf_span_of(csr.data, csr.len), channel, &proof),
        WEFT_OK);
    weft__wire__renew_call__init(&ask);
    ask.csr = wf_pb_bytes(csr.data, csr.len);
    ask.proof = wf_pb_bytes(proof.data, proof.len);
    if (new_key != NULL) {
        assert_int_equal(pki_csr_make(new_key, &new_csr, NULL), WEFT_OK);
        assert_int_equal(pki_proof_make(new_key, PKI_LABEL_RENEW,
                                        wf_span_of(new_csr.data, new_csr.len), channel, &new_proof),
                         WEFT_OK);
        ask.new_csr = wf_pb_bytes(new_csr.data, new_csr.len);
        ask.new_proof = wf_pb_bytes(new_proof.data, new_proof.len);
    }
    assert_int_equal(wf_message_put(&ask.base, &encoded), WEFT_OK);
    err = desk_call(&d, WHO_IDENTITY, &n->subject, "renew", wf_span_of(encoded.data, encoded.len));
    if (err == WEFT_OK) {
        wf_span certs[WF_CHAIN_DEPTH];

        assert_int_equal(wf_renew_result_decode(d.result.data, d.result.len, &result, NULL),
                         WEFT_OK);
        for (size_t i = 0; i < result->n_chain; i++)
            certs[i] = wf_pb_span(result->chain[i]);
        pki_chain_free(n->chain);
        assert_int_equal(pki_chain_from_der(certs, result->n_chain, &n->chain, NULL), WEFT_OK);
        wf_renew_result_free(result);
    }
    wf_buf_fini(&csr);
    wf_buf_fini(&proof);
    wf_buf_fini(&new_csr);
    wf_buf_fini(&new_proof);
    wf_buf_fini(&encoded);
    return err;
}

static void holds(struct node *n, uint8_t version)
{
    const uint8_t text[8] = {0, 0, 0, 0, 0, 0, 0, version};

    assert_int_equal(desk_call(&d, WHO_IDENTITY, &n->subject, "holds", wf_span_of(text, 8)),
                     WEFT_OK);
}

static void who_has_not_followed_is_known_by_what_it_lacks(void **state)
{
    Weft__Wire__GrantsResult *grants = NULL;
    struct node n = {NULL};
    pki_pin issuer, own;

    (void)state;
    desk_identity(&d, "ci", "[]", &n);
    desk_do(&d, "service.create", "{\"name\":\"web\"}");
    desk_do(&d, "allow", "{\"who\":\"@ci\",\"type\":\"dial\",\"what\":\"@web\"}");
    assert_int_equal(desk_grants(&d, &n, NULL, 0, &grants), WEFT_OK);
    assert_int_equal(grants->n_grants, 1);
    wf_grants_result_free(grants);
    holds(&n, 1);
    assert_false(is_behind("ci", "bundle") || is_behind("ci", "certificate") ||
                 is_behind("ci", "grants"));

    rotate(ROTATE_IDENTITIES | ROTATE_POLICY);
    assert_true(is_behind("ci", "bundle") && is_behind("ci", "certificate") &&
                is_behind("ci", "grants"));
    holds(&n, 2);
    assert_false(is_behind("ci", "bundle"));
    assert_int_equal(renew(&n, NULL), WEFT_OK);
    home_issuer_pin(&d.c.home, PKI_IDENTITY, &issuer);
    pki_chain_issuer_pin(n.chain, &own);
    assert_true(pki_pin_equal(&issuer, &own));
    assert_false(is_behind("ci", "certificate"));
    assert_int_equal(desk_grants(&d, &n, NULL, 0, &grants), WEFT_OK);
    wf_grants_result_free(grants);
    assert_false(is_behind("ci", "grants"));
    /* A version that nobody made is none that a node can hold. */
    assert_int_equal(
        desk_call(&d, WHO_IDENTITY, &n.subject, "holds", wf_span_of("\0\0\0\0\0\0\0\x09", 8)),
        WEFT_EPROTO);
    node_fini(&n);
}

static void grants_of_the_older_key_hold_until_it_is_taken_out(void **state)
{
    Weft__Wire__GrantsResult *grants = NULL;
    struct node n = {NULL};

    (void)state;
    desk_identity(&d, "ci", "[]", &n);
    desk_do(&d, "service.create", "{\"name\":\"web\"}");
    desk_do(&d, "allow", "{\"who\":\"@ci\",\"type\":\"dial\",\"what\":\"@web\"}");
    assert_int_equal(desk_grants(&d, &n, NULL, 0, &grants), WEFT_OK);
    rotate(ROTATE_POLICY);
    assert_int_equal(desk_check(&d, &n, grants->grants[0], POLICY_DIAL), WEFT_OK);
    rotate(0);
    assert_int_equal(desk_check(&d, &n, grants->grants[0], POLICY_DIAL), WEFT_ECREDENTIAL);
    wf_grants_result_free(grants);
    node_fini(&n);
}

static void a_token_made_before_three_rotations_still_enrolls(void **state)
{
    struct node n = {NULL};
    char token[WF_TOKEN_MAX];

    (void)state;
    desk_do(&d, "identity.create", "{\"name\":\"early\"}");
    snprintf(token, sizeof token, "%s", desk_text(&d, "token"));
    rotate(ROTATE_ENROLLMENT | ROTATE_POLICY);
    rotate(ROTATE_ROOT);
    rotate(ROTATE_AUDIT);
    assert_int_equal(desk_enroll(&d, token, &n), WEFT_OK);
    assert_false(is_behind("early", "certificate"));
    node_fini(&n);
}

/* ---- the entry in the audit log */

static void take_up_entries(void)
{
    assert_int_equal(store_begin(d.c.home.store), WEFT_OK);
    assert_int_equal(rotated_enter(&d.c.home, wf_now_wall_ms(), &why), WEFT_OK);
    assert_int_equal(controller_end_turn(&d.c, &why), WEFT_OK);
}

static weft_err gather(void *arg, uint64_t seq, wf_span event, const uint8_t leaf[32])
{
    json_t *all = arg, *entry = json_loadb((const char *)event.data, event.len, 0, NULL);

    (void)seq;
    (void)leaf;
    assert_non_null(entry);
    if (strcmp(json_string_value(json_object_get(entry, "event")), "rotation") == 0)
        json_array_append(all, entry);
    json_decref(entry);
    return WEFT_OK;
}

/* The entries about rotations; the caller's. */
static json_t *entries(void)
{
    json_t *out = json_array();

    assert_int_equal(store_audit_each(d.c.home.store, 1, gather, out), WEFT_OK);
    return out;
}

static void is_entry(const json_t *all, size_t i, const char *what, int version, int count)
{
    const json_t *entry = json_array_get(all, i);

    assert_string_equal(json_string_value(json_object_get(entry, "what")), what);
    assert_string_equal(json_string_value(json_object_get(entry, "operation")), "rotate-ca");
    assert_int_equal(json_integer_value(json_object_get(entry, "version")), version);
    assert_int_equal(json_integer_value(json_object_get(entry, "count")), count);
}

static void each_rotation_is_entered_once_though_nobody_ran_and_the_file_stayed(void **state)
{
    const struct rotation end = {.dir = d.folder.home, .finish = true, .forced = true, .tokens = 3};
    bool switched;
    json_t *all;

    (void)state;
    rotate(ROTATE_IDENTITIES | ROTATE_POLICY);
    rotate(ROTATE_ROUTERS); /* no key of the bundle: it stays as it is */
    take_up_entries();
    take_up_entries(); /* as after a death before the file was removed */
    assert_int_equal(rotation_stage(&end, &why), WEFT_OK);
    assert_int_equal(home_switch(d.folder.home, &switched, &why), WEFT_OK);
    take_up_entries();
    rotated_forget(&d.c.home);
    take_up_entries();
    all = entries();
    assert_int_equal(json_array_size(all), 3);
    is_entry(all, 0, "identities,policy", 2, 0);
    is_entry(all, 1, "routers", 2, 0);
    is_entry(all, 2, "--finish --force", 3, 3);
    json_decref(all);
}

static json_int_t tokens_to_void(void)
{
    json_t *status;
    json_int_t n;

    desk_do(&d, "rotation.status", "{}");
    status = desk_json(&d);
    n = json_integer_value(json_object_get(status, "tokens_to_void"));
    json_decref(status);
    return n;
}

static void finish_is_told_of_the_tokens_that_can_still_be_redeemed_and_that_it_voids(void **state)
{
    struct node n = {NULL}, other = {NULL};
    char used[WF_TOKEN_MAX], early[WF_TOKEN_MAX];

    (void)state;
    desk_do(&d, "identity.create", "{\"name\":\"used\"}");
    snprintf(used, sizeof used, "%s", desk_text(&d, "token"));
    desk_do(&d, "identity.create", "{\"name\":\"early\"}");
    snprintf(early, sizeof early, "%s", desk_text(&d, "token"));
    desk_do(&d, "identity.create", "{\"name\":\"brief\",\"token_life_s\":60}");
    assert_int_equal(tokens_to_void(), 0);
    rotate(ROTATE_ENROLLMENT);
    desk_do(&d, "identity.create", "{\"name\":\"late\"}");
    assert_int_equal(tokens_to_void(), 3);
    assert_int_equal(desk_enroll(&d, used, &n), WEFT_OK);
    assert_int_equal(tokens_to_void(), 2);
    d.now = wf_now_wall_ms() + 61000;
    assert_int_equal(tokens_to_void(), 1);
    d.now = 0;
    node_fini(&n);
    rotate(0);
    assert_int_equal(tokens_to_void(), 0);
    assert_int_equal(desk_enroll(&d, early, &other), WEFT_ECREDENTIAL);
    node_fini(&other);
}

/* ---- two keys of one node */

static void two_keys_are_pinned_until_the_older_one_is_retired(void **state)
{
    Weft__Wire__GrantsResult *grants = NULL;
    struct node n = {NULL}, newer = {NULL}, other = {NULL};
    pki_key *key = NULL;

    (void)state;
    desk_identity(&d, "ci", "[]", &n);
    desk_identity(&d, "other", "[]", &other);
    desk_do(&d, "service.create", "{\"name\":\"web\"}");
    desk_do(&d, "allow", "{\"who\":\"@ci\",\"type\":\"dial\",\"what\":\"@web\"}");
    assert_int_equal(pki_key_new(PKI_KEY_P256, &key, NULL), WEFT_OK);
    /* Another's key is never certified for us. */
    assert_int_equal(renew(&n, other.key), WEFT_ECREDENTIAL);
    newer.subject = n.subject;
    assert_int_equal(renew(&n, key), WEFT_OK);
    pki_key_pin(key, &newer.subject.pin);

    assert_int_equal(desk_grants(&d, &n, NULL, 0, &grants), WEFT_OK);
    assert_int_equal(desk_check(&d, &n, grants->grants[0], POLICY_DIAL), WEFT_OK);
    assert_int_equal(desk_check(&d, &newer, grants->grants[0], POLICY_DIAL), WEFT_OK);
    wf_grants_result_free(grants);
    /* Both ask, both renew, and only the newer one retires. */
    assert_int_equal(desk_grants(&d, &newer, NULL, 0, &grants), WEFT_OK);
    wf_grants_result_free(grants);
    assert_int_equal(renew(&n, key), WEFT_OK);
    assert_int_equal(desk_call(&d, WHO_IDENTITY, &n.subject, "retire", wf_span_of(NULL, 0)),
                     WEFT_EREFUSED);
    assert_int_equal(desk_call(&d, WHO_IDENTITY, &newer.subject, "retire", wf_span_of(NULL, 0)),
                     WEFT_OK);
    assert_int_equal(desk_grants(&d, &n, NULL, 0, &grants), WEFT_EREVOKED);
    assert_int_equal(desk_grants(&d, &newer, NULL, 0, &grants), WEFT_OK);
    wf_grants_result_free(grants);
    node_fini(&n);
    node_fini(&other);
    pki_key_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_at_any_step_a_home_is_whole_and_old_or_new),
        cmocka_unit_test(what_is_unfinished_bounds_what_may_begin),
        cmocka_unit_test(the_wrong_passphrase_changes_nothing),
        cmocka_unit_test_setup_teardown(who_has_not_followed_is_known_by_what_it_lacks, open_desk,
                                        close_desk),
        cmocka_unit_test_setup_teardown(grants_of_the_older_key_hold_until_it_is_taken_out,
                                        open_desk, close_desk),
        cmocka_unit_test_setup_teardown(a_token_made_before_three_rotations_still_enrolls,
                                        open_desk, close_desk),
        cmocka_unit_test_setup_teardown(
            each_rotation_is_entered_once_though_nobody_ran_and_the_file_stayed, open_desk,
            close_desk),
        cmocka_unit_test_setup_teardown(
            finish_is_told_of_the_tokens_that_can_still_be_redeemed_and_that_it_voids, open_desk,
            close_desk),
        cmocka_unit_test_setup_teardown(two_keys_are_pinned_until_the_older_one_is_retired,
                                        open_desk, close_desk),
    };

    desk_use(&d);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
