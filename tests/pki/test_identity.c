/* The identity file: read whole or not at all. */
#include "pki/identity.h"
#include "proto/base/file.h"
#include "tests/helpers/alloc.h"
#include "tests/helpers/authority.h"
#include "tests/helpers/test.h"
#include "tests/pki/memory.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW 1800000000000ull

static struct authority a;
static struct authority_node ci, other, router;
static char folder[64];

static int start(void **state)
{
    (void)state;
    authority_init(&a, "test.weft", NOW);
    authority_issue(&a, PKI_IDENTITY, "ci", &ci);
    authority_issue(&a, PKI_IDENTITY, "other", &other);
    authority_issue(&a, PKI_ROUTER, "r1", &router);
    (void)snprintf(folder, sizeof folder, "/tmp/weft-identity-XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int stop(void **state)
{
    (void)state;
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir != NULL)
        (void)closedir(dir);
    (void)rmdir(folder);
    authority_node_fini(&router);
    authority_node_fini(&other);
    authority_node_fini(&ci);
    authority_fini(&a);
    return 0;
}

static char *in_folder(const char *name, char path[128])
{
    (void)snprintf(path, 128, "%s/%s", folder, name);
    return path;
}

static wf_span span(const wf_buf *buf)
{
    return wf_span_of(buf->data, buf->len);
}

static wf_span text_span(const char *text)
{
    return wf_span_of(text, strlen(text));
}

/* A full one: two controllers, and everything that can be carried. */
static void full(struct pki_identity *out)
{
    const wf_id service = {{5}};
    const char *addresses[] = {"127.0.0.1:9339"};
    authority_identity(&a, &ci, out);
    assert_int_equal(wf_address_parse("ctl.test:9338", 0, &out->controllers[0], NULL), WEFT_OK);
    assert_int_equal(wf_address_parse("[::1]:1", 0, &out->controllers[1], NULL), WEFT_OK);
    out->controller_count = 2;
    Weft__Wire__Signed *grant =
        authority_grant(&a, &ci, &service, "web", WEFT__WIRE__ROLE__ROLE_DIAL);
    Weft__Wire__Signed *member = authority_member(&a, &router, addresses, 1);
    Weft__Wire__Floor floor, *floors[] = {&floor};
    weft__wire__floor__init(&floor);
    floor.identity = wf_pb_id(&other.id);
    floor.epoch = NOW;
    floor.cut = true;
    floor.expires = NOW + WF_LEAF_LIFE_MS;
    Weft__Wire__Signed *set = authority_floors(&a, 1, NULL, floors, 1);
    authority_carry(out, &out->grants, &out->grant_count, grant);
    authority_carry(out, &out->grants, &out->grant_count, grant);
    authority_carry(out, &out->members, &out->member_count, member);
    authority_carry(out, &out->floors, &out->floors_count, set);
    wf_signed_free(set);
    wf_signed_free(member);
    wf_signed_free(grant);
}

static void same(const struct pki_identity *x, const struct pki_identity *y)
{
    pki_pin px, py;
    assert_int_equal(x->kind, y->kind);
    assert_true(wf_id_equal(&x->id, &y->id));
    assert_string_equal(x->name, y->name);
    assert_string_equal(x->domain, y->domain);
    pki_key_pin(x->key, &px);
    pki_key_pin(y->key, &py);
    assert_true(pki_pin_equal(&px, &py));
    assert_int_equal(pki_chain_count(x->chain), pki_chain_count(y->chain));
    assert_true(wf_span_equal(pki_chain_der(x->chain, 0), pki_chain_der(y->chain, 0)));
    assert_true(wf_span_equal(span(&x->bundle), span(&y->bundle)));
    assert_int_equal(x->controller_count, y->controller_count);
    for (size_t i = 0; i < x->controller_count; i++) {
        assert_string_equal(x->controllers[i].host, y->controllers[i].host);
        assert_int_equal(x->controllers[i].port, y->controllers[i].port);
    }
    assert_int_equal(x->carries, y->carries);
    assert_int_equal(x->grant_count, y->grant_count);
    assert_int_equal(x->member_count, y->member_count);
    assert_int_equal(x->floors_count, y->floors_count);
    for (size_t i = 0; i < x->grant_count; i++)
        assert_true(wf_span_equal(span(&x->grants[i]), span(&y->grants[i])));
}

/* The text of the full one; the caller ends it. */
static void full_text(wf_buf *out)
{
    struct pki_identity identity;
    full(&identity);
    wf_buf_init(out, WF_IDENTITY_FILE_MAX);
    assert_int_equal(pki_identity_put_json(&identity, out), WEFT_OK);
    pki_identity_fini(&identity);
}

static void refused_with(wf_span text, const char *word)
{
    struct pki_identity out;
    wf_why why = {.text = ""};
    memset(&out, 0x5a, sizeof out);
    assert_int_equal(pki_identity_parse(text, &out, &why), WEFT_ECREDENTIAL);
    assert_int_equal(out.kind, 0x5a5a5a5a); /* untouched */
    if (strstr(why.text, word) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", why.text, word);
}

/* The full text with the first `what` replaced. */
static void refused_edit(const char *what, const char *by, const char *word)
{
    wf_buf text, edited;
    full_text(&text);
    wf_buf_init(&edited, 2 * WF_IDENTITY_FILE_MAX);
    const char *start_of = strstr(wf_buf_cstr(&text), what);
    assert_non_null(start_of);
    size_t before = (size_t)(start_of - (const char *)text.data);
    assert_int_equal(wf_buf_put(&edited, text.data, before), WEFT_OK);
    assert_int_equal(wf_buf_put_text(&edited, by), WEFT_OK);
    assert_int_equal(wf_buf_put_text(&edited, start_of + strlen(what)), WEFT_OK);
    refused_with(span(&edited), word);
    wf_buf_fini(&edited);
    wf_buf_wipe(&text);
}

static void an_identity_survives_its_text(void **state)
{
    (void)state;
    wf_buf text, again;
    struct pki_identity before, after;
    full(&before);
    wf_buf_init(&text, WF_IDENTITY_FILE_MAX);
    wf_buf_init(&again, WF_IDENTITY_FILE_MAX);
    assert_int_equal(pki_identity_put_json(&before, &text), WEFT_OK);
    assert_int_equal(pki_identity_parse(span(&text), &after, NULL), WEFT_OK);
    same(&before, &after);
    assert_null(after.path);
    assert_null(after.key_ref);
    assert_int_equal(pki_identity_put_json(&after, &again), WEFT_OK);
    assert_true(wf_span_equal(span(&text), span(&again)));
    pki_identity_fini(&after);
    pki_identity_fini(&before);
    wf_buf_wipe(&again);
    wf_buf_wipe(&text);
}

static void every_field_is_needed_and_no_other_is_taken(void **state)
{
    (void)state;
    static const char *const fields[] = {"weft", "domain",      "kind",   "id",         "name",
                                         "key",  "certificate", "bundle", "controllers"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        char name[32], other_name[40];
        (void)snprintf(name, sizeof name, "\"%s\":", fields[i]);
        (void)snprintf(other_name, sizeof other_name, "\"x-%s\":", fields[i]);
        refused_edit(name, other_name, fields[i]);
    }
    refused_edit("\"carry\":", "\"carri\":", "carri");
    refused_edit("\"grants\":", "\"grant\":", "grant");
    refused_edit("\"floors\":", "\"grants\":", "strict JSON"); /* twice */
    refused_edit("\"weft\": 1", "\"weft\": 1, \"weft\": 1", "strict JSON");
}

static void a_field_of_another_type_or_content_is_refused(void **state)
{
    (void)state;
    refused_edit("\"weft\": 1", "\"weft\": 2", "\"weft\" is not 1");
    refused_edit("\"weft\": 1", "\"weft\": \"1\"", "\"weft\" is not 1");
    refused_edit("\"weft\": 1", "\"weft\": 1.0", "\"weft\" is not 1");
    refused_edit("\"test.weft\"", "\"\"", "domain");
    refused_edit("\"test.weft\"", "\"Test.weft\"", "lower-case");
    refused_edit("\"test.weft\"", "[\"test.weft\"]", "domain");
    refused_edit("\"test.weft\"", "\"other.weft\"", "domain, kind and id");
    refused_edit("\"kind\": \"identity\"", "\"kind\": \"admin\"", "kind");
    refused_edit("\"kind\": \"identity\"", "\"kind\": \"router\"", "domain, kind and id");
    refused_edit("\"name\": \"ci\"", "\"name\": \"c i\"", "name");
    refused_edit("\"name\": \"ci\"", "\"name\": \"c\\u0000i\"", "strict JSON");
    refused_edit("\"name\": \"ci\"", "\"name\": null", "name");
    refused_edit("\"id\": \"", "\"id\": \"0", "id");
    refused_edit("ctl.test:9338", "ctl.test", "port");
    refused_edit("ctl.test:9338", "", "controllers");
    refused_edit("\"bundle\": \"", "\"bundle\": \"!", "bundle");
    refused_edit("\"grants\": [", "\"grants\": [\"\",", "grants");
    refused_edit("\"grants\": [", "\"grants\": [\"AAAA\",", "signed record");
    refused_edit("\"grants\": [", "\"grants\": [7,", "grants");
    refused_edit("\"carry\": {", "\"carry\": [], \"x\": {", "x");
    refused_edit("-----BEGIN PRIVATE", "-----BEGIN EC PRIVATE", "key");
    refused_edit("-----BEGIN CERTIFICATE", "-----BEGIN CERT", "certificate");
}

static void what_is_no_object_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",  "{",     "[]",   "null",
                                        "1", "\"x\"", "\xff", "{\"weft\":1}x"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        refused_with(text_span(texts[i]), "identity");
    refused_with(text_span("{}"), "weft");
    char deep[8192];
    memset(deep, '[', sizeof deep);
    refused_with(wf_span_of(deep, sizeof deep), "strict JSON");
    /* A message never quotes the text: it may be a secret. */
    struct pki_identity out;
    wf_why why;
    assert_int_equal(pki_identity_parse(text_span("{\"key\":\"hunter2"), &out, &why),
                     WEFT_ECREDENTIAL);
    assert_null(strstr(why.text, "hunter2"));
}

static void a_text_over_the_limit_is_refused_unread(void **state)
{
    (void)state;
    uint8_t *large = calloc(1, WF_IDENTITY_FILE_MAX + 1);
    assert_non_null(large);
    alloc_fail_at(0);
    refused_with(wf_span_of(large, WF_IDENTITY_FILE_MAX + 1), "at most");
    assert_int_equal(alloc_bytes(), 0);
    free(large);
}

static void a_key_that_is_not_the_certificates_is_refused(void **state)
{
    (void)state;
    wf_buf text;
    struct pki_identity identity;
    authority_identity(&a, &ci, &identity);
    pki_chain_free(identity.chain);
    identity.chain = pki_chain_dup(other.chain);
    identity.id = other.id;
    wf_buf_init(&text, WF_IDENTITY_FILE_MAX);
    assert_int_equal(pki_identity_put_json(&identity, &text), WEFT_OK);
    refused_with(span(&text), "enroll again");
    wf_buf_wipe(&text);
    pki_identity_fini(&identity);
}

static void a_certificate_of_another_id_is_refused(void **state)
{
    (void)state;
    wf_buf text;
    struct pki_identity identity;
    authority_identity(&a, &ci, &identity);
    identity.id = other.id;
    wf_buf_init(&text, WF_IDENTITY_FILE_MAX);
    assert_int_equal(pki_identity_put_json(&identity, &text), WEFT_OK);
    refused_with(span(&text), "domain, kind and id");
    wf_buf_wipe(&text);
    pki_identity_fini(&identity);
}

static void an_authoritys_certificate_is_refused(void **state)
{
    (void)state;
    wf_buf text;
    struct pki_identity identity;
    authority_identity(&a, &ci, &identity);
    pki_chain_free(identity.chain);
    identity.chain = pki_chain_dup(pki_ca_chain(a.identities));
    wf_buf_init(&text, WF_IDENTITY_FILE_MAX);
    assert_int_equal(pki_identity_put_json(&identity, &text), WEFT_OK);
    refused_with(span(&text), "authority");
    wf_buf_wipe(&text);
    pki_identity_fini(&identity);
}

/* ---- files */

static void a_saved_identity_is_ours_alone_and_loads_again(void **state)
{
    (void)state;
    char path[128];
    struct stat st;
    struct pki_identity before, after;
    full(&before);
    mode_t mask = umask(0);
    assert_int_equal(pki_identity_save(&before, in_folder("ci.json", path), NULL), WEFT_OK);
    assert_int_equal(pki_identity_save(&before, path, NULL), WEFT_OK); /* and over itself */
    (void)umask(mask);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(pki_identity_load(path, &after, NULL), WEFT_OK);
    same(&before, &after);
    assert_string_equal(after.path, path);
    pki_identity_fini(&after);
    pki_identity_fini(&before);
}

static void a_file_that_others_may_read_is_refused_with_the_remedy(void **state)
{
    (void)state;
    char path[128];
    struct pki_identity identity, out;
    wf_why why;
    authority_identity(&a, &ci, &identity);
    assert_int_equal(pki_identity_save(&identity, in_folder("open.json", path), NULL), WEFT_OK);
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0644, 0666};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        assert_int_equal(pki_identity_load(path, &out, &why), WEFT_ECREDENTIAL);
        assert_non_null(strstr(why.text, "chmod 600"));
        assert_non_null(strstr(why.text, path));
    }
    pki_identity_fini(&identity);
}

