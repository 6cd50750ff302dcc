/*
 * Every message in protobuf: the first byte picks one (0: Control, else the
 * rows of WF_MESSAGE_MAP in turn), the rest is its encoding. What is accepted
 * must encode, and be accepted again.
 */
#include "proto/wire/control.h"
#include "tests/fuzz/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_refusal(weft_err err, const wf_why *why)
{
    CHECK(err == WEFT_EPROTO || err == WEFT_ELIMIT);
    CHECK(why->text[0] != '\0');
}

#define TRY(Name, snake, max)                                                                      \
    static void try_##snake(const uint8_t *data, size_t len)                                       \
    {                                                                                              \
        wf_why why = {.text = ""};                                                                 \
        Weft__Wire__##Name *message = NULL, *again = NULL;                                         \
        weft_err err = wf_##snake##_decode(data, len, &message, &why);                             \
        CHECK((err == WEFT_OK) == (message != NULL));                                              \
        if (err != WEFT_OK) {                                                                      \
            check_refusal(err, &why);                                                              \
            return;                                                                                \
        }                                                                                          \
        CHECK(len <= (max));                                                                       \
        wf_buf out;                                                                                \
        wf_buf_init(&out, SIZE_MAX);                                                               \
        CHECK(wf_message_put(&message->base, &out) == WEFT_OK);                                    \
        if (out.len <= len) { /* not if a long length was written short */                         \
            CHECK(wf_##snake##_decode(out.data, out.len, &again, &why) == WEFT_OK);                \
            wf_##snake##_free(again);                                                              \
        }                                                                                          \
        wf_buf_fini(&out);                                                                         \
        wf_##snake##_free(message);                                                                \
    }
TRY(Control, control, WF_CONTROL_MAX)
WF_MESSAGE_MAP(TRY)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
#define ROW(Name, snake, max) try_##snake,
    static void (*const rows[])(const uint8_t *data, size_t len) = {try_control,
                                                                    WF_MESSAGE_MAP(ROW)};
    if (len > 0)
        rows[data[0] % (sizeof rows / sizeof rows[0])](data + 1, len - 1);
    return 0;
}
