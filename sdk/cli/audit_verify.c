/*
 * weft audit verify: an export, or the controller's log, against every signed
 * checkpoint at hand: those beside the entries, those that endpoints of this
 * machine remember, those in files from elsewhere.
 *
 * Happy path: checkpoints are gathered and their signatures checked -> entries
 * are hashed in order, and compared wherever a checkpoint was signed -> all of
 * them were met.
 *
 * - An entry was edited, deleted, moved: named, or the span in which it lies.
 * - The log ends before a checkpoint: it was cut, or is an old copy.
 * - Two checkpoints of one size differ: it was forked.
 */
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/base/text.h"
#include "sdk/cli/audit.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES (64u * 1024u)
#define STATE_MAX_BYTES (16u * 1024u * 1024u)
#define REMEMBERED "what endpoints here remember"

const struct wf_option cli_audit_verify_options[] = {
    {"file", WF_OPTION_TEXT, "EXPORT", "a file of weft audit export, instead of the controller"},
    {"against", WF_OPTION_LIST, "FILE",
     "checkpoints from elsewhere: weft-router checkpoints, an "
     "older export"},
    {"bundle", WF_OPTION_TEXT, "FILE", "the trust bundle, instead of the identity's"},
    CLI_JSON_ROW,
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};

struct verify {
    struct pki_ledger ledger;
    pki_trust *trust;   /* owned */
    wf_buf bytes;       /* owned */
    const char *source; /* of the checkpoints being read */
    size_t line_no;     /* of the file being read */
    struct pki_checkpoint newest;
    wf_buf newest_record; /* owned */
};

/* ---- files */

weft_err audit_file(const char *path, audit_line_fn each, void *arg, wf_why *why)
{
    FILE *file = fopen(path, "re");
    char *text = malloc(LINE_MAX_BYTES);
    size_t number = 0;
    weft_err err = WEFT_OK;

    if (file == NULL || text == NULL) {
        err = wf_fail(why, file == NULL ? WEFT_ENOTFOUND : WEFT_ENOMEM, "%s can't be read", path);
        goto out;
    }
    while (err == WEFT_OK && fgets(text, LINE_MAX_BYTES, file) != NULL) {
        size_t len = strlen(text);
        json_t *object;

        number++;
        if (len == 0 || text[len - 1] != '\n') {
            err = wf_fail(why, WEFT_EPROTO, "%s, line %zu: cut short, or too long", path, number);
            break;
        }
        object = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(object))
            err = wf_fail(why, WEFT_EPROTO, "%s, line %zu: no JSON object", path, number);
        else
            err = each(arg, object, why);
        json_decref(object);
    }
    if (err == WEFT_OK && ferror(file))
        err = wf_fail(why, WEFT_EIO, "%s can't be read", path);
out:
    free(text);
    if (file != NULL)
        fclose(file);
    return err;
}

char *audit_state_folder(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char *out = NULL;

    if (state != NULL && state[0] == '/')
        return asprintf(&out, "%s/weft", state) < 0 ? NULL : out;
    if (home != NULL && home[0] == '/')
        return asprintf(&out, "%s/.local/state/weft", home) < 0 ? NULL : out;
    return NULL;
}

/* ---- checkpoints */

static weft_err mark(struct verify *v, wf_why *why)
{
    struct pki_checkpoint checkpoint;
    wf_span record = wf_span_of(v->bytes.data, v->bytes.len);
    weft_err err = pki_ledger_mark(&v->ledger, record, v->source, why);

    if (err != WEFT_OK)
        return err;
    checkpoint = v->ledger.marks[v->ledger.mark_count - 1].checkpoint;
    if (checkpoint.size <= v->newest.size)
        return WEFT_OK;
    v->newest = checkpoint;
    wf_buf_clear(&v->newest_record);
    return wf_buf_put(&v->newest_record, record.data, record.len);
}

static weft_err mark_line(void *arg, const json_t *object, wf_why *why)
{
    struct verify *v = arg;
    weft_err err;

    if (json_object_get(object, "checkpoint") == NULL)
        return WEFT_OK; /* an entry of an export */
    err = audit_base64(object, "checkpoint", &v->bytes, why);
    return err == WEFT_OK ? mark(v, why) : err;
}