static void what_is_no_readable_file_is_refused_at_once(void **state)
{
    (void)state;
    char path[128];
    struct pki_identity out;
    wf_why why;
    assert_int_equal(pki_identity_load(in_folder("absent.json", path), &out, &why), WEFT_ENOTFOUND);
    assert_non_null(strstr(why.text, path));
    assert_int_equal(pki_identity_load(folder, &out, &why), WEFT_EIO);
    assert_int_equal(mkfifo(in_folder("fifo", path), 0600), 0);
    assert_int_equal(pki_identity_load(path, &out, &why), WEFT_EIO);
    assert_int_equal(pki_identity_load("/dev/zero", &out, &why), WEFT_EIO);
}

static void write_file(const char *path, const void *data, size_t len, unsigned mode)
{
    assert_int_equal(wf_file_write(path, data, len, mode, NULL), WEFT_OK);
}

static void save_with_key_ref(const char *ref, const char *path)
{
    struct pki_identity identity;
    authority_identity(&a, &ci, &identity);
    identity.key_ref = strdup(ref);
    assert_non_null(identity.key_ref);
    assert_int_equal(pki_identity_save(&identity, path, NULL), WEFT_OK);
    pki_identity_fini(&identity);
}

static void a_key_may_lie_beside_its_identity(void **state)
{
    (void)state;
    char path[128], key[128], ref[160];
    wf_buf pem, text;
    struct pki_identity out;
    wf_why why;
    wf_buf_init(&pem, 4096);
    wf_buf_init(&text, WF_IDENTITY_FILE_MAX);
    assert_int_equal(pki_key_put_pem(ci.key, NULL, &pem), WEFT_OK);
    write_file(in_folder("ci.key", key), pem.data, pem.len, 0600);

    save_with_key_ref("file:ci.key", in_folder("beside.json", path));
    assert_int_equal(wf_file_read(path, &text, NULL), WEFT_OK);
    assert_null(memmem(text.data, text.len, "PRIVATE KEY", 11));
    assert_int_equal(pki_identity_load(path, &out, &why), WEFT_OK);
    assert_string_equal(out.key_ref, "file:ci.key");
    pki_identity_fini(&out);
    /* As text it has no folder that the key could be beside. */
    refused_with(span(&text), "relative");

    (void)snprintf(ref, sizeof ref, "file:%s", key);
    save_with_key_ref(ref, path);
    wf_buf_clear(&text);
    assert_int_equal(wf_file_read(path, &text, NULL), WEFT_OK);
    assert_int_equal(pki_identity_parse(span(&text), &out, &why), WEFT_OK);
    pki_identity_fini(&out);

    assert_int_equal(chmod(key, 0644), 0);
    assert_int_equal(pki_identity_load(path, &out, &why), WEFT_ECREDENTIAL);
    assert_non_null(strstr(why.text, "chmod 600"));
    assert_non_null(strstr(why.text, key));

    wf_buf_clear(&pem);
    assert_int_equal(pki_key_put_pem(other.key, NULL, &pem), WEFT_OK);
    write_file(key, pem.data, pem.len, 0600);
    assert_int_equal(pki_identity_load(path, &out, &why), WEFT_ECREDENTIAL);
    assert_non_null(strstr(why.text, "does not belong"));

    assert_int_equal(unlink(key), 0);
    assert_int_equal(pki_identity_load(path, &out, &why), WEFT_ENOTFOUND);
    wf_buf_fini(&text);
    wf_buf_wipe(&pem);
}

