/* An HTTP/1.1 server's session: whole or byte by byte, the handler sees the same. */
#include "tests/fuzz/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct session_seen whole, pieces;
    session_run(wf_http_h1_new, data, len, len + 1, &whole);
    session_run(wf_http_h1_new, data, len, 1, &pieces);
    CHECK(whole.requests == pieces.requests && whole.sum == pieces.sum);
    return 0;
}
