/* The server of `weft quickstart`: HTTP on loopback, verifies webhooks, knows nothing of Weft. */
#ifndef SDK_CLI_RECEIVER_H
#define SDK_CLI_RECEIVER_H

#include <stdint.h>

/* A listening socket on a free port of 127.0.0.1, or -1 with errno. */
int cli_receiver_listen(uint16_t *port);
/* Answers one connection after another until killed; prints each event. Returns an exit status. */
int cli_receiver_run(int listener, const char *secret);

#endif
