/* The HELLO item and its checks, in the order of docs/protocol.md, "HELLO". */
#include "sdk/hello.h"
#include "proto/wire/item.h"
#include <assert.h>

weft_err wf_hello_put(const struct wf_hello *hello, wf_buf *out)
{
    assert(hello->grant != NULL);
    Weft__Wire__ItemHello item = WEFT__WIRE__ITEM_HELLO__INIT;
    /* protobuf-c's fields aren't const; packing only reads. */
    union {
        const Weft__Wire__Signed *in;
        Weft__Wire__Signed *out;
    } grant = {.in = hello->grant}, floors = {.in = hello->floors};

    item.service_id = wf_pb_id(&hello->service);
    item.session = wf_pb_id(&hello->session);
    item.role = hello->role;
    if (!wf_id_is_zero(&hello->instance))
        item.instance = wf_pb_id(&hello->instance);
    item.grant = grant.out;
    item.datagram = hello->datagram;
    if (floors.out != NULL) {
        item.n_floors = 1;
        item.floors = &floors.out;
    }

    static const uint8_t no_header[WF_ITEM_HEADER];
    size_t at = out->len;
    weft_err err = wf_buf_put(out, no_header, sizeof no_header);
    if (err != WEFT_OK)
        return err;
    err = wf_message_put(&item.base, out);
    size_t len = out->len - at - WF_ITEM_HEADER;
    if (err == WEFT_OK && len > WF_ITEM_CONTROL_MAX)
        err = WEFT_ELIMIT;
    if (err != WEFT_OK) {
        out->len = at;
        return err;
    }
    wf_item_put_header(out->data + at, WF_ITEM_HELLO, (uint32_t)len);
    return WEFT_OK;
}

weft_err wf_hello_check(pki_trust *trust, const Weft__Wire__ItemHello *item,
                        const struct wf_hello *expected, const struct pki_subject *peer,
                        uint64_t now, struct pki_grant *grant, bool *datagram, wf_why *why)
{
    struct pki_grant found;
    weft_err err;

    if (item->grant == NULL)
        return wf_fail(why, WEFT_EREFUSED, "the other side showed no grant");
    err = pki_trust_check_grant(trust, item->grant, peer, &expected->service, expected->role, now,
                                &found, why);
    if (err != WEFT_OK)
        return wf_wrap(why, err, "the %s's grant",
                       expected->role == WEFT__WIRE__ROLE__ROLE_BIND ? "host" : "dialer");

    wf_id service = wf_pb_get_id(item->service_id);
    if (!wf_id_equal(&service, &expected->service))
        return wf_fail(why, WEFT_ETAMPERED, "the other side is here for another service");
    wf_id session = wf_pb_get_id(item->session);
    if (!wf_id_equal(&session, &expected->session))
        return wf_fail(why, WEFT_ETAMPERED, "the other side is here for another session");
    if (item->role != expected->role)
        return wf_fail(why, WEFT_ETAMPERED, "the other side claims the wrong role");
    if (item->instance.len != 0) {
        wf_id instance = wf_pb_get_id(item->instance);
        if (!wf_id_is_zero(&expected->instance) && !wf_id_equal(&instance, &expected->instance))
            return wf_fail(why, WEFT_ETAMPERED, "the other side is here for another instance");
    } else if (expected->role == WEFT__WIRE__ROLE__ROLE_BIND) {
        return wf_fail(why, WEFT_EPROTO, "the host's HELLO names no instance");
    }

    *grant = found;
    *datagram = item->datagram != 0;
    return WEFT_OK;
}
