/*
 * Keys in PKCS#11 tokens, by OpenSSL's engine "pkcs11", which is loaded by
 * its name when the first such key is asked for: nobody else needs it.
 *
 * Engines are deprecated in OpenSSL 3; the provider that replaces this one is
 * in no release of Debian's that we build on.
 */
#define OPENSSL_API_COMPAT 0x10100000L
#include "pki/internal.h"
#include "pki/pkcs11.h"
#include "proto/base/file.h"
#include "proto/base/secret.h"
#include <openssl/opensslconf.h>
#include <stdlib.h>
#include <string.h>

#if defined WEFT_NO_PKCS11 || defined OPENSSL_NO_ENGINE

weft_err pki_key_from_token(const char *uri, pki_key **out, wf_why *why)
{
    struct pki_pkcs11 parsed;
    weft_err err = pki_pkcs11_parse(uri, &parsed, why);
    (void)out;
    if (err != WEFT_OK)
        return err;
    return wf_fail(why, WEFT_ECREDENTIAL,
                   "this build can't use keys in PKCS#11 tokens: take the one that isn't static, "
                   "or a key inline or in a file");
}

#else

#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/ui.h>
#include <pthread.h>
#include <unistd.h>

#define PIN_MAX 256u

/* One engine and one module for the life of the process: a token is logged into once. */
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static ENGINE *engine;
static UI_METHOD *silent;

/* A PIN that isn't known is an error, never a question. */
static int read_nothing(UI *ui, UI_STRING *string)
{
    (void)ui;
    (void)string;
    return 0;
}

static weft_err start_engine(wf_why *why)
{
    const char *module = getenv("WEFT_PKCS11_MODULE");
    ENGINE *e;

    if (engine != NULL)
        return WEFT_OK;
    if (module != NULL && (module[0] != '/' || access(module, R_OK) != 0))
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "WEFT_PKCS11_MODULE: %s is not there: name the PKCS#11 module's .so by its "
                       "absolute path",
                       module);
    if (silent == NULL) {
        silent = UI_create_method("weft asks nobody");
        if (silent == NULL || UI_method_set_reader(silent, read_nothing) != 0)
            return pki_openssl_fail(why, WEFT_ENOMEM, "no memory for a PKCS#11 token");
    }
    ENGINE_load_dynamic();
    e = ENGINE_by_id("pkcs11");
    if (e == NULL) {
        ERR_clear_error();
        return wf_fail(why, WEFT_ECREDENTIAL,
                       "OpenSSL's engine \"pkcs11\" is not installed (Debian: "
                       "libengine-pkcs11-openssl)");
    }
    (void)ENGINE_ctrl_cmd_string(e, "QUIET", NULL, 0); /* errors are ours to print */
    if ((module != NULL && ENGINE_ctrl_cmd_string(e, "MODULE_PATH", module, 0) != 1) ||
        ENGINE_init(e) != 1) {
        ENGINE_free(e);
        return pki_openssl_fail(why, WEFT_ECREDENTIAL, "the PKCS#11 module doesn't start");
    }
    engine = e;
    return WEFT_OK;
}

/* The PIN from the file that the URI or the environment names; none: the token needs none. */
static weft_err give_pin(const struct pki_pkcs11 *uri, wf_why *why)
{
    const char *path = uri->pin_file[0] != '\0' ? uri->pin_file : getenv("WEFT_PKCS11_PIN_FILE");
    wf_buf pin;
    weft_err err;

    if (path == NULL)
        return WEFT_OK;
    wf_buf_init(&pin, PIN_MAX);
    err = wf_buf_reserve(&pin, PIN_MAX);
    if (err == WEFT_OK)
        err = wf_file_read_secret(path, &pin, why);
    if (err != WEFT_OK) {
        wf_wrap(why, err, "the PIN of the PKCS#11 token");
        err = err == WEFT_ENOTFOUND || err == WEFT_ELIMIT ? WEFT_ECREDENTIAL : err;
        goto out;
    }
    while (pin.len > 0 && (pin.data[pin.len - 1] == '\n' || pin.data[pin.len - 1] == '\r'))
        pin.data[--pin.len] = '\0';
    if (pin.len == 0 || memchr(pin.data, 0, pin.len) != NULL)
        err = wf_fail(why, WEFT_ECREDENTIAL, "%s holds no PIN", path);
    else if (wf_buf_cstr(&pin) == NULL ||
             ENGINE_ctrl_cmd_string(engine, "PIN", (const char *)pin.data, 0) != 1)
        err = pki_openssl_fail(why, WEFT_ECREDENTIAL, "the PKCS#11 token takes no PIN");
out:
    wf_buf_wipe(&pin);
    return err;
}

