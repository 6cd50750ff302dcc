/* The few strict questions that pki asks of JSON. Inside pki only. */
#ifndef PKI_JSON_H
#define PKI_JSON_H

#include "proto/base/reader.h"
#include "proto/base/why.h"
#include <jansson.h>

/*
 * One JSON object and nothing behind it; no name twice, at any depth, and no
 * NUL in a text. The caller owns *out (json_decref). `what` names the thing
 * in the message. WEFT_ECREDENTIAL, WEFT_ENOMEM.
 */
weft_err pki_json_load(wf_span text, const char *what, json_t **out, wf_why *why);
/* Every field of object is one of `names` (count of them), the first `required` are all there. */
weft_err pki_json_fields(json_t *object, const char *const *names, size_t count, size_t required,
                         const char *what, wf_why *why);
/* A text of 1 to max bytes; borrowed from object. */
weft_err pki_json_text(json_t *object, const char *name, size_t max, wf_span *out, wf_why *why);
/* An array of min to max entries; borrowed from object. */
weft_err pki_json_array(json_t *object, const char *name, size_t min, size_t max, json_t **out,
                        wf_why *why);
/* Entry i of an array, a text of 1 to max bytes; borrowed. */
weft_err pki_json_entry(json_t *array, size_t i, const char *name, size_t max, wf_span *out,
                        wf_why *why);
/* Overwrites a text in place: a secret that jansson would free as it is. */
void pki_json_wipe(json_t *text);

#endif
