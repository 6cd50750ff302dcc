/*
 * One map from what a floor names to how high it stands. The key is a letter
 * for the kind of floor and then the ids, so no two kinds ever meet.
 *
 * What may change an entry: an epoch that is at least the known one. Equal is
 * allowed, because that is how `enable` takes a cut away and leaves the epoch.
 */
#include "pki/floors.h"
#include "proto/base/map.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FLOORS_MAX 1000000u
#define PRUNE_EVERY_MS 600000u /* a walk over all entries, at most this often */

enum floor_kind { FLOOR_IDENTITY = 'i', FLOOR_GRANT = 'g', FLOOR_KEY = 'k', FLOOR_ROUTER = 'r' };

struct floor_key {
    uint8_t b[1 + 2 * WF_ID_LEN + 1];
    size_t len;
};
_Static_assert(sizeof(pki_pin) <= 2 * WF_ID_LEN, "a pin fits a floor's key");

struct floor {
    struct floor_key key;
    bool cut;
    uint64_t epoch;
    uint64_t expires; /* wall ms; 0: never */
};

struct pki_floors {
    wf_map *map; /* owned, and the entries in it */
    uint64_t version;
    uint8_t digest[32];
    uint64_t earliest; /* no entry ends before this; UINT64_MAX: none ends */
    uint64_t pruned;   /* when expired entries were last looked for */
};

static void key_start(struct floor_key *key, enum floor_kind kind)
{
    key->b[0] = (uint8_t)kind;
    key->len = 1;
}

static void key_add(struct floor_key *key, const void *data, size_t len)
{
    assert(len <= sizeof key->b - key->len);
    memcpy(key->b + key->len, data, len);
    key->len += len;
}

static struct floor_key key_of_id(enum floor_kind kind, const wf_id *id)
{
    struct floor_key key;
    key_start(&key, kind);
    key_add(&key, id->b, sizeof id->b);
    return key;
}

static struct floor_key key_of_pin(const pki_pin *pin)
{
    struct floor_key key;
    key_start(&key, FLOOR_KEY);
    key_add(&key, pin->b, sizeof pin->b);
    return key;
}

static struct floor_key key_of_grant(const wf_id *identity, const wf_id *service,
                                     Weft__Wire__Role role)
{
    uint8_t r = (uint8_t)role;
    struct floor_key key = key_of_id(FLOOR_GRANT, identity);
    key_add(&key, service->b, sizeof service->b);
    key_add(&key, &r, 1);
    return key;
}

/* Names exactly one thing, in full, or the set is not one of ours. */
static bool key_from_wire(const Weft__Wire__Floor *f, struct floor_key *out)
{
    bool identity = f->identity.len > 0, key = f->key.len > 0, router = f->router.len > 0;
    bool specific = f->service.len > 0 || f->role != WEFT__WIRE__ROLE__ROLE_NONE;
    if (identity + key + router != 1 || (specific && !identity))
        return false;
    if (key) {
        pki_pin pin;
        if (f->key.len != sizeof pin.b)
            return false;
        memcpy(pin.b, f->key.data, sizeof pin.b);
        *out = key_of_pin(&pin);
        return true;
    }
    ProtobufCBinaryData named = identity ? f->identity : f->router;
    wf_id id, service;
    if (!wf_id_from_bytes(named.data, named.len, &id))
        return false;
    if (!specific) {
        *out = key_of_id(identity ? FLOOR_IDENTITY : FLOOR_ROUTER, &id);
        return true;
    }
    if (!wf_id_from_bytes(f->service.data, f->service.len, &service) ||
        (f->role != WEFT__WIRE__ROLE__ROLE_DIAL && f->role != WEFT__WIRE__ROLE__ROLE_BIND))
        return false;
    *out = key_of_grant(&id, &service, f->role);
    return true;
}

