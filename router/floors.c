#include "router/floors.h"
#include <stdlib.h>

#define MESSAGE_MAX (48u * 1024u) /* bytes of sets in one message, unless one set is larger */

void floor_log_fini(struct floor_log *log)
{
    records_fini(&log->sets);
    free(log->versions);
    *log = (struct floor_log){0};
}

weft_err floor_log_add(struct floor_log *log, const Weft__Wire__Signed *set)
{
    Weft__Wire__FloorsBody *body = NULL;
    weft_err err = wf_floors_body_decode(set->body.data, set->body.len, &body, NULL);

    if (err != WEFT_OK)
        return err;
    if (body->snapshot)
        floor_log_fini(log);
    if (log->sets.count == log->cap) {
        size_t cap = log->cap == 0 ? 16 : 2 * log->cap;
        uint64_t *versions = realloc(log->versions, cap * sizeof *versions);

        if (versions == NULL) {
            err = WEFT_ENOMEM;
            goto out;
        }
        log->versions = versions;
        log->cap = cap;
    }
    err = records_add(&log->sets, set);
    if (err == WEFT_OK)
        log->versions[log->sets.count - 1] = body->version;
out:
    wf_floors_body_free(body);
    return err;
}

size_t floor_log_from(const struct floor_log *log, uint64_t have)
{
    size_t count = log->sets.count;

    if (count == 0 || have >= log->versions[count - 1])
        return count;
    if (have < log->versions[0])
        return 0;
    for (size_t i = 0; i < count; i++)
        if (log->versions[i] > have)
            return i;
    return count;
}

void floor_log_send(const struct floor_log *log, size_t i, wf_link *link)
{
    while (i < log->sets.count) {
        Weft__Wire__Floors floors = WEFT__WIRE__FLOORS__INIT;
        Weft__Wire__Control control = WEFT__WIRE__CONTROL__INIT;
        size_t bytes = 0;

        floors.sets = log->sets.list + i;
        while (i < log->sets.count && floors.n_sets < WF_FLOOR_SETS_MAX) {
            bytes += log->sets.list[i]->body.len + 256;
            if (floors.n_sets > 0 && bytes > MESSAGE_MAX)
                break;
            floors.n_sets++;
            i++;
        }
        control.of_case = WEFT__WIRE__CONTROL__OF_FLOORS;
        control.floors = &floors;
        if (wf_link_send_control(link, &control) != WEFT_OK)
            return;
    }
}
