/*
 * HOME/router.yaml: what the operator says about this router.
 *
 *   listen: 127.0.0.1:9339      where edges and routers come in
 *   advertise: [HOST:PORT]      where others reach it; default: listen
 *   memory: 256MiB              what may wait for blocked links, in all
 *   links_per_identity: 2048    endpoints that run under one identity at once
 *   log_level: info
 *   metrics: 127.0.0.1:9343     default: none
 */
#ifndef ROUTER_CONFIG_H
#define ROUTER_CONFIG_H

#include "proto/base/address.h"
#include "proto/base/log.h"
#include "proto/wire/limits.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROUTER_PORT 9339u
#define ROUTER_MEMORY (256ull * 1024 * 1024)
#define ROUTER_LINKS_PER_IDENTITY 2048u
#define ROUTER_MEMORY_MIN (1024ull * 1024)

struct router_config {
    wf_address listen;
    wf_address advertise[WF_ADDRESSES_MAX];
    size_t advertise_count;
    uint64_t memory; /* bytes */
    unsigned links_per_identity;
    enum wf_log_level log_level;
    bool has_log_level;
    char metrics[WF_ADDRESS_TEXT]; /* empty: none */
};

void config_default(struct router_config *config);
/* A file that isn't there leaves the defaults. WEFT_EINVAL with file and line. */
weft_err config_load(const char *home, struct router_config *config, wf_why *why);
weft_err config_save(const char *home, const struct router_config *config, wf_why *why);
/* Whether a router can listen there: an address, no name. WEFT_EUSAGE, with the option that said
 * it. */
weft_err config_check_listen(const char *option, const wf_address *address, wf_why *why);
/* "64MiB", "1GiB", "512KiB" or bytes. WEFT_EINVAL. */
weft_err config_parse_size(const char *text, uint64_t *out, wf_why *why);

#endif
