/*
 * The controller's memory on disk, behind one interface. SQLite is named in
 * store*.c only; another store may come behind the same prototypes.
 *
 * Writing: store_begin ... store_commit. Each call of a peer runs between
 * store_mark and store_keep or store_undo, so that a failing one takes back
 * its own changes alone, and all calls of one turn of the loop share a
 * commit. Nothing may be acknowledged before store_commit says WEFT_OK.
 *
 * When a write, a commit or an fsync fails for a reason of the disk, the store
 * is broken for good: every further call says WEFT_EIO and the program has to
 * stop. Retrying after a failed fsync would acknowledge what is lost.
 *
 * Errors of all functions, beyond what is said: WEFT_EIO, WEFT_ENOMEM.
 * Rows are plain structs, copied in and out.
 */
#ifndef CONTROLLER_STORE_H
#define CONTROLLER_STORE_H

#include "controller/policy.h"
#include "pki/cert.h"
#include "pki/token.h"
#include "proto/base/address.h"

typedef struct store store;

/* Makes the file with an empty schema; WEFT_EEXIST if it is there. */
weft_err store_create(const char *path, wf_why *why);
/* Opens, alone (WEFT_EBUSY if another process has it). WEFT_EVERSION for a schema we don't know. */
weft_err store_open(const char *path, store **out, wf_why *why);
/* The same file, a copy of it, or one that was tampered with: nothing is ever written to it. */
weft_err store_open_to_look(const char *path, store **out, wf_why *why);
/* Takes back what isn't committed. NULL is fine. */
void store_close(store *s);
/* WEFT_OK, or what broke it, with the sentence in *why. */
weft_err store_check(const store *s, wf_why *why);

weft_err store_begin(store *s); /* nothing happens if it is begun */
weft_err store_commit(store *s);
bool store_is_begun(const store *s);
weft_err store_mark(store *s); /* one at a time */
weft_err store_keep(store *s);
weft_err store_undo(store *s);
/* Commits that wrote something, since the start. */
uint64_t store_commits(const store *s);

/* max(now, last + 1), durable with the commit. It orders grants, floors and members. */
uint64_t store_next_epoch(store *s, uint64_t now);

/* Small settings by name. WEFT_ENOTFOUND. */
weft_err store_setting_get(store *s, const char *name, wf_buf *out);
weft_err store_setting_put(store *s, const char *name, const void *value, size_t len);

/*
 * Walks: `row` is called for each, in order of name; WEFT_EEOF from it ends the
 * walk well, another error ends it with that error. The row is borrowed for the call.
 */

/* ---- nodes: identities and routers */

struct store_roles {
    size_t count;
    char names[POLICY_ROLES_MAX][WF_NAME_MAX + 1];
};

struct store_node {
    wf_id id;
    enum pki_kind kind; /* PKI_IDENTITY or PKI_ROUTER */
    char name[WF_NAME_MAX + 1];
    bool disabled;
    enum pki_enroll_method enroll;
    uint64_t created;
    bool enrolled;    /* the two below are meant */
    pki_pin pin;      /* of the current certificate's key */
    uint64_t expires; /* its end */
    uint64_t life;    /* ms, of its certificates; 0: WF_LEAF_LIFE_MS; written by store_follow_put */
    struct store_roles roles;               /* identities */
    wf_address addresses[WF_ADDRESSES_MAX]; /* routers */
    size_t address_count;
    uint64_t member_expires; /* routers: of the member record, 0: none */
};

/* WEFT_EEXIST: a name of this kind is taken. */
weft_err store_node_add(store *s, const struct store_node *node);
weft_err store_node_get(store *s, enum pki_kind kind, const wf_id *id, struct store_node *out);
weft_err store_node_find(store *s, enum pki_kind kind, const char *name, struct store_node *out);
/* Writes all but id, kind and created. WEFT_EEXIST as for add. */
weft_err store_node_put(store *s, const struct store_node *node);
/* Its roles, tokens, places in policies and issued grants go with it. */
weft_err store_node_remove(store *s, const wf_id *id);
typedef weft_err (*store_node_fn)(void *arg, const struct store_node *row);
/* after: the name to start behind; NULL: from the first. */
weft_err store_node_each(store *s, enum pki_kind kind, const char *after, store_node_fn row,
                         void *arg);
