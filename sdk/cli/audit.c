/* weft audit tail, export and prove; verify is in audit_verify.c. docs/protocol.md, "The audit
 * log". */
#include "sdk/cli/audit.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/base/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TAIL_DEFAULT 20
#define TAIL_MAX 500
#define FOLLOW_S 1u

const struct wf_option cli_audit_tail_options[] = {
    {"n", WF_OPTION_TEXT, "N", "how many (20, at most 500)"},
    {"follow", WF_OPTION_FLAG, NULL, "goes on with what comes, until it is stopped"},
    {"json", WF_OPTION_FLAG, NULL, "each entry's exact bytes on one line"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};
const struct wf_option cli_audit_prove_options[] = {
    CLI_JSON_ROW,
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};

/* ---- pages */

weft_err audit_pages(const struct wf_call_line *line, const char *operation, uint64_t *after,
                     audit_item_fn item, void *arg, wf_why *why)
{
    weft_err err = WEFT_OK;

    for (bool more = true; err == WEFT_OK && more;) {
        json_t *page = NULL, *args = json_pack("{s:I}", "after", (json_int_t)*after);
        const json_t *one;
        size_t i;

        err = args == NULL ? WEFT_ENOMEM : cli_call(line, operation, args, &page, why);
        json_decref(args);
        if (err != WEFT_OK)
            break;
        more = json_is_true(json_object_get(page, "more"));
        json_array_foreach(json_object_get(page, "items"), i, one)
        {
            if (err == WEFT_OK)
                err = item(arg, one, why);
        }
        json_int_t next = json_integer_value(json_object_get(page, "next"));
        if (err == WEFT_OK && (next < 0 || (more && (uint64_t)next <= *after)))
            err = wf_fail(why, WEFT_EPROTO, "the controller's pages of the log don't go on");
        if (err == WEFT_OK)
            *after = (uint64_t)next;
        json_decref(page);
    }
    return err;
}

weft_err audit_base64(const json_t *item, const char *key, wf_buf *out, wf_why *why)
{
    const json_t *text = key != NULL ? json_object_get(item, key) : item;

    wf_buf_clear(out);
    if (!json_is_string(text) ||
        wf_base64_decode(json_string_value(text), json_string_length(text), out) != WEFT_OK)
        return wf_fail(why, WEFT_EPROTO, "'%s' is no base64", key != NULL ? key : "checkpoint");
    return WEFT_OK;
}

weft_err audit_entry(const json_t *item, uint64_t *seq, wf_buf *bytes, uint8_t leaf[PKI_HASH_LEN],
                     wf_why *why)
{
    const json_t *number = json_object_get(item, "seq"), *hash = json_object_get(item, "leaf");
    weft_err err = audit_base64(item, "bytes", bytes, why);

    if (err != WEFT_OK)
        return err;
    if (!json_is_integer(number) || json_integer_value(number) <= 0 || !json_is_string(hash) ||
        !wf_unhex(json_string_value(hash), json_string_length(hash), leaf, PKI_HASH_LEN))
        return wf_fail(why, WEFT_EPROTO, "an entry without its number or hash");
    *seq = (uint64_t)json_integer_value(number);
    return WEFT_OK;
}

weft_err audit_trust(const struct wf_call_line *line, pki_trust **out, wf_why *why)
{
    const char *file = wf_line_text(line, "bundle");
    struct pki_identity identity;
    char *path = NULL;
    wf_buf bundle;
    weft_err err;

    if (file != NULL) {
        wf_buf_init(&bundle, WF_BUNDLE_MAX);
        err = wf_file_read(file, &bundle, why);
        if (err == WEFT_OK)
            err = pki_trust_new(wf_span_of(bundle.data, bundle.len), NULL, out, why);
        wf_buf_fini(&bundle);
        return err == WEFT_OK ? err : wf_wrap(why, err, "%s", file);
    }
    err = cli_identity(line, true, &path, why);
    if (err != WEFT_OK)
        return err;
    err = path[0] == '{' ? pki_identity_parse(wf_span_of(path, strlen(path)), &identity, why)
                         : pki_identity_load(path, &identity, why);
    free(path);
    if (err != WEFT_OK)
        return err;
    err = pki_trust_new(wf_span_of(identity.bundle.data, identity.bundle.len), NULL, out, why);
    pki_identity_fini(&identity);
    return err;
}

/* ---- tail */

static const char *text_in(const json_t *event, const char *key)
{
    const char *text = json_string_value(json_object_get(event, key));

    return text != NULL ? text : "";
}

static void print_row(const json_t *event)
{
    char time[24];
    json_int_t at = json_integer_value(json_object_get(event, "time"));
    json_int_t count = json_integer_value(json_object_get(event, "count"));
    const char *const parts[] = {text_in(event, "operation"), text_in(event, "what"),
                                 text_in(event, "code"), text_in(event, "reason")};
    const char *by = text_in(event, "by");

    printf("%6lld  %s  %-9s %s", (long long)json_integer_value(json_object_get(event, "seq")),
           wf_time_text(at > 0 ? (uint64_t)at : 0, time), text_in(event, "event"),
           by[0] != '\0' ? by : text_in(event, "as"));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i][0] != '\0')
            printf("  %s", parts[i]);
    if (count > 0)
        printf("  (%lld)", (long long)count);
    putchar('\n');
}

