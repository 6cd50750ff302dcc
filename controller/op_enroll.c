/*
 * Enrollment and renewal. docs/protocol.md, "Enrollment".
 *
 * Happy path: the token's signature and times hold, the new key's proof over
 * token and channel holds, the store knows the token and nobody has redeemed
 * it, a leaf is issued; token, certificate and node change in one transaction.
 *
 * Failure modes:
 * - The answer is lost: the same key asks again within WF_REDEEM_AGAIN_MS and
 *   gets the same certificate.
 * - Many redeem at once: calls run one after the other, the first one wins.
 * - A key that another subject has, or that was withdrawn, is never certified.
 */
#include "controller/enroll.h"
#include "controller/follow.h"
#include "controller/issue.h"
#include "controller/node.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PEM_MAX 32768u

/* The chain as repeated field 1 of EnrollResult and RenewResult. */
static weft_err put_chain(wf_buf *out, const pki_chain *chain)
{
    weft_err err = WEFT_OK;

    for (size_t i = 0; err == WEFT_OK && i < pki_chain_count(chain); i++)
        err = call_put_field(out, 1, pki_chain_der(chain, i));
    return err;
}

/* The bundle that the token pins, and all that followed: the enrollee goes from one to the next. */
static weft_err put_bundles(struct call *call)
{
    const struct home *home = &call->c->home;
    uint8_t digest[32];
    size_t i = home->bundle_count;
    weft_err err;

    while (i > 0) {
        pki_record_digest(wf_span_of(home->bundles[i - 1].data, home->bundles[i - 1].len), digest);
        if (memcmp(digest, call->pinned, sizeof digest) == 0)
            break;
        i--;
    }
    if (i == 0 || home->bundle_count - i > WF_BUNDLES_MAX)
        return wf_fail(&call->why, WEFT_ECREDENTIAL,
                       "this token names a trust bundle that is %s; ask for a new token",
                       i == 0 ? "not one of this fabric's" : "too many rotations old");
    err = call_put_field(&call->result, 2,
                         wf_span_of(home->bundles[i - 1].data, home->bundles[i - 1].len));
    for (; err == WEFT_OK && i < home->bundle_count; i++)
        err = call_put_field(&call->result, 10,
                             wf_span_of(home->bundles[i].data, home->bundles[i].len));
    return err;
}

/* RenewResult: what the caller's Hello said that it lacks. */
static weft_err put_newer_bundles(struct call *call)
{
    const struct home *home = &call->c->home;
    weft_err err = WEFT_OK;

    size_t first = home_bundles_after(home, call->bundle_version);

    if (call->bundle_version == 0 || home->bundle_count - first > WF_BUNDLES_MAX)
        return call_put_field(&call->result, 2, pki_trust_bundle(home->trust));
    for (size_t i = first; err == WEFT_OK && i < home->bundle_count; i++)
        err = call_put_field(&call->result, 3,
                             wf_span_of(home->bundles[i].data, home->bundles[i].len));
    return err;
}

