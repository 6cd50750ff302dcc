/*
 * Happy path: everything is made in DIR.new-XXXXXXXX, opened once as the
 * program will open it, and renamed to DIR.
 *
 * Failure modes: whatever fails, the new folder and the administrator's file
 * go again; DIR is there whole or not at all.
 */
#include "controller/init.h"
#include "controller/api_cert.h"
#include "controller/floors.h"
#include "controller/follow.h"
#include "controller/issue.h"
#include "controller/rights.h"
#include "controller/unlock.h"
#include "pki/identity.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/base/secret.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PEM_MAX 32768u
#define PASSPHRASE_MAX 1024u

/* The root's alone is under a passphrase and not sealed: it can be taken elsewhere. */
weft_err init_write_root_key(const char *dir, const pki_key *key, const char *passphrase,
                             wf_why *why)
{
    wf_buf pem;
    weft_err err;

    wf_buf_init(&pem, PEM_MAX);
    err = pki_key_put_pem(key, passphrase, &pem);
    if (err == WEFT_OK)
        err = home_write(dir, HOME_ROOT, ".key", 0600, wf_span_of(pem.data, pem.len), why);
    wf_buf_wipe(&pem);
    return err;
}

weft_err init_write_chain(const char *dir, const char *name, const pki_chain *chain, wf_why *why)
{
    wf_buf pem;
    weft_err err;

    wf_buf_init(&pem, PEM_MAX);
    err = pki_chain_put_pem(chain, &pem);
    if (err == WEFT_OK)
        err = home_write(dir, name, ".pem", 0644, wf_span_of(pem.data, pem.len), why);
    wf_buf_fini(&pem);
    return err;
}

/* The text that unlocks the root: the first line of the file, or a fresh one kept beside it. */
static weft_err get_passphrase(const char *dir, const char *file, wf_buf *out, wf_why *why)
{
    char a[WF_ID_TEXT], b[WF_ID_TEXT];
    wf_id first, second;
    weft_err err;

    if (file != NULL) {
        uint8_t *end;

        err = wf_file_read_secret(file, out, why);
        if (err != WEFT_OK)
            return err;
        end = out->len > 0 ? memchr(out->data, '\n', out->len) : NULL;
        if (end != NULL)
            out->len = (size_t)(end - out->data);
        if (out->len < 8 || memchr(out->data, 0, out->len) != NULL)
            return wf_fail(why, WEFT_EINVAL,
                           "%s: the first line must be a passphrase of 8 characters or more", file);
        return WEFT_OK;
    }
    first = wf_id_random();
    second = wf_id_random();
    err = wf_buf_printf(out, "%s%s", wf_id_text(&first, a), wf_id_text(&second, b));
    if (err == WEFT_OK)
        err = home_write(dir, HOME_PASSPHRASE, "", 0600, wf_span_of(out->data, out->len), why);
    wf_wipe(a, sizeof a);
    wf_wipe(b, sizeof b);
    wf_wipe(&first, sizeof first);
    wf_wipe(&second, sizeof second);
    return err;
}

static weft_err make_root(const char *dir, const struct init_config *config, const char *domain,
                          uint64_t now, pki_ca **root, wf_why *why)
{
    wf_buf passphrase;
    weft_err err;

    wf_buf_init(&passphrase, PASSPHRASE_MAX);
    err = get_passphrase(dir, config->passphrase_file, &passphrase, why);
    if (err == WEFT_OK)
        err = pki_ca_new_root(domain, PKI_KEY_P256, now, INIT_ROOT_LIFE_MS, root, why);
    if (err == WEFT_OK && wf_buf_cstr(&passphrase) == NULL)
        err = WEFT_ENOMEM;
    if (err == WEFT_OK)
        err = init_write_root_key(dir, pki_ca_key(*root), wf_buf_cstr(&passphrase), why);
    if (err == WEFT_OK)
        err = init_write_chain(dir, HOME_ROOT, pki_ca_chain(*root), why);
    wf_buf_wipe(&passphrase);
    return err;
}

static weft_err make_intermediate(const struct home *made, const char *name, const pki_ca *root,
                                  enum pki_kind kind, uint64_t now, pki_ca **out, wf_why *why)
{
    weft_err err = pki_ca_new_intermediate(root, kind, now, INIT_INTERMEDIATE_LIFE_MS, out, why);

    if (err == WEFT_OK)
        err = home_write_key(made, name, ".key", pki_ca_key(*out), why);
    if (err == WEFT_OK)
        err = init_write_chain(made->dir, name, pki_ca_chain(*out), why);
    return err;
}

