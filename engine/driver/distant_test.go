//go:build linux

package driver

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// distantAddress returns an address that leads to another one, and takes a time each way.
func (k *kit) distantAddress(to string, delay time.Duration) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(k, err)
	k.Cleanup(func() { _ = l.Close() })
	go func() {
		near, err := l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", strings.TrimPrefix(to, "tcp://"))
		if err != nil {
			_ = near.Close()
			return
		}
		go passOn(far, near, delay)
		passOn(near, far, delay)
	}()
	return "tcp://" + l.Addr().String()
}

// passOn passes on what it reads, each piece after a time, until one of the two ends.
func passOn(to, from net.Conn, delay time.Duration) {
	type piece struct {
		data []byte
		due  time.Time
	}
	pieces := make(chan piece, 1<<10)
	go func() {
		defer close(pieces)
		for {
			data := make([]byte, 64<<10)
			n, err := from.Read(data)
			if err != nil {
				return
			}
			pieces <- piece{data[:n], time.Now().Add(delay)}
		}
	}()
	for p := range pieces {
		time.Sleep(time.Until(p.due))
		if _, err := to.Write(p.data); err != nil {
			break
		}
	}
	_ = to.Close()
	for range pieces { // the reader may wait for room
	}
}

// TestDistantPeer: the window and the outbox of the lane in use grow, those of the others
// stay, and a cap is one.
func TestDistantPeer(t *testing.T) {
	onTCP(t, func(k *kit) {
		const most, enough = 2 << 20, 128 << 20
		s := k.listen(k.open(nil), EndpointOptions{Window: most}, nil)
		a := k.dial(k.open(nil), k.distantAddress(s.Addr(), 20*time.Millisecond), EndpointOptions{}, nil)
		b := s.accept(k)
		require.EqualValues(k, wire.DefaultWindow, b.Counts()[Window])
		require.EqualValues(k, outbox.FirstLimit, a.Counts()[OutboxLimit])
		data := make([]byte, 10_000)
		for sent := 0; b.Counts()[Window] < most || a.Counts()[OutboxLimit] < most; sent += len(data) {
			require.Less(k, sent, enough, "window %d, outbox %d", b.Counts()[Window], a.Counts()[OutboxLimit])
			a.send(wire.Normal, 0, data)
		}
		require.EqualValues(k, most, b.Counts()[Window])
		require.EqualValues(k, outbox.FirstLimit, a.slot.Limit(wire.Low))
		a.awaitBacklog(wire.Normal, 0)
		eventually(k, "rest", func() bool { return a.Counts()[OutboxLimit] == outbox.FirstLimit })
		a.Close(0)
		a.awaitEnd()
		b.awaitEnd()
	})
}
