/*
 * Certificates as no authority of ours would issue them: every field can be
 * wrong. Only for tests that show that they are refused.
 */
#ifndef TESTS_PKI_FORGE_H
#define TESTS_PKI_FORGE_H

#include "pki/internal.h"

#define FORGE_IDENTITY_USE "clientAuth,serverAuth," PKI_ARC_TEXT ".1"
#define FORGE_ROUTER_USE "clientAuth,serverAuth," PKI_ARC_TEXT ".2"

struct forge {
    const pki_key *issuer_key;
    X509 *issuer;    /* borrowed; NULL: self-signed */
    EVP_PKEY *key;   /* borrowed: the subject's */
    const char *cn;  /* NULL: none */
    const char *cn2; /* a second one */
    const char *uri; /* NULL: no SAN */
    size_t uri_len;  /* 0: strlen(uri) */
    const char *uri2, *dns;
    bool two_extensions;                        /* uri2 stands in a SAN extension of its own */
    const char *constraints, *usage, *extended; /* as in openssl.cnf; NULL: absent */
    const char *comment;                        /* makes it large */
    bool unknown_critical;
    bool no_key_ids;
    const EVP_MD *digest; /* NULL: SHA-256 */
    uint64_t not_before, not_after;
};

/* A forge that is faultless as it is: an identity under issuer. */
struct forge forge_leaf(const pki_key *issuer_key, X509 *issuer, EVP_PKEY *key, const char *uri,
                        uint64_t now);
/* The same for an intermediate. */
struct forge forge_authority(const pki_key *issuer_key, X509 *issuer, EVP_PKEY *key, const char *cn,
                             const char *extended, uint64_t now);
/* Aborts if OpenSSL won't do it. X509_free. */
X509 *forge_make(const struct forge *f);
/* The same certificate with the other valid form of its ECDSA signature: s becomes n - s. */
X509 *forge_flip_s(X509 *x);

#endif
