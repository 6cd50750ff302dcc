/*
 * Enrollment and renewal against a controller of the test's own: real TLS,
 * real frames, real certificates; only its book-keeping is made up. It runs on
 * a thread, since the calls under test block.
 */
#include "proto/base/file.h"
#include "proto/link/enroll.h"
#include "proto/link/renew.h"
#include "tests/helpers/alloc.h"
#include "tests/link/bench.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the controller does wrong, if anything. */
enum twist {
    TWIST_NONE,
    TWIST_USED,
    TWIST_BUSY_ONCE,
    TWIST_HANG_UP_ONCE,
    TWIST_OTHER_ID,
    TWIST_OTHER_NAME,
    TWIST_OTHER_KEY,
    TWIST_OTHER_BUNDLE,
    TWIST_NO_CHAIN,
    TWIST_GARBAGE,
    TWIST_SILENT,
};

struct desk {
    pthread_t thread;
    uv_loop_t loop;
    uv_async_t stop;
    wf_net *net;
    struct authority authority;
    struct authority_node controller, other;
    pki_trust *trust;
    pki_tls_ctx *tls;
    wf_listener *listener;
    char address[64];
    enum twist twist;
    atomic_uint calls, proofs, last_alpn;
    uint8_t last_pin[32];
    wf_id id;
    wf_buf token;
    char dir[64], out[96], pending[112];
};

static struct desk desk;

static void put_chain(const pki_chain *chain, ProtobufCBinaryData *certs, size_t *count)
{
    *count = pki_chain_count(chain);
    for (size_t i = 0; i < *count; i++) {
        wf_span der = pki_chain_der(chain, i);
        certs[i] = wf_pb_bytes(der.data, der.len);
    }
}

static pki_chain *issue(struct desk *d, const wf_id *id, const char *name, wf_span spki)
{
    const struct pki_leaf leaf = {
        .kind = PKI_IDENTITY,
        .domain = d->authority.domain,
        .id = *id,
        .name = name,
        .spki = spki,
        .not_before = d->authority.now - 300000,
        .not_after = d->authority.now + WF_LEAF_LIFE_MS,
    };
    pki_chain *chain = NULL;
    wf_why why = {""};
    assert_int_equal(pki_ca_issue(d->authority.identities, &leaf, &chain, &why), WEFT_OK);
    return chain;
}

/* Opens the request and checks its proof against this very connection. */
static void open_request(struct desk *d, wf_link *link, ProtobufCBinaryData csr, const char *label,
                         wf_span subject, ProtobufCBinaryData proof, wf_buf *spki)
{
    uint8_t exporter[32];
    wf_why why = {""};
    pki_pin pin;
    assert_int_equal(pki_csr_open(wf_pb_span(csr), spki, &why), WEFT_OK);
    assert_int_equal(wf_link_export(link,
                                    strcmp(label, PKI_LABEL_ENROLL) == 0 ? "EXPORTER-weft-enroll"
                                                                         : "EXPORTER-weft-renew",
                                    exporter),
                     WEFT_OK);
    if (pki_proof_check(wf_span_of(spki->data, spki->len), label, subject, exporter,
                        wf_pb_span(proof)) == WEFT_OK)
        atomic_fetch_add(&d->proofs, 1);
    pki_pin_of_spki(wf_span_of(spki->data, spki->len), &pin);
    memcpy(d->last_pin, pin.b, 32);
}

