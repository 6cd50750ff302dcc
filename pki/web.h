/*
 * TLS 1.3 for the web side (HTTPS), without I/O like pki/tls.h: a server whose
 * certificate browsers and curl understand (DNS and IP names), while a client
 * may show the certificate of a Weft identity. The certificate is the
 * operator's own, or comes from a small authority made here for that alone.
 * It is valid for nothing in the fabric: no kind of ours, in no bundle.
 */
#ifndef PKI_WEB_H
#define PKI_WEB_H

#include "pki/trust.h"

/* ---- the certificate */

/*
 * A new authority for web servers: P-256, self-signed, path length 0, usage
 * serverAuth alone. names (DNS names and IP addresses; count 0: any) limit what
 * it may ever sign (RFC 5280 section 4.2.1.10). Appends PKCS#8 and certificate
 * as PEM; the key is secret. WEFT_EINVAL: a name that is neither.
 */
weft_err pki_web_ca_new(const char *const *names, size_t count, uint64_t now, uint64_t life_ms,
                        wf_buf *key_pem, wf_buf *cert_pem, wf_why *why);
/*
 * A new key and a certificate by that authority for 1..PKI_WEB_NAMES_MAX names,
 * from five minutes ago to life_ms from now or the authority's end. Appends
 * PKCS#8, and the chain with the authority last. WEFT_EINVAL, WEFT_ECREDENTIAL, WEFT_EEXPIRED.
 */
#define PKI_WEB_NAMES_MAX 64u
weft_err pki_web_issue(wf_span ca_key_pem, wf_span ca_cert_pem, const char *const *names,
                       size_t count, uint64_t now, uint64_t life_ms, wf_buf *key_pem,
                       wf_buf *chain_pem, wf_why *why);

/* ---- what a server shows. Counted; one loop's thread only */

typedef struct pki_web pki_web;

/*
 * From PEM: the chain leaf first, at most PKI_WEB_PEM_MAX bytes, and its key
 * (P-256, P-384, Ed25519, RSA of 2048 bits or more; no passphrase). trust:
 * counted; by it a client's certificate is judged, as an identity; NULL: none
 * is asked for. WEFT_ECREDENTIAL, WEFT_ELIMIT.
 */
#define PKI_WEB_PEM_MAX 65536u
weft_err pki_web_new(wf_span chain_pem, wf_span key_pem, pki_trust *trust, pki_web **out,
                     wf_why *why);
pki_web *pki_web_ref(pki_web *web);
void pki_web_unref(pki_web *web); /* NULL is fine */
/* New connections show the new certificate; old ones go on. A failure changes nothing. */
weft_err pki_web_replace(pki_web *web, wf_span chain_pem, wf_span key_pem, wf_why *why);
uint64_t pki_web_not_before(const pki_web *web); /* of the leaf, wall ms */
uint64_t pki_web_not_after(const pki_web *web);

/* ---- one connection */

enum pki_web_protocol { PKI_WEB_HTTP1 = 1, PKI_WEB_HTTP2 = 2 };

typedef struct pki_web_tls pki_web_tls;
/*
 * output takes ciphertext for the peer: data is borrowed for the call, in
 * which no function of this TLS may be called; an error makes the TLS fail.
 */
weft_err pki_web_tls_new(pki_web *web, weft_err (*output)(void *arg, const uint8_t *, size_t),
                         void *arg, pki_web_tls **out);
void pki_web_tls_free(pki_web_tls *tls); /* NULL is fine */
/*
 * Offers ciphertext: borrowed until the next pki_web_tls_feed or _free, so call
 * pki_web_tls_read until it says *got = 0 before it goes away, or keep what
 * pki_web_tls_left gives and feed that again. What is left of the feed before
 * is forgotten.
 */
void pki_web_tls_feed(pki_web_tls *tls, const uint8_t *data, size_t len);
/* The part of what was fed last that libssl has not taken yet; valid as that is. */
wf_span pki_web_tls_left(const pki_web_tls *tls);
/*
 * Plaintext into buf, after the handshake. *got = 0 with WEFT_OK: wants more
 * input. WEFT_EEOF: close_notify came. A failure is final, and the alert that
 * tells the peer is out: WEFT_EPROTO, WEFT_ECREDENTIAL, WEFT_EEXPIRED,
 * WEFT_EREVOKED, WEFT_EVERSION, WEFT_ELIMIT, WEFT_ETAMPERED.
 */
weft_err pki_web_tls_read(pki_web_tls *tls, uint8_t *buf, size_t cap, size_t *got, wf_why *why);
/* Encrypts all; the records are handed to output before it returns. After the handshake only. */
weft_err pki_web_tls_write(pki_web_tls *tls, const uint8_t *data, size_t len, wf_why *why);
bool pki_web_tls_is_up(const pki_web_tls *tls);
/* Sends close_notify, once, if the handshake is done. Nothing is written afterwards. */
void pki_web_tls_shutdown(pki_web_tls *tls);

/* By ALPN ("h2", "http/1.1"; a client that offers none speaks HTTP/1.1). After the handshake. */
enum pki_web_protocol pki_web_tls_protocol(const pki_web_tls *tls);
/* The identity that the client proved to be; NULL: it showed no certificate. Lives as long as tls.
 */
const struct pki_subject *pki_web_tls_peer(const pki_web_tls *tls);

#endif
