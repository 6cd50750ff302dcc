/*
 * Happy path: a link is secured, its class follows from ALPN and certificate;
 * its Hello says which floors it holds and it gets what it lacks; its calls
 * run at once and are answered when the turn is committed.
 *
 * Failure modes:
 * - It calls faster than it is answered: over WF_CALLS_PER_LINK it is cut.
 * - It opens more links, or wants grants more often, than one may: refused.
 * - Its certificate has ended since it came: it is cut with its next call, or by peer_sweep.
 * - It leaves while its call waits for the commit: the call stands, the reply goes nowhere.
 * - It isn't enrolled and lingers: peer_sweep closes it.
 * - It holds newer floors than the store: the store is from a backup, and learns from routers.
 * - It is cut (disabled, deleted): it gets the floor that says so, then its link is closed.
 */
#include "controller/peer.h"
#include "controller/api_reply.h"
#include "controller/follow.h"
#include "controller/notice.h"
#include "controller/operation.h"
#include "controller/restore.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ANONYMOUS_CALLS_MAX 8u   /* on one weft-enroll/1 link */
#define ANONYMOUS_STAY_MS 60000u /* so long may it stay */
#define PUSH_BYTES_MAX 49152u    /* of records in one message */
#define LINKS_PER_NODE 2048u     /* of one identity or router at once */
#define GRANTS_BURST 1024u       /* calls for grants of one identity, and then one in */
#define GRANTS_EACH_MS 125u
#define ANSWERS_BURST 16u /* of floors that a link asks for, and then one in */
#define ANSWERS_EACH_MS 1000u

static const struct wf_link_handler handler;

/* ---- pushing floors */

struct push {
    struct peer *peer;
    Weft__Wire__Signed *sets[WF_FLOOR_SETS_MAX]; /* owned */
    size_t count, bytes;
};

static void push_send(struct push *push)
{
    Weft__Wire__Control control;
    Weft__Wire__Floors floors;

    if (push->count > 0) {
        weft__wire__control__init(&control);
        weft__wire__floors__init(&floors);
        control.of_case = WEFT__WIRE__CONTROL__OF_FLOORS;
        control.floors = &floors;
        floors.n_sets = push->count;
        floors.sets = push->sets;
        (void)wf_link_send_control(push->peer->link, &control);
    }
    for (size_t i = 0; i < push->count; i++)
        wf_signed_free(push->sets[i]);
    push->count = push->bytes = 0;
}

static weft_err push_record(void *arg, uint64_t version, wf_span encoded)
{
    struct push *push = arg;
    weft_err err;

    (void)version;
    if (push->count == WF_FLOOR_SETS_MAX ||
        (push->count > 0 && push->bytes + encoded.len > PUSH_BYTES_MAX))
        push_send(push);
    err = wf_signed_decode(encoded.data, encoded.len, &push->sets[push->count], NULL);
    if (err != WEFT_OK)
        return err;
    push->count++;
    push->bytes += encoded.len;
    return WEFT_OK;
}

static weft_err push_missing(struct peer *peer, uint64_t have)
{
    struct home *home = &peer->c->home;
    struct push push = {.peer = peer};
    uint64_t first;
    weft_err err = floors_first_missing(home, have, &first);

    if (err == WEFT_OK && first != 0)
        err = store_record_each(home->store, first, push_record, &push);
    push_send(&push);
    return err;
}

/* To a FLOORS_WANTED: each version once on a link, for to ask is cheap. */
static void answer_floors(struct peer *peer, uint64_t have)
{
    uint64_t newest;

    if (floors_version(&peer->c->home, &newest) != WEFT_OK || peer->answered == newest)
        return;
    if (wf_quota_draw(&peer->answers_full_at, wf_now_mono_ms(), ANSWERS_BURST, ANSWERS_EACH_MS) !=
        0)
        return;
    peer->answered = newest;
    (void)push_missing(peer, have); /* a broken store ends the turn */
}

/* ---- what comes in */

