/* The vectors of docs/protocol.md: the code makes what they say, and takes what they say. */
#include "proto/base/text.h"
#include "proto/wire/frame.h"
#include "proto/wire/item.h"
#include "tests/docs/vectors.h"
#include "tests/helpers/test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1u << 20)

static json_t *root;
static uint64_t now;

static int setup(void **state)
{
    (void)state;
    root = vectors_load(VECTORS_DOCS "/vectors/vectors.json");
    now = vectors_number(root, "now");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    json_decref(root);
    return 0;
}

static void read_text(const char *path, wf_buf *out)
{
    char piece[4096];
    size_t n;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    wf_buf_init(out, FILE_MAX);
    while ((n = fread(piece, 1, sizeof piece, file)) > 0)
        assert_int_equal(wf_buf_put(out, piece, n), WEFT_OK);
    fclose(file);
    assert_non_null(wf_buf_cstr(out));
}

/* ---- the code makes what is written */

/* Says where two values differ. */
static unsigned differences(const char *path, json_t *a, json_t *b)
{
    char at[256];
    const char *key;
    json_t *value;
    unsigned count = 0;
    size_t i;
    if (json_equal(a, b))
        return 0;
    if (json_is_object(a) && json_is_object(b)) {
        json_object_foreach(b, key, value)
        {
            snprintf(at, sizeof at, "%s.%s", path, key);
            count += differences(at, json_object_get(a, key), value);
        }
    } else if (json_is_array(a) && json_is_array(b)) {
        json_array_foreach(b, i, value)
        {
            snprintf(at, sizeof at, "%s[%zu]", path, i);
            count += differences(at, json_array_get(a, i), value);
        }
    } else {
        char *made = json_dumps(b, JSON_ENCODE_ANY), *written = json_dumps(a, JSON_ENCODE_ANY);
        print_error("%s\n  written: %s\n  made:    %s\n", path, written, made);
        free(made);
        free(written);
    }
    return count + 1;
}

static void the_code_makes_what_is_written(void **state)
{
    (void)state;
    json_t *made = json_deep_copy(root);
    vectors_fill(made);
    assert_int_equal(differences("vectors", root, made), 0);
    json_decref(made);
}

static void the_identity_file_is_the_one_written_down(void **state)
{
    struct pki_identity identity;
    pki_trust *trust = NULL;
    pki_tls_ctx *tls = NULL;
    wf_buf made, written;
    wf_why why = {""};
    (void)state;
    wf_buf_init(&made, WF_IDENTITY_FILE_MAX);
    vectors_put_identity(root, &made);
    read_text(VECTORS_DOCS "/vectors/identity.json", &written);
    assert_non_null(wf_buf_cstr(&made));
    assert_string_equal(wf_buf_cstr(&made), wf_buf_cstr(&written));

    assert_int_equal(pki_identity_parse(wf_span_of(written.data, written.len), &identity, &why),
                     WEFT_OK);
    assert_int_equal(pki_identity_open(&identity, now, &trust, &tls, &why), WEFT_OK);
    assert_true(identity.carries);
    assert_int_equal(pki_floors_version(pki_trust_floors(trust)), 1);
    pki_tls_ctx_unref(tls);
    pki_trust_unref(trust);
    pki_identity_fini(&identity);
    wf_buf_fini(&made);
    wf_buf_fini(&written);
}

/* Lines of the document's blocks marked hex: digits and blanks, then what they are. */
static void hex_in_the_document_is_from_the_vectors(void **state)
{
    wf_buf document;
    unsigned lines = 0;
    bool inside = false;
    char *text = json_dumps(root, JSON_COMPACT), *save = NULL;
    (void)state;
    read_text(VECTORS_DOCS "/protocol.md", &document);
    for (char *line = strtok_r((char *)document.data, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, "```", 3) == 0) {
            inside = strcmp(line, "```hex") == 0;
            continue;
        }
        if (!inside)
            continue;
        char digits[512];
        size_t n = 0;
        for (const char *at = line; *at != '\0' && strchr("0123456789abcdef ", *at) != NULL; at++) {
            if (at[0] == ' ' && at[1] == ' ')
                break; /* two blanks: words follow */
            if (*at != ' ')
                digits[n++] = *at;
            assert_in_range(n, 0, sizeof digits - 2);
        }
        digits[n] = '\0';
        lines++;
        if (n < 8 || strstr(text, digits) == NULL)
            fail_msg("not in the vectors: %s", line);
    }
    assert_in_range(lines, 5, 100);
    free(text);
    wf_buf_fini(&document);
}

