/* Signed records: grants, member records, binds. Signature first, then the body, then time. */
#include "pki/trust_inside.h"
#include "proto/base/clock.h"
#include <string.h>

weft_err pki_trust_check_policy(pki_trust *trust, const Weft__Wire__Signed *record,
                                const char *label, wf_why *why)
{
    uint8_t key[32];
    wf_buf bytes;
    /* Lengths before bytes, or two records could make one row. */
    wf_buf_init(&bytes, 2 * WF_BUNDLE_MAX);
    weft_err err = wf_buf_put_text(&bytes, label);
    const ProtobufCBinaryData *parts[] = {&record->signer, &record->signature, &record->body};
    for (size_t i = 0; err == WEFT_OK && i < 3; i++) {
        if (parts[i]->len > WF_BUNDLE_MAX)
            err = WEFT_ELIMIT;
        if (err == WEFT_OK)
            err = wf_buf_put_u32(&bytes, (uint32_t)parts[i]->len);
        if (err == WEFT_OK)
            err = wf_buf_put(&bytes, parts[i]->data, parts[i]->len);
    }
    if (err == WEFT_OK)
        pki_sha256(bytes.data, bytes.len, key);
    wf_buf_fini(&bytes);
    if (err != WEFT_OK)
        return wf_fail(why, err, "a signed record of this size can't be read");
    if (pki_seen_find(trust->grants, key, NULL))
        return WEFT_OK;
    err = pki_record_verify(record, label, trust->policy_keys, trust->bundle.body->n_policy_keys,
                            why);
    if (err == WEFT_OK)
        pki_seen_add(trust->grants, key, NULL);
    return err;
}

/* ---- grants */

static const char *role_name(Weft__Wire__Role role)
{
    return role == WEFT__WIRE__ROLE__ROLE_BIND ? "bind" : "dial";
}

static bool has_pin(const ProtobufCBinaryData *pins, size_t count, const pki_pin *pin)
{
    for (size_t i = 0; i < count; i++)
        if (pins[i].len == sizeof pin->b && memcmp(pins[i].data, pin->b, sizeof pin->b) == 0)
            return true;
    return false;
}

/* The fields that say what is permitted, to whom. */
static weft_err check_grant_fits(const pki_trust *trust, const Weft__Wire__GrantBody *g,
                                 const struct pki_subject *who, const wf_id *service,
                                 Weft__Wire__Role role, wf_why *why)
{
    wf_id subject, of;
    if (strcmp(g->trust_domain, pki_trust_domain(trust)) != 0)
        return wf_fail(why, WEFT_ECREDENTIAL, "the grant is of the trust domain %s, not %s",
                       g->trust_domain, pki_trust_domain(trust));
    if (who->kind != PKI_IDENTITY || !wf_id_from_bytes(g->subject.data, g->subject.len, &subject) ||
        !wf_id_equal(&subject, &who->id))
        return wf_fail(why, WEFT_EREFUSED, "the grant is for another identity than %s", who->name);
    if (!has_pin(g->pins, g->n_pins, &who->pin))
        return wf_fail(why, WEFT_EREFUSED, "the grant of %s names another key", who->name);
    if (!wf_id_from_bytes(g->service_id.data, g->service_id.len, &of) ||
        (service != NULL && !wf_id_equal(&of, service)))
        return wf_fail(why, WEFT_EREFUSED,
                       "the grant of %s is for the service %s, not for this one", who->name,
                       g->service_name);
    if (g->role != role)
        return wf_fail(why, WEFT_EREFUSED, "the grant of %s lets it %s %s, not %s it", who->name,
                       role_name(g->role), g->service_name, role_name(role));
    return WEFT_OK;
}

/* What changes with time and revocations. */
static weft_err check_grant_stands(const pki_trust *trust, const Weft__Wire__GrantBody *g,
                                   const struct pki_subject *who, const wf_id *service,
                                   uint64_t now, wf_why *why)
{
    char text[24];
    uint64_t floor = pki_floors_for_grant(trust->floors, &who->id, service, g->role);
    if (g->epoch < floor || pki_floors_is_cut(trust->floors, who->kind, &who->id, &who->pin))
        return wf_fail(why, WEFT_EREVOKED, "the grant that let %s %s %s was withdrawn", who->name,
                       role_name(g->role), g->service_name);
    if (now >= g->expiry)
        return wf_fail(why, WEFT_EEXPIRED, "the grant that lets %s %s %s expired at %s", who->name,
                       role_name(g->role), g->service_name, wf_time_text(g->expiry, text));
    if (now + WF_CLOCK_TOLERANCE_MS < g->not_before)
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the grant that lets %s %s %s begins at %s: compare the clocks", who->name,
                       role_name(g->role), g->service_name, wf_time_text(g->not_before, text));
    return WEFT_OK;
}

