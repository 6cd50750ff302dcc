/*
 * Whether a session may go on: what both endpoints hold to by themselves while
 * it lives. docs/security.md, "Policy", says who holds to what.
 *
 * Happy path: the session opens; the house looks again every WF_HOUSE_MS, when
 * floors change, and when a rule of the two grants is due (wf_stream_due).
 *
 * - Our own credential was revoked: over with WEFT_EREVOKED.
 * - Our permission or the other side's was withdrawn, the other side's
 *   credential was revoked, or the hours of either grant are over, or the
 *   session has its greatest age: WEFT_EREFUSED.
 * - No byte of data for too long: WEFT_ETIMEDOUT.
 *
 * The other side is told by RESET what it is for itself.
 */
#include "proto/base/clock.h"
#include "sdk/stream.h"
#include <assert.h>
#include <stdio.h>

#define CLOSE_NOTIFY_MS 30000u

static bool is_over(const weft_stream *s)
{
    return s->session == NULL || wf_session_state(s->session) == WF_SESSION_OVER;
}

void wf_stream_use_grant(weft_stream *s, const struct pki_grant *grant)
{
    s->grant_expiry = grant->expiry;
    s->grant_epoch = grant->epoch;
    s->terms = grant->terms;
}

/* Whether we may still be here: WEFT_EREVOKED, or WEFT_EREFUSED if only this was taken. */
static weft_err own_stands(const weft_stream *s, uint64_t now, wf_why *why)
{
    const weft_endpoint *e = s->endpoint;
    const struct pki_grant *theirs = wf_session_grant(s->session);
    const char *does = s->host ? "host" : "dial";
    if (pki_trust_check_again(e->trust, &e->self, now, why) == WEFT_EREVOKED)
        return wf_wrap(why, WEFT_EREVOKED, "cut");
    uint64_t floor =
        pki_floors_for_grant(pki_trust_floors(e->trust), &e->self.id, &theirs->service,
                             s->host ? WEFT__WIRE__ROLE__ROLE_BIND : WEFT__WIRE__ROLE__ROLE_DIAL);
    if (s->grant_epoch < floor)
        return wf_fail(why, WEFT_EREFUSED, "cut: the permission to %s %s was withdrawn", does,
                       theirs->service_name);
    weft_err err = pki_terms_check_window(&s->terms, now, why);
    if (err != WEFT_OK)
        return wf_wrap(why, err, "%s may not %s %s now", e->identity.name,
                       s->host ? "bind" : "dial", theirs->service_name);
    return WEFT_OK;
}

/*
 * Why an open session really ended. Whichever word of it comes first (the
 * circuit's code is nobody's signed word, a reset is the other side's), what
 * we know ourselves decides, so that the answer is always the same.
 */