struct tail {
    wf_buf bytes; /* owned */
    bool as_json;
};

static weft_err print_entry(void *arg, const json_t *item, wf_why *why)
{
    struct tail *tail = arg;
    uint8_t leaf[PKI_HASH_LEN];
    uint64_t seq;
    json_t *event;
    weft_err err = audit_entry(item, &seq, &tail->bytes, leaf, why);

    if (err != WEFT_OK)
        return err;
    event =
        json_loadb((const char *)tail->bytes.data, tail->bytes.len, JSON_REJECT_DUPLICATES, NULL);
    if (event == NULL)
        return wf_fail(why, WEFT_EPROTO, "entry %llu is no JSON", (unsigned long long)seq);
    if (tail->as_json)
        printf("%.*s\n", (int)tail->bytes.len, (const char *)tail->bytes.data);
    else
        print_row(event);
    json_decref(event);
    return WEFT_OK;
}

weft_err cli_audit_tail(const struct wf_call_line *line, wf_why *why)
{
    struct tail tail = {.as_json = wf_line_flag(line, "json")};
    const char *text = wf_line_text(line, "n");
    json_t *page = NULL, *args;
    const json_t *item;
    uint64_t after;
    size_t i;
    char *end = NULL;
    long n = text != NULL ? strtol(text, &end, 10) : TAIL_DEFAULT;
    weft_err err;

    if (n < 1 || n > TAIL_MAX || (text != NULL && (*text == '\0' || *end != '\0')))
        return wf_fail(why, WEFT_EUSAGE, "--n: a number from 1 to %d", TAIL_MAX);
    wf_buf_init(&tail.bytes, WF_EVENT_MAX);
    args = json_pack("{s:I}", "limit", (json_int_t)n);
    err = cli_call(line, "audit.list", args, &page, why);
    json_decref(args);
    if (err != WEFT_OK)
        goto out;
    json_array_foreach(json_object_get(page, "items"), i, item)
    {
        if (err == WEFT_OK)
            err = print_entry(&tail, item, why);
    }
    after = (uint64_t)json_integer_value(json_object_get(page, "next"));
    /* More than a page holds: the rest of what was asked for. */
    if (err == WEFT_OK && json_is_true(json_object_get(page, "more")))
        err = audit_pages(line, "audit.list", &after, print_entry, &tail, why);
    while (err == WEFT_OK && wf_line_flag(line, "follow")) {
        fflush(stdout);
        sleep(FOLLOW_S);
        err = audit_pages(line, "audit.list", &after, print_entry, &tail, why);
    }
out:
    json_decref(page);
    wf_buf_fini(&tail.bytes);
    return err;
}

/* ---- export */

struct export
{
    FILE *file;   /* owned */
    wf_buf bytes; /* owned */
    uint64_t entries, checkpoints;
};

static weft_err put_line(struct export *x, json_t *object, wf_why *why)
{
    weft_err err = WEFT_OK;

    if (object == NULL)
        return WEFT_ENOMEM;
    if (json_dumpf(object, x->file, JSON_COMPACT) != 0 || fputc('\n', x->file) == EOF)
        err = wf_fail(why, WEFT_EIO, "the file can't be written: is the disk full?");
    json_decref(object);
    return err;
}

static weft_err export_entry(void *arg, const json_t *item, wf_why *why)
{
    struct export *x = arg;
    uint8_t leaf[PKI_HASH_LEN];
    uint64_t seq;
    json_t *event;
    weft_err err = audit_entry(item, &seq, &x->bytes, leaf, why);

    if (err != WEFT_OK)
        return err;
    event = json_loadb((const char *)x->bytes.data, x->bytes.len, JSON_REJECT_DUPLICATES, NULL);
    if (event == NULL)
        return wf_fail(why, WEFT_EPROTO, "entry %llu is no JSON", (unsigned long long)seq);
    x->entries++;
    return put_line(x,
                    json_pack("{s:I, s:O, s:o, s:O, s:O}", "seq", (json_int_t)seq, "time",
                              json_object_get(event, "time"), "event", event, "bytes",
                              json_object_get(item, "bytes"), "leaf",
                              json_object_get(item, "leaf")),
                    why);
}

static weft_err gather_checkpoint(void *arg, const json_t *item, wf_why *why)
{
    if (!json_is_string(item))
        return wf_fail(why, WEFT_EPROTO, "a checkpoint that is no text");
    return json_array_append_new(arg, json_string(json_string_value(item))) == 0 ? WEFT_OK
                                                                                 : WEFT_ENOMEM;
}

