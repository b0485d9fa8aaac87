package suite

import (
	"context"
	"errors"
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
