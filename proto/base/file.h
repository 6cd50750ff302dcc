/* Small files: bounded reads, atomic durable writes, locks. */
#ifndef PROTO_BASE_FILE_H
#define PROTO_BASE_FILE_H

#include "proto/base/buf.h"
#include "proto/base/why.h"
#include <stdbool.h>

/*
 * Appends a whole regular file (or stdin for "-") to out, up to out->max bytes
 * in all; on failure out is as before. WEFT_ENOTFOUND, WEFT_ELIMIT, WEFT_EIO.
 */
weft_err wf_file_read(const char *path, wf_buf *out, wf_why *why);
/*
 * As wf_file_read, and refuses a file that group or others may read or write, or that belongs to
 * another user but root (WEFT_ECREDENTIAL).
 */
weft_err wf_file_read_secret(const char *path, wf_buf *out, wf_why *why);
/*
 * Writes to a temporary file beside path, fsyncs, renames, fsyncs the folder:
 * afterwards path holds the old content or the new, never half. mode as for open(2).
 */
weft_err wf_file_write(const char *path, const void *data, size_t len, unsigned mode, wf_why *why);
/* As wf_file_write, but WEFT_EEXIST if path is there already. */
weft_err wf_file_create(const char *path, const void *data, size_t len, unsigned mode, wf_why *why);
bool wf_file_exists(const char *path);
/* mkdir -p with mode 0700 for what it makes. */
weft_err wf_folder_make(const char *path, wf_why *why);
/* Locks path + ".lock" exclusively; waits up to wait_ms (WEFT_EBUSY). Closing *out_fd unlocks. */
weft_err wf_file_lock(const char *path, unsigned wait_ms, int *out_fd, wf_why *why);

#endif
