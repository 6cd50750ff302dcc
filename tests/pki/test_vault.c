/* Secrets at rest: what is sealed opens with its key, under its label, unaltered, and not else. */
#include "pki/vault.h"
#include "tests/helpers/test.h"
#include <stdlib.h>
#include <string.h>

static wf_why why;

static wf_span text(const char *words)
{
    return wf_span_of(words, strlen(words));
}

static pki_vault *fresh(void)
{
    pki_vault *vault = NULL;

    assert_int_equal(pki_vault_new(&vault, &why), WEFT_OK);
    return vault;
}

static void what_is_sealed_opens_under_its_label_alone(void **state)
{
    pki_vault *vault = fresh();
    wf_buf sealed, plain;

    (void)state;
    wf_buf_init(&sealed, 4096);
    wf_buf_init(&plain, 4096);
    assert_int_equal(pki_vault_seal(vault, text("policy.key"), text("a secret"), &sealed), WEFT_OK);
    assert_int_equal(sealed.len, strlen("a secret") + PKI_VAULT_OVERHEAD);
    assert_true(pki_vault_is_sealed(wf_span_of(sealed.data, sealed.len)));
    assert_null(memmem(sealed.data, sealed.len, "a secret", 8));
    assert_int_equal(pki_vault_open(vault, text("policy.key"), wf_span_of(sealed.data, sealed.len),
                                    &plain, &why),
                     WEFT_OK);
    assert_true(wf_span_equal(wf_span_of(plain.data, plain.len), text("a secret")));
    assert_int_equal(
        pki_vault_open(vault, text("audit.key"), wf_span_of(sealed.data, sealed.len), &plain, &why),
        WEFT_ECREDENTIAL);
    assert_non_null(strstr(why.text, "belongs to another place"));
    wf_buf_wipe(&sealed);
    wf_buf_wipe(&plain);
    pki_vault_free(vault);
}

static void nothing_and_much_can_be_sealed(void **state)
{
    static const size_t sizes[] = {0, 1, 4095, 65536};
    static uint8_t much[65536];
    pki_vault *vault = fresh();

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        wf_buf sealed, plain;

        wf_buf_init(&sealed, 1 << 20);
        wf_buf_init(&plain, 1 << 20);
        assert_int_equal(pki_vault_seal(vault, text("x"), wf_span_of(much, sizes[i]), &sealed),
                         WEFT_OK);
        assert_int_equal(
            pki_vault_open(vault, text("x"), wf_span_of(sealed.data, sealed.len), &plain, &why),
            WEFT_OK);
        assert_int_equal(plain.len, sizes[i]);
        wf_buf_fini(&sealed);
        wf_buf_fini(&plain);
    }
    pki_vault_free(vault);
}

static void another_vault_says_that_the_key_is_another(void **state)
{
    pki_vault *one = fresh(), *other = fresh();
    wf_buf sealed, plain;

    (void)state;
    wf_buf_init(&sealed, 4096);
    wf_buf_init(&plain, 4096);
    assert_int_equal(pki_vault_seal(one, text("x"), text("a secret"), &sealed), WEFT_OK);
    assert_int_equal(
        pki_vault_open(other, text("x"), wf_span_of(sealed.data, sealed.len), &plain, &why),
        WEFT_ECREDENTIAL);
    assert_non_null(strstr(why.text, "another key"));
    assert_int_equal(plain.len, 0);
    wf_buf_fini(&sealed);
    wf_buf_fini(&plain);
    pki_vault_free(one);
    pki_vault_free(other);
}

static void a_flipped_or_missing_byte_opens_nothing(void **state)
{
    pki_vault *vault = fresh();
    wf_buf sealed, plain;

    (void)state;
    wf_buf_init(&sealed, 4096);
    wf_buf_init(&plain, 4096);
    assert_int_equal(pki_vault_seal(vault, text("x"), text("a secret"), &sealed), WEFT_OK);
    for (size_t i = 0; i < sealed.len; i++) {
        sealed.data[i] ^= 1;
        assert_int_equal(
            pki_vault_open(vault, text("x"), wf_span_of(sealed.data, sealed.len), &plain, &why),
            WEFT_ECREDENTIAL);
        sealed.data[i] ^= 1;
        assert_int_equal(pki_vault_open(vault, text("x"), wf_span_of(sealed.data, i), &plain, &why),
                         WEFT_ECREDENTIAL);
    }
    assert_int_equal(plain.len, 0);
    wf_buf_fini(&sealed);
    wf_buf_fini(&plain);
    pki_vault_free(vault);
}

static void close_lock(struct pki_lock *lock, const uint8_t outer[PKI_VAULT_KEY],
                       const pki_vault *vault, wf_buf *out)
{
    assert_int_equal(pki_lock_close(lock, outer, vault), WEFT_OK);
    assert_int_equal(pki_lock_put(lock, out), WEFT_OK);
}

