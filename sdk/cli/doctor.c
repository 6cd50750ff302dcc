/* weft doctor: looks at what usually goes wrong, one line each, and says what to mend. */
#include "pki/identity.h"
#include "proto/base/clock.h"
#include "sdk/cli/cli.h"
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_MS 3000

struct report {
    unsigned bad;
};

static void good(const char *what, const char *detail)
{
    printf("ok    %s: %s\n", what, detail);
}

static void note(const char *what, const char *detail)
{
    printf("note  %s: %s\n", what, detail);
}

static void bad(struct report *r, const char *what, const char *detail, const char *remedy)
{
    r->bad++;
    printf("BAD   %s: %s\n      %s\n", what, detail, remedy);
}

static int connect_in_time(const struct addrinfo *a)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), err = 0;
    socklen_t len = sizeof err;
    if (fd < 0)
        return errno;
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        err = errno;
        if (err == EINPROGRESS)
            err = poll(&p, 1, CONNECT_MS) != 1                            ? ETIMEDOUT
                  : getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 ? errno
                                                                          : err;
    }
    close(fd);
    return err;
}

static void check_address(struct report *r, const char *what, const char *address_text)
{
    wf_address address;
    char label[WF_ADDRESS_TEXT + 32], port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (wf_address_parse(address_text, 0, &address, NULL) != WEFT_OK)
        return;
    snprintf(label, sizeof label, "%s %s", what, address_text);
    snprintf(port, sizeof port, "%u", address.port);
    int rc = getaddrinfo(address.host, port, &hints, &found);
    if (rc != 0) {
        bad(r, label, gai_strerror(rc), "the name does not resolve here: check DNS");
        return;
    }
    int err = ECONNREFUSED;
    for (const struct addrinfo *a = found; a != NULL && err != 0; a = a->ai_next)
        err = connect_in_time(a);
    freeaddrinfo(found);
    if (err == 0)
        good(label, "reachable");
    else
        bad(r, label, strerror(err),
            err == ECONNREFUSED
                ? "nothing listens there: is it running?"
                : "outbound TCP does not get through: ask for this port to be opened "
                  "outbound (nothing needs to be opened inbound)");
}

static void check_proxy(void)
{
    static const char *const names[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i]) != NULL)
            printf("note  proxy: %s is set; Weft dials directly and does not use it\n", names[i]);
}

/*
 * Whether the controller's certificate looks out of date, too, which it renews by itself: then this
 * clock is the likelier reason. With our own expired, the renewal's failure says so.
 */
static bool clock_is_doubted(const struct weft_status *s, const wf_why *failure)
{
    return s->controller == WEFT_ECLOCK || s->controller == WEFT_EEXPIRED ||
           strstr(failure->text, "the certificate of controller expired") != NULL;
}

/* Returns whether the clock is wrong, which spoils whatever is looked at next. */
static bool check_certificate(struct report *r, const struct pki_identity *id,
                              const struct weft_status *s, const wf_why *failure)
{
    char text[96];
    uint64_t from, to, now = wf_now_wall_ms();
    pki_chain_validity(id->chain, &from, &to);
    if (now + WF_CLOCK_TOLERANCE_MS < from) {
        bad(r, "clock", "the certificate is not valid yet",
            "this machine's clock is behind: set it");
        return true;
    }
    if (clock_is_doubted(s, failure)) {
        bad(r, "clock",
            now > to ? "this identity's certificate and the controller's look expired, both"
                     : "the controller's certificate is not valid at this time",
            "is this machine's clock right?");
        return true;
    }
    if (now > to) {
        bad(r, "certificate", "expired", "weft renew (possible for 30 days after the end)");
    } else {
        puts("ok    clock");
        snprintf(text, sizeof text, "%llu days left", (unsigned long long)((to - now) / 86400000u));
        good("certificate", text);
    }
    return false;
}

/* What to mend when a node answers so; fallback when the error alone doesn't say. */
static const char *remedy_of(weft_err err, bool is_router, const char *fallback)
{
    if (err == WEFT_ECREDENTIAL && is_router)
        return "another node answers there: compare what it advertises (weft router show NAME)";
    if (err == WEFT_EREVOKED)
        return "an administrator runs: weft identity enable NAME";
    return fallback;
}

/* The sentence of an error as it stands for this identity. */
static const char *said(weft_err err, const char *name, char out[160])
{
    if (err != WEFT_EREVOKED)
        return weft_err_sentence(err);
    snprintf(out, 160, "%s was disabled, or its key revoked: an administrator can enable it", name);
    return out;
}

static void check_status(struct report *r, const struct weft_status *s, bool is_administrator)
{
    char label[512], text[160];
    if (s->controller == WEFT_OK)
        good("controller", "answers with the right certificate");
    else
        bad(r, "controller", said(s->controller, s->name, text),
            remedy_of(s->controller, false,
                      "sessions and cached grants go on without it; enrolling and administration "
                      "wait for it"));
    if (s->router_count == 0)
        bad(r, "routers", "none known",
            "weft router create NAME on the controller, then enroll one");
    for (size_t i = 0; i < s->router_count; i++) {
        snprintf(label, sizeof label, "router %s", s->routers[i].name);
        if (s->routers[i].err == WEFT_OK)
            good(label, "answers with the right certificate");
        else
            bad(r, label, said(s->routers[i].err, s->name, text),
                remedy_of(s->routers[i].err, true, "is it running, and its port open?"));
        check_address(r, "router", s->routers[i].address);
    }
    snprintf(label, sizeof label, "%zu to dial, %zu to bind", s->dial_count, s->bind_count);
    if (s->dial_count + s->bind_count != 0)
        good("grants", label);
    else if (is_administrator)
        note("grants", "none, which an administrator needs none of");
    else
        bad(r, "grants", "none", "an administrator allows: weft allow NAME dial SERVICE");
}

weft_err cli_doctor(const struct wf_call_line *line, wf_why *why)
{
    struct report report = {0};
    struct pki_identity id;
    struct weft_status *status = calloc(1, sizeof *status);
    char *where = NULL, address[WF_ADDRESS_TEXT];
    wf_why detail = {""};
    pki_identity_init(&id);
    weft_err err = status != NULL ? cli_identity(line, true, &where, why) : WEFT_ENOMEM;
    if (err != WEFT_OK)
        goto done;
    check_proxy();
    err = where[0] == '{' ? pki_identity_parse(wf_span_of(where, strlen(where)), &id, &detail)
                          : pki_identity_load(where, &id, &detail);
    if (err != WEFT_OK) {
        err = wf_fail(why, err, "%s", detail.text);
        goto done;
    }
    good("identity", id.name);
    err = weft_status_get(where, 10000, 0, status, &detail);
    bool clock_is_wrong = check_certificate(&report, &id, status, &detail);
    for (size_t i = 0; i < id.controller_count; i++)
        check_address(&report, "controller", wf_address_text(&id.controllers[i], address));
    if (err == WEFT_OK)
        check_status(&report, status, wf_line_text(line, "identity") == NULL);
    else if (!clock_is_wrong)
        bad(&report, "fabric", detail.text, "mend this first");
    puts("services are tried by: weft status");
    err = report.bad == 0 ? WEFT_OK : wf_fail(why, WEFT_EIO, "%u of the checks failed", report.bad);
done:
    pki_identity_fini(&id);
    free(where);
    free(status);
    return err;
}