weft_err store_node_count(store *s, enum pki_kind kind, uint64_t *out);
/* A router's signed member record (encoded Signed). */
weft_err store_member_put(store *s, const wf_id *router, wf_span record, uint64_t expires);
weft_err store_member_get(store *s, const wf_id *router, wf_buf *out);

/* Makes it an administrator with these rights (rights.h), or gives it these instead. */
weft_err store_admin_put(store *s, const wf_id *identity, unsigned rights);
weft_err store_admin_remove(store *s, const wf_id *identity);                /* WEFT_ENOTFOUND */
weft_err store_admin_get(store *s, const wf_id *identity, unsigned *rights); /* WEFT_ENOTFOUND */
/* Administrators with full rights who are not disabled. */
weft_err store_admin_count_able(store *s, uint64_t *out);
weft_err store_admin_each(store *s, const char *after, store_node_fn row, void *arg);

/* What a node was last seen with, and the lifetime set for its certificates. */
struct store_follow {
    wf_id node;
    uint64_t life;   /* ms; 0: WF_LEAF_LIFE_MS */
    uint64_t seen;   /* wall ms of its last Hello, about; 0: never */
    uint64_t bundle; /* version of the trust bundle that it said it holds */
    pki_pin issuer;  /* the key of the authority above its newest certificate; zero: not known */
    pki_pin policy;  /* the policy key that signed its last grants; zero: none */
};
/* A row of zeros where nothing is known. */
weft_err store_follow_get(store *s, const wf_id *node, struct store_follow *out);
weft_err store_follow_put(store *s, const struct store_follow *row);

/* ---- services */

enum store_mode { STORE_MODE_STREAM = 1, STORE_MODE_PARCEL = 2, STORE_MODE_BOTH = 3 };

/* What a service allows at one host; 0: no limit. */
struct store_limits {
    uint64_t sessions, sessions_per_identity;
    uint64_t idle_ms, age_ms;
};

struct store_service {
    wf_id id;
    char name[WF_NAME_MAX + 1];
    enum store_mode mode;
    uint64_t created;
    struct store_roles roles;
    struct store_limits limits;
};

weft_err store_service_add(store *s, const struct store_service *service);
weft_err store_service_get(store *s, const wf_id *id, struct store_service *out);
weft_err store_service_find(store *s, const char *name, struct store_service *out);
weft_err store_service_put(store *s, const struct store_service *service);
weft_err store_service_remove(store *s, const wf_id *id);
typedef weft_err (*store_service_fn)(void *arg, const struct store_service *row);
weft_err store_service_each(store *s, const char *after, store_service_fn row, void *arg);
weft_err store_service_count(store *s, uint64_t *out);

/* ---- policies */

struct store_policy {
    wf_id id;
    char name[WF_NAME_MAX + 1];
    enum policy_type type;
    enum policy_semantic semantic;
    uint64_t created;
    struct policy_role identities[POLICY_ROLES_MAX], services[POLICY_ROLES_MAX];
    size_t identity_count, service_count;
    struct conditions conditions;
};

weft_err store_policy_add(store *s, const struct store_policy *policy);
weft_err store_policy_get(store *s, const wf_id *id, struct store_policy *out);
weft_err store_policy_find(store *s, const char *name, struct store_policy *out);
weft_err store_policy_put(store *s, const struct store_policy *policy);
weft_err store_policy_remove(store *s, const wf_id *id);
typedef weft_err (*store_policy_fn)(void *arg, const struct store_policy *row);
weft_err store_policy_each(store *s, const char *after, store_policy_fn row, void *arg);
weft_err store_policy_count(store *s, uint64_t *out);

