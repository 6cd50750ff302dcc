/*
 * The identity file. Read into locals and handed over whole; written under a
 * lock, in one piece. jansson keeps copies of what it reads: the key among
 * them is wiped before it is freed.
 */
#include "pki/identity.h"
#include "pki/identity_key.h"
#include "pki/internal.h"
#include "pki/json.h"
#include "proto/base/file.h"
#include "proto/base/secret.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IDENTITY_VERSION 1
#define KEY_FILE_MAX 16384u
#define CARRY_MAX 1024u /* records of one sort */
#define LOCK_WAIT_MS 10000u

static const struct {
    enum pki_kind kind;
    const char *name;
} kinds[] = {
    {PKI_IDENTITY, "identity"},
    {PKI_ROUTER, "router"},
    {PKI_CONTROLLER, "controller"},
};
#define KIND_COUNT (sizeof kinds / sizeof *kinds)

void pki_identity_init(struct pki_identity *identity)
{
    memset(identity, 0, sizeof *identity);
    wf_buf_init(&identity->bundle, WF_BUNDLE_MAX);
}

static void free_records(wf_buf *records, size_t count)
{
    for (size_t i = 0; i < count; i++)
        wf_buf_fini(&records[i]);
    free(records);
}

void pki_identity_fini(struct pki_identity *identity)
{
    pki_key_free(identity->key);
    free(identity->key_ref);
    pki_chain_free(identity->chain);
    wf_buf_fini(&identity->bundle);
    free_records(identity->grants, identity->grant_count);
    free_records(identity->members, identity->member_count);
    free_records(identity->floors, identity->floors_count);
    free(identity->path);
    pki_identity_init(identity);
}

weft_err pki_identity_carry(wf_buf **array, size_t *count, wf_span record)
{
    if (*count >= CARRY_MAX || record.len == 0 || record.len > WF_FLOORS_MAX)
        return WEFT_ELIMIT;
    wf_buf copy;
    wf_buf_init(&copy, record.len);
    weft_err err = wf_buf_put(&copy, record.data, record.len);
    if (err != WEFT_OK)
        return err;
    wf_buf *more = realloc(*array, (*count + 1) * sizeof *more);
    if (more == NULL) {
        wf_buf_fini(&copy);
        return WEFT_ENOMEM;
    }
    more[*count] = copy;
    *array = more;
    (*count)++;
    return WEFT_OK;
}

/* ---- reading */

static bool span_is(wf_span text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

static weft_err take_who(json_t *json, struct pki_identity *out, wf_why *why)
{
    wf_span domain, kind, id, name;
    weft_err err = pki_json_text(json, "domain", PKI_DOMAIN_MAX, &domain, why);
    if (err != WEFT_OK)
        return err;
    if (pki_domain_check((const char *)domain.data, domain.len, why) != WEFT_OK)
        return WEFT_ECREDENTIAL;
    memcpy(out->domain, domain.data, domain.len);
    err = pki_json_text(json, "kind", 16, &kind, why);
    if (err != WEFT_OK)
        return err;
    for (size_t i = 0; i < KIND_COUNT; i++)
        if (span_is(kind, kinds[i].name))
            out->kind = kinds[i].kind;
    if (out->kind == 0) {
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the field \"kind\" is none of identity, router and controller");
    }
    err = pki_json_text(json, "id", WF_ID_TEXT - 1, &id, why);
    if (err != WEFT_OK)
        return err;
    if (!wf_id_parse((const char *)id.data, id.len, &out->id) || wf_id_is_zero(&out->id))
        return wf_fail(why, WEFT_ECREDENTIAL, "the field \"id\" is no id of 32 hex digits");
    err = pki_json_text(json, "name", WF_NAME_MAX, &name, why);
    if (err != WEFT_OK)
        return err;
    if (wf_name_check((const char *)name.data, name.len, "field \"name\"", why) != WEFT_OK)
        return WEFT_ECREDENTIAL;
    memcpy(out->name, name.data, name.len);
    return WEFT_OK;
}

static weft_err take_key(json_t *json, const char *path, struct pki_identity *out, wf_why *why)
{
    wf_span key;
    weft_err err = pki_json_text(json, "key", KEY_FILE_MAX, &key, why);
    return err == WEFT_OK ? pki_identity_take_key(key, path, out, why) : err;
}

