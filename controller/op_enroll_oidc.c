/*
 * Enrollment with a token of an issuer that an administrator trusts for some
 * claims: a CI job needs no stored secret. docs/protocol.md, "Enrollment".
 *
 * Happy path: the issuer's keys are here, the token holds in every respect,
 * each condition on its claims holds, nobody has presented it before; a new
 * identity with the issuer's roles gets a certificate of minutes.
 *
 * Failure modes:
 * - The keys aren't here, or don't know the token's: they are fetched, and the
 *   enrollee is told to ask again.
 * - The keys are older than JWKS_STALE_MS, as fetching fails: nobody enrolls.
 * - The same token again: for the same key the same identity, whose end stays;
 *   for another key refused.
 * - Jobs of one run share a name: the later ones get the token's mark behind it.
 */
#include "controller/claims.h"
#include "controller/enroll.h"
#include "controller/jwks.h"
#include "controller/node.h"
#include "controller/template.h"
#include "proto/base/clock.h"
#include <stdio.h>
#include <string.h>

#define IDENTITIES_MAX 10000u /* of one issuer at once */

/* Keys are to be fetched: what the enrollee hears. */
static weft_err wait_for_keys(struct call *call, const struct store_issuer *issuer, weft_err other,
                              const char *otherwise)
{
    switch (jwks_want(call->c->jwks, issuer, wf_now_mono_ms())) {
    case WEFT_EBUSY:
        return wf_fail(&call->why, WEFT_EBUSY,
                       "the issuer's keys are being fetched; try again in a moment");
    default:
        return wf_fail(&call->why, other, "%s", otherwise);
    }
}

static weft_err verify(struct enrolling *e, const struct store_issuer *issuer, pki_jwt **out)
{
    struct call *call = e->call;
    const struct pki_jwt_rules rules = {issuer->issuer, issuer->audience, call->now};
    pki_jwks *set = NULL;
    wf_buf keys, tls_ca;
    bool is_fetched = issuer->url[0] != '\0';
    weft_err err;

    if (is_fetched && (issuer->fetched == 0 || issuer->fetched + JWKS_STALE_MS < call->now))
        return wait_for_keys(call, issuer, WEFT_EUNREACHABLE,
                             "the issuer's keys can't be fetched; ask an administrator");
    if (is_fetched && issuer->fetched + JWKS_FRESH_MS < call->now)
        (void)jwks_want(call->c->jwks, issuer, wf_now_mono_ms());
    wf_buf_init(&keys, PKI_JWKS_MAX);
    wf_buf_init(&tls_ca, PKI_JWKS_MAX);
    err = store_issuer_keys(call->c->home.store, &issuer->id, &keys, &tls_ca);
    if (err == WEFT_OK)
        err = pki_jwks_parse(wf_span_of(keys.data, keys.len), &set, &call->why);
    if (err == WEFT_OK)
        err = pki_jwt_verify(wf_span_of(e->ask->oidc_token, strlen(e->ask->oidc_token)), set,
                             &rules, out, &call->why);
    if (err == WEFT_ENOTFOUND)
        err = is_fetched ? wait_for_keys(call, issuer, WEFT_ECREDENTIAL,
                                         "the issuer has no key of the token's \"kid\"")
                         : WEFT_ECREDENTIAL;
    pki_jwks_free(set);
    wf_buf_fini(&keys);
    wf_buf_fini(&tls_ca);
    return err;
}

static const char *claim_of(void *arg, const char *claim)
{
    return pki_jwt_text(arg, claim);
}

/* The name by the template; with the token's mark behind it where that is taken. */
static weft_err choose_name(struct call *call, const struct store_issuer *issuer, pki_jwt *jwt,
                            const uint8_t digest[32], char out[WF_NAME_MAX + 1])
{
    char mark[9];
    size_t len;
    weft_err err = template_fill(issuer->template, claim_of, jwt, out, &call->why);

    if (err != WEFT_OK)
        return err;
    err = node_name_is_free(call, PKI_IDENTITY, out);
    if (err != WEFT_EEXIST)
        return err;
    len = strlen(out);
    if (len + sizeof mark > WF_NAME_MAX)
        return wf_fail(
            &call->why, WEFT_ECREDENTIAL,
            "the name that this token makes is another's, and too long to tell it apart");
    call->why.text[0] = '\0';
    snprintf(out + len, WF_NAME_MAX + 1 - len, "-%s", wf_hex(digest, 4, mark));
    return node_name_is_free(call, PKI_IDENTITY, out);
}

