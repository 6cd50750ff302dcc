/*
 * Enrollment, the enrollee's side.
 *
 * Happy path: the token is read, OUT.pending is locked, the key lies in it
 * before anything is asked, the controller proves that it holds the key that
 * the token pins, the token is redeemed with a proof bound to that very TLS
 * connection, the answer is verified against the token, OUT is written, and
 * OUT.pending goes.
 *
 * - OUT is there already, or its folder can't be written: found before the
 *   token is spent.
 * - Killed between request and answer: the next run finds OUT.pending, and the
 *   same key within ten minutes gets the same certificate.
 * - The controller's key is not the token's: nothing was sent, the next one is tried.
 * - It refuses the token for good: OUT.pending goes, as its key can't get a certificate any more.
 * - The answer doesn't hold what the token says: nothing is written.
 */
#include "proto/link/enroll.h"
#include "pki/identity_key.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/base/secret.h"
#include "proto/link/ask.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOCK_MS 5000u
#define KEY_MAX 4096u
#define AGAIN_MS 500u

struct enrollment {
    const struct wf_enroll_config *config; /* borrowed */
    struct pki_token token;
    pki_key *key;               /* owned */
    wf_buf csr;                 /* owned */
    char *key_ref;              /* owned; as the identity will name it; NULL: inline */
    char *pending;              /* owned: OUT.pending */
    bool is_fresh;              /* the key was made now: no earlier attempt can have used it */
    struct pki_subject subject; /* of the certificate that came, verified */
};

/* A join token is nobody's own: who we are follows from what we show beside it. */
static bool is_join(const struct enrollment *e)
{
    return e->token.method == PKI_ENROLL_CA || e->token.method == PKI_ENROLL_OIDC;
}

static const char *kind_word(enum pki_kind kind)
{
    return kind == PKI_ROUTER       ? "a router"
           : kind == PKI_CONTROLLER ? "a controller"
                                    : "an identity";
}

/* The noun of the command that makes a new token. */
static const char *noun(enum pki_kind kind)
{
    return kind == PKI_ROUTER ? "router" : "identity";
}

/* ---- before anything is asked */

static weft_err check_token(struct enrollment *e, wf_why *why)
{
    const struct wf_enroll_config *config = e->config;

    weft_err err = pki_token_read(config->token, config->token_len, &e->token, why);
    if (err != WEFT_OK)
        return wf_wrap(why, err, "the enrollment token can't be used");
    if (e->token.kind != config->kind)
        return wf_fail(why, WEFT_EINVAL, "this token enrolls %s, not %s%s",
                       kind_word(e->token.kind), kind_word(config->kind),
                       e->token.kind == PKI_ROUTER     ? ": use `weft-router enroll`"
                       : e->token.kind == PKI_IDENTITY ? ": use `weft enroll`"
                                                       : "");
    const bool foreign = e->token.method == PKI_ENROLL_OTTCA || e->token.method == PKI_ENROLL_CA;
    const bool oidc = e->token.method == PKI_ENROLL_OIDC;
    if (foreign != (config->foreign != NULL))
        return wf_fail(why, WEFT_EUSAGE, "%s",
                       foreign ? "this token enrolls with a certificate of your own authority: "
                                 "give --ca-cert and --ca-key"
                               : "this token takes no certificate: leave --ca-cert and --ca-key");
    if (oidc != (config->oidc_token != NULL))
        return wf_fail(why, WEFT_EUSAGE, "%s",
                       oidc ? "this token enrolls with a token of its issuer: give --oidc-token"
                            : "this token takes no issuer's token: leave --oidc-token");
    return WEFT_OK;
}

static weft_err check_out(const char *out, wf_why *why)
{
    if (!wf_file_exists(out))
        return WEFT_OK;
    return wf_fail(why, WEFT_EEXIST,
                   "%s exists already: this identity is enrolled; to enroll anew, move the file "
                   "away or choose another with --out",
                   out);
}

