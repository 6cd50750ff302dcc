#include "router/bind.h"
#include "proto/base/clock.h"
#include "proto/base/map.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct service {
    wf_id id;
    wf_node terminators;
};

#define GRAVES_MAX TERMINATORS_MAX
#define GRAVES_PER_SUBJECT TERMINATORS_PER_SUBJECT

/* What one identity holds; there as long as anything is. */
struct owner {
    wf_id id;
    size_t terminators, grave_count;
    wf_node graves; /* struct grave, the oldest first */
};

/* A remote terminator that is gone though its bind has not ended yet. */
struct grave {
    wf_node in_gone, in_owner;
    struct owner *owner; /* borrowed */
    struct bind_key key;
    uint64_t sequence, expiry;
};

uint64_t bind_ends(const struct pki_bind *bind)
{
    uint64_t closes = pki_terms_closes(&bind->grant.terms, wf_now_wall_ms());
    return bind->expiry < closes ? bind->expiry : closes;
}

struct bind_key bind_key(const struct pki_bind *bind)
{
    return (struct bind_key){.service = bind->service,
                             .subject = bind->subject,
                             .instance = bind->instance,
                             .router = bind->router};
}

weft_err binds_init(struct binds *binds)
{
    *binds = (struct binds){0};
    wf_list_init(&binds->gone);
    binds->by_key = wf_map_new(TERMINATORS_MAX);
    binds->by_service = wf_map_new(TERMINATORS_MAX);
    binds->by_owner = wf_map_new(TERMINATORS_MAX + GRAVES_MAX);
    binds->graves = wf_map_new(GRAVES_MAX);
    if (binds->by_key == NULL || binds->by_service == NULL || binds->by_owner == NULL ||
        binds->graves == NULL) {
        binds_fini(binds);
        return WEFT_ENOMEM;
    }
    return WEFT_OK;
}

/* ---- owners */

static struct owner *owner_get(struct binds *binds, const wf_id *id)
{
    struct owner *owner = wf_map_find(binds->by_owner, id->b, sizeof id->b);

    if (owner != NULL)
        return owner;
    owner = calloc(1, sizeof *owner);
    if (owner == NULL)
        return NULL;
    owner->id = *id;
    wf_list_init(&owner->graves);
    if (wf_map_add(binds->by_owner, id->b, sizeof id->b, owner) != WEFT_OK) {
        free(owner);
        return NULL;
    }
    return owner;
}

static void owner_settle(struct binds *binds, struct owner *owner)
{
    if (owner->terminators > 0 || owner->grave_count > 0)
        return;
    wf_map_remove(binds->by_owner, owner->id.b, sizeof owner->id.b);
    free(owner);
}

/* ---- graves */

static void grave_open(struct binds *binds, struct grave *grave)
{
    struct owner *owner = grave->owner;

    wf_map_remove(binds->graves, &grave->key, sizeof grave->key);
    wf_list_remove(&grave->in_gone);
    wf_list_remove(&grave->in_owner);
    free(grave);
    owner->grave_count--;
    owner_settle(binds, owner);
}

/* Makes room: what has ended, then what one identity has too many of, then the oldest of all. */
static void make_room(struct binds *binds, const struct owner *owner, uint64_t now)
{
    while (!wf_list_is_empty(&binds->gone)) {
        struct grave *oldest = wf_container_of(binds->gone.next, struct grave, in_gone);

        if (oldest->expiry > now && wf_map_count(binds->graves) < GRAVES_MAX)
            break;
        grave_open(binds, oldest);
    }
    if (owner->grave_count >= GRAVES_PER_SUBJECT)
        grave_open(binds, wf_container_of(owner->graves.next, struct grave, in_owner));
}

