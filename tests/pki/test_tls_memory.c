/* Each allocation of our own fails once in the life of two ends that meet: no crash, no leak. */
#include "pki/tls.h"
#include "proto/base/clock.h"
#include "tests/helpers/alloc.h"
#include "tests/helpers/authority.h"
#include "tests/helpers/test.h"
#include <string.h>

/* One way between the ends; of fixed size, so that the test itself allocates nothing. */
struct way {
    uint8_t bytes[16384];
    size_t len;
};

static weft_err put_out(void *arg, const uint8_t *data, size_t len)
{
    struct way *way = arg;
    if (len > sizeof way->bytes - way->len)
        return WEFT_ELIMIT;
    memcpy(way->bytes + way->len, data, len);
    way->len += len;
    return WEFT_OK;
}

struct life {
    pki_trust *trust;
    pki_tls_ctx *client_ctx, *server_ctx;
    pki_tls *client, *server;
    struct way to_server, to_client;
    size_t heard;
};

static weft_err carry(struct way *way, pki_tls *to, size_t *heard)
{
    static uint8_t lent[2][16384];
    static int turn;
    uint8_t plain[256];
    size_t got, len = way->len;
    wf_why why;
    weft_err err;
    turn = !turn; /* the last span stays valid until its end is fed again */
    memcpy(lent[turn], way->bytes, len);
    way->len = 0;
    pki_tls_feed(to, lent[turn], len);
    do {
        err = pki_tls_read(to, plain, sizeof plain, &got, &why);
        *heard += got;
    } while (err == WEFT_OK && got > 0);
    return err;
}

static weft_err live(struct life *l, const struct authority *a, const struct authority_node *ci,
                     const struct authority_node *host)
{
    wf_why why;
    weft_err err;
    const struct pki_tls_config mine = {.side = PKI_CLIENT,
                                        .alpn = PKI_ALPN_E2E,
                                        .kinds = PKI_IDENTITY,
                                        .peer_pins = &host->pin,
                                        .peer_pin_count = 1,
                                        .output = put_out,
                                        .arg = &l->to_server};
    const struct pki_tls_config theirs = {.side = PKI_SERVER,
                                          .alpn = PKI_ALPN_E2E,
                                          .kinds = PKI_IDENTITY,
                                          .half_rtt = true,
                                          .output = put_out,
                                          .arg = &l->to_client};
    if ((err = pki_trust_new(wf_span_of(a->bundle.data, a->bundle.len), a->bundle_digest, &l->trust,
                             &why)) != WEFT_OK)
        return err;
    const struct pki_tls_identity client = {.key = ci->key, .chain = ci->chain, .trust = l->trust};
    const struct pki_tls_identity server = {
        .key = host->key, .chain = host->chain, .trust = l->trust};
    if ((err = pki_tls_ctx_new(&client, &l->client_ctx, &why)) != WEFT_OK ||
        (err = pki_tls_ctx_new(&server, &l->server_ctx, &why)) != WEFT_OK ||
        (err = pki_tls_new(l->client_ctx, &mine, &l->client)) != WEFT_OK ||
        (err = pki_tls_new(l->server_ctx, &theirs, &l->server)) != WEFT_OK ||
        (err = pki_tls_handshake(l->client, &why)) != WEFT_OK ||
        (err = carry(&l->to_server, l->server, &l->heard)) != WEFT_OK ||
        (err = pki_tls_write(l->server, (const uint8_t *)"hello", 5, &why)) != WEFT_OK ||
        (err = carry(&l->to_client, l->client, &l->heard)) != WEFT_OK ||
        (err = pki_tls_write(l->client, (const uint8_t *)"data", 4, &why)) != WEFT_OK ||
        (err = carry(&l->to_server, l->server, &l->heard)) != WEFT_OK)
        return err;
    return pki_tls_peer_chain(l->server) != NULL ? WEFT_OK : WEFT_ENOMEM;
}

static void each_allocation_that_fails_ends_in_an_error_or_is_done_without(void **state)
{
    struct authority a;
    struct authority_node ci, host;
    unsigned n, failed = 0;
    (void)state;
    authority_init(&a, "test.weft", wf_now_wall_ms());
    authority_issue(&a, PKI_IDENTITY, "ci", &ci);
    authority_issue(&a, PKI_IDENTITY, "host", &host);
    for (n = 1;; n++) {
        static struct life l;
        memset(&l, 0, sizeof l);
        alloc_fail_at(n);
        weft_err err = live(&l, &a, &ci, &host);
        bool over = !alloc_has_failed();
        alloc_fail_at(0);
        pki_tls_free(l.client);
        pki_tls_free(l.server);
        pki_tls_ctx_unref(l.client_ctx);
        pki_tls_ctx_unref(l.server_ctx);
        pki_trust_unref(l.trust);
        if (err == WEFT_OK)
            assert_int_equal(l.heard, 9);
        else
            assert_int_equal(err, WEFT_ENOMEM);
        failed += err != WEFT_OK;
        if (over) {
            assert_int_equal(err, WEFT_OK);
            break;
        }
    }
    assert_true(n > 20 && failed > 15);
    authority_node_fini(&ci);
    authority_node_fini(&host);
    authority_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_that_fails_ends_in_an_error_or_is_done_without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
