#include "pki/checkpoint.h"
#include "pki/trust_inside.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS 86400000u
#define PROOF_EACH_MS 3600000u

weft_err pki_checkpoint_seal(const pki_key *audit_key, const char *domain,
                             const struct pki_checkpoint *checkpoint, wf_buf *out)
{
    Weft__Wire__CheckpointBody body = WEFT__WIRE__CHECKPOINT_BODY__INIT;
    union { /* packing only reads */
        const char *in;
        char *out;
    } text = {.in = domain};

    body.trust_domain = text.out;
    body.size = checkpoint->size;
    body.root = wf_pb_bytes(checkpoint->root, sizeof checkpoint->root);
    body.time = checkpoint->time;
    return pki_record_seal(audit_key, PKI_LABEL_CHECKPOINT, &body.base, out);
}

weft_err pki_trust_check_checkpoint(const pki_trust *trust, const Weft__Wire__Signed *record,
                                    struct pki_checkpoint *out, wf_why *why)
{
    const Weft__Wire__BundleBody *bundle = trust->bundle.body;
    Weft__Wire__CheckpointBody *body = NULL;
    wf_span keys[WF_BUNDLE_KEYS_MAX];
    weft_err err;

    for (size_t i = 0; i < bundle->n_audit_keys; i++)
        keys[i] = wf_pb_span(bundle->audit_keys[i]);
    err = pki_record_verify(record, PKI_LABEL_CHECKPOINT, keys, bundle->n_audit_keys, why);
    if (err == WEFT_OK)
        err = wf_checkpoint_body_decode(record->body.data, record->body.len, &body, why);
    if (err != WEFT_OK)
        return wf_wrap(why, err, "a checkpoint of the audit log");
    if (strcmp(body->trust_domain, pki_trust_domain(trust)) != 0) {
        err = wf_fail(why, WEFT_ECREDENTIAL, "a checkpoint of another trust domain, %s",
                      body->trust_domain);
    } else {
        out->size = body->size;
        out->time = body->time;
        memcpy(out->root, body->root.data, sizeof out->root);
    }
    wf_checkpoint_body_free(body);
    return err;
}

weft_err pki_checkpoint_open(const pki_trust *trust, wf_span encoded, struct pki_checkpoint *out,
                             wf_why *why)
{
    Weft__Wire__Signed *record = NULL;
    weft_err err = wf_signed_decode(encoded.data, encoded.len, &record, why);

    if (err != WEFT_OK)
        return wf_wrap(why, err, "a checkpoint of the audit log");
    err = pki_trust_check_checkpoint(trust, record, out, why);
    wf_signed_free(record);
    return err;
}

/* ---- what a node remembers */

void pki_witness_init(struct pki_witness *w)
{
    *w = (struct pki_witness){.count = 0};
    wf_buf_init(&w->anchor.record, 2 * WF_CHECKPOINT_MAX + WF_SIGNATURE_MAX);
}

void pki_witness_fini(struct pki_witness *w)
{
    for (size_t i = 0; i < w->count; i++)
        wf_buf_fini(&w->items[i].record);
    wf_buf_fini(&w->anchor.record);
    w->count = 0;
    w->anchor.checkpoint.size = 0;
}

static weft_err keep(struct pki_seen_checkpoint *to, const struct pki_checkpoint *checkpoint,
                     wf_span record)
{
    wf_buf copy;
    weft_err err;

    wf_buf_init(&copy, 2 * WF_CHECKPOINT_MAX + WF_SIGNATURE_MAX);
    err = wf_buf_put(&copy, record.data, record.len);
    if (err != WEFT_OK)
        return err;
    wf_buf_fini(&to->record);
    to->record = copy;
    to->checkpoint = *checkpoint;
    return WEFT_OK;
}

/* The first one of each day stays; the newest is replaced if its day has an earlier one. */
static weft_err push(struct pki_witness *w, const struct pki_checkpoint *checkpoint, wf_span record)
{
    struct pki_seen_checkpoint *last = w->count > 0 ? &w->items[w->count - 1] : NULL;
    weft_err err;

    if (w->count > 1 &&
        w->items[w->count - 2].checkpoint.time / DAY_MS == last->checkpoint.time / DAY_MS)
        return keep(last, checkpoint, record);
    if (w->count == PKI_WITNESS_MAX) {
        wf_buf_fini(&w->items[0].record);
        memmove(w->items, w->items + 1, --w->count * sizeof *w->items);
    }
    wf_buf_init(&w->items[w->count].record, 0);
    err = keep(&w->items[w->count], checkpoint, record);
    if (err == WEFT_OK)
        w->count++;
    return err;
}

static weft_err take(struct pki_witness *w, const struct pki_checkpoint *c, wf_span record,
                     bool from_controller, wf_why *why)
{
    const struct pki_checkpoint *newest = NULL;
    weft_err err;

    for (size_t i = 0; i < w->count; i++) {
        newest = &w->items[i].checkpoint;
        if (newest->size != c->size)
            continue;
        if (memcmp(newest->root, c->root, sizeof c->root) == 0)
            break;
        w->alarms++;
        return wf_fail(why, WEFT_ETAMPERED,
                       "the audit log was forked: two signed checkpoints of %llu entries differ; "
                       "compare with: weft audit verify",
                       (unsigned long long)c->size);
    }
    if (newest != NULL)
        newest = &w->items[w->count - 1].checkpoint;
    if (newest != NULL && c->size < newest->size && from_controller) {
        w->alarms++;
        return wf_fail(
            why, WEFT_ETAMPERED,
            "the audit log went back: %llu entries are signed for now, %llu were before; "
            "it was cut, or restored from an old copy",
            (unsigned long long)c->size, (unsigned long long)newest->size);
    }
    if (newest != NULL && c->size <= newest->size)
        return WEFT_OK;
    err = push(w, c, record);
    if (err == WEFT_OK && w->anchor.checkpoint.size == 0)
        err = keep(&w->anchor, c, record);
    if (err == WEFT_OK)
        w->dirty = true;
    return err;
}

