/*
 * What a file for `weft apply` says, read strictly: docs/api.md. Fields that are
 * left out have their defaults, lists are sets.
 */
#ifndef SDK_CLI_APPLY_H
#define SDK_CLI_APPLY_H

#include "proto/node/yaml.h"
#include "sdk/cli/cli.h"

enum apply_noun { IDENTITY, SERVICE, POLICY };
#define NOUNS 3

enum apply_shape {
    TEXT,
    TEXTS,     /* a list, whose order says nothing */
    ROLES,     /* the same, of attributes */
    SELECTORS, /* the same, of roles and names as a policy writes them */
    LIMITS,    /* a map of whole numbers */
    DURATION,  /* typed as "30d"; a whole number of seconds, as the controller has it */
};

struct apply_field {
    const char *name;
    enum apply_shape shape;
    const char
        *fallback;   /* TEXT, DURATION: what it means to leave it out; NULL: it has to be there */
    const char *key; /* the controller's name for it; NULL: the same */
};

struct apply_kind {
    const char *noun, *section, *list, *create, *update, *delete;
    const struct apply_field *fields; /* ends with a NULL name */
};
extern const struct apply_kind apply_kinds[NOUNS];
extern const char *const apply_limits[]; /* keys of LIMITS; NULL ends */

struct apply_file {
    const char *path;
    bool prunes;           /* so it needs a prefix */
    wf_yaml *root;         /* owned */
    const char *prefix;    /* borrowed from root; NULL: none */
    json_t *wanted[NOUNS]; /* owned: name -> {"line": n, fields} */
};

/* path and prunes are set, the rest is zero. WEFT_EINVAL and WEFT_EUSAGE with file and line. */
weft_err apply_file_read(struct apply_file *file, wf_why *why);
void apply_file_free(struct apply_file *file);
/* A list as a set: sorted, each once. A new reference. */
json_t *apply_set(const json_t *list);

#endif
