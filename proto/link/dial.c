/*
 * The way to a TCP connection.
 *
 * Happy path: an address in digits is connected to at once; a name is
 * resolved on libuv's thread pool first, and the first address answers.
 *
 * - An address refuses or doesn't answer: its handle is closed and the next
 *   one is tried. Each gets its share of what is left of WF_CONNECT_MS.
 * - None is left, or the time is up: the link closes with the last reason.
 * - The link closes while the resolver works: the request is left to itself;
 *   it frees itself when it returns.
 */
#include "proto/link/internal.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TRIES_MAX 8u

struct resolving {
    uv_getaddrinfo_t request;
    wf_link *link; /* borrowed; NULL: nobody waits for it any more */
};

struct wf_dialing {
    struct resolving *resolving; /* borrowed: it frees itself */
    struct sockaddr_storage addresses[TRIES_MAX];
    size_t count, next;
    uint64_t end; /* of all tries */
};

void wf_dialing_free(wf_link *link)
{
    struct wf_dialing *dialing = link->dialing;
    if (dialing == NULL)
        return;
    if (dialing->resolving != NULL) {
        dialing->resolving->link = NULL;
        (void)uv_cancel((uv_req_t *)&dialing->resolving->request);
    }
    free(dialing);
    link->dialing = NULL;
}

static void on_connect(uv_connect_t *connect, int status)
{
    wf_link *link = wf_container_of(connect, wf_link, once.connect);

    if (link->state != LINK_CONNECTING)
        return; /* the close callback goes on */
    assert(link->dialing != NULL);
    if (status == UV_ECANCELED)
        return; /* overdue: the close callback tries the next */
    if (status < 0) {
        link->err = WEFT_EUNREACHABLE;
        (void)wf_fail(&link->why, link->err, "%s: %s", link->remote, uv_strerror(status));
        uv_close((uv_handle_t *)&link->tcp, wf_link_handle_closed);
        return;
    }
    link->err = WEFT_OK;
    link->why.text[0] = '\0';
    wf_link_connected(link);
}

/* One try; false if it failed at once, with the handle as fresh as before. */
static int try_one(wf_link *link, const struct sockaddr *address)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return uv_translate_sys_error(errno);
    int status = uv_tcp_open(&link->tcp, fd);
    if (status != 0) {
        close(fd);
        return status;
    }
    wf_net_tune(link->net, &link->tcp, false);
    status = uv_tcp_connect(&link->once.connect, &link->tcp, address, on_connect);
    return status;
}

/* Entered with a handle that is open but has no socket. */
void wf_dialing_next(wf_link *link)
{
    struct wf_dialing *dialing = link->dialing;
    uint64_t now = wf_net_now();

    if (dialing->next == dialing->count || now >= dialing->end) {
        if (link->err == WEFT_OK)
            link->err = WEFT_EUNREACHABLE;
        wf_link_finish(link);
        return;
    }
    uint64_t share = (dialing->end - now) / (dialing->count - dialing->next);
    const struct sockaddr *address = (const struct sockaddr *)&dialing->addresses[dialing->next++];
    int status = try_one(link, address);
    if (status == 0) {
        wf_link_set_deadline(link, now + share);
        return;
    }
    link->err = WEFT_EUNREACHABLE;
    (void)wf_fail(&link->why, link->err, "%s: %s", link->remote, uv_strerror(status));
    uv_close((uv_handle_t *)&link->tcp, wf_link_handle_closed); /* goes on in its callback */
}