/* ---- the code takes what is written */

static void every_frame_is_read_back(void **state)
{
    size_t i;
    json_t *entry;
    (void)state;
    json_array_foreach(json_object_get(root, "frames"), i, entry)
    {
        wf_buf bytes;
        struct wf_frame frame;
        struct wf_ack ack;
        size_t need = 1;
        vectors_bytes(entry, "frame", &bytes);
        assert_int_equal(wf_frame_decode(bytes.data, bytes.len, &frame, &need, NULL), WEFT_OK);
        assert_int_equal(need, 0);
        assert_int_equal(frame.label, vectors_number(entry, "label"));
        assert_int_equal(frame.flags, vectors_number(entry, "flags"));
        if (frame.type == WF_FRAME_ACK) {
            assert_true(wf_ack_decode(frame.bytes + WF_FRAME_HEADER, frame.length, &ack));
            assert_int_equal(ack.received, vectors_number(entry, "received"));
            assert_int_equal(ack.credit, vectors_number(entry, "credit"));
        }
        wf_buf_fini(&bytes);
    }
}

static weft_err take_item(void *arg, enum wf_item_type type, wf_span data)
{
    const json_t *entry = arg;
    wf_buf content;
    assert_int_equal(type, vectors_number(entry, "type"));
    vectors_bytes(entry, "content", &content);
    assert_true(wf_span_equal(data, wf_span_of(content.data, content.len)));
    wf_buf_fini(&content);
    return WEFT_EEOF;
}

static void every_item_is_read_back(void **state)
{
    size_t i;
    json_t *entry;
    (void)state;
    json_array_foreach(json_object_get(root, "items"), i, entry)
    {
        struct wf_item_parser parser;
        wf_buf item;
        vectors_bytes(entry, "item", &item);
        wf_item_parser_init(&parser);
        assert_int_equal(wf_item_parser_feed(&parser, item.data, item.len, take_item, entry, NULL),
                         WEFT_EEOF);
        wf_item_parser_fini(&parser);
        wf_buf_fini(&item);
    }
}

