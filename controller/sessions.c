#include "controller/sessions.h"
#include <stdlib.h>
#include <string.h>

void sessions_forget(struct sessions *sessions, const wf_id *reporter)
{
    size_t kept = 0;

    for (size_t i = 0; i < sessions->count; i++)
        if (!wf_id_equal(&sessions->items[i].reporter, reporter))
            sessions->items[kept++] = sessions->items[i];
    sessions->count = kept;
    if (kept == 0)
        sessions_fini(sessions);
}

void sessions_fini(struct sessions *sessions)
{
    free(sessions->items);
    *sessions = (struct sessions){.items = NULL};
}

static wf_id id_or_zero(ProtobufCBinaryData data)
{
    return data.len == WF_ID_LEN ? wf_pb_get_id(data) : (wf_id){{0}};
}

weft_err sessions_report(struct sessions *sessions, const struct pki_subject *reporter,
                         const Weft__Wire__SessionReport *report)
{
    size_t rows = report->n_rows;

    sessions_forget(sessions, &reporter->id);
    if (rows > SESSIONS_MAX - sessions->count)
        return WEFT_ELIMIT;
    if (sessions->count + rows > sessions->cap) {
        size_t cap = sessions->count + rows + 64;
        struct session *bigger = realloc(sessions->items, cap * sizeof *bigger);

        if (bigger == NULL)
            return WEFT_ENOMEM;
        sessions->items = bigger;
        sessions->cap = cap;
    }
    for (size_t i = 0; i < rows; i++) {
        const Weft__Wire__SessionRow *row = report->rows[i];
        struct session session = {
            .id = wf_pb_get_id(row->session),
            .service = wf_pb_get_id(row->service_id),
            .dialer = id_or_zero(row->dialer),
            .host = id_or_zero(row->host),
            .reporter = reporter->id,
            .reporter_kind = reporter->kind,
            .started = row->started,
            .bytes_to_host = row->bytes_to_host,
            .bytes_to_dialer = row->bytes_to_dialer,
        };

        if (reporter->kind == PKI_IDENTITY && !wf_id_equal(&session.dialer, &reporter->id) &&
            !wf_id_equal(&session.host, &reporter->id))
            continue;
        sessions->items[sessions->count++] = session;
    }
    return WEFT_OK;
}