/* The new key's PEM: secret unless it is under the passphrase. */
static weft_err put_key(const pki_key *key, bool sealed, wf_buf *pem, wf_why *why)
{
    wf_buf passphrase;
    weft_err err;

    if (!sealed)
        return pki_key_put_pem(key, NULL, pem);
    wf_buf_init(&passphrase, PKI_PASSPHRASE_MAX + 1);
    err = wf_buf_reserve(&passphrase, PKI_PASSPHRASE_MAX + 1);
    if (err == WEFT_OK)
        err = pki_passphrase(&passphrase, why);
    if (err == WEFT_OK)
        err = wf_buf_cstr(&passphrase) == NULL
                  ? WEFT_ENOMEM
                  : pki_key_put_pem(key, wf_buf_cstr(&passphrase), pem);
    wf_buf_wipe(&passphrase);
    return err;
}

/* The key at path, or a new one that is on disk before it is used. */
static weft_err load_or_make_key(struct enrollment *e, const char *path, wf_why *why)
{
    wf_buf pem;
    pki_key *key = NULL;
    bool sealed;

    e->is_fresh = !wf_file_exists(path);
    wf_buf_init(&pem, KEY_MAX);
    weft_err err = wf_buf_reserve(&pem, KEY_MAX); /* one piece, so that no copy is left behind */
    if (err != WEFT_OK)
        goto done;
    if (!e->is_fresh) {
        err = wf_file_read_secret(path, &pem, why);
        if (err == WEFT_OK) {
            err = pki_key_open_pem(wf_span_of(pem.data, pem.len), &key, &sealed, why);
            if (err != WEFT_OK)
                (void)wf_wrap(why, err, "the key in %s", path);
        }
        goto done;
    }
    err = pki_key_new(e->config->key_kind, &key, why);
    if (err == WEFT_OK)
        err = put_key(key, e->config->key_sealed, &pem, why);
    if (err == WEFT_OK)
        err = wf_file_create(path, pem.data, pem.len, 0600, why);
done:
    wf_buf_wipe(&pem);
    if (err != WEFT_OK) {
        pki_key_free(key);
        return err;
    }
    e->key = key;
    return WEFT_OK;
}

/* One enrollment into OUT at a time. OUT's own lock is for writing it. */
static weft_err lock_out(struct enrollment *e, int *lock, wf_why *why)
{
    if (asprintf(&e->pending, "%s.pending", e->config->out) < 0) {
        e->pending = NULL;
        return wf_fail(why, WEFT_ENOMEM, "no memory for a path");
    }
    return wf_file_lock(e->pending, LOCK_MS, lock, why);
}

/* What was needed on the way only. Whoever waits for the lock finds OUT. */
static void remove_pending(const struct enrollment *e)
{
    char *lock = NULL;
    (void)unlink(e->pending);
    if (asprintf(&lock, "%s.lock", e->pending) < 0)
        return;
    (void)unlink(lock);
    free(lock);
}

/* A relative path is one of the working directory when typed, and one of OUT's folder when read. */
static weft_err name_key_file(struct enrollment *e, wf_why *why)
{
    const char *path = e->config->key_path + 5;
    char *here = NULL;
    int made;

    if (path[0] == '/' || strchr(e->config->out, '/') == NULL) {
        e->key_ref = strdup(e->config->key_path);
        return e->key_ref == NULL ? wf_fail(why, WEFT_ENOMEM, "no memory for a path") : WEFT_OK;
    }
    here = getcwd(NULL, 0);
    if (here == NULL)
        return wf_fail(why, WEFT_EIO, "the working directory can't be named");
    made = asprintf(&e->key_ref, "file:%s/%s", here, path);
    free(here);
    if (made < 0) {
        e->key_ref = NULL;
        return wf_fail(why, WEFT_ENOMEM, "no memory for a path");
    }
    return WEFT_OK;
}