static weft_err decode_body(const char *message, wf_span bytes, wf_why *why)
{
#define TRY(Name, snake, max)                                                                      \
    if (strcmp(message, #Name) == 0) {                                                             \
        Weft__Wire__##Name *out = NULL;                                                            \
        weft_err err = wf_##snake##_decode(bytes.data, bytes.len, &out, why);                      \
        if (err == WEFT_OK)                                                                        \
            wf_##snake##_free(out);                                                                \
        return err;                                                                                \
    }
    WF_MESSAGE_MAP(TRY)
#undef TRY
    return WEFT_ENOTFOUND;
}

static void every_message_is_accepted(void **state)
{
    size_t i;
    json_t *entry;
    (void)state;
    json_array_foreach(json_object_get(root, "messages"), i, entry)
    {
        wf_buf bytes;
        wf_why why = {""};
        weft_err err;
        if (json_object_get(entry, "frame") != NULL) {
            Weft__Wire__Control *control = NULL;
            vectors_bytes(entry, "frame", &bytes);
            err = wf_control_decode(bytes.data + WF_FRAME_HEADER, bytes.len - WF_FRAME_HEADER,
                                    &control, &why);
            if (err == WEFT_OK)
                wf_control_free(control);
        } else {
            vectors_bytes(entry, "encoded", &bytes);
            err = decode_body(vectors_text(entry, "message"), wf_span_of(bytes.data, bytes.len),
                              &why);
        }
        if (err != WEFT_OK)
            print_error("%s: %s\n", vectors_text(entry, "message"), why.text);
        assert_int_equal(err, WEFT_OK);
        wf_buf_fini(&bytes);
    }
}

static void every_record_verifies_under_its_key_and_label_alone(void **state)
{
    size_t i;
    json_t *entry;
    (void)state;
    json_array_foreach(json_object_get(root, "records"), i, entry)
    {
        const char *label = vectors_text(entry, "label");
        Weft__Wire__Signed *record = vectors_record(root, vectors_text(entry, "name"));
        wf_buf spki, stranger;
        vectors_bytes(vectors_find(root, "keys", vectors_text(entry, "key")), "spki", &spki);
        vectors_bytes(vectors_find(root, "keys", "dialer"), "spki", &stranger);
        wf_span keys[] = {wf_span_of(stranger.data, stranger.len), wf_span_of(spki.data, spki.len)};
        assert_int_equal(pki_record_verify(record, label, keys, 2, NULL), WEFT_OK);
        assert_int_equal(pki_record_verify(record, label, keys, 1, NULL), WEFT_ECREDENTIAL);
        assert_int_equal(pki_record_verify(record, "weft-other-1", keys, 2, NULL),
                         WEFT_ECREDENTIAL);
        wf_signed_free(record);
        wf_buf_fini(&spki);
        wf_buf_fini(&stranger);
    }
}

static void subject_of(pki_trust *trust, const char *name, unsigned kind, struct pki_subject *out)
{
    pki_chain *chain = vectors_chain(root, name);
    assert_int_equal(pki_trust_check_chain(trust, chain, kind, PKI_CLIENT, false, now, out, NULL),
                     WEFT_OK);
    pki_chain_free(chain);
}

static void the_records_permit_what_they_say(void **state)
{
    pki_trust *trust = vectors_trust(root);
    Weft__Wire__Signed *grant = vectors_record(root, "grant"), *bind = vectors_record(root, "bind"),
                       *member = vectors_record(root, "member");
    pki_chain *chain = vectors_chain(root, "host");
    struct pki_subject host, router;
    struct pki_grant granted;
    struct pki_member known;
    struct pki_bind bound;
    (void)state;
    subject_of(trust, "host", PKI_IDENTITY, &host);
    subject_of(trust, "router", PKI_ROUTER, &router);
    assert_int_equal(pki_trust_check_grant(trust, grant, &host, NULL, WEFT__WIRE__ROLE__ROLE_BIND,
                                           now, &granted, NULL),
                     WEFT_OK);
    assert_string_equal(granted.service_name, "web");
    assert_int_equal(pki_trust_check_grant(trust, grant, &host, NULL, WEFT__WIRE__ROLE__ROLE_DIAL,
                                           now, &granted, NULL),
                     WEFT_EREFUSED);
    assert_int_equal(pki_trust_check_grant(trust, grant, &host, NULL, WEFT__WIRE__ROLE__ROLE_BIND,
                                           granted.expiry, &granted, NULL),
                     WEFT_EEXPIRED);
    assert_int_equal(pki_trust_check_member(trust, member, now, &known, NULL), WEFT_OK);
    assert_true(wf_id_equal(&known.router, &router.id));
    assert_true(pki_pin_equal(&known.pins[0], &router.pin));
    assert_int_equal(pki_trust_check_bind(trust, bind, grant, chain, now, &bound, &host, NULL),
                     WEFT_OK);
    assert_true(wf_id_equal(&bound.router, &router.id));
    assert_true(wf_id_equal(&bound.service, &granted.service));
    pki_chain_free(chain);
    wf_signed_free(grant);
    wf_signed_free(bind);
    wf_signed_free(member);
    pki_trust_unref(trust);
}

static void the_floors_withdraw_the_grant_and_come_in_order(void **state)
{
    pki_trust *trust = vectors_trust(root);
    Weft__Wire__Signed *grant = vectors_record(root, "grant");
    struct pki_subject host;
    struct pki_grant granted;
    bool changed;
    (void)state;
    subject_of(trust, "host", PKI_IDENTITY, &host);
    static const char *const names[] = {"floors-1", "floors-3", "floors-2", "floors-3"};
    static const weft_err expected[] = {WEFT_OK, WEFT_ECONFLICT, WEFT_OK, WEFT_OK};
    for (size_t i = 0; i < 4; i++) {
        Weft__Wire__Signed *set = vectors_record(root, names[i]);
        assert_int_equal(pki_trust_apply_floors(trust, set, now, &changed, NULL), expected[i]);
        wf_signed_free(set);
    }
    assert_int_equal(pki_trust_check_grant(trust, grant, &host, NULL, WEFT__WIRE__ROLE__ROLE_BIND,
                                           now, &granted, NULL),
                     WEFT_EREVOKED);
    wf_signed_free(grant);
    pki_trust_unref(trust);
}

static void the_certificates_carry_the_kind_of_their_name(void **state)
{
    /* 2.25.<the UUID of docs/protocol.md>.1, .2 */
    static const struct {
        const char *name, *oid;
    } kinds[] = {{"host", "06156982bbf89cebe5effa8bf794bba89bc4b0de9c7c01"},
                 {"router", "06156982bbf89cebe5effa8bf794bba89bc4b0de9c7c02"}};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const json_t *chain =
            json_object_get(vectors_find(root, "certificates", kinds[i].name), "chain");
        for (size_t k = 0; k < json_array_size(chain); k++)
            assert_non_null(strstr(json_string_value(json_array_get(chain, k)), kinds[i].oid));
    }
}