/* Without memory it is forgotten: then it can be repeated, until it ends. */
static void bury(struct binds *binds, const struct terminator *terminator)
{
    struct owner *owner = terminator->owner;
    uint64_t now = wf_now_wall_ms();
    struct bind_key key = bind_key(&terminator->bind);
    struct grave *grave;

    if (terminator->bind.expiry <= now)
        return;
    make_room(binds, owner, now); /* the terminator still counts: its owner stays */
    grave = wf_map_find(binds->graves, &key, sizeof key);
    assert(grave == NULL); /* it went when the terminator came */
    grave = calloc(1, sizeof *grave);
    if (grave == NULL)
        return;
    grave->owner = owner;
    grave->key = key;
    grave->sequence = terminator->bind.sequence;
    grave->expiry = terminator->bind.expiry;
    if (wf_map_add(binds->graves, &key, sizeof key, grave) != WEFT_OK) {
        free(grave);
        return;
    }
    wf_list_push(&binds->gone, &grave->in_gone);
    wf_list_push(&owner->graves, &grave->in_owner);
    owner->grave_count++;
}

/* ---- terminators */

struct terminator *binds_find(const struct binds *binds, const struct bind_key *key)
{
    return wf_map_find(binds->by_key, key, sizeof *key);
}

static void terminator_free(struct terminator *terminator)
{
    wf_signed_free(terminator->record);
    wf_signed_free(terminator->grant);
    pki_chain_free(terminator->chain);
    free(terminator);
}

static void service_settle(struct binds *binds, struct service *service)
{
    if (!wf_list_is_empty(&service->terminators))
        return;
    wf_map_remove(binds->by_service, service->id.b, sizeof service->id.b);
    free(service);
}

static void take_out(struct binds *binds, struct terminator *terminator)
{
    struct bind_key key = bind_key(&terminator->bind);
    struct owner *owner = terminator->owner;

    wf_map_remove(binds->by_key, &key, sizeof key);
    wf_list_remove(&terminator->in_service);
    wf_list_remove(&terminator->in_edge);
    service_settle(binds, terminator->service);
    if (terminator->wire != NULL)
        binds->local--;
    else
        binds->remote--;
    terminator_free(terminator);
    owner->terminators--;
    owner_settle(binds, owner);
}

void binds_remove(struct binds *binds, struct terminator *terminator)
{
    if (terminator->wire == NULL)
        bury(binds, terminator);
    take_out(binds, terminator);
}

void binds_fini(struct binds *binds)
{
    size_t cursor = 0;
    struct terminator *terminator;

    if (binds->by_key != NULL && binds->by_service != NULL && binds->by_owner != NULL) {
        while ((terminator = wf_map_next(binds->by_key, &cursor)) != NULL)
            take_out(binds, terminator);
        while (!wf_list_is_empty(&binds->gone))
            grave_open(binds, wf_container_of(binds->gone.next, struct grave, in_gone));
    }
    wf_map_free(binds->by_key);
    wf_map_free(binds->by_service);
    wf_map_free(binds->by_owner);
    wf_map_free(binds->graves);
    *binds = (struct binds){0};
}

static struct service *service_get(struct binds *binds, const wf_id *id)
{
    struct service *service = wf_map_find(binds->by_service, id->b, sizeof id->b);

    if (service != NULL)
        return service;
    service = calloc(1, sizeof *service);
    if (service == NULL)
        return NULL;
    service->id = *id;
    wf_list_init(&service->terminators);
    if (wf_map_add(binds->by_service, id->b, sizeof id->b, service) != WEFT_OK) {
        free(service);
        return NULL;
    }
    return service;
}

/* Whether `bind` says more than what is known. */
static bool is_news(const struct terminator *old, const struct grave *grave,
                    const struct pki_bind *bind, enum bind_from from)
{
    if (old != NULL)
        /* A host that came back over a new link says the same bind again, or a newer one. */
        return from == BIND_EDGE ? bind->sequence >= old->bind.sequence
                                 : bind->sequence > old->bind.sequence;
    if (grave != NULL)
        return from == BIND_OTHER ? bind->sequence > grave->sequence
                                  : bind->sequence >= grave->sequence;
    return true;
}

static struct terminator *terminator_new(const struct pki_bind *bind,
                                         const struct pki_subject *host,
                                         const Weft__Wire__Signed *record,
                                         const Weft__Wire__Signed *grant, const pki_chain *chain,
                                         struct wire *wire)
{
    struct terminator *fresh = calloc(1, sizeof *fresh);

