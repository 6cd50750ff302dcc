/*
 * One request of the API as calls of the operation table. Preconditions are
 * judged by showing the thing in the same turn: nothing comes in between.
 */
#include "controller/api.h"
#include "controller/api_reply.h"
#include "controller/api_route.h"
#include "controller/node.h"
#include "controller/operation.h"
#include "proto/base/clock.h"
#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct ask {
    struct controller *c;
    const struct api_caller *caller;
    const struct wf_http_request *request;
    struct api_reply *reply;
    struct api_match match;
    json_t *args; /* owned */
    bool by_name; /* the variable is a name, though it looks like an id */
    bool exists;  /* it was shown */
    wf_buf shown; /* as it is served */
    wf_why why;
};

static weft_err no_channel(void *arg, const char *label, uint8_t out[32])
{
    (void)arg;
    (void)label;
    (void)out;
    return WEFT_EREFUSED;
}

/* Runs one operation; its JSON is appended to out, with a line's end. */
static weft_err run(struct ask *a, const char *operation, const json_t *args, bool is_probe,
                    wf_buf *out)
{
    char *text = json_dumps(args, JSON_COMPACT);
    struct call call = {
        .c = a->c,
        .who = WHO_IDENTITY,
        .subject = a->caller->subject,
        .by_login = a->caller->by_login,
        .remote = a->request->remote,
        .exporter = no_channel,
        .operation = operation,
        .is_probe = is_probe,
        .now = wf_now_wall_ms(),
    };
    weft_err err;

    if (text == NULL)
        return wf_fail(&a->why, WEFT_ENOMEM, "out of memory");
    call.arguments = wf_span_of(text, strlen(text));
    wf_buf_init(&call.result, OPERATION_RESULT_MAX);
    err = operation_run(&call);
    free(text);
    if (err == WEFT_OK)
        err = wf_buf_put(out, call.result.data, call.result.len);
    if (err == WEFT_OK)
        err = wf_buf_put_text(out, "\n");
    wf_buf_wipe(&call.result);
    a->why = call.why;
    return err;
}

static void fail(struct ask *a, weft_err err)
{
    if (a->why.text[0] == '\0')
        wf_fail(&a->why, err, "%s", weft_err_sentence(err));
    api_reply_problem(a->reply, api_status_of(err), err, a->why.text);
}

static void refuse(struct ask *a, unsigned status, const char *detail)
{
    api_reply_problem(a->reply, status, WEFT_EINVAL, detail);
}

/* ---- the body */

static bool is_json(const struct wf_http_request *request)
{
    wf_span type = wf_http_request_find(request, "content-type");
    char text[64];

    if (type.data == NULL || type.len >= sizeof text)
        return false;
    for (size_t i = 0; i < type.len; i++)
        text[i] =
            (char)(type.data[i] >= 'A' && type.data[i] <= 'Z' ? type.data[i] + 32 : type.data[i]);
    text[type.len] = '\0';
    text[strcspn(text, "; \t")] = '\0';
    return strcmp(text, "application/json") == 0 ||
           (wf_span_equal(request->method, wf_span_of("PATCH", 5)) &&
            strcmp(text, "application/merge-patch+json") == 0);
}

/*
 * A browser shows the certificate it holds to whatever page asks, so a page of
 * somebody else's could act as its administrator; but it says whose page it is.
 */
static bool is_strange_page(const struct wf_http_request *request)
{
    static const char scheme[] = "https://";
    const size_t len = sizeof scheme - 1;
    wf_span origin = wf_http_request_find(request, "origin");

    if (origin.data == NULL || wf_span_equal(request->method, wf_span_of("GET", 3)) ||
        wf_span_equal(request->method, wf_span_of("HEAD", 4)))
        return false; /* what it reads, a browser keeps from such a page */
    return origin.len != len + request->host.len || memcmp(origin.data, scheme, len) != 0 ||
           strncasecmp((const char *)origin.data + len, (const char *)request->host.data,
                       request->host.len) != 0;
}

/* False: the reply says what is wrong. */
static bool take_body(struct ask *a)
{
    struct args args;
    weft_err err;

    if (a->request->body.len == 0) {
        a->args = json_object();
        if (a->args == NULL)
            fail(a, WEFT_ENOMEM);
        return a->args != NULL;
    }
    if (!a->match.route->has_body) {
        refuse(a, 400, "this request takes no body");
        return false;
    }
    if (!is_json(a->request)) {
        refuse(a, 415, "the body must be JSON; send Content-Type: application/json");
        return false;
    }
    if (a->request->body.len > ARGS_SIZE_MAX) {
        api_reply_problem(a->reply, 413, WEFT_ELIMIT, "the body takes more than 32 KiB");
        return false;
    }
    err = args_open(&args, a->request->body, &a->why);
    if (err != WEFT_OK) {
        fail(a, WEFT_EINVAL);
        return false;
    }
    a->args = args.root;
    return true;
}

