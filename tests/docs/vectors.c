/*
 * Happy path: read a section's inputs, ask the code, write its outputs beside
 * them. Whatever can't be so ends the program with the place: a vector file is
 * ours, not the world's.
 */
#include "tests/docs/vectors.h"
#include "proto/base/address.h"
#include "proto/base/text.h"
#include "proto/wire/frame.h"
#include "proto/wire/item.h"
#include "sdk/flow.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(belief)                                                                               \
    do {                                                                                           \
        if (!(belief)) {                                                                           \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #belief);             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define BYTES_MAX (128u * 1024u)

/* ---- reading and writing JSON */

json_t *vectors_load(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL)
        fprintf(stderr, "%s:%d: %s\n", path, error.line, error.text);
    MUST(root != NULL);
    return root;
}

const char *vectors_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    if (text == NULL)
        fprintf(stderr, "no text \"%s\"\n", name);
    MUST(text != NULL);
    return text;
}

uint64_t vectors_number(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    MUST(json_is_integer(value) && json_integer_value(value) >= 0);
    return (uint64_t)json_integer_value(value);
}

static void put_unhex(const char *text, wf_buf *out)
{
    size_t len = strlen(text) / 2;
    wf_buf_init(out, BYTES_MAX);
    MUST(wf_buf_reserve(out, len + 1) == WEFT_OK);
    MUST(wf_unhex(text, strlen(text), out->data, len));
    out->len = len;
}

void vectors_bytes(const json_t *object, const char *name, wf_buf *out)
{
    put_unhex(vectors_text(object, name), out);
}

static void set_hex(json_t *object, const char *name, wf_span bytes)
{
    char *text = malloc(2 * bytes.len + 1);
    MUST(text != NULL);
    MUST(json_object_set_new(object, name, json_string(wf_hex(bytes.data, bytes.len, text))) == 0);
    free(text);
}

static void set_text(json_t *object, const char *name, const char *text)
{
    MUST(json_object_set_new(object, name, json_string(text)) == 0);
}

static void set_number(json_t *object, const char *name, uint64_t number)
{
    MUST(json_object_set_new(object, name, json_integer((json_int_t)number)) == 0);
}

static wf_span span_of(const wf_buf *buf)
{
    return wf_span_of(buf->data, buf->len);
}

json_t *vectors_find(const json_t *root, const char *list, const char *name)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(root, list), i, entry)
    {
        if (strcmp(vectors_text(entry, "name"), name) == 0)
            return entry;
    }
    fprintf(stderr, "no \"%s\" in \"%s\"\n", name, list);
    abort();
}

/* ---- keys and certificates */

pki_key *vectors_key(const json_t *root, const char *name)
{
    /* RFC 8410: an Ed25519 key in PKCS#8 is this head and the 32 bytes of its seed. */
    static const uint8_t head[] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                                   0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
    pki_key *key = NULL;
    wf_buf seed, der, pem;
    vectors_bytes(vectors_find(root, "keys", name), "seed", &seed);
    wf_buf_init(&der, 64);
    wf_buf_init(&pem, 256);
    MUST(seed.len == 32);
    MUST(wf_buf_put(&der, head, sizeof head) == WEFT_OK);
    MUST(wf_buf_put(&der, seed.data, seed.len) == WEFT_OK);
    MUST(wf_buf_put_text(&pem, "-----BEGIN PRIVATE KEY-----\n") == WEFT_OK);
    MUST(wf_base64_encode(der.data, der.len, &pem) == WEFT_OK);
    MUST(wf_buf_put_text(&pem, "\n-----END PRIVATE KEY-----\n") == WEFT_OK);
    MUST(pki_key_from_pem(span_of(&pem), NULL, &key, NULL) == WEFT_OK);
    wf_buf_fini(&seed);
    wf_buf_wipe(&der);
    wf_buf_wipe(&pem);
    return key;
}

pki_chain *vectors_chain(const json_t *root, const char *name)
{
    const json_t *certs = json_object_get(vectors_find(root, "certificates", name), "chain");
    wf_buf der[WF_CHAIN_DEPTH];
    wf_span spans[WF_CHAIN_DEPTH];
    size_t count = json_array_size(certs);
    pki_chain *chain = NULL;
    MUST(count <= WF_CHAIN_DEPTH);
    for (size_t i = 0; i < count; i++) {
        put_unhex(json_string_value(json_array_get(certs, i)), &der[i]);
        spans[i] = span_of(&der[i]);
    }
    MUST(pki_chain_from_der(spans, count, &chain, NULL) == WEFT_OK);
    for (size_t i = 0; i < count; i++)
        wf_buf_fini(&der[i]);
    return chain;
}