weft_err wf_stream_settle(const weft_stream *s, weft_err err, wf_why *why)
{
    uint64_t now = wf_now_wall_ms();
    wf_why own = {.text = ""};
    weft_err told;
    if (err != WEFT_ELOST && err != WEFT_ERESET && err != WEFT_EREVOKED && err != WEFT_EREFUSED)
        return err;
    weft_err known = own_stands(s, now, &own);
    if (known == WEFT_OK && wf_session_stands(s->session, now, &told, &own) == WEFT_EREFUSED)
        known = WEFT_EREFUSED;
    return known != WEFT_OK ? wf_fail(why, known, "%s", own.text) : err;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Of two limits; 0 is none. */
static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* What both grants say of the session's length; the smaller counts. */
static void check_limits(weft_stream *s, uint64_t mono)
{
    char text[96];
    const struct pki_terms *theirs = &wf_session_grant(s->session)->terms;
    uint64_t age = smaller(s->terms.age_ms, theirs->age_ms);
    uint64_t idle = smaller(s->terms.idle_ms, theirs->idle_ms);
    if (s->idle_ms == 0 && idle != 0)
        s->active = mono; /* nobody has kept it so far */
    s->idle_ms = idle;
    if (age != 0 && mono - s->started >= age) {
        (void)snprintf(text, sizeof text, "the session has its greatest age: %.3f s, by policy",
                       (double)age / 1000.0);
        wf_session_cut(s->session, WEFT_EREFUSED, text, WEFT_EREFUSED, text);
    } else if (idle != 0 && mono - s->active >= idle) {
        (void)snprintf(text, sizeof text, "the session was idle for %.3f s, no longer by policy",
                       (double)idle / 1000.0);
        wf_session_cut(s->session, WEFT_ETIMEDOUT, text, WEFT_ETIMEDOUT, text);
    }
}

/* It is open from now on: its limits count. */
void wf_stream_begin(weft_stream *s)
{
    uint64_t mono = wf_now_mono_ms();
    s->started = s->active = mono;
    s->idle_ms = smaller(s->terms.idle_ms, wf_session_grant(s->session)->terms.idle_ms);
    wf_house_by(s->endpoint, wf_stream_due(s, wf_now_wall_ms(), mono));
}

/* A byte of data, either way. */
void wf_stream_note_active(weft_stream *s)
{
    if (s->idle_ms != 0)
        s->active = wf_now_mono_ms();
}

/* What the host counts as a session of the service: accepted, or about to be. */
static bool is_live(const weft_stream *s)
{
    return s->host && s->session != NULL && s->state >= WF_STREAM_DECISION &&
           s->state <= WF_STREAM_ENDING && !is_over(s);
}

weft_err wf_stream_check_room(const weft_stream *s, wf_why *why)
{
    const struct pki_grant *theirs = wf_session_grant(s->session);
    uint64_t most = smaller(s->terms.sessions, theirs->terms.sessions);
    uint64_t most_each =
        smaller(s->terms.sessions_per_identity, theirs->terms.sessions_per_identity);
    uint64_t all = 0, of_it = 0;
    if (most == 0 && most_each == 0)
        return WEFT_OK;
    for (wf_node *n = s->endpoint->streams.next; n != &s->endpoint->streams; n = n->next) {
        const weft_stream *other = wf_container_of(n, weft_stream, node);
        if (other == s || !is_live(other))
            continue;
        const struct pki_grant *has = wf_session_grant(other->session);
        if (!wf_id_equal(&has->service, &theirs->service))
            continue;
        all++;
        of_it += wf_id_equal(&has->subject, &theirs->subject);
    }
    if (most_each != 0 && of_it >= most_each)
        return wf_fail(why, WEFT_EBUSY,
                       "%s has %llu sessions of %s here, as many as policy allows one identity",
                       wf_session_peer(s->session)->name, (unsigned long long)of_it,
                       theirs->service_name);
    if (most != 0 && all >= most)
        return wf_fail(why, WEFT_EBUSY, "%s has %llu sessions here, as many as policy allows",
                       theirs->service_name, (unsigned long long)all);
    return WEFT_OK;
}

void wf_stream_look(weft_stream *s, uint64_t now, uint64_t mono)
{
    if (s->session == NULL || is_over(s))
        return;
    if (wf_session_state(s->session) == WF_SESSION_CLOSING) {
        if (s->closing_since == 0)
            s->closing_since = mono;
        else if (mono - s->closing_since > CLOSE_NOTIFY_MS)
            wf_session_lost(s->session, WEFT_ETIMEDOUT, "the other side did not take its leave");
        return;
    }
    if (s->state == WF_STREAM_OPEN) {
        /* Ourselves first: then the other side hears of it from us, before it can guess. */
        wf_why why = {.text = ""};
        weft_err err = own_stands(s, now, &why);
        if (err != WEFT_OK) {
            wf_session_cut(s->session, err, why.text, WEFT_EREFUSED,
                           err == WEFT_EREVOKED
                               ? "cut: the other side was disabled or its key revoked"
                               : why.text);
            return;
        }
    }
    wf_session_check(s->session, now, s->endpoint->controller.is_up ? 0 : WF_SESSION_GRACE_MS);
    if (is_over(s) || wf_session_state(s->session) != WF_SESSION_OPEN)
        return;
    const struct wf_grant *own =
        wf_grants_find_id(&s->endpoint->grants, &wf_session_grant(s->session)->service,
                          s->host ? WEFT__WIRE__ROLE__ROLE_BIND : WEFT__WIRE__ROLE__ROLE_DIAL, now);
    if (own != NULL && own->grant.expiry > s->grant_expiry &&
        wf_session_send_grant(s->session, own->record) == WEFT_OK)
        wf_stream_use_grant(s, &own->grant);
    if (!is_over(s) && s->state == WF_STREAM_OPEN)
        check_limits(s, mono);
}

uint64_t wf_stream_due(const weft_stream *s, uint64_t now, uint64_t mono)
{
    if (s->state != WF_STREAM_OPEN || is_over(s) || wf_session_state(s->session) != WF_SESSION_OPEN)
        return UINT64_MAX;
    const struct pki_terms *theirs = &wf_session_grant(s->session)->terms;
    uint64_t due = UINT64_MAX, age = smaller(s->terms.age_ms, theirs->age_ms);
    uint64_t closes[] = {pki_terms_closes(&s->terms, now), pki_terms_closes(theirs, now)};
    for (size_t i = 0; i < 2; i++)
        if (closes[i] != UINT64_MAX)
            due = earlier(due, mono + (closes[i] > now ? closes[i] - now : 0));
    if (age != 0)
        due = earlier(due, s->started + age);
    if (s->idle_ms != 0)
        due = earlier(due, s->active + s->idle_ms);
    return due;
}
