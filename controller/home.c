#include "controller/home.h"
#include "controller/issue.h"
#include "controller/unlock.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/base/reader.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY_FILE_MAX 16384u
#define ROW_MAX (64u * 1024u * 1024u) /* of all bundles that there were */

char *home_path(const char *dir, const char *name, const char *extension)
{
    char *path = NULL;

    return asprintf(&path, "%s/%s%s", dir, name, extension) < 0 ? NULL : path;
}

weft_err home_read(const char *dir, const char *name, const char *extension, bool secret,
                   wf_buf *out, wf_why *why)
{
    char *path = home_path(dir, name, extension);
    weft_err err;

    if (path == NULL)
        return wf_fail(why, WEFT_ENOMEM, "out of memory");
    err = secret ? wf_file_read_secret(path, out, why) : wf_file_read(path, out, why);
    free(path);
    return err;
}

weft_err home_write(const char *dir, const char *name, const char *extension, unsigned mode,
                    wf_span data, wf_why *why)
{
    char *path = home_path(dir, name, extension);
    weft_err err;

    if (path == NULL)
        return wf_fail(why, WEFT_ENOMEM, "out of memory");
    err = wf_file_write(path, data.data, data.len, mode, why);
    free(path);
    return err;
}

weft_err home_seal(const struct home *home, const char *label, wf_span plain, wf_buf *out)
{
    return pki_vault_seal(home->vault, wf_span_of(label, strlen(label)), plain, out);
}

weft_err home_unseal(const struct home *home, const char *label, wf_span sealed, wf_buf *out,
                     wf_why *why)
{
    return pki_vault_open(home->vault, wf_span_of(label, strlen(label)), sealed, out, why);
}

/* The PEM in a sealed file; the caller wipes it. */
static weft_err read_sealed(const struct home *home, const char *name, const char *extension,
                            wf_buf *pem, wf_why *why)
{
    char label[64];
    wf_buf sealed;
    weft_err err;

    assert(strlen(name) + strlen(extension) < sizeof label);
    snprintf(label, sizeof label, "%s%s", name, extension);
    wf_buf_init(&sealed, KEY_FILE_MAX);
    err = home_read(home->dir, name, extension, true, &sealed, why);
    if (err == WEFT_OK) {
        err = home_unseal(home, label, wf_span_of(sealed.data, sealed.len), pem, why);
        if (err != WEFT_OK)
            wf_wrap(why, err, "%s/%s", home->dir, label);
    }
    wf_buf_fini(&sealed);
    return err;
}

weft_err home_read_key(const struct home *home, const char *name, const char *extension,
                       pki_key **out, wf_why *why)
{
    wf_buf pem;
    weft_err err;

    wf_buf_init(&pem, KEY_FILE_MAX);
    err = read_sealed(home, name, extension, &pem, why);
    if (err == WEFT_OK) {
        err = pki_key_from_pem(wf_span_of(pem.data, pem.len), NULL, out, why);
        if (err != WEFT_OK)
            wf_wrap(why, err, "%s/%s%s", home->dir, name, extension);
    }
    wf_buf_wipe(&pem);
    return err;
}

weft_err home_write_key(const struct home *home, const char *name, const char *extension,
                        const pki_key *key, wf_why *why)
{
    char label[64];
    wf_buf pem, sealed;
    weft_err err;

    assert(strlen(name) + strlen(extension) < sizeof label);
    snprintf(label, sizeof label, "%s%s", name, extension);
    wf_buf_init(&pem, KEY_FILE_MAX);
    wf_buf_init(&sealed, KEY_FILE_MAX);
    err = wf_buf_reserve(&pem, KEY_FILE_MAX); /* one piece, so that growth leaves no copy behind */
    if (err == WEFT_OK)
        err = pki_key_put_pem(key, NULL, &pem);
    if (err == WEFT_OK)
        err = home_seal(home, label, wf_span_of(pem.data, pem.len), &sealed);
    if (err != WEFT_OK)
        wf_fail(why, err, "%s/%s can't be sealed: %s", home->dir, label, weft_err_sentence(err));
    else
        err =
            home_write(home->dir, name, extension, 0600, wf_span_of(sealed.data, sealed.len), why);
    wf_buf_wipe(&pem);
    wf_buf_fini(&sealed);
    return err;
}

