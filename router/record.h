/* Signed records at rest: copies, and lists of them. */
#ifndef ROUTER_RECORD_H
#define ROUTER_RECORD_H

#include "proto/wire/control.h"

#define RECORDS_MAX 65536u

/* A copy of a Signed, freed with wf_signed_free; NULL without memory. */
Weft__Wire__Signed *signed_dup(const Weft__Wire__Signed *record);

struct records {
    Weft__Wire__Signed **list; /* owned, and what it points to */
    size_t count, cap;
};

void records_fini(struct records *records);
/* Appends a copy. WEFT_ENOMEM, WEFT_ELIMIT. */
weft_err records_add(struct records *records, const Weft__Wire__Signed *record);
/* Appends it; it is the list's on success. WEFT_ENOMEM, WEFT_ELIMIT. */
weft_err records_take(struct records *records, Weft__Wire__Signed *record);

#endif
