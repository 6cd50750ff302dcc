/* Which certificates are believed: faultless ones, and each single fault that must be refused. */
#include "pki/trust_inside.h"
#include "tests/helpers/authority.h"
#include "tests/helpers/test.h"
#include "tests/pki/forge.h"
#include <openssl/ec.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS 86400000ull
#define NOW 1800000000000ull
#define ANY_KIND (PKI_IDENTITY | PKI_ROUTER | PKI_CONTROLLER)

struct world {
    struct authority a;
    struct authority_node ci, router, controller;
    pki_trust *trust;
    pki_key *key; /* of forged leaves */
    pki_key *other_key;
    wf_id id;
    char uri[PKI_SPIFFE_MAX];
};

static int open_world(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    wf_why why;
    authority_init(&w->a, "test.weft", NOW - 10 * DAY_MS);
    w->a.now = NOW;
    authority_issue(&w->a, PKI_IDENTITY, "ci", &w->ci);
    authority_issue(&w->a, PKI_ROUTER, "r1", &w->router);
    authority_issue(&w->a, PKI_CONTROLLER, "c1", &w->controller);
    w->trust = authority_trust(&w->a);
    assert_int_equal(pki_key_new(PKI_KEY_P256, &w->key, &why), WEFT_OK);
    assert_int_equal(pki_key_new(PKI_KEY_P256, &w->other_key, &why), WEFT_OK);
    w->id = wf_id_random();
    pki_spiffe_text("test.weft", PKI_IDENTITY, &w->id, w->uri);
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;
    pki_key_free(w->key);
    pki_key_free(w->other_key);
    pki_trust_unref(w->trust);
    authority_node_fini(&w->ci);
    authority_node_fini(&w->router);
    authority_node_fini(&w->controller);
    authority_fini(&w->a);
    free(w);
    return 0;
}

/* ---- asking */

static weft_err check_at(struct world *w, const pki_chain *chain, enum pki_side side, uint64_t now)
{
    struct pki_subject who;
    wf_why why = {.text = ""};
    weft_err err = pki_trust_check_chain(w->trust, chain, ANY_KIND, side, false, now, &who, &why);
    if (err != WEFT_OK)
        assert_true(strlen(why.text) > 0);
    return err;
}

/* What parsing and trust say together: some faults don't come as far as trust. */
static weft_err check_x509s(struct world *w, X509 *leaf, X509 *const *rest, size_t count,
                            enum pki_side side)
{
    pki_chain *chain = NULL;
    STACK_OF(X509) *stack = sk_X509_new_null();
    wf_why why = {.text = ""};
    for (size_t i = 0; i < count; i++)
        assert_true(sk_X509_push(stack, rest[i]) > 0);
    weft_err err = pki_chain_from_x509s(leaf, stack, &chain, &why);
    if (err == WEFT_OK)
        err = check_at(w, chain, side, NOW);

    /* The door of the handshake says the same, and names an alert unless all is well. */
    struct pki_subject who;
    int x509_error = -1;
    assert_true(sk_X509_unshift(stack, leaf) > 0);
    assert_int_equal(
        pki_trust_check_x509s(w->trust, stack, ANY_KIND, side, false, NOW, &who, &x509_error, &why),
        err);
    assert_int_equal(x509_error == X509_V_OK, err == WEFT_OK);
    pki_chain_free(chain);
    sk_X509_free(stack);
    return err;
}

static X509 *identities(struct world *w)
{
    return pki_chain_x509(pki_ca_chain(w->a.identities), 0);
}

static struct forge leaf_of(struct world *w)
{
    return forge_leaf(pki_ca_key(w->a.identities), identities(w), pki_key_evp(w->key), w->uri, NOW);
}

/* A forged leaf behind the true intermediate for identities. */
static weft_err check_leaf(struct world *w, const struct forge *f)
{
    X509 *leaf = forge_make(f), *rest[] = {identities(w)};
    weft_err err = check_x509s(w, leaf, rest, 1, PKI_CLIENT);
    X509_free(leaf);
    return err;
}

/* ---- what is believed */

