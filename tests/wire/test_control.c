/*
 * Control messages: every field of every message, found through its
 * descriptor, absent, doubled, and at each length that matters. A field that
 * is in no table here makes these tests fail.
 */
#include "proto/base/secret.h"
#include "tests/helpers/alloc.h"
#include "tests/helpers/test.h"
#include "tests/wire/sample.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- walking a message by its descriptor */

typedef void (*visit_fn)(struct sample *s, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                         const char *path);

static void *field_at(ProtobufCMessage *m, unsigned offset)
{
    return (char *)m + offset;
}

static void walk_message(struct sample *s, ProtobufCMessage *m, const char *path, visit_fn visit)
{
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        char deeper[128];
        snprintf(deeper, sizeof deeper, "%s.%s", path, f->name);
        visit(s, m, f, deeper);
        if (f->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        ProtobufCMessage **at = field_at(m, f->offset);
        if (f->label == PROTOBUF_C_LABEL_REPEATED)
            at = *(ProtobufCMessage ***)at;
        walk_message(s, *at, deeper, visit);
    }
}

static void walk(visit_fn visit)
{
    for (size_t i = 0; i < sample_count; i++)
        walk_message(&samples[i], samples[i].message, samples[i].name, visit);
}

static size_t last_len; /* of the encoding that `judge` made */

static weft_err judge(const struct sample *s)
{
    wf_buf out;
    wf_buf_init(&out, SIZE_MAX / 2);
    sample_encode(s, &out);
    last_len = out.len;
    weft_err err = sample_judge(s, out.data, out.len, NULL);
    wf_buf_fini(&out);
    return err;
}

static void assert_verdict(const char *path, size_t value, weft_err err, bool fine)
{
    if (fine ? err != WEFT_OK : err != WEFT_EPROTO && err != WEFT_ELIMIT)
        fail_msg("%s = %zu: %s", path, value, weft_err_name(err));
}

/* ---- tables: what each field may be */

/* Lengths of bytes fields, and of elements of repeated ones. */
static const struct bytes_row {
    const char *path;
    size_t min, max;
    bool may_be_empty;
} bytes_rows[] = {
    {"Hello.chain", 1, WF_CERT_MAX, false},
    {"Setup.service_id", 16, 16, false},
    {"Setup.session", 16, 16, false},
    {"Setup.instance", 16, 16, true},
    {"Setup.first", 0, WF_SETUP_BYTES_MAX, true},
    {"Setup.path", 16, 16, false},
    {"Setup.resume.mac", WF_MAC_MIN, WF_MAC_MAX, false},
    {"Setup.chain", 1, WF_CERT_MAX, false},
    {"SetupReply.first", 0, WF_SETUP_BYTES_MAX, true},
    {"SetupReply.instance", 16, 16, true},
    {"SetupReply.resume.mac", WF_MAC_MIN, WF_MAC_MAX, false},
    {"Unbind.instance", 16, 16, false},
    {"Terminators.add.chain", 1, WF_CERT_MAX, false},
    {"Terminators.remove.service_id", 16, 16, false},
    {"Terminators.remove.subject", 16, 16, false},
    {"Terminators.remove.instance", 16, 16, false},
    {"LinkState.chain", 1, WF_CERT_MAX, false},
    {"Call.arguments", 0, WF_CONTROL_MAX, true},
    {"Reply.result", 0, WF_CONTROL_MAX, true},
    {"Notice.cut_sessions", 16, 16, false},
    {"BundleBody.roots", 1, WF_CERT_MAX, false},
    {"BundleBody.policy_keys", 1, WF_KEY_MAX, false},
    {"BundleBody.audit_keys", 1, WF_KEY_MAX, false},
    {"BundleBody.enrollment_keys", 1, WF_KEY_MAX, false},
    {"BundleBody.previous", 32, 32, true},
    {"GrantBody.service_id", 16, 16, false},
    {"GrantBody.subject", 16, 16, false},
    {"GrantBody.pins", 32, 32, false},
    {"GrantBody.terms.sources", 18, 17, false}, /* its first byte counts; see its own test */
    {"MemberBody.router_id", 16, 16, false},
    {"MemberBody.pins", 32, 32, false},
    {"FloorsBody.previous", 32, 32, true},
    {"FloorsBody.floors.identity", 16, 16, false},
    {"FloorsBody.floors.service", 16, 16, false},
    {"FloorsBody.floors.key", 0, 0, true},    /* beside an identity; see the floors' own test */
    {"FloorsBody.floors.router", 0, 0, true}, /* likewise */
    {"BindBody.service_id", 16, 16, false},
    {"BindBody.instance", 16, 16, false},
    {"BindBody.router_id", 16, 16, false},
    {"BindBody.subject", 16, 16, false},
    {"LinkStateBody.router_id", 16, 16, false},
    {"LinkStateBody.neighbours", 16, 16, false},
    {"EnrollCall.csr", 1, WF_CSR_MAX, false},
    {"EnrollCall.proof", 1, WF_SIGNATURE_MAX, false},
    {"EnrollCall.foreign_chain", 1, WF_CERT_MAX, false},
    {"EnrollCall.foreign_proof", 0, WF_SIGNATURE_MAX, true},
    {"EnrollResult.chain", 1, WF_CERT_MAX, false},
    {"EnrollResult.id", 16, 16, false},
    {"EnrollResult.controller_pins", 32, 32, false},
    {"RenewCall.csr", 1, WF_CSR_MAX, false},
    {"RenewCall.proof", 1, WF_SIGNATURE_MAX, false},
    {"RenewCall.foreign_chain", 1, WF_CERT_MAX, false},
    {"RenewCall.foreign_proof", 0, WF_SIGNATURE_MAX, true},
    {"RenewCall.new_csr", 1, WF_CSR_MAX, false},
    {"RenewCall.new_proof", 1, WF_SIGNATURE_MAX, false},
    {"RenewResult.chain", 1, WF_CERT_MAX, false},
    {"CheckpointBody.root", 32, 32, false},
    {"ConsistencyResult.hashes", 32, 32, false},
    {"SessionReport.rows.session", 16, 16, false},
    {"SessionReport.rows.service_id", 16, 16, false},
    {"SessionReport.rows.dialer", 16, 16, true},
    {"SessionReport.rows.host", 16, 16, true},
    {"ItemHello.service_id", 16, 16, false},
    {"ItemHello.session", 16, 16, false},
    {"ItemHello.instance", 16, 16, false}, /* the sample is a host's */
};

