#include "controller/api_route.h"
#include "proto/base/id.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define LIST "after limit prefix "

#define THINGS(base, noun, filters)                                                                \
    {                                                                                              \
        .method = "GET", .path = base, .operation = noun ".list", .query = LIST filters            \
    }
#define SHOW(base, noun)                                                                           \
    {                                                                                              \
        .method = "GET", .path = base "/{which}", .operation = noun ".show", .variable = "which",  \
        .show = noun ".show"                                                                       \
    }
#define MAKE(base, noun)                                                                           \
    {                                                                                              \
        .method = "POST", .path = base, .operation = noun ".create", .show = noun ".show",         \
        .has_body = true, .is_created = true                                                       \
    }
#define PUT(base, noun, fields)                                                                    \
    {                                                                                              \
        .method = "PUT", .path = base "/{which}", .operation = noun ".update",                     \
        .variable = "which", .show = noun ".show", .create = noun ".create", .defaults = fields,   \
        .has_body = true                                                                           \
    }
#define PATCH(base, noun)                                                                          \
    {                                                                                              \
        .method = "PATCH", .path = base "/{which}", .operation = noun ".update",                   \
        .variable = "which", .show = noun ".show", .has_body = true                                \
    }
#define GONE(base, noun)                                                                           \
    {                                                                                              \
        .method = "DELETE", .path = base "/{which}", .operation = noun ".delete",                  \
        .query = "dry_run", .variable = "which", .show = noun ".show"                              \
    }
/* A verb of a thing; the body may be empty. */
#define VERB(base, noun, verb)                                                                     \
    {                                                                                              \
        .method = "POST", .path = base "/{which}/" verb, .operation = noun "." verb,               \
        .variable = "which", .show = noun ".show", .has_body = true                                \
    }
#define LOOK(where, name, parameters)                                                              \
    {                                                                                              \
        .method = "GET", .path = where, .operation = name, .query = parameters                     \
    }
#define DO(where, name)                                                                            \
    {                                                                                              \
        .method = "POST", .path = where, .operation = name, .has_body = true                       \
    }

/* Authorities and issuers go by name alone. */
#define VOUCHER(verb, where, noun, word, parameters, takes_body)                                   \
    {                                                                                              \
        .method = verb, .path = where, .operation = noun "." word, .query = parameters,            \
        .variable = "name", .show = noun ".show", .has_body = takes_body                           \
    }

static const struct api_route table[] = {
    {.method = "GET", .path = "/v1/openapi.json"},
    LOOK("/v1/status", "status", NULL),
    LOOK("/v1/rotation", "rotation.status", NULL),
    DO("/v1/login", "login"),
    THINGS("/v1/identities", "identity", "role state"),
    MAKE("/v1/identities", "identity"),
    SHOW("/v1/identities", "identity"),
    PUT("/v1/identities", "identity", "{\"roles\":[]}"),
    PATCH("/v1/identities", "identity"),
    GONE("/v1/identities", "identity"),
    VERB("/v1/identities", "identity", "disable"),
    VERB("/v1/identities", "identity", "enable"),
    VERB("/v1/identities", "identity", "reissue"),
    THINGS("/v1/services", "service", "role mode"),
    MAKE("/v1/services", "service"),
    SHOW("/v1/services", "service"),
    PUT("/v1/services", "service",
        "{\"roles\":[],\"mode\":\"stream\",\"limits\":{\"sessions\":0,\"sessions_per_identity\":0,"
        "\"idle\":0,\"max_age\":0}}"),
    PATCH("/v1/services", "service"),
    GONE("/v1/services", "service"),
    THINGS("/v1/policies", "policy", "type"),
    MAKE("/v1/policies", "policy"),
    SHOW("/v1/policies", "policy"),
    PUT("/v1/policies", "policy",
        "{\"identity_roles\":[],\"service_roles\":[],\"semantic\":\"anyOf\",\"windows\":[],"
        "\"sources\":[],\"os\":[],\"os_version_min\":[]}"),
    PATCH("/v1/policies", "policy"),
    GONE("/v1/policies", "policy"),
    THINGS("/v1/routers", "router", "state"),
    MAKE("/v1/routers", "router"),
    SHOW("/v1/routers", "router"),
    GONE("/v1/routers", "router"),
    VERB("/v1/routers", "router", "disable"),
    VERB("/v1/routers", "router", "enable"),
    VERB("/v1/routers", "router", "reissue"),
    THINGS("/v1/admins", "admin", "state"),
    {.method = "PUT",
     .path = "/v1/admins/{which}",
     .operation = "admin.add",
     .variable = "identity",
     .has_body = true},
    {.method = "DELETE",
     .path = "/v1/admins/{which}",
     .operation = "admin.remove",
     .query = "dry_run",
     .variable = "identity"},
    THINGS("/v1/sessions", "session", "service dialer host router"),
    {.method = "POST",
     .path = "/v1/sessions/{which}/cut",
     .operation = "session.cut",
     .variable = "id",
     .has_body = true},
    LOOK("/v1/audit", "audit.list", "after limit"),
    LOOK("/v1/audit/checkpoints", "audit.checkpoints", "after"),
    LOOK("/v1/audit/proof", "audit.prove", "seq"),
    THINGS("/v1/cas", "ca", ""),
    {.method = "POST",
     .path = "/v1/cas",
     .operation = "ca.add",
     .show = "ca.show",
     .has_body = true,
     .is_created = true},
    VOUCHER("GET", "/v1/cas/{which}", "ca", "show", NULL, false),
    VOUCHER("DELETE", "/v1/cas/{which}", "ca", "remove", "dry_run", false),
    VOUCHER("POST", "/v1/cas/{which}/token", "ca", "token", NULL, true),
    VOUCHER("POST", "/v1/cas/{which}/verify", "ca", "verify", NULL, true),
    THINGS("/v1/oidc", "oidc", ""),
    {.method = "POST",
     .path = "/v1/oidc",
     .operation = "oidc.add",
     .show = "oidc.show",
     .has_body = true,
     .is_created = true},
    VOUCHER("GET", "/v1/oidc/{which}", "oidc", "show", NULL, false),
    VOUCHER("DELETE", "/v1/oidc/{which}", "oidc", "remove", "dry_run", false),
    VOUCHER("POST", "/v1/oidc/{which}/token", "oidc", "token", NULL, true),
    LOOK("/v1/explain", "explain", "identity service type at from os os_version arch"),
    DO("/v1/allow", "allow"),
    DO("/v1/disallow", "disallow"),
    DO("/v1/share", "share"),
};
#define ROWS (sizeof table / sizeof *table)

