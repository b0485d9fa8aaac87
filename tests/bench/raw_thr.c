/* raw_thr: how fast two C processes move bytes over one TCP connection, in blocks of 64 KiB: the ceiling for every
 * library above TCP on this machine. It moves --size times --count bytes; the connecting side writes. */
#include "peer.h"

enum { BLOCK_BYTES = 64 * 1024 };
static char block[BLOCK_BYTES];

int main(int argc, char **argv)
{
    peer_args a = peer_parse(argc, argv);
    int fd = peer_socket(&a);
    uint64_t total = a.size * a.count, moved = 0;
    int64_t start = 0;
    while (moved < total) {
        size_t want = total - moved < BLOCK_BYTES ? (size_t)(total - moved) : BLOCK_BYTES;
        if (!a.listen) {
            peer_write(fd, block, want);
            moved += want;
            continue;
        }
        ssize_t n = read(fd, block, want);
        peer_check(n > 0, "read");
        if (start == 0)
            start = peer_now();
        moved += (uint64_t)n;
    }
    if (a.listen) {
        peer_rate(a.count, total, peer_now() - start);
        peer_write(fd, block, 1);
    } else {
        peer_read(fd, block, 1); /* Closing earlier could reset the connection under the last bytes. */
    }
    close(fd);
    return 0;
}