static weft_err make_signer(const struct home *made, const char *name, wf_buf *spki, wf_why *why)
{
    pki_key *key = NULL;
    weft_err err = pki_key_new(PKI_KEY_ED25519, &key, why);

    if (err == WEFT_OK)
        err = home_write_key(made, name, "", key, why);
    if (err == WEFT_OK)
        err = pki_key_put_spki(key, spki);
    pki_key_free(key);
    return err;
}

/* The signing keys, and version 1 of the bundle that names them. */
static weft_err make_bundle(const struct home *made, const char *domain, const pki_ca *root,
                            wf_why *why)
{
    Weft__Wire__BundleBody body;
    ProtobufCBinaryData roots, keys[3];
    wf_buf spki[3], text, encoded;
    wf_span der = pki_chain_der(pki_ca_chain(root), 0);
    weft_err err;

    for (size_t i = 0; i < 3; i++)
        wf_buf_init(&spki[i], 256);
    wf_buf_init(&encoded, WF_BUNDLE_MAX);
    wf_buf_init(&text, PKI_DOMAIN_MAX + 1);
    err = make_signer(made, HOME_POLICY, &spki[0], why);
    if (err == WEFT_OK)
        err = make_signer(made, HOME_AUDIT, &spki[1], why);
    if (err == WEFT_OK)
        err = make_signer(made, HOME_ENROLLMENT, &spki[2], why);
    if (err == WEFT_OK)
        err = wf_buf_put(&text, domain, strlen(domain) + 1);
    if (err != WEFT_OK)
        goto out;
    for (size_t i = 0; i < 3; i++)
        keys[i] = wf_pb_bytes(spki[i].data, spki[i].len);
    roots = wf_pb_bytes(der.data, der.len);
    weft__wire__bundle_body__init(&body);
    body.trust_domain = (char *)text.data;
    body.version = 1;
    body.n_roots = 1;
    body.roots = &roots;
    body.n_policy_keys = 1;
    body.policy_keys = &keys[0];
    body.n_audit_keys = 1;
    body.audit_keys = &keys[1];
    body.n_enrollment_keys = 1;
    body.enrollment_keys = &keys[2];
    err = pki_record_seal(pki_ca_key(root), PKI_LABEL_BUNDLE, &body.base, &encoded);
    if (err == WEFT_OK)
        err = home_write(made->dir, HOME_BUNDLE, "", 0644, wf_span_of(encoded.data, encoded.len),
                         why);
out:
    for (size_t i = 0; i < 3; i++)
        wf_buf_fini(&spki[i]);
    wf_buf_fini(&text);
    wf_buf_fini(&encoded);
    return err;
}

/* The controller's own leaf, straight from its authority: home.c can't open without it. */
static weft_err make_leaf(const struct home *made, const char *domain, pki_ca *ca, const wf_id *id,
                          uint64_t now, wf_why *why)
{
    pki_key *key = NULL, *next = NULL;
    pki_chain *chain = NULL;
    wf_buf spki;
    struct home enough = *made;
    struct store_node self = {.id = *id, .kind = PKI_CONTROLLER, .name = HOME_NAME};
    weft_err err;

    enough.domain = domain;
    enough.controllers = ca;
    wf_buf_init(&spki, 256);
    err = pki_key_new(PKI_KEY_P256, &next, why);
    if (err == WEFT_OK)
        err = home_write_key(made, HOME_NEXT, ".key", next, why);
    if (err == WEFT_OK)
        err = pki_key_new(PKI_KEY_P256, &key, why);
    if (err == WEFT_OK)
        err = pki_key_put_spki(key, &spki);
    if (err == WEFT_OK)
        err = issue_leaf(&enough, &self, wf_span_of(spki.data, spki.len), now, 0, &chain, why);
    if (err == WEFT_OK)
        err = home_write_key(made, HOME_LEAF, ".key", key, why);
    if (err == WEFT_OK)
        err = init_write_chain(made->dir, HOME_LEAF, chain, why);
    wf_buf_fini(&spki);
    pki_chain_free(chain);
    pki_key_free(key);
    pki_key_free(next);
    return err;
}

static weft_err make_store(const char *dir, const struct init_config *config, const wf_id *id,
                           wf_why *why)
{
    char *path = home_path(dir, HOME_STORE, "");
    char one[WF_ADDRESS_TEXT];
    wf_buf addresses;
    store *s = NULL;
    weft_err err = WEFT_ENOMEM;

    wf_buf_init(&addresses, PKI_CONTROLLERS_MAX * WF_ADDRESS_TEXT);
    if (path == NULL)
        goto out;
    err = store_create(path, why);
    if (err == WEFT_OK)
        err = store_open(path, &s, why);
    for (size_t i = 0; err == WEFT_OK && i < config->address_count; i++)
        err = wf_buf_printf(&addresses, "%s%s", i > 0 ? " " : "",
                            wf_address_text(&config->addresses[i], one));
    if (err == WEFT_OK)
        err = store_begin(s);
    if (err == WEFT_OK)
        err = store_setting_put(s, HOME_SETTING_ID, id->b, sizeof id->b);
    if (err == WEFT_OK)
        err = store_setting_put(s, HOME_SETTING_ADDRESSES, addresses.data, addresses.len);
    if (err == WEFT_OK)
        err = store_commit(s);
    if (err != WEFT_OK && s != NULL)
        store_check(s, why);
out:
    store_close(s);
    wf_buf_fini(&addresses);
    free(path);
    return err;
}

