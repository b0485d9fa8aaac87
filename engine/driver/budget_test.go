//go:build linux

package driver

import (
	"runtime"
	"testing"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// nowhere is an address at which nobody answers.
const nowhere = "tcp://127.0.0.1:1"

// pooled returns the bytes of the process's pieces that are in use.
func (d *Driver) pooled() int64 {
	chunks, blocks := d.table.Chunks(), d.table.Blocks()
	return int64(chunks.InUse()*chunks.PieceSize() + blocks.InUse()*blocks.PieceSize())
}

// TestBudgetIsMemory: a driver's limit bounds the memory that its messages keep, also where
// each of them uses little of its own.
func TestBudgetIsMemory(t *testing.T) {
	for _, size := range []int{1, outbox.MaxInline + 8, 64<<10 + 1} {
		runKit(t, false, "tcp://127.0.0.1:0", func(k *kit) {
			const limit = 8 << 20
			d := k.open(func(o *Options) { o.MemoryLimit = limit })
			before := d.pooled()
			data := make([]byte, size)
			for range 20 {
				e, err := d.Dial(nowhere, EndpointOptions{}, nobodyYet)
				require.NoError(k, err)
				for lane := range wire.Lane(wire.Lanes) {
					for err = nil; err == nil; {
						_, err = e.Send(lane, 0, data)
					}
					require.ErrorIs(k, err, ErrAgain)
				}
			}
			used, holds := d.table.Budget(d.budget).Used.Load(), d.pooled()-before
			k.Logf("messages of %d bytes: %d used, %d held", size, used, holds)
			require.LessOrEqual(k, used, int64(limit))
			require.Greater(k, used, int64(limit)*3/4, "all of it was needed")
			require.Equal(k, holds, used)
		})
	}
}

// TestTooLargeForWhatIsLeft: a sender of a message for which too little memory is left, though
// most of it, is not told of room again and again, but once there is enough.
func TestTooLargeForWhatIsLeft(t *testing.T) {
	onTCP(t, func(k *kit) {
		const limit, times = 1 << 20, 10
		s := k.listen(k.open(nil), EndpointOptions{}, nil)
		d := k.open(func(o *Options) { o.MemoryLimit = limit })
		other, err := d.Dial(nowhere, EndpointOptions{}, nobodyYet)
		require.NoError(k, err)
		_, err = other.Send(wire.Normal, 0, make([]byte, limit*2/5))
		require.NoError(k, err)
		var told []int64
		var done bool
		enough, accepted := make(chan struct{}), make(chan struct{})
		e, err := d.Dial(s.Addr(), EndpointOptions{}, func(*Endpoint) Sink {
			return Callback(func(batch []Message) int {
				for _, m := range batch {
					if done || m.Event != endpoint.EventUp && m.Event != endpoint.EventWritable {
						continue
					}
					if _, err := m.Endpoint.Send(wire.Normal, 0, make([]byte, limit*3/5)); err == nil {
						done = true
						close(accepted)
						continue
					}
					if told = append(told, d.Now()); len(told) == times {
						close(enough)
					}
				}
				return len(batch)
			}, nil)
		})
		require.NoError(k, err)
		<-enough
		took := ask(e, func() int64 { return told[times-1] - told[0] })
		require.GreaterOrEqual(k, took, (times-2)*memoryPeriod)
		other.Close(0)
		<-accepted
	})
}

// TestBudgetOfLists: what is left unacknowledged takes what it took in the outbox, and
// nothing for each message, until the program is done with the list.
func TestBudgetOfLists(t *testing.T) {
	runKit(t, false, "tcp://127.0.0.1:0", func(k *kit) {
		d := k.open(nil)
		type account struct {
			listed int
			used   int64
			made   uint64
			held   int64
		}
		var before runtime.MemStats
		got := make(chan account, 1)
		start := d.pooled()
		e, err := d.Dial(nowhere, EndpointOptions{}, func(*Endpoint) Sink {
			return Callback(func(batch []Message) int {
				for _, m := range batch {
					if m.Event != endpoint.EventClosed {
						continue
					}
					var after runtime.MemStats
					a := account{used: d.table.Budget(d.budget).Used.Load(), held: d.pooled() - start}
					for u := range m.Unacked.All() {
						if string(u.Data) == "x" && !u.Maybe {
							a.listed++
						}
					}
					runtime.ReadMemStats(&after)
					a.made = after.TotalAlloc - before.TotalAlloc
					got <- a
				}
				return len(batch)
			}, nil)
		})
		require.NoError(k, err)
		sent := 0
		for lane := range wire.Lane(wire.Lanes) {
			for err = nil; err == nil; sent++ {
				_, err = e.Send(lane, 0, []byte("x"))
			}
			sent--
			require.ErrorIs(k, err, ErrAgain)
		}
		require.Greater(k, sent, 60_000)
		used := d.table.Budget(d.budget).Used.Load()
		runtime.ReadMemStats(&before)
		e.Close(0)
		a := <-got
		k.Logf("%d messages: %d used before, %d then; %d held, %d bytes made", sent, used, a.used, a.held, a.made)
		require.Equal(k, sent, a.listed)
		require.Equal(k, used, a.used)
		require.Equal(k, used, a.held)
		require.Less(k, a.made, uint64(sent), "bytes of Go's heap: less than one for each")
		eventually(k, "all is given back", func() bool { return d.table.Budget(d.budget).Used.Load() == 0 })
	})
}
