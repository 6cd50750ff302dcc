/*
 * Control messages: protobuf with bounds. Decoding caps the size before it
 * allocates, refuses what is absent but needed, and checks every length that
 * a later step relies on (ids are 16 bytes, pins 32, counts within limits.h,
 * names by wf_name_check, text printable). What it lets through, handlers may
 * use without looking again. Unknown fields are ignored; a known field given
 * twice is refused. All text is printable ASCII.
 *
 * Signed records may be absent (NULL) in Hello.member, Notice.bundle,
 * EnrollResult.member, RenewResult.bundle, GrantsResult.bundle,
 * SyncResult.member and .bundle, Setup.grant, and every checkpoint; everywhere else they are
 * there. Chains may be empty in Hello and Setup
 * only. Instances may be empty in Setup, SetupReply and a dialer's ItemHello.
 * Times, versions and epochs are any number.
 */
#ifndef PROTO_WIRE_CONTROL_H
#define PROTO_WIRE_CONTROL_H

#include "proto/base/buf.h"
#include "proto/base/id.h"
#include "proto/base/reader.h"
#include "proto/base/why.h"
#include "proto/wire/limits.h"
#include "proto/wire/weft.pb-c.h"

/* WEFT_EPROTO, WEFT_ELIMIT, WEFT_ENOMEM. *out is freed with wf_control_free. */
weft_err wf_control_decode(const uint8_t *data, size_t len, Weft__Wire__Control **out, wf_why *why);
void wf_control_free(Weft__Wire__Control *control); /* NULL is fine */

/*
 * The same rules for the other messages: WF_DECODE(GrantBody, data, len, &out, why).
 * X(message, snake, largest encoding accepted)
 */
#define WF_MESSAGE_MAP(X)                                                                          \
    X(BundleBody, bundle_body, WF_BUNDLE_MAX)                                                      \
    X(GrantBody, grant_body, WF_SIGNED_MAX)                                                        \
    X(MemberBody, member_body, WF_SIGNED_MAX)                                                      \
    X(FloorsBody, floors_body, WF_FLOORS_MAX)                                                      \
    X(BindBody, bind_body, WF_SIGNED_MAX)                                                          \
    X(CheckpointBody, checkpoint_body, WF_SIGNED_MAX)                                              \
    X(LinkStateBody, link_state_body, WF_SIGNED_MAX)                                               \
    X(Signed, signed, WF_BUNDLE_MAX)                                                               \
    X(EnrollCall, enroll_call, WF_CONTROL_MAX)                                                     \
    X(EnrollResult, enroll_result, WF_CONTROL_MAX)                                                 \
    X(RenewCall, renew_call, WF_CONTROL_MAX)                                                       \
    X(RenewResult, renew_result, WF_CONTROL_MAX)                                                   \
    X(GrantsCall, grants_call, WF_CONTROL_MAX)                                                     \
    X(GrantsResult, grants_result, WF_CONTROL_MAX)                                                 \
    X(SyncResult, sync_result, WF_CONTROL_MAX)                                                     \
    X(SessionReport, session_report, WF_CONTROL_MAX)                                               \
    X(ConsistencyCall, consistency_call, WF_SIGNED_MAX)                                            \
    X(ConsistencyResult, consistency_result, WF_SIGNED_MAX)                                        \
    X(ItemHello, item_hello, WF_ITEM_CONTROL_MAX)                                                  \
    X(ItemRefuse, item_refuse, WF_ITEM_CONTROL_MAX)                                                \
    X(ItemGrant, item_grant, WF_ITEM_CONTROL_MAX)

#define WF_MESSAGE_DECLARE(Name, snake, max)                                                       \
    weft_err wf_##snake##_decode(const void *data, size_t len, Weft__Wire__##Name **out,           \
                                 wf_why *why);                                                     \
    void wf_##snake##_free(Weft__Wire__##Name *message);
WF_MESSAGE_MAP(WF_MESSAGE_DECLARE)
#undef WF_MESSAGE_DECLARE

/* Appends the encoding of any protobuf-c message to out. WEFT_ELIMIT, WEFT_ENOMEM. */
weft_err wf_message_put(const ProtobufCMessage *message, wf_buf *out);

/* Borrowed views, for building messages. */
ProtobufCBinaryData wf_pb_bytes(const void *data, size_t len);
ProtobufCBinaryData wf_pb_id(const wf_id *id); /* borrows id->b */
wf_span wf_pb_span(ProtobufCBinaryData data);
/* An id field that decoding has checked. */
wf_id wf_pb_get_id(ProtobufCBinaryData data);

/* A Signed inside a message copied out as its own encoding; wf_signed_decode is the way back. */
weft_err wf_signed_encode(const Weft__Wire__Signed *s, wf_buf *out);

/* A text as the fields `reason` take it: cut to WF_REASON_MAX and made printable; returns buf. */
#define WF_REASON_TEXT (WF_REASON_MAX + 1)
char *wf_reason_text(const char *text, char buf[WF_REASON_TEXT]);

#endif
