/* service.*: docs/operations.md. */
#include "controller/change.h"
#include "controller/view.h"
#include <jansson.h>
#include <string.h>

static weft_err take_mode(struct call *call, struct args *args, enum store_mode fallback,
                          enum store_mode *out)
{
    static const char *const words[] = {"stream", "parcel", "both"};
    char text[16];
    weft_err err = args_text(args, "mode", false, text, sizeof text);

    if (err != WEFT_OK)
        return err;
    if (text[0] == '\0') {
        *out = fallback;
        return WEFT_OK;
    }
    for (unsigned i = 0; i < 3; i++)
        if (strcmp(text, words[i]) == 0) {
            *out = (enum store_mode)(i + 1);
            return WEFT_OK;
        }
    return wf_fail(&call->why, WEFT_EINVAL, "mode '%s' is none of stream, parcel, both", text);
}

#define SESSIONS_MAX 1000000u
#define SECONDS_MAX (30u * 86400u)

/* Limits that are given; the others stay as they are, 0 takes one away. */
static weft_err take_limits(struct args *args, struct store_limits *limits)
{
    static const char *const keys[] = {"sessions", "sessions_per_identity", "idle", "max_age",
                                       NULL};
    uint64_t idle = limits->idle_ms / 1000, age = limits->age_ms / 1000;
    weft_err err = args_number_in(args, "limits", keys[0], SESSIONS_MAX, &limits->sessions);

    if (err == WEFT_OK)
        err = args_number_in(args, "limits", keys[1], SESSIONS_MAX, &limits->sessions_per_identity);
    if (err == WEFT_OK)
        err = args_number_in(args, "limits", keys[2], SECONDS_MAX, &idle);
    if (err == WEFT_OK)
        err = args_number_in(args, "limits", keys[3], SECONDS_MAX, &age);
    limits->idle_ms = idle * 1000;
    limits->age_ms = age * 1000;
    return err == WEFT_OK ? args_object_end(args, "limits", keys) : err;
}

weft_err op_service_create(struct call *call, struct args *args)
{
    struct store_service service = {.id = wf_id_random(), .created = call->now};
    weft_err err = args_name(args, "name", true, service.name);

    if (err == WEFT_OK)
        err = args_attributes(args, "roles", &service.roles);
    if (err == WEFT_OK)
        err = take_mode(call, args, STORE_MODE_STREAM, &service.mode);
    if (err == WEFT_OK)
        err = take_limits(args, &service.limits);
    if (err == WEFT_OK)
        err = args_end(args);
    if (err != WEFT_OK)
        return err;
    wf_fail(&call->what, WEFT_OK, "%s", service.name);
    err = store_service_add(call->c->home.store, &service);
    if (err == WEFT_OK)
        err = call_changed(call, CATALOG_SERVICE, &service.id);
    if (err == WEFT_OK)
        err = change_notice_service(call, &service.id);
    if (err != WEFT_OK)
        return call_fail(call, err, "service", service.name);
    return view_answer(call, view_service(&service));
}

static weft_err add_row(void *arg, const struct store_service *service)
{
    return view_list_add(arg, service->name, view_service(service));
}

weft_err op_service_list(struct call *call, struct args *args)
{
    struct view_list list;
    char after[WF_NAME_MAX + 1];
    weft_err err = view_list_open(&list, call, args, after);

    if (err != WEFT_OK)
        return err;
    return view_list_close(&list, store_service_each(call->c->home.store, after, add_row, &list));
}

static weft_err find(struct call *call, struct args *args, struct store_service *out)
{
    store *s = call->c->home.store;
    struct call_which which;
    weft_err err = call_which(call, args, &which);

    if (err != WEFT_OK)
        return err;
    err =
        which.by_id ? store_service_get(s, &which.id, out) : store_service_find(s, which.name, out);
    return call_found(call, err, "service", &which, out->name);
}

weft_err op_service_show(struct call *call, struct args *args)
{
    struct store_service service;
    weft_err err = find(call, args, &service);

    if (err == WEFT_OK)
        err = args_end(args);
    return err == WEFT_OK ? view_answer(call, view_service(&service)) : err;
}

weft_err op_service_update(struct call *call, struct args *args)
{
    struct controller *c = call->c;
    struct store_service service;
    char new_name[WF_NAME_MAX + 1];
    weft_err err = find(call, args, &service);

    if (err != WEFT_OK)
        return err;
    if (!args_has(args, "roles") && !args_has(args, "new_name") && !args_has(args, "mode") &&
        !args_has(args, "limits"))
        return wf_fail(&call->why, WEFT_EINVAL,
                       "nothing to change: give 'roles', 'new_name', 'mode' or 'limits'");
    if (args_has(args, "roles"))
        err = args_attributes(args, "roles", &service.roles);
    if (err == WEFT_OK)
        err = args_name(args, "new_name", false, new_name);
    if (err == WEFT_OK)
        err = take_mode(call, args, service.mode, &service.mode);
    if (err == WEFT_OK)
        err = take_limits(args, &service.limits);
    if (err == WEFT_OK)
        err = args_end(args);
    if (err != WEFT_OK)
        return err;
    if (new_name[0] != '\0')
        memcpy(service.name, new_name, sizeof service.name);
    err = store_service_put(c->home.store, &service);
    if (err == WEFT_OK)
        err = call_changed(call, CATALOG_SERVICE, &service.id);
    if (err == WEFT_OK && args_has(args, "roles"))
        err = floors_withdraw(&c->home, &c->catalog, &c->turn,
                              (struct floors_scope){.service = &service.id}, call->now,
                              &call->withdrawn);
    if (err == WEFT_OK)
        err = change_notice_service(call, &service.id);
    if (err != WEFT_OK)
        return call_fail(call, err, "service", service.name);
    return view_answer(call, view_service(&service));
}

weft_err op_service_delete(struct call *call, struct args *args)
{
    struct controller *c = call->c;
    struct store_service service;
    weft_err err = find(call, args, &service);

    if (err == WEFT_OK)
        err = args_end(args);
    if (err != WEFT_OK)
        return err;
    err = change_notice_service(call, &service.id);
    if (err == WEFT_OK)
        err = floors_withdraw_service(&c->home, &c->catalog, &c->turn, &service.id, call->now,
                                      &call->withdrawn);
    if (err == WEFT_OK)
        err = call_removing(call, CATALOG_SERVICE, &service.id, store_service_remove);
    if (err != WEFT_OK)
        return call_fail(call, err, "service", service.name);
    return view_answer(call, view_service(&service));
}
