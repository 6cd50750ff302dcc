/* The audit log: what leaves an entry, what an entry holds, and what it never holds. */
#include "controller/verify.h"
#include "desk.h"
#include "proto/base/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct desk d;

static uint64_t size(void)
{
    return d.c.home.log->tree.size;
}

struct all {
    char text[400000];
    size_t len;
    uint64_t last;
};
static struct all all;

static weft_err gather(void *arg, uint64_t seq, wf_span event, const uint8_t leaf[32])
{
    (void)arg;
    (void)leaf;
    assert_int_equal(seq, all.last + 1);
    all.last = seq;
    assert_true(all.len + event.len + 2 < sizeof all.text);
    memcpy(all.text + all.len, event.data, event.len);
    all.len += event.len;
    all.text[all.len++] = '\n';
    all.text[all.len] = '\0';
    return WEFT_OK;
}

/* All entries, one a line. */
static const char *entries(void)
{
    all.len = 0;
    all.last = 0;
    assert_int_equal(store_audit_each(d.c.home.store, 0, gather, NULL), WEFT_OK);
    return all.text;
}

static const char *last_entry(void)
{
    const char *text = entries(), *at;

    all.text[all.len - 1] = '\0';
    at = strrchr(text, '\n');
    return at != NULL ? at + 1 : text;
}

static void every_act_leaves_one_entry_and_every_refusal_another(void **state)
{
    struct node ci;
    Weft__Wire__GrantsResult *grants = NULL;
    uint64_t before = size();

    (void)state;
    desk_do(&d, "service.create", "{\"name\":\"web\"}");
    assert_int_equal(size(), before + 1);
    assert_non_null(strstr(last_entry(), "\"event\":\"admin\",\"operation\":\"service.create\""));
    assert_non_null(strstr(last_entry(), "\"as\":\"administrator\""));
    before = size();
    assert_int_equal(desk_ask(&d, "service.create", "{\"name\":\"web\"}"), WEFT_EEXIST);
    assert_int_equal(size(), before + 1);
    assert_non_null(strstr(last_entry(), "\"event\":\"refused\""));
    assert_non_null(strstr(last_entry(), "\"code\":\"WEFT_EEXIST\""));
    before = size();
    desk_do(&d, "service.list", "{}");
    assert_int_equal(size(), before);
    desk_identity(&d, "ci", "[\"ci\"]", &ci); /* create, enroll */
    assert_int_equal(size(), before + 2);
    assert_non_null(strstr(last_entry(), "\"event\":\"enroll\""));
    desk_do(&d, "allow", "{\"who\":\"#ci\",\"type\":\"dial\",\"what\":\"@web\"}");
    before = size();
    assert_int_equal(desk_grants(&d, &ci, NULL, 0, &grants), WEFT_OK);
    assert_non_null(grants->checkpoint);
    wf_grants_result_free(grants);
    assert_int_equal(size(), before + 1);
    assert_non_null(strstr(last_entry(), "\"event\":\"grants\""));
    assert_non_null(strstr(last_entry(), "\"what\":\"dial web\""));
    assert_non_null(strstr(last_entry(), "\"count\":1"));
    before = size();
    desk_do(&d, "identity.disable", "{\"name\":\"ci\"}"); /* the floor, and the act */
    assert_int_equal(size(), before + 2);
    assert_non_null(strstr(entries(), "\"event\":\"floors\""));
    before = size();
    assert_int_equal(desk_grants(&d, &ci, NULL, 0, &grants), WEFT_EREVOKED);
    assert_int_equal(size(), before + 1);
    assert_non_null(strstr(last_entry(), "the caller is disabled"));
    node_fini(&ci);
}

static void a_call_that_fails_takes_its_entries_back_but_not_that_it_was_made(void **state)
{
    uint64_t before = size();
    struct pki_tree loaded;
    uint8_t one[32], two[32];

    (void)state;
    desk_do(&d, "identity.create", "{\"name\":\"x\"}");
    for (int i = 0; i < 100; i++)
        assert_int_equal(desk_ask(&d, "identity.create", "{\"name\":\"x\"}"), WEFT_EEXIST);
    assert_int_equal(size(), before + 101);
    /* What memory holds of the tree is what the store says. */
    assert_int_equal(pki_tree_load(&loaded, size(), audit_subtree, d.c.home.store), WEFT_OK);
    pki_tree_root(&loaded, one);
    pki_tree_root(&d.c.home.log->tree, two);
    assert_memory_equal(one, two, 32);
}