pki_floors *pki_floors_new(void)
{
    pki_floors *floors = calloc(1, sizeof *floors);
    if (floors == NULL)
        return NULL;
    floors->map = wf_map_new(FLOORS_MAX);
    if (floors->map == NULL) {
        free(floors);
        return NULL;
    }
    floors->earliest = UINT64_MAX;
    return floors;
}

static void map_drop(wf_map *map)
{
    size_t cursor = 0;
    struct floor *f;
    while ((f = wf_map_next(map, &cursor)) != NULL)
        free(f);
    wf_map_free(map);
}

void pki_floors_free(pki_floors *floors)
{
    if (floors == NULL)
        return;
    map_drop(floors->map);
    free(floors);
}

uint64_t pki_floors_version(const pki_floors *floors)
{
    return floors->version;
}

void pki_floors_digest(const pki_floors *floors, uint8_t out[32])
{
    memcpy(out, floors->digest, sizeof floors->digest);
}

static bool is_over(const struct floor *f, uint64_t now)
{
    return f->expires != 0 && f->expires <= now;
}

static void prune(pki_floors *floors, uint64_t now)
{
    size_t cursor = 0;
    struct floor *f;
    floors->earliest = UINT64_MAX;
    floors->pruned = now;
    while ((f = wf_map_next(floors->map, &cursor)) != NULL) {
        if (is_over(f, now)) {
            wf_map_remove(floors->map, f->key.b, f->key.len);
            free(f);
        } else if (f->expires != 0 && f->expires < floors->earliest) {
            floors->earliest = f->expires;
        }
    }
}

static uint64_t later(uint64_t a, uint64_t b) /* of two ends, of which 0 is never */
{
    return a == 0 || b == 0 ? 0 : a > b ? a : b;
}

/* A floor that is over counts as forgotten, whether or not it was pruned. */
static weft_err map_raise(wf_map *map, const struct floor *in, uint64_t now)
{
    struct floor *f = wf_map_find(map, in->key.b, in->key.len);
    if (f != NULL && is_over(f, now)) {
        *f = *in;
        return WEFT_OK;
    }
    if (f != NULL) {
        if (in->epoch >= f->epoch) {
            f->epoch = in->epoch;
            f->cut = in->cut;
            f->expires = later(f->expires, in->expires);
        }
        return WEFT_OK;
    }
    f = malloc(sizeof *f);
    if (f == NULL)
        return WEFT_ENOMEM;
    *f = *in;
    weft_err err = wf_map_add(map, f->key.b, f->key.len, f);
    if (err != WEFT_OK)
        free(f);
    return err;
}

static bool is_well_formed(const Weft__Wire__FloorsBody *body)
{
    struct floor_key key;
    for (size_t i = 0; i < body->n_floors; i++)
        if (!key_from_wire(body->floors[i], &key))
            return false;
    return true;
}

/* Raises target by what is in the body; known is what earlier sets said of the same things. */
static weft_err raise_all(wf_map *target, const wf_map *known, const Weft__Wire__FloorsBody *body,
                          uint64_t now, uint64_t *earliest)
{
    for (size_t i = 0; i < body->n_floors; i++) {
        const Weft__Wire__Floor *w = body->floors[i];
        struct floor in = {.cut = w->cut, .epoch = w->epoch, .expires = w->expires};
        bool named = key_from_wire(w, &in.key);
        assert(named);
        (void)named;
        if (in.key.b[0] == FLOOR_KEY) /* permanent; its presence is the cut */
            in.expires = 0;
        const struct floor *old = wf_map_find(known, in.key.b, in.key.len);
        if (old != NULL && is_over(old, now))
            old = NULL;
        if (old == NULL && is_over(&in, now))
            continue;
        weft_err err = WEFT_OK;
        if (old != NULL && wf_map_find(target, in.key.b, in.key.len) == NULL)
            err = map_raise(target, old, now);
        if (err == WEFT_OK)
            err = map_raise(target, &in, now);
        if (err != WEFT_OK)
            return err;
        const struct floor *f = wf_map_find(target, in.key.b, in.key.len);
        if (f->expires != 0 && f->expires < *earliest)
            *earliest = f->expires;
    }
    return WEFT_OK;
}

