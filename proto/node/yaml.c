#include "proto/node/yaml.h"
#include "proto/base/file.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define FILE_MAX (1024u * 1024u)
#define DEPTH_MAX 16
#define NODES_MAX 65536

enum kind { SCALAR, LIST, MAP };

struct wf_yaml {
    enum kind kind;
    int line;
    char *text;      /* owned: a scalar's text */
    wf_yaml **items; /* owned, and what they point at */
    char **keys;     /* owned: of a map, as many as items */
    size_t count, room;
    const char *file; /* borrowed: the root's name */
    char *name;       /* owned: the root alone */
};

struct builder {
    yaml_parser_t parser;
    const char *file;
    size_t nodes, nodes_max;
    wf_why *why;
};

void wf_yaml_free(wf_yaml *y)
{
    if (y == NULL)
        return;
    for (size_t i = 0; i < y->count; i++) {
        wf_yaml_free(y->items[i]);
        if (y->keys != NULL)
            free(y->keys[i]);
    }
    free(y->items);
    free(y->keys);
    free(y->text);
    free(y->name);
    free(y);
}

static weft_err refuse(const struct builder *b, size_t line, const char *what)
{
    return wf_fail(b->why, WEFT_EINVAL, "%s:%zu: %s", b->file, line + 1, what);
}

static weft_err next(struct builder *b, yaml_event_t *event)
{
    if (yaml_parser_parse(&b->parser, event))
        return WEFT_OK;
    return wf_fail(b->why, WEFT_EINVAL, "%s:%zu: %s", b->file, b->parser.problem_mark.line + 1,
                   b->parser.problem != NULL ? b->parser.problem : "no YAML");
}

static weft_err append(wf_yaml *parent, char *key, wf_yaml *item)
{
    if (parent->count == parent->room) {
        size_t room = parent->room == 0 ? 8 : 2 * parent->room;
        wf_yaml **items = realloc(parent->items, room * sizeof *items);
        if (items == NULL)
            return WEFT_ENOMEM;
        parent->items = items;
        if (parent->kind == MAP) {
            char **keys = realloc(parent->keys, room * sizeof *keys);
            if (keys == NULL)
                return WEFT_ENOMEM;
            parent->keys = keys;
        }
        parent->room = room;
    }
    if (parent->kind == MAP)
        parent->keys[parent->count] = key;
    parent->items[parent->count++] = item;
    return WEFT_OK;
}

static weft_err build(struct builder *b, yaml_event_t *event, unsigned depth, wf_yaml **out);

static weft_err build_items(struct builder *b, wf_yaml *node, yaml_event_type_t end, unsigned depth)
{
    yaml_event_t event;
    weft_err err;
    while ((err = next(b, &event)) == WEFT_OK) {
        if (event.type == end) {
            yaml_event_delete(&event);
            return WEFT_OK;
        }
        char *key = NULL;
        wf_yaml *item = NULL;
        if (node->kind == MAP) {
            size_t line = event.start_mark.line;
            if (event.type != YAML_SCALAR_EVENT || event.data.scalar.anchor != NULL ||
                event.data.scalar.tag != NULL ||
                memchr(event.data.scalar.value, 0, event.data.scalar.length) != NULL) {
                yaml_event_delete(&event);
                return refuse(b, line, "a key must be plain text");
            }
            key = strdup((const char *)event.data.scalar.value);
            yaml_event_delete(&event);
            if (key == NULL)
                return WEFT_ENOMEM;
            if (wf_yaml_get(node, key) != NULL) {
                free(key);
                return refuse(b, line, "the same key twice");
            }
            err = next(b, &event);
        }
        if (err == WEFT_OK)
            err = build(b, &event, depth + 1, &item);
        if (err == WEFT_OK)
            err = append(node, key, item);
        if (err != WEFT_OK) {
            free(key);
            wf_yaml_free(item);
            return err;
        }
    }
    return err;
}

/* Consumes event and what belongs to it. */
static weft_err build(struct builder *b, yaml_event_t *event, unsigned depth, wf_yaml **out)
{
    size_t line = event->start_mark.line;
    weft_err err = WEFT_OK;
    bool marked = false;
    wf_yaml *node = calloc(1, sizeof *node);
    if (node == NULL || depth > DEPTH_MAX || ++b->nodes > b->nodes_max) {
        err = node == NULL ? WEFT_ENOMEM : refuse(b, line, "too deep or too large");
        goto done;
    }
    node->line = (int)line + 1;
    node->file = b->file;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        marked = event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL;
        node->kind = SCALAR;
        if (memchr(event->data.scalar.value, 0, event->data.scalar.length) != NULL)
            err = refuse(b, line, "a NUL in text");
        else if ((node->text = strdup((const char *)event->data.scalar.value)) == NULL)
            err = WEFT_ENOMEM;
        break;
    case YAML_SEQUENCE_START_EVENT:
        marked =
            event->data.sequence_start.anchor != NULL || event->data.sequence_start.tag != NULL;
        node->kind = LIST;
        break;
    case YAML_MAPPING_START_EVENT:
        marked = event->data.mapping_start.anchor != NULL || event->data.mapping_start.tag != NULL;
        node->kind = MAP;
        break;
    default:
        marked = true;
        break;
    }
    if (err == WEFT_OK && marked)
        err = refuse(b, line, "anchors, aliases and tags are not taken");
    if (err == WEFT_OK && node->kind != SCALAR)
        err = build_items(
            b, node, node->kind == MAP ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT, depth);
