/* audit.*: docs/operations.md. Reading the log leaves no entry in it. */
#include "controller/view.h"
#include "proto/base/text.h"
#include <jansson.h>
#include <string.h>

#define PAGE_BYTES (40u * 1024u) /* of a reply, so that one entry more still fits */
#define PAGE_MAX 500u

weft_err op_audit_consistency(struct call *call)
{
    struct home *home = &call->c->home;
    Weft__Wire__ConsistencyResult result = WEFT__WIRE__CONSISTENCY_RESULT__INIT;
    Weft__Wire__ConsistencyCall *ask = NULL;
    ProtobufCBinaryData hashes[PKI_PROOF_MAX];
    struct pki_proof proof;
    weft_err err =
        wf_consistency_call_decode(call->arguments.data, call->arguments.len, &ask, &call->why);

    if (err != WEFT_OK)
        return err;
    if (ask->second > home->log->tree.size)
        err = wf_fail(&call->why, WEFT_ENOTFOUND, "the log has %llu entries only",
                      (unsigned long long)home->log->tree.size);
    /* Bounded: at most 64 hashes, each of a stored subtree or of at most 64 leaves. */
    if (err == WEFT_OK)
        err = pki_tree_prove_prefix(ask->first, ask->second, audit_subtree, home->store, &proof);
    for (size_t i = 0; err == WEFT_OK && i < proof.count; i++)
        hashes[i] = wf_pb_bytes(proof.hash[i], PKI_HASH_LEN);
    if (err == WEFT_OK) {
        result.n_hashes = proof.count;
        result.hashes = hashes;
        err = wf_message_put(&result.base, &call->result);
    }
    wf_consistency_call_free(ask);
    return err;
}

static json_t *base64(wf_span bytes)
{
    json_t *out = NULL;
    wf_buf text;

    wf_buf_init(&text, 2 * WF_EVENT_MAX);
    if (wf_base64_encode(bytes.data, bytes.len, &text) == WEFT_OK)
        out = json_stringn((const char *)text.data, text.len);
    wf_buf_fini(&text);
    return out;
}

static json_t *hex(const uint8_t hash[PKI_HASH_LEN])
{
    char text[2 * PKI_HASH_LEN + 1];

    return json_string(wf_hex(hash, PKI_HASH_LEN, text));
}

struct page {
    json_t *items; /* owned */
    size_t bytes, limit;
    bool more;
};

static bool is_full(struct page *page, size_t len)
{
    page->bytes += len;
    page->more = json_array_size(page->items) == page->limit || page->bytes > PAGE_BYTES;
    return page->more;
}

static weft_err put_entry(void *arg, uint64_t seq, wf_span event, const uint8_t leaf[32])
{
    struct page *page = arg;
    json_t *item;

    if (is_full(page, 4 * event.len / 3 + 128))
        return WEFT_EEOF;
    item =
        json_pack("{sI so so}", "seq", (json_int_t)seq, "bytes", base64(event), "leaf", hex(leaf));
    return item != NULL && json_array_append_new(page->items, item) == 0 ? WEFT_OK : WEFT_ENOMEM;
}

weft_err op_audit_list(struct call *call, struct args *args)
{
    const struct home *home = &call->c->home;
    struct page page = {.limit = PAGE_MAX};
    uint64_t after = 0, limit = 0, last = 0;
    bool from_end = !args_has(args, "after");
    weft_err err = args_number(args, "after", 0, 0, WF_LOG_MAX, &after);

    if (err == WEFT_OK)
        err = args_number(args, "limit", PAGE_MAX, 1, PAGE_MAX, &limit);
    if (err == WEFT_OK)
        err = args_end(args);
    if (err != WEFT_OK)
        return err;
    page.limit = (size_t)limit;
    if (from_end) /* the newest ones */
        after = home->log->tree.size > limit ? home->log->tree.size - limit : 0;
    page.items = json_array();
    err = page.items == NULL ? WEFT_ENOMEM
                             : store_audit_each(home->store, after + 1, put_entry, &page);
    if (err != WEFT_OK) {
        json_decref(page.items);
        return err;
    }
    last = after + json_array_size(page.items);
    return view_answer(call,
                       json_pack("{so sI sb sI}", "items", page.items, "next", (json_int_t)last,
                                 "more", page.more, "size", (json_int_t)home->log->tree.size));
}

