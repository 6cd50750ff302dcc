#include "controller/api_cert.h"
#include "proto/base/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CA_LIFE_MS (10ull * 365ull * 86400000ull)
#define CERT_LIFE_MS (90ull * 86400000ull)
#define LOCAL_NAMES 3u

static size_t list_names(const struct home *home, const char *names[])
{
    static const char *const local[LOCAL_NAMES] = {"localhost", "127.0.0.1", "::1"};
    size_t count = 0;

    for (size_t i = 0; i < LOCAL_NAMES; i++)
        names[count++] = local[i];
    for (size_t i = 0; i < home->address_count; i++) {
        bool known = false;

        for (size_t j = 0; j < count; j++)
            known = known || strcmp(names[j], home->addresses[i].host) == 0;
        if (!known)
            names[count++] = home->addresses[i].host;
    }
    return count;
}

static bool is_there(const struct home *home, const char *name)
{
    char *path = home_path(home->dir, name, ".pem");
    bool is = path != NULL && wf_file_exists(path);

    free(path);
    return is;
}

/* The key first, sealed as all of the home: a certificate without its key is never there. */
static weft_err write_pair(const struct home *home, const char *name, const wf_buf *key,
                           const wf_buf *cert, wf_why *why)
{
    char label[32];
    wf_buf sealed;
    weft_err err;

    snprintf(label, sizeof label, "%s.key", name);
    wf_buf_init(&sealed, 2 * PKI_WEB_PEM_MAX);
    err = home_seal(home, label, wf_span_of(key->data, key->len), &sealed);
    if (err == WEFT_OK)
        err = home_write(home->dir, name, ".key", 0600, wf_span_of(sealed.data, sealed.len), why);
    if (err == WEFT_OK)
        err = home_write(home->dir, name, ".pem", 0644, wf_span_of(cert->data, cert->len), why);
    wf_buf_fini(&sealed);
    return err;
}

static weft_err read_pair(const struct home *home, const char *name, wf_buf *key, wf_buf *cert,
                          wf_why *why)
{
    char label[32];
    wf_buf sealed;
    weft_err err;

    snprintf(label, sizeof label, "%s.key", name);
    wf_buf_init(&sealed, 2 * PKI_WEB_PEM_MAX);
    err = home_read(home->dir, name, ".key", true, &sealed, why);
    if (err == WEFT_OK)
        err = home_unseal(home, label, wf_span_of(sealed.data, sealed.len), key, why);
    if (err == WEFT_OK)
        err = home_read(home->dir, name, ".pem", false, cert, why);
    wf_buf_fini(&sealed);
    return err;
}

/* A certificate for our names by the authority of the home. */
static weft_err issue(const struct home *home, uint64_t now, wf_buf *key, wf_buf *cert, wf_why *why)
{
    const char *names[LOCAL_NAMES + PKI_CONTROLLERS_MAX];
    size_t count = list_names(home, names);
    wf_buf ca_key, ca_cert;
    weft_err err;

    wf_buf_init(&ca_key, PKI_WEB_PEM_MAX);
    wf_buf_init(&ca_cert, PKI_WEB_PEM_MAX);
    err = read_pair(home, HOME_API_CA, &ca_key, &ca_cert, why);
    if (err == WEFT_OK)
        err = pki_web_issue(wf_span_of(ca_key.data, ca_key.len),
                            wf_span_of(ca_cert.data, ca_cert.len), names, count, now, CERT_LIFE_MS,
                            key, cert, why);
    wf_buf_wipe(&ca_key);
    wf_buf_fini(&ca_cert);
    return err == WEFT_OK ? err : wf_wrap(why, err, "%s/%s.key and .pem", home->dir, HOME_API_CA);
}

static weft_err make_leaf(const struct home *home, uint64_t now, wf_why *why)
{
    wf_buf key, cert;
    weft_err err;

    wf_buf_init(&key, PKI_WEB_PEM_MAX);
    wf_buf_init(&cert, PKI_WEB_PEM_MAX);
    err = issue(home, now, &key, &cert, why);
    if (err == WEFT_OK)
        err = write_pair(home, HOME_API, &key, &cert, why);
    wf_buf_wipe(&key);
    wf_buf_fini(&cert);
    return err;
}

static weft_err make_ca(const struct home *home, uint64_t now, wf_why *why)
{
    const char *names[LOCAL_NAMES + PKI_CONTROLLERS_MAX];
    size_t count = list_names(home, names);
    wf_buf key, cert;
    weft_err err;

    wf_buf_init(&key, PKI_WEB_PEM_MAX);
    wf_buf_init(&cert, PKI_WEB_PEM_MAX);
    /* Whoever trusts it lets it speak for these names and no others. */
    err = pki_web_ca_new(names, count, now, CA_LIFE_MS, &key, &cert, why);
    if (err == WEFT_OK)
        err = write_pair(home, HOME_API_CA, &key, &cert, why);
    wf_buf_wipe(&key);
    wf_buf_fini(&cert);
    return err;
}

