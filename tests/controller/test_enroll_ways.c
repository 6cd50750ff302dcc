/* Enrollment by who else vouches, at the operation table: what each method takes, and what it
 * refuses. */
#include "desk.h"
#include "pki/foreign.h"
#include "proto/base/clock.h"
#include "tests/pki/forge.h"
#include <stdio.h>
#include <string.h>

static struct desk d;
static pki_key *ca_key, *work_key;
static X509 *ca, *work;

static int open_authority_and_desk(void **state)
{
    (void)state;
    desk_open(&d);
    assert_int_equal(pki_key_new(PKI_KEY_P256, &ca_key, NULL), WEFT_OK);
    assert_int_equal(pki_key_new(PKI_KEY_P256, &work_key, NULL), WEFT_OK);
    struct forge f =
        forge_authority(ca_key, NULL, pki_key_evp(ca_key), "corp", NULL, wf_now_wall_ms());
    ca = forge_make(&f);
    f = forge_leaf(ca_key, ca, pki_key_evp(work_key), NULL, wf_now_wall_ms());
    f.cn = "worker";
    f.extended = "clientAuth";
    work = forge_make(&f);
    return 0;
}

static int close_authority_and_desk(void **state)
{
    (void)state;
    desk_close(&d);
    X509_free(ca);
    X509_free(work);
    pki_key_free(ca_key);
    pki_key_free(work_key);
    return 0;
}

static wf_span der_of(X509 *x, uint8_t bytes[8192])
{
    unsigned char *at = bytes;

    return wf_span_of(bytes, (size_t)i2d_X509(x, &at));
}

static void sign(const pki_key *with, wf_span bytes, wf_buf *out)
{
    pki_foreign_key *key = NULL;
    wf_buf pem;

    wf_buf_init(&pem, 4096);
    assert_int_equal(pki_key_put_pem(with, NULL, &pem), WEFT_OK);
    assert_int_equal(pki_foreign_key_from_pem(wf_span_of(pem.data, pem.len), &key, NULL), WEFT_OK);
    assert_int_equal(pki_foreign_sign(key, bytes, out), WEFT_OK);
    pki_foreign_key_free(key);
    wf_buf_wipe(&pem);
}

static void add_authority(const char *name)
{
    uint8_t bytes[8192];
    wf_buf pem, text;

    wf_buf_init(&pem, 8192);
    wf_buf_init(&text, 16384);
    assert_int_equal(pki_pem_put("CERTIFICATE", der_of(ca, bytes), &pem), WEFT_OK);
    assert_int_equal(wf_base64_encode(pem.data, pem.len, &text), WEFT_OK);
    desk_do(&d, "ca.add",
            "{\"name\":\"%s\",\"certificate\":\"%s\",\"auto\":true,\"roles\":[\"ci\"]}", name,
            wf_buf_cstr(&text));
    wf_buf_fini(&pem);
    wf_buf_fini(&text);
}

/* By whose key: the authority's, or another's. */
static weft_err show_key(const char *name, const pki_key *key)
{
    char challenge[512];
    wf_buf signature, text;
    weft_err err;

    desk_do(&d, "ca.show", "{\"name\":\"%s\"}", name);
    snprintf(challenge, sizeof challenge, "%s", desk_text(&d, "challenge"));
    wf_buf_init(&signature, 1024);
    wf_buf_init(&text, 2048);
    sign(key, wf_span_of(challenge, strlen(challenge)), &signature);
    assert_int_equal(wf_base64_encode(signature.data, signature.len, &text), WEFT_OK);
    err = desk_ask(&d, "ca.verify", "{\"name\":\"%s\",\"signature\":\"%s\"}", name,
                   wf_buf_cstr(&text));
    wf_buf_fini(&signature);
    wf_buf_fini(&text);
    return err;
}

/* What is wrong with a call for enrollment. */
enum fault { NONE, OTHER_CHANNEL, OTHER_TOKEN, OTHER_KEY, NO_CERTIFICATE, OIDC_BESIDE };

