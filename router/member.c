#include "router/member.h"
#include <stdlib.h>

weft_err members_init(struct members *members)
{
    members->by_id = wf_map_new(MEMBERS_MAX);
    return members->by_id == NULL ? WEFT_ENOMEM : WEFT_OK;
}

static void member_free(struct member *member)
{
    wf_signed_free(member->record);
    free(member);
}

void members_fini(struct members *members)
{
    size_t cursor = 0;
    struct member *member;

    if (members->by_id == NULL)
        return;
    while ((member = wf_map_next(members->by_id, &cursor)) != NULL)
        member_free(member);
    wf_map_free(members->by_id);
    members->by_id = NULL;
}

static bool is_newer(const struct pki_member *a, const struct pki_member *b)
{
    return a->epoch != b->epoch ? a->epoch > b->epoch : a->expiry > b->expiry;
}

weft_err members_learn(struct members *members, pki_trust *trust, const Weft__Wire__Signed *record,
                       uint64_t now, struct member **out, bool *changed, wf_why *why)
{
    struct pki_member info;
    struct member *member;
    Weft__Wire__Signed *copy;
    weft_err err;

    err = pki_trust_check_member(trust, record, now, &info, why);
    if (err != WEFT_OK)
        return err;
    member = wf_map_find(members->by_id, info.router.b, sizeof info.router.b);
    if (member != NULL && !is_newer(&info, &member->info)) {
        *changed = false;
        *out = member;
        return WEFT_OK;
    }
    copy = signed_dup(record);
    if (copy == NULL)
        return WEFT_ENOMEM;
    if (member == NULL) {
        member = calloc(1, sizeof *member);
        err = member == NULL
                  ? WEFT_ENOMEM
                  : wf_map_add(members->by_id, info.router.b, sizeof info.router.b, member);
        if (err != WEFT_OK) {
            free(member);
            wf_signed_free(copy);
            return wf_fail(why, err, "no room for one more member");
        }
    }
    wf_signed_free(member->record);
    member->record = copy;
    member->info = info;
    *changed = true;
    *out = member;
    return WEFT_OK;
}

static bool stands(const struct member *member, const pki_trust *trust, uint64_t now)
{
    const pki_floors *floors = pki_trust_floors(trust);
    const struct pki_member *info = &member->info;

    return info->expiry > now && info->epoch >= pki_floors_for_router(floors, &info->router) &&
           !pki_floors_is_cut(floors, PKI_ROUTER, &info->router, NULL);
}

struct member *members_find(const struct members *members, const pki_trust *trust,
                            const wf_id *router, uint64_t now)
{
    struct member *member = wf_map_find(members->by_id, router->b, sizeof router->b);

    return member != NULL && stands(member, trust, now) ? member : NULL;
}

bool member_has_pin(const struct member *member, const pki_pin *pin)
{
    for (size_t i = 0; i < member->info.pin_count; i++)
        if (pki_pin_equal(&member->info.pins[i], pin))
            return true;
    return false;
}

void members_recheck(struct members *members, pki_trust *trust, uint64_t now)
{
    size_t cursor = 0;
    struct member *member;
    struct pki_member info;

    while ((member = wf_map_next(members->by_id, &cursor)) != NULL) {
        if (pki_trust_check_member(trust, member->record, now, &info, NULL) == WEFT_OK)
            continue;
        wf_map_remove(members->by_id, member->info.router.b, sizeof member->info.router.b);
        member_free(member);
    }
}

bool members_prune(struct members *members, const pki_trust *trust, uint64_t now)
{
    size_t cursor = 0;
    struct member *member;
    bool any = false;

    while ((member = wf_map_next(members->by_id, &cursor)) != NULL) {
        if (stands(member, trust, now))
            continue;
        wf_map_remove(members->by_id, member->info.router.b, sizeof member->info.router.b);
        member_free(member);
        any = true;
    }
    return any;
}