/* The certificate must be this very identity's, for this very key. */
static weft_err take_certificate(json_t *json, struct pki_identity *out, wf_why *why)
{
    wf_span pem;
    struct pki_subject subject;
    pki_pin pin;
    weft_err err = pki_json_text(json, "certificate", 4 * WF_CHAIN_MAX, &pem, why);
    if (err != WEFT_OK)
        return err;
    err = pki_chain_from_pem(pem, &out->chain, why);
    if (err != WEFT_OK) {
        return wf_wrap(why, err == WEFT_ENOMEM ? err : WEFT_ECREDENTIAL,
                       "the field \"certificate\"");
    }
    err = pki_x509_subject(pki_chain_x509(out->chain, 0), &subject, why);
    if (err != WEFT_OK)
        return wf_wrap(why, err, "the field \"certificate\"");
    if (strcmp(subject.domain, out->domain) != 0 || subject.kind != out->kind ||
        !wf_id_equal(&subject.id, &out->id)) {
        char uri[PKI_SPIFFE_MAX];
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the certificate is that of %s, not of the file's domain, kind and id",
                       pki_spiffe_text(subject.domain, subject.kind, &subject.id, uri));
    }
    pki_key_pin(out->key, &pin);
    if (!pki_pin_equal(&pin, &subject.pin)) {
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "the key does not belong to the certificate: enroll again, or put the "
                       "right key back");
    }
    return WEFT_OK;
}

/* One encoded Signed in base64; its shape is checked, its signature is trust's affair. */
static weft_err take_record(wf_span text, const char *name, size_t max, wf_buf *out, wf_why *why)
{
    wf_buf bytes;
    wf_buf_init(&bytes, max);
    Weft__Wire__Signed *record = NULL;
    weft_err err = wf_base64_decode((const char *)text.data, text.len, &bytes);
    if (err == WEFT_OK)
        err = wf_signed_decode(bytes.data, bytes.len, &record, why);
    wf_signed_free(record);
    if (err == WEFT_OK) {
        *out = bytes;
        return WEFT_OK;
    }
    wf_buf_fini(&bytes);
    if (err == WEFT_ENOMEM)
        return wf_fail(why, err, "no memory for the field \"%s\"", name);
    return wf_fail(why, WEFT_ECREDENTIAL, "the field \"%s\" holds what is no signed record", name);
}

static size_t base64_max(size_t bytes)
{
    return (bytes + 2) / 3 * 4;
}

static weft_err take_records(json_t *carry, const char *name, size_t max, wf_buf **array,
                             size_t *count, wf_why *why)
{
    json_t *list;
    weft_err err = pki_json_array(carry, name, 0, CARRY_MAX, &list, why);
    for (size_t i = 0; err == WEFT_OK && i < json_array_size(list); i++) {
        wf_span text;
        wf_buf record;
        err = pki_json_entry(list, i, name, base64_max(max), &text, why);
        if (err != WEFT_OK)
            break;
        err = take_record(text, name, max, &record, why);
        if (err != WEFT_OK)
            break;
        err = pki_identity_carry(array, count, wf_span_of(record.data, record.len));
        if (err != WEFT_OK)
            (void)wf_fail(why, err, "the field \"%s\" can't be kept", name);
        wf_buf_fini(&record);
    }
    return err;
}

static weft_err take_carry(json_t *json, struct pki_identity *out, wf_why *why)
{
    static const char *const names[] = {"grants", "members", "floors"};
    json_t *carry = json_object_get(json, "carry");
    if (carry == NULL)
        return WEFT_OK;
    if (!json_is_object(carry))
        return wf_fail(why, WEFT_ECREDENTIAL, "the field \"carry\" is no object");
    weft_err err = pki_json_fields(carry, names, 3, 3, "field \"carry\"", why);
    if (err == WEFT_OK)
        err = take_records(carry, "grants", WF_SIGNED_MAX, &out->grants, &out->grant_count, why);
    if (err == WEFT_OK)
        err = take_records(carry, "members", WF_SIGNED_MAX, &out->members, &out->member_count, why);
    if (err == WEFT_OK)
        err = take_records(carry, "floors", WF_FLOORS_MAX, &out->floors, &out->floors_count, why);
    out->carries = err == WEFT_OK;
    return err;
}