static weft_err find_key(struct enrollment *e, wf_why *why)
{
    const char *place = e->config->key_path;
    weft_err err;

    if (place == NULL)
        return load_or_make_key(e, e->pending, why);
    if (strncmp(place, "pkcs11:", 7) == 0) {
        e->key_ref = strdup(place);
        return e->key_ref == NULL ? wf_fail(why, WEFT_ENOMEM, "no memory for a name")
                                  : pki_key_from_token(place, &e->key, why);
    }
    if (strncmp(place, "file:", 5) != 0 || place[5] == '\0')
        return wf_fail(why, WEFT_EINVAL,
                       "the key \"%s\" isn't one that this version can use: write file:PATH or "
                       "pkcs11:URI",
                       place);
    err = name_key_file(e, why);
    return err == WEFT_OK ? load_or_make_key(e, e->key_ref + 5, why) : err;
}

/* ---- a certificate of another authority */

weft_err wf_foreign_load(const char *cert_path, const char *key_path, struct wf_foreign *out,
                         wf_why *why)
{
    struct wf_foreign foreign = {.count = 0};
    wf_buf pem;

    wf_buf_init(&pem, 4 * WF_CHAIN_MAX);
    for (size_t i = 0; i < WF_CHAIN_DEPTH; i++)
        wf_buf_init(&foreign.chain[i], WF_CERT_MAX);
    weft_err err = wf_file_read_secret(key_path, &pem, why);
    if (err == WEFT_OK) {
        err = pki_foreign_key_from_pem(wf_span_of(pem.data, pem.len), &foreign.key, why);
        if (err != WEFT_OK)
            (void)wf_wrap(why, err, "%s", key_path);
    }
    wf_buf_wipe(&pem);
    wf_buf_init(&pem, 4 * WF_CHAIN_MAX);
    if (err == WEFT_OK)
        err = wf_file_read(cert_path, &pem, why);
    if (err == WEFT_OK) {
        err = pki_foreign_chain_from_pem(wf_span_of(pem.data, pem.len), foreign.key, foreign.chain,
                                         &foreign.count, why);
        if (err != WEFT_OK)
            (void)wf_wrap(why, err, "%s", cert_path);
    }
    wf_buf_fini(&pem);
    if (err == WEFT_OK)
        *out = foreign;
    else
        wf_foreign_fini(&foreign);
    return err;
}

void wf_foreign_fini(struct wf_foreign *foreign)
{
    pki_foreign_key_free(foreign->key);
    for (size_t i = 0; i < WF_CHAIN_DEPTH; i++)
        wf_buf_fini(&foreign->chain[i]);
    *foreign = (struct wf_foreign){.key = NULL};
}

weft_err wf_foreign_put(const struct wf_foreign *foreign, wf_span subject, wf_span csr,
                        const uint8_t exporter[32], ProtobufCBinaryData *certs, wf_buf *proof)
{
    uint8_t body[PKI_FOREIGN_BODY];

    for (size_t i = 0; i < foreign->count; i++)
        certs[i] = wf_pb_bytes(foreign->chain[i].data, foreign->chain[i].len);
    pki_foreign_body(subject, csr, exporter, body);
    return pki_foreign_sign(foreign->key, wf_span_of(body, sizeof body), proof);
}

/* ---- the call */

