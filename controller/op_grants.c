/* Grants on demand for identities, membership for routers, and reports of sessions. */
#include "controller/follow.h"
#include "controller/issue.h"
#include "controller/node.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Room for the parts of a GrantsResult that come before the grants. */
#define MEMBERS_BUDGET (12u * 1024u)
#define FLOORS_BUDGET (12u * 1024u)
#define GRANT_ROOM                                                                                 \
    1536u                /* a grant takes at most this much, with the checkpoint behind the last   \
                          */
#define GRANTS_TEXT 240u /* of the names in an entry of the audit log */
#define CARRY_MAX_MS (30ull * 86400000ull)

static const char generic[] =
    "not permitted, or there is no such service; an administrator can ask: weft explain";

struct granting {
    struct call *call;
    struct policy_thing thing;
    struct policy_facts facts; /* hours and source are open: the grant carries them */
    uint64_t expiry, epoch;
    pki_pin pins[WF_PINS_MAX]; /* the caller's living keys, that of this link first */
    size_t pin_count;
    unsigned count;
    bool full;
};

/*
 * For the audit log: the first ones by name, and a digest over all: each one's
 * service id, role and expiry, chained from 32 zero bytes.
 */
static void note_grant(struct granting *g, const struct catalog_service *service,
                       enum policy_type type)
{
    struct call *call = g->call;
    uint8_t all[32 + WF_ID_LEN + 1 + 8];
    size_t len = strlen(call->what.text), name = strlen(service->name);

    memcpy(all, call->noted_digest, 32);
    memcpy(all + 32, service->thing.id.b, WF_ID_LEN);
    all[32 + WF_ID_LEN] = (uint8_t)type;
    for (size_t i = 0; i < 8; i++)
        all[33 + WF_ID_LEN + i] = (uint8_t)(g->expiry >> (56 - 8 * i));
    pki_sha256(all, sizeof all, call->noted_digest);
    call->noted_count++;
    if (len + name + 8 < GRANTS_TEXT)
        snprintf(call->what.text + len, sizeof call->what.text - len, "%s%s %s",
                 len > 0 ? ", " : "", type == POLICY_BIND ? "bind" : "dial", service->name);
}

static weft_err grant_one(struct granting *g, const struct catalog_service *service,
                          enum policy_type type, const struct catalog_rule *rule)
{
    struct call *call = g->call;
    const struct home *home = &call->c->home;
    struct pki_terms terms;
    struct issue_grant grant = {
        .service = service->thing.id,
        .service_name = service->name,
        .role = type,
        .subject = call->subject,
        .pins = g->pins,
        .pin_count = g->pin_count,
        .not_before = call->now,
        .expiry = g->expiry,
        .epoch = g->epoch,
        .terms = &terms,
    };
    struct store_issued issued = {
        .identity = call->subject->id,
        .service = service->thing.id,
        .role = type,
        .rule = rule->rule.id,
        .expiry = g->expiry,
    };
    wf_buf record;
    weft_err err;

    if (g->count == WF_GRANTS_PREFETCH || call->result.len + GRANT_ROOM > call->result.max) {
        g->full = true;
        return WEFT_OK;
    }
    conditions_terms(&rule->conditions, &terms);
    terms.sessions = (uint32_t)service->limits.sessions;
    terms.sessions_per_identity = (uint32_t)service->limits.sessions_per_identity;
    terms.idle_ms = service->limits.idle_ms;
    terms.age_ms = service->limits.age_ms;
    memcpy(issued.terms, rule->digest, sizeof issued.terms);
    wf_buf_init(&record, WF_SIGNED_MAX);
    err = issue_grant(home, &grant, &record);
    if (err == WEFT_OK)
        err = call_put_field(&call->result, 1, wf_span_of(record.data, record.len));
    if (err == WEFT_OK)
        err = store_issued_put(home->store, &issued);
    wf_buf_fini(&record);
    if (err == WEFT_OK) {
        note_grant(g, service, type);
        g->count++;
        if (type == POLICY_DIAL)
            call->c->counters.grants_dial++;
        else
            call->c->counters.grants_bind++;
    }
    return err;
}

