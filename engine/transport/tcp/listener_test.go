//go:build !js

package tcp

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lyquor/lyquor/engine/transport"
)

// script is an acceptor that returns what it is told.
type script struct {
	results chan any // a transport.Link or an error
	closed  chan struct{}
}

func newScript() *script { return &script{results: make(chan any), closed: make(chan struct{})} }

func (s *script) addr() string { return "tcp://script:1" }

func (s *script) descriptor() int { return -1 }

func (s *script) close() error {
	close(s.closed)
	return nil
}

func (s *script) next() (transport.Link, error) {
	select {
	case r := <-s.results:
		if err, ok := r.(error); ok {
			return nil, err
		}
		return r.(transport.Link), nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// In virtual time: what is passed over, how pauses grow, and how often is reported.
func TestAcceptPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newScript()
		var accepted, faults int
		l := &listener{source: source, accept: func(transport.Link) { accepted++ }, fault: func(error) { faults++ },
			gone: make(chan struct{})}
		go l.run()
		var aborted error
		for errno := range passingErrors {
			aborted = &net.OpError{Err: errno}
		}
		start := time.Now()
		for range 1000 {
			source.results <- aborted
		}
		require.Zero(t, time.Since(start), "an aborted connection costs no pause")
		require.Zero(t, faults)

		broken := errors.New("broken")
		for _, pause := range []time.Duration{0, 5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000} {
			start = time.Now()
			source.results <- broken
			require.Equal(t, pause*time.Millisecond, time.Since(start))
		}
		// At 0, 1.275, 2.275, 3.275 and 4.275 seconds: those at least one second apart.
		synctest.Wait()
		require.Equal(t, 5, faults)

		one, _ := net.Pipe()
		source.results <- newStream(pipeConn{one}, -1)
		start = time.Now()
		source.results <- broken
		source.results <- broken
		require.Equal(t, minPause, time.Since(start), "a success begins anew")
		require.Equal(t, 1, accepted)
		require.NoError(t, l.Close())
		require.NoError(t, l.Close())
		synctest.Wait() // run has ended, or the bubble would complain
	})
}

type pipeConn struct{ net.Conn }

func (pipeConn) CloseRead() error  { return nil }
func (pipeConn) CloseWrite() error { return nil }

// A link that arrives while the listener closes is closed too.
func TestAcceptAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newScript()
		l := &listener{source: source, accept: func(transport.Link) { t.Error("accept was called") }, closed: true}
		go l.run()
		one, other := net.Pipe()
		source.results <- newStream(pipeConn{one}, -1)
		_, err := other.Read(make([]byte, 1))
		require.Error(t, err)
	})
}

func TestPassing(t *testing.T) {
	require.False(t, passing(syscall.EMFILE))
	require.False(t, passing(syscall.EINVAL))
	require.False(t, passing(net.ErrClosed))
}
