/*
 * Happy path: store_open opens the file with WAL and synchronous=FULL and
 * locks it; calls run between store_mark and store_keep; store_commit writes
 * and fsyncs the log once for all of them.
 *
 * Failure modes:
 * - A constraint refuses a row: the caller's error, the savepoint takes it back.
 * - Anything else that SQLite reports (full, I/O, corrupt, no memory): the
 *   store is broken, the first sentence is kept, all later calls say WEFT_EIO.
 * - The process dies: what was committed is in the log and is there again.
 */
#include "controller/store_sql.h"
#include "proto/base/file.h"
#include <assert.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATEMENTS_MAX 256
#define APPLICATION_ID 0x57656674 /* "Weft" */

struct store {
    sqlite3 *db; /* owned */
    struct {
        const char *sql; /* a literal */
        sqlite3_stmt *st;
    } cache[STATEMENTS_MAX];
    size_t cached;
    bool begun, marked;
    weft_err broken;
    wf_why why;
    uint64_t epoch, epoch_saved;
    uint64_t commits;
    sqlite3_int64 changes; /* when the transaction began */
};

static weft_err broke(store *s, int rc, const char *doing)
{
    if (s->broken == WEFT_OK) {
        s->broken = rc == SQLITE_NOMEM ? WEFT_ENOMEM : WEFT_EIO;
        wf_fail(&s->why, s->broken,
                (rc & 0xff) == SQLITE_BUSY
                    ? "the store failed while %s: %s; a weft-controller runs with it: stop that "
                      "one first"
                    : "the store failed while %s: %s; look at its disk: space, errors",
                doing, sqlite3_errmsg(s->db));
    }
    return WEFT_EIO;
}

weft_err store_check(const store *s, wf_why *why)
{
    if (s->broken != WEFT_OK)
        wf_fail(why, s->broken, "%s", s->why.text);
    return s->broken;
}

weft_err store_bad(store *s, const char *what)
{
    if (s->broken == WEFT_OK) {
        s->broken = WEFT_EIO;
        wf_fail(&s->why, WEFT_EIO, "the store holds a %s that it can't have written", what);
    }
    return WEFT_EIO;
}

/* ---- statements */

struct sqlite3_stmt *store_sql(store *s, const char *sql)
{
    size_t i;
    int rc;

    if (s->broken != WEFT_OK)
        return NULL;
    for (i = 0; i < s->cached; i++)
        if (s->cache[i].sql == sql) {
            sqlite3_reset(s->cache[i].st);
            sqlite3_clear_bindings(s->cache[i].st);
            return s->cache[i].st;
        }
    assert(s->cached < STATEMENTS_MAX);
    rc = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s->cache[i].st, NULL);
    if (rc != SQLITE_OK) {
        broke(s, rc, "preparing");
        return NULL;
    }
    s->cache[s->cached++].sql = sql;
    return s->cache[i].st;
}

/* A binding can only fail without memory; the step then reports it (NULL where it is refused). */
void store_bind_u64(struct sqlite3_stmt *st, int i, uint64_t v)
{
    /* SQLite's integers are signed: times and counters of ours stay far below. */
    if (st != NULL)
        (void)sqlite3_bind_int64(st, i, v > INT64_MAX ? INT64_MAX : (sqlite3_int64)v);
}

void store_bind_text(struct sqlite3_stmt *st, int i, const char *text)
{
    if (st != NULL)
        (void)sqlite3_bind_text(st, i, text, -1, SQLITE_STATIC);
}

void store_bind_blob(struct sqlite3_stmt *st, int i, const void *data, size_t len)
{
    if (st != NULL)
        (void)sqlite3_bind_blob64(st, i, len > 0 ? data : "", len, SQLITE_STATIC);
}

void store_bind_id(struct sqlite3_stmt *st, int i, const wf_id *id)
{
    if (id != NULL)
        store_bind_blob(st, i, id->b, sizeof id->b);
    else
        store_bind_null(st, i);
}

void store_bind_null(struct sqlite3_stmt *st, int i)
{
    if (st != NULL)
        (void)sqlite3_bind_null(st, i);
}