weft_err home_read_ca(const struct home *home, const char *name, pki_ca **out, wf_why *why)
{
    wf_buf key, chain;
    weft_err err;

    wf_buf_init(&key, KEY_FILE_MAX);
    wf_buf_init(&chain, KEY_FILE_MAX);
    err = read_sealed(home, name, ".key", &key, why);
    if (err == WEFT_OK)
        err = home_read(home->dir, name, ".pem", false, &chain, why);
    if (err == WEFT_OK) {
        err = pki_ca_from_pem(wf_span_of(key.data, key.len), NULL,
                              wf_span_of(chain.data, chain.len), out, why);
        if (err != WEFT_OK)
            wf_wrap(why, err, "%s/%s.key and .pem", home->dir, name);
    }
    wf_buf_wipe(&key);
    wf_buf_fini(&chain);
    return err;
}

static weft_err read_leaf(struct home *h, wf_why *why)
{
    struct pki_subject self;
    pki_pin a, b;
    wf_buf pem;
    weft_err err = home_read_key(h, HOME_LEAF, ".key", &h->key, why);

    if (err != WEFT_OK)
        return err;
    wf_buf_init(&pem, KEY_FILE_MAX);
    err = home_read(h->dir, HOME_LEAF, ".pem", false, &pem, why);
    if (err == WEFT_OK)
        err = pki_chain_from_pem(wf_span_of(pem.data, pem.len), &h->chain, why);
    wf_buf_fini(&pem);
    if (err != WEFT_OK)
        return err;
    pki_key_pin(h->key, &a);
    pki_chain_pin(h->chain, &b);
    if (!pki_pin_equal(&a, &b))
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "%s/controller.pem is not the certificate of %s/controller.key", h->dir,
                       h->dir);
    /* Half life and expiry are looked at by home_renew_leaf: here only whether it is ours. */
    err = pki_trust_check_chain(h->trust, h->chain, PKI_CONTROLLER, PKI_SERVER, true,
                                wf_now_wall_ms(), &self, why);
    if (err == WEFT_EEXPIRED)
        err = WEFT_OK;
    if (err != WEFT_OK)
        wf_wrap(why, err, "%s/controller.pem", h->dir);
    return err;
}

static weft_err read_settings(struct home *h, wf_why *why)
{
    wf_buf value;
    weft_err err;
    const char *at;

    wf_buf_init(&value, PKI_CONTROLLERS_MAX * WF_ADDRESS_TEXT);
    err = store_setting_get(h->store, HOME_SETTING_ID, &value);
    if (err == WEFT_OK && !wf_id_from_bytes(value.data, value.len, &h->id))
        err = WEFT_EIO;
    wf_buf_clear(&value);
    if (err == WEFT_OK)
        err = store_setting_get(h->store, HOME_SETTING_ADDRESSES, &value);
    if (err != WEFT_OK)
        goto out;
    at = wf_buf_cstr(&value);
    err = at == NULL ? WEFT_ENOMEM : WEFT_OK;
    while (err == WEFT_OK && *at != '\0') {
        size_t len = strcspn(at, " ");
        char one[WF_ADDRESS_TEXT];

        if (len >= sizeof one || h->address_count == PKI_CONTROLLERS_MAX) {
            err = WEFT_EIO;
            break;
        }
        memcpy(one, at, len);
        one[len] = '\0';
        err = wf_address_parse(one, 0, &h->addresses[h->address_count++], NULL);
        at += len + (at[len] == ' ');
    }
out:
    wf_buf_fini(&value);
    if (err != WEFT_OK)
        wf_fail(why, err, "%s/%s: the settings that `init` writes are not there", h->dir,
                HOME_STORE);
    return err;
}