weft_err init_admin(struct home *home, const char *name, const char *path, wf_why *why)
{
    uint64_t now = wf_now_wall_ms(), from;
    struct store_node node = {.id = wf_id_random(),
                              .kind = PKI_IDENTITY,
                              .enroll = PKI_ENROLL_OTT,
                              .created = now,
                              .enrolled = true};
    struct store_key key = {.subject = node.id};
    struct audit_event event = {.kind = AUDIT_LOCAL,
                                .time = now,
                                .operation = "admin",
                                .as = "controller",
                                .what = name,
                                .id = &node.id};
    struct pki_identity identity;
    wf_buf spki;
    weft_err err;

    pki_identity_init(&identity);
    wf_buf_init(&spki, 256);
    memcpy(node.name, name, strlen(name) + 1);
    err = pki_key_new(PKI_KEY_P256, &identity.key, why);
    if (err == WEFT_OK)
        err = pki_key_put_spki(identity.key, &spki);
    if (err == WEFT_OK)
        err =
            issue_leaf(home, &node, wf_span_of(spki.data, spki.len), now, 0, &identity.chain, why);
    if (err != WEFT_OK)
        goto out;
    pki_chain_pin(identity.chain, &key.pin);
    pki_chain_validity(identity.chain, &from, &key.not_after);
    node.pin = key.pin;
    node.expires = key.not_after;

    identity.kind = PKI_IDENTITY;
    identity.id = node.id;
    memcpy(identity.name, node.name, sizeof identity.name);
    memcpy(identity.domain, home->domain, strlen(home->domain) + 1);
    memcpy(identity.controllers, home->addresses, sizeof identity.controllers);
    identity.controller_count = home->address_count;
    err = wf_buf_put(&identity.bundle, pki_trust_bundle(home->trust).data,
                     pki_trust_bundle(home->trust).len);
    if (err == WEFT_OK)
        err = store_begin(home->store);
    if (err == WEFT_OK)
        err = store_node_add(home->store, &node);
    if (err == WEFT_OK)
        err = store_key_put(home->store, &key);
    if (err == WEFT_OK)
        err = follow_certified(home, node.kind, &node.id);
    if (err == WEFT_OK)
        err = store_admin_put(home->store, &node.id, RIGHTS_FULL);
    if (err == WEFT_OK)
        err = audit_append(home, &event);
    if (err == WEFT_OK)
        err = audit_sign(home, now, wf_now_mono_ms());
    if (err != WEFT_OK) {
        if (store_check(home->store, why) == WEFT_OK)
            wf_fail(why, err, "identity '%s': %s", name, weft_err_sentence(err));
        goto out;
    }
    err = pki_identity_save(&identity, path, why);
out:
    wf_buf_fini(&spki);
    pki_identity_fini(&identity);
    return err;
}

/* The store's own content, and the first administrator, through the door that `run` uses. */
static weft_err populate(const char *dir, const char *seal_key, const char *admin_path, wf_why *why)
{
    struct home home;
    weft_err err = home_open_sealed(dir, seal_key, &home, why);

    if (err != WEFT_OK)
        return err;
    err = store_begin(home.store);
    if (err == WEFT_OK)
        err = floors_begin(&home);
    if (err == WEFT_OK)
        err = api_cert_make(&home, wf_now_wall_ms(), why);
    if (err == WEFT_OK)
        err = init_admin(&home, "admin", admin_path, why);
    if (err == WEFT_OK)
        err = store_commit(home.store);
    if (err != WEFT_OK)
        store_check(home.store, why);
    home_close(&home);
    return err;
}