/* ---- enrollment */

struct store_token {
    uint8_t hash[32]; /* SHA-256 of the jti */
    enum pki_kind kind;
    wf_id subject;
    uint64_t expires;
    uint64_t redeemed; /* wall ms; 0: not yet */
    pki_pin pin;       /* redeemed: by this key */
    pki_pin signer;    /* the enrollment key; only store_token_add looks at it */
};

weft_err store_token_add(store *s, const struct store_token *token);
weft_err store_token_get(store *s, const uint8_t hash[32], struct store_token *out);
/*
 * Marks it as redeemed, with the chain that was issued for it (PEM). Only a
 * token that isn't yet: WEFT_EUSED.
 */
weft_err store_token_redeem(store *s, const uint8_t hash[32], uint64_t now, const pki_pin *pin,
                            wf_span chain_pem);
weft_err store_token_chain(store *s, const uint8_t hash[32], wf_buf *chain_pem);
/* Forgets the subject's tokens that nobody redeemed; a new one takes their place. */
weft_err store_token_void(store *s, const wf_id *subject);
/* How many that can be redeemed at this time were signed by another key than this one. */
weft_err store_token_count_others(store *s, const pki_pin *signer, uint64_t now, uint64_t *out);
/* Forgets tokens that expired before. */
weft_err store_token_sweep(store *s, uint64_t before);

/* Every key that was ever certified, by its pin, for life: no two subjects share one. */
struct store_key {
    pki_pin pin;
    wf_id subject;
    uint64_t not_after; /* of the last certificate for it */
    bool dead;          /* withdrawn: never certified again */
};
weft_err store_key_put(store *s, const struct store_key *key);
weft_err store_key_get(store *s, const pki_pin *pin, struct store_key *out);
typedef weft_err (*store_key_fn)(void *arg, const struct store_key *row);
/* The subject's living keys whose certificates end after now. */
weft_err store_key_each(store *s, const wf_id *subject, uint64_t now, store_key_fn row, void *arg);

/* Names that a living certificate still carries. */
weft_err store_name_retire(store *s, enum pki_kind kind, const char *name, uint64_t until);
weft_err store_name_is_retired(store *s, enum pki_kind kind, const char *name, uint64_t now,
                               uint64_t *until, bool *out);

/* ---- who else may vouch for an enrollee: authorities and issuers of others */

#define STORE_TEMPLATE_MAX 129u
#define STORE_CA_NONCE 32u

struct store_ca {
    wf_id id;
    char name[WF_NAME_MAX + 1];
    uint8_t nonce[STORE_CA_NONCE];
    bool verified;  /* its key was shown; else it vouches for nobody */
    bool automatic; /* its certificates make identities; else only those that wait for it */
    char template[STORE_TEMPLATE_MAX];
    struct store_roles roles;
    uint64_t created;
};
weft_err store_ca_add(store *s, const struct store_ca *ca, wf_span certificate); /* WEFT_EEXIST */
weft_err store_ca_get(store *s, const wf_id *id, struct store_ca *out);
weft_err store_ca_find(store *s, const char *name, struct store_ca *out);
weft_err store_ca_certificate(store *s, const wf_id *id, wf_buf *der);
weft_err store_ca_verified(store *s, const wf_id *id);
weft_err store_ca_remove(store *s, const wf_id *id);
typedef weft_err (*store_ca_fn)(void *arg, const struct store_ca *row);
weft_err store_ca_each(store *s, const char *after, store_ca_fn row, void *arg);

#define STORE_ISSUER_TEXT 257u
#define STORE_CONDITIONS_MAX 8u

struct store_issuer {
    wf_id id;
    char name[WF_NAME_MAX + 1];
    char issuer[STORE_ISSUER_TEXT], audience[STORE_ISSUER_TEXT];
    char url[STORE_ISSUER_TEXT]; /* of its keys; "": they were given */
    char conditions[STORE_CONDITIONS_MAX][STORE_ISSUER_TEXT];
    size_t condition_count;
    char template[STORE_TEMPLATE_MAX];
    struct store_roles roles;
    uint64_t life_ms, created;
    uint64_t fetched; /* wall ms; 0: keys never came */
};
/* keys and tls_ca may be empty. WEFT_EEXIST. */
weft_err store_issuer_add(store *s, const struct store_issuer *issuer, wf_span keys,
                          wf_span tls_ca);
