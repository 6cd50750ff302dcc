/*
 * The load of the benchmark, the same for every chain it goes through.
 *
 *   blast serve PORT              a server: a connection that begins with 'B' is counted to its end
 * and answered with the count; any other is echoed blast bulk HOST PORT N BYTES  N connections send
 * BYTES in all, each its share; prints
 *                                 {"gbit":..., "jain":...}; throughput is counted by the server
 *   blast echo HOST PORT N SIZE   N round trips of SIZE bytes; prints {"p50_us":..., "p99_us":...}
 *   blast open HOST PORT N WIDTH  N connections, WIDTH at a time, one byte echoed on each; prints
 * {"per_s":...} blast hold HOST PORT N        opens N connections, echoes a byte on each, prints
 * "held", and keeps them until stdin ends
 *
 * One thread, epoll, no dependency: it must not be what is measured.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PIECE (256u * 1024u)
#define EVENTS 256

static uint8_t buf[PIECE];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int number(const char *text)
{
    char *end;
    long v = strtol(text, &end, 10);
    if (*text == 0 || *end != 0 || v < 0 || v > 100000000)
        die(text);
    return (int)v;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct sockaddr_in address(const char *host, const char *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number(port))};
    if (inet_pton(AF_INET, host, &a.sin_addr) != 1)
        die(host);
    return a;
}

static int dial(const char *host, const char *port)
{
    struct sockaddr_in a = address(host, port);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void watch(int ep, int op, int fd, uint32_t events, uint64_t tag)
{
    struct epoll_event e = {.events = events, .data.u64 = tag};
    if (epoll_ctl(ep, op, fd, &e) != 0)
        die("epoll_ctl");
}

/* ---- serve */

struct served {
    enum { FRESH, COUNTING, ECHOING } mode;
    uint64_t count, wanted;
};

static void serve_one(struct served *s, int fd)
{
    ssize_t n = read(fd, buf, sizeof buf);
    if (n > 0 && s->mode == FRESH) {
        s->mode = buf[0] == 'B' && n >= 9 ? COUNTING : ECHOING;
        memcpy(&s->wanted, buf + 1, sizeof s->wanted);
    }
    if (n > 0 && s->mode == COUNTING) {
        s->count += (uint64_t)n;
        if (s->count >= s->wanted)
            (void)!write(fd, &s->count, sizeof s->count);
        return;
    }
    if (n > 0) {
        for (ssize_t at = 0, w; at < n; at += w)
            if ((w = write(fd, buf + at, (size_t)(n - at))) <= 0)
                break;
        return;
    }
    close(fd);
    memset(s, 0, sizeof *s);
}

static _Noreturn void serve(const char *port)
{
    struct sockaddr_in a = address("127.0.0.1", port);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), ep = epoll_create1(0);
    socklen_t len = sizeof a;
    static struct served all[65536];
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) != 0 || listen(listener, 4096) != 0)
        die("listen");
    getsockname(listener, (struct sockaddr *)&a, &len);
    printf("%u\n", ntohs(a.sin_port));
    fflush(stdout);
    watch(ep, EPOLL_CTL_ADD, listener, EPOLLIN, (uint64_t)listener);
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(ep, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = (int)events[i].data.u64;
            if (fd != listener) {
                serve_one(&all[fd], fd);
                continue;
            }
            fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            if (fd < 0 || fd >= 65536)
                continue;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            watch(ep, EPOLL_CTL_ADD, fd, EPOLLIN, (uint64_t)fd);
        }
    }
}

/* ---- bulk */

struct sender {
    int fd;
    uint64_t left;
    double end;
};

static int bulk(const char *host, const char *port, int n, uint64_t bytes)
{
    struct sender *all = calloc((size_t)n, sizeof *all);
    int ep = epoll_create1(0), open = n;
    double sum = 0, squares = 0, begun = 0, last = 0;
    if (all == NULL)
        die("calloc");
    uint64_t share = bytes / (uint64_t)n;
    memset(buf, 'B', sizeof buf);
    memcpy(buf + 1, &share,
           sizeof share); /* every piece begins with it; only the first is looked at */
    for (int i = 0; i < n; i++) {
        all[i].fd = dial(host, port);
        all[i].left = share;
    }
    begun = now_s();
    for (int i = 0; i < n; i++) {
        watch(ep, EPOLL_CTL_ADD, all[i].fd, EPOLLOUT | EPOLLIN, (uint64_t)i);
    }
    while (open > 0) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(ep, events, EVENTS, 60000);
        if (count <= 0)
            die("nothing moved for a minute");
        for (int i = 0; i < count; i++) {
            struct sender *s = &all[events[i].data.u64];
            if ((events[i].events & EPOLLOUT) != 0 && s->left != 0) {
                size_t some = s->left < sizeof buf ? (size_t)s->left : sizeof buf;
                ssize_t w = send(s->fd, buf, some, MSG_DONTWAIT | MSG_NOSIGNAL);
                if (w < 0 && errno != EAGAIN)
                    die("send");
                s->left -= w > 0 ? (uint64_t)w : 0;
                if (s->left == 0) {
                    watch(ep, EPOLL_CTL_MOD, s->fd, EPOLLIN, events[i].data.u64);
                }
            } else if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
                uint64_t got;
                ssize_t r = read(s->fd, &got, sizeof got);
                if (r != sizeof got || got != share) {
                    fprintf(stderr, "the server counted %llu of %llu bytes\n",
                            r == sizeof got ? (unsigned long long)got : 0ull,
                            (unsigned long long)share);
                    exit(1);
                }
                s->end = last = now_s();
                close(s->fd);
                open--;
            }
        }
    }
    for (int i = 0; i < n; i++) {
        double rate = 1 / (all[i].end - begun);
        sum += rate;
        squares += rate * rate;
    }
    printf("{\"gbit\": %.4f, \"jain\": %.4f}\n", (double)bytes * 8 / (last - begun) / 1e9,
           sum * sum / ((double)n * squares));
    free(all);
    return 0;
}