static weft_err put_call(void *arg, wf_link *link, wf_buf *out, wf_why *why)
{
    struct enrollment *e = arg;
    const struct wf_enroll_config *config = e->config;
    Weft__Wire__EnrollCall call;
    char texts[WF_ADDRESSES_MAX][WF_ADDRESS_TEXT];
    char *addresses[WF_ADDRESSES_MAX];
    char token[WF_TOKEN_MAX + 1];
    char issued[WF_OIDC_TOKEN_MAX + 1];
    ProtobufCBinaryData certs[WF_CHAIN_DEPTH];
    uint8_t exporter[32];
    wf_buf proof, foreign;

    weft__wire__enroll_call__init(&call);
    assert(config->token_len <= WF_TOKEN_MAX); /* it was read */
    wf_buf_init(&proof, 256);
    wf_buf_init(&foreign, 2 * WF_SIGNATURE_MAX);
    if (config->oidc_token != NULL && strlen(config->oidc_token) > WF_OIDC_TOKEN_MAX)
        return wf_fail(why, WEFT_ELIMIT, "the issuer's token is longer than %u characters",
                       WF_OIDC_TOKEN_MAX);
    memcpy(token, config->token, config->token_len);
    token[config->token_len] = '\0';
    weft_err err = wf_link_export(link, "EXPORTER-weft-enroll", exporter);
    if (err == WEFT_OK)
        err = pki_proof_make(e->key, PKI_LABEL_ENROLL, wf_span_of(config->token, config->token_len),
                             exporter, &proof);
    if (err == WEFT_OK) {
        for (size_t i = 0; i < config->address_count; i++)
            addresses[i] = wf_address_text(&config->addresses[i], texts[i]);
        call.token = token;
        call.csr = wf_pb_bytes(e->csr.data, e->csr.len);
        call.proof = wf_pb_bytes(proof.data, proof.len);
        call.addresses = addresses;
        call.n_addresses = config->address_count;
    }
    if (err == WEFT_OK && config->foreign != NULL) {
        err = wf_foreign_put(config->foreign, wf_span_of(config->token, config->token_len),
                             wf_span_of(e->csr.data, e->csr.len), exporter, certs, &foreign);
        call.foreign_chain = certs;
        call.n_foreign_chain = config->foreign->count;
        call.foreign_proof = wf_pb_bytes(foreign.data, foreign.len);
    }
    if (err == WEFT_OK) {
        if (config->oidc_token != NULL) {
            memcpy(issued, config->oidc_token, strlen(config->oidc_token) + 1);
            call.oidc_token = issued;
        }
        err = wf_message_put(&call.base, out);
    }
    if (err != WEFT_OK)
        (void)wf_fail(why, err, "the request can't be made: %s", weft_err_sentence((int)err));
    wf_buf_wipe(&proof);
    wf_buf_fini(&foreign);
    wf_wipe(issued, sizeof issued);
    return err;
}

/* Asks; while the controller has to fetch what it needs, again. */
static weft_err ask_patiently(const struct wf_ask *ask, wf_buf *answer, bool *refused, wf_why *why)
{
    const uint64_t end = wf_now_mono_ms() + (ask->timeout_ms != 0 ? ask->timeout_ms : 30000);
    for (;;) {
        weft_err err = wf_ask(ask, answer, refused, why);
        if (err != WEFT_EBUSY || !*refused || wf_now_mono_ms() + AGAIN_MS > end)
            return err;
        why->text[0] = '\0';
        *refused = false;
        (void)usleep(AGAIN_MS * 1000);
    }
}

static weft_err redeem(struct enrollment *e, wf_buf *answer, wf_why *why)
{
    const struct pki_tls_identity nobody = {
        .server_pins = e->token.server_pins,
        .server_pin_count = e->token.server_pin_count,
    };
    pki_tls_ctx *tls = NULL;
    bool refused = false;

    weft_err err = pki_tls_ctx_new(&nobody, &tls, why);
    if (err != WEFT_OK)
        return err;
    const struct wf_ask ask = {
        .tls = tls,
        .alpn = PKI_ALPN_ENROLL,
        .controllers = e->token.controllers,
        .controller_count = e->token.controller_count,
        .operation = "enroll",
        .arguments = put_call,
        .arg = e,
        .timeout_ms = e->config->timeout_ms,
    };
    err = ask_patiently(&ask, answer, &refused, why);
    pki_tls_ctx_unref(tls);
    if (refused &&
        (err == WEFT_EUSED || err == WEFT_EEXPIRED || (err == WEFT_ECREDENTIAL && e->is_fresh)))
        remove_pending(e);
    if (refused && is_join(e)) {
        remove_pending(e); /* the next time may be with another proof: a key of its own */
        return err;
    }
    if (refused && err == WEFT_EUSED)
        return wf_fail(why, err, "token already used: ask for a new one with `weft %s reissue %s`",
                       noun(e->token.kind), e->token.name);
    if (refused && err == WEFT_EEXPIRED)
        return wf_fail(why, err, "token expired: ask for a new one with `weft %s reissue %s`",
                       noun(e->token.kind), e->token.name);
    if (!refused && err == WEFT_ECREDENTIAL)
        return wf_wrap(why, err,
                       "not the controller that the token names (or its key was replaced: ask for "
                       "a new token); nothing was sent");
    return err;
}

