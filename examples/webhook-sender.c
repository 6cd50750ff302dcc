/*
 * A webhook sender with Weft inside: no port is opened, no address of the
 * receiver is known, and what is sent can be read by the receiver alone.
 *
 *     WEFT_IDENTITY=web-dial.jwt webhook-sender web /hooks/push '{"ref":"refs/heads/main"}'
 *
 * Prints the answer; ends with 0 for a 2xx.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

#define ANSWER_MAX (1024 * 1024)
#define TIMEOUT_MS 30000

static int fail(weft_err err, const weft_why *why)
{
    fprintf(stderr, "%s\n", why->text);
    return weft_err_exit_status((int)err);
}

int main(int argc, char **argv)
{
    weft_why why = {""};
    weft_client *client;
    weft_conn *conn;
    if (argc != 4) {
        fprintf(stderr, "usage: WEFT_IDENTITY=FILE %s SERVICE PATH BODY\n", argv[0]);
        return 2;
    }
    const char *service = argv[1], *path = argv[2], *body = argv[3];
    char head[2048];
    int head_len = snprintf(head, sizeof head,
                            "POST %s HTTP/1.1\r\n"
                            "Host: %s\r\n"
                            "Content-Type: application/json\r\n"
                            "Content-Length: %zu\r\n"
                            "Connection: close\r\n"
                            "\r\n",
                            path, service, strlen(body));
    if (head_len < 0 || (size_t)head_len >= sizeof head || strpbrk(path, " \r\n") != NULL) {
        fprintf(stderr, "this is no path to post to\n");
        return 2;
    }

    weft_err err = weft_client_open(NULL, &client, &why);
    if (err != WEFT_OK)
        return fail(err, &why);
    int status = 1;
    err = weft_client_dial(client, service, NULL, &conn, &why);
    if (err != WEFT_OK) {
        status = fail(err, &why);
        goto close_client;
    }
    char *answer = malloc(ANSWER_MAX + 1);
    size_t len = 0, got = 0;
    if (answer == NULL)
        goto close_conn;
    err = weft_conn_write(conn, head, (size_t)head_len, TIMEOUT_MS, &why);
    if (err == WEFT_OK && body[0] != '\0')
        err = weft_conn_write(conn, body, strlen(body), TIMEOUT_MS, &why);
    if (err == WEFT_OK)
        err = weft_conn_end(conn, &why);
    while (err == WEFT_OK && len < ANSWER_MAX) {
        err = weft_conn_read(conn, answer + len, ANSWER_MAX - len, &got, TIMEOUT_MS, &why);
        if (err != WEFT_OK || got == 0)
            break;
        len += got;
    }
    answer[len] = '\0';
    if (err != WEFT_OK) {
        status = fail(err, &why);
    } else {
        puts(answer);
        status = strncmp(answer, "HTTP/1.", 7) == 0 && len > 9 && answer[9] == '2' ? 0 : 1;
    }
    free(answer);
close_conn:
    weft_conn_close(conn);
close_client:
    weft_client_close(client);
    return status;
}
