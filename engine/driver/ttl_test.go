//go:build linux

package driver

import (
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// TestTimeToLive: behind a peer that takes nothing messages grow old; when it takes again
// those are not delivered, the others are, with their ids, and the account tells both.
func TestTimeToLive(t *testing.T) {
	onEach(t, func(k *kit) {
		var takes atomic.Bool
		s := k.listen(k.open(nil), EndpointOptions{Window: minWindow}, func(p *probe) {
			p.onMessage = func(*Endpoint, message) bool { return takes.Load() }
		})
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{}, nil)
		b := s.accept(k)
		a.await(endpoint.EventUp)
		const first, late = 100, 10
		for range first {
			a.send(wire.Low, 0, make([]byte, 1000)) // more than the window
		}
		for range late {
			_, err := a.SendTTL(wire.Low, 0, make([]byte, 20_000), time.Nanosecond)
			if err != nil {
				break // the lane is full of them
			}
		}
		_, err := a.SendTTL(wire.Low, 0, nil, 0)
		require.ErrorIs(k, err, ErrTimeToLive)
		id, err := a.SendTTL(wire.Low, 0, []byte("still"), math.MaxInt64)
		require.NoError(k, err)
		require.Contains(k, a.Explain(), "LOW")
		takes.Store(true)
		b.Resume()
		list := b.awaitMessages(first + 1)
		require.Equal(k, id, list[first].id)
		require.Equal(k, "still", string(list[first].data))
		require.Greater(k, id, uint64(first))
		eventually(k, "what was withdrawn is counted", func() bool { return a.Counts()[Withdrawn] == id-first })
		a.Close(patience)
		account := a.awaitEnd().Lanes[wire.Low]
		require.Equal(k, wire.LaneAccount{Accepted: id + 1, Acknowledged: first + 1, Withdrawn: id - first}, account)
		require.Equal(k, uint64(first+1), b.awaitEnd().Lanes[wire.Low].Received)
	})
}

// TestTimeToLiveWithoutALink: what is late makes room for a sender that waits, though
// nobody answers, and is not waited for.
func TestTimeToLiveWithoutALink(t *testing.T) {
	onTCP(t, func(k *kit) {
		d := k.open(nil)
		a := k.dial(d, "tcp://127.0.0.1:1", EndpointOptions{Resume: -1}, nil)
		sent := uint64(0)
		for round := range 3 {
			for {
				id, err := a.SendTTL(wire.Bulk, 0, make([]byte, 1000), 5*time.Millisecond)
				if err != nil {
					break
				}
				sent = id + 1
			}
			eventually(k, "WRITABLE", func() bool { return a.has(endpoint.EventWritable) > round })
		}
		a.Close(0)
		account := a.awaitEnd().Lanes[wire.Bulk]
		require.Equal(k, wire.LaneAccount{Accepted: sent, Withdrawn: account.Withdrawn,
			Never: sent - account.Withdrawn}, account)
		require.Positive(k, account.Withdrawn)
	})
}
