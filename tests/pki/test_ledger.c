/* The audit log as a stranger verifies it, and as nodes remember it: what tampering is noticed. */
#include "pki/ledger.h"
#include "tests/helpers/authority.h"
#include "tests/helpers/test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES 2000u
#define EACH 7u /* entries between two checkpoints */
#define ROOM (ENTRIES + 8u)

struct entry {
    uint64_t seq;
    char text[120];
    uint8_t leaf[PKI_HASH_LEN];
};

static struct authority a;
static pki_trust *trust;
static struct entry good[ROOM], bad[ROOM];
static wf_buf marks[ENTRIES / EACH + 2], forged[ENTRIES / EACH + 2];
static size_t mark_count;

static wf_span span_of(const struct entry *e)
{
    return wf_span_of(e->text, strlen(e->text));
}

static void hash(struct entry *e)
{
    assert_int_equal(pki_tree_leaf(span_of(e), e->leaf), WEFT_OK);
}

/* Signed checkpoints over these entries, one each EACH and one at the end. */
static size_t sign(const struct entry *entries, size_t count, wf_buf *out)
{
    struct pki_tree tree = {.size = 0};
    size_t made = 0;

    for (size_t i = 0; i < count; i++) {
        assert_int_equal(pki_tree_add(&tree, entries[i].leaf, NULL, NULL), WEFT_OK);
        if (tree.size % EACH == 0 || tree.size == count) {
            struct pki_checkpoint c = {.size = tree.size, .time = a.now};

            pki_tree_root(&tree, c.root);
            wf_buf_init(&out[made], WF_SIGNED_MAX);
            assert_int_equal(pki_checkpoint_seal(a.audit, a.domain, &c, &out[made++]), WEFT_OK);
        }
    }
    return made;
}

static int start(void **state)
{
    (void)state;
    authority_init(&a, "test.weft", 1000ull * 86400000ull);
    trust = authority_trust(&a);
    for (size_t i = 0; i < ENTRIES; i++) {
        good[i].seq = i + 1;
        snprintf(good[i].text, sizeof good[i].text,
                 "{\"seq\":%zu,\"time\":%zu,\"event\":\"admin\",\"what\":\"thing %zu\"}", i + 1,
                 i * 1000, i * i);
        hash(&good[i]);
    }
    mark_count = sign(good, ENTRIES, marks);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    for (size_t i = 0; i < mark_count; i++)
        wf_buf_fini(&marks[i]);
    pki_trust_unref(trust);
    authority_fini(&a);
    return 0;
}

/* own: of the log's marks so many; remembered: the last of `marks`, from elsewhere. */
static weft_err verify(const struct entry *entries, size_t count, const wf_buf *own, size_t owned,
                       bool remembered, struct pki_ledger *l, wf_why *why)
{
    weft_err err = WEFT_OK;

    pki_ledger_init(l, trust);
    for (size_t i = 0; err == WEFT_OK && i < owned; i++)
        err = pki_ledger_mark(l, wf_span_of(own[i].data, own[i].len), "log", why);
    if (err == WEFT_OK && remembered)
        err = pki_ledger_mark(l, wf_span_of(marks[mark_count - 1].data, marks[mark_count - 1].len),
                              "r1", why);
    for (size_t i = 0; err == WEFT_OK && i < count; i++)
        err = pki_ledger_entry(l, entries[i].seq, span_of(&entries[i]), entries[i].leaf, why);
    if (err == WEFT_OK)
        err = pki_ledger_end(l, why);
    pki_ledger_fini(l);
    return err;
}

enum mutation {
    EDIT,          /* one byte */
    EDIT_HASHED,   /* and the hash beside it */
    EDIT_HASH,     /* the hash alone */
    DELETE,        /* one entry */
    DELETE_MOVED,  /* and those behind it filed one lower */
    DELETE_REMADE, /* and numbered anew inside, with their hashes */
    INSERT,        /* a made-up entry, those behind it remade */
    SWAP,          /* two neighbours, as they are */
    SWAP_REMADE,   /* numbered anew, with their hashes */
    CUT,           /* the tail */
    CUT_MARKS,     /* with its checkpoints; another node remembers */
    FORK,          /* rewritten from there, and signed anew with the stolen audit key */
    MUTATIONS
};
static const char *const names[] = {"edited",   "edited, hash too",  "hash edited",
                                    "deleted",  "deleted, moved",    "deleted, renumbered",
                                    "inserted", "swapped",           "swapped, renumbered",
                                    "tail cut", "old copy restored", "forked, signed anew"};