/* Both roles that policy allows; *any says whether there was one. */
static weft_err grant_service(struct granting *g, const struct catalog_mine *mine,
                              const struct catalog_service *service, bool *any)
{
    weft_err err = WEFT_OK;

    *any = false;
    for (enum policy_type type = POLICY_DIAL; err == WEFT_OK && type <= POLICY_BIND; type++) {
        const struct catalog_rule *rule = catalog_mine_allows(mine, service, type);

        if (rule != NULL) {
            *any = true;
            err = grant_one(g, service, type, rule);
        }
    }
    return err;
}

/* One answer for unknown and forbidden; which of them it was goes to the log. */
static void explain_to_log(struct granting *g, const char *name,
                           const struct catalog_service *service)
{
    wf_why *why = &g->call->logged;
    struct policy_decision decision;

    if (why->text[0] != '\0')
        return;
    if (service == NULL) {
        wf_fail(why, WEFT_EREFUSED, "there is no service '%s'", name);
        return;
    }
    decision = catalog_decide(&g->call->c->catalog, &g->thing, service, POLICY_DIAL, &g->facts);
    wf_fail(why, WEFT_EREFUSED, "no policy lets it dial or bind '%s'%s%s", name,
            decision.rule != NULL ? "; nearest: " : "",
            decision.rule != NULL ? decision.rule->name : "");
}

static weft_err grant_named(struct granting *g, const struct catalog_mine *mine,
                            const Weft__Wire__GrantsCall *ask, bool *refused)
{
    const struct catalog *catalog = &g->call->c->catalog;
    weft_err err = WEFT_OK;

    for (size_t i = 0; err == WEFT_OK && i < ask->n_services; i++) {
        const struct catalog_service *service = catalog_find(catalog, ask->services[i]);
        bool any = false;

        if (service != NULL)
            err = grant_service(g, mine, service, &any);
        if (err == WEFT_OK && !any) {
            *refused = true;
            explain_to_log(g, ask->services[i], service);
        }
    }
    return err;
}

static weft_err grant_all(struct granting *g, const struct catalog_mine *mine)
{
    const struct catalog *catalog = &g->call->c->catalog;
    weft_err err = WEFT_OK;
    bool any;

    for (size_t i = 0; err == WEFT_OK && i < catalog->service_count && !g->full; i++)
        err = grant_service(g, mine, catalog->services[i], &any);
    return err;
}

static weft_err put_refusal(struct call *call)
{
    uint8_t code[] = {5u << 3, WEFT_EREFUSED}; /* refused_code, a varint */
    weft_err err = wf_buf_put(&call->result, code, sizeof code);

    _Static_assert(WEFT_EREFUSED < 128, "one byte");
    call->c->counters.refusals[WEFT_EREFUSED]++;
    return err == WEFT_OK
               ? call_put_field(&call->result, 6, wf_span_of(generic, sizeof generic - 1))
               : err;
}

static void take_text(const char *from, char to[CONDITION_FACT_TEXT])
{
    snprintf(to, CONDITION_FACT_TEXT, "%s", from);
}

/* Who tells nothing meets no condition on it. */
static void take_posture(const Weft__Wire__Posture *from, struct policy_facts *to)
{
    to->knows_posture = true;
    if (from == NULL)
        return;
    take_text(from->os, to->posture.os);
    take_text(from->os_version, to->posture.os_version);
    take_text(from->arch, to->posture.arch);
    take_text(from->agent, to->posture.agent);
}

