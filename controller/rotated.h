/*
 * Rotations on their way into the audit log. Who rotates has no store (the
 * controller may run on it); so what was done is a file of the rotation
 * itself, put in place with the keys, and whoever takes them up enters it.
 */
#ifndef CONTROLLER_ROTATED_H
#define CONTROLLER_ROTATED_H

#include "controller/rotation.h"

/* DIR/rotated into stage, with this rotation behind those that wait; version: of its bundle. */
weft_err rotated_stage(const struct rotation *rotation, const char *stage, uint64_t version,
                       wf_why *why);
/*
 * Enters those that wait, each once, into the open transaction. After its commit: rotated_forget.
 * WEFT_EIO: DIR/rotated is not what rotated_stage wrote.
 */
weft_err rotated_enter(const struct home *home, uint64_t now, wf_why *why);
void rotated_forget(const struct home *home);

#endif