static const struct count_row {
    const char *path;
    size_t min, max;
} count_rows[] = {
    {"Hello.chain", 0, WF_CHAIN_DEPTH},
    {"Setup.path", 0, WF_PATH_MAX},
    {"Setup.chain", 0, WF_CHAIN_DEPTH},
    {"Terminators.add", 0, WF_TERMINATORS_MAX},
    {"Terminators.add.chain", 1, WF_CHAIN_DEPTH},
    {"Terminators.remove", 0, WF_TERMINATORS_MAX},
    {"LinkState.chain", 1, WF_CHAIN_DEPTH},
    {"Floors.sets", 1, WF_FLOOR_SETS_MAX},
    {"Notice.cut_sessions", 0, WF_REPEATED_MAX},
    {"BundleBody.roots", 1, WF_BUNDLE_KEYS_MAX},
    {"BundleBody.policy_keys", 1, WF_BUNDLE_KEYS_MAX},
    {"BundleBody.audit_keys", 0, WF_BUNDLE_KEYS_MAX},
    {"BundleBody.enrollment_keys", 0, WF_BUNDLE_KEYS_MAX},
    {"GrantBody.pins", 1, WF_PINS_MAX},
    {"GrantBody.terms.windows", 0, WF_WINDOWS_MAX},
    {"GrantBody.terms.sources", 0, WF_SOURCES_MAX},
    {"MemberBody.pins", 1, WF_PINS_MAX},
    {"MemberBody.addresses", 0, WF_ADDRESSES_MAX},
    {"FloorsBody.floors", 0, WF_FLOOR_COUNT_MAX},
    {"LinkStateBody.neighbours", 0, WF_NEIGHBOURS_MAX},
    {"EnrollCall.addresses", 0, WF_ADDRESSES_MAX},
    {"EnrollCall.foreign_chain", 0, WF_CHAIN_DEPTH},
    {"RenewCall.foreign_chain", 0, WF_CHAIN_DEPTH},
    {"EnrollResult.chain", 1, WF_CHAIN_DEPTH},
    {"EnrollResult.controllers", 0, WF_ADDRESSES_MAX},
    {"EnrollResult.controller_pins", 0, WF_PINS_MAX},
    {"EnrollResult.members", 0, WF_MEMBERS_MAX},
    {"EnrollResult.floors", 0, WF_FLOOR_SETS_MAX},
    {"EnrollResult.bundles", 0, WF_BUNDLES_MAX},
    {"RenewResult.bundles", 0, WF_BUNDLES_MAX},
    {"RenewResult.chain", 1, WF_CHAIN_DEPTH},
    {"GrantsCall.services", 0, WF_GRANTS_PREFETCH},
    {"GrantsResult.grants", 0, WF_GRANTS_PREFETCH},
    {"GrantsResult.members", 0, WF_MEMBERS_MAX},
    {"GrantsResult.floors", 0, WF_FLOOR_SETS_MAX},
    {"SyncResult.members", 0, WF_MEMBERS_MAX},
    {"SyncResult.floors", 0, WF_FLOOR_SETS_MAX},
    {"ConsistencyResult.hashes", 0, WF_PROOF_MAX},
    {"SessionReport.rows", 0, WF_SESSION_ROWS_MAX},
    {"ItemHello.floors", 0, 1},
};

enum text_kind { NAME, DOMAIN, ADDRESS, REASON, AGENT, TOKEN, OIDC_TOKEN };

static const struct text_row {
    const char *path;
    enum text_kind kind;
} text_rows[] = {
    {"Hello.agent", AGENT},
    {"SetupReply.reason", REASON},
    {"BindReply.reason", REASON},
    {"Call.operation", NAME},
    {"Reply.reason", REASON},
    {"BundleBody.trust_domain", DOMAIN},
    {"CheckpointBody.trust_domain", DOMAIN},
    {"GrantBody.trust_domain", DOMAIN},
    {"GrantBody.service_name", NAME},
    {"MemberBody.trust_domain", DOMAIN},
    {"MemberBody.name", NAME},
    {"MemberBody.addresses", ADDRESS},
    {"FloorsBody.trust_domain", DOMAIN},
    {"BindBody.trust_domain", DOMAIN},
    {"EnrollCall.token", TOKEN},
    {"EnrollCall.oidc_token", OIDC_TOKEN},
    {"EnrollCall.addresses", ADDRESS},
    {"EnrollResult.name", NAME},
    {"EnrollResult.controllers", ADDRESS},
    {"GrantsCall.services", NAME},
    {"GrantsCall.posture.os", AGENT},
    {"GrantsCall.posture.os_version", AGENT},
    {"GrantsCall.posture.arch", AGENT},
    {"GrantsCall.posture.agent", AGENT},
    {"GrantsResult.refused_reason", REASON},
    {"ItemRefuse.reason", REASON},
};

/* Numbers and messages that must be there; the lengths and counts above say it for the rest. */
static const char *const needed[] = {
    "Hello.version_min",
    "Hello.version_max",
    "Setup.label",
    "Setup.window",
    "SetupReply.to",
    "SetupReply.label",
    "SetupReply.window",
    "Bind.bind",
    "Bind.grant",
    "Terminators.add.bind",
    "Terminators.add.grant",
    "LinkState.state",
    "BundleBody.version",
    "GrantBody.role",
    "GrantBody.terms.windows.to",
    "FloorsBody.floors.role",
    "CheckpointBody.size",
    "ConsistencyCall.first",
    "ConsistencyCall.second",
    "EnrollResult.bundle",
    "ItemHello.role",
    "ItemHello.grant",
    "ItemRefuse.code",
    "ItemGrant.grant",
};

