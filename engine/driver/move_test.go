//go:build linux

package driver

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

const moveWorkers = 3

func threeWorkers(o *Options) { o.Workers = moveWorkers }

// commotion is what happens to endpoints while they carry traffic.
type commotion struct {
	k      *kit
	seed   uint64
	stop   chan struct{}
	doing  sync.WaitGroup
	timers atomic.Int64 // opened and not fired
}

func (k *kit) commotion() *commotion {
	c := &commotion{k: k, seed: rand.Uint64(), stop: make(chan struct{})}
	k.Logf("seed %d", c.seed)
	return c
}

// every does something again and again, after no more than so long each time.
func (c *commotion) every(most time.Duration, do func(*rand.Rand)) {
	c.seed++
	random := rand.New(rand.NewPCG(c.seed, 3))
	c.doing.Go(func() {
		for {
			select {
			case <-c.stop:
				return
			case <-time.After(time.Duration(random.Int64N(int64(most)))):
				do(random)
			}
		}
	})
}

func (c *commotion) end() {
	close(c.stop)
	c.doing.Wait()
}

func (c *commotion) moves(e end) {
	c.every(time.Millisecond, func(r *rand.Rand) { require.NoError(c.k, e.SetWorker(r.IntN(moveWorkers+1))) })
}

// cuts ends links that have carried something: else nothing would ever get through where a
// handshake takes longer than it is to the next cut.
func (c *commotion) cuts(e end) {
	before := 0
	c.every(30*time.Millisecond, func(*rand.Rand) {
		if now := len(e.messages()); now >= before+20 {
			before = now
			e.cut()
		}
	})
}

// quiets stops callbacks now and then, and wants none to run meanwhile.
func (c *commotion) quiets(e end) {
	epoch := uint32(0)
	c.every(10*time.Millisecond, func(*rand.Rand) {
		e.command(outbox.CommandQuiesce)
		eventually(c.k, "quiet", func() bool { return e.slot.State.Load()&^0xf7 == epoch<<8 && e.isQuiet() })
		before := e.inside.Load()
		runtime.Gosched()
		if before+e.inside.Load() != 0 {
			c.k.Error("a callback runs though all is quiet")
		}
		e.command(outbox.CommandResume)
		epoch++
	})
}

func (e end) isQuiet() bool { return e.slot.State.Load()&outbox.StateQuiet != 0 }

// fires opens timers with the endpoint, which must run in its serial domain.
func (c *commotion) fires(e end) {
	c.every(2*time.Millisecond, func(r *rand.Rand) {
		c.timers.Add(1)
		_, err := e.driver.NewTimer(e.Endpoint, e.driver.Now()+r.Int64N(int64(3*time.Millisecond)),
			func(outbox.Handle, Sink) {
				defer e.enter()()
				c.timers.Add(-1)
			})
		require.NoError(c.k, err)
	})
}

// TestMoves: endpoints change workers all the time while both send, are cut off, stopped
// and resumed, and have timers. Nothing is lost, doubled, out of order or run twice at once.
func TestMoves(t *testing.T) {
	receivers := map[string]func(c *commotion, p *probe){
		"callbacks": func(*commotion, *probe) {},
		"pauses": func(c *commotion, p *probe) {
			var count atomic.Uint32
			p.onMessage = func(e *Endpoint, _ message) bool {
				if count.Add(1)%64 != 0 {
					return true
				}
				time.AfterFunc(100*time.Microsecond, e.Resume)
				return false
			}
		},
		"pulls": func(c *commotion, p *probe) {
			var held store
			p.queues, p.onRun = true, held.put
			p.onMessage = func(_ *Endpoint, m message) bool {
				if len(m.data) > wire.MaxPayload {
					(*atomic.Uint64)(unsafe.Add(unsafe.Pointer(&m.data[0]), -wire.HeaderSize)).Or(ReleasedBit)
				}
				return true
			}
			p.onEvent = func(e *Endpoint, ev endpoint.Event) {
				if ev.Kind == endpoint.EventUp && p.has(endpoint.EventUp) == 1 {
					c.doing.Go(func() {
						for p.has(endpoint.EventClosed) == 0 {
							held.release(e)
							time.Sleep(200 * time.Microsecond)
						}
					})
				}
			}
		},
	}
	for name, set := range receivers {
		t.Run(name, func(t *testing.T) { onEach(t, func(k *kit) { moveAbout(k, name, set) }) })
	}
}

