/*
 * Items: the first byte says how the rest is cut. The events must be those of
 * the uncut stream, and no item may exceed what its type allows.
 */
#include "proto/wire/item.h"
#include "tests/fuzz/check.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A digest of the events in which the cuts of DATA don't show. */
struct seen {
    uint64_t digest;
    enum wf_item_type last;
};

static void mix(struct seen *seen, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        seen->digest = (seen->digest ^ data[i]) * 0x100000001b3u; /* FNV-1a */
}

static weft_err note(void *arg, enum wf_item_type type, wf_span data)
{
    struct seen *seen = arg;
    CHECK(type >= WF_ITEM_HELLO && type <= WF_ITEM_RESET);
    CHECK(type == WF_ITEM_DATA ? data.len > 0 : data.len <= WF_DATAGRAM_MAX);
    CHECK(type == WF_ITEM_DATA || type == WF_ITEM_DATAGRAM || data.len <= WF_ITEM_CONTROL_MAX);
    if (type != WF_ITEM_DATA || seen->last != WF_ITEM_DATA)
        mix(seen, (const uint8_t[]){(uint8_t)type}, 1);
    mix(seen, data.data, data.len);
    seen->last = type;
    return WEFT_OK;
}

static weft_err parse(const uint8_t *data, size_t len, size_t piece, struct seen *seen)
{
    struct wf_item_parser p;
    weft_err err = WEFT_OK;
    *seen = (struct seen){.digest = 0xcbf29ce484222325u};
    wf_item_parser_init(&p);
    for (size_t at = 0; at < len && err == WEFT_OK; at += piece) {
        size_t n = len - at < piece ? len - at : piece;
        err = wf_item_parser_feed(&p, data + at, n, note, seen, NULL);
        CHECK(p.whole.len <= WF_DATAGRAM_MAX);
    }
    CHECK(err == WEFT_OK || err == WEFT_EPROTO);
    wf_item_parser_fini(&p);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 2)
        return 0;
    struct seen whole, cut;
    weft_err err = parse(data + 1, len - 1, len - 1, &whole);
    CHECK(parse(data + 1, len - 1, data[0] == 0 ? 1 : data[0], &cut) == err);
    CHECK(whole.digest == cut.digest);
    return 0;
}
