/* Grants, routers and floors, as an endpoint keeps them. */
#include "sdk/grants.h"
#include "proto/wire/control.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

/*
 * What is kept of the floors, for the next start. The controller begins its chain anew behind 256
 * deltas, if it can; the bytes leave room for all else in a state file that can be read again.
 */
#define FLOORS_RECORDS_MAX 4096u
#define FLOORS_BYTES_MAX (4u * 1024u * 1024u)
/* Two services may be given per identity and name while one replaces the other. */
#define GRANTS_MAX (4u * WF_GRANTS_PREFETCH)

void wf_grants_init(struct wf_grants *g, pki_trust *trust, const struct pki_subject *self)
{
    *g = (struct wf_grants){.trust = pki_trust_ref(trust), .self = self};
    pki_witness_init(&g->witness);
    wf_list_init(&g->list);
}

static void forget(struct wf_grants *g, struct wf_grant *grant)
{
    wf_list_remove(&grant->node);
    wf_signed_free(grant->record);
    free(grant);
    g->count--;
    g->dirty = true;
}

static void forget_floors(struct wf_grants *g)
{
    for (size_t i = 0; i < g->floors_count; i++)
        wf_buf_fini(&g->floors[i]);
    free(g->floors);
    g->floors = NULL;
    g->floors_count = g->floors_bytes = 0;
}

void wf_grants_fini(struct wf_grants *g)
{
    while (!wf_list_is_empty(&g->list))
        forget(g, wf_container_of(g->list.next, struct wf_grant, node));
    for (size_t i = 0; i < g->router_count; i++)
        wf_buf_fini(&g->routers[i].record);
    free(g->routers);
    forget_floors(g);
    pki_witness_fini(&g->witness);
    pki_trust_unref(g->trust);
}

/* An own copy of a decoded record. */
static Weft__Wire__Signed *dup_signed(const Weft__Wire__Signed *record)
{
    Weft__Wire__Signed *copy = NULL;
    wf_buf buf;
    wf_buf_init(&buf, WF_BUNDLE_MAX);
    if (wf_signed_encode(record, &buf) == WEFT_OK)
        (void)wf_signed_decode(buf.data, buf.len, &copy, NULL);
    wf_buf_fini(&buf);
    return copy;
}

static struct wf_grant *same_grant(const struct wf_grants *g, const struct pki_grant *like)
{
    for (wf_node *n = g->list.next; n != &g->list; n = n->next) {
        struct wf_grant *grant = wf_container_of(n, struct wf_grant, node);
        if (grant->grant.role == like->role && wf_id_equal(&grant->grant.service, &like->service))
            return grant;
    }
    return NULL;
}

weft_err wf_grants_add(struct wf_grants *g, const Weft__Wire__Signed *record, uint64_t now,
                       wf_why *why)
{
    struct pki_grant parsed;
    /* The role stands inside the signed body: it is the one for which the record verifies.
     * One whose hours are over is kept for the next ones. */
    weft_err err = pki_trust_read_grant(g->trust, record, g->self, NULL,
                                        WEFT__WIRE__ROLE__ROLE_DIAL, now, &parsed, why);
    if (err == WEFT_EREFUSED)
        err = pki_trust_read_grant(g->trust, record, g->self, NULL, WEFT__WIRE__ROLE__ROLE_BIND,
                                   now, &parsed, why);
    if (err != WEFT_OK)
        return err;

    struct wf_grant *old = same_grant(g, &parsed);
    if (old != NULL && (old->grant.epoch > parsed.epoch ||
                        (old->grant.epoch == parsed.epoch && old->grant.expiry >= parsed.expiry)))
        return WEFT_OK;
    if (old == NULL && g->count >= GRANTS_MAX)
        return wf_fail(why, WEFT_ELIMIT, "more than %u grants", GRANTS_MAX);
    struct wf_grant *grant = calloc(1, sizeof *grant);
    if (grant == NULL)
        return WEFT_ENOMEM;
    grant->record = dup_signed(record);
    if (grant->record == NULL) {
        free(grant);
        return WEFT_ENOMEM;
    }
    grant->grant = parsed;
    if (old != NULL)
        forget(g, old);
    wf_list_push(&g->list, &grant->node);
    g->count++;
    g->dirty = true;
    return WEFT_OK;
}