static void a_reference_to_no_file_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *ref;
        weft_err err;
        const char *word;
    } refs[] = {
        {"file:", WEFT_ECREDENTIAL, "names no file"},
        {"file:-", WEFT_ENOTFOUND, "./-"}, /* a file of that name, never standard input */
        {"file:.", WEFT_EIO, "not a regular file"},
        {"file:/dev/zero", WEFT_EIO, "not a regular file"},
        {"file:///etc", WEFT_EIO, "not a regular file"},
        {"pkcs11:object=weft", WEFT_ECREDENTIAL, "PKCS#11"},
        {"https://evil.example/key", WEFT_ECREDENTIAL, "PEM"},
        {"FILE:ci.key", WEFT_ECREDENTIAL, "PEM"},
    };
    assert_int_equal(setenv("WEFT_PKCS11_MODULE", "/none.so", 1), 0);
    for (size_t i = 0; i < sizeof refs / sizeof *refs; i++) {
        char path[128];
        struct pki_identity out;
        wf_why why = {.text = ""};
        save_with_key_ref(refs[i].ref, in_folder("ref.json", path));
        assert_int_equal(pki_identity_load(path, &out, &why), refs[i].err);
        if (strstr(why.text, refs[i].word) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", why.text, refs[i].word);
    }
}