static void answer_enroll(struct desk *d, wf_link *link, const Weft__Wire__Call *call)
{
    Weft__Wire__EnrollCall *request = NULL;
    Weft__Wire__EnrollResult result;
    Weft__Wire__Signed *bundle = NULL, *member;
    ProtobufCBinaryData certs[WF_CHAIN_DEPTH];
    char name[] = "ci", *controllers[] = {d->address};
    wf_why why = {""};
    wf_buf spki, out, other;

    wf_buf_init(&spki, 1024);
    wf_buf_init(&out, WF_CONTROL_MAX);
    wf_buf_init(&other, WF_BUNDLE_MAX);
    assert_int_equal(
        wf_enroll_call_decode(call->arguments.data, call->arguments.len, &request, &why), WEFT_OK);
    open_request(d, link, request->csr, PKI_LABEL_ENROLL,
                 wf_span_of(request->token, strlen(request->token)), request->proof, &spki);
    wf_id id = d->twist == TWIST_OTHER_ID ? wf_id_random() : d->id;
    wf_span key = wf_span_of(spki.data, spki.len);
    if (d->twist == TWIST_OTHER_KEY)
        key = pki_chain_spki(d->other.chain);
    pki_chain *chain = issue(d, &id, d->twist == TWIST_OTHER_NAME ? "root" : "ci", key);
    wf_buf *encoded = &d->authority.bundle;
    if (d->twist == TWIST_OTHER_BUNDLE) {
        authority_bundle(&d->authority, 2, NULL, &other); /* well signed, but not the token's */
        encoded = &other;
    }
    assert_int_equal(wf_signed_decode(encoded->data, encoded->len, &bundle, &why), WEFT_OK);
    static const char *const addresses[] = {"127.0.0.1:7100"};
    member = authority_member(&d->authority, &d->other, addresses, 1);
    weft__wire__enroll_result__init(&result);
    if (d->twist != TWIST_NO_CHAIN) {
        result.chain = certs;
        put_chain(chain, certs, &result.n_chain);
    }
    result.bundle = bundle;
    result.id = wf_pb_id(&id);
    result.name = name;
    result.controllers = controllers;
    result.n_controllers = 1;
    result.members = &member;
    result.n_members = 1;
    assert_int_equal(wf_message_put(&result.base, &out), WEFT_OK);
    (void)wf_link_reply(link, call->id, WEFT_OK, NULL, wf_span_of(out.data, out.len));
    pki_chain_free(chain);
    wf_signed_free(bundle);
    wf_signed_free(member);
    wf_enroll_call_free(request);
    wf_buf_fini(&spki);
    wf_buf_fini(&out);
    wf_buf_fini(&other);
}

static void answer_renew(struct desk *d, wf_link *link, const Weft__Wire__Call *call)
{
    Weft__Wire__RenewCall *request = NULL;
    Weft__Wire__RenewResult result;
    ProtobufCBinaryData certs[WF_CHAIN_DEPTH];
    const struct pki_subject *peer = wf_link_peer(link);
    wf_why why = {""};
    wf_buf spki, out;

    wf_buf_init(&spki, 1024);
    wf_buf_init(&out, WF_CONTROL_MAX);
    assert_non_null(peer);
    assert_int_equal(
        wf_renew_call_decode(call->arguments.data, call->arguments.len, &request, &why), WEFT_OK);
    open_request(d, link, request->csr, PKI_LABEL_RENEW, wf_pb_span(request->csr), request->proof,
                 &spki);
    wf_span key = wf_span_of(spki.data, spki.len);
    if (d->twist == TWIST_OTHER_KEY)
        key = pki_chain_spki(d->other.chain);
    wf_id id = d->twist == TWIST_OTHER_ID ? wf_id_random() : peer->id;
    pki_chain *chain = issue(d, &id, peer->name, key);
    weft__wire__renew_result__init(&result);
    result.chain = certs;
    put_chain(chain, certs, &result.n_chain);
    assert_int_equal(wf_message_put(&result.base, &out), WEFT_OK);
    (void)wf_link_reply(link, call->id, WEFT_OK, NULL, wf_span_of(out.data, out.len));
    pki_chain_free(chain);
    wf_renew_call_free(request);
    wf_buf_fini(&spki);
    wf_buf_fini(&out);
}

static void on_up(wf_link *link, void *arg, const Weft__Wire__Hello *hello)
{
    (void)link;
    (void)arg;
    (void)hello;
}

