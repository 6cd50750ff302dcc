/* What an endpoint keeps on disk, so that it isn't told less after a restart. */
#include "proto/base/clock.h"
#include "sdk/grants.h"
#include "tests/helpers/authority.h"
#include "tests/helpers/test.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A snapshot and as many deltas as the controller makes before the next one. */
#define CHAIN 257u

static void digest_of(const Weft__Wire__Signed *record, uint8_t out[32])
{
    wf_buf encoded;
    wf_buf_init(&encoded, WF_BUNDLE_MAX);
    assert_int_equal(wf_signed_encode(record, &encoded), WEFT_OK);
    pki_record_digest(wf_span_of(encoded.data, encoded.len), out);
    wf_buf_fini(&encoded);
}

static void the_floors_of_a_long_chain_are_there_after_a_restart(void **state)
{
    struct authority a;
    struct authority_node node, cut;
    struct pki_subject self;
    struct wf_grants before, after;
    uint8_t digest[32];
    char path[] = "/tmp/weft-state-XXXXXX";
    wf_why why = {""};
    (void)state;
    authority_init(&a, "test.weft", wf_now_wall_ms());
    authority_issue(&a, PKI_IDENTITY, "web-host", &node);
    authority_issue(&a, PKI_IDENTITY, "gone", &cut);
    authority_subject(&a, &node, &self);
    pki_trust *trust = authority_trust(&a), *fresh = authority_trust(&a);
    wf_grants_init(&before, trust, &self);
    wf_grants_init(&after, fresh, &self);
    for (uint64_t version = 1; version <= CHAIN; version++) {
        Weft__Wire__Floor floor = WEFT__WIRE__FLOOR__INIT, *list = &floor;
        wf_id id = version == CHAIN ? cut.id : wf_id_random();
        bool changed = false;
        floor.identity = wf_pb_id(&id);
        floor.epoch = a.now;
        floor.cut = true;
        floor.expires = a.now + 86400000u;
        Weft__Wire__Signed *record =
            authority_floors(&a, version, version == 1 ? NULL : digest, &list, 1);
        digest_of(record, digest);
        assert_int_equal(wf_grants_add_floors(&before, record, a.now, &changed, &why), WEFT_OK);
        assert_true(changed);
        wf_signed_free(record);
    }
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(wf_grants_save(&before, path, &why), WEFT_OK);
    assert_int_equal(wf_grants_load(&after, path, a.now, &why), WEFT_OK);
    assert_int_equal(pki_floors_version(pki_trust_floors(fresh)), CHAIN);
    assert_true(pki_floors_is_cut(pki_trust_floors(fresh), PKI_IDENTITY, &cut.id, NULL));
    (void)unlink(path);
    wf_grants_fini(&before);
    wf_grants_fini(&after);
    pki_trust_unref(trust);
    pki_trust_unref(fresh);
    authority_node_fini(&node);
    authority_node_fini(&cut);
    authority_fini(&a);
}

static void a_newer_bundle_is_there_after_a_restart(void **state)
{
    struct authority a;
    struct authority_node node;
    struct pki_subject self;
    struct wf_grants before, after;
    char path[] = "/tmp/weft-state-XXXXXX";
    bool changed = false;
    wf_buf newer;
    wf_why why = {""};
    (void)state;
    authority_init(&a, "test.weft", wf_now_wall_ms());
    authority_issue(&a, PKI_IDENTITY, "web-host", &node);
    authority_subject(&a, &node, &self);
    pki_trust *trust = authority_trust(&a), *fresh = authority_trust(&a);
    wf_grants_init(&before, trust, &self);
    wf_grants_init(&after, fresh, &self);
    wf_buf_init(&newer, WF_BUNDLE_MAX);
    uint8_t previous[32];
    pki_trust_digest(trust, previous);
    authority_bundle(&a, 2, previous, &newer);
    assert_int_equal(pki_trust_update(trust, wf_span_of(newer.data, newer.len), &changed, &why),
                     WEFT_OK);
    assert_true(changed);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(wf_grants_save(&before, path, &why), WEFT_OK);
    assert_int_equal(wf_grants_load(&after, path, a.now, &why), WEFT_OK);
    assert_true(wf_span_equal(pki_trust_bundle(fresh), wf_span_of(newer.data, newer.len)));
    (void)unlink(path);
    wf_buf_fini(&newer);
    wf_grants_fini(&before);
    wf_grants_fini(&after);
    pki_trust_unref(trust);
    pki_trust_unref(fresh);
    authority_node_fini(&node);
    authority_fini(&a);
}

static void a_newer_bundle_keeps_a_grant_whose_hours_are_to_come(void **state)
{
    struct authority a;
    struct authority_node node;
    struct pki_subject self;
    struct wf_grants grants;
    const wf_id service = wf_id_random();
    (void)state;
    authority_init(&a, "test.weft", wf_now_wall_ms());
    authority_issue(&a, PKI_IDENTITY, "web-host", &node);
    authority_subject(&a, &node, &self);
    pki_trust *trust = authority_trust(&a);
    wf_grants_init(&grants, trust, &self);
    /* An hour of the week that began half a week ago. */
    unsigned minute = (unsigned)((a.now / 60000 + 3 * 1440) % WF_WEEK_MINUTES);
    unsigned from = (minute + WF_WEEK_MINUTES / 2) % (WF_WEEK_MINUTES - 60);
    const struct pki_terms terms = {
        .window_count = 1, .windows = {{.from = (uint16_t)from, .to = (uint16_t)(from + 60)}}};
    Weft__Wire__Signed *record =
        authority_grant_bound(&a, &node, &service, "web", WEFT__WIRE__ROLE__ROLE_BIND, &terms);
    assert_int_equal(wf_grants_add(&grants, record, a.now, NULL), WEFT_OK);
    wf_signed_free(record);
    wf_grants_recheck(&grants, a.now);
    assert_non_null(wf_grants_find_id(&grants, &service, WEFT__WIRE__ROLE__ROLE_BIND, a.now));
    wf_grants_fini(&grants);
    pki_trust_unref(trust);
    authority_node_fini(&node);
    authority_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_floors_of_a_long_chain_are_there_after_a_restart),
        cmocka_unit_test(a_newer_bundle_is_there_after_a_restart),
        cmocka_unit_test(a_newer_bundle_keeps_a_grant_whose_hours_are_to_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
