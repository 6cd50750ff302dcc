/* Names, chains and what an authority issues. */
#include "pki/cert.h"
#include "tests/helpers/alloc.h"
#include "tests/helpers/authority.h"
#include "tests/helpers/test.h"
#include "tests/pki/memory.h"
#include <stdio.h>
#include <string.h>

#define NOW 1800000000000ull
#define DAY 86400000ull
#define ID "0123456789abcdef0123456789abcdef"

static struct authority a;
static struct authority_node node;

static int start(void **state)
{
    (void)state;
    authority_init(&a, "test.weft", NOW);
    authority_issue(&a, PKI_IDENTITY, "ci", &node);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    authority_node_fini(&node);
    authority_fini(&a);
    return 0;
}

static wf_span span(const wf_buf *buf)
{
    return wf_span_of(buf->data, buf->len);
}

/* ---- names */

static void a_name_survives_its_text(void **state)
{
    (void)state;
    static const enum pki_kind kinds[] = {PKI_IDENTITY, PKI_ROUTER, PKI_CONTROLLER};
    char longest[PKI_DOMAIN_MAX + 1];
    memset(longest, 'd', PKI_DOMAIN_MAX);
    longest[PKI_DOMAIN_MAX] = '\0';
    const char *domains[] = {"test.weft", "a", "x-1.y", longest};
    for (size_t i = 0; i < 3; i++) {
        for (size_t d = 0; d < 4; d++) {
            char text[PKI_SPIFFE_MAX], domain[PKI_DOMAIN_MAX + 1];
            enum pki_kind kind;
            wf_id id = wf_id_random(), found;
            pki_spiffe_text(domains[d], kinds[i], &id, text);
            assert_int_equal(pki_spiffe_parse(text, strlen(text), domain, &kind, &found), WEFT_OK);
            assert_int_equal(kind, kinds[i]);
            assert_string_equal(domain, domains[d]);
            assert_true(wf_id_equal(&id, &found));
        }
    }
    wf_id id;
    char text[PKI_SPIFFE_MAX];
    assert_true(wf_id_parse(ID, 32, &id));
    assert_string_equal(pki_spiffe_text("d", PKI_ROUTER, &id, text), "spiffe://d/router/" ID);
}