static void fill_keys(json_t *root)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(root, "keys"), i, entry)
    {
        pki_key *key = vectors_key(root, vectors_text(entry, "name"));
        wf_buf spki;
        pki_pin pin;
        wf_buf_init(&spki, 256);
        MUST(pki_key_put_spki(key, &spki) == WEFT_OK);
        pki_key_pin(key, &pin);
        set_hex(entry, "spki", span_of(&spki));
        set_hex(entry, "pin", wf_span_of(pin.b, sizeof pin.b));
        wf_buf_fini(&spki);
        pki_key_free(key);
    }
    json_array_foreach(json_object_get(root, "pins"), i, entry)
    {
        wf_buf spki;
        pki_pin pin;
        vectors_bytes(entry, "spki", &spki);
        pki_pin_of_spki(span_of(&spki), &pin);
        set_hex(entry, "pin", wf_span_of(pin.b, sizeof pin.b));
        wf_buf_fini(&spki);
    }
}

static void fill_certificates(json_t *root)
{
    pki_trust *trust = vectors_trust(root);
    uint64_t now = vectors_number(root, "now");
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(root, "certificates"), i, entry)
    {
        const char *name = vectors_text(entry, "name");
        pki_chain *chain = vectors_chain(root, name);
        struct pki_subject who;
        char uri[PKI_SPIFFE_MAX];
        unsigned kinds = PKI_IDENTITY | PKI_ROUTER | PKI_CONTROLLER;
        MUST(pki_trust_check_chain(trust, chain, kinds, PKI_CLIENT, false, now, &who, NULL) ==
             WEFT_OK);
        set_text(entry, "subject", pki_spiffe_text(who.domain, who.kind, &who.id, uri));
        set_text(entry, "cn", who.name);
        set_hex(entry, "pin", wf_span_of(who.pin.b, sizeof who.pin.b));
        set_number(entry, "not_before", who.not_before);
        set_number(entry, "not_after", who.not_after);
        pki_chain_free(chain);
    }
    pki_trust_unref(trust);
}

/* ---- messages, from their fields */

static const struct {
    const char *name;
    const ProtobufCMessageDescriptor *descriptor;
} messages[] = {
#define ROW(Name, snake, max) {#Name, &weft__wire__##snake##__descriptor},
    WF_MESSAGE_MAP(ROW)
#undef ROW
        {"Hello", &weft__wire__hello__descriptor},
    {"Setup", &weft__wire__setup__descriptor},
    {"SetupReply", &weft__wire__setup_reply__descriptor},
    {"Bind", &weft__wire__bind__descriptor},
    {"BindReply", &weft__wire__bind_reply__descriptor},
    {"Unbind", &weft__wire__unbind__descriptor},
    {"Floors", &weft__wire__floors__descriptor},
    {"FloorsWanted", &weft__wire__floors_wanted__descriptor},
    {"Call", &weft__wire__call__descriptor},
    {"Reply", &weft__wire__reply__descriptor},
    {"Notice", &weft__wire__notice__descriptor},
};

static const ProtobufCMessageDescriptor *descriptor_of(const char *name)
{
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++)
        if (strcmp(messages[i].name, name) == 0)
            return messages[i].descriptor;
    fprintf(stderr, "no message \"%s\"\n", name);
    abort();
}

static ProtobufCMessage *build(const ProtobufCMessageDescriptor *d, const json_t *fields);

static size_t size_of(const ProtobufCFieldDescriptor *f)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_UINT64:
        return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_UINT32:
        return sizeof(uint32_t);
    case PROTOBUF_C_TYPE_ENUM:
        return sizeof(int);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    default:
        abort();
    }
}

