/* Secrets at rest: no key lies in the home in clear, and the right seal key alone opens it. */
#include "controller/issue.h"
#include "controller/unlock.h"
#include "desk.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/base/text.h"
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct folder
    folder; /* without the files that are handed over: admin.json, root-passphrase */
static char outer[160], passphrase[160], given[160];
static wf_why why;

static const char *in_top(const char *name, char path[160])
{
    snprintf(path, 160, "%.100s/%s", folder.top, name);
    return path;
}

static const char *in_home(const char *name)
{
    static char path[200];

    snprintf(path, sizeof path, "%s/%s", folder.home, name);
    return path;
}

/* A home as operations.md advises: the seal key, the passphrase and the administrator outside. */
static int make(void **state)
{
    static char seal[200];
    struct init_config config = {.dir = folder.home, .domain = "test.weft", .seal_key = seal};

    (void)state;
    memcpy(folder.top, "/tmp/weft-test-XXXXXX", sizeof "/tmp/weft-test-XXXXXX");
    assert_non_null(mkdtemp(folder.top));
    snprintf(folder.home, sizeof folder.home, "%.60s/home", folder.top);
    snprintf(folder.admin, sizeof folder.admin, "%.60s/admin.json", folder.top);
    in_top("outer.key", outer);
    in_top("passphrase", passphrase);
    snprintf(seal, sizeof seal, "file:%s", outer);
    config.admin_out = folder.admin;
    config.passphrase_file = passphrase;
    assert_int_equal(wf_file_write(passphrase, "root canary 31415926\n", 21, 0600, NULL), WEFT_OK);
    if (init_home(&config, &why) != WEFT_OK)
        fail_msg("init: %s", why.text);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    folder_remove(&folder);
    return 0;
}

static weft_err try_open(const char *source)
{
    struct home home;
    weft_err err;

    why.text[0] = '\0';
    err = home_open_sealed(folder.home, source, &home, &why);
    if (err == WEFT_OK)
        home_close(&home);
    else
        assert_int_not_equal(why.text[0], '\0');
    return err;
}

/* ---- canaries */

struct canaries {
    wf_buf item[32];
    size_t count;
};

static void add(struct canaries *c, const void *data, size_t len)
{
    assert_true(c->count < 32);
    wf_buf_init(&c->item[c->count], 65536);
    assert_int_equal(wf_buf_put(&c->item[c->count++], data, len), WEFT_OK);
}

/* A private key, as it may lie about: its PEM's lines, and its DER's end, where the secret is. */
static void add_key(struct canaries *c, const pki_key *key)
{
    wf_buf pem, der, body;

    wf_buf_init(&pem, 4096);
    wf_buf_init(&der, 4096);
    wf_buf_init(&body, 4096);
    assert_int_equal(pki_key_put_pem(key, NULL, &pem), WEFT_OK);
    for (char *line = (char *)pem.data, *end; line < (char *)pem.data + pem.len; line = end + 1) {
        end = memchr(line, '\n', (size_t)((char *)pem.data + pem.len - line));
        assert_non_null(end);
        if (line[0] == '-')
            continue;
        if (body.len == 64) /* the second line of a key holds nothing but secret bytes */
            add(c, line, (size_t)(end - line));
        assert_int_equal(wf_buf_put(&body, line, (size_t)(end - line)), WEFT_OK);
    }
    assert_int_equal(wf_base64_decode((const char *)body.data, body.len, &der), WEFT_OK);
    /* PKCS#8: Ed25519 ends with its seed, P-256 has its scalar after 36 bytes of head. */
    add(c, der.len == 48 ? der.data + 16 : der.data + 36, 32);
    wf_buf_wipe(&pem);
    wf_buf_wipe(&der);
    wf_buf_wipe(&body);
}

static void wipe(struct canaries *c)
{
    for (size_t i = 0; i < c->count; i++)
        wf_buf_wipe(&c->item[i]);
    c->count = 0;
}

/* How many canaries are in the files of the folder; *files are looked at. */
static size_t sightings(const struct canaries *c, const char *path, size_t *files)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    size_t seen = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        char name[400];
        wf_buf bytes;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        wf_buf_init(&bytes, 64 << 20);
        assert_int_equal(wf_file_read(name, &bytes, NULL), WEFT_OK);
        for (size_t i = 0; i < c->count; i++)
            if (bytes.len > 0 &&
                memmem(bytes.data, bytes.len, c->item[i].data, c->item[i].len) != NULL) {
                print_message("canary %zu is in %s\n", i, entry->d_name);
                seen++;
            }
        wf_buf_fini(&bytes);
        (*files)++;
    }
    closedir(dir);
    return seen;
}