void wf_dialing_overdue(wf_link *link, uint64_t now)
{
    struct wf_dialing *dialing = link->dialing;

    link->err = WEFT_ETIMEDOUT;
    if (dialing->resolving != NULL) {
        (void)wf_fail(&link->why, link->err, "%s: the name server didn't answer in %u s",
                      link->remote, link->net->times.connect_ms / 1000u);
        wf_link_finish(link);
        return;
    }
    (void)wf_fail(&link->why, link->err, "%s: no answer in %u s", link->remote,
                  link->net->times.connect_ms / 1000u);
    if (now >= dialing->end || dialing->next == dialing->count)
        wf_link_finish(link);
    else if (!uv_is_closing((const uv_handle_t *)&link->tcp))
        uv_close((uv_handle_t *)&link->tcp, wf_link_handle_closed);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct resolving *resolving = wf_container_of(request, struct resolving, request);
    wf_link *link = resolving->link;

    if (link != NULL) {
        struct wf_dialing *dialing = link->dialing;
        dialing->resolving = NULL;
        for (const struct addrinfo *a = list;
             status == 0 && a != NULL && dialing->count < TRIES_MAX; a = a->ai_next)
            if (a->ai_addrlen <= sizeof dialing->addresses[0])
                memcpy(&dialing->addresses[dialing->count++], a->ai_addr, a->ai_addrlen);
        if (dialing->count == 0) {
            link->err = WEFT_EUNREACHABLE;
            (void)wf_fail(&link->why, link->err, "%s: the name doesn't resolve: %s", link->remote,
                          status == 0 ? "no address" : uv_strerror(status));
        }
        wf_dialing_next(link);
    }
    uv_freeaddrinfo(list);
    free(resolving);
}

static weft_err resolve(wf_link *link, const wf_address *address)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    char port[8];

    struct resolving *resolving = calloc(1, sizeof *resolving);
    if (resolving == NULL)
        return WEFT_ENOMEM;
    resolving->link = link;
    (void)snprintf(port, sizeof port, "%u", (unsigned)address->port);
    int status = uv_getaddrinfo(link->net->loop, &resolving->request, on_resolved, address->host,
                                port, &hints);
    if (status != 0) {
        free(resolving);
        return status == UV_ENOMEM ? WEFT_ENOMEM : WEFT_EINVAL;
    }
    link->dialing->resolving = resolving;
    wf_link_set_deadline(link, link->dialing->end);
    return WEFT_OK;
}

weft_err wf_link_dial(wf_net *net, const wf_address *address, const struct wf_link_config *config,
                      wf_link **out)
{
    weft_err err = WEFT_OK;
    assert(config->handler != NULL && config->tls != NULL);

    wf_link *link = wf_link_new(net, config->alpn, config->tls, &err);
    if (link == NULL)
        return err;
    link->handler = config->handler;
    link->arg = config->arg;
    link->hello = config->hello;
    link->hello_arg = config->hello_arg;
    wf_address_text(address, link->remote);

    const struct pki_tls_config tls = {
        .side = PKI_CLIENT,
        .alpn = config->alpn,
        .kinds = config->kinds,
        .peer_id = config->peer_id,
        .peer_pins = config->peer_pins,
        .peer_pin_count = config->peer_pin_count,
        .output = wf_output_put,
        .arg = link,
    };
    err = pki_tls_new(config->tls, &tls, &link->tls);
    if (err != WEFT_OK)
        goto fail;
    link->dialing = calloc(1, sizeof *link->dialing);
    if (link->dialing == NULL) {
        err = WEFT_ENOMEM;
        goto fail;
    }
    struct wf_dialing *dialing = link->dialing;
    dialing->end = wf_net_now() + net->times.connect_ms;
    bool is_digits = wf_address_get_sockaddr(address, &dialing->addresses[0]);
    if (is_digits) {
        dialing->count = 1;
    } else {
        err = resolve(link, address);
        if (err != WEFT_OK)
            goto fail;
    }
    if (uv_tcp_init(net->loop, &link->tcp) != 0) { /* can't fail: no socket is made yet */
        err = WEFT_EIO;
        goto fail;
    }
    if (is_digits)
        wf_dialing_next(link);
    *out = link;
    return WEFT_OK;
fail:
    wf_alarm_cancel(&link->alarm);
    wf_link_free(link);
    return err;
}