static void on_control(wf_link *link, void *arg, Weft__Wire__Control *message)
{
    struct desk *d = arg;
    assert_int_equal(message->of_case, WEFT__WIRE__CONTROL__OF_CALL);
    unsigned nth = atomic_fetch_add(&d->calls, 1);
    atomic_store(&d->last_alpn, wf_link_alpn(link));
    if (d->twist == TWIST_SILENT)
        return;
    if (d->twist == TWIST_USED)
        (void)wf_link_reply(link, message->call->id, WEFT_EUSED, "the token was redeemed before",
                            wf_span_of(NULL, 0));
    else if (d->twist == TWIST_BUSY_ONCE && nth == 0)
        (void)wf_link_reply(link, message->call->id, WEFT_EBUSY, "later", wf_span_of(NULL, 0));
    else if (d->twist == TWIST_HANG_UP_ONCE && nth == 0)
        wf_link_cut(link, WEFT_ECANCELED, "hung up");
    else if (d->twist == TWIST_GARBAGE)
        (void)wf_link_reply(link, message->call->id, WEFT_OK, NULL, wf_span_of("\xff\xff", 2));
    else if (strcmp(message->call->operation, "enroll") == 0)
        answer_enroll(d, link, message->call);
    else
        answer_renew(d, link, message->call);
}

static void on_closed(wf_link *link, void *arg, weft_err err, const wf_why *why)
{
    (void)link;
    (void)arg;
    (void)err;
    (void)why;
}

static const struct wf_link_handler desk_handler = {
    .up = on_up, .control = on_control, .closed = on_closed};

static const struct wf_link_handler *on_accepted(void *arg, wf_link *link, void **link_arg)
{
    (void)link;
    *link_arg = arg;
    return &desk_handler;
}

static void on_stop(uv_async_t *async)
{
    struct desk *d = async->data;
    wf_listener_close(d->listener);
    wf_net_close(d->net, NULL, NULL);
    uv_close((uv_handle_t *)async, NULL);
}

