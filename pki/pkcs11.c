/* RFC 7512, section 2.3: what is not named here is refused by its name. */
#include "pki/pkcs11.h"
#include <stdio.h>
#include <string.h>

static const char scheme[] = "pkcs11:";

bool pki_pkcs11_is(const char *text)
{
    return strncmp(text, scheme, strlen(scheme)) == 0;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* What may stand in a value as it is: RFC 7512's pk11-pchar and pk11-qchar without "%" and "&". */
static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-._~:[]@!$'()*+,=/", c) != NULL);
}

/* Percent-decoding. binary: any byte, counted by *len; else text without control characters. */
static bool decode(const char *at, size_t len, bool binary, char *out, size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)at[i];

        if (c == '%') {
            if (len - i < 3 || hex(at[i + 1]) < 0 || hex(at[i + 2]) < 0)
                return false;
            c = (unsigned char)(hex(at[i + 1]) * 16 + hex(at[i + 2]));
            i += 2;
        } else if (!is_plain(at[i])) {
            return false;
        }
        if (n == max || (!binary && (c < 0x20 || c == 0x7f)))
            return false;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return n > 0;
}

static bool is(const char *at, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(at, word, len) == 0;
}

enum attribute { TOKEN, OBJECT, ID, TYPE, SERIAL, MANUFACTURER, MODEL, ATTRIBUTES };
static const char *const attributes[ATTRIBUTES] = {"token",  "object",       "id",   "type",
                                                   "serial", "manufacturer", "model"};

static weft_err take_attribute(const char *at, size_t len, bool seen[ATTRIBUTES],
                               struct pki_pkcs11 *out, wf_why *why)
{
    char value[PKI_PKCS11_PART_MAX + 1];
    const char *equals = memchr(at, '=', len);
    size_t name = equals == NULL ? len : (size_t)(equals - at), which = 0;

    if (is(at, name, "pin-value"))
        return wf_fail(why, WEFT_EINVAL,
                       "a PIN doesn't belong into a URI: put it into a file and say "
                       "?pin-source=file:/PATH, or WEFT_PKCS11_PIN_FILE");
    while (which < ATTRIBUTES && !is(at, name, attributes[which]))
        which++;
    if (which == ATTRIBUTES || equals == NULL)
        return wf_fail(why, WEFT_EINVAL,
                       "the pkcs11 URI's attribute '%.*s' isn't served: token, object, id, serial, "
                       "manufacturer, model and type are",
                       (int)(name < 40 ? name : 40), at);
    if (seen[which])
        return wf_fail(why, WEFT_EINVAL, "the pkcs11 URI names its %s twice", attributes[which]);
    seen[which] = true;
    if (!decode(equals + 1, len - name - 1, which == ID, value, PKI_PKCS11_PART_MAX))
        return wf_fail(why, WEFT_EINVAL, "the pkcs11 URI's %s is no value that RFC 7512 knows",
                       attributes[which]);
    if (which == TYPE)
        return strcmp(value, "private") == 0
                   ? WEFT_OK
                   : wf_fail(why, WEFT_EINVAL, "the pkcs11 URI must name a private key");
    if (which == TOKEN)
        memcpy(out->token, value, sizeof value);
    else if (which == OBJECT)
        memcpy(out->object, value, sizeof value);
    size_t have = strlen(out->name);
    snprintf(out->name + have, sizeof out->name - have, "%.*s;", (int)len, at);
    return WEFT_OK;
}

static weft_err take_query(const char *at, size_t len, struct pki_pkcs11 *out, wf_why *why)
{
    static const char source[] = "pin-source=";
    char value[PKI_PKCS11_URI_MAX + 1];
    const char *path = value;

    if (len >= 10 && memcmp(at, "pin-value=", 10) == 0)
        return wf_fail(why, WEFT_EINVAL,
                       "a PIN doesn't belong into a URI: put it into a file and say "
                       "?pin-source=file:/PATH, or WEFT_PKCS11_PIN_FILE");
    if (len >= 7 && memcmp(at, "module-", 7) == 0)
        return wf_fail(why, WEFT_EINVAL,
                       "a URI doesn't choose the code that runs: name the module by "
                       "WEFT_PKCS11_MODULE");
    if (len < strlen(source) || memcmp(at, source, strlen(source)) != 0 || out->pin_file[0] != '\0')
        return wf_fail(why, WEFT_EINVAL,
                       "behind the ? of a pkcs11 URI stands pin-source=file:/PATH, once, or "
                       "nothing");
    if (!decode(at + strlen(source), len - strlen(source), false, value, PKI_PKCS11_URI_MAX))
        return wf_fail(why, WEFT_EINVAL, "the pkcs11 URI's pin-source is no path");
    if (strncmp(path, "file:", 5) == 0)
        path += 5;
    if (strncmp(path, "///", 3) == 0)
        path += 2;
    if (path[0] != '/')
        return wf_fail(why, WEFT_EINVAL,
                       "the pkcs11 URI's pin-source must be an absolute path: file:/PATH");
    memcpy(out->pin_file, path, strlen(path) + 1);
    return WEFT_OK;
}

weft_err pki_pkcs11_parse(const char *text, struct pki_pkcs11 *out, wf_why *why)
{
    struct pki_pkcs11 uri;
    bool seen[ATTRIBUTES] = {false};
    const char *at = text, *query;
    weft_err err = WEFT_OK;

    memset(&uri, 0, sizeof uri);
    if (!pki_pkcs11_is(text) || strlen(text) + strlen(";type=private") > PKI_PKCS11_URI_MAX)
        return wf_fail(why, WEFT_EINVAL, "this is no pkcs11 URI of at most %u bytes",
                       PKI_PKCS11_URI_MAX);
    memcpy(uri.name, scheme, sizeof scheme);
    at += strlen(scheme);
    query = strchr(at, '?');
    const char *end = query != NULL ? query : at + strlen(at);
    while (err == WEFT_OK && at < end) {
        const char *stop = memchr(at, ';', (size_t)(end - at));
        size_t len = (size_t)((stop != NULL ? stop : end) - at);

        err = take_attribute(at, len, seen, &uri, why);
        at += len + 1;
    }
    if (err == WEFT_OK && !seen[OBJECT] && !seen[ID])
        err = wf_fail(why, WEFT_EINVAL,
                      "the pkcs11 URI names no key: say pkcs11:token=TOKEN;object=LABEL");
    while (err == WEFT_OK && query != NULL) {
        const char *next = strchr(query + 1, '&');

        err = take_query(query + 1, next != NULL ? (size_t)(next - query - 1) : strlen(query + 1),
                         &uri, why);
        query = next;
    }
    if (err != WEFT_OK)
        return err;
    size_t have = strlen(uri.name);
    snprintf(uri.name + have, sizeof uri.name - have, "type=private");
    *out = uri;
    return WEFT_OK;
}
