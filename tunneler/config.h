/* The tunneler's rules: the command line, or one YAML file. docs/cli.md, `weft-tunneler run`. */
#ifndef TUNNELER_CONFIG_H
#define TUNNELER_CONFIG_H

#include "proto/base/address.h"
#include "proto/base/text.h"
#include "proto/base/why.h"

#define CONFIG_RULES_MAX 256

struct rule {
    char service[WF_NAME_MAX + 1];
    wf_address address; /* a host's target, or where a proxy listens */
};

struct config {
    char *identity; /* owned; NULL: not said */
    char *metrics;  /* owned; NULL: not said */
    struct rule hosts[CONFIG_RULES_MAX], proxies[CONFIG_RULES_MAX];
    size_t host_count, proxy_count;
};

struct config *config_new(void); /* NULL without memory */
void config_free(struct config *config);
/* Rules as typed: see host_parse and proxy_parse. WEFT_EUSAGE. */
weft_err config_add_host(struct config *config, const char *rule, wf_why *why);
weft_err config_add_proxy(struct config *config, const char *rule, wf_why *why);
/* WEFT_EINVAL with file and line. */
weft_err config_load(const char *path, struct config **out, wf_why *why);
bool rule_equal(const struct rule *a, const struct rule *b);

#endif