static void *serve(void *arg)
{
    struct desk *d = arg;
    (void)uv_run(&d->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void open_desk(struct desk *d)
{
    const struct wf_listener_config config = {
        .tls = d->tls,
        .alpn = PKI_ALPN_LINK | PKI_ALPN_ENROLL | PKI_ALPN_RENEW,
        .kinds = PKI_IDENTITY | PKI_ROUTER | PKI_CONTROLLER,
        .accepted = on_accepted,
        .arg = d,
    };
    wf_address address = {.host = "127.0.0.1"};
    wf_why why = {""};
    assert_int_equal(uv_loop_init(&d->loop), 0);
    d->stop.data = d;
    assert_int_equal(uv_async_init(&d->loop, &d->stop, on_stop), 0);
    d->stop.data = d;
    assert_int_equal(wf_net_open(&d->loop, &d->net), WEFT_OK);
    assert_int_equal(wf_listener_open(d->net, &address, &config, &d->listener, &why), WEFT_OK);
    (void)snprintf(d->address, sizeof d->address, "127.0.0.1:%u", wf_listener_port(d->listener));
}

static void start_desk(struct desk *d)
{
    assert_int_equal(pthread_create(&d->thread, NULL, serve, d), 0);
}

static void close_desk(struct desk *d)
{
    assert_int_equal(uv_async_send(&d->stop), 0);
    assert_int_equal(pthread_join(d->thread, NULL), 0);
    assert_int_equal(uv_loop_close(&d->loop), 0);
}

static int setup(void **state)
{
    struct desk *d = &desk;
    memset(d, 0, sizeof *d);
    authority_init(&d->authority, "test.weft", wf_now_wall_ms());
    authority_issue(&d->authority, PKI_CONTROLLER, "ctrl", &d->controller);
    authority_issue(&d->authority, PKI_ROUTER, "edge", &d->other);
    d->trust = authority_trust(&d->authority);
    d->tls = authority_tls(&d->controller, d->trust);
    (void)snprintf(d->dir, sizeof d->dir, "/tmp/weft-enroll-XXXXXX");
    assert_non_null(mkdtemp(d->dir));
    (void)snprintf(d->out, sizeof d->out, "%s/ci.json", d->dir);
    (void)snprintf(d->pending, sizeof d->pending, "%s.pending", d->out);
    d->id = wf_id_random();
    open_desk(d);
    start_desk(d);
    wf_buf_init(&d->token, WF_TOKEN_MAX);
    authority_token(&d->authority, PKI_IDENTITY, &d->id, "ci", d->address, &d->controller.pin,
                    &d->token);
    *state = d;
    return 0;
}

static int teardown(void **state)
{
    struct desk *d = *state;
    char path[160];
    close_desk(d);
    static const char *const names[] = {"ci.json", "ci.json.pending", "ci.json.pending.lock",
                                        "ci.json.lock", "key.pem"};
    for (size_t i = 0; i < 5; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", d->dir, names[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(d->dir), 0); /* nothing else was left behind */
    wf_buf_fini(&d->token);
    pki_tls_ctx_unref(d->tls);
    pki_trust_unref(d->trust);
    authority_node_fini(&d->controller);
    authority_node_fini(&d->other);
    authority_fini(&d->authority);
    return 0;
}

static struct wf_enroll_config config_of(const struct desk *d)
{
    return (struct wf_enroll_config){
        .token = (const char *)d->token.data,
        .token_len = d->token.len,
        .out = d->out,
        .kind = PKI_IDENTITY,
        .key_kind = PKI_KEY_P256,
        .timeout_ms = 5000,
    };
}

static unsigned mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (unsigned)st.st_mode & 0777u;
}

/* Enrolls and expects this error; nothing may have been written but the pending key. */
static void expect_failure(struct desk *d, weft_err expected, const char *words)
{
    struct wf_enroll_config config = config_of(d);
    wf_why why = {""};
    weft_err err = wf_enroll(&config, NULL, NULL, &why);
    if (err != expected)
        print_message("got %s: %s\n", weft_err_name((int)err), why.text);
    assert_int_equal(err, expected);
    if (strstr(why.text, words) == NULL)
        print_message("\"%s\" lacks \"%s\"\n", why.text, words);
    assert_non_null(strstr(why.text, words));
    assert_false(wf_file_exists(d->out));
}

static void a_token_becomes_an_identity_file(void **state)
{
    struct desk *d = *state;
    struct wf_enroll_config config = config_of(d);
    struct pki_identity identity, loaded;
    Weft__Wire__EnrollResult *result = NULL;
    wf_why why = {""};
    pki_identity_init(&identity);
    pki_identity_init(&loaded);
    assert_int_equal(wf_enroll(&config, &identity, &result, &why), WEFT_OK);
    assert_int_equal(atomic_load(&d->calls), 1);
    assert_int_equal(atomic_load(&d->proofs), 1); /* bound to this connection and this token */
    assert_int_equal(atomic_load(&d->last_alpn), PKI_ALPN_ENROLL);
    assert_string_equal(identity.name, "ci");
    assert_true(wf_id_equal(&identity.id, &d->id));
    assert_int_equal(identity.member_count, 1);
    assert_string_equal(result->name, "ci");
    assert_int_equal(mode_of(d->out), 0600);
    assert_false(wf_file_exists(d->pending));
    char lock[128];
    (void)snprintf(lock, sizeof lock, "%s.lock", d->pending);
    assert_false(wf_file_exists(lock));
    assert_int_equal(pki_identity_load(d->out, &loaded, &why), WEFT_OK);
    assert_string_equal(loaded.domain, "test.weft");
    assert_int_equal(loaded.controller_count, 1);
    assert_false(loaded.carries);
    pki_trust *trust = NULL;
    pki_tls_ctx *tls = NULL;
    assert_int_equal(pki_identity_open(&loaded, wf_now_wall_ms(), &trust, &tls, &why), WEFT_OK);
    pki_tls_ctx_unref(tls);
    pki_trust_unref(trust);
    pki_identity_fini(&loaded);
    pki_identity_fini(&identity);
    wf_enroll_result_free(result);
}

static void a_second_enrollment_into_the_same_file_is_refused_unasked(void **state)
{
    struct desk *d = *state;
    struct wf_enroll_config config = config_of(d);
    wf_why why = {""};
    assert_int_equal(wf_enroll(&config, NULL, NULL, &why), WEFT_OK);
    assert_int_equal(wf_enroll(&config, NULL, NULL, &why), WEFT_EEXIST);
    assert_non_null(strstr(why.text, "exists already"));
    assert_int_equal(atomic_load(&d->calls), 1);
}

static void a_folder_that_cannot_be_written_is_found_before_the_token_is_spent(void **state)
{
    struct desk *d = *state;
    struct wf_enroll_config config = config_of(d);
    wf_why why = {""};
    config.out = "/proc/nowhere/ci.json";
    weft_err err = wf_enroll(&config, NULL, NULL, &why);
    assert_true(err == WEFT_EIO || err == WEFT_ENOTFOUND);
    assert_int_equal(atomic_load(&d->calls), 0);
}

static void the_key_is_kept_and_used_again_after_a_failure(void **state)
{
    struct desk *d = *state;
    struct wf_enroll_config config = config_of(d);
    uint8_t pin[32];
    wf_why why = {""};
    d->twist = TWIST_NO_CHAIN;
    expect_failure(d, WEFT_EPROTO, "");
    assert_true(wf_file_exists(d->pending));
    assert_int_equal(mode_of(d->pending), 0600);
    memcpy(pin, d->last_pin, 32);
    d->twist = TWIST_NONE;
    assert_int_equal(wf_enroll(&config, NULL, NULL, &why), WEFT_OK);
    assert_memory_equal(pin, d->last_pin, 32);
    assert_false(wf_file_exists(d->pending));
}

static void a_key_in_a_file_of_its_own_is_made_and_named(void **state)
{
    struct desk *d = *state;
    struct wf_enroll_config config = config_of(d);
    struct pki_identity loaded;
    char key[128];
    wf_why why = {""};
    (void)snprintf(key, sizeof key, "file:%s/key.pem", d->dir);
    config.key_path = key;
    config.key_kind = PKI_KEY_ED25519;
    assert_int_equal(wf_enroll(&config, NULL, NULL, &why), WEFT_OK);
    assert_int_equal(mode_of(key + 5), 0600);
    assert_false(wf_file_exists(d->pending));
    pki_identity_init(&loaded);
    assert_int_equal(pki_identity_load(d->out, &loaded, &why), WEFT_OK);
    assert_string_equal(loaded.key_ref, key);
    assert_int_equal(pki_key_kind_of(loaded.key), PKI_KEY_ED25519);
    pki_identity_fini(&loaded);
}

static void a_used_token_is_told_with_a_remedy(void **state)
{
    struct desk *d = *state;
    d->twist = TWIST_USED;
    expect_failure(d, WEFT_EUSED, "weft identity reissue ci");
    assert_false(wf_file_exists(d->pending));    /* its key can't get a certificate any more */
    assert_int_equal(atomic_load(&d->calls), 1); /* an answer is an answer */
}

static void a_token_for_another_kind_is_refused_unasked(void **state)
{
    struct desk *d = *state;
    struct wf_enroll_config config = config_of(d);
    wf_why why = {""};
    config.kind = PKI_ROUTER;
    assert_int_equal(wf_enroll(&config, NULL, NULL, &why), WEFT_EINVAL);
    assert_non_null(strstr(why.text, "weft enroll"));
    config.token = "no.token.atall";
    config.token_len = 14;
    assert_int_equal(wf_enroll(&config, NULL, NULL, &why), WEFT_ECREDENTIAL);
    assert_int_equal(atomic_load(&d->calls), 0);
}

static void a_controller_with_another_key_gets_nothing(void **state)
{
    struct desk *d = *state;
    wf_buf_clear(&d->token);
    authority_token(&d->authority, PKI_IDENTITY, &d->id, "ci", d->address, &d->other.pin,
                    &d->token);
    expect_failure(d, WEFT_ECREDENTIAL, "not the controller that the token names");
    assert_int_equal(atomic_load(&d->calls), 0);
}

static void a_busy_controller_is_asked_again(void **state)
{
    struct desk *d = *state;
    struct wf_enroll_config config = config_of(d);
    wf_why why = {""};
    d->twist = TWIST_BUSY_ONCE;
    assert_int_equal(wf_enroll(&config, NULL, NULL, &why), WEFT_OK);
    assert_int_equal(atomic_load(&d->calls), 2);
}

static void a_controller_that_hangs_up_is_asked_again_with_the_same_key(void **state)
{
    struct desk *d = *state;
    struct wf_enroll_config config = config_of(d);
    wf_why why = {""};
    d->twist = TWIST_HANG_UP_ONCE;
    assert_int_equal(wf_enroll(&config, NULL, NULL, &why), WEFT_OK);
    assert_int_equal(atomic_load(&d->calls), 2);
    assert_int_equal(atomic_load(&d->proofs), 1); /* the first was hung up on before it was read */
}

static void a_silent_controller_times_out(void **state)
{
    struct desk *d = *state;
    struct wf_enroll_config config = config_of(d);
    wf_why why = {""};
    d->twist = TWIST_SILENT;
    config.timeout_ms = 400;
    assert_int_equal(wf_enroll(&config, NULL, NULL, &why), WEFT_ETIMEDOUT);
}

static void no_controller_at_all_is_unreachable(void **state)
{
    struct desk *d = *state;
    close_desk(d);
    expect_failure(d, WEFT_EUNREACHABLE, "refused");
    open_desk(d);
    start_desk(d);
}

static void an_answer_that_differs_from_the_token_is_refused(void **state)
{
    struct desk *d = *state;
    d->twist = TWIST_OTHER_ID;
    expect_failure(d, WEFT_ECREDENTIAL, "not for the id and name in the token");
    d->twist = TWIST_OTHER_NAME;
    expect_failure(d, WEFT_ECREDENTIAL, "\"root\"");
    d->twist = TWIST_OTHER_KEY;
    expect_failure(d, WEFT_ECREDENTIAL, "not for our key");
    d->twist = TWIST_OTHER_BUNDLE;
    expect_failure(d, WEFT_ECREDENTIAL, "");
    d->twist = TWIST_NO_CHAIN;
    expect_failure(d, WEFT_EPROTO, "");
    d->twist = TWIST_GARBAGE;
    expect_failure(d, WEFT_EPROTO, "");
}

/* ---- renewal */

/* An identity of this desk's authority, valid from and until (relative, ms). */
static void make_identity(struct desk *d, int64_t from, int64_t until, struct pki_identity *out)
{
    struct authority_node node;
    authority_issue(&d->authority, PKI_IDENTITY, "ci", &node);
    authority_renew(&d->authority, &node, d->authority.now + (uint64_t)from,
                    d->authority.now + (uint64_t)until);
    authority_identity(&d->authority, &node, out);
    wf_why why = {""};
    assert_int_equal(wf_address_parse(d->address, 0, &out->controllers[0], &why), WEFT_OK);
    out->controller_count = 1;
    authority_node_fini(&node);
}

static void a_valid_certificate_is_renewed_over_the_usual_protocol(void **state)
{
    struct desk *d = *state;
    struct pki_identity identity;
    pki_chain *chain = NULL;
    wf_buf bundle;
    wf_why why = {""};
    uint64_t from, until;
    wf_buf_init(&bundle, WF_BUNDLE_MAX);
    make_identity(d, -3600000, 3600000, &identity);
    const struct wf_renew_config config = {.identity = &identity, .timeout_ms = 5000};
    assert_int_equal(wf_renew(&config, &chain, &bundle, &why), WEFT_OK);
    assert_int_equal(atomic_load(&d->last_alpn), PKI_ALPN_LINK);
    assert_int_equal(atomic_load(&d->proofs), 1);
    pki_chain_validity(chain, &from, &until);
    assert_true(until > d->authority.now + 86400000);
    assert_int_equal(bundle.len, 0);
    pki_chain_free(chain);
    pki_identity_fini(&identity);
}

static void an_expired_certificate_is_renewed_over_the_forgiving_one(void **state)
{
    struct desk *d = *state;
    struct pki_identity identity;
    pki_chain *chain = NULL;
    wf_why why = {""};
    make_identity(d, -7200000, -3600000, &identity);
    const struct wf_renew_config config = {.identity = &identity, .timeout_ms = 5000};
    weft_err err = wf_renew(&config, &chain, NULL, &why);
    if (err != WEFT_OK)
        print_message("%s: %s\n", weft_err_name((int)err), why.text);
    assert_int_equal(err, WEFT_OK);
    assert_int_equal(atomic_load(&d->last_alpn), PKI_ALPN_RENEW);
    pki_chain_free(chain);
    pki_identity_fini(&identity);
}

static void a_renewed_certificate_for_another_id_or_key_is_refused(void **state)
{
    struct desk *d = *state;
    struct pki_identity identity;
    pki_chain *chain = NULL;
    wf_why why = {""};
    make_identity(d, -3600000, 3600000, &identity);
    const struct wf_renew_config config = {.identity = &identity, .timeout_ms = 5000};
    d->twist = TWIST_OTHER_KEY;
    assert_int_equal(wf_renew(&config, &chain, NULL, &why), WEFT_ECREDENTIAL);
    d->twist = TWIST_OTHER_ID;
    assert_int_equal(wf_renew(&config, &chain, NULL, &why), WEFT_ECREDENTIAL);
    assert_null(chain);
    pki_identity_fini(&identity);
}

/* ---- memory */

static void forget(const struct desk *d)
{
    (void)unlink(d->out);
    (void)unlink(d->pending);
}

/* The controller is a process of its own here, so that only our own allocations fail. */
static void any_allocation_of_an_enrollment_may_fail(void **state)
{
    struct desk *d = *state;
    bool failed = true;
    close_desk(d);
    open_desk(d);
    wf_buf_clear(&d->token);
    authority_token(&d->authority, PKI_IDENTITY, &d->id, "ci", d->address, &d->controller.pin,
                    &d->token);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* should a check below fail */
        if (uv_loop_fork(&d->loop) == 0)
            (void)uv_run(&d->loop, UV_RUN_DEFAULT);
        _exit(1);
    }
    for (unsigned n = 1; failed && n < 5000; n++) {
        struct wf_enroll_config config = config_of(d);
        struct pki_identity identity;
        Weft__Wire__EnrollResult *result = NULL;
        wf_why why = {""};
        pki_identity_init(&identity);
        alloc_fail_at(n);
        weft_err err = wf_enroll(&config, &identity, &result, &why);
        failed = alloc_has_failed();
        alloc_fail_at(0);
        assert_true(failed || err == WEFT_OK);
        assert_int_equal(result != NULL, err == WEFT_OK);
        if (err != WEFT_OK)
            assert_true(why.text[0] != '\0');
        wf_enroll_result_free(result);
        pki_identity_fini(&identity);
        forget(d);
    }
    assert_false(failed);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    start_desk(d); /* for the teardown */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_token_becomes_an_identity_file),
        T(a_second_enrollment_into_the_same_file_is_refused_unasked),
        T(a_folder_that_cannot_be_written_is_found_before_the_token_is_spent),
        T(the_key_is_kept_and_used_again_after_a_failure),
        T(a_key_in_a_file_of_its_own_is_made_and_named),
        T(a_used_token_is_told_with_a_remedy),
        T(a_token_for_another_kind_is_refused_unasked),
        T(a_controller_with_another_key_gets_nothing),
        T(a_busy_controller_is_asked_again),
        T(a_controller_that_hangs_up_is_asked_again_with_the_same_key),
        T(a_silent_controller_times_out),
        T(no_controller_at_all_is_unreachable),
        T(an_answer_that_differs_from_the_token_is_refused),
        T(a_valid_certificate_is_renewed_over_the_usual_protocol),
        T(an_expired_certificate_is_renewed_over_the_forgiving_one),
        T(a_renewed_certificate_for_another_id_or_key_is_refused),
        T(any_allocation_of_an_enrollment_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
