/*
 * The hash tree over a log, as in RFC 6962, section 2: leaves are hashed with
 * 0x00 before them, nodes with 0x01, so that neither passes for the other.
 * Pure arithmetic: whoever keeps the log hands hashes of it in.
 */
#ifndef PKI_MERKLE_H
#define PKI_MERKLE_H

#include "proto/base/reader.h"
#include <stdbool.h>
#include <stdint.h>
#include <weft/err.h>

#define PKI_HASH_LEN 32u
#define PKI_TREE_LEVELS 63u
#define PKI_PROOF_MAX 64u        /* hashes in a proof of either kind */
#define PKI_TREE_LEAF_MAX 65536u /* bytes of one entry */

/* A tree that only grows, by its right edge: hash[l] stands if bit l of size does. */
struct pki_tree {
    uint64_t size;
    uint8_t hash[PKI_TREE_LEVELS][PKI_HASH_LEN];
};

/* SHA-256(0x00 || entry); at most PKI_TREE_LEAF_MAX bytes. WEFT_ELIMIT, WEFT_ENOMEM. */
weft_err pki_tree_leaf(wf_span entry, uint8_t out[PKI_HASH_LEN]);
/* SHA-256(0x01 || left || right). */
void pki_tree_node(const uint8_t left[PKI_HASH_LEN], const uint8_t right[PKI_HASH_LEN],
                   uint8_t out[PKI_HASH_LEN]);

/* A subtree became complete: leaves index << level up to (index + 1) << level. level >= 1. */
typedef weft_err (*pki_tree_done_fn)(void *arg, unsigned level, uint64_t index,
                                     const uint8_t hash[PKI_HASH_LEN]);
/* Adds a leaf's hash; on an error of done (NULL is fine) the tree is as before. O(log size). */
weft_err pki_tree_add(struct pki_tree *tree, const uint8_t leaf[PKI_HASH_LEN],
                      pki_tree_done_fn done, void *arg);
/* The root; SHA-256 of nothing for an empty tree. */
void pki_tree_root(const struct pki_tree *tree, uint8_t out[PKI_HASH_LEN]);

/* The hash of a complete subtree; level 0: of a leaf. Asked only for what lies below the size. */
typedef weft_err (*pki_tree_get_fn)(void *arg, unsigned level, uint64_t index,
                                    uint8_t out[PKI_HASH_LEN]);
/* The right edge of the tree of this size. */
weft_err pki_tree_load(struct pki_tree *tree, uint64_t size, pki_tree_get_fn get, void *arg);

struct pki_proof {
    size_t count;
    uint8_t hash[PKI_PROOF_MAX][PKI_HASH_LEN];
};

/* That the leaf (from 0) stands in the tree of `size`; leaf < size. Errors are those of get. */
weft_err pki_tree_prove_leaf(uint64_t leaf, uint64_t size, pki_tree_get_fn get, void *arg,
                             struct pki_proof *out);
/* That the tree of `second` begins with the one of `first`; 0 < first <= second. */
weft_err pki_tree_prove_prefix(uint64_t first, uint64_t second, pki_tree_get_fn get, void *arg,
                               struct pki_proof *out);
/* Proofs from anybody: every number and count is looked at (RFC 9162, 2.1.3.2 and 2.1.4.2). */
bool pki_tree_check_leaf(const uint8_t leaf_hash[PKI_HASH_LEN], uint64_t leaf, uint64_t size,
                         const struct pki_proof *proof, const uint8_t root[PKI_HASH_LEN]);
bool pki_tree_check_prefix(uint64_t first, const uint8_t first_root[PKI_HASH_LEN], uint64_t second,
                           const uint8_t second_root[PKI_HASH_LEN], const struct pki_proof *proof);

#endif
