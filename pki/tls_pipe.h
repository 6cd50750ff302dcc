/*
 * What libssl reads from and writes to: the span that was fed last, and the
 * owner's output. Bounds what libssl does not: the bytes of a handshake and
 * the messages of one after it. Inside pki only.
 */
#ifndef PKI_TLS_PIPE_H
#define PKI_TLS_PIPE_H

#include "proto/base/why.h"
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A field of its connection, which sets the first four; all else begins as zero. */
struct pki_tls_pipe {
    weft_err (*output)(void *arg, const uint8_t *data, size_t len); /* data is for the call */
    void *arg;
    const char *other;   /* "peer" or "client": who is at the far end, in errors; static */
    size_t greeting_max; /* bytes of the other's part of the handshake */
    wf_why *why;         /* borrowed for the call that is under way; NULL between calls */
    const uint8_t *in;   /* borrowed until the next feed */
    size_t in_len;
    weft_err err; /* output failed, or a bound was hit: nothing goes either way any more */
    bool is_up;   /* the handshake is done */
    size_t greeting_bytes;
    unsigned late_messages, late_records; /* after the handshake; see pki_tls_pipe_count */
};

/*
 * Makes the BIO that is this pipe, for both ways of ssl, which owns it from
 * then on. The pipe must outlive ssl. False: no memory.
 */
bool pki_tls_pipe_attach(struct pki_tls_pipe *pipe, SSL *ssl);
/*
 * For the message callback of libssl, with its own first arguments. Once the
 * pipe is up it counts messages of the handshake that come in (KeyUpdate,
 * RFC 8446 section 4.6.3): more than 32 at once, or more than one in 1,024
 * records, are the pipe's WEFT_EPROTO.
 */
void pki_tls_pipe_count(struct pki_tls_pipe *pipe, int writing, int type);

#endif