static void a_name_of_any_other_form_is_refused(void **state)
{
    (void)state;
#define LITERAL(text)                                                                              \
    {                                                                                              \
        text, sizeof text - 1                                                                      \
    }
    static const struct {
        const char *text;
        size_t len;
    } bad[] = {
        LITERAL(""),
        LITERAL("spiffe://"),
        LITERAL("spiffe:///identity/" ID),
        LITERAL("spiffe://d"),
        LITERAL("spiffe://d/"),
        LITERAL("spiffe://d/identity"),
        LITERAL("spiffe://d/identity/"),
        LITERAL("spiffe://d/identity/" ID "/"),
        LITERAL("spiffe://d/identity/" ID "0"),
        LITERAL("spiffe://d/identity/" ID " "),
        LITERAL("spiffe://d/identity/" ID "\n"),
        LITERAL("spiffe://d/identity/" ID "\0"),
        LITERAL("spiffe://d/identity/" ID "?x"),
        LITERAL("spiffe://d/identity/" ID "#x"),
        LITERAL("spiffe://d/identity/0123456789abcdef0123456789abcde"),
        LITERAL("spiffe://d/identity/0123456789abcdef0123456789abcdeF"),
        LITERAL("spiffe://d/identity/0123456789ABCDEF0123456789ABCDEF"),
        LITERAL("spiffe://d/identity/0123456789abcdef\0"
                "123456789abcdef"),
        LITERAL("spiffe://d/identity/00000000000000000000000000000000"),
        LITERAL("spiffe://d/identity//" ID),
        LITERAL("spiffe://d//identity/" ID),
        LITERAL("spiffe://d/./identity/" ID),
        LITERAL("spiffe://d/identity/../router/" ID),
        LITERAL("spiffe://d/identity%2f" ID),
        LITERAL("spiffe://d/Identity/" ID),
        LITERAL("spiffe://d/identityx/" ID),
        LITERAL("spiffe://d/identit/" ID),
        LITERAL("spiffe://d/admin/" ID),
        LITERAL("spiffe://d/router/identity/" ID),
        LITERAL("SPIFFE://d/identity/" ID),
        LITERAL("spiffe:/d/identity/" ID),
        LITERAL("https://d/identity/" ID),
        LITERAL(" spiffe://d/identity/" ID),
        LITERAL("spiffe://D/identity/" ID),
        LITERAL("spiffe://.d/identity/" ID),
        LITERAL("spiffe://d./identity/" ID),
        LITERAL("spiffe://-d/identity/" ID),
        LITERAL("spiffe://d-/identity/" ID),
        LITERAL("spiffe://d:1/identity/" ID),
        LITERAL("spiffe://u@d/identity/" ID),
        LITERAL("spiffe://d_e/identity/" ID),
        LITERAL("spiffe://d\0e/identity/" ID),
        LITERAL("spiffe://\xd0\xb0/identity/" ID),
        LITERAL("spiffe://d%2e/identity/" ID),
    };
#undef LITERAL
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char domain[PKI_DOMAIN_MAX + 1] = "untouched";
        enum pki_kind kind = PKI_CONTROLLER;
        wf_id id = {{7}};
        assert_int_equal(pki_spiffe_parse(bad[i].text, bad[i].len, domain, &kind, &id),
                         WEFT_EINVAL);
        assert_string_equal(domain, "untouched");
        assert_int_equal(kind, PKI_CONTROLLER);
        assert_int_equal(id.b[0], 7);
    }
}

static void a_domain_of_129_bytes_is_one_too_many(void **state)
{
    (void)state;
    char domain[PKI_DOMAIN_MAX + 2], text[256];
    char out[PKI_DOMAIN_MAX + 1];
    enum pki_kind kind;
    wf_id id;
    wf_why why;
    memset(domain, 'd', PKI_DOMAIN_MAX + 1);
    domain[PKI_DOMAIN_MAX + 1] = '\0';
    assert_int_equal(pki_domain_check(domain, PKI_DOMAIN_MAX, &why), WEFT_OK);
    assert_int_equal(pki_domain_check(domain, PKI_DOMAIN_MAX + 1, &why), WEFT_EINVAL);
    assert_int_equal(pki_domain_check("", 0, &why), WEFT_EINVAL);
    int len = snprintf(text, sizeof text, "spiffe://%s/identity/" ID, domain);
    assert_int_equal(pki_spiffe_parse(text, (size_t)len, out, &kind, &id), WEFT_EINVAL);
}

/* ---- chains */

static void a_chain_survives_pem(void **state)
{
    (void)state;
    wf_buf pem;
    pki_chain *again;
    pki_pin pin;
    uint64_t from, to;
    wf_buf_init(&pem, 65536);
    assert_int_equal(pki_chain_put_pem(node.chain, &pem), WEFT_OK);
    assert_int_equal(pki_chain_from_pem(span(&pem), &again, NULL), WEFT_OK);
    assert_int_equal(pki_chain_count(again), 2);
    for (size_t i = 0; i < 2; i++)
        assert_true(wf_span_equal(pki_chain_der(again, i), pki_chain_der(node.chain, i)));
    pki_chain_pin(again, &pin);
    assert_true(pki_pin_equal(&pin, &node.pin));
    pki_chain_validity(again, &from, &to);
    assert_int_equal(from, NOW - WF_CLOCK_TOLERANCE_MS);
    assert_int_equal(to, NOW + WF_LEAF_LIFE_MS);
    pki_chain_free(again);
    wf_buf_fini(&pem);
}

