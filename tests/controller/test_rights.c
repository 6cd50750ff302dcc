/* Administrators with less than full rights: what they may, and that they never come to more. */
#include "controller/rights.h"
#include "desk.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 24

static struct desk d;

static weft_err as(const struct node *node, const char *operation, const char *json)
{
    return desk_call(&d, WHO_IDENTITY, &node->subject, operation, wf_span_of(json, strlen(json)));
}

static void rights_are_read_and_said_alike(void **state)
{
    static const char *const words[] = {"full",          "read",           "identities:read",
                                        "routers:write", "policies:write", "cas:read"};
    unsigned rights = 0;
    char text[128];
    wf_why why;

    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        rights = 0;
        assert_int_equal(rights_parse(words[i], &rights, &why), WEFT_OK);
        rights_text(rights, text, sizeof text);
        assert_string_equal(text, words[i]);
    }
    rights = 0;
    assert_int_equal(rights_parse("read-only", &rights, &why), WEFT_OK);
    assert_int_equal(rights_parse("services:write", &rights, &why), WEFT_OK);
    rights_text(rights, text, sizeof text);
    assert_string_equal(text, "read, services:write");
    assert_true(rights_allow(rights, KIND_SERVICES, true));
    assert_false(rights_allow(rights, KIND_SERVICES | KIND_POLICIES, true));
    assert_false(rights_allow(rights, KIND_FULL, false));
    assert_true(rights_allow(0, KIND_ANY, true));
    assert_int_equal(rights_parse("admins:write", &rights, &why), WEFT_EINVAL);
    assert_int_equal(rights_parse("services:", &rights, &why), WEFT_EINVAL);
    assert_int_equal(rights_parse("services", &rights, &why), WEFT_EINVAL);
    assert_int_equal(rights_parse("", &rights, &why), WEFT_EINVAL);
}

/* Each row by what it says of itself: rights for it and no others are enough, and nothing less. */
static void every_row_asks_for_its_own_rights(void **state)
{
    struct operation_row row;
    struct node delegate;

    (void)state;
    desk_identity(&d, "delegate", "[]", &delegate);
    for (size_t i = 0; (row = operation_row(i)).name != NULL; i++) {
        unsigned enough = row.is_act ? row.kinds | row.kinds << 8 : row.kinds;

        if ((row.who & WHO_ADMIN) == 0)
            continue;
        assert_int_equal(store_begin(d.c.home.store), WEFT_OK);
        assert_int_equal(store_admin_put(d.c.home.store, &delegate.subject.id,
                                         (0x7f7fu & ~(row.is_act ? row.kinds << 8 : row.kinds))),
                         WEFT_OK);
        if (row.kinds != KIND_ANY) {
            assert_int_equal(as(&delegate, row.name, "{\"nothing\":1}"), WEFT_EREFUSED);
            assert_non_null(strstr(d.why.text, " needs the right to "));
        }
        assert_int_equal(store_begin(d.c.home.store), WEFT_OK);
        assert_int_equal(store_admin_put(d.c.home.store, &delegate.subject.id,
                                         (row.kinds & KIND_FULL) != 0 ? RIGHTS_FULL : enough),
                         WEFT_OK);
        (void)as(&delegate, row.name, "{\"nothing\":1}");
        assert_null(strstr(d.why.text, " needs the right to "));
    }
    desk_do(&d, "admin.remove", "{\"identity\":\"delegate\"}"); /* or the last row's stay */
    node_fini(&delegate);
}

static void a_reader_sees_no_token_and_changes_nothing(void **state)
{
    struct operation_row row;
    struct node reader;

    (void)state;
    desk_identity(&d, "reader", "[]", &reader);
    desk_do(&d, "admin.add", "{\"identity\":\"reader\",\"rights\":[\"read-only\"]}");
    for (size_t i = 0; (row = operation_row(i)).name != NULL; i++) {
        if ((row.who & WHO_ADMIN) == 0 || row.kinds == KIND_ANY)
            continue;
        if (row.is_act)
            assert_int_equal(as(&reader, row.name, "{\"name\":\"reader\"}"), WEFT_EREFUSED);
        else if (as(&reader, row.name, "{}") == WEFT_OK)
            assert_null(desk_text(&d, "token"));
    }
    assert_int_equal(as(&reader, "identity.show", "{\"name\":\"reader\"}"), WEFT_OK);
    assert_null(desk_text(&d, "token"));
    assert_int_equal(as(&reader, "admin.list", "{}"), WEFT_EREFUSED);
    node_fini(&reader);
}

