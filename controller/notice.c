#include "controller/notice.h"
#include "controller/operation.h"

static struct peer *peer_of(wf_node *n)
{
    return wf_container_of(n, struct peer, node);
}

/* The newest checkpoint, decoded for a message; NULL: none. The caller's. */
static Weft__Wire__Signed *newest_checkpoint(const struct controller *c)
{
    const wf_buf *newest = &c->home.log->newest;
    Weft__Wire__Signed *record = NULL;

    if (newest->len > 0)
        (void)wf_signed_decode(newest->data, newest->len, &record, NULL);
    return record;
}

static void send_notice(struct peer *peer, bool grants, bool members, const wf_id *session,
                        Weft__Wire__Signed *checkpoint)
{
    Weft__Wire__Control control;
    Weft__Wire__Notice notice;
    ProtobufCBinaryData id;

    weft__wire__control__init(&control);
    weft__wire__notice__init(&notice);
    control.of_case = WEFT__WIRE__CONTROL__OF_NOTICE;
    control.notice = &notice;
    notice.grants = grants;
    notice.members = members;
    if (session != NULL) {
        id = wf_pb_id(session);
        notice.n_cut_sessions = 1;
        notice.cut_sessions = &id;
    }
    notice.checkpoint = checkpoint;
    (void)wf_link_send_control(peer->link, &control);
}

/* ---- in slices */

static void owe(struct peer *peer)
{
    if (!wf_node_is_linked(&peer->owed))
        wf_list_push(&peer->c->owed, &peer->owed);
}

void notice_owe_grants(struct peer *peer)
{
    peer->is_owed_grants = true;
    owe(peer);
}

void notice_owe_grants_of(struct controller *c, const wf_id *identity)
{
    for (wf_node *n = c->peers.next; n != &c->peers; n = n->next) {
        struct peer *peer = peer_of(n);

        if (peer->who == WHO_IDENTITY && wf_id_equal(&peer->subject.id, identity))
            notice_owe_grants(peer);
    }
}

void notice_members(struct controller *c)
{
    Weft__Wire__Signed *checkpoint = newest_checkpoint(c);

    for (wf_node *n = c->peers.next; n != &c->peers; n = n->next) {
        struct peer *peer = peer_of(n);

        if (peer->who == WHO_ROUTER) {
            send_notice(peer, false, true, NULL, checkpoint);
        } else if (peer->who == WHO_IDENTITY) {
            peer->is_owed_members = true;
            owe(peer);
        }
    }
    wf_signed_free(checkpoint);
}

void notice_tell(struct controller *c)
{
    Weft__Wire__Signed *checkpoint;

    if (wf_list_is_empty(&c->owed))
        return;
    checkpoint = newest_checkpoint(c);
    for (unsigned told = 0; told < NOTICES_PER_TURN && !wf_list_is_empty(&c->owed); told++) {
        struct peer *peer = wf_container_of(c->owed.next, struct peer, owed);
        bool grants = peer->is_owed_grants, members = peer->is_owed_members;

        notice_forget(peer);
        send_notice(peer, grants, members, NULL, checkpoint);
    }
    wf_signed_free(checkpoint);
}

bool notice_is_owed(const struct controller *c)
{
    return !wf_list_is_empty(&c->owed);
}

void notice_forget(struct peer *peer)
{
    wf_list_remove(&peer->owed);
    peer->is_owed_grants = peer->is_owed_members = false;
}

/* ---- at once */

void notice_cut_session(struct controller *c, const wf_id *id)
{
    Weft__Wire__Signed *checkpoint = newest_checkpoint(c);

    for (wf_node *n = c->peers.next; n != &c->peers; n = n->next) {
        struct peer *peer = peer_of(n);
        bool concerned = false;

        for (size_t i = 0; i < c->sessions.count && (peer->who & WHO_NODE) != 0; i++) {
            const struct session *s = &c->sessions.items[i];

            if (wf_id_equal(&s->id, id))
                concerned = concerned || wf_id_equal(&s->reporter, &peer->subject.id) ||
                            wf_id_equal(&s->dialer, &peer->subject.id) ||
                            wf_id_equal(&s->host, &peer->subject.id);
        }
        if (concerned)
            send_notice(peer, false, false, id, checkpoint);
    }
    wf_signed_free(checkpoint);
}

void notice_checkpoint(struct controller *c)
{
    Weft__Wire__Signed *checkpoint = newest_checkpoint(c);

    for (wf_node *n = c->peers.next; n != &c->peers; n = n->next)
        if (peer_of(n)->who == WHO_ROUTER)
            send_notice(peer_of(n), false, false, NULL, checkpoint);
    wf_signed_free(checkpoint);
}