weft_err store_step(store *s, struct sqlite3_stmt *st)
{
    int rc;

    if (st == NULL || s->broken != WEFT_OK)
        return WEFT_EIO;
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        return WEFT_OK;
    if (rc == SQLITE_DONE)
        return WEFT_ENOTFOUND;
    switch (sqlite3_extended_errcode(s->db)) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
        return WEFT_EEXIST;
    case SQLITE_CONSTRAINT_FOREIGNKEY:
        return WEFT_ECONFLICT;
    default:
        return broke(s, rc, "running a statement");
    }
}

weft_err store_done(struct sqlite3_stmt *st, weft_err err)
{
    if (st != NULL) {
        sqlite3_reset(st);
        sqlite3_clear_bindings(st);
    }
    return err;
}

weft_err store_run(store *s, struct sqlite3_stmt *st, uint64_t *changed)
{
    weft_err err = store_step(s, st);

    if (err == WEFT_ENOTFOUND) {
        err = WEFT_OK;
        if (changed != NULL)
            *changed = (uint64_t)sqlite3_changes64(s->db);
    } else if (err == WEFT_OK) {
        err = store_bad(s, "row where there is none");
    }
    return store_done(st, err);
}

uint64_t store_u64(struct sqlite3_stmt *st, int i)
{
    sqlite3_int64 v = sqlite3_column_int64(st, i);

    return v < 0 ? 0 : (uint64_t)v;
}

bool store_is_null(struct sqlite3_stmt *st, int i)
{
    return sqlite3_column_type(st, i) == SQLITE_NULL;
}

wf_span store_get_blob(struct sqlite3_stmt *st, int i)
{
    const void *data = sqlite3_column_blob(st, i);

    return wf_span_of(data, data == NULL ? 0 : (size_t)sqlite3_column_bytes(st, i));
}

bool store_get_bytes(struct sqlite3_stmt *st, int i, void *out, size_t len)
{
    wf_span blob = store_get_blob(st, i);

    if (blob.len != len)
        return false;
    memcpy(out, blob.data, len);
    return true;
}

bool store_get_id(struct sqlite3_stmt *st, int i, wf_id *out)
{
    return store_get_bytes(st, i, out->b, sizeof out->b);
}

bool store_get_text(struct sqlite3_stmt *st, int i, char *out, size_t cap)
{
    const unsigned char *text = sqlite3_column_text(st, i);
    size_t len = text == NULL ? 0 : (size_t)sqlite3_column_bytes(st, i);

    if (len >= cap || (len > 0 && memchr(text, 0, len) != NULL))
        return false;
    if (len > 0)
        memcpy(out, text, len);
    out[len] = '\0';
    return true;
}

weft_err store_number(store *s, struct sqlite3_stmt *st, uint64_t *out)
{
    weft_err err = store_step(s, st);

    if (err == WEFT_OK)
        *out = store_u64(st, 0);
    else if (err == WEFT_ENOTFOUND)
        err = store_bad(s, "query without an answer");
    return store_done(st, err);
}

bool store_roles_split(const char *text, struct store_roles *out)
{
    out->count = 0;
    while (*text != '\0') {
        size_t len = strcspn(text, " ");

        if (len == 0 || len > WF_NAME_MAX || out->count == POLICY_ROLES_MAX)
            return false;
        memcpy(out->names[out->count], text, len);
        out->names[out->count++][len] = '\0';
        text += len + (text[len] == ' ');
    }
    return true;
}

/* ---- transactions */

static weft_err execute(store *s, const char *sql, const char *doing)
{
    int rc;

    if (s->broken != WEFT_OK)
        return WEFT_EIO;
    rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? WEFT_OK : broke(s, rc, doing);
}

bool store_is_begun(const store *s)
{
    return s->begun;
}

weft_err store_begin(store *s)
{
    weft_err err;

    if (s->begun)
        return s->broken == WEFT_OK ? WEFT_OK : WEFT_EIO;
    s->changes = sqlite3_total_changes64(s->db);
    err = store_run(s, store_sql(s, "BEGIN IMMEDIATE"), NULL);
    s->begun = err == WEFT_OK;
    return err;
}

