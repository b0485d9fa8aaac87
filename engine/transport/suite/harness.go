package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lyquor/lyquor/engine/transport"
)

// Patience is how long a case waits for one thing before it fails. Everything
// awaited takes milliseconds; the rest is for a crowded machine.
const Patience = 20 * time.Second

const tick = time.Millisecond

// harness holds what one case has opened.
type harness struct {
	*testing.T
	tr   transport.Transport
	addr string // to listen at
	poll *poller

	mu     sync.Mutex
	opened []io.Closer
	over   bool // the case has ended
}

func newHarness(t *testing.T, tr transport.Transport, addr string) *harness {
	return &harness{T: t, tr: tr, addr: addr}
}

// close ends everything that was opened, whether or not the case did so itself.
func (h *harness) close() {
	h.mu.Lock()
	opened := h.opened
	h.opened, h.over = nil, true
	h.mu.Unlock()
	for _, c := range opened {
		if err := c.Close(); err != nil {
			h.Errorf("close at the end of the case: %v", err)
		}
	}
	if h.poll != nil {
		h.poll.close()
		h.poll = nil
	}
}

// keep has c closed at the end of the case, or at once if it comes later still: a
// call of accept may have begun when its listener was closed.
func (h *harness) keep(c io.Closer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		c.Close()
		return
	}
	h.opened = append(h.opened, c)
}

func (h *harness) random() *rand.Rand {
	seed := rand.Uint64()
	h.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// listening is a listener with the links that it accepted.
type listening struct {
	transport.Listener
	links chan transport.Link
}

// backlog is more links than any case makes, so that accept never waits.
const backlog = 1024

func (h *harness) listen() listening {
	h.Helper()
	links := make(chan transport.Link, backlog)
	l := h.listenFor(func(link transport.Link) {
		h.keep(link)
		links <- link
	})
	return listening{l, links}
}

func (h *harness) listenFor(accept func(transport.Link)) transport.Listener {
	h.Helper()
	l, err := h.tr.Listen(context.Background(), h.addr, accept, func(err error) { h.Errorf("fault: %v", err) })
	require.NoError(h, err)
	h.keep(l)
	return l
}

func (l listening) next(h *harness) transport.Link {
	h.Helper()
	select {
	case link := <-l.links:
		return link
	case <-time.After(Patience):
		h.Fatal("no link was accepted")
		return nil
	}
}

// outcome is what a dial came to.
type outcome struct {
	link transport.Link
	err  error
}

// start dials and returns where the outcome will appear. It reports a second call
// of done, and outcomes that are neither a link nor an *Error about addr.
func (h *harness) start(ctx context.Context, addr string) <-chan outcome {
	result := make(chan outcome, 1)
	var calls atomic.Int32
	h.tr.Dial(ctx, addr, func(link transport.Link, err error) {
		if calls.Add(1) > 1 {
			h.Errorf("done was called twice for %s", addr)
			return
		}
		var failure *transport.Error
		if (link == nil) == (err == nil) {
			h.Errorf("dial %s gave link %v and error %v", addr, link, err)
		} else if err != nil && (!errors.As(err, &failure) || failure.Addr != addr || failure.Op != "dial") {
			h.Errorf("dial %s gave an error that does not say so: %#v", addr, err)
		}
		if link != nil {
			h.keep(link)
		}
		result <- outcome{link, err}
	})
	return result
}

func (h *harness) await(result <-chan outcome) outcome {
	h.Helper()
	select {
	case o := <-result:
		return o
	case <-time.After(Patience):
		h.Fatal("done was not called")
		return outcome{}
	}
}

func (h *harness) dial(addr string) transport.Link {
	h.Helper()
	o := h.await(h.start(context.Background(), addr))
	require.NoError(h, o.err)
	return o.link
}

// dialError dials, expects a failure and returns its cause.
func (h *harness) dialError(ctx context.Context, addr string) transport.Cause {
	h.Helper()
	o := h.await(h.start(ctx, addr))
	require.Error(h, o.err)
	return causeOf(o.err)
}

// connect returns both ends of one new link.
func (h *harness) connect() (dialled, accepted *side) {
	h.Helper()
	l := h.listen()
	dialled = h.watch(h.dial(l.Addr()))
	accepted = h.watch(l.next(h))
	require.NoError(h, l.Close())
	return dialled, accepted
}

// together runs all functions at the same time and fails if one of them did.
func (h *harness) together(functions ...func() error) {
	h.Helper()
	results := make(chan error, len(functions))
	for _, f := range functions {
		go func() { results <- f() }()
	}
	var err error
	for range functions {
		err = errors.Join(err, <-results)
	}
	require.NoError(h, err)
}

func causeOf(err error) transport.Cause {
	var failure *transport.Error
	if !errors.As(err, &failure) {
		return transport.CauseOther
	}
	return failure.Cause
}

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
		return 0, errors.New("Read returned neither bytes nor an error")
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