static weft_err mark_item(void *arg, const json_t *item, wf_why *why)
{
    struct verify *v = arg;
    weft_err err = audit_base64(item, NULL, &v->bytes, why);

    return err == WEFT_OK ? mark(v, why) : err;
}

/* Endpoints of another fabric live here, too: what isn't signed for ours says nothing. */
static void mark_state(struct verify *v, const char *path)
{
    json_t *root = NULL;
    const json_t *one;
    wf_buf text;
    size_t i;

    wf_buf_init(&text, STATE_MAX_BYTES);
    if (wf_file_read(path, &text, NULL) == WEFT_OK)
        root = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
    wf_buf_fini(&text);
    json_array_foreach(json_object_get(root, "checkpoints"), i, one)
    {
        (void)mark_item(v, one, NULL);
    }
    json_decref(root);
}

static weft_err mark_line_softly(void *arg, const json_t *object, wf_why *why)
{
    (void)why;
    (void)mark_line(arg, object, NULL);
    return WEFT_OK;
}

static void mark_remembered(struct verify *v)
{
    char *folder = audit_state_folder(), *path = NULL;
    DIR *dir = folder != NULL ? opendir(folder) : NULL;
    const struct dirent *entry;

    v->source = REMEMBERED;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        if (asprintf(&path, "%s/%s/state.json", folder, entry->d_name) < 0)
            break;
        mark_state(v, path);
        free(path);
        if (asprintf(&path, "%s/%s/checkpoint", folder, entry->d_name) < 0)
            break;
        (void)audit_file(path, mark_line_softly, v, NULL);
        free(path);
    }
    if (dir != NULL)
        closedir(dir);
    free(folder);
}

/* What this run has seen is what the next one is measured by. */
static void remember(const struct verify *v)
{
    char *folder = audit_state_folder(), *path = NULL;
    wf_buf text;
    wf_why why = {""};
    weft_err err;

    if (folder == NULL || v->newest_record.len == 0)
        goto out;
    wf_buf_init(&text, WF_BUNDLE_MAX);
    if (asprintf(&path, "%s/audit-%s", folder, pki_trust_domain(v->trust)) < 0)
        path = NULL;
    err = path == NULL ? WEFT_ENOMEM : wf_folder_make(path, &why);
    free(path);
    path = NULL;
    if (err == WEFT_OK &&
        asprintf(&path, "%s/audit-%s/checkpoint", folder, pki_trust_domain(v->trust)) < 0)
        err = WEFT_ENOMEM;
    if (err == WEFT_OK)
        err = wf_buf_put_text(&text, "{\"checkpoint\":\"");
    if (err == WEFT_OK)
        err = wf_base64_encode(v->newest_record.data, v->newest_record.len, &text);
    if (err == WEFT_OK)
        err = wf_buf_put_text(&text, "\"}\n");
    if (err == WEFT_OK)
        err = wf_file_write(path, text.data, text.len, 0600, &why);
    if (err != WEFT_OK)
        fprintf(stderr, "note: this checkpoint isn't remembered: %s\n",
                why.text[0] != '\0' ? why.text : weft_err_sentence((int)err));
    wf_buf_fini(&text);
out:
    free(path);
    free(folder);
}

/* ---- entries */

static weft_err check_item(void *arg, const json_t *item, wf_why *why)
{
    struct verify *v = arg;
    uint8_t leaf[PKI_HASH_LEN];
    uint64_t seq = 0;
    weft_err err = audit_entry(item, &seq, &v->bytes, leaf, why);

    if (err != WEFT_OK) {
        v->ledger.first_bad = v->ledger.last_bad = v->ledger.tree.size + 1;
        return wf_wrap(why, WEFT_ETAMPERED, "entry %llu can't be read",
                       (unsigned long long)v->ledger.first_bad);
    }
    return pki_ledger_entry(&v->ledger, seq, wf_span_of(v->bytes.data, v->bytes.len), leaf, why);
}

