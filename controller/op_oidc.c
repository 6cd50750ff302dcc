/* oidc.*: docs/operations.md. */
#include "controller/ca.h"
#include "controller/claims.h"
#include "controller/jwks.h"
#include "controller/template.h"
#include "controller/view.h"
#include "pki/jwks.h"
#include "proto/base/clock.h"
#include <jansson.h>
#include <string.h>

#define KEYS_BYTES_MAX 20480u /* of a set that comes with the call */
#define TLS_CA_BYTES_MAX 16384u
#define ISSUERS_MAX 64u
#define LIFE_S 900u
#define LIFE_MIN_S 60u
#define LIFE_MAX_S 86400u

static weft_err find(struct call *call, struct args *args, struct store_issuer *out)
{
    char name[WF_NAME_MAX + 1];
    weft_err err = args_name(args, "name", true, name);

    if (err != WEFT_OK)
        return err;
    wf_fail(&call->what, WEFT_OK, "%s", name);
    return call_fail(call, store_issuer_find(call->c->home.store, name, out), "issuer", name);
}

/* An address of ours to ask: https, a host, nobody's password in it. */
static bool is_https(const char *url)
{
    const char *host = url + strlen("https://");

    return strncmp(url, "https://", strlen("https://")) == 0 && host[0] != '\0' && host[0] != '/' &&
           strpbrk(url, " @#\\") == NULL;
}

static weft_err check(struct call *call, const struct store_issuer *issuer, wf_span keys,
                      wf_span tls_ca)
{
    pki_jwks *set = NULL;
    weft_err err = WEFT_OK;

    if (!is_https(issuer->issuer))
        return wf_fail(&call->why, WEFT_EINVAL,
                       "the issuer must be its https:// address, exactly "
                       "as its tokens say it");
    if ((keys.len > 0) == (issuer->url[0] != '\0'))
        return wf_fail(&call->why, WEFT_EINVAL, "give 'jwks' or 'jwks_url', exactly one of them");
    if (issuer->url[0] != '\0' && !is_https(issuer->url))
        return wf_fail(&call->why, WEFT_EINVAL, "'jwks_url' must be an https:// address");
    if (tls_ca.len > 0 && issuer->url[0] == '\0')
        return wf_fail(&call->why, WEFT_EINVAL, "'jwks_ca' goes with 'jwks_url' alone");
    if (issuer->condition_count == 0)
        return wf_fail(&call->why, WEFT_EINVAL,
                       "'claims' must hold a condition: without one any workload of that issuer "
                       "could enroll");
    if (err == WEFT_OK)
        err = template_check(issuer->template, NULL, &call->why);
    if (err == WEFT_OK && keys.len > 0)
        err = pki_jwks_parse(keys, &set, &call->why);
    pki_jwks_free(set);
    return err;
}

/* At most STORE_CONDITIONS_MAX of them, each below STORE_ISSUER_TEXT. */
static weft_err add_condition(void *arg, const char *text, wf_why *why)
{
    struct store_issuer *issuer = arg;

    memcpy(issuer->conditions[issuer->condition_count++], text, strlen(text) + 1);
    return claims_check(text, why);
}

static weft_err count_row(void *arg, const struct store_issuer *issuer)
{
    size_t *count = arg;

    (void)issuer;
    (*count)++;
    return WEFT_OK;
}

static weft_err there_is_room(struct call *call)
{
    size_t count = 0;
    weft_err err = store_issuer_each(call->c->home.store, NULL, count_row, &count);

    if (err == WEFT_OK && count >= ISSUERS_MAX)
        err = wf_fail(&call->why, WEFT_ELIMIT, "there are %u issuers already", ISSUERS_MAX);
    return err;
}