#define FIND(rows, path) find_row(rows, sizeof rows[0], sizeof rows / sizeof rows[0], path)

/* Each row begins with its path. */
static const void *find_row(const void *rows, size_t size, size_t count, const char *path)
{
    for (size_t i = 0; i < count; i++) {
        const char *const *row = (const void *)((const char *)rows + i * size);
        if (strcmp(*row, path) == 0)
            return row;
    }
    return NULL;
}

static struct bytes_row bytes_row_of(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                                     const char *path)
{
    if (m->descriptor == &weft__wire__signed__descriptor) {
        bool large = strstr(path, ".bundle.") != NULL || strstr(path, ".bundles.") != NULL ||
                     strstr(path, ".floors.") != NULL || strstr(path, ".sets.") != NULL ||
                     strncmp(path, "Signed.", 7) == 0;
        if (strcmp(f->name, "body") == 0 && strstr(path, ".checkpoint.") != NULL)
            return (struct bytes_row){path, 1, WF_CHECKPOINT_MAX, false};
        if (strcmp(f->name, "body") == 0)
            return (struct bytes_row){path, 1, large ? WF_BUNDLE_MAX : WF_SIGNED_MAX, false};
        if (strcmp(f->name, "signature") == 0)
            return (struct bytes_row){path, 1, WF_SIGNATURE_MAX, false};
        return (struct bytes_row){path, 32, 32, false};
    }
    const struct bytes_row *row = FIND(bytes_rows, path);
    if (row == NULL)
        fail_msg("%s has no row in bytes_rows", path);
    return *row;
}

static const struct count_row *count_row_of(const char *path)
{
    const struct count_row *row = FIND(count_rows, path);
    if (row == NULL)
        fail_msg("%s has no row in count_rows", path);
    return row;
}

/* ---- tests over all fields */

static void every_sample_is_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < sample_count; i++) {
        wf_why why = {.text = ""};
        wf_buf out;
        wf_buf_init(&out, 65536);
        sample_encode(&samples[i], &out);
        weft_err err = sample_judge(&samples[i], out.data, out.len, &why);
        if (err != WEFT_OK)
            fail_msg("%s: %s", samples[i].name, why.text);
        wf_buf_fini(&out);
    }
}

static size_t size_of(const ProtobufCFieldDescriptor *f)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_UINT64:
        return sizeof(uint64_t);
    default:
        return sizeof(uint32_t);
    }
}

static void visit_without(struct sample *s, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                          const char *path)
{
    bool repeated = f->label == PROTOBUF_C_LABEL_REPEATED;
    bool fine;
    if (repeated) {
        fine = count_row_of(path)->min == 0;
    } else if (f->type == PROTOBUF_C_TYPE_BYTES) {
        fine = bytes_row_of(m, f, path).may_be_empty;
    } else if (f->type == PROTOBUF_C_TYPE_STRING) {
        const struct text_row *row = FIND(text_rows, path);
        fine =
            row != NULL && (row->kind == REASON || row->kind == AGENT || row->kind == OIDC_TOKEN);
    } else {
        fine = FIND(needed, path) == NULL;
    }
    void *at = field_at(m, repeated ? f->quantifier_offset : f->offset);
    size_t size = repeated ? sizeof(size_t) : size_of(f);
    char keep[sizeof(ProtobufCBinaryData)];
    memcpy(keep, at, size);
    memset(at, 0, size);
    assert_verdict(path, 0, judge(s), fine);
    memcpy(at, keep, size);
}

static void an_absent_field_is_refused_unless_it_may_be_absent(void **state)
{
    (void)state;
    walk(visit_without);
}

static void visit_bytes(struct sample *s, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                        const char *path)
{
    if (f->type != PROTOBUF_C_TYPE_BYTES)
        return;
    static uint8_t lot[1u << 24];
    if (lot[0] != 'x')
        memset(lot, 'x', sizeof lot);
    struct bytes_row row = bytes_row_of(m, f, path);
    ProtobufCBinaryData *at = field_at(m, f->offset);
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        at = *(ProtobufCBinaryData **)at;
    ProtobufCBinaryData keep = *at;
    const size_t lengths[] = {0,           1,       row.min - 1, row.min,       row.min + 1,
                              row.max - 1, row.max, row.max + 1, (1u << 24) - 1};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        size_t len = lengths[i];
        if (len > sizeof lot)
            continue;
        *at = wf_pb_bytes(lot, len);
        weft_err err = judge(s);
        bool fine = len == 0 ? row.may_be_empty : len >= row.min && len <= row.max;
        /* The message as a whole has a maximum, too; 4 bytes wrap it in a Control. */
        assert_verdict(path, len, err,
                       fine && last_len + (s->control_field != 0 ? 4 : 0) <= s->max);
    }
    if (row.min == 16 && row.max == 16) {
        static uint8_t zeros[16];
        *at = wf_pb_bytes(zeros, 16);
        assert_verdict(path, 16, judge(s), false);
    }
    *at = keep;
}

static void each_length_has_its_bounds(void **state)
{
    (void)state;
    walk(visit_bytes);
}

static void visit_count(struct sample *s, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                        const char *path)
{
    if (f->label != PROTOBUF_C_LABEL_REPEATED)
        return;
    const struct count_row *row = count_row_of(path);
    size_t *count = field_at(m, f->quantifier_offset);
    void **array = field_at(m, f->offset);
    size_t keep_count = *count;
    void *keep_array = *array;
    const size_t counts[] = {0, 1, row->max - 1, row->max, row->max + 1, 2 * WF_REPEATED_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        size_t n = counts[i], size = size_of(f);
        char *many = malloc(n * size + 1);
        for (size_t k = 0; k < n; k++)
            memcpy(many + k * size, keep_array, size);
        *count = n;
        *array = many;
        weft_err err = judge(s);
        bool fine = n >= row->min && n <= row->max;
        if (fine && last_len + 4 > s->max)
            fail_msg("%s: %zu elements of the sample don't fit, the test shows nothing", path, n);
        assert_verdict(path, n, err, fine);
        free(many);
    }
    *count = keep_count;
    *array = keep_array;
}