/* ---- echo */

static void round_trip(int fd, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t w = write(fd, buf + at, size - at);
        if (w <= 0)
            die("write");
        at += (size_t)w;
    }
    for (size_t at = 0; at < size;) {
        ssize_t r = read(fd, buf + at, size - at);
        if (r <= 0)
            die("read");
        at += (size_t)r;
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int echo(const char *host, const char *port, int n, size_t size)
{
    double *times = calloc((size_t)n, sizeof *times);
    int fd = dial(host, port);
    if (times == NULL || size == 0 || size > sizeof buf)
        die("size");
    memset(buf, 'E', size);
    for (int i = 0; i < 100; i++)
        round_trip(fd, size);
    for (int i = 0; i < n; i++) {
        double begun = now_s();
        round_trip(fd, size);
        times[i] = (now_s() - begun) * 1e6;
    }
    qsort(times, (size_t)n, sizeof *times, by_value);
    printf("{\"p50_us\": %.1f, \"p99_us\": %.1f}\n", times[n / 2], times[n * 99 / 100]);
    free(times);
    close(fd);
    return 0;
}

/* ---- open, hold */

static int open_many(const char *host, const char *port, int n, int width)
{
    struct sockaddr_in a = address(host, port);
    int ep = epoll_create1(0), begun_count = 0, done = 0, active = 0;
    double begun = now_s();
    while (done < n) {
        while (active < width && begun_count < n) {
            int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
            if (fd < 0 ||
                (connect(fd, (struct sockaddr *)&a, sizeof a) != 0 && errno != EINPROGRESS))
                die("connect");
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            watch(ep, EPOLL_CTL_ADD, fd, EPOLLOUT, (uint64_t)fd);
            begun_count++;
            active++;
        }
        struct epoll_event events[EVENTS];
        int count = epoll_wait(ep, events, EVENTS, 30000);
        if (count <= 0)
            die("nothing moved for 30 s");
        for (int i = 0; i < count; i++) {
            int fd = (int)events[i].data.u64;
            char c = 'E';
            if ((events[i].events & EPOLLOUT) != 0) {
                if (send(fd, &c, 1, MSG_NOSIGNAL) != 1)
                    die("send");
                watch(ep, EPOLL_CTL_MOD, fd, EPOLLIN, (uint64_t)fd);
            } else {
                if (read(fd, &c, 1) != 1)
                    die("a session failed");
                close(fd);
                active--;
                done++;
            }
        }
    }
    printf("{\"per_s\": %.1f}\n", n / (now_s() - begun));
    return 0;
}

static int hold(const char *host, const char *port, int n)
{
    buf[0] = 'E';
    for (int i = 0; i < n; i++)
        round_trip(dial(host, port), 1);
    printf("held\n");
    fflush(stdout);
    while (read(STDIN_FILENO, buf, 1) > 0)
        ;
    return 0;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        serve(argv[2]);
    if (argc == 6 && strcmp(argv[1], "bulk") == 0)
        return bulk(argv[2], argv[3], number(argv[4]), strtoull(argv[5], NULL, 10));
    if (argc == 6 && strcmp(argv[1], "echo") == 0)
        return echo(argv[2], argv[3], number(argv[4]), strtoull(argv[5], NULL, 10));
    if (argc == 6 && strcmp(argv[1], "open") == 0)
        return open_many(argv[2], argv[3], number(argv[4]), number(argv[5]));
    if (argc == 5 && strcmp(argv[1], "hold") == 0)
        return hold(argv[2], argv[3], number(argv[4]));
    fputs("usage: blast serve|bulk|echo|open|hold ...\n", stderr);
    return 2;
}
