/* Ids: random, compared as bytes, written as 32 lower-case hex digits. */
#include "proto/base/id.h"
#include "proto/base/text.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

wf_id wf_id_random(void)
{
    wf_id id;
    size_t have = 0;
    while (have < sizeof id.b) {
        ssize_t got = getrandom(id.b + have, sizeof id.b - have, 0);
        if (got > 0)
            have += (size_t)got;
        else if (errno != EINTR)
            abort(); /* house: may call abort: a guessable id is worse than no process */
    }
    return id;
}

bool wf_id_is_zero(const wf_id *id)
{
    static const wf_id zero;
    return wf_id_equal(id, &zero);
}

bool wf_id_equal(const wf_id *a, const wf_id *b)
{
    return wf_id_compare(a, b) == 0;
}

int wf_id_compare(const wf_id *a, const wf_id *b)
{
    return memcmp(a->b, b->b, WF_ID_LEN);
}

char *wf_id_text(const wf_id *id, char text[WF_ID_TEXT])
{
    return wf_hex(id->b, WF_ID_LEN, text);
}

bool wf_id_parse(const char *text, size_t len, wf_id *out)
{
    wf_id id;
    if (!wf_unhex(text, len, id.b, WF_ID_LEN))
        return false;
    *out = id;
    return true;
}

bool wf_id_from_bytes(const void *data, size_t len, wf_id *out)
{
    wf_id id;
    if (len != WF_ID_LEN)
        return false;
    memcpy(id.b, data, WF_ID_LEN);
    if (wf_id_is_zero(&id))
        return false;
    *out = id;
    return true;
}
