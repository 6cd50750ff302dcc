/*
 * Happy path: someone presents a token of a key that we don't have; a worker
 * asks the issuer's configured address, the answer is parsed as a key set, and
 * is stored; the enrollee, told to try again, finds it there.
 *
 * Failure modes:
 * - No answer, a redirect, too much, too slow, no key set: the line is logged,
 *   the old keys stay, nothing is tried for a minute.
 * - The issuer was removed, or its address changed, meanwhile: the answer is dropped.
 * - The controller stops: the transfer is given up at its next sign of life.
 */
#include "controller/jwks.h"
#include "pki/jwks.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include <curl/curl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define TRIES_MAX 64u /* issuers that are remembered as tried */
#define CONNECT_MS 5000L
#define TOTAL_MS 10000L
#define TLS_CA_MAX 65536u

struct
try {
    wf_id issuer;
    uint64_t at; /* monotonic ms; 0: free */
    bool running, failed;
};

struct jwks {
    uv_loop_t *loop;      /* borrowed */
    struct controller *c; /* borrowed */
    struct try tries[TRIES_MAX];
    atomic_bool stopping;
};

/* One fetch: the worker touches this and `stopping` alone. */
struct fetch {
    uv_work_t work;
    struct jwks *jwks; /* borrowed */
    struct try *slot;  /* borrowed: stays this issuer's while it runs */
    wf_id issuer;
    char name[WF_NAME_MAX + 1], url[STORE_ISSUER_TEXT];
    wf_buf body, tls_ca, old_keys; /* owned */
    weft_err err;
    wf_why why;
};

static size_t on_bytes(char *data, size_t one, size_t n, void *arg)
{
    struct fetch *f = arg;

    return wf_buf_put(&f->body, data, one * n) == WEFT_OK ? one * n : 0;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct fetch *f = arg;

    (void)a, (void)b, (void)c, (void)d;
    return atomic_load(&f->jwks->stopping) ? 1 : 0;
}

static weft_err transfer(struct fetch *f, CURL *curl, char *text)
{
    struct curl_blob ca = {f->tls_ca.data, f->tls_ca.len, CURL_BLOB_NOCOPY};
    long status = 0;
    CURLcode code;

    if (curl_easy_setopt(curl, CURLOPT_URL, f->url) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https") != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_PROXY, "") != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TOTAL_MS) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_MAXFILESIZE, (long)PKI_JWKS_MAX) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_USERAGENT, "weft-controller") != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_XFERINFODATA, f) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, f) != CURLE_OK ||
        /* These authorities instead of the system's, not beside them. */
        (ca.len > 0 && (curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &ca) != CURLE_OK ||
                        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL) != CURLE_OK)))
        return wf_fail(&f->why, WEFT_EINTERNAL, "the request can't be made");
    code = curl_easy_perform(curl);
    if (code != CURLE_OK)
        return wf_fail(&f->why, WEFT_EUNREACHABLE, "%s",
                       text[0] != '\0' ? text : curl_easy_strerror(code));
    if (curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK || status != 200)
        return wf_fail(&f->why, WEFT_EUNREACHABLE, "it answered with status %ld, not 200", status);
    return WEFT_OK;
}

static void work(uv_work_t *handle)
{
    struct fetch *f = wf_container_of(handle, struct fetch, work);
    char text[CURL_ERROR_SIZE] = "";
    CURL *curl = curl_easy_init();
    pki_jwks *set = NULL;

    f->err = curl == NULL ? WEFT_ENOMEM : transfer(f, curl, text);
    if (f->err == WEFT_OK)
        f->err = pki_jwks_parse(wf_span_of(f->body.data, f->body.len), &set, &f->why);
    pki_jwks_free(set);
    curl_easy_cleanup(curl);
}

/* The keys of an issuer that is still there and still lives at that address. */
static weft_err keep(struct fetch *f)
{
    store *s = f->jwks->c->home.store;
    struct store_issuer issuer;
    weft_err err = store_begin(s);

    if (err == WEFT_OK)
        err = store_issuer_get(s, &f->issuer, &issuer);
    if (err == WEFT_OK && strcmp(issuer.url, f->url) == 0)
        err = store_issuer_keys_put(s, &f->issuer, wf_span_of(f->body.data, f->body.len),
                                    wf_now_wall_ms());
    return err == WEFT_ENOTFOUND ? WEFT_OK : err; /* a broken store ends the turn */
}

