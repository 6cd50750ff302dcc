/* The API's routes, without a network: paths and queries in, operations and arguments out; and
 * logins. */
#include "controller/api.h"
#include "controller/api_reply.h"
#include "controller/api_route.h"
#include "controller/login.h"
#include "desk.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static wf_span span(const char *text)
{
    return wf_span_of(text, strlen(text));
}

static void the_document_and_the_routes_are_the_same(void **state)
{
    json_t *document = json_loadb(api_document, api_document_len, 0, NULL), *methods, *paths;
    struct api_route row;
    size_t rows = 0, declared = 0;
    const char *path;

    (void)state;
    assert_non_null(document);
    paths = json_object_get(document, "paths");
    for (; (row = api_route_row(rows)).path != NULL; rows++) {
        char method[8] = "";

        for (size_t i = 0; row.method[i] != '\0'; i++)
            method[i] = (char)tolower(row.method[i]);
        if (json_object_get(json_object_get(paths, row.path), method) == NULL)
            fail_msg("%s %s is not in docs/openapi.json", row.method, row.path);
    }
    json_object_foreach(paths, path, methods)
    {
        declared += json_object_size(methods);
    }
    assert_int_equal(rows, declared);
    json_decref(document);
}

static void every_route_leads_to_a_row_of_the_operation_table(void **state)
{
    struct api_route route;

    (void)state;
    for (size_t i = 0; (route = api_route_row(i)).path != NULL; i++) {
        const char *names[] = {route.operation, route.show, route.create};

        for (size_t n = 0; n < 3; n++) {
            struct operation_row row = {NULL};
            bool found = names[n] == NULL;

            for (size_t k = 0; !found && (row = operation_row(k)).name != NULL; k++)
                found = strcmp(row.name, names[n]) == 0 && row.who == WHO_ADMIN;
            assert_true(found);
        }
    }
}

static void a_path_is_found_exactly_or_not_at_all(void **state)
{
    static const char *const none[] = {"",
                                       "/",
                                       "v1/status",
                                       "/v1/status/",
                                       "//v1/status",
                                       "/v1//status",
                                       "/v1/STATUS",
                                       "/v1/%73tatus",
                                       "/v1/identities/a/b",
                                       "/v1/identities/a/disable/x"};
    struct api_match match;
    wf_why why = {""};

    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_int_equal(api_route_find(span("GET"), span(none[i]), &match, &why), WEFT_OK);
        assert_false(match.is_path);
        assert_null(match.route);
    }
    assert_int_equal(api_route_find(span("HEAD"), span("/v1/identities/a%2Db"), &match, &why),
                     WEFT_OK);
    assert_string_equal(match.route->operation, "identity.show");
    assert_string_equal(match.variable, "a-b");
    assert_true(match.is_head);
    assert_int_equal(api_route_find(span("get"), span("/v1/status"), &match, &why), WEFT_OK);
    assert_true(match.is_path);
    assert_null(match.route);
    assert_string_equal(match.allow, "GET, HEAD, OPTIONS");
    assert_int_equal(api_route_find(span("GET"), span("/v1/identities/a%00"), &match, &why),
                     WEFT_EINVAL);
    assert_int_equal(api_route_find(span("GET"), span("/v1/identities/a%2"), &match, &why),
                     WEFT_EINVAL);
    assert_int_equal(api_route_find(span("GET"), span("/v1/identities/"), &match, &why),
                     WEFT_EINVAL);
}

static weft_err query(const char *path, const char *text, json_t **args)
{
    struct api_match match;
    wf_why why = {""};

    assert_int_equal(api_route_find(span("GET"), span(path), &match, &why), WEFT_OK);
    *args = json_object();
    return api_route_query(match.route, span(text), *args, &why);
}

