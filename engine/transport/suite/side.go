package suite

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/lyquor/lyquor/engine/transport"
)

// side is one end of a link with its owner's memory of notices. One goroutine at a
// time uses it; notices may come from any.
type side struct {
	transport.Link
	seen   atomic.Uint32 // notices given and not yet used
	wake   chan struct{}
	agains int // ErrAgain counted
}

// watch makes the harness the owner of link.
func (h *harness) watch(link transport.Link) *side {
	h.Helper()
	s := &side{Link: link, wake: make(chan struct{}, 1)}
	if link.Descriptor() < 0 {
		link.SetNotify(s.notify)
		return s
	}
	if h.poll == nil {
		h.poll = newPoller(h.T)
	}
	h.poll.add(s)
	return s
}

func (s *side) notify(ready transport.Ready) {
	s.seen.Or(uint32(ready))
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// await waits for a notice of one of want and uses it up.
func (s *side) await(want transport.Ready) error {
	return s.awaitFor(want, Patience)
}

func (s *side) awaitFor(want transport.Ready, patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		if s.seen.And(^uint32(want))&uint32(want) != 0 {
			return nil
		}
		select {
		case <-s.wake:
		case <-timer.C:
			return fmt.Errorf("%s at %s: no notice of %03b within %v", s.RemoteAddr(), s.LocalAddr(), want, patience)
		}
	}
}

// tryRead and tryWrite count ErrAgain and turn it into "nothing done".
func (s *side) tryRead(p []byte) (int, error) {
	n, err := s.Read(p)
	if err == nil && n == 0 && len(p) > 0 {
		return 0, errors.New("neither bytes nor an error from Read")
	}
	return s.count(n, err)
}

func (s *side) tryWrite(bufs ...[]byte) (int, error) {
	return s.count(s.Write(bufs))
}

func (s *side) count(n int, err error) (int, error) {
	if err != nil && n != 0 {
		return n, fmt.Errorf("both %d bytes and an error: %w", n, err)
	}
	if err == transport.ErrAgain {
		s.agains++
		return 0, nil
	}
	return n, err
}

// readFull reads len(p) bytes.
func (s *side) readFull(p []byte) error {
	for len(p) > 0 {
		n, err := s.tryRead(p)
		if err == nil && n == 0 {
			err = s.await(transport.Readable)
		}
		if err != nil {
			return fmt.Errorf("%d bytes before the end of what was awaited: %w", len(p), err)
		}
		p = p[n:]
	}
	return nil
}

// writeFull writes all of p.
func (s *side) writeFull(p []byte) error {
	for len(p) > 0 {
		n, err := s.tryWrite(p)
		if err == nil && n < len(p) {
			err = s.await(transport.Writable)
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// readEnd reads until the link says why there is no more, and returns the number of
// bytes before and the reason.
func (s *side) readEnd() (int, error) {
	total, p := 0, make([]byte, 64<<10)
	for {
		n, err := s.tryRead(p)
		if err == nil && n == 0 {
			err = s.await(transport.Readable)
		}
		if err != nil {
			return total, err
		}
		total += n
	}
}
