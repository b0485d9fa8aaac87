package mem

import (
	"io"
	"strconv"
	"sync"

	"github.com/lyquor/lyquor/engine/transport"
	"github.com/lyquor/lyquor/engine/transport/internal/bytequeue"
)

// Capacity is how many bytes a link buffers each way: about what a loopback
// socket does, so that programs behave alike over both.
const Capacity = 256 << 10

// resumeAt is the fill at or below which a writer that found the buffer full is
// told to go on. Half of it, so that a writer is not woken for each byte taken.
const resumeAt = Capacity / 2

// The places in pair.ends.
const (
	dialling = iota
	accepting
)

// pair is both ends of one connection. One lock guards both, because each call on
// one end looks at the other. It is never held while a notice is given: what the
// owner of the other end does in there may well be a call on its own link.
type pair struct {
	mu     sync.Mutex
	name   string
	serial uint64
	ends   [2]link
}

// link is one end; it lies in its pair, so that a connection is one allocation.
type link struct {
	pair   *pair
	notify func(transport.Ready)
	in     bytequeue.Queue // written by the peer, not read yet
	ended  bool            // CloseWrite was called
	closed bool
	waits  bool // a Write found no room; the peer's Read gives the notice
}

var _ transport.Link = (*link)(nil)

func newPair(name string, serial uint64) *pair {
	p := &pair{name: name, serial: serial}
	p.ends[dialling].pair = p
	p.ends[accepting].pair = p
	return p
}

// Read takes bytes that the peer has written.
func (l *link) Read(p []byte) (int, error) {
	l.pair.mu.Lock()
	peer := l.peer()
	if l.closed {
		l.pair.mu.Unlock()
		return 0, transport.ErrClosed
	}
	n := l.in.Take(p)
	finished := l.in.Len() == 0 && (peer.ended || peer.closed)
	var notify func(transport.Ready)
	if peer.waits && l.in.Len() <= resumeAt {
		peer.waits = false
		notify = peer.notify
	}
	l.pair.mu.Unlock()
	tell(notify, transport.Writable)
	switch {
	case n > 0 || len(p) == 0:
		return n, nil
	case finished:
		return 0, io.EOF
	}
	return 0, transport.ErrAgain
}

// Write puts as much of bufs as there is room for where the peer reads.
func (l *link) Write(bufs [][]byte) (int, error) {
	l.pair.mu.Lock()
	peer := l.peer()
	if l.closed || l.ended {
		l.pair.mu.Unlock()
		return 0, transport.ErrClosed
	}
	if peer.closed {
		l.pair.mu.Unlock()
		return 0, &transport.Error{Op: "write", Addr: l.RemoteAddr(), Cause: transport.Reset}
	}
	empty := peer.in.Len() == 0
	n, all := fill(&peer.in, bufs)
	l.waits = !all
	var notify func(transport.Ready)
	if empty && n > 0 {
		notify = peer.notify
	}
	l.pair.mu.Unlock()
	tell(notify, transport.Readable)
	if n == 0 && !all {
		return 0, transport.ErrAgain
	}
	return n, nil
}

// CloseWrite ends this side's direction.
func (l *link) CloseWrite() error {
	l.pair.mu.Lock()
	if l.closed {
		l.pair.mu.Unlock()
		return transport.ErrClosed
	}
	var notify func(transport.Ready)
	if !l.ended {
		l.ended = true
		notify = l.peer().notify
	}
	l.pair.mu.Unlock()
	tell(notify, transport.Readable|transport.HangUp)
	return nil
}

// Close ends both directions; what the peer has not read yet it still can.
func (l *link) Close() error {
	l.pair.mu.Lock()
	var notify func(transport.Ready)
	if !l.closed {
		l.closed = true
		l.in.Clear()
		notify = l.peer().notify
	}
	l.pair.mu.Unlock()
	tell(notify, transport.Readable|transport.Writable|transport.HangUp)
	return nil
}

// Descriptor returns -1: the link is library-driven.
func (l *link) Descriptor() int { return -1 }

// SetNotify gives the function to be called when the link becomes ready.
func (l *link) SetNotify(notify func(transport.Ready)) {
	l.pair.mu.Lock()
	peer := l.peer()
	l.notify = notify
	var ready transport.Ready
	if peer.in.Len() < Capacity || peer.closed {
		ready |= transport.Writable
	}
	if l.in.Len() > 0 {
		ready |= transport.Readable
	}
	if peer.ended || peer.closed {
		ready |= transport.Readable | transport.HangUp
	}
	l.pair.mu.Unlock()
	tell(notify, ready)
}

// LocalAddr returns this end's address.
func (l *link) LocalAddr() string { return l.pair.addr(l == &l.pair.ends[dialling]) }

// RemoteAddr returns the peer's address.
func (l *link) RemoteAddr() string { return l.pair.addr(l != &l.pair.ends[dialling]) }

func (l *link) peer() *link {
	if l == &l.pair.ends[dialling] {
		return &l.pair.ends[accepting]
	}
	return &l.pair.ends[dialling]
}

// addr returns the address of the dialling end, which is numbered, or of the other.
// It needs no lock: what it reads never changes.
func (p *pair) addr(numbered bool) string {
	addr := scheme + "://" + p.name
	if numbered {
		addr += "#" + strconv.FormatUint(p.serial, 10)
	}
	return addr
}

// fill moves what fits of bufs into q and says whether that was all.
func fill(q *bytequeue.Queue, bufs [][]byte) (n int, all bool) {
	for _, b := range bufs {
		room := Capacity - q.Len()
		if len(b) > room {
			q.Put(b[:room])
			return n + room, false
		}
		q.Put(b)
		n += len(b)
	}
	return n, true
}

func tell(notify func(transport.Ready), ready transport.Ready) {
	if notify != nil && ready != 0 {
		notify(ready)
	}
}
