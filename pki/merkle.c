#include "pki/merkle.h"
#include "pki/key.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ON_STACK 4096u

weft_err pki_tree_leaf(wf_span entry, uint8_t out[PKI_HASH_LEN])
{
    uint8_t small[1 + ON_STACK], *all = small;

    if (entry.len > PKI_TREE_LEAF_MAX)
        return WEFT_ELIMIT;
    if (entry.len > ON_STACK) {
        all = malloc(1 + entry.len);
        if (all == NULL)
            return WEFT_ENOMEM;
    }
    all[0] = 0;
    if (entry.len > 0)
        memcpy(all + 1, entry.data, entry.len);
    pki_sha256(all, 1 + entry.len, out);
    if (all != small)
        free(all);
    return WEFT_OK;
}

void pki_tree_node(const uint8_t left[PKI_HASH_LEN], const uint8_t right[PKI_HASH_LEN],
                   uint8_t out[PKI_HASH_LEN])
{
    uint8_t both[1 + 2 * PKI_HASH_LEN] = {1};

    memcpy(both + 1, left, PKI_HASH_LEN);
    memcpy(both + 1 + PKI_HASH_LEN, right, PKI_HASH_LEN);
    pki_sha256(both, sizeof both, out);
}

weft_err pki_tree_add(struct pki_tree *tree, const uint8_t leaf[PKI_HASH_LEN],
                      pki_tree_done_fn done, void *arg)
{
    uint8_t hash[PKI_HASH_LEN];
    unsigned level = 0;

    assert(tree->size < UINT64_C(1) << (PKI_TREE_LEVELS - 1));
    memcpy(hash, leaf, sizeof hash);
    /* As a binary counter: each one that carries merges with what stands on its left. */
    for (; (tree->size >> level & 1) != 0; level++) {
        pki_tree_node(tree->hash[level], hash, hash);
        if (done != NULL) {
            weft_err err = done(arg, level + 1, tree->size >> (level + 1), hash);

            if (err != WEFT_OK)
                return err;
        }
    }
    memcpy(tree->hash[level], hash, sizeof hash);
    tree->size++;
    return WEFT_OK;
}

void pki_tree_root(const struct pki_tree *tree, uint8_t out[PKI_HASH_LEN])
{
    bool any = false;

    if (tree->size == 0)
        pki_sha256("", 0, out);
    for (unsigned level = 0; level < PKI_TREE_LEVELS; level++) {
        if ((tree->size >> level & 1) == 0)
            continue;
        if (any)
            pki_tree_node(tree->hash[level], out, out);
        else
            memcpy(out, tree->hash[level], PKI_HASH_LEN);
        any = true;
    }
}

weft_err pki_tree_load(struct pki_tree *tree, uint64_t size, pki_tree_get_fn get, void *arg)
{
    weft_err err = WEFT_OK;

    assert(size < UINT64_C(1) << (PKI_TREE_LEVELS - 1));
    tree->size = size;
    for (unsigned level = 0; err == WEFT_OK && level < PKI_TREE_LEVELS; level++)
        if ((size >> level & 1) != 0)
            err = get(arg, level, (size >> level) - 1, tree->hash[level]);
    return err;
}

/* ---- making proofs */

/* The largest power of two below n; n >= 2. Its exponent. */
static unsigned split(uint64_t n)
{
    unsigned level = 0;

    while (UINT64_C(2) << level < n)
        level++;
    return level;
}

/* The hash of n leaves from start on, where start is a multiple of a power of two >= n. */
static weft_err range(uint64_t start, uint64_t n, pki_tree_get_fn get, void *arg,
                      uint8_t out[PKI_HASH_LEN])
{
    uint8_t right[PKI_HASH_LEN];
    unsigned level;
    weft_err err;

    assert(n > 0);
    if (n == 1)
        return get(arg, 0, start, out);
    level = split(n);
    if (n == UINT64_C(2) << level)
        return get(arg, level + 1, start >> (level + 1), out);
    err = get(arg, level, start >> level, out);
    if (err == WEFT_OK)
        err = range(start + (UINT64_C(1) << level), n - (UINT64_C(1) << level), get, arg, right);
    if (err == WEFT_OK)
        pki_tree_node(out, right, out);
    return err;
}

static weft_err put_range(struct pki_proof *out, uint64_t start, uint64_t n, pki_tree_get_fn get,
                          void *arg)
{
    assert(out->count < PKI_PROOF_MAX);
    return range(start, n, get, arg, out->hash[out->count++]);
}

