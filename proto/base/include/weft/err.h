/* The one error type of Weft: a code, its name and its sentence. */
#ifndef WEFT_ERR_H
#define WEFT_ERR_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * X(code, number, exit status of a program that ends with it, sentence).
 * Numbers go over the wire (REFUSE, RESET, CLOSE, Reply) and never change.
 * Exit statuses are those of docs/cli.md: 1 failed, 2 usage, 3 refused by
 * policy, 4 not reachable, 5 credential, 6 timed out.
 */
#define WEFT_ERR_MAP(X)                                                                            \
    X(WEFT_OK, 0, 0, "done")                                                                       \
    X(WEFT_EINTERNAL, 1, 1, "internal failure")                                                    \
    X(WEFT_ENOMEM, 2, 1, "out of memory")                                                          \
    X(WEFT_EIO, 3, 1, "input or output failed")                                                    \
    X(WEFT_EINVAL, 4, 2, "not valid")                                                              \
    X(WEFT_EUSAGE, 5, 2, "wrong usage")                                                            \
    X(WEFT_EPROTO, 6, 1, "the peer broke the protocol")                                            \
    X(WEFT_ELIMIT, 7, 1, "a limit was reached")                                                    \
    X(WEFT_EVERSION, 8, 1, "no protocol version in common")                                        \
    X(WEFT_EREFUSED, 9, 3, "refused by policy")                                                    \
    X(WEFT_EUNREACHABLE, 10, 4, "not reachable")                                                   \
    X(WEFT_ENOHOST, 11, 4, "no host is bound to the service")                                      \
    X(WEFT_EBACKEND, 12, 4, "the host could not reach its server")                                 \
    X(WEFT_ECREDENTIAL, 13, 5, "credential not accepted")                                          \
    X(WEFT_EEXPIRED, 14, 5, "credential expired")                                                  \
    X(WEFT_EREVOKED, 15, 5, "credential revoked")                                                  \
    X(WEFT_EUSED, 16, 5, "token already used")                                                     \
    X(WEFT_ETIMEDOUT, 17, 6, "timed out")                                                          \
    X(WEFT_ELOST, 18, 4, "the circuit was lost before the end of the stream")                      \
    X(WEFT_ERESET, 19, 1, "the other side reset the stream")                                       \
    X(WEFT_ETAMPERED, 20, 1, "the stream was tampered with")                                       \
    X(WEFT_ECANCELED, 21, 1, "canceled")                                                           \
    X(WEFT_EEXIST, 22, 1, "already exists")                                                        \
    X(WEFT_ENOTFOUND, 23, 1, "not found")                                                          \
    X(WEFT_EBUSY, 24, 1, "busy")                                                                   \
    X(WEFT_ECONFLICT, 25, 1, "changed meanwhile")                                                  \
    X(WEFT_ECLOCK, 26, 5, "clock differs too much")                                                \
    X(WEFT_EEOF, 27, 1, "end of stream")

typedef enum weft_err {
#define WEFT_ERR_ENUM(code, number, status, sentence) code = number,
    WEFT_ERR_MAP(WEFT_ERR_ENUM)
#undef WEFT_ERR_ENUM
} weft_err;

/*
 * The one-line explanation beside an error: what was refused, by which rule,
 * and what to do. NUL-terminated and printable.
 */
#define WEFT_WHY_MAX 384
typedef struct weft_why {
    char text[WEFT_WHY_MAX];
} weft_why;

/* libweft.so shows these functions though everything else in it is hidden. */
#if defined(__GNUC__)
#define WEFT_ERR_API __attribute__((visibility("default")))
#else
#define WEFT_ERR_API
#endif

/*
 * Each accepts any int, known or not; an unknown number reads as
 * WEFT_EINTERNAL. The strings are static.
 */
WEFT_ERR_API const char *weft_err_name(int err);     /* "WEFT_EREFUSED" */
WEFT_ERR_API const char *weft_err_sentence(int err); /* "refused by policy" */
WEFT_ERR_API int weft_err_exit_status(int err);      /* 0..6, see above */

#ifdef __cplusplus
}
#endif
#endif