static void ask_for_floors(struct peer *peer)
{
    Weft__Wire__Control control;
    Weft__Wire__FloorsWanted wanted;

    weft__wire__control__init(&control);
    weft__wire__floors_wanted__init(&wanted);
    control.of_case = WEFT__WIRE__CONTROL__OF_FLOORS_WANTED;
    control.floors_wanted = &wanted; /* all: what we hold may be another branch */
    (void)wf_link_send_control(peer->link, &control);
}

static void on_floors(struct peer *peer, const Weft__Wire__Floors *floors)
{
    struct controller *c = peer->c;
    size_t mark = turn_mark(&c->turn), learned = 0;
    struct pki_tree before = c->home.log->tree;
    wf_why why = {""};
    weft_err err = store_begin(c->home.store);

    if (err == WEFT_OK)
        err = store_mark(c->home.store);
    if (err != WEFT_OK)
        return; /* a broken store ends the turn */
    err = restore_learn(&c->home, &c->turn, floors->sets, floors->n_sets, wf_now_wall_ms(),
                        &learned, &why);
    if (err == WEFT_OK && learned > 0) {
        const struct audit_event event = {.kind = AUDIT_LEARNED,
                                          .time = wf_now_wall_ms(),
                                          .by = peer->subject.name,
                                          .id = &peer->subject.id,
                                          .as = "router",
                                          .count = learned};

        err = audit_append(&c->home, &event);
    }
    if (err == WEFT_OK) {
        (void)store_keep(c->home.store);
        members_forget(&c->members);
        catalog_forget(&c->catalog);
        if (learned > 0)
            wf_log_warn("learned %zu floors from %s", learned, peer->subject.name);
        return;
    }
    (void)store_undo(c->home.store);
    c->home.log->tree = before;
    turn_undo(&c->turn, mark);
    if (controller_may_log(c))
        wf_log_warn("floors from %s are not taken: %s", peer->subject.name,
                    why.text[0] != '\0' ? why.text : weft_err_sentence(err));
}

/* A router shows what it remembers of the log: more than we have means that we are an old copy. */
static void look_at_checkpoint(struct peer *peer, const Weft__Wire__Signed *record)
{
    struct controller *c = peer->c;
    struct pki_checkpoint theirs;
    struct audit_event event = {.kind = AUDIT_BEHIND,
                                .time = wf_now_wall_ms(),
                                .by = peer->subject.name,
                                .id = &peer->subject.id,
                                .as = "router",
                                .at = wf_link_remote(peer->link)};
    wf_why what = {""};

    if (record == NULL || peer->who != WHO_ROUTER ||
        pki_trust_check_checkpoint(c->home.trust, record, &theirs, NULL) != WEFT_OK ||
        theirs.size <= c->home.log->tree.size || theirs.size <= c->behind)
        return;
    c->behind = theirs.size;
    c->counters.audit_alarms++;
    wf_fail(&what, WEFT_OK, "%llu entries were signed for before, this store holds %llu",
            (unsigned long long)theirs.size, (unsigned long long)c->home.log->tree.size);
    wf_log_error("the audit log is an old copy: %s (%s remembers); restore the newest backup, or "
                 "look for who cut the log",
                 what.text, peer->subject.name);
    event.what = what.text;
    event.count = theirs.size;
    if (store_begin(c->home.store) != WEFT_OK || audit_append(&c->home, &event) != WEFT_OK)
        wf_log_error("that couldn't be entered in the audit log");
}

static void on_up(wf_link *link, void *arg, const Weft__Wire__Hello *hello)
{
    struct peer *peer = arg;
    uint64_t newest;

    (void)link;
    peer->floors_version = hello->floors_version;
    look_at_checkpoint(peer, hello->checkpoint);
    follow_hello(peer, hello->bundle_version);
    if ((peer->who & WHO_NODE) == 0 || floors_version(&peer->c->home, &newest) != WEFT_OK)
        return;
    if (peer->floors_version > newest) {
        if (controller_may_log(peer->c))
            wf_log_warn(
                "%s at %s holds floors of version %llu, this store only %llu: it was restored "
                "from a backup%s",
                peer->subject.name, wf_link_remote(peer->link),
                (unsigned long long)peer->floors_version, (unsigned long long)newest,
                peer->who == WHO_ROUTER ? "; learning what it missed" : "");
        if (peer->who == WHO_ROUTER)
            ask_for_floors(peer);
        return;
    }
    (void)push_missing(peer, peer->floors_version); /* a broken store ends the turn */
}

