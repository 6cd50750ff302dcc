#include "controller/issue.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)POLICY_DIAL == (int)WEFT__WIRE__ROLE__ROLE_DIAL &&
                   (int)POLICY_BIND == (int)WEFT__WIRE__ROLE__ROLE_BIND,
               "policy types are the roles of the wire");

/* protobuf-c's messages hold char * where nothing is ever written. */
static char *borrowed(const char *text)
{
    union {
        const char *in;
        char *out;
    } u = {.in = text};

    return u.out;
}

weft_err issue_leaf(const struct home *home, const struct store_node *node, wf_span spki,
                    uint64_t now, uint64_t latest, pki_chain **out, wf_why *why)
{
    const pki_ca *ca = node->kind == PKI_IDENTITY ? home->identities
                       : node->kind == PKI_ROUTER ? home->routers
                                                  : home->controllers;
    struct pki_leaf leaf = {
        .kind = node->kind,
        .domain = home->domain,
        .id = node->id,
        .name = node->name,
        .spki = spki,
        .not_before = now > WF_CLOCK_TOLERANCE_MS ? now - WF_CLOCK_TOLERANCE_MS : 0,
        .not_after = now + (node->life != 0 ? node->life : WF_LEAF_LIFE_MS),
    };
    uint64_t from, until;

    pki_chain_validity(pki_ca_chain(ca), &from, &until);
    if (now >= until)
        return wf_fail(why, WEFT_EEXPIRED,
                       "the authority that issues this kind of certificate has "
                       "expired; it has to be rotated");
    if (leaf.not_after > until)
        leaf.not_after = until;
    if (latest != 0 && latest <= now)
        return wf_fail(why, WEFT_EEXPIRED, "what vouches for '%s' has expired", node->name);
    if (latest != 0 && leaf.not_after > latest)
        leaf.not_after = latest;
    if (leaf.not_before < from)
        leaf.not_before = from;
    return pki_ca_issue(ca, &leaf, out, why);
}

/* What every token says of the fabric and of where its controller is. */
static void name_fabric(const struct home *home, struct pki_token *token)
{
    memcpy(token->issuer, home->domain, strlen(home->domain) + 1);
    memcpy(token->controllers, home->addresses, sizeof token->controllers);
    token->controller_count = home->address_count;
    memcpy(token->bundle, home->bundle_digest, sizeof token->bundle);
    pki_spiffe_text(home->domain, token->kind, &token->id, token->subject);
    pki_chain_pin(home->chain, &token->server_pins[token->server_pin_count++]);
    if (home->has_next)
        token->server_pins[token->server_pin_count++] = home->next_pin;
}

weft_err issue_token(const struct home *home, const struct store_node *node, uint64_t now,
                     uint64_t life_ms, struct store_token *row, wf_buf *jwt)
{
    struct pki_token token = {
        .kind = node->kind,
        .id = node->id,
        .jti = wf_id_random(),
        .expiry = now + life_ms,
        .method = node->enroll,
    };
    weft_err err;

    memcpy(token.name, node->name, sizeof token.name);
    name_fabric(home, &token);
    err = pki_token_make(home->enrollment, &token, jwt);
    if (err != WEFT_OK)
        return err;
    *row = (struct store_token){.kind = node->kind, .subject = node->id, .expires = token.expiry};
    pki_key_pin(home->enrollment, &row->signer);
    pki_sha256(token.jti.b, sizeof token.jti.b, row->hash);
    return WEFT_OK;
}

weft_err issue_join_token(const struct home *home, enum pki_enroll_method method, const wf_id *id,
                          const char *name, uint64_t expiry, wf_buf *jwt)
{
    struct pki_token token = {.kind = PKI_IDENTITY, .id = *id, .expiry = expiry, .method = method};

    memcpy(token.name, name, strlen(name) + 1);
    name_fabric(home, &token);
    return pki_token_make(home->enrollment, &token, jwt);
}

/* Terms as a message; what it points to lives here. */
struct wire_terms {
    Weft__Wire__Terms terms;
    Weft__Wire__Window windows[WF_WINDOWS_MAX], *list[WF_WINDOWS_MAX];
    ProtobufCBinaryData sources[WF_SOURCES_MAX];
    uint8_t bytes[WF_SOURCES_MAX][17];
};

/* NULL: nothing is bound. */
static Weft__Wire__Terms *terms_to_wire(const struct pki_terms *t, struct wire_terms *out)
{
    if (t->sessions == 0 && t->sessions_per_identity == 0 && t->idle_ms == 0 && t->age_ms == 0 &&
        t->window_count == 0 && t->source_count == 0)
        return NULL;
    weft__wire__terms__init(&out->terms);
    out->terms.sessions = t->sessions;
    out->terms.sessions_per_identity = t->sessions_per_identity;
    out->terms.idle_ms = t->idle_ms;
    out->terms.age_ms = t->age_ms;
    for (size_t i = 0; i < t->window_count; i++) {
        weft__wire__window__init(&out->windows[i]);
        out->windows[i].from = t->windows[i].from;
        out->windows[i].to = t->windows[i].to;
        out->list[i] = &out->windows[i];
    }
    for (size_t i = 0; i < t->source_count; i++)
        out->sources[i] = wf_pb_bytes(out->bytes[i], pki_prefix_put(&t->sources[i], out->bytes[i]));
    out->terms.n_windows = t->window_count;
    out->terms.windows = out->list;
    out->terms.n_sources = t->source_count;
    out->terms.sources = out->sources;
    return &out->terms;
}

