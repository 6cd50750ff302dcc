/*
 * Grants, member records and binds. The first byte chooses: 0, a whole signed
 * record, offered as each; 1 to 3, a body of one of the three, signed as it
 * has to be. What is believed must be what was asked for.
 */
#include "tests/fuzz/fabric.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fabric fabric;
static pki_trust *trust;
static pki_ca *identities;
static pki_key *host_key;
static pki_chain *host_chain;
static struct pki_subject host;

static void open_all(void)
{
    wf_buf spki;
    wf_why why;
    fabric_open(&fabric);
    trust = fabric_trust(&fabric);
    CHECK(pki_ca_new_intermediate(fabric.root, PKI_IDENTITY, FABRIC_NOW, WF_LEAF_LIFE_MS,
                                  &identities, &why) == WEFT_OK);
    CHECK(pki_key_new(PKI_KEY_ED25519, &host_key, NULL) == WEFT_OK);
    wf_buf_init(&spki, 256);
    CHECK(pki_key_put_spki(host_key, &spki) == WEFT_OK);
    struct pki_leaf leaf = {.kind = PKI_IDENTITY,
                            .domain = FABRIC_DOMAIN,
                            .name = "host",
                            .spki = wf_span_of(spki.data, spki.len),
                            .not_before = FABRIC_NOW,
                            .not_after = FABRIC_NOW + WF_LEAF_LIFE_MS / 2};
    memset(leaf.id.b, 0x11, sizeof leaf.id.b);
    CHECK(pki_ca_issue(identities, &leaf, &host_chain, &why) == WEFT_OK);
    CHECK(pki_trust_check_chain(trust, host_chain, PKI_IDENTITY, PKI_CLIENT, false, FABRIC_NOW,
                                &host, &why) == WEFT_OK);
    /* What the seeds name. */
    memset(host.pin.b, 0x22, sizeof host.pin.b);
    wf_buf_fini(&spki);
}

static void offer_grant(const Weft__Wire__Signed *record)
{
    struct pki_grant g;
    wf_id service;
    wf_why why;
    memset(service.b, 0x33, sizeof service.b);
    for (int role = 0; role < 3; role++) {
        if (pki_trust_check_grant(trust, record, &host, role == 0 ? NULL : &service,
                                  (Weft__Wire__Role)role, FABRIC_NOW, &g, &why) != WEFT_OK)
            continue;
        CHECK(role != 0 && (int)g.role == role && wf_id_equal(&g.service, &service));
        CHECK(wf_id_equal(&g.subject, &host.id) && g.expiry > FABRIC_NOW);
        CHECK(g.not_before <= FABRIC_NOW + WF_CLOCK_TOLERANCE_MS);
        CHECK(g.terms.window_count <= WF_WINDOWS_MAX && g.terms.source_count <= WF_SOURCES_MAX);
        CHECK(pki_terms_is_open(&g.terms, FABRIC_NOW));
        uint64_t closes = pki_terms_closes(&g.terms, FABRIC_NOW);
        CHECK(closes > FABRIC_NOW);
        CHECK(closes == UINT64_MAX || !pki_terms_is_open(&g.terms, closes));
        for (size_t i = 0; i < g.terms.source_count; i++) {
            const struct pki_prefix *p = &g.terms.sources[i];
            char text[PKI_PREFIX_TEXT];
            struct pki_prefix again;
            CHECK(pki_terms_allows(&g.terms, p->address, p->len));
            CHECK(pki_prefix_parse(pki_prefix_text(p, text), &again, NULL) == WEFT_OK);
            CHECK(memcmp(&again, p, sizeof again) == 0);
        }
        CHECK(wf_name_check(g.service_name, strlen(g.service_name), "service", NULL) == WEFT_OK);
    }
}

static void offer_member(const Weft__Wire__Signed *record)
{
    struct pki_member m;
    wf_why why;
    if (pki_trust_check_member(trust, record, FABRIC_NOW, &m, &why) != WEFT_OK)
        return;
    CHECK(!wf_id_is_zero(&m.router) && m.pin_count >= 1 && m.pin_count <= WF_PINS_MAX);
    CHECK(m.address_count <= WF_ADDRESSES_MAX && m.expiry > FABRIC_NOW);
}

static void offer_bind(const Weft__Wire__Signed *record)
{
    struct pki_bind b;
    struct pki_subject who;
    wf_why why;
    /* With itself as the grant: the bind is judged first. */
    CHECK(pki_trust_check_bind(trust, record, record, host_chain, FABRIC_NOW, &b, &who, &why) !=
          WEFT_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (trust == NULL)
        open_all();
    if (size == 0)
        return 0;
    if (data[0] == 0) {
        Weft__Wire__Signed *record;
        wf_why why;
        if (wf_signed_decode(data + 1, size - 1, &record, &why) != WEFT_OK)
            return 0;
        offer_grant(record);
        offer_member(record);
        offer_bind(record);
        wf_signed_free(record);
        return 0;
    }
    static const char *const labels[] = {PKI_LABEL_GRANT, PKI_LABEL_MEMBER, PKI_LABEL_BIND};
    static void (*const offers[])(const Weft__Wire__Signed *) = {offer_grant, offer_member,
                                                                 offer_bind};
    size_t which = (size_t)(data[0] - 1) % 3;
    wf_buf signature;
    pki_pin pin;
    Weft__Wire__Signed record;
    fabric_sign(which == 2 ? host_key : fabric.policy, labels[which], data + 1, size - 1,
                &signature, &pin, &record);
    offers[which](&record);
    wf_buf_fini(&signature);
    return 0;
}
