/* backup.*: docs/operations.md, "Backup and restore". */
#include "controller/backup.h"
#include "controller/view.h"
#include "proto/base/text.h"
#include <jansson.h>
#include <string.h>

static weft_err find(struct call *call, struct args *args)
{
    char text[WF_ID_TEXT];
    wf_id id;
    weft_err err = args_text(args, "id", true, text, sizeof text);

    if (err != WEFT_OK)
        return err;
    if (!wf_id_parse(text, strlen(text), &id))
        return wf_fail(&call->why, WEFT_EINVAL, "id: 32 hex digits, as backup.begin gave them");
    return backup_find(call->c->backup, &call->subject->id, &id, call->now, &call->why);
}

weft_err op_backup_begin(struct call *call, struct args *args)
{
    char text[WF_ID_TEXT];
    wf_id id;
    weft_err err = args_end(args);

    if (err == WEFT_OK)
        err = backup_begin(&call->c->backup, &call->c->home, &call->subject->id, call->now, &id,
                           &call->why);
    if (err != WEFT_OK)
        return err;
    return view_answer(call, json_pack("{s:s}", "id", wf_id_text(&id, text)));
}

/* Base64 of bytes, as a member of object. */
static weft_err put_bytes(json_t *object, const char *key, wf_span bytes)
{
    wf_buf text;
    weft_err err;

    wf_buf_init(&text, OPERATION_RESULT_MAX);
    err = wf_base64_encode(bytes.data, bytes.len, &text);
    if (err == WEFT_OK &&
        json_object_set_new(
            object, key, json_stringn(text.len > 0 ? (const char *)text.data : "", text.len)) != 0)
        err = WEFT_ENOMEM;
    wf_buf_fini(&text);
    return err;
}

weft_err op_backup_status(struct call *call, struct args *args)
{
    bool ready = false;
    wf_span manifest, sealed;
    json_t *answer;
    weft_err err = find(call, args);

    if (err == WEFT_OK)
        err = args_end(args);
    if (err == WEFT_OK)
        err = backup_look(call->c->backup, &ready, &manifest, &sealed, &call->why);
    if (err != WEFT_OK)
        return err;
    answer = json_pack("{s:b}", "ready", ready);
    if (answer != NULL && ready) {
        err = put_bytes(answer, "manifest", manifest);
        if (err == WEFT_OK)
            err = put_bytes(answer, "sealed", sealed);
        if (err != WEFT_OK) {
            json_decref(answer);
            return err;
        }
    }
    return view_answer(call, answer);
}

weft_err op_backup_read(struct call *call, struct args *args)
{
    char name[BACKUP_NAME_MAX];
    uint64_t offset = 0;
    wf_buf bytes;
    json_t *answer = NULL;
    weft_err err = find(call, args);

    wf_buf_init(&bytes, BACKUP_CHUNK);
    if (err == WEFT_OK)
        err = args_text(args, "file", true, name, sizeof name);
    if (err == WEFT_OK)
        err = args_number(args, "offset", 0, 0, (uint64_t)1 << 50, &offset);
    if (err == WEFT_OK)
        err = args_end(args);
    if (err == WEFT_OK)
        err = backup_read(call->c->backup, name, offset, &bytes, &call->why);
    if (err == WEFT_OK) {
        answer = json_object();
        err = answer == NULL ? WEFT_ENOMEM
                             : put_bytes(answer, "data", wf_span_of(bytes.data, bytes.len));
        if (err != WEFT_OK)
            json_decref(answer);
    }
    wf_buf_fini(&bytes);
    return err == WEFT_OK ? view_answer(call, answer) : err;
}

weft_err op_backup_end(struct call *call, struct args *args)
{
    weft_err err = find(call, args);

    if (err == WEFT_OK)
        err = args_end(args);
    if (err != WEFT_OK)
        return err;
    backup_free(call->c->backup);
    call->c->backup = NULL;
    return view_answer(call, json_object());
}
