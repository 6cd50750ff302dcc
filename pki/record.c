/* Signed records: sealed, named and verified; what is in them is for others. */
#include "pki/record.h"
#include <string.h>

weft_err pki_record_seal(const pki_key *key, const char *label, const ProtobufCMessage *body,
                         wf_buf *out)
{
    wf_buf encoded, signature;
    pki_pin pin;
    wf_buf_init(&encoded, WF_BUNDLE_MAX);
    wf_buf_init(&signature, 256);
    weft_err err = wf_message_put(body, &encoded);
    if (err != WEFT_OK)
        goto out;
    err = pki_key_sign(key, label, wf_span_of(encoded.data, encoded.len), &signature);
    if (err != WEFT_OK)
        goto out;
    pki_key_pin(key, &pin);
    Weft__Wire__Signed record = WEFT__WIRE__SIGNED__INIT;
    record.body = wf_pb_bytes(encoded.data, encoded.len);
    record.signature = wf_pb_bytes(signature.data, signature.len);
    record.signer = wf_pb_bytes(pin.b, sizeof pin.b);
    err = wf_message_put(&record.base, out);
out:
    wf_buf_fini(&signature);
    wf_buf_fini(&encoded);
    return err;
}

void pki_record_digest(wf_span encoded, uint8_t out[32])
{
    pki_sha256(encoded.data, encoded.len, out);
}

weft_err pki_record_verify(const Weft__Wire__Signed *s, const char *label, const wf_span *keys,
                           size_t count, wf_why *why)
{
    if (s->signer.len != PKI_PIN_LEN)
        return wf_fail(why, WEFT_ECREDENTIAL, "the record does not name its signer");
    for (size_t i = 0; i < count; i++) {
        pki_pin pin;
        pki_pin_of_spki(keys[i], &pin);
        if (memcmp(pin.b, s->signer.data, PKI_PIN_LEN) != 0)
            continue;
        weft_err err = pki_verify(keys[i], label, wf_pb_span(s->body), wf_pb_span(s->signature));
        if (err == WEFT_ECREDENTIAL)
            return wf_fail(why, err, "the record's signature is wrong (%s)", label);
        return err;
    }
    return wf_fail(why, WEFT_ECREDENTIAL, "the record is signed by a key that is not trusted (%s)",
                   label);
}