/* The row of bundles as a file: each a u32 length and an encoded Signed. */
static weft_err read_row(const char *dir, wf_buf **list, size_t *count, wf_why *why)
{
    wf_buf file;
    wf_reader r;
    wf_span one;
    uint32_t len;
    weft_err err;

    wf_buf_init(&file, ROW_MAX);
    err = home_read(dir, HOME_BUNDLES, "", false, &file, why);
    if (err == WEFT_ENOTFOUND)
        err = WEFT_OK; /* nothing was ever rotated */
    wf_reader_init(&r, file.data, file.len);
    while (err == WEFT_OK && !wf_reader_end(&r)) {
        wf_buf *more = realloc(*list, (*count + 1) * sizeof *more);

        if (more == NULL) {
            err = WEFT_ENOMEM;
            break;
        }
        *list = more;
        if (!wf_get_u32(&r, &len) || !wf_get_span(&r, len, &one)) {
            err = wf_fail(why, WEFT_EIO, "%s/" HOME_BUNDLES " is cut short", dir);
            break;
        }
        wf_buf_init(&more[*count], WF_BUNDLE_MAX);
        err = wf_buf_put(&more[*count], one.data, one.len);
        (*count)++;
    }
    wf_buf_fini(&file);
    return err;
}

static void free_row(wf_buf *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        wf_buf_fini(&list[i]);
    free(list);
}