weft_err cli_audit_export(const struct wf_call_line *line, wf_why *why)
{
    const char *path = wf_line_arg(line, 0);
    struct export x = {.file = NULL};
    json_t *checkpoints = json_array(), *one;
    uint64_t after = 0;
    size_t i;
    weft_err err = wf_file_create(path, "", 0, 0600, why);

    if (err != WEFT_OK) {
        json_decref(checkpoints);
        return err;
    }
    wf_buf_init(&x.bytes, WF_EVENT_MAX);
    x.file = fopen(path, "we");
    if (x.file == NULL)
        err = wf_fail(why, WEFT_EIO, "%s can't be written", path);
    /* Asked for first and written last: none may stand for an entry that isn't in the file. */
    if (err == WEFT_OK)
        err = audit_pages(line, "audit.checkpoints", &after, gather_checkpoint, checkpoints, why);
    after = 0;
    if (err == WEFT_OK)
        err = audit_pages(line, "audit.list", &after, export_entry, &x, why);
    json_array_foreach(checkpoints, i, one)
    {
        if (err == WEFT_OK)
            err = put_line(&x, json_pack("{s:O}", "checkpoint", one), why);
        x.checkpoints++;
    }
    if (x.file != NULL && fflush(x.file) == 0 && fsync(fileno(x.file)) != 0 && err == WEFT_OK)
        err = wf_fail(why, WEFT_EIO, "%s can't be written", path);
    if (x.file != NULL && fclose(x.file) != 0 && err == WEFT_OK)
        err = wf_fail(why, WEFT_EIO, "%s can't be written", path);
    wf_buf_fini(&x.bytes);
    json_decref(checkpoints);
    if (err == WEFT_OK)
        fprintf(stderr, "%s: %llu entries, %llu checkpoints\n", path, (unsigned long long)x.entries,
                (unsigned long long)x.checkpoints);
    else
        (void)remove(path);
    return err;
}

/* ---- prove */

weft_err cli_audit_prove(const struct wf_call_line *line, wf_why *why)
{
    char *end = NULL;
    unsigned long long seq = strtoull(wf_line_arg(line, 0), &end, 10);
    struct pki_checkpoint checkpoint;
    struct pki_proof proof = {.count = 0};
    pki_trust *trust = NULL;
    json_t *result = NULL, *args = NULL;
    const json_t *hash;
    uint8_t leaf[PKI_HASH_LEN];
    uint64_t inside = 0;
    size_t i;
    wf_buf bytes, record;
    weft_err err;

    if (*wf_line_arg(line, 0) == '\0' || *end != '\0' || seq == 0 || seq > WF_LOG_MAX)
        return wf_fail(why, WEFT_EUSAGE, "SEQ is the number of an entry, from 1 on");
    wf_buf_init(&bytes, WF_EVENT_MAX);
    wf_buf_init(&record, WF_SIGNED_MAX);
    args = json_pack("{s:I}", "seq", (json_int_t)seq);
    err = audit_trust(line, &trust, why);
    if (err == WEFT_OK)
        err = cli_call(line, "audit.prove", args, &result, why);
    if (err == WEFT_OK)
        err = audit_base64(result, "bytes", &bytes, why);
    if (err == WEFT_OK)
        err = audit_base64(result, "checkpoint", &record, why);
    if (err == WEFT_OK)
        err = pki_checkpoint_open(trust, wf_span_of(record.data, record.len), &checkpoint, why);
    json_array_foreach(json_object_get(result, "hashes"), i, hash)
    {
        if (err == WEFT_OK && (proof.count == PKI_PROOF_MAX || !json_is_string(hash) ||
                               !wf_unhex(json_string_value(hash), json_string_length(hash),
                                         proof.hash[proof.count], PKI_HASH_LEN)))
            err = wf_fail(why, WEFT_EPROTO, "the controller's proof can't be read");
        proof.count++;
    }
    if (err == WEFT_OK)
        err = pki_tree_leaf(wf_span_of(bytes.data, bytes.len), leaf);
    if (err == WEFT_OK &&
        (pki_ledger_seq(wf_span_of(bytes.data, bytes.len), &inside) != WEFT_OK || inside != seq ||
         !pki_tree_check_leaf(leaf, seq - 1, checkpoint.size, &proof, checkpoint.root)))
        err = wf_fail(why, WEFT_ETAMPERED,
                      "entry %llu is not in the log of %llu entries that was signed for", seq,
                      (unsigned long long)checkpoint.size);
    if (err == WEFT_OK && wf_line_flag(line, "json")) {
        cli_print(result, true);
    } else if (err == WEFT_OK) {
        char text[2 * PKI_HASH_LEN + 1];

        printf("%.*s\n", (int)bytes.len, (const char *)bytes.data);
        printf("leaf  %s\n", wf_hex(leaf, sizeof leaf, text));
        for (i = 0; i < proof.count; i++)
            printf("      %s\n", wf_hex(proof.hash[i], PKI_HASH_LEN, text));
        printf("root  %s of %llu entries, signed\n", wf_hex(checkpoint.root, PKI_HASH_LEN, text),
               (unsigned long long)checkpoint.size);
    }
    json_decref(args);
    json_decref(result);
    if (trust != NULL)
        pki_trust_unref(trust);
    wf_buf_fini(&record);
    wf_buf_fini(&bytes);
    return err;
}
