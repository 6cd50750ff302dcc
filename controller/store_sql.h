/* What the files of the store share: cached statements, typed binding. For store*.c alone. */
#ifndef CONTROLLER_STORE_SQL_H
#define CONTROLLER_STORE_SQL_H

#include "controller/store.h"

struct sqlite3_stmt;

extern const char store_schema[]; /* the SQL that makes version STORE_SCHEMA_VERSION */
#define STORE_SCHEMA_VERSION 2

/*
 * A prepared statement for this text, from the cache (by the literal's
 * address), reset and without bindings. NULL when the store is broken: the
 * functions below take that and say so.
 */
struct sqlite3_stmt *store_sql(store *s, const char *sql);

/* Bindings; index from 1. What is bound stays the caller's until the statement is done. */
void store_bind_u64(struct sqlite3_stmt *st, int i, uint64_t v);
void store_bind_text(struct sqlite3_stmt *st, int i, const char *text);
void store_bind_blob(struct sqlite3_stmt *st, int i, const void *data, size_t len);
void store_bind_id(struct sqlite3_stmt *st, int i, const wf_id *id); /* NULL binds NULL */
void store_bind_null(struct sqlite3_stmt *st, int i);

/* One row: WEFT_OK and the columns are there; WEFT_ENOTFOUND: no (more) row. */
weft_err store_step(store *s, struct sqlite3_stmt *st);
/* Runs to the end. *changed: rows written; may be NULL. Constraints: WEFT_EEXIST, WEFT_ECONFLICT */
weft_err store_run(store *s, struct sqlite3_stmt *st, uint64_t *changed);
/* The statement isn't needed any more: returns err as it is. */
weft_err store_done(struct sqlite3_stmt *st, weft_err err);

/* Columns, from 0. One of another size or form than our own writing is WEFT_EIO by store_bad. */
uint64_t store_u64(struct sqlite3_stmt *st, int i);
bool store_is_null(struct sqlite3_stmt *st, int i);
bool store_get_id(struct sqlite3_stmt *st, int i, wf_id *out);
bool store_get_bytes(struct sqlite3_stmt *st, int i, void *out, size_t len);
bool store_get_text(struct sqlite3_stmt *st, int i, char *out, size_t cap);
wf_span store_get_blob(struct sqlite3_stmt *st, int i);
/* A row that we can't have written. */
weft_err store_bad(store *s, const char *what);

/* The one number that this query gives. */
weft_err store_number(store *s, struct sqlite3_stmt *st, uint64_t *out);
/* "a b c" to a list. */
bool store_roles_split(const char *text, struct store_roles *out);

#endif