/* EnrollResult, field by field: the signed parts are encoded already. */
static weft_err put_enroll_result(struct call *call, const struct store_node *node,
                                  const pki_chain *chain)
{
    const struct home *home = &call->c->home;
    char text[WF_ADDRESS_TEXT];
    const struct member *own;
    pki_pin pin;
    weft_err err = put_chain(&call->result, chain);

    if (err == WEFT_OK)
        err = put_bundles(call);
    if (err == WEFT_OK)
        err = call_put_field(&call->result, 3, wf_span_of(node->id.b, sizeof node->id.b));
    if (err == WEFT_OK)
        err = call_put_field(&call->result, 4, wf_span_of(node->name, strlen(node->name)));
    for (size_t i = 0; err == WEFT_OK && i < home->address_count; i++) {
        wf_address_text(&home->addresses[i], text);
        err = call_put_field(&call->result, 5, wf_span_of(text, strlen(text)));
    }
    pki_chain_pin(home->chain, &pin);
    if (err == WEFT_OK)
        err = call_put_field(&call->result, 6, wf_span_of(pin.b, sizeof pin.b));
    if (err == WEFT_OK && home->has_next)
        err =
            call_put_field(&call->result, 6, wf_span_of(home->next_pin.b, sizeof home->next_pin.b));
    if (err == WEFT_OK)
        err = call_put_members(call, 7, 24 * 1024);
    if (err == WEFT_OK && node->kind == PKI_ROUTER) {
        own = members_get(&call->c->members, &node->id);
        if (own != NULL)
            err = call_put_field(&call->result, 8, wf_span_of(own->record.data, own->record.len));
    }
    /* Deltas without their snapshot are of no use: all that fits, from the chain's start. */
    if (err == WEFT_OK)
        err = call_put_floors(call, 9, 0, 24 * 1024);
    return err;
}

/* Whether this key may be certified for this subject; *before is its row, if it has one. */
static weft_err key_is_free(struct call *call, const pki_pin *pin, const wf_id *subject,
                            struct store_key *before)
{
    struct store_key key;
    weft_err err = store_key_get(call->c->home.store, pin, &key);

    if (err == WEFT_ENOTFOUND)
        return WEFT_OK;
    if (err != WEFT_OK)
        return err;
    if (key.dead)
        return wf_fail(&call->why, WEFT_EREVOKED, "this key was withdrawn; make a new one");
    if (!wf_id_equal(&key.subject, subject))
        return wf_fail(&call->why, WEFT_ECREDENTIAL,
                       "this key is another's already; make a new one");
    *before = key;
    return WEFT_OK;
}

struct outdated {
    struct store_key keys[16];
    size_t count;
};

static weft_err note_key(void *arg, const struct store_key *key)
{
    struct outdated *old = arg;

    if (old->count == sizeof old->keys / sizeof *old->keys)
        return WEFT_EEOF;
    old->keys[old->count++] = *key;
    return WEFT_OK;
}

/* A reissued identity's older keys die when the new certificate is made. */
static weft_err withdraw_older_keys(struct call *call, const wf_id *subject, const pki_pin *kept)
{
    const struct home *home = &call->c->home;
    struct outdated old = {.count = 0};
    struct store_floor floors[16];
    size_t count;
    weft_err err;

again:
    old.count = count = 0;
    err = store_key_each(home->store, subject, call->now, note_key, &old);
    for (size_t i = 0; err == WEFT_OK && i < old.count; i++) {
        if (pki_pin_equal(&old.keys[i].pin, kept))
            continue;
        old.keys[i].dead = true;
        floors[count++] = (struct store_floor){
            .kind = STORE_FLOOR_KEY,
            .key = old.keys[i].pin,
            .cut = true,
            .expires = old.keys[i].not_after + WF_RENEW_GRACE_MS + WF_CLOCK_TOLERANCE_MS,
        };
        err = store_key_put(home->store, &old.keys[i]);
    }
    if (err == WEFT_OK && count > 0)
        err = floors_raise(home, &call->c->turn, floors, count, call->now);
    if (err == WEFT_OK && count > 0 && old.count == sizeof old.keys / sizeof *old.keys)
        goto again; /* there may be more; the dead ones aren't told again */
    return err;
}

static void note_certificate(struct call *call, const struct store_node *node, const pki_pin *pin)
{
    char id[WF_ID_TEXT], key[2 * PKI_PIN_LEN + 1];

    wf_fail(&call->what, WEFT_OK, "%s %s %s key %s", node_word(node->kind), node->name,
            wf_id_text(&node->id, id), wf_hex(pin->b, sizeof pin->b, key));
}

