//go:build !js

package tcp

import (
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/lyquor/lyquor/engine/transport"
)

// The pause after a failure to accept. It starts short, because descriptors often
// return at once, and stops growing where waiting longer would save nothing.
const (
	minPause = 5 * time.Millisecond
	maxPause = time.Second
)

// faultInterval is the least time between two reports of failures to accept: one
// that lasts would otherwise fill the log.
const faultInterval = time.Second

// acceptor is where a listener gets its links.
type acceptor interface {
	// next waits for a connection.
	next() (transport.Link, error)
	// addr returns the bound address.
	addr() string
	// descriptor returns the listening socket, or -1 once it is closed.
	descriptor() int
	// close ends a next that waits, and all later ones.
	close() error
}

// listener calls accept for what its source yields, until it is closed.
type listener struct {
	source acceptor
	accept func(transport.Link)
	fault  func(error)
	gone   chan struct{} // closed by Close

	mu     sync.Mutex
	closed bool
}

// Addr returns the bound address.
func (l *listener) Addr() string { return l.source.addr() }

// Descriptor returns the listening socket.
func (l *listener) Descriptor() int { return l.source.descriptor() }

// Close stops accepting; see transport.Listener.
func (l *listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	close(l.gone)
	return l.source.close()
}

func (l *listener) run() {
	var pause time.Duration
	var reported time.Time
	for {
		link, err := l.source.next()
		if !l.open() {
			if err == nil {
				link.Close()
			}
			return
		}
		if err == nil {
			pause = 0
			l.accept(link)
			continue
		}
		if passing(err) {
			continue
		}
		if reported.IsZero() || time.Since(reported) >= faultInterval {
			reported = time.Now()
			l.fault(&transport.Error{Op: "accept", Addr: l.Addr(), Cause: causeOf(err), Err: err})
		}
		pause = min(max(minPause, 2*pause), maxPause)
		if !l.sleep(pause) {
			return
		}
	}
}

func (l *listener) open() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed
}

// sleep returns false if the listener is closed meanwhile.
func (l *listener) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.gone:
		return false
	}
}

// passing says whether err is about one connection, which is gone from the queue
// with it, so that trying again at once cannot spin.
func passing(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && passingErrors[errno]
}
