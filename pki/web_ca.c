/*
 * The small authority behind an HTTPS server that has no certificate of its
 * operator's: X.509 as browsers want it (RFC 5280, the names in the SAN), apart
 * from the fabric's authorities and unfit to be one: it names no trust domain,
 * carries no kind, and may sign for nothing but serverAuth.
 */
#include "pki/web_inside.h"
#include "proto/base/secret.h"
#include <openssl/err.h>
#include <openssl/rand.h>
#include <string.h>

#define WEB_TIME_MAX_MS (253402300799ull * 1000) /* the last second of the year 9999 */
#define WEB_SERIAL_LEN 16
#define WEB_DNS_MAX 253u

/* ---- names */

static bool is_label_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

/* RFC 1123 section 2.1; a wildcard is an operator's own certificate's business. */
static bool is_dns_name(const char *name)
{
    size_t len = strlen(name), label = 0;
    if (len == 0 || len > WEB_DNS_MAX)
        return false;
    for (size_t i = 0; i <= len; i++) {
        if (name[i] == '.' || name[i] == '\0') {
            if (label == 0 || label > 63 || name[i - 1] == '-' || name[i - label] == '-')
                return false;
            label = 0;
        } else if (is_label_byte(name[i])) {
            label++;
        } else {
            return false;
        }
    }
    return true;
}

/* A DNS name or an IP address. mask: for a constraint, an address wants one (all ones). */
static GENERAL_NAME *name_new(const char *name, bool mask)
{
    GENERAL_NAME *general = GENERAL_NAME_new();
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(name);
    if (general == NULL)
        goto fail;
    if (address != NULL) {
        unsigned char both[32];
        int len = ASN1_STRING_length(address);
        memcpy(both, ASN1_STRING_get0_data(address), (size_t)len);
        memset(both + len, 0xff, (size_t)len);
        if (mask && ASN1_OCTET_STRING_set(address, both, 2 * len) != 1)
            goto fail;
        GENERAL_NAME_set0_value(general, GEN_IPADD, address);
        return general;
    }
    ERR_clear_error();
    ASN1_IA5STRING *dns = ASN1_IA5STRING_new();
    if (dns == NULL || ASN1_STRING_set(dns, name, -1) != 1) {
        ASN1_IA5STRING_free(dns);
        goto fail;
    }
    GENERAL_NAME_set0_value(general, GEN_DNS, dns);
    return general;
fail:
    ASN1_OCTET_STRING_free(address);
    GENERAL_NAME_free(general);
    return NULL;
}

static weft_err check_names(const char *const *names, size_t count, wf_why *why)
{
    if (count > PKI_WEB_NAMES_MAX)
        return wf_fail(why, WEFT_EINVAL, "a certificate for at most %u names, not %zu",
                       PKI_WEB_NAMES_MAX, count);
    for (size_t i = 0; i < count; i++) {
        ASN1_OCTET_STRING *address = a2i_IPADDRESS(names[i]);
        bool good = address != NULL || is_dns_name(names[i]);
        ASN1_OCTET_STRING_free(address);
        ERR_clear_error();
        if (!good)
            return wf_fail(why, WEFT_EINVAL,
                           "%.64s is neither a DNS name nor an IP address: a server's certificate "
                           "takes no other",
                           names[i]);
    }
    return WEFT_OK;
}

/* ---- extensions */

static bool put_names(X509 *x, const char *const *names, size_t count)
{
    GENERAL_NAMES *all = GENERAL_NAMES_new();
    bool done = all != NULL;
    for (size_t i = 0; done && i < count; i++) {
        GENERAL_NAME *one = name_new(names[i], false);
        done = one != NULL && sk_GENERAL_NAME_push(all, one) > 0;
        if (!done)
            GENERAL_NAME_free(one);
    }
    done = done && X509_add1_ext_i2d(x, NID_subject_alt_name, all, 0, X509V3_ADD_DEFAULT) == 1;
    GENERAL_NAMES_free(all);
    return done;
}