static void the_last_one_with_full_rights_keeps_them(void **state)
{
    (void)state;
    desk_do(&d, "identity.create", "{\"name\":\"helper\"}");
    desk_do(&d, "admin.add", "{\"identity\":\"helper\",\"rights\":[\"read\"]}");
    assert_int_equal(desk_ask(&d, "admin.remove", "{\"identity\":\"admin\"}"), WEFT_ECONFLICT);
    assert_int_equal(desk_ask(&d, "admin.add", "{\"identity\":\"admin\",\"rights\":[\"read\"]}"),
                     WEFT_ECONFLICT);
    assert_int_equal(desk_ask(&d, "identity.disable", "{\"name\":\"admin\"}"), WEFT_ECONFLICT);
    desk_do(&d, "admin.add", "{\"identity\":\"helper\"}");
    assert_string_equal(desk_text(&d, "name"), "helper");
    desk_do(&d, "admin.remove", "{\"identity\":\"helper\"}");
}

static void a_token_from_before_takes_over_no_administrator(void **state)
{
    struct node rose = {NULL}, taker = {NULL};
    char token[WF_TOKEN_MAX];

    (void)state;
    desk_identity(&d, "rose", "[]", &rose);
    desk_do(&d, "identity.reissue", "{\"name\":\"rose\"}");
    snprintf(token, sizeof token, "%s", desk_text(&d, "token"));
    desk_do(&d, "admin.add", "{\"identity\":\"rose\"}");
    assert_int_equal(desk_enroll(&d, token, &taker), WEFT_ECREDENTIAL);
    desk_do(&d, "admin.remove", "{\"identity\":\"rose\"}");
    node_fini(&taker);
    node_fini(&rose);
}

/* ---- whatever a delegate tries */

static const char *const targets[] = {"admin", "strong", "mid", "weak", "plain", "delegate"};
static const char *const targets_rights[] = {
    NULL, "[\"full\"]", "[\"read\",\"identities:write\",\"services:write\"]", "[\"services:read\"]",
    NULL, NULL};
#define TARGETS (sizeof targets / sizeof *targets)

struct seen {
    bool exists;
    unsigned rights;
    struct store_node node;
};

static void look(struct seen seen[TARGETS], const struct node *delegate)
{
    store *s = d.c.home.store;

    for (size_t i = 0; i < TARGETS; i++) {
        struct seen *one = &seen[i];
        weft_err err;

        if (one->exists) /* by id, whatever its name is by now */
            err = store_node_get(s, PKI_IDENTITY, &one->node.id, &one->node);
        else
            err = store_node_find(s, PKI_IDENTITY, targets[i], &one->node);
        one->exists = err == WEFT_OK;
        one->rights = 0;
        if (one->exists)
            (void)store_admin_get(s, &one->node.id, &one->rights);
    }
    (void)delegate;
}

static uint64_t admin_rows(void)
{
    uint64_t n = 0;

    desk_do(&d, "admin.list", "{}");
    json_t *all = desk_json(&d);
    n = json_array_size(json_object_get(all, "items"));
    json_decref(all);
    return n;
}

/* The subjects of tokens in the last result must not stand above the delegate. */
static void tokens_are_for_equals(const struct seen *before, unsigned own)
{
    const char *id = desk_text(&d, "token") != NULL ? desk_text(&d, "id") : NULL;
    char text[WF_ID_TEXT];

    for (size_t i = 0; id != NULL && i < TARGETS; i++)
        if (before[i].exists && strcmp(wf_id_text(&before[i].node.id, text), id) == 0)
            assert_true(rights_include(own, before[i].rights));
}

static bool try(const struct node *delegate, unsigned own, const char *operation, const char *json)
{
    struct seen before[TARGETS] = {{false}}, after[TARGETS];
    uint64_t rows = admin_rows();
    weft_err err;

    look(before, delegate);
    err = as(delegate, operation, json);
    if (err == WEFT_OK)
        tokens_are_for_equals(before, own);
    memcpy(after, before, sizeof after);
    look(after, delegate);
    for (size_t i = 0; i < TARGETS; i++) {
        if (!before[i].exists)
            continue;
        if (after[i].exists && (after[i].rights & ~before[i].rights) != 0)
            fail_msg("%s %s gave %s rights", operation, json, targets[i]);
        if (rights_include(own, before[i].rights))
            continue;
        if (!after[i].exists || memcmp(&after[i].node, &before[i].node, sizeof after[i].node) != 0)
            fail_msg("%s %s touched %s, who stands above", operation, json, targets[i]);
    }
    assert_true(admin_rows() <= rows);
    return err == WEFT_OK;
}

