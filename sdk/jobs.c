/*
 * Jobs, in the order of posting, on one timer of zero milliseconds.
 *
 * - A job that posts others (or itself): they run in the next turn.
 * - A job that cancels others: they don't run, though they were due in this turn.
 */
#include "sdk/jobs.h"
#include <assert.h>

static void run_all(void *arg)
{
    struct wf_jobs *jobs = arg;
    wf_node due;
    if (wf_list_is_empty(&jobs->list))
        return;
    /* Take the whole ring over. */
    due.next = jobs->list.next;
    due.prev = jobs->list.prev;
    due.next->prev = due.prev->next = &due;
    wf_list_init(&jobs->list);
    while (!wf_list_is_empty(&due)) {
        struct wf_job *job = wf_container_of(due.next, struct wf_job, node);
        wf_list_remove(&job->node);
        job->run(job); /* may free it */
    }
}

weft_err wf_jobs_init(struct wf_jobs *jobs, struct wf_timers *timers)
{
    wf_list_init(&jobs->list);
    jobs->timer = wf_timer_new(timers, run_all, jobs);
    return jobs->timer != NULL ? WEFT_OK : WEFT_ENOMEM;
}

void wf_jobs_fini(struct wf_jobs *jobs)
{
    assert(wf_list_is_empty(&jobs->list));
    wf_timer_free(jobs->timer);
    jobs->timer = NULL;
}

void wf_jobs_post(struct wf_jobs *jobs, struct wf_job *job)
{
    if (wf_node_is_linked(&job->node))
        return;
    wf_list_push(&jobs->list, &job->node);
    if (!wf_timer_is_on(jobs->timer))
        wf_timer_start(jobs->timer, 0);
}

void wf_job_cancel(struct wf_job *job)
{
    wf_list_remove(&job->node);
}
