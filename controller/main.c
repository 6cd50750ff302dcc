/* weft-controller: identities, policy, enrollment. docs/cli.md. */
#include "controller/api_cert.h"
#include "controller/backup.h"
#include "controller/controller.h"
#include "controller/follow.h"
#include "controller/init.h"
#include "controller/rotation.h"
#include "controller/unlock.h"
#include "controller/verify.h"
#include "controller/view.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/node/program.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define API_PORT 9340
#define API_ADDRESS "127.0.0.1:9340"

static weft_err need_home(const struct wf_call_line *line, const char **out, wf_why *why)
{
    *out = wf_line_text(line, "home");
    if (*out == NULL || **out == '\0')
        return wf_fail(why, WEFT_EUSAGE,
                       "--home DIR is needed: the folder with the controller's "
                       "keys and store");
    return WEFT_OK;
}

/* Whether others can be told this address. */
static weft_err check_address(const wf_address *address, wf_why *why)
{
    struct sockaddr_storage sa;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&sa;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&sa;

    if (!wf_address_get_sockaddr(address, &sa) ||
        (sa.ss_family == AF_INET ? v4->sin_addr.s_addr != 0
                                 : !IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr)))
        return WEFT_OK;
    return wf_fail(why, WEFT_EUSAGE,
                   "--address: %s says not where to be found; name an address that others reach "
                   "(run --listen %s%s%s:%u listens everywhere)",
                   address->host, sa.ss_family == AF_INET6 ? "[" : "", address->host,
                   sa.ss_family == AF_INET6 ? "]" : "", (unsigned)address->port);
}

