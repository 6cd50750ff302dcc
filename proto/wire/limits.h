/* Every size, count and timeout of the protocol. Sizes in bytes, times in milliseconds. */
#ifndef PROTO_WIRE_LIMITS_H
#define PROTO_WIRE_LIMITS_H

#define WF_VERSION_MIN 1u
#define WF_VERSION_MAX 1u

/* Frames */
#define WF_FRAME_HEADER 8u
#define WF_FRAME_PAYLOAD_MAX 65536u
#define WF_CONTROL_MAX 65536u /* one encoded control message */

/*
 * Sizes of the data path (docs/architecture.md, "Four to a segment"): an
 * end-to-end record of 16,318 bytes of plaintext is one frame is one record
 * of the hop; four of those fill a loopback segment.
 */
#define WF_TLS_OVERHEAD 22u     /* record header 5, content type 1, tag 16 */
#define WF_E2E_PLAINTEXT 16318u /* items in one end-to-end record */
#define WF_E2E_RECORD (WF_E2E_PLAINTEXT + WF_TLS_OVERHEAD)
#define WF_HOP_PLAINTEXT (WF_E2E_RECORD + WF_FRAME_HEADER)
#define WF_DATA_MAX (WF_E2E_RECORD) /* payload of a data frame that we send */

/* Items inside the session */
#define WF_ITEM_HEADER 4u
#define WF_ITEM_DATA_FULL (WF_E2E_PLAINTEXT - WF_ITEM_HEADER) /* data that fills one record */
#define WF_ITEM_CONTROL_MAX 16384u /* HELLO, ACCEPT, REFUSE, GRANT, RESET */
#define WF_DATAGRAM_MAX 65507u
#define WF_DATAGRAM_QUEUE (256u * 1024u)
#define WF_REASON_MAX 256u /* text in a refusal */

/* Flow control */
#define WF_WINDOW_MIN (64u * 1024u)
#define WF_WINDOW_DEFAULT (1024u * 1024u)
#define WF_WINDOW_MAX (16u * 1024u * 1024u)
#define WF_WINDOW_RESERVE 4096u       /* kept from DATA for other items */
#define WF_SETUP_BYTES_MAX 16384u     /* first stream bytes inside SETUP and its reply */
#define WF_HANDSHAKE_BYTES_MAX 65536u /* one side's flight end to end */

/* Certificates, tokens, signed records */
#define WF_CERT_MAX 4096u /* DER of one certificate */
#define WF_CHAIN_MAX 16384u
#define WF_CHAIN_DEPTH 4u
#define WF_CSR_MAX 4096u
#define WF_TOKEN_MAX 8192u
#define WF_OIDC_TOKEN_MAX 16384u /* a workload's JWT from another issuer */
#define WF_SIGNED_MAX 16384u
#define WF_BUNDLE_MAX 65536u
#define WF_FLOORS_MAX 65536u
#define WF_FLOOR_COUNT_MAX 1024u /* in one delta */
#define WF_PINS_MAX 4u
#define WF_ADDRESSES_MAX 8u
#define WF_IDENTITY_FILE_MAX (1024u * 1024u)
#define WF_PATH_MAX 8u /* routers on a path */
#define WF_SIGNATURE_MAX 512u
#define WF_PIN_LEN 32u /* SHA-256, of keys and of records */
#define WF_TRUST_DOMAIN_MAX 128u
#define WF_AGENT_MAX 64u /* and each text of a posture */
#define WF_MAC_MIN 16u   /* of a RESUME */
#define WF_MAC_MAX 64u
#define WF_BUNDLE_KEYS_MAX 8u /* of each kind */
#define WF_KEY_MAX 1024u      /* a SubjectPublicKeyInfo, DER */

/* What a grant is bound to */
#define WF_WINDOWS_MAX 16u
#define WF_SOURCES_MAX 16u
#define WF_WEEK_MINUTES 10080u
#define WF_TERM_MS_MAX (366ull * 86400000ull) /* idle and age */

/* The audit log: docs/protocol.md, "The audit log" */
#define WF_LOG_MAX (1ull << 60) /* entries */
#define WF_EVENT_MAX 8192u      /* one entry */
#define WF_CHECKPOINT_MAX 512u  /* a CheckpointBody */
#define WF_PROOF_MAX 64u        /* hashes */

/* Counts */
#define WF_CIRCUITS_PER_LINK 65536u
#define WF_BINDS_PER_LINK 1024u
#define WF_GRANTS_PREFETCH 256u
#define WF_CALLS_PER_LINK 64u /* requests that await their answer */

#define WF_TERMINATORS_MAX 64u /* added, and removed, by one message */
#define WF_MEMBERS_MAX 256u    /* router records in one message */
#define WF_FLOOR_SETS_MAX 64u  /* deltas in one message */
#define WF_NEIGHBOURS_MAX 512u /* routers linked to one router */
#define WF_SESSION_ROWS_MAX 512u
#define WF_BUNDLES_MAX 16u    /* trust bundles in one answer */
#define WF_REPEATED_MAX 1024u /* the same field, in any message */
#define WF_UNKNOWN_MAX 64u    /* fields of a later version, in any message */

/* Times */
#define WF_CONNECT_MS 10000u
#define WF_HANDSHAKE_MS 10000u
#define WF_HELLO_MS 10000u
#define WF_PING_MS 10000u    /* a ping after this much silence from the peer */
#define WF_SILENCE_MS 30000u /* half-open: no byte from the peer for this long */
#define WF_SETUP_MS 15000u
#define WF_CALL_MS 15000u
#define WF_BACKOFF_MIN_MS 250u /* the first retry is at once */
#define WF_BACKOFF_MAX_MS 30000u
#define WF_CLOCK_TOLERANCE_MS 300000u
#define WF_GRANT_LIFE_MS 86400000u
#define WF_MEMBER_LIFE_MS (30ull * 86400000ull)
#define WF_BIND_LIFE_MS 86400000u
#define WF_SESSION_GRACE_MS 86400000u
/* How long a session can outlive its grant, by the clock of whoever gave it */
#define WF_SESSION_OUTLIVES_MS (WF_SESSION_GRACE_MS + 2u * WF_CLOCK_TOLERANCE_MS)
#define WF_REDEEM_AGAIN_MS 600000u
#define WF_LEAF_LIFE_MS (90ull * 86400000ull)
#define WF_RENEW_GRACE_MS (30ull * 86400000ull)
#define WF_LEAF_LIFE_MIN_MS 300000ull
#define WF_LEAF_LIFE_MAX_MS (366ull * 86400000ull)
#define WF_RENEW_SPREAD_MAX_MS 86400000ull /* over which told nodes renew */

/* A link's output: frames queue above LOW, the link is cut above MAX */
#define WF_OUTPUT_LOW (128u * 1024u)
#define WF_OUTPUT_MAX (4u * 1024u * 1024u)

/* Records under one key before KeyUpdate */
#define WF_REKEY_RECORDS (1u << 23)

#endif