static weft_err check_line(void *arg, const json_t *object, wf_why *why)
{
    struct verify *v = arg;
    const json_t *shown = json_object_get(object, "event"), *time = json_object_get(object, "time");
    json_t *inside;
    bool same;
    weft_err err;

    if (json_object_get(object, "checkpoint") != NULL)
        return WEFT_OK;
    err = check_item(arg, object, why);
    if (err != WEFT_OK)
        return err;
    /* What people read in the file must be what was signed for. */
    inside = json_loadb((const char *)v->bytes.data, v->bytes.len, JSON_REJECT_DUPLICATES, NULL);
    same = json_equal(inside, shown) && json_equal(time, json_object_get(inside, "time"));
    json_decref(inside);
    if (same)
        return WEFT_OK;
    v->ledger.first_bad = v->ledger.last_bad = v->ledger.tree.size;
    return wf_fail(why, WEFT_ETAMPERED, "entry %llu was changed: what it shows is not in its bytes",
                   (unsigned long long)v->ledger.tree.size);
}

/* ---- the command */

static weft_err gather(struct verify *v, const struct wf_call_line *line, const char *file,
                       wf_why *why)
{
    const char *against;
    uint64_t after = 0;
    weft_err err;

    v->source = file != NULL ? file : "the controller";
    err = file != NULL ? audit_file(file, mark_line, v, why)
                       : audit_pages(line, "audit.checkpoints", &after, mark_item, v, why);
    for (size_t i = 0; err == WEFT_OK && (against = wf_line_list(line, "against", i)) != NULL;
         i++) {
        v->source = against;
        err = audit_file(against, mark_line, v, why);
    }
    if (err == WEFT_OK)
        mark_remembered(v);
    return err;
}

static weft_err report(const struct verify *v, const struct wf_call_line *line, weft_err err,
                       const wf_why *why)
{
    const struct pki_ledger *l = &v->ledger;
    char time[24];

    if (wf_line_flag(line, "json")) {
        json_t *out =
            json_pack("{s:b, s:I, s:I, s:I, s:I, s:I}", "verified", err == WEFT_OK, "entries",
                      (json_int_t)l->tree.size, "signed_for", (json_int_t)l->sound, "checkpoints",
                      (json_int_t)l->mark_count, "first_bad", (json_int_t)l->first_bad, "last_bad",
                      (json_int_t)l->last_bad);

        if (out != NULL && err != WEFT_OK)
            json_object_set_new(out, "reason", json_string(why->text));
        cli_print(out, true);
        json_decref(out);
    } else if (err == WEFT_OK) {
        printf("verified: %llu entries, %llu of them signed for, by %zu checkpoints; the newest of "
               "%s\n",
               (unsigned long long)l->tree.size, (unsigned long long)l->sound, l->mark_count,
               l->mark_count > 0 ? wf_time_text(v->newest.time, time) : "none");
    }
    return err;
}

weft_err cli_audit_verify(const struct wf_call_line *line, wf_why *why)
{
    const char *file = wf_line_text(line, "file");
    struct verify v = {.line_no = 0};
    uint64_t after = 0;
    weft_err err = audit_trust(line, &v.trust, why);

    if (err != WEFT_OK)
        return err;
    pki_ledger_init(&v.ledger, v.trust);
    wf_buf_init(&v.bytes, WF_SIGNED_MAX);
    wf_buf_init(&v.newest_record, WF_SIGNED_MAX);
    err = gather(&v, line, file, why);
    if (err != WEFT_OK)
        goto out;
    if (v.ledger.mark_count == 0) {
        err =
            wf_fail(why, WEFT_ETAMPERED, "there is no signed checkpoint: nothing can be verified");
        goto out;
    }
    err = file != NULL ? audit_file(file, check_line, &v, why)
                       : audit_pages(line, "audit.list", &after, check_item, &v, why);
    if (err == WEFT_OK)
        err = pki_ledger_end(&v.ledger, why);
    err = report(&v, line, err, why);
    if (err == WEFT_OK && file == NULL)
        remember(&v);
out:
    pki_ledger_fini(&v.ledger);
    wf_buf_fini(&v.newest_record);
    wf_buf_fini(&v.bytes);
    pki_trust_unref(v.trust);
    return err;
}
