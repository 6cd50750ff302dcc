/*
 * weft_enroll: a token becomes an identity file; with carry, one that needs no
 * controller at all for a while.
 */
#include "proto/link/enroll.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "sdk/endpoint.h"
#include "sdk/posture.h"
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

#define CARRY_MAX_MS (366ull * 86400000ull)
#define CARRY_WARN (48u * 1024u) /* what a CI provider takes as one secret */

/* ---- carrying */

struct carrying {
    weft_endpoint *endpoint;
    struct pki_identity *identity; /* gets the records */
    bool named;
    weft_err err;
    wf_why why;
};

static weft_err carry_all(wf_buf **array, size_t *count, Weft__Wire__Signed **records, size_t n)
{
    weft_err err = WEFT_OK;
    wf_buf encoded;
    wf_buf_init(&encoded, WF_BUNDLE_MAX);
    for (size_t i = 0; i < n && err == WEFT_OK; i++) {
        wf_buf_clear(&encoded);
        err = wf_signed_encode(records[i], &encoded);
        if (err == WEFT_OK)
            err = pki_identity_carry(array, count, wf_span_of(encoded.data, encoded.len));
    }
    wf_buf_fini(&encoded);
    return err;
}

static void forget(wf_buf **array, size_t *count)
{
    for (size_t i = 0; i < *count; i++)
        wf_buf_fini(&(*array)[i]);
    free(*array);
    *array = NULL;
    *count = 0;
}

static weft_err take_result(struct carrying *c, const Weft__Wire__GrantsResult *result)
{
    struct pki_identity *id = c->identity;
    if (c->named && result->refused_code != 0)
        return wf_fail(&c->why,
                       result->refused_code <= WEFT_EEOF ? (weft_err)result->refused_code
                                                         : WEFT_EREFUSED,
                       "%s", result->refused_reason);
    forget(&id->members, &id->member_count);
    forget(&id->floors, &id->floors_count);
    weft_err err = carry_all(&id->grants, &id->grant_count, result->grants, result->n_grants);
    if (err == WEFT_OK)
        err = carry_all(&id->members, &id->member_count, result->members, result->n_members);
    if (err == WEFT_OK)
        err = carry_all(&id->floors, &id->floors_count, result->floors, result->n_floors);
    if (err == WEFT_OK && id->grant_count == 0)
        err = wf_fail(&c->why, WEFT_EREFUSED, "no policy lets %s dial or bind anything yet",
                      id->name);
    return err;
}

static void on_grants(void *arg, weft_err code, const char *reason, wf_span bytes)
{
    struct carrying *c = arg;
    Weft__Wire__GrantsResult *result = NULL;
    c->endpoint->controller.calls--;
    c->err = code;
    if (code != WEFT_OK) {
        (void)wf_fail(&c->why, code, "%s", reason);
    } else {
        c->err = wf_grants_result_decode(bytes.data, bytes.len, &result, &c->why);
        if (c->err == WEFT_OK)
            c->err = take_result(c, result);
        wf_grants_result_free(result);
    }
    weft_endpoint_close(c->endpoint, NULL, NULL);
}

static weft_err carry(struct pki_identity *identity, const char *life, const char *const *services,
                      wf_why *why)
{
    uint64_t ms;
    if (wf_duration_parse(life, &ms) != WEFT_OK || ms == 0 || ms > CARRY_MAX_MS)
        return wf_fail(why, WEFT_EUSAGE, "'%s' is no lifetime to carry; say for example 30d", life);
    struct carrying c = {.identity = identity};
    const struct weft_options options = {.identity = identity->path, .state_dir = ""};
    weft_err err = weft_endpoint_open(&options, &c.endpoint, why);
    if (err != WEFT_OK)
        return err;

    Weft__Wire__GrantsCall call = WEFT__WIRE__GRANTS_CALL__INIT;
    struct wf_posture posture;
    wf_posture_fill(&posture);
    call.posture = &posture.message;
    wf_buf arguments;
    wf_buf_init(&arguments, WF_CONTROL_MAX);
    union {
        const char *const *in;
        char **out;
    } names = {.in = services}; /* packing only reads */
    while (services != NULL && services[call.n_services] != NULL)
        call.n_services++;
    call.services = names.out;
    call.carry = ms;
    c.named = call.n_services > 0;
    err = wf_message_put(&call.base, &arguments);
    if (err == WEFT_OK)
        err = wf_controller_call(c.endpoint, "grants", wf_span_of(arguments.data, arguments.len),
                                 2 * WF_CALL_MS, on_grants, &c);
    wf_buf_fini(&arguments);
    if (err == WEFT_OK) {
        c.endpoint->controller.calls++;
        (void)weft_endpoint_run(c.endpoint);
        err = c.err;
        if (err != WEFT_OK)
            (void)wf_fail(why, err, "%s", c.why.text);
    } else {
        (void)wf_fail(why, err, "the controller can't be asked for grants: %s",
                      weft_err_sentence((int)err));
        weft_endpoint_close(c.endpoint, NULL, NULL);
        (void)weft_endpoint_run(c.endpoint);
    }
    return err;
}

