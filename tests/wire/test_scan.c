/* The raw pass: protobuf's wire format at its edges. */
#include "proto/wire/limits.h"
#include "proto/wire/scan.h"
#include "proto/wire/weft.pb-c.h"
#include "tests/helpers/test.h"
#include "tests/wire/sample.h"
#include <stdio.h>
#include <string.h>

#define SCAN(message, text)                                                                        \
    wf_scan(&weft__wire__##message##__descriptor, (const uint8_t *)(text), sizeof(text) - 1, NULL)

static void nothing_is_an_empty_message(void **state)
{
    (void)state;
    assert_int_equal(wf_scan(&weft__wire__call__descriptor, NULL, 0, NULL), WEFT_OK);
}

static void a_varint_has_at_most_64_bits(void **state)
{
    (void)state;
    assert_int_equal(SCAN(call, "\x08\x00"), WEFT_OK);
    assert_int_equal(SCAN(call, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), WEFT_OK);
    assert_int_equal(SCAN(call, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), WEFT_EPROTO);
    assert_int_equal(SCAN(call, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00"), WEFT_EPROTO);
    assert_int_equal(SCAN(call, "\x08\x80"), WEFT_EPROTO);
    assert_int_equal(SCAN(call, "\x08"), WEFT_EPROTO);
}

static void a_number_wider_than_its_field_is_refused(void **state)
{
    (void)state;
    assert_int_equal(SCAN(setup, "\x08\xff\xff\xff\xff\x0f"), WEFT_OK);      /* uint32, 2^32-1 */
    assert_int_equal(SCAN(setup, "\x08\x80\x80\x80\x80\x10"), WEFT_EPROTO);  /* 2^32 */
    assert_int_equal(SCAN(item_hello, "\x18\xff\xff\xff\xff\x07"), WEFT_OK); /* enum, 2^31-1 */
    assert_int_equal(SCAN(item_hello, "\x18\x80\x80\x80\x80\x08"), WEFT_EPROTO);
    assert_int_equal(SCAN(notice, "\x08\x01"), WEFT_OK); /* bool */
    assert_int_equal(SCAN(notice, "\x08\x02"), WEFT_EPROTO);
}

static void a_length_must_lie_within_the_message(void **state)
{
    (void)state;
    assert_int_equal(SCAN(unbind, "\x0a\x00"), WEFT_OK);
    assert_int_equal(SCAN(unbind, "\x0a\x01x"), WEFT_OK);
    assert_int_equal(SCAN(unbind, "\x0a\x02x"), WEFT_EPROTO);
    assert_int_equal(SCAN(unbind, "\x0a\x80\x80\x80\x80\x08x"), WEFT_EPROTO); /* 2^31 */
    assert_int_equal(SCAN(unbind, "\x0a\xff\xff\xff\xff\x0fx"), WEFT_EPROTO); /* 2^32-1 */
    assert_int_equal(SCAN(unbind, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x"), WEFT_EPROTO);
    assert_int_equal(SCAN(unbind, "\x0a"), WEFT_EPROTO);
}

static void a_tag_has_a_number_and_a_known_wire_type(void **state)
{
    (void)state;
    assert_int_equal(SCAN(call, "\x00\x00"), WEFT_EPROTO);                 /* field 0 */
    assert_int_equal(SCAN(call, "\x80\x80\x80\x80\x10\x00"), WEFT_EPROTO); /* tag of 2^32 */
    assert_int_equal(SCAN(call, "\x0b\x0c"), WEFT_EPROTO);                 /* a group */
    assert_int_equal(SCAN(call, "\x0e"), WEFT_EPROTO);
    assert_int_equal(SCAN(call, "\x0f"), WEFT_EPROTO);
}

static void a_known_field_of_another_wire_type_is_refused(void **state)
{
    (void)state;
    assert_int_equal(SCAN(call, "\x0a\x01x"), WEFT_EPROTO);             /* id as bytes */
    assert_int_equal(SCAN(call, "\x09\1\2\3\4\5\6\7\10"), WEFT_EPROTO); /* id as fixed64 */
    assert_int_equal(SCAN(call, "\x0d\1\2\3\4"), WEFT_EPROTO);          /* id as fixed32 */
    assert_int_equal(SCAN(call, "\x10\x01"), WEFT_EPROTO);              /* operation as a number */
}

static void an_unknown_field_of_each_wire_type_is_passed_over(void **state)
{
    (void)state;
    assert_int_equal(SCAN(unbind, "\x78\x05"), WEFT_OK);
    assert_int_equal(SCAN(unbind, "\x79\1\2\3\4\5\6\7\10"), WEFT_OK);
    assert_int_equal(SCAN(unbind, "\x7a\x02\xff\x00"), WEFT_OK);
    assert_int_equal(SCAN(unbind, "\x7d\1\2\3\4"), WEFT_OK);
    assert_int_equal(SCAN(unbind, "\x79\1\2\3\4\5\6\7"), WEFT_EPROTO);
    assert_int_equal(SCAN(unbind, "\x7d\1\2\3"), WEFT_EPROTO);
}

static void a_fault_deep_inside_is_found(void **state)
{
    (void)state;
    /* Control > Terminators > Terminator > Signed: body given twice. */
    assert_int_equal(SCAN(control, "\x3a\x0a\x0a\x08\x0a\x06\x0a\x01x\x12\x01x"), WEFT_OK);
    assert_int_equal(SCAN(control, "\x3a\x0a\x0a\x08\x0a\x06\x0a\x01x\x0a\x01x"), WEFT_EPROTO);
}

/* One field alone: its tag with this wire type, and what follows. */
static weft_err scan_field(const struct sample *s, const ProtobufCFieldDescriptor *f, unsigned type,
                           const char *rest, size_t len)
{
    uint8_t bytes[32];
    size_t n = 0;
    uint32_t tag = f->id << 3 | type;

    for (; tag > 127; tag >>= 7)
        bytes[n++] = (uint8_t)(tag | 0x80);
    bytes[n++] = (uint8_t)tag;
    memcpy(bytes + n, rest, len);
    return wf_scan(s->message->descriptor, bytes, n + len, NULL);
}

static void every_field_of_every_message_has_its_wire_type_and_a_length_that_can_be(void **state)
{
    static const struct {
        unsigned type;
        const char *rest;
        size_t len;
    } forms[] = {{0, "\x01", 1}, {1, "\1\2\3\4\5\6\7\10", 8}, {5, "\1\2\3\4", 4}};
    static const struct {
        const char *rest;
        size_t len;
    } lengths[] = {{"\x02x", 2},
                   {"\xff\xff\xff\xff\x07x", 6},
                   {"\x80\x80\x80\x80\x08x", 6},
                   {"\xff\xff\xff\xff\x0fx", 6},
                   {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x", 11}};
    unsigned fields = 0;

    (void)state;
    for (size_t i = 0; i < sample_count; i++) {
        const ProtobufCMessageDescriptor *d = samples[i].message->descriptor;

        for (unsigned k = 0; k < d->n_fields; k++, fields++) {
            const ProtobufCFieldDescriptor *f = &d->fields[k];
            bool is_number = f->type != PROTOBUF_C_TYPE_BYTES &&
                             f->type != PROTOBUF_C_TYPE_STRING &&
                             f->type != PROTOBUF_C_TYPE_MESSAGE;

            for (size_t n = is_number ? 1 : 0; n < sizeof forms / sizeof forms[0]; n++)
                if (scan_field(&samples[i], f, forms[n].type, forms[n].rest, forms[n].len) !=
                    WEFT_EPROTO)
                    fail_msg("%s.%s passes with wire type %u", d->name, f->name, forms[n].type);
            for (size_t n = 0; n < sizeof lengths / sizeof lengths[0]; n++)
                if (scan_field(&samples[i], f, 2, lengths[n].rest, lengths[n].len) != WEFT_EPROTO)
                    fail_msg("%s.%s passes with impossible length %zu", d->name, f->name, n);
        }
    }
    printf("%u fields of %zu messages\n", fields, sample_count);
    assert_true(fields > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_an_empty_message),
        cmocka_unit_test(a_varint_has_at_most_64_bits),
        cmocka_unit_test(a_number_wider_than_its_field_is_refused),
        cmocka_unit_test(a_length_must_lie_within_the_message),
        cmocka_unit_test(a_tag_has_a_number_and_a_known_wire_type),
        cmocka_unit_test(a_known_field_of_another_wire_type_is_refused),
        cmocka_unit_test(an_unknown_field_of_each_wire_type_is_passed_over),
        cmocka_unit_test(a_fault_deep_inside_is_found),
        cmocka_unit_test(every_field_of_every_message_has_its_wire_type_and_a_length_that_can_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
