/*
 * The blocking face: standard input to a service, what comes back to standard
 * output, one thread for each direction.
 *
 *     WEFT_IDENTITY=web-dial.jwt cat web < request > answer
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <weft/weft.h>

static void *send_input(void *arg)
{
    weft_conn *conn = arg;
    static char buf[65536];
    weft_why why = {""};
    ssize_t n;
    while ((n = read(STDIN_FILENO, buf, sizeof buf)) > 0)
        if (weft_conn_write(conn, buf, (size_t)n, 0, &why) != WEFT_OK)
            return NULL; /* the reader learns why */
    if (n == 0)
        (void)weft_conn_end(conn, &why);
    return NULL;
}

int main(int argc, char **argv)
{
    weft_why why = {""};
    weft_client *client;
    weft_conn *conn;
    pthread_t sender;
    static char buf[65536];
    size_t got;

    if (argc != 2) {
        fprintf(stderr, "usage: WEFT_IDENTITY=FILE %s SERVICE\n", argv[0]);
        return 2;
    }
    weft_err err = weft_client_open(NULL, &client, &why);
    if (err != WEFT_OK) {
        fprintf(stderr, "%s\n", why.text);
        return weft_err_exit_status((int)err);
    }
    err = weft_client_dial(client, argv[1], NULL, &conn, &why);
    if (err != WEFT_OK)
        goto done;
    fprintf(stderr, "talking to %s\n", weft_conn_peer(conn)->name);
    if (pthread_create(&sender, NULL, send_input, conn) != 0) {
        weft_conn_close(conn);
        err = WEFT_ENOMEM;
        goto done;
    }
    /* 0 bytes with WEFT_OK: the other side's own end of stream; anything cut short is an error. */
    while ((err = weft_conn_read(conn, buf, sizeof buf, &got, 0, &why)) == WEFT_OK && got > 0)
        if (fwrite(buf, 1, got, stdout) != got)
            break;
    fflush(stdout);
    if (err != WEFT_OK) {
        /* Whatever standard input still holds nobody wants: don't wait for the sender. */
        fprintf(stderr, "%s\n", why.text);
        _Exit(weft_err_exit_status((int)err));
    }
    pthread_join(sender, NULL);
    weft_conn_close(conn);
done:
    if (err != WEFT_OK)
        fprintf(stderr, "%s\n", why.text);
    weft_client_close(client);
    return weft_err_exit_status((int)err);
}
