/*
 * The lock of a home: where the key comes from that opens its vault, and the
 * file HOME/seal that the vault's key lies in, sealed with it. Changing the
 * source rewrites this one small file; what the vault sealed stays as it is.
 *
 * Sources: file:PATH (32 bytes), credential:NAME (32 bytes, from systemd's
 * $CREDENTIALS_DIRECTORY), passphrase-file:PATH (its first line), pkcs11:URI
 * (a P-256 or P-384 key in a token that agrees on secrets). docs/operations.md, "Secrets at rest".
 */
#ifndef CONTROLLER_UNLOCK_H
#define CONTROLLER_UNLOCK_H

#include "pki/vault.h"

/*
 * Makes a vault and DIR/seal. source NULL: "file:seal.key" in DIR itself. A
 * file: source that isn't there is made, 0600. Relative paths on the command
 * line are of the working directory and kept as absolute ones.
 */
weft_err unlock_make(const char *dir, const char *source, pki_vault **out, wf_why *why);
/*
 * Opens the vault of DIR. source NULL: the one that DIR/seal names. WEFT_ECREDENTIAL:
 * the key is another, or the lock was altered; WEFT_ENOTFOUND, WEFT_EIO, WEFT_ENOMEM.
 */
weft_err unlock_open(const char *dir, const char *source, pki_vault **out, wf_why *why);
/* Opens with one source (NULL: the named one) and locks with another: one atomic write. */
weft_err unlock_change(const char *dir, const char *from, const char *to, wf_why *why);
/* Where DIR's outer key is, in words: appended. */
weft_err unlock_source(const char *dir, wf_buf *out, wf_why *why);
/* Whether the outer key lies in DIR itself, where a copy of DIR takes it along. */
bool unlock_is_inside(const char *dir);

#endif