static bool is_loopback(const wf_address *address)
{
    struct sockaddr_storage sa;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&sa;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&sa;

    if (!wf_address_get_sockaddr(address, &sa))
        return strcmp(address->host, "localhost") == 0;
    return sa.ss_family == AF_INET ? ntohl(v4->sin_addr.s_addr) >> 24 == 127
                                   : IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static weft_err run_init(const struct wf_call_line *line, wf_why *why)
{
    wf_address addresses[PKI_CONTROLLERS_MAX];
    struct init_config config = {
        .domain = wf_line_text(line, "domain"),
        .addresses = addresses,
        .admin_out = wf_line_text(line, "admin-out"),
        .passphrase_file = wf_line_text(line, "root-passphrase-file"),
        .seal_key = wf_line_text(line, "seal-key"),
    };
    char text[WF_ADDRESS_TEXT] = "127.0.0.1:9338";
    const char *one;
    weft_err err = need_home(line, &config.dir, why);

    while (err == WEFT_OK && (one = wf_line_list(line, "address", config.address_count)) != NULL) {
        if (config.address_count == PKI_CONTROLLERS_MAX)
            return wf_fail(why, WEFT_EUSAGE, "at most %d addresses", PKI_CONTROLLERS_MAX);
        err = wf_address_parse(one, HOME_PORT, &addresses[config.address_count], why);
        err = err == WEFT_OK ? check_address(&addresses[config.address_count], why) : WEFT_EUSAGE;
        config.address_count++;
    }
    if (err == WEFT_OK)
        err = init_home(&config, why);
    if (err != WEFT_OK)
        return err;
    if (config.address_count > 0)
        wf_address_text(&addresses[0], text);
    bool is_local = true;
    for (size_t i = 0; i < config.address_count; i++)
        is_local = is_local && is_loopback(&addresses[i]);
    printf("made a fabric: trust domain %s, controller at %s\n",
           config.domain != NULL ? config.domain : "weft.internal", text);
    printf("  %s: root and intermediate authorities, policy, audit and enrollment keys, store\n",
           config.dir);
    if (config.seal_key != NULL)
        printf("  %s: its private keys are sealed with %s\n", config.dir, config.seal_key);
    else
        printf("  %s/" HOME_SEAL_KEY ": opens its private keys; keep it apart from copies of the "
               "home, or move it: weft-controller seal --home %s --to SOURCE\n",
               config.dir, config.dir);
    if (config.passphrase_file == NULL)
        printf("  %s/" HOME_PASSPHRASE ": unlocks %s/" HOME_ROOT
               ".key; move both offline, `run` needs neither\n",
               config.dir, config.dir);
    if (config.admin_out != NULL)
        printf("  %s: the first administrator's identity\n", config.admin_out);
    else
        printf("  %s/admin.json: the first administrator's identity\n", config.dir);
    if (is_local)
        printf("only this machine can reach %s; give --address HOST for others\n", text);
    printf("next: weft-controller run --home %s\n", config.dir);
    printf("then: weft login %s --identity ", text);
    if (config.admin_out != NULL)
        printf("%s\n", config.admin_out);
    else
        printf("%s/admin.json\n", config.dir);
    printf("or over HTTPS: curl --cacert %s/" HOME_API_CA ".pem -H \"Authorization: Bearer "
           "$(weft login --print-token)\" https://" API_ADDRESS "/v1/status\n",
           config.dir);
    return WEFT_OK;
}

/* Where to listen when nobody said: where `init --address` says that we are. */
static weft_err default_listen(const char *dir, const char *seal_key, wf_address *out, wf_why *why)
{
    struct home home;
    unsigned char address[16];
    weft_err err = home_open_sealed(dir, seal_key, &home, why);

    if (err != WEFT_OK)
        return err;
    *out = home.addresses[0];
    if (strcmp(out->host, "localhost") == 0)
        memcpy(out->host, "127.0.0.1", sizeof "127.0.0.1");
    else if (inet_pton(AF_INET, out->host, address) != 1 &&
             inet_pton(AF_INET6, out->host, address) != 1)
        memcpy(out->host, "0.0.0.0", sizeof "0.0.0.0"); /* a name that others reach us by */
    home_close(&home);
    return WEFT_OK;
}

static weft_err run_run(const struct wf_call_line *line, wf_why *why)
{
    struct controller_run run = {.metrics = wf_line_text(line, "metrics"),
                                 .seal_key = wf_line_text(line, "seal-key")};
    const char *listen = wf_line_text(line, "listen"), *api = wf_line_text(line, "api");
    wf_address api_address;
    weft_err err = need_home(line, &run.dir, why);

    if (err != WEFT_OK)
        return err;
    run.api_cert = wf_line_text(line, "api-cert");
    run.api_key = wf_line_text(line, "api-key");
    if ((run.api_cert == NULL) != (run.api_key == NULL))
        return wf_fail(why, WEFT_EUSAGE, "--api-cert and --api-key go together");
    if (api == NULL || strcmp(api, "off") != 0) {
        err = wf_address_parse(api != NULL ? api : API_ADDRESS, API_PORT, &api_address, why);
        if (err != WEFT_OK)
            return wf_wrap(why, WEFT_EUSAGE, "--api");
        run.api = &api_address;
        run.api_may_fail = api == NULL;
    }
    if (listen != NULL)
        err = wf_address_parse(listen, HOME_PORT, &run.listen, why) == WEFT_OK ? WEFT_OK
                                                                               : WEFT_EUSAGE;
    else
        err = default_listen(run.dir, run.seal_key, &run.listen, why);
    if (err == WEFT_OK)
        err = controller_run(&run, why);
    if (err == WEFT_EIO && listen == NULL && strncmp(why->text, "can't listen", 12) == 0)
        wf_wrap(why, err, "no --listen, so the address that init was told");
    return err;
}

static weft_err run_admin(const struct wf_call_line *line, wf_why *why)
{
    const char *dir, *out = wf_line_text(line, "out");
    char name[WF_NAME_MAX + 1];
    struct home home;
    char id_text[WF_ID_TEXT];
    wf_id random = wf_id_random();
    weft_err err = need_home(line, &dir, why);

    if (err == WEFT_OK && out == NULL)
        err = wf_fail(why, WEFT_EUSAGE, "--out FILE is needed: where the identity goes");
    if (err != WEFT_OK)
        return err;
    if (wf_file_exists(out))
        return wf_fail(why, WEFT_EEXIST, "%s is there already; give another --out", out);
    err = home_open_sealed(dir, wf_line_text(line, "seal-key"), &home, why);
    if (err != WEFT_OK)
        return err;
    snprintf(name, sizeof name, "admin-%.8s", wf_id_text(&random, id_text));
    err = init_admin(&home, name, out, why);
    if (err == WEFT_OK) {
        err = store_commit(home.store);
        if (err != WEFT_OK) {
            store_check(home.store, why);
            (void)remove(out);
        }
    }
    home_close(&home);
    if (err == WEFT_OK)
        printf("made administrator '%s': %s\n", name, out);
    return err;
}

/* What opens the keys, and whether a copy of the home takes it along. */
static void say_seal(const char *dir)
{
    wf_buf source;

    wf_buf_init(&source, PKI_LOCK_SOURCE_MAX + 1);
    if (unlock_source(dir, &source, NULL) == WEFT_OK && wf_buf_cstr(&source) != NULL)
        printf("  keys are sealed with %s%s\n", wf_buf_cstr(&source),
               unlock_is_inside(dir) ? " in the home itself: whoever copies the whole home has both"
                                     : "");
    wf_buf_fini(&source);
}

static weft_err run_check(const struct wf_call_line *line, wf_why *why)
{
    struct controller c;
    uint64_t from, until, identities = 0, routers = 0, now = wf_now_wall_ms();
    char text[WF_ADDRESS_TEXT];
    const char *dir;
    weft_err err = need_home(line, &dir, why);

    if (err == WEFT_OK)
        err = controller_init_sealed(&c, dir, wf_line_text(line, "seal-key"), why);
    if (err != WEFT_OK)
        return err;
    err = store_node_count(c.home.store, PKI_IDENTITY, &identities);
    if (err == WEFT_OK)
        err = store_node_count(c.home.store, PKI_ROUTER, &routers);
    if (err != WEFT_OK)
        store_check(c.home.store, why);
    if (err == WEFT_OK)
        err = api_cert_check(&c.home, now, why);
    pki_chain_validity(c.home.chain, &from, &until);
    if (err == WEFT_OK) {
        printf("%s: all is in place\n", dir);
        printf("  trust domain %s, %llu identities, %llu routers\n", c.home.domain,
               (unsigned long long)identities, (unsigned long long)routers);
        for (size_t i = 0; i < c.home.address_count; i++)
            printf("  reached at %s\n", wf_address_text(&c.home.addresses[i], text));
        printf("  own certificate: %llu days left (renewed by itself)\n",
               (unsigned long long)(until > now ? (until - now + 86399999u) / 86400000u : 0));
    }
    if (err == WEFT_OK)
        say_seal(dir);
    controller_fini(&c);
    return err;
}

static weft_err run_seal(const struct wf_call_line *line, wf_why *why)
{
    const char *dir, *to = wf_line_text(line, "to");
    weft_err err = need_home(line, &dir, why);

    if (err == WEFT_OK && to == NULL)
        err = wf_fail(why, WEFT_EUSAGE,
                      "--to SOURCE is needed: file:PATH, credential:NAME, "
                      "passphrase-file:PATH or pkcs11:URI");
    if (err == WEFT_OK)
        err = unlock_change(dir, wf_line_text(line, "from"), to, why);
    if (err == WEFT_OK)
        printf("%s is sealed with %s now; keep the old key as long as copies made before are "
               "kept\n",
               dir, to);
    return err;
}

static weft_err run_audit_verify(const struct wf_call_line *line, wf_why *why)
{
    const char *dir, *against[PKI_LEDGER_SOURCES_MAX - 1];
    struct verify_result result;
    size_t count = 0;
    weft_err err = need_home(line, &dir, why);

    if (err != WEFT_OK)
        return err;
    while (count < PKI_LEDGER_SOURCES_MAX - 1 &&
           (against[count] = wf_line_list(line, "against", count)) != NULL)
        count++;
    if (wf_line_list(line, "against", count) != NULL)
        return wf_fail(why, WEFT_EUSAGE, "--against: at most %u files", PKI_LEDGER_SOURCES_MAX - 1);
    err = verify_home(dir, wf_line_text(line, "bundle"), against, count, &result, why);
    if (err == WEFT_OK)
        printf("verified: %llu entries, %llu of them signed for, by %zu checkpoints\n",
               (unsigned long long)result.entries, (unsigned long long)result.sound,
               result.checkpoints);
    return err;
}

static const struct wf_option audit_verify_options[] = {
    {"home", WF_OPTION_TEXT, "DIR", "a home, or a copy of its weft.db and trust-bundle"},
    {"against", WF_OPTION_LIST, "FILE",
     "checkpoints from elsewhere: weft-router checkpoints, weft audit export"},
    {"bundle", WF_OPTION_TEXT, "FILE", "the trust bundle, instead of the home's"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};
static weft_err run_restore(const struct wf_call_line *line, wf_why *why)
{
    const char *dir, *from = wf_line_text(line, "from");
    weft_err err = need_home(line, &dir, why);

    if (err == WEFT_OK && from == NULL)
        err = wf_fail(why, WEFT_EUSAGE, "--from DIR is needed: the folder that weft backup made");
    if (err == WEFT_OK)
        err = backup_restore(from, dir, wf_line_text(line, "seal-key"), why);
    if (err != WEFT_OK)
        return err;
    printf("restored %s from %s\n", dir, from);
    say_seal(dir);
    printf("what was made since the backup is lost; what was withdrawn comes back from the first "
           "router that links\n");
    printf("next: weft-controller run --home %s\n", dir);
    return WEFT_OK;
}

/* ---- rotate-ca */

/* Wakes the controller that runs on this home, and waits until it has done what we look for. */
static weft_err wake(const char *dir, const char *name, bool to_be_there, wf_why *why)
{
    const struct timespec pause = {.tv_nsec = 50000000};
    char *path = home_path(dir, name, "");
    wf_buf text;
    long pid = 0;
    weft_err err;

    wf_buf_init(&text, 64);
    err = path == NULL ? WEFT_ENOMEM : home_read(dir, HOME_PID, "", false, &text, why);
    if (err == WEFT_OK && wf_buf_cstr(&text) != NULL)
        pid = strtol(wf_buf_cstr(&text), NULL, 10);
    wf_buf_fini(&text);
    if (err == WEFT_OK && (pid < 2 || kill((pid_t)pid, SIGHUP) != 0))
        err =
            wf_fail(why, WEFT_EUNREACHABLE,
                    "%s is in use, but not by a controller that can be woken; send it SIGHUP", dir);
    for (unsigned i = 0; err == WEFT_OK && wf_file_exists(path) != to_be_there; i++) {
        if (i == 200)
            err = wf_fail(why, WEFT_ETIMEDOUT,
                          "the running controller has not answered; its log says why");
        nanosleep(&pause, NULL);
    }
    free(path);
    return err;
}

static uint64_t number_in(wf_buf *text, const char *key, uint64_t absent)
{
    const char *at = wf_buf_cstr(text) == NULL ? NULL : strstr(wf_buf_cstr(text), key);

    return at == NULL ? absent : strtoull(at + strlen(key), NULL, 10);
}

/* The text of the status, and how many are behind; from the home, or from who runs on it. */
static weft_err rotation_text(const char *dir, const char *seal_key, bool *is_live, wf_buf *out,
                              size_t *behind, wf_why *why)
{
    struct json_t *object = NULL;
    char *path = home_path(dir, HOME_ROTATION, "");
    struct home home;
    weft_err err = home_open_sealed(dir, seal_key, &home, why);

    *is_live = err == WEFT_EBUSY;
    if (err == WEFT_OK) {
        err = follow_status(&home, wf_now_wall_ms(), &object, behind);
        if (err == WEFT_OK)
            err = view_put(object, out);
        home_close(&home);
    } else if (err == WEFT_EBUSY && path != NULL) {
        (void)unlink(path);
        err = wake(dir, HOME_ROTATION, true, why);
        if (err == WEFT_OK)
            err = home_read(dir, HOME_ROTATION, "", false, out, why);
        if (err == WEFT_OK) {
            *behind = number_in(out, "\"behind_count\":", 1);
        }
    }
    free(path);
    return err;
}

static weft_err what_of(const char *list, unsigned *what, wf_why *why)
{
    while (*list != '\0') {
        char word[16];
        size_t len = strcspn(list, ",");

        snprintf(word, sizeof word, "%.*s", (int)(len < sizeof word ? len : sizeof word - 1), list);
        if (rotation_what(word) == 0)
            return wf_fail(
                why, WEFT_EUSAGE,
                "--what: '%s' is none of identities, routers, controllers, root, policy, "
                "audit, enrollment and all",
                word);
        *what |= rotation_what(word);
        list += len + (list[len] == ',');
    }
    return WEFT_OK;
}

static weft_err read_line(const struct wf_call_line *line, struct rotation *rotation, bool *status,
                          wf_why *why)
{
    const char *what = wf_line_text(line, "what");
    weft_err err = need_home(line, &rotation->dir, why);

    rotation->passphrase_file = wf_line_text(line, "root-passphrase-file");
    rotation->seal_key = wf_line_text(line, "seal-key");
    rotation->finish = wf_line_flag(line, "finish");
    rotation->forced = wf_line_flag(line, "force");
    *status = wf_line_flag(line, "status");
    if (err != WEFT_OK)
        return err;
    if ((what != NULL) + rotation->finish + *status != 1)
        return wf_fail(why, WEFT_EUSAGE, "say one of --what KEYS, --finish and --status");
    return what == NULL ? WEFT_OK : what_of(what, &rotation->what, why);
}

/* The new state is on disk; now whoever works with it takes it up. */
static weft_err take_up(const struct rotation *rotation, bool is_live, wf_why *why)
{
    struct home home;
    weft_err err;

    if (is_live)
        return wake(rotation->dir, HOME_READY, false, why);
    err = home_open_sealed(rotation->dir, rotation->seal_key, &home, why);
    if (err == WEFT_OK)
        home_close(&home);
    return err;
}

static weft_err run_rotate(const struct wf_call_line *line, wf_why *why)
{
    struct rotation rotation = {.what = 0};
    bool status = false, is_live = false;
    size_t behind = 0;
    char *path = NULL;
    int lock = -1;
    wf_buf text;
    weft_err err = read_line(line, &rotation, &status, why);

    wf_buf_init(&text, 1024u * 1024u);
    if (err == WEFT_OK && (path = home_path(rotation.dir, "rotate", "")) == NULL)
        err = wf_fail(why, WEFT_ENOMEM, "out of memory");
    if (err == WEFT_OK)
        err = wf_file_lock(path, 0, &lock, why);
    if (err == WEFT_OK)
        err = rotation_text(rotation.dir, rotation.seal_key, &is_live, &text, &behind, why);
    if (err != WEFT_OK)
        goto out;
    if (status) {
        printf("%s\n", wf_buf_cstr(&text));
        goto out;
    }
    if (rotation.finish && behind > 0 && !rotation.forced) {
        err = wf_fail(why, WEFT_ECONFLICT,
                      "%zu node%s not followed (rotate-ca --status names them); they would be cut "
                      "off: wait, have them renew, or say --force",
                      behind, behind == 1 ? " has" : "s have");
        goto out;
    }
    if (rotation.finish)
        rotation.tokens = number_in(&text, "\"tokens_to_void\":", 0);
    err = rotation_stage(&rotation, why);
    if (err == WEFT_OK)
        err = take_up(&rotation, is_live, why);
    if (err == WEFT_OK)
        printf("%s%s\n", rotation.finish ? "the older keys are out of the bundle" : "rotated",
               is_live ? "; the running controller has taken it up" : "");
    if (err == WEFT_OK && rotation.tokens > 0)
        printf("%llu enrollment token%s void: make new ones with `reissue`\n",
               (unsigned long long)rotation.tokens, rotation.tokens == 1 ? " is" : "s are");
    if (err == WEFT_OK && !rotation.finish)
        printf("next: weft-controller rotate-ca --home %s --status, and --finish once all have "
               "followed\n",
               rotation.dir);
out:
    if (lock >= 0)
        close(lock);
    wf_buf_fini(&text);
    free(path);
    return err;
}

static const struct wf_option init_options[] = {
    {"home", WF_OPTION_TEXT, "DIR", "the folder to make"},
    {"domain", WF_OPTION_TEXT, "TD", "the trust domain (weft.internal)"},
    {"address", WF_OPTION_LIST, "HOST:PORT", "where nodes reach the controller (127.0.0.1:9338)"},
    {"admin-out", WF_OPTION_TEXT, "FILE", "the administrator's identity (DIR/admin.json)"},
    {"root-passphrase-file", WF_OPTION_TEXT, "FILE", "its first line encrypts the root key"},
    {"seal-key", WF_OPTION_TEXT, "SOURCE",
     "what the private keys are sealed with (file:DIR/seal.key, made)"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};
static const struct wf_option run_options[] = {
    {"home", WF_OPTION_TEXT, "DIR", "the folder that init made"},
    {"listen", WF_OPTION_TEXT, "HOST:PORT", "where to listen (the first address of init)"},
    {"seal-key", WF_OPTION_TEXT, "SOURCE", "where the seal key is now (where the home says)"},
    {"api", WF_OPTION_TEXT, "HOST:PORT", "the HTTPS management API (" API_ADDRESS "); off: none"},
    {"api-cert", WF_OPTION_TEXT, "FILE", "its certificate chain, PEM (one of our own)"},
    {"api-key", WF_OPTION_TEXT, "FILE", "the key of --api-cert, PEM"},
    {"metrics", WF_OPTION_TEXT, "HOST:PORT", "serve /metrics, /livez and /readyz there"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};
static const struct wf_option admin_options[] = {
    {"home", WF_OPTION_TEXT, "DIR", "the folder that init made; the controller must be stopped"},
    {"out", WF_OPTION_TEXT, "FILE", "the identity file to write"},
    {"seal-key", WF_OPTION_TEXT, "SOURCE", "where the seal key is now (where the home says)"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};
static const struct wf_option rotate_options[] = {
    {"home", WF_OPTION_TEXT, "DIR", "the folder that init made; the controller may run"},
    {"what", WF_OPTION_TEXT, "KEYS",
     "identities, routers, controllers, root, policy, audit, enrollment or all; several with "
     "commas"},
    {"status", WF_OPTION_FLAG, NULL, "say as JSON who has not followed"},
    {"finish", WF_OPTION_FLAG, NULL, "take the older keys out of the trust bundle"},
    {"force", WF_OPTION_FLAG, NULL, "with --finish: cut off who has not followed"},
    {"root-passphrase-file", WF_OPTION_TEXT, "FILE",
     "its first line opens the root key (DIR/root-passphrase)"},
    {"seal-key", WF_OPTION_TEXT, "SOURCE", "where the seal key is now (where the home says)"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};
static const struct wf_option check_options[] = {
    {"home", WF_OPTION_TEXT, "DIR", "the folder that init made; the controller must be stopped"},
    {"seal-key", WF_OPTION_TEXT, "SOURCE", "where the seal key is now (where the home says)"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};
static const struct wf_option seal_options[] = {
    {"home", WF_OPTION_TEXT, "DIR", "the folder that init made"},
    {"from", WF_OPTION_TEXT, "SOURCE", "where the present seal key is (where the home says)"},
    {"to", WF_OPTION_TEXT, "SOURCE",
     "the new one: file:PATH (made if absent), credential:NAME, passphrase-file:PATH, pkcs11:URI"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};

static const struct wf_option restore_options[] = {
    {"home", WF_OPTION_TEXT, "DIR", "the folder to make"},
    {"from", WF_OPTION_TEXT, "DIR", "the folder that weft backup made"},
    {"seal-key", WF_OPTION_TEXT, "SOURCE", "where the seal key is now (where the backup says)"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};

static const struct wf_command commands[] = {
    {"init", "--home DIR", "make a fabric: authorities, keys, store, the first administrator",
     "weft-controller init --home /var/lib/weft-controller --address fabric.example.com:9338",
     init_options, 0, 0, run_init},
    {"run", "--home DIR", "serve", "weft-controller run --home /var/lib/weft-controller",
     run_options, 0, 0, run_run},
    {"admin", "--home DIR --out FILE", "make another administrator's identity file, locally",
     "weft-controller admin --home /var/lib/weft-controller --out admin.json", admin_options, 0, 0,
     run_admin},
    {"rotate-ca", "--home DIR --what KEYS", "make new authorities and keys, beside the older ones",
     "weft-controller rotate-ca --home /var/lib/weft-controller --what identities,policy",
     rotate_options, 0, 0, run_rotate},
    {"check-config", "--home DIR", "look whether everything is in place",
     "weft-controller check-config --home /var/lib/weft-controller", check_options, 0, 0,
     run_check},
    {"seal", "--home DIR --to SOURCE", "seal the private keys with another key",
     "weft-controller seal --home /var/lib/weft-controller --to file:/etc/weft/seal.key",
     seal_options, 0, 0, run_seal},
    {"audit-verify", "--home DIR", "verify the audit log of a stopped controller, or of a copy",
     "weft-controller audit-verify --home /mnt/backup/weft-controller", audit_verify_options, 0, 0,
     run_audit_verify},
    {"restore", "--home DIR --from DIR", "make a home from a backup",
     "weft-controller restore --home /var/lib/weft-controller --from /backup/monday "
     "--seal-key file:/etc/weft/seal.key",
     restore_options, 0, 0, run_restore},
    {NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};

int main(int argc, char **argv)
{
    static const struct wf_program program = {
        .name = "weft-controller",
        .summary = "the control plane: identities, policy, enrollment",
        .commands = commands,
    };

    return wf_program_run(&program, argc, argv);
}