static void each_count_has_its_bounds(void **state)
{
    (void)state;
    walk(visit_count);
}

static void assert_text(struct sample *s, char **at, const char *path, const char *text, bool fine)
{
    char *keep = *at;
    *at = strdup(text);
    weft_err err = judge(s);
    if (fine ? err != WEFT_OK : err != WEFT_EPROTO && err != WEFT_ELIMIT)
        fail_msg("%s = \"%s\": %s", path, text, weft_err_name(err));
    free(*at);
    *at = keep;
}

static void visit_text(struct sample *s, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                       const char *path)
{
    if (f->type != PROTOBUF_C_TYPE_STRING)
        return;
    const struct text_row *row = FIND(text_rows, path);
    if (row == NULL)
        fail_msg("%s has no row in text_rows", path);
    char **at = field_at(m, f->offset);
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        at = *(char ***)at;

    static const char *const never[] = {"a\nb", "a\x1b[2J", "a\x7f", "\x80", "\xc3\xa9", "a\tb"};
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
        assert_text(s, at, path, never[i], false);

    static const struct {
        enum text_kind kind;
        size_t max;
        char fill;
        const char *bad[8];
    } kinds[] = {
        {NAME, 64, 'n', {".a", "a b", "a/b", "a:b", "-", "a@b", "a\"", "#a"}},
        {DOMAIN, 128, 'd', {"Fabric", "a_b", "a/b", "a b", "a:1", "a@b", "%", "*"}},
        {ADDRESS,
         0,
         0,
         {"host", "host:0", "host:65536", ":1", "::1:1", "a b:1", "http://a:1", "h:"}},
        {REASON, WF_REASON_MAX, 'r', {0}},
        {AGENT, WF_AGENT_MAX, 'a', {0}},
        {TOKEN, WF_TOKEN_MAX, 't', {0}},
        {OIDC_TOKEN, WF_OIDC_TOKEN_MAX, 'o', {0}},
    };
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        if (kinds[k].kind != row->kind)
            continue;
        for (size_t i = 0; i < 8 && kinds[k].bad[i] != NULL; i++)
            assert_text(s, at, path, kinds[k].bad[i], false);
        char lot[WF_OIDC_TOKEN_MAX + 2];
        for (size_t len = kinds[k].max - 1; kinds[k].max > 0 && len <= kinds[k].max + 1; len++) {
            memset(lot, kinds[k].fill, len);
            lot[len] = '\0';
            assert_text(s, at, path, lot, len <= kinds[k].max);
        }
    }

    /* A NUL inside: patched into the encoding, because C can't say it. */
    char *keep = *at;
    char marker[] = "marker-of-this.field:1";
    *at = marker;
    wf_buf out;
    wf_buf_init(&out, 65536);
    sample_encode(s, &out);
    *at = keep;
    uint8_t *in_wire = memmem(out.data, out.len, marker, strlen(marker));
    assert_non_null(in_wire);
    in_wire[6] = '\0';
    assert_verdict(path, 6, sample_judge(s, out.data, out.len, NULL), false);
    wf_buf_fini(&out);
}

static void text_is_bounded_printable_and_without_nul(void **state)
{
    (void)state;
    walk(visit_text);
}

/* Only fields of the message itself: the scan goes the same way at every depth. */
static void visit_twice(struct sample *s, ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                        const char *path)
{
    if (m != s->message || f->label == PROTOBUF_C_LABEL_REPEATED)
        return;
    wf_buf out;
    wf_buf_init(&out, 65536);
    sample_encode(s, &out);
    size_t once = out.len;
    /* Drop the other fields, and what is left is this one alone. */
    size_t size = f->type == PROTOBUF_C_TYPE_BYTES ? sizeof(ProtobufCBinaryData) : size_of(f);
    char keep[sizeof(ProtobufCBinaryData)];
    memcpy(keep, field_at(m, f->offset), size);
    char *copy = malloc(m->descriptor->sizeof_message);
    memcpy(copy, m, m->descriptor->sizeof_message);
    protobuf_c_message_init(m->descriptor, m);
    memcpy(field_at(m, f->offset), keep, size);
    sample_encode(s, &out);
    memcpy(m, copy, m->descriptor->sizeof_message);
    free(copy);
    if (out.len > once) /* else the sample leaves it at zero */
        assert_verdict(path, 2, sample_judge(s, out.data, out.len, NULL), false);
    else
        assert_true(strcmp(path, "SetupReply.code") == 0 ||
                    strcmp(path, "FloorsBody.snapshot") == 0);
    wf_buf_fini(&out);
}

static void a_field_given_twice_is_refused(void **state)
{
    (void)state;
    walk(visit_twice);
}

static void a_message_cut_anywhere_harms_nobody(void **state)
{
    (void)state;
    for (size_t i = 0; i < sample_count; i++) {
        wf_buf out;
        wf_buf_init(&out, 65536);
        sample_encode(&samples[i], &out);
        for (size_t len = 0; len < out.len; len++) {
            weft_err err = sample_judge(&samples[i], out.data, len, NULL);
            assert_true(err == WEFT_OK || err == WEFT_EPROTO);
        }
        wf_buf_fini(&out);
    }
}

