#include "pki/ledger.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

void pki_ledger_init(struct pki_ledger *l, const pki_trust *trust)
{
    *l = (struct pki_ledger){.trust = trust};
}

void pki_ledger_fini(struct pki_ledger *l)
{
    free(l->marks);
    l->marks = NULL;
    l->mark_count = l->mark_cap = 0;
}

static weft_err source_of(struct pki_ledger *l, const char *name, unsigned *out)
{
    for (*out = 0; *out < l->source_count; (*out)++)
        if (l->sources[*out] == name || strcmp(l->sources[*out], name) == 0)
            return WEFT_OK;
    if (l->source_count == PKI_LEDGER_SOURCES_MAX)
        return WEFT_ELIMIT;
    l->sources[l->source_count++] = name;
    return WEFT_OK;
}

weft_err pki_ledger_mark(struct pki_ledger *l, wf_span encoded, const char *source, wf_why *why)
{
    struct pki_ledger_mark mark = {.source = 0};
    weft_err err;

    assert(!l->sorted);
    err = pki_checkpoint_open(l->trust, encoded, &mark.checkpoint, why);
    if (err != WEFT_OK)
        return wf_wrap(why, err, "%s", source);
    if (l->mark_count == PKI_LEDGER_MARKS_MAX || source_of(l, source, &mark.source) != WEFT_OK)
        return wf_fail(why, WEFT_ELIMIT, "more checkpoints than this program compares");
    if (l->mark_count == l->mark_cap) {
        size_t cap = l->mark_cap == 0 ? 64 : 2 * l->mark_cap;
        struct pki_ledger_mark *bigger = realloc(l->marks, cap * sizeof *bigger);

        if (bigger == NULL)
            return wf_fail(why, WEFT_ENOMEM, "out of memory");
        l->marks = bigger;
        l->mark_cap = cap;
    }
    l->marks[l->mark_count++] = mark;
    return WEFT_OK;
}

weft_err pki_ledger_seq(wf_span bytes, uint64_t *seq)
{
    static const char head[] = "{\"seq\":";
    size_t at = sizeof head - 1;
    uint64_t n = 0;

    if (bytes.len < at || memcmp(bytes.data, head, at) != 0)
        return WEFT_EPROTO;
    for (; at < bytes.len && bytes.data[at] >= '0' && bytes.data[at] <= '9'; at++) {
        if (n > WF_LOG_MAX)
            return WEFT_EPROTO;
        n = 10 * n + (uint64_t)(bytes.data[at] - '0');
    }
    if (n == 0 || n > WF_LOG_MAX || at == bytes.len || bytes.data[at] != ',')
        return WEFT_EPROTO;
    *seq = n;
    return WEFT_OK;
}

static int by_size(const void *a, const void *b)
{
    const struct pki_ledger_mark *x = a, *y = b;

    return (x->checkpoint.size > y->checkpoint.size) - (x->checkpoint.size < y->checkpoint.size);
}

static weft_err bad(struct pki_ledger *l, uint64_t first, uint64_t last)
{
    l->first_bad = first;
    l->last_bad = last;
    return WEFT_ETAMPERED;
}

/* Sorts, and finds two that contradict each other without any entry. */
static weft_err begin(struct pki_ledger *l, wf_why *why)
{
    if (l->sorted)
        return WEFT_OK;
    l->sorted = true;
    if (l->mark_count > 1)
        qsort(l->marks, l->mark_count, sizeof *l->marks, by_size);
    for (size_t i = 1; i < l->mark_count; i++) {
        const struct pki_ledger_mark *a = &l->marks[i - 1], *b = &l->marks[i];

        if (a->checkpoint.size == b->checkpoint.size &&
            memcmp(a->checkpoint.root, b->checkpoint.root, PKI_HASH_LEN) != 0)
            return wf_fail(why, bad(l, 1, a->checkpoint.size),
                           "the log was forked: two signed checkpoints of %llu entries differ "
                           "(%s, %s)",
                           (unsigned long long)a->checkpoint.size, l->sources[a->source],
                           l->sources[b->source]);
    }
    return WEFT_OK;
}

/* All checkpoints of the present size. */
static weft_err compare(struct pki_ledger *l, wf_why *why)
{
    uint8_t root[PKI_HASH_LEN];
    uint64_t first = l->sound + 1, last = l->tree.size;

    if (l->next == l->mark_count || l->marks[l->next].checkpoint.size > l->tree.size)
        return WEFT_OK;
    pki_tree_root(&l->tree, root);
    for (; l->next < l->mark_count && l->marks[l->next].checkpoint.size == last; l->next++) {
        const struct pki_ledger_mark *mark = &l->marks[l->next];

        if (memcmp(mark->checkpoint.root, root, sizeof root) == 0)
            continue;
        if (first == last)
            return wf_fail(why, bad(l, first, last),
                           "entry %llu is not the one that was signed for (checkpoint: %s)",
                           (unsigned long long)first, l->sources[mark->source]);
        return wf_fail(why, bad(l, first, last),
                       "an entry from %llu to %llu is not the one that was signed for "
                       "(checkpoint: %s)",
                       (unsigned long long)first, (unsigned long long)last,
                       l->sources[mark->source]);
    }
    l->sound = last;
    return WEFT_OK;
}

weft_err pki_ledger_entry(struct pki_ledger *l, uint64_t seq, wf_span bytes, const uint8_t *leaf,
                          wf_why *why)
{
    uint64_t here = l->tree.size + 1, inside;
    uint8_t hash[PKI_HASH_LEN];
    weft_err err = begin(l, why);

    if (err != WEFT_OK)
        return err;
    if (seq > here)
        return wf_fail(why, bad(l, here, here), "entry %llu is missing: it was deleted",
                       (unsigned long long)here);
    if (seq < here)
        return wf_fail(why, bad(l, here, here), "entry %llu stands where %llu belongs",
                       (unsigned long long)seq, (unsigned long long)here);
    if (pki_ledger_seq(bytes, &inside) != WEFT_OK)
        return wf_fail(why, bad(l, here, here), "entry %llu is no event", (unsigned long long)here);
    if (inside != here)
        return wf_fail(why, bad(l, here, here),
                       "entry %llu holds the event %llu: entries were deleted or moved",
                       (unsigned long long)here, (unsigned long long)inside);
    err = pki_tree_leaf(bytes, hash);
    if (err != WEFT_OK)
        return wf_fail(why, err, "entry %llu: %s", (unsigned long long)here,
                       weft_err_sentence((int)err));
    if (leaf != NULL && memcmp(leaf, hash, sizeof hash) != 0)
        return wf_fail(why, bad(l, here, here),
                       "entry %llu was changed: its bytes don't give the hash beside them",
                       (unsigned long long)here);
    err = pki_tree_add(&l->tree, hash, NULL, NULL);
    return err == WEFT_OK ? compare(l, why) : err;
}

weft_err pki_ledger_end(struct pki_ledger *l, wf_why *why)
{
    const struct pki_ledger_mark *most;
    weft_err err = begin(l, why);

    if (err != WEFT_OK || l->next == l->mark_count)
        return err;
    most = &l->marks[l->mark_count - 1];
    return wf_fail(why, bad(l, l->sound + 1, most->checkpoint.size),
                   "the log ends with entry %llu, but %llu were signed for (checkpoint: %s): its "
                   "tail was cut, or it is an old copy; nothing vouches for it from entry %llu on",
                   (unsigned long long)l->tree.size, (unsigned long long)most->checkpoint.size,
                   l->sources[most->source], (unsigned long long)l->sound + 1);
}