static void true_certificates_of_each_kind_are_believed_on_both_sides(void **state)
{
    struct world *w = *state;
    const struct authority_node *nodes[] = {&w->ci, &w->router, &w->controller};
    for (size_t i = 0; i < 3; i++) {
        for (int side = PKI_CLIENT; side <= PKI_SERVER; side++) {
            struct pki_subject who;
            wf_why why;
            assert_int_equal(pki_trust_check_chain(w->trust, nodes[i]->chain, nodes[i]->kind,
                                                   (enum pki_side)side, false, NOW, &who, &why),
                             WEFT_OK);
            assert_int_equal(who.kind, nodes[i]->kind);
            assert_true(wf_id_equal(&who.id, &nodes[i]->id));
            assert_string_equal(who.name, nodes[i]->name);
            assert_string_equal(who.domain, "test.weft");
            assert_true(pki_pin_equal(&who.pin, &nodes[i]->pin));
            assert_int_equal(who.not_after, NOW + WF_LEAF_LIFE_MS);
            /* Any other kind is refused, although remembered now. */
            assert_int_equal(pki_trust_check_chain(w->trust, nodes[i]->chain,
                                                   ANY_KIND & ~(unsigned)nodes[i]->kind,
                                                   (enum pki_side)side, false, NOW, &who, &why),
                             WEFT_ECREDENTIAL);
        }
    }
}

static void a_faultless_forged_leaf_is_believed(void **state)
{
    struct forge f = leaf_of(*state); /* so that the faults below are what is refused */
    assert_int_equal(check_leaf(*state, &f), WEFT_OK);
}

static void the_root_may_be_shown_too(void **state)
{
    struct world *w = *state;
    X509 *rest[] = {identities(w), pki_chain_x509(pki_ca_chain(w->a.root), 0)};
    struct forge f = leaf_of(w);
    X509 *leaf = forge_make(&f);
    assert_int_equal(check_x509s(w, leaf, rest, 2, PKI_CLIENT), WEFT_OK);
    X509_free(leaf);
}

/* ---- names */

static void a_subject_name_that_is_not_exactly_ours_is_refused(void **state)
{
    struct world *w = *state;
    char text[WF_ID_TEXT], upper[WF_ID_TEXT], buf[12][256];
    wf_id_text(&w->id, text);
    memcpy(upper, text, sizeof upper);
    upper[0] = 'A';
    snprintf(buf[0], 256, "spiffe://other.weft/identity/%s", text);
    snprintf(buf[1], 256, "spiffe://test.weft/router/%s", text); /* not what the use says */
    snprintf(buf[2], 256, "spiffe://test.weft/controller/%s", text);
    snprintf(buf[3], 256, "spiffe://test.weft/identity/%s/", text);
    snprintf(buf[4], 256, "spiffe://test.weft/identity/%s?x", text);
    snprintf(buf[5], 256, "spiffe://test.weft/identity/%s", upper);
    snprintf(buf[6], 256, "spiffe://test.weft//identity/%s", text);
    snprintf(buf[7], 256, "SPIFFE://test.weft/identity/%s", text);
    snprintf(buf[8], 256, "spiffe://TEST.weft/identity/%s", text);
    snprintf(buf[9], 256, "spiffe://test.weft/identity/%.31s", text);
    snprintf(buf[10], 256, "spiffe://test.weft/identity/%032d", 0);
    snprintf(buf[11], 256, "https://test.weft/identity/%s", text);
    for (size_t i = 0; i < 12; i++) {
        struct forge f = leaf_of(w);
        f.uri = buf[i];
        assert_int_equal(check_leaf(w, &f), WEFT_ECREDENTIAL);
    }
}

static void a_nul_in_the_name_cuts_nothing_off(void **state)
{
    struct world *w = *state;
    char uri[PKI_SPIFFE_MAX + 16];
    size_t len = strlen(w->uri);
    memcpy(uri, w->uri, len);
    memcpy(uri + len, "\0.evil", 6);
    struct forge f = leaf_of(w);
    f.uri = uri;
    f.uri_len = len + 6;
    assert_int_equal(check_leaf(w, &f), WEFT_ECREDENTIAL);
    f.uri_len = len + 1;
    assert_int_equal(check_leaf(w, &f), WEFT_ECREDENTIAL);
    f.uri_len = len;
    assert_int_equal(check_leaf(w, &f), WEFT_OK);
}