static void a_chain_is_shared_until_the_last_one_lets_go(void **state)
{
    (void)state;
    wf_span der = pki_chain_der(node.chain, 0);
    pki_chain *one, *two;
    assert_int_equal(pki_chain_from_der(&der, 1, &one, NULL), WEFT_OK);
    two = pki_chain_dup(one);
    pki_chain_free(one);
    assert_int_equal(pki_chain_count(two), 1);
    assert_true(wf_span_equal(pki_chain_der(two, 0), der));
    pki_chain_free(two);
    pki_chain_free(NULL);
}

static weft_err from_der(const uint8_t *data, size_t len)
{
    pki_chain *chain = NULL;
    wf_why why = {.text = ""};
    wf_span der = wf_span_of(data, len);
    weft_err err = pki_chain_from_der(&der, 1, &chain, &why);
    if (err == WEFT_OK) {
        pki_chain_free(chain);
    } else {
        assert_null(chain);
        assert_true(why.text[0] != '\0');
    }
    return err;
}

static void a_chain_too_long_or_too_large_is_refused_before_it_is_parsed(void **state)
{
    (void)state;
    uint8_t large[WF_CERT_MAX + 1];
    pki_chain *chain = NULL;
    wf_span der = pki_chain_der(node.chain, 0);
    wf_span many[WF_CHAIN_DEPTH + 1];
    for (size_t i = 0; i < WF_CHAIN_DEPTH + 1; i++)
        many[i] = der;
    assert_int_equal(pki_chain_from_der(many, 0, &chain, NULL), WEFT_ECREDENTIAL);
    assert_int_equal(pki_chain_from_der(many, WF_CHAIN_DEPTH + 1, &chain, NULL), WEFT_ELIMIT);
    assert_int_equal(pki_chain_from_der(many, WF_CHAIN_DEPTH, &chain, NULL), WEFT_OK);
    pki_chain_free(chain);

    memset(large, 0, sizeof large);
    alloc_fail_at(0);
    assert_int_equal(from_der(large, sizeof large), WEFT_ELIMIT);
    assert_int_equal(alloc_bytes(), 0);
    assert_int_equal(from_der(large, sizeof large - 1), WEFT_ECREDENTIAL);
    assert_int_equal(from_der(large, 0), WEFT_ELIMIT);
}

static void a_certificate_cut_or_with_a_byte_behind_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[WF_CERT_MAX];
    wf_span der = pki_chain_der(node.chain, 0);
    memcpy(bytes, der.data, der.len);
    assert_int_equal(from_der(bytes, der.len), WEFT_OK);
    for (size_t len = 1; len < der.len; len++)
        assert_int_equal(from_der(bytes, len), WEFT_ECREDENTIAL);
    bytes[der.len] = 0;
    assert_int_equal(from_der(bytes, der.len + 1), WEFT_ECREDENTIAL);
}

static void a_flipped_byte_is_refused_or_changes_what_is_verified(void **state)
{
    (void)state;
    uint8_t bytes[WF_CERT_MAX];
    pki_trust *trust = authority_trust(&a);
    wf_span der = pki_chain_der(node.chain, 0);
    memcpy(bytes, der.data, der.len);
    for (size_t i = 0; i < der.len; i++) {
        static const uint8_t flips[] = {0x01, 0x20, 0x80, 0xff};
        for (size_t f = 0; f < sizeof flips; f++) {
            pki_chain *chain = NULL;
            struct pki_subject who;
            bytes[i] ^= flips[f];
            wf_span certs[] = {wf_span_of(bytes, der.len), pki_chain_der(node.chain, 1)};
            if (pki_chain_from_der(certs, 2, &chain, NULL) == WEFT_OK) {
                assert_int_not_equal(pki_trust_check_chain(trust, chain, PKI_IDENTITY, PKI_CLIENT,
                                                           false, NOW, &who, NULL),
                                     WEFT_OK);
                pki_chain_free(chain);
            }
            bytes[i] ^= flips[f];
        }
    }
    pki_trust_unref(trust);
}