static bool push_subtree(STACK_OF(GENERAL_SUBTREE) * *trees, const char *name)
{
    GENERAL_SUBTREE *tree = GENERAL_SUBTREE_new();
    if (*trees == NULL)
        *trees = sk_GENERAL_SUBTREE_new_null();
    if (tree == NULL || *trees == NULL)
        goto fail;
    GENERAL_NAME_free(tree->base);
    tree->base = name_new(name, true);
    if (tree->base == NULL || sk_GENERAL_SUBTREE_push(*trees, tree) <= 0)
        goto fail;
    return true;
fail:
    GENERAL_SUBTREE_free(tree);
    return false;
}

/*
 * A form of name that has no permitted subtree would be free: DNS names and
 * addresses that are not among the names are shut by one that nobody has.
 */
static bool put_constraints(X509 *x, const char *const *names, size_t count)
{
    if (count == 0)
        return true;
    NAME_CONSTRAINTS *all = NAME_CONSTRAINTS_new();
    bool done = all != NULL, dns = false, v4 = false, v6 = false;
    for (size_t i = 0; done && i < count; i++) {
        ASN1_OCTET_STRING *address = a2i_IPADDRESS(names[i]);
        if (address == NULL)
            dns = true;
        else if (ASN1_STRING_length(address) == 4)
            v4 = true;
        else
            v6 = true;
        ASN1_OCTET_STRING_free(address);
        ERR_clear_error();
        done = push_subtree(&all->permittedSubtrees, names[i]);
    }
    done = done && (dns || push_subtree(&all->permittedSubtrees, "none.invalid"));
    /* One address form shuts the other as well: RFC 5280 knows but one kind of iPAddress. */
    done = done && (v4 || v6 || push_subtree(&all->permittedSubtrees, "0.0.0.0"));
    done = done && X509_add1_ext_i2d(x, NID_name_constraints, all, 1, X509V3_ADD_DEFAULT) == 1;
    NAME_CONSTRAINTS_free(all);
    return done;
}

static bool put_basic(X509 *x, bool is_ca)
{
    BASIC_CONSTRAINTS *basic = BASIC_CONSTRAINTS_new();
    bool done = basic != NULL;
    if (done && is_ca) {
        basic->ca = 0xff;
        basic->pathlen = ASN1_INTEGER_new();
        done = basic->pathlen != NULL && ASN1_INTEGER_set(basic->pathlen, 0) == 1;
    }
    done = done && X509_add1_ext_i2d(x, NID_basic_constraints, basic, 1, X509V3_ADD_DEFAULT) == 1;
    BASIC_CONSTRAINTS_free(basic);
    return done;
}

static bool put_usage(X509 *x, bool is_ca)
{
    /* keyUsage: keyCertSign is bit 5, digitalSignature bit 0 (RFC 5280 section 4.2.1.3). */
    ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
    EXTENDED_KEY_USAGE *uses = sk_ASN1_OBJECT_new_null();
    ASN1_OBJECT *server = OBJ_nid2obj(NID_server_auth);
    bool done = bits != NULL && uses != NULL && server != NULL &&
                ASN1_BIT_STRING_set_bit(bits, is_ca ? 5 : 0, 1) == 1 &&
                X509_add1_ext_i2d(x, NID_key_usage, bits, 1, X509V3_ADD_DEFAULT) == 1 &&
                sk_ASN1_OBJECT_push(uses, server) > 0 &&
                X509_add1_ext_i2d(x, NID_ext_key_usage, uses, 0, X509V3_ADD_DEFAULT) == 1;
    EXTENDED_KEY_USAGE_free(uses);
    ASN1_BIT_STRING_free(bits);
    return done;
}

/* RFC 7093, section 2: the head of the key's SHA-256. */
static bool put_key_ids(X509 *x, const pki_key *key, X509 *issuer)
{
    pki_pin pin;
    pki_key_pin(key, &pin);
    ASN1_OCTET_STRING *own = ASN1_OCTET_STRING_new();
    AUTHORITY_KEYID *authority = AUTHORITY_KEYID_new();
    bool done = own != NULL && authority != NULL && ASN1_OCTET_STRING_set(own, pin.b, 20) == 1 &&
                X509_add1_ext_i2d(x, NID_subject_key_identifier, own, 0, X509V3_ADD_DEFAULT) == 1;
    if (done && issuer != NULL) {
        const ASN1_OCTET_STRING *of = X509_get0_subject_key_id(issuer);
        authority->keyid = of == NULL ? NULL : ASN1_OCTET_STRING_dup(of);
        done = authority->keyid != NULL && X509_add1_ext_i2d(x, NID_authority_key_identifier,
                                                             authority, 0, X509V3_ADD_DEFAULT) == 1;
    }
    AUTHORITY_KEYID_free(authority);
    ASN1_OCTET_STRING_free(own);
    return done;
}

