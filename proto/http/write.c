/* Writing HTTP/1.1: nothing that could inject is written. */
#include "proto/http/message.h"
#include <string.h>

static bool is_plain(const char *text, uint8_t least)
{
    for (; *text != 0; text++)
        if ((uint8_t)*text < least || (uint8_t)*text == 0x7f)
            return false;
    return true;
}

weft_err wf_http_put_request(wf_buf *out, const char *method, const char *target, const char *host,
                             wf_why *why)
{
    if (!wf_http_is_token(wf_span_of(method, strlen(method))))
        return wf_fail(why, WEFT_EINVAL, "\"%s\" is no HTTP method", method);
    if (target[0] != '/' || !is_plain(target, '!') || strlen(target) > WF_HTTP_TARGET_MAX)
        return wf_fail(why, WEFT_EINVAL,
                       "the path must begin with / and hold no space or control byte");
    if (!is_plain(host, '!'))
        return wf_fail(why, WEFT_EINVAL, "the host holds a space or control byte");
    weft_err err = wf_buf_printf(out, "%s %s HTTP/1.1\r\n", method, target);
    return err == WEFT_OK ? wf_http_put_field(out, "Host", host, why) : err;
}

weft_err wf_http_put_answer(wf_buf *out, unsigned status)
{
    return wf_buf_printf(out, "HTTP/1.1 %u %s\r\n", status, wf_http_reason(status));
}

weft_err wf_http_put_field(wf_buf *out, const char *name, const char *value, wf_why *why)
{
    if (!wf_http_is_token(wf_span_of(name, strlen(name))))
        return wf_fail(why, WEFT_EINVAL, "\"%s\" is no HTTP header name", name);
    if (!is_plain(value, ' '))
        return wf_fail(why, WEFT_EINVAL, "the value of header %s holds a control byte", name);
    return wf_buf_printf(out, "%s: %s\r\n", name, value);
}

weft_err wf_http_put_end(wf_buf *out)
{
    return wf_buf_put_text(out, "\r\n");
}

const char *wf_http_reason(unsigned status)
{
    switch (status) {
    case 200:
        return "OK";
    case 202:
        return "Accepted";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 413:
        return "Content Too Large";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 503:
        return "Service Unavailable";
    case 201:
        return "Created";
    case 204:
        return "No Content";
    case 304:
        return "Not Modified";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 409:
        return "Conflict";
    case 412:
        return "Precondition Failed";
    case 414:
        return "URI Too Long";
    case 415:
        return "Unsupported Media Type";
    case 417:
        return "Expectation Failed";
    case 421:
        return "Misdirected Request";
    case 422:
        return "Unprocessable Content";
    case 429:
        return "Too Many Requests";
    case 501:
        return "Not Implemented";
    case 502:
        return "Bad Gateway";
    case 504:
        return "Gateway Timeout";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Status";
    }
}