static void pem_with_anything_else_in_it_is_refused(void **state)
{
    (void)state;
    wf_buf pem, bad;
    pki_chain *chain = NULL;
    wf_buf_init(&pem, 65536);
    wf_buf_init(&bad, 65536);
    assert_int_equal(pki_chain_put_pem(node.chain, &pem), WEFT_OK);
    static const char *const forms[] = {
        "%sx\n",
        "x\n%s",
        "%s-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "%s-----BEGIN CERTIFICATE-----\n",
        "%s-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----",
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char text[16384];
        (void)snprintf(text, sizeof text, "%s", wf_buf_cstr(&pem));
        wf_buf_clear(&bad);
        const char *hole = strstr(forms[i], "%s");
        assert_int_equal(wf_buf_put(&bad, forms[i], (size_t)(hole - forms[i])), WEFT_OK);
        assert_int_equal(wf_buf_put_text(&bad, text), WEFT_OK);
        assert_int_equal(wf_buf_put_text(&bad, hole + 2), WEFT_OK);
        assert_int_equal(pki_chain_from_pem(span(&bad), &chain, NULL), WEFT_ECREDENTIAL);
    }
    assert_int_equal(pki_chain_from_pem(wf_span_of("", 0), &chain, NULL), WEFT_ECREDENTIAL);

    wf_buf_clear(&bad);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(wf_buf_put(&bad, pem.data, pem.len), WEFT_OK);
    assert_int_equal(pki_chain_from_pem(span(&bad), &chain, NULL), WEFT_ELIMIT);
    wf_buf_fini(&bad);
    wf_buf_fini(&pem);
}

/* ---- issue */

static struct pki_leaf leaf_of(const wf_buf *spki)
{
    return (struct pki_leaf){
        .kind = PKI_IDENTITY,
        .domain = "test.weft",
        .id = node.id,
        .name = "ci",
        .spki = span(spki),
        .not_before = NOW,
        .not_after = NOW + 90 * DAY,
    };
}

static void every_kind_of_key_gets_a_leaf_that_is_believed(void **state)
{
    (void)state;
    static const enum pki_key_kind kinds[] = {PKI_KEY_P256, PKI_KEY_P384, PKI_KEY_ED25519};
    for (size_t r = 0; r < 3; r++) {
        pki_ca *root, *middle;
        assert_int_equal(pki_ca_new_root("test.weft", kinds[r], NOW, 3650 * DAY, &root, NULL),
                         WEFT_OK);
        assert_int_equal(
            pki_ca_new_intermediate(root, PKI_IDENTITY, NOW, 1000 * DAY, &middle, NULL), WEFT_OK);
        for (size_t i = 0; i < 3; i++) {
            pki_key *key;
            wf_buf spki;
            pki_chain *chain;
            pki_pin own, pin;
            wf_buf_init(&spki, 256);
            assert_int_equal(pki_key_new(kinds[i], &key, NULL), WEFT_OK);
            assert_int_equal(pki_key_put_spki(key, &spki), WEFT_OK);
            struct pki_leaf leaf = leaf_of(&spki);
            assert_int_equal(pki_ca_issue(middle, &leaf, &chain, NULL), WEFT_OK);
            assert_int_equal(pki_chain_count(chain), 2); /* the root stays at home */
            pki_key_pin(key, &own);
            pki_chain_pin(chain, &pin);
            assert_true(pki_pin_equal(&own, &pin));
            assert_true(wf_span_equal(pki_chain_spki(chain), span(&spki)));
            assert_true(pki_chain_der(chain, 0).len < 700);
            pki_chain_free(chain);
            pki_key_free(key);
            wf_buf_fini(&spki);
        }
        pki_ca_free(middle);
        pki_ca_free(root);
    }
}

