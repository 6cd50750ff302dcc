/* The hash tree: the reference vectors of certificate transparency, and a naive oracle. */
#include "pki/merkle.h"
#include "proto/base/text.h"
#include "tests/helpers/test.h"
#include <stdlib.h>
#include <string.h>

#define MOST 300u

/* The inputs, roots and proofs that certificate-transparency's tests give (merkle_tree_test). */
static const char *const inputs[8] = {
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
};
static const char *const roots[9] = {
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
};

static uint8_t leaves[MOST][PKI_HASH_LEN];

/* MTH as the RFC writes it. */
static void naive(size_t from, size_t n, uint8_t out[PKI_HASH_LEN])
{
    uint8_t left[PKI_HASH_LEN], right[PKI_HASH_LEN];
    size_t k = 1;

    if (n == 1) {
        memcpy(out, leaves[from], PKI_HASH_LEN);
        return;
    }
    while (2 * k < n)
        k *= 2;
    naive(from, k, left);
    naive(from + k, n - k, right);
    pki_tree_node(left, right, out);
}

static weft_err get(void *arg, unsigned level, uint64_t index, uint8_t out[PKI_HASH_LEN])
{
    const uint64_t *size = arg;

    assert_true(((index + 1) << level) <= *size); /* only complete subtrees are asked for */
    naive((size_t)(index << level), (size_t)1 << level, out);
    return WEFT_OK;
}

static void set_leaves(void)
{
    for (unsigned i = 0; i < MOST; i++) {
        uint8_t entry[3] = {(uint8_t)i, (uint8_t)(i >> 8), 'x'};

        assert_int_equal(pki_tree_leaf(wf_span_of(entry, sizeof entry), leaves[i]), WEFT_OK);
    }
}

static void the_reference_trees_have_their_known_roots(void **state)
{
    struct pki_tree tree = {.size = 0};
    uint8_t root[PKI_HASH_LEN], bytes[16], leaf[PKI_HASH_LEN];
    char text[2 * PKI_HASH_LEN + 1];

    (void)state;
    for (size_t i = 0; i <= 8; i++) {
        pki_tree_root(&tree, root);
        assert_string_equal(wf_hex(root, sizeof root, text), roots[i]);
        if (i == 8)
            break;
        assert_true(wf_unhex(inputs[i], strlen(inputs[i]), bytes, strlen(inputs[i]) / 2));
        assert_int_equal(pki_tree_leaf(wf_span_of(bytes, strlen(inputs[i]) / 2), leaf), WEFT_OK);
        assert_int_equal(pki_tree_add(&tree, leaf, NULL, NULL), WEFT_OK);
    }
}

