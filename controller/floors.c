#include "controller/floors.h"
#include "controller/issue.h"
#include "proto/base/clock.h"
#include "proto/base/text.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void name_floor(const struct store_floor *floor, wf_why *out)
{
    char identity[WF_ID_TEXT], service[WF_ID_TEXT], key[2 * PKI_PIN_LEN + 1];

    switch (floor->kind) {
    case STORE_FLOOR_GRANT:
        wf_fail(out, WEFT_OK, "identity %s %s service %s", wf_id_text(&floor->identity, identity),
                floor->role == POLICY_BIND ? "bind" : "dial", wf_id_text(&floor->service, service));
        return;
    case STORE_FLOOR_IDENTITY:
        wf_fail(out, WEFT_OK, "identity %s%s", wf_id_text(&floor->identity, identity),
                floor->cut ? " cut" : "");
        return;
    case STORE_FLOOR_KEY:
        wf_fail(out, WEFT_OK, "key %s", wf_hex(floor->key.b, sizeof floor->key.b, key));
        return;
    case STORE_FLOOR_ROUTER:
        wf_fail(out, WEFT_OK, "router %s%s", wf_id_text(&floor->router, identity),
                floor->cut ? " cut" : "");
        return;
    }
}

/* The entry names the first one; its digest is the record's, which holds them all. */
static weft_err note(const struct home *home, const struct store_record *record,
                     const struct store_floor *floors, size_t count, uint64_t now)
{
    wf_why what = {""};
    const struct audit_event event = {.kind = AUDIT_FLOORS,
                                      .time = now,
                                      .as = "controller",
                                      .what = what.text,
                                      .count = count,
                                      .version = record->version,
                                      .digest = record->digest};

    if (count > 0)
        name_floor(&floors[0], &what);
    return audit_append(home, &event);
}

/* Signs the next record of the chain (above this version), stores it, notes it for all nodes. */
static weft_err mint(const struct home *home, struct turn *turn, const struct store_floor *floors,
                     size_t count, bool snapshot, uint64_t above, uint64_t now)
{
    struct store_record head = {.version = 0}, next;
    struct effect *effect;
    wf_buf signed_record;
    weft_err err = store_record_head(home->store, &head);

    if (err != WEFT_OK && err != WEFT_ENOTFOUND)
        return err;
    assert(snapshot || err == WEFT_OK);
    if (above < head.version)
        above = head.version;
    assert(snapshot || above == head.version);
    next = (struct store_record){.version = above + 1, .snapshot = snapshot};
    wf_buf_init(&signed_record, WF_FLOORS_MAX + 256);
    err = issue_floors(home, next.version, snapshot ? NULL : head.digest, floors, count,
                       &signed_record);
    if (err != WEFT_OK)
        goto out;
    pki_record_digest(wf_span_of(signed_record.data, signed_record.len), next.digest);
    err = store_record_add(home->store, &next, wf_span_of(signed_record.data, signed_record.len));
    if (err == WEFT_OK)
        err = note(home, &next, floors, count, now);
    if (err != WEFT_OK || turn == NULL)
        goto out;
    effect = turn_add(turn, EFFECT_FLOORS, signed_record.max);
    if (effect == NULL) {
        err = WEFT_ENOMEM;
        goto out;
    }
    effect->version = next.version;
    err = wf_buf_put(&effect->bytes, signed_record.data, signed_record.len);
out:
    wf_buf_fini(&signed_record);
    return err;
}

weft_err floors_begin(const struct home *home)
{
    return mint(home, NULL, NULL, 0, true, 0, wf_now_wall_ms());
}

struct gathered {
    struct store_floor *items; /* owned */
    size_t count, cap, max;
};

static weft_err gather(void *arg, const struct store_floor *row)
{
    struct gathered *g = arg;

    if (g->count == g->max)
        return WEFT_ELIMIT;
    if (g->count == g->cap) {
        size_t cap = g->cap == 0 ? 64 : g->cap * 2;
        struct store_floor *bigger = realloc(g->items, cap * sizeof *bigger);

        if (bigger == NULL)
            return WEFT_ENOMEM;
        g->items = bigger;
        g->cap = cap;
    }
    g->items[g->count++] = *row;
    return WEFT_OK;
}

weft_err floors_snapshot(const struct home *home, struct turn *turn, uint64_t above, uint64_t now)
{
    struct gathered g = {.max = SIZE_MAX};
    struct store_record head = {.version = 0};
    weft_err err = store_record_head(home->store, &head);

    if (err == WEFT_ENOTFOUND)
        err = WEFT_OK;
    if (err == WEFT_OK)
        err = store_floor_sweep(home->store, now);
    if (err == WEFT_OK)
        err = store_floor_each(home->store, now, gather, &g);
    for (size_t i = 0; err == WEFT_OK && (i == 0 || i < g.count); i += WF_FLOOR_COUNT_MAX) {
        size_t some = g.count - i < WF_FLOOR_COUNT_MAX ? g.count - i : WF_FLOOR_COUNT_MAX;

        err = mint(home, turn, g.count > 0 ? g.items + i : NULL, some, i == 0, i == 0 ? above : 0,
                   now);
    }
    if (err == WEFT_OK)
        err = store_record_drop(home->store, head.version + 1);
    free(g.items);
    return err;
}

