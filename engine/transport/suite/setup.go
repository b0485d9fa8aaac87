package suite

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lyquor/lyquor/engine/transport"
)

// The cases about making links: addresses, dials, listeners.

func testConnects(h *harness) {
	a, b := h.connect()
	require.NoError(h, a.writeFull([]byte("ping")))
	p := make([]byte, 4)
	require.NoError(h, b.readFull(p))
	require.Equal(h, "ping", string(p))
	require.NoError(h, b.writeFull([]byte("pong")))
	require.NoError(h, a.readFull(p))
	require.Equal(h, "pong", string(p))
}

func testAddresses(h *harness) {
	l := h.listen()
	require.Contains(h, l.Addr(), h.tr.Schemes()[0]+"://")
	first := h.dial(l.Addr())
	accepted := l.next(h)
	for _, addr := range []string{first.LocalAddr(), first.RemoteAddr(), accepted.LocalAddr(), accepted.RemoteAddr()} {
		require.Contains(h, addr, "://")
	}
	second := h.watch(h.dial(first.RemoteAddr()))
	other := h.watch(l.next(h))
	require.NoError(h, second.writeFull([]byte("x")))
	require.NoError(h, other.readFull(make([]byte, 1)))
	third := h.dial(accepted.LocalAddr())
	require.NotNil(h, third)
	l.next(h)
}

func testBadAddresses(h *harness) {
	scheme := h.tr.Schemes()[0]
	bad := map[string]transport.Cause{
		"":                             transport.BadAddress,
		"nonsense":                     transport.BadAddress,
		"://":                          transport.UnknownScheme,
		"no-such-scheme://127.0.0.1:1": transport.UnknownScheme,
		scheme:                         transport.BadAddress,
		scheme + ":":                   transport.BadAddress,
		scheme + "://":                 transport.BadAddress,
		scheme + "://\x00":             transport.BadAddress,
		scheme + "://a b/c?d:0":        transport.BadAddress,
	}
	for addr, cause := range bad {
		o := h.await(h.start(context.Background(), addr))
		require.Equal(h, cause, causeOf(o.err), "dial %q: %v", addr, o.err)
		require.Contains(h, o.err.Error(), "allowed")
		_, err := h.tr.Listen(context.Background(), addr, func(transport.Link) {}, func(error) {})
		var failure *transport.Error
		require.True(h, errors.As(err, &failure), "listen %q gave %v", addr, err)
		require.Equal(h, transport.Error{Op: "listen", Addr: addr, Cause: cause, Err: failure.Err}, *failure)
		require.Contains(h, err.Error(), "allowed")
	}
}

func testRefused(h *harness) {
	l := h.listen()
	require.NoError(h, l.Close())
	require.Equal(h, transport.Refused, h.dialError(context.Background(), l.Addr()))
}

func testInUse(h *harness) {
	l := h.listen()
	again := func() (transport.Listener, error) {
		return h.tr.Listen(context.Background(), l.Addr(), func(link transport.Link) { h.keep(link) }, func(error) {})
	}
	_, err := again()
	require.Equal(h, transport.InUse, causeOf(err), "%v", err)
	require.ErrorContains(h, err, l.Addr())
	// The failure harms nothing, and the address is free once its listener is closed,
	// although a link made through it lives on.
	h.dial(l.Addr())
	l.next(h)
	require.NoError(h, l.Close())
	next, err := again()
	require.NoError(h, err)
	h.keep(next)
	require.Equal(h, l.Addr(), next.Addr())
	h.dial(next.Addr())
}

func testCancelled(h *harness) {
	l := h.listen()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.Equal(h, transport.Canceled, h.dialError(ctx, l.Addr()))
	late, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	require.Equal(h, transport.TimedOut, h.dialError(late, l.Addr()))
	_, err := h.tr.Listen(ctx, h.addr, func(transport.Link) {}, func(error) {})
	require.Equal(h, transport.Canceled, causeOf(err), "%v", err)
}