weft_err enroll_certify(struct call *call, struct store_node *node, wf_span spki, uint64_t until,
                        pki_chain **out)
{
    const struct home *home = &call->c->home;
    struct store_key key = {.subject = node->id}, before = {.not_after = 0};
    uint64_t from;
    pki_chain *chain = NULL;
    weft_err err;

    pki_pin_of_spki(spki, &key.pin);
    err = key_is_free(call, &key.pin, &node->id, &before);
    if (err == WEFT_OK)
        err = issue_leaf(home, node, spki, call->now, until, &chain, &call->why);
    if (err != WEFT_OK)
        return err;
    pki_chain_validity(chain, &from, &key.not_after);
    note_certificate(call, node, &key.pin);
    node->enrolled = true;
    node->pin = key.pin;
    node->expires = key.not_after;
    if (before.not_after > key.not_after)
        key.not_after = before.not_after; /* an earlier certificate that ends later */
    err = store_key_put(home->store, &key);
    if (err == WEFT_OK)
        err = follow_certified(home, node->kind, &node->id);
    if (err == WEFT_OK)
        err = store_node_put(home->store, node);
    if (err == WEFT_OK && node->kind == PKI_ROUTER) {
        call_touch(call);
        err = members_sign(home, node, call->now);
        if (err == WEFT_OK)
            err = call_note(call, EFFECT_MEMBERS, node->kind, &node->id);
    }
    if (err != WEFT_OK) {
        pki_chain_free(chain);
        return err;
    }
    *out = chain;
    return WEFT_OK;
}

static weft_err proof_holds(struct call *call, wf_span spki, const char *label,
                            const char *exporter, wf_span subject, ProtobufCBinaryData proof)
{
    uint8_t channel[32];
    weft_err err = call->exporter(call->exporter_arg, exporter, channel);

    if (err == WEFT_OK)
        err = pki_proof_check(spki, label, subject, channel, wf_pb_span(proof));
    if (err == WEFT_ECREDENTIAL)
        wf_fail(&call->why, err,
                "the proof of possession doesn't hold: it was not made with this key for this "
                "channel");
    return err;
}

/* The same key comes again: its answer was lost, or somebody else redeemed the token. */
static weft_err again(struct call *call, const struct store_token *row,
                      const struct store_node *node, wf_span spki)
{
    wf_buf pem;
    pki_chain *chain = NULL;
    pki_pin pin;
    weft_err err;

    pki_pin_of_spki(spki, &pin);
    if (!pki_pin_equal(&pin, &row->pin) || call->now - row->redeemed > WF_REDEEM_AGAIN_MS)
        return wf_fail(&call->why, WEFT_EUSED,
                       "this token was used already; ask an administrator for a new one (weft "
                       "%s reissue %s)",
                       node->kind == PKI_ROUTER ? "router" : "identity", node->name);
    wf_buf_init(&pem, PEM_MAX);
    err = store_token_chain(call->c->home.store, row->hash, &pem);
    if (err == WEFT_OK)
        err = pki_chain_from_pem(wf_span_of(pem.data, pem.len), &chain, &call->why);
    if (err == WEFT_OK)
        err = put_enroll_result(call, node, chain);
    pki_chain_free(chain);
    wf_buf_fini(&pem);
    return err;
}

weft_err enroll_admit(struct enrolling *e, struct store_node *node, uint64_t until)
{
    pki_chain *chain = NULL;
    weft_err err = enroll_certify(e->call, node, e->spki, until, &chain);

    if (err == WEFT_OK)
        err = put_enroll_result(e->call, node, chain);
    if (err == WEFT_OK)
        e->call->c->counters.enrollments++;
    pki_chain_free(chain);
    return err;
}