static weft_err make_all(char *dir, const struct init_config *config, const char *domain,
                         wf_why *why)
{
    struct home made = {.dir = dir, .lock = -1};
    uint64_t now = wf_now_wall_ms();
    wf_id id = wf_id_random();
    pki_ca *root = NULL, *identities = NULL, *routers = NULL, *controllers = NULL;
    weft_err err = unlock_make(dir, config->seal_key, &made.vault, why);

    if (err == WEFT_OK)
        err = make_root(dir, config, domain, now, &root, why);
    if (err == WEFT_OK)
        err =
            make_intermediate(&made, HOME_CA_IDENTITIES, root, PKI_IDENTITY, now, &identities, why);
    if (err == WEFT_OK)
        err = make_intermediate(&made, HOME_CA_ROUTERS, root, PKI_ROUTER, now, &routers, why);
    if (err == WEFT_OK)
        err = make_intermediate(&made, HOME_CA_CONTROLLERS, root, PKI_CONTROLLER, now, &controllers,
                                why);
    if (err == WEFT_OK)
        err = make_bundle(&made, domain, root, why);
    if (err == WEFT_OK)
        err = make_leaf(&made, domain, controllers, &id, now, why);
    if (err == WEFT_OK)
        err = make_store(dir, config, &id, why);
    pki_ca_free(root);
    pki_ca_free(identities);
    pki_ca_free(routers);
    pki_ca_free(controllers);
    pki_vault_free(made.vault);
    return err;
}

void init_remove_folder(const char *dir)
{
    DIR *d = opendir(dir);
    const struct dirent *entry;

    while (d != NULL && (entry = readdir(d)) != NULL)
        (void)unlinkat(dirfd(d), entry->d_name, 0);
    if (d != NULL)
        closedir(d);
    (void)rmdir(dir);
}

weft_err init_sync_folder(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    weft_err err = fd >= 0 && fsync(fd) == 0 ? WEFT_OK : WEFT_EIO;

    if (fd >= 0)
        close(fd);
    return err;
}

weft_err init_home(const struct init_config *given, wf_why *why)
{
    static const wf_address local = {.host = "127.0.0.1", .port = HOME_PORT};
    struct init_config config = *given;
    const char *domain = config.domain != NULL ? config.domain : "weft.internal";
    char suffix[WF_ID_TEXT], *fresh = NULL, *admin = NULL, *parent = NULL, *slash;
    size_t len = strlen(config.dir);
    wf_id random = wf_id_random();
    struct stat st;
    weft_err err = pki_domain_check(domain, strlen(domain), why);

    if (err != WEFT_OK)
        return err;
    while (len > 1 && config.dir[len - 1] == '/')
        len--;
    if (lstat(config.dir, &st) == 0)
        return wf_fail(why, WEFT_EEXIST,
                       "%s is there already; give another --home, or remove that one first",
                       config.dir);
    if (config.admin_out != NULL && wf_file_exists(config.admin_out))
        return wf_fail(why, WEFT_EEXIST,
                       "%s is there already; give another --admin-out, or remove it first",
                       config.admin_out);
    if (config.address_count == 0) {
        config.addresses = &local;
        config.address_count = 1;
    }
    err = WEFT_ENOMEM;
    if (asprintf(&fresh, "%.*s.new-%.8s", (int)len, config.dir, wf_id_text(&random, suffix)) < 0)
        fresh = NULL;
    parent = strndup(config.dir, len);
    if (fresh == NULL || parent == NULL)
        goto out;
    slash = strrchr(parent, '/');
    if (slash == NULL) {
        free(parent);
        parent = strdup(".");
        if (parent == NULL)
            goto out;
    } else {
        slash[slash == parent] = '\0';
    }
    err = wf_folder_make(parent, why);
    if (err != WEFT_OK)
        goto out;
    if (mkdir(fresh, 0700) != 0) {
        err = wf_fail(why, WEFT_EIO, "%s: the folder can't be made: %s", fresh, strerror(errno));
        goto out;
    }
    if (config.admin_out != NULL)
        admin = strdup(config.admin_out);
    else
        admin = home_path(fresh, "admin.json", "");
    err = admin == NULL ? WEFT_ENOMEM : make_all(fresh, &config, domain, why);
    if (err == WEFT_OK)
        err = populate(fresh, config.seal_key, admin, why);
    if (err == WEFT_OK)
        err = init_sync_folder(fresh);
    /* rename replaces an empty folder that appeared meanwhile, and nothing else. */
    if (err == WEFT_OK && rename(fresh, config.dir) != 0)
        err = wf_fail(why, WEFT_EIO, "%s: can't be put in place: %s", config.dir, strerror(errno));
    if (err != WEFT_OK) {
        init_remove_folder(fresh);
        if (config.admin_out != NULL)
            (void)unlink(config.admin_out);
        goto out;
    }
    (void)init_sync_folder(parent);
out:
    if (err != WEFT_OK && why != NULL && why->text[0] == '\0')
        wf_fail(why, err, "%s: %s", config.dir, weft_err_sentence(err));
    free(fresh);
    free(admin);
    free(parent);
    return err;
}