static void a_message_with_any_bit_flipped_harms_nobody(void **state)
{
    (void)state;
    for (size_t i = 0; i < sample_count; i++) {
        wf_buf out;
        wf_buf_init(&out, 65536);
        sample_encode(&samples[i], &out);
        for (size_t bit = 0; bit < 8 * out.len; bit++) {
            out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            weft_err err = sample_judge(&samples[i], out.data, out.len, NULL);
            assert_true(err == WEFT_OK || err == WEFT_EPROTO || err == WEFT_ELIMIT);
            out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        wf_buf_fini(&out);
    }
}

static void unknown_fields_are_ignored_up_to_a_flood(void **state)
{
    (void)state;
    for (size_t i = 0; i < sample_count; i++) {
        wf_buf out;
        wf_buf_init(&out, 65536);
        sample_encode(&samples[i], &out);
        for (unsigned n = 1; n <= WF_UNKNOWN_MAX + 1; n++) {
            wf_buf_put(&out, "\xf8\x07\x01", 3); /* field 127, a varint */
            assert_int_equal(sample_judge(&samples[i], out.data, out.len, NULL),
                             n <= WF_UNKNOWN_MAX ? WEFT_OK : WEFT_ELIMIT);
        }
        wf_buf_fini(&out);
    }
}

static void a_message_of_exactly_the_maximum_is_accepted(void **state)
{
    (void)state;
    static uint8_t lot[WF_CONTROL_MAX];
    Weft__Wire__Call call = WEFT__WIRE__CALL__INIT;
    Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT, *out = NULL;
    char operation[] = "list";
    call.operation = operation;
    control.of_case = WEFT__WIRE__CONTROL__OF_CALL;
    control.call = &call;
    wf_buf wire;
    wf_buf_init(&wire, 2 * WF_CONTROL_MAX);
    size_t around = 4 + 6 + 4; /* what stands before the arguments */
    for (size_t len = WF_CONTROL_MAX - around; len <= WF_CONTROL_MAX - around + 1; len++) {
        call.arguments = wf_pb_bytes(lot, len);
        wf_buf_clear(&wire);
        assert_int_equal(wf_message_put(&control.base, &wire), WEFT_OK);
        assert_int_equal(wire.len, len + around);
        weft_err err = wf_control_decode(wire.data, wire.len, &out, NULL);
        assert_int_equal(err, wire.len <= WF_CONTROL_MAX ? WEFT_OK : WEFT_ELIMIT);
        if (err == WEFT_OK)
            wf_control_free(out);
    }
    wf_buf_fini(&wire);
}

static void an_oversize_message_is_refused_before_any_memory(void **state)
{
    (void)state;
    static uint8_t lot[WF_CONTROL_MAX + 1];
    for (size_t i = 0; i < sample_count; i++) {
        alloc_fail_at(0);
        assert_int_equal(samples[i].decode_and_free(lot, samples[i].max + 1, NULL), WEFT_ELIMIT);
        assert_int_equal(alloc_bytes(), 0);
    }
}

static void the_smallest_elements_can_not_inflate_memory(void **state)
{
    (void)state;
    /* The cheapest way to make a decoder allocate: empty elements, two bytes each, at any depth. */
    for (size_t i = 0; i < sample_count; i++) {
        const ProtobufCMessageDescriptor *d = samples[i].message->descriptor;
        for (unsigned f = 0; f < d->n_fields; f++) {
            if (d->fields[f].label != PROTOBUF_C_LABEL_REPEATED)
                continue;
            for (size_t n = 64; n <= WF_REPEATED_MAX + 1; n *= 2) {
                wf_buf out;
                wf_buf_init(&out, 65536);
                for (size_t k = 0; k < n; k++) {
                    wf_buf_put_u8(&out, (uint8_t)(d->fields[f].id << 3 | 2));
                    wf_buf_put_u8(&out, 0);
                }
                wf_buf wire;
                wf_buf_init(&wire, 65536);
                sample_wrap(&samples[i], out.data, out.len, &wire);
                alloc_fail_at(0);
                assert_int_not_equal(samples[i].decode_and_free(wire.data, wire.len, NULL),
                                     WEFT_OK);
                assert_true(alloc_bytes() <= 16 * wire.len + 2 * 8192);
                wf_buf_fini(&wire);
                wf_buf_fini(&out);
            }
        }
    }
}

static void the_memory_of_a_decode_is_capped(void **state)
{
    (void)state;
    /* Empty records: 2 bytes on the wire, some 80 in memory. */
    wf_buf out;
    wf_why why;
    Weft__Wire__SyncResult *result = NULL;
    wf_buf_init(&out, 65536);
    for (unsigned i = 0; i < WF_REPEATED_MAX; i++)
        wf_buf_put(&out, "\x12\x00", 2);
    assert_int_equal(wf_sync_result_decode(out.data, out.len, &result, &why), WEFT_ELIMIT);
    assert_string_equal(why.text, "SyncResult: can't be decoded: a limit was reached");
    assert_null(result);
    wf_buf_fini(&out);
}

static void without_memory_decoding_fails_and_leaks_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sample_count; i++) {
        wf_buf out, wire;
        wf_buf_init(&out, 65536);
        wf_buf_init(&wire, 65536);
        sample_encode(&samples[i], &out);
        sample_wrap(&samples[i], out.data, out.len, &wire);
        unsigned n = 1;
        for (;; n++) {
            alloc_fail_at(n);
            weft_err err = samples[i].decode_and_free(wire.data, wire.len, NULL);
            if (!alloc_has_failed()) {
                assert_int_equal(err, WEFT_OK);
                break;
            }
            assert_int_equal(err, WEFT_ENOMEM);
        }
        assert_true(n > 1);
        alloc_fail_at(0);
        wf_buf_fini(&out);
        wf_buf_fini(&wire);
    }
}

/* ---- rules that tie fields together */

static Weft__Wire__Setup *setup;
static struct sample *setup_sample;

static struct sample *find_sample(const char *name)
{
    for (size_t i = 0; i < sample_count; i++)
        if (strcmp(samples[i].name, name) == 0)
            return &samples[i];
    fail_msg("no sample %s", name);
    return NULL;
}