static void a_query_holds_what_is_known_once(void **state)
{
    static const char *const bad[] = {"limit=",    "limit=x",      "limit=-1",  "limit=1&limit=2",
                                      "nothing=1", "=1",           "limit",     "after=%",
                                      "after=%00", "after=%e4",    "after=a&",  "&",
                                      "limit=1e3", "dry_run=true", "token=abc", "after=a&&limit=1"};
    json_t *args;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weft_err err = query("/v1/identities", bad[i], &args);

        json_decref(args);
        if (strcmp(bad[i], "after=a&") != 0) /* a mark at the end holds nothing */
            assert_int_equal(err, WEFT_EINVAL);
    }
    assert_int_equal(query("/v1/identities", "after=a%2Db&limit=17&role=%23ci", &args), WEFT_OK);
    assert_string_equal(json_string_value(json_object_get(args, "after")), "a-b");
    assert_int_equal(json_integer_value(json_object_get(args, "limit")), 17);
    assert_string_equal(json_string_value(json_object_get(args, "role")), "#ci");
    json_decref(args);
}

static void an_id_in_the_path_is_an_id_and_the_body_can_not_name_another(void **state)
{
    struct api_match match;
    wf_why why = {""};
    json_t *args = json_object();

    (void)state;
    assert_int_equal(api_route_find(span("DELETE"),
                                    span("/v1/services/0123456789abcdef0123456789abcdef"), &match,
                                    &why),
                     WEFT_OK);
    assert_int_equal(api_route_variable(&match, false, args, &why), WEFT_OK);
    assert_non_null(json_object_get(args, "id"));
    json_decref(args);
    args = json_pack("{ss}", "name", "other");
    assert_int_equal(api_route_find(span("PUT"), span("/v1/services/web"), &match, &why), WEFT_OK);
    assert_int_equal(api_route_variable(&match, false, args, &why), WEFT_EINVAL);
    json_decref(args);
}

static void a_login_lives_an_hour_and_the_seventeenth_ends_the_first(void **state)
{
    struct logins logins = {NULL};
    struct pki_subject subject = {.kind = PKI_IDENTITY, .id = wf_id_random()};
    char secrets[LOGINS_EACH + 1][LOGIN_TEXT];
    uint64_t now = 1000000, end;

    (void)state;
    for (size_t i = 0; i <= LOGINS_EACH; i++)
        assert_int_equal(logins_add(&logins, &subject, now + i, secrets[i], &end), WEFT_OK);
    assert_int_equal(end, now + LOGINS_EACH + LOGIN_LIFE_MS);
    assert_null(logins_find(&logins, secrets[0], LOGIN_TEXT - 1, now + 100));
    assert_non_null(logins_find(&logins, secrets[1], LOGIN_TEXT - 1, now + 100));
    assert_null(logins_find(&logins, secrets[1], LOGIN_TEXT - 2, now + 100));
    assert_null(logins_find(&logins, secrets[1], LOGIN_TEXT - 1, now + 1 + LOGIN_LIFE_MS));
    assert_null(logins_find(&logins, secrets[1], LOGIN_TEXT - 1, now + 100)); /* and for good */
    logins_fini(&logins);
    assert_null(logins_find(&logins, secrets[2], LOGIN_TEXT - 1, now + 100));
}

static void every_error_has_a_status(void **state)
{
    (void)state;
    for (int err = 1; err < CONTROLLER_ERR_COUNT; err++)
        assert_in_range(api_status_of((weft_err)err), 400, 599);
    assert_int_equal(api_status_of(WEFT_EREFUSED), 403);
    assert_int_equal(api_status_of(WEFT_ENOTFOUND), 404);
    assert_int_equal(api_status_of(WEFT_EIO), 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_document_and_the_routes_are_the_same),
        cmocka_unit_test(every_route_leads_to_a_row_of_the_operation_table),
        cmocka_unit_test(a_path_is_found_exactly_or_not_at_all),
        cmocka_unit_test(a_query_holds_what_is_known_once),
        cmocka_unit_test(an_id_in_the_path_is_an_id_and_the_body_can_not_name_another),
        cmocka_unit_test(a_login_lives_an_hour_and_the_seventeenth_ends_the_first),
        cmocka_unit_test(every_error_has_a_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
