/*
 * Happy path: the root's key is unlocked, new authorities and keys are made
 * into DIR/rotate.new, the next bundle is signed by the root that everybody
 * has, the folder is synced and renamed to DIR/rotate.ready, and home_switch
 * moves its files over the old ones.
 *
 * Failure modes:
 * - Anything fails or the process dies before the rename: the folder is a
 *   leftover that the next rotation removes; nothing has changed.
 * - It dies after the rename: the next who opens the home moves what is left.
 * - The controllers' authority stays under the old root until `--finish`: a
 *   node that was away must be able to reach the controller to learn the new one.
 */
#include "controller/rotation.h"
#include "controller/init.h"
#include "controller/issue.h"
#include "controller/rotated.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAGE "rotate.new"
#define FILE_MAX 65536u
#define PASSPHRASE_MAX 1024u

static const struct {
    const char *word;
    unsigned what;
} words[] = {
    {"identities", ROTATE_IDENTITIES},   {"routers", ROTATE_ROUTERS},
    {"controllers", ROTATE_CONTROLLERS}, {"root", ROTATE_ROOT},
    {"policy", ROTATE_POLICY},           {"audit", ROTATE_AUDIT},
    {"enrollment", ROTATE_ENROLLMENT},   {"all", ROTATE_ALL},
};

unsigned rotation_what(const char *word)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].word, word) == 0)
            return words[i].what;
    return 0;
}

void rotation_words(const struct rotation *rotation, char *out, size_t size)
{
    size_t len = 0;

    snprintf(out, size, "%s%s", rotation->finish ? "--finish" : "",
             rotation->finish && rotation->forced ? " --force" : "");
    for (size_t i = 0; i < sizeof words / sizeof *words && len < size; i++) {
        if (words[i].what == ROTATE_ALL || (rotation->what & words[i].what) == 0)
            continue;
        len += (size_t)snprintf(out + len, size - len, "%s%s", len > 0 ? "," : "", words[i].word);
    }
}

/* ---- folders */

static weft_err sync_folder(const char *dir, wf_why *why)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    weft_err err = fd >= 0 && fsync(fd) == 0 ? WEFT_OK : WEFT_EIO;

    if (err != WEFT_OK)
        wf_fail(why, err, "%s: can't be made durable: %s", dir, strerror(errno));
    if (fd >= 0)
        close(fd);
    return err;
}

static weft_err remove_folder(const char *dir, wf_why *why)
{
    DIR *d = opendir(dir);
    const struct dirent *entry;

    if (d == NULL)
        return errno == ENOENT ? WEFT_OK : wf_fail(why, WEFT_EIO, "%s: %s", dir, strerror(errno));
    while ((entry = readdir(d)) != NULL)
        (void)unlinkat(dirfd(d), entry->d_name, 0);
    closedir(d);
    if (rmdir(dir) != 0)
        return wf_fail(why, WEFT_EIO, "%s: can't be removed: %s", dir, strerror(errno));
    return WEFT_OK;
}

static weft_err move_all(const char *dir, const char *ready, wf_why *why)
{
    DIR *d = opendir(ready);
    const struct dirent *entry;
    weft_err err = WEFT_OK;

    if (d == NULL)
        return wf_fail(why, WEFT_EIO, "%s: %s", ready, strerror(errno));
    while (err == WEFT_OK && (entry = readdir(d)) != NULL) {
        char *to;

        if (entry->d_name[0] == '.')
            continue;
        to = home_path(dir, entry->d_name, "");
        if (to == NULL)
            err = wf_fail(why, WEFT_ENOMEM, "out of memory");
        else if (renameat(dirfd(d), entry->d_name, AT_FDCWD, to) != 0)
            err = wf_fail(why, WEFT_EIO, "%s: can't be put in place: %s", to, strerror(errno));
        free(to);
    }
    closedir(d);
    return err;
}

weft_err home_switch(const char *dir, bool *switched, wf_why *why)
{
    char *ready = home_path(dir, HOME_READY, "");
    weft_err err = WEFT_OK;

    *switched = false;
    if (ready == NULL)
        return wf_fail(why, WEFT_ENOMEM, "out of memory");
    if (wf_file_exists(ready)) {
        err = move_all(dir, ready, why);
        if (err == WEFT_OK)
            err = sync_folder(dir, why);
        if (err == WEFT_OK)
            err = remove_folder(ready, why);
        *switched = err == WEFT_OK;
    }
    free(ready);
    return err;
}

