/*
 * The routes of the HTTPS API: which method and path is which operation, and
 * how path and query become its arguments. One line each in api_route.c;
 * docs/openapi.json says the same to the outside. No I/O: bytes in, JSON out.
 */
#ifndef CONTROLLER_API_ROUTE_H
#define CONTROLLER_API_ROUTE_H

#include "proto/base/reader.h"
#include "proto/base/text.h"
#include "proto/base/why.h"
#include <stdbool.h>

struct json_t;

struct api_route {
    const char *method;
    const char *path;      /* "/v1/identities/{which}/disable": one variable at most */
    const char *operation; /* NULL: the document itself */
    const char *query;     /* parameters that may be there, separated by spaces; NULL: none */
    const char *variable;  /* the argument that the variable fills; "which": name or id */
    const char *show;      /* the operation that shows the thing, for its ETag; NULL: it has none */
    const char *create;    /* PUT: the operation that makes what isn't there */
    const char *defaults;  /* PUT: JSON of the fields that the body may leave out */
    bool has_body, is_created;
};

#define API_SEGMENT_MAX 128u

struct api_match {
    const struct api_route *route; /* NULL: no such method there */
    bool is_path;                  /* there is this path, with another method perhaps */
    bool is_head;                  /* HEAD, served as GET */
    char variable[API_SEGMENT_MAX];
    char allow[64]; /* methods of the path, "GET, HEAD, OPTIONS" */
};

/* WEFT_EINVAL: the path is no path; else *out is filled, whatever was found. */
weft_err api_route_find(wf_span method, wf_span path, struct api_match *out, wf_why *why);
/* Puts the query's parameters into args (an object). WEFT_EINVAL. */
weft_err api_route_query(const struct api_route *route, wf_span query, struct json_t *args,
                         wf_why *why);
/* Puts the path's variable into args. by_name: even if it looks like an id. WEFT_EINVAL. */
weft_err api_route_variable(const struct api_match *match, bool by_name, struct json_t *args,
                            wf_why *why);
/* For tests and the document: path NULL behind the last. */
struct api_route api_route_row(size_t i);

#endif