/* ---- the answer */

/* Everything that came, against the token and our key; on success the identity is complete. */
static weft_err verify(struct enrollment *e, const Weft__Wire__EnrollResult *result,
                       struct pki_identity *identity, wf_why *why)
{
    const struct pki_token *token = &e->token;
    wf_span certs[WF_CHAIN_DEPTH];
    struct pki_subject subject;
    pki_trust *trust = NULL;
    pki_pin pin;
    wf_id said;

    if (!wf_id_from_bytes(result->id.data, result->id.len, &said))
        return wf_fail(why, WEFT_EPROTO, "it lacks the id");
    if (result->bundle == NULL || result->n_chain == 0 || result->n_chain > WF_CHAIN_DEPTH)
        return wf_fail(why, WEFT_EPROTO, "it lacks the certificate or the bundle");
    weft_err err = wf_signed_encode(result->bundle, &identity->bundle);
    if (err == WEFT_OK)
        err = pki_trust_new(wf_span_of(identity->bundle.data, identity->bundle.len), token->bundle,
                            &trust, why);
    if (err != WEFT_OK)
        return err;
    err = pki_trust_follow(trust, result->bundles, result->n_bundles, NULL, why);
    if (err == WEFT_OK) {
        wf_buf_clear(&identity->bundle);
        err = wf_buf_put(&identity->bundle, pki_trust_bundle(trust).data,
                         pki_trust_bundle(trust).len);
    }
    if (err != WEFT_OK)
        goto done;
    for (size_t i = 0; i < result->n_chain; i++)
        certs[i] = wf_pb_span(result->chain[i]);
    err = pki_chain_from_der(certs, result->n_chain, &identity->chain, why);
    if (err == WEFT_OK)
        err = pki_trust_check_chain(trust, identity->chain, (unsigned)token->kind, PKI_CLIENT,
                                    false, wf_now_wall_ms(), &subject, why);
    if (err != WEFT_OK)
        goto done;
    pki_key_pin(e->key, &pin);
    if (is_join(e)
            ? !wf_id_equal(&subject.id, &said) || wf_id_equal(&subject.id, &token->id)
            : !wf_id_equal(&subject.id, &token->id) || strcmp(subject.name, token->name) != 0) {
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "the certificate is for \"%s\", not for the id and "
                      "name in the %s",
                      subject.name, is_join(e) ? "answer" : "token");
    } else if (subject.kind != token->kind || strcmp(subject.domain, token->issuer) != 0) {
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "the certificate is of another kind or trust domain than the token");
    } else if (!pki_pin_equal(&subject.pin, &pin)) {
        err = wf_fail(why, WEFT_ECREDENTIAL, "the certificate is not for our key");
    }
    e->subject = subject;
done:
    pki_trust_unref(trust);
    return err;
}

static weft_err take_controllers(const struct enrollment *e, const Weft__Wire__EnrollResult *result,
                                 struct pki_identity *identity, wf_why *why)
{
    for (size_t i = 0; i < result->n_controllers && i < PKI_CONTROLLERS_MAX; i++) {
        weft_err err = wf_address_parse(result->controllers[i], 0,
                                        &identity->controllers[identity->controller_count], why);
        if (err != WEFT_OK)
            return err;
        identity->controller_count++;
    }
    if (identity->controller_count == 0) { /* it answered there a moment ago */
        memcpy(identity->controllers, e->token.controllers, sizeof identity->controllers);
        identity->controller_count = e->token.controller_count;
    }
    return WEFT_OK;
}

static weft_err take_records(wf_buf **array, size_t *count, Weft__Wire__Signed **records, size_t n)
{
    wf_buf encoded;
    weft_err err = WEFT_OK;

    wf_buf_init(&encoded, WF_BUNDLE_MAX);
    for (size_t i = 0; err == WEFT_OK && i < n; i++) {
        wf_buf_clear(&encoded);
        err = wf_signed_encode(records[i], &encoded);
        if (err == WEFT_OK)
            err = pki_identity_carry(array, count, wf_span_of(encoded.data, encoded.len));
    }
    wf_buf_fini(&encoded);
    return err;
}

