/* The server of `weft quickstart`: plain HTTP on loopback, knows nothing of Weft, verifies webhook
 * signatures. */
#ifndef SDK_CLI_RECEIVER_H
#define SDK_CLI_RECEIVER_H

#include <stdint.h>

/* A listening socket on a free port of 127.0.0.1, or -1 with errno. */
int cli_receiver_listen(uint16_t *port);
/* Answers one connection after another until it is killed; prints each event. Returns an exit
 * status. */
int cli_receiver_run(int listener, const char *secret);

#endif