static void a_setup_towards_its_host_goes_without_the_grant(void **state)
{
    (void)state;
    setup_sample = find_sample("Setup");
    setup = (Weft__Wire__Setup *)setup_sample->message;
    Weft__Wire__Signed *grant = setup->grant;
    setup->grant = NULL;
    assert_int_equal(judge(setup_sample), WEFT_OK);
    setup->n_path = 0;
    assert_int_equal(judge(setup_sample), WEFT_OK);
    setup->grant = grant;
    assert_int_equal(judge(setup_sample), WEFT_OK);
    setup->n_path = 1;
}

static void a_window_is_at_most_the_largest(void **state)
{
    (void)state;
    static const char *const names[] = {"Setup", "SetupReply"};
    static const struct {
        uint64_t window;
        weft_err err;
    } rows[] = {{1, WEFT_OK},
                {WF_WINDOW_MAX - 1, WEFT_OK},
                {WF_WINDOW_MAX, WEFT_OK},
                {WF_WINDOW_MAX + 1, WEFT_EPROTO},
                {1ull << 32, WEFT_EPROTO},
                {UINT64_MAX, WEFT_EPROTO},
                {0, WEFT_EPROTO}};
    for (int k = 0; k < 2; k++) {
        struct sample *s = find_sample(names[k]);
        uint64_t *window = k == 0 ? &((Weft__Wire__Setup *)s->message)->window
                                  : &((Weft__Wire__SetupReply *)s->message)->window;
        uint64_t keep = *window;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            *window = rows[i].window;
            assert_int_equal(judge(s), rows[i].err);
        }
        *window = keep;
    }
}

static void a_refused_setup_has_a_code_and_no_label(void **state)
{
    (void)state;
    struct sample *s = find_sample("SetupReply");
    Weft__Wire__SetupReply *m = (Weft__Wire__SetupReply *)s->message;
    m->code = WEFT_ENOHOST;
    assert_int_equal(judge(s), WEFT_EPROTO);
    m->label = 0;
    m->window = 0;
    assert_int_equal(judge(s), WEFT_OK);
    m->code = UINT16_MAX;
    assert_int_equal(judge(s), WEFT_OK);
    m->code = UINT16_MAX + 1;
    assert_int_equal(judge(s), WEFT_EPROTO);
    m->code = 0;
    m->label = 2;
    m->window = 65536;
}

static void a_code_has_16_bits(void **state)
{
    (void)state;
    static const char *const names[] = {"BindReply", "Reply", "GrantsResult", "ItemRefuse"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct sample *s = find_sample(names[i]);
        const ProtobufCMessageDescriptor *d = s->message->descriptor;
        const ProtobufCFieldDescriptor *f =
            protobuf_c_message_descriptor_get_field_by_name(d, i == 2 ? "refused_code" : "code");
        uint32_t *code = field_at(s->message, f->offset), keep = *code;
        *code = UINT16_MAX;
        assert_int_equal(judge(s), WEFT_OK);
        *code = UINT16_MAX + 1;
        assert_int_equal(judge(s), WEFT_EPROTO);
        *code = UINT32_MAX;
        assert_int_equal(judge(s), WEFT_EPROTO);
        *code = keep;
    }
}

static void the_longest_chain_of_the_largest_certificates_fits(void **state)
{
    (void)state;
    struct sample *s = find_sample("Hello");
    Weft__Wire__Hello *m = (Weft__Wire__Hello *)s->message;
    static uint8_t cert[WF_CERT_MAX];
    ProtobufCBinaryData chain[WF_CHAIN_DEPTH], *keep = m->chain;
    for (size_t i = 0; i < WF_CHAIN_DEPTH; i++)
        chain[i] = wf_pb_bytes(cert, sizeof cert);
    m->n_chain = WF_CHAIN_DEPTH;
    m->chain = chain;
    assert_int_equal(judge(s), WEFT_OK);
    m->n_chain = 1;
    m->chain = keep;
}

static void a_hello_offers_a_range_of_versions(void **state)
{
    (void)state;
    struct sample *s = find_sample("Hello");
    Weft__Wire__Hello *m = (Weft__Wire__Hello *)s->message;
    static const struct {
        uint32_t min, max;
        weft_err err;
    } rows[] = {{1, 1, WEFT_OK},
                {1, UINT32_MAX, WEFT_OK},
                {7, 9, WEFT_OK},
                {2, 1, WEFT_EPROTO},
                {0, 1, WEFT_EPROTO},
                {0, 0, WEFT_EPROTO},
                {UINT32_MAX, 1, WEFT_EPROTO}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        m->version_min = rows[i].min;
        m->version_max = rows[i].max;
        assert_int_equal(judge(s), rows[i].err);
    }
    m->version_min = m->version_max = 1;
}

static void a_role_is_dial_or_bind(void **state)
{
    (void)state;
    struct sample *grant = find_sample("GrantBody"), *hello = find_sample("ItemHello");
    Weft__Wire__GrantBody *g = (Weft__Wire__GrantBody *)grant->message;
    Weft__Wire__ItemHello *h = (Weft__Wire__ItemHello *)hello->message;
    for (int role = 0; role < 5; role++) {
        g->role = h->role = (Weft__Wire__Role)role;
        assert_int_equal(judge(grant), role == 1 || role == 2 ? WEFT_OK : WEFT_EPROTO);
        assert_int_equal(judge(hello), role == 1 || role == 2 ? WEFT_OK : WEFT_EPROTO);
    }
    g->role = WEFT__WIRE__ROLE__ROLE_DIAL;
    h->role = WEFT__WIRE__ROLE__ROLE_BIND;
}

static void only_a_dialer_may_leave_the_instance_open(void **state)
{
    (void)state;
    struct sample *s = find_sample("ItemHello");
    Weft__Wire__ItemHello *m = (Weft__Wire__ItemHello *)s->message;
    size_t len = m->instance.len;
    m->instance.len = 0;
    assert_int_equal(judge(s), WEFT_EPROTO);
    m->role = WEFT__WIRE__ROLE__ROLE_DIAL;
    assert_int_equal(judge(s), WEFT_OK);
    m->role = WEFT__WIRE__ROLE__ROLE_BIND;
    m->instance.len = len;
}

