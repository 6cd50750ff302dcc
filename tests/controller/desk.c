#include "desk.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The top is short, so that what is below it fits. */
void folder_make(struct folder *f)
{
    struct init_config config = {.dir = f->home, .domain = "test.weft"};
    wf_why why = {""};
    weft_err err;

    memcpy(f->top, "/tmp/weft-test-XXXXXX", sizeof "/tmp/weft-test-XXXXXX");
    assert_non_null(mkdtemp(f->top));
    snprintf(f->home, sizeof f->home, "%.60s/home", f->top);
    snprintf(f->admin, sizeof f->admin, "%.70s/admin.json", f->home);
    err = init_home(&config, &why);
    if (err != WEFT_OK)
        fail_msg("init: %s: %s", weft_err_name(err), why.text);
}

static void remove_all(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;

    if (dir == NULL) {
        (void)unlinkat(at, name, 0);
        return;
    }
    while ((entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            remove_all(dirfd(dir), entry->d_name);
    closedir(dir);
    (void)unlinkat(at, name, AT_REMOVEDIR);
}

void folder_remove(struct folder *f)
{
    remove_all(AT_FDCWD, f->top);
}

/* ---- the desk */

static void keep_line(void *arg, const char *text)
{
    struct desk *d = arg;
    size_t len = strlen(d->log);

    snprintf(d->log + len, sizeof d->log - len, "%s\n", text);
}

void desk_hush(struct desk *d)
{
    d->log[0] = '\0';
}

static weft_err first_admin(void *arg, const struct store_node *row)
{
    struct desk *d = arg;

    d->admin.id = row->id;
    d->admin.kind = PKI_IDENTITY;
    d->admin.pin = row->pin;
    d->admin.not_after = row->expires;
    memcpy(d->admin.name, row->name, sizeof row->name);
    return WEFT_EEOF;
}

void desk_open(struct desk *d)
{
    wf_why why = {""};

    memset(d, 0, sizeof *d);
    wf_buf_init(&d->result, WF_CONTROL_MAX);
    memset(d->channel, 7, sizeof d->channel);
    folder_make(&d->folder);
    wf_log_open("test", WF_LOG_INFO, WF_LOG_TEXT);
    wf_log_redirect(keep_line, d);
    if (controller_init(&d->c, d->folder.home, &why) != WEFT_OK)
        fail_msg("open: %s", why.text);
    assert_int_equal(store_admin_each(d->c.home.store, NULL, first_admin, d), WEFT_OK);
}

void desk_close(struct desk *d)
{
    controller_fini(&d->c);
    wf_buf_fini(&d->result);
    wf_log_redirect(NULL, NULL);
    folder_remove(&d->folder);
}

static struct desk *used; /* borrowed: by open_desk and close_desk */

void desk_use(struct desk *d)
{
    used = d;
}

int open_desk(void **state)
{
    (void)state;
    desk_open(used);
    return 0;
}

int close_desk(void **state)
{
    (void)state;
    desk_close(used);
    return 0;
}

static weft_err export_channel(void *arg, const char *label, uint8_t out[32])
{
    const struct desk *d = arg;

    /* Two labels, two secrets. */
    memcpy(out, d->channel, 32);
    out[0] = (uint8_t)(out[0] ^ strlen(label));
    return WEFT_OK;
}

weft_err desk_call(struct desk *d, unsigned who, const struct pki_subject *subject,
                   const char *operation, wf_span arguments)
{
    struct call call = {
        .c = &d->c,
        .who = who,
        .subject = subject,
        .remote = "desk",
        .exporter = export_channel,
        .exporter_arg = d,
        .operation = operation,
        .arguments = arguments,
        .now = d->now != 0 ? d->now : wf_now_wall_ms(),
    };
    weft_err err;

    wf_buf_init(&call.result, OPERATION_RESULT_MAX);
    err = operation_run(&call);
    assert_int_equal(controller_end_turn(&d->c, NULL), WEFT_OK);
    wf_buf_fini(&d->result);
    d->result = call.result;
    d->why = call.why;
    return err;
}

weft_err desk_ask(struct desk *d, const char *operation, const char *json, ...)
{
    char text[4096];
    va_list args;

    va_start(args, json);
    vsnprintf(text, sizeof text, json, args);
    va_end(args);
    return desk_call(d, WHO_IDENTITY, &d->admin, operation, wf_span_of(text, strlen(text)));
}

json_t *desk_json(struct desk *d)
{
    json_t *value = json_loadb((const char *)d->result.data, d->result.len, 0, NULL);

    assert_non_null(value);
    return value;
}

const char *desk_text(struct desk *d, const char *path)
{
    static char kept[WF_TOKEN_MAX];
    json_t *root = desk_json(d);
    const json_t *at = root;
    const char *text;

    while (at != NULL && *path != '\0') {
        char key[64];
        size_t len = strcspn(path, "/");

        snprintf(key, sizeof key, "%.*s", (int)len, path);
        at = json_object_get(at, key);
        path += len + (path[len] == '/');
    }
    text = json_string_value(at);
    if (text != NULL)
        snprintf(kept, sizeof kept, "%s", text);
    json_decref(root);
    return text != NULL ? kept : NULL;
}

/* ---- nodes */

weft_err desk_enroll(struct desk *d, const char *token, struct node *node)
{
    Weft__Wire__EnrollCall ask;
    Weft__Wire__EnrollResult *result = NULL;
    wf_span der[WF_CHAIN_DEPTH];
    char copy[WF_TOKEN_MAX], address[] = "127.0.0.1:9339", *addresses[] = {address};
    wf_buf csr, proof, encoded;
    uint8_t channel[32];
    weft_err err;

    snprintf(copy, sizeof copy, "%s", token);
    wf_buf_init(&csr, WF_CSR_MAX);
    wf_buf_init(&proof, 1024);
    wf_buf_init(&encoded, WF_CONTROL_MAX);
    if (node->key == NULL)
        assert_int_equal(pki_key_new(PKI_KEY_P256, &node->key, NULL), WEFT_OK);
    assert_int_equal(pki_csr_make(node->key, &csr, NULL), WEFT_OK);
    export_channel(d, "EXPORTER-weft-enroll", channel);
    assert_int_equal(pki_proof_make(node->key, PKI_LABEL_ENROLL, wf_span_of(copy, strlen(copy)),
                                    channel, &proof),
                     WEFT_OK);
    weft__wire__enroll_call__init(&ask);
    ask.token = copy;
    ask.csr = wf_pb_bytes(csr.data, csr.len);
    ask.proof = wf_pb_bytes(proof.data, proof.len);
    ask.n_addresses = 1;
    ask.addresses = addresses;
    assert_int_equal(wf_message_put(&ask.base, &encoded), WEFT_OK);
    err = desk_call(d, WHO_ANYONE, NULL, "enroll", wf_span_of(encoded.data, encoded.len));
    wf_buf_fini(&csr);
    wf_buf_fini(&proof);
    wf_buf_fini(&encoded);
    if (err != WEFT_OK)
        return err;
    assert_int_equal(wf_enroll_result_decode(d->result.data, d->result.len, &result, &d->why),
                     WEFT_OK);
    for (size_t i = 0; i < result->n_chain; i++)
        der[i] = wf_pb_span(result->chain[i]);
    pki_chain_free(node->chain);
    assert_int_equal(pki_chain_from_der(der, result->n_chain, &node->chain, NULL), WEFT_OK);
    err = pki_trust_check_chain(d->c.home.trust, node->chain, PKI_IDENTITY | PKI_ROUTER, PKI_CLIENT,
                                false, d->now != 0 ? d->now : wf_now_wall_ms(), &node->subject,
                                &d->why);
    assert_int_equal(err, WEFT_OK);
    assert_memory_equal(result->id.data, node->subject.id.b, WF_ID_LEN);
    assert_string_equal(result->name, node->subject.name);
    wf_enroll_result_free(result);
    return WEFT_OK;
}

void desk_identity(struct desk *d, const char *name, const char *roles, struct node *node)
{
    memset(node, 0, sizeof *node);
    desk_do(d, "identity.create", "{\"name\":\"%s\",\"roles\":%s}", name, roles);
    assert_int_equal(desk_enroll(d, desk_text(d, "token"), node), WEFT_OK);
}

void node_fini(struct node *node)
{
    pki_key_free(node->key);
    pki_chain_free(node->chain);
}

weft_err desk_grants(struct desk *d, const struct node *node, const char *const *services,
                     uint64_t carry, Weft__Wire__GrantsResult **out)
{
    Weft__Wire__GrantsCall ask;
    char text[64][WF_NAME_MAX + 1], *names[64];
    wf_buf encoded;
    weft_err err;

    wf_buf_init(&encoded, WF_CONTROL_MAX);
    weft__wire__grants_call__init(&ask);
    ask.services = names;
    ask.carry = carry;
    for (; services != NULL && services[ask.n_services] != NULL; ask.n_services++) {
        snprintf(text[ask.n_services], sizeof text[0], "%s", services[ask.n_services]);
        names[ask.n_services] = text[ask.n_services];
    }
    assert_int_equal(wf_message_put(&ask.base, &encoded), WEFT_OK);
    err =
        desk_call(d, WHO_IDENTITY, &node->subject, "grants", wf_span_of(encoded.data, encoded.len));
    wf_buf_fini(&encoded);
    if (err == WEFT_OK)
        assert_int_equal(wf_grants_result_decode(d->result.data, d->result.len, out, &d->why),
                         WEFT_OK);
    return err;
}

weft_err desk_check(struct desk *d, const struct node *node, const Weft__Wire__Signed *grant,
                    enum policy_type type)
{
    struct pki_grant seen;

    return pki_trust_check_grant(d->c.home.trust, grant, &node->subject, NULL,
                                 (Weft__Wire__Role)type, d->now != 0 ? d->now : wf_now_wall_ms(),
                                 &seen, &d->why);
}