    if (fresh == NULL)
        return NULL;
    fresh->bind = *bind;
    if (fresh->bind.grant.expiry < fresh->bind.expiry)
        fresh->bind.expiry = fresh->bind.grant.expiry;
    fresh->host = *host;
    fresh->wire = wire;
    fresh->record = signed_dup(record);
    fresh->grant = signed_dup(grant);
    fresh->chain = pki_chain_dup(chain);
    if (fresh->record == NULL || fresh->grant == NULL || fresh->chain == NULL) {
        terminator_free(fresh);
        return NULL;
    }
    return fresh;
}

weft_err binds_add(struct binds *binds, const struct pki_bind *bind, const struct pki_subject *host,
                   const Weft__Wire__Signed *record, const Weft__Wire__Signed *grant,
                   const pki_chain *chain, enum bind_from from, struct wire *wire,
                   struct terminator **out, bool *learned)
{
    struct bind_key key = bind_key(bind);
    struct terminator *old = binds_find(binds, &key), *fresh;
    struct grave *grave = wf_map_find(binds->graves, &key, sizeof key);
    struct owner *owner;
    weft_err err = WEFT_ENOMEM;

    assert((from == BIND_EDGE) == (wire != NULL));
    *learned = is_news(old, grave, bind, from);
    *out = old;
    if (!*learned)
        return WEFT_OK;
    *learned = false;
    owner = wf_map_find(binds->by_owner, bind->subject.b, WF_ID_LEN);
    if (old == NULL && owner != NULL && owner->terminators >= TERMINATORS_PER_SUBJECT)
        return WEFT_ELIMIT;
    fresh = terminator_new(bind, host, record, grant, chain, wire);
    if (fresh == NULL)
        return WEFT_ENOMEM;
    owner = owner_get(binds, &bind->subject);
    if (owner == NULL)
        goto fail;
    owner->terminators++; /* so that it outlives what goes */
    fresh->owner = owner;
    fresh->service = service_get(binds, &bind->service);
    if (fresh->service == NULL)
        goto fail_owner;
    wf_list_push(&fresh->service->terminators, &fresh->in_service);
    if (old != NULL) {
        fresh->circuits = old->circuits;
        *out = NULL;
        take_out(binds, old);
    }
    err = wf_map_add(binds->by_key, &key, sizeof key, fresh);
    if (err != WEFT_OK)
        goto fail_service;
    if (grave != NULL)
        grave_open(binds, grave);
    if (wire != NULL)
        binds->local++;
    else
        binds->remote++;
    *learned = true;
    *out = fresh;
    return WEFT_OK;
fail_service:
    wf_list_remove(&fresh->in_service);
    service_settle(binds, fresh->service);
fail_owner:
    owner->terminators--;
    owner_settle(binds, owner);
fail:
    terminator_free(fresh);
    return err;
}

struct terminator *binds_choose(struct binds *binds, const wf_id *service_id, const wf_id *instance,
                                uint64_t now, uint32_t (*distance)(void *arg, const wf_id *router),
                                void *arg)
{
    struct service *service = wf_map_find(binds->by_service, service_id->b, WF_ID_LEN);
    struct terminator *best = NULL;
    uint32_t best_distance = UINT32_MAX;

    if (service == NULL)
        return NULL;
    for (wf_node *n = service->terminators.next; n != &service->terminators; n = n->next) {
        struct terminator *t = wf_container_of(n, struct terminator, in_service);
        uint32_t far;

        if (t->bind.expiry <= now || !pki_terms_is_open(&t->bind.grant.terms, now))
            continue;
        if (instance != NULL && !wf_id_equal(instance, &t->bind.instance))
            continue;
        far = t->wire != NULL ? 0 : distance(arg, &t->bind.router);
        if (far == UINT32_MAX || far > best_distance ||
            (far == best_distance && best != NULL && t->circuits >= best->circuits))
            continue;
        best = t;
        best_distance = far;
    }
    if (best != NULL) {
        wf_list_remove(&best->in_service);
        wf_list_push(&service->terminators, &best->in_service);
    }
    return best;
}

void binds_each(struct binds *binds, void (*each)(void *arg, struct terminator *terminator),
                void *arg)
{
    size_t cursor = 0;
    struct terminator *terminator;

    while ((terminator = wf_map_next(binds->by_key, &cursor)) != NULL)
        each(arg, terminator);
}