/* The whole set anew, built beside the old one, so that failing leaves the old one as it was. */
static weft_err apply_snapshot(pki_floors *floors, const Weft__Wire__FloorsBody *body, uint64_t now)
{
    uint64_t earliest = UINT64_MAX;
    wf_map *fresh = wf_map_new(FLOORS_MAX);
    if (fresh == NULL)
        return WEFT_ENOMEM;
    weft_err err = raise_all(fresh, floors->map, body, now, &earliest);
    if (err != WEFT_OK) {
        map_drop(fresh);
        return err;
    }
    map_drop(floors->map);
    floors->map = fresh;
    floors->earliest = earliest;
    return WEFT_OK;
}

static bool follows(const pki_floors *floors, const Weft__Wire__FloorsBody *body)
{
    if (body->version != floors->version + 1)
        return false;
    if (floors->version == 0 && body->previous.len == 0)
        return true; /* the first of all has no predecessor */
    return body->previous.len == sizeof floors->digest &&
           memcmp(body->previous.data, floors->digest, sizeof floors->digest) == 0;
}

weft_err pki_floors_apply(pki_floors *floors, const Weft__Wire__FloorsBody *body,
                          const uint8_t digest[32], uint64_t now, bool *changed)
{
    *changed = false;
    if (body->version <= floors->version)
        return WEFT_OK;
    if (!is_well_formed(body))
        return WEFT_EPROTO;

    weft_err err = WEFT_OK;
    if (body->snapshot) {
        err = apply_snapshot(floors, body, now);
    } else if (!follows(floors, body)) {
        err = WEFT_ECONFLICT;
    } else {
        bool full = wf_map_count(floors->map) + body->n_floors > FLOORS_MAX;
        if (now >= floors->earliest &&
            (full || now < floors->pruned || now - floors->pruned >= PRUNE_EVERY_MS))
            prune(floors, now);
        /* Failing half-way leaves floors raised and the version behind: the same delta comes
         * again and finds them so. */
        err = raise_all(floors->map, floors->map, body, now, &floors->earliest);
    }
    if (err != WEFT_OK)
        return err;
    floors->version = body->version;
    memcpy(floors->digest, digest, sizeof floors->digest);
    *changed = true;
    return WEFT_OK;
}

static const struct floor *find(const pki_floors *floors, const struct floor_key *key)
{
    return wf_map_find(floors->map, key->b, key->len);
}

bool pki_floors_is_cut(const pki_floors *floors, enum pki_kind kind, const wf_id *id,
                       const pki_pin *pin)
{
    if (pin != NULL) {
        struct floor_key key = key_of_pin(pin);
        if (find(floors, &key) != NULL)
            return true;
    }
    if (id == NULL || kind == PKI_CONTROLLER)
        return false;
    struct floor_key key = key_of_id(kind == PKI_ROUTER ? FLOOR_ROUTER : FLOOR_IDENTITY, id);
    const struct floor *f = find(floors, &key);
    return f != NULL && f->cut;
}

uint64_t pki_floors_for_grant(const pki_floors *floors, const wf_id *identity, const wf_id *service,
                              Weft__Wire__Role role)
{
    struct floor_key whole = key_of_id(FLOOR_IDENTITY, identity);
    struct floor_key one = key_of_grant(identity, service, role);
    const struct floor *a = find(floors, &whole), *b = find(floors, &one);
    uint64_t floor = a == NULL ? 0 : a->epoch;
    return b != NULL && b->epoch > floor ? b->epoch : floor;
}

uint64_t pki_floors_for_router(const pki_floors *floors, const wf_id *router)
{
    struct floor_key key = key_of_id(FLOOR_ROUTER, router);
    const struct floor *f = find(floors, &key);
    return f == NULL ? 0 : f->epoch;
}
