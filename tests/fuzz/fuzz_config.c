/* Configuration files: any bytes give a tree or one line with file and line, never a crash. */
#include "proto/node/yaml.h"
#include <stdlib.h>
#include <string.h>

static size_t walk(const wf_yaml *node)
{
    size_t n = wf_yaml_line(node) > 0;
    if (wf_yaml_scalar(node) != NULL)
        return n + strlen(wf_yaml_scalar(node));
    for (size_t i = 0; i < wf_yaml_count(node); i++) {
        const char *key = wf_yaml_key(node, i);
        if (key != NULL && wf_yaml_get(node, key) != wf_yaml_item(node, i))
            abort(); /* a key twice */
        n += walk(wf_yaml_item(node, i));
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    wf_yaml *root = NULL;
    wf_why why = {""};
    if (wf_yaml_parse("f", wf_span_of(data, len), &root, &why) == WEFT_OK)
        (void)walk(root);
    else if (why.text[0] == 0)
        abort(); /* refused without a word */
    wf_yaml_free(root);
    return 0;
}