/* What the token said, in words of what to do. CKR codes are PKCS#11's own. */
static weft_err explain(const struct pki_pkcs11 *uri, wf_why *why)
{
    unsigned long code = ERR_peek_error();
    const char *reason = ERR_reason_error_string(code);
    const char *library = ERR_lib_error_string(code);
    const char *token = uri->token[0] != '\0' ? uri->token : "any token";
    const char *object = uri->object[0] != '\0' ? uri->object : "of that id";

    if (reason != NULL && library != NULL && strstr(library, "PKCS#11") != NULL) {
        (void)wf_fail(why, WEFT_ECREDENTIAL, "the PKCS#11 token %.60s refuses (%.60s)%s", token,
                      reason, strstr(reason, "PIN") != NULL ? ": look at the PIN's file" : "");
        ERR_clear_error();
        return WEFT_ECREDENTIAL;
    }
    if (reason != NULL && strstr(reason, "processing error") != NULL) {
        ERR_clear_error();
        return wf_fail(
            why, WEFT_ECREDENTIAL,
            "the PKCS#11 token %.60s wants a PIN: say ?pin-source=file:/PATH in the URI, "
            "or WEFT_PKCS11_PIN_FILE",
            token);
    }
    ERR_clear_error();
    return wf_fail(
        why, WEFT_ECREDENTIAL,
        "no P-256 or P-384 key %.60s in %.60s: is the token there? To make the key: "
        "pkcs11-tool --module MODULE --token-label TOKEN --login --keypairgen --key-type "
        "EC:prime256v1 --usage-sign --label NAME",
        object, token);
}

/* A token may hold the public half of another key under the same name: one signature tells. */
static weft_err try_key(const pki_key *key, wf_why *why)
{
    static const char text[] = "weft tries a key";
    const wf_span bytes = {(const uint8_t *)text, sizeof text};
    wf_buf signature;
    weft_err err;

    wf_buf_init(&signature, 256);
    err = pki_sign_bare(key, bytes, &signature);
    if (err == WEFT_OK)
        err = pki_verify_bare(pki_key_spki(key), bytes, wf_span_of(signature.data, signature.len));
    wf_buf_fini(&signature);
    if (err != WEFT_OK && err != WEFT_ENOMEM)
        err = wf_fail(why, WEFT_ECREDENTIAL,
                      "the key in the PKCS#11 token doesn't sign, or its public half is another's");
    return err;
}

weft_err pki_key_from_token(const char *text, pki_key **out, wf_why *why)
{
    struct pki_pkcs11 uri;
    EVP_PKEY *evp = NULL;
    pki_key *key = NULL;
    weft_err err = pki_pkcs11_parse(text, &uri, why);

    if (err != WEFT_OK)
        return err;
    if (pthread_mutex_lock(&guard) != 0)
        return wf_fail(why, WEFT_EINTERNAL, "a lock can't be taken");
    err = start_engine(why);
    if (err == WEFT_OK)
        err = give_pin(&uri, why);
    if (err == WEFT_OK) {
        evp = ENGINE_load_private_key(engine, uri.name, silent, NULL);
        if (evp == NULL)
            err = explain(&uri, why);
    }
    (void)pthread_mutex_unlock(&guard);
    if (err != WEFT_OK)
        return err;
    err = pki_key_wrap(evp, &key, why);
    if (err == WEFT_OK)
        err = try_key(key, why);
    if (err != WEFT_OK) {
        pki_key_free(key);
        return err;
    }
    *out = key;
    return WEFT_OK;
}

#endif