weft_err op_oidc_add(struct call *call, struct args *args)
{
    struct store_issuer issuer = {.id = wf_id_random(), .created = call->now};
    uint64_t life = 0, token_life = 0;
    wf_buf keys, tls_ca;
    wf_span set, pem;
    weft_err err;

    wf_buf_init(&keys, KEYS_BYTES_MAX);
    wf_buf_init(&tls_ca, TLS_CA_BYTES_MAX);
    err = args_name(args, "name", true, issuer.name);
    if (err == WEFT_OK)
        err = args_text(args, "issuer", true, issuer.issuer, sizeof issuer.issuer);
    if (err == WEFT_OK)
        err = args_text(args, "audience", true, issuer.audience, sizeof issuer.audience);
    if (err == WEFT_OK)
        err = args_bytes(args, "jwks", false, &keys);
    if (err == WEFT_OK)
        err = args_text(args, "jwks_url", false, issuer.url, sizeof issuer.url);
    if (err == WEFT_OK)
        err = args_bytes(args, "jwks_ca", false, &tls_ca);
    if (err == WEFT_OK)
        err = args_texts(args, "claims", STORE_CONDITIONS_MAX, add_condition, &issuer);
    if (err == WEFT_OK)
        err = args_attributes(args, "roles", &issuer.roles);
    if (err == WEFT_OK)
        err = args_text(args, "name_template", false, issuer.template, sizeof issuer.template);
    if (err == WEFT_OK)
        err = args_number(args, "life_s", LIFE_S, LIFE_MIN_S, LIFE_MAX_S, &life);
    if (err == WEFT_OK)
        err = args_number(args, "token_life_s", JOIN_TOKEN_LIFE_S, 1, JOIN_TOKEN_LIFE_MAX_S,
                          &token_life);
    if (err == WEFT_OK)
        err = args_end(args);
    if (err != WEFT_OK)
        goto out;
    issuer.life_ms = life * 1000;
    if (issuer.template[0] == '\0')
        memcpy(issuer.template, "{sub}", sizeof "{sub}");
    set = wf_span_of(keys.data, keys.len);
    pem = wf_span_of(tls_ca.data, tls_ca.len);
    if (set.len > 0)
        issuer.fetched = call->now;
    err = check(call, &issuer, set, pem);
    if (err == WEFT_OK)
        err = there_is_room(call);
    if (err != WEFT_OK)
        goto out;
    wf_fail(&call->what, WEFT_OK, "%s", issuer.name);
    err = call_fail(call, store_issuer_add(call->c->home.store, &issuer, set, pem), "issuer",
                    issuer.name);
    if (err == WEFT_OK)
        err = ca_answer_token(call, PKI_ENROLL_OIDC, &issuer.id, issuer.name, token_life,
                              view_issuer(&issuer));
    if (err == WEFT_OK && issuer.url[0] != '\0' && !call->dry_run)
        (void)jwks_want(call->c->jwks, &issuer,
                        wf_now_mono_ms()); /* so that the first needn't wait */
out:
    wf_buf_fini(&keys);
    wf_buf_fini(&tls_ca);
    return err;
}

static weft_err add_row(void *arg, const struct store_issuer *issuer)
{
    return view_list_add(arg, issuer->name, view_issuer(issuer));
}

weft_err op_oidc_list(struct call *call, struct args *args)
{
    struct view_list list;
    char after[WF_NAME_MAX + 1];
    weft_err err = view_list_open(&list, call, args, after);

    if (err != WEFT_OK)
        return err;
    return view_list_close(&list, store_issuer_each(call->c->home.store, after, add_row, &list));
}

weft_err op_oidc_show(struct call *call, struct args *args)
{
    struct store_issuer issuer;
    weft_err err = find(call, args, &issuer);

    if (err == WEFT_OK)
        err = args_end(args);
    return err == WEFT_OK ? view_answer(call, view_issuer(&issuer)) : err;
}

weft_err op_oidc_token(struct call *call, struct args *args)
{
    struct store_issuer issuer;
    uint64_t life = 0;
    weft_err err = find(call, args, &issuer);

    if (err == WEFT_OK)
        err = args_number(args, "token_life_s", JOIN_TOKEN_LIFE_S, 1, JOIN_TOKEN_LIFE_MAX_S, &life);
    if (err == WEFT_OK)
        err = args_end(args);
    if (err != WEFT_OK)
        return err;
    return ca_answer_token(call, PKI_ENROLL_OIDC, &issuer.id, issuer.name, life,
                           view_issuer(&issuer));
}

weft_err op_oidc_remove(struct call *call, struct args *args)
{
    struct store_issuer issuer;
    weft_err err = find(call, args, &issuer);

    if (err == WEFT_OK)
        err = args_end(args);
    if (err == WEFT_OK)
        err = store_issuer_remove(call->c->home.store, &issuer.id);
    return err == WEFT_OK ? view_answer(call, view_issuer(&issuer)) : err;
}
