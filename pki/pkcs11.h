/*
 * Names of keys in PKCS#11 tokens: RFC 7512 URIs, strictly, of which a subset
 * is served. Bytes only; the token itself is spoken to in key_pkcs11.c.
 */
#ifndef PKI_PKCS11_H
#define PKI_PKCS11_H

#include "proto/base/buf.h"
#include "proto/base/reader.h"
#include "proto/base/why.h"
#include <stdbool.h>

#define PKI_PKCS11_URI_MAX 1024u
#define PKI_PKCS11_PART_MAX 255u

struct pki_pkcs11 {
    char name[PKI_PKCS11_URI_MAX + 1];     /* "pkcs11:token=...;object=...;type=private" */
    char token[PKI_PKCS11_PART_MAX + 1];   /* decoded, for words; empty: not named */
    char object[PKI_PKCS11_PART_MAX + 1];  /* likewise: the label */
    char pin_file[PKI_PKCS11_URI_MAX + 1]; /* an absolute path; empty: none */
};

/* Whether the text begins as such a URI. */
bool pki_pkcs11_is(const char *text);
/*
 * Attributes token, manufacturer, serial, model, object, id and type=private, each once,
 * with object or id; of the query pin-source alone (file:/PATH or /PATH). A PIN in the
 * URI itself is refused: it would show in process lists and files. WEFT_EINVAL.
 */
weft_err pki_pkcs11_parse(const char *text, struct pki_pkcs11 *out, wf_why *why);

#endif
