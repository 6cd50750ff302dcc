/*
 * The arguments of an administrator's call: one JSON object, read strictly.
 * Size, depth and duplicate keys are refused before anything is looked at;
 * each getter checks type, length and form; args_end refuses what no getter
 * asked for, so a misspelt key never passes. Every refusal is WEFT_EINVAL
 * with a line that names the key.
 *
 * JSON values are opaque here (struct json_t of jansson, which only .c files name).
 */
#ifndef CONTROLLER_ARGS_H
#define CONTROLLER_ARGS_H

#include "controller/policy.h"
#include "controller/store.h"

struct json_t;

#define ARGS_SIZE_MAX 32768u
#define ARGS_DEPTH_MAX 4u /* ours need 2 */
#define ARGS_KEYS_MAX 32u

struct args {
    struct json_t *root;              /* owned */
    wf_why *why;                      /* borrowed */
    const char *asked[ARGS_KEYS_MAX]; /* literals */
    size_t asked_count;
};

/* json may be empty: no arguments. */
weft_err args_open(struct args *args, wf_span json, wf_why *why);
void args_close(struct args *args);
/* Nothing is there that wasn't asked for. */
weft_err args_end(const struct args *args);
bool args_has(struct args *args, const char *key);

/* A name by wf_name_check. required false: absent leaves out[0] = 0. */
weft_err args_name(struct args *args, const char *key, bool required, char out[WF_NAME_MAX + 1]);
/* Text of 1..max-1 printable bytes. */
weft_err args_text(struct args *args, const char *key, bool required, char *out, size_t max);
/* A whole number within bounds; absent: fallback. */
weft_err args_number(struct args *args, const char *key, uint64_t fallback, uint64_t min,
                     uint64_t max, uint64_t *out);
/* true or false; absent: false. */
weft_err args_flag(struct args *args, const char *key, bool *out);
/*
 * Calls `take` for each text of a list of at most max, or for one text alone. Absent: none.
 * Each is 1 to 255 printable bytes.
 */
typedef weft_err (*args_text_fn)(void *arg, const char *text, wf_why *why);
weft_err args_texts(struct args *args, const char *key, size_t max, args_text_fn take, void *arg);
/* A number under a key of the object under `object`; no such object or key: *out stays. */
weft_err args_number_in(struct args *args, const char *object, const char *key, uint64_t max,
                        uint64_t *out);
/* The object under `object` holds no keys but these; NULL ends them. */
weft_err args_object_end(struct args *args, const char *object, const char *const *keys);
/* "name" or "id", exactly one: id is written, or name; *by_id says which. */
weft_err args_which(struct args *args, wf_id *id, char name[WF_NAME_MAX + 1], bool *by_id);
/* Rights of an administrator, a list of words (rights.h). Absent: full. Empty is refused. */
weft_err args_rights(struct args *args, const char *key, unsigned *out);
/* Bytes in base64, 1 to out->max; absent and not required: out stays empty. */
weft_err args_bytes(struct args *args, const char *key, bool required, wf_buf *out);
/* Attributes of a thing: a list of `#attr` or `attr`. Absent: an empty list. */
weft_err args_attributes(struct args *args, const char *key, struct store_roles *out);

/*
 * Roles of a policy, as written: `#all`, `#attr`, `@name`. Names are looked up
 * by `find` (WEFT_ENOTFOUND: refused here by name), which fills the id.
 */
typedef weft_err (*args_find_fn)(void *arg, const char *name, wf_id *id);
weft_err args_roles(struct args *args, const char *key, bool required, args_find_fn find, void *arg,
                    struct policy_role *out, size_t *count);
/* One such role from text, `key` for the message. */
weft_err args_role(wf_why *why, const char *key, const char *text, args_find_fn find, void *arg,
                   struct policy_role *out);

#endif