/* ---- certificates */

struct web_plan {
    const pki_key *key, *signer;
    X509 *issuer; /* NULL: itself, an authority */
    const char *cn;
    const char *const *names;
    size_t count;
    uint64_t from, to; /* wall ms */
};

static bool put_head(X509 *x, const struct web_plan *plan)
{
    unsigned char serial[WEB_SERIAL_LEN];
    bool done = false;
    BIGNUM *number = NULL;
    X509_NAME *subject = X509_get_subject_name(x);
    if (RAND_bytes(serial, sizeof serial) == 1) {
        serial[0] = (unsigned char)((serial[0] & 0x7f) | 1); /* positive, never zero */
        number = BN_bin2bn(serial, sizeof serial, NULL);
    }
    if (number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x)) != NULL &&
        X509_set_version(x, X509_VERSION_3) == 1 &&
        X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                   (const unsigned char *)plan->cn, -1, -1, 0) == 1)
        done = X509_set_issuer_name(
                   x, plan->issuer == NULL ? subject : X509_get_subject_name(plan->issuer)) == 1 &&
               ASN1_TIME_set(X509_getm_notBefore(x), (time_t)(plan->from / 1000)) != NULL &&
               ASN1_TIME_set(X509_getm_notAfter(x), (time_t)(plan->to / 1000)) != NULL &&
               X509_set_pubkey(x, pki_key_evp(plan->key)) == 1;
    BN_free(number);
    return done;
}

static weft_err web_sign(const struct web_plan *plan, wf_buf *pem, wf_why *why)
{
    bool is_ca = plan->issuer == NULL;
    unsigned char *der = NULL;
    weft_err err;
    X509 *x = X509_new();
    if (x == NULL || !put_head(x, plan) || !put_basic(x, is_ca) || !put_usage(x, is_ca) ||
        !(is_ca ? put_constraints(x, plan->names, plan->count)
                : put_names(x, plan->names, plan->count)) ||
        !put_key_ids(x, plan->key, plan->issuer) ||
        X509_sign(x, pki_key_evp(plan->signer), pki_digest_of(pki_key_kind_of(plan->signer))) <=
            0) {
        err = pki_openssl_fail(why, WEFT_EINTERNAL, "a server's certificate can't be made");
        goto out;
    }
    int len = i2d_X509(x, &der);
    err = len > 0 ? pki_pem_put("CERTIFICATE", wf_span_of(der, (size_t)len), pem)
                  : pki_openssl_fail(why, WEFT_EINTERNAL, "a certificate can't be written");
out:
    OPENSSL_free(der);
    X509_free(x);
    return err;
}

static uint64_t web_end(uint64_t now, uint64_t life_ms)
{
    return life_ms < WEB_TIME_MAX_MS && now < WEB_TIME_MAX_MS - life_ms ? now + life_ms
                                                                        : WEB_TIME_MAX_MS;
}

static uint64_t web_begin(uint64_t now)
{
    return now > WF_CLOCK_TOLERANCE_MS ? now - WF_CLOCK_TOLERANCE_MS : 0;
}

/* All or nothing: on failure the buffers are as they were. */
static weft_err put_both(const struct web_plan *plan, wf_span behind, wf_buf *key_pem, wf_buf *pem,
                         wf_why *why)
{
    size_t keys = key_pem->len, certs = pem->len;
    weft_err err = web_sign(plan, pem, why);
    if (err == WEFT_OK)
        err = wf_buf_put(pem, behind.data, behind.len);
    if (err == WEFT_OK)
        err = pki_key_put_pem(plan->key, NULL, key_pem);
    if (err != WEFT_OK) {
        if (key_pem->len > keys)
            wf_wipe(key_pem->data + keys, key_pem->len - keys);
        key_pem->len = keys;
        pem->len = certs;
    }
    return err;
}