/* ---- the thing as it is */

static weft_err show(struct ask *a)
{
    const char *operation = a->match.route->show;
    weft_err err;

    for (;;) {
        json_t *args = json_object();

        err = args == NULL ? WEFT_ENOMEM : api_route_variable(&a->match, a->by_name, args, &a->why);
        if (err == WEFT_OK)
            err = run(a, operation, args, true, &a->shown);
        json_decref(args);
        /* What looks like an id may be a name yet. */
        if (err != WEFT_ENOTFOUND || a->by_name)
            break;
        a->by_name = true;
    }
    a->exists = err == WEFT_OK;
    return err;
}

/* RFC 9110 section 13.1: "*", or one of the list. Weak ones match where weak comparison does. */
static bool is_match(wf_span list, const char *etag, bool exists, bool weak)
{
    size_t len = strlen(etag);

    if (!exists)
        return false;
    for (size_t i = 0; i < list.len;) {
        const uint8_t *at = list.data + i;
        size_t n = 0, left = list.len - i;

        while (n < left && at[n] != ',')
            n++;
        i += n + 1;
        while (n > 0 && (at[0] == ' ' || at[0] == '\t')) {
            at++;
            n--;
        }
        while (n > 0 && (at[n - 1] == ' ' || at[n - 1] == '\t'))
            n--;
        if (n == 1 && at[0] == '*')
            return true;
        if (weak && n > 2 && at[0] == 'W' && at[1] == '/') {
            at += 2;
            n -= 2;
        }
        if (n == len && memcmp(at, etag, n) == 0)
            return true;
    }
    return false;
}

/* False: the reply is filled, with 304 or 412. */
static bool meets_conditions(struct ask *a, bool is_get)
{
    wf_span match = wf_http_request_find(a->request, "if-match");
    wf_span none = wf_http_request_find(a->request, "if-none-match");
    char etag[API_ETAG_TEXT] = "";

    if (match.data == NULL && none.data == NULL)
        return true;
    if (a->exists)
        api_etag(a->shown.data, a->shown.len, etag);
    if (match.data != NULL && !is_match(match, etag, a->exists, false)) {
        api_reply_problem(a->reply, 412, WEFT_ECONFLICT,
                          a->exists ? "it has changed since that ETag; get it again"
                                    : "there is nothing that If-Match could match");
        return false;
    }
    if (none.data != NULL && is_match(none, etag, a->exists, true)) {
        if (!is_get) {
            api_reply_problem(a->reply, 412, WEFT_ECONFLICT,
                              "it is there, and If-None-Match "
                              "says that it must not be");
            return false;
        }
        a->reply->status = 304;
        memcpy(a->reply->etag, etag, sizeof etag);
        return false;
    }
    return true;
}

/* ---- PUT: whole, so what the body leaves out takes its default */

/* What says how a thing is made, of one that is made: judged, and then of no use. */
static weft_err drop_made_once(struct ask *a)
{
    const json_t *life = json_object_get(a->args, "token_life_s");
    const json_t *enroll = json_object_get(a->args, "enroll");
    json_t *shown = json_loadb((const char *)a->shown.data, a->shown.len, 0, NULL);
    json_int_t seconds = json_is_integer(life) ? json_integer_value(life) : 0;
    weft_err err = WEFT_OK;

    if (life != NULL && (seconds < 1 || seconds > (json_int_t)NODE_TOKEN_LIFE_MAX_S))
        err = wf_fail(&a->why, WEFT_EINVAL, "argument 'token_life_s' must be 1 to %u",
                      NODE_TOKEN_LIFE_MAX_S);
    else if (enroll != NULL && !json_equal(enroll, json_object_get(shown, "enroll")))
        err = wf_fail(&a->why, WEFT_EINVAL, "argument 'enroll' stays what it was made with");
    json_decref(shown);
    if (err == WEFT_OK && strcmp(a->match.route->show, "identity.show") == 0) {
        json_object_del(a->args, "token_life_s");
        json_object_del(a->args, "enroll");
    }
    return err;
}

static weft_err fill_defaults(struct ask *a)
{
    const struct api_route *route = a->match.route;
    json_t *whole = json_loads(route->defaults, 0, NULL);
    weft_err err = WEFT_ENOMEM;

    if (whole != NULL && json_object_update_recursive(whole, a->args) == 0) {
        json_decref(a->args);
        a->args = json_incref(whole);
        err = WEFT_OK;
    }
    json_decref(whole);
    if (err == WEFT_OK && strcmp(route->show, "policy.show") == 0 &&
        json_object_get(a->args, "type") == NULL)
        err = wf_fail(&a->why, WEFT_EINVAL, "argument 'type' is missing");
    return err == WEFT_OK && a->exists ? drop_made_once(a) : err;
}

/* ---- answering */