static weft_err redeem(struct call *call, const struct store_token *row, struct store_node *node,
                       wf_span spki, uint64_t until)
{
    wf_buf pem;
    pki_chain *chain = NULL;
    pki_pin kept;
    weft_err err = WEFT_OK;

    wf_buf_init(&pem, PEM_MAX);
    if (node->enrolled) {
        pki_pin_of_spki(spki, &kept);
        err = withdraw_older_keys(call, &node->id, &kept);
    }
    if (err == WEFT_OK)
        err = enroll_certify(call, node, spki, until, &chain);
    if (err == WEFT_OK)
        err = pki_chain_put_pem(chain, &pem);
    if (err == WEFT_OK)
        err = store_token_redeem(call->c->home.store, row->hash, call->now, &node->pin,
                                 wf_span_of(pem.data, pem.len));
    if (err == WEFT_OK)
        err = put_enroll_result(call, node, chain);
    if (err == WEFT_OK)
        call->c->counters.enrollments++;
    pki_chain_free(chain);
    wf_buf_fini(&pem);
    return err;
}

static weft_err take_addresses(struct call *call, const Weft__Wire__EnrollCall *ask,
                               struct store_node *node)
{
    weft_err err = WEFT_OK;

    if (node->kind != PKI_ROUTER)
        return WEFT_OK;
    if (ask->n_addresses == 0 || ask->n_addresses > WF_ADDRESSES_MAX)
        return wf_fail(&call->why, WEFT_EINVAL,
                       "a router enrolls with 1 to %u addresses where it can be reached",
                       WF_ADDRESSES_MAX);
    node->address_count = ask->n_addresses;
    for (size_t i = 0; err == WEFT_OK && i < ask->n_addresses; i++)
        err = wf_address_parse(ask->addresses[i], 0, &node->addresses[i], &call->why);
    return err;
}

weft_err enroll_node(struct enrolling *e, struct store_token *row, struct store_node *out)
{
    struct call *call = e->call;
    store *s = call->c->home.store;
    uint8_t hash[32];
    weft_err err;

    pki_sha256(e->token.jti.b, sizeof e->token.jti.b, hash);
    err = store_token_get(s, hash, row);
    if (err == WEFT_OK && (row->kind != e->token.kind || !wf_id_equal(&row->subject, &e->token.id)))
        err = WEFT_ENOTFOUND;
    if (err == WEFT_OK)
        err = store_node_get(s, row->kind, &row->subject, out);
    if (err == WEFT_OK && out->enroll != e->token.method)
        err = WEFT_ENOTFOUND;
    if (err == WEFT_ENOTFOUND)
        return wf_fail(
            &call->why, WEFT_ECREDENTIAL,
            "this token is void: a newer one took its place, or what it was for is gone");
    if (err == WEFT_OK && out->disabled)
        return wf_fail(&call->why, WEFT_EREVOKED, "%s '%s' is disabled; ask an administrator",
                       node_word(out->kind), out->name);
    return err;
}

weft_err enroll_once(struct enrolling *e, uint64_t until)
{
    struct store_token row;
    struct store_node node;
    weft_err err = enroll_node(e, &row, &node);

    if (err != WEFT_OK)
        return err;
    if (row.redeemed != 0)
        return again(e->call, &row, &node, e->spki);
    err = take_addresses(e->call, e->ask, &node);
    return err == WEFT_OK ? redeem(e->call, &row, &node, e->spki, until) : err;
}

weft_err enroll_by_ott(struct enrolling *e)
{
    return enroll_once(e, 0);
}

/* ---- the ways to enroll: what isn't here enrolls nobody */

static const struct way {
    enum pki_enroll_method method;
    const char *what;
    bool foreign, oidc; /* must be presented, and else must not */
    weft_err (*redeem)(struct enrolling *e);
} ways[] = {
    {PKI_ENROLL_OTT, "a one-time token", false, false, enroll_by_ott},
    {PKI_ENROLL_OTTCA, "a one-time token and a certificate of its authority", true, false,
     enroll_by_ottca},
    {PKI_ENROLL_CA, "a join token and a certificate of its authority", true, false, enroll_by_ca},
    {PKI_ENROLL_OIDC, "a join token and a token of its issuer", false, true, enroll_by_oidc},
};