/* All memory of a built message is malloc's, as protobuf-c's own decoder would have it. */
static void put_value(const ProtobufCFieldDescriptor *f, const json_t *value, void *at)
{
    wf_buf bytes;
    switch (f->type) {
    case PROTOBUF_C_TYPE_UINT64:
        *(uint64_t *)at = (uint64_t)json_integer_value(value);
        break;
    case PROTOBUF_C_TYPE_UINT32:
        *(uint32_t *)at = (uint32_t)json_integer_value(value);
        break;
    case PROTOBUF_C_TYPE_ENUM:
        *(int *)at =
            protobuf_c_enum_descriptor_get_value_by_name(f->descriptor, json_string_value(value))
                ->value;
        break;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)at = json_is_true(value);
        break;
    case PROTOBUF_C_TYPE_STRING:
        *(char **)at = strdup(json_string_value(value));
        break;
    case PROTOBUF_C_TYPE_BYTES:
        put_unhex(json_string_value(value), &bytes);
        *(ProtobufCBinaryData *)at =
            (ProtobufCBinaryData){.len = bytes.len, .data = malloc(bytes.len + 1)};
        memcpy(((ProtobufCBinaryData *)at)->data, bytes.data, bytes.len);
        wf_buf_fini(&bytes);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        *(ProtobufCMessage **)at = build(f->descriptor, value);
        break;
    default:
        abort();
    }
}

static ProtobufCMessage *build(const ProtobufCMessageDescriptor *d, const json_t *fields)
{
    uint8_t *message = calloc(1, d->sizeof_message);
    union { /* jansson iterates over what it doesn't change */
        const json_t *in;
        json_t *out;
    } all = {.in = fields};
    const char *name;
    json_t *value;
    protobuf_c_message_init(d, message);
    json_object_foreach(all.out, name, value)
    {
        const ProtobufCFieldDescriptor *f =
            protobuf_c_message_descriptor_get_field_by_name(d, name);
        if (f == NULL)
            fprintf(stderr, "%s has no field \"%s\"\n", d->short_name, name);
        MUST(f != NULL);
        if (f->label != PROTOBUF_C_LABEL_REPEATED) {
            put_value(f, value, message + f->offset);
            continue;
        }
        size_t count = json_array_size(value);
        uint8_t *list = calloc(count, size_of(f));
        for (size_t i = 0; i < count; i++)
            put_value(f, json_array_get(value, i), list + i * size_of(f));
        *(size_t *)(void *)(message + f->quantifier_offset) = count;
        *(void **)(void *)(message + f->offset) = list;
    }
    return (ProtobufCMessage *)(void *)message;
}

/* The frame that carries it, if it is a message of Control. */
static bool put_frame(const ProtobufCMessage *message, wf_buf *out)
{
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;
    wf_buf payload;
    uint8_t header[WF_FRAME_HEADER];
    for (unsigned i = 0; i < weft__wire__control__descriptor.n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &weft__wire__control__descriptor.fields[i];
        if (f->descriptor != message->descriptor)
            continue;
        union {
            const ProtobufCMessage *in;
            Weft__Wire__Hello *out; /* any member of the union will do */
        } borrowed = {.in = message};
        control.of_case = (Weft__Wire__Control__OfCase)f->id;
        control.hello = borrowed.out;
        wf_buf_init(&payload, BYTES_MAX);
        MUST(wf_message_put(&control.base, &payload) == WEFT_OK);
        wf_frame_put_header(header, WF_FRAME_CONTROL, 0, 0, (uint32_t)payload.len);
        MUST(wf_buf_put(out, header, sizeof header) == WEFT_OK);
        MUST(wf_buf_put(out, payload.data, payload.len) == WEFT_OK);
        wf_buf_fini(&payload);
        return true;
    }
    return false;
}

static void fill_messages(json_t *root)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(root, "messages"), i, entry)
    {
        ProtobufCMessage *message =
            build(descriptor_of(vectors_text(entry, "message")), json_object_get(entry, "fields"));
        wf_buf encoded, frame;
        wf_buf_init(&encoded, BYTES_MAX);
        wf_buf_init(&frame, BYTES_MAX);
        MUST(wf_message_put(message, &encoded) == WEFT_OK);
        set_hex(entry, "encoded", span_of(&encoded));
        if (put_frame(message, &frame))
            set_hex(entry, "frame", span_of(&frame));
        protobuf_c_message_free_unpacked(message, NULL);
        wf_buf_fini(&encoded);
        wf_buf_fini(&frame);
    }
}

/* ---- signed records */

