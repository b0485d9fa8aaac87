/* zmq_thr: messages per second through libzmq, PUSH to PULL over TCP, in plaintext. The connecting side sends.
 * The calls are those of libzmq's own local_thr and remote_thr, and the high-water mark is its default of 1000
 * messages: 100 000 gave the same figure within the spread, and none at all a lower one. */
#include "peer.h"
#include <zmq.h>

int main(int argc, char **argv)
{
    peer_args a = peer_parse(argc, argv);
    void *context = zmq_ctx_new();
    void *socket = zmq_socket(context, a.listen ? ZMQ_PULL : ZMQ_PUSH);
    peer_check(socket != NULL, "zmq_socket");
    int rc = a.listen ? zmq_bind(socket, a.address) : zmq_connect(socket, a.address);
    peer_check(rc == 0, a.address);
    int64_t start = 0;
    for (uint64_t i = 0; i < a.count; i++) {
        zmq_msg_t message;
        if (a.listen) {
            zmq_msg_init(&message);
            peer_check(zmq_msg_recv(&message, socket, 0) == (int)a.size, "zmq_msg_recv");
            if (i == 0)
                start = peer_now();
            zmq_msg_close(&message);
        } else {
            peer_check(zmq_msg_init_size(&message, a.size) == 0, "zmq_msg_init_size");
            memset(zmq_msg_data(&message), 0, a.size);
            peer_check(zmq_msg_send(&message, socket, 0) == (int)a.size, "zmq_msg_send");
        }
    }
    if (a.listen)
        peer_rate(a.count - 1, (a.count - 1) * a.size, peer_now() - start);
    zmq_close(socket);
    zmq_ctx_term(context);
    return 0;
}