/* Where it is and which version that is, from the result's name. */
static void add_address(struct ask *a, bool is_created)
{
    const struct api_route *route = a->match.route;
    json_t *object = json_loadb((const char *)a->reply->body.data, a->reply->body.len, 0, NULL);
    const char *name = json_string_value(json_object_get(object, "name"));
    json_t *args = name != NULL ? json_pack("{ss}", "name", name) : NULL;
    wf_buf shown;

    wf_buf_init(&shown, API_BODY_MAX);
    if (args != NULL && run(a, route->show, args, true, &shown) == WEFT_OK)
        api_etag(shown.data, shown.len, a->reply->etag);
    if (is_created && name != NULL) {
        size_t base = strcspn(route->path, "{"); /* as far as the collection */

        snprintf(a->reply->location, sizeof a->reply->location, "%.*s%s%s", (int)base, route->path,
                 route->path[base - 1] == '/' ? "" : "/", name);
    }
    json_decref(args);
    json_decref(object);
    wf_buf_fini(&shown);
}

static void do_route(struct ask *a)
{
    const struct api_route *route = a->match.route;
    bool is_get = strcmp(route->method, "GET") == 0;
    bool is_put = strcmp(route->method, "PUT") == 0;
    bool has_conditions = wf_http_request_find(a->request, "if-match").data != NULL ||
                          wf_http_request_find(a->request, "if-none-match").data != NULL;
    const char *operation = route->operation;
    weft_err err = api_route_query(route, a->request->query, a->args, &a->why);

    if (err != WEFT_OK) {
        fail(a, err);
        return;
    }
    if (route->show != NULL && route->variable != NULL) {
        err = show(a);
        if (err != WEFT_OK && err != WEFT_ENOTFOUND) {
            fail(a, err);
            return;
        }
        a->why.text[0] = '\0';
    }
    if (has_conditions && !meets_conditions(a, is_get))
        return;
    if (is_get && a->exists) {
        err = wf_buf_put(&a->reply->body, a->shown.data, a->shown.len);
        api_etag(a->shown.data, a->shown.len, a->reply->etag);
        a->reply->status = 200;
        if (err != WEFT_OK)
            fail(a, err);
        return;
    }
    if (is_put && route->create != NULL) {
        err = fill_defaults(a);
        if (err == WEFT_OK && !a->exists) {
            wf_id id;

            operation = route->create;
            if (wf_id_parse(a->match.variable, strlen(a->match.variable), &id))
                err = wf_fail(&a->why, WEFT_ENOTFOUND, "there is nothing with the id %s",
                              a->match.variable);
        }
        if (err != WEFT_OK) {
            fail(a, err);
            return;
        }
    }
    err = api_route_variable(&a->match, a->by_name, a->args, &a->why);
    if (err == WEFT_OK)
        err = run(a, operation, a->args, false, &a->reply->body);
    if (err != WEFT_OK) {
        fail(a, err);
        return;
    }
    bool is_dry = json_is_true(json_object_get(a->args, "dry_run"));
    bool is_created =
        !is_dry && (route->is_created || (is_put && route->create != NULL && !a->exists));
    a->reply->status = is_created ? 201 : 200;
    if (!is_dry && route->show != NULL && strcmp(route->method, "DELETE") != 0)
        add_address(a, is_created);
}

void api_call(struct controller *c, const struct api_caller *caller,
              const struct wf_http_request *request, struct api_reply *reply)
{
    struct ask a = {.c = c, .caller = caller, .request = request, .reply = reply};
    weft_err err = api_route_find(request->method, request->path, &a.match, &a.why);

    wf_buf_init(&a.shown, API_BODY_MAX);
    if (err != WEFT_OK) {
        fail(&a, err);
    } else if (!a.match.is_path) {
        api_reply_problem(reply, 404, WEFT_ENOTFOUND,
                          "there is no such path; GET /v1/openapi.json lists them all");
    } else if (wf_span_equal(request->method, wf_span_of("OPTIONS", 7))) {
        reply->status = 204;
        memcpy(reply->allow, a.match.allow, sizeof reply->allow);
    } else if (a.match.route == NULL) {
        refuse(&a, 405, "this path doesn't take that method; Allow says which it takes");
        memcpy(reply->allow, a.match.allow, sizeof reply->allow);
    } else if (a.match.route->operation == NULL) {
        reply->status = 200;
        if (wf_buf_put(&reply->body, api_document, api_document_len) != WEFT_OK)
            fail(&a, WEFT_ENOMEM);
    } else if (caller->subject == NULL) {
        api_reply_problem(reply, 401, WEFT_ECREDENTIAL,
                          "show the certificate of an administrator's identity, or a login "
                          "(weft login --print-token) as: Authorization: Bearer TOKEN");
    } else if (is_strange_page(request)) {
        api_reply_problem(reply, 403, WEFT_EREFUSED,
                          "a page of another origin may change nothing here; Origin must be this "
                          "server's, or absent");
    } else if (take_body(&a)) {
        do_route(&a);
    }
    json_decref(a.args);
    wf_buf_fini(&a.shown);
}
