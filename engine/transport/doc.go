// Package transport holds the contract between lyquor and the ways of moving
// bytes. A Transport turns addresses into Links; a Link is one live connection.
// Nothing here knows of messages, and nothing here imports net.
//
// # Obligations of a Link
//
// One owner at a time calls a Link's methods (a driver's worker); handing a Link
// to another owner is a happens-before edge that the owners make themselves. No
// method blocks. After Close every method that returns an error returns ErrClosed
// and does nothing else, except Close itself, which returns nil; addresses stay
// known.
//
// Links come in two kinds, and the owner treats both alike once it is told that
// they are ready:
//
//   - descriptor-driven: Descriptor returns a non-blocking file descriptor that
//     the owner registers, edge triggered, for both directions. SetNotify is
//     never called.
//   - library-driven: Descriptor returns -1. The link, from goroutines of its
//     own or from calls on its peer, calls the function given to SetNotify
//     whenever something becomes possible that was not (edge semantics). The
//     function never blocks, may be called from any goroutine, from several at
//     once, more than once for one reason, and after Close of the same link; it
//     must not be called from inside Read or Write of the link itself. SetNotify
//     reports at once, from inside that call, what is already possible.
//
// A notice is a hint: Read or Write may still return ErrAgain, and after
// ErrAgain another notice follows as soon as it is worth trying again. A Read
// that filled less than it was given has not necessarily drained the link: the
// owner reads until ErrAgain, an end or an error, or remembers that it did not.
//
// # Ends
//
// An orderly end of one direction is CloseWrite at one side and io.EOF, behind
// all bytes, at the other; the opposite direction lives on. Close is abrupt: bytes
// that have not reached the peer may be lost, and the peer reads io.EOF or an
// *Error whose cause is Reset. An owner that wants all its bytes to arrive
// therefore calls CloseWrite and closes after it has read the peer's end. A link
// that has died stays dead: Write returns the cause from then on, and Read
// returns it behind any bytes that arrived before.
package transport