func moveAbout(k *kit, name string, set func(*commotion, *probe)) {
	c := k.commotion()
	o := EndpointOptions{Resume: -1, Window: 128 << 10}
	s := k.listen(k.open(threeWorkers), o, func(p *probe) { set(c, p) })
	a := k.dial(k.open(threeWorkers), s.Addr(), o, func(p *probe) { set(c, p) })
	b := s.accept(k)
	b.await(endpoint.EventUp)
	for _, e := range []end{a, b} {
		c.moves(e)
		c.cuts(e)
		if name != "pauses" {
			c.quiets(e) // Resume would end it
		}
		c.fires(e)
	}
	const count = 1000
	seed := c.seed
	var fromA, fromB [wire.Lanes]int
	var senders sync.WaitGroup
	senders.Go(func() { fromA = a.traffic(seed, count) })
	senders.Go(func() { fromB = b.traffic(seed+1, count) })
	senders.Wait()
	close(c.stop)
	defer c.doing.Wait() // who releases what was pulled goes on until the end
	b.requireTraffic(fromA)
	a.requireTraffic(fromB)
	eventually(k, "all is acknowledged", func() bool { return a.acked() && b.acked() })
	eventually(k, "all timers", func() bool { return c.timers.Load() == 0 })
	require.Positive(k, a.driver.Counts()[Moves])
	require.Positive(k, b.driver.Counts()[Moves])
	a.Close(-1)
	a.awaitEnd()
	b.awaitEnd()
}

// TestSetWorker: an endpoint goes where it is sent, wherever that is said.
func TestSetWorker(t *testing.T) {
	onEach(t, func(k *kit) {
		where := make(chan int, 1)
		s := k.listen(k.open(nil), EndpointOptions{}, nil)
		a := k.dial(k.open(threeWorkers), s.Addr(), EndpointOptions{Worker: 2}, func(p *probe) {
			p.onMessage = func(e *Endpoint, m message) bool {
				where <- e.worker.number + 1
				require.NoError(k, e.SetWorker(int(m.data[0])))
				return true
			}
		})
		b := s.accept(k)
		last := 2
		for _, n := range []byte{2, 1, 3, 3, 1, 2} {
			b.send(0, 0, []byte{n})
			require.Equal(k, last, <-where)
			last = int(n)
			eventually(k, "it is there", func() bool { return a.Counts()[WorkerNumber] == uint64(n) })
		}
		eventually(k, "to where it is already is no move", func() bool { return a.driver.Counts()[Moves] == 4 })
		counts, ok := a.driver.WorkerCounts(3)
		require.True(k, ok)
		require.Equal(k, uint64(1), counts[Moves])
		require.Equal(k, uint64(1), a.driver.Counts()[Endpoints])
		for _, n := range []int{-1, moveWorkers + 1} {
			require.ErrorContains(k, a.SetWorker(n), "0 to 3 are allowed")
		}
		a.Close(0)
		a.awaitEnd()
		require.ErrorIs(k, a.SetWorker(1), ErrClosed)
	})
}

// TestPostsFollow: what is posted to an endpoint that moves runs in order, once, on the
// worker where it is, also what comes when it ends.
func TestPostsFollow(t *testing.T) {
	onEach(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{}, nil)
		a := k.dial(k.open(threeWorkers), s.Addr(), EndpointOptions{}, nil)
		a.await(endpoint.EventUp)
		c := k.commotion()
		c.moves(a)
		const count = 5000
		next, wrong := 0, 0 // without a lock: the race detector sees commands that are not in order
		for i := range count {
			a.Post(func() {
				if i != next || a.worker != a.home() {
					wrong++
				}
				next++
			})
			if i%16 == 0 {
				time.Sleep(10 * time.Microsecond)
			}
		}
		done := make(chan struct{})
		a.Post(func() { close(done) })
		<-done
		c.end()
		require.Equal(k, count, next)
		require.Zero(k, wrong)
		a.Close(0)
		a.awaitEnd()
		eventually(k, "it is buried", func() bool { return a.driver.Counts()[Endpoints] == 0 })
		ran := false
		a.Post(func() { ran = true })
		require.True(k, ran, "at once, when it is over")
	})
}

// TestCloseInMidMove: endpoints, and whole drivers, end while they are moved, with all that
// was accepted before if they linger.
func TestCloseInMidMove(t *testing.T) {
	onEach(t, func(k *kit) {
		for round := range 10 {
			d := k.open(threeWorkers)
			s := k.listen(k.open(threeWorkers), EndpointOptions{}, nil)
			var ends []end
			c := k.commotion()
			for range 8 {
				a := k.dial(d, s.Addr(), EndpointOptions{}, nil)
				c.every(200*time.Microsecond, func(r *rand.Rand) { _ = a.SetWorker(1 + r.IntN(moveWorkers)) })
				_, err := d.NewTimer(a.Endpoint, d.Now()+int64(time.Hour), func(outbox.Handle, Sink) {})
				require.NoError(k, err)
				for range 20 {
					a.send(wire.Low, 0, make([]byte, 1000))
				}
				ends = append(ends, a)
			}
			if round%2 == 0 {
				for _, a := range ends {
					a.Close(-1)
				}
			} else {
				d.Close(-1)
			}
			for _, a := range ends {
				account := a.awaitEnd()
				require.Equal(k, uint64(20), account.Lanes[wire.Low].Acknowledged)
			}
			d.Close(0)
			wait(k, d)
			c.end()
		}
	})
}