// A dial that is cancelled while it runs ends soon, one way or the other.
func testCancelledOnTheWay(h *harness) {
	l := h.listen()
	for range 50 {
		ctx, cancel := context.WithCancel(context.Background())
		result := h.start(ctx, l.Addr())
		runtime.Gosched()
		cancel()
		if o := h.await(result); o.err != nil {
			require.Equal(h, transport.Canceled, causeOf(o.err), "%v", o.err)
		}
	}
}

// Dials under way when the listener closes end, with a link or a reason.
func testCloseDuringDials(h *harness) {
	const rounds, dials = 25, 8
	for range rounds {
		l := h.listen()
		var results []<-chan outcome
		for range dials {
			results = append(results, h.start(context.Background(), l.Addr()))
		}
		runtime.Gosched()
		require.NoError(h, l.Close())
		for _, r := range results {
			o := h.await(r)
			if o.err != nil {
				require.Contains(h, []transport.Cause{transport.Refused, transport.Reset}, causeOf(o.err), "%v", o.err)
				continue
			}
			require.NoError(h, o.link.Close())
		}
	}
}

func testListenerClose(h *harness) {
	var calls atomic.Int32
	links := make(chan transport.Link, backlog)
	l := h.listenFor(func(link transport.Link) {
		calls.Add(1)
		h.keep(link)
		links <- link
	})
	a := h.watch(h.dial(l.Addr()))
	b := h.watch(listening{l, links}.next(h))
	require.NoError(h, l.Close())
	require.NoError(h, l.Close())
	addr := l.Addr()
	require.Equal(h, transport.Refused, h.dialError(context.Background(), addr))
	require.EqualValues(h, 1, calls.Load())
	require.NoError(h, a.writeFull([]byte("still here")))
	require.NoError(h, b.readFull(make([]byte, 10)))
}

func testCloseInsideAccept(h *harness) {
	self := make(chan transport.Listener, 1)
	closed := make(chan error, 1)
	l := h.listenFor(func(link transport.Link) {
		h.keep(link)
		closed <- (<-self).Close()
	})
	self <- l
	h.dial(l.Addr())
	select {
	case err := <-closed:
		require.NoError(h, err)
	case <-time.After(Patience):
		h.Fatal("Close inside accept did not return")
	}
	require.Equal(h, transport.Refused, h.dialError(context.Background(), l.Addr()))
}

func testOneAtATime(h *harness) {
	const dials = 20
	var inside atomic.Int32
	accepted := make(chan int32, dials)
	l := h.listenFor(func(link transport.Link) {
		now := inside.Add(1)
		h.keep(link)
		for range 10 {
			runtime.Gosched()
		}
		inside.Add(-1)
		accepted <- now
	})
	var results []<-chan outcome
	for range dials {
		results = append(results, h.start(context.Background(), l.Addr()))
	}
	for _, r := range results {
		require.NoError(h, h.await(r).err)
		select {
		case n := <-accepted:
			require.EqualValues(h, 1, n, "calls of accept at the same time")
		case <-time.After(Patience):
			h.Fatal("accept was not called for each link")
		}
	}
}

// Many links at once do not mix up their bytes.
func testManyLinks(h *harness) {
	const links = 200
	l := h.listen()
	results := make([]<-chan outcome, links)
	for i := range results {
		results[i] = h.start(context.Background(), l.Addr())
	}
	dialled := make([]*side, links)
	for i, r := range results {
		o := h.await(r)
		require.NoError(h, o.err)
		dialled[i] = h.watch(o.link)
		require.NoError(h, dialled[i].writeFull(binary.LittleEndian.AppendUint64(nil, uint64(i))))
	}
	for range links {
		s := h.watch(l.next(h))
		p := make([]byte, 8)
		require.NoError(h, s.readFull(p))
		require.NoError(h, s.writeFull(append(p, p...)))
	}
	for i, s := range dialled {
		p := make([]byte, 16)
		require.NoError(h, s.readFull(p))
		want := binary.LittleEndian.AppendUint64(nil, uint64(i))
		require.True(h, bytes.Equal(append(want, want...), p), "link %d", i)
	}
}