weft_err store_issuer_get(store *s, const wf_id *id, struct store_issuer *out);
weft_err store_issuer_find(store *s, const char *name, struct store_issuer *out);
/* Its key set, and the authorities for its address, as they came. */
weft_err store_issuer_keys(store *s, const wf_id *id, wf_buf *keys, wf_buf *tls_ca);
weft_err store_issuer_keys_put(store *s, const wf_id *id, wf_span keys, uint64_t now);
weft_err store_issuer_remove(store *s, const wf_id *id);
typedef weft_err (*store_issuer_fn)(void *arg, const struct store_issuer *row);
weft_err store_issuer_each(store *s, const char *after, store_issuer_fn row, void *arg);

/* Who vouches, or is to vouch, for a node. */
struct store_federated {
    wf_id node, authority;
    bool shown;              /* the three below are meant */
    uint8_t certificate[32]; /* struct pki_foreign_leaf */
    pki_pin pin;
    uint64_t ends;                 /* of the foreign certificate */
    char derived[WF_NAME_MAX + 1]; /* the name that it gave; "": none */
};
/* Adds or replaces. WEFT_EEXIST: another node has this foreign key. */
weft_err store_federated_put(store *s, const struct store_federated *row);
weft_err store_federated_get(store *s, const wf_id *node, struct store_federated *out);
weft_err store_federated_find(store *s, const wf_id *authority, const pki_pin *pin,
                              struct store_federated *out);
weft_err store_federated_count(store *s, const wf_id *authority, uint64_t *out);
/* Forgets identities by OIDC that ended before, with their keys; *removed says how many. */
weft_err store_federated_sweep(store *s, uint64_t before, uint64_t *removed);

struct store_presented {
    uint8_t digest[32];
    wf_id node;
    pki_pin pin; /* by this key */
    uint64_t until;
};
weft_err store_presented_add(store *s, const struct store_presented *row); /* WEFT_EEXIST */
weft_err store_presented_get(store *s, const uint8_t digest[32], struct store_presented *out);
weft_err store_presented_sweep(store *s, uint64_t now);

/* ---- issued grants and floors */

/* A pair has a row for each kind of terms that live grants of it carry. */
struct store_issued {
    wf_id identity, service;
    enum policy_type role;
    uint8_t terms[32]; /* digest of the conditions it was issued under; zero: none */
    wf_id rule;        /* a policy that it stands by: its witness */
    uint64_t expiry;   /* of the longest-lived grant */
};
/* Notes a grant; a longer expiry replaces a shorter one, a new witness the old one. */
weft_err store_issued_put(store *s, const struct store_issued *issued);
/* All rows of this identity, service and role, whatever their terms. */
weft_err store_issued_remove(store *s, const struct store_issued *issued);
weft_err store_issued_forget(store *s, const wf_id *identity); /* all of this identity */
typedef weft_err (*store_issued_fn)(void *arg, const struct store_issued *row);
/* Live ones (expiry > now), ordered by identity, service, role; NULL: of any. One of them at most.
 */
weft_err store_issued_each(store *s, const wf_id *identity, const wf_id *service, const wf_id *rule,
                           uint64_t now, store_issued_fn row, void *arg);
weft_err store_issued_sweep(store *s, uint64_t now);
/* The latest end of any live grant of this identity; 0: none. */
weft_err store_issued_end(store *s, const wf_id *identity, uint64_t *out);