static weft_err path(uint64_t leaf, uint64_t start, uint64_t n, pki_tree_get_fn get, void *arg,
                     struct pki_proof *out)
{
    uint64_t k;
    weft_err err;

    if (n == 1)
        return WEFT_OK;
    k = UINT64_C(1) << split(n);
    if (leaf < k) {
        err = path(leaf, start, k, get, arg, out);
        return err == WEFT_OK ? put_range(out, start + k, n - k, get, arg) : err;
    }
    err = path(leaf - k, start + k, n - k, get, arg, out);
    return err == WEFT_OK ? put_range(out, start, k, get, arg) : err;
}

weft_err pki_tree_prove_leaf(uint64_t leaf, uint64_t size, pki_tree_get_fn get, void *arg,
                             struct pki_proof *out)
{
    assert(leaf < size);
    out->count = 0;
    return path(leaf, 0, size, get, arg, out);
}

static weft_err subproof(uint64_t m, uint64_t start, uint64_t n, bool whole, pki_tree_get_fn get,
                         void *arg, struct pki_proof *out)
{
    uint64_t k;
    weft_err err;

    if (m == n)
        return whole ? WEFT_OK : put_range(out, start, n, get, arg);
    k = UINT64_C(1) << split(n);
    if (m <= k) {
        err = subproof(m, start, k, whole, get, arg, out);
        return err == WEFT_OK ? put_range(out, start + k, n - k, get, arg) : err;
    }
    err = subproof(m - k, start + k, n - k, false, get, arg, out);
    return err == WEFT_OK ? put_range(out, start, k, get, arg) : err;
}

weft_err pki_tree_prove_prefix(uint64_t first, uint64_t second, pki_tree_get_fn get, void *arg,
                               struct pki_proof *out)
{
    assert(first > 0 && first <= second);
    out->count = 0;
    return subproof(first, 0, second, true, get, arg, out);
}

/* ---- checking them */

bool pki_tree_check_leaf(const uint8_t leaf_hash[PKI_HASH_LEN], uint64_t leaf, uint64_t size,
                         const struct pki_proof *proof, const uint8_t root[PKI_HASH_LEN])
{
    uint64_t fn = leaf, sn = size - 1;
    uint8_t r[PKI_HASH_LEN];

    if (leaf >= size || proof->count > PKI_PROOF_MAX)
        return false;
    memcpy(r, leaf_hash, sizeof r);
    for (size_t i = 0; i < proof->count; i++) {
        if (sn == 0)
            return false;
        if ((fn & 1) != 0 || fn == sn) {
            pki_tree_node(proof->hash[i], r, r);
            while ((fn & 1) == 0 && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            pki_tree_node(r, proof->hash[i], r);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && memcmp(r, root, sizeof r) == 0;
}

bool pki_tree_check_prefix(uint64_t first, const uint8_t first_root[PKI_HASH_LEN], uint64_t second,
                           const uint8_t second_root[PKI_HASH_LEN], const struct pki_proof *proof)
{
    uint64_t fn = first - 1, sn = second - 1;
    uint8_t fr[PKI_HASH_LEN], sr[PKI_HASH_LEN];
    size_t i = 0;

    if (first == 0 || first > second || proof->count > PKI_PROOF_MAX)
        return false;
    if (first == second)
        return proof->count == 0 && memcmp(first_root, second_root, PKI_HASH_LEN) == 0;
    while ((fn & 1) != 0) {
        fn >>= 1;
        sn >>= 1;
    }
    if (fn == 0) { /* first is a power of two: its root is where the proof begins */
        memcpy(fr, first_root, sizeof fr);
    } else {
        if (proof->count == 0)
            return false;
        memcpy(fr, proof->hash[i++], sizeof fr);
    }
    memcpy(sr, fr, sizeof sr);
    for (; i < proof->count; i++) {
        if (sn == 0)
            return false;
        if ((fn & 1) != 0 || fn == sn) {
            pki_tree_node(proof->hash[i], fr, fr);
            pki_tree_node(proof->hash[i], sr, sr);
            while ((fn & 1) == 0 && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            pki_tree_node(sr, proof->hash[i], sr);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && memcmp(fr, first_root, sizeof fr) == 0 &&
           memcmp(sr, second_root, sizeof sr) == 0;
}
