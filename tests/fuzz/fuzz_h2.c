/*
 * An HTTP/2 server's session. The input is what follows the preface; a first
 * byte with its highest bit set stands for bytes that are given as they are.
 */
#include "tests/fuzz/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    struct session_seen seen;
    if (len == 0 || len > 60000)
        return 0;
    if ((data[0] & 0x80) != 0) {
        session_run(wf_http_h2_new, data + 1, len - 1, 1 + data[0] % 64u, &seen);
        return 0;
    }
    static uint8_t all[sizeof preface + 60000];
    size_t head = sizeof preface - 1;
    memcpy(all, preface, head);
    memcpy(all + head, data + 1, len - 1);
    session_run(wf_http_h2_new, all, head + len - 1, data[0] == 0 ? len + head : data[0], &seen);
    return 0;
}
