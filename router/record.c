#include "router/record.h"
#include <stdlib.h>

Weft__Wire__Signed *signed_dup(const Weft__Wire__Signed *record)
{
    Weft__Wire__Signed *copy = NULL;
    wf_buf buf;

    wf_buf_init(&buf, WF_BUNDLE_MAX);
    if (wf_signed_encode(record, &buf) != WEFT_OK ||
        wf_signed_decode(buf.data, buf.len, &copy, NULL) != WEFT_OK)
        copy = NULL;
    wf_buf_fini(&buf);
    return copy;
}

void records_fini(struct records *records)
{
    for (size_t i = 0; i < records->count; i++)
        wf_signed_free(records->list[i]);
    free(records->list);
    *records = (struct records){0};
}

weft_err records_take(struct records *records, Weft__Wire__Signed *record)
{
    if (records->count == RECORDS_MAX)
        return WEFT_ELIMIT;
    if (records->count == records->cap) {
        size_t cap = records->cap == 0 ? 16 : 2 * records->cap;
        Weft__Wire__Signed **list = realloc(records->list, cap * sizeof *list);

        if (list == NULL)
            return WEFT_ENOMEM;
        records->list = list;
        records->cap = cap;
    }
    records->list[records->count++] = record;
    return WEFT_OK;
}

weft_err records_add(struct records *records, const Weft__Wire__Signed *record)
{
    Weft__Wire__Signed *copy = signed_dup(record);
    weft_err err;

    if (copy == NULL)
        return WEFT_ENOMEM;
    err = records_take(records, copy);
    if (err != WEFT_OK)
        wf_signed_free(copy);
    return err;
}