struct api_route api_route_row(size_t i)
{
    return i < ROWS ? table[i] : (struct api_route){.path = NULL};
}

static int hex(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoding (RFC 3986 section 2.1): to printable ASCII alone, or it is no text of ours. */
static bool decode(wf_span in, char *out, size_t cap)
{
    size_t n = 0;

    for (size_t i = 0; i < in.len; i++) {
        int c = in.data[i];

        if (c == '%') {
            int high = in.len - i > 2 ? hex(in.data[i + 1]) : -1;
            int low = in.len - i > 2 ? hex(in.data[i + 2]) : -1;

            if (high < 0 || low < 0)
                return false;
            c = high << 4 | low;
            i += 2;
        }
        if (c < 0x20 || c > 0x7e || n + 1 >= cap)
            return false;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return true;
}

/* Up to `mark`, which is skipped; the rest stays in *rest. */
static wf_span take_until(wf_span *rest, uint8_t mark)
{
    const uint8_t *at = rest->len > 0 ? memchr(rest->data, mark, rest->len) : NULL;
    wf_span part = *rest;

    if (at == NULL) {
        *rest = wf_span_of(rest->data + rest->len, 0);
        return part;
    }
    part.len = (size_t)(at - rest->data);
    *rest = wf_span_of(at + 1, rest->len - part.len - 1);
    return part;
}

/* Segment by segment; the variable's is left in *variable (undecoded). */
static bool fits(const char *pattern, wf_span path, wf_span *variable)
{
    wf_span wanted = wf_span_of(pattern + 1, strlen(pattern) - 1);
    wf_span left = wf_span_of(path.data + 1, path.len - 1);

    for (;;) {
        bool more_wanted = wanted.len > 0 && memchr(wanted.data, '/', wanted.len) != NULL;
        bool more = left.len > 0 && memchr(left.data, '/', left.len) != NULL;
        wf_span a = take_until(&wanted, '/'), b = take_until(&left, '/');

        if (a.len > 0 && a.data[0] == '{')
            *variable = b;
        else if (!wf_span_equal(a, b))
            return false;
        if (more_wanted != more)
            return false;
        if (!more)
            return true;
    }
}

static bool is_method(wf_span method, const char *name)
{
    return wf_span_equal(method, wf_span_of(name, strlen(name)));
}

weft_err api_route_find(wf_span method, wf_span path, struct api_match *out, wf_why *why)
{
    wf_span variable = {NULL, 0};
    size_t len = 0;

    *out = (struct api_match){.is_head = is_method(method, "HEAD")};
    if (path.len == 0 || path.data[0] != '/')
        return WEFT_OK;
    for (size_t i = 0; i < ROWS; i++) { /* some forty, told apart within a few bytes each */
        const struct api_route *route = &table[i];
        bool is_get = strcmp(route->method, "GET") == 0;

        if (!fits(route->path, path, &variable))
            continue;
        out->is_path = true;
        len += (size_t)snprintf(out->allow + len, sizeof out->allow - len, "%s%s, ", route->method,
                                is_get ? ", HEAD" : "");
        if (is_method(method, route->method) || (out->is_head && is_get))
            out->route = route;
    }
    if (out->is_path)
        snprintf(out->allow + len, sizeof out->allow - len, "OPTIONS");
    if (out->route != NULL && out->route->variable != NULL &&
        (variable.len == 0 || !decode(variable, out->variable, sizeof out->variable)))
        return wf_fail(why, WEFT_EINVAL, "the path holds no name and no id");
    return WEFT_OK;
}

static bool is_among(const char *word, const char *list)
{
    size_t len = strlen(word);

    for (const char *at = list; at != NULL && *at != '\0'; at += strspn(at, " ")) {
        size_t n = strcspn(at, " ");

        if (n == len && len > 0 && memcmp(at, word, n) == 0)
            return true;
        at += n;
    }
    return false;
}

static weft_err put_number(json_t *args, const char *key, const char *text, wf_why *why)
{
    json_int_t number = 0;
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++)
        if (text[i] < '0' || text[i] > '9' || len > 9)
            return wf_fail(why, WEFT_EINVAL, "parameter '%s' must be a whole number", key);
        else
            number = number * 10 + (text[i] - '0');
    return json_object_set_new(args, key, json_integer(number)) == 0 ? WEFT_OK : WEFT_ENOMEM;
}

/* Names are looked behind, but of the audit log numbers. */
static bool is_number(const struct api_route *route, const char *key)
{
    return strcmp(key, "limit") == 0 || strcmp(key, "seq") == 0 ||
           (strcmp(key, "after") == 0 && strncmp(route->operation, "audit.", 6) == 0);
}

weft_err api_route_query(const struct api_route *route, wf_span query, json_t *args, wf_why *why)
{
    while (query.len > 0) {
        wf_span value = take_until(&query, '&'), name = take_until(&value, '=');
        char key[32], text[API_SEGMENT_MAX];
        weft_err err = WEFT_OK;

        if (!decode(name, key, sizeof key) || !is_among(key, route->query))
            return wf_fail(why, WEFT_EINVAL, "unknown parameter '%.*s'; there may be: %s",
                           (int)(name.len < 32 ? name.len : 32), (const char *)name.data,
                           route->query != NULL ? route->query : "none");
        if (!decode(value, text, sizeof text) || text[0] == '\0')
            return wf_fail(why, WEFT_EINVAL, "parameter '%s' is empty or no printable text", key);
        if (json_object_get(args, key) != NULL)
            return wf_fail(why, WEFT_EINVAL, "parameter '%s' is there twice", key);
        if (strcmp(key, "dry_run") == 0 && strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            err = wf_fail(why, WEFT_EINVAL, "parameter 'dry_run' is true or false");
        else if (strcmp(key, "dry_run") == 0)
            err = json_object_set_new(args, key, json_boolean(text[0] == 't')) == 0 ? WEFT_OK
                                                                                    : WEFT_ENOMEM;
        else if (is_number(route, key))
            err = put_number(args, key, text, why);
        else if (json_object_set_new(args, key, json_string(text)) != 0)
            err = WEFT_ENOMEM;
        if (err != WEFT_OK)
            return err;
    }
    return WEFT_OK;
}

weft_err api_route_variable(const struct api_match *match, bool by_name, json_t *args, wf_why *why)
{
    const char *key = match->route->variable, *text = match->variable;
    wf_id id;

    if (key == NULL)
        return WEFT_OK;
    if (strcmp(key, "which") == 0)
        key = !by_name && wf_id_parse(text, strlen(text), &id) ? "id" : "name";
    if (json_object_get(args, key) != NULL || json_object_get(args, match->route->variable) != NULL)
        return wf_fail(why, WEFT_EINVAL, "'%s' stands in the path; leave it out of the body", key);
    return json_object_set_new(args, key, json_string(text)) == 0 ? WEFT_OK : WEFT_ENOMEM;
}
