#include "router/config.h"
#include "proto/base/file.h"
#include "proto/node/yaml.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define CONFIG_PATH_MAX 4096u

void config_default(struct router_config *config)
{
    *config = (struct router_config){
        .listen = {.host = "127.0.0.1", .port = ROUTER_PORT},
        .memory = ROUTER_MEMORY,
        .links_per_identity = ROUTER_LINKS_PER_IDENTITY,
        .log_level = WF_LOG_INFO,
    };
}

static weft_err path_of(const char *home, char path[CONFIG_PATH_MAX], wf_why *why)
{
    int len = snprintf(path, CONFIG_PATH_MAX, "%s/router.yaml", home);

    if (len < 0 || (unsigned)len >= CONFIG_PATH_MAX)
        return wf_fail(why, WEFT_EINVAL, "the path of the home folder is too long");
    return WEFT_OK;
}

weft_err config_check_listen(const char *option, const wf_address *address, wf_why *why)
{
    struct sockaddr_storage sa;
    char text[WF_ADDRESS_TEXT];

    if (wf_address_get_sockaddr(address, &sa))
        return WEFT_OK;
    return wf_fail(why, WEFT_EUSAGE, "%s: %s: give an IP address, such as 0.0.0.0 or [::]", option,
                   wf_address_text(address, text));
}

weft_err config_parse_size(const char *text, uint64_t *out, wf_why *why)
{
    static const struct {
        const char *name;
        unsigned shift;
    } units[] = {{"", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}};
    uint64_t value = 0;
    const char *at = text;

    for (; *at >= '0' && *at <= '9' && value < UINT64_MAX >> 34; at++)
        value = value * 10 + (uint64_t)(*at - '0');
    for (size_t i = 0; at != text && i < sizeof units / sizeof *units; i++) {
        if (strcmp(at, units[i].name) == 0 && value < UINT64_MAX >> 34) {
            *out = value << units[i].shift;
            return WEFT_OK;
        }
    }
    return wf_fail(why, WEFT_EINVAL, "\"%s\" is no size; write bytes, KiB, MiB or GiB", text);
}

static weft_err read_advertise(const wf_yaml *root, struct router_config *config, wf_why *why)
{
    const wf_yaml *node = wf_yaml_get(root, "advertise");
    size_t count;

    if (node == NULL)
        return WEFT_OK;
    count = wf_yaml_scalar(node) != NULL ? 1 : wf_yaml_count(node);
    if (count > WF_ADDRESSES_MAX)
        return wf_yaml_fail(node, why, "advertise: more than %u addresses", WF_ADDRESSES_MAX);
    for (size_t i = 0; i < count; i++) {
        const wf_yaml *item = wf_yaml_scalar(node) != NULL ? node : wf_yaml_item(node, i);
        const char *text = wf_yaml_scalar(item);
        wf_why reason = {""};

        if (text == NULL ||
            wf_address_parse(text, ROUTER_PORT, &config->advertise[i], &reason) != WEFT_OK)
            return wf_yaml_fail(item, why, "advertise: %s",
                                text == NULL ? "not an address" : reason.text);
    }
    config->advertise_count = count;
    return WEFT_OK;
}

static weft_err read_links(const wf_yaml *root, struct router_config *config, wf_why *why)
{
    const char *text = NULL;
    char *end = NULL;
    unsigned long value;
    weft_err err = wf_yaml_text(root, "links_per_identity", false, &text, why);

    if (err != WEFT_OK || text == NULL)
        return err;
    value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || value == 0 || value > 65536)
        return wf_yaml_fail(wf_yaml_get(root, "links_per_identity"), why,
                            "links_per_identity: a number from 1 to 65536");
    config->links_per_identity = (unsigned)value;
    return WEFT_OK;
}

