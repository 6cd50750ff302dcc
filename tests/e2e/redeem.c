/*
 * Redeems one token many times at once, each time with another key, through
 * the public API alone: each thread is a machine on which somebody found the
 * same token.
 *
 *     redeem TOKEN.jwt COUNT FOLDER
 *
 * Prints how many of the results there were, one line each: "1 WEFT_OK".
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

#define TOKEN_MAX 8192
#define COUNT_MAX 5000
#define STACK (512u * 1024u)

static char token[TOKEN_MAX];
static const char *folder;
static unsigned results[64];
static weft_why last_why[64];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t begin;

static void *redeem(void *arg)
{
    char out[4096];
    weft_why why = {""};
    snprintf(out, sizeof out, "%s/%zu.json", folder, (size_t)arg);
    struct weft_enroll_options options = {.token = token, .out = out};
    pthread_barrier_wait(&begin);
    weft_err err = weft_enroll(&options, &why);
    pthread_mutex_lock(&lock);
    results[(size_t)err < 64 ? err : 63]++;
    last_why[(size_t)err < 64 ? err : 63] = why;
    pthread_mutex_unlock(&lock);
    return NULL;
}

int main(int argc, char **argv)
{
    static pthread_t threads[COUNT_MAX];
    pthread_attr_t small;
    size_t count = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
    FILE *file = count > 0 && count <= COUNT_MAX ? fopen(argv[1], "r") : NULL;
    if (file == NULL || fgets(token, sizeof token, file) == NULL) {
        fprintf(stderr, "usage: %s TOKEN.jwt COUNT FOLDER\n", argv[0]);
        return 2;
    }
    fclose(file);
    token[strcspn(token, "\r\n")] = '\0';
    folder = argv[3];
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK);
    pthread_barrier_init(&begin, NULL, (unsigned)count);
    for (size_t i = 0; i < count; i++) {
        if (pthread_create(&threads[i], &small, redeem, (void *)i) != 0) {
            fprintf(stderr, "only %zu threads can be made\n", i);
            exit(1);
        }
    }
    for (size_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 64; i++) {
        if (results[i] > 0) {
            printf("%u %s\n", results[i], weft_err_name(i));
            fprintf(stderr, "%s: %s\n", weft_err_name(i), last_why[i].text);
        }
    }
    return 0;
}
