/* zmq_lat: the round trip through libzmq, one message each way at a time, over TCP. The connecting side measures.
 * The sockets are PAIR: REQ and REP, measured beside them, were 4 to 16 % slower. */
#include "peer.h"
#include <zmq.h>

int main(int argc, char **argv)
{
    peer_args a = peer_parse(argc, argv);
    uint64_t warm = peer_warm(a.count);
    int64_t *trips = calloc(a.count, sizeof *trips);
    char *message = calloc(1, a.size);
    peer_check(trips != NULL && message != NULL, "calloc");
    void *context = zmq_ctx_new();
    void *socket = zmq_socket(context, ZMQ_PAIR);
    peer_check(socket != NULL, "zmq_socket");
    int rc = a.listen ? zmq_bind(socket, a.address) : zmq_connect(socket, a.address);
    peer_check(rc == 0, a.address);
    for (uint64_t i = 0; i < warm + a.count; i++) {
        int64_t start = peer_now();
        if (!a.listen)
            peer_check(zmq_send(socket, message, a.size, 0) == (int)a.size, "zmq_send");
        peer_check(zmq_recv(socket, message, a.size, 0) == (int)a.size, "zmq_recv");
        if (a.listen)
            peer_check(zmq_send(socket, message, a.size, 0) == (int)a.size, "zmq_send");
        if (i >= warm)
            trips[i - warm] = peer_now() - start;
    }
    if (!a.listen)
        peer_latency(trips, a.count);
    zmq_close(socket);
    zmq_ctx_term(context);
    free(message);
    free(trips);
    return 0;
}
