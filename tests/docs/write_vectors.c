/*
 * Writes the outputs of the vectors anew, after the protocol has changed on
 * purpose: docs_vectors docs/vectors. Look at the difference before you keep it.
 */
#include "proto/base/file.h"
#include "tests/docs/vectors.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    char path[4096];
    wf_buf identity;
    wf_why why = {""};
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    snprintf(path, sizeof path, "%s/vectors.json", argv[1]);
    json_t *root = vectors_load(path);
    vectors_fill(root);
    char *text = json_dumps(root, JSON_INDENT(1));
    wf_buf_init(&identity, WF_IDENTITY_FILE_MAX);
    weft_err err = text == NULL ? WEFT_ENOMEM : wf_buf_put_text(&identity, text);
    if (err == WEFT_OK)
        err = wf_buf_put_text(&identity, "\n");
    if (err == WEFT_OK)
        err = wf_file_write(path, identity.data, identity.len, 0644, &why);
    wf_buf_clear(&identity);
    if (err == WEFT_OK)
        vectors_put_identity(root, &identity);
    snprintf(path, sizeof path, "%s/identity.json", argv[1]);
    if (err == WEFT_OK)
        err = wf_file_write(path, identity.data, identity.len, 0644, &why);
    if (err != WEFT_OK)
        fprintf(stderr, "%s\n", why.text);
    wf_buf_fini(&identity);
    free(text);
    json_decref(root);
    return err == WEFT_OK ? 0 : 1;
}
