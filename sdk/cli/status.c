#include "sdk/cli/cli.h"
#include <stdio.h>
#include <stdlib.h>

const struct wf_option cli_status_options[] = {
    CLI_JSON_ROW,
    {"timeout", WF_OPTION_TEXT, "TIME", "for all probes together (10s)"},
    {NULL, WF_OPTION_FLAG, NULL, NULL},
};

static const char *word(weft_err err)
{
    return err == WEFT_OK ? "ok" : weft_err_sentence(err);
}

static void print_words(const struct weft_status *s)
{
    printf("identity     %s (%s) of %s\n", s->name, s->id, s->domain);
    printf("certificate  %lld days left\n", (long long)s->certificate_days_left);
    printf("controller   %s  %s", s->controller_address, word(s->controller));
    printf(s->controller == WEFT_OK ? "  %.1f ms\n" : "\n", s->controller_rtt_ms);
    for (size_t i = 0; i < s->router_count; i++) {
        const struct weft_status_router *r = &s->routers[i];
        printf("router       %s %s  %s", r->name, r->address, word(r->err));
        printf(r->err == WEFT_OK ? "  %.1f ms\n" : "\n", r->rtt_ms);
    }
    if (s->router_count == 0)
        printf("router       none known\n");
    printf("grants       %zu dial, %zu bind", s->dial_count, s->bind_count);
    if (s->grants_hours_left >= 0)
        printf(", the first ends in %lld h", (long long)s->grants_hours_left);
    putchar('\n');
    for (size_t i = 0; i < 16 && s->services[i][0] != 0; i++)
        printf("service      %s  %s\n", s->services[i], word(s->services_dial[i]));
}

/* Three digits behind the point are more than a probe can tell; the rest would be noise. */
static double rounded(double ms)
{
    return (double)(long long)(ms * 1000 + 0.5) / 1000;
}

static json_t *to_json(const struct weft_status *s)
{
    json_t *routers = json_array(), *services = json_array();
    for (size_t i = 0; i < s->router_count; i++)
        json_array_append_new(routers, json_pack("{s:s, s:s, s:s, s:f}", "name", s->routers[i].name,
                                                 "address", s->routers[i].address, "state",
                                                 weft_err_name(s->routers[i].err), "rtt_ms",
                                                 rounded(s->routers[i].rtt_ms)));
    for (size_t i = 0; i < 16 && s->services[i][0] != 0; i++)
        json_array_append_new(services, json_pack("{s:s, s:s}", "name", s->services[i], "dial",
                                                  weft_err_name(s->services_dial[i])));
    return json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:f, s:o, s:i, s:i, s:I, s:o}", "name",
                     s->name, "id", s->id, "domain", s->domain, "certificate_days_left",
                     (json_int_t)s->certificate_days_left, "controller",
                     weft_err_name(s->controller), "controller_address", s->controller_address,
                     "controller_rtt_ms", s->controller_rtt_ms, "routers", routers, "dial_grants",
                     (int)s->dial_count, "bind_grants", (int)s->bind_count, "grants_hours_left",
                     (json_int_t)s->grants_hours_left, "services", services);
}

/* Healthy enough to dial: a router answers, and no service that was probed is broken. */
static weft_err verdict(const struct weft_status *s, wf_why *why)
{
    size_t up = 0;
    for (size_t i = 0; i < s->router_count; i++)
        up += s->routers[i].err == WEFT_OK;
    if (s->certificate_days_left < 0)
        return wf_fail(why, WEFT_EEXPIRED, "the certificate has expired: weft renew");
    for (size_t i = 0; up == 0 && i < s->router_count; i++)
        if (s->routers[i].err == WEFT_EREVOKED)
            return wf_fail(why, WEFT_EREVOKED,
                           "%s was disabled, or its key revoked: an "
                           "administrator can enable it",
                           s->name);
    if (up == 0)
        return wf_fail(why, WEFT_EUNREACHABLE,
                       "no router answers: weft doctor looks for the reason");
    for (size_t i = 0; i < 16 && s->services[i][0] != 0; i++)
        if (s->services_dial[i] != WEFT_OK)
            return cli_not_reached(s->services[i], s->services_dial[i], NULL, "", why);
    return WEFT_OK;
}

weft_err cli_status(const struct wf_call_line *line, wf_why *why)
{
    struct weft_status *status = calloc(1, sizeof *status);
    char *identity = NULL;
    unsigned timeout;
    weft_err err = status != NULL ? cli_timeout(line, 10000, &timeout, why) : WEFT_ENOMEM;
    if (err == WEFT_OK)
        err = cli_identity(line, true, &identity, why);
    if (err == WEFT_OK)
        err = weft_status_get(identity, timeout, 1, status, why);
    if (err == WEFT_OK && wf_line_flag(line, "json")) {
        json_t *root = to_json(status);
        cli_print(root, true);
        json_decref(root);
    } else if (err == WEFT_OK) {
        print_words(status);
    }
    if (err == WEFT_OK)
        err = verdict(status, why);
    free(identity);
    free(status);
    return err;
}
