package suite

import (
	"errors"
	"fmt"
	"io"

	"github.com/stretchr/testify/require"

	"github.com/lyquor/lyquor/engine/transport"
)

// The cases about the ends of links.

func testHalfClose(h *harness) {
	const size = 1 << 20
	random := h.random()
	a, b := h.connect()
	ab, ba := noise(random, size), noise(random, size)
	h.together(
		func() error {
			if err := a.writeFull(ab); err != nil {
				return err
			}
			return a.CloseWrite()
		},
		func() error {
			n, err := b.readEnd()
			if n != size || err != io.EOF {
				return fmt.Errorf("read %d bytes, then %w; want %d and EOF", n, err, size)
			}
			return nil
		},
	)
	_, err := a.Write([][]byte{{1}})
	require.Equal(h, transport.ErrClosed, err)
	require.NoError(h, a.CloseWrite(), "twice")
	_, err = b.Read(make([]byte, 1))
	require.Equal(h, io.EOF, err, "the end is read as often as asked for")
	// The other direction lives on.
	got := make([]byte, size)
	h.together(
		func() error { return b.writeFull(ba) },
		func() error { return a.readFull(got) },
	)
	require.Equal(h, ba, got)
	require.NoError(h, b.CloseWrite())
	n, err := a.readEnd()
	require.Zero(h, n)
	require.Equal(h, io.EOF, err)
}

// testHangUp wants the peer's end announced while bytes are still in front of it.
func testHangUp(h *harness) {
	for _, end := range []func(transport.Link) error{transport.Link.CloseWrite, transport.Link.Close} {
		a, b := h.connect()
		require.NoError(h, a.writeFull([]byte("last words")))
		p := make([]byte, 10)
		require.NoError(h, b.readFull(p[:4]))
		if a.Descriptor() < 0 && b.Descriptor() < 0 {
			// What the library still holds is lost by Close, so the peer must have it all.
			require.NoError(h, b.readFull(p[4:]))
		}
		require.NoError(h, end(a.Link))
		require.NoError(h, b.await(transport.HangUp))
		_, err := b.readEnd()
		require.Equal(h, io.EOF, err)
	}
}

// testCloseSeen has an idle peer told of Close.
func testCloseSeen(h *harness) {
	a, b := h.connect()
	_, err := b.tryRead(make([]byte, 1))
	require.NoError(h, err)
	require.NoError(h, a.Close())
	require.NoError(h, b.await(transport.HangUp))
	n, err := b.readEnd()
	require.Zero(h, n)
	require.Equal(h, io.EOF, err)
	require.NoError(h, b.Close())
}

// testCloseWhileWriting closes a link with bytes unread under a writer, which must
// learn of it, and not forget.
func testCloseWhileWriting(h *harness) {
	a, b := h.connect()
	var death error
	flood := func() error {
		for block := make([]byte, 64<<10); ; {
			n, err := b.tryWrite(block)
			if err != nil {
				death = err
				return nil
			}
			if n < len(block) {
				if err = b.await(transport.Writable); err != nil {
					return err
				}
			}
		}
	}
	h.together(flood, func() error {
		if err := a.readFull(make([]byte, 100_000)); err != nil {
			return err
		}
		return a.Close()
	})
	for range 2 {
		var failure *transport.Error
		require.True(h, errors.As(death, &failure), "%v", death)
		require.Equal(h, transport.Reset, failure.Cause, "%v", death)
		require.Equal(h, b.RemoteAddr(), failure.Addr)
		_, death = b.Write([][]byte{{1}})
	}
	_, err := b.readEnd()
	require.True(h, err == io.EOF || causeOf(err) == transport.Reset, "%v", err)
}

// testClosedLink calls everything on a link that its own side has closed.
func testClosedLink(h *harness) {
	a, b := h.connect()
	for _, s := range []*side{a, b} {
		local, remote := s.LocalAddr(), s.RemoteAddr()
		require.NoError(h, s.Close())
		_, err := s.Read(make([]byte, 1))
		require.Equal(h, transport.ErrClosed, err)
		_, err = s.Read(nil)
		require.Equal(h, transport.ErrClosed, err)
		_, err = s.Write([][]byte{{1}})
		require.Equal(h, transport.ErrClosed, err)
		_, err = s.Write(nil)
		require.Equal(h, transport.ErrClosed, err)
		require.Equal(h, transport.ErrClosed, s.CloseWrite())
		require.NoError(h, s.Close())
		require.Equal(h, -1, s.Descriptor())
		require.Equal(h, local, s.LocalAddr())
		require.Equal(h, remote, s.RemoteAddr())
	}
}
