/* From what the caller names as its identity to the identity itself; enrolls a token file first. */
#ifndef SDK_CREDENTIAL_H
#define SDK_CREDENTIAL_H

#include "pki/identity.h"

/*
 * text: a path, the JSON itself, or a token file (*.jwt), which becomes the
 * .json beside it; NULL: $WEFT_IDENTITY. *out is initialised by the caller.
 * Blocks while it enrolls. WEFT_EUSAGE for a token inline, WEFT_ENOTFOUND,
 * WEFT_ECREDENTIAL and what wf_enroll says.
 */
weft_err wf_credential_load(const char *text, struct pki_identity *out, wf_why *why);

#endif
