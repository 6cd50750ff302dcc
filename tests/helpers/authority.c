/* The throw-away authority. */
#include "tests/helpers/authority.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS 86400000ull

static void must_hold(weft_err err, const wf_why *why, int line)
{
    if (err == WEFT_OK)
        return;
    fprintf(stderr, "authority.c:%d: %s: %s\n", line, weft_err_name(err), why->text);
    abort();
}
/* Runs a call that takes `&why` last, or none. */
#define must(call)                                                                                 \
    do {                                                                                           \
        wf_why why = {.text = ""};                                                                 \
        must_hold((call), &why, __LINE__);                                                         \
    } while (0)

static pki_ca *ca_of(const struct authority *a, enum pki_kind kind)
{
    return kind == PKI_IDENTITY ? a->identities : kind == PKI_ROUTER ? a->routers : a->controllers;
}

void authority_init(struct authority *a, const char *domain, uint64_t now)
{
    memset(a, 0, sizeof *a);
    (void)snprintf(a->domain, sizeof a->domain, "%s", domain);
    a->now = now;
    must(pki_ca_new_root(domain, PKI_KEY_P256, now, 3650 * DAY_MS, &a->root, &why));
    must(pki_ca_new_intermediate(a->root, PKI_IDENTITY, now, 1825 * DAY_MS, &a->identities, &why));
    must(pki_ca_new_intermediate(a->root, PKI_ROUTER, now, 1825 * DAY_MS, &a->routers, &why));
    must(pki_ca_new_intermediate(a->root, PKI_CONTROLLER, now, 1825 * DAY_MS, &a->controllers,
                                 &why));
    must(pki_key_new(PKI_KEY_ED25519, &a->policy, &why));
    must(pki_key_new(PKI_KEY_ED25519, &a->enrollment, &why));
    must(pki_key_new(PKI_KEY_ED25519, &a->audit, &why));
    wf_buf_init(&a->bundle, WF_BUNDLE_MAX);
    authority_bundle(a, 1, NULL, &a->bundle);
    pki_record_digest(wf_span_of(a->bundle.data, a->bundle.len), a->bundle_digest);
}

void authority_fini(struct authority *a)
{
    wf_buf_fini(&a->bundle);
    pki_key_free(a->audit);
    pki_key_free(a->enrollment);
    pki_key_free(a->policy);
    pki_ca_free(a->controllers);
    pki_ca_free(a->routers);
    pki_ca_free(a->identities);
    pki_ca_free(a->root);
    memset(a, 0, sizeof *a);
}

void authority_issue(struct authority *a, enum pki_kind kind, const char *name,
                     struct authority_node *out)
{
    memset(out, 0, sizeof *out);
    out->kind = kind;
    out->id = wf_id_random();
    (void)snprintf(out->name, sizeof out->name, "%s", name);
    must(pki_key_new(PKI_KEY_P256, &out->key, &why));
    pki_key_pin(out->key, &out->pin);
    authority_renew(a, out, a->now - WF_CLOCK_TOLERANCE_MS, a->now + WF_LEAF_LIFE_MS);
}

void authority_renew(struct authority *a, struct authority_node *node, uint64_t not_before,
                     uint64_t not_after)
{
    wf_buf spki;
    pki_chain *chain;
    wf_buf_init(&spki, 256);
    must(pki_key_put_spki(node->key, &spki));
    const struct pki_leaf leaf = {
        .kind = node->kind,
        .domain = a->domain,
        .id = node->id,
        .name = node->name,
        .spki = wf_span_of(spki.data, spki.len),
        .not_before = not_before,
        .not_after = not_after,
    };
    must(pki_ca_issue(ca_of(a, node->kind), &leaf, &chain, &why));
    pki_chain_free(node->chain);
    node->chain = chain;
    wf_buf_fini(&spki);
}

void authority_node_fini(struct authority_node *node)
{
    pki_chain_free(node->chain);
    pki_key_free(node->key);
    memset(node, 0, sizeof *node);
}

void authority_subject(const struct authority *a, const struct authority_node *node,
                       struct pki_subject *out)
{
    memset(out, 0, sizeof *out);
    out->kind = node->kind;
    out->id = node->id;
    (void)snprintf(out->domain, sizeof out->domain, "%s", a->domain);
    (void)snprintf(out->name, sizeof out->name, "%s", node->name);
    out->pin = node->pin;
    pki_chain_validity(node->chain, &out->not_before, &out->not_after);
}

/* ---- the bundle */

static ProtobufCBinaryData key_in(const pki_key *key, wf_buf *spki)
{
    wf_buf_init(spki, 256);
    must(pki_key_put_spki(key, spki));
    return wf_pb_bytes(spki->data, spki->len);
}

