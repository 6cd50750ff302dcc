/*
 * The blocking face: an endpoint on a thread of its own.
 *
 * Happy path: a caller says under the lock what it wants, wakes the loop's
 * thread, and waits on the object's condition; the loop's thread does it and
 * says so. conn.c and server.c are the objects.
 *
 * - A wait times out: the caller takes back what it wanted.
 * - The client is closed: the loop's thread closes the endpoint, its loop runs
 *   out, the thread ends.
 */
#include "sdk/client.h"
#include <assert.h>
#include <stdlib.h>
#include <uv.h>

struct weft_client {
    pthread_t thread;
    pthread_mutex_t lock;
    wf_node wishes; /* struct wf_wish */
    bool closing;
    uv_async_t wake;
    weft_endpoint *endpoint; /* the loop's thread's; gone when the thread ends */
};

void wf_client_lock(weft_client *client)
{
    pthread_mutex_lock(&client->lock);
}

void wf_client_unlock(weft_client *client)
{
    pthread_mutex_unlock(&client->lock);
}

weft_endpoint *wf_client_endpoint(weft_client *client)
{
    return client->endpoint;
}

/* ---- waiting */

weft_err wf_client_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return WEFT_ENOMEM;
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int failed = pthread_cond_init(cond, &attr);
    (void)pthread_condattr_destroy(&attr);
    return failed == 0 ? WEFT_OK : WEFT_ENOMEM;
}

struct timespec wf_client_deadline(unsigned ms)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(ms / 1000u);
    t.tv_nsec += (long)(ms % 1000u) * 1000000L;
    if (t.tv_nsec >= 1000000000L) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000L;
    }
    return t;
}

bool wf_client_wait(weft_client *client, pthread_cond_t *changed, const struct timespec *deadline)
{
    if (deadline == NULL)
        return pthread_cond_wait(changed, &client->lock) == 0;
    return pthread_cond_timedwait(changed, &client->lock, deadline) == 0;
}

void wf_client_wish(weft_client *client, struct wf_wish *wish, unsigned todo)
{
    wish->todo |= todo;
    if (!wf_node_is_linked(&wish->node))
        wf_list_push(&client->wishes, &wish->node);
    (void)uv_async_send(&client->wake);
}

/* ---- the loop's thread: wishes */

static void on_endpoint_closed(void *arg)
{
    weft_client *client = arg;
    client->endpoint = NULL;
}

static void on_wake(uv_async_t *wake)
{
    weft_client *client = wf_container_of(wake, weft_client, wake);
    wf_client_lock(client);
    while (!wf_list_is_empty(&client->wishes)) {
        struct wf_wish *wish = wf_container_of(client->wishes.next, struct wf_wish, node);
        unsigned todo = wish->todo;
        wf_list_remove(&wish->node);
        wish->todo = 0;
        wish->grant(wish, todo);
    }
    bool closing = client->closing;
    wf_client_unlock(client);
    if (closing && !uv_is_closing((uv_handle_t *)wake)) {
        uv_close((uv_handle_t *)wake, NULL);
        weft_endpoint_close(client->endpoint, on_endpoint_closed, client);
    }
}

static void *run_loop(void *arg)
{
    weft_client *client = arg;
    (void)weft_endpoint_run(client->endpoint);
    return NULL;
}

/* ---- the caller's thread */

weft_err weft_client_open(const char *identity, weft_client **out, weft_why *why)
{
    weft_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return wf_fail(why, WEFT_ENOMEM, "no memory for a client");
    wf_list_init(&client->wishes);
    const struct weft_options options = {.identity = identity};
    weft_err err = weft_endpoint_open(&options, &client->endpoint, why);
    if (err != WEFT_OK)
        goto fail;
    if (pthread_mutex_init(&client->lock, NULL) != 0) {
        err = wf_fail(why, WEFT_ENOMEM, "no lock for a client");
        goto fail_endpoint;
    }
    if (uv_async_init(weft_endpoint_loop(client->endpoint), &client->wake, on_wake) != 0) {
        err = wf_fail(why, WEFT_ENOMEM, "no handle for a client");
        goto fail_lock;
    }
    if (pthread_create(&client->thread, NULL, run_loop, client) != 0) {
        err = wf_fail(why, WEFT_ENOMEM, "no thread for a client");
        goto fail_wake;
    }
    *out = client;
    return WEFT_OK;

fail_wake:
    uv_close((uv_handle_t *)&client->wake, NULL);
fail_lock:
    (void)pthread_mutex_destroy(&client->lock);
fail_endpoint:
    weft_endpoint_close(client->endpoint, NULL, NULL);
    (void)weft_endpoint_run(client->endpoint);
fail:
    free(client);
    return err;
}

void weft_client_close(weft_client *client)
{
    wf_client_lock(client);
    client->closing = true;
    (void)uv_async_send(&client->wake);
    wf_client_unlock(client);
    (void)pthread_join(client->thread, NULL);
    assert(wf_list_is_empty(&client->wishes)); /* connections and servers are closed before */
    (void)pthread_mutex_destroy(&client->lock);
    free(client);
}