static void the_token_yields_what_was_put_into_it(void **state)
{
    const json_t *entry = json_object_get(root, "token");
    char text[WF_TOKEN_MAX + 1];
    size_t len = strlen(vectors_text(entry, "text"));
    uint64_t end = vectors_number(entry, "exp") * 1000;
    struct pki_token token;
    wf_buf spki;
    (void)state;
    memcpy(text, vectors_text(entry, "text"), len + 1);
    vectors_bytes(vectors_find(root, "keys", vectors_text(entry, "key")), "spki", &spki);
    wf_span key = wf_span_of(spki.data, spki.len);
    assert_int_equal(pki_token_verify(text, len, &key, 1, end - 1, &token, NULL), WEFT_OK);
    assert_string_equal(token.issuer, vectors_text(entry, "iss"));
    assert_string_equal(token.subject, vectors_text(entry, "sub"));
    assert_string_equal(token.name, vectors_text(entry, "name"));
    assert_int_equal(token.kind, PKI_IDENTITY);
    assert_int_equal(token.method, PKI_ENROLL_OTT);
    assert_int_equal(token.expiry, end);
    assert_int_equal(token.controller_count, 1);
    assert_int_equal(token.controllers[0].port, 9338);
    assert_int_equal(pki_token_verify(text, len, &key, 1, end, &token, NULL), WEFT_EEXPIRED);
    text[60] = text[60] == 'A' ? 'B' : 'A';
    assert_int_equal(pki_token_verify(text, len, &key, 1, end - 1, &token, NULL), WEFT_ECREDENTIAL);
    wf_buf_fini(&spki);
}

static void the_proof_holds_for_its_channel_alone(void **state)
{
    const json_t *entry = json_object_get(root, "proof");
    const char *subject = vectors_text(entry, "subject"), *label = vectors_text(entry, "label");
    wf_span over = wf_span_of(subject, strlen(subject));
    wf_buf csr, spki, exporter, proof;
    (void)state;
    wf_buf_init(&spki, 256);
    vectors_bytes(entry, "csr", &csr);
    vectors_bytes(entry, "exporter", &exporter);
    vectors_bytes(entry, "proof", &proof);
    assert_string_equal(subject, vectors_text(json_object_get(root, "token"), "text"));
    assert_int_equal(pki_csr_open(wf_span_of(csr.data, csr.len), &spki, NULL), WEFT_OK);
    wf_span key = wf_span_of(spki.data, spki.len), shown = wf_span_of(proof.data, proof.len);
    assert_int_equal(pki_proof_check(key, label, over, exporter.data, shown), WEFT_OK);
    exporter.data[0] ^= 1;
    assert_int_equal(pki_proof_check(key, label, over, exporter.data, shown), WEFT_ECREDENTIAL);
    wf_buf_fini(&csr);
    wf_buf_fini(&spki);
    wf_buf_fini(&exporter);
    wf_buf_fini(&proof);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_code_makes_what_is_written),
        cmocka_unit_test(the_identity_file_is_the_one_written_down),
        cmocka_unit_test(hex_in_the_document_is_from_the_vectors),
        cmocka_unit_test(every_frame_is_read_back),
        cmocka_unit_test(every_item_is_read_back),
        cmocka_unit_test(every_message_is_accepted),
        cmocka_unit_test(every_record_verifies_under_its_key_and_label_alone),
        cmocka_unit_test(the_records_permit_what_they_say),
        cmocka_unit_test(the_floors_withdraw_the_grant_and_come_in_order),
        cmocka_unit_test(the_certificates_carry_the_kind_of_their_name),
        cmocka_unit_test(the_token_yields_what_was_put_into_it),
        cmocka_unit_test(the_proof_holds_for_its_channel_alone),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