void authority_bundle(const struct authority *a, uint64_t version, const uint8_t *previous,
                      wf_buf *out)
{
    wf_buf policy, audit, enrollment;
    char domain[PKI_DOMAIN_MAX + 1];
    memcpy(domain, a->domain, sizeof domain);
    wf_span root = pki_chain_der(pki_ca_chain(a->root), 0);
    ProtobufCBinaryData roots[] = {wf_pb_bytes(root.data, root.len)};
    ProtobufCBinaryData policy_keys[] = {key_in(a->policy, &policy)};
    ProtobufCBinaryData audit_keys[] = {key_in(a->audit, &audit)};
    ProtobufCBinaryData enrollment_keys[] = {key_in(a->enrollment, &enrollment)};

    Weft__Wire__BundleBody body;
    weft__wire__bundle_body__init(&body);
    body.trust_domain = domain;
    body.version = version;
    body.n_roots = 1;
    body.roots = roots;
    body.n_policy_keys = 1;
    body.policy_keys = policy_keys;
    body.n_audit_keys = 1;
    body.audit_keys = audit_keys;
    body.n_enrollment_keys = 1;
    body.enrollment_keys = enrollment_keys;
    if (previous != NULL)
        body.previous = wf_pb_bytes(previous, 32);
    must(pki_record_seal(pki_ca_key(a->root), PKI_LABEL_BUNDLE, &body.base, out));
    wf_buf_fini(&enrollment);
    wf_buf_fini(&audit);
    wf_buf_fini(&policy);
}

pki_trust *authority_trust(const struct authority *a)
{
    pki_trust *trust;
    must(pki_trust_new(wf_span_of(a->bundle.data, a->bundle.len), a->bundle_digest, &trust, &why));
    return trust;
}

pki_tls_ctx *authority_tls(const struct authority_node *node, pki_trust *trust)
{
    pki_tls_ctx *ctx;
    const struct pki_tls_identity own = {.key = node->key, .chain = node->chain, .trust = trust};
    must(pki_tls_ctx_new(&own, &ctx, &why));
    return ctx;
}

/* ---- records */

Weft__Wire__Signed *authority_sign(const pki_key *key, const char *label,
                                   const ProtobufCMessage *body)
{
    wf_buf encoded;
    Weft__Wire__Signed *record;
    wf_buf_init(&encoded, WF_BUNDLE_MAX);
    must(pki_record_seal(key, label, body, &encoded));
    must(wf_signed_decode(encoded.data, encoded.len, &record, &why));
    wf_buf_fini(&encoded);
    return record;
}

/* Terms on their way into a grant: the message points in here. */
struct terms_wire {
    Weft__Wire__Terms message;
    Weft__Wire__Window windows[WF_WINDOWS_MAX];
    Weft__Wire__Window *window_list[WF_WINDOWS_MAX];
    uint8_t prefixes[WF_SOURCES_MAX][17];
    ProtobufCBinaryData sources[WF_SOURCES_MAX];
};

static Weft__Wire__Terms *terms_put(const struct pki_terms *terms, struct terms_wire *w)
{
    weft__wire__terms__init(&w->message);
    w->message.sessions = terms->sessions;
    w->message.sessions_per_identity = terms->sessions_per_identity;
    w->message.idle_ms = terms->idle_ms;
    w->message.age_ms = terms->age_ms;
    w->message.n_windows = terms->window_count;
    w->message.windows = w->window_list;
    for (size_t i = 0; i < terms->window_count; i++) {
        weft__wire__window__init(&w->windows[i]);
        w->windows[i].from = terms->windows[i].from;
        w->windows[i].to = terms->windows[i].to;
        w->window_list[i] = &w->windows[i];
    }
    w->message.n_sources = terms->source_count;
    w->message.sources = w->sources;
    for (size_t i = 0; i < terms->source_count; i++)
        w->sources[i] =
            wf_pb_bytes(w->prefixes[i], pki_prefix_put(&terms->sources[i], w->prefixes[i]));
    return &w->message;
}

Weft__Wire__Signed *authority_grant(const struct authority *a, const struct authority_node *subject,
                                    const wf_id *service, const char *service_name,
                                    Weft__Wire__Role role)
{
    return authority_grant_bound(a, subject, service, service_name, role, NULL);
}

Weft__Wire__Signed *authority_grant_bound(const struct authority *a,
                                          const struct authority_node *subject,
                                          const wf_id *service, const char *service_name,
                                          Weft__Wire__Role role, const struct pki_terms *terms)
{
    struct terms_wire wire;
    char domain[PKI_DOMAIN_MAX + 1], name[WF_NAME_MAX + 1];
    memcpy(domain, a->domain, sizeof domain);
    (void)snprintf(name, sizeof name, "%s", service_name);
    ProtobufCBinaryData pins[] = {wf_pb_bytes(subject->pin.b, PKI_PIN_LEN)};

    Weft__Wire__GrantBody body;
    weft__wire__grant_body__init(&body);
    body.trust_domain = domain;
    body.service_id = wf_pb_id(service);
    body.service_name = name;
    body.role = role;
    body.subject = wf_pb_id(&subject->id);
    body.n_pins = 1;
    body.pins = pins;
    body.not_before = a->now - WF_CLOCK_TOLERANCE_MS;
    body.expiry = a->now + WF_GRANT_LIFE_MS;
    body.epoch = a->now;
    if (terms != NULL)
        body.terms = terms_put(terms, &wire);
    return authority_sign(a->policy, PKI_LABEL_GRANT, &body.base);
}

