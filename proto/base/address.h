/* Where a node listens, or is reached: as people type it, and as a socket takes it. */
#ifndef PROTO_BASE_ADDRESS_H
#define PROTO_BASE_ADDRESS_H

#include "proto/base/why.h"
#include <stdbool.h>
#include <stdint.h>

struct sockaddr_storage;

#define WF_HOST_MAX 253

/* "host:port", "[v6]:port"; a host without a port takes default_port (0: a port is required). */
typedef struct wf_address {
    char host[WF_HOST_MAX + 1]; /* a DNS name, or digits; IPv6 without brackets */
    uint16_t port;
} wf_address;
/* WEFT_EINVAL, with what is wrong and how to write it. */
weft_err wf_address_parse(const char *text, uint16_t default_port, wf_address *out, wf_why *why);
/* Writes "host:port", with brackets around IPv6; returns buf. */
#define WF_ADDRESS_TEXT (WF_HOST_MAX + 9)
char *wf_address_text(const wf_address *a, char buf[WF_ADDRESS_TEXT]);

/* For a socket. False: the host is a name, to be resolved; out is as before. */
bool wf_address_get_sockaddr(const wf_address *a, struct sockaddr_storage *out);
/* The same for one to listen on: localhost is 127.0.0.1, any other name WEFT_EUSAGE. */
weft_err wf_address_get_listen(const wf_address *a, struct sockaddr_storage *out, wf_why *why);
/* 0: neither IPv4 nor IPv6. */
uint16_t wf_sockaddr_port(const struct sockaddr_storage *sa);

#endif
