#include "controller/restore.h"
#include "controller/floors.h"
#include <string.h>

static weft_err is_known(const struct home *home, const Weft__Wire__Signed *set, uint64_t version,
                         bool *known)
{
    Weft__Wire__Signed bare = WEFT__WIRE__SIGNED__INIT;
    uint8_t theirs[32], ours[32];
    uint64_t head;
    wf_buf encoded;
    weft_err err = floors_version(home, &head);

    *known = false;
    if (err != WEFT_OK || version > head)
        return err;
    err = store_record_digest(home->store, version, ours);
    if (err == WEFT_ENOTFOUND) { /* older than our chain's start */
        *known = true;
        return WEFT_OK;
    }
    if (err != WEFT_OK)
        return err;
    /* Of the three fields alone: a field more that a router adds makes no other record of it. */
    bare.body = set->body;
    bare.signature = set->signature;
    bare.signer = set->signer;
    wf_buf_init(&encoded, WF_FLOORS_MAX + 1024);
    err = wf_signed_encode(&bare, &encoded);
    if (err == WEFT_OK) {
        pki_record_digest(wf_span_of(encoded.data, encoded.len), theirs);
        *known = memcmp(theirs, ours, sizeof ours) == 0;
    }
    wf_buf_fini(&encoded);
    return err;
}

static weft_err learn_node(const struct home *home, enum pki_kind kind, const wf_id *id, bool cut)
{
    struct store_node node;
    weft_err err = store_node_get(home->store, kind, id, &node);

    if (err != WEFT_OK || node.disabled == cut)
        return err == WEFT_ENOTFOUND ? WEFT_OK : err;
    node.disabled = cut;
    return store_node_put(home->store, &node);
}

static weft_err learn_key(const struct home *home, const pki_pin *pin)
{
    struct store_key key = {.not_after = 0};
    weft_err err = store_key_get(home->store, pin, &key);

    if (err != WEFT_OK && err != WEFT_ENOTFOUND)
        return err;
    key.pin = *pin;
    key.dead = true;
    return store_key_put(home->store, &key);
}

/* Decoding has checked that it names exactly one thing. */
static struct store_floor floor_of(const Weft__Wire__Floor *wire)
{
    struct store_floor floor = {.epoch = wire->epoch, .cut = wire->cut, .expires = wire->expires};

    if (wire->key.len > 0) {
        floor.kind = STORE_FLOOR_KEY;
        memcpy(floor.key.b, wire->key.data, sizeof floor.key.b);
    } else if (wire->router.len > 0) {
        floor.kind = STORE_FLOOR_ROUTER;
        floor.router = wf_pb_get_id(wire->router);
    } else if (wire->service.len > 0) {
        floor.kind = STORE_FLOOR_GRANT;
        floor.identity = wf_pb_get_id(wire->identity);
        floor.service = wf_pb_get_id(wire->service);
        floor.role = (enum policy_type)wire->role;
    } else {
        floor.kind = STORE_FLOOR_IDENTITY;
        floor.identity = wf_pb_get_id(wire->identity);
    }
    return floor;
}

/* A floor only rises; on the same height only the cut may go away. */
static weft_err is_news(const struct home *home, const struct store_floor *floor, bool *news)
{
    struct store_floor known = *floor;
    weft_err err = store_floor_get(home->store, &known);

    *news = err == WEFT_ENOTFOUND || floor->epoch > known.epoch ||
            (floor->epoch == known.epoch && known.cut && !floor->cut);
    return err == WEFT_ENOTFOUND ? WEFT_OK : err;
}

static weft_err learn_floor(const struct home *home, const Weft__Wire__Floor *wire)
{
    struct store_floor floor = floor_of(wire);
    const struct store_issued issued = {
        .identity = floor.identity, .service = floor.service, .role = floor.role};
    bool news = false;
    weft_err err = is_news(home, &floor, &news);

    if (err != WEFT_OK || !news)
        return err;
    switch (floor.kind) {
    case STORE_FLOOR_KEY:
        err = learn_key(home, &floor.key);
        break;
    case STORE_FLOOR_ROUTER:
        err = learn_node(home, PKI_ROUTER, &floor.router, floor.cut);
        break;
    case STORE_FLOOR_GRANT:
        err = store_issued_remove(home->store, &issued);
        break;
    case STORE_FLOOR_IDENTITY:
        err = learn_node(home, PKI_IDENTITY, &floor.identity, floor.cut);
        if (err == WEFT_OK)
            err = store_issued_forget(home->store, &floor.identity);
        break;
    }
    /* What is signed from now on is above it. */
    if (err == WEFT_OK)
        (void)store_next_epoch(home->store, floor.epoch);
    return err == WEFT_OK ? store_floor_put(home->store, &floor) : err;
}

static weft_err learn_set(const struct home *home, const Weft__Wire__Signed *set, uint64_t *highest,
                          size_t *learned, wf_why *why)
{
    Weft__Wire__FloorsBody *body = NULL;
    wf_span keys[WF_BUNDLE_KEYS_MAX];
    size_t count = pki_trust_policy_keys(home->trust, keys, WF_BUNDLE_KEYS_MAX);
    bool known = false;
    weft_err err = pki_record_verify(set, PKI_LABEL_FLOORS, keys, count, why);

    if (err == WEFT_OK)
        err = wf_floors_body_decode(set->body.data, set->body.len, &body, why);
    if (err == WEFT_OK && strcmp(body->trust_domain, home->domain) != 0)
        err = wf_fail(why, WEFT_ECREDENTIAL, "floors of another trust domain");
    if (err == WEFT_OK)
        err = is_known(home, set, body->version, &known);
    if (err == WEFT_OK && !known) {
        if (body->version > *highest)
            *highest = body->version;
        *learned += body->n_floors;
        for (size_t i = 0; err == WEFT_OK && i < body->n_floors; i++)
            err = learn_floor(home, body->floors[i]);
    }
    wf_floors_body_free(body);
    return err;
}

weft_err restore_learn(const struct home *home, struct turn *turn, Weft__Wire__Signed *const *sets,
                       size_t count, uint64_t now, size_t *learned, wf_why *why)
{
    uint64_t highest = 0;
    weft_err err = WEFT_OK;

    *learned = 0;
    for (size_t i = 0; err == WEFT_OK && i < count; i++)
        err = learn_set(home, sets[i], &highest, learned, why);
    return err == WEFT_OK && highest > 0 ? floors_snapshot(home, turn, highest, now) : err;
}
