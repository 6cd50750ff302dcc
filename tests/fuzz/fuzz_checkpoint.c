/*
 * Checkpoints of the audit log, from routers and from files given to
 * --against: whatever bytes come, nothing that no audit key signed is taken,
 * and a refusal leaves the ledger as it was.
 */
#include "pki/ledger.h"
#include "tests/fuzz/fabric.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fabric fabric;
static pki_trust *trust;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pki_checkpoint checkpoint;
    Weft__Wire__Signed *record = NULL;
    struct pki_ledger ledger;
    wf_why why = {""};

    if (trust == NULL) {
        fabric_open(&fabric);
        trust = fabric_trust(&fabric);
    }
    pki_ledger_init(&ledger, trust);
    CHECK(pki_ledger_mark(&ledger, wf_span_of(data, size), "a file", &why) != WEFT_OK);
    CHECK(ledger.mark_count == 0 && ledger.tree.size == 0 && why.text[0] != '\0');
    pki_ledger_fini(&ledger);
    if (wf_signed_decode(data, size, &record, NULL) == WEFT_OK)
        CHECK(pki_trust_check_checkpoint(trust, record, &checkpoint, &why) != WEFT_OK);
    wf_signed_free(record);
    return 0;
}