static void the_subject_read_is_the_one_issued(void **state)
{
    (void)state;
    static const enum pki_kind kinds[] = {PKI_IDENTITY, PKI_ROUTER, PKI_CONTROLLER};
    pki_trust *trust = authority_trust(&a);
    for (size_t i = 0; i < 3; i++) {
        struct authority_node n;
        struct pki_subject who, expected;
        authority_issue(&a, kinds[i], "a-name_1.x", &n);
        assert_int_equal(
            pki_trust_check_chain(trust, n.chain, kinds[i], PKI_SERVER, false, NOW, &who, NULL),
            WEFT_OK);
        authority_subject(&a, &n, &expected);
        assert_int_equal(who.kind, expected.kind);
        assert_true(wf_id_equal(&who.id, &expected.id));
        assert_string_equal(who.domain, expected.domain);
        assert_string_equal(who.name, expected.name);
        assert_true(pki_pin_equal(&who.pin, &expected.pin));
        assert_int_equal(who.not_before, expected.not_before);
        assert_int_equal(who.not_after, expected.not_after);
        authority_node_fini(&n);
    }
    pki_trust_unref(trust);
}

static void a_leaf_never_outlives_its_issuer(void **state)
{
    (void)state;
    pki_ca *root, *middle;
    pki_chain *chain = NULL;
    wf_buf spki;
    uint64_t from, to;
    wf_buf_init(&spki, 256);
    assert_int_equal(pki_key_put_spki(node.key, &spki), WEFT_OK);
    assert_int_equal(pki_ca_new_root("test.weft", PKI_KEY_P256, NOW, 40 * DAY, &root, NULL),
                     WEFT_OK);
    assert_int_equal(pki_ca_new_intermediate(root, PKI_IDENTITY, NOW, 80 * DAY, &middle, NULL),
                     WEFT_OK);
    pki_chain_validity(pki_ca_chain(middle), &from, &to);
    assert_int_equal(to, NOW + 40 * DAY);

    struct pki_leaf leaf = leaf_of(&spki);
    assert_int_equal(pki_ca_issue(middle, &leaf, &chain, NULL), WEFT_OK);
    pki_chain_validity(chain, &from, &to);
    assert_int_equal(from, NOW);
    assert_int_equal(to, NOW + 40 * DAY);
    pki_chain_free(chain);

    leaf.not_before = NOW + 40 * DAY;
    leaf.not_after = NOW + 41 * DAY;
    assert_int_equal(pki_ca_issue(middle, &leaf, &chain, NULL), WEFT_EEXPIRED);
    pki_ca *late = NULL;
    assert_int_equal(pki_ca_new_intermediate(root, PKI_IDENTITY, NOW + 40 * DAY, DAY, &late, NULL),
                     WEFT_EEXPIRED);
    pki_ca_free(middle);
    pki_ca_free(root);
    wf_buf_fini(&spki);
}

static void an_authority_issues_only_what_it_was_made_for(void **state)
{
    (void)state;
    wf_buf spki;
    pki_chain *chain = NULL;
    pki_ca *nested = NULL;
    wf_why why;
    wf_buf_init(&spki, 256);
    assert_int_equal(pki_key_put_spki(node.key, &spki), WEFT_OK);
    const struct pki_leaf good = leaf_of(&spki);
    struct pki_leaf leaf = good;
    assert_int_equal(pki_ca_issue(a.routers, &leaf, &chain, &why), WEFT_EINVAL);
    assert_int_equal(pki_ca_issue(a.controllers, &leaf, &chain, &why), WEFT_EINVAL);
    assert_int_equal(pki_ca_issue(a.root, &leaf, &chain, &why), WEFT_EINVAL);
    leaf.kind = PKI_CONTROLLER;
    assert_int_equal(pki_ca_issue(a.identities, &leaf, &chain, &why), WEFT_EINVAL);
    leaf = good;
    leaf.domain = "other.weft";
    assert_int_equal(pki_ca_issue(a.identities, &leaf, &chain, &why), WEFT_EINVAL);
    leaf = good;
    leaf.id = (wf_id){{0}};
    assert_int_equal(pki_ca_issue(a.identities, &leaf, &chain, &why), WEFT_EINVAL);
    static const char *const names[] = {"", "a b", "a/b", "a,CN=b", "\xc3\xa9", "-a"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        leaf = good;
        leaf.name = names[i];
        assert_int_equal(pki_ca_issue(a.identities, &leaf, &chain, &why), WEFT_EINVAL);
    }
    leaf = good;
    leaf.not_after = leaf.not_before;
    assert_int_equal(pki_ca_issue(a.identities, &leaf, &chain, &why), WEFT_EINVAL);
    leaf = good;
    leaf.spki = wf_span_of("no key", 6);
    assert_int_equal(pki_ca_issue(a.identities, &leaf, &chain, &why), WEFT_ECREDENTIAL);
    assert_int_equal(pki_ca_new_intermediate(a.identities, PKI_IDENTITY, NOW, DAY, &nested, &why),
                     WEFT_EINVAL);
    assert_int_equal(pki_ca_new_root("Test", PKI_KEY_P256, NOW, DAY, &nested, &why), WEFT_EINVAL);
    assert_null(chain);
    assert_null(nested);
    wf_buf_fini(&spki);
}