static void remake(size_t from, size_t count)
{
    for (size_t i = from; i < count; i++) {
        char rest[120];

        snprintf(rest, sizeof rest, "%s", strchr(bad[i].text, ','));
        bad[i].seq = i + 1;
        snprintf(bad[i].text, sizeof bad[i].text, "{\"seq\":%zu%.100s", i + 1, rest);
        hash(&bad[i]);
    }
}

/* Applied at entry `at` (from 0); returns how many entries there are then. */
static size_t mutate(enum mutation m, size_t at)
{
    size_t count = ENTRIES;
    struct entry one;

    memcpy(bad, good, sizeof good);
    switch (m) {
    case EDIT:
    case EDIT_HASHED:
        bad[at].text[strlen(bad[at].text) - 3] ^= 1;
        if (m == EDIT_HASHED)
            hash(&bad[at]);
        break;
    case EDIT_HASH:
        bad[at].leaf[3] ^= 1;
        break;
    case DELETE:
    case DELETE_MOVED:
    case DELETE_REMADE:
        memmove(bad + at, bad + at + 1, (--count - at) * sizeof *bad);
        for (size_t i = at; m == DELETE_MOVED && i < count; i++)
            bad[i].seq = i + 1;
        if (m == DELETE_REMADE)
            remake(at, count);
        break;
    case INSERT:
        memmove(bad + at + 1, bad + at, (count++ - at) * sizeof *bad);
        snprintf(bad[at].text, sizeof bad[at].text, "{\"seq\":1,\"time\":7,\"event\":\"admin\"}");
        remake(at, count);
        break;
    case SWAP:
    case SWAP_REMADE:
        one = bad[at];
        bad[at] = bad[at + 1];
        bad[at + 1] = one;
        if (m == SWAP_REMADE)
            remake(at, at + 2);
        break;
    case CUT:
    case CUT_MARKS:
        count = at;
        break;
    case FORK:
        snprintf(bad[at].text, sizeof bad[at].text, "{\"seq\":%zu,\"time\":7}", at + 1);
        hash(&bad[at]);
        break;
    case MUTATIONS:
        break;
    }
    return count;
}

static void every_kind_of_tampering_is_found_and_its_first_entry_named(void **state)
{
    static const size_t places[] = {0, 6, 7, 777, 1024, ENTRIES - 2};
    struct pki_ledger l;
    wf_why why;

    (void)state;
    assert_int_equal(verify(good, ENTRIES, marks, mark_count, true, &l, &why), WEFT_OK);
    assert_int_equal(l.sound, ENTRIES);
    printf("%-22s %7s %9s %11s\n", "2,000 entries", "places", "exactly", "widest span");
    for (enum mutation m = 0; m < MUTATIONS; m++) {
        unsigned exact = 0;
        uint64_t widest = 0;

        for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
            size_t at = places[p], count = mutate(m, at), owned = mark_count;
            const wf_buf *own = marks;

            if (m == CUT_MARKS)
                owned = at / EACH;
            if (m == FORK) {
                owned = sign(bad, count, forged);
                own = forged;
            }
            why.text[0] = '\0';
            assert_int_equal(verify(bad, count, own, owned, m == CUT_MARKS || m == FORK, &l, &why),
                             WEFT_ETAMPERED);
            for (size_t i = 0; m == FORK && i < owned; i++)
                wf_buf_fini(&forged[i]);
            assert_true(why.text[0] != '\0');
            /* The first bad entry is at + 1, and in the span that is named. */
            assert_in_range(at + 1, l.first_bad, l.last_bad);
            if (m != FORK && m != CUT && m != CUT_MARKS && l.last_bad - l.first_bad >= widest)
                widest = l.last_bad - l.first_bad + 1;
            exact +=
                l.first_bad == at + 1 && (l.first_bad == l.last_bad || m == CUT || m == CUT_MARKS);
        }
        printf("%-22s %7zu %9u %11llu\n", names[m], sizeof places / sizeof *places, exact,
               (unsigned long long)widest);
        if (m == EDIT || m == EDIT_HASH || m == DELETE || m == DELETE_MOVED || m == SWAP)
            assert_int_equal(exact, sizeof places / sizeof *places);
        assert_in_range(widest, 0, EACH);
    }
}

