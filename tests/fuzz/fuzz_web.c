/* What a stranger sends to the TLS of the web side, and PEM as an operator's files may hold it. */
#include "pki/web.h"
#include "tests/fuzz/check.h"
#include <string.h>

static weft_err output(void *arg, const uint8_t *data, size_t len)
{
    size_t *total = arg;
    (void)data;
    *total += len;
    return WEFT_OK;
}

static pki_web *made(wf_buf *key, wf_buf *chain)
{
    static const char *const names[] = {"localhost", "127.0.0.1"};
    const uint64_t now = 1790000000000u;
    wf_buf ca_key, ca;
    pki_web *web = NULL;
    wf_buf_init(&ca_key, 65536);
    wf_buf_init(&ca, 65536);
    wf_buf_init(key, 65536);
    wf_buf_init(chain, 65536);
    CHECK(pki_web_ca_new(names, 2, now, 86400000, &ca_key, &ca, NULL) == WEFT_OK);
    CHECK(pki_web_issue(wf_span_of(ca_key.data, ca_key.len), wf_span_of(ca.data, ca.len), names, 2,
                        now, 86400000, key, chain, NULL) == WEFT_OK);
    CHECK(pki_web_new(wf_span_of(chain->data, chain->len), wf_span_of(key->data, key->len), NULL,
                      &web, NULL) == WEFT_OK);
    wf_buf_wipe(&ca_key);
    wf_buf_fini(&ca);
    return web;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static pki_web *web;
    static wf_buf key, chain;
    static uint8_t plain[16384];
    size_t sent = 0, got;
    pki_web_tls *tls;
    if (web == NULL)
        web = made(&key, &chain);
    CHECK(pki_web_tls_new(web, output, &sent, &tls) == WEFT_OK);
    size_t piece = len > 0 ? 1u + data[0] * 8u : 1u;
    for (size_t at = 0; at < len; at += piece) {
        pki_web_tls_feed(tls, data + at, len - at < piece ? len - at : piece);
        weft_err err = pki_web_tls_read(tls, plain, sizeof plain, &got, NULL);
        CHECK(got == 0 && !pki_web_tls_is_up(tls)); /* nobody guesses a handshake */
        if (err != WEFT_OK)
            break;
    }
    pki_web_tls_shutdown(tls);
    pki_web_tls_free(tls);
    CHECK(sent < 65536);
    /* A replacement that fails changes nothing. */
    uint64_t end = pki_web_not_after(web);
    if (pki_web_replace(web, wf_span_of(data, len), wf_span_of(key.data, key.len), NULL) != WEFT_OK)
        CHECK(pki_web_not_after(web) == end);
    (void)pki_web_replace(web, wf_span_of(chain.data, chain.len), wf_span_of(data, len), NULL);
    return 0;
}