static void a_copy_with_a_key_in_a_file_beside_it_needs_the_file_no_more(void **state)
{
    (void)state;
    char path[128], key[160];
    wf_buf pem;
    struct pki_identity out, copy;
    pki_trust *trust = NULL;
    pki_tls_ctx *tls = NULL;
    wf_buf_init(&pem, 4096);
    assert_int_equal(pki_key_put_pem(ci.key, NULL, &pem), WEFT_OK);
    write_file(in_folder("beside.key", key), pem.data, pem.len, 0600);
    save_with_key_ref("file:beside.key", in_folder("beside.json", path));
    assert_int_equal(pki_identity_load(path, &out, NULL), WEFT_OK);
    assert_int_equal(unlink(key), 0);
    assert_int_equal(pki_identity_dup(&out, &copy), WEFT_OK);
    pki_identity_fini(&out);
    assert_string_equal(copy.key_ref, "file:beside.key");
    assert_string_equal(copy.path, path);
    assert_int_equal(pki_identity_open(&copy, NOW, &trust, &tls, NULL), WEFT_OK);
    pki_tls_ctx_unref(tls);
    pki_trust_unref(trust);
    pki_identity_fini(&copy);
    wf_buf_wipe(&pem);
}

static void a_key_under_a_passphrase_is_written_under_it_again(void **state)
{
    (void)state;
    static const char secret[] = "correct horse\nsecond line\n";
    char path[128], passphrase[160];
    wf_buf text;
    struct pki_identity identity, out;
    wf_why why;
    authority_identity(&a, &ci, &identity);
    identity.key_sealed = true;
    assert_int_equal(unsetenv("WEFT_KEY_PASSPHRASE_FILE"), 0);
    assert_int_equal(pki_identity_save(&identity, in_folder("sealed.json", path), &why),
                     WEFT_ECREDENTIAL);
    write_file(in_folder("passphrase", passphrase), secret, strlen(secret), 0600);
    assert_int_equal(setenv("WEFT_KEY_PASSPHRASE_FILE", passphrase, 1), 0);
    assert_int_equal(pki_identity_save(&identity, path, NULL), WEFT_OK);
    assert_int_equal(pki_identity_load(path, &out, NULL), WEFT_OK);
    assert_true(out.key_sealed);
    assert_int_equal(pki_identity_save(&out, path, NULL), WEFT_OK);
    pki_identity_fini(&out);
    wf_buf_init(&text, WF_IDENTITY_FILE_MAX);
    assert_int_equal(wf_file_read(path, &text, NULL), WEFT_OK);
    assert_non_null(strstr(wf_buf_cstr(&text), "BEGIN ENCRYPTED PRIVATE KEY"));
    assert_null(strstr(wf_buf_cstr(&text), "BEGIN PRIVATE KEY"));
    write_file(passphrase, "other horse", 11, 0600);
    assert_int_equal(pki_identity_load(path, &out, &why), WEFT_ECREDENTIAL);
    assert_non_null(strstr(why.text, "passphrase"));
    write_file(passphrase, "no", 2, 0600);
    assert_int_equal(pki_identity_load(path, &out, &why), WEFT_ECREDENTIAL);
    assert_int_equal(unsetenv("WEFT_KEY_PASSPHRASE_FILE"), 0);
    assert_int_equal(pki_identity_load(path, &out, &why), WEFT_ECREDENTIAL);
    assert_non_null(strstr(why.text, "WEFT_KEY_PASSPHRASE_FILE"));
    wf_buf_fini(&text);
    pki_identity_fini(&identity);
}

