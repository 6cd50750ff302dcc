/*
 * A controller without a network: a throw-away home, opened, and calls put
 * straight to the operation table as any class of caller. What can't fail in
 * a test ends it with the place.
 */
#ifndef TESTS_CONTROLLER_DESK_H
#define TESTS_CONTROLLER_DESK_H

#include "controller/init.h"
#include "controller/operation.h"
#include "tests/helpers/test.h"
#include <jansson.h>

/* "/tmp/weft-test-XXXXXX/home" with a fresh fabric in it. */
struct folder {
    char top[64], home[80], admin[96];
};
void folder_make(struct folder *folder);
void folder_remove(struct folder *folder); /* with everything in it */

struct desk {
    struct folder folder;
    struct controller c;
    struct pki_subject admin;
    uint64_t now;        /* of the next call, wall ms; 0: the clock's */
    wf_buf result;       /* of the last call */
    wf_why why;          /* of the last call */
    uint8_t channel[32]; /* what the exporter says */
    char log[8192];      /* the lines logged since desk_hush */
};
void desk_open(struct desk *d);
void desk_close(struct desk *d);
void desk_hush(struct desk *d); /* empties log */

/* A CMocka setup and its teardown, of the desk named before; it is borrowed from then on. */
void desk_use(struct desk *d);
int open_desk(void **state);
int close_desk(void **state);

/* Any caller. Ends the turn. The result and the reason stay in d. */
weft_err desk_call(struct desk *d, unsigned who, const struct pki_subject *subject,
                   const char *operation, wf_span arguments);
/* As the administrator; json is a format for printf. */
weft_err desk_ask(struct desk *d, const char *operation, const char *json, ...)
    __attribute__((format(printf, 3, 4)));
/* The last result as JSON, the caller's. */
json_t *desk_json(struct desk *d);
/* A text under a key, or key/key, of the last result; valid until the next call. NULL: absent. */
const char *desk_text(struct desk *d, const char *path);
/* Must succeed. */
#define desk_do(d, ...) assert_int_equal(desk_ask(d, __VA_ARGS__), WEFT_OK)

/* A node that enrolled. */
struct node {
    pki_key *key;
    pki_chain *chain;
    struct pki_subject subject;
};
/* Redeems the token with node->key (made if NULL); fills chain and subject. */
weft_err desk_enroll(struct desk *d, const char *token, struct node *node);
/* Creates an identity with these roles (a JSON list) and enrolls it. */
void desk_identity(struct desk *d, const char *name, const char *roles, struct node *node);
void node_fini(struct node *node);
/* Its grants; services: names, NULL ends; the caller's to free. */
weft_err desk_grants(struct desk *d, const struct node *node, const char *const *services,
                     uint64_t carry, Weft__Wire__GrantsResult **out);
/* Whether this grant is good for the node now, by the controller's own trust. */
weft_err desk_check(struct desk *d, const struct node *node, const Weft__Wire__Signed *grant,
                    enum policy_type type);

#endif