static void fill_records(json_t *root)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(root, "records"), i, entry)
    {
        const char *label = vectors_text(entry, "label");
        pki_key *key = vectors_key(root, vectors_text(entry, "key"));
        ProtobufCMessage *body =
            build(descriptor_of(vectors_text(entry, "message")), json_object_get(entry, "fields"));
        wf_buf encoded, covered, record;
        Weft__Wire__Signed *s = NULL;
        uint8_t digest[32];
        wf_buf_init(&encoded, BYTES_MAX);
        wf_buf_init(&covered, BYTES_MAX);
        wf_buf_init(&record, BYTES_MAX);
        MUST(wf_message_put(body, &encoded) == WEFT_OK);
        MUST(wf_buf_put(&covered, label, strlen(label) + 1) == WEFT_OK);
        MUST(wf_buf_put(&covered, encoded.data, encoded.len) == WEFT_OK);
        MUST(pki_record_seal(key, label, body, &record) == WEFT_OK);
        MUST(wf_signed_decode(record.data, record.len, &s, NULL) == WEFT_OK);
        pki_record_digest(span_of(&record), digest);
        set_hex(entry, "body", span_of(&encoded));
        set_hex(entry, "covered", span_of(&covered));
        set_hex(entry, "signature", wf_pb_span(s->signature));
        set_hex(entry, "signer", wf_pb_span(s->signer));
        set_hex(entry, "record", span_of(&record));
        set_hex(entry, "digest", wf_span_of(digest, sizeof digest));
        wf_signed_free(s);
        protobuf_c_message_free_unpacked(body, NULL);
        pki_key_free(key);
        wf_buf_fini(&encoded);
        wf_buf_fini(&covered);
        wf_buf_fini(&record);
    }
}

Weft__Wire__Signed *vectors_record(const json_t *root, const char *name)
{
    Weft__Wire__Signed *record = NULL;
    wf_buf bytes;
    vectors_bytes(vectors_find(root, "records", name), "record", &bytes);
    MUST(wf_signed_decode(bytes.data, bytes.len, &record, NULL) == WEFT_OK);
    wf_buf_fini(&bytes);
    return record;
}

pki_trust *vectors_trust(const json_t *root)
{
    pki_trust *trust = NULL;
    wf_buf bundle, digest;
    const json_t *entry = vectors_find(root, "records", "bundle");
    vectors_bytes(entry, "record", &bundle);
    vectors_bytes(entry, "digest", &digest);
    MUST(digest.len == 32);
    MUST(pki_trust_new(span_of(&bundle), digest.data, &trust, NULL) == WEFT_OK);
    wf_buf_fini(&bundle);
    wf_buf_fini(&digest);
    return trust;
}

/* ---- frames and items */

static void fill_frames(json_t *root)
{
    static const char *const names[] = {"", "control", "data", "ack", "close", "ping"};
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(root, "frames"), i, entry)
    {
        const char *name = vectors_text(entry, "type");
        unsigned type = WF_FRAME_CONTROL;
        uint8_t header[WF_FRAME_HEADER], ack_bytes[WF_ACK_LEN];
        wf_buf payload, frame;
        while (type < WF_FRAME_PING && strcmp(names[type], name) != 0)
            type++;
        wf_buf_init(&frame, BYTES_MAX);
        if (type == WF_FRAME_ACK) {
            const struct wf_ack ack = {.received = vectors_number(entry, "received"),
                                       .credit = vectors_number(entry, "credit")};
            wf_ack_encode(&ack, ack_bytes);
            wf_buf_init(&payload, WF_ACK_LEN);
            MUST(wf_buf_put(&payload, ack_bytes, sizeof ack_bytes) == WEFT_OK);
        } else {
            vectors_bytes(entry, "payload", &payload);
        }
        wf_frame_put_header(header, (enum wf_frame_type)type,
                            (unsigned)vectors_number(entry, "flags"),
                            (uint32_t)vectors_number(entry, "label"), (uint32_t)payload.len);
        MUST(wf_buf_put(&frame, header, sizeof header) == WEFT_OK);
        MUST(wf_buf_put(&frame, payload.data, payload.len) == WEFT_OK);
        set_hex(entry, "frame", span_of(&frame));
        wf_buf_fini(&payload);
        wf_buf_fini(&frame);
    }
}