static weft_err take_rest(json_t *json, struct pki_identity *out, wf_why *why)
{
    wf_span text;
    json_t *list;
    weft_err err = pki_json_text(json, "bundle", base64_max(WF_BUNDLE_MAX), &text, why);
    if (err != WEFT_OK)
        return err;
    err = take_record(text, "bundle", WF_BUNDLE_MAX, &out->bundle, why);
    if (err != WEFT_OK)
        return err;
    err = pki_json_array(json, "controllers", 0, PKI_CONTROLLERS_MAX, &list, why);
    for (size_t i = 0; err == WEFT_OK && i < json_array_size(list); i++) {
        err = pki_json_entry(list, i, "controllers", WF_ADDRESS_TEXT - 1, &text, why);
        if (err == WEFT_OK &&
            wf_address_parse((const char *)text.data, 0, &out->controllers[i], why) != WEFT_OK)
            err = wf_wrap(why, WEFT_ECREDENTIAL, "the field \"controllers\"");
        out->controller_count = i + 1;
    }
    return err == WEFT_OK ? take_carry(json, out, why) : err;
}

/* path: where the text came from; NULL: from no file. */
static weft_err read_identity(wf_span text, const char *path, struct pki_identity *out, wf_why *why)
{
    static const char *const names[] = {"weft", "domain",      "kind",   "id",          "name",
                                        "key",  "certificate", "bundle", "controllers", "carry"};
    const size_t count = sizeof names / sizeof *names;
    if (text.len > WF_IDENTITY_FILE_MAX) {
        return wf_fail(why, WEFT_ECREDENTIAL, "an identity has at most %u bytes, this has %zu",
                       WF_IDENTITY_FILE_MAX, text.len);
    }
    struct pki_identity identity;
    pki_identity_init(&identity);
    json_t *json = NULL;
    weft_err err = pki_json_load(text, "identity", &json, why);
    if (err != WEFT_OK)
        return err;
    /* First, so that a later form is named as such and not by its new fields. */
    const json_t *version = json_object_get(json, "weft");
    if (!json_is_integer(version) || json_integer_value(version) != IDENTITY_VERSION) {
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "this is no identity that this program reads: its field \"weft\" is not %d",
                      IDENTITY_VERSION);
        goto out;
    }
    err = pki_json_fields(json, names, count, count - 1, "identity", why);
    if (err == WEFT_OK)
        err = take_who(json, &identity, why);
    if (err == WEFT_OK)
        err = take_key(json, path, &identity, why);
    if (err == WEFT_OK)
        err = take_certificate(json, &identity, why);
    if (err == WEFT_OK)
        err = take_rest(json, &identity, why);
    if (err == WEFT_OK && path != NULL) {
        identity.path = strdup(path);
        if (identity.path == NULL)
            err = wf_fail(why, WEFT_ENOMEM, "no memory for a path");
    }
out:
    pki_json_wipe(json_object_get(json, "key"));
    json_decref(json);
    if (err == WEFT_OK)
        *out = identity;
    else
        pki_identity_fini(&identity);
    return err;
}

weft_err pki_identity_parse(wf_span json, struct pki_identity *out, wf_why *why)
{
    return read_identity(json, NULL, out, why);
}

weft_err pki_identity_load(const char *path, struct pki_identity *out, wf_why *why)
{
    wf_buf text;
    wf_buf_init(&text, WF_IDENTITY_FILE_MAX);
    weft_err err = wf_file_read_secret(path, &text, why);
    if (err != WEFT_OK) {
        err = wf_wrap(why, err, "identity");
        goto out;
    }
    /* "-" is standard input, which can't be written back. */
    const char *home = strcmp(path, "-") == 0 ? NULL : path;
    err = read_identity(wf_span_of(text.data, text.len), home, out, why);
    if (err != WEFT_OK)
        err = wf_wrap(why, err, "identity %s", path);
out:
    wf_buf_wipe(&text);
    return err;
}

/* ---- writing */

