/*
 * What a router remembers over a restart, in files under HOME/state: member
 * records, its own record, floors, the trust bundle. Each file is a list of
 * signed records, written atomically; all of it is verified again when read,
 * so a file that was tampered with makes a router forget, never believe.
 */
#ifndef ROUTER_STATE_H
#define ROUTER_STATE_H

#include "router/record.h"

#define STATE_FILE_MAX (64u * 1024u * 1024u)

/* Writes home/state/name, making the folder. */
weft_err state_save(const char *home, const char *name, Weft__Wire__Signed *const *list,
                    size_t count, wf_why *why);
/* Appends what home/state/name holds to *out; a file that isn't there holds nothing. */
weft_err state_load(const char *home, const char *name, struct records *out, wf_why *why);

#endif