static void prepare(void)
{
    for (size_t i = 1; i < TARGETS - 1; i++) {
        weft_err err = desk_ask(&d, "identity.create", "{\"name\":\"%s\"}", targets[i]);

        assert_true(err == WEFT_OK || err == WEFT_EEXIST);
        if (targets_rights[i] != NULL)
            desk_do(&d, "admin.add", "{\"identity\":\"%s\",\"rights\":%s}", targets[i],
                    targets_rights[i]);
        else
            (void)desk_ask(&d, "admin.remove", "{\"identity\":\"%s\"}", targets[i]);
        (void)desk_ask(&d, "identity.enable", "{\"name\":\"%s\"}", targets[i]);
    }
}

static void no_delegate_comes_to_more_than_it_was_given(void **state)
{
    /* What stands before and behind the target. */
    static const char *const forms[][2] = {
        {"{\"name\":\"", "\"}"},
        {"{\"identity\":\"", "\"}"},
        {"{\"identity\":\"", "\",\"rights\":[\"full\"]}"},
        {"{\"name\":\"", "\",\"new_name\":\"renamed\"}"},
        {"{\"name\":\"", "\",\"roles\":[\"#taken\"]}"},
        {"{\"id\":\"", "\"}"},
        {"{\"who\":\"@", "\",\"type\":\"dial\",\"what\":\"#all\"}"},
    };
    struct operation_row row;
    struct node delegate = {NULL};
    unsigned seed = 1;
    char json[512], id[WF_ID_TEXT];

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct store_node row_now;
        unsigned own, done = 0;

        prepare();
        if (store_node_get(d.c.home.store, PKI_IDENTITY, &delegate.subject.id, &row_now) !=
            WEFT_OK) {
            char name[32];

            node_fini(&delegate);
            snprintf(name, sizeof name, "delegate-%d", round); /* names rest */
            desk_identity(&d, name, "[]", &delegate);
        }
        (void)desk_ask(&d, "identity.enable", "{\"id\":\"%s\"}",
                       wf_id_text(&delegate.subject.id, id));
        seed = seed * 1103515245u + 12345u;
        own = round % 4 == 0 ? RIGHTS_READ | KIND_IDENTITIES << 8
                             : (seed >> 8 & 0x7f7fu) | (seed >> 8 & 0x7f00u) >> 8;
        for (size_t i = 0; (row = operation_row(i)).name != NULL; i++)
            for (size_t f = 0; f < sizeof forms / sizeof *forms && (row.who & WHO_ADMIN) != 0; f++)
                for (size_t t = 0; t < TARGETS; t++) {
                    struct seen one[TARGETS] = {{false}};

                    if ((seed = seed * 1103515245u + 12345u) >> 16 & 3 && round % 4 != 0)
                        continue; /* a quarter of all, another one each round */
                    assert_int_equal(store_begin(d.c.home.store), WEFT_OK);
                    if (store_admin_put(d.c.home.store, &delegate.subject.id, own) != WEFT_OK)
                        break; /* it deleted itself */
                    look(one, &delegate);
                    snprintf(json, sizeof json, "%s%s%s", forms[f][0],
                             strstr(forms[f][0], "\"id\"") != NULL && one[t].exists
                                 ? wf_id_text(&one[t].node.id, id)
                                 : targets[t],
                             forms[f][1]);
                    done += try(&delegate, own, row.name, json);
                }
        assert_true(round % 4 != 0 || done > 0); /* it may something, so the rest was not idle */
    }
    node_fini(&delegate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rights_are_read_and_said_alike),
        cmocka_unit_test(every_row_asks_for_its_own_rights),
        cmocka_unit_test(a_reader_sees_no_token_and_changes_nothing),
        cmocka_unit_test(the_last_one_with_full_rights_keeps_them),
        cmocka_unit_test(a_token_from_before_takes_over_no_administrator),
        cmocka_unit_test(no_delegate_comes_to_more_than_it_was_given),
    };

    desk_use(&d);
    return cmocka_run_group_tests(tests, open_desk, close_desk);
}
