//go:build !js

package tcp

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/lyquor/lyquor/engine/internal/system"
	"github.com/lyquor/lyquor/engine/transport"
	"github.com/lyquor/lyquor/engine/transport/internal/bytequeue"
)

const (
	// streamBuffer bounds the bytes that a stream holds each way on top of the
	// kernel's: enough to keep both goroutines busy.
	streamBuffer = 64 << 10
	// resumeAt is the fill at or below which a writer that found the buffer full is
	// told to go on, so that it is not woken for each byte sent.
	resumeAt = streamBuffer / 2
	// readSize is what one call reads at most. The memory is there while the link is.
	readSize = 16 << 10
)

// halfCloser is a connection of net's whose directions end separately.
type halfCloser interface {
	net.Conn
	CloseRead() error
	CloseWrite() error
}

// stream is a library-driven link. One goroutine reads ahead of its owner, another
// writes behind him; both start with SetNotify and end with Close.
type stream struct {
	conn  halfCloser
	given int // the number in fd://, if that was it
	owner atomic.Pointer[func(transport.Ready)]

	mu       sync.Mutex
	room     sync.Cond // in has become shorter, or closed
	work     sync.Cond // out has become longer, or ended, or closed
	in, out  bytequeue.Queue
	readErr  error // comes behind in
	writeErr error
	ended    bool // CloseWrite was called
	closed   bool
	waits    bool // a Write found no room
}

var _ transport.Link = (*stream)(nil)

func newStream(conn halfCloser, given int) *stream {
	s := &stream{conn: conn, given: given}
	s.room.L = &s.mu
	s.work.L = &s.mu
	if tcp, ok := conn.(*net.TCPConn); ok && given >= 0 {
		// For a socket that was handed over, net cannot be told beforehand not to switch
		// keep-alive on. Nothing depends on its success.
		_ = tcp.SetKeepAlive(false)
	}
	return s
}

// Read takes bytes that the reader has fetched.
func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, transport.ErrClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	if n := s.in.Take(p); n > 0 {
		s.room.Signal()
		return n, nil
	}
	switch {
	case s.writeErr != nil && (s.readErr == nil || s.readErr == io.EOF):
		// The kernel gives an error once and then pretends an orderly end, or says nothing.
		return 0, s.failure("read", s.writeErr)
	case s.readErr == nil:
		return 0, transport.ErrAgain
	case s.readErr == io.EOF:
		return 0, io.EOF
	}
	return 0, s.failure("read", s.readErr)
}

// Write leaves bytes to the writer.
func (s *stream) Write(bufs [][]byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed || s.ended:
		return 0, transport.ErrClosed
	case s.writeErr != nil:
		return 0, s.failure("write", s.writeErr)
	case s.readErr != nil && s.readErr != io.EOF:
		return 0, s.failure("write", s.readErr)
	}
	n, all := 0, true
	for _, b := range bufs {
		if room := streamBuffer - s.out.Len(); len(b) > room {
			b, all = b[:room], false
		}
		s.out.Put(b)
		n += len(b)
		if !all {
			break
		}
	}
	s.waits = !all
	s.work.Signal()
	if n == 0 && !all {
		return 0, transport.ErrAgain
	}
	return n, nil
}

// CloseWrite has the writer end this direction behind what it still has to send.
func (s *stream) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return transport.ErrClosed
	}
	s.ended = true
	s.work.Signal()
	return nil
}

// Close ends the connection and both goroutines. What the writer has not sent yet
// is lost.
func (s *stream) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.in.Clear()
	s.room.Signal()
	s.work.Signal()
	s.mu.Unlock()
	// A copy of the descriptor in a forked child would keep the connection open. It may
	// be broken already, which is no news.
	_ = s.conn.CloseWrite()
	_ = s.conn.CloseRead()
	if err := s.conn.Close(); err != nil {
		return s.failure("close", err)
	}
	return nil
}

// Descriptor returns -1: the link is library-driven.
func (s *stream) Descriptor() int { return -1 }

// SetNotify gives the function to be called when the link becomes ready, and
// starts the link's goroutines.
func (s *stream) SetNotify(notify func(transport.Ready)) {
	if s.owner.Swap(&notify) == nil {
		go s.read()
		go s.write()
	}
	notify(transport.Writable)
}

func (s *stream) notify(r transport.Ready) { (*s.owner.Load())(r) }

// LocalAddr returns this end's address.
func (s *stream) LocalAddr() string { return s.addr(s.conn.LocalAddr()) }

// RemoteAddr returns the peer's address.
func (s *stream) RemoteAddr() string { return s.addr(s.conn.RemoteAddr()) }

func (s *stream) addr(a net.Addr) string { return format(endpointOf(a), s.given) }

func (s *stream) failure(op string, err error) error {
	return &transport.Error{Op: op, Addr: s.RemoteAddr(), Cause: causeOf(err), Err: err}
}

// read fetches bytes while there is room for them, up to an end or an error.
func (s *stream) read() {
	p := make([]byte, readSize)
	for {
		room := s.awaitRoom()
		if room == 0 {
			return
		}
		n, err := s.conn.Read(p[:min(room, len(p))])
		if errno := system.Error("read"); errno != 0 {
			n, err = 0, errno
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return
		}
		var ready transport.Ready
		if n > 0 && s.in.Len() == 0 {
			ready = transport.Readable
		}
		s.in.Put(p[:n])
		s.readErr = err
		s.mu.Unlock()
		if err != nil {
			// A link that has died takes no more, which a waiting writer has to learn.
			ready = transport.Readable | transport.HangUp
			if !errors.Is(err, io.EOF) {
				ready |= transport.Writable
			}
		}
		if ready != 0 {
			s.notify(ready)
		}
		if err != nil {
			return
		}
	}
}

// awaitRoom returns how many bytes may be read ahead, or 0 once the link is closed.
func (s *stream) awaitRoom() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed && s.in.Len() >= streamBuffer {
		s.room.Wait()
	}
	if s.closed {
		return 0
	}
	return streamBuffer - s.in.Len()
}

// write sends what Write has left, and the end of the direction behind it.
func (s *stream) write() {
	for {
		p, more := s.awaitWork()
		if !more {
			return
		}
		var err error
		if errno := system.Error("write"); errno != 0 {
			err = errno
		} else if p == nil {
			err = s.conn.CloseWrite()
		} else {
			_, err = s.conn.Write(p)
		}
		if !s.sent(len(p), err) {
			return
		}
		if p == nil {
			return
		}
	}
}

// awaitWork returns the next bytes to send, nil for the end of the direction, or
// false once the link is closed.
func (s *stream) awaitWork() ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed && !s.ended && s.out.Len() == 0 {
		s.work.Wait()
	}
	if s.closed {
		s.out.Clear()
		return nil, false
	}
	return s.out.Front(), true
}

// sent takes the outcome of sending n bytes, and returns false if it was the last.
func (s *stream) sent(n int, err error) bool {
	s.mu.Lock()
	var ready transport.Ready
	switch {
	case s.closed:
		s.out.Clear()
	case err != nil:
		s.writeErr = err
		s.out.Clear()
		// The owner may have nothing more to write, and learns of it by reading.
		ready = transport.Readable | transport.Writable | transport.HangUp
	default:
		if n > 0 {
			s.out.Discard(n)
		}
		if s.waits && s.out.Len() <= resumeAt {
			s.waits = false
			ready = transport.Writable
		}
	}
	finished := s.closed || err != nil
	s.mu.Unlock()
	if ready != 0 {
		s.notify(ready)
	}
	return !finished
}
