/*
 * Configuration files: a strict reading of YAML 1.1 as a tree of maps, lists
 * and text. Anchors, tags, several documents, duplicate keys, files over
 * 1 MiB and depth over 16 are refused; every message names file and line.
 */
#ifndef PROTO_NODE_YAML_H
#define PROTO_NODE_YAML_H

#include "proto/base/reader.h"
#include "proto/base/why.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct wf_yaml wf_yaml; /* a node of the tree; owned by the root */

weft_err wf_yaml_parse(const char *name, wf_span text, wf_yaml **root, wf_why *why);
weft_err wf_yaml_load(const char *path, wf_yaml **root, wf_why *why);
/* The same for a file of up to so many bytes, whose tree has up to so many nodes. */
weft_err wf_yaml_load_large(const char *path, size_t bytes_max, size_t nodes_max, wf_yaml **root,
                            wf_why *why);
void wf_yaml_free(wf_yaml *root);

/* Refuses keys that are not in the NULL-terminated list: a misspelt option never passes. */
weft_err wf_yaml_only(const wf_yaml *map, const char *const *keys, wf_why *why);
const wf_yaml *wf_yaml_get(const wf_yaml *map, const char *key); /* NULL if absent or no map */
/* The text of a scalar; WEFT_EINVAL with file and line if it is none, or absent and required. */
weft_err wf_yaml_text(const wf_yaml *map, const char *key, bool required, const char **out,
                      wf_why *why);
size_t wf_yaml_count(const wf_yaml *list); /* of a list or a map; 0 otherwise */
const wf_yaml *wf_yaml_item(const wf_yaml *list, size_t i);
const char *wf_yaml_key(const wf_yaml *map, size_t i);
const char *wf_yaml_scalar(const wf_yaml *node); /* NULL if it is none */
int wf_yaml_line(const wf_yaml *node);
/* Sets why to "FILE:LINE: message"; returns WEFT_EINVAL. */
weft_err wf_yaml_fail(const wf_yaml *node, wf_why *why, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