static void more_or_less_than_one_subject_name_is_refused(void **state)
{
    struct world *w = *state;
    struct forge f = leaf_of(w);
    f.uri2 = "spiffe://test.weft/identity/0123456789abcdef0123456789abcdef";
    assert_int_equal(check_leaf(w, &f), WEFT_ECREDENTIAL);
    f.two_extensions = true;
    assert_int_equal(check_leaf(w, &f), WEFT_ECREDENTIAL);
    f = leaf_of(w);
    f.dns = "localhost";
    assert_int_equal(check_leaf(w, &f), WEFT_ECREDENTIAL);
    f = leaf_of(w);
    f.uri = NULL;
    assert_int_equal(check_leaf(w, &f), WEFT_ECREDENTIAL);
}

static void a_common_name_that_is_no_name_is_refused(void **state)
{
    static const char *const bad[] = {"a b", "-x", "x\n", "\xc3\xa4", "a/b"};
    struct forge f = leaf_of(*state);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        f.cn = bad[i];
        assert_int_equal(check_leaf(*state, &f), WEFT_ECREDENTIAL);
    }
    f.cn = NULL;
    assert_int_equal(check_leaf(*state, &f), WEFT_ECREDENTIAL);
    f.cn = "one";
    f.cn2 = "two";
    assert_int_equal(check_leaf(*state, &f), WEFT_ECREDENTIAL);
}

/* ---- use */

static void a_leaf_without_the_use_it_needs_is_refused(void **state)
{
    static const char *const bad[] = {
        "serverAuth," PKI_ARC_TEXT ".1",                               /* as a client */
        "clientAuth,serverAuth",                                       /* of no kind */
        "clientAuth,serverAuth," PKI_ARC_TEXT ".2",                    /* of another kind */
        "clientAuth,serverAuth," PKI_ARC_TEXT ".1," PKI_ARC_TEXT ".2", /* of two */
        "clientAuth,serverAuth," PKI_ARC_TEXT ".9",
        PKI_ARC_TEXT ".1",
        "anyExtendedKeyUsage," PKI_ARC_TEXT ".1",
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct forge f = leaf_of(w);
        f.extended = bad[i];
        assert_int_equal(check_leaf(w, &f), WEFT_ECREDENTIAL);
    }
    struct forge f = leaf_of(w);
    f.extended = NULL;
    assert_int_equal(check_leaf(w, &f), WEFT_ECREDENTIAL);

    f = leaf_of(w);
    f.extended = "clientAuth," PKI_ARC_TEXT ".1";
    X509 *leaf = forge_make(&f), *rest[] = {identities(w)};
    assert_int_equal(check_x509s(w, leaf, rest, 1, PKI_CLIENT), WEFT_OK);
    /* Believed as a client and remembered so: still no server. */
    assert_int_equal(check_x509s(w, leaf, rest, 1, PKI_SERVER), WEFT_ECREDENTIAL);
    X509_free(leaf);
}

static void a_leaf_that_can_not_sign_is_refused(void **state)
{
    struct forge f = leaf_of(*state);
    f.usage = "critical,keyEncipherment";
    assert_int_equal(check_leaf(*state, &f), WEFT_ECREDENTIAL);
}

static void an_unknown_critical_extension_is_refused(void **state)
{
    struct forge f = leaf_of(*state);
    f.unknown_critical = true;
    assert_int_equal(check_leaf(*state, &f), WEFT_ECREDENTIAL);
}

static void a_leaf_that_says_it_is_an_authority_is_refused(void **state)
{
    struct forge f = leaf_of(*state);
    f.constraints = "critical,CA:TRUE";
    f.usage = "critical,digitalSignature,keyCertSign";
    assert_int_equal(check_leaf(*state, &f), WEFT_ECREDENTIAL);
}

static void a_leaf_without_key_identifiers_is_refused(void **state)
{
    struct forge f = leaf_of(*state);
    f.no_key_ids = true; /* X509_STRICT */
    assert_int_equal(check_leaf(*state, &f), WEFT_ECREDENTIAL);
}