/* A long chain gets a new start, if one snapshot can hold all that lives. */
static weft_err rebase(const struct home *home, struct turn *turn, uint64_t now)
{
    struct store_record head;
    uint64_t base, living;
    weft_err err = store_record_head(home->store, &head);

    if (err == WEFT_OK)
        err = store_record_base(home->store, &base);
    if (err != WEFT_OK || head.version - base < FLOORS_CHAIN_MAX)
        return err;
    err = store_floor_sweep(home->store, now);
    if (err == WEFT_OK)
        err = store_floor_count(home->store, &living);
    /* In two pieces, nodes would lack the second for a moment: rather let the chain grow. */
    if (err != WEFT_OK || living > WF_FLOOR_COUNT_MAX)
        return err;
    return floors_snapshot(home, turn, head.version, now);
}

weft_err floors_raise(const struct home *home, struct turn *turn, struct store_floor *floors,
                      size_t count, uint64_t now)
{
    uint64_t epoch = store_next_epoch(home->store, now);
    weft_err err = WEFT_OK;

    for (size_t i = 0; err == WEFT_OK && i < count; i++) {
        if (floors[i].epoch == 0)
            floors[i].epoch = epoch;
        err = store_floor_put(home->store, &floors[i]);
    }
    for (size_t i = 0; err == WEFT_OK && i < count; i += WF_FLOOR_COUNT_MAX) {
        size_t some = count - i < WF_FLOOR_COUNT_MAX ? count - i : WF_FLOOR_COUNT_MAX;

        err = mint(home, turn, floors + i, some, false, 0, now);
    }
    return err == WEFT_OK && count > 0 ? rebase(home, turn, now) : err;
}

/* ---- withdrawing */

struct issued_list {
    struct store_issued *items; /* owned */
    size_t count, cap;
};

struct withdrawing {
    const struct home *home;
    struct catalog *catalog;
    bool all;                  /* whatever policy says */
    struct gathered floors;    /* in order of identity, service, role: each once */
    struct issued_list moving; /* rows that stand by another policy from now on */
    struct store_issued last;  /* that was noted */
    struct withdrawn *withdrawn;
};

static weft_err note_withdrawn(struct withdrawing *w, const struct store_issued *row)
{
    const struct catalog_service *service;
    struct withdrawn_item *item;
    struct store_node node;
    size_t at = w->withdrawn->count++;
    weft_err err;

    if (w->withdrawn->items == NULL || at >= WITHDRAWN_ITEMS_MAX)
        return WEFT_OK;
    item = &w->withdrawn->items[at];
    err = store_node_get(w->home->store, PKI_IDENTITY, &row->identity, &node);
    if (err != WEFT_OK)
        return err;
    service = catalog_get(w->catalog, &row->service);
    memcpy(item->identity, node.name, sizeof item->identity);
    if (service != NULL)
        memcpy(item->service, service->name, sizeof item->service);
    item->type = row->role;
    return WEFT_OK;
}

static weft_err fall(struct withdrawing *w, const struct store_issued *row)
{
    struct store_floor floor = {.kind = STORE_FLOOR_GRANT,
                                .identity = row->identity,
                                .service = row->service,
                                .role = row->role,
                                .expires = row->expiry + WF_SESSION_OUTLIVES_MS};
    struct store_floor *last = w->floors.count > 0 ? &w->floors.items[w->floors.count - 1] : NULL;
    weft_err err;

    /* The floor of a pair is one, whatever terms its grants carry. */
    if (last != NULL && wf_id_equal(&last->identity, &floor.identity) &&
        wf_id_equal(&last->service, &floor.service) && last->role == floor.role) {
        if (floor.expires > last->expires)
            last->expires = floor.expires;
        return WEFT_OK;
    }
    err = note_withdrawn(w, row);
    return err == WEFT_OK ? gather(&w->floors, &floor) : err;
}

static weft_err move(struct issued_list *list, const struct store_issued *row, const wf_id *rule)
{
    if (list->count == list->cap) {
        size_t cap = list->cap == 0 ? 64 : list->cap * 2;
        struct store_issued *bigger = realloc(list->items, cap * sizeof *bigger);

        if (bigger == NULL)
            return WEFT_ENOMEM;
        list->items = bigger;
        list->cap = cap;
    }
    list->items[list->count] = *row;
    list->items[list->count++].rule = *rule;
    return WEFT_OK;
}

