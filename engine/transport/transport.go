package transport

import (
	"context"
	"errors"
)

// Ready says what a link may now be asked for.
type Ready uint32

const (
	// Readable: Read will return bytes, an end or an error.
	Readable Ready = 1 << iota
	// Writable: Write will take bytes or return an error.
	Writable
	// HangUp: the peer's end or an error is waiting in Read behind any bytes that
	// arrived before it. The owner must read until Read returns it.
	HangUp
)

var (
	// ErrAgain says that the call would have had to wait; a notice follows.
	ErrAgain = errors.New("transport: would block")
	// ErrClosed says that the link or listener was closed by its own side.
	ErrClosed = errors.New("transport: closed")
)

// Link is one live, reliable, ordered stream of bytes in both directions.
type Link interface {
	// Read copies bytes that have arrived into p. It returns n > 0 and no error;
	// or 0 and ErrAgain; or 0 and io.EOF once the peer has ended its direction and
	// all bytes were read; or 0 and the cause of the link's death (an *Error). With
	// an empty p it returns 0 and no error, whatever has arrived.
	Read(p []byte) (n int, err error)
	// Write takes as many leading bytes of the concatenation of bufs as it can
	// without waiting, in one system call where there is one, and returns their
	// number. n < total with a nil error means that the rest would have to wait
	// (a Writable notice follows); 0 and ErrAgain says the same. A dead link gives 0
	// and the cause (an *Error), and ErrClosed follows this side's CloseWrite. The
	// bytes may be reused as soon as Write returns. Empty slices are allowed in
	// bufs, and nothing to write gives 0 and no error.
	Write(bufs [][]byte) (n int, err error)
	// CloseWrite ends this side's direction after everything written so far; the
	// peer's Read returns io.EOF behind those bytes. Repeating it does nothing.
	CloseWrite() error
	// Close ends both directions at once and releases everything. It is idempotent.
	Close() error
	// Descriptor returns the file descriptor to be polled, or -1, as also after
	// Close. The link keeps it: the owner neither reads, writes nor closes it, and
	// takes it out of its poller before Close, because a copy in a forked child would
	// keep it there (epoll(7), "Questions and answers").
	Descriptor() int
	// SetNotify gives the function to be called when the link becomes ready. It is
	// called before the first Read or Write, only if Descriptor returned -1, and again
	// when the link gets another owner, who takes it for ready; the one before may still
	// be called for a moment.
	SetNotify(notify func(Ready))
	// LocalAddr and RemoteAddr return addresses in the form that Dial takes, as far
	// as they are known ("tcp://127.0.0.1:7000"); never empty. They make the string
	// at each call, so that an idle link need not hold it.
	LocalAddr() string
	RemoteAddr() string
}

// Shallow is a Link that can be told to hold little: what it took, and the system has
// not sent yet, goes before whatever its owner finds more urgent later. That may cost
// throughput, holds for the rest of the link's life, and is a hint: it cannot fail.
type Shallow interface {
	Shallow()
}

// Listener accepts links at one address until it is closed.
type Listener interface {
	// Addr returns the bound address in the form that Dial takes, with the port
	// that the system chose if port 0 was asked for.
	Addr() string
	// Descriptor returns the listening file descriptor, or -1 if there is none. The
	// listener keeps it: the owner may only note it, to close its copy in a process
	// forked from this one.
	Descriptor() int
	// Close stops accepting and returns when no further call of accept can begin;
	// one that has begun may still be running, so that Close may be called from
	// inside it. Links already accepted live on; those that the system has
	// completed but accept has not seen are reset. It is idempotent.
	Close() error
}

// Transport makes links. All methods may be called from any goroutine.
type Transport interface {
	// Schemes returns the address schemes served ("tcp"); constant.
	Schemes() []string
	// Dial starts one attempt and returns at once. done is called exactly once, from
	// a goroutine of the transport, with either a link or an *Error; cancelling ctx
	// ends the attempt with its error (Canceled, or TimedOut past its deadline) unless
	// the link was made first. Whoever gets a link owns it and must close it. Names
	// are resolved at every call.
	Dial(ctx context.Context, addr string, done func(Link, error))
	// Listen binds addr and calls accept for each link, one call at a time, from a
	// goroutine of the transport, possibly before Listen itself has returned; accept
	// owns its link from then on. fault is called, likewise, with each failure to
	// accept that the listener rides out (descriptors exhausted ...); it goes on by
	// itself, backing off. Listen may block on resolving a name, which ctx bounds;
	// afterwards ctx means nothing.
	Listen(ctx context.Context, addr string, accept func(Link), fault func(error)) (Listener, error)
}
