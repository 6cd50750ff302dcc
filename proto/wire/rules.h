/*
 * The bounds of each message: a rule looks at a decoded message and keeps the
 * first thing it refuses. Private to proto/wire; wf_*_decode apply them.
 */
#ifndef PROTO_WIRE_RULES_H
#define PROTO_WIRE_RULES_H

#include "proto/wire/control.h"

struct wf_check {
    weft_err err;        /* WEFT_OK until something is refused */
    wf_why *why;         /* borrowed, may be NULL */
    const char *message; /* static: the name of the one under the lens */
};

/* message is a decoded Weft__Wire__ struct of the rule's own type. */
typedef void (*wf_rule)(struct wf_check *c, const void *message);

#define WF_RULE_DECLARE(Name, snake, max)                                                          \
    void wf_rule_##snake(struct wf_check *c, const void *message);
WF_MESSAGE_MAP(WF_RULE_DECLARE)
#undef WF_RULE_DECLARE
void wf_rule_control(struct wf_check *c, const void *message);

#endif
