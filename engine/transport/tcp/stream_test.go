//go:build unix

package tcp

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lyquor/lyquor/engine/transport"
)

// mute is a connection that cannot be written and tells its reader nothing of it.
type mute struct{ halfCloser }

func (mute) Write([]byte) (int, error) { return 0, syscall.ENOBUFS }

// An owner who has written all that he had is told of a write that fails later, and why.
func TestLateWriteFailure(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	s := newStream(mute{conn.(halfCloser)}, -1)
	defer s.Close()
	notices := make(chan transport.Ready, 10)
	s.SetNotify(func(r transport.Ready) { notices <- r })
	receiveFrom(t, notices) // writable from the start
	n, err := s.Write([][]byte{[]byte("lost")})
	require.NoError(t, err)
	require.Equal(t, 4, n)
	require.Equal(t, transport.Readable, receiveFrom(t, notices)&transport.Readable)
	_, err = s.Read(make([]byte, 1))
	require.Equal(t, transport.Exhausted, causeIn(t, err))
	_, err = s.Write([][]byte{[]byte("more")})
	require.Equal(t, transport.Exhausted, causeIn(t, err))
}
