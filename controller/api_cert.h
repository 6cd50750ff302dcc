/*
 * The API's certificate: for DNS names and addresses, made in the home by an
 * authority for that alone, or the operator's own files.
 */
#ifndef CONTROLLER_API_CERT_H
#define CONTROLLER_API_CERT_H

#include "controller/home.h"
#include "pki/web.h"

#define HOME_API_CA "api-ca" /* .key, .pem: what a client is told to trust */
#define HOME_API "api"       /* .key, .pem: chain */

/*
 * Makes authority and certificate where they are missing, the names being
 * those of `init --address`, localhost and the loopback addresses.
 */
weft_err api_cert_make(const struct home *home, uint64_t now, wf_why *why);
/* Whether what is there can be used; what isn't is made when it is needed. */
weft_err api_cert_check(const struct home *home, uint64_t now, wf_why *why);
/* api_cert_make, then what a server shows. *out is the caller's. */
weft_err api_cert_open(const struct home *home, uint64_t now, pki_web **out, wf_why *why);
/* A new certificate once half its life is over: *renewed. */
weft_err api_cert_renew(const struct home *home, uint64_t now, pki_web *web, bool *renewed,
                        wf_why *why);
/* The operator's. trust is counted. */
weft_err api_cert_load(const char *cert, const char *key, pki_trust *trust, pki_web **out,
                       wf_why *why);

#endif