static void keys_and_digests_that_are_too_weak_or_not_ours_are_refused(void **state)
{
    struct world *w = *state;
    EVP_PKEY *keys[] = {EVP_RSA_gen(2048), EVP_EC_gen("secp256k1"), EVP_EC_gen("P-521"),
                        EVP_EC_gen("P-224"), EVP_PKEY_Q_keygen(NULL, NULL, "ED448")};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct forge f = leaf_of(w);
        assert_non_null(keys[i]);
        f.key = keys[i];
        assert_int_equal(check_leaf(w, &f), WEFT_ECREDENTIAL);
        EVP_PKEY_free(keys[i]);
    }
    struct forge f = leaf_of(w);
    f.digest = EVP_sha1();
    assert_int_equal(check_leaf(w, &f), WEFT_ECREDENTIAL);
}

/* ---- issuers */

/* A faultless leaf under a forged intermediate under our true root. */
static weft_err check_under(struct world *w, struct forge authority)
{
    X509 *ca = forge_make(&authority);
    struct forge f = forge_leaf(w->other_key, ca, pki_key_evp(w->key), w->uri, NOW);
    X509 *leaf = forge_make(&f);
    weft_err err = check_x509s(w, leaf, &ca, 1, PKI_CLIENT);
    X509_free(leaf);
    X509_free(ca);
    return err;
}

static struct forge authority_of(struct world *w, const char *extended)
{
    return forge_authority(pki_ca_key(w->a.root), pki_chain_x509(pki_ca_chain(w->a.root), 0),
                           pki_key_evp(w->other_key), "forged intermediate", extended, NOW);
}

static void a_faultless_forged_intermediate_is_believed(void **state)
{
    struct world *w = *state;
    assert_int_equal(check_under(w, authority_of(w, FORGE_IDENTITY_USE)), WEFT_OK);
}

static void an_intermediate_that_is_no_authority_for_the_kind_is_refused(void **state)
{
    struct world *w = *state;
    static const char *const uses[] = {FORGE_ROUTER_USE, "clientAuth,serverAuth",
                                       "serverAuth," PKI_ARC_TEXT ".1",
                                       FORGE_IDENTITY_USE "," PKI_ARC_TEXT ".2"};
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
        assert_int_equal(check_under(w, authority_of(w, uses[i])), WEFT_ECREDENTIAL);
    assert_int_equal(check_under(w, authority_of(w, NULL)), WEFT_ECREDENTIAL);

    struct forge f = authority_of(w, FORGE_IDENTITY_USE);
    f.constraints = "critical,CA:FALSE";
    assert_int_equal(check_under(w, f), WEFT_ECREDENTIAL);
    f.constraints = NULL;
    assert_int_equal(check_under(w, f), WEFT_ECREDENTIAL);
    f = authority_of(w, FORGE_IDENTITY_USE);
    f.usage = "critical,digitalSignature";
    assert_int_equal(check_under(w, f), WEFT_ECREDENTIAL);
}

static void a_leaf_is_no_issuer(void **state)
{
    struct world *w = *state;
    X509 *rest[] = {pki_chain_x509(w->ci.chain, 0), identities(w)};
    struct forge f = forge_leaf(w->ci.key, rest[0], pki_key_evp(w->key), w->uri, NOW);
    X509 *leaf = forge_make(&f);
    assert_int_equal(check_x509s(w, leaf, rest, 2, PKI_CLIENT), WEFT_ECREDENTIAL);
    X509_free(leaf);
}

static void a_router_authority_issues_no_identity(void **state)
{
    struct world *w = *state;
    X509 *routers = pki_chain_x509(pki_ca_chain(w->a.routers), 0);
    struct forge f =
        forge_leaf(pki_ca_key(w->a.routers), routers, pki_key_evp(w->key), w->uri, NOW);
    X509 *leaf = forge_make(&f);
    assert_int_equal(check_x509s(w, leaf, &routers, 1, PKI_CLIENT), WEFT_ECREDENTIAL);
    X509_free(leaf);
}