/* ---- what there is */

static weft_err read_passphrase(const char *dir, const char *file, wf_buf *out, wf_why *why)
{
    uint8_t *end;
    weft_err err = file != NULL ? wf_file_read_secret(file, out, why)
                                : home_read(dir, HOME_PASSPHRASE, "", true, out, why);

    if (err == WEFT_ENOTFOUND && file == NULL)
        return wf_fail(why, WEFT_ENOTFOUND,
                       "%s/" HOME_PASSPHRASE " is not there: say --root-passphrase-file FILE", dir);
    if (err != WEFT_OK)
        return err;
    end = out->len > 0 ? memchr(out->data, '\n', out->len) : NULL;
    if (end != NULL)
        out->len = (size_t)(end - out->data);
    return wf_buf_cstr(out) == NULL ? wf_fail(why, WEFT_ENOMEM, "out of memory") : WEFT_OK;
}

static weft_err read_root(const char *dir, const char *passphrase_file, wf_buf *passphrase,
                          pki_ca **out, wf_why *why)
{
    wf_buf key, chain;
    weft_err err = read_passphrase(dir, passphrase_file, passphrase, why);

    wf_buf_init(&key, FILE_MAX);
    wf_buf_init(&chain, FILE_MAX);
    if (err != WEFT_OK)
        goto out;
    err = home_read(dir, HOME_ROOT, ".key", true, &key, why);
    if (err == WEFT_ENOTFOUND)
        wf_fail(why, err, "%s/" HOME_ROOT ".key is not there: bring it back for the rotation", dir);
    if (err == WEFT_OK)
        err = home_read(dir, HOME_ROOT, ".pem", false, &chain, why);
    if (err == WEFT_OK) {
        err = pki_ca_from_pem(wf_span_of(key.data, key.len), wf_buf_cstr(passphrase),
                              wf_span_of(chain.data, chain.len), out, why);
        if (err != WEFT_OK)
            wf_wrap(why, err, "%s/" HOME_ROOT ".key", dir);
    }
out:
    wf_buf_wipe(&key);
    wf_buf_fini(&chain);
    return err;
}

/* ---- the work */

#define LISTS 4 /* roots, policy, audit and enrollment keys */
struct list {
    wf_buf items[WF_BUNDLE_KEYS_MAX]; /* owned; the newest first */
    size_t count;
};

struct work {
    const struct rotation *asked; /* borrowed */
    char *stage, *ready;          /* owned */
    struct home now;              /* what there is, without store and lock */
    struct home staged;           /* borrows: the stage's folder, and what seals its keys */
    wf_buf passphrase;            /* owned */
    pki_ca *root, *next_root;     /* owned; next_root: NULL unless it is rotated */
    Weft__Wire__BundleBody *body; /* owned: the present bundle's */
    struct list lists[LISTS];
    bool is_changed; /* the lists are */
    uint64_t time;
};

static void list_fini(struct list *list)
{
    for (size_t i = 0; i < list->count; i++)
        wf_buf_fini(&list->items[i]);
    list->count = 0;
}

static weft_err list_add(struct list *list, wf_span item, bool first, wf_why *why)
{
    wf_buf copy;
    weft_err err;

    if (list->count == WF_BUNDLE_KEYS_MAX)
        return wf_fail(why, WEFT_ECONFLICT,
                       "the bundle holds %u keys of this sort already; end the rotations before "
                       "with --finish",
                       WF_BUNDLE_KEYS_MAX);
    wf_buf_init(&copy, WF_CERT_MAX);
    err = wf_buf_put(&copy, item.data, item.len);
    if (err != WEFT_OK)
        return wf_fail(why, err, "out of memory");
    if (first)
        memmove(&list->items[1], &list->items[0], list->count * sizeof copy);
    list->items[first ? 0 : list->count] = copy;
    list->count++;
    return WEFT_OK;
}

static weft_err take_list(struct list *list, const ProtobufCBinaryData *data, size_t count,
                          wf_why *why)
{
    weft_err err = WEFT_OK;

    for (size_t i = 0; err == WEFT_OK && i < count; i++)
        err = list_add(list, wf_pb_span(data[i]), false, why);
    return err;
}

static weft_err body_of(wf_span encoded, Weft__Wire__BundleBody **out, wf_why *why)
{
    Weft__Wire__Signed *s = NULL;
    weft_err err = wf_signed_decode(encoded.data, encoded.len, &s, why);

    if (err == WEFT_OK)
        err = wf_bundle_body_decode(s->body.data, s->body.len, out, why);
    wf_signed_free(s);
    return err;
}