static weft_err put_checkpoint(void *arg, uint64_t size, wf_span encoded)
{
    struct page *page = arg;

    (void)size;
    if (is_full(page, 4 * encoded.len / 3 + 16))
        return WEFT_EEOF;
    return json_array_append_new(page->items, base64(encoded)) == 0 ? WEFT_OK : WEFT_ENOMEM;
}

struct last_size {
    struct page page;
    uint64_t size;
};

static weft_err put_and_note(void *arg, uint64_t size, wf_span encoded)
{
    struct last_size *last = arg;
    weft_err err = put_checkpoint(&last->page, size, encoded);

    if (err == WEFT_OK)
        last->size = size;
    return err;
}

weft_err op_audit_checkpoints(struct call *call, struct args *args)
{
    struct last_size last = {.page = {.limit = PAGE_MAX}};
    weft_err err = args_number(args, "after", 0, 0, WF_LOG_MAX, &last.size);

    if (err == WEFT_OK)
        err = args_end(args);
    if (err != WEFT_OK)
        return err;
    last.page.items = json_array();
    err = last.page.items == NULL
              ? WEFT_ENOMEM
              : store_checkpoint_each(call->c->home.store, last.size + 1, put_and_note, &last);
    if (err != WEFT_OK) {
        json_decref(last.page.items);
        return err;
    }
    return view_answer(call, json_pack("{so sI sb}", "items", last.page.items, "next",
                                       (json_int_t)last.size, "more", last.page.more));
}

struct found {
    wf_buf bytes; /* owned */
    uint64_t seq;
};

static weft_err take_one(void *arg, uint64_t seq, wf_span event, const uint8_t leaf[32])
{
    struct found *found = arg;
    weft_err err = wf_buf_put(&found->bytes, event.data, event.len);

    (void)leaf;
    found->seq = seq;
    return err == WEFT_OK ? WEFT_EEOF : err;
}

weft_err op_audit_prove(struct call *call, struct args *args)
{
    struct home *home = &call->c->home;
    struct found found = {.seq = 0};
    struct pki_proof proof;
    uint64_t seq = 0, size = home->log->signed_size;
    json_t *hashes = json_array(), *answer = NULL;
    wf_buf checkpoint;
    weft_err err = args_number(args, "seq", 0, 0, WF_LOG_MAX, &seq);

    wf_buf_init(&found.bytes, WF_EVENT_MAX);
    wf_buf_init(&checkpoint, WF_SIGNED_MAX);
    if (err == WEFT_OK)
        err = args_end(args);
    if (err == WEFT_OK && (seq == 0 || seq > size))
        err = wf_fail(&call->why, WEFT_ENOTFOUND,
                      "no checkpoint was signed for entry %llu yet; they go from 1 to %llu",
                      (unsigned long long)seq, (unsigned long long)size);
    if (err == WEFT_OK)
        err = store_checkpoint_last(home->store, &size, &checkpoint);
    if (err == WEFT_OK)
        err = store_audit_each(home->store, seq, take_one, &found);
    if (err == WEFT_OK)
        err = pki_tree_prove_leaf(seq - 1, size, audit_subtree, home->store, &proof);
    for (size_t i = 0; err == WEFT_OK && i < proof.count; i++)
        if (json_array_append_new(hashes, hex(proof.hash[i])) != 0)
            err = WEFT_ENOMEM;
    if (err == WEFT_OK)
        answer = json_pack("{sI so sO so}", "seq", (json_int_t)seq, "bytes",
                           base64(wf_span_of(found.bytes.data, found.bytes.len)), "hashes", hashes,
                           "checkpoint", base64(wf_span_of(checkpoint.data, checkpoint.len)));
    json_decref(hashes);
    wf_buf_fini(&checkpoint);
    wf_buf_fini(&found.bytes);
    return err == WEFT_OK ? view_answer(call, answer) : err;
}
