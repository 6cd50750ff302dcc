/*
 * A whole fabric for a test: real weft-controller and weft-router processes of
 * this build in a folder of their own, on loopback ports that were free.
 *
 *     struct fabric f;
 *     fabric_open(&f, 1);
 *     fabric_share(&f, "web");      // f.dir/web-host.jwt, f.dir/web-dial.jwt
 *     ... options.identity = fabric_path(&f, "web-host.jwt") ...
 *     fabric_close(&f);
 *
 * What can't fail in a test aborts with the place. XDG_STATE_HOME points into
 * the folder, so nothing is left behind.
 */
#ifndef TESTS_HELPERS_FABRIC_H
#define TESTS_HELPERS_FABRIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <weft/err.h>

#define FABRIC_ROUTERS 3u

struct fabric {
    char dir[128];
    uint16_t controller_port, router_ports[FABRIC_ROUTERS];
    pid_t controller, routers[FABRIC_ROUTERS]; /* 0: not running */
    unsigned router_count;
};

/* A controller and `routers` enrolled routers, all serving. */
void fabric_open(struct fabric *f, unsigned routers);
/* Ends the processes and removes the folder. */
void fabric_close(struct fabric *f);

/* kill -9, and start again on the same port with the same folder. */
void fabric_kill_controller(struct fabric *f);
void fabric_start_controller(struct fabric *f);
void fabric_kill_router(struct fabric *f, unsigned i);
void fabric_start_router(struct fabric *f, unsigned i);

/* f->dir/name; valid until the call after the next seven. */
const char *fabric_path(const struct fabric *f, const char *name);

/*
 * One operation as the administrator; *result (may be NULL) is the caller's to
 * free. Returns what the controller said.
 */
weft_err fabric_try(struct fabric *f, const char *operation, const char *arguments, char **result,
                    weft_why *why);
/* The same, and it must be WEFT_OK. The result is the caller's to free. */
char *fabric_call(struct fabric *f, const char *operation, const char *arguments);
/* A service with a host and a dialer, and their tokens in SERVICE-host.jwt and SERVICE-dial.jwt. */
void fabric_share(struct fabric *f, const char *service);
/* An identity with these roles (JSON array text), its token in NAME.jwt. */
void fabric_identity(struct fabric *f, const char *name, const char *roles);
/* Writes the string member `key` of a JSON object to f->dir/file. */
void fabric_save_text(struct fabric *f, const char *json, const char *key, const char *file);

#endif