weft_err rotation_overlap(const struct home *home, size_t counts[4])
{
    Weft__Wire__BundleBody *body = NULL;
    weft_err err = body_of(pki_trust_bundle(home->trust), &body, NULL);

    if (err != WEFT_OK)
        return err;
    counts[0] = body->n_roots;
    counts[1] = body->n_policy_keys;
    counts[2] = body->n_audit_keys;
    counts[3] = body->n_enrollment_keys;
    wf_bundle_body_free(body);
    return WEFT_OK;
}

static weft_err read_all(struct work *w, wf_why *why)
{
    const char *dir = w->asked->dir;
    weft_err err = home_read_keys(dir, w->asked->seal_key, &w->now, why);

    w->staged = (struct home){.lock = -1, .dir = w->stage, .vault = w->now.vault};
    if (err == WEFT_OK)
        err = read_root(dir, w->asked->passphrase_file, &w->passphrase, &w->root, why);
    if (err == WEFT_OK)
        err = body_of(pki_trust_bundle(w->now.trust), &w->body, why);
    if (err == WEFT_OK)
        err = take_list(&w->lists[0], w->body->roots, w->body->n_roots, why);
    if (err == WEFT_OK)
        err = take_list(&w->lists[1], w->body->policy_keys, w->body->n_policy_keys, why);
    if (err == WEFT_OK)
        err = take_list(&w->lists[2], w->body->audit_keys, w->body->n_audit_keys, why);
    if (err == WEFT_OK)
        err = take_list(&w->lists[3], w->body->enrollment_keys, w->body->n_enrollment_keys, why);
    return err;
}

static weft_err make_signer(struct work *w, const char *name, struct list *list, wf_why *why)
{
    pki_key *key = NULL;
    wf_buf spki;
    weft_err err = pki_key_new(PKI_KEY_ED25519, &key, why);

    wf_buf_init(&spki, 256);
    if (err == WEFT_OK)
        err = pki_key_put_spki(key, &spki);
    if (err == WEFT_OK)
        err = home_write_key(&w->staged, name, "", key, why);
    if (err == WEFT_OK)
        err = list_add(list, wf_span_of(spki.data, spki.len), true, why);
    w->is_changed = true;
    wf_buf_fini(&spki);
    pki_key_free(key);
    return err;
}

static weft_err make_root(struct work *w, wf_why *why)
{
    weft_err err = pki_ca_new_root(w->now.domain, pki_key_kind_of(pki_ca_key(w->root)), w->time,
                                   INIT_ROOT_LIFE_MS, &w->next_root, why);

    if (err == WEFT_OK)
        err = init_write_root_key(w->stage, pki_ca_key(w->next_root), wf_buf_cstr(&w->passphrase),
                                  why);
    if (err == WEFT_OK)
        err = init_write_chain(w->stage, HOME_ROOT, pki_ca_chain(w->next_root), why);
    if (err == WEFT_OK)
        err = list_add(&w->lists[0], pki_chain_der(pki_ca_chain(w->next_root), 0), true, why);
    w->is_changed = true;
    return err;
}

static weft_err make_authority(struct work *w, const char *name, enum pki_kind kind,
                               const pki_ca *root, pki_ca **out, wf_why *why)
{
    pki_ca *ca = NULL;
    weft_err err =
        pki_ca_new_intermediate(root, kind, w->time, INIT_INTERMEDIATE_LIFE_MS, &ca, why);

    if (err == WEFT_OK)
        err = home_write_key(&w->staged, name, ".key", pki_ca_key(ca), why);
    if (err == WEFT_OK)
        err = init_write_chain(w->stage, name, pki_ca_chain(ca), why);
    if (err == WEFT_OK && out != NULL)
        *out = ca;
    else
        pki_ca_free(ca);
    return err;
}

/* The key that tokens pin beside the present one, and a fresh one to come after it. */
static weft_err take_next_key(struct work *w, pki_key **out, wf_why *why)
{
    pki_key *fresh = NULL;
    weft_err err = home_read_key(&w->now, HOME_NEXT, ".key", out, why);

    if (err == WEFT_ENOTFOUND)
        err = pki_key_new(PKI_KEY_P256, out, why);
    if (err == WEFT_OK)
        err = pki_key_new(PKI_KEY_P256, &fresh, why);
    if (err == WEFT_OK)
        err = home_write_key(&w->staged, HOME_NEXT, ".key", fresh, why);
    if (err == WEFT_OK)
        err = home_write_key(&w->staged, HOME_LEAF, ".key", *out, why);
    pki_key_free(fresh);
    return err;
}