static void warn_if_large(const struct pki_identity *identity)
{
    wf_buf json;
    wf_buf_init(&json, WF_IDENTITY_FILE_MAX);
    if (pki_identity_put_json(identity, &json) == WEFT_OK && json.len > CARRY_WARN)
        wf_log_warn("the identity file has %zu bytes: more than 48 KB don't fit into a secret of "
                    "GitHub's; name the services that it needs",
                    json.len);
    wf_buf_wipe(&json);
}

/* ---- enrolling */

static weft_err read_kind(const char *word, struct wf_enroll_config *config, wf_why *why)
{
    if (strcmp(word, "p256") == 0)
        config->key_kind = PKI_KEY_P256;
    else if (strcmp(word, "p384") == 0)
        config->key_kind = PKI_KEY_P384;
    else if (strcmp(word, "ed25519") == 0)
        config->key_kind = PKI_KEY_ED25519;
    else
        return wf_fail(why, WEFT_EUSAGE, "'%.60s' is no kind of key: say p256, p384 or ed25519",
                       word);
    return WEFT_OK;
}

static weft_err read_key(const struct weft_enroll_options *options, struct wf_enroll_config *config,
                         wf_why *why)
{
    const char *key = options->key;
    bool is_token = key != NULL && strncmp(key, "pkcs11:", 7) == 0;
    weft_err err = WEFT_OK;
    config->key_kind = PKI_KEY_P256;
    config->key_sealed = options->key_sealed != 0;
    if (key != NULL && ((strncmp(key, "file:", 5) == 0 && key[5] != '\0') || is_token))
        config->key_path = key;
    else if (key != NULL && read_kind(key, config, NULL) != WEFT_OK)
        return wf_fail(why, WEFT_EUSAGE,
                       "'%.60s' is no key: say file:PATH or pkcs11:URI, or nothing for one inside",
                       key);
    if (options->key_kind != NULL)
        err = read_kind(options->key_kind, config, why);
    if (err == WEFT_OK && is_token && (config->key_sealed || options->key_kind != NULL))
        err = wf_fail(
            why, WEFT_EUSAGE,
            "a key in a token has its kind and its PIN there: no --key-kind, no passphrase");
    return err;
}

/* What is there can be used; what was wanted needs another token. */
static weft_err carries_nothing(const struct pki_identity *identity, const char *out, weft_err err,
                                wf_why *why)
{
    wf_why what = {""};
    if (why == NULL)
        return err;
    what = *why;
    return wf_fail(why, err,
                   "%.80s is enrolled, but carries nothing: %.150s; mended, enroll anew with a new "
                   "token: weft identity reissue %s",
                   out, what.text, identity->name);
}

weft_err weft_enroll(const struct weft_enroll_options *options, weft_why *why)
{
    struct pki_identity identity;
    uint64_t ms;
    if (options->token == NULL || options->out == NULL)
        return wf_fail(why, WEFT_EUSAGE, "a token and a file to write are needed");
    if (options->carry != NULL && wf_duration_parse(options->carry, &ms) != WEFT_OK)
        return wf_fail(why, WEFT_EUSAGE, "'%s' is no lifetime to carry; say for example 30d",
                       options->carry);
    struct wf_enroll_config config = {.token = options->token,
                                      .token_len = strlen(options->token),
                                      .out = options->out,
                                      .kind = PKI_IDENTITY};
    while (config.token_len > 0 && (config.token[config.token_len - 1] == '\n' ||
                                    config.token[config.token_len - 1] == '\r'))
        config.token_len--;
    weft_err err = read_key(options, &config, why);
    if (err != WEFT_OK)
        return err;
    if ((options->ca_cert == NULL) != (options->ca_key == NULL))
        return wf_fail(why, WEFT_EUSAGE, "--ca-cert and --ca-key go together");
    struct wf_foreign foreign = {.count = 0};
    if (options->ca_cert != NULL) {
        err = wf_foreign_load(options->ca_cert, options->ca_key, &foreign, why);
        if (err != WEFT_OK)
            return err;
        config.foreign = &foreign;
    }
    config.oidc_token = options->oidc_token;
    pki_identity_init(&identity);
    err = wf_enroll(&config, &identity, NULL, why);
    wf_foreign_fini(&foreign);
    if (err == WEFT_OK && options->carry != NULL) {
        err = carry(&identity, options->carry, options->services, why);
        if (err == WEFT_OK) {
            identity.carries = true;
            err = pki_identity_save(&identity, options->out, why);
        }
        if (err == WEFT_OK)
            warn_if_large(&identity);
        else
            (void)carries_nothing(&identity, options->out, err, why);
    }
    pki_identity_fini(&identity);
    return err;
}