static void no_two_certificates_are_alike(void **state)
{
    (void)state;
    wf_buf spki;
    pki_chain *one, *two;
    wf_buf_init(&spki, 256);
    assert_int_equal(pki_key_put_spki(node.key, &spki), WEFT_OK);
    struct pki_leaf leaf = leaf_of(&spki);
    assert_int_equal(pki_ca_issue(a.identities, &leaf, &one, NULL), WEFT_OK);
    assert_int_equal(pki_ca_issue(a.identities, &leaf, &two, NULL), WEFT_OK);
    assert_false(wf_span_equal(pki_chain_der(one, 0), pki_chain_der(two, 0)));
    pki_chain_free(two);
    pki_chain_free(one);
    wf_buf_fini(&spki);
}

/* ---- an authority on disk */

static void an_authority_issues_again_after_it_was_stored(void **state)
{
    (void)state;
    wf_buf key, chain, spki;
    pki_ca *again = NULL;
    pki_chain *issued;
    struct pki_subject who;
    pki_trust *trust = authority_trust(&a);
    wf_buf_init(&key, 4096);
    wf_buf_init(&chain, 65536);
    wf_buf_init(&spki, 256);
    assert_int_equal(pki_key_put_pem(pki_ca_key(a.identities), "secret", &key), WEFT_OK);
    assert_int_equal(pki_chain_put_pem(pki_ca_chain(a.identities), &chain), WEFT_OK);
    assert_int_equal(pki_ca_from_pem(span(&key), NULL, span(&chain), &again, NULL),
                     WEFT_ECREDENTIAL);
    assert_int_equal(pki_ca_from_pem(span(&key), "secret", span(&chain), &again, NULL), WEFT_OK);
    assert_int_equal(pki_key_put_spki(node.key, &spki), WEFT_OK);
    struct pki_leaf leaf = leaf_of(&spki);
    assert_int_equal(pki_ca_issue(again, &leaf, &issued, NULL), WEFT_OK);
    assert_int_equal(
        pki_trust_check_chain(trust, issued, PKI_IDENTITY, PKI_CLIENT, false, NOW, &who, NULL),
        WEFT_OK);
    pki_chain_free(issued);
    pki_ca_free(again);
    pki_trust_unref(trust);
    wf_buf_fini(&spki);
    wf_buf_fini(&chain);
    wf_buf_fini(&key);
}