static void a_self_signed_certificate_is_refused(void **state)
{
    struct world *w = *state;
    struct forge f = leaf_of(w);
    f.issuer = NULL;
    f.issuer_key = w->key;
    X509 *leaf = forge_make(&f), *rest[] = {identities(w)};
    assert_int_equal(check_x509s(w, leaf, NULL, 0, PKI_CLIENT), WEFT_ECREDENTIAL);
    assert_int_equal(check_x509s(w, leaf, rest, 1, PKI_CLIENT), WEFT_ECREDENTIAL);
    X509_free(leaf);
}

static void an_authority_of_the_same_names_with_other_keys_is_refused(void **state)
{
    struct world *w = *state;
    struct authority b;
    struct authority_node ci;
    wf_why why;
    struct pki_subject who;
    authority_init(&b, "test.weft", NOW);
    authority_issue(&b, PKI_IDENTITY, "ci", &ci);
    assert_int_equal(
        pki_trust_check_chain(w->trust, ci.chain, PKI_IDENTITY, PKI_CLIENT, false, NOW, &who, &why),
        WEFT_ECREDENTIAL);
    /* Also with its own root in the chain. */
    X509 *rest[] = {pki_chain_x509(ci.chain, 1), pki_chain_x509(pki_ca_chain(b.root), 0)};
    assert_int_equal(check_x509s(w, pki_chain_x509(ci.chain, 0), rest, 2, PKI_CLIENT),
                     WEFT_ECREDENTIAL);
    authority_node_fini(&ci);
    authority_fini(&b);
}

static void a_withheld_intermediate_and_a_strange_extra_are_refused(void **state)
{
    struct world *w = *state;
    X509 *leaf = pki_chain_x509(w->ci.chain, 0);
    X509 *extra[] = {identities(w), pki_chain_x509(pki_ca_chain(w->a.routers), 0)};
    assert_int_equal(check_x509s(w, leaf, NULL, 0, PKI_CLIENT), WEFT_ECREDENTIAL);
    assert_int_equal(check_x509s(w, leaf, extra, 2, PKI_CLIENT), WEFT_ECREDENTIAL);
    /* The leaf alone decides: another's true leaf behind a stranger's helps nobody. */
    struct forge f = leaf_of(w);
    f.issuer_key = w->other_key;
    X509 *stranger = forge_make(&f), *rest[] = {leaf, identities(w)};
    assert_int_equal(check_x509s(w, stranger, rest, 2, PKI_CLIENT), WEFT_ECREDENTIAL);
    X509_free(stranger);
}

static void a_chain_too_deep_or_too_large_is_refused(void **state)
{
    struct world *w = *state;
    enum { DEPTH = 5 };
    X509 *cas[DEPTH], *above = pki_chain_x509(pki_ca_chain(w->a.root), 0);
    const pki_key *key = pki_ca_key(w->a.root);
    for (int i = 0; i < DEPTH; i++) { /* cas[DEPTH - 1] is the highest */
        char name[16];
        snprintf(name, sizeof name, "level %d", i);
        struct forge f =
            forge_authority(key, above, pki_key_evp(w->other_key), name, FORGE_IDENTITY_USE, NOW);
        cas[DEPTH - 1 - i] = above = forge_make(&f);
        key = w->other_key;
    }
    for (size_t count = 1; count <= DEPTH; count++) {
        X509 *lowest = cas[DEPTH - count];
        struct forge f = forge_leaf(w->other_key, lowest, pki_key_evp(w->key), w->uri, NOW);
        X509 *leaf = forge_make(&f);
        weft_err err = check_x509s(w, leaf, cas + DEPTH - count, count, PKI_CLIENT);
        assert_int_equal(err, count + 1 <= WF_CHAIN_DEPTH ? WEFT_OK : WEFT_ELIMIT);
        X509_free(leaf);
    }
    for (int i = 0; i < DEPTH; i++)
        X509_free(cas[i]);

    char comment[WF_CERT_MAX + 1];
    memset(comment, 'x', sizeof comment - 1);
    comment[sizeof comment - 1] = '\0';
    struct forge f = leaf_of(w);
    f.comment = comment;
    assert_int_equal(check_leaf(w, &f), WEFT_ELIMIT);
    comment[2500] = '\0';
    assert_int_equal(check_leaf(w, &f), WEFT_OK);
}