/* The scalars; *text is NULL where the key is absent. */
static weft_err read_scalars(const wf_yaml *root, struct router_config *config, wf_why *why)
{
    const char *text = NULL;
    wf_why reason = {""};
    wf_address address;
    weft_err err;

    err = wf_yaml_text(root, "listen", false, &text, why);
    if (err != WEFT_OK)
        return err;
    if (text != NULL && wf_address_parse(text, ROUTER_PORT, &config->listen, &reason) != WEFT_OK)
        return wf_yaml_fail(wf_yaml_get(root, "listen"), why, "listen: %s", reason.text);
    text = NULL;
    err = wf_yaml_text(root, "memory", false, &text, why);
    if (err != WEFT_OK)
        return err;
    if (text != NULL && config_parse_size(text, &config->memory, &reason) != WEFT_OK)
        return wf_yaml_fail(wf_yaml_get(root, "memory"), why, "memory: %s", reason.text);
    if (config->memory < ROUTER_MEMORY_MIN)
        return wf_yaml_fail(wf_yaml_get(root, "memory"), why, "memory: at least 1MiB is needed");
    err = read_links(root, config, why);
    if (err != WEFT_OK)
        return err;
    text = NULL;
    err = wf_yaml_text(root, "log_level", false, &text, why);
    if (err != WEFT_OK)
        return err;
    if (text != NULL && wf_log_level_parse(text, &config->log_level) != WEFT_OK)
        return wf_yaml_fail(wf_yaml_get(root, "log_level"), why,
                            "log_level: one of error, warn, info, debug");
    config->has_log_level = text != NULL;
    text = NULL;
    err = wf_yaml_text(root, "metrics", false, &text, why);
    if (err != WEFT_OK || text == NULL)
        return err;
    if (wf_address_parse(text, 0, &address, &reason) != WEFT_OK)
        return wf_yaml_fail(wf_yaml_get(root, "metrics"), why, "metrics: %s", reason.text);
    wf_address_text(&address, config->metrics);
    return WEFT_OK;
}

weft_err config_load(const char *home, struct router_config *config, wf_why *why)
{
    static const char *const keys[] = {"listen",    "advertise", "memory", "links_per_identity",
                                       "log_level", "metrics",   NULL};
    char path[CONFIG_PATH_MAX];
    struct router_config read;
    wf_yaml *root = NULL;
    weft_err err;

    config_default(&read);
    err = path_of(home, path, why);
    if (err != WEFT_OK)
        return err;
    if (wf_file_exists(path)) {
        err = wf_yaml_load(path, &root, why);
        if (err == WEFT_OK)
            err = wf_yaml_only(root, keys, why);
        if (err == WEFT_OK)
            err = read_scalars(root, &read, why);
        if (err == WEFT_OK)
            err = read_advertise(root, &read, why);
        wf_yaml_free(root);
    }
    if (err == WEFT_OK)
        *config = read;
    return err;
}

weft_err config_save(const char *home, const struct router_config *config, wf_why *why)
{
    char path[CONFIG_PATH_MAX], address[WF_ADDRESS_TEXT];
    wf_buf text;
    weft_err err;

    wf_buf_init(&text, 65536);
    err = path_of(home, path, why);
    if (err == WEFT_OK)
        err = wf_buf_printf(&text, "listen: \"%s\"\nadvertise:%s\n",
                            wf_address_text(&config->listen, address),
                            config->advertise_count == 0 ? " []" : "");
    for (size_t i = 0; err == WEFT_OK && i < config->advertise_count; i++)
        err = wf_buf_printf(&text, "  - \"%s\"\n", wf_address_text(&config->advertise[i], address));
    if (err == WEFT_OK)
        err = wf_buf_printf(&text, "memory: %llu\n", (unsigned long long)config->memory);
    if (err == WEFT_OK && config->links_per_identity != ROUTER_LINKS_PER_IDENTITY)
        err = wf_buf_printf(&text, "links_per_identity: %u\n", config->links_per_identity);
    if (err == WEFT_OK && config->has_log_level) {
        static const char *const names[] = {"error", "warn", "info", "debug"};

        err = wf_buf_printf(&text, "log_level: %s\n", names[config->log_level]);
    }
    if (err == WEFT_OK && config->metrics[0] != '\0')
        err = wf_buf_printf(&text, "metrics: \"%s\"\n", config->metrics);
    if (err == WEFT_OK)
        err = wf_file_write(path, text.data, text.len, 0600, why);
    wf_buf_fini(&text);
    return err;
}