weft_err wf_grants_add_router(struct wf_grants *g, const Weft__Wire__Signed *record, uint64_t now,
                              bool *changed, wf_why *why)
{
    struct pki_member member;
    weft_err err = pki_trust_check_member(g->trust, record, now, &member, why);
    if (err != WEFT_OK)
        return err;
    size_t i = 0;
    while (i < g->router_count && !wf_id_equal(&g->routers[i].member.router, &member.router))
        i++;
    if (i < g->router_count && (g->routers[i].member.epoch > member.epoch ||
                                (g->routers[i].member.epoch == member.epoch &&
                                 g->routers[i].member.expiry >= member.expiry)))
        return WEFT_OK;
    if (i == WF_GRANTS_ROUTERS)
        return WEFT_OK; /* enough to choose from */

    wf_buf encoded;
    wf_buf_init(&encoded, WF_SIGNED_MAX);
    err = wf_signed_encode(record, &encoded);
    if (err != WEFT_OK)
        return err;
    if (i == g->router_count) {
        struct wf_router_entry *more =
            realloc(g->routers, (g->router_count + 1) * sizeof *g->routers);
        if (more == NULL) {
            wf_buf_fini(&encoded);
            return WEFT_ENOMEM;
        }
        g->routers = more;
        g->router_count++;
    } else {
        wf_buf_fini(&g->routers[i].record);
    }
    g->routers[i] = (struct wf_router_entry){.member = member, .record = encoded};
    g->dirty = true;
    *changed = true;
    return WEFT_OK;
}

weft_err wf_grants_add_floors(struct wf_grants *g, const Weft__Wire__Signed *record, uint64_t now,
                              bool *changed, wf_why *why)
{
    wf_buf encoded;
    wf_buf_init(&encoded, WF_BUNDLE_MAX);
    weft_err err = wf_signed_encode(record, &encoded);
    if (err != WEFT_OK)
        return err;
    *changed = false;
    /* The one we know best comes with every HELLO: don't verify it again and again. */
    if (g->floors_count > 0) {
        const wf_buf *last = &g->floors[g->floors_count - 1];
        if (wf_span_equal(wf_span_of(last->data, last->len), wf_span_of(encoded.data, encoded.len)))
            goto done;
    }
    err = pki_trust_apply_floors(g->trust, record, now, changed, why);
    if (err != WEFT_OK || !*changed)
        goto done;

    /* It is in force; whether it can also be kept for the next start is another matter. */
    Weft__Wire__FloorsBody *body = NULL;
    if (wf_floors_body_decode(record->body.data, record->body.len, &body, NULL) == WEFT_OK &&
        body->snapshot)
        forget_floors(g);
    wf_floors_body_free(body);
    if (g->floors_count < FLOORS_RECORDS_MAX && g->floors_bytes + encoded.len <= FLOORS_BYTES_MAX) {
        wf_buf *more = realloc(g->floors, (g->floors_count + 1) * sizeof *g->floors);
        if (more != NULL) {
            g->floors = more;
            g->floors_bytes += encoded.len;
            g->floors[g->floors_count++] = encoded;
            wf_buf_init(&encoded, 0);
        }
    }
    g->dirty = true;
done:
    wf_buf_fini(&encoded);
    return err;
}

Weft__Wire__Signed *wf_grants_newest_floors(const struct wf_grants *g, size_t room)
{
    Weft__Wire__Signed *record = NULL;
    if (g->floors_count == 0)
        return NULL;
    const wf_buf *last = &g->floors[g->floors_count - 1];
    if (last->len <= room)
        (void)wf_signed_decode(last->data, last->len, &record, NULL);
    return record;
}

static bool is_good(const struct wf_grants *g, const struct pki_grant *grant, uint64_t now)
{
    return now < grant->expiry &&
           grant->epoch >= pki_floors_for_grant(pki_trust_floors(g->trust), &grant->subject,
                                                &grant->service, grant->role);
}

