/* Arguments of administrators: whatever comes, a refusal or values within their bounds. */
#include "controller/args.h"
#include "tests/fuzz/check.h"
#include <string.h>

static weft_err find(void *arg, const char *name, wf_id *id)
{
    (void)arg;
    memset(id->b, name[0], sizeof id->b);
    return name[0] == 'x' ? WEFT_ENOTFOUND : WEFT_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct policy_role roles[POLICY_ROLES_MAX];
    static struct store_roles attributes;
    char name[WF_NAME_MAX + 1], text[16];
    struct args args;
    size_t count = 0;
    uint64_t number;
    bool by_id;
    wf_id id;
    wf_why why;

    if (args_open(&args, wf_span_of(data, size), &why) != WEFT_OK)
        return 0;
    if (args_which(&args, &id, name, &by_id) == WEFT_OK && !by_id)
        CHECK(wf_name_check(name, strlen(name), "name", NULL) == WEFT_OK);
    if (args_name(&args, "new_name", false, name) == WEFT_OK)
        CHECK(strlen(name) <= WF_NAME_MAX);
    if (args_text(&args, "type", false, text, sizeof text) == WEFT_OK)
        CHECK(strlen(text) < sizeof text && wf_is_printable(text, strlen(text)));
    if (args_number(&args, "token_life_s", 5, 1, 100, &number) == WEFT_OK)
        CHECK(number >= 1 && number <= 100);
    if (args_attributes(&args, "roles", &attributes) == WEFT_OK)
        CHECK(attributes.count <= POLICY_ROLES_MAX);
    if (args_roles(&args, "identity_roles", true, find, NULL, roles, &count) == WEFT_OK) {
        CHECK(count <= POLICY_ROLES_MAX);
        for (size_t i = 0; i < count; i++)
            CHECK(roles[i].kind != POLICY_ROLE_ALL || count == 1);
    }
    (void)args_end(&args);
    args_close(&args);
    return 0;
}
