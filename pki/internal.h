/*
 * What the files of pki/ share behind their headers: the only header that
 * names OpenSSL. Included by the .c files of pki/ and by nothing else.
 */
#ifndef PKI_INTERNAL_H
#define PKI_INTERNAL_H

#include "pki/cert.h"
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/* ---- errors */

/*
 * wf_fail with OpenSSL's own reason behind the sentence; empties OpenSSL's
 * error queue (a stale entry would confuse the next SSL_get_error). Becomes
 * WEFT_ENOMEM if memory was what lacked.
 */
weft_err pki_openssl_fail(wf_why *why, weft_err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- keys */

#define PKI_SPKI_MAX 120 /* DER of a P-384 key; P-256 takes 91, Ed25519 44 */

/* Which of the three kinds these bytes announce, by their fixed head and length; false: none. */
bool pki_spki_kind(wf_span spki, enum pki_key_kind *out);
/* Parses an SPKI of one of the three kinds, all bytes consumed. WEFT_ECREDENTIAL, WEFT_ENOMEM. */
weft_err pki_evp_from_spki(wf_span spki, EVP_PKEY **out, wf_why *why);
/* A key from OpenSSL's, which is taken also on failure. WEFT_ECREDENTIAL, WEFT_ENOMEM. */
weft_err pki_key_wrap(EVP_PKEY *evp, pki_key **out, wf_why *why);
/* Borrowed: as long as key; take a reference with EVP_PKEY_up_ref. */
EVP_PKEY *pki_key_evp(const pki_key *key);
/* Borrowed: as long as key. */
wf_span pki_key_spki(const pki_key *key);
/* The hash that goes with a kind; NULL for Ed25519, which has its own inside. */
const EVP_MD *pki_digest_of(enum pki_key_kind kind);
/* Signatures over exactly these bytes, without a label: JWT alone has such. */
weft_err pki_sign_bare(const pki_key *key, wf_span bytes, wf_buf *signature);
weft_err pki_verify_bare(wf_span spki, wf_span bytes, wf_span signature);

/* ---- PEM */

/*
 * Takes the next PEM block off *text: its label ("CERTIFICATE") and its bytes,
 * appended to der (emptied first; the caller wipes it if it may be secret).
 * Strict: nothing but white space between blocks, no headers inside, canonical
 * base64. WEFT_ENOTFOUND: no more. WEFT_ECREDENTIAL, WEFT_ELIMIT, WEFT_ENOMEM.
 */
#define PKI_PEM_LABEL_MAX 32
weft_err pki_pem_next(wf_span *text, char label[PKI_PEM_LABEL_MAX], wf_buf *der, wf_why *why);
weft_err pki_pem_put(const char *label, wf_span der, wf_buf *out);

/* ---- certificates */

/*
 * The kinds' object identifiers, 2.25.<a UUID>.1, .2, .3 (docs/protocol.md,
 * "Kinds"), carried as an extended key usage beside clientAuth and serverAuth.
 */
#define PKI_ARC_TEXT "2.25.209977654935969180292048665748541247100"
/* A new object; NULL without memory. */
ASN1_OBJECT *pki_kind_object(enum pki_kind kind);
/* The one kind that a certificate carries; false: none, or more than one. */
bool pki_x509_kind(X509 *x, enum pki_kind *out);
/*
 * Who a leaf speaks for, by its own word: exactly one SAN, a URI, of our form;
 * its path equal to the kind OID; one CN that is a name; no CA. Says nothing
 * of the signature, the times or the chain: pki/trust.c does.
 */
weft_err pki_x509_subject(X509 *leaf, struct pki_subject *out, wf_why *why);
/* Wall ms; false for a time that can't be read. */
bool pki_x509_validity(X509 *x, uint64_t *not_before, uint64_t *not_after);
/* One certificate, size capped, canonical DER, all bytes consumed, a key of the three kinds. */
weft_err pki_x509_from_der(wf_span der, X509 **out, wf_why *why);
/* Certificate i of the chain, 0 is the leaf. Borrowed: as long as chain. */
X509 *pki_chain_x509(const pki_chain *chain, size_t i);
/*
 * The certificates behind the leaf, as X509_STORE_CTX_init and SSL_set1_chain
 * want them; each is borrowed from the chain, the stack is the caller's
 * (sk_X509_free, not pop_free). NULL without memory.
 */
STACK_OF(X509) * pki_chain_untrusted(const pki_chain *chain);
/*
 * A chain from certificates that OpenSSL parsed (a peer's handshake): leaf
 * first; each is parsed again from its DER under our own caps.
 */
weft_err pki_chain_from_x509s(X509 *leaf, STACK_OF(X509) * rest, pki_chain **out, wf_why *why);

#endif