static const struct way *find_way(enum pki_enroll_method method)
{
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (ways[i].method == method)
            return &ways[i];
    return NULL;
}

static weft_err enroll(struct call *call, const Weft__Wire__EnrollCall *ask, wf_span spki)
{
    const struct home *home = &call->c->home;
    struct enrolling e = {.call = call, .ask = ask, .spki = spki};
    size_t token_len = strlen(ask->token);
    const struct way *way;
    wf_span keys[WF_BUNDLE_KEYS_MAX];
    size_t key_count = pki_trust_enrollment_keys(home->trust, keys, WF_BUNDLE_KEYS_MAX);
    weft_err err;

    err = pki_token_verify(ask->token, token_len, keys, key_count, call->now, &e.token, &call->why);
    if (err != WEFT_OK)
        return err;
    call->pinned = e.token.bundle;
    way = find_way(e.token.method);
    if (way == NULL || strcmp(e.token.issuer, home->domain) != 0)
        return wf_fail(&call->why, WEFT_ECREDENTIAL,
                       "this token is for another fabric or another way to enroll");
    if ((ask->n_foreign_chain > 0 || ask->foreign_proof.len > 0) != way->foreign ||
        (ask->oidc_token[0] != '\0') != way->oidc)
        return wf_fail(&call->why, WEFT_ECREDENTIAL,
                       "this token enrolls with %s, and with nothing else", way->what);
    err = proof_holds(call, spki, PKI_LABEL_ENROLL, "EXPORTER-weft-enroll",
                      wf_span_of(ask->token, token_len), ask->proof);
    return err == WEFT_OK ? way->redeem(&e) : err;
}

weft_err op_enroll(struct call *call)
{
    Weft__Wire__EnrollCall *ask = NULL;
    wf_buf spki;
    weft_err err =
        wf_enroll_call_decode(call->arguments.data, call->arguments.len, &ask, &call->why);

    if (err != WEFT_OK)
        return err;
    wf_buf_init(&spki, WF_CSR_MAX);
    err = pki_csr_open(wf_pb_span(ask->csr), &spki, &call->why);
    if (err == WEFT_OK)
        err = enroll(call, ask, wf_span_of(spki.data, spki.len));
    wf_buf_fini(&spki);
    wf_enroll_call_free(ask);
    return err;
}

/* ---- renewal */

/* How many keys of the subject live, this one aside. */
struct living {
    pki_pin but;
    size_t count;
};

static weft_err count_key(void *arg, const struct store_key *key)
{
    struct living *living = arg;

    living->count += !pki_pin_equal(&key->pin, &living->but);
    return WEFT_OK;
}

/* The new key's own request and proof; its SPKI is appended. */
static weft_err open_new_key(struct call *call, const Weft__Wire__RenewCall *ask,
                             const struct store_node *node, wf_buf *spki)
{
    struct living living = {.count = 0};
    weft_err err = pki_csr_open(wf_pb_span(ask->new_csr), spki, &call->why);

    if (err == WEFT_OK)
        err = proof_holds(call, wf_span_of(spki->data, spki->len), PKI_LABEL_RENEW,
                          "EXPORTER-weft-renew", wf_pb_span(ask->new_csr), ask->new_proof);
    if (err != WEFT_OK)
        return err;
    pki_pin_of_spki(wf_span_of(spki->data, spki->len), &living.but);
    err = store_key_each(call->c->home.store, &node->id, call->now, count_key, &living);
    if (err == WEFT_OK && living.count >= WF_PINS_MAX)
        return wf_fail(&call->why, WEFT_ELIMIT,
                       "%zu keys of this %s live already; retire the older ones first (weft renew "
                       "--retire)",
                       living.count, node_word(node->kind));
    return err;
}

