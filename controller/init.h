/* Making a controller's home, and administrators' identity files. */
#ifndef CONTROLLER_INIT_H
#define CONTROLLER_INIT_H

#include "controller/home.h"

struct init_config {
    const char *dir;
    const char *domain;          /* NULL: "weft.internal" */
    const wf_address *addresses; /* none: 127.0.0.1:9338 */
    size_t address_count;
    const char *admin_out;       /* NULL: DIR/admin.json */
    const char *passphrase_file; /* NULL: one is made and kept in DIR/root-passphrase */
    const char *seal_key;        /* unlock.h; NULL: one is made and kept in DIR/seal.key */
};

/*
 * Makes DIR with all authorities, keys, the store and the first administrator.
 * It is built beside DIR and moved there whole. WEFT_EEXIST if DIR is there already.
 */
weft_err init_home(const struct init_config *config, wf_why *why);

/*
 * Makes a new administrator (an identity called name) in an open home and writes
 * the identity file to path, 0600. The caller commits the store.
 */
weft_err init_admin(struct home *home, const char *name, const char *path, wf_why *why);

/* Folders in the making. Removes one level of plain files and the folder. */
void init_remove_folder(const char *dir);
weft_err init_sync_folder(const char *dir);
/* What a rotation makes anew lives as long as what init makes. */
#define INIT_ROOT_LIFE_MS (20ull * 365 * 86400000)
#define INIT_INTERMEDIATE_LIFE_MS (10ull * 365 * 86400000)

/* The root's key under its passphrase, and a chain, as files of the folder. */
weft_err init_write_root_key(const char *dir, const pki_key *key, const char *passphrase,
                             wf_why *why);
weft_err init_write_chain(const char *dir, const char *name, const pki_chain *chain, wf_why *why);

#endif