static weft_err make(struct call *call, const struct store_issuer *issuer, const char *name,
                     struct store_node *node)
{
    struct store_federated row = {.authority = issuer->id};
    uint64_t count = 0;
    weft_err err = store_federated_count(call->c->home.store, &issuer->id, &count);

    if (err == WEFT_OK && count >= IDENTITIES_MAX)
        return wf_fail(&call->why, WEFT_ELIMIT,
                       "this issuer has %u identities that have not ended; try later",
                       IDENTITIES_MAX);
    *node = (struct store_node){.id = wf_id_random(),
                                .kind = PKI_IDENTITY,
                                .enroll = PKI_ENROLL_OIDC,
                                .created = call->now,
                                .roles = issuer->roles};
    memcpy(node->name, name, strlen(name) + 1);
    row.node = node->id;
    if (err == WEFT_OK)
        err = store_node_add(call->c->home.store, node);
    if (err == WEFT_OK)
        err = store_federated_put(call->c->home.store, &row);
    return err;
}

static weft_err again(struct enrolling *e, const struct store_presented *seen)
{
    struct call *call = e->call;
    struct store_node node;
    pki_pin pin;
    weft_err err;

    pki_pin_of_spki(e->spki, &pin);
    if (!pki_pin_equal(&pin, &seen->pin))
        return wf_fail(&call->why, WEFT_EUSED,
                       "this token was presented with another key already; ask the issuer for a "
                       "new one");
    err = store_node_get(call->c->home.store, PKI_IDENTITY, &seen->node, &node);
    if (err == WEFT_ENOTFOUND || (err == WEFT_OK && node.disabled))
        return wf_fail(&call->why, WEFT_EREVOKED, "the identity that this token made is gone");
    return err == WEFT_OK ? enroll_admit(e, &node, node.expires) : err;
}

weft_err enroll_by_oidc(struct enrolling *e)
{
    struct call *call = e->call;
    store *s = call->c->home.store;
    struct store_presented seen;
    struct store_issuer issuer;
    struct store_node node;
    char name[WF_NAME_MAX + 1];
    uint8_t both[32 + 32], digest[32];
    pki_jwt *jwt = NULL;
    weft_err err = store_issuer_get(s, &e->token.id, &issuer);

    if (err == WEFT_ENOTFOUND)
        return wf_fail(&call->why, WEFT_ECREDENTIAL,
                       "the issuer of this join token was removed; ask an administrator");
    if (err == WEFT_OK)
        err = verify(e, &issuer, &jwt);
    if (err == WEFT_OK)
        err = claims_hold(&issuer, jwt, &call->why, &call->logged);
    if (err != WEFT_OK)
        goto out;
    /* By its name: two rows of one issuer, or one that was made anew, take a token once together.
     */
    pki_sha256(issuer.issuer, strlen(issuer.issuer), both);
    pki_jwt_digest(jwt, both + 32);
    pki_sha256(both, sizeof both, digest);
    err = store_presented_get(s, digest, &seen);
    if (err != WEFT_ENOTFOUND) {
        if (err == WEFT_OK)
            err = again(e, &seen);
        goto out;
    }
    err = choose_name(call, &issuer, jwt, digest, name);
    if (err == WEFT_OK)
        err = make(call, &issuer, name, &node);
    if (err != WEFT_OK)
        goto out;
    seen = (struct store_presented){.node = node.id, .until = pki_jwt_until(jwt)};
    memcpy(seen.digest, digest, sizeof seen.digest);
    pki_pin_of_spki(e->spki, &seen.pin);
    err = store_presented_add(s, &seen);
    if (err == WEFT_OK)
        err = enroll_admit(e, &node, call->now + issuer.life_ms);
out:
    pki_jwt_free(jwt);
    return err;
}