weft_err pki_web_ca_new(const char *const *names, size_t count, uint64_t now, uint64_t life_ms,
                        wf_buf *key_pem, wf_buf *cert_pem, wf_why *why)
{
    pki_key *key = NULL;
    pki_pin pin;
    char cn[32], digits[9];
    weft_err err = check_names(names, count, why);
    if (err == WEFT_OK)
        err = pki_key_new(PKI_KEY_P256, &key, why);
    if (err != WEFT_OK)
        return err;
    pki_key_pin(key, &pin);
    (void)snprintf(cn, sizeof cn, "weft web %s", wf_hex(pin.b, 4, digits));
    const struct web_plan plan = {.key = key,
                                  .signer = key,
                                  .cn = cn,
                                  .names = names,
                                  .count = count,
                                  .from = web_begin(now),
                                  .to = web_end(now, life_ms)};
    err = put_both(&plan, (wf_span){NULL, 0}, key_pem, cert_pem, why);
    pki_key_free(key);
    return err;
}

/* The authority's certificate, if it is one that this file made or could have made. */
static weft_err open_ca(wf_span pem, const pki_key *key, X509 **out, wf_why *why)
{
    char label[PKI_PEM_LABEL_MAX];
    wf_buf der;
    wf_span rest = pem;
    X509 *x = NULL;
    enum pki_kind kind;
    wf_buf_init(&der, WF_CERT_MAX * 4);
    weft_err err = pki_pem_next(&rest, label, &der, why);
    if (err == WEFT_OK) {
        const unsigned char *at = der.data;
        x = d2i_X509(NULL, &at, (long)der.len);
    }
    if (err == WEFT_ENOMEM)
        goto out;
    if (x == NULL || X509_check_ca(x) != 1 || X509_check_private_key(x, pki_key_evp(key)) != 1) {
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL,
                               "the web authority's certificate is none, or not its key's");
        goto out;
    }
    if (pki_x509_kind(x, &kind)) {
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "an authority of the fabric signs no web server's certificate");
        goto out;
    }
    *out = x;
    x = NULL;
    err = WEFT_OK;
out:
    ERR_clear_error();
    X509_free(x);
    wf_buf_fini(&der);
    return err;
}

weft_err pki_web_issue(wf_span ca_key_pem, wf_span ca_cert_pem, const char *const *names,
                       size_t count, uint64_t now, uint64_t life_ms, wf_buf *key_pem,
                       wf_buf *chain_pem, wf_why *why)
{
    pki_key *signer = NULL, *key = NULL;
    X509 *issuer = NULL;
    uint64_t from, to;
    weft_err err = check_names(names, count, why);
    if (err == WEFT_OK && count == 0)
        err = wf_fail(why, WEFT_EINVAL, "a server's certificate needs a name");
    if (err == WEFT_OK)
        err = pki_key_from_pem(ca_key_pem, NULL, &signer, why);
    if (err == WEFT_OK)
        err = open_ca(ca_cert_pem, signer, &issuer, why);
    if (err == WEFT_OK)
        err = pki_key_new(PKI_KEY_P256, &key, why);
    if (err != WEFT_OK)
        goto out;
    if (!pki_x509_validity(issuer, &from, &to) || now >= to) {
        err = wf_fail(why, WEFT_EEXPIRED, "the web authority has expired: make a new one");
        goto out;
    }
    struct web_plan plan = {.key = key,
                            .signer = signer,
                            .issuer = issuer,
                            .cn = strlen(names[0]) <= 64 ? names[0] : "weft web server",
                            .names = names,
                            .count = count,
                            .from = web_begin(now),
                            .to = web_end(now, life_ms)};
    if (plan.from < from)
        plan.from = from;
    if (plan.to > to)
        plan.to = to;
    err = put_both(&plan, ca_cert_pem, key_pem, chain_pem, why);
out:
    X509_free(issuer);
    pki_key_free(key);
    pki_key_free(signer);
    return err;
}