static weft_err look_at(void *arg, const struct store_issued *row)
{
    struct withdrawing *w = arg;
    const struct catalog_service *service;
    const struct policy_thing *thing;
    const struct catalog_rule *rule = NULL;
    weft_err err;

    if (w->all)
        return fall(w, row);
    err = catalog_identity(w->catalog, w->home->store, &row->identity, &thing);
    if (err != WEFT_OK)
        return err == WEFT_ENOTFOUND ? WEFT_EIO : err;
    /* Disabling is the identity's own floor: its grants need none of theirs. */
    if (thing->disabled)
        return WEFT_OK;
    service = catalog_get(w->catalog, &row->service);
    if (service != NULL)
        rule = catalog_stands(w->catalog, thing, service, row->role, row->terms);
    if (rule == NULL)
        return fall(w, row);
    return wf_id_equal(&rule->rule.id, &row->rule) ? WEFT_OK
                                                   : move(&w->moving, row, &rule->rule.id);
}

/* Those, too, that only a session of before still stands on. */
static uint64_t still_standing(uint64_t now)
{
    return now > WF_SESSION_OUTLIVES_MS ? now - WF_SESSION_OUTLIVES_MS : 0;
}

static weft_err withdraw(struct withdrawing *w, struct turn *turn, struct floors_scope scope,
                         uint64_t now)
{
    store *s = w->home->store;
    weft_err err;

    assert((scope.identity != NULL) + (scope.service != NULL) + (scope.rule != NULL) <= 1);
    w->floors.max = SIZE_MAX;
    err = store_issued_each(s, scope.identity, scope.service, scope.rule, still_standing(now),
                            look_at, w);
    for (size_t i = 0; err == WEFT_OK && i < w->moving.count; i++)
        err = store_issued_put(s, &w->moving.items[i]);
    for (size_t i = 0; err == WEFT_OK && i < w->floors.count; i++) {
        struct store_issued row = {.identity = w->floors.items[i].identity,
                                   .service = w->floors.items[i].service,
                                   .role = w->floors.items[i].role};

        err = store_issued_remove(s, &row);
    }
    if (err == WEFT_OK)
        err = floors_raise(w->home, turn, w->floors.items, w->floors.count, now);
    free(w->floors.items);
    free(w->moving.items);
    return err;
}

weft_err floors_withdraw(const struct home *home, struct catalog *catalog, struct turn *turn,
                         struct floors_scope scope, uint64_t now, struct withdrawn *withdrawn)
{
    struct withdrawing w = {.home = home, .catalog = catalog, .withdrawn = withdrawn};
    weft_err err = catalog_load(catalog, home->store);

    return err == WEFT_OK ? withdraw(&w, turn, scope, now) : err;
}

weft_err floors_withdraw_service(const struct home *home, struct catalog *catalog,
                                 struct turn *turn, const wf_id *service, uint64_t now,
                                 struct withdrawn *withdrawn)
{
    struct withdrawing w = {.home = home, .catalog = catalog, .all = true, .withdrawn = withdrawn};
    weft_err err = catalog_load(catalog, home->store);

    return err == WEFT_OK ? withdraw(&w, turn, (struct floors_scope){.service = service}, now)
                          : err;
}

static weft_err note_row(void *arg, const struct store_issued *row)
{
    struct withdrawing *w = arg;
    bool again = wf_id_equal(&w->last.service, &row->service) && w->last.role == row->role;

    w->last = *row;
    return again ? WEFT_OK : note_withdrawn(w, row);
}

weft_err floors_note_identity(const struct home *home, struct catalog *catalog,
                              const wf_id *identity, uint64_t now, struct withdrawn *withdrawn)
{
    struct withdrawing w = {.home = home, .catalog = catalog, .withdrawn = withdrawn};
    weft_err err = catalog_load(catalog, home->store);

    return err == WEFT_OK ? store_issued_each(home->store, identity, NULL, NULL, now, note_row, &w)
                          : err;
}

/* ---- what a node lacks */

weft_err floors_version(const struct home *home, uint64_t *out)
{
    struct store_record head = {.version = 0};
    weft_err err = store_record_head(home->store, &head);

    if (err != WEFT_OK && err != WEFT_ENOTFOUND)
        return err;
    *out = head.version;
    return WEFT_OK;
}

weft_err floors_first_missing(const struct home *home, uint64_t have, uint64_t *out)
{
    uint64_t head, base;
    weft_err err = floors_version(home, &head);

    *out = 0;
    if (err != WEFT_OK || have >= head)
        return err;
    err = store_record_base(home->store, &base);
    if (err == WEFT_OK)
        *out = have >= base ? have + 1 : base;
    return err;
}
