/*
 * Revocations: a row of bodies (u16 length before each), applied one after the
 * other. Whatever comes, the version only grows, an error changes nothing that
 * the version says, and what a set names afterwards stands at least that high.
 */
#include "tests/fuzz/fabric.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fabric fabric;

static void stands(const pki_floors *floors, const Weft__Wire__Floor *f, uint64_t now)
{
    wf_id id, service;
    pki_pin pin;
    if (f->key.len > 0) {
        memcpy(pin.b, f->key.data, sizeof pin.b);
        CHECK(pki_floors_is_cut(floors, PKI_CONTROLLER, NULL, &pin));
    }
    if (f->expires != 0 && f->expires <= now)
        return;
    if (f->router.len > 0) {
        id = wf_pb_get_id(f->router);
        CHECK(pki_floors_for_router(floors, &id) >= f->epoch);
    }
    if (f->identity.len > 0) {
        id = wf_pb_get_id(f->identity);
        memset(service.b, 1, sizeof service.b);
        if (f->service.len > 0)
            service = wf_pb_get_id(f->service);
        CHECK(pki_floors_for_grant(floors, &id, &service, f->role) >= f->epoch);
    }
}

static void apply(pki_floors *floors, const uint8_t *data, size_t size, uint64_t now)
{
    Weft__Wire__FloorsBody *body;
    uint8_t digest[32], held[32];
    bool changed;
    wf_why why;
    if (wf_floors_body_decode(data, size, &body, &why) != WEFT_OK)
        return;
    uint64_t version = pki_floors_version(floors);
    /* Deltas that fit: what a fuzzer can't find by itself. */
    pki_floors_digest(floors, held);
    bool fits = body->previous.len == 32 && body->previous.data[0] == 0xff;
    if (fits)
        memcpy(body->previous.data, held, sizeof held);
    pki_sha256(data, size, digest);
    weft_err err = pki_floors_apply(floors, body, digest, now, &changed);
    CHECK(changed == (pki_floors_version(floors) > version));
    CHECK(err == WEFT_OK || !changed);
    if (changed) {
        CHECK(pki_floors_version(floors) == body->version);
        for (size_t i = 0; i < body->n_floors; i++)
            stands(floors, body->floors[i], now);
    }
    wf_floors_body_free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (fabric.root == NULL)
        fabric_open(&fabric);
    wf_reader r;
    uint16_t len;
    wf_span body;
    uint64_t now = FABRIC_NOW;
    pki_floors *floors = pki_floors_new();
    CHECK(floors != NULL);
    wf_reader_init(&r, data, size);
    while (wf_get_u16(&r, &len) && wf_get_span(&r, len, &body)) {
        apply(floors, body.data, body.len, now);
        now += 700000;
    }
    pki_floors_free(floors);

    /* And the whole as one record that the policy key signed. */
    static pki_trust *trust;
    wf_buf signature;
    pki_pin pin;
    Weft__Wire__Signed record;
    bool changed;
    wf_why why;
    if (trust == NULL)
        trust = fabric_trust(&fabric);
    fabric_sign(fabric.policy, PKI_LABEL_FLOORS, data, size, &signature, &pin, &record);
    (void)pki_trust_apply_floors(trust, &record, FABRIC_NOW, &changed, &why);
    wf_buf_fini(&signature);
    return 0;
}
