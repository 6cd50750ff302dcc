/* The samples: static messages that point at static bytes. */
#include "tests/wire/sample.h"
#include <assert.h>

#define BASE(snake) .base = PROTOBUF_C_MESSAGE_INIT(&weft__wire__##snake##__descriptor)
#define BYTES(array)                                                                               \
    {                                                                                              \
        sizeof array, array                                                                        \
    }
#define ONE(field, array) .n_##field = 1, .field = array

static uint8_t id_bytes[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static uint8_t pin_bytes[32] = {32, 31, 30};
static uint8_t some_bytes[64] = "some bytes, with a NUL behind them";
static char name[] = "web.ci-1";
static char domain[] = "fabric.example";
static char address[] = "router.example:9339";
static char text[] = "because of \"this\"";

/* Each use is an object of its own, so that a test changes one place only. */
#define IDS                                                                                        \
    (ProtobufCBinaryData[])                                                                        \
    {                                                                                              \
        BYTES(id_bytes)                                                                            \
    }
#define PINS                                                                                       \
    (ProtobufCBinaryData[])                                                                        \
    {                                                                                              \
        BYTES(pin_bytes)                                                                           \
    }
#define BLOBS                                                                                      \
    (ProtobufCBinaryData[])                                                                        \
    {                                                                                              \
        BYTES(some_bytes)                                                                          \
    }
#define NAMES                                                                                      \
    (char *[])                                                                                     \
    {                                                                                              \
        name                                                                                       \
    }
#define ADDRESSES                                                                                  \
    (char *[])                                                                                     \
    {                                                                                              \
        address                                                                                    \
    }
#define RECORD_CONTENT                                                                             \
    {                                                                                              \
        BASE(signed), .body = BYTES(some_bytes), .signature = BYTES(some_bytes),                   \
                      .signer = BYTES(pin_bytes)                                                   \
    }
#define RECORD &(Weft__Wire__Signed)RECORD_CONTENT
#define RECORDS                                                                                    \
    (Weft__Wire__Signed *[])                                                                       \
    {                                                                                              \
        RECORD                                                                                     \
    }

static Weft__Wire__Signed record = RECORD_CONTENT;
#define RESUME                                                                                     \
    &(Weft__Wire__Resume)                                                                          \
    {                                                                                              \
        BASE(resume), .counter = 1, .offset = 2, .mac = BYTES(pin_bytes)                           \
    }

static Weft__Wire__Hello hello = {BASE(hello),          .version_min = 1,   .version_max = 1,
                                  .features = 7,        .agent = text,      .member = RECORD,
                                  .floors_version = 3,  .wall_clock = 4,    ONE(chain, BLOBS),
                                  .checkpoint = RECORD, .bundle_version = 5};
static Weft__Wire__Setup setup = {BASE(setup),
                                  .label = 1,
                                  .service_id = BYTES(id_bytes),
                                  .session = BYTES(id_bytes),
                                  .instance = BYTES(id_bytes),
                                  .window = 65536,
                                  .first = BYTES(some_bytes),
                                  .grant = RECORD,
                                  ONE(path, IDS),
                                  .resume = RESUME,
                                  ONE(chain, BLOBS)};
static Weft__Wire__SetupReply setup_reply = {BASE(setup_reply),
                                             .to = 1,
                                             .label = 2,
                                             .window = 65536,
                                             .first = BYTES(some_bytes),
                                             .reason = text,
                                             .instance = BYTES(id_bytes),
                                             .resume = RESUME};
static Weft__Wire__Bind bind_ = {BASE(bind), .request = 1, .bind = RECORD, .grant = RECORD};
static Weft__Wire__BindReply bind_reply = {BASE(bind_reply), .request = 1, .code = 9,
                                           .reason = text};
static Weft__Wire__Unbind unbind = {BASE(unbind), .instance = BYTES(id_bytes)};
static Weft__Wire__Terminator terminator = {BASE(terminator), .bind = RECORD, .grant = RECORD,
                                            ONE(chain, BLOBS)};
static Weft__Wire__Terminator *terminators_[] = {&terminator};
static Weft__Wire__Withdrawal withdrawal = {BASE(withdrawal), .service_id = BYTES(id_bytes),
                                            .subject = BYTES(id_bytes),
                                            .instance = BYTES(id_bytes)};
static Weft__Wire__Withdrawal *withdrawals[] = {&withdrawal};
static Weft__Wire__Terminators terminators = {BASE(terminators), ONE(add, terminators_),
                                              ONE(remove, withdrawals)};
static Weft__Wire__LinkState link_state = {BASE(link_state), .state = RECORD, ONE(chain, BLOBS)};
static Weft__Wire__Floors floors = {BASE(floors), ONE(sets, RECORDS)};
static Weft__Wire__FloorsWanted floors_wanted = {BASE(floors_wanted), .have = 1};
static Weft__Wire__Call call = {BASE(call), .id = 1, .operation = name,
                                .arguments = BYTES(some_bytes)};
static Weft__Wire__Reply reply = {BASE(reply), .id = 1, .code = 9, .reason = text,
                                  .result = BYTES(some_bytes)};
static Weft__Wire__Notice notice = {
    BASE(notice),           .grants = 1,          .members = 1, .bundle = RECORD,
    ONE(cut_sessions, IDS), .checkpoint = RECORD, .renew = 1000};

static Weft__Wire__BundleBody bundle_body = {
    BASE(bundle_body),           .trust_domain = domain,      .version = 1,
    ONE(roots, BLOBS),           ONE(policy_keys, BLOBS),     ONE(audit_keys, BLOBS),
    ONE(enrollment_keys, BLOBS), .previous = BYTES(pin_bytes)};
static uint8_t prefix_bytes[5] = {8, 10, 0, 0, 0};
static Weft__Wire__Window window = {BASE(window), .from = 60, .to = 120};
static Weft__Wire__Window *windows[] = {&window};
static Weft__Wire__Terms terms = {BASE(terms),
                                  .sessions = 2,
                                  .sessions_per_identity = 1,
                                  .idle_ms = 3,
                                  .age_ms = 4,
                                  ONE(windows, windows),
                                  ONE(sources, ((ProtobufCBinaryData[]){BYTES(prefix_bytes)}))};
static Weft__Wire__GrantBody grant_body = {BASE(grant_body),
                                           .trust_domain = domain,
                                           .service_id = BYTES(id_bytes),
                                           .service_name = name,
                                           .role = WEFT__WIRE__ROLE__ROLE_DIAL,
                                           .subject = BYTES(id_bytes),
                                           ONE(pins, PINS),
                                           .not_before = 1,
                                           .expiry = 2,
                                           .epoch = 3,
                                           .terms = &terms};
static Weft__Wire__MemberBody member_body = {BASE(member_body),
                                             .trust_domain = domain,
                                             .router_id = BYTES(id_bytes),
                                             .name = name,
                                             ONE(pins, PINS),
                                             ONE(addresses, ADDRESSES),
                                             .epoch = 1,
                                             .expiry = 2};
static Weft__Wire__Floor a_floor = {BASE(floor),
                                    .identity = BYTES(id_bytes),
                                    .service = BYTES(id_bytes),
                                    .role = WEFT__WIRE__ROLE__ROLE_BIND,
                                    .epoch = 1,
                                    .cut = 1,
                                    .expires = 2};
static Weft__Wire__Floor *floors_[] = {&a_floor};
static Weft__Wire__FloorsBody floors_body = {BASE(floors_body), .trust_domain = domain,
                                             .version = 2, .previous = BYTES(pin_bytes),
                                             ONE(floors, floors_)};
static Weft__Wire__BindBody bind_body = {BASE(bind_body),
                                         .trust_domain = domain,
                                         .service_id = BYTES(id_bytes),
                                         .instance = BYTES(id_bytes),
                                         .router_id = BYTES(id_bytes),
                                         .subject = BYTES(id_bytes),
                                         .expiry = 1,
                                         .sequence = 2};
static Weft__Wire__LinkStateBody link_state_body = {
    BASE(link_state_body), .router_id = BYTES(id_bytes), .sequence = 1, ONE(neighbours, IDS)};
static Weft__Wire__EnrollCall enroll_call = {BASE(enroll_call),
                                             .token = text,
                                             .csr = BYTES(some_bytes),
                                             .proof = BYTES(some_bytes),
                                             ONE(addresses, ADDRESSES),
                                             ONE(foreign_chain, BLOBS),
                                             .foreign_proof = BYTES(some_bytes),
                                             .oidc_token = text};
static Weft__Wire__EnrollResult enroll_result = {
    BASE(enroll_result),        ONE(chain, BLOBS),     .bundle = RECORD,
    .id = BYTES(id_bytes),      .name = name,          ONE(controllers, ADDRESSES),
    ONE(controller_pins, PINS), ONE(members, RECORDS), .member = RECORD,
    ONE(floors, RECORDS),       ONE(bundles, RECORDS)};
static Weft__Wire__RenewCall renew_call = {BASE(renew_call),
                                           .csr = BYTES(some_bytes),
                                           .proof = BYTES(some_bytes),
                                           ONE(foreign_chain, BLOBS),
                                           .foreign_proof = BYTES(some_bytes),
                                           .new_csr = BYTES(some_bytes),
                                           .new_proof = BYTES(some_bytes)};
static Weft__Wire__RenewResult renew_result = {BASE(renew_result), ONE(chain, BLOBS),
                                               .bundle = RECORD, ONE(bundles, RECORDS)};
static Weft__Wire__Posture posture = {BASE(posture), .os = text, .os_version = text, .arch = text,
                                      .agent = text};
static Weft__Wire__GrantsCall grants_call = {BASE(grants_call), ONE(services, NAMES), .carry = 1,
                                             .posture = &posture};
static Weft__Wire__GrantsResult grants_result = {
    BASE(grants_result), ONE(grants, RECORDS), ONE(members, RECORDS),  ONE(floors, RECORDS),
    .bundle = RECORD,    .refused_code = 9,    .refused_reason = text, .checkpoint = RECORD};
static Weft__Wire__SyncResult sync_result = {BASE(sync_result),    .member = RECORD,
                                             .checkpoint = RECORD, ONE(members, RECORDS),
                                             ONE(floors, RECORDS), .bundle = RECORD};
static Weft__Wire__SessionRow row = {
    BASE(session_row),         .session = BYTES(id_bytes), .service_id = BYTES(id_bytes),
    .dialer = BYTES(id_bytes), .host = BYTES(id_bytes),    .started = 1,
    .bytes_to_host = 2,        .bytes_to_dialer = 3};
static Weft__Wire__SessionRow *rows[] = {&row};
static Weft__Wire__CheckpointBody checkpoint_body = {
    BASE(checkpoint_body), .trust_domain = domain, .size = 7, .root = BYTES(pin_bytes), .time = 1};
static Weft__Wire__ConsistencyCall consistency_call = {BASE(consistency_call), .first = 3,
                                                       .second = 7};
static Weft__Wire__ConsistencyResult consistency_result = {BASE(consistency_result),
                                                           ONE(hashes, PINS)};
static Weft__Wire__SessionReport session_report = {BASE(session_report), ONE(rows, rows)};
static Weft__Wire__ItemHello item_hello = {BASE(item_hello),
                                           .service_id = BYTES(id_bytes),
                                           .session = BYTES(id_bytes),
                                           .role = WEFT__WIRE__ROLE__ROLE_BIND,
                                           .instance = BYTES(id_bytes),
                                           .grant = RECORD,
                                           .datagram = 1,
                                           ONE(floors, RECORDS)};
static Weft__Wire__ItemRefuse item_refuse = {BASE(item_refuse), .code = 9, .reason = text};
static Weft__Wire__ItemGrant item_grant = {BASE(item_grant), .grant = RECORD};

static weft_err decode_control(const void *data, size_t len, wf_why *why)
{
    Weft__Wire__Control *control = NULL;
    weft_err err = wf_control_decode(data, len, &control, why);
    assert((err == WEFT_OK) == (control != NULL));
    wf_control_free(control);
    return err;
}

#define DECODE(Name, snake, max)                                                                   \
    static weft_err decode_##snake(const void *data, size_t len, wf_why *why)                      \
    {                                                                                              \
        Weft__Wire__##Name *message = NULL;                                                        \
        weft_err err = wf_##snake##_decode(data, len, &message, why);                              \
        assert((err == WEFT_OK) == (message != NULL));                                             \
        wf_##snake##_free(message);                                                                \
        return err;                                                                                \
    }
WF_MESSAGE_MAP(DECODE)
#undef DECODE

struct sample samples[] = {
    {"Hello", &hello.base, 1, WF_CONTROL_MAX, decode_control},
    {"Setup", &setup.base, 2, WF_CONTROL_MAX, decode_control},
    {"SetupReply", &setup_reply.base, 3, WF_CONTROL_MAX, decode_control},
    {"Bind", &bind_.base, 4, WF_CONTROL_MAX, decode_control},
    {"BindReply", &bind_reply.base, 5, WF_CONTROL_MAX, decode_control},
    {"Unbind", &unbind.base, 6, WF_CONTROL_MAX, decode_control},
    {"Terminators", &terminators.base, 7, WF_CONTROL_MAX, decode_control},
    {"LinkState", &link_state.base, 8, WF_CONTROL_MAX, decode_control},
    {"Floors", &floors.base, 9, WF_CONTROL_MAX, decode_control},
    {"FloorsWanted", &floors_wanted.base, 10, WF_CONTROL_MAX, decode_control},
    {"Call", &call.base, 11, WF_CONTROL_MAX, decode_control},
    {"Reply", &reply.base, 12, WF_CONTROL_MAX, decode_control},
    {"Notice", &notice.base, 13, WF_CONTROL_MAX, decode_control},
#define SAMPLE(Name, snake, max) {#Name, &snake.base, 0, max, decode_##snake},
    {"Signed", &record.base, 0, WF_BUNDLE_MAX, decode_signed},
    SAMPLE(CheckpointBody, checkpoint_body, WF_SIGNED_MAX) SAMPLE(ConsistencyCall, consistency_call,
                                                                  WF_SIGNED_MAX)
        SAMPLE(ConsistencyResult, consistency_result, WF_SIGNED_MAX) SAMPLE(
            BundleBody, bundle_body, WF_BUNDLE_MAX) SAMPLE(GrantBody, grant_body, WF_SIGNED_MAX)
            SAMPLE(MemberBody, member_body, WF_SIGNED_MAX) SAMPLE(
                FloorsBody, floors_body, WF_FLOORS_MAX) SAMPLE(BindBody, bind_body, WF_SIGNED_MAX)
                SAMPLE(LinkStateBody, link_state_body,
                       WF_SIGNED_MAX) SAMPLE(EnrollCall, enroll_call, WF_CONTROL_MAX)
                    SAMPLE(EnrollResult, enroll_result,
                           WF_CONTROL_MAX) SAMPLE(RenewCall, renew_call, WF_CONTROL_MAX)
                        SAMPLE(RenewResult, renew_result,
                               WF_CONTROL_MAX) SAMPLE(GrantsCall, grants_call, WF_CONTROL_MAX)
                            SAMPLE(GrantsResult, grants_result, WF_CONTROL_MAX)
                                SAMPLE(SyncResult, sync_result, WF_CONTROL_MAX)
                                    SAMPLE(SessionReport, session_report, WF_CONTROL_MAX)
                                        SAMPLE(ItemHello, item_hello, WF_ITEM_CONTROL_MAX)
                                            SAMPLE(ItemRefuse, item_refuse, WF_ITEM_CONTROL_MAX)
                                                SAMPLE(ItemGrant, item_grant, WF_ITEM_CONTROL_MAX)};
const size_t sample_count = sizeof samples / sizeof samples[0];

void sample_encode(const struct sample *s, wf_buf *out)
{
    weft_err err = wf_message_put(s->message, out);
    assert(err == WEFT_OK);
    (void)err;
}

void sample_wrap(const struct sample *s, const void *data, size_t len, wf_buf *out)
{
    if (s->control_field != 0) {
        wf_buf_put_u8(out, (uint8_t)(s->control_field << 3 | 2));
        size_t rest = len;
        for (; rest >= 0x80; rest >>= 7)
            wf_buf_put_u8(out, (uint8_t)(0x80 | (rest & 0x7f)));
        wf_buf_put_u8(out, (uint8_t)rest);
    }
    weft_err err = wf_buf_put(out, data, len);
    assert(err == WEFT_OK);
    (void)err;
}

weft_err sample_judge(const struct sample *s, const void *data, size_t len, wf_why *why)
{
    wf_buf wire;
    wf_buf_init(&wire, SIZE_MAX / 2);
    sample_wrap(s, data, len, &wire);
    weft_err err = s->decode_and_free(wire.data, wire.len, why);
    wf_buf_fini(&wire);
    return err;
}