static void a_floor_names_exactly_one_thing(void **state)
{
    (void)state;
    struct sample *s = find_sample("FloorsBody");
    Weft__Wire__Floor *f = ((Weft__Wire__FloorsBody *)s->message)->floors[0];
    Weft__Wire__Floor keep = *f;
    static uint8_t id_bytes[16] = {7}, key_bytes[32] = {7};
    ProtobufCBinaryData id = {16, id_bytes}, key = {32, key_bytes};
    for (unsigned set = 0; set < 32; set++) {
        bool identity = set & 1, with_key = set & 2, router = set & 4, service = set & 8,
             role = set & 16;
        f->identity = identity ? id : (ProtobufCBinaryData){0};
        f->key = with_key ? key : (ProtobufCBinaryData){0};
        f->router = router ? id : (ProtobufCBinaryData){0};
        f->service = service ? id : (ProtobufCBinaryData){0};
        f->role = role ? WEFT__WIRE__ROLE__ROLE_DIAL : WEFT__WIRE__ROLE__ROLE_NONE;
        bool fine = identity + with_key + router == 1 && service == role && (identity || !service);
        assert_verdict("floor", set, judge(s), fine);
    }
    *f = keep;
    f->identity = f->service = (ProtobufCBinaryData){0};
    f->role = WEFT__WIRE__ROLE__ROLE_NONE;
    f->key = (ProtobufCBinaryData){31, key_bytes};
    assert_int_equal(judge(s), WEFT_EPROTO);
    f->key = (ProtobufCBinaryData){0};
    f->router = (ProtobufCBinaryData){15, id_bytes};
    assert_int_equal(judge(s), WEFT_EPROTO);
    *f = keep;
    f->role = (Weft__Wire__Role)3;
    assert_int_equal(judge(s), WEFT_EPROTO);
    *f = keep;
}

static void a_snapshot_has_no_previous(void **state)
{
    (void)state;
    struct sample *s = find_sample("FloorsBody");
    Weft__Wire__FloorsBody *m = (Weft__Wire__FloorsBody *)s->message;
    m->snapshot = 1;
    assert_int_equal(judge(s), WEFT_EPROTO);
    size_t len = m->previous.len;
    m->previous.len = 0;
    assert_int_equal(judge(s), WEFT_OK);
    m->snapshot = 0;
    m->previous.len = len;
}

static void a_control_holds_exactly_one_message(void **state)
{
    (void)state;
    Weft__Wire__Control *out = NULL;
    assert_int_equal(wf_control_decode(NULL, 0, &out, NULL), WEFT_EPROTO);
    static const uint8_t later[] = {14 << 3 | 2, 0}; /* a message of a later version */
    assert_int_equal(wf_control_decode(later, sizeof later, &out, NULL), WEFT_EPROTO);
    static const uint8_t one[] = {10 << 3 | 2, 0};
    assert_int_equal(wf_control_decode(one, sizeof one, &out, NULL), WEFT_OK);
    assert_int_equal(out->of_case, WEFT__WIRE__CONTROL__OF_FLOORS_WANTED);
    wf_control_free(out);
    out = NULL;
    static const uint8_t twice[] = {10 << 3 | 2, 0, 10 << 3 | 2, 0};
    assert_int_equal(wf_control_decode(twice, sizeof twice, &out, NULL), WEFT_EPROTO);
    static const uint8_t two[] = {10 << 3 | 2, 0, 13 << 3 | 2, 0};
    assert_int_equal(wf_control_decode(two, sizeof two, &out, NULL), WEFT_EPROTO);
    static const uint8_t with_later[] = {14 << 3 | 2, 0, 10 << 3 | 2, 0};
    assert_int_equal(wf_control_decode(with_later, sizeof with_later, &out, NULL), WEFT_OK);
    wf_control_free(out);
}

static void a_refusal_names_the_message_and_the_field(void **state)
{
    (void)state;
    wf_why why;
    Weft__Wire__Control *out;
    static const uint8_t unbind[] = {6 << 3 | 2, 0};
    assert_int_equal(wf_control_decode(unbind, sizeof unbind, &out, &why), WEFT_EPROTO);
    assert_string_equal(why.text, "Unbind.instance: must be 16 bytes that are not all zero");
}

/* ---- building */

static void the_bytes_of_a_signed_body_come_through_as_they_are(void **state)
{
    (void)state;
    /* A body that protobuf would write otherwise: fields out of order, a longer varint. */
    uint8_t body[] = {0x10, 0x81, 0x00, 0x08, 0x01};
    uint8_t signature[64] = {1}, signer[32] = {2};
    Weft__Wire__Signed record = WEFT__WIRE__SIGNED__INIT;
    record.body = wf_pb_bytes(body, sizeof body);
    record.signature = wf_pb_bytes(signature, sizeof signature);
    record.signer = wf_pb_bytes(signer, sizeof signer);
    wf_buf out;
    wf_buf_init(&out, 1000);
    assert_int_equal(wf_signed_encode(&record, &out), WEFT_OK);
    Weft__Wire__Signed *back = NULL;
    assert_int_equal(wf_signed_decode(out.data, out.len, &back, NULL), WEFT_OK);
    assert_true(wf_span_equal(wf_pb_span(back->body), wf_span_of(body, sizeof body)));
    wf_signed_free(back);
    wf_signed_free(NULL);
    wf_buf_fini(&out);
}

static void a_message_that_does_not_fit_writes_nothing(void **state)
{
    (void)state;
    wf_id id = wf_id_random();
    Weft__Wire__Unbind unbind = WEFT__WIRE__UNBIND__INIT;
    unbind.instance = wf_pb_id(&id);
    wf_buf out;
    wf_buf_init(&out, 17);
    assert_int_equal(wf_message_put(&unbind.base, &out), WEFT_ELIMIT);
    assert_int_equal(out.len, 0);
    out.max = 18;
    alloc_fail_at(1);
    assert_int_equal(wf_message_put(&unbind.base, &out), WEFT_ENOMEM);
    alloc_fail_at(0);
    assert_int_equal(wf_message_put(&unbind.base, &out), WEFT_OK);
    assert_int_equal(out.len, 18);
    wf_id back = wf_pb_get_id(unbind.instance);
    assert_true(wf_id_equal(&back, &id));
    wf_buf_fini(&out);
}

