/*
 * The controller, as long as it is there: member records, floors, the bundle.
 * The router needs it for nothing at run time: all of it is kept on disk.
 *
 * Happy path: the uplink comes up -> "sync" -> what it answers is taken and
 * kept -> pushes of floors and notices come -> a notice of members: "sync" again.
 *
 * Failure modes: the controller is away, or "sync" fails: the uplink keeps
 * trying, everything else goes on; a record that doesn't verify: it is left
 * out, logged, the rest is taken.
 */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "router/inside.h"
#include <stdio.h>

static void take_member(struct router *router, const Weft__Wire__Signed *record)
{
    struct member *member;
    bool changed;
    wf_why why = {""};

    if (record == NULL)
        return;
    if (members_learn(&router->members, router->trust, record, wf_now_wall_ms(), &member, &changed,
                      &why) != WEFT_OK)
        wf_log_warn("member record from the controller not taken: %s", why.text);
    else if (changed)
        router_set_dirty(router, DIRTY_MEMBERS);
}

static void said(void *arg, weft_err code, const char *reason, wf_span result)
{
    (void)arg;
    (void)code; /* our next Hello says it again */
    (void)reason;
    (void)result;
}

static void say_bundle(struct router *router)
{
    wf_buf version;

    if (router->controller == NULL || !wf_uplink_is_up(router->controller))
        return;
    wf_buf_init(&version, 8);
    if (wf_buf_put_u64(&version, pki_trust_version(router->trust)) == WEFT_OK)
        (void)wf_uplink_call(router->controller, "holds", wf_span_of(version.data, version.len),
                             WF_CALL_MS, said, router);
    wf_buf_fini(&version);
}

/* From the controller, or from another router: what verifies is kept, and handed on. */
void router_take_bundle(struct router *router, const Weft__Wire__Signed *bundle, const char *from)
{
    Weft__Wire__Signed *copy;
    bool changed = false;
    wf_why why = {""};
    weft_err err;

    if (bundle == NULL)
        return;
    copy = signed_dup(bundle);
    err = copy == NULL ? WEFT_ENOMEM : pki_trust_follow(router->trust, &copy, 1, &changed, &why);
    wf_signed_free(copy);
    if (err != WEFT_OK && router_may_log(router))
        wf_log_warn("trust bundle from %s not taken: %s", from, why.text);
    if (!changed)
        return;
    wf_log_info("the trust bundle is of version %llu",
                (unsigned long long)pki_trust_version(router->trust));
    router_set_dirty(router, DIRTY_BUNDLE | DIRTY_MEMBERS);
    members_recheck(&router->members, router->trust, wf_now_wall_ms());
    err = pki_identity_take_bundle(&router->identity, pki_trust_bundle(router->trust), &changed,
                                   &why);
    if (err == WEFT_OK && router->identity.path != NULL &&
        pki_identity_repin(router->identity.path, pki_trust_bundle(router->trust), &why) != WEFT_OK)
        wf_log_warn("the trust bundle is not kept in the identity file: %s", why.text);
    router_flood_bundle(router);
    say_bundle(router);
}

static void take_floors(struct router *router, Weft__Wire__Signed *const *sets, size_t count,
                        wf_link *link)
{
    wf_why why = {""};

    if (revoke_take(router, sets, count, link, &why) != WEFT_OK)
        wf_log_warn("revocations from the controller not taken: %s", why.text);
}

