/* Text forms of bytes, and the rule for names that people type. */
#ifndef PROTO_BASE_TEXT_H
#define PROTO_BASE_TEXT_H

#include "proto/base/buf.h"
#include "proto/base/why.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WF_NAME_MAX 64 /* bytes of an identity, service, router or role name, without NUL */

/* Puts '?' for every byte that is not printable ASCII (0x20 to 0x7e). */
void wf_make_printable(char *text, size_t len);
bool wf_is_printable(const char *text, size_t len);

/* Lower-case hex with NUL into out, which holds 2 * len + 1 bytes; returns out. */
char *wf_hex(const void *data, size_t len, char *out);
/* Lower-case hex only, exactly 2 * len digits. */
bool wf_unhex(const char *text, size_t text_len, void *out, size_t len);

/* Base64 (RFC 4648 section 4, padded) and base64url (section 5, unpadded). */
weft_err wf_base64_encode(const void *data, size_t len, wf_buf *out);
weft_err wf_base64url_encode(const void *data, size_t len, wf_buf *out);
/* Strict: canonical only (no white space, no wrong padding, no stray bits). WEFT_EINVAL. */
weft_err wf_base64_decode(const char *text, size_t len, wf_buf *out);
weft_err wf_base64url_decode(const char *text, size_t len, wf_buf *out);

/*
 * A name: 1..64 bytes of [A-Za-z0-9._-], starting with a letter or a digit.
 * No separators, no spaces, no NUL, no Unicode, so it never splits and never
 * looks like another. `what` names the thing in the message.
 */
weft_err wf_name_check(const char *name, size_t len, const char *what, wf_why *why);

#endif
