/*
 * The X-Hub-Signature-256 of a webhook.
 * house: names sodium.h because this HMAC is the receiver's, not pki's.
 */
#include "proto/base/secret.h"
#include "proto/base/text.h"
#include "sdk/cli/cli.h"
#include <sodium.h>
#include <string.h>

void cli_sign(const void *secret, size_t secret_len, const void *body, size_t len,
              char out[CLI_SIGNATURE_TEXT])
{
    crypto_auth_hmacsha256_state state;
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_init(&state, secret, secret_len);
    crypto_auth_hmacsha256_update(&state, body, len);
    crypto_auth_hmacsha256_final(&state, mac);
    memcpy(out, "sha256=", 7);
    wf_hex(mac, sizeof mac, out + 7);
    wf_wipe(&state, sizeof state);
}

bool cli_sign_check(const void *secret, size_t secret_len, const void *body, size_t len,
                    const char *text)
{
    char right[CLI_SIGNATURE_TEXT];
    cli_sign(secret, secret_len, body, len, right);
    return strlen(text) == strlen(right) && wf_equal_ct(text, right, strlen(right));
}
