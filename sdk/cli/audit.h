/* What the commands `weft audit ...` share: the log in pages, and files of it. */
#ifndef SDK_CLI_AUDIT_H
#define SDK_CLI_AUDIT_H

#include "pki/identity.h"
#include "pki/ledger.h"
#include "sdk/cli/cli.h"

/* One item of a listing; borrowed for the call. */
typedef weft_err (*audit_item_fn)(void *arg, const json_t *item, wf_why *why);
/*
 * Calls `operation` (audit.list, audit.checkpoints) from behind number `after`
 * until there is no more; *after is where it ended.
 */
weft_err audit_pages(const struct wf_call_line *line, const char *operation, uint64_t *after,
                     audit_item_fn item, void *arg, wf_why *why);

/* The fields of an entry as the controller and exports give it. Bytes go to *bytes, cleared first.
 */
weft_err audit_entry(const json_t *item, uint64_t *seq, wf_buf *bytes, uint8_t leaf[PKI_HASH_LEN],
                     wf_why *why);
/* base64 under `key`, or the text itself for NULL; *out is cleared first. */
weft_err audit_base64(const json_t *item, const char *key, wf_buf *out, wf_why *why);

/* The trust that checkpoints are verified under: --bundle FILE, or the identity's. The caller's. */
weft_err audit_trust(const struct wf_call_line *line, pki_trust **out, wf_why *why);

/* Lines of an export, each one JSON object. line_no from 1. */
typedef weft_err (*audit_line_fn)(void *arg, const json_t *object, wf_why *why);
weft_err audit_file(const char *path, audit_line_fn each, void *arg, wf_why *why);

/* "STATE/weft", where endpoints keep their state; the caller's; NULL: nowhere. */
char *audit_state_folder(void);

#endif
