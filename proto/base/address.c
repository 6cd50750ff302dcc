/* Addresses: read as people type them, written the same way, made into what a socket takes. */
#include "proto/base/address.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define LABEL_MAX 63u /* RFC 1035: one part of a host name */

/* The locale has no say in either. */
static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static bool is_label_char(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

/* A DNS name or an IPv4 address: what ends in a number must be an address (WHATWG URL, 3.5). */
static bool is_host_name(const char *host)
{
    size_t label = 0;
    bool digits_only = true;
    for (const char *at = host; *at != '\0'; at++) {
        if (*at == '.') {
            if (label == 0)
                return false;
            label = 0;
            digits_only = true;
            continue;
        }
        if (!is_label_char(*at))
            return false;
        if (*at == '-' && label == 0)
            return false;
        digits_only = digits_only && is_digit(*at);
        if (++label > LABEL_MAX)
            return false;
    }
    struct in_addr v4;
    if (label == 0)
        return false;
    return !digits_only || inet_pton(AF_INET, host, &v4) == 1;
}

static bool is_ipv6(const char *host)
{
    struct in6_addr v6;
    return inet_pton(AF_INET6, host, &v6) == 1;
}

/* One to five digits without a leading zero; "0" alone is any free port, for those who listen. */
static bool parse_port(const char *text, uint16_t *out)
{
    size_t len = strlen(text);
    uint32_t port = 0;
    if (len == 0 || len > 5 || (text[0] == '0' && len > 1))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_digit(text[i]))
            return false;
        port = port * 10 + (uint32_t)(text[i] - '0');
    }
    if (port > UINT16_MAX)
        return false;
    *out = (uint16_t)port;
    return true;
}

weft_err wf_address_parse(const char *text, uint16_t default_port, wf_address *out, wf_why *why)
{
    wf_address a = {.port = default_port};
    const char *host = text;
    const char *end;  /* of the host */
    const char *port; /* NULL if there is none */
    bool brackets = text[0] == '[';
    if (brackets) {
        host = text + 1;
        end = strchr(host, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':'))
            goto malformed;
        port = end[1] == ':' ? end + 2 : NULL;
    } else {
        end = strchr(text, ':');
        port = end != NULL ? end + 1 : NULL;
        if (end == NULL)
            end = text + strlen(text);
        else if (strchr(port, ':') != NULL)
            return wf_fail(why, WEFT_EINVAL,
                           "address \"%s\": write an IPv6 address in brackets, as in [::1]:9338",
                           text);
    }
    if ((size_t)(end - host) > WF_HOST_MAX)
        goto malformed;
    memcpy(a.host, host, (size_t)(end - host));
    if (brackets ? !is_ipv6(a.host) : !is_host_name(a.host))
        goto malformed;
    if (port != NULL && !parse_port(port, &a.port))
        return wf_fail(why, WEFT_EINVAL, "address \"%s\": the port must be a number up to 65535",
                       text);
    if (port == NULL && default_port == 0)
        return wf_fail(why, WEFT_EINVAL, "address \"%s\": the port is missing, write HOST:PORT",
                       text);
    *out = a;
    return WEFT_OK;

malformed:
    return wf_fail(why, WEFT_EINVAL, "address \"%s\" is not HOST:PORT or [IPV6]:PORT", text);
}

char *wf_address_text(const wf_address *a, char buf[WF_ADDRESS_TEXT])
{
    bool v6 = strchr(a->host, ':') != NULL;
    (void)snprintf(buf, WF_ADDRESS_TEXT, v6 ? "[%s]:%u" : "%s:%u", a->host, (unsigned)a->port);
    return buf;
}

bool wf_address_get_sockaddr(const wf_address *a, struct sockaddr_storage *out)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, a->host, &v4) == 1) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port), .sin_addr = v4};
        memset(out, 0, sizeof *out);
        memcpy(out, &in, sizeof in);
        return true;
    }
    if (inet_pton(AF_INET6, a->host, &v6) == 1) {
        struct sockaddr_in6 in6 = {
            .sin6_family = AF_INET6, .sin6_port = htons(a->port), .sin6_addr = v6};
        memset(out, 0, sizeof *out);
        memcpy(out, &in6, sizeof in6);
        return true;
    }
    return false;
}

weft_err wf_address_get_listen(const wf_address *a, struct sockaddr_storage *out, wf_why *why)
{
    wf_address here = {.host = "127.0.0.1", .port = a->port};
    char text[WF_ADDRESS_TEXT];
    if (wf_address_get_sockaddr(strcmp(a->host, "localhost") == 0 ? &here : a, out))
        return WEFT_OK;
    return wf_fail(why, WEFT_EUSAGE, "%s: give a numeric address to listen on",
                   wf_address_text(a, text));
}

uint16_t wf_sockaddr_port(const struct sockaddr_storage *sa)
{
    if (sa->ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)sa)->sin_port);
    if (sa->ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)sa)->sin6_port);
    return 0;
}
