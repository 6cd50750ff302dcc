/*
 * All that a peer can say before we know it: a stream of frames on a link. A
 * control frame is decoded as such; what data frames carry is taken for the
 * plaintext of the session, so that the hellos of both layers are reached.
 */
#include "proto/wire/control.h"
#include "proto/wire/frame.h"
#include "proto/wire/item.h"
#include "tests/fuzz/check.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_hello(const Weft__Wire__Hello *hello)
{
    CHECK(hello->version_min >= 1 && hello->version_min <= hello->version_max);
    CHECK(strlen(hello->agent) <= WF_AGENT_MAX);
    CHECK(hello->n_chain <= WF_CHAIN_DEPTH);
    CHECK(hello->member == NULL || hello->member->signer.len == WF_PIN_LEN);
}

static weft_err item(void *arg, enum wf_item_type type, wf_span data)
{
    (void)arg;
    Weft__Wire__ItemHello *hello = NULL;
    Weft__Wire__ItemRefuse *refuse = NULL;
    Weft__Wire__ItemGrant *grant = NULL;
    weft_err err = WEFT_OK;
    switch (type) {
    case WF_ITEM_HELLO:
        err = wf_item_hello_decode(data.data, data.len, &hello, NULL);
        if (err == WEFT_OK) {
            CHECK(hello->service_id.len == WF_ID_LEN && hello->session.len == WF_ID_LEN);
            CHECK(hello->grant != NULL && hello->n_floors <= 1);
        }
        break;
    case WF_ITEM_REFUSE:
    case WF_ITEM_RESET:
        err = wf_item_refuse_decode(data.data, data.len, &refuse, NULL);
        CHECK(err != WEFT_OK || (refuse->code != 0 && strlen(refuse->reason) <= WF_REASON_MAX));
        break;
    case WF_ITEM_GRANT:
        err = wf_item_grant_decode(data.data, data.len, &grant, NULL);
        CHECK(err != WEFT_OK || grant->grant != NULL);
        break;
    case WF_ITEM_ACCEPT:
    case WF_ITEM_DATA:
    case WF_ITEM_DATAGRAM:
    case WF_ITEM_END:
        break;
    }
    wf_item_hello_free(hello);
    wf_item_refuse_free(refuse);
    wf_item_grant_free(grant);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len + 1);
    CHECK(copy != NULL);
    if (len > 0)
        memcpy(copy, data, len);
    struct wf_item_parser items;
    wf_item_parser_init(&items);

    size_t at = 0;
    for (;;) {
        struct wf_frame frame;
        size_t need;
        weft_err err = wf_frame_decode(copy + at, len - at, &frame, &need, NULL);
        if (err != WEFT_OK || need > 0)
            break;
        const uint8_t *payload = frame.bytes + WF_FRAME_HEADER;
        if (frame.type == WF_FRAME_CONTROL) {
            Weft__Wire__Control *control = NULL;
            err = wf_control_decode(payload, frame.length, &control, NULL);
            if (err == WEFT_OK && control->of_case == WEFT__WIRE__CONTROL__OF_HELLO)
                check_hello(control->hello);
            wf_control_free(control);
        } else if (frame.type == WF_FRAME_DATA) {
            err = wf_item_parser_feed(&items, payload, frame.length, item, NULL, NULL);
        }
        if (err != WEFT_OK)
            break;
        at += WF_FRAME_HEADER + (size_t)frame.length;
    }
    wf_item_parser_fini(&items);
    free(copy);
    return 0;
}