static weft_err renew(struct call *call, const Weft__Wire__RenewCall *ask, wf_span spki)
{
    const struct home *home = &call->c->home;
    const struct pki_subject *who = call->subject;
    struct store_node node;
    pki_chain *chain = NULL;
    uint64_t until = 0;
    bool lives = false;
    wf_buf fresh;
    pki_pin pin;
    weft_err err;

    pki_pin_of_spki(spki, &pin);
    if (!pki_pin_equal(&pin, &who->pin))
        return wf_fail(&call->why, WEFT_EINVAL,
                       "the request is for another key than the caller's; a new key comes as "
                       "new_csr");
    err = proof_holds(call, spki, PKI_LABEL_RENEW, "EXPORTER-weft-renew", wf_pb_span(ask->csr),
                      ask->proof);
    if (err == WEFT_OK)
        err = store_node_get(home->store, who->kind, &who->id, &node);
    if (err == WEFT_OK)
        err = node_key_lives(home->store, &node, &pin, &lives);
    if (err != WEFT_OK)
        return err;
    if (!lives)
        return wf_fail(&call->why, WEFT_EREVOKED,
                       "another key took this one's place; enroll again with a new token");
    wf_buf_init(&fresh, WF_CSR_MAX);
    if (ask->new_csr.len > 0) {
        err = open_new_key(call, ask, &node, &fresh);
        spki = wf_span_of(fresh.data, fresh.len);
    }
    if (err == WEFT_OK)
        err = enroll_renewal(call, ask, &node, &until);
    if (err == WEFT_OK)
        err = enroll_certify(call, &node, spki, until, &chain);
    if (err == WEFT_OK)
        err = put_chain(&call->result, chain);
    if (err == WEFT_OK)
        err = put_newer_bundles(call);
    if (err == WEFT_OK)
        call->c->counters.renewals++;
    pki_chain_free(chain);
    wf_buf_fini(&fresh);
    return err;
}

/* The caller's other keys are never certified or believed again. */
weft_err op_retire(struct call *call)
{
    struct store_node node;
    bool lives = false;
    weft_err err;

    if (call->arguments.len != 0 &&
        !wf_span_equal(call->arguments, wf_span_of("{}", 2))) /* from a library that speaks JSON */
        return wf_fail(&call->why, WEFT_EPROTO, "retire takes no arguments");
    err = store_node_get(call->c->home.store, call->subject->kind, &call->subject->id, &node);
    if (err == WEFT_OK)
        err = node_key_lives(call->c->home.store, &node, &call->subject->pin, &lives);
    if (err == WEFT_OK && (!lives || !pki_pin_equal(&node.pin, &call->subject->pin)))
        err = wf_fail(&call->why, WEFT_EREFUSED,
                      "only the newest key retires the others; renew the identity file first");
    if (err == WEFT_OK)
        err = withdraw_older_keys(call, &node.id, &node.pin);
    if (err == WEFT_OK && node.kind == PKI_ROUTER) {
        call_touch(call);
        err = members_sign(&call->c->home, &node, call->now);
        if (err == WEFT_OK)
            err = call_note(call, EFFECT_MEMBERS, node.kind, &node.id);
    }
    if (err == WEFT_OK)
        err = wf_buf_put_text(&call->result, "{}");
    return err;
}

weft_err op_renew(struct call *call)
{
    Weft__Wire__RenewCall *ask = NULL;
    wf_buf spki;
    weft_err err =
        wf_renew_call_decode(call->arguments.data, call->arguments.len, &ask, &call->why);

    if (err != WEFT_OK)
        return err;
    assert(call->subject != NULL);
    wf_buf_init(&spki, WF_CSR_MAX);
    err = pki_csr_open(wf_pb_span(ask->csr), &spki, &call->why);
    if (err == WEFT_OK)
        err = renew(call, ask, wf_span_of(spki.data, spki.len));
    wf_buf_fini(&spki);
    wf_renew_call_free(ask);
    return err;
}
