/* SHA-256 of bytes that come in pieces. */
#ifndef PKI_DIGEST_H
#define PKI_DIGEST_H

#include "proto/base/reader.h"

#define PKI_DIGEST_HEX 65 /* with NUL */

typedef struct pki_digest pki_digest;

pki_digest *pki_digest_new(void); /* NULL without memory */
/* WEFT_EINTERNAL, after which only free makes sense. */
weft_err pki_digest_add(pki_digest *digest, wf_span bytes);
/* Lower-case hex of all that was added; nothing may be added after it. */
weft_err pki_digest_hex(pki_digest *digest, char out[PKI_DIGEST_HEX]);
void pki_digest_free(pki_digest *digest); /* NULL is fine */

#endif