static void a_text_that_needs_it_is_escaped(void **state)
{
    (void)state;
    char path[128], key[160];
    wf_buf pem;
    struct pki_identity out;
    wf_buf_init(&pem, 4096);
    assert_int_equal(pki_key_put_pem(ci.key, NULL, &pem), WEFT_OK);
    write_file(in_folder("a \"b\" \\c\n\x01.key", key), pem.data, pem.len, 0600);
    save_with_key_ref("file:a \"b\" \\c\n\x01.key", in_folder("odd.json", path));
    assert_int_equal(pki_identity_load(path, &out, NULL), WEFT_OK);
    assert_string_equal(out.key_ref, "file:a \"b\" \\c\n\x01.key");
    pki_identity_fini(&out);
    wf_buf_wipe(&pem);
}

static void the_old_file_stays_when_the_new_one_can_not_be_written(void **state)
{
    (void)state;
    char path[128];
    struct pki_identity identity, out;
    int fd;
    authority_identity(&a, &ci, &identity);
    assert_int_equal(pki_identity_save(&identity, in_folder("kept.json", path), NULL), WEFT_OK);
    for (unsigned n = 1;; n = memory_next(n)) {
        wf_why why;
        alloc_fail_at(n);
        weft_err err = pki_identity_save(&identity, path, &why);
        bool failed = alloc_has_failed();
        alloc_fail_at(0);
        assert_int_equal(pki_identity_load(path, &out, NULL), WEFT_OK);
        same(&identity, &out);
        pki_identity_fini(&out);
        if (!failed) {
            assert_int_equal(err, WEFT_OK);
            break;
        }
        assert_int_not_equal(err, WEFT_OK);
    }
    /* Nothing half-written is left beside it, and the lock is free. */
    DIR *dir = opendir(folder);
    struct dirent *entry;
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL)
        assert_null(strstr(entry->d_name, ".tmp"));
    (void)closedir(dir);
    assert_int_equal(wf_file_lock(path, 0, &fd, NULL), WEFT_OK);
    (void)close(fd);
    pki_identity_fini(&identity);
}