weft_err pki_trust_read_grant(pki_trust *trust, const Weft__Wire__Signed *grant,
                              const struct pki_subject *who, const wf_id *service,
                              Weft__Wire__Role role, uint64_t now, struct pki_grant *out,
                              wf_why *why)
{
    Weft__Wire__GrantBody *g = NULL;
    weft_err err = pki_trust_check_policy(trust, grant, PKI_LABEL_GRANT, why);
    if (err == WEFT_OK)
        err = wf_grant_body_decode(grant->body.data, grant->body.len, &g, why);
    if (err != WEFT_OK)
        return wf_wrap(why, err == WEFT_EPROTO ? WEFT_ECREDENTIAL : err, "the grant of %s",
                       who->name);
    err = check_grant_fits(trust, g, who, service, role, why);
    if (err != WEFT_OK)
        goto out;
    struct pki_grant found = {
        .service = wf_pb_get_id(g->service_id),
        .role = g->role,
        .subject = who->id,
        .not_before = g->not_before,
        .expiry = g->expiry,
        .epoch = g->epoch,
    };
    err = check_grant_stands(trust, g, who, &found.service, now, why);
    if (err != WEFT_OK)
        goto out;
    size_t len = strlen(g->service_name);
    if (len > WF_NAME_MAX) {
        err = wf_fail(why, WEFT_ECREDENTIAL, "the grant of %s names a service too long", who->name);
        goto out;
    }
    memcpy(found.service_name, g->service_name, len + 1);
    if (g->terms != NULL && !pki_terms_from_wire(g->terms, &found.terms)) {
        err = wf_fail(why, WEFT_ECREDENTIAL, "the grant of %s is bound to terms that say nothing",
                      who->name);
        goto out;
    }
    *out = found;
out:
    wf_grant_body_free(g);
    return err;
}

weft_err pki_grant_check_window(const struct pki_grant *grant, const char *who, uint64_t now,
                                wf_why *why)
{
    weft_err err = pki_terms_check_window(&grant->terms, now, why);
    if (err != WEFT_OK)
        return wf_wrap(why, err, "%s may not %s %s now", who, role_name(grant->role),
                       grant->service_name);
    return WEFT_OK;
}

weft_err pki_trust_check_grant(pki_trust *trust, const Weft__Wire__Signed *grant,
                               const struct pki_subject *who, const wf_id *service,
                               Weft__Wire__Role role, uint64_t now, struct pki_grant *out,
                               wf_why *why)
{
    struct pki_grant found;
    weft_err err = pki_trust_read_grant(trust, grant, who, service, role, now, &found, why);
    if (err == WEFT_OK)
        err = pki_grant_check_window(&found, who->name, now, why);
    if (err == WEFT_OK)
        *out = found;
    return err;
}

/* ---- routers */

static weft_err take_addresses(const Weft__Wire__MemberBody *m, struct pki_member *out, wf_why *why)
{
    if (m->n_addresses > WF_ADDRESSES_MAX)
        return WEFT_ECREDENTIAL;
    for (size_t i = 0; i < m->n_addresses; i++)
        if (wf_address_parse(m->addresses[i], 0, &out->addresses[i], why) != WEFT_OK)
            return WEFT_ECREDENTIAL;
    out->address_count = m->n_addresses;
    return WEFT_OK;
}

/* Keys that were revoked are left out; a router with none left is none. */
static weft_err take_pins(const pki_trust *trust, const Weft__Wire__MemberBody *m,
                          struct pki_member *out, wf_why *why)
{
    for (size_t i = 0; i < m->n_pins && out->pin_count < WF_PINS_MAX; i++) {
        pki_pin pin;
        if (m->pins[i].len != sizeof pin.b)
            return wf_fail(why, WEFT_ECREDENTIAL, "the member record names a key badly");
        memcpy(pin.b, m->pins[i].data, sizeof pin.b);
        if (!pki_floors_is_cut(trust->floors, PKI_ROUTER, &out->router, &pin))
            out->pins[out->pin_count++] = pin;
    }
    if (out->pin_count == 0)
        return wf_fail(why, WEFT_EREVOKED, "the router %s was disabled or its key revoked",
                       out->name);
    return WEFT_OK;
}