/* A text as JSON has it, with its quotes. */
static weft_err put_text(const char *text, wf_buf *out)
{
    weft_err err = wf_buf_put_text(out, "\"");
    for (const char *at = text; err == WEFT_OK && *at != '\0'; at++)
        if (*at == '\n')
            err = wf_buf_put_text(out, "\\n");
        else if (*at == '"' || *at == '\\')
            err = wf_buf_printf(out, "\\%c", *at);
        else if ((unsigned char)*at < 0x20)
            err = wf_buf_printf(out, "\\u%04x", (unsigned)*at);
        else
            err = wf_buf_put(out, at, 1);
    return err == WEFT_OK ? wf_buf_put_text(out, "\"") : err;
}

static weft_err put_field(const char *name, const char *text, wf_buf *out)
{
    weft_err err = wf_buf_printf(out, ",\n  \"%s\": ", name);
    return err == WEFT_OK ? put_text(text, out) : err;
}

static weft_err put_key(const struct pki_identity *identity, wf_buf *out)
{
    wf_buf value;
    wf_buf_init(&value, KEY_FILE_MAX);
    weft_err err = wf_buf_reserve(&value, KEY_FILE_MAX);
    if (err == WEFT_OK)
        err = pki_identity_put_key(identity, &value, NULL);
    const char *text = err == WEFT_OK ? wf_buf_cstr(&value) : NULL;
    if (err == WEFT_OK)
        err = text == NULL ? WEFT_ENOMEM : put_field("key", text, out);
    wf_buf_wipe(&value);
    return err;
}

static weft_err put_certificate(const struct pki_identity *identity, wf_buf *out)
{
    wf_buf pem;
    wf_buf_init(&pem, 4 * WF_CHAIN_MAX);
    weft_err err = pki_chain_put_pem(identity->chain, &pem);
    const char *text = err == WEFT_OK ? wf_buf_cstr(&pem) : NULL;
    if (err == WEFT_OK)
        err = text == NULL ? WEFT_ENOMEM : put_field("certificate", text, out);
    wf_buf_fini(&pem);
    return err;
}

static weft_err put_base64(const wf_buf *bytes, wf_buf *out)
{
    weft_err err = wf_buf_put_text(out, "\"");
    if (err == WEFT_OK)
        err = wf_base64_encode(bytes->data, bytes->len, out);
    return err == WEFT_OK ? wf_buf_put_text(out, "\"") : err;
}

static weft_err put_records(const char *name, const wf_buf *records, size_t count, bool last,
                            wf_buf *out)
{
    weft_err err = wf_buf_printf(out, "\n    \"%s\": [", name);
    for (size_t i = 0; err == WEFT_OK && i < count; i++) {
        err = wf_buf_put_text(out, i == 0 ? "\n      " : ",\n      ");
        if (err == WEFT_OK)
            err = put_base64(&records[i], out);
    }
    return err == WEFT_OK ? wf_buf_put_text(out, last ? "]" : "],") : err;
}

static weft_err put_rest(const struct pki_identity *identity, wf_buf *out)
{
    weft_err err = wf_buf_put_text(out, ",\n  \"bundle\": ");
    if (err == WEFT_OK)
        err = put_base64(&identity->bundle, out);
    if (err == WEFT_OK)
        err = wf_buf_put_text(out, ",\n  \"controllers\": [");
    for (size_t i = 0; err == WEFT_OK && i < identity->controller_count; i++) {
        char address[WF_ADDRESS_TEXT];
        if (i > 0)
            err = wf_buf_put_text(out, ", ");
        if (err == WEFT_OK)
            err = put_text(wf_address_text(&identity->controllers[i], address), out);
    }
    if (err == WEFT_OK)
        err = wf_buf_put_text(out, "]");
    if (err != WEFT_OK || !identity->carries)
        return err;
    err = wf_buf_put_text(out, ",\n  \"carry\": {");
    if (err == WEFT_OK)
        err = put_records("grants", identity->grants, identity->grant_count, false, out);
    if (err == WEFT_OK)
        err = put_records("members", identity->members, identity->member_count, false, out);
    if (err == WEFT_OK)
        err = put_records("floors", identity->floors, identity->floors_count, true, out);
    return err == WEFT_OK ? wf_buf_put_text(out, "\n  }") : err;
}