static void fill_items(json_t *root)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(root, "items"), i, entry)
    {
        uint8_t header[WF_ITEM_HEADER];
        wf_buf content, item;
        vectors_bytes(entry, "content", &content);
        wf_buf_init(&item, BYTES_MAX);
        wf_item_put_header(header, (enum wf_item_type)vectors_number(entry, "type"),
                           (uint32_t)content.len);
        MUST(wf_buf_put(&item, header, sizeof header) == WEFT_OK);
        MUST(content.len == 0 || wf_buf_put(&item, content.data, content.len) == WEFT_OK);
        set_hex(entry, "item", span_of(&item));
        wf_buf_fini(&content);
        wf_buf_fini(&item);
    }
}

/* ---- floors, tokens, proofs, credit */

static void fill_floors(json_t *root)
{
    json_t *floors = json_object_get(root, "floors"), *entry;
    pki_trust *trust = vectors_trust(root);
    uint8_t digest[32];
    size_t i;
    json_array_foreach(json_object_get(floors, "apply"), i, entry)
    {
        Weft__Wire__Signed *set = vectors_record(root, json_string_value(entry));
        bool changed;
        MUST(pki_trust_apply_floors(trust, set, vectors_number(root, "now"), &changed, NULL) ==
             WEFT_OK);
        wf_signed_free(set);
    }
    pki_floors_digest(pki_trust_floors(trust), digest);
    set_number(floors, "version", pki_floors_version(pki_trust_floors(trust)));
    set_hex(floors, "digest", wf_span_of(digest, sizeof digest));
    json_array_foreach(json_object_get(floors, "ask"), i, entry)
    {
        wf_id identity, service;
        const char *id = vectors_text(entry, "identity"), *of = vectors_text(entry, "service");
        bool dial = strcmp(vectors_text(entry, "role"), "ROLE_DIAL") == 0;
        MUST(wf_id_parse(id, strlen(id), &identity) && wf_id_parse(of, strlen(of), &service));
        set_number(
            entry, "floor",
            pki_floors_for_grant(pki_trust_floors(trust), &identity, &service,
                                 dial ? WEFT__WIRE__ROLE__ROLE_DIAL : WEFT__WIRE__ROLE__ROLE_BIND));
        MUST(json_object_set_new(entry, "cut",
                                 json_boolean(pki_floors_is_cut(pki_trust_floors(trust),
                                                                PKI_IDENTITY, &identity, NULL))) ==
             0);
    }
    pki_trust_unref(trust);
}

static void fill_token(json_t *root)
{
    json_t *entry = json_object_get(root, "token"), *list;
    pki_key *key = vectors_key(root, vectors_text(entry, "key"));
    struct pki_token token = {.method = PKI_ENROLL_OTT};
    char domain[PKI_DOMAIN_MAX + 1];
    const char *jti = vectors_text(entry, "jti");
    wf_buf bytes, text;
    size_t i;
    json_t *value;
    snprintf(token.issuer, sizeof token.issuer, "%s", vectors_text(entry, "iss"));
    snprintf(token.subject, sizeof token.subject, "%s", vectors_text(entry, "sub"));
    snprintf(token.name, sizeof token.name, "%s", vectors_text(entry, "name"));
    MUST(pki_spiffe_parse(token.subject, strlen(token.subject), domain, &token.kind, &token.id) ==
         WEFT_OK);
    MUST(wf_id_parse(jti, strlen(jti), &token.jti));
    token.expiry = vectors_number(entry, "exp") * 1000;
    list = json_object_get(entry, "ctrl");
    json_array_foreach(list, i, value)
    {
        MUST(wf_address_parse(json_string_value(value), 0, &token.controllers[i], NULL) == WEFT_OK);
        token.controller_count = i + 1;
    }
    list = json_object_get(entry, "spki");
    json_array_foreach(list, i, value)
    {
        put_unhex(json_string_value(value), &bytes);
        MUST(bytes.len == 32);
        memcpy(token.server_pins[i].b, bytes.data, 32);
        token.server_pin_count = i + 1;
        wf_buf_fini(&bytes);
    }
    vectors_bytes(entry, "bundle", &bytes);
    MUST(bytes.len == 32);
    memcpy(token.bundle, bytes.data, 32);
    wf_buf_fini(&bytes);

    wf_buf_init(&text, WF_TOKEN_MAX);
    MUST(pki_token_make(key, &token, &text) == WEFT_OK);
    MUST(wf_buf_cstr(&text) != NULL);
    set_text(entry, "text", wf_buf_cstr(&text));
    wf_buf_fini(&text);
    pki_key_free(key);
}

