/* The trust bundle in an identity file moves on with the fabric's. */
#include "pki/identity.h"
#include "proto/base/file.h"
#include <string.h>
#include <unistd.h>

#define LOCK_WAIT_MS 10000u

/* Revocations that only a key of before has signed say nothing any more; newer ones came since. */
static void drop_floors(struct pki_identity *identity, const pki_trust *trust)
{
    wf_span keys[WF_BUNDLE_KEYS_MAX];
    size_t count = pki_trust_policy_keys(trust, keys, WF_BUNDLE_KEYS_MAX), kept = 0;

    for (size_t i = 0; i < identity->floors_count; i++) {
        const wf_buf *encoded = &identity->floors[i];
        Weft__Wire__Signed *record = NULL;
        bool stands = wf_signed_decode(encoded->data, encoded->len, &record, NULL) == WEFT_OK &&
                      pki_record_verify(record, PKI_LABEL_FLOORS, keys, count, NULL) == WEFT_OK;

        wf_signed_free(record);
        if (stands)
            identity->floors[kept++] = identity->floors[i];
        else
            wf_buf_fini(&identity->floors[i]);
    }
    identity->floors_count = kept;
}

weft_err pki_identity_take_bundle(struct pki_identity *identity, wf_span bundle, bool *changed,
                                  wf_why *why)
{
    pki_trust *old = NULL, *new = NULL;
    wf_buf copy;
    weft_err err =
        pki_trust_new(wf_span_of(identity->bundle.data, identity->bundle.len), NULL, &old, why);

    *changed = false;
    if (err == WEFT_OK)
        err = pki_trust_new(bundle, NULL, &new, why);
    if (err == WEFT_OK && strcmp(pki_trust_domain(old), pki_trust_domain(new)) != 0)
        err = wf_fail(why, WEFT_ECREDENTIAL, "the trust bundle is of another trust domain");
    if (err == WEFT_OK && pki_trust_version(new) > pki_trust_version(old)) {
        wf_buf_init(&copy, WF_BUNDLE_MAX);
        err = wf_buf_put(&copy, bundle.data, bundle.len);
        if (err == WEFT_OK) {
            wf_buf_fini(&identity->bundle);
            identity->bundle = copy;
            drop_floors(identity, new);
            *changed = true;
        }
    }
    pki_trust_unref(old);
    pki_trust_unref(new);
    return err;
}

weft_err pki_identity_repin(const char *path, wf_span bundle, wf_why *why)
{
    struct pki_identity identity;
    bool changed = false;
    int lock = -1;
    wf_buf text;

    pki_identity_init(&identity);
    wf_buf_init(&text, WF_IDENTITY_FILE_MAX);
    weft_err err = wf_buf_reserve(&text, WF_IDENTITY_FILE_MAX); /* growth leaves no copy behind */
    if (err == WEFT_OK)
        err = wf_file_lock(path, LOCK_WAIT_MS, &lock, why);
    if (err == WEFT_OK)
        err = pki_identity_load(path, &identity, why);
    if (err == WEFT_OK)
        err = pki_identity_take_bundle(&identity, bundle, &changed, why);
    if (err == WEFT_OK && changed)
        err = pki_identity_put_json(&identity, &text);
    if (err == WEFT_OK && changed)
        err = wf_file_write(path, text.data, text.len, 0600, why);
    if (lock >= 0)
        (void)close(lock);
    wf_buf_wipe(&text);
    pki_identity_fini(&identity);
    return err;
}
