/*
 * What is said of an audit log by those who keep it: proofs (nothing but the
 * right one holds), entries' numbers, checkpoints and consistency answers.
 */
#include "pki/ledger.h"
#include "tests/fuzz/check.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static uint64_t number(const uint8_t *data)
{
    uint64_t n = 0;

    for (int i = 0; i < 8; i++)
        n = n << 8 | data[i];
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct pki_witness witness;
    struct pki_proof proof = {.count = 0};
    uint64_t first, second, seq;
    uint8_t root[PKI_HASH_LEN] = {0};
    wf_why why = {.text = ""};

    if (pki_ledger_seq(wf_span_of(data, len), &seq) == WEFT_OK)
        CHECK(seq > 0 && seq <= WF_LOG_MAX);
    pki_witness_init(&witness);
    (void)pki_witness_prove(&witness, 1, 2, wf_span_of(data, len), &why);
    CHECK(witness.alarms == 0 && witness.count == 0);
    pki_witness_fini(&witness);
    if (len < 17)
        return 0;
    first = number(data);
    second = number(data + 8);
    proof.count = data[16];
    data += 17;
    len -= 17;
    for (size_t i = 0; i < PKI_PROOF_MAX && len >= PKI_HASH_LEN; i++) {
        memcpy(proof.hash[i], data, PKI_HASH_LEN);
        data += PKI_HASH_LEN;
        len -= PKI_HASH_LEN;
    }
    /* No one has a preimage of zeros: nothing that was made up holds. */
    CHECK(!pki_tree_check_leaf(root, first, second, &proof, root) || (first == 0 && second == 1));
    CHECK(!pki_tree_check_prefix(first, root, second, root, &proof) ||
          (first == second && first > 0 && proof.count == 0));
    return 0;
}
