#include "controller/controller.h"
#include "controller/backup.h"
#include "controller/follow.h"
#include "controller/notice.h"
#include "controller/operation.h"
#include "controller/peer.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include <assert.h>
#include <string.h>

#define QUOTAS_MAX 131072u       /* twice as many as links: some only remember calls */
#define FORGET_AFTER_MS 3600000u /* identities by OIDC, behind their end */
#define LOG_LINES 40u            /* at once, and then one in */
#define LOG_LINE_MS 50u

/* The floors of before the restart, into our own trust. */
static weft_err apply_record(void *arg, uint64_t version, wf_span encoded)
{
    struct controller *c = arg;
    Weft__Wire__Signed *record = NULL;
    bool changed;
    weft_err err = wf_signed_decode(encoded.data, encoded.len, &record, NULL);

    (void)version;
    if (err == WEFT_OK)
        err = pki_trust_apply_floors(c->home.trust, record, wf_now_wall_ms(), &changed, NULL);
    wf_signed_free(record);
    return err;
}

weft_err controller_init(struct controller *c, const char *dir, wf_why *why)
{
    return controller_init_sealed(c, dir, NULL, why);
}

weft_err controller_init_sealed(struct controller *c, const char *dir, const char *seal_key,
                                wf_why *why)
{
    uint64_t base = 0;
    weft_err err;

    *c = (struct controller){.started = wf_now_wall_ms()};
    wf_list_init(&c->peers);
    wf_list_init(&c->owed);
    turn_init(&c->turn);
    err = home_open_sealed(dir, seal_key, &c->home, why);
    if (err != WEFT_OK)
        return err;
    backup_sweep(dir);
    c->quotas = wf_map_new(QUOTAS_MAX);
    if (c->quotas == NULL) {
        controller_fini(c);
        return wf_fail(why, WEFT_ENOMEM, "out of memory");
    }
    err = store_record_base(c->home.store, &base);
    if (err == WEFT_OK)
        err = store_record_each(c->home.store, base, apply_record, c);
    if (err != WEFT_OK) {
        wf_fail(why, err, "%s: the revocation floors in the store can't be used: %s", dir,
                weft_err_sentence(err));
        controller_fini(c);
    }
    return err;
}

void controller_fini(struct controller *c)
{
    assert(wf_list_is_empty(&c->peers));
    catalog_forget(&c->catalog);
    members_forget(&c->members);
    sessions_fini(&c->sessions);
    logins_fini(&c->logins);
    turn_fini(&c->turn);
    wf_quota_free(c->quotas);
    backup_free(c->backup); /* before the store that it copies */
    home_close(&c->home);
}

bool controller_may_log(struct controller *c)
{
    if (wf_quota_draw(&c->log_full_at, wf_now_mono_ms(), LOG_LINES, LOG_LINE_MS) != 0) {
        c->log_left_out++;
        return false;
    }
    if (c->log_left_out > 0)
        wf_log_info("%u lines about peers were left out", c->log_left_out);
    c->log_left_out = 0;
    return true;
}

#define SHOW_EACH_MS 5000u

bool controller_owes_checkpoint(const struct controller *c)
{
    return audit_is_unsigned(c->home.log) || c->checkpoint_unshown;
}

static weft_err end_turn(struct controller *c, bool force, wf_why *why)
{
    uint64_t now = wf_now_mono_ms();
    struct effect *effect;
    weft_err err = WEFT_OK;

    if (force || audit_may_sign(c->home.log, now)) {
        err = store_begin(c->home.store);
        if (err == WEFT_OK)
            err = audit_sign(&c->home, wf_now_wall_ms(), now);
    }
    if (err == WEFT_OK)
        err = store_commit(c->home.store);
    if (err != WEFT_OK) {
        if (store_check(c->home.store, why) == WEFT_OK)
            wf_fail(why, err, "the turn can't be ended: %s", weft_err_sentence((int)err));
        return err;
    }
    if (audit_committed(c->home.log))
        c->checkpoint_unshown = true;
    while ((effect = turn_take(&c->turn)) != NULL) {
        peer_apply(c, effect);
        effect_free(effect);
    }
    notice_tell(c);
    if (c->checkpoint_unshown &&
        (force || c->checkpoint_shown_at == 0 || now - c->checkpoint_shown_at >= SHOW_EACH_MS)) {
        c->checkpoint_unshown = false;
        c->checkpoint_shown_at = now;
        notice_checkpoint(c);
    }
    return WEFT_OK;
}

weft_err controller_end_turn(struct controller *c, wf_why *why)
{
    weft_err err;

    if (store_is_begun(c->home.store) || c->turn.count > 0 || controller_owes_checkpoint(c))
        return end_turn(c, false, why);
    err = store_check(c->home.store, why);
    if (err == WEFT_OK)
        notice_tell(c);
    return err;
}

weft_err controller_end_turn_signed(struct controller *c, wf_why *why)
{
    return end_turn(c, true, why);
}

weft_err controller_note(struct controller *c, enum audit_kind kind)
{
    const struct audit_event event = {
        .kind = kind, .time = wf_now_wall_ms(), .as = "controller", .what = WEFT_VERSION};
    weft_err err = store_begin(c->home.store);

    if (err == WEFT_OK)
        err = operation_note_left_out(c, event.time);
    return err == WEFT_OK ? audit_append(&c->home, &event) : err;
}

weft_err controller_look_after(struct controller *c, uint64_t now, bool *leaf_renewed)
{
    bool changed = false;
    uint64_t ended = 0;
    wf_why why = {""};
    weft_err err;

    *leaf_renewed = false;
    if (backup_is_idle(c->backup, now)) {
        backup_free(c->backup);
        c->backup = NULL;
    }
    err = store_begin(c->home.store);
    if (err == WEFT_OK && !c->home.is_switching)
        err = follow_resign(c, now);
    if (err == WEFT_OK)
        err = operation_note_left_out(c, now);
    if (err == WEFT_OK)
        err = members_refresh(&c->home, now, &changed);
    if (err == WEFT_OK)
        err = store_issued_sweep(c->home.store,
                                 now > WF_SESSION_OUTLIVES_MS ? now - WF_SESSION_OUTLIVES_MS : 0);
    if (err == WEFT_OK)
        err = store_token_sweep(c->home.store, now > 86400000u ? now - 86400000u : 0);
    if (err == WEFT_OK)
        err = store_presented_sweep(c->home.store, now);
    if (err == WEFT_OK)
        err = store_federated_sweep(c->home.store,
                                    now > FORGET_AFTER_MS ? now - FORGET_AFTER_MS : 0, &ended);
    if (err != WEFT_OK)
        return err;
    if (ended > 0) /* policies may have named one of them */
        catalog_forget(&c->catalog);
    if (changed) {
        members_forget(&c->members);
        if (turn_add(&c->turn, EFFECT_MEMBERS, 0) == NULL)
            return WEFT_ENOMEM;
    }
    /* Not to have a fresh leaf is no reason to stop: the present one lives for weeks. */
    err = home_renew_leaf(&c->home, now, leaf_renewed, &why);
    if (err != WEFT_OK)
        wf_log_error("the controller's own certificate can't be renewed: %s", why.text);
    else if (*leaf_renewed)
        wf_log_info("the controller's own certificate was renewed");
    c->counters.own_renewals += *leaf_renewed;
    return WEFT_OK;
}
