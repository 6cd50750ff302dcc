/* weft_endpoint_facts: what an endpoint knows of itself without asking anybody. */
#include "proto/base/clock.h"
#include "sdk/endpoint.h"
#include <string.h>

void wf_facts_count(uint64_t counts[WEFT_FACTS_CODES], weft_err err)
{
    counts[(unsigned)err < WEFT_FACTS_CODES ? (unsigned)err : (unsigned)WEFT_EINTERNAL]++;
}

void weft_endpoint_facts(const weft_endpoint *e, struct weft_facts *out, size_t size)
{
    const struct pki_witness *w = &e->grants.witness;
    const uint64_t now = wf_now_wall_ms();
    struct weft_facts facts = {
        .certificate_from = (int64_t)(e->self.not_before / 1000),
        .certificate_until = (int64_t)(e->self.not_after / 1000),
        .renewals = e->renewals,
        .dial_grants = wf_grants_good(&e->grants, WEFT__WIRE__ROLE__ROLE_DIAL, now),
        .bind_grants = wf_grants_good(&e->grants, WEFT__WIRE__ROLE__ROLE_BIND, now),
        .bundle_version = pki_trust_version(e->trust),
        .audit_size = w->count > 0 ? w->items[w->count - 1].checkpoint.size : 0,
        .audit_alarms = w->alarms,
    };
    memcpy(facts.dials_failed, e->dials_failed, sizeof facts.dials_failed);
    memcpy(facts.sessions_refused, e->sessions_refused, sizeof facts.sessions_refused);
    memcpy(facts.binds_refused, e->binds_refused, sizeof facts.binds_refused);
    memset(out, 0, size);
    memcpy(out, &facts, size < sizeof facts ? size : sizeof facts);
}
