/*
 * Verifies an audit log from its entries and signed checkpoints alone, without
 * trusting where they come from: a controller, an exported file, a stolen or
 * restored database. docs/protocol.md, "The audit log".
 *
 * All checkpoints go in first, then the entries in order, one by one.
 */
#ifndef PKI_LEDGER_H
#define PKI_LEDGER_H

#include "pki/checkpoint.h"

#define PKI_LEDGER_MARKS_MAX (4u * 1024u * 1024u)
#define PKI_LEDGER_SOURCES_MAX 32u

struct pki_ledger_mark {
    struct pki_checkpoint checkpoint;
    unsigned source;
};

struct pki_ledger {
    const pki_trust *trust; /* borrowed */
    struct pki_tree tree;
    struct pki_ledger_mark *marks; /* owned; sorted by the first entry */
    size_t mark_count, mark_cap, next;
    const char *sources[PKI_LEDGER_SOURCES_MAX]; /* borrowed */
    unsigned source_count;
    bool sorted;
    uint64_t sound; /* entries that a checkpoint has vouched for */
    uint64_t first_bad,
        last_bad; /* after WEFT_ETAMPERED: among these is the first bad entry; 0: none */
};

void pki_ledger_init(struct pki_ledger *ledger, const pki_trust *trust);
void pki_ledger_fini(struct pki_ledger *ledger);
/* A checkpoint (encoded Signed); source is named in what is said. WEFT_ECREDENTIAL, WEFT_ELIMIT. */
weft_err pki_ledger_mark(struct pki_ledger *ledger, wf_span encoded, const char *source,
                         wf_why *why);
/*
 * The next entry: its number as it is filed, its exact bytes, and the hash that
 * stands beside it (NULL: none). WEFT_ETAMPERED: the sentence names the entry,
 * or the span of entries between two checkpoints in which it lies.
 */
weft_err pki_ledger_entry(struct pki_ledger *ledger, uint64_t seq, wf_span bytes,
                          const uint8_t *leaf, wf_why *why);
/* No more entries: whether all that was signed for is there. WEFT_ETAMPERED. */
weft_err pki_ledger_end(struct pki_ledger *ledger, wf_why *why);

/* The number inside an entry's bytes, with which they begin: {"seq":N,. WEFT_EPROTO. */
weft_err pki_ledger_seq(wf_span bytes, uint64_t *seq);

#endif