/* ---- time */

static void validity_counts_with_tolerance_at_the_begin_only(void **state)
{
    struct world *w = *state;
    authority_renew(&w->a, &w->ci, NOW, NOW + DAY_MS);
    const pki_chain *chain = w->ci.chain;
    for (int again = 0; again < 2; again++) { /* first verified, then remembered */
        assert_int_equal(check_at(w, chain, PKI_CLIENT, NOW - WF_CLOCK_TOLERANCE_MS), WEFT_OK);
        assert_int_equal(check_at(w, chain, PKI_CLIENT, NOW - WF_CLOCK_TOLERANCE_MS - 1),
                         WEFT_ECREDENTIAL);
        assert_int_equal(check_at(w, chain, PKI_CLIENT, NOW + DAY_MS), WEFT_OK);
        assert_int_equal(check_at(w, chain, PKI_CLIENT, NOW + DAY_MS + 1), WEFT_EEXPIRED);
    }
}

static void an_expired_authority_is_refused_although_the_leaf_is_young(void **state)
{
    struct world *w = *state;
    struct forge f = authority_of(w, FORGE_IDENTITY_USE);
    f.not_before = NOW - 3 * DAY_MS;
    f.not_after = NOW - DAY_MS;
    assert_int_equal(check_under(w, f), WEFT_EEXPIRED);
    f.not_before = NOW + DAY_MS;
    f.not_after = NOW + 2 * DAY_MS;
    assert_int_equal(check_under(w, f), WEFT_ECREDENTIAL);
}

static void grace_forgives_an_expired_leaf_and_no_expired_authority(void **state)
{
    struct world *w = *state;
    struct pki_subject who;
    wf_why why;
    authority_renew(&w->a, &w->ci, NOW - DAY_MS, NOW);
    static const struct {
        uint64_t after;
        weft_err err;
    } rows[] = {{1, WEFT_OK}, {WF_RENEW_GRACE_MS, WEFT_OK}, {WF_RENEW_GRACE_MS + 1, WEFT_EEXPIRED}};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pki_trust_check_chain(w->trust, w->ci.chain, PKI_IDENTITY, PKI_CLIENT,
                                               true, NOW + rows[i].after, &who, &why),
                         rows[i].err);
    assert_int_equal(pki_trust_check_again(w->trust, &who, NOW + 1, &why), WEFT_EEXPIRED);

    struct forge f = authority_of(w, FORGE_IDENTITY_USE);
    f.not_after = NOW - 1000;
    X509 *ca = forge_make(&f);
    struct forge g = forge_leaf(w->other_key, ca, pki_key_evp(w->key), w->uri, NOW);
    X509 *leaf = forge_make(&g);
    STACK_OF(X509) *stack = sk_X509_new_null();
    pki_chain *chain;
    sk_X509_push(stack, ca);
    assert_int_equal(pki_chain_from_x509s(leaf, stack, &chain, &why), WEFT_OK);
    assert_int_equal(
        pki_trust_check_chain(w->trust, chain, PKI_IDENTITY, PKI_CLIENT, true, NOW, &who, &why),
        WEFT_EEXPIRED);
    pki_chain_free(chain);
    sk_X509_free(stack);
    X509_free(leaf);
    X509_free(ca);
}

/* ---- revocation */

static void revoke(struct world *w, uint64_t version, const wf_id *identity, const pki_pin *key,
                   bool is_cut)
{
    Weft__Wire__Floor floor = WEFT__WIRE__FLOOR__INIT, *list[1] = {&floor};
    bool changed;
    wf_why why;
    if (identity != NULL)
        floor.identity = wf_pb_id(identity);
    if (key != NULL)
        floor.key = wf_pb_bytes(key->b, sizeof key->b);
    floor.epoch = NOW;
    floor.cut = is_cut;
    Weft__Wire__Signed *set = authority_floors(&w->a, version, NULL, list, 1);
    assert_int_equal(pki_trust_apply_floors(w->trust, set, NOW, &changed, &why), WEFT_OK);
    assert_true(changed);
    wf_signed_free(set);
}