static bool is_span(const wf_buf *a, const wf_buf *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* The newest bundle, and the row that ends with it. */
static weft_err read_bundle(const char *dir, wf_buf *newest, wf_buf **list, size_t *count,
                            wf_why *why)
{
    wf_buf *more;
    weft_err err = home_read(dir, HOME_BUNDLE, "", false, newest, why);

    if (err == WEFT_OK)
        err = read_row(dir, list, count, why);
    if (err != WEFT_OK || (*count > 0 && is_span(&(*list)[*count - 1], newest)))
        return err;
    if (*count > 0)
        return wf_fail(why, WEFT_EIO,
                       "%s/" HOME_BUNDLES " does not end with the bundle in %s/" HOME_BUNDLE, dir,
                       dir);
    more = malloc(sizeof *more);
    if (more == NULL)
        return WEFT_ENOMEM;
    *list = more;
    *count = 1;
    wf_buf_init(more, WF_BUNDLE_MAX);
    return wf_buf_put(more, newest->data, newest->len);
}

static weft_err read_trust(struct home *h, wf_why *why)
{
    wf_buf bundle;
    weft_err err;

    wf_buf_init(&bundle, WF_BUNDLE_MAX);
    err = read_bundle(h->dir, &bundle, &h->bundles, &h->bundle_count, why);
    if (err == WEFT_OK) {
        pki_record_digest(wf_span_of(bundle.data, bundle.len), h->bundle_digest);
        err = pki_trust_new(wf_span_of(bundle.data, bundle.len), NULL, &h->trust, why);
    }
    wf_buf_fini(&bundle);
    if (err == WEFT_OK)
        h->domain = pki_trust_domain(h->trust);
    return err;
}

weft_err home_read_bundles(struct home *home, size_t *first, wf_why *why)
{
    size_t before = home->bundle_count, count = 0;
    wf_buf newest, *list = NULL;
    bool changed;
    weft_err err;

    *first = before;
    wf_buf_init(&newest, WF_BUNDLE_MAX);
    err = read_bundle(home->dir, &newest, &list, &count, why);
    if (err == WEFT_OK &&
        (count < before || !is_span(&list[before - 1], &home->bundles[before - 1])))
        err = wf_fail(why, WEFT_ECONFLICT,
                      "%s/" HOME_BUNDLES " is not the row that this one began with", home->dir);
    for (size_t i = before; err == WEFT_OK && i < count; i++)
        err = pki_trust_update(home->trust, wf_span_of(list[i].data, list[i].len), &changed, why);
    if (err == WEFT_OK) {
        home->domain = pki_trust_domain(home->trust);
        pki_record_digest(wf_span_of(newest.data, newest.len), home->bundle_digest);
        free_row(home->bundles, home->bundle_count);
        home->bundles = list;
        home->bundle_count = count;
        home->is_switching = true;
    } else {
        free_row(list, count);
    }
    wf_buf_fini(&newest);
    return err;
}

/* ---- what signs */

static weft_err read_signers(struct home *h, wf_why *why)
{
    pki_key *next = NULL;
    weft_err err = home_read_ca(h, HOME_CA_IDENTITIES, &h->identities, why);

    if (err == WEFT_OK)
        err = home_read_ca(h, HOME_CA_ROUTERS, &h->routers, why);
    if (err == WEFT_OK)
        err = home_read_ca(h, HOME_CA_CONTROLLERS, &h->controllers, why);
    if (err == WEFT_OK)
        err = home_read_key(h, HOME_POLICY, "", &h->policy, why);
    if (err == WEFT_OK)
        err = home_read_key(h, HOME_AUDIT, "", &h->audit, why);
    if (err == WEFT_OK)
        err = home_read_key(h, HOME_ENROLLMENT, "", &h->enrollment, why);
    if (err == WEFT_OK)
        err = read_leaf(h, why);
    if (err != WEFT_OK)
        return err;
    err = home_read_key(h, HOME_NEXT, ".key", &next, why);
    if (err == WEFT_OK)
        pki_key_pin(next, &h->next_pin);
    h->has_next = err == WEFT_OK;
    pki_key_free(next);
    return err == WEFT_ENOTFOUND ? WEFT_OK : err;
}

static void free_signers(struct home *h)
{
    pki_ca_free(h->identities);
    pki_ca_free(h->routers);
    pki_ca_free(h->controllers);
    pki_key_free(h->policy);
    pki_key_free(h->audit);
    pki_key_free(h->enrollment);
    pki_key_free(h->key);
    pki_chain_free(h->chain);
}

weft_err home_read_signers(struct home *home, wf_why *why)
{
    struct home fresh = *home;
    weft_err err;

    fresh.identities = fresh.routers = fresh.controllers = NULL;
    fresh.policy = fresh.audit = fresh.enrollment = fresh.key = NULL;
    fresh.chain = NULL;
    err = read_signers(&fresh, why);
    if (err != WEFT_OK) {
        free_signers(&fresh);
        return err;
    }
    free_signers(home);
    *home = fresh;
    home->is_switching = false;
    return WEFT_OK;
}

weft_err home_read_leaf(struct home *home, wf_why *why)
{
    struct home fresh = *home;
    weft_err err;

    fresh.key = NULL;
    fresh.chain = NULL;
    err = read_leaf(&fresh, why);
    if (err != WEFT_OK) {
        pki_key_free(fresh.key);
        pki_chain_free(fresh.chain);
        return err;
    }
    pki_key_free(home->key);
    pki_chain_free(home->chain);
    home->key = fresh.key;
    home->chain = fresh.chain;
    return WEFT_OK;
}

weft_err home_read_keys(const char *dir, const char *seal_key, struct home *out, wf_why *why)
{
    struct home h = {.lock = -1, .dir = strdup(dir)};
    weft_err err = h.dir == NULL ? wf_fail(why, WEFT_ENOMEM, "out of memory") : WEFT_OK;

    if (err == WEFT_OK)
        err = unlock_open(dir, seal_key, &h.vault, why);
    if (err == WEFT_OK)
        err = read_trust(&h, why);
    if (err == WEFT_OK)
        err = read_signers(&h, why);
    if (err != WEFT_OK)
        home_close(&h);
    else
        *out = h;
    return err;
}

size_t home_bundles_after(const struct home *home, uint64_t version)
{
    /* The row has no gap; of a home that was restored it may begin late. */
    uint64_t before = pki_trust_version(home->trust) - home->bundle_count;

    if (version <= before)
        return 0;
    return version - before < home->bundle_count ? (size_t)(version - before) : home->bundle_count;
}

void home_issuer_pin(const struct home *home, enum pki_kind kind, pki_pin *out)
{
    const pki_ca *ca = kind == PKI_IDENTITY ? home->identities
                       : kind == PKI_ROUTER ? home->routers
                                            : home->controllers;

    pki_chain_pin(pki_ca_chain(ca), out);
}

weft_err home_open(const char *dir, struct home *out, wf_why *why)
{
    return home_open_sealed(dir, NULL, out, why);
}

weft_err home_open_sealed(const char *dir, const char *seal_key, struct home *out, wf_why *why)
{
    struct home h = {.lock = -1};
    char *store_path = home_path(dir, HOME_STORE, "");
    char *lock_path = home_path(dir, "home", "");
    bool switched;
    weft_err err = WEFT_ENOMEM;

    h.dir = strdup(dir);
    if (store_path == NULL || lock_path == NULL || h.dir == NULL) {
        wf_fail(why, err, "out of memory");
        goto out;
    }
    if (!wf_file_exists(store_path)) {
        err = wf_fail(why, WEFT_ENOTFOUND,
                      "%s is no controller's home; make one with: weft-controller init --home %s",
                      dir, dir);
        goto out;
    }
    err = wf_file_lock(lock_path, 0, &h.lock, why);
    if (err == WEFT_EBUSY) {
        wf_fail(why, err, "%s is in use by another weft-controller; stop that one first", dir);
        goto out;
    }
    if (err != WEFT_OK)
        goto out;
    err = unlock_open(dir, seal_key, &h.vault, why);
    if (err == WEFT_OK)
        err = home_switch(dir, &switched, why);
    if (err == WEFT_OK)
        err = store_open(store_path, &h.store, why);
    if (err == WEFT_OK && (err = audit_open(h.store, &h.log)) != WEFT_OK)
        wf_fail(why, err, "%s: the audit log in the store can't be read: %s", store_path,
                weft_err_sentence((int)err));
    if (err == WEFT_OK)
        err = read_settings(&h, why);
    if (err == WEFT_OK)
        err = read_trust(&h, why);
    if (err == WEFT_OK)
        err = read_signers(&h, why);
out:
    free(store_path);
    free(lock_path);
    if (err != WEFT_OK) {
        home_close(&h);
        return err;
    }
    *out = h;
    return WEFT_OK;
}

void home_close(struct home *h)
{
    audit_close(h->log);
    store_close(h->store);
    pki_vault_free(h->vault);
    free_signers(h);
    free_row(h->bundles, h->bundle_count);
    if (h->trust != NULL)
        pki_trust_unref(h->trust);
    if (h->lock >= 0)
        close(h->lock);
    free(h->dir);
    *h = (struct home){.lock = -1};
}

weft_err home_renew_leaf(struct home *home, uint64_t now, bool *renewed, wf_why *why)
{
    struct store_node self = {.id = home->id, .kind = PKI_CONTROLLER, .name = HOME_NAME};
    uint64_t from, until;
    pki_chain *chain = NULL;
    wf_buf pem;
    weft_err err;

    *renewed = false;
    pki_chain_validity(home->chain, &from, &until);
    if (home->is_switching || (now < until && until - now > (until - from) / 2))
        return WEFT_OK;
    err = issue_leaf(home, &self, pki_chain_spki(home->chain), now, 0, &chain, why);
    if (err != WEFT_OK)
        return err;
    wf_buf_init(&pem, KEY_FILE_MAX);
    err = pki_chain_put_pem(chain, &pem);
    if (err == WEFT_OK)
        err = home_write(home->dir, HOME_LEAF, ".pem", 0644, wf_span_of(pem.data, pem.len), why);
    wf_buf_fini(&pem);
    if (err != WEFT_OK) {
        pki_chain_free(chain);
        return err;
    }
    pki_chain_free(home->chain);
    home->chain = chain;
    *renewed = true;
    return WEFT_OK;
}
