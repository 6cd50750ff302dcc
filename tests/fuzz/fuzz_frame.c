/*
 * Frames of a byte stream: what is found in the whole must be found when the
 * bytes come one by one, and a frame that was accepted is written the same.
 */
#include "proto/wire/frame.h"
#include "tests/fuzz/check.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void look(uint8_t *bytes, size_t len, struct wf_frame *frame, size_t *need, weft_err *err)
{
    wf_why why = {.text = ""};
    *frame = (struct wf_frame){0};
    *need = 0;
    *err = wf_frame_decode(bytes, len, frame, need, &why);
    CHECK(*err == WEFT_OK || (*err == WEFT_EPROTO && why.text[0] != '\0'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len + 1);
    CHECK(copy != NULL);
    if (len > 0)
        memcpy(copy, data, len);

    size_t at = 0;
    while (at < len) {
        struct wf_frame frame;
        size_t need, have = 0;
        weft_err err, err_whole;
        look(copy + at, len - at, &frame, &need, &err_whole);
        struct wf_frame whole = frame;
        size_t whole_need = need;

        /* As a link does: ask for no more than it said it needs. */
        do {
            look(copy + at, have, &frame, &need, &err);
            CHECK(need == 0 || need > have);
            if (err != WEFT_OK || need == 0 || need > len - at)
                break;
            have = need;
        } while (true);
        CHECK(err == err_whole);
        CHECK(err != WEFT_OK || need == whole_need);
        if (err != WEFT_OK || need > 0)
            break;
        CHECK(frame.type == whole.type && frame.label == whole.label &&
              frame.length == whole.length && frame.flags == whole.flags);
        CHECK(frame.bytes == copy + at && frame.length <= WF_FRAME_PAYLOAD_MAX);
        CHECK(have == WF_FRAME_HEADER + (size_t)frame.length);

        uint8_t header[WF_FRAME_HEADER];
        wf_frame_put_header(header, frame.type, frame.flags, frame.label, frame.length);
        CHECK(memcmp(header, frame.bytes, sizeof header) == 0);
        struct wf_ack ack;
        if (wf_ack_decode(frame.bytes + WF_FRAME_HEADER, frame.length, &ack)) {
            uint8_t again[WF_ACK_LEN];
            wf_ack_encode(&ack, again);
            CHECK(memcmp(again, frame.bytes + WF_FRAME_HEADER, WF_ACK_LEN) == 0);
        }
        at += have;
    }
    free(copy);
    return 0;
}
