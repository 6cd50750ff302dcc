/* ca.*: docs/operations.md. */
#include "controller/ca.h"
#include "controller/issue.h"
#include "controller/template.h"
#include "controller/view.h"
#include "pki/foreign.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define PEM_BYTES_MAX 16384u

static const char *const placeholders[] = {"cn", "san.uri", "san.dns", "serial", "ca", NULL};

/* What the authority's key signs to show that it is there. */
static weft_err challenge(const struct call *call, const struct store_ca *ca, char *out, size_t max)
{
    char nonce[2 * STORE_CA_NONCE + 1];
    int n = snprintf(out, max, "weft-ca-1 %s %s %s", call->c->home.domain, ca->name,
                     wf_hex(ca->nonce, sizeof ca->nonce, nonce));

    return n > 0 && (size_t)n < max ? WEFT_OK : WEFT_EINTERNAL;
}

/* As JSON; one whose certificate has ended is still shown, and so can be removed. */
static json_t *show(const struct call *call, const struct store_ca *ca)
{
    struct pki_foreign_ca info = {.subject = ""};
    json_t *object = NULL;
    wf_buf der;

    wf_buf_init(&der, WF_CERT_MAX);
    if (store_ca_certificate(call->c->home.store, &ca->id, &der) == WEFT_OK) {
        (void)pki_foreign_ca_read(wf_span_of(der.data, der.len), call->now, &info, NULL);
        object = view_ca(call->c, ca, info.subject, info.not_after);
    }
    wf_buf_fini(&der);
    return object;
}

static weft_err find(struct call *call, struct args *args, struct store_ca *out)
{
    char name[WF_NAME_MAX + 1];
    weft_err err = args_name(args, "name", true, name);

    if (err != WEFT_OK)
        return err;
    wf_fail(&call->what, WEFT_OK, "%s", name);
    return call_fail(call, store_ca_find(call->c->home.store, name, out), "authority", name);
}

weft_err ca_find_verified(struct call *call, const char *name, struct store_ca *out)
{
    weft_err err = store_ca_find(call->c->home.store, name, out);

    if (err == WEFT_OK && !out->verified)
        err = wf_fail(&call->why, WEFT_ECONFLICT,
                      "the authority '%s' is not verified yet (weft ca verify %s)", name, name);
    return call_fail(call, err, "authority", name);
}

weft_err ca_answer_token(struct call *call, enum pki_enroll_method method, const wf_id *id,
                         const char *name, uint64_t life_s, json_t *object)
{
    weft_err err;
    wf_buf jwt;

    if (object == NULL)
        return WEFT_ENOMEM;
    wf_buf_init(&jwt, WF_TOKEN_MAX);
    err = issue_join_token(&call->c->home, method, id, name, call->now + life_s * 1000, &jwt);
    if (err == WEFT_OK &&
        json_object_set_new(object, "token", json_stringn((const char *)jwt.data, jwt.len)) != 0)
        err = WEFT_ENOMEM;
    wf_buf_fini(&jwt);
    if (err != WEFT_OK) {
        json_decref(object);
        return err;
    }
    return view_answer(call, object);
}

weft_err op_ca_add(struct call *call, struct args *args)
{
    struct store_ca ca = {.id = wf_id_random(), .created = call->now};
    wf_id random[2] = {wf_id_random(), wf_id_random()};
    wf_buf pem, der;
    weft_err err;

    wf_buf_init(&pem, PEM_BYTES_MAX);
    wf_buf_init(&der, WF_CERT_MAX);
    memcpy(ca.nonce, random, sizeof ca.nonce);
    err = args_name(args, "name", true, ca.name);
    if (err == WEFT_OK)
        err = args_bytes(args, "certificate", true, &pem);
    if (err == WEFT_OK)
        err = args_flag(args, "auto", &ca.automatic);
    if (err == WEFT_OK)
        err = args_text(args, "name_template", false, ca.template, sizeof ca.template);
    if (err == WEFT_OK)
        err = args_attributes(args, "roles", &ca.roles);
    if (err == WEFT_OK)
        err = args_end(args);
    if (err != WEFT_OK)
        goto out;
    if (ca.template[0] == '\0')
        memcpy(ca.template, "{cn}", sizeof "{cn}");
    err = template_check(ca.template, placeholders, &call->why);
    if (err == WEFT_OK)
        err = pki_foreign_ca_from_pem(wf_span_of(pem.data, pem.len), call->now, &der, &call->why);
    if (err != WEFT_OK)
        goto out;
    wf_fail(&call->what, WEFT_OK, "%s", ca.name);
    err = call_fail(call, store_ca_add(call->c->home.store, &ca, wf_span_of(der.data, der.len)),
                    "authority", ca.name);
    if (err == WEFT_OK)
        err = view_answer(call, show(call, &ca));
out:
    wf_buf_fini(&pem);
    wf_buf_fini(&der);
    return err;
}