weft_err pki_witness_take(struct pki_witness *w, const pki_trust *trust,
                          const Weft__Wire__Signed *record, bool from_controller, wf_why *why)
{
    struct pki_checkpoint c;
    wf_buf encoded;
    weft_err err = pki_trust_check_checkpoint(trust, record, &c, why);

    if (err != WEFT_OK)
        return err;
    wf_buf_init(&encoded, 2 * WF_CHECKPOINT_MAX + WF_SIGNATURE_MAX);
    err = wf_signed_encode(record, &encoded);
    if (err == WEFT_OK)
        err = take(w, &c, wf_span_of(encoded.data, encoded.len), from_controller, why);
    wf_buf_fini(&encoded);
    return err;
}

bool pki_witness_wants_proof(struct pki_witness *w, uint64_t now_mono, uint64_t *first,
                             uint64_t *second)
{
    if (w->count == 0 || w->anchor.checkpoint.size == 0 ||
        w->items[w->count - 1].checkpoint.size <= w->anchor.checkpoint.size ||
        (w->asked_at != 0 && now_mono - w->asked_at < PROOF_EACH_MS))
        return false;
    w->asked_at = now_mono > 0 ? now_mono : 1;
    *first = w->anchor.checkpoint.size;
    *second = w->items[w->count - 1].checkpoint.size;
    return true;
}

weft_err pki_witness_prove(struct pki_witness *w, uint64_t first, uint64_t second, wf_span result,
                           wf_why *why)
{
    const struct pki_seen_checkpoint *to = NULL;
    Weft__Wire__ConsistencyResult *answer = NULL;
    struct pki_proof proof = {.count = 0};
    weft_err err = wf_consistency_result_decode(result.data, result.len, &answer, why);

    if (err != WEFT_OK)
        return err;
    for (size_t i = 0; i < answer->n_hashes; i++) /* decoding has checked count and lengths */
        memcpy(proof.hash[proof.count++], answer->hashes[i].data, PKI_HASH_LEN);
    wf_consistency_result_free(answer);
    for (size_t i = 0; i < w->count && to == NULL; i++)
        if (w->items[i].checkpoint.size == second)
            to = &w->items[i];
    if (to == NULL || w->anchor.checkpoint.size != first) {
        w->asked_at = 0; /* a newer one took its place meanwhile: ask again */
        return WEFT_OK;
    }
    if (!pki_tree_check_prefix(first, w->anchor.checkpoint.root, second, to->checkpoint.root,
                               &proof)) {
        w->alarms++;
        return wf_fail(why, WEFT_ETAMPERED,
                       "the audit log was rewritten: the controller can't prove that its %llu "
                       "entries begin with the %llu that were signed before",
                       (unsigned long long)second, (unsigned long long)first);
    }
    w->dirty = true;
    return keep(&w->anchor, &to->checkpoint, wf_span_of(to->record.data, to->record.len));
}

size_t pki_witness_records(const struct pki_witness *w)
{
    return w->count > 0 ? w->count + 1 : 0;
}

wf_span pki_witness_record(const struct pki_witness *w, size_t i)
{
    const wf_buf *record = i == 0 ? &w->anchor.record : &w->items[i - 1].record;

    assert(i < pki_witness_records(w));
    return wf_span_of(record->data, record->len);
}

void pki_witness_restore(struct pki_witness *w, const pki_trust *trust,
                         const Weft__Wire__Signed *record, size_t i)
{
    struct pki_checkpoint c;
    wf_buf encoded;

    if (pki_trust_check_checkpoint(trust, record, &c, NULL) != WEFT_OK)
        return;
    wf_buf_init(&encoded, 2 * WF_CHECKPOINT_MAX + WF_SIGNATURE_MAX);
    if (wf_signed_encode(record, &encoded) == WEFT_OK) {
        if (i == 0)
            (void)keep(&w->anchor, &c, wf_span_of(encoded.data, encoded.len));
        else if (w->count < PKI_WITNESS_MAX &&
                 (w->count == 0 || c.size > w->items[w->count - 1].checkpoint.size)) {
            wf_buf_init(&w->items[w->count].record, 0);
            if (keep(&w->items[w->count], &c, wf_span_of(encoded.data, encoded.len)) == WEFT_OK)
                w->count++;
        }
    }
    wf_buf_fini(&encoded);
}

Weft__Wire__Signed *pki_witness_newest(const struct pki_witness *w)
{
    Weft__Wire__Signed *out = NULL;

    if (w->count > 0)
        (void)wf_signed_decode(w->items[w->count - 1].record.data,
                               w->items[w->count - 1].record.len, &out, NULL);
    return out;
}
