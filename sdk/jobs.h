/*
 * Things to do soon: when the loop next turns, outside of any other call.
 * That is how callbacks never come from inside the call that asked for them.
 */
#ifndef SDK_JOBS_H
#define SDK_JOBS_H

#include "proto/base/list.h"
#include "sdk/timer.h"

struct wf_job {
    wf_node node;
    void (*run)(struct wf_job *job);
};

struct wf_jobs {
    wf_node list;    /* jobs are borrowed: a job lives until it ran or was canceled */
    wf_timer *timer; /* owned */
};

weft_err wf_jobs_init(struct wf_jobs *jobs, struct wf_timers *timers);
/* No job is left in it. */
void wf_jobs_fini(struct wf_jobs *jobs);
/* Runs job->run soon, once, however often it was asked for meanwhile. */
void wf_jobs_post(struct wf_jobs *jobs, struct wf_job *job);
void wf_job_cancel(struct wf_job *job); /* also if it isn't posted */

#endif