static weft_err export_channel(void *arg, const char *label, uint8_t out[32])
{
    return wf_link_export(arg, label, out);
}

/* What an identity asks for most is signed for it alone: it waits if it asks too often. */
static weft_err may_ask(struct peer *peer, const char *operation, wf_why *why)
{
    uint64_t wait;

    if (peer->who != WHO_IDENTITY || strcmp(operation, "grants") != 0)
        return WEFT_OK;
    wait = wf_quota_draw(&peer->quota->full_at, wf_now_mono_ms(), GRANTS_BURST, GRANTS_EACH_MS);
    if (wait == 0)
        return WEFT_OK;
    peer->c->counters.refusals[WEFT_EBUSY]++;
    peer->c->audit_left_out++;
    return wf_fail(why, WEFT_EBUSY, "too many requests: try again in %llu s",
                   (unsigned long long)(wait + 999) / 1000);
}

static void on_call(struct peer *peer, const Weft__Wire__Call *in)
{
    struct controller *c = peer->c;
    struct effect *reply;
    struct call call = {
        .c = c,
        .who = peer->who,
        .subject = peer->is_known ? &peer->subject : NULL,
        .remote = wf_link_remote(peer->link),
        .floors_version = peer->floors_version,
        .bundle_version = peer->bundle_version,
        .exporter = export_channel,
        .exporter_arg = peer->link,
        .operation = in->operation,
        .arguments = wf_pb_span(in->arguments),
        .now = wf_now_wall_ms(),
    };
    weft_err err;

    wf_buf_init(&call.result, OPERATION_RESULT_MAX);
    err = may_ask(peer, in->operation, &call.why);
    if (err == WEFT_OK)
        err = operation_run(&call);
    reply = turn_add(&c->turn, EFFECT_REPLY, OPERATION_RESULT_MAX);
    if (reply == NULL) {
        wf_buf_fini(&call.result);
        wf_link_cut(peer->link, WEFT_ENOMEM, "out of memory");
        return;
    }
    reply->peer = peer;
    reply->call = in->id;
    reply->code = err;
    reply->why = call.why;
    reply->bytes = call.result;
    peer->pending++;
}

/* A link may outlive the certificate that it was opened with; what it asks for then is not done. */
static bool has_ended(struct peer *peer)
{
    wf_why why = {""};
    weft_err err;

    if ((peer->who & WHO_NODE) == 0)
        return false;
    err = pki_trust_check_again(peer->c->home.trust, &peer->subject, wf_now_wall_ms(), &why);
    if (err != WEFT_OK)
        wf_link_cut(peer->link, err, why.text);
    return err != WEFT_OK;
}

static void on_control(wf_link *link, void *arg, Weft__Wire__Control *message)
{
    struct peer *peer = arg;

    if (has_ended(peer))
        return;

    switch (message->of_case) {
    case WEFT__WIRE__CONTROL__OF_CALL:
        peer->calls++;
        if (peer->pending >= WF_CALLS_PER_LINK) {
            wf_link_cut(link, WEFT_ELIMIT, "too many calls at once");
            return;
        }
        if (!peer->is_known && peer->calls > ANONYMOUS_CALLS_MAX) {
            wf_link_cut(link, WEFT_ELIMIT, "too many calls before enrollment");
            return;
        }
        if (!peer->c->draining)
            on_call(peer, message->call);
        return;
    case WEFT__WIRE__CONTROL__OF_FLOORS_WANTED:
        if ((peer->who & WHO_NODE) != 0) {
            answer_floors(peer, message->floors_wanted->have);
            return;
        }
        break;
    case WEFT__WIRE__CONTROL__OF_FLOORS:
        if (peer->who == WHO_ROUTER) {
            on_floors(peer, message->floors);
            return;
        }
        break;
    default:
        break;
    }
    wf_link_cut(link, WEFT_EPROTO, "the controller takes calls only");
}