static void no_secret_is_in_any_entry(void **state)
{
    static const char canary[] = "CANARY-s3cr3t";
    struct node ci = {NULL};
    char token[WF_TOKEN_MAX + 1], *part, *save = NULL;
    wf_buf pem;
    const char *text;

    (void)state;
    desk_do(&d, "identity.create", "{\"name\":\"ci\"}");
    snprintf(token, sizeof token, "%s", desk_text(&d, "token"));
    assert_int_equal(desk_enroll(&d, token, &ci), WEFT_OK);
    desk_do(&d, "identity.reissue", "{\"name\":\"ci\"}");
    /* Arguments that nobody listed are named, not told; neither in acts nor in refusals. */
    assert_int_equal(
        desk_ask(&d, "identity.create", "{\"name\":\"a\",\"passphrase\":\"%s\"}", canary),
        WEFT_EINVAL);
    assert_int_equal(desk_ask(&d, "status", "{\"token\":{\"x\":[\"%s\"]}}", canary), WEFT_EINVAL);
    assert_int_not_equal(desk_call(&d, WHO_ANYONE, NULL, "enroll", wf_span_of(canary, 13)),
                         WEFT_OK);
    text = entries();
    assert_null(strstr(text, canary));
    assert_non_null(strstr(text, "\"passphrase\":\"(not kept)\""));
    for (part = strtok_r(token, ".", &save); part != NULL; part = strtok_r(NULL, ".", &save))
        assert_null(strstr(text, part));
    wf_buf_init(&pem, 4096);
    assert_int_equal(pki_key_put_pem(ci.key, NULL, &pem), WEFT_OK);
    assert_null(strstr(text, "BEGIN"));
    assert_null(strstr(text, "eyJ"));
    wf_buf_wipe(&pem);
    node_fini(&ci);
}

static void an_entry_is_bounded_and_printable_whatever_it_is_about(void **state)
{
    char name[3000];

    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_not_equal(desk_ask(&d, "service.create", "{\"name\":\"%s\"}", name), WEFT_OK);
    assert_int_not_equal(desk_ask(&d, "service.create",
                                  "{\"name\":\"a\\u0007\\n\\\"\\u00e9\\\\\",\"roles\":[\"x\"]}"),
                         WEFT_OK);
    assert_int_not_equal(desk_call(&d, WHO_ANYONE, NULL, "no\x01such", wf_span_of("", 0)), WEFT_OK);
    for (const char *at = entries(), *end; *at != '\0'; at = end + 1) {
        json_t *parsed;

        end = strchr(at, '\n');
        assert_true(end - at < (long)WF_EVENT_MAX);
        for (const char *c = at; c < end; c++)
            assert_in_range((unsigned char)*c, 0x20, 0x7e);
        parsed = json_loadb(at, (size_t)(end - at), JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(parsed);
        json_decref(parsed);
    }
}

static void refused_attempts_are_bounded_and_counted(void **state)
{
    uint64_t before = size();

    (void)state;
    for (int i = 0; i < 2000; i++)
        assert_int_not_equal(desk_call(&d, WHO_ANYONE, NULL, "enroll", wf_span_of("x", 1)),
                             WEFT_OK);
    assert_in_range(size(), before + 64, before + 64 + 2 * 60); /* as slow as a machine may be */
    assert_in_range(d.c.audit_left_out, 2000 - 64 - 60, 2000 - 64);
    /* Its own bucket: what strangers do keeps no node's refusal out. */
    before = size();
    assert_int_equal(desk_ask(&d, "service.show", "{\"name\":\"none\"}"), WEFT_ENOTFOUND);
    assert_int_equal(size(), before + 2);
    assert_int_equal(d.c.audit_left_out, 0);
    assert_non_null(strstr(entries(), "\"event\":\"left-out\""));
}

static void the_log_of_a_home_verifies_and_a_changed_one_does_not(void **state)
{
    struct verify_result result;
    struct folder folder = d.folder;
    wf_why why = {""};
    store *s = NULL;
    char path[120];
    uint8_t leaf[32] = {1};
    uint64_t entries_then;

    (void)state;
    for (int i = 0; i < 150; i++)
        desk_do(&d, "service.create", "{\"name\":\"s%d\"}", i);
    assert_int_equal(controller_note(&d.c, AUDIT_STOP), WEFT_OK);
    assert_int_equal(controller_end_turn_signed(&d.c, &why), WEFT_OK);
    entries_then = size();
    controller_fini(&d.c);
    assert_int_equal(verify_home(folder.home, NULL, NULL, 0, &result, &why), WEFT_OK);
    assert_int_equal(result.entries, entries_then);
    assert_int_equal(result.sound, entries_then);
    /* An entry that nobody signed for is told apart by the numbers; one too many in between isn't.
     */
    snprintf(path, sizeof path, "%s/%s", folder.home, HOME_STORE);
    assert_int_equal(store_open(path, &s, &why), WEFT_OK);
    assert_int_equal(store_begin(s), WEFT_OK);
    assert_int_equal(store_audit_add(s, entries_then + 2, wf_span_of("{}", 2), leaf), WEFT_OK);
    assert_int_equal(store_commit(s), WEFT_OK);
    store_close(s);
    assert_int_equal(verify_home(folder.home, NULL, NULL, 0, &result, &why), WEFT_ETAMPERED);
    assert_int_equal(result.first_bad, entries_then + 1);
    assert_int_equal(controller_init(&d.c, folder.home, &why), WEFT_EIO); /* nor does it run */
    folder_remove(&folder);
    wf_buf_fini(&d.result);
    desk_open(&d); /* for the teardown */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_desk, close_desk)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_act_leaves_one_entry_and_every_refusal_another),
        TEST(a_call_that_fails_takes_its_entries_back_but_not_that_it_was_made),
        TEST(no_secret_is_in_any_entry),
        TEST(an_entry_is_bounded_and_printable_whatever_it_is_about),
        TEST(refused_attempts_are_bounded_and_counted),
        TEST(the_log_of_a_home_verifies_and_a_changed_one_does_not),
    };

    desk_use(&d);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
