/* What an endpoint tells the controller of the machine it runs on. */
#ifndef SDK_POSTURE_H
#define SDK_POSTURE_H

#include "proto/wire/control.h"
#include "proto/wire/limits.h"

struct wf_posture {
    Weft__Wire__Posture message; /* points into the texts beside it */
    char os[WF_AGENT_MAX + 1], os_version[WF_AGENT_MAX + 1], arch[WF_AGENT_MAX + 1],
        agent[WF_AGENT_MAX + 1];
};

/* Fills it from uname(2); what can't be told stays empty. The struct must not move meanwhile. */
void wf_posture_fill(struct wf_posture *posture);

#endif
