/*
 * The set of revocation floors: what has been withdrawn, by epoch.
 * Pure data; pki/trust.h owns one and verifies what goes in.
 * docs/protocol.md, "Floors".
 */
#ifndef PKI_FLOORS_H
#define PKI_FLOORS_H

#include "pki/cert.h"
#include "proto/wire/control.h"

typedef struct pki_floors pki_floors;

pki_floors *pki_floors_new(void); /* NULL without memory */
void pki_floors_free(pki_floors *floors);
uint64_t pki_floors_version(const pki_floors *floors); /* 0: nothing seen */
void pki_floors_digest(const pki_floors *floors, uint8_t out[32]);
/*
 * Applies a verified body. A snapshot replaces all if its version is higher; a
 * delta must be version + 1 and name our digest. Floors only rise: a lower
 * epoch for a thing known, or an older version, changes nothing; an equal epoch
 * may take a cut away (enable). A floor past its end counts as forgotten, key
 * floors never are. now: wall ms.
 * *changed says whether anything was learned. WEFT_ECONFLICT: a gap, ask for a
 * snapshot. WEFT_EPROTO: a floor names nothing, or two things; nothing is taken.
 * WEFT_ENOMEM, WEFT_ELIMIT: the version stays, so the same body may come again.
 */
weft_err pki_floors_apply(pki_floors *floors, const Weft__Wire__FloorsBody *body,
                          const uint8_t digest[32], uint64_t now, bool *changed);

/* Whether the certificate of this subject is refused everywhere. */
bool pki_floors_is_cut(const pki_floors *floors, enum pki_kind kind, const wf_id *id,
                       const pki_pin *pin);
/* The floor that a grant of this identity, service and role must reach; 0: none. */
uint64_t pki_floors_for_grant(const pki_floors *floors, const wf_id *identity, const wf_id *service,
                              Weft__Wire__Role role);
uint64_t pki_floors_for_router(const pki_floors *floors, const wf_id *router);

#endif
