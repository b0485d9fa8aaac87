/* raw_lat: the round trip of bare blocking TCP, one message each way at a time. The connecting side measures. */
#include "peer.h"

int main(int argc, char **argv)
{
    peer_args a = peer_parse(argc, argv);
    uint64_t warm = peer_warm(a.count);
    int64_t *trips = calloc(a.count, sizeof *trips);
    char *message = calloc(1, a.size);
    peer_check(trips != NULL && message != NULL, "calloc");
    int fd = peer_socket(&a);
    for (uint64_t i = 0; i < warm + a.count; i++) {
        int64_t start = peer_now();
        if (!a.listen)
            peer_write(fd, message, a.size);
        peer_read(fd, message, a.size);
        if (a.listen)
            peer_write(fd, message, a.size);
        if (i >= warm)
            trips[i - warm] = peer_now() - start;
    }
    if (!a.listen)
        peer_latency(trips, a.count);
    close(fd);
    free(message);
    free(trips);
    return 0;
}
