/* Which bundle a node holds, and who has not followed: docs/operations.md, "Rotation". */
#include "controller/follow.h"
#include "controller/view.h"
#include "proto/base/reader.h"

weft_err op_rotation_status(struct call *call, struct args *args)
{
    struct json_t *object = NULL;
    size_t behind;
    weft_err err = args_end(args);

    if (err == WEFT_OK)
        err = follow_status(&call->c->home, call->now, &object, &behind);
    return err == WEFT_OK ? view_answer(call, object) : err;
}

/* A node that took a bundle on a link that is up says so: its Hello was earlier. */
weft_err op_holds(struct call *call)
{
    const struct home *home = &call->c->home;
    struct store_follow row;
    wf_reader r;
    uint64_t version = 0;
    weft_err err;

    wf_reader_init(&r, call->arguments.data, call->arguments.len);
    (void)wf_get_u64(&r, &version);
    if (!wf_reader_end(&r) || version == 0 || version > pki_trust_version(home->trust))
        return wf_fail(&call->why, WEFT_EPROTO, "holds takes the version of a trust bundle");
    err = store_follow_get(home->store, &call->subject->id, &row);
    if (err != WEFT_OK || row.bundle >= version)
        return err;
    row.bundle = version;
    row.seen = call->now;
    return store_follow_put(home->store, &row);
}