static void collect(struct canaries *c, struct home *home)
{
    wf_buf bytes;

    add_key(c, pki_ca_key(home->identities));
    add_key(c, pki_ca_key(home->routers));
    add_key(c, pki_ca_key(home->controllers));
    add_key(c, home->policy);
    add_key(c, home->audit);
    add_key(c, home->enrollment);
    add_key(c, home->key);
    add(c, "root canary 31415926", 20);
    wf_buf_init(&bytes, 64);
    assert_int_equal(wf_file_read(outer, &bytes, NULL), WEFT_OK);
    add(c, bytes.data, bytes.len);
    wf_buf_wipe(&bytes);
}

static void no_secret_lies_in_the_home_or_its_database_in_clear(void **state)
{
    struct canaries canaries = {.count = 0};
    struct home home;
    struct store_node node = {
        .id = wf_id_random(), .kind = PKI_IDENTITY, .enroll = PKI_ENROLL_OTT, .name = "ci"};
    struct store_token row;
    size_t files = 0;
    wf_buf jwt, sealed;

    (void)state;
    wf_buf_init(&jwt, WF_TOKEN_MAX);
    wf_buf_init(&sealed, 1024);
    assert_int_equal(home_open(folder.home, &home, &why), WEFT_OK);
    collect(&canaries, &home);

    /* A token: its text and its signature; and a secret of the store's. */
    assert_int_equal(store_begin(home.store), WEFT_OK);
    assert_int_equal(store_node_add(home.store, &node), WEFT_OK);
    assert_int_equal(issue_token(&home, &node, wf_now_wall_ms(), 3600000, &row, &jwt), WEFT_OK);
    assert_int_equal(store_token_add(home.store, &row), WEFT_OK);
    assert_int_equal(
        home_seal(&home, "setting canary", wf_span_of("a secret of the store", 21), &sealed),
        WEFT_OK);
    assert_int_equal(store_setting_put(home.store, "canary", sealed.data, sealed.len), WEFT_OK);
    assert_int_equal(store_commit(home.store), WEFT_OK);
    add(&canaries, jwt.data, jwt.len);
    add(&canaries, jwt.data + jwt.len - 60, 60);
    add(&canaries, "a secret of the store", 21);

    assert_true(canaries.count >= 15);
    assert_int_equal(sightings(&canaries, folder.home, &files), 0);
    assert_true(files >= 15);

    /* The search itself finds what is not sealed: in a file, and in the database. */
    assert_int_equal(home_write(folder.home, "unsealed", "", 0600,
                                wf_span_of(canaries.item[0].data, canaries.item[0].len), NULL),
                     WEFT_OK);
    assert_int_equal(sightings(&canaries, folder.home, &files), 1);
    assert_int_equal(unlink(in_home("unsealed")), 0);
    assert_int_equal(store_begin(home.store), WEFT_OK);
    assert_int_equal(store_setting_put(home.store, "canary", "a secret of the store", 21), WEFT_OK);
    assert_int_equal(store_commit(home.store), WEFT_OK);
    home_close(&home);
    assert_int_equal(sightings(&canaries, folder.home, &files), 1);
    wipe(&canaries);
    wf_buf_fini(&jwt);
    wf_buf_fini(&sealed);
}

/* ---- the right key alone */

static void the_wrong_seal_key_is_one_clear_line(void **state)
{
    static const struct {
        const char *sort, *name;
    } bad[] = {{"file", "other.key"},
               {"file", "none.key"},
               {"file", "short.key"},
               {"passphrase-file", "passphrase"}};
    char path[160], source[200];
    uint8_t other[32] = {1, 2, 3};

    (void)state;
    assert_int_equal(wf_file_write(in_top("other.key", path), other, 32, 0600, NULL), WEFT_OK);
    assert_int_equal(wf_file_write(in_top("short.key", path), other, 31, 0600, NULL), WEFT_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(source, sizeof source, "%s:%s/%s", bad[i].sort, folder.top, bad[i].name);
        assert_int_equal(try_open(source), WEFT_ECREDENTIAL);
        assert_null(strchr(why.text, '\n'));
        assert_int_equal(weft_err_exit_status(WEFT_ECREDENTIAL), 5);
    }
    snprintf(source, sizeof source, "file:%s/other.key", folder.top);
    assert_int_equal(try_open(source), WEFT_ECREDENTIAL);
    assert_non_null(strstr(why.text, "doesn't open"));
    assert_non_null(strstr(why.text, "--seal-key"));
    assert_int_equal(try_open("nonsense"), WEFT_EUSAGE);
    assert_int_equal(chmod(outer, 0644), 0);
    assert_int_equal(try_open(NULL), WEFT_ECREDENTIAL);
    assert_int_equal(chmod(outer, 0600), 0);
    assert_int_equal(try_open(NULL), WEFT_OK);
}