struct store_floor {
    enum store_floor_kind {
        STORE_FLOOR_GRANT,    /* identity, service, role */
        STORE_FLOOR_IDENTITY, /* identity */
        STORE_FLOOR_KEY,      /* key */
        STORE_FLOOR_ROUTER,   /* router */
    } kind;
    wf_id identity, service, router;
    enum policy_type role;
    pki_pin key;
    uint64_t epoch;
    bool cut;
    uint64_t expires;
};
weft_err store_floor_put(store *s, const struct store_floor *floor); /* replaces the same thing's */
/* The floor of this thing; fields that tell which are read from *io. WEFT_ENOTFOUND. */
weft_err store_floor_get(store *s, struct store_floor *io);
typedef weft_err (*store_floor_fn)(void *arg, const struct store_floor *row);
weft_err store_floor_each(store *s, uint64_t now, store_floor_fn row, void *arg);
weft_err store_floor_count(store *s, uint64_t *out);
weft_err store_floor_sweep(store *s, uint64_t now);

/* The chain of signed records that carry the floors: a snapshot and the deltas behind it. */
struct store_record {
    uint64_t version;
    uint8_t digest[32];
    bool snapshot;
};
weft_err store_record_add(store *s, const struct store_record *record, wf_span encoded);
/* The newest; WEFT_ENOTFOUND before the first. */
weft_err store_record_head(store *s, struct store_record *out);
/* The newest snapshot's version. WEFT_ENOTFOUND. */
weft_err store_record_base(store *s, uint64_t *out);
typedef weft_err (*store_record_fn)(void *arg, uint64_t version, wf_span encoded);
/* The digest of this version's record; WEFT_ENOTFOUND: it isn't held. */
weft_err store_record_digest(store *s, uint64_t version, uint8_t out[32]);
/* Records of a version >= first, in order. */
weft_err store_record_each(store *s, uint64_t first, store_record_fn row, void *arg);
/* Forgets records below this version. */
weft_err store_record_drop(store *s, uint64_t below);

/* ---- the audit log: docs/protocol.md, "The audit log". Nothing is deleted. */

#define STORE_AUDIT_LEVEL                                                                          \
    6u /* smaller subtrees are hashed from their leaves when they are asked for */

/* Entries are numbered from 1 without a gap. */
weft_err store_audit_add(store *s, uint64_t seq, wf_span event, const uint8_t leaf[32]);
weft_err store_audit_size(store *s, uint64_t *out);
typedef weft_err (*store_audit_fn)(void *arg, uint64_t seq, wf_span event, const uint8_t leaf[32]);
/* From number `first` on, in order. */
weft_err store_audit_each(store *s, uint64_t first, store_audit_fn row, void *arg);
/* WEFT_ENOTFOUND. */
weft_err store_audit_leaf(store *s, uint64_t seq, uint8_t out[32]);
weft_err store_audit_node_put(store *s, unsigned level, uint64_t position, const uint8_t hash[32]);
weft_err store_audit_node_get(store *s, unsigned level, uint64_t position, uint8_t out[32]);
/* Encoded Signed; one for a size. */
weft_err store_checkpoint_put(store *s, uint64_t size, wf_span encoded);
typedef weft_err (*store_checkpoint_fn)(void *arg, uint64_t size, wf_span encoded);
/* Those of at least this size, rising. */
weft_err store_checkpoint_each(store *s, uint64_t first, store_checkpoint_fn row, void *arg);
/* The largest. WEFT_ENOTFOUND. */
weft_err store_checkpoint_last(store *s, uint64_t *size, wf_buf *encoded);

/* ---- a copy, while the store is in use (store_copy.c) */

typedef struct store_copy store_copy;

/* Into an empty file that is there already. The store must outlive the copy. WEFT_EIO, WEFT_ENOMEM.
 */
weft_err store_copy_open(store *s, const char *path, store_copy **out, wf_why *why);
/* Copies so many pages more, outside of a transaction; *done: the file is the store of this moment.
 */
weft_err store_copy_step(store_copy *copy, unsigned pages, bool *done, wf_why *why);
void store_copy_close(store_copy *copy); /* NULL is fine */

#endif