static void a_revoked_identity_is_refused_and_an_enabled_one_is_believed_again(void **state)
{
    struct world *w = *state;
    struct pki_subject who;
    wf_why why;
    assert_int_equal(pki_trust_check_chain(w->trust, w->ci.chain, PKI_IDENTITY, PKI_CLIENT, false,
                                           NOW, &who, &why),
                     WEFT_OK);
    revoke(w, 1, &w->ci.id, NULL, true);
    assert_int_equal(check_at(w, w->ci.chain, PKI_CLIENT, NOW), WEFT_EREVOKED);
    assert_int_equal(pki_trust_check_again(w->trust, &who, NOW, &why), WEFT_EREVOKED);
    authority_renew(&w->a, &w->ci, NOW, NOW + DAY_MS); /* another certificate helps nothing */
    assert_int_equal(check_at(w, w->ci.chain, PKI_CLIENT, NOW), WEFT_EREVOKED);
    assert_int_equal(check_at(w, w->router.chain, PKI_CLIENT, NOW), WEFT_OK);
    revoke(w, 2, &w->ci.id, NULL, false);
    assert_int_equal(check_at(w, w->ci.chain, PKI_CLIENT, NOW), WEFT_OK);
}

static void a_revoked_key_is_refused_under_every_name(void **state)
{
    struct world *w = *state;
    struct forge f = leaf_of(w);
    f.key = pki_key_evp(w->ci.key); /* another identity, the same key */
    assert_int_equal(check_leaf(w, &f), WEFT_OK);
    revoke(w, 1, NULL, &w->ci.pin, true);
    assert_int_equal(check_leaf(w, &f), WEFT_EREVOKED);
    assert_int_equal(check_at(w, w->ci.chain, PKI_CLIENT, NOW), WEFT_EREVOKED);
}

static void the_other_form_of_a_signature_revives_no_revoked_certificate(void **state)
{
    struct world *w = *state;
    X509 *leaf = pki_chain_x509(w->ci.chain, 0), *rest[] = {identities(w)};
    X509 *flipped = forge_flip_s(leaf);
    assert_int_not_equal(X509_cmp(leaf, flipped), 0); /* another fingerprint, as valid */
    assert_int_equal(check_x509s(w, flipped, rest, 1, PKI_CLIENT), WEFT_OK);
    revoke(w, 1, &w->ci.id, NULL, true);
    assert_int_equal(check_x509s(w, leaf, rest, 1, PKI_CLIENT), WEFT_EREVOKED);
    assert_int_equal(check_x509s(w, flipped, rest, 1, PKI_CLIENT), WEFT_EREVOKED);
    X509_free(flipped);
}

static void a_bundle_without_the_old_root_forgets_what_it_verified(void **state)
{
    struct world *w = *state;
    struct authority b;
    bool changed;
    wf_why why;
    wf_buf next;
    assert_int_equal(check_at(w, w->ci.chain, PKI_CLIENT, NOW), WEFT_OK);
    /* Version 2 holds the root of b alone, and the root of a signs it: a change of root. */
    authority_init(&b, "test.weft", NOW);
    pki_ca *old_root = b.root;
    wf_span root = pki_chain_der(pki_ca_chain(old_root), 0);
    wf_buf spki;
    wf_buf_init(&spki, 256);
    assert_int_equal(pki_key_put_spki(b.policy, &spki), WEFT_OK);
    Weft__Wire__BundleBody body;
    ProtobufCBinaryData roots[] = {wf_pb_bytes(root.data, root.len)};
    ProtobufCBinaryData keys[] = {wf_pb_bytes(spki.data, spki.len)};
    char domain[] = "test.weft";
    weft__wire__bundle_body__init(&body);
    body.trust_domain = domain;
    body.version = 2;
    body.roots = roots;
    body.n_roots = 1;
    body.policy_keys = keys;
    body.n_policy_keys = 1;
    uint8_t previous[32];
    pki_trust_digest(w->trust, previous);
    body.previous = wf_pb_bytes(previous, sizeof previous);
    wf_buf_init(&next, WF_BUNDLE_MAX);
    assert_int_equal(pki_record_seal(pki_ca_key(w->a.root), PKI_LABEL_BUNDLE, &body.base, &next),
                     WEFT_OK);
    assert_int_equal(pki_trust_update(w->trust, wf_span_of(next.data, next.len), &changed, &why),
                     WEFT_OK);
    assert_true(changed);
    assert_int_equal(check_at(w, w->ci.chain, PKI_CLIENT, NOW), WEFT_ECREDENTIAL);
    wf_buf_fini(&next);
    wf_buf_fini(&spki);
    authority_fini(&b);
}

