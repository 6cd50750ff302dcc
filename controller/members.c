#include "controller/members.h"
#include "controller/issue.h"
#include <assert.h>
#include <stdlib.h>

void members_forget(struct members *m)
{
    for (size_t i = 0; i < m->count; i++)
        wf_buf_fini(&m->items[i].record);
    free(m->items);
    *m = (struct members){.loaded = false};
}

struct loading {
    struct members *members;
    store *s;
};

static weft_err take(void *arg, const struct store_node *node)
{
    struct loading *l = arg;
    struct members *m = l->members;
    struct member *to;
    weft_err err;

    if (node->disabled || !node->enrolled || node->member_expires == 0)
        return WEFT_OK;
    if (m->count == m->cap) {
        size_t cap = m->cap == 0 ? 8 : m->cap * 2;
        struct member *bigger = realloc(m->items, cap * sizeof *bigger);

        if (bigger == NULL)
            return WEFT_ENOMEM;
        m->items = bigger;
        m->cap = cap;
    }
    to = &m->items[m->count];
    *to = (struct member){.router = node->id, .expires = node->member_expires};
    wf_buf_init(&to->record, WF_SIGNED_MAX);
    err = store_member_get(l->s, &node->id, &to->record);
    if (err == WEFT_OK)
        m->count++;
    else
        wf_buf_fini(&to->record);
    return err == WEFT_ENOTFOUND ? WEFT_OK : err;
}

weft_err members_load(struct members *m, store *s)
{
    struct loading l = {m, s};
    weft_err err;

    if (m->loaded)
        return WEFT_OK;
    err = store_node_each(s, PKI_ROUTER, NULL, take, &l);
    if (err != WEFT_OK)
        members_forget(m);
    else
        m->loaded = true;
    return err;
}

const struct member *members_get(const struct members *m, const wf_id *router)
{
    assert(m->loaded);
    for (size_t i = 0; i < m->count; i++)
        if (wf_id_equal(&m->items[i].router, router))
            return &m->items[i];
    return NULL;
}

struct pins {
    pki_pin pins[WF_PINS_MAX];
    size_t count;
};

static weft_err take_pin(void *arg, const struct store_key *key)
{
    struct pins *p = arg;

    if (p->count == WF_PINS_MAX)
        return WEFT_EEOF;
    p->pins[p->count++] = key->pin;
    return WEFT_OK;
}

weft_err members_sign(const struct home *home, const struct store_node *router, uint64_t now)
{
    uint64_t expires = now + WF_MEMBER_LIFE_MS;
    struct pins pins = {.count = 0};
    wf_buf record;
    weft_err err;

    assert(router->kind == PKI_ROUTER);
    err = store_key_each(home->store, &router->id, now, take_pin, &pins);
    if (err != WEFT_OK)
        return err;
    if (pins.count == 0 || router->address_count == 0)
        return WEFT_ECONFLICT;
    wf_buf_init(&record, WF_SIGNED_MAX);
    err = issue_member(home, router, pins.pins, pins.count, store_next_epoch(home->store, now),
                       expires, &record);
    if (err == WEFT_OK)
        err = store_member_put(home->store, &router->id, wf_span_of(record.data, record.len),
                               expires);
    wf_buf_fini(&record);
    return err;
}

struct refreshing {
    const struct home *home;
    uint64_t now;
    struct store_node *due; /* owned */
    size_t count, cap;
};

static weft_err note_due(void *arg, const struct store_node *node)
{
    struct refreshing *r = arg;

    if (node->disabled || !node->enrolled || node->expires <= r->now ||
        node->member_expires > r->now + WF_MEMBER_LIFE_MS / 2)
        return WEFT_OK;
    if (r->count == r->cap) {
        size_t cap = r->cap == 0 ? 4 : r->cap * 2;
        struct store_node *bigger = realloc(r->due, cap * sizeof *bigger);

        if (bigger == NULL)
            return WEFT_ENOMEM;
        r->due = bigger;
        r->cap = cap;
    }
    r->due[r->count++] = *node;
    return WEFT_OK;
}

weft_err members_refresh(const struct home *home, uint64_t now, bool *changed)
{
    struct refreshing r = {.home = home, .now = now};
    weft_err err = store_node_each(home->store, PKI_ROUTER, NULL, note_due, &r);

    *changed = false;
    for (size_t i = 0; err == WEFT_OK && i < r.count; i++) {
        err = members_sign(home, &r.due[i], now);
        if (err == WEFT_ECONFLICT)
            err = WEFT_OK; /* without a living key it is no member */
        else if (err == WEFT_OK)
            *changed = true;
    }
    free(r.due);
    return err;
}
