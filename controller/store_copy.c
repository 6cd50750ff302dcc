/*
 * A copy of the store, a few pages at a time, while it is written to: SQLite
 * carries what the same connection changes meanwhile over into the copy, so
 * that it is the store of the moment when the last page was taken.
 */
#include "controller/store_sql.h"
#include <sqlite3.h>
#include <stdlib.h>

struct store_copy {
    sqlite3 *to;             /* owned */
    sqlite3_backup *running; /* owned */
};

weft_err store_copy_open(store *s, const char *path, store_copy **out, wf_why *why)
{
    struct sqlite3_stmt *st = store_sql(s, "SELECT 1");
    store_copy *copy;
    int rc;

    if (st == NULL)
        return store_check(s, why);
    copy = calloc(1, sizeof *copy);
    if (copy == NULL)
        return wf_fail(why, WEFT_ENOMEM, "out of memory");
    rc = sqlite3_open_v2(path, &copy->to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(copy->to, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF", NULL,
                          NULL, NULL);
    if (rc == SQLITE_OK)
        copy->running = sqlite3_backup_init(copy->to, "main", sqlite3_db_handle(st), "main");
    if (copy->running == NULL) {
        wf_fail(why, WEFT_EIO, "%s: no copy of the store can be made there: %s", path,
                copy->to == NULL ? sqlite3_errstr(rc) : sqlite3_errmsg(copy->to));
        store_copy_close(copy);
        return WEFT_EIO;
    }
    *out = copy;
    return WEFT_OK;
}

weft_err store_copy_step(store_copy *copy, unsigned pages, bool *done, wf_why *why)
{
    int rc = sqlite3_backup_step(copy->running, (int)pages);

    *done = rc == SQLITE_DONE;
    if (rc == SQLITE_DONE || rc == SQLITE_OK || rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
        return WEFT_OK;
    return wf_fail(why, WEFT_EIO, "the store can't be copied: %s; look at the disk's space",
                   sqlite3_errstr(rc));
}

void store_copy_close(store_copy *copy)
{
    if (copy == NULL)
        return;
    if (copy->running != NULL)
        sqlite3_backup_finish(copy->running);
    sqlite3_close(copy->to);
    free(copy);
}