weft_err store_commit(store *s)
{
    weft_err err;

    assert(!s->marked);
    if (!s->begun)
        return store_check(s, NULL);
    if (s->epoch != s->epoch_saved) {
        uint8_t text[8];

        for (int i = 0; i < 8; i++)
            text[i] = (uint8_t)(s->epoch >> (56 - 8 * i));
        err = store_setting_put(s, "epoch", text, sizeof text);
        if (err != WEFT_OK)
            return err;
    }
    err = store_run(s, store_sql(s, "COMMIT"), NULL);
    if (err != WEFT_OK)
        return err == WEFT_EIO ? err : store_bad(s, "commit that is refused");
    s->begun = false;
    s->epoch_saved = s->epoch;
    s->commits += sqlite3_total_changes64(s->db) != s->changes;
    return WEFT_OK;
}

uint64_t store_commits(const store *s)
{
    return s->commits;
}

weft_err store_mark(store *s)
{
    weft_err err;

    assert(s->begun && !s->marked);
    err = store_run(s, store_sql(s, "SAVEPOINT call"), NULL);
    s->marked = err == WEFT_OK;
    return err;
}

weft_err store_keep(store *s)
{
    assert(s->marked || s->broken != WEFT_OK);
    s->marked = false;
    return store_run(s, store_sql(s, "RELEASE call"), NULL);
}

weft_err store_undo(store *s)
{
    weft_err err;

    assert(s->marked || s->broken != WEFT_OK);
    s->marked = false;
    err = store_run(s, store_sql(s, "ROLLBACK TO call"), NULL);
    if (err == WEFT_OK)
        err = store_run(s, store_sql(s, "RELEASE call"), NULL);
    return err;
}

uint64_t store_next_epoch(store *s, uint64_t now)
{
    s->epoch = now > s->epoch ? now : s->epoch + 1;
    return s->epoch;
}

/* ---- settings */

weft_err store_setting_put(store *s, const char *name, const void *value, size_t len)
{
    struct sqlite3_stmt *st =
        store_sql(s, "INSERT INTO setting (name, value) VALUES (?1, ?2)"
                     " ON CONFLICT (name) DO UPDATE SET value = excluded.value");

    store_bind_text(st, 1, name);
    store_bind_blob(st, 2, value, len);
    return store_run(s, st, NULL);
}

weft_err store_setting_get(store *s, const char *name, wf_buf *out)
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT value FROM setting WHERE name = ?1");
    weft_err err;

    store_bind_text(st, 1, name);
    err = store_step(s, st);
    if (err == WEFT_OK) {
        wf_span value = store_get_blob(st, 0);

        err = wf_buf_put(out, value.data, value.len);
    }
    return store_done(st, err);
}

/* ---- opening */

static weft_err open_file(const char *path, int flags, bool to_look, store **out, wf_why *why)
{
    /* Alone, so that no shared memory beside the file is needed; and nothing is written. */
    static const char looking[] = "PRAGMA locking_mode = EXCLUSIVE;"
                                  "PRAGMA query_only = ON;"
                                  "PRAGMA trusted_schema = OFF;"
                                  "PRAGMA cell_size_check = ON;";
    static const char pragmas[] = "PRAGMA locking_mode = EXCLUSIVE;"
                                  "PRAGMA journal_mode = WAL;"
                                  "PRAGMA synchronous = FULL;"
                                  "PRAGMA foreign_keys = ON;"
                                  "PRAGMA trusted_schema = OFF;"
                                  "PRAGMA cell_size_check = ON;"
                                  "PRAGMA temp_store = MEMORY;"
                                  "PRAGMA cache_size = -32768;";
    store *s = calloc(1, sizeof *s);
    int rc;

    if (s == NULL)
        return wf_fail(why, WEFT_ENOMEM, "out of memory while opening the store");
    rc = sqlite3_open_v2(path, &s->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (rc == SQLITE_OK && to_look)
        rc = sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(s->db, to_look ? looking : pragmas, NULL, NULL, NULL);
    if (rc != SQLITE_OK) {
        weft_err err = (rc & 0xff) == SQLITE_BUSY ? WEFT_EBUSY : WEFT_EIO;

        wf_fail(why, err, "%s: can't be opened as a store: %s", path,
                s->db == NULL ? sqlite3_errstr(rc) : sqlite3_errmsg(s->db));
        store_close(s);
        return err;
    }
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    *out = s;
    return WEFT_OK;
}

static weft_err pragma_number(store *s, const char *sql, uint64_t *out)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);
    weft_err err;

    if (rc != SQLITE_OK)
        return broke(s, rc, "opening");
    err = store_step(s, st);
    if (err == WEFT_OK)
        *out = store_u64(st, 0);
    sqlite3_finalize(st);
    return err == WEFT_ENOTFOUND ? WEFT_EIO : err;
}

