/*
 * A backup, made while the controller runs and read by one administrator in
 * pieces: a copy of the store of one moment, the sealed keys and the public
 * files of the same moment, and a manifest with their digests.
 * docs/operations.md, "Backup and restore".
 */
#ifndef CONTROLLER_BACKUP_H
#define CONTROLLER_BACKUP_H

#include "controller/home.h"

#define BACKUP_MANIFEST "manifest.json"
#define BACKUP_SEAL "manifest.sealed" /* the manifest's digest, sealed with the home's vault */
#define BACKUP_SEAL_LABEL "backup manifest"
#define BACKUP_FILES_MAX 128u
#define BACKUP_NAME_MAX 64u
#define BACKUP_MANIFEST_MAX 65536u
#define BACKUP_CHUNK 45056u /* what base64 leaves room for in a reply */

struct backup; /* one at a time */

/* Whether a file of this name belongs into a backup: keys, certificates, bundles, the lock, the
 * store. */
bool backup_takes(const char *name);
/* Begins; the former one of the same owner, or one that nobody read for a minute, goes. WEFT_EBUSY.
 */
weft_err backup_begin(struct backup **io, const struct home *home, const wf_id *owner, uint64_t now,
                      wf_id *id, wf_why *why);
/* One bounded piece of work, outside of any transaction; whether more is to be done. */
bool backup_step(struct backup *backup, const struct home *home);
/* The owner's, of this id; WEFT_ENOTFOUND. */
weft_err backup_find(struct backup *backup, const wf_id *owner, const wf_id *id, uint64_t now,
                     wf_why *why);
/* *ready: the manifest is there, valid until the backup ends. WEFT_EIO: it failed, and says why. */
weft_err backup_look(const struct backup *backup, bool *ready, wf_span *manifest, wf_span *sealed,
                     wf_why *why);
/* Appends at most BACKUP_CHUNK bytes of a file of the manifest. WEFT_ENOTFOUND, WEFT_EINVAL. */
weft_err backup_read(struct backup *backup, const char *name, uint64_t offset, wf_buf *out,
                     wf_why *why);
void backup_free(struct backup *backup); /* NULL is fine */
bool backup_is_busy(const struct backup *backup);
bool backup_is_idle(const struct backup *backup, uint64_t now);
/* What one that was killed left behind. */
void backup_sweep(const char *dir);

/*
 * A home at dir from the folder of a backup: digests, the manifest's seal, the
 * seal key (seal_key NULL: where the backup says that it is), all keys and the
 * store are checked before dir appears whole. WEFT_EEXIST, WEFT_ECREDENTIAL,
 * WEFT_EIO, each with the one line that tells what is wrong.
 */
weft_err backup_restore(const char *from, const char *dir, const char *seal_key, wf_why *why);

#endif