static void synced(void *arg, weft_err code, const char *reason, wf_span result)
{
    struct router *router = arg;
    Weft__Wire__SyncResult *answer = NULL;
    wf_why why = {""};
    weft_err err = code;

    router->is_syncing = false;
    if (router->state == ROUTER_CLOSING)
        return;
    if (err == WEFT_OK) {
        err = wf_sync_result_decode(result.data, result.len, &answer, &why);
        reason = why.text;
    }
    if (err != WEFT_OK) {
        wf_log_warn("sync with the controller failed: %s", reason);
    } else {
        router_take_bundle(router, answer->bundle, "the controller");
        take_floors(router, answer->floors, answer->n_floors, NULL);
        take_member(router, answer->member);
        /* Encoded before the notices of its turn, which may have shown a newer one already: that it
           is older says nothing. Hello and notices tell of a log that went back. */
        witness_take(router, answer->checkpoint, false);
        for (size_t i = 0; i < answer->n_members; i++)
            take_member(router, answer->members[i]);
        wf_log_debug("in step with the controller: %zu routers, floors of version %llu",
                     wf_map_count(router->members.by_id),
                     (unsigned long long)pki_floors_version(pki_trust_floors(router->trust)));
        router_after_members(router);
    }
    wf_sync_result_free(answer);
    if (router->sync_again) {
        router->sync_again = false;
        sync_now(router);
    }
}

void sync_now(struct router *router)
{
    if (router->controller == NULL || !wf_uplink_is_up(router->controller))
        return; /* coming up will do it */
    if (router->is_syncing) {
        router->sync_again = true;
        return;
    }
    router->is_syncing = wf_uplink_call(router->controller, "sync", wf_span_of(NULL, 0), WF_CALL_MS,
                                        synced, router) == WEFT_OK;
}

static void controller_up(wf_uplink *uplink, void *arg, wf_link *link,
                          const Weft__Wire__Hello *hello)
{
    struct router *router = arg;

    (void)uplink;
    router->was_away = false;
    wf_log_info("the controller is there (%s)", wf_link_remote(link));
    witness_take(router, hello->checkpoint, true);
    sync_now(router);
    renew_if_due(router);
    report_changed(router);
}

static void controller_control(wf_uplink *uplink, void *arg, Weft__Wire__Control *message)
{
    struct router *router = arg;
    wf_link *link = wf_uplink_link(uplink);

    switch (message->of_case) {
    case WEFT__WIRE__CONTROL__OF_FLOORS:
        take_floors(router, message->floors->sets, message->floors->n_sets, link);
        return;
    case WEFT__WIRE__CONTROL__OF_FLOORS_WANTED:
        router_level_floors(router, link, message->floors_wanted->have, false);
        return;
    case WEFT__WIRE__CONTROL__OF_NOTICE:
        router_take_bundle(router, message->notice->bundle, "the controller");
        if (message->notice->renew > 0)
            renew_told(router, message->notice->renew);
        revoke_cut_sessions(router, message->notice);
        witness_take(router, message->notice->checkpoint, true);
        if (message->notice->members)
            sync_now(router);
        return;
    default:
        wf_log_warn("the controller sent a message that is not its to send");
    }
}

static void controller_down(wf_uplink *uplink, void *arg, weft_err err, const wf_why *why,
                            uint64_t retry_ms)
{
    struct router *router = arg;

    char again[32] = "at once";

    (void)uplink;
    (void)err;
    if (retry_ms > 0)
        (void)snprintf(again, sizeof again, "in %llu ms", (unsigned long long)retry_ms);
    wf_log(router->was_away ? WF_LOG_DEBUG : WF_LOG_INFO,
           "no controller: %s; again %s. Dials and circuits go on without it", why->text, again);
    router->was_away = true;
}

static void controller_closed(wf_uplink *uplink, void *arg)
{
    struct router *router = arg;

    (void)uplink;
    router->controller = NULL;
    router_part_gone(router);
}

static const struct wf_uplink_handler handler = {
    .up = controller_up,
    .control = controller_control,
    .down = controller_down,
    .closed = controller_closed,
};

weft_err sync_open(struct router *router, const wf_address *controllers, size_t count)
{
    struct wf_uplink_config config = {
        .link =
            {
                .tls = router->tls,
                .alpn = PKI_ALPN_LINK,
                .kinds = PKI_CONTROLLER,
                .hello = router_hello,
                .hello_arg = router,
            },
        .addresses = controllers,
        .address_count = count,
        .handler = &handler,
        .arg = router,
    };

    return wf_uplink_open(router->net, &config, &router->controller);
}

void sync_close(struct router *router)
{
    if (router->controller != NULL)
        wf_uplink_close(router->controller);
}