/* ---- use */

static void an_opened_identity_obeys_the_revocations_it_carries(void **state)
{
    (void)state;
    struct pki_identity identity;
    struct pki_subject who;
    pki_trust *trust;
    pki_tls_ctx *tls;
    full(&identity);
    assert_int_equal(pki_identity_open(&identity, NOW, &trust, &tls, NULL), WEFT_OK);
    assert_string_equal(pki_trust_domain(trust), "test.weft");
    assert_ptr_equal(pki_tls_ctx_trust(tls), trust);
    assert_int_equal(
        pki_trust_check_chain(trust, ci.chain, PKI_IDENTITY, PKI_CLIENT, false, NOW, &who, NULL),
        WEFT_OK);
    assert_int_equal(
        pki_trust_check_chain(trust, other.chain, PKI_IDENTITY, PKI_CLIENT, false, NOW, &who, NULL),
        WEFT_EREVOKED);
    pki_tls_ctx_unref(tls);
    pki_trust_unref(trust);
    pki_identity_fini(&identity);
}

static void a_carried_record_that_is_not_signed_by_the_fabric_is_refused(void **state)
{
    (void)state;
    struct authority evil;
    struct pki_identity identity;
    pki_trust *trust = NULL;
    pki_tls_ctx *tls = NULL;
    wf_why why;
    authority_init(&evil, "test.weft", NOW);
    authority_identity(&a, &ci, &identity);
    Weft__Wire__Signed *set = authority_floors(&evil, 9, NULL, NULL, 0);
    authority_carry(&identity, &identity.floors, &identity.floors_count, set);
    assert_int_equal(pki_identity_open(&identity, NOW, &trust, &tls, &why), WEFT_ECREDENTIAL);
    assert_null(trust);
    assert_null(tls);
    wf_signed_free(set);
    pki_identity_fini(&identity);
    authority_fini(&evil);
}