static void reference_proof(uint64_t leaf, uint64_t size, const char *const *want, size_t count,
                            bool prefix)
{
    struct pki_proof proof;
    char text[2 * PKI_HASH_LEN + 1];
    uint8_t bytes[16];

    for (size_t i = 0; i < 8; i++) {
        assert_true(wf_unhex(inputs[i], strlen(inputs[i]), bytes, strlen(inputs[i]) / 2));
        assert_int_equal(pki_tree_leaf(wf_span_of(bytes, strlen(inputs[i]) / 2), leaves[i]),
                         WEFT_OK);
    }
    assert_int_equal(prefix ? pki_tree_prove_prefix(leaf, size, get, &size, &proof)
                            : pki_tree_prove_leaf(leaf, size, get, &size, &proof),
                     WEFT_OK);
    assert_int_equal(proof.count, count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(wf_hex(proof.hash[i], PKI_HASH_LEN, text), want[i]);
}

static void the_reference_proofs_are_made_hash_for_hash(void **state)
{
    static const char *const leaf_0_of_8[] = {
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"};
    static const char *const leaf_2_of_3[] = {
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"};
    static const char *const prefix_1_of_8[] = {
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"};
    static const char *const prefix_6_of_8[] = {
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"};

    (void)state;
    reference_proof(0, 8, leaf_0_of_8, 3, false);
    reference_proof(2, 3, leaf_2_of_3, 1, false);
    reference_proof(1, 8, prefix_1_of_8, 3, true);
    reference_proof(6, 8, prefix_6_of_8, 3, true);
}

static void every_root_up_to_300_is_the_naive_one(void **state)
{
    struct pki_tree tree = {.size = 0}, loaded;
    uint8_t root[PKI_HASH_LEN], want[PKI_HASH_LEN];

    (void)state;
    set_leaves();
    for (uint64_t n = 1; n <= MOST; n++) {
        assert_int_equal(pki_tree_add(&tree, leaves[n - 1], NULL, NULL), WEFT_OK);
        pki_tree_root(&tree, root);
        naive(0, (size_t)n, want);
        assert_memory_equal(root, want, sizeof root);
        assert_int_equal(pki_tree_load(&loaded, n, get, &n), WEFT_OK);
        pki_tree_root(&loaded, root);
        assert_memory_equal(root, want, sizeof root);
    }
}

static void every_leaf_is_proved_and_nothing_else_is(void **state)
{
    struct pki_proof proof;
    uint8_t root[PKI_HASH_LEN];

    (void)state;
    set_leaves();
    for (uint64_t n = 1; n <= MOST; n += n < 70 ? 1 : 23) {
        naive(0, (size_t)n, root);
        for (uint64_t i = 0; i < n; i += n < 70 ? 1 : 7) {
            assert_int_equal(pki_tree_prove_leaf(i, n, get, &n, &proof), WEFT_OK);
            assert_true(pki_tree_check_leaf(leaves[i], i, n, &proof, root));
            assert_false(pki_tree_check_leaf(leaves[(i + 1) % MOST], i, n, &proof, root));
            if (n > 1)
                assert_false(pki_tree_check_leaf(leaves[i], (i + 1) % n, n, &proof, root));
            for (size_t at = 0; at < proof.count; at++) {
                proof.hash[at][at % PKI_HASH_LEN] ^= 1;
                assert_false(pki_tree_check_leaf(leaves[i], i, n, &proof, root));
                proof.hash[at][at % PKI_HASH_LEN] ^= 1;
            }
            if (proof.count > 0) {
                proof.count--;
                assert_false(pki_tree_check_leaf(leaves[i], i, n, &proof, root));
                proof.count += 2;
                memset(proof.hash[proof.count - 1], 0, PKI_HASH_LEN);
                assert_false(pki_tree_check_leaf(leaves[i], i, n, &proof, root));
            }
        }
    }
    proof.count = 0;
    assert_false(pki_tree_check_leaf(leaves[0], 0, 0, &proof, root));
    proof.count = PKI_PROOF_MAX + 1;
    assert_false(pki_tree_check_leaf(leaves[0], 0, 1, &proof, root));
}

static void every_prefix_is_proved_and_nothing_else_is(void **state)
{
    struct pki_proof proof;
    uint8_t one[PKI_HASH_LEN], two[PKI_HASH_LEN];

    (void)state;
    set_leaves();
    for (uint64_t n = 1; n <= MOST; n += n < 40 ? 1 : 37) {
        naive(0, (size_t)n, two);
        for (uint64_t m = 1; m <= n; m += n < 40 ? 1 : 5) {
            naive(0, (size_t)m, one);
            assert_int_equal(pki_tree_prove_prefix(m, n, get, &n, &proof), WEFT_OK);
            assert_true(pki_tree_check_prefix(m, one, n, two, &proof));
            one[0] ^= 1;
            assert_false(pki_tree_check_prefix(m, one, n, two, &proof));
            one[0] ^= 1;
            two[0] ^= 1;
            assert_false(pki_tree_check_prefix(m, one, n, two, &proof));
            two[0] ^= 1;
            for (size_t at = 0; at < proof.count; at++) {
                proof.hash[at][at % PKI_HASH_LEN] ^= 1;
                assert_false(pki_tree_check_prefix(m, one, n, two, &proof));
                proof.hash[at][at % PKI_HASH_LEN] ^= 1;
            }
            if (proof.count > 0) {
                proof.count--;
                assert_false(pki_tree_check_prefix(m, one, n, two, &proof));
            }
        }
    }
    proof.count = 0;
    assert_false(pki_tree_check_prefix(0, one, 1, two, &proof));
    assert_false(pki_tree_check_prefix(3, one, 2, two, &proof));
}

static weft_err refuse(void *arg, unsigned level, uint64_t index, const uint8_t hash[PKI_HASH_LEN])
{
    (void)arg;
    (void)level;
    (void)index;
    (void)hash;
    return WEFT_EIO;
}

static void a_leaf_that_cannot_be_kept_changes_nothing(void **state)
{
    struct pki_tree tree = {.size = 0}, before;

    (void)state;
    set_leaves();
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(pki_tree_add(&tree, leaves[i], NULL, NULL), WEFT_OK);
    before = tree;
    assert_int_equal(pki_tree_add(&tree, leaves[7], refuse, NULL), WEFT_EIO);
    assert_memory_equal(&tree, &before, sizeof tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_trees_have_their_known_roots),
        cmocka_unit_test(the_reference_proofs_are_made_hash_for_hash),
        cmocka_unit_test(every_root_up_to_300_is_the_naive_one),
        cmocka_unit_test(every_leaf_is_proved_and_nothing_else_is),
        cmocka_unit_test(every_prefix_is_proved_and_nothing_else_is),
        cmocka_unit_test(a_leaf_that_cannot_be_kept_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
