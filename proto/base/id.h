/* A 128-bit random name: of identities, routers, services, instances, sessions. */
#ifndef PROTO_BASE_ID_H
#define PROTO_BASE_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WF_ID_LEN 16
#define WF_ID_TEXT (2 * WF_ID_LEN + 1) /* lower-case hex and NUL */

typedef struct wf_id {
    uint8_t b[WF_ID_LEN];
} wf_id;

/* A fresh id from the kernel's random source; never fails (aborts without entropy). */
wf_id wf_id_random(void);
bool wf_id_is_zero(const wf_id *id);
bool wf_id_equal(const wf_id *a, const wf_id *b);
int wf_id_compare(const wf_id *a, const wf_id *b);
/* Writes 32 lower-case hex digits and NUL; returns text. */
char *wf_id_text(const wf_id *id, char text[WF_ID_TEXT]);
/* Exactly 32 lower-case hex digits, else false and out untouched. */
bool wf_id_parse(const char *text, size_t len, wf_id *out);
/* Exactly 16 bytes, not all zero, else false and out untouched. */
bool wf_id_from_bytes(const void *data, size_t len, wf_id *out);

#endif