weft_err pki_trust_check_member(pki_trust *trust, const Weft__Wire__Signed *record, uint64_t now,
                                struct pki_member *out, wf_why *why)
{
    char text[24];
    Weft__Wire__MemberBody *m = NULL;
    struct pki_member found = {.pin_count = 0};
    weft_err err = pki_trust_check_policy(trust, record, PKI_LABEL_MEMBER, why);
    if (err == WEFT_OK)
        err = wf_member_body_decode(record->body.data, record->body.len, &m, why);
    if (err != WEFT_OK)
        return wf_wrap(why, err == WEFT_EPROTO ? WEFT_ECREDENTIAL : err, "the member record");
    size_t len = strlen(m->name);
    if (strcmp(m->trust_domain, pki_trust_domain(trust)) != 0 || len > WF_NAME_MAX ||
        !wf_id_from_bytes(m->router_id.data, m->router_id.len, &found.router)) {
        err = wf_fail(why, WEFT_ECREDENTIAL, "the member record is not of the trust domain %s",
                      pki_trust_domain(trust));
        goto out;
    }
    memcpy(found.name, m->name, len + 1);
    found.epoch = m->epoch;
    found.expiry = m->expiry;
    if (m->epoch < pki_floors_for_router(trust->floors, &found.router)) {
        err = wf_fail(why, WEFT_EREVOKED, "the member record of the router %s was withdrawn",
                      found.name);
        goto out;
    }
    if (now >= m->expiry) {
        err = wf_fail(why, WEFT_EEXPIRED, "the member record of the router %s expired at %s",
                      found.name, wf_time_text(m->expiry, text));
        goto out;
    }
    err = take_pins(trust, m, &found, why);
    if (err == WEFT_OK)
        err = take_addresses(m, &found, why);
    if (err == WEFT_OK)
        *out = found;
out:
    wf_member_body_free(m);
    return err;
}

/* ---- binds */

weft_err pki_trust_check_bind(pki_trust *trust, const Weft__Wire__Signed *bind,
                              const Weft__Wire__Signed *grant, const pki_chain *chain, uint64_t now,
                              struct pki_bind *out, struct pki_subject *host, wf_why *why)
{
    char text[24];
    Weft__Wire__BindBody *b = NULL;
    struct pki_subject who;
    struct pki_bind found = {.expiry = 0};
    weft_err err =
        pki_trust_check_chain(trust, chain, PKI_IDENTITY, PKI_CLIENT, false, now, &who, why);
    if (err != WEFT_OK)
        return wf_wrap(why, err, "the host's bind");
    wf_span key = pki_chain_spki(chain);
    err = pki_record_verify(bind, PKI_LABEL_BIND, &key, 1, why);
    if (err == WEFT_OK)
        err = wf_bind_body_decode(bind->body.data, bind->body.len, &b, why);
    if (err != WEFT_OK)
        return wf_wrap(why, err == WEFT_EPROTO ? WEFT_ECREDENTIAL : err, "the bind of %s",
                       who.name);
    if (strcmp(b->trust_domain, pki_trust_domain(trust)) != 0 ||
        !wf_id_from_bytes(b->subject.data, b->subject.len, &found.subject) ||
        !wf_id_equal(&found.subject, &who.id) ||
        !wf_id_from_bytes(b->service_id.data, b->service_id.len, &found.service) ||
        !wf_id_from_bytes(b->instance.data, b->instance.len, &found.instance) ||
        !wf_id_from_bytes(b->router_id.data, b->router_id.len, &found.router)) {
        err = wf_fail(why, WEFT_ECREDENTIAL, "the bind that %s signed is of another subject",
                      who.name);
        goto out;
    }
    if (now >= b->expiry) {
        err = wf_fail(why, WEFT_EEXPIRED, "the bind of %s expired at %s", who.name,
                      wf_time_text(b->expiry, text));
        goto out;
    }
    found.expiry = b->expiry;
    found.sequence = b->sequence;
    err = pki_trust_check_grant(trust, grant, &who, &found.service, WEFT__WIRE__ROLE__ROLE_BIND,
                                now, &found.grant, why);
    if (err != WEFT_OK)
        goto out;
    *out = found;
    *host = who;
out:
    wf_bind_body_free(b);
    return err;
}
