/* What the four peers of the benchmark share: arguments, clock, percentiles, TCP on loopback, and the JSON line.
 *
 * A peer is as small as it can be, so that it is plain that the figure is that of libzmq or of the kernel. All take the
 * arguments of lyqperf: --listen ADDR or --connect ADDR, --size BYTES, --count MESSAGES; ADDR is tcp://HOST:PORT.
 * Any failure ends the process with a sentence: a benchmark that goes on after an error measures something else. */
#ifndef LYQUOR_BENCH_PEER_H
#define LYQUOR_BENCH_PEER_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    const char *address;
    int listen; /* 1: --listen, 0: --connect */
    size_t size;
    uint64_t count;
} peer_args;

static inline void peer_check(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static inline peer_args peer_parse(int argc, char **argv)
{
    peer_args a = {NULL, 0, 64, 1000000};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--json") == 0)
            continue; /* The JSON line is the only output there is. */
        if (strcmp(argv[i], "--listen") == 0 || strcmp(argv[i], "--connect") == 0) {
            a.listen = argv[i][2] == 'l';
            a.address = value;
        } else if (strcmp(argv[i], "--size") == 0) {
            a.size = strtoull(value, NULL, 10);
        } else if (strcmp(argv[i], "--count") == 0) {
            a.count = strtoull(value, NULL, 10);
        } else {
            fprintf(stderr, "%s: unknown argument %s\n", argv[0], argv[i]);
            exit(2);
        }
        i++;
    }
    if (a.address == NULL || a.size == 0 || a.count == 0) {
        fprintf(stderr, "usage: %s --listen|--connect tcp://HOST:PORT --size BYTES --count MESSAGES\n", argv[0]);
        exit(2);
    }
    return a;
}

static inline int64_t peer_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* peer_rate prints what the receiver saw between its first message and its last. */
static inline void peer_rate(uint64_t messages, uint64_t bytes, int64_t nanoseconds)
{
    printf("{\"messages\":%llu,\"bytes\":%llu,\"seconds\":%.6f}\n", (unsigned long long)messages,
           (unsigned long long)bytes, (double)nanoseconds / 1e9);
}

static inline int peer_compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* peer_latency sorts the round trips in place and prints their median and 99th percentile in microseconds. */
static inline void peer_latency(int64_t *trips, uint64_t n)
{
    qsort(trips, n, sizeof *trips, peer_compare);
    printf("{\"messages\":%llu,\"p50_us\":%.3f,\"p99_us\":%.3f}\n", (unsigned long long)n,
           (double)trips[n / 2] / 1e3, (double)trips[n - 1 - n / 100] / 1e3);
}

/* peer_warm is how many round trips come before those that count, so that caches and congestion windows are warm. */
static inline uint64_t peer_warm(uint64_t count) { return count / 10; }

static inline struct sockaddr_in peer_sockaddr(const char *address)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    char host[64];
    unsigned port = 0;
    if (sscanf(address, "tcp://%63[^:]:%u", host, &port) != 2 || inet_pton(AF_INET, host, &sa.sin_addr) != 1) {
        fprintf(stderr, "%s is not tcp://IPV4:PORT\n", address);
        exit(2);
    }
    sa.sin_port = htons((uint16_t)port);
    return sa;
}

/* peer_socket accepts one connection, or opens one; either way without Nagle's delay. */
static inline int peer_socket(const peer_args *a)
{
    struct sockaddr_in sa = peer_sockaddr(a->address);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    peer_check(fd >= 0, "socket");
    if (a->listen) {
        int lfd = fd;
        setsockopt(lfd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        peer_check(bind(lfd, (struct sockaddr *)&sa, sizeof sa) == 0, "bind");
        peer_check(listen(lfd, 1) == 0, "listen");
        fd = accept(lfd, NULL, NULL);
        peer_check(fd >= 0, "accept");
        close(lfd);
    } else {
        peer_check(connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0, "connect");
    }
    peer_check(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0, "TCP_NODELAY");
    return fd;
}

static inline void peer_write(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        peer_check(n > 0, "write");
        data += n;
        size -= (size_t)n;
    }
}

static inline void peer_read(int fd, char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = read(fd, data, size);
        peer_check(n > 0, "read");
        data += n;
        size -= (size_t)n;
    }
}

#endif