/* A new authority of controllers, and our own leaf under it. */
static weft_err make_controllers(struct work *w, bool new_key, wf_why *why)
{
    struct store_node self = {.kind = PKI_CONTROLLER, .name = HOME_NAME};
    struct pki_subject subject;
    struct home lent = {.lock = -1, .domain = w->now.domain};
    pki_key *key = NULL;
    pki_chain *chain = NULL;
    wf_buf spki;
    weft_err err =
        make_authority(w, HOME_CA_CONTROLLERS, PKI_CONTROLLER, w->root, &lent.controllers, why);

    wf_buf_init(&spki, 256);
    if (err == WEFT_OK)
        err = pki_trust_check_chain(w->now.trust, w->now.chain, PKI_CONTROLLER, PKI_SERVER, true,
                                    w->time, &subject, why);
    if (err == WEFT_OK && new_key)
        err = take_next_key(w, &key, why);
    if (err == WEFT_OK)
        err = pki_key_put_spki(new_key ? key : w->now.key, &spki);
    if (err == WEFT_OK) {
        self.id = subject.id;
        err = issue_leaf(&lent, &self, wf_span_of(spki.data, spki.len), w->time, 0, &chain, why);
    }
    if (err == WEFT_OK)
        err = init_write_chain(w->stage, HOME_LEAF, chain, why);
    wf_buf_fini(&spki);
    pki_chain_free(chain);
    pki_key_free(key);
    pki_ca_free(lent.controllers);
    return err;
}

/* Version + 1, signed by the root that everybody has, and the row that ends with it. */
static weft_err make_bundle(struct work *w, wf_why *why)
{
    Weft__Wire__BundleBody body;
    ProtobufCBinaryData data[LISTS][WF_BUNDLE_KEYS_MAX];
    uint8_t previous[32];
    wf_buf encoded, row;
    weft_err err;

    wf_buf_init(&encoded, WF_BUNDLE_MAX);
    wf_buf_init(&row, 64u * 1024u * 1024u);
    for (size_t i = 0; i < LISTS; i++)
        for (size_t k = 0; k < w->lists[i].count; k++)
            data[i][k] = wf_pb_bytes(w->lists[i].items[k].data, w->lists[i].items[k].len);
    weft__wire__bundle_body__init(&body);
    body.trust_domain = w->body->trust_domain;
    body.version = w->body->version + 1;
    body.n_roots = w->lists[0].count;
    body.roots = data[0];
    body.n_policy_keys = w->lists[1].count;
    body.policy_keys = data[1];
    body.n_audit_keys = w->lists[2].count;
    body.audit_keys = data[2];
    body.n_enrollment_keys = w->lists[3].count;
    body.enrollment_keys = data[3];
    pki_trust_digest(w->now.trust, previous);
    body.previous = wf_pb_bytes(previous, sizeof previous);
    err = pki_record_seal(pki_ca_key(w->root), PKI_LABEL_BUNDLE, &body.base, &encoded);
    for (size_t i = 0; err == WEFT_OK && i < w->now.bundle_count; i++) {
        err = wf_buf_put_u32(&row, (uint32_t)w->now.bundles[i].len);
        if (err == WEFT_OK)
            err = wf_buf_put(&row, w->now.bundles[i].data, w->now.bundles[i].len);
    }
    if (err == WEFT_OK)
        err = wf_buf_put_u32(&row, (uint32_t)encoded.len);
    if (err == WEFT_OK)
        err = wf_buf_put(&row, encoded.data, encoded.len);
    if (err != WEFT_OK)
        wf_fail(why, err, "the next trust bundle can't be made: %s", weft_err_sentence((int)err));
    if (err == WEFT_OK)
        err =
            home_write(w->stage, HOME_BUNDLE, "", 0644, wf_span_of(encoded.data, encoded.len), why);
    if (err == WEFT_OK)
        err = home_write(w->stage, HOME_BUNDLES, "", 0644, wf_span_of(row.data, row.len), why);
    wf_buf_fini(&encoded);
    wf_buf_fini(&row);
    return err;
}