weft_err op_grants(struct call *call)
{
    struct controller *c = call->c;
    struct granting g = {.call = call};
    struct catalog_mine mine = {.rules = NULL};
    Weft__Wire__GrantsCall *ask = NULL;
    struct store_node node;
    bool refused = false, lives = false;
    uint64_t life;
    weft_err err =
        wf_grants_call_decode(call->arguments.data, call->arguments.len, &ask, &call->why);

    if (err != WEFT_OK)
        return err;
    assert(call->subject != NULL && call->subject->kind == PKI_IDENTITY);
    err = store_node_get(c->home.store, PKI_IDENTITY, &call->subject->id, &node);
    if (err == WEFT_OK)
        err = catalog_load(&c->catalog, c->home.store);
    if (err != WEFT_OK)
        goto out;
    err = node_key_lives(c->home.store, &node, &call->subject->pin, &lives);
    if (err == WEFT_OK)
        err = node_pins(c->home.store, &node.id, &call->subject->pin, call->now, g.pins,
                        &g.pin_count);
    if (err != WEFT_OK)
        goto out;
    if (!lives) {
        err = wf_fail(&call->why, WEFT_EREVOKED,
                      "another key took this one's place; enroll again with a new token");
        goto out;
    }
    life = ask->carry == 0 ? WF_GRANT_LIFE_MS : ask->carry;
    if (life > CARRY_MAX_MS)
        life = CARRY_MAX_MS;
    g.expiry = call->now + life;
    if (g.expiry > call->subject->not_after)
        g.expiry = call->subject->not_after;
    g.epoch = store_next_epoch(c->home.store, call->now);
    g.thing = catalog_thing(&node);
    take_posture(ask->posture, &g.facts);

    err = call_put_members(call, 2, MEMBERS_BUDGET);
    if (err == WEFT_OK)
        err = call_put_floors(call, 3, call->floors_version, FLOORS_BUDGET);
    if (err == WEFT_OK)
        err = catalog_mine(&c->catalog, &g.thing, &g.facts, &mine);
    if (err == WEFT_OK)
        err = ask->n_services > 0 ? grant_named(&g, &mine, ask, &refused) : grant_all(&g, &mine);
    if (err == WEFT_OK && refused)
        err = put_refusal(call);
    if (err == WEFT_OK && c->home.log->newest.len > 0)
        err = call_put_field(&call->result, 7,
                             wf_span_of(c->home.log->newest.data, c->home.log->newest.len));
    if (err == WEFT_OK)
        err = follow_granted(&c->home, &node.id);
out:
    catalog_mine_free(&mine);
    wf_grants_call_free(ask);
    return err;
}

weft_err op_sync(struct call *call)
{
    struct controller *c = call->c;
    const struct member *own;
    weft_err err;

    if (call->arguments.len != 0)
        return wf_fail(&call->why, WEFT_EPROTO, "sync takes no arguments");
    assert(call->subject != NULL && call->subject->kind == PKI_ROUTER);
    err = members_load(&c->members, c->home.store);
    if (err != WEFT_OK)
        return err;
    own = members_get(&c->members, &call->subject->id);
    if (own != NULL)
        err = call_put_field(&call->result, 1, wf_span_of(own->record.data, own->record.len));
    if (err == WEFT_OK)
        err = call_put_members(call, 2, 32 * 1024);
    if (err == WEFT_OK)
        err = call_put_floors(call, 3, call->floors_version, 24 * 1024);
    if (err == WEFT_OK && c->home.log->newest.len > 0)
        err = call_put_field(&call->result, 7,
                             wf_span_of(c->home.log->newest.data, c->home.log->newest.len));
    return err;
}

weft_err op_sessions(struct call *call)
{
    Weft__Wire__SessionReport *report = NULL;
    weft_err err =
        wf_session_report_decode(call->arguments.data, call->arguments.len, &report, &call->why);

    if (err != WEFT_OK)
        return err;
    err = sessions_report(&call->c->sessions, call->subject, report);
    wf_session_report_free(report);
    return err;
}