static void a_checkpoint_that_no_audit_key_signed_counts_for_nothing(void **state)
{
    struct pki_checkpoint c = {.size = 3, .time = 1}, out;
    struct pki_ledger l;
    wf_buf record;
    wf_why why = {""};

    (void)state;
    wf_buf_init(&record, WF_SIGNED_MAX);
    assert_int_equal(pki_checkpoint_seal(a.policy, a.domain, &c, &record), WEFT_OK);
    pki_ledger_init(&l, trust);
    assert_int_equal(pki_ledger_mark(&l, wf_span_of(record.data, record.len), "x", &why),
                     WEFT_ECREDENTIAL);
    assert_int_equal(l.mark_count, 0);
    wf_buf_clear(&record);
    assert_int_equal(pki_checkpoint_seal(a.audit, "other.weft", &c, &record), WEFT_OK);
    assert_int_equal(pki_checkpoint_open(trust, wf_span_of(record.data, record.len), &out, &why),
                     WEFT_ECREDENTIAL);
    pki_ledger_fini(&l);
    wf_buf_fini(&record);
}

/* ---- what a node remembers */

static Weft__Wire__Signed *checkpoint(uint64_t size, uint64_t time, uint8_t root)
{
    struct pki_checkpoint c = {.size = size, .time = time};
    Weft__Wire__Signed *out = NULL;
    wf_buf record;

    memset(c.root, root, sizeof c.root);
    wf_buf_init(&record, WF_SIGNED_MAX);
    assert_int_equal(pki_checkpoint_seal(a.audit, a.domain, &c, &record), WEFT_OK);
    assert_int_equal(wf_signed_decode(record.data, record.len, &out, NULL), WEFT_OK);
    wf_buf_fini(&record);
    return out;
}

static weft_err take(struct pki_witness *w, uint64_t size, uint64_t time, uint8_t root,
                     bool from_controller)
{
    Weft__Wire__Signed *record = checkpoint(size, time, root);
    wf_why why = {""};
    weft_err err = pki_witness_take(w, trust, record, from_controller, &why);

    wf_signed_free(record);
    return err;
}

static void an_older_or_forked_log_is_an_alarm(void **state)
{
    struct pki_witness *w = malloc(sizeof *w);

    (void)state;
    assert_non_null(w);
    pki_witness_init(w);
    assert_int_equal(take(w, 10, 1, 1, true), WEFT_OK);
    assert_int_equal(take(w, 10, 2, 1, true), WEFT_OK);
    assert_int_equal(take(w, 12, 3, 2, true), WEFT_OK);
    assert_int_equal(w->alarms, 0);
    assert_int_equal(take(w, 12, 3, 3, true), WEFT_ETAMPERED);  /* forked */
    assert_int_equal(take(w, 10, 3, 9, false), WEFT_ETAMPERED); /* forked in the past, by gossip */
    assert_int_equal(take(w, 11, 3, 7, true), WEFT_ETAMPERED);  /* gone back */
    assert_int_equal(take(w, 11, 3, 7, false), WEFT_OK);        /* another node may lag */
    assert_int_equal(w->alarms, 3);
    assert_int_equal(w->items[w->count - 1].checkpoint.size, 12); /* nothing is forgotten */
    pki_witness_fini(w);
    free(w);
}