weft_err pki_identity_put_json(const struct pki_identity *identity, wf_buf *out)
{
    assert(identity->key != NULL && identity->chain != NULL);
    assert(identity->controller_count <= PKI_CONTROLLERS_MAX);
    const size_t before = out->len;
    const char *kind = NULL;
    for (size_t i = 0; i < KIND_COUNT; i++)
        if (kinds[i].kind == identity->kind)
            kind = kinds[i].name;
    if (kind == NULL)
        return WEFT_EINVAL;
    char id[WF_ID_TEXT];
    weft_err err = wf_buf_printf(out, "{\n  \"weft\": %d", IDENTITY_VERSION);
    if (err == WEFT_OK)
        err = put_field("domain", identity->domain, out);
    if (err == WEFT_OK)
        err = put_field("kind", kind, out);
    if (err == WEFT_OK)
        err = put_field("id", wf_id_text(&identity->id, id), out);
    if (err == WEFT_OK)
        err = put_field("name", identity->name, out);
    if (err == WEFT_OK)
        err = put_key(identity, out);
    if (err == WEFT_OK)
        err = put_certificate(identity, out);
    if (err == WEFT_OK)
        err = put_rest(identity, out);
    if (err == WEFT_OK)
        err = wf_buf_put_text(out, "\n}\n");
    if (err != WEFT_OK && out->data != NULL) {
        wf_wipe(out->data + before, out->len - before);
        out->len = before;
    }
    return err;
}

weft_err pki_identity_save(const struct pki_identity *identity, const char *path, wf_why *why)
{
    int lock = -1;
    wf_buf text;
    wf_buf_init(&text, WF_IDENTITY_FILE_MAX);
    weft_err err = wf_buf_reserve(&text, WF_IDENTITY_FILE_MAX); /* no copies of the key by growth */
    if (err == WEFT_OK)
        err = pki_identity_put_json(identity, &text);
    if (err != WEFT_OK) {
        err = wf_fail(why, err, "the identity %s can't be put into words: %s", path,
                      weft_err_sentence(err));
        goto out;
    }
    err = wf_file_lock(path, LOCK_WAIT_MS, &lock, why);
    if (err != WEFT_OK)
        goto out;
    err = wf_file_write(path, text.data, text.len, 0600, why);
    (void)close(lock);
out:
    wf_buf_wipe(&text);
    return err;
}

/* ---- use */

static weft_err apply_floors(const struct pki_identity *identity, pki_trust *trust, uint64_t now,
                             wf_why *why)
{
    for (size_t i = 0; i < identity->floors_count; i++) {
        const wf_buf *encoded = &identity->floors[i];
        Weft__Wire__Signed *record = NULL;
        bool changed;
        weft_err err = wf_signed_decode(encoded->data, encoded->len, &record, why);
        if (err == WEFT_OK)
            err = pki_trust_apply_floors(trust, record, now, &changed, why);
        wf_signed_free(record);
        if (err != WEFT_OK)
            return wf_wrap(why, err, "the revocations that the identity carries");
    }
    return WEFT_OK;
}

weft_err pki_identity_open(const struct pki_identity *identity, uint64_t now, pki_trust **trust,
                           pki_tls_ctx **tls, wf_why *why)
{
    pki_trust *believed = NULL;
    (void)wf_fail(why, WEFT_ENOMEM, "out of memory"); /* unless a deeper word replaces it */
    weft_err err = pki_trust_new(wf_span_of(identity->bundle.data, identity->bundle.len), NULL,
                                 &believed, why);
    if (err != WEFT_OK)
        return wf_wrap(why, err, "the identity's trust bundle");
    if (strcmp(pki_trust_domain(believed), identity->domain) != 0) {
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "the identity is of %s, but its trust bundle is that of %s", identity->domain,
                      pki_trust_domain(believed));
        goto fail;
    }
    err = apply_floors(identity, believed, now, why);
    if (err != WEFT_OK)
        goto fail;
    const struct pki_tls_identity own = {
        .key = identity->key, .chain = identity->chain, .trust = believed};
    err = pki_tls_ctx_new(&own, tls, why);
    if (err != WEFT_OK)
        goto fail;
    *trust = believed;
    return WEFT_OK;
fail:
    pki_trust_unref(believed);
    return err;
}