/* Builds the identity from a verified answer and writes it. */
static weft_err conclude(struct enrollment *e, const Weft__Wire__EnrollResult *result,
                         struct pki_identity *identity, wf_why *why)
{
    const struct wf_enroll_config *config = e->config;

    weft_err err = verify(e, result, identity, why);
    if (err == WEFT_OK)
        err = take_controllers(e, result, identity, why);
    if (err != WEFT_OK)
        return wf_wrap(why, err, "the controller's answer is refused");
    identity->kind = e->token.kind;
    identity->id = e->subject.id;
    memcpy(identity->name, e->subject.name, sizeof identity->name);
    memcpy(identity->domain, e->token.issuer, sizeof identity->domain);
    identity->key = e->key;
    e->key = NULL;
    identity->key_ref = e->key_ref;
    e->key_ref = NULL;
    identity->key_sealed = identity->key_ref == NULL && config->key_sealed;
    identity->path = strdup(config->out);
    if (identity->path == NULL)
        return wf_fail(why, WEFT_ENOMEM, "no memory for a path");
    err = pki_identity_save(identity, config->out, why);
    if (err != WEFT_OK)
        return err;
    remove_pending(e);
    /* Not in the file: the caller may cache them. */
    err = take_records(&identity->members, &identity->member_count, result->members,
                       result->n_members);
    if (err == WEFT_OK)
        err = take_records(&identity->floors, &identity->floors_count, result->floors,
                           result->n_floors);
    return err == WEFT_OK ? err : wf_fail(why, err, "no memory for the fabric's records");
}

weft_err wf_enroll(const struct wf_enroll_config *config, struct pki_identity *identity,
                   Weft__Wire__EnrollResult **result, wf_why *why_out)
{
    struct enrollment e = {.config = config};
    struct pki_identity fresh;
    Weft__Wire__EnrollResult *decoded = NULL;
    wf_buf answer;
    wf_why text = {""}, *why = &text;
    int lock = -1;

    pki_identity_init(&fresh);
    wf_buf_init(&e.csr, WF_CSR_MAX);
    wf_buf_init(&answer, WF_CONTROL_MAX);
    if (config->address_count > WF_ADDRESSES_MAX)
        return wf_fail(why_out, WEFT_EINVAL, "a router has at most %u addresses", WF_ADDRESSES_MAX);
    weft_err err = check_token(&e, why);
    if (err == WEFT_OK)
        err = check_out(config->out, why);
    if (err == WEFT_OK)
        err = lock_out(&e, &lock, why);
    if (err == WEFT_OK)
        err = check_out(config->out, why); /* by whoever held the lock before us */
    if (err == WEFT_OK)
        err = find_key(&e, why);
    if (err == WEFT_OK)
        err = pki_csr_make(e.key, &e.csr, why);
    if (err == WEFT_OK)
        err = redeem(&e, &answer, why);
    if (err == WEFT_OK) {
        err = wf_enroll_result_decode(answer.data, answer.len, &decoded, why);
        if (err == WEFT_OK)
            err = conclude(&e, decoded, &fresh, why);
    }
    if (lock >= 0)
        close(lock);
    if (err == WEFT_OK && identity != NULL) {
        pki_identity_fini(identity);
        *identity = fresh;
        pki_identity_init(&fresh);
    }
    if (err == WEFT_OK && result != NULL) {
        *result = decoded;
        decoded = NULL;
    }
    if (decoded != NULL)
        wf_enroll_result_free(decoded);
    pki_identity_fini(&fresh);
    pki_key_free(e.key);
    free(e.key_ref);
    free(e.pending);
    wf_buf_fini(&answer);
    wf_buf_wipe(&e.csr);
    if (err != WEFT_OK) /* memory fails without words */
        (void)wf_fail(why_out, err, "%s",
                      text.text[0] != '\0' ? text.text : weft_err_sentence((int)err));
    return err;
}