static void more_chains_than_are_remembered_are_all_judged(void **state)
{
    struct world *w = *state;
    pki_seen *seen = pki_seen_new(4, 1);
    uint8_t key[32] = {0}, value, out;
    assert_non_null(seen);
    for (unsigned i = 0; i < 10; i++) {
        key[0] = (uint8_t)i;
        value = (uint8_t)(i * 3);
        pki_seen_add(seen, key, &value);
        key[0] = 0;
        assert_true(pki_seen_find(seen, key, &out)); /* what is used stays */
        assert_int_equal(out, 0);
    }
    key[0] = 6;
    assert_false(pki_seen_find(seen, key, &out));
    key[0] = 9;
    assert_true(pki_seen_find(seen, key, &out));
    assert_int_equal(out, 27);
    pki_seen_clear(seen);
    assert_false(pki_seen_find(seen, key, &out));
    pki_seen_free(seen);
    assert_int_equal(check_at(w, w->ci.chain, PKI_CLIENT, NOW), WEFT_OK);
}

int main(void)
{
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)
    const struct CMUnitTest tests[] = {
        IN_WORLD(true_certificates_of_each_kind_are_believed_on_both_sides),
        IN_WORLD(a_faultless_forged_leaf_is_believed),
        IN_WORLD(the_root_may_be_shown_too),
        IN_WORLD(a_subject_name_that_is_not_exactly_ours_is_refused),
        IN_WORLD(a_nul_in_the_name_cuts_nothing_off),
        IN_WORLD(more_or_less_than_one_subject_name_is_refused),
        IN_WORLD(a_common_name_that_is_no_name_is_refused),
        IN_WORLD(a_leaf_without_the_use_it_needs_is_refused),
        IN_WORLD(a_leaf_that_can_not_sign_is_refused),
        IN_WORLD(an_unknown_critical_extension_is_refused),
        IN_WORLD(a_leaf_that_says_it_is_an_authority_is_refused),
        IN_WORLD(a_leaf_without_key_identifiers_is_refused),
        IN_WORLD(keys_and_digests_that_are_too_weak_or_not_ours_are_refused),
        IN_WORLD(a_faultless_forged_intermediate_is_believed),
        IN_WORLD(an_intermediate_that_is_no_authority_for_the_kind_is_refused),
        IN_WORLD(a_leaf_is_no_issuer),
        IN_WORLD(a_router_authority_issues_no_identity),
        IN_WORLD(a_self_signed_certificate_is_refused),
        IN_WORLD(an_authority_of_the_same_names_with_other_keys_is_refused),
        IN_WORLD(a_withheld_intermediate_and_a_strange_extra_are_refused),
        IN_WORLD(a_chain_too_deep_or_too_large_is_refused),
        IN_WORLD(validity_counts_with_tolerance_at_the_begin_only),
        IN_WORLD(an_expired_authority_is_refused_although_the_leaf_is_young),
        IN_WORLD(grace_forgives_an_expired_leaf_and_no_expired_authority),
        IN_WORLD(a_revoked_identity_is_refused_and_an_enabled_one_is_believed_again),
        IN_WORLD(a_revoked_key_is_refused_under_every_name),
        IN_WORLD(the_other_form_of_a_signature_revives_no_revoked_certificate),
        IN_WORLD(a_bundle_without_the_old_root_forgets_what_it_verified),
        IN_WORLD(more_chains_than_are_remembered_are_all_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
