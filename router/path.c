/* Breadth first from here, done anew when somebody asks after a change. */
#include "router/path.h"
#include "proto/base/map.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct spot { /* a router on the map */
    wf_id id;
    uint64_t sequence;
    wf_id *neighbours; /* owned */
    size_t count;
    struct spot *before; /* borrowed: on the way from here; valid while the tree is */
    struct spot *queued; /* borrowed: next in the search */
    uint32_t distance;
};

struct paths {
    wf_id self;
    wf_map *spots; /* by id */
    bool is_stale; /* the tree must be made anew */
};

struct paths *paths_new(const wf_id *self)
{
    struct paths *paths = calloc(1, sizeof *paths);

    if (paths == NULL)
        return NULL;
    paths->self = *self;
    paths->spots = wf_map_new(PATH_ROUTERS_MAX);
    if (paths->spots == NULL) {
        free(paths);
        return NULL;
    }
    return paths;
}

static void spot_free(struct spot *spot)
{
    free(spot->neighbours);
    free(spot);
}

void paths_free(struct paths *paths)
{
    size_t cursor = 0;
    struct spot *spot;

    if (paths == NULL)
        return;
    while ((spot = wf_map_next(paths->spots, &cursor)) != NULL)
        spot_free(spot);
    wf_map_free(paths->spots);
    free(paths);
}

static struct spot *find(const struct paths *paths, const wf_id *id)
{
    return wf_map_find(paths->spots, id->b, sizeof id->b);
}

static int compare(const void *a, const void *b)
{
    return wf_id_compare(a, b);
}

/* Sorted, each once, without the reporter itself. */
static size_t tidy(wf_id *ids, size_t count, const wf_id *reporter)
{
    size_t kept = 0;

    if (count > 1)
        qsort(ids, count, sizeof *ids, compare);
    for (size_t i = 0; i < count; i++)
        if (!wf_id_equal(&ids[i], reporter) && (kept == 0 || !wf_id_equal(&ids[i], &ids[kept - 1])))
            ids[kept++] = ids[i];
    return kept;
}

weft_err paths_set(struct paths *paths, const wf_id *router, uint64_t sequence,
                   const wf_id *neighbours, size_t count, bool *changed)
{
    struct spot *spot = find(paths, router);
    wf_id *copy;

    *changed = false;
    if (count > PATH_NEIGHBOURS_MAX)
        return WEFT_ELIMIT;
    if (spot != NULL && sequence <= spot->sequence)
        return WEFT_OK;
    copy = malloc((count + 1) * sizeof *copy);
    if (copy == NULL)
        return WEFT_ENOMEM;
    if (spot == NULL) {
        weft_err err = WEFT_ENOMEM;

        spot = calloc(1, sizeof *spot);
        if (spot != NULL) {
            spot->id = *router;
            err = wf_map_add(paths->spots, spot->id.b, sizeof spot->id.b, spot);
        }
        if (err != WEFT_OK) {
            free(spot);
            free(copy);
            return err;
        }
    }
    if (count > 0)
        memcpy(copy, neighbours, count * sizeof *copy);
    free(spot->neighbours);
    spot->neighbours = copy;
    spot->count = tidy(copy, count, router);
    spot->sequence = sequence;
    paths->is_stale = true;
    *changed = true;
    return WEFT_OK;
}

uint64_t paths_sequence(const struct paths *paths, const wf_id *router)
{
    const struct spot *spot = find(paths, router);

    return spot == NULL ? 0 : spot->sequence;
}

void paths_remove(struct paths *paths, const wf_id *router)
{
    struct spot *spot = wf_map_remove(paths->spots, router->b, sizeof router->b);

    if (spot == NULL)
        return;
    spot_free(spot);
    paths->is_stale = true;
}

static bool reports(const struct spot *spot, const wf_id *id)
{
    return bsearch(id, spot->neighbours, spot->count, sizeof *spot->neighbours, compare) != NULL;
}

static void search(struct paths *paths)
{
    size_t cursor = 0;
    struct spot *spot, *last, *next;

    while ((spot = wf_map_next(paths->spots, &cursor)) != NULL) {
        spot->before = spot->queued = NULL;
        spot->distance = UINT32_MAX;
    }
    paths->is_stale = false;
    spot = find(paths, &paths->self);
    if (spot == NULL)
        return;
    spot->distance = 0;
    for (last = spot; spot != NULL; spot = spot->queued) {
        for (size_t i = 0; spot->distance < WF_PATH_MAX && i < spot->count; i++) {
            next = find(paths, &spot->neighbours[i]);
            if (next == NULL || next->distance != UINT32_MAX || !reports(next, &spot->id))
                continue;
            next->distance = spot->distance + 1;
            next->before = spot;
            last->queued = next;
            last = next;
        }
    }
}

uint32_t paths_distance(struct paths *paths, const wf_id *to)
{
    const struct spot *spot;

    if (wf_id_equal(to, &paths->self))
        return 0;
    if (paths->is_stale)
        search(paths);
    spot = find(paths, to);
    return spot == NULL ? UINT32_MAX : spot->distance;
}

size_t paths_find(struct paths *paths, const wf_id *to, wf_id out[WF_PATH_MAX])
{
    uint32_t distance = paths_distance(paths, to);
    const struct spot *spot;

    if (distance == 0 || distance == UINT32_MAX)
        return 0;
    assert(distance <= WF_PATH_MAX);
    spot = find(paths, to);
    for (uint32_t i = distance; i > 0; i--) {
        assert(spot != NULL);
        out[i - 1] = spot->id;
        spot = spot->before;
    }
    return distance;
}