static void the_first_of_each_day_and_the_newest_are_remembered(void **state)
{
    struct pki_witness *w = malloc(sizeof *w), *again = malloc(sizeof *again);
    uint64_t size = 0;

    (void)state;
    assert_true(w != NULL && again != NULL);
    pki_witness_init(w);
    for (uint64_t day = 1; day <= PKI_WITNESS_MAX + 20; day++) /* more days than places */
        for (uint64_t hour = 0; hour < 3; hour++)
            assert_int_equal(take(w, ++size, day * 86400000u + hour * 3600000u, 1, true), WEFT_OK);
    assert_int_equal(w->count, PKI_WITNESS_MAX);
    assert_int_equal(w->items[w->count - 1].checkpoint.size, size);
    for (size_t i = 1; i + 1 < w->count; i++)
        assert_int_equal(w->items[i].checkpoint.time % 86400000u, 0);
    pki_witness_init(again);
    for (size_t i = 0; i < pki_witness_records(w); i++) {
        Weft__Wire__Signed *record = NULL;
        wf_span encoded = pki_witness_record(w, i);

        assert_int_equal(wf_signed_decode(encoded.data, encoded.len, &record, NULL), WEFT_OK);
        pki_witness_restore(again, trust, record, i);
        wf_signed_free(record);
    }
    assert_int_equal(again->count, w->count);
    assert_int_equal(again->anchor.checkpoint.size, 1);
    pki_witness_fini(w);
    pki_witness_fini(again);
    free(w);
    free(again);
}

static weft_err get(void *arg, unsigned level, uint64_t index, uint8_t out[PKI_HASH_LEN])
{
    const struct entry *entries = arg;
    uint8_t right[PKI_HASH_LEN];

    if (level == 0) {
        memcpy(out, entries[index].leaf, PKI_HASH_LEN);
        return WEFT_OK;
    }
    get(arg, level - 1, 2 * index, out);
    get(arg, level - 1, 2 * index + 1, right);
    pki_tree_node(out, right, out);
    return WEFT_OK;
}

static void answer(struct entry *entries, uint64_t first, uint64_t second, wf_buf *out)
{
    Weft__Wire__ConsistencyResult result = WEFT__WIRE__CONSISTENCY_RESULT__INIT;
    ProtobufCBinaryData hashes[PKI_PROOF_MAX];
    struct pki_proof proof;

    assert_int_equal(pki_tree_prove_prefix(first, second, get, entries, &proof), WEFT_OK);
    for (size_t i = 0; i < proof.count; i++)
        hashes[i] = wf_pb_bytes(proof.hash[i], PKI_HASH_LEN);
    result.n_hashes = proof.count;
    result.hashes = hashes;
    assert_int_equal(wf_message_put(&result.base, out), WEFT_OK);
}

static void a_rewritten_log_can_not_prove_that_it_goes_on(void **state)
{
    struct pki_witness *w = malloc(sizeof *w);
    Weft__Wire__Signed *record = NULL;
    uint64_t first, second;
    wf_buf result;
    wf_why why = {""};

    (void)state;
    assert_non_null(w);
    pki_witness_init(w);
    wf_buf_init(&result, WF_SIGNED_MAX);
    for (size_t i = 3; i < 40; i += 30) {
        assert_int_equal(wf_signed_decode(marks[i].data, marks[i].len, &record, NULL), WEFT_OK);
        assert_int_equal(pki_witness_take(w, trust, record, true, &why), WEFT_OK);
        wf_signed_free(record);
    }
    assert_true(pki_witness_wants_proof(w, 5, &first, &second));
    assert_false(pki_witness_wants_proof(w, 6, &first, &second)); /* once an hour */
    assert_int_equal(first, 4 * EACH);
    assert_int_equal(second, 34 * EACH);
    mutate(EDIT_HASHED, 3);
    answer(bad, first, second, &result);
    assert_int_equal(pki_witness_prove(w, first, second, wf_span_of(result.data, result.len), &why),
                     WEFT_ETAMPERED);
    assert_int_equal(w->alarms, 1);
    assert_int_equal(w->anchor.checkpoint.size, first);
    wf_buf_clear(&result);
    answer(good, first, second, &result);
    assert_int_equal(pki_witness_prove(w, first, second, wf_span_of(result.data, result.len), &why),
                     WEFT_OK);
    assert_int_equal(w->anchor.checkpoint.size, second);
    wf_buf_fini(&result);
    pki_witness_fini(w);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_tampering_is_found_and_its_first_entry_named),
        cmocka_unit_test(a_checkpoint_that_no_audit_key_signed_counts_for_nothing),
        cmocka_unit_test(an_older_or_forked_log_is_an_alarm),
        cmocka_unit_test(the_first_of_each_day_and_the_newest_are_remembered),
        cmocka_unit_test(a_rewritten_log_can_not_prove_that_it_goes_on),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