static void a_bundle_of_another_fabric_is_refused(void **state)
{
    (void)state;
    struct authority evil;
    struct pki_identity identity;
    pki_trust *trust = NULL;
    pki_tls_ctx *tls = NULL;
    wf_why why;
    authority_init(&evil, "evil.weft", NOW);
    authority_identity(&a, &ci, &identity);
    wf_buf_clear(&identity.bundle);
    assert_int_equal(wf_buf_put(&identity.bundle, evil.bundle.data, evil.bundle.len), WEFT_OK);
    assert_int_equal(pki_identity_open(&identity, NOW, &trust, &tls, &why), WEFT_ECREDENTIAL);
    assert_non_null(strstr(why.text, "evil.weft"));
    pki_identity_fini(&identity);
    authority_fini(&evil);
}

static void a_failing_allocation_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    wf_buf text;
    full_text(&text);
    for (unsigned n = 1;; n = memory_next(n)) {
        struct pki_identity identity;
        pki_trust *trust;
        pki_tls_ctx *tls;
        wf_why why;
        alloc_fail_at(n);
        weft_err err = pki_identity_parse(span(&text), &identity, &why);
        if (err == WEFT_OK) {
            err = pki_identity_open(&identity, NOW, &trust, &tls, &why);
            if (err == WEFT_OK) {
                pki_tls_ctx_unref(tls);
                pki_trust_unref(trust);
            }
            pki_identity_fini(&identity);
        }
        bool failed = alloc_has_failed();
        alloc_fail_at(0);
        if (!failed) {
            assert_int_equal(err, WEFT_OK);
            break;
        }
    }
    wf_buf_wipe(&text);
}

int main(void)
{
    memory_hook();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_identity_survives_its_text),
        cmocka_unit_test(every_field_is_needed_and_no_other_is_taken),
        cmocka_unit_test(a_field_of_another_type_or_content_is_refused),
        cmocka_unit_test(what_is_no_object_is_refused),
        cmocka_unit_test(a_text_over_the_limit_is_refused_unread),
        cmocka_unit_test(a_key_that_is_not_the_certificates_is_refused),
        cmocka_unit_test(a_certificate_of_another_id_is_refused),
        cmocka_unit_test(an_authoritys_certificate_is_refused),
        cmocka_unit_test(a_saved_identity_is_ours_alone_and_loads_again),
        cmocka_unit_test(a_file_that_others_may_read_is_refused_with_the_remedy),
        cmocka_unit_test(what_is_no_readable_file_is_refused_at_once),
        cmocka_unit_test(a_key_may_lie_beside_its_identity),
        cmocka_unit_test(a_reference_to_no_file_is_refused),
        cmocka_unit_test(a_copy_with_a_key_in_a_file_beside_it_needs_the_file_no_more),
        cmocka_unit_test(a_key_under_a_passphrase_is_written_under_it_again),
        cmocka_unit_test(a_text_that_needs_it_is_escaped),
        cmocka_unit_test(the_old_file_stays_when_the_new_one_can_not_be_written),
        cmocka_unit_test(an_opened_identity_obeys_the_revocations_it_carries),
        cmocka_unit_test(a_carried_record_that_is_not_signed_by_the_fabric_is_refused),
        cmocka_unit_test(a_bundle_of_another_fabric_is_refused),
        cmocka_unit_test(a_failing_allocation_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