static void on_closed(wf_link *link, void *arg, weft_err err, const wf_why *why)
{
    struct peer *peer = arg;
    struct controller *c = peer->c;

    wf_log_debug("%s at %s left: %s", peer->is_known ? peer->subject.name : "an enrollee",
                 wf_link_remote(link), why->text[0] != '\0' ? why->text : weft_err_sentence(err));
    turn_forget_peer(&c->turn, peer);
    wf_list_remove(&peer->node);
    notice_forget(peer);
    c->peer_count--;
    if (c->sessions.count > 0 && peer->is_known &&
        !peer_is_online(c, peer->subject.kind, &peer->subject.id))
        sessions_forget(&c->sessions, &peer->subject.id);
    if (peer->quota != NULL)
        wf_quota_give(c->quotas, peer->quota, wf_now_mono_ms());
    free(peer);
}

static const struct wf_link_handler handler = {
    .up = on_up,
    .control = on_control,
    .closed = on_closed,
};

static weft_err take_quota(struct peer *peer, const struct pki_subject *subject)
{
    uint8_t key[1 + WF_ID_LEN] = {(uint8_t)subject->kind};

    memcpy(key + 1, subject->id.b, WF_ID_LEN);
    return wf_quota_take(peer->c->quotas, key, sizeof key, LINKS_PER_NODE, &peer->quota);
}

const struct wf_link_handler *peer_accept(void *controller, wf_link *link, void **arg)
{
    struct controller *c = controller;
    const struct pki_subject *subject = wf_link_peer(link);
    struct peer *peer;

    if (c->draining)
        return NULL;
    peer = calloc(1, sizeof *peer);
    if (peer == NULL)
        return NULL;
    peer->c = c;
    peer->link = link;
    peer->since = wf_now_mono_ms();
    switch (wf_link_alpn(link)) {
    case PKI_ALPN_ENROLL:
        peer->who = WHO_ANYONE;
        break;
    case PKI_ALPN_RENEW:
        peer->who = WHO_EXPIRED;
        break;
    case PKI_ALPN_LINK:
    case PKI_ALPN_E2E:
        peer->who = subject != NULL && subject->kind == PKI_ROUTER ? WHO_ROUTER : WHO_IDENTITY;
        break;
    }
    /* Nobody is a node without a verified certificate, and no enrollee is let in with one. */
    if ((subject == NULL) != (peer->who == WHO_ANYONE)) {
        free(peer);
        return NULL;
    }
    if (subject != NULL) {
        weft_err err = take_quota(peer, subject);

        if (err != WEFT_OK) {
            free(peer);
            c->counters.links[err]++;
            wf_link_cut(link, err, err == WEFT_ELIMIT ? "too many links of this node" : NULL);
            return NULL;
        }
        peer->is_known = true;
        peer->subject = *subject;
    }
    wf_list_push(&c->peers, &peer->node);
    c->peer_count++;
    wf_log_debug("%s connected from %s", subject != NULL ? subject->name : "an enrollee",
                 wf_link_remote(link));
    *arg = peer;
    return &handler;
}

/* ---- what goes out */

static struct peer *peer_of(wf_node *n)
{
    return wf_container_of(n, struct peer, node);
}

