#include "tests/hostile/bad.h"
#include "pki/trust.h"
#include <string.h>

struct bad bad;

/* ---- what the router calls instead of the real ones: see CMakeLists.txt */

weft_err bad_send_control(wf_link *link, const Weft__Wire__Control *message);
weft_err bad_send_frame(wf_link *link, const uint8_t *bytes, size_t len);
weft_err bad_send_ack(wf_link *link, uint32_t label, const struct wf_ack *ack);
weft_err bad_send_close(wf_link *link, uint32_t label, weft_err code);
weft_err bad_check_bind(pki_trust *trust, const Weft__Wire__Signed *bind,
                        const Weft__Wire__Signed *grant, const pki_chain *chain, uint64_t now,
                        struct pki_bind *out, struct pki_subject *host, wf_why *why);
weft_err bad_check_grant(pki_trust *trust, const Weft__Wire__Signed *grant,
                         const struct pki_subject *who, const wf_id *service, Weft__Wire__Role role,
                         uint64_t now, struct pki_grant *out, wf_why *why);
weft_err bad_apply_floors(pki_trust *trust, const Weft__Wire__Signed *set, uint64_t now,
                          bool *changed, wf_why *why);

weft_err bad_send_control(wf_link *link, const Weft__Wire__Control *message)
{
    Weft__Wire__Control copy = *message;
    if (bad.control != NULL && bad.control(bad.arg, link, &copy))
        return WEFT_OK;
    return wf_link_send_control(link, &copy);
}

weft_err bad_send_frame(wf_link *link, const uint8_t *bytes, size_t len)
{
    uint8_t copy[WF_FRAME_HEADER + WF_FRAME_PAYLOAD_MAX];
    memcpy(copy, bytes, len);
    if (bad.frame != NULL && bad.frame(bad.arg, link, copy, len))
        return WEFT_OK;
    return wf_link_send_frame(link, copy, len);
}

weft_err bad_send_ack(wf_link *link, uint32_t label, const struct wf_ack *ack)
{
    struct wf_ack copy = *ack;
    if (bad.ack != NULL && bad.ack(bad.arg, link, label, &copy))
        return WEFT_OK;
    return wf_link_send_ack(link, label, &copy);
}

weft_err bad_send_close(wf_link *link, uint32_t label, weft_err code)
{
    if (bad.close != NULL && bad.close(bad.arg, link, label, &code))
        return WEFT_OK;
    return wf_link_send_close(link, label, code);
}

static void read_grant(const Weft__Wire__Signed *grant, struct pki_grant *out)
{
    Weft__Wire__GrantBody *body;
    memset(out, 0, sizeof *out);
    if (grant == NULL ||
        wf_grant_body_decode(grant->body.data, grant->body.len, &body, NULL) != WEFT_OK)
        return;
    out->service = wf_pb_get_id(body->service_id);
    out->subject = wf_pb_get_id(body->subject);
    out->role = body->role;
    out->epoch = UINT64_MAX;
    out->expiry = UINT64_MAX;
    wf_grant_body_free(body);
}

weft_err bad_check_bind(pki_trust *trust, const Weft__Wire__Signed *bind,
                        const Weft__Wire__Signed *grant, const pki_chain *chain, uint64_t now,
                        struct pki_bind *out, struct pki_subject *host, wf_why *why)
{
    Weft__Wire__BindBody *body;
    if (!bad.believes)
        return pki_trust_check_bind(trust, bind, grant, chain, now, out, host, why);
    weft_err err = wf_bind_body_decode(bind->body.data, bind->body.len, &body, why);
    if (err != WEFT_OK)
        return err;
    memset(out, 0, sizeof *out);
    memset(host, 0, sizeof *host);
    out->service = wf_pb_get_id(body->service_id);
    out->instance = wf_pb_get_id(body->instance);
    out->router = wf_pb_get_id(body->router_id);
    out->subject = host->id = wf_pb_get_id(body->subject);
    out->expiry = body->expiry;
    out->sequence = body->sequence;
    host->kind = PKI_IDENTITY;
    read_grant(grant, &out->grant);
    out->grant.service = out->service;
    wf_bind_body_free(body);
    return WEFT_OK;
}

weft_err bad_check_grant(pki_trust *trust, const Weft__Wire__Signed *grant,
                         const struct pki_subject *who, const wf_id *service, Weft__Wire__Role role,
                         uint64_t now, struct pki_grant *out, wf_why *why)
{
    if (!bad.believes)
        return pki_trust_check_grant(trust, grant, who, service, role, now, out, why);
    read_grant(grant, out);
    if (service != NULL)
        out->service = *service;
    return WEFT_OK;
}

weft_err bad_apply_floors(pki_trust *trust, const Weft__Wire__Signed *set, uint64_t now,
                          bool *changed, wf_why *why)
{
    if (!bad.is_deaf)
        return pki_trust_apply_floors(trust, set, now, changed, why);
    *changed = false;
    return WEFT_OK;
}
