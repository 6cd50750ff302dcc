/*
 * Notices: what connected nodes are told without having asked. What has to be
 * fetched is told in slices, some peers with each turn of the loop: a change
 * that concerns thousands neither stalls the loop nor brings them all at once.
 * What is withdrawn is never told here: floors go to all at once (peer.c).
 */
#ifndef CONTROLLER_NOTICE_H
#define CONTROLLER_NOTICE_H

#include "controller/peer.h"

#define NOTICES_PER_TURN 256u

/* This one, or all links of the identity, is to fetch its grants; told once, however often owed. */
void notice_owe_grants(struct peer *peer);
void notice_owe_grants_of(struct controller *c, const wf_id *identity);
/* The routers changed: routers hear it now, identities in their turn. */
void notice_members(struct controller *c);
/* Tells the next slice of those who are owed something. */
void notice_tell(struct controller *c);
bool notice_is_owed(const struct controller *c);
/* The peer goes. */
void notice_forget(struct peer *peer);

/* Who carries the session, or takes part in it, hears now that it is to end. */
void notice_cut_session(struct controller *c, const wf_id *session);
/* All routers get the newest checkpoint of the audit log. */
void notice_checkpoint(struct controller *c);

#endif