weft_err api_cert_make(const struct home *home, uint64_t now, wf_why *why)
{
    weft_err err = WEFT_OK;

    if (!is_there(home, HOME_API_CA))
        err = make_ca(home, now, why);
    if (err == WEFT_OK && !is_there(home, HOME_API))
        err = make_leaf(home, now, why);
    return err;
}

weft_err api_cert_check(const struct home *home, uint64_t now, wf_why *why)
{
    pki_web *web = NULL;
    wf_buf key, cert;
    weft_err err = WEFT_OK;

    wf_buf_init(&key, PKI_WEB_PEM_MAX);
    wf_buf_init(&cert, PKI_WEB_PEM_MAX);
    if (is_there(home, HOME_API_CA))
        err = issue(home, now, &key, &cert, why);
    wf_buf_wipe(&key);
    wf_buf_clear(&cert);
    if (err == WEFT_OK && is_there(home, HOME_API)) {
        err = read_pair(home, HOME_API, &key, &cert, why);
        if (err == WEFT_OK)
            err = pki_web_new(wf_span_of(cert.data, cert.len), wf_span_of(key.data, key.len),
                              home->trust, &web, why);
        pki_web_unref(web);
        if (err != WEFT_OK)
            wf_wrap(why, err, "%s/%s.key and .pem", home->dir, HOME_API);
    }
    wf_buf_wipe(&key);
    wf_buf_fini(&cert);
    return err;
}

weft_err api_cert_open(const struct home *home, uint64_t now, pki_web **out, wf_why *why)
{
    bool renewed;
    pki_web *web = NULL;
    wf_buf key, cert;
    weft_err err = api_cert_make(home, now, why);

    if (err != WEFT_OK)
        return wf_wrap(why, err, "the API's certificate");
    wf_buf_init(&key, PKI_WEB_PEM_MAX);
    wf_buf_init(&cert, PKI_WEB_PEM_MAX);
    err = read_pair(home, HOME_API, &key, &cert, why);
    if (err == WEFT_OK)
        err = pki_web_new(wf_span_of(cert.data, cert.len), wf_span_of(key.data, key.len),
                          home->trust, &web, why);
    if (err == WEFT_ECREDENTIAL) { /* a renewal was cut off between key and certificate */
        wf_buf_clear(&key);
        wf_buf_clear(&cert);
        err = make_leaf(home, now, why);
        if (err == WEFT_OK)
            err = read_pair(home, HOME_API, &key, &cert, why);
        if (err == WEFT_OK)
            err = pki_web_new(wf_span_of(cert.data, cert.len), wf_span_of(key.data, key.len),
                              home->trust, &web, why);
    }
    wf_buf_wipe(&key);
    wf_buf_fini(&cert);
    if (err == WEFT_OK) {
        err = api_cert_renew(home, now, web, &renewed, why);
        if (err != WEFT_OK)
            pki_web_unref(web);
    }
    if (err == WEFT_OK)
        *out = web;
    return err == WEFT_OK ? err : wf_wrap(why, err, "the API's certificate (%s)", home->dir);
}

weft_err api_cert_renew(const struct home *home, uint64_t now, pki_web *web, bool *renewed,
                        wf_why *why)
{
    uint64_t from = pki_web_not_before(web), until = pki_web_not_after(web);
    wf_buf key, cert;
    weft_err err;

    *renewed = false;
    if (now < until && until - now > (until - from) / 2)
        return WEFT_OK;
    err = make_leaf(home, now, why);
    if (err != WEFT_OK)
        return err;
    wf_buf_init(&key, PKI_WEB_PEM_MAX);
    wf_buf_init(&cert, PKI_WEB_PEM_MAX);
    err = read_pair(home, HOME_API, &key, &cert, why);
    if (err == WEFT_OK)
        err = pki_web_replace(web, wf_span_of(cert.data, cert.len), wf_span_of(key.data, key.len),
                              why);
    wf_buf_wipe(&key);
    wf_buf_fini(&cert);
    *renewed = err == WEFT_OK;
    return err;
}

weft_err api_cert_load(const char *cert_file, const char *key_file, pki_trust *trust, pki_web **out,
                       wf_why *why)
{
    wf_buf key, cert;
    weft_err err;

    wf_buf_init(&key, PKI_WEB_PEM_MAX);
    wf_buf_init(&cert, PKI_WEB_PEM_MAX);
    err = wf_file_read_secret(key_file, &key, why);
    if (err == WEFT_OK)
        err = wf_file_read(cert_file, &cert, why);
    if (err == WEFT_OK) {
        err = pki_web_new(wf_span_of(cert.data, cert.len), wf_span_of(key.data, key.len), trust,
                          out, why);
        if (err != WEFT_OK)
            wf_wrap(why, err, "%s with %s", cert_file, key_file);
    }
    wf_buf_wipe(&key);
    wf_buf_fini(&cert);
    return err;
}
