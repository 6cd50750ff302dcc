/* The home: made whole or not at all, opened only when all of it is right. */
#include "controller/rights.h"
#include "desk.h"
#include "pki/identity.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct folder folder;
static wf_why why;

static int make(void **state)
{
    (void)state;
    folder_make(&folder);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    folder_remove(&folder);
    return 0;
}

static const char *in_home(const char *name)
{
    static char path[192];

    snprintf(path, sizeof path, "%s/%s", folder.home, name);
    return path;
}

static weft_err try_open(void)
{
    struct home home;
    weft_err err;

    why.text[0] = '\0';
    err = home_open(folder.home, &home, &why);
    if (err == WEFT_OK)
        home_close(&home);
    else
        assert_int_not_equal(why.text[0], '\0');
    return err;
}

static void a_fresh_home_is_private_and_opens(void **state)
{
    static const char *const secrets[] = {
        "admin.json", "audit.key",      "ca-controllers.key", "ca-identities.key", "ca-routers.key",
        "policy.key", "controller.key", "enrollment.key",     "root-passphrase",   "root.key",
        "weft.db",    "seal",           "seal.key",
    };
    struct stat st;

    (void)state;
    assert_int_equal(stat(folder.home, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        assert_int_equal(stat(in_home(secrets[i]), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    assert_int_equal(try_open(), WEFT_OK);
}

static void the_root_key_is_encrypted_with_the_passphrase(void **state)
{
    wf_buf key, passphrase;
    pki_key *root = NULL;

    (void)state;
    wf_buf_init(&key, 8192);
    wf_buf_init(&passphrase, 256);
    assert_int_equal(wf_file_read(in_home("root.key"), &key, NULL), WEFT_OK);
    assert_int_equal(wf_file_read(in_home("root-passphrase"), &passphrase, NULL), WEFT_OK);
    assert_int_not_equal(pki_key_from_pem(wf_span_of(key.data, key.len), NULL, &root, NULL),
                         WEFT_OK);
    assert_int_not_equal(pki_key_from_pem(wf_span_of(key.data, key.len), "wrong", &root, NULL),
                         WEFT_OK);
    assert_int_equal(
        pki_key_from_pem(wf_span_of(key.data, key.len), wf_buf_cstr(&passphrase), &root, NULL),
        WEFT_OK);
    pki_key_free(root);
    wf_buf_wipe(&key);
    wf_buf_wipe(&passphrase);
}

static void an_existing_home_is_left_alone(void **state)
{
    struct init_config config = {.dir = folder.home};
    wf_buf before, after;

    (void)state;
    wf_buf_init(&before, 8192);
    wf_buf_init(&after, 8192);
    wf_file_read(in_home("policy.key"), &before, NULL);
    assert_int_equal(init_home(&config, &why), WEFT_EEXIST);
    assert_non_null(strstr(why.text, "another --home"));
    wf_file_read(in_home("policy.key"), &after, NULL);
    assert_true(
        wf_span_equal(wf_span_of(before.data, before.len), wf_span_of(after.data, after.len)));
    wf_buf_wipe(&before);
    wf_buf_wipe(&after);
}

static unsigned entries(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    unsigned n = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void a_failing_init_leaves_nothing_behind(void **state)
{
    char fresh[128], passphrase[128], admin[160];
    struct init_config config = {.dir = fresh};
    unsigned before = entries(folder.top);

    (void)state;
    snprintf(fresh, sizeof fresh, "%s/second", folder.top);
    config.domain = "Not A Domain";
    assert_int_equal(init_home(&config, &why), WEFT_EINVAL);
    config.domain = NULL;
    snprintf(passphrase, sizeof passphrase, "%s/none", folder.top);
    config.passphrase_file = passphrase;
    assert_int_not_equal(init_home(&config, &why), WEFT_OK);
    config.passphrase_file = NULL;
    /* The administrator's file can't be written: its folder isn't there. */
    snprintf(admin, sizeof admin, "%s/no/such/admin.json", folder.top);
    config.admin_out = admin;
    assert_int_not_equal(init_home(&config, &why), WEFT_OK);
    assert_int_equal(entries(folder.top), before);
    config.admin_out = NULL;
    assert_int_equal(init_home(&config, &why), WEFT_OK);
    assert_int_equal(entries(folder.top), before + 1);
}

static void a_short_or_open_passphrase_file_is_refused(void **state)
{
    char fresh[128], passphrase[128];
    struct init_config config = {.dir = fresh, .passphrase_file = passphrase};

    (void)state;
    snprintf(fresh, sizeof fresh, "%s/third", folder.top);
    snprintf(passphrase, sizeof passphrase, "%s/passphrase", folder.top);
    assert_int_equal(wf_file_write(passphrase, "short\n", 6, 0600, NULL), WEFT_OK);
    assert_int_equal(init_home(&config, &why), WEFT_EINVAL);
    assert_int_equal(wf_file_write(passphrase, "long enough\n", 12, 0600, NULL), WEFT_OK);
    assert_int_equal(chmod(passphrase, 0644), 0);
    assert_int_equal(init_home(&config, &why), WEFT_ECREDENTIAL);
    assert_int_equal(chmod(passphrase, 0600), 0);
    assert_int_equal(init_home(&config, &why), WEFT_OK);
    snprintf(passphrase, sizeof passphrase, "%s/root-passphrase", fresh);
    assert_false(wf_file_exists(passphrase));
}

static void a_key_that_others_may_read_is_refused(void **state)
{
    (void)state;
    assert_int_equal(chmod(in_home("policy.key"), 0640), 0);
    assert_int_equal(try_open(), WEFT_ECREDENTIAL);
    assert_non_null(strstr(why.text, "policy.key"));
    assert_int_equal(chmod(in_home("policy.key"), 0600), 0);
    assert_int_equal(try_open(), WEFT_OK);
}

static void a_missing_or_swapped_file_is_refused_by_name(void **state)
{
    static const char *const files[] = {"audit.key",    "ca-identities.pem", "controller.pem",
                                        "trust-bundle", "enrollment.key",    "ca-routers.key"};
    char kept[200];

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(kept, sizeof kept, "%s.kept", in_home(files[i]));
        assert_int_equal(rename(in_home(files[i]), kept), 0);
        assert_int_not_equal(try_open(), WEFT_OK);
        assert_non_null(strstr(why.text, files[i]));
        assert_int_equal(rename(kept, in_home(files[i])), 0);
    }
    /* Another kind's key in place of the right one. */
    snprintf(kept, sizeof kept, "%s", in_home("controller.key"));
    assert_int_equal(rename(in_home("ca-routers.key"), kept), 0);
    assert_int_not_equal(try_open(), WEFT_OK);
}

static void a_folder_that_is_no_home_says_how_to_make_one(void **state)
{
    struct home home;

    (void)state;
    assert_int_equal(home_open("/nonexistent/weft", &home, &why), WEFT_ENOTFOUND);
    assert_non_null(strstr(why.text, "weft-controller init"));
}

static void two_programs_never_share_a_home(void **state)
{
    struct home home;
    int status;
    pid_t pid;

    (void)state;
    assert_int_equal(home_open(folder.home, &home, &why), WEFT_OK);
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        _exit(try_open() == WEFT_EBUSY && strstr(why.text, "in use") != NULL ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 0);
    home_close(&home);
    assert_int_equal(try_open(), WEFT_OK);
}

static void a_recovered_administrator_is_one(void **state)
{
    char out[128];
    struct pki_identity identity;
    struct home home;
    unsigned rights = 0;

    (void)state;
    snprintf(out, sizeof out, "%s/recovered.json", folder.top);
    assert_int_equal(home_open(folder.home, &home, &why), WEFT_OK);
    assert_int_equal(init_admin(&home, "rescue", out, &why), WEFT_OK);
    assert_int_equal(store_commit(home.store), WEFT_OK);
    home_close(&home);
    pki_identity_init(&identity);
    assert_int_equal(pki_identity_load(out, &identity, &why), WEFT_OK);
    assert_int_equal(home_open(folder.home, &home, &why), WEFT_OK);
    assert_int_equal(store_admin_get(home.store, &identity.id, &rights), WEFT_OK);
    assert_int_equal(rights, RIGHTS_FULL);
    home_close(&home);
    pki_identity_fini(&identity);
}

static void the_own_leaf_is_renewed_at_half_life_with_the_same_key(void **state)
{
    uint64_t now = wf_now_wall_ms(), from, before, after;
    struct home home;
    pki_pin a, b;
    bool renewed = true;

    (void)state;
    assert_int_equal(home_open(folder.home, &home, &why), WEFT_OK);
    pki_chain_validity(home.chain, &from, &before);
    pki_chain_pin(home.chain, &a);
    assert_int_equal(home_renew_leaf(&home, now, &renewed, &why), WEFT_OK);
    assert_false(renewed);
    assert_int_equal(home_renew_leaf(&home, now + 46 * 86400000ull, &renewed, &why), WEFT_OK);
    assert_true(renewed);
    pki_chain_validity(home.chain, &from, &after);
    pki_chain_pin(home.chain, &b);
    assert_true(after > before);
    assert_true(pki_pin_equal(&a, &b));
    home_close(&home);
}

#define HOME_TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOME_TEST(a_fresh_home_is_private_and_opens),
        HOME_TEST(the_root_key_is_encrypted_with_the_passphrase),
        HOME_TEST(an_existing_home_is_left_alone),
        HOME_TEST(a_failing_init_leaves_nothing_behind),
        HOME_TEST(a_short_or_open_passphrase_file_is_refused),
        HOME_TEST(a_key_that_others_may_read_is_refused),
        HOME_TEST(a_missing_or_swapped_file_is_refused_by_name),
        HOME_TEST(a_folder_that_is_no_home_says_how_to_make_one),
        HOME_TEST(two_programs_never_share_a_home),
        HOME_TEST(a_recovered_administrator_is_one),
        HOME_TEST(the_own_leaf_is_renewed_at_half_life_with_the_same_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
