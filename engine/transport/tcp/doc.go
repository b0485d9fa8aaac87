// Package tcp moves bytes over TCP, and over any stream socket that is open
// already.
//
// # Addresses
//
//	tcp://host:port      a name, resolved at every Dial and Listen
//	tcp://192.0.2.1:port
//	tcp://[2001:db8::1]:port, tcp://[fe80::1%eth0]:port
//	fd://number          a descriptor of this process (Unix)
//
// A port is a number; 0 is for Listen only and has the system choose. Dial tries all
// addresses of a name, of both families at a time (RFC 8305). Listen binds what is
// said and nothing else: a name's first address; tcp://0.0.0.0:port is all of IPv4 and
// tcp://[::]:port all of both families. SO_REUSEADDR is set, so that an address is
// free again as soon as its listener is closed, and the backlog is the system's
// maximum.
//
// Dial of fd://number takes over a connected stream socket, of whatever family;
// Listen, one that listens. The descriptor is owned from then on: it becomes
// non-blocking and close-on-exec and is closed with the link or listener. If it is
// refused, nothing has happened to it. A listening socket that was taken over is
// only closed, never shut down, since other processes may accept from it too.
//
// # Flavours
//
// Descriptor-driven links (Linux) are bare non-blocking sockets that Go's poller
// does not know: the owner polls them, Read and Write are one system call each, and
// an idle link takes 80 bytes besides what the kernel does. The portable flavour
// (Options.Portable, and every other platform) stands on Go's own connections, with
// two goroutines and bounded buffers per link; it is slower and larger, and the same
// to its owner. Under js there are no sockets, and the package has nothing but this
// text.
//
// # Socket options
//
// Close-on-exec and TCP_NODELAY are always set (lyquor gathers messages itself, so
// Nagle's algorithm would only delay them), SIGPIPE is never raised, keep-alive is left
// off (lyquor pings), and buffer sizes are left to the kernel, which tunes them. A
// descriptor-driven link that is told to be shallow gets TCP_NOTSENT_LOWAT, so that what
// is urgent waits for no more than 320 KiB besides what is under way. Close
// shuts the connection down before it closes the descriptor, so that the peer sees the
// end also while a forked child of this process holds a copy. Multipath TCP, which Go
// would switch on for listeners, is off.
//
// # Failures to accept
//
// A listener never gives up. What concerns one connection only (it was aborted in
// the queue, see accept(2)) is passed over. Anything else, above all that descriptors
// have run out, has it try again after 5 ms, doubling up to 1 s, so that it goes on
// within a second of their return; meanwhile connections wait in the backlog. The
// first such failure is reported to the caller of Listen, later ones once a second at
// most.
package tcp