static void after(uv_work_t *handle, int status)
{
    struct fetch *f = wf_container_of(handle, struct fetch, work);

    f->slot->running = false;
    if (status != 0)
        f->err = wf_fail(&f->why, WEFT_ECANCELED, "it was given up");
    if (!atomic_load(&f->jwks->stopping)) {
        f->slot->failed = f->err != WEFT_OK;
        if (f->err == WEFT_OK)
            (void)keep(f);
        else
            wf_log_warn("the keys of issuer %s can't be fetched from %s: %s", f->name, f->url,
                        f->why.text[0] != '\0' ? f->why.text : weft_err_sentence((int)f->err));
    }
    wf_buf_fini(&f->body);
    wf_buf_fini(&f->tls_ca);
    wf_buf_fini(&f->old_keys);
    free(f);
}

static weft_err start(struct jwks *jwks, const struct store_issuer *issuer, struct try *slot)
{
    struct fetch *f = calloc(1, sizeof *f);
    weft_err err;

    if (f == NULL)
        return WEFT_ENOMEM;
    f->jwks = jwks;
    f->slot = slot;
    f->issuer = issuer->id;
    memcpy(f->name, issuer->name, sizeof f->name);
    memcpy(f->url, issuer->url, sizeof f->url);
    wf_buf_init(&f->body, PKI_JWKS_MAX);
    wf_buf_init(&f->tls_ca, TLS_CA_MAX);
    wf_buf_init(&f->old_keys, PKI_JWKS_MAX);
    err = store_issuer_keys(jwks->c->home.store, &issuer->id, &f->old_keys, &f->tls_ca);
    if (err == WEFT_OK && uv_queue_work(jwks->loop, &f->work, work, after) != 0)
        err = WEFT_EIO;
    if (err != WEFT_OK) {
        wf_buf_fini(&f->body);
        wf_buf_fini(&f->tls_ca);
        wf_buf_fini(&f->old_keys);
        free(f);
    }
    return err;
}

weft_err jwks_want(struct jwks *jwks, const struct store_issuer *issuer, uint64_t now)
{
    struct try *slot = NULL;

    if (jwks == NULL || atomic_load(&jwks->stopping) || issuer->url[0] == '\0')
        return WEFT_EUNREACHABLE;
    for (size_t i = 0; i < TRIES_MAX; i++) {
        struct try *t = &jwks->tries[i];

        if (t->at != 0 && wf_id_equal(&t->issuer, &issuer->id)) {
            if (t->running)
                return WEFT_EBUSY;
            if (now - t->at < JWKS_AGAIN_MS)
                return t->failed ? WEFT_EUNREACHABLE : WEFT_ENOTFOUND;
            slot = t;
            break;
        }
        if (!t->running && (slot == NULL || t->at < slot->at))
            slot = t; /* the longest untried gives way */
    }
    if (slot == NULL)
        return WEFT_EUNREACHABLE;
    *slot = (struct try){.issuer = issuer->id, .at = now != 0 ? now : 1, .running = true};
    if (start(jwks, issuer, slot) == WEFT_OK)
        return WEFT_EBUSY;
    slot->running = false;
    slot->failed = true;
    return WEFT_EUNREACHABLE;
}

weft_err jwks_open(uv_loop_t *loop, struct controller *c, struct jwks **out)
{
    struct jwks *jwks = calloc(1, sizeof *jwks);

    if (jwks == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(jwks);
        return WEFT_ENOMEM;
    }
    jwks->loop = loop;
    jwks->c = c;
    *out = jwks;
    return WEFT_OK;
}

void jwks_close(struct jwks *jwks)
{
    if (jwks != NULL)
        atomic_store(&jwks->stopping, true);
}

void jwks_free(struct jwks *jwks)
{
    if (jwks == NULL)
        return;
    free(jwks);
    curl_global_cleanup();
}
