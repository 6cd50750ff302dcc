#include "sdk/cli/cli.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 16
#define CELL_MAX 256

static void print_json(const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
    if (text != NULL)
        puts(text);
    free(text);
}

/* A value as people read it: lists joined by commas, a thing by its name, else key=value. */
static void cell(const json_t *value, char out[CELL_MAX])
{
    size_t i, at = 0;
    const json_t *item;
    out[0] = 0;
    if (json_is_string(value)) {
        snprintf(out, CELL_MAX, "%s", json_string_value(value));
    } else if (json_is_integer(value)) {
        snprintf(out, CELL_MAX, "%lld", (long long)json_integer_value(value));
    } else if (json_is_boolean(value)) {
        snprintf(out, CELL_MAX, "%s", json_is_true(value) ? "yes" : "no");
    } else if (json_is_array(value)) {
        json_array_foreach(value, i, item)
        {
            char part[CELL_MAX];
            cell(item, part);
            if (at < CELL_MAX)
                at += (size_t)snprintf(out + at, CELL_MAX - at, "%s%s", i != 0 ? "," : "", part);
        }
    } else if (json_is_object(value)) {
        const char *name = json_string_value(json_object_get(value, "name")), *key;
        json_t *field;
        if (name != NULL)
            snprintf(out, CELL_MAX, "%s", name);
        else
            json_object_foreach((json_t *)(uintptr_t)value, key, field)
            {
                char part[CELL_MAX];
                cell(field, part);
                if (at < CELL_MAX)
                    at += (size_t)snprintf(out + at, CELL_MAX - at, "%s%s=%s", at != 0 ? " " : "",
                                           key, part);
            }
    }
    if (out[0] == 0)
        snprintf(out, CELL_MAX, "-");
}

static void print_table(const json_t *items)
{
    const char *columns[COLUMNS_MAX];
    size_t width[COLUMNS_MAX], count = 0, i;
    const char *key;
    json_t *value, *item, *first = json_array_get(items, 0);
    char text[CELL_MAX];
    if (first == NULL) {
        fputs("none\n", stderr);
        return;
    }
    json_object_foreach(first, key, value)
    {
        if (count == COLUMNS_MAX)
            break;
        width[count] = strlen(key);
        columns[count++] = key;
    }
    json_array_foreach(items, i, item)
    {
        for (size_t c = 0; c < count; c++) {
            cell(json_object_get(item, columns[c]), text);
            if (strlen(text) > width[c])
                width[c] = strlen(text);
        }
    }
    for (size_t c = 0; c < count; c++)
        printf("%-*s%s", c + 1 < count ? (int)width[c] + 2 : 0, columns[c],
               c + 1 < count ? "" : "\n");
    json_array_foreach(items, i, item)
    {
        for (size_t c = 0; c < count; c++) {
            cell(json_object_get(item, columns[c]), text);
            printf("%-*s%s", c + 1 < count ? (int)width[c] + 2 : 0, text,
                   c + 1 < count ? "" : "\n");
        }
    }
}

void cli_print(const json_t *result, bool as_json)
{
    const json_t *items = json_object_get(result, "items");
    const char *key;
    json_t *value;
    size_t i, under = 0;
    if (as_json && json_is_array(items)) {
        json_array_foreach(items, i, value) print_json(value);
    } else if (as_json) {
        print_json(result);
    } else if (json_is_array(items)) {
        print_table(items);
    } else {
        json_object_foreach((json_t *)(uintptr_t)result, key, value)
        {
            char text[CELL_MAX];
            if (json_is_object(json_array_get(value, 0))) {
                under++;
                continue;
            }
            cell(value, text);
            printf("%-16s %s\n", key, text);
        }
        /* Lists of things come last, as tables. */
        json_object_foreach((json_t *)(uintptr_t)result, key, value)
        {
            if (under == 0 || !json_is_object(json_array_get(value, 0)))
                continue;
            printf("\n%s\n", key);
            print_table(value);
        }
    }
}
