/*
 * The state file of an endpoint: {"version":1,"bundle":"...","grants":[...],
 * "routers":[...],"floors":[...],"checkpoints":[...]}, each entry an encoded Signed in base64. It
 * holds no secret, and nothing in it is believed before it verifies.
 */
#include "proto/base/file.h"
#include "proto/base/text.h"
#include "proto/wire/control.h"
#include "sdk/grants.h"
#include <jansson.h>
#include <stdlib.h>

#define STATE_MAX (8u * 1024u * 1024u)

static json_t *text_of(wf_span record)
{
    wf_buf text;
    wf_buf_init(&text, 2 * WF_BUNDLE_MAX);
    json_t *out = NULL;
    if (wf_base64_encode(record.data, record.len, &text) == WEFT_OK)
        out = json_stringn((const char *)text.data, text.len);
    wf_buf_fini(&text);
    return out;
}

static bool add(json_t *array, wf_span record)
{
    return json_array_append_new(array, text_of(record)) == 0;
}

weft_err wf_grants_save(struct wf_grants *g, const char *path, wf_why *why)
{
    weft_err err = WEFT_ENOMEM;
    char *text = NULL;
    wf_buf buf;
    wf_buf_init(&buf, WF_BUNDLE_MAX);
    json_t *grants = json_array(), *routers = json_array(), *floors = json_array(),
           *checkpoints = json_array();
    json_t *root = json_pack("{s:i, s:o*, s:o*, s:o*, s:o*, s:o*}", "version", 1, "bundle",
                             text_of(pki_trust_bundle(g->trust)), "grants", grants, "routers",
                             routers, "floors", floors, "checkpoints", checkpoints);
    if (root == NULL || json_object_size(root) != 6)
        goto done;
    for (wf_node *n = g->list.next; n != &g->list; n = n->next) {
        wf_buf_clear(&buf);
        err = wf_signed_encode(wf_container_of(n, struct wf_grant, node)->record, &buf);
        if (err != WEFT_OK)
            goto done;
        err = WEFT_ENOMEM;
        if (!add(grants, wf_span_of(buf.data, buf.len)))
            goto done;
    }
    for (size_t i = 0; i < g->router_count; i++)
        if (!add(routers, wf_span_of(g->routers[i].record.data, g->routers[i].record.len)))
            goto done;
    for (size_t i = 0; i < g->floors_count; i++)
        if (!add(floors, wf_span_of(g->floors[i].data, g->floors[i].len)))
            goto done;
    for (size_t i = 0; i < pki_witness_records(&g->witness); i++)
        if (!add(checkpoints, pki_witness_record(&g->witness, i)))
            goto done;
    text = json_dumps(root, JSON_INDENT(1));
    if (text == NULL)
        goto done;
    size_t len = 0;
    while (text[len] != '\0')
        len++;
    err = wf_file_write(path, text, len, 0600, why);
    if (err == WEFT_OK)
        g->dirty = false;
done:
    free(text);
    json_decref(root);
    wf_buf_fini(&buf);
    return err;
}

/* Floors come first: what they cut is not taken in. */
static const char *const kinds[] = {"floors", "routers", "grants"};

static void take(struct wf_grants *g, size_t kind, const json_t *entry, uint64_t now)
{
    const char *text = json_string_value(entry);
    Weft__Wire__Signed *record = NULL;
    bool changed = false;
    wf_buf raw;
    if (text == NULL)
        return;
    wf_buf_init(&raw, WF_BUNDLE_MAX);
    if (wf_base64_decode(text, json_string_length(entry), &raw) == WEFT_OK &&
        wf_signed_decode(raw.data, raw.len, &record, NULL) == WEFT_OK) {
        if (kind == 0)
            (void)wf_grants_add_floors(g, record, now, &changed, NULL);
        else if (kind == 1)
            (void)wf_grants_add_router(g, record, now, &changed, NULL);
        else
            (void)wf_grants_add(g, record, now, NULL);
    }
    wf_signed_free(record);
    wf_buf_fini(&raw);
}

static void take_checkpoint(struct wf_grants *g, const json_t *entry, size_t i)
{
    const char *text = json_string_value(entry);
    Weft__Wire__Signed *record = NULL;
    wf_buf raw;
    if (text == NULL)
        return;
    wf_buf_init(&raw, WF_BUNDLE_MAX);
    if (wf_base64_decode(text, json_string_length(entry), &raw) == WEFT_OK &&
        wf_signed_decode(raw.data, raw.len, &record, NULL) == WEFT_OK)
        pki_witness_restore(&g->witness, g->trust, record, i);
    wf_signed_free(record);
    wf_buf_fini(&raw);
}

/* A newer bundle than the identity's: it says whose signatures count for all that follows. */
static void take_bundle(struct wf_grants *g, const json_t *entry)
{
    const char *text = json_string_value(entry);
    bool changed = false;
    wf_buf raw;
    if (text == NULL)
        return;
    wf_buf_init(&raw, WF_BUNDLE_MAX);
    if (wf_base64_decode(text, json_string_length(entry), &raw) == WEFT_OK)
        (void)pki_trust_update(g->trust, wf_span_of(raw.data, raw.len), &changed, NULL);
    wf_buf_fini(&raw);
}

weft_err wf_grants_load(struct wf_grants *g, const char *path, uint64_t now, wf_why *why)
{
    wf_buf text;
    wf_buf_init(&text, STATE_MAX);
    weft_err err = wf_file_read(path, &text, why);
    if (err != WEFT_OK)
        return err;
    json_t *root = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
    wf_buf_fini(&text);
    if (root == NULL)
        return wf_fail(why, WEFT_EINVAL, "%s is no state file; remove it", path);
    take_bundle(g, json_object_get(root, "bundle"));
    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        const json_t *array = json_object_get(root, kinds[kind]);
        size_t i;
        const json_t *entry;
        json_array_foreach(array, i, entry)
        {
            take(g, kind, entry, now);
        }
    }
    size_t i;
    const json_t *entry;
    json_array_foreach(json_object_get(root, "checkpoints"), i, entry)
    {
        take_checkpoint(g, entry, i);
    }
    json_decref(root);
    g->dirty = false;
    return WEFT_OK;
}