static weft_err enroll(const char *token, enum fault fault)
{
    Weft__Wire__EnrollCall ask;
    pki_key *key = NULL;
    char copy[WF_TOKEN_MAX], issued[] = "a.b.c";
    uint8_t channel[32], foreign[32], body[PKI_FOREIGN_BODY], bytes[8192];
    ProtobufCBinaryData chain;
    wf_buf csr, proof, vouch, encoded;
    weft_err err;

    snprintf(copy, sizeof copy, "%s", token);
    wf_buf_init(&csr, WF_CSR_MAX);
    wf_buf_init(&proof, 1024);
    wf_buf_init(&vouch, 1024);
    wf_buf_init(&encoded, WF_CONTROL_MAX);
    assert_int_equal(pki_key_new(PKI_KEY_P256, &key, NULL), WEFT_OK);
    assert_int_equal(pki_csr_make(key, &csr, NULL), WEFT_OK);
    memcpy(channel, d.channel, sizeof channel); /* as the desk's exporter says it */
    channel[0] = (uint8_t)(channel[0] ^ strlen("EXPORTER-weft-enroll"));
    memcpy(foreign, channel, sizeof foreign);
    foreign[31] = (uint8_t)(foreign[31] ^ (fault == OTHER_CHANNEL));
    const wf_span text = wf_span_of(copy, strlen(copy));
    assert_int_equal(pki_proof_make(key, PKI_LABEL_ENROLL, text, channel, &proof), WEFT_OK);
    pki_foreign_body(fault == OTHER_TOKEN ? wf_span_of("x", 1) : text,
                     wf_span_of(csr.data, csr.len), foreign, body);
    sign(fault == OTHER_KEY ? ca_key : work_key, wf_span_of(body, sizeof body), &vouch);
    weft__wire__enroll_call__init(&ask);
    ask.token = copy;
    ask.csr = wf_pb_bytes(csr.data, csr.len);
    ask.proof = wf_pb_bytes(proof.data, proof.len);
    if (fault != NO_CERTIFICATE) {
        const wf_span der = der_of(work, bytes);

        chain = wf_pb_bytes(der.data, der.len);
        ask.foreign_chain = &chain;
        ask.n_foreign_chain = 1;
        ask.foreign_proof = wf_pb_bytes(vouch.data, vouch.len);
    }
    if (fault == OIDC_BESIDE)
        ask.oidc_token = issued;
    assert_int_equal(wf_message_put(&ask.base, &encoded), WEFT_OK);
    err = desk_call(&d, WHO_ANYONE, NULL, "enroll", wf_span_of(encoded.data, encoded.len));
    pki_key_free(key);
    wf_buf_fini(&csr);
    wf_buf_fini(&proof);
    wf_buf_fini(&vouch);
    wf_buf_fini(&encoded);
    return err;
}

static void refused(const char *token, enum fault fault, const char *words)
{
    weft_err err = enroll(token, fault);

    if (err != WEFT_ECREDENTIAL || strstr(d.why.text, words) == NULL)
        fail_msg("%d: %s: %s", fault, weft_err_name((int)err), d.why.text);
}

static void an_authority_vouches_only_between_verify_and_remove(void **state)
{
    char token[WF_TOKEN_MAX];

    (void)state;
    add_authority("corp");
    assert_int_equal(desk_ask(&d, "ca.token", "{\"name\":\"corp\"}"), WEFT_ECONFLICT);
    assert_int_equal(show_key("corp", work_key), WEFT_ECREDENTIAL);
    assert_int_equal(show_key("corp", ca_key), WEFT_OK);
    desk_do(&d, "ca.token", "{\"name\":\"corp\"}");
    snprintf(token, sizeof token, "%s", desk_text(&d, "token"));
    assert_int_equal(enroll(token, NONE), WEFT_OK);
    desk_do(&d, "identity.show", "{\"name\":\"worker\"}");
    assert_string_equal(desk_text(&d, "enroll"), "ca");
    desk_do(&d, "ca.remove", "{\"name\":\"corp\"}");
    refused(token, NONE, "removed");
    add_authority("corp"); /* another one, though of this name: the old token isn't its */
    assert_int_equal(show_key("corp", ca_key), WEFT_OK);
    refused(token, NONE, "removed");
    desk_do(&d, "ca.remove", "{\"name\":\"corp\"}");
    desk_do(&d, "identity.delete", "{\"name\":\"worker\"}");
}