weft_err store_create(const char *path, wf_why *why)
{
    char header[96];
    store *s = NULL;
    weft_err err;
    int fd;

    /* SQLite would make the file with the process's umask; ours is for its owner alone. */
    fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return wf_fail(why, wf_file_exists(path) ? WEFT_EEXIST : WEFT_EIO,
                       "%s: the store can't be made there", path);
    close(fd);
    err = open_file(path, SQLITE_OPEN_READWRITE, false, &s, why);
    if (err != WEFT_OK)
        return err;
    snprintf(header, sizeof header, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
             APPLICATION_ID, STORE_SCHEMA_VERSION);
    err = execute(s, "BEGIN IMMEDIATE", "making the schema");
    if (err == WEFT_OK)
        err = execute(s, store_schema, "making the schema");
    if (err == WEFT_OK)
        err = execute(s, header, "making the schema");
    if (err == WEFT_OK)
        err = execute(s, "COMMIT", "making the schema");
    if (err != WEFT_OK)
        store_check(s, why);
    store_close(s);
    return err;
}

static weft_err open_known(const char *path, const char *opened, int flags, bool to_look,
                           store **out, wf_why *why)
{
    uint64_t application = 0, version = 0;
    struct stat st;
    wf_buf epoch;
    store *s = NULL;
    weft_err err;

    if (stat(path, &st) != 0)
        return wf_fail(why, WEFT_ENOTFOUND, "%s: there is no store", path);
    err = open_file(opened, flags, to_look, &s, why);
    if (err != WEFT_OK)
        return err;
    err = pragma_number(s, "PRAGMA application_id", &application);
    if (err == WEFT_OK)
        err = pragma_number(s, "PRAGMA user_version", &version);
    if (err != WEFT_OK) {
        store_check(s, why);
        goto fail;
    }
    if (application != APPLICATION_ID || version != STORE_SCHEMA_VERSION) {
        err = wf_fail(
            why, WEFT_EVERSION,
            "%s: holds schema %llu of application %llx; this program knows schema %d only", path,
            (unsigned long long)version, (unsigned long long)application, STORE_SCHEMA_VERSION);
        goto fail;
    }
    wf_buf_init(&epoch, 8);
    err = store_setting_get(s, "epoch", &epoch);
    if (err == WEFT_OK && epoch.len == 8)
        for (int i = 0; i < 8; i++)
            s->epoch = s->epoch << 8 | epoch.data[i];
    wf_buf_fini(&epoch);
    if (err != WEFT_OK && err != WEFT_ENOTFOUND) {
        store_check(s, why);
        goto fail;
    }
    s->epoch_saved = s->epoch;
    *out = s;
    return WEFT_OK;

fail:
    store_close(s);
    return err;
}

weft_err store_open(const char *path, store **out, wf_why *why)
{
    return open_known(path, path, SQLITE_OPEN_READWRITE, false, out, why);
}

weft_err store_open_to_look(const char *path, store **out, wf_why *why)
{
    struct stat st;
    char *wal = NULL, *uri = NULL;
    weft_err err;

    if (strpbrk(path, "?#%") != NULL)
        return wf_fail(why, WEFT_EINVAL, "%s: a path with ?, # or %% can't be looked at", path);
    if (asprintf(&wal, "%s-wal", path) < 0)
        return WEFT_ENOMEM;
    if (asprintf(&uri, "file:%s?immutable=1", path) < 0) {
        free(wal);
        return WEFT_ENOMEM;
    }
    /* What a killed controller left in its log counts; it is read from there, and stays there. */
    if (stat(wal, &st) == 0 && st.st_size > 0)
        err = open_known(path, path, SQLITE_OPEN_READWRITE, true, out, why);
    else
        err = open_known(path, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, true, out, why);
    free(wal);
    free(uri);
    return err;
}

void store_close(store *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->cached; i++)
        sqlite3_finalize(s->cache[i].st);
    sqlite3_close(s->db); /* rolls back what is open */
    free(s);
}