static void a_leaf_or_a_strangers_key_makes_no_authority(void **state)
{
    (void)state;
    wf_buf key, chain, leaf_key, leaf;
    pki_ca *ca = NULL;
    wf_buf_init(&key, 4096);
    wf_buf_init(&chain, 65536);
    wf_buf_init(&leaf_key, 4096);
    wf_buf_init(&leaf, 65536);
    assert_int_equal(pki_key_put_pem(pki_ca_key(a.routers), NULL, &key), WEFT_OK);
    assert_int_equal(pki_chain_put_pem(pki_ca_chain(a.identities), &chain), WEFT_OK);
    assert_int_equal(pki_key_put_pem(node.key, NULL, &leaf_key), WEFT_OK);
    assert_int_equal(pki_chain_put_pem(node.chain, &leaf), WEFT_OK);
    assert_int_equal(pki_ca_from_pem(span(&key), NULL, span(&chain), &ca, NULL), WEFT_ECREDENTIAL);
    assert_int_equal(pki_ca_from_pem(span(&leaf_key), NULL, span(&leaf), &ca, NULL),
                     WEFT_ECREDENTIAL);
    assert_null(ca);
    wf_buf_fini(&leaf);
    wf_buf_wipe(&leaf_key);
    wf_buf_fini(&chain);
    wf_buf_wipe(&key);
}

/* ---- memory */

static weft_err issue_and_read(const wf_buf *spki)
{
    wf_buf pem;
    pki_chain *chain = NULL, *again = NULL;
    struct pki_leaf leaf = leaf_of(spki);
    wf_buf_init(&pem, 65536);
    weft_err err = pki_ca_issue(a.identities, &leaf, &chain, NULL);
    if (err == WEFT_OK)
        err = pki_chain_put_pem(chain, &pem);
    if (err == WEFT_OK)
        err = pki_chain_from_pem(span(&pem), &again, NULL);
    pki_chain_free(again);
    pki_chain_free(chain);
    wf_buf_fini(&pem);
    return err;
}

static void a_failing_allocation_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    wf_buf spki;
    wf_buf_init(&spki, 256);
    assert_int_equal(pki_key_put_spki(node.key, &spki), WEFT_OK);
    assert_int_equal(issue_and_read(&spki), WEFT_OK);
    for (int reach = 0; reach < 2; reach++) {
        memory_reach_openssl(reach == 1);
        for (unsigned n = 1;; n = memory_next(n)) {
            alloc_fail_at(n);
            weft_err err = issue_and_read(&spki);
            bool failed = alloc_has_failed();
            alloc_fail_at(0);
            if (!failed) {
                assert_int_equal(err, WEFT_OK);
                break;
            }
            if (reach == 0)
                assert_int_equal(err, WEFT_ENOMEM);
        }
        memory_reach_openssl(false);
    }
    assert_int_equal(issue_and_read(&spki), WEFT_OK);
    wf_buf_fini(&spki);
}

int main(void)
{
    memory_hook();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_survives_its_text),
        cmocka_unit_test(a_name_of_any_other_form_is_refused),
        cmocka_unit_test(a_domain_of_129_bytes_is_one_too_many),
        cmocka_unit_test(a_chain_survives_pem),
        cmocka_unit_test(a_chain_is_shared_until_the_last_one_lets_go),
        cmocka_unit_test(a_chain_too_long_or_too_large_is_refused_before_it_is_parsed),
        cmocka_unit_test(a_certificate_cut_or_with_a_byte_behind_is_refused),
        cmocka_unit_test(a_flipped_byte_is_refused_or_changes_what_is_verified),
        cmocka_unit_test(pem_with_anything_else_in_it_is_refused),
        cmocka_unit_test(every_kind_of_key_gets_a_leaf_that_is_believed),
        cmocka_unit_test(the_subject_read_is_the_one_issued),
        cmocka_unit_test(a_leaf_never_outlives_its_issuer),
        cmocka_unit_test(an_authority_issues_only_what_it_was_made_for),
        cmocka_unit_test(no_two_certificates_are_alike),
        cmocka_unit_test(an_authority_issues_again_after_it_was_stored),
        cmocka_unit_test(a_leaf_or_a_strangers_key_makes_no_authority),
        cmocka_unit_test(a_failing_allocation_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