Weft__Wire__Signed *authority_member(const struct authority *a, const struct authority_node *router,
                                     const char *const *addresses, size_t count)
{
    char domain[PKI_DOMAIN_MAX + 1], name[WF_NAME_MAX + 1];
    char text[WF_ADDRESSES_MAX][WF_ADDRESS_TEXT];
    char *list[WF_ADDRESSES_MAX];
    memcpy(domain, a->domain, sizeof domain);
    memcpy(name, router->name, sizeof name);
    if (count > WF_ADDRESSES_MAX)
        abort();
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(text[i], sizeof text[i], "%s", addresses[i]);
        list[i] = text[i];
    }
    ProtobufCBinaryData pins[] = {wf_pb_bytes(router->pin.b, PKI_PIN_LEN)};

    Weft__Wire__MemberBody body;
    weft__wire__member_body__init(&body);
    body.trust_domain = domain;
    body.router_id = wf_pb_id(&router->id);
    body.name = name;
    body.n_pins = 1;
    body.pins = pins;
    body.n_addresses = count;
    body.addresses = list;
    body.epoch = a->now;
    body.expiry = a->now + WF_MEMBER_LIFE_MS;
    return authority_sign(a->policy, PKI_LABEL_MEMBER, &body.base);
}

Weft__Wire__Signed *authority_floors(const struct authority *a, uint64_t version,
                                     const uint8_t *previous, Weft__Wire__Floor **floors,
                                     size_t count)
{
    char domain[PKI_DOMAIN_MAX + 1];
    memcpy(domain, a->domain, sizeof domain);
    Weft__Wire__FloorsBody body;
    weft__wire__floors_body__init(&body);
    body.trust_domain = domain;
    body.version = version;
    body.snapshot = previous == NULL;
    if (previous != NULL)
        body.previous = wf_pb_bytes(previous, 32);
    body.n_floors = count;
    body.floors = floors;
    return authority_sign(a->policy, PKI_LABEL_FLOORS, &body.base);
}

Weft__Wire__Signed *authority_bind(const struct authority *a, const struct authority_node *host,
                                   const wf_id *service, const wf_id *instance, const wf_id *router)
{
    char domain[PKI_DOMAIN_MAX + 1];
    memcpy(domain, a->domain, sizeof domain);
    Weft__Wire__BindBody body;
    weft__wire__bind_body__init(&body);
    body.trust_domain = domain;
    body.service_id = wf_pb_id(service);
    body.instance = wf_pb_id(instance);
    body.router_id = wf_pb_id(router);
    body.subject = wf_pb_id(&host->id);
    body.expiry = a->now + WF_BIND_LIFE_MS;
    body.sequence = 1;
    return authority_sign(host->key, PKI_LABEL_BIND, &body.base);
}

/* ---- tokens and identities */

void authority_token(const struct authority *a, enum pki_kind kind, const wf_id *id,
                     const char *name, const char *controller, const pki_pin *server, wf_buf *out)
{
    struct pki_token token = {
        .kind = kind,
        .id = *id,
        .jti = wf_id_random(),
        .expiry = a->now + 3600 * 1000,
        .method = PKI_ENROLL_OTT,
        .controller_count = 1,
        .server_pin_count = 1,
    };
    (void)snprintf(token.issuer, sizeof token.issuer, "%s", a->domain);
    pki_spiffe_text(a->domain, kind, id, token.subject);
    (void)snprintf(token.name, sizeof token.name, "%s", name);
    must(wf_address_parse(controller, 0, &token.controllers[0], &why));
    token.server_pins[0] = *server;
    memcpy(token.bundle, a->bundle_digest, sizeof token.bundle);
    must(pki_token_make(a->enrollment, &token, out));
}

void authority_identity(const struct authority *a, const struct authority_node *node,
                        struct pki_identity *out)
{
    wf_buf pem;
    pki_identity_init(out);
    out->kind = node->kind;
    out->id = node->id;
    memcpy(out->name, node->name, sizeof out->name);
    memcpy(out->domain, a->domain, sizeof out->domain);
    wf_buf_init(&pem, 4096);
    must(pki_key_put_pem(node->key, NULL, &pem));
    must(pki_key_from_pem(wf_span_of(pem.data, pem.len), NULL, &out->key, &why));
    wf_buf_wipe(&pem);
    out->chain = pki_chain_dup(node->chain);
    must(wf_buf_put(&out->bundle, a->bundle.data, a->bundle.len));
}

void authority_carry(struct pki_identity *identity, wf_buf **array, size_t *count,
                     const Weft__Wire__Signed *record)
{
    wf_buf encoded;
    wf_buf_init(&encoded, WF_BUNDLE_MAX);
    must(wf_signed_encode(record, &encoded));
    must(pki_identity_carry(array, count, wf_span_of(encoded.data, encoded.len)));
    identity->carries = true;
    wf_buf_fini(&encoded);
}
