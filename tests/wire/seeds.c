/*
 * Writes the fuzz seeds of this floor from the samples, after a message has
 * changed: wire_seeds tests/fuzz/seeds
 */
#include "proto/base/file.h"
#include "proto/wire/frame.h"
#include "proto/wire/item.h"
#include "tests/wire/sample.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *folder;

static void save(const char *noun, const char *name, const wf_buf *content)
{
    char path[4096];
    wf_why why;
    snprintf(path, sizeof path, "%s/%s", folder, noun);
    if (wf_folder_make(path, &why) != WEFT_OK)
        goto fail;
    snprintf(path, sizeof path, "%s/%s/%s", folder, noun, name);
    if (wf_file_write(path, content->data, content->len, 0644, &why) != WEFT_OK)
        goto fail;
    return;

fail:
    fprintf(stderr, "%s\n", why.text);
    exit(1);
}

static void put_frame(wf_buf *out, enum wf_frame_type type, unsigned flags, uint32_t label,
                      const void *payload, size_t len)
{
    uint8_t header[WF_FRAME_HEADER];
    wf_frame_put_header(header, type, flags, label, (uint32_t)len);
    wf_buf_put(out, header, sizeof header);
    wf_buf_put(out, payload, len);
}

static void put_item(wf_buf *out, enum wf_item_type type, const void *content, size_t len)
{
    uint8_t header[WF_ITEM_HEADER];
    wf_item_put_header(header, type, (uint32_t)len);
    wf_buf_put(out, header, sizeof header);
    wf_buf_put(out, content, len);
}

/* One seed for each message, with the byte that picks its decoder. */
static void control_seeds(void)
{
    uint8_t pick = 0;
    for (size_t i = 0; i < sample_count; i++) {
        wf_buf one, out;
        wf_buf_init(&one, 65536);
        wf_buf_init(&out, 65536);
        if (samples[i].control_field == 0)
            pick++;
        wf_buf_put_u8(&out, pick);
        sample_encode(&samples[i], &one);
        sample_wrap(&samples[i], one.data, one.len, &out);
        save("control", samples[i].name, &out);
        wf_buf_fini(&one);
        wf_buf_fini(&out);
    }
}

static void encode_named(const char *name, wf_buf *out)
{
    wf_buf one;
    wf_buf_init(&one, 65536);
    for (size_t i = 0; i < sample_count; i++) {
        if (strcmp(samples[i].name, name) != 0)
            continue;
        sample_encode(&samples[i], &one);
        sample_wrap(&samples[i], one.data, one.len, out);
    }
    wf_buf_fini(&one);
}

static void put_items(wf_buf *out)
{
    wf_buf one;
    wf_buf_init(&one, 65536);
    encode_named("ItemHello", &one);
    put_item(out, WF_ITEM_HELLO, one.data, one.len);
    put_item(out, WF_ITEM_ACCEPT, NULL, 0);
    put_item(out, WF_ITEM_DATA, "some data", 9);
    put_item(out, WF_ITEM_DATAGRAM, "a datagram", 10);
    put_item(out, WF_ITEM_DATAGRAM, NULL, 0);
    wf_buf_clear(&one);
    encode_named("ItemGrant", &one);
    put_item(out, WF_ITEM_GRANT, one.data, one.len);
    put_item(out, WF_ITEM_END, NULL, 0);
    wf_buf_clear(&one);
    encode_named("ItemRefuse", &one);
    put_item(out, WF_ITEM_RESET, one.data, one.len);
    put_item(out, WF_ITEM_REFUSE, one.data, one.len);
    wf_buf_fini(&one);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: wire_seeds FOLDER\n");
        return 2;
    }
    folder = argv[1];
    control_seeds();

    static const uint8_t zeros[WF_ACK_LEN];
    wf_buf hello, items, out;
    wf_buf_init(&hello, 65536);
    wf_buf_init(&items, 65536);
    wf_buf_init(&out, 1u << 20);
    encode_named("Hello", &hello);
    put_items(&items);

    put_frame(&out, WF_FRAME_CONTROL, 0, 0, hello.data, hello.len);
    put_frame(&out, WF_FRAME_DATA, 0, 7, "ciphertext", 10);
    put_frame(&out, WF_FRAME_ACK, 0, 7, zeros, WF_ACK_LEN);
    put_frame(&out, WF_FRAME_PING, 0, 0, zeros, 8);
    put_frame(&out, WF_FRAME_PING, WF_FRAME_FLAG_REPLY, 0, zeros, 8);
    put_frame(&out, WF_FRAME_CLOSE, 0, 7, zeros, 2);
    save("frame", "one-of-each", &out);
    wf_buf_clear(&out);
    put_frame(&out, WF_FRAME_DATA, 0, 0xffffffff, "x", 1);
    wf_buf_drop(&out, 1);
    save("frame", "cut", &out);

    wf_buf_clear(&out);
    put_frame(&out, WF_FRAME_CONTROL, 0, 0, hello.data, hello.len);
    save("hello", "link", &out);
    put_frame(&out, WF_FRAME_DATA, 0, 7, items.data, items.len / 2);
    put_frame(&out, WF_FRAME_DATA, 0, 7, items.data + items.len / 2, items.len - items.len / 2);
    save("hello", "link-and-items", &out);

    static const struct {
        const char *name;
        uint8_t piece;
    } cuts[] = {{"bytewise", 1}, {"sevens", 7}, {"hundreds", 100}};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        wf_buf_clear(&out);
        wf_buf_put_u8(&out, cuts[i].piece);
        wf_buf_put(&out, items.data, items.len);
        save("item", cuts[i].name, &out);
    }
    wf_buf_fini(&hello);
    wf_buf_fini(&items);
    wf_buf_fini(&out);
    return 0;
}