static void push_to_all(struct controller *c, const struct effect *effect)
{
    Weft__Wire__Signed *record = NULL;
    Weft__Wire__Control control;
    Weft__Wire__Floors floors;
    bool changed;
    wf_why why = {""};
    weft_err err = wf_signed_decode(effect->bytes.data, effect->bytes.len, &record, &why);

    if (err == WEFT_OK)
        err = pki_trust_apply_floors(c->home.trust, record, wf_now_wall_ms(), &changed, &why);
    if (err != WEFT_OK)
        wf_log_error("floors of version %llu don't apply here: %s",
                     (unsigned long long)effect->version, why.text);
    if (record == NULL)
        return;
    weft__wire__control__init(&control);
    weft__wire__floors__init(&floors);
    control.of_case = WEFT__WIRE__CONTROL__OF_FLOORS;
    control.floors = &floors;
    floors.n_sets = 1;
    floors.sets = &record;
    for (wf_node *n = c->peers.next; n != &c->peers; n = n->next)
        if ((peer_of(n)->who & WHO_NODE) != 0)
            (void)wf_link_send_control(peer_of(n)->link, &control);
    wf_signed_free(record);
    c->counters.floors++;
}

static bool is_node(const struct peer *peer, enum pki_kind kind, const wf_id *id)
{
    return (peer->who & WHO_NODE) != 0 && peer->subject.kind == kind &&
           wf_id_equal(&peer->subject.id, id);
}

void peer_apply(struct controller *c, struct effect *effect)
{
    wf_node *n, *next;

    switch (effect->kind) {
    case EFFECT_REPLY:
        if (effect->peer == NULL)
            return;
        assert(effect->peer->pending > 0);
        effect->peer->pending--;
        (void)wf_link_reply(effect->peer->link, effect->call, effect->code,
                            effect->code == WEFT_OK ? "" : effect->why.text,
                            wf_span_of(effect->bytes.data, effect->bytes.len));
        return;
    case EFFECT_FLOORS:
        push_to_all(c, effect);
        return;
    case EFFECT_GRANTS:
        if (effect->peer != NULL)
            notice_owe_grants(effect->peer);
        else
            notice_owe_grants_of(c, &effect->subject);
        return;
    case EFFECT_MEMBERS:
        notice_members(c);
        return;
    case EFFECT_DROP:
        for (n = c->peers.next; n != &c->peers; n = next) {
            next = n->next;
            if (peer_of(n)->is_known && peer_of(n)->subject.kind == effect->of &&
                wf_id_equal(&peer_of(n)->subject.id, &effect->subject))
                wf_link_close(peer_of(n)->link);
        }
        return;
    case EFFECT_SESSION:
        notice_cut_session(c, &effect->subject);
        return;
    case EFFECT_HTTP:
        api_reply_send(effect->reply);
        return;
    case EFFECT_LOG:
        wf_log_info("%s", wf_buf_cstr(&effect->bytes));
        return;
    }
}

bool peer_is_online(const struct controller *c, enum pki_kind kind, const wf_id *id)
{
    for (wf_node *n = c->peers.next; n != &c->peers; n = n->next)
        if (is_node(peer_of(n), kind, id))
            return true;
    return false;
}

weft_err peer_each_identity(const struct controller *c, peer_identity_fn row, void *arg)
{
    weft_err err = WEFT_OK;

    for (wf_node *n = c->peers.next; err == WEFT_OK && n != &c->peers; n = n->next)
        if (peer_of(n)->who == WHO_IDENTITY)
            err = row(arg, peer_of(n));
    return err;
}

void peer_sweep(struct controller *c, uint64_t now_mono, uint64_t now_wall)
{
    wf_node *n, *next;
    wf_why why;

    wf_quota_sweep(c->quotas, now_mono);
    for (n = c->peers.next; n != &c->peers; n = next) {
        struct peer *peer = peer_of(n);

        next = n->next;
        if ((peer->who & WHO_NODE) == 0) {
            if (now_mono - peer->since > ANONYMOUS_STAY_MS)
                wf_link_cut(peer->link, WEFT_ETIMEDOUT, "it stayed too long without enrolling");
        } else if (pki_trust_check_again(c->home.trust, &peer->subject, now_wall, &why) !=
                   WEFT_OK) {
            wf_link_cut(peer->link, WEFT_EEXPIRED, why.text);
        }
    }
}

void peer_close_all(struct controller *c)
{
    wf_node *n, *next;

    for (n = c->peers.next; n != &c->peers; n = next) {
        next = n->next;
        wf_link_close(peer_of(n)->link);
    }
}
