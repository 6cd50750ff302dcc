/*
 * Checkpoints of the audit log: a size and the root of the hash tree at that
 * size, signed by an audit key; and the memory of them by which a node notices
 * a log that was cut, rolled back or forked. docs/protocol.md, "The audit log".
 */
#ifndef PKI_CHECKPOINT_H
#define PKI_CHECKPOINT_H

#include "pki/merkle.h"
#include "pki/trust.h"

struct pki_checkpoint {
    uint64_t size; /* 0: none */
    uint64_t time; /* wall ms */
    uint8_t root[PKI_HASH_LEN];
};

/* Appends the encoded Signed. */
weft_err pki_checkpoint_seal(const pki_key *audit_key, const char *domain,
                             const struct pki_checkpoint *checkpoint, wf_buf *out);
/* Verifies under any audit key of the bundle, and the trust domain. WEFT_ECREDENTIAL, WEFT_EPROTO.
 */
weft_err pki_trust_check_checkpoint(const pki_trust *trust, const Weft__Wire__Signed *record,
                                    struct pki_checkpoint *out, wf_why *why);
/* The same for an encoded Signed. */
weft_err pki_checkpoint_open(const pki_trust *trust, wf_span encoded, struct pki_checkpoint *out,
                             wf_why *why);

/* ---- what a node remembers */

#define PKI_WITNESS_MAX 400u /* the first one of each day, and the newest */

struct pki_seen_checkpoint {
    struct pki_checkpoint checkpoint;
    wf_buf record; /* owned: the encoded Signed */
};

struct pki_witness {
    struct pki_seen_checkpoint items[PKI_WITNESS_MAX]; /* by size, rising; the last is the newest */
    size_t count;
    struct pki_seen_checkpoint anchor; /* all up to here was proved to be one log; size 0: none */
    uint64_t alarms;                   /* since the start */
    uint64_t asked_at;                 /* mono ms of the last question for a proof; 0: never */
    bool dirty;                        /* something is not on disk yet */
};

void pki_witness_init(struct pki_witness *witness);
void pki_witness_fini(struct pki_witness *witness);
/*
 * Takes one in. from_controller: it is the controller's present word, so a
 * smaller one is an alarm; others may lag. WEFT_ETAMPERED with a sentence: an
 * alarm, counted; nothing is forgotten. WEFT_ECREDENTIAL: not signed by an audit key.
 */
weft_err pki_witness_take(struct pki_witness *witness, const pki_trust *trust,
                          const Weft__Wire__Signed *record, bool from_controller, wf_why *why);
/* Whether a proof from the anchor to the newest should be asked for now: notes that it is. */
bool pki_witness_wants_proof(struct pki_witness *witness, uint64_t now_mono, uint64_t *first,
                             uint64_t *second);
/* The answer (an encoded ConsistencyResult). WEFT_ETAMPERED: an alarm, counted. */
weft_err pki_witness_prove(struct pki_witness *witness, uint64_t first, uint64_t second,
                           wf_span result, wf_why *why);

/* On disk: the anchor, then the others. i < pki_witness_records; borrowed until the next take. */
size_t pki_witness_records(const struct pki_witness *witness);
wf_span pki_witness_record(const struct pki_witness *witness, size_t i);
/* From disk, in the same order, into an empty witness; what doesn't verify is left out. */
void pki_witness_restore(struct pki_witness *witness, const pki_trust *trust,
                         const Weft__Wire__Signed *record, size_t i);
/* The newest, to be shown to others; NULL: none. The caller's, by wf_signed_free. */
Weft__Wire__Signed *pki_witness_newest(const struct pki_witness *witness);

#endif
