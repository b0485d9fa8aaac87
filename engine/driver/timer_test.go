//go:build linux

package driver

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"

	"github.com/stretchr/testify/require"
)

// TestTimersComeInOrder, never early, once each.
func TestTimersComeInOrder(t *testing.T) {
	onTCP(t, func(k *kit) {
		d := k.open(func(o *Options) { o.Workers = 1 })
		const count = 50
		var mu sync.Mutex
		var order []int
		early := false
		begin := d.Now() + int64(20*time.Millisecond)
		for i := range count {
			i = i * 37 % count
			due := begin + int64(i)*int64(time.Millisecond)
			_, err := d.NewTimer(nil, due, func(h outbox.Handle, s Sink) {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, i)
				early = early || d.Now() < due || s != nil
			})
			require.NoError(k, err)
		}
		eventually(k, "all timers", func() bool { mu.Lock(); defer mu.Unlock(); return len(order) == count })
		for i, got := range order {
			require.Equal(k, i, got)
		}
		require.False(k, early, "a timer came early, or with a sink of nobody")
		counts := d.Counts()
		require.GreaterOrEqual(k, counts[Timers], uint64(count))
		eventually(k, "their handles are free", func() bool { return d.Counts()[Endpoints] == 0 })
	})
}

func TestTimerIsCancelled(t *testing.T) {
	onTCP(t, func(k *kit) {
		d := k.open(func(o *Options) { o.Workers = 1 })
		var fired atomic.Int32
		fires := func(outbox.Handle, Sink) { fired.Add(1) }
		late, err := d.NewTimer(nil, d.Now()+int64(time.Hour), fires)
		require.NoError(k, err)
		require.NotZero(k, late.Handle())
		late.Close()
		late.Close()
		eventually(k, "the end", func() bool { return late.slot.State.Load()&outbox.StateClosed != 0 })
		// One that another callback cancels in the same turn, though both are due.
		var second *Timer
		ready := make(chan struct{})
		due := d.Now() + int64(30*time.Millisecond)
		_, err = d.NewTimer(nil, due, func(outbox.Handle, Sink) { <-ready; second.Close() })
		require.NoError(k, err)
		second, err = d.NewTimer(nil, due+1, fires)
		require.NoError(k, err)
		close(ready)
		eventually(k, "both are over", func() bool { return d.Counts()[Endpoints] == 0 })
		require.Zero(k, fired.Load())
	})
}

// TestTimerGoesWithItsEndpoint: it runs in its domain, with its sink, and not after its
// end. So it does with a guest.
func TestTimerGoesWithItsEndpoint(t *testing.T) {
	onEach(t, func(k *kit) {
		a, _ := k.pair(nil)
		fired := make(chan Sink, 1)
		_, err := a.driver.NewTimer(a.Endpoint, 1, func(_ outbox.Handle, s Sink) {
			defer a.enter()()
			fired <- s
		})
		require.NoError(k, err)
		require.Equal(k, a.probe, <-fired)
		var late atomic.Int32
		_, err = a.driver.NewTimer(a.Endpoint, a.driver.Now()+int64(200*time.Millisecond),
			func(outbox.Handle, Sink) { late.Add(1) })
		require.NoError(k, err)
		a.Close(0)
		a.awaitEnd()
		eventually(k, "it is over", func() bool { return a.driver.Counts()[Endpoints] == 0 })
		require.Zero(k, late.Load())
		g, err := a.driver.NewGuest(outbox.KindInbox, func(done func()) { done() })
		require.NoError(k, err)
		ran := make(chan struct{})
		_, err = a.driver.NewTimer(g, 1, func(outbox.Handle, Sink) { close(ran) })
		require.NoError(k, err)
		<-ran
		require.Equal(k, outbox.Handle(g.Slot().ID.Load()), g.Handle())
		never, err := a.driver.NewTimer(g, a.driver.Now()+int64(time.Hour), func(outbox.Handle, Sink) { late.Add(1) })
		require.NoError(k, err)
		g.Close()
		g.Close()
		eventually(k, "the guest is over", func() bool { return g.slot.State.Load()&outbox.StateClosed != 0 })
		eventually(k, "and its timer with it", func() bool { return !never.lease.use(func() {}) })
		require.Zero(k, late.Load())
	})
}

