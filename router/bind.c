#include "router/bind.h"
#include "proto/base/map.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct service {
    wf_id id;
    wf_node terminators;
};

struct key {
    uint8_t b[2 * WF_ID_LEN];
};

static struct key key_of(const wf_id *instance, const wf_id *router)
{
    struct key key;

    memcpy(key.b, instance->b, WF_ID_LEN);
    memcpy(key.b + WF_ID_LEN, router->b, WF_ID_LEN);
    return key;
}

weft_err binds_init(struct binds *binds)
{
    *binds = (struct binds){0};
    binds->by_key = wf_map_new(TERMINATORS_MAX);
    binds->by_service = wf_map_new(TERMINATORS_MAX);
    if (binds->by_key == NULL || binds->by_service == NULL) {
        binds_fini(binds);
        return WEFT_ENOMEM;
    }
    return WEFT_OK;
}

void binds_fini(struct binds *binds)
{
    size_t cursor = 0;
    struct terminator *terminator;

    if (binds->by_key != NULL && binds->by_service != NULL)
        while ((terminator = wf_map_next(binds->by_key, &cursor)) != NULL)
            binds_remove(binds, terminator);
    wf_map_free(binds->by_key);
    wf_map_free(binds->by_service);
    *binds = (struct binds){0};
}

struct terminator *binds_find(const struct binds *binds, const wf_id *instance, const wf_id *router)
{
    struct key key = key_of(instance, router);

    return wf_map_find(binds->by_key, key.b, sizeof key.b);
}

static void terminator_free(struct terminator *terminator)
{
    wf_signed_free(terminator->record);
    wf_signed_free(terminator->grant);
    pki_chain_free(terminator->chain);
    free(terminator);
}

void binds_remove(struct binds *binds, struct terminator *terminator)
{
    struct key key = key_of(&terminator->bind.instance, &terminator->bind.router);
    struct service *service = terminator->service;

    wf_map_remove(binds->by_key, key.b, sizeof key.b);
    wf_list_remove(&terminator->in_service);
    wf_list_remove(&terminator->in_edge);
    if (wf_list_is_empty(&service->terminators)) {
        wf_map_remove(binds->by_service, service->id.b, sizeof service->id.b);
        free(service);
    }
    if (terminator->wire != NULL)
        binds->local--;
    else
        binds->remote--;
    terminator_free(terminator);
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

/* Whether `bind` may take the place of `old`. */
static weft_err may_replace(const struct terminator *old, const struct pki_bind *bind,
                            const struct wire *wire, bool *newer)
{
    if (!wf_id_equal(&old->bind.subject, &bind->subject))
        return WEFT_EEXIST;
    /* A host that came back over a new link says the same bind again, or a newer one. */
    *newer =
        wire != NULL ? bind->sequence >= old->bind.sequence : bind->sequence > old->bind.sequence;
    return WEFT_OK;
}

weft_err binds_add(struct binds *binds, const struct pki_bind *bind, const struct pki_subject *host,
                   const Weft__Wire__Signed *record, const Weft__Wire__Signed *grant,
                   const pki_chain *chain, struct wire *wire, struct terminator **out,
                   bool *learned)
{
    struct terminator *old = binds_find(binds, &bind->instance, &bind->router), *fresh;
    struct key key = key_of(&bind->instance, &bind->router);
    weft_err err = WEFT_ENOMEM;

    if (old != NULL) {
        bool newer;

        err = may_replace(old, bind, wire, &newer);
        if (err != WEFT_OK)
            return err;
        if (!newer) {
            *learned = false;
            *out = old;
            return WEFT_OK;
        }
    }
    fresh = calloc(1, sizeof *fresh);
    if (fresh == NULL)
        return WEFT_ENOMEM;
    fresh->bind = *bind;
    if (fresh->bind.grant.expiry < fresh->bind.expiry)
        fresh->bind.expiry = fresh->bind.grant.expiry;
    fresh->host = *host;
    fresh->wire = wire;
    fresh->record = signed_dup(record);
    fresh->grant = signed_dup(grant);
    fresh->chain = pki_chain_dup(chain);
    if (fresh->record == NULL || fresh->grant == NULL || fresh->chain == NULL)
        goto fail;
    if (old != NULL)
        fresh->circuits = old->circuits;
    fresh->service = service_get(binds, &bind->service);
    if (fresh->service == NULL)
        goto fail;
    wf_list_push(&fresh->service->terminators, &fresh->in_service); /* so that it outlives old */
    if (old != NULL)
        binds_remove(binds, old);
    err = wf_map_add(binds->by_key, key.b, sizeof key.b, fresh);
    if (err != WEFT_OK)
        goto fail_service;
    if (wire != NULL)
        binds->local++;
    else
        binds->remote++;
    *learned = true;
    *out = fresh;
    return WEFT_OK;
fail_service:
    wf_list_remove(&fresh->in_service);
    if (wf_list_is_empty(&fresh->service->terminators)) {
        wf_map_remove(binds->by_service, fresh->service->id.b, WF_ID_LEN);
        free(fresh->service);
    }
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

        if (t->bind.expiry <= now)
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