done:
    yaml_event_delete(event);
    if (err != WEFT_OK) {
        wf_yaml_free(node);
        return err;
    }
    *out = node;
    return WEFT_OK;
}

static weft_err expect(struct builder *b, yaml_event_type_t type, const char *what)
{
    yaml_event_t event;
    weft_err err = next(b, &event);
    if (err != WEFT_OK)
        return err;
    if (event.type != type)
        err = refuse(b, event.start_mark.line, what);
    yaml_event_delete(&event);
    return err;
}

static weft_err parse(const char *name, wf_span text, size_t nodes_max, wf_yaml **root, wf_why *why)
{
    struct builder b = {.why = why, .nodes_max = nodes_max};
    yaml_event_t event;
    wf_yaml *node = NULL;
    weft_err err = WEFT_ENOMEM;
    char *file = strdup(name);
    if (file == NULL || !yaml_parser_initialize(&b.parser)) {
        free(file);
        return WEFT_ENOMEM;
    }
    b.file = file;
    yaml_parser_set_input_string(&b.parser, text.data, text.len);
    if ((err = expect(&b, YAML_STREAM_START_EVENT, "no YAML")) != WEFT_OK ||
        (err = expect(&b, YAML_DOCUMENT_START_EVENT, "the file is empty")) != WEFT_OK ||
        (err = next(&b, &event)) != WEFT_OK || (err = build(&b, &event, 0, &node)) != WEFT_OK ||
        (err = expect(&b, YAML_DOCUMENT_END_EVENT, "more than one value")) != WEFT_OK ||
        (err = expect(&b, YAML_STREAM_END_EVENT, "more than one document")) != WEFT_OK)
        goto done;
    node->name = file;
    file = NULL;
    *root = node;
    node = NULL;
done:
    yaml_parser_delete(&b.parser);
    wf_yaml_free(node);
    free(file);
    return err;
}

weft_err wf_yaml_parse(const char *name, wf_span text, wf_yaml **root, wf_why *why)
{
    return parse(name, text, NODES_MAX, root, why);
}

weft_err wf_yaml_load(const char *path, wf_yaml **root, wf_why *why)
{
    return wf_yaml_load_large(path, FILE_MAX, NODES_MAX, root, why);
}

weft_err wf_yaml_load_large(const char *path, size_t bytes_max, size_t nodes_max, wf_yaml **root,
                            wf_why *why)
{
    wf_buf text;
    wf_buf_init(&text, bytes_max);
    weft_err err = wf_file_read(path, &text, why);
    if (err == WEFT_OK)
        err = parse(path, wf_span_of(text.data, text.len), nodes_max, root, why);
    wf_buf_fini(&text);
    return err;
}

weft_err wf_yaml_fail(const wf_yaml *node, wf_why *why, const char *format, ...)
{
    char text[WF_WHY_MAX];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return wf_fail(why, WEFT_EINVAL, "%s:%d: %s", node->file, node->line, text);
}

weft_err wf_yaml_only(const wf_yaml *map, const char *const *keys, wf_why *why)
{
    if (map->kind != MAP)
        return wf_yaml_fail(map, why, "expected \"key: value\" lines");
    for (size_t i = 0; i < map->count; i++) {
        const char *const *k = keys;
        while (*k != NULL && strcmp(*k, map->keys[i]) != 0)
            k++;
        if (*k == NULL)
            return wf_yaml_fail(map->items[i], why, "unknown setting \"%s\"", map->keys[i]);
    }
    return WEFT_OK;
}

const wf_yaml *wf_yaml_get(const wf_yaml *map, const char *key)
{
    for (size_t i = 0; map->kind == MAP && i < map->count; i++)
        if (strcmp(map->keys[i], key) == 0)
            return map->items[i];
    return NULL;
}

weft_err wf_yaml_text(const wf_yaml *map, const char *key, bool required, const char **out,
                      wf_why *why)
{
    const wf_yaml *node = wf_yaml_get(map, key);
    if (node == NULL) {
        if (required)
            return wf_yaml_fail(map, why, "\"%s\" is missing", key);
        return WEFT_OK;
    }
    if (node->kind != SCALAR || *node->text == 0)
        return wf_yaml_fail(node, why, "\"%s\" must be text", key);
    *out = node->text;
    return WEFT_OK;
}

size_t wf_yaml_count(const wf_yaml *list)
{
    return list->kind == SCALAR ? 0 : list->count;
}

const wf_yaml *wf_yaml_item(const wf_yaml *list, size_t i)
{
    return i < wf_yaml_count(list) ? list->items[i] : NULL;
}

const char *wf_yaml_key(const wf_yaml *map, size_t i)
{
    return map->kind == MAP && i < map->count ? map->keys[i] : NULL;
}

const char *wf_yaml_scalar(const wf_yaml *node)
{
    return node->kind == SCALAR ? node->text : NULL;
}

int wf_yaml_line(const wf_yaml *node)
{
    return node->line;
}
