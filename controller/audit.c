#include "controller/audit.h"
#include "controller/home.h"
#include "proto/base/text.h"
#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define SIGN_EACH_MS 100u
#define VALUE_MAX 256u     /* bytes of one text in an entry */
#define ARGUMENT_MAX 1024u /* of one argument that is a list or an object */
#define ARGUMENTS_MAX 4096u

static const char *const kinds[] = {
    [AUDIT_NONE] = "none",       [AUDIT_ADMIN] = "admin",       [AUDIT_ENROLL] = "enroll",
    [AUDIT_RENEW] = "renew",     [AUDIT_GRANTS] = "grants",     [AUDIT_FLOORS] = "floors",
    [AUDIT_REFUSED] = "refused", [AUDIT_LEFT_OUT] = "left-out", [AUDIT_START] = "start",
    [AUDIT_STOP] = "stop",       [AUDIT_BEHIND] = "log.behind", [AUDIT_LEARNED] = "learned",
    [AUDIT_LOCAL] = "local",     [AUDIT_ROTATION] = "rotation",
};

/* Arguments whose values are kept. Of any other only the name is: it may be a secret. */
static const char *const kept[] = {
    "name",
    "new_name",
    "id",
    "identity",
    "service",
    "roles",
    "mode",
    "type",
    "semantic",
    "who",
    "what",
    "identity_roles",
    "service_roles",
    "enroll",
    "token_life_s",
    "life_s",
    "rights",
    "limits",
    "windows",
    "sources",
    "os",
    "ca",
    "auto",
    "issuer",
    "audience",
    "claims",
    "jwks_url",
    "name_template",
    "dry_run",
    "addresses",
    "kind",
};

/* ---- the bytes of an entry */

static weft_err put_string(wf_buf *out, const char *text, size_t len)
{
    size_t most = len > VALUE_MAX ? VALUE_MAX : len;
    weft_err err = wf_buf_put_u8(out, '"');

    for (size_t i = 0; err == WEFT_OK && i < most; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == '"' || c == '\\')
            err = wf_buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c > 0x7e)
            err = wf_buf_printf(out, "\\u%04x", c);
        else
            err = wf_buf_put_u8(out, c);
    }
    if (err == WEFT_OK && most < len)
        err = wf_buf_put_text(out, "...");
    return err == WEFT_OK ? wf_buf_put_u8(out, '"') : err;
}

static weft_err put_text(wf_buf *out, const char *key, const char *text)
{
    weft_err err;

    if (text == NULL || text[0] == '\0')
        return WEFT_OK;
    err = wf_buf_printf(out, ",\"%s\":", key);
    return err == WEFT_OK ? put_string(out, text, strlen(text)) : err;
}

static weft_err put_number(wf_buf *out, const char *key, uint64_t n)
{
    return n == 0 ? WEFT_OK : wf_buf_printf(out, ",\"%s\":%llu", key, (unsigned long long)n);
}

static bool is_kept(const char *key)
{
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (strcmp(kept[i], key) == 0)
            return true;
    return false;
}

static weft_err put_value(wf_buf *out, const json_t *value)
{
    char *text;
    weft_err err;

    if (json_is_string(value))
        return put_string(out, json_string_value(value), json_string_length(value));
    text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
    if (text == NULL)
        return WEFT_ENOMEM;
    if (strlen(text) > ARGUMENT_MAX || strchr(text, '\x7f') != NULL)
        err = wf_buf_printf(out, "\"(%zu bytes, not kept)\"", strlen(text));
    else
        err = wf_buf_put_text(out, text);
    free(text);
    return err;
}

static weft_err put_arguments(wf_buf *out, wf_span arguments)
{
    json_t *all, *value;
    const char *key, *before = "";
    size_t end = out->len + ARGUMENTS_MAX;
    weft_err err;

    if (arguments.len == 0)
        return WEFT_OK;
    all = json_loadb((const char *)arguments.data, arguments.len, JSON_REJECT_DUPLICATES, NULL);
    err = wf_buf_put_text(out, ",\"arguments\":{");
    json_object_foreach(all, key, value)
    {
        if (err != WEFT_OK || out->len > end)
            break;
        err = wf_buf_put_text(out, before);
        before = ",";
        if (err == WEFT_OK)
            err = put_string(out, key, strlen(key));
        if (err == WEFT_OK)
            err = wf_buf_put_u8(out, ':');
        if (err == WEFT_OK)
            err = is_kept(key) ? put_value(out, value) : wf_buf_put_text(out, "\"(not kept)\"");
    }
    json_decref(all);
    return err == WEFT_OK ? wf_buf_put_u8(out, '}') : err;
}