static void a_reason_is_cut_and_made_printable(void **state)
{
    (void)state;
    char lot[WF_REASON_MAX + 2], buf[WF_REASON_TEXT];
    memset(lot, 'x', sizeof lot - 1);
    lot[sizeof lot - 1] = '\0';
    assert_int_equal(strlen(wf_reason_text(lot, buf)), WF_REASON_MAX);
    assert_string_equal(wf_reason_text("a\n\xc3\xa9", buf), "a???");
    assert_string_equal(wf_reason_text("", buf), "");
}

static void a_source_is_a_prefix_and_nothing_beyond_it(void **state)
{
    (void)state;
    struct sample *s = find_sample("GrantBody");
    Weft__Wire__GrantBody *g = (Weft__Wire__GrantBody *)s->message;
    ProtobufCBinaryData *source = &g->terms->sources[0], keep = *source;
    static const struct {
        size_t len;
        uint8_t bytes[18];
        bool fine;
    } rows[] = {
        {5, {0}, true},
        {5, {1, 0x80}, true},
        {5, {0, 0x80}, false},
        {5, {31, 10, 0, 0, 2}, true},
        {5, {31, 10, 0, 0, 3}, false},
        {5, {32, 10, 0, 0, 3}, true},
        {5, {33, 10, 0, 0, 3}, false},
        {5, {255, 10, 0, 0, 3}, false},
        {4, {24, 10, 0, 0}, false},
        {6, {8, 10}, false},
        {16, {8, 0x20}, false},
        {17, {0}, true},
        {17, {127, 0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}, true},
        {17, {127, 0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3}, false},
        {17, {128, 0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3}, true},
        {17, {129, 0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3}, false},
        {18, {8, 0x20}, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        *source = wf_pb_bytes(rows[i].bytes, rows[i].len);
        assert_verdict("GrantBody.terms.sources", i, judge(s), rows[i].fine);
    }
    *source = keep;
}

static void a_window_lies_within_the_week(void **state)
{
    (void)state;
    struct sample *s = find_sample("GrantBody");
    Weft__Wire__Terms *t = ((Weft__Wire__GrantBody *)s->message)->terms;
    Weft__Wire__Window *w = t->windows[0], keep = *w;
    static const struct {
        uint32_t from, to;
        bool fine;
    } rows[] = {
        {0, 1, true},           {0, 10080, true},       {10079, 10080, true}, {10080, 10080, false},
        {10080, 10081, false},  {5, 5, false},          {6, 5, false},        {0, 10081, false},
        {UINT32_MAX, 1, false}, {1, UINT32_MAX, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        w->from = rows[i].from;
        w->to = rows[i].to;
        assert_verdict("GrantBody.terms.windows", i, judge(s), rows[i].fine);
    }
    *w = keep;
    uint64_t year = 366ull * 86400000ull, idle = t->idle_ms, age = t->age_ms;
    for (size_t i = 0; i < 2; i++) {
        uint64_t *of = i == 0 ? &t->idle_ms : &t->age_ms;
        *of = year;
        assert_verdict("GrantBody.terms", year, judge(s), true);
        *of = year + 1;
        assert_verdict("GrantBody.terms", year + 1, judge(s), false);
        *of = i == 0 ? idle : age;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sample_is_accepted),
        cmocka_unit_test(an_absent_field_is_refused_unless_it_may_be_absent),
        cmocka_unit_test(a_source_is_a_prefix_and_nothing_beyond_it),
        cmocka_unit_test(a_window_lies_within_the_week),
        cmocka_unit_test(each_length_has_its_bounds),
        cmocka_unit_test(each_count_has_its_bounds),
        cmocka_unit_test(text_is_bounded_printable_and_without_nul),
        cmocka_unit_test(a_field_given_twice_is_refused),
        cmocka_unit_test(a_message_cut_anywhere_harms_nobody),
        cmocka_unit_test(a_message_with_any_bit_flipped_harms_nobody),
        cmocka_unit_test(unknown_fields_are_ignored_up_to_a_flood),
        cmocka_unit_test(a_message_of_exactly_the_maximum_is_accepted),
        cmocka_unit_test(an_oversize_message_is_refused_before_any_memory),
        cmocka_unit_test(the_smallest_elements_can_not_inflate_memory),
        cmocka_unit_test(the_memory_of_a_decode_is_capped),
        cmocka_unit_test(without_memory_decoding_fails_and_leaks_nothing),
        cmocka_unit_test(a_setup_towards_its_host_goes_without_the_grant),
        cmocka_unit_test(a_window_is_at_most_the_largest),
        cmocka_unit_test(a_refused_setup_has_a_code_and_no_label),
        cmocka_unit_test(a_code_has_16_bits),
        cmocka_unit_test(the_longest_chain_of_the_largest_certificates_fits),
        cmocka_unit_test(a_hello_offers_a_range_of_versions),
        cmocka_unit_test(a_role_is_dial_or_bind),
        cmocka_unit_test(only_a_dialer_may_leave_the_instance_open),
        cmocka_unit_test(a_floor_names_exactly_one_thing),
        cmocka_unit_test(a_snapshot_has_no_previous),
        cmocka_unit_test(a_control_holds_exactly_one_message),
        cmocka_unit_test(a_refusal_names_the_message_and_the_field),
        cmocka_unit_test(the_bytes_of_a_signed_body_come_through_as_they_are),
        cmocka_unit_test(a_message_that_does_not_fit_writes_nothing),
        cmocka_unit_test(a_reason_is_cut_and_made_printable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