weft_err issue_grant(const struct home *home, const struct issue_grant *grant, wf_buf *out)
{
    Weft__Wire__GrantBody body;
    struct wire_terms terms;
    ProtobufCBinaryData pins[WF_PINS_MAX];

    assert(grant->pin_count > 0 && grant->pin_count <= WF_PINS_MAX);
    for (size_t i = 0; i < grant->pin_count; i++)
        pins[i] = wf_pb_bytes(grant->pins[i].b, sizeof grant->pins[i].b);
    weft__wire__grant_body__init(&body);
    body.trust_domain = borrowed(home->domain);
    body.service_id = wf_pb_id(&grant->service);
    body.service_name = borrowed(grant->service_name);
    body.role = (Weft__Wire__Role)grant->role;
    body.subject = wf_pb_id(&grant->subject->id);
    body.n_pins = grant->pin_count;
    body.pins = pins;
    body.not_before = grant->not_before;
    body.expiry = grant->expiry;
    body.epoch = grant->epoch;
    body.terms = terms_to_wire(grant->terms, &terms);
    return pki_record_seal(home->policy, PKI_LABEL_GRANT, &body.base, out);
}

weft_err issue_member(const struct home *home, const struct store_node *router, const pki_pin *pins,
                      size_t pin_count, uint64_t epoch, uint64_t expiry, wf_buf *out)
{
    Weft__Wire__MemberBody body;
    ProtobufCBinaryData pin_data[WF_PINS_MAX];
    char text[WF_ADDRESSES_MAX][WF_ADDRESS_TEXT];
    char *addresses[WF_ADDRESSES_MAX];

    assert(pin_count > 0 && pin_count <= WF_PINS_MAX);
    assert(router->address_count <= WF_ADDRESSES_MAX);
    for (size_t i = 0; i < pin_count; i++)
        pin_data[i] = wf_pb_bytes(pins[i].b, sizeof pins[i].b);
    for (size_t i = 0; i < router->address_count; i++)
        addresses[i] = wf_address_text(&router->addresses[i], text[i]);
    weft__wire__member_body__init(&body);
    body.trust_domain = borrowed(home->domain);
    body.router_id = wf_pb_id(&router->id);
    body.name = borrowed(router->name);
    body.n_pins = pin_count;
    body.pins = pin_data;
    body.n_addresses = router->address_count;
    body.addresses = addresses;
    body.epoch = epoch;
    body.expiry = expiry;
    return pki_record_seal(home->policy, PKI_LABEL_MEMBER, &body.base, out);
}

static void floor_to_wire(const struct store_floor *f, Weft__Wire__Floor *out)
{
    weft__wire__floor__init(out);
    switch (f->kind) {
    case STORE_FLOOR_GRANT:
        out->service = wf_pb_id(&f->service);
        out->role = (Weft__Wire__Role)f->role;
        out->identity = wf_pb_id(&f->identity);
        break;
    case STORE_FLOOR_IDENTITY:
        out->identity = wf_pb_id(&f->identity);
        break;
    case STORE_FLOOR_KEY:
        out->key = wf_pb_bytes(f->key.b, sizeof f->key.b);
        break;
    case STORE_FLOOR_ROUTER:
        out->router = wf_pb_id(&f->router);
        break;
    }
    out->epoch = f->epoch;
    out->cut = f->cut;
    out->expires = f->expires;
}

weft_err issue_floors(const struct home *home, uint64_t version, const uint8_t previous[32],
                      const struct store_floor *floors, size_t count, wf_buf *out)
{
    Weft__Wire__FloorsBody body;
    Weft__Wire__Floor *wire = NULL, **list = NULL;
    weft_err err = WEFT_ENOMEM;

    assert(count <= WF_FLOOR_COUNT_MAX);
    wire = calloc(count + 1, sizeof *wire);
    list = calloc(count + 1, sizeof *list);
    if (wire == NULL || list == NULL)
        goto out;
    for (size_t i = 0; i < count; i++) {
        floor_to_wire(&floors[i], &wire[i]);
        list[i] = &wire[i];
    }
    weft__wire__floors_body__init(&body);
    body.trust_domain = borrowed(home->domain);
    body.version = version;
    body.snapshot = previous == NULL;
    if (previous != NULL)
        body.previous = wf_pb_bytes(previous, 32);
    body.n_floors = count;
    body.floors = list;
    err = pki_record_seal(home->policy, PKI_LABEL_FLOORS, &body.base, out);
out:
    free(wire);
    free(list);
    return err;
}