static void a_foreign_proof_is_for_one_channel_token_and_key(void **state)
{
    char token[WF_TOKEN_MAX];

    (void)state;
    add_authority("proof");
    assert_int_equal(show_key("proof", ca_key), WEFT_OK);
    desk_do(&d, "ca.token", "{\"name\":\"proof\"}");
    snprintf(token, sizeof token, "%s", desk_text(&d, "token"));
    refused(token, OTHER_CHANNEL, "foreign proof doesn't hold");
    refused(token, OTHER_TOKEN, "foreign proof doesn't hold");
    refused(token, OTHER_KEY, "foreign proof doesn't hold");
    desk_do(&d, "ca.remove", "{\"name\":\"proof\"}");
}

static void a_token_of_one_method_takes_no_other_proof(void **state)
{
    char token[WF_TOKEN_MAX], once[WF_TOKEN_MAX];

    (void)state;
    add_authority("only");
    assert_int_equal(show_key("only", ca_key), WEFT_OK);
    desk_do(&d, "ca.token", "{\"name\":\"only\"}");
    snprintf(token, sizeof token, "%s", desk_text(&d, "token"));
    refused(token, NO_CERTIFICATE, "and with nothing else");
    refused(token, OIDC_BESIDE, "and with nothing else");
    desk_do(&d, "identity.create", "{\"name\":\"plain\"}");
    snprintf(once, sizeof once, "%s", desk_text(&d, "token"));
    refused(once, NONE, "and with nothing else");
    desk_do(&d, "identity.create", "{\"name\":\"both\",\"enroll\":\"ottca\",\"ca\":\"only\"}");
    snprintf(once, sizeof once, "%s", desk_text(&d, "token"));
    refused(once, NO_CERTIFICATE, "and with nothing else");
    refused(once, OTHER_CHANNEL, "foreign proof doesn't hold");
    assert_int_equal(enroll(once, NONE), WEFT_OK);
    desk_do(&d, "ca.remove", "{\"name\":\"only\"}");
}

static void a_join_token_pins_the_controllers_next_key_too(void **state)
{
    struct pki_token token;
    const char *text;
    wf_why why = {""};

    (void)state;
    add_authority("pinned");
    assert_int_equal(show_key("pinned", ca_key), WEFT_OK);
    desk_do(&d, "ca.token", "{\"name\":\"pinned\"}");
    text = desk_text(&d, "token");
    assert_non_null(text);
    assert_int_equal(pki_token_read(text, strlen(text), &token, &why), WEFT_OK);
    assert_int_equal(token.server_pin_count, 2);
    assert_true(pki_pin_equal(&token.server_pins[1], &d.c.home.next_pin));
    desk_do(&d, "ca.remove", "{\"name\":\"pinned\"}");
}

static void a_dry_run_hands_out_no_join_token(void **state)
{
    (void)state;
    add_authority("dry");
    assert_int_equal(show_key("dry", ca_key), WEFT_OK);
    desk_do(&d, "ca.token", "{\"name\":\"dry\",\"dry_run\":true}");
    assert_null(desk_text(&d, "token"));
    desk_do(&d, "ca.token", "{\"name\":\"dry\"}");
    assert_non_null(desk_text(&d, "token"));
    desk_do(&d, "ca.remove", "{\"name\":\"dry\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_authority_vouches_only_between_verify_and_remove),
        cmocka_unit_test(a_foreign_proof_is_for_one_channel_token_and_key),
        cmocka_unit_test(a_token_of_one_method_takes_no_other_proof),
        cmocka_unit_test(a_join_token_pins_the_controllers_next_key_too),
        cmocka_unit_test(a_dry_run_hands_out_no_join_token),
    };
    return cmocka_run_group_tests(tests, open_authority_and_desk, close_authority_and_desk);
}