weft_err op_ca_verify(struct call *call, struct args *args)
{
    char text[PKI_DOMAIN_MAX + WF_NAME_MAX + 2 * STORE_CA_NONCE + 16];
    struct store_ca ca;
    wf_buf signature, der;
    weft_err err;

    wf_buf_init(&signature, 2 * WF_SIGNATURE_MAX);
    wf_buf_init(&der, WF_CERT_MAX);
    err = find(call, args, &ca);
    if (err == WEFT_OK)
        err = args_bytes(args, "signature", true, &signature);
    if (err == WEFT_OK)
        err = args_end(args);
    if (err == WEFT_OK)
        err = store_ca_certificate(call->c->home.store, &ca.id, &der);
    if (err == WEFT_OK)
        err = challenge(call, &ca, text, sizeof text);
    if (err == WEFT_OK)
        err = pki_foreign_verify(wf_span_of(der.data, der.len), wf_span_of(text, strlen(text)),
                                 wf_span_of(signature.data, signature.len), &call->why);
    if (err == WEFT_OK)
        err = store_ca_verified(call->c->home.store, &ca.id);
    ca.verified = true;
    if (err == WEFT_OK)
        err = view_answer(call, show(call, &ca));
    wf_buf_fini(&signature);
    wf_buf_fini(&der);
    return err;
}

struct listing {
    struct view_list list;
    struct call *call;
};

static weft_err add_row(void *arg, const struct store_ca *ca)
{
    struct listing *l = arg;

    return view_list_add(&l->list, ca->name, show(l->call, ca));
}

weft_err op_ca_list(struct call *call, struct args *args)
{
    struct listing l = {.call = call};
    char after[WF_NAME_MAX + 1];
    weft_err err = view_list_open(&l.list, call, args, after);

    if (err != WEFT_OK)
        return err;
    return view_list_close(&l.list, store_ca_each(call->c->home.store, after, add_row, &l));
}

weft_err op_ca_show(struct call *call, struct args *args)
{
    struct store_ca ca;
    weft_err err = find(call, args, &ca);

    if (err == WEFT_OK)
        err = args_end(args);
    return err == WEFT_OK ? view_answer(call, show(call, &ca)) : err;
}

weft_err op_ca_token(struct call *call, struct args *args)
{
    struct store_ca ca;
    uint64_t life = 0;
    weft_err err = find(call, args, &ca);

    if (err == WEFT_OK)
        err = args_number(args, "token_life_s", JOIN_TOKEN_LIFE_S, 1, JOIN_TOKEN_LIFE_MAX_S, &life);
    if (err == WEFT_OK)
        err = args_end(args);
    if (err == WEFT_OK)
        err = ca_find_verified(call, ca.name, &ca);
    if (err == WEFT_OK && !ca.automatic)
        err = wf_fail(&call->why, WEFT_ECONFLICT,
                      "the authority '%s' makes no identities by itself: remove it and add it with "
                      "--auto, or create them with --enroll ottca --ca %s",
                      ca.name, ca.name);
    if (err != WEFT_OK)
        return err;
    return ca_answer_token(call, PKI_ENROLL_CA, &ca.id, ca.name, life, show(call, &ca));
}

weft_err op_ca_remove(struct call *call, struct args *args)
{
    struct store_ca ca;
    json_t *object;
    weft_err err = find(call, args, &ca);

    if (err == WEFT_OK)
        err = args_end(args);
    if (err != WEFT_OK)
        return err;
    object = show(call, &ca);
    err = store_ca_remove(call->c->home.store, &ca.id);
    if (err != WEFT_OK) {
        json_decref(object);
        return err;
    }
    return view_answer(call, object);
}
