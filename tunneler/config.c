#include "tunneler/config.h"
#include "proto/node/yaml.h"
#include "tunneler/host.h"
#include "tunneler/proxy.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct config *config_new(void)
{
    return calloc(1, sizeof(struct config));
}

void config_free(struct config *c)
{
    if (c == NULL)
        return;
    free(c->identity);
    free(c->metrics);
    free(c);
}

bool rule_equal(const struct rule *a, const struct rule *b)
{
    return strcmp(a->service, b->service) == 0 && strcmp(a->address.host, b->address.host) == 0 &&
           a->address.port == b->address.port;
}

/* Each service has one host here, and each address one proxy. */
static weft_err add(struct rule *rules, size_t *count, const struct rule *rule, bool by_service,
                    wf_why *why)
{
    char text[WF_ADDRESS_TEXT];
    if (*count == CONFIG_RULES_MAX)
        return wf_fail(why, WEFT_EUSAGE, "over %d rules of one kind", CONFIG_RULES_MAX);
    for (size_t i = 0; i < *count; i++) {
        const struct rule *r = &rules[i];
        if (by_service && strcmp(r->service, rule->service) == 0)
            return wf_fail(why, WEFT_EUSAGE, "service %s is hosted twice", r->service);
        if (!by_service && rule->address.port != 0 && r->address.port == rule->address.port &&
            strcmp(r->address.host, rule->address.host) == 0)
            return wf_fail(why, WEFT_EUSAGE, "two proxies listen on %s",
                           wf_address_text(&r->address, text));
    }
    rules[(*count)++] = *rule;
    return WEFT_OK;
}

weft_err config_add_host(struct config *c, const char *rule, wf_why *why)
{
    struct rule r;
    memset(&r, 0, sizeof r);
    weft_err err = host_parse(rule, r.service, &r.address, why);
    return err == WEFT_OK ? add(c->hosts, &c->host_count, &r, true, why) : err;
}

weft_err config_add_proxy(struct config *c, const char *rule, wf_why *why)
{
    struct rule r;
    memset(&r, 0, sizeof r);
    weft_err err = proxy_parse(rule, &r.address, r.service, why);
    return err == WEFT_OK ? add(c->proxies, &c->proxy_count, &r, false, why) : err;
}

static weft_err read_rules(struct config *c, const wf_yaml *root, bool host, wf_why *why)
{
    static const char *const host_keys[] = {"service", "to", NULL};
    static const char *const proxy_keys[] = {"service", "listen", NULL};
    const wf_yaml *list = wf_yaml_get(root, host ? "host" : "proxy"), *item;
    weft_err err = WEFT_OK;
    if (list == NULL)
        return WEFT_OK;
    if (wf_yaml_count(list) == 0 || wf_yaml_key(list, 0) != NULL)
        return wf_yaml_fail(list, why, "expected a list: \"- service: NAME\"");
    for (size_t i = 0; err == WEFT_OK && (item = wf_yaml_item(list, i)) != NULL; i++) {
        const char *service = NULL, *address = NULL;
        char rule[WF_ADDRESS_TEXT + WF_NAME_MAX + 16];
        wf_why inner = {""};
        if ((err = wf_yaml_only(item, host ? host_keys : proxy_keys, why)) != WEFT_OK ||
            (err = wf_yaml_text(item, "service", true, &service, why)) != WEFT_OK ||
            (err = wf_yaml_text(item, host ? "to" : "listen", true, &address, why)) != WEFT_OK)
            return err;
        int n = snprintf(rule, sizeof rule, "%s=%s", host ? service : address,
                         host ? address : service);
        if (n < 0 || (size_t)n >= sizeof rule)
            return wf_yaml_fail(item, why, "too long");
        err = host ? config_add_host(c, rule, &inner) : config_add_proxy(c, rule, &inner);
        if (err != WEFT_OK)
            return wf_yaml_fail(item, why, "%s", inner.text);
    }
    return err;
}

static weft_err read_text(const wf_yaml *root, const char *key, char **out, wf_why *why)
{
    const char *text = NULL;
    weft_err err = wf_yaml_text(root, key, false, &text, why);
    if (err == WEFT_OK && text != NULL && (*out = strdup(text)) == NULL)
        err = WEFT_ENOMEM;
    return err;
}

weft_err config_load(const char *path, struct config **out, wf_why *why)
{
    static const char *const keys[] = {"identity", "metrics", "host", "proxy", NULL};
    wf_yaml *root = NULL;
    struct config *c = config_new();
    weft_err err = c != NULL ? wf_yaml_load(path, &root, why) : WEFT_ENOMEM;
    if (err == WEFT_OK)
        err = wf_yaml_only(root, keys, why);
    if (err == WEFT_OK)
        err = read_text(root, "identity", &c->identity, why);
    if (err == WEFT_OK)
        err = read_text(root, "metrics", &c->metrics, why);
    if (err == WEFT_OK)
        err = read_rules(c, root, true, why);
    if (err == WEFT_OK)
        err = read_rules(c, root, false, why);
    if (err == WEFT_OK && c->host_count + c->proxy_count == 0)
        err = wf_yaml_fail(root, why, "neither \"host\" nor \"proxy\" says anything to do");
    wf_yaml_free(root);
    if (err != WEFT_OK) {
        config_free(c);
        return err;
    }
    *out = c;
    return WEFT_OK;
}