const struct wf_grant *wf_grants_find(const struct wf_grants *g, const char *service,
                                      Weft__Wire__Role role, uint64_t now)
{
    const struct wf_grant *best = NULL;
    for (wf_node *n = g->list.next; n != &g->list; n = n->next) {
        const struct wf_grant *grant = wf_container_of(n, struct wf_grant, node);
        /* Of two services with one name the newer is meant: the other was deleted. */
        if (grant->grant.role == role && strcmp(grant->grant.service_name, service) == 0 &&
            is_good(g, &grant->grant, now) &&
            (best == NULL || grant->grant.epoch > best->grant.epoch))
            best = grant;
    }
    return best;
}

const struct wf_grant *wf_grants_find_id(const struct wf_grants *g, const wf_id *service,
                                         Weft__Wire__Role role, uint64_t now)
{
    struct pki_grant like = {.service = *service, .role = role};
    const struct wf_grant *grant = same_grant(g, &like);
    return grant != NULL && is_good(g, &grant->grant, now) ? grant : NULL;
}

size_t wf_grants_good(const struct wf_grants *g, Weft__Wire__Role role, uint64_t now)
{
    size_t count = 0;
    for (wf_node *n = g->list.next; n != &g->list; n = n->next) {
        const struct wf_grant *grant = wf_container_of(n, struct wf_grant, node);
        count += grant->grant.role == role && is_good(g, &grant->grant, now);
    }
    return count;
}

bool wf_grants_is_good_router(const struct wf_grants *g, const struct pki_member *member,
                              uint64_t now)
{
    const pki_floors *floors = pki_trust_floors(g->trust);
    return now < member->expiry && member->epoch >= pki_floors_for_router(floors, &member->router);
}

void wf_grants_recheck(struct wf_grants *g, uint64_t now)
{
    struct pki_member member;
    struct pki_grant grant;
    wf_node *next;
    for (wf_node *n = g->list.next; n != &g->list; n = next) {
        struct wf_grant *own = wf_container_of(n, struct wf_grant, node);
        next = n->next;
        if (pki_trust_read_grant(g->trust, own->record, g->self, NULL, own->grant.role, now, &grant,
                                 NULL) != WEFT_OK)
            forget(g, own);
    }
    size_t kept = 0;
    for (size_t i = 0; i < g->router_count; i++) {
        Weft__Wire__Signed *record = NULL;
        const wf_buf *encoded = &g->routers[i].record;
        if (wf_signed_decode(encoded->data, encoded->len, &record, NULL) == WEFT_OK &&
            pki_trust_check_member(g->trust, record, now, &member, NULL) == WEFT_OK) {
            g->routers[kept++] = g->routers[i];
        } else {
            wf_buf_fini(&g->routers[i].record);
            g->dirty = true;
        }
        wf_signed_free(record);
    }
    g->router_count = kept;
}

bool wf_grants_are_outdated(const struct wf_grants *g)
{
    wf_span newest;
    pki_pin pin;
    if (pki_trust_policy_keys(g->trust, &newest, 1) == 0)
        return false;
    pki_pin_of_spki(newest, &pin);
    for (wf_node *n = g->list.next; n != &g->list; n = n->next) {
        const Weft__Wire__Signed *record = wf_container_of(n, struct wf_grant, node)->record;
        if (!wf_span_equal(wf_pb_span(record->signer), wf_span_of(pin.b, sizeof pin.b)))
            return true;
    }
    return false;
}

void wf_grants_sweep(struct wf_grants *g, uint64_t now)
{
    wf_node *next;
    for (wf_node *n = g->list.next; n != &g->list; n = next) {
        struct wf_grant *grant = wf_container_of(n, struct wf_grant, node);
        next = n->next;
        if (!is_good(g, &grant->grant, now))
            forget(g, grant);
    }
    size_t kept = 0;
    for (size_t i = 0; i < g->router_count; i++) {
        if (wf_grants_is_good_router(g, &g->routers[i].member, now)) {
            g->routers[kept++] = g->routers[i];
        } else {
            wf_buf_fini(&g->routers[i].record);
            g->dirty = true;
        }
    }
    g->router_count = kept;
}
