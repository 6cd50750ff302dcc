#include "controller/verify.h"
#include "controller/home.h"
#include "proto/base/file.h"
#include "proto/base/text.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGAINST_LINE_MAX 65536u

struct verifying {
    struct pki_ledger ledger;
    wf_why *why;
};

static weft_err take_checkpoint(void *arg, uint64_t size, wf_span encoded)
{
    struct verifying *v = arg;
    size_t before = v->ledger.mark_count;
    weft_err err = pki_ledger_mark(&v->ledger, encoded, "the store", v->why);

    if (err == WEFT_ECREDENTIAL || err == WEFT_EPROTO ||
        (err == WEFT_OK && v->ledger.marks[before].checkpoint.size != size)) {
        wf_wrap(v->why, WEFT_ETAMPERED, "the checkpoint of %llu entries was changed",
                (unsigned long long)size);
        return WEFT_ETAMPERED;
    }
    return err;
}

static weft_err take_entry(void *arg, uint64_t seq, wf_span event, const uint8_t leaf[32])
{
    struct verifying *v = arg;

    return pki_ledger_entry(&v->ledger, seq, event, leaf, v->why);
}

static weft_err take_line(struct verifying *v, const char *path, const char *text, size_t len)
{
    json_t *object = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *record = json_object_get(object, "checkpoint");
    wf_buf bytes;
    weft_err err = WEFT_OK;

    wf_buf_init(&bytes, WF_SIGNED_MAX);
    if (!json_is_object(object))
        err = wf_fail(v->why, WEFT_EPROTO, "%s: a line that is no JSON object", path);
    else if (record != NULL && (!json_is_string(record) ||
                                wf_base64_decode(json_string_value(record),
                                                 json_string_length(record), &bytes) != WEFT_OK))
        err = wf_fail(v->why, WEFT_EPROTO, "%s: a checkpoint that is no base64", path);
    else if (record != NULL)
        err = pki_ledger_mark(&v->ledger, wf_span_of(bytes.data, bytes.len), path, v->why);
    wf_buf_fini(&bytes);
    json_decref(object);
    return err;
}

static weft_err take_file(struct verifying *v, const char *path)
{
    FILE *file = fopen(path, "re");
    char *text = malloc(AGAINST_LINE_MAX);
    weft_err err = WEFT_OK;

    if (file == NULL || text == NULL)
        err = wf_fail(v->why, WEFT_ENOTFOUND, "%s can't be read", path);
    while (err == WEFT_OK && fgets(text, AGAINST_LINE_MAX, file) != NULL)
        err = take_line(v, path, text, strlen(text));
    free(text);
    if (file != NULL)
        fclose(file);
    return err;
}

static weft_err open_trust(const char *dir, const char *bundle, pki_trust **out, wf_why *why)
{
    char *own = home_path(dir, HOME_BUNDLE, "");
    wf_buf bytes;
    weft_err err;

    if (own == NULL)
        return wf_fail(why, WEFT_ENOMEM, "out of memory");
    wf_buf_init(&bytes, WF_BUNDLE_MAX);
    err = wf_file_read(bundle != NULL ? bundle : own, &bytes, why);
    if (err == WEFT_OK)
        err = pki_trust_new(wf_span_of(bytes.data, bytes.len), NULL, out, why);
    wf_buf_fini(&bytes);
    free(own);
    return err;
}

weft_err verify_home(const char *dir, const char *bundle, const char *const *against, size_t count,
                     struct verify_result *out, wf_why *why)
{
    char *path = home_path(dir, HOME_STORE, "");
    struct verifying v = {.why = why};
    pki_trust *trust = NULL;
    store *s = NULL;
    weft_err err;

    *out = (struct verify_result){.entries = 0};
    if (path == NULL)
        return wf_fail(why, WEFT_ENOMEM, "out of memory");
    err = open_trust(dir, bundle, &trust, why);
    if (err != WEFT_OK)
        goto out;
    pki_ledger_init(&v.ledger, trust);
    err = store_open_to_look(path, &s, why);
    if (err == WEFT_OK)
        err = store_checkpoint_each(s, 0, take_checkpoint, &v);
    for (size_t i = 0; err == WEFT_OK && i < count; i++)
        err = take_file(&v, against[i]);
    if (err == WEFT_OK && v.ledger.mark_count == 0)
        err =
            wf_fail(why, WEFT_ETAMPERED, "there is no signed checkpoint: nothing can be verified");
    if (err == WEFT_OK)
        err = store_audit_each(s, 0, take_entry, &v);
    if (err == WEFT_OK)
        err = pki_ledger_end(&v.ledger, why);
    if (s != NULL && err != WEFT_OK && store_check(s, NULL) != WEFT_OK)
        store_check(s, why);
    *out = (struct verify_result){v.ledger.tree.size, v.ledger.sound, v.ledger.mark_count,
                                  v.ledger.first_bad, v.ledger.last_bad};
    pki_ledger_fini(&v.ledger);
    store_close(s);
    pki_trust_unref(trust);
out:
    free(path);
    return err;
}
