/* The test vectors of docs/protocol.md: inputs in JSON, beside them what our code makes of them. */
#ifndef TESTS_DOCS_VECTORS_H
#define TESTS_DOCS_VECTORS_H

#include "pki/identity.h"
#include "pki/record.h"
#include <jansson.h>

/* Aborts with the place if the file can't be read. The caller owns the result. */
json_t *vectors_load(const char *path);
/* Sets every output in root anew from the inputs beside it. */
void vectors_fill(json_t *root);
/* The text of the identity file that the vectors' host would have; appended. */
void vectors_put_identity(const json_t *root, wf_buf *out);

/* ---- for tests that go the other way */

/* The bytes of a hex text under name; initialised by the call, ended with wf_buf_fini. */
void vectors_bytes(const json_t *object, const char *name, wf_buf *out);
const char *vectors_text(const json_t *object, const char *name);
uint64_t vectors_number(const json_t *object, const char *name);
/* The entry of a list that has this "name". */
json_t *vectors_find(const json_t *root, const char *list, const char *name);
/* An Ed25519 key by name. */
pki_key *vectors_key(const json_t *root, const char *name);
/* The chain by name: leaf first. */
pki_chain *vectors_chain(const json_t *root, const char *name);
/* A record by name, decoded from its bytes. */
Weft__Wire__Signed *vectors_record(const json_t *root, const char *name);
pki_trust *vectors_trust(const json_t *root);

#endif