static void a_moved_seal_key_is_named_on_the_command_line(void **state)
{
    char moved[160];

    (void)state;
    in_top("moved.key", moved);
    assert_int_equal(rename(outer, moved), 0);
    assert_int_equal(try_open(NULL), WEFT_ECREDENTIAL);
    assert_non_null(strstr(why.text, "outer.key"));
    snprintf(given, sizeof given, "file:%.150s", moved);
    assert_int_equal(try_open(given), WEFT_OK);
}

static void a_sealed_file_in_anothers_place_is_refused(void **state)
{
    wf_buf bytes;

    (void)state;
    wf_buf_init(&bytes, 16384);
    assert_int_equal(wf_file_read(in_home("audit.key"), &bytes, NULL), WEFT_OK);
    assert_int_equal(wf_file_write(in_home("policy.key"), bytes.data, bytes.len, 0600, NULL),
                     WEFT_OK);
    assert_int_equal(try_open(NULL), WEFT_ECREDENTIAL);
    assert_non_null(strstr(why.text, "policy.key"));
    assert_non_null(strstr(why.text, "another place"));
    wf_buf_fini(&bytes);
}

static void a_key_in_clear_is_refused(void **state)
{
    pki_key *key = NULL;
    wf_buf pem;

    (void)state;
    wf_buf_init(&pem, 4096);
    assert_int_equal(pki_key_new(PKI_KEY_ED25519, &key, NULL), WEFT_OK);
    assert_int_equal(pki_key_put_pem(key, NULL, &pem), WEFT_OK);
    assert_int_equal(wf_file_write(in_home("policy.key"), pem.data, pem.len, 0600, NULL), WEFT_OK);
    assert_int_equal(try_open(NULL), WEFT_ECREDENTIAL);
    assert_non_null(strstr(why.text, "not sealed"));
    wf_buf_wipe(&pem);
    pki_key_free(key);
}

static void the_source_changes_and_the_old_key_opens_no_more(void **state)
{
    char to[200], old[200], path[160];

    (void)state;
    snprintf(old, sizeof old, "file:%s", outer);
    snprintf(to, sizeof to, "passphrase-file:%s", in_top("seal-passphrase", path));
    assert_int_equal(unlock_change(folder.home, NULL, to, &why), WEFT_ECREDENTIAL); /* not there */
    assert_int_equal(try_open(NULL), WEFT_OK);
    assert_int_equal(wf_file_write(path, "long enough\nand more\n", 21, 0600, NULL), WEFT_OK);
    assert_int_equal(unlock_change(folder.home, NULL, to, &why), WEFT_OK);
    assert_int_equal(try_open(NULL), WEFT_OK);
    assert_int_equal(try_open(old), WEFT_ECREDENTIAL);
    assert_int_equal(wf_file_write(path, "another one\n", 12, 0600, NULL), WEFT_OK);
    assert_int_equal(try_open(NULL), WEFT_ECREDENTIAL);
    assert_non_null(strstr(why.text, "doesn't open"));
    assert_int_equal(wf_file_write(path, "long enough", 11, 0600, NULL), WEFT_OK);

    /* A credential of systemd's. */
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", folder.top, 1), 0);
    assert_int_equal(unlock_change(folder.home, NULL, "credential:outer.key", &why), WEFT_OK);
    assert_int_equal(try_open(NULL), WEFT_OK);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    assert_int_equal(try_open(NULL), WEFT_ECREDENTIAL);
    assert_non_null(strstr(why.text, "LoadCredential"));
}

static void a_seal_change_killed_at_any_write_leaves_a_home_that_opens(void **state)
{
    char to[200], path[160];

    (void)state;
    /* Ever later kills: whatever was on disk then, the home opens by what it says itself. */
    for (unsigned micros = 0; micros < 6000; micros += 400) {
        char name[32];
        int status;
        pid_t pid;

        snprintf(name, sizeof name, "new-%u.key", micros);
        snprintf(to, sizeof to, "file:%s", in_top(name, path));
        fflush(NULL);
        pid = fork();
        if (pid == 0)
            _exit(unlock_change(folder.home, NULL, to, &why) == WEFT_OK ? 0 : 1);
        usleep(micros);
        (void)kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (try_open(NULL) != WEFT_OK)
            fail_msg("after %u us: %s", micros, why.text);
    }
}

#define SEAL_TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SEAL_TEST(no_secret_lies_in_the_home_or_its_database_in_clear),
        SEAL_TEST(the_wrong_seal_key_is_one_clear_line),
        SEAL_TEST(a_moved_seal_key_is_named_on_the_command_line),
        SEAL_TEST(a_sealed_file_in_anothers_place_is_refused),
        SEAL_TEST(a_key_in_clear_is_refused),
        SEAL_TEST(the_source_changes_and_the_old_key_opens_no_more),
        SEAL_TEST(a_seal_change_killed_at_any_write_leaves_a_home_that_opens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
