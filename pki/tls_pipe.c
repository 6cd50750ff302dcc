/* The BIO of pki/tls.c and pki/web_tls.c: one object, both ways. */
#include "pki/tls_pipe.h"
#include <assert.h>
#include <pthread.h>
#include <string.h>

/* Messages after the handshake (KeyUpdate, tickets) that the other may send at once, and how many
 * records earn it one more. An honest peer sends one in WF_REKEY_RECORDS. */
#define LATE_MESSAGES_MAX 32u
#define LATE_MESSAGE_EVERY 1024u

static int bio_write(BIO *bio, const char *data, size_t len, size_t *written)
{
    struct pki_tls_pipe *pipe = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *written = 0;
    if (pipe->err != WEFT_OK)
        return 0;
    pipe->err = pipe->output(pipe->arg, (const uint8_t *)data, len);
    if (pipe->err != WEFT_OK)
        return 0;
    *written = len;
    return 1;
}

static int bio_read(BIO *bio, char *data, size_t len, size_t *got)
{
    struct pki_tls_pipe *pipe = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *got = 0;
    if (pipe->err != WEFT_OK)
        return 0;
    if (pipe->in_len == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    size_t n = len < pipe->in_len ? len : pipe->in_len;
    if (!pipe->is_up) {
        assert(pipe->greeting_bytes <= pipe->greeting_max);
        if (n > pipe->greeting_max - pipe->greeting_bytes) {
            pipe->err =
                wf_fail(pipe->why, WEFT_ELIMIT, "the %s's handshake has more than %zu bytes",
                        pipe->other, pipe->greeting_max);
            return 0;
        }
        pipe->greeting_bytes += n;
    }
    memcpy(data, pipe->in, n);
    pipe->in += n;
    pipe->in_len -= n;
    *got = n;
    return 1;
}

static long bio_ctrl(BIO *bio, int command, long num, void *ptr)
{
    (void)num;
    (void)ptr;
    const struct pki_tls_pipe *pipe = BIO_get_data(bio);
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_PENDING:
        return (long)pipe->in_len;
    default:
        return 0;
    }
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *bio_method; /* made once, kept for the life of the process */
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static void bio_method_make(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weft");
    if (m == NULL)
        return;
    if (BIO_meth_set_write_ex(m, bio_write) == 1 && BIO_meth_set_read_ex(m, bio_read) == 1 &&
        BIO_meth_set_ctrl(m, bio_ctrl) == 1 && BIO_meth_set_create(m, bio_create) == 1)
        bio_method = m;
    else
        BIO_meth_free(m);
}

bool pki_tls_pipe_attach(struct pki_tls_pipe *pipe, SSL *ssl)
{
    assert(pipe->output != NULL && pipe->other != NULL && pipe->greeting_max > 0);
    pthread_once(&bio_once, bio_method_make);
    BIO *bio = bio_method == NULL ? NULL : BIO_new(bio_method);
    if (bio == NULL)
        return false;
    BIO_set_data(bio, pipe);
    SSL_set_bio(ssl, bio, bio);
    return true;
}

void pki_tls_pipe_count(struct pki_tls_pipe *pipe, int writing, int type)
{
    if (writing || !pipe->is_up)
        return;
    if (type == SSL3_RT_HEADER && ++pipe->late_records == LATE_MESSAGE_EVERY) {
        pipe->late_records = 0;
        if (pipe->late_messages > 0)
            pipe->late_messages--;
    }
    if (type == SSL3_RT_HANDSHAKE && ++pipe->late_messages > LATE_MESSAGES_MAX &&
        pipe->err == WEFT_OK) /* no further byte will be read */
        pipe->err =
            wf_fail(pipe->why, WEFT_EPROTO, "the %s changes its keys without need", pipe->other);
}