static void fill_proof(json_t *root)
{
    json_t *entry = json_object_get(root, "proof");
    const char *label = vectors_text(entry, "label"), *subject = vectors_text(entry, "subject");
    pki_key *key = vectors_key(root, vectors_text(entry, "key"));
    wf_span over = wf_span_of(subject, strlen(subject));
    uint8_t hash[32];
    wf_buf exporter, covered, proof, csr;
    vectors_bytes(entry, "exporter", &exporter);
    wf_buf_init(&covered, 256);
    wf_buf_init(&proof, 256);
    wf_buf_init(&csr, WF_CSR_MAX);
    MUST(exporter.len == 32);
    pki_sha256(over.data, over.len, hash);
    MUST(wf_buf_put(&covered, label, strlen(label) + 1) == WEFT_OK);
    MUST(wf_buf_put(&covered, hash, sizeof hash) == WEFT_OK);
    MUST(wf_buf_put(&covered, exporter.data, exporter.len) == WEFT_OK);
    MUST(pki_proof_make(key, label, over, exporter.data, &proof) == WEFT_OK);
    MUST(pki_csr_make(key, &csr, NULL) == WEFT_OK);
    set_hex(entry, "covered", span_of(&covered));
    set_hex(entry, "proof", span_of(&proof));
    set_hex(entry, "csr", span_of(&csr));
    wf_buf_fini(&exporter);
    wf_buf_fini(&covered);
    wf_buf_fini(&proof);
    wf_buf_fini(&csr);
    pki_key_free(key);
}

static void fill_credit(json_t *root)
{
    json_t *credit = json_object_get(root, "credit"), *step;
    struct wf_flow flow;
    size_t i;
    wf_flow_init(&flow, vectors_number(credit, "window"));
    json_array_foreach(json_object_get(credit, "steps"), i, step)
    {
        struct wf_ack ack;
        json_t *said = json_null();
        MUST(wf_flow_received(&flow, vectors_number(step, "came"), NULL) == WEFT_OK);
        if (wf_flow_ack_due(&flow, vectors_number(step, "held"), &ack))
            said = json_pack("{s:I, s:I}", "received", (json_int_t)ack.received, "credit",
                             (json_int_t)ack.credit);
        MUST(json_object_set_new(step, "ack", said) == 0);
    }
}

void vectors_fill(json_t *root)
{
    fill_keys(root);
    fill_frames(root);
    fill_items(root);
    fill_messages(root);
    fill_records(root);
    fill_certificates(root);
    fill_floors(root);
    fill_token(root);
    fill_proof(root);
    fill_credit(root);
}

/* ---- the identity file */

static void carry(const json_t *root, const char *name, wf_buf **array, size_t *count)
{
    wf_buf record;
    vectors_bytes(vectors_find(root, "records", name), "record", &record);
    MUST(pki_identity_carry(array, count, span_of(&record)) == WEFT_OK);
    wf_buf_fini(&record);
}

void vectors_put_identity(const json_t *root, wf_buf *out)
{
    const json_t *host = vectors_find(root, "certificates", "host");
    const char *subject = vectors_text(host, "subject");
    struct pki_identity identity;
    wf_buf bundle;
    pki_identity_init(&identity);
    identity.key = vectors_key(root, "host");
    identity.chain = vectors_chain(root, "host");
    MUST(pki_spiffe_parse(subject, strlen(subject), identity.domain, &identity.kind,
                          &identity.id) == WEFT_OK);
    snprintf(identity.name, sizeof identity.name, "%s", vectors_text(host, "cn"));
    vectors_bytes(vectors_find(root, "records", "bundle"), "record", &bundle);
    MUST(wf_buf_put(&identity.bundle, bundle.data, bundle.len) == WEFT_OK);
    wf_buf_fini(&bundle);
    MUST(wf_address_parse("controller.example.org:9338", 0, &identity.controllers[0], NULL) ==
         WEFT_OK);
    identity.controller_count = 1;
    identity.carries = true;
    carry(root, "grant", &identity.grants, &identity.grant_count);
    carry(root, "member", &identity.members, &identity.member_count);
    carry(root, "floors-1", &identity.floors, &identity.floors_count);
    MUST(pki_identity_put_json(&identity, out) == WEFT_OK);
    pki_identity_fini(&identity);
}