static weft_err encode(uint64_t seq, const struct audit_event *event, wf_buf *out)
{
    char id[WF_ID_TEXT], digest[2 * PKI_HASH_LEN + 1];
    weft_err err;

    assert(event->kind != AUDIT_NONE);
    err =
        wf_buf_printf(out, "{\"seq\":%llu,\"time\":%llu,\"event\":\"%s\"", (unsigned long long)seq,
                      (unsigned long long)event->time, kinds[event->kind]);
    if (err == WEFT_OK)
        err = put_text(out, "operation", event->operation);
    if (err == WEFT_OK)
        err = put_text(out, "by", event->by);
    if (err == WEFT_OK && event->id != NULL)
        err = put_text(out, "id", wf_id_text(event->id, id));
    if (err == WEFT_OK)
        err = put_text(out, "as", event->as);
    if (err == WEFT_OK)
        err = put_text(out, "at", event->at);
    if (err == WEFT_OK)
        err = put_text(out, "what", event->what);
    if (err == WEFT_OK)
        err = put_arguments(out, event->arguments);
    if (err == WEFT_OK)
        err = put_number(out, "count", event->count);
    if (err == WEFT_OK)
        err = put_number(out, "version", event->version);
    if (err == WEFT_OK && event->digest != NULL)
        err = put_text(out, "digest", wf_hex(event->digest, PKI_HASH_LEN, digest));
    if (err == WEFT_OK && event->code != WEFT_OK)
        err = put_text(out, "code", weft_err_name((int)event->code));
    if (err == WEFT_OK)
        err = put_text(out, "reason", event->reason);
    return err == WEFT_OK ? wf_buf_put_u8(out, '}') : err;
}

/* ---- the log */

weft_err audit_subtree(void *store_arg, unsigned level, uint64_t index, uint8_t out[PKI_HASH_LEN])
{
    store *s = store_arg;
    uint8_t right[PKI_HASH_LEN];
    weft_err err;

    if (level == 0)
        return store_audit_leaf(s, index + 1, out);
    if (level >= STORE_AUDIT_LEVEL)
        return store_audit_node_get(s, level, index, out);
    err = audit_subtree(s, level - 1, 2 * index, out);
    if (err == WEFT_OK)
        err = audit_subtree(s, level - 1, 2 * index + 1, right);
    if (err == WEFT_OK)
        pki_tree_node(out, right, out);
    return err;
}

weft_err audit_open(store *s, struct audit_log **out)
{
    struct audit_log *log = calloc(1, sizeof *log);
    uint64_t size = 0;
    weft_err err;

    if (log == NULL)
        return WEFT_ENOMEM;
    wf_buf_init(&log->newest, WF_SIGNED_MAX);
    wf_buf_init(&log->fresh, WF_SIGNED_MAX);
    err = store_audit_size(s, &size);
    if (err == WEFT_OK)
        err = pki_tree_load(&log->tree, size, audit_subtree, s);
    if (err == WEFT_ENOTFOUND) /* a hash that was written is gone */
        err = WEFT_EIO;
    if (err == WEFT_OK)
        err = store_checkpoint_last(s, &log->signed_size, &log->newest);
    if (err == WEFT_ENOTFOUND)
        err = WEFT_OK; /* none was signed yet */
    if (err != WEFT_OK)
        audit_close(log);
    else
        *out = log;
    return err;
}

void audit_close(struct audit_log *log)
{
    if (log == NULL)
        return;
    wf_buf_fini(&log->newest);
    wf_buf_fini(&log->fresh);
    free(log);
}

static weft_err keep_subtree(void *arg, unsigned level, uint64_t index,
                             const uint8_t hash[PKI_HASH_LEN])
{
    return level < STORE_AUDIT_LEVEL ? WEFT_OK : store_audit_node_put(arg, level, index, hash);
}

weft_err audit_append(const struct home *home, const struct audit_event *event)
{
    struct audit_log *log = home->log;
    uint64_t seq = log->tree.size + 1;
    uint8_t leaf[PKI_HASH_LEN];
    wf_buf bytes;
    weft_err err;

    wf_buf_init(&bytes, WF_EVENT_MAX);
    err = encode(seq, event, &bytes);
    if (err == WEFT_OK)
        err = pki_tree_leaf(wf_span_of(bytes.data, bytes.len), leaf);
    if (err == WEFT_OK)
        err = store_audit_add(home->store, seq, wf_span_of(bytes.data, bytes.len), leaf);
    if (err == WEFT_OK)
        err = pki_tree_add(&log->tree, leaf, keep_subtree, home->store);
    wf_buf_fini(&bytes);
    return err;
}

bool audit_is_unsigned(const struct audit_log *log)
{
    return log->tree.size > log->signed_size;
}

bool audit_may_sign(const struct audit_log *log, uint64_t now_mono)
{
    return audit_is_unsigned(log) &&
           (log->signed_at == 0 || now_mono - log->signed_at >= SIGN_EACH_MS);
}

weft_err audit_sign(const struct home *home, uint64_t now, uint64_t now_mono)
{
    struct audit_log *log = home->log;
    struct pki_checkpoint checkpoint = {.size = log->tree.size, .time = now};
    weft_err err;

    if (!audit_is_unsigned(log))
        return WEFT_OK;
    pki_tree_root(&log->tree, checkpoint.root);
    wf_buf_clear(&log->fresh);
    err = pki_checkpoint_seal(home->audit, home->domain, &checkpoint, &log->fresh);
    if (err == WEFT_OK)
        err = store_checkpoint_put(home->store, checkpoint.size,
                                   wf_span_of(log->fresh.data, log->fresh.len));
    if (err != WEFT_OK)
        return err;
    log->signed_size = checkpoint.size;
    log->signed_at = now_mono;
    return WEFT_OK;
}

bool audit_committed(struct audit_log *log)
{
    wf_buf old = log->newest;

    if (log->fresh.len == 0)
        return false;
    log->newest = log->fresh;
    log->fresh = old;
    wf_buf_clear(&log->fresh);
    return true;
}