/* Only the first of each list is in use. */
static weft_err make_end(struct work *w, wf_why *why)
{
    bool had_roots = w->lists[0].count > 1;

    for (size_t i = 0; i < LISTS; i++)
        while (w->lists[i].count > 1) {
            wf_buf_fini(&w->lists[i].items[--w->lists[i].count]);
            w->is_changed = true;
        }
    if (!w->is_changed)
        return wf_fail(why, WEFT_ECONFLICT,
                       "there is nothing to finish: no older key is in the bundle");
    return had_roots ? make_controllers(w, false, why) : WEFT_OK;
}

static weft_err make_all(struct work *w, wf_why *why)
{
    const unsigned what = w->asked->what;
    const pki_ca *root;
    weft_err err = WEFT_OK;

    if ((what & (ROTATE_ROOT | ROTATE_CONTROLLERS)) != 0 && w->lists[0].count > 1)
        return wf_fail(why, WEFT_ECONFLICT,
                       "the root's rotation is not finished; end it first: weft-controller "
                       "rotate-ca --home %s --finish",
                       w->asked->dir);
    if ((what & ROTATE_ROOT) != 0)
        err = make_root(w, why);
    root = w->next_root != NULL ? w->next_root : w->root;
    if (err == WEFT_OK && (what & (ROTATE_ROOT | ROTATE_IDENTITIES)) != 0)
        err = make_authority(w, HOME_CA_IDENTITIES, PKI_IDENTITY, root, NULL, why);
    if (err == WEFT_OK && (what & (ROTATE_ROOT | ROTATE_ROUTERS)) != 0)
        err = make_authority(w, HOME_CA_ROUTERS, PKI_ROUTER, root, NULL, why);
    if (err == WEFT_OK && (what & ROTATE_CONTROLLERS) != 0)
        err = make_controllers(w, true, why);
    if (err == WEFT_OK && (what & ROTATE_POLICY) != 0)
        err = make_signer(w, HOME_POLICY, &w->lists[1], why);
    if (err == WEFT_OK && (what & ROTATE_AUDIT) != 0)
        err = make_signer(w, HOME_AUDIT, &w->lists[2], why);
    if (err == WEFT_OK && (what & ROTATE_ENROLLMENT) != 0)
        err = make_signer(w, HOME_ENROLLMENT, &w->lists[3], why);
    return err;
}

static weft_err make_ready(struct work *w, wf_why *why)
{
    weft_err err;

    if (wf_file_exists(w->ready))
        return wf_fail(why, WEFT_EBUSY,
                       "%s: a rotation waits to be taken up; start the controller, or send it "
                       "SIGHUP",
                       w->ready);
    err = remove_folder(w->stage, why);
    if (err != WEFT_OK)
        return err;
    if (mkdir(w->stage, 0700) != 0)
        return wf_fail(why, WEFT_EIO, "%s: the folder can't be made: %s", w->stage,
                       strerror(errno));
    err = read_all(w, why);
    if (err == WEFT_OK)
        err = w->asked->finish ? make_end(w, why) : make_all(w, why);
    if (err == WEFT_OK && w->is_changed)
        err = make_bundle(w, why);
    if (err == WEFT_OK)
        err = rotated_stage(w->asked, w->stage, w->body->version + w->is_changed, why);
    if (err == WEFT_OK)
        err = sync_folder(w->stage, why);
    if (err != WEFT_OK) {
        (void)remove_folder(w->stage, NULL);
        return err;
    }
    if (rename(w->stage, w->ready) != 0)
        return wf_fail(why, WEFT_EIO, "%s: %s", w->ready, strerror(errno));
    return sync_folder(w->asked->dir, why);
}

weft_err rotation_stage(const struct rotation *rotation, wf_why *why)
{
    struct work w = {.asked = rotation, .now = {.lock = -1}, .time = wf_now_wall_ms()};
    weft_err err = WEFT_ENOMEM;

    assert(rotation->finish == (rotation->what == 0));
    w.stage = home_path(rotation->dir, STAGE, "");
    w.ready = home_path(rotation->dir, HOME_READY, "");
    wf_buf_init(&w.passphrase, PASSPHRASE_MAX);
    if (w.stage != NULL && w.ready != NULL)
        err = make_ready(&w, why);
    else
        wf_fail(why, err, "out of memory");
    for (size_t i = 0; i < LISTS; i++)
        list_fini(&w.lists[i]);
    wf_bundle_body_free(w.body);
    pki_ca_free(w.root);
    pki_ca_free(w.next_root);
    home_close(&w.now);
    wf_buf_wipe(&w.passphrase);
    free(w.stage);
    free(w.ready);
    return err;
}