// TestBusyPoll: a worker that looks for work does not sleep between messages.
func TestBusyPoll(t *testing.T) {
	onTCP(t, func(k *kit) {
		busy := func(o *Options) { o.BusyPoll, o.Workers = time.Second, 1 }
		s := k.listen(k.open(busy), EndpointOptions{}, func(p *probe) {
			p.onMessage = func(e *Endpoint, m message) bool { _, err := e.Send(0, 0, m.data); return err == nil }
		})
		d := k.open(busy)
		a := k.dial(d, s.Addr(), EndpointOptions{}, nil)
		a.await(endpoint.EventUp)
		before := d.Counts()
		for i := range 50 {
			a.send(0, 0, []byte("ping"))
			a.awaitMessages(i + 1)
		}
		after := d.Counts()
		require.LessOrEqual(k, after[Sleeps]-before[Sleeps], uint64(1))
		require.Greater(k, after[Polls]-before[Polls], uint64(50))
	})
}

// TestCounters: what is counted fits what was done, and batches grow by themselves.
func TestCounters(t *testing.T) {
	onTCP(t, func(k *kit) {
		a, b := k.pair(nil)
		const count = 5000
		for range count {
			a.send(0, 0, make([]byte, 24))
		}
		b.awaitMessages(count)
		// A worker shows what it counted at the end of its step, after it has delivered.
		eventually(k, "the mirrors", func() bool {
			return b.Counts()[MessagesReceived] == count && a.Counts()[MessagesSent] == count &&
				a.Counts()[BytesSent] == b.Counts()[BytesReceived] &&
				a.driver.Counts()[BytesWritten] == a.Counts()[BytesSent] &&
				b.driver.Counts()[BytesRead] == b.Counts()[BytesReceived]
		})
		sent, got := a.driver.Counts(), b.driver.Counts()
		ca, cb := a.Counts(), b.Counts()
		require.Equal(k, uint64(count), ca[MessagesSent])
		require.Zero(k, ca[QueuedMessages])
		require.Zero(k, ca[QueuedBytes])
		require.Equal(k, ca[BytesSent], cb[BytesReceived])
		require.Greater(k, ca[BytesSent], uint64(count*32))
		require.Equal(k, ca[BytesSent], sent[BytesWritten])
		require.Equal(k, cb[BytesReceived], got[BytesRead])
		require.Equal(k, uint64(count), got[Frames])
		require.Less(k, sent[Writes], uint64(count), "several messages in a write")
		require.Less(k, sent[Wakes], uint64(count), "a worker that is awake is not woken")
		require.Less(k, got[Reads], uint64(count))
		require.LessOrEqual(k, sent[Sleeps], sent[Polls])
		require.GreaterOrEqual(k, sent[Turns], sent[Sleeps])
		_, ok := a.driver.WorkerCounts(3)
		require.False(k, ok)
		require.Contains(k, a.driver.Explain(), "2 workers, ")
	})
}

// TestSlowCallbacks are counted and logged.
func TestSlowCallbacks(t *testing.T) {
	onTCP(t, func(k *kit) {
		a, b := k.pair(func(_, b *probe) {
			b.onMessage = func(e *Endpoint, _ message) bool {
				for begin := e.driver.Now(); e.driver.Now()-begin < 2*slowCallback; {
				}
				return true
			}
		})
		a.send(0, 0, nil)
		b.awaitMessages(1)
		eventually(k, "the count", func() bool { return b.driver.Counts()[SlowCallbacks] > 0 })
		eventually(k, "the log line", func() bool { return k.logged("callback.slow") })
	})
}