static void a_lock_gives_back_the_vault_whatever_its_kind(void **state)
{
    static const enum pki_lock_kind kinds[] = {PKI_LOCK_KEY, PKI_LOCK_PASSPHRASE, PKI_LOCK_TOKEN};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct pki_lock lock = {.kind = kinds[i], .source = "file:seal.key"}, again;
        pki_vault *vault = fresh(), *opened = NULL;
        uint8_t outer[PKI_VAULT_KEY];
        wf_buf bytes, sealed, plain;

        wf_buf_init(&bytes, PKI_LOCK_MAX);
        wf_buf_init(&sealed, 4096);
        wf_buf_init(&plain, 4096);
        pki_lock_random(outer);
        if (lock.kind == PKI_LOCK_PASSPHRASE) {
            pki_lock_choose(&lock);
            assert_int_equal(pki_lock_stretch(&lock, text("correct horse"), outer, &why), WEFT_OK);
        } else if (lock.kind == PKI_LOCK_TOKEN) {
            lock.box_len = 91;
            pki_lock_agree(&lock, text("agreed"), text("spki"), outer);
        }
        close_lock(&lock, outer, vault, &bytes);
        assert_int_equal(pki_lock_parse(wf_span_of(bytes.data, bytes.len), &again, &why), WEFT_OK);
        assert_int_equal(pki_lock_open(&again, outer, &opened, &why), WEFT_OK);
        assert_int_equal(pki_vault_seal(vault, text("x"), text("y"), &sealed), WEFT_OK);
        assert_int_equal(
            pki_vault_open(opened, text("x"), wf_span_of(sealed.data, sealed.len), &plain, &why),
            WEFT_OK);
        pki_vault_free(opened);
        outer[7] ^= 1;
        assert_int_equal(pki_lock_open(&again, outer, &opened, &why), WEFT_ECREDENTIAL);
        wf_buf_fini(&bytes);
        wf_buf_fini(&sealed);
        wf_buf_fini(&plain);
        pki_vault_free(vault);
    }
}

static void no_byte_of_a_lock_can_be_changed_or_left_out(void **state)
{
    struct pki_lock lock = {.kind = PKI_LOCK_PASSPHRASE, .source = "passphrase-file:/etc/x"}, again;
    pki_vault *vault = fresh(), *opened = NULL;
    uint8_t outer[PKI_VAULT_KEY];
    wf_buf bytes;

    (void)state;
    wf_buf_init(&bytes, PKI_LOCK_MAX);
    pki_lock_choose(&lock);
    pki_lock_random(outer);
    close_lock(&lock, outer, vault, &bytes);
    for (size_t i = 0; i < bytes.len; i++) {
        bytes.data[i] ^= 1;
        if (pki_lock_parse(wf_span_of(bytes.data, bytes.len), &again, &why) == WEFT_OK)
            assert_int_equal(pki_lock_open(&again, outer, &opened, &why), WEFT_ECREDENTIAL);
        bytes.data[i] ^= 1;
        assert_int_equal(pki_lock_parse(wf_span_of(bytes.data, i), &again, &why), WEFT_ECREDENTIAL);
    }
    assert_int_equal(wf_buf_put_u8(&bytes, 0), WEFT_OK);
    assert_int_equal(pki_lock_parse(wf_span_of(bytes.data, bytes.len), &again, &why),
                     WEFT_ECREDENTIAL);
    wf_buf_fini(&bytes);
    pki_vault_free(vault);
}

static void a_lock_that_costs_too_much_or_too_little_is_refused(void **state)
{
    static const uint32_t costs[][2] = {{0, 65536}, {65, 65536}, {4, 1024}, {4, 2u << 20}};
    pki_vault *vault = fresh();

    (void)state;
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++) {
        struct pki_lock lock = {.kind = PKI_LOCK_PASSPHRASE, .source = "passphrase-file:/x"}, again;
        uint8_t outer[PKI_VAULT_KEY] = {1};
        wf_buf bytes;

        wf_buf_init(&bytes, PKI_LOCK_MAX);
        lock.passes = costs[i][0];
        lock.memory_kib = costs[i][1];
        close_lock(&lock, outer, vault, &bytes);
        assert_int_equal(pki_lock_parse(wf_span_of(bytes.data, bytes.len), &again, &why),
                         WEFT_ECREDENTIAL);
        wf_buf_fini(&bytes);
    }
    pki_vault_free(vault);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sealed_opens_under_its_label_alone),
        cmocka_unit_test(nothing_and_much_can_be_sealed),
        cmocka_unit_test(another_vault_says_that_the_key_is_another),
        cmocka_unit_test(a_flipped_or_missing_byte_opens_nothing),
        cmocka_unit_test(a_lock_gives_back_the_vault_whatever_its_kind),
        cmocka_unit_test(no_byte_of_a_lock_can_be_changed_or_left_out),
        cmocka_unit_test(a_lock_that_costs_too_much_or_too_little_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
