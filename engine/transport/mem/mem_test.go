package mem_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lyquor/lyquor/engine/transport"
	"github.com/lyquor/lyquor/engine/transport/mem"
	"github.com/lyquor/lyquor/engine/transport/suite"
)

func TestSuite(t *testing.T) {
	suite.Run(t, func(*testing.T) (transport.Transport, string) { return mem.New(), "mem://suite" })
}

// connect returns n links, dialled and accepted ends by turns.
func connect(t *testing.T, tr transport.Transport, n int) []transport.Link {
	t.Helper()
	ends := make(chan transport.Link)
	ctx := t.Context()
	l, err := tr.Listen(ctx, "mem://x", func(l transport.Link) { ends <- l }, func(err error) { t.Error(err) })
	require.NoError(t, err)
	links := make([]transport.Link, 0, 2*n)
	for range n {
		tr.Dial(ctx, "mem://x", func(l transport.Link, err error) {
			if err != nil {
				t.Error(err)
			}
			ends <- l
		})
		links = append(links, <-ends, <-ends)
	}
	require.NoError(t, l.Close())
	return links
}

func TestNamespacesAreSeparate(t *testing.T) {
	accept, fault := func(transport.Link) {}, func(error) {}
	first, second := mem.New(), mem.New()
	for _, tr := range []*mem.Transport{first, second} {
		l, err := tr.Listen(t.Context(), "mem://same", accept, fault)
		require.NoError(t, err)
		defer l.Close()
	}
	refused := make(chan error)
	mem.New().Dial(t.Context(), "mem://same", func(_ transport.Link, err error) { refused <- err })
	require.ErrorContains(t, <-refused, "dial mem://same: connection refused")
}

func TestDialWaitsForAcceptUntilCancelled(t *testing.T) {
	tr := mem.New()
	inside, proceed := make(chan struct{}, 1), make(chan struct{})
	l, err := tr.Listen(t.Context(), "mem://busy", func(transport.Link) {
		inside <- struct{}{}
		<-proceed
	}, func(error) {})
	require.NoError(t, err)
	defer l.Close()
	defer close(proceed)
	tr.Dial(t.Context(), "mem://busy", func(transport.Link, error) {})
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	tr.Dial(ctx, "mem://busy", func(_ transport.Link, err error) { result <- err })
	cancel()
	var failure *transport.Error
	require.ErrorAs(t, <-result, &failure)
	require.Equal(t, transport.Canceled, failure.Cause)
	require.ErrorIs(t, failure, context.Canceled)
}

// Both ends lie in one allocation and own no buffer, before and after use.
func TestIdleLinkIsSmall(t *testing.T) {
	const pairs, mostPerPair = 5000, 512
	tr := mem.New()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	links := connect(t, tr, pairs)
	for _, l := range links {
		n, err := l.Write([][]byte{[]byte("used once")})
		require.NoError(t, err)
		require.Equal(t, 9, n)
	}
	for _, l := range links {
		_, err := l.Read(make([]byte, 100))
		require.NoError(t, err)
	}
	runtime.GC()
	runtime.GC() // the pool of chunks keeps them for one cycle more
	runtime.ReadMemStats(&after)
	grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d bytes per pair", grown/pairs)
	require.Less(t, grown/pairs, int64(mostPerPair))
	runtime.KeepAlive(links)
}

// A notice may call the link that it is about, from inside a call on its peer.
func TestNoticeMayReenter(t *testing.T) {
	links := connect(t, mem.New(), 1)
	a, b := links[0], links[1]
	var got []byte
	echo := func(own transport.Link) func(transport.Ready) {
		return func(ready transport.Ready) {
			if ready&transport.Readable == 0 {
				return
			}
			p := make([]byte, 10)
			for n, err := own.Read(p); err == nil; n, err = own.Read(p) {
				got = append(got, p[:n]...)
				if len(got) < 5 {
					_, err = own.Write([][]byte{p[:n]})
					require.NoError(t, err)
				}
			}
		}
	}
	a.SetNotify(echo(a))
	b.SetNotify(echo(b))
	_, err := a.Write([][]byte{{'x'}})
	require.NoError(t, err)
	require.Equal(t, "xxxxx", string(got))
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
}

func TestNames(t *testing.T) {
	accept, fault := func(transport.Link) {}, func(error) {}
	for _, c := range []struct {
		name string
		ok   bool
	}{
		{"a", true}, {"A-z_0.9", true}, {fmt.Sprintf("%0255d", 0), true}, {fmt.Sprintf("%0256d", 0), false},
		{"a#1", false}, {"a/b", false}, {"ä", false}, {"a:1", false},
	} {
		l, err := mem.New().Listen(t.Context(), "mem://"+c.name, accept, fault)
		require.Equal(t, c.ok, err == nil, "%q: %v", c.name, err)
		if c.ok {
			require.Equal(t, "mem://"+c.name, l.Addr())
			require.NoError(t, l.Close())
		}
	}
}
