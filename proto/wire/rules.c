/* The bounds of each message, one line per field. docs/protocol.md explains them. */
#include "proto/wire/rules.h"
#include "proto/base/address.h"
#include "proto/base/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- what fields can be */

/* Keeps the first refusal: "Setup.session: ...". */
static void refuse(struct wf_check *c, weft_err err, const char *field, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void refuse(struct wf_check *c, weft_err err, const char *field, const char *format, ...)
{
    if (c->err != WEFT_OK)
        return;
    char text[WF_WHY_MAX];
    va_list args;
    va_start(args, format);
    if (vsnprintf(text, sizeof text, format, args) < 0)
        text[0] = '\0';
    va_end(args);
    c->err = wf_fail(c->why, err, "%s.%s: %s", c->message, field, text);
}

static void is_true(struct wf_check *c, const char *field, bool holds, const char *rule)
{
    if (!holds)
        refuse(c, WEFT_EPROTO, field, "%s", rule);
}

static void is_count(struct wf_check *c, const char *field, size_t n, size_t min, size_t max)
{
    if (n < min)
        refuse(c, WEFT_EPROTO, field, "has %zu elements, at least %zu are needed", n, min);
    if (n > max)
        refuse(c, WEFT_ELIMIT, field, "has %zu elements, at most %zu are allowed", n, max);
}

static void is_bytes(struct wf_check *c, const char *field, ProtobufCBinaryData b, size_t min,
                     size_t max)
{
    if (b.len < min)
        refuse(c, WEFT_EPROTO, field, "has %zu bytes, at least %zu are needed", b.len, min);
    if (b.len > max)
        refuse(c, WEFT_ELIMIT, field, "has %zu bytes, at most %zu are allowed", b.len, max);
}

static void is_exactly(struct wf_check *c, const char *field, ProtobufCBinaryData b, size_t len)
{
    if (b.len != len)
        refuse(c, WEFT_EPROTO, field, "has %zu bytes, not %zu", b.len, len);
}

static void is_exactly_or_empty(struct wf_check *c, const char *field, ProtobufCBinaryData b,
                                size_t len)
{
    if (b.len != 0)
        is_exactly(c, field, b, len);
}

static void is_id(struct wf_check *c, const char *field, ProtobufCBinaryData b)
{
    wf_id id;
    if (!wf_id_from_bytes(b.data, b.len, &id))
        refuse(c, WEFT_EPROTO, field, "must be 16 bytes that are not all zero");
}

static void is_id_or_empty(struct wf_check *c, const char *field, ProtobufCBinaryData b)
{
    if (b.len != 0)
        is_id(c, field, b);
}

static void are_ids(struct wf_check *c, const char *field, size_t n, const ProtobufCBinaryData *b,
                    size_t max)
{
    is_count(c, field, n, 0, max);
    for (size_t i = 0; i < n && c->err == WEFT_OK; i++)
        is_id(c, field, b[i]);
}

static void are_pins(struct wf_check *c, const char *field, size_t n, const ProtobufCBinaryData *b,
                     size_t min)
{
    is_count(c, field, n, min, WF_PINS_MAX);
    for (size_t i = 0; i < n && c->err == WEFT_OK; i++)
        is_exactly(c, field, b[i], WF_PIN_LEN);
}

/* Elements of a bundle: certificates or keys. */
static void are_blobs(struct wf_check *c, const char *field, size_t n, const ProtobufCBinaryData *b,
                      size_t min, size_t max_len)
{
    is_count(c, field, n, min, WF_BUNDLE_KEYS_MAX);
    for (size_t i = 0; i < n && c->err == WEFT_OK; i++)
        is_bytes(c, field, b[i], 1, max_len);
}

static void is_chain_or_empty(struct wf_check *c, const char *field, size_t n,
                              const ProtobufCBinaryData *b)
{
    size_t total = 0;
    is_count(c, field, n, 0, WF_CHAIN_DEPTH);
    for (size_t i = 0; i < n && c->err == WEFT_OK; i++) {
        is_bytes(c, field, b[i], 1, WF_CERT_MAX);
        total += b[i].len;
    }
    if (total > WF_CHAIN_MAX)
        refuse(c, WEFT_ELIMIT, field, "has %zu bytes, at most %u are allowed", total, WF_CHAIN_MAX);
}

static void is_chain(struct wf_check *c, const char *field, size_t n, const ProtobufCBinaryData *b)
{
    is_count(c, field, n, 1, WF_CHAIN_DEPTH);
    is_chain_or_empty(c, field, n, b);
}

static void is_name(struct wf_check *c, const char *field, const char *text)
{
    wf_why why = {.text = ""};
    if (wf_name_check(text, strlen(text), "name", &why) != WEFT_OK)
        refuse(c, WEFT_EPROTO, field, "%s", why.text);
}

/* That it is printable the scan has seen to. */
static void is_text(struct wf_check *c, const char *field, const char *text, size_t max)
{
    size_t len = strlen(text);
    if (len > max)
        refuse(c, WEFT_ELIMIT, field, "has %zu characters, at most %zu are allowed", len, max);
}

static void is_trust_domain(struct wf_check *c, const char *field, const char *text)
{
    size_t len = strlen(text);
    if (len == 0 || len > WF_TRUST_DOMAIN_MAX ||
        strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-") != len)
        refuse(c, WEFT_EPROTO, field, "must be 1 to %u of a-z, 0-9, '.' and '-'",
               WF_TRUST_DOMAIN_MAX);
}

static void are_addresses(struct wf_check *c, const char *field, size_t n, char *const *text)
{
    is_count(c, field, n, 0, WF_ADDRESSES_MAX);
    for (size_t i = 0; i < n && c->err == WEFT_OK; i++) {
        wf_address a;
        wf_why why = {.text = ""};
        if (wf_address_parse(text[i], 0, &a, &why) != WEFT_OK)
            refuse(c, WEFT_EPROTO, field, "%s", why.text);
        else
            is_true(c, field, a.port != 0, "port 0 can't be reached");
    }
}

static void is_code(struct wf_check *c, const char *field, uint32_t code)
{
    is_true(c, field, code <= UINT16_MAX, "must fit 16 bits");
}

static void is_role(struct wf_check *c, const char *field, Weft__Wire__Role role)
{
    is_true(c, field, role == WEFT__WIRE__ROLE__ROLE_DIAL || role == WEFT__WIRE__ROLE__ROLE_BIND,
            "must be dial or bind");
}

static void is_signed_or_absent(struct wf_check *c, const char *field, const Weft__Wire__Signed *s,
                                size_t max_body)
{
    if (s == NULL)
        return;
    is_bytes(c, field, s->body, 1, max_body);
    is_bytes(c, field, s->signature, 1, WF_SIGNATURE_MAX);
    is_exactly(c, field, s->signer, WF_PIN_LEN);
}

static void is_signed(struct wf_check *c, const char *field, const Weft__Wire__Signed *s,
                      size_t max_body)
{
    is_true(c, field, s != NULL, "is absent");
    is_signed_or_absent(c, field, s, max_body);
}

static void are_signed(struct wf_check *c, const char *field, size_t n,
                       Weft__Wire__Signed *const *s, size_t max, size_t max_body)
{
    is_count(c, field, n, 0, max);
    for (size_t i = 0; i < n && c->err == WEFT_OK; i++)
        is_signed(c, field, s[i], max_body);
}

static void is_resume_or_absent(struct wf_check *c, const Weft__Wire__Resume *r)
{
    if (r != NULL)
        is_bytes(c, "resume.mac", r->mac, WF_MAC_MIN, WF_MAC_MAX);
}

/* ---- signed records */

void wf_rule_signed(struct wf_check *c, const void *message)
{
    is_signed(c, "record", message, WF_BUNDLE_MAX);
}

void wf_rule_bundle_body(struct wf_check *c, const void *message)
{
    const Weft__Wire__BundleBody *m = message;
    is_trust_domain(c, "trust_domain", m->trust_domain);
    is_true(c, "version", m->version > 0, "starts at 1");
    are_blobs(c, "roots", m->n_roots, m->roots, 1, WF_CERT_MAX);
    are_blobs(c, "policy_keys", m->n_policy_keys, m->policy_keys, 1, WF_KEY_MAX);
    are_blobs(c, "audit_keys", m->n_audit_keys, m->audit_keys, 0, WF_KEY_MAX);
    are_blobs(c, "enrollment_keys", m->n_enrollment_keys, m->enrollment_keys, 0, WF_KEY_MAX);
    is_exactly_or_empty(c, "previous", m->previous, WF_PIN_LEN);
}

/* One byte of length in bits, then the address; what is beyond the length is zero. */
static void is_prefix(struct wf_check *c, const char *field, ProtobufCBinaryData b)
{
    if (b.len != 5 && b.len != 17) {
        refuse(c, WEFT_EPROTO, field, "has %zu bytes, not 5 or 17", b.len);
        return;
    }
    size_t bits = b.data[0], all = 8 * (b.len - 1);
    if (bits > all) {
        refuse(c, WEFT_EPROTO, field, "a prefix of %zu bits, of %zu", bits, all);
        return;
    }
    for (size_t i = bits; i < all; i++)
        if (b.data[1 + i / 8] & (0x80u >> (i % 8))) {
            refuse(c, WEFT_EPROTO, field, "has bits beyond its length");
            return;
        }
}

static void terms_rule(struct wf_check *c, const Weft__Wire__Terms *m)
{
    is_true(c, "terms.idle_ms", m->idle_ms <= WF_TERM_MS_MAX, "is above a year");
    is_true(c, "terms.age_ms", m->age_ms <= WF_TERM_MS_MAX, "is above a year");
    is_count(c, "terms.windows", m->n_windows, 0, WF_WINDOWS_MAX);
    for (size_t i = 0; i < m->n_windows && c->err == WEFT_OK; i++)
        is_true(c, "terms.windows",
                m->windows[i]->from < m->windows[i]->to && m->windows[i]->to <= WF_WEEK_MINUTES,
                "must begin before it ends, within the week");
    is_count(c, "terms.sources", m->n_sources, 0, WF_SOURCES_MAX);
    for (size_t i = 0; i < m->n_sources && c->err == WEFT_OK; i++)
        is_prefix(c, "terms.sources", m->sources[i]);
}

void wf_rule_grant_body(struct wf_check *c, const void *message)
{
    const Weft__Wire__GrantBody *m = message;
    is_trust_domain(c, "trust_domain", m->trust_domain);
    is_id(c, "service_id", m->service_id);
    is_name(c, "service_name", m->service_name);
    is_role(c, "role", m->role);
    is_id(c, "subject", m->subject);
    are_pins(c, "pins", m->n_pins, m->pins, 1);
    if (m->terms != NULL)
        terms_rule(c, m->terms);
}

void wf_rule_member_body(struct wf_check *c, const void *message)
{
    const Weft__Wire__MemberBody *m = message;
    is_trust_domain(c, "trust_domain", m->trust_domain);
    is_id(c, "router_id", m->router_id);
    is_name(c, "name", m->name);
    are_pins(c, "pins", m->n_pins, m->pins, 1);
    are_addresses(c, "addresses", m->n_addresses, m->addresses);
}

static void floor_rule(struct wf_check *c, const Weft__Wire__Floor *f)
{
    int things = (f->identity.len > 0) + (f->key.len > 0) + (f->router.len > 0);
    is_true(c, "floors", things == 1, "a floor names one of identity, key and router");
    is_id_or_empty(c, "floors.identity", f->identity);
    is_id_or_empty(c, "floors.router", f->router);
    is_exactly_or_empty(c, "floors.key", f->key, WF_PIN_LEN);

    bool has_role = f->role != WEFT__WIRE__ROLE__ROLE_NONE;
    is_true(c, "floors", (f->service.len > 0) == has_role, "service and role go together");
    is_true(c, "floors", f->identity.len > 0 || !has_role, "a service needs an identity");
    is_id_or_empty(c, "floors.service", f->service);
    if (has_role)
        is_role(c, "floors.role", f->role);
}

void wf_rule_floors_body(struct wf_check *c, const void *message)
{
    const Weft__Wire__FloorsBody *m = message;
    is_trust_domain(c, "trust_domain", m->trust_domain);
    is_exactly_or_empty(c, "previous", m->previous, WF_PIN_LEN);
    is_true(c, "previous", !m->snapshot || m->previous.len == 0, "a snapshot replaces all before");
    is_count(c, "floors", m->n_floors, 0, WF_FLOOR_COUNT_MAX);
    for (size_t i = 0; i < m->n_floors && c->err == WEFT_OK; i++)
        floor_rule(c, m->floors[i]);
}

void wf_rule_bind_body(struct wf_check *c, const void *message)
{
    const Weft__Wire__BindBody *m = message;
    is_trust_domain(c, "trust_domain", m->trust_domain);
    is_id(c, "service_id", m->service_id);
    is_id(c, "instance", m->instance);
    is_id(c, "router_id", m->router_id);
    is_id(c, "subject", m->subject);
}

void wf_rule_checkpoint_body(struct wf_check *c, const void *message)
{
    const Weft__Wire__CheckpointBody *m = message;
    is_trust_domain(c, "trust_domain", m->trust_domain);
    is_true(c, "size", m->size > 0 && m->size <= WF_LOG_MAX, "out of range");
    is_exactly(c, "root", m->root, WF_PIN_LEN);
}

void wf_rule_link_state_body(struct wf_check *c, const void *message)
{
    const Weft__Wire__LinkStateBody *m = message;
    is_id(c, "router_id", m->router_id);
    are_ids(c, "neighbours", m->n_neighbours, m->neighbours, WF_NEIGHBOURS_MAX);
}

/* ---- control messages */

static void rule_hello(struct wf_check *c, const Weft__Wire__Hello *m)
{
    is_true(c, "version_min", m->version_min > 0, "starts at 1");
    is_true(c, "version_max", m->version_min <= m->version_max, "is below version_min");
    is_text(c, "agent", m->agent, WF_AGENT_MAX);
    is_signed_or_absent(c, "member", m->member, WF_SIGNED_MAX);
    is_chain_or_empty(c, "chain", m->n_chain, m->chain);
    is_signed_or_absent(c, "checkpoint", m->checkpoint, WF_CHECKPOINT_MAX);
}

static void rule_setup(struct wf_check *c, const Weft__Wire__Setup *m)
{
    is_true(c, "label", m->label != 0, "is absent");
    is_id(c, "service_id", m->service_id);
    is_id(c, "session", m->session);
    is_id_or_empty(c, "instance", m->instance);
    is_true(c, "window", m->window > 0 && m->window <= WF_WINDOW_MAX, "out of range");
    is_bytes(c, "first", m->first, 0, WF_SETUP_BYTES_MAX);
    is_signed_or_absent(c, "grant", m->grant, WF_SIGNED_MAX);
    are_ids(c, "path", m->n_path, m->path, WF_PATH_MAX);
    is_resume_or_absent(c, m->resume);
    is_chain_or_empty(c, "chain", m->n_chain, m->chain);
}

static void rule_setup_reply(struct wf_check *c, const Weft__Wire__SetupReply *m)
{
    bool stands = m->code == 0;
    is_true(c, "to", m->to != 0, "is absent");
    is_true(c, "label", (m->label != 0) == stands, stands ? "is absent" : "with a refusal");
    is_true(c, "window", m->window <= WF_WINDOW_MAX && (m->window > 0 || !stands), "out of range");
    is_bytes(c, "first", m->first, 0, WF_SETUP_BYTES_MAX);
    is_code(c, "code", m->code);
    is_text(c, "reason", m->reason, WF_REASON_MAX);
    is_id_or_empty(c, "instance", m->instance);
    is_resume_or_absent(c, m->resume);
}

static void rule_bind(struct wf_check *c, const Weft__Wire__Bind *m)
{
    is_signed(c, "bind", m->bind, WF_SIGNED_MAX);
    is_signed(c, "grant", m->grant, WF_SIGNED_MAX);
}

static void rule_bind_reply(struct wf_check *c, const Weft__Wire__BindReply *m)
{
    is_code(c, "code", m->code);
    is_text(c, "reason", m->reason, WF_REASON_MAX);
}

static void rule_terminators(struct wf_check *c, const Weft__Wire__Terminators *m)
{
    is_count(c, "add", m->n_add, 0, WF_TERMINATORS_MAX);
    for (size_t i = 0; i < m->n_add && c->err == WEFT_OK; i++) {
        const Weft__Wire__Terminator *t = m->add[i];
        is_signed(c, "add.bind", t->bind, WF_SIGNED_MAX);
        is_signed(c, "add.grant", t->grant, WF_SIGNED_MAX);
        is_chain(c, "add.chain", t->n_chain, t->chain);
    }
    is_count(c, "remove", m->n_remove, 0, WF_TERMINATORS_MAX);
    for (size_t i = 0; i < m->n_remove && c->err == WEFT_OK; i++) {
        is_id(c, "remove.service_id", m->remove[i]->service_id);
        is_id(c, "remove.subject", m->remove[i]->subject);
        is_id(c, "remove.instance", m->remove[i]->instance);
    }
}

static void rule_link_state(struct wf_check *c, const Weft__Wire__LinkState *m)
{
    is_signed(c, "state", m->state, WF_SIGNED_MAX);
    is_chain(c, "chain", m->n_chain, m->chain);
}

static void rule_floors(struct wf_check *c, const Weft__Wire__Floors *m)
{
    is_count(c, "sets", m->n_sets, 1, WF_FLOOR_SETS_MAX);
    are_signed(c, "sets", m->n_sets, m->sets, WF_FLOOR_SETS_MAX, WF_FLOORS_MAX);
}

static void rule_call(struct wf_check *c, const Weft__Wire__Call *m)
{
    is_name(c, "operation", m->operation);
    is_bytes(c, "arguments", m->arguments, 0, WF_CONTROL_MAX);
}

static void rule_reply(struct wf_check *c, const Weft__Wire__Reply *m)
{
    is_code(c, "code", m->code);
    is_text(c, "reason", m->reason, WF_REASON_MAX);
    is_bytes(c, "result", m->result, 0, WF_CONTROL_MAX);
}

static void rule_notice(struct wf_check *c, const Weft__Wire__Notice *m)
{
    is_signed_or_absent(c, "bundle", m->bundle, WF_BUNDLE_MAX);
    are_ids(c, "cut_sessions", m->n_cut_sessions, m->cut_sessions, WF_REPEATED_MAX);
    is_signed_or_absent(c, "checkpoint", m->checkpoint, WF_CHECKPOINT_MAX);
    is_true(c, "renew", m->renew <= WF_RENEW_SPREAD_MAX_MS, "is more than a day");
}

void wf_rule_control(struct wf_check *c, const void *message)
{
    const Weft__Wire__Control *m = message;
#define KIND(NAME, name, Name)                                                                     \
    case WEFT__WIRE__CONTROL__OF_##NAME:                                                           \
        c->message = Name;                                                                         \
        rule_##name(c, m->name);                                                                   \
        return;
    switch (m->of_case) {
        KIND(HELLO, hello, "Hello")
        KIND(SETUP, setup, "Setup")
        KIND(SETUP_REPLY, setup_reply, "SetupReply")
        KIND(BIND, bind, "Bind")
        KIND(BIND_REPLY, bind_reply, "BindReply")
        KIND(TERMINATORS, terminators, "Terminators")
        KIND(LINK_STATE, link_state, "LinkState")
        KIND(FLOORS, floors, "Floors")
        KIND(CALL, call, "Call")
        KIND(REPLY, reply, "Reply")
        KIND(NOTICE, notice, "Notice")
    case WEFT__WIRE__CONTROL__OF_UNBIND:
        c->message = "Unbind";
        is_id(c, "instance", m->unbind->instance);
        return;
    case WEFT__WIRE__CONTROL__OF_FLOORS_WANTED:
        return; /* every number is a version */
    case WEFT__WIRE__CONTROL__OF__NOT_SET:
    case _WEFT__WIRE__CONTROL__OF__CASE_IS_INT_SIZE:
        break;
    }
#undef KIND
    refuse(c, WEFT_EPROTO, "of", "no message that this version knows");
}

/* ---- calls to the controller */

void wf_rule_enroll_call(struct wf_check *c, const void *message)
{
    const Weft__Wire__EnrollCall *m = message;
    is_true(c, "token", m->token[0] != '\0', "is absent");
    is_text(c, "token", m->token, WF_TOKEN_MAX);
    is_bytes(c, "csr", m->csr, 1, WF_CSR_MAX);
    is_bytes(c, "proof", m->proof, 1, WF_SIGNATURE_MAX);
    are_addresses(c, "addresses", m->n_addresses, m->addresses);
    is_chain_or_empty(c, "foreign_chain", m->n_foreign_chain, m->foreign_chain);
    is_bytes(c, "foreign_proof", m->foreign_proof, 0, WF_SIGNATURE_MAX);
    is_text(c, "oidc_token", m->oidc_token, WF_OIDC_TOKEN_MAX);
}

void wf_rule_enroll_result(struct wf_check *c, const void *message)
{
    const Weft__Wire__EnrollResult *m = message;
    is_chain(c, "chain", m->n_chain, m->chain);
    is_signed(c, "bundle", m->bundle, WF_BUNDLE_MAX);
    is_id(c, "id", m->id);
    is_name(c, "name", m->name);
    are_addresses(c, "controllers", m->n_controllers, m->controllers);
    are_pins(c, "controller_pins", m->n_controller_pins, m->controller_pins, 0);
    are_signed(c, "members", m->n_members, m->members, WF_MEMBERS_MAX, WF_SIGNED_MAX);
    is_signed_or_absent(c, "member", m->member, WF_SIGNED_MAX);
    are_signed(c, "floors", m->n_floors, m->floors, WF_FLOOR_SETS_MAX, WF_FLOORS_MAX);
    are_signed(c, "bundles", m->n_bundles, m->bundles, WF_BUNDLES_MAX, WF_BUNDLE_MAX);
}

void wf_rule_renew_call(struct wf_check *c, const void *message)
{
    const Weft__Wire__RenewCall *m = message;
    is_bytes(c, "csr", m->csr, 1, WF_CSR_MAX);
    is_bytes(c, "proof", m->proof, 1, WF_SIGNATURE_MAX);
    is_chain_or_empty(c, "foreign_chain", m->n_foreign_chain, m->foreign_chain);
    is_bytes(c, "foreign_proof", m->foreign_proof, 0, WF_SIGNATURE_MAX);
    is_bytes(c, "new_csr", m->new_csr, 0, WF_CSR_MAX);
    is_bytes(c, "new_proof", m->new_proof, 0, WF_SIGNATURE_MAX);
    is_true(c, "new_csr", (m->new_csr.len == 0) == (m->new_proof.len == 0),
            "and new_proof come together or not at all");
}

void wf_rule_renew_result(struct wf_check *c, const void *message)
{
    const Weft__Wire__RenewResult *m = message;
    is_chain(c, "chain", m->n_chain, m->chain);
    is_signed_or_absent(c, "bundle", m->bundle, WF_BUNDLE_MAX);
    are_signed(c, "bundles", m->n_bundles, m->bundles, WF_BUNDLES_MAX, WF_BUNDLE_MAX);
}

void wf_rule_grants_call(struct wf_check *c, const void *message)
{
    const Weft__Wire__GrantsCall *m = message;
    is_count(c, "services", m->n_services, 0, WF_GRANTS_PREFETCH);
    for (size_t i = 0; i < m->n_services && c->err == WEFT_OK; i++)
        is_name(c, "services", m->services[i]);
    if (m->posture != NULL) {
        is_text(c, "posture.os", m->posture->os, WF_AGENT_MAX);
        is_text(c, "posture.os_version", m->posture->os_version, WF_AGENT_MAX);
        is_text(c, "posture.arch", m->posture->arch, WF_AGENT_MAX);
        is_text(c, "posture.agent", m->posture->agent, WF_AGENT_MAX);
    }
}

void wf_rule_grants_result(struct wf_check *c, const void *message)
{
    const Weft__Wire__GrantsResult *m = message;
    are_signed(c, "grants", m->n_grants, m->grants, WF_GRANTS_PREFETCH, WF_SIGNED_MAX);
    are_signed(c, "members", m->n_members, m->members, WF_MEMBERS_MAX, WF_SIGNED_MAX);
    are_signed(c, "floors", m->n_floors, m->floors, WF_FLOOR_SETS_MAX, WF_FLOORS_MAX);
    is_signed_or_absent(c, "bundle", m->bundle, WF_BUNDLE_MAX);
    is_code(c, "refused_code", m->refused_code);
    is_text(c, "refused_reason", m->refused_reason, WF_REASON_MAX);
    is_signed_or_absent(c, "checkpoint", m->checkpoint, WF_CHECKPOINT_MAX);
}

void wf_rule_sync_result(struct wf_check *c, const void *message)
{
    const Weft__Wire__SyncResult *m = message;
    is_signed_or_absent(c, "member", m->member, WF_SIGNED_MAX);
    are_signed(c, "members", m->n_members, m->members, WF_MEMBERS_MAX, WF_SIGNED_MAX);
    are_signed(c, "floors", m->n_floors, m->floors, WF_FLOOR_SETS_MAX, WF_FLOORS_MAX);
    is_signed_or_absent(c, "bundle", m->bundle, WF_BUNDLE_MAX);
    is_signed_or_absent(c, "checkpoint", m->checkpoint, WF_CHECKPOINT_MAX);
}

void wf_rule_consistency_call(struct wf_check *c, const void *message)
{
    const Weft__Wire__ConsistencyCall *m = message;
    is_true(c, "first", m->first > 0 && m->first <= m->second, "out of range");
    is_true(c, "second", m->second <= WF_LOG_MAX, "out of range");
}

void wf_rule_consistency_result(struct wf_check *c, const void *message)
{
    const Weft__Wire__ConsistencyResult *m = message;
    is_count(c, "hashes", m->n_hashes, 0, WF_PROOF_MAX);
    for (size_t i = 0; i < m->n_hashes && c->err == WEFT_OK; i++)
        is_exactly(c, "hashes", m->hashes[i], WF_PIN_LEN);
}

void wf_rule_session_report(struct wf_check *c, const void *message)
{
    const Weft__Wire__SessionReport *m = message;
    is_count(c, "rows", m->n_rows, 0, WF_SESSION_ROWS_MAX);
    for (size_t i = 0; i < m->n_rows && c->err == WEFT_OK; i++) {
        const Weft__Wire__SessionRow *row = m->rows[i];
        is_id(c, "rows.session", row->session);
        is_id(c, "rows.service_id", row->service_id);
        is_id_or_empty(c, "rows.dialer", row->dialer);
        is_id_or_empty(c, "rows.host", row->host);
    }
}

/* ---- items */

void wf_rule_item_hello(struct wf_check *c, const void *message)
{
    const Weft__Wire__ItemHello *m = message;
    is_id(c, "service_id", m->service_id);
    is_id(c, "session", m->session);
    is_role(c, "role", m->role);
    is_id_or_empty(c, "instance", m->instance);
    is_true(c, "instance", m->instance.len > 0 || m->role == WEFT__WIRE__ROLE__ROLE_DIAL,
            "a host names its own");
    is_signed(c, "grant", m->grant, WF_SIGNED_MAX);
    are_signed(c, "floors", m->n_floors, m->floors, 1, WF_FLOORS_MAX);
}

void wf_rule_item_refuse(struct wf_check *c, const void *message)
{
    const Weft__Wire__ItemRefuse *m = message;
    is_true(c, "code", m->code != 0, "a refusal says why");
    is_code(c, "code", m->code);
    is_text(c, "reason", m->reason, WF_REASON_MAX);
}

void wf_rule_item_grant(struct wf_check *c, const void *message)
{
    const Weft__Wire__ItemGrant *m = message;
    is_signed(c, "grant", m->grant, WF_SIGNED_MAX);
}
