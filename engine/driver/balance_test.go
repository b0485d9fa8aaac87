//go:build linux

package driver

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"

	"github.com/stretchr/testify/require"
)

// spin keeps the worker busy for a while.
func (d *Driver) spin(nanos int64) {
	for begin := d.Now(); d.Now()-begin < nanos; {
	}
}

// throng is a driver with two workers, on the first of which endpoints get more messages than
// they can take.
type throng struct {
	*kit
	driver *Driver
	ends   []end
	stop   atomic.Bool
	doing  sync.WaitGroup
}

// throng makes one whose callbacks take so long each, in nanoseconds. Who sends to another
// one than the first rests for a while after each message.
func (k *kit) throng(change func(*Options), rest time.Duration, nanos ...int64) *throng {
	c := &throng{kit: k, driver: k.open(change)}
	s := k.listen(k.open(nil), EndpointOptions{}, nil)
	for _, each := range nanos {
		a := k.dial(c.driver, s.Addr(), EndpointOptions{Worker: 1}, func(p *probe) {
			p.onMessage = func(e *Endpoint, _ message) bool { e.driver.spin(each); return true }
		})
		b := s.accept(k)
		a.await(endpoint.EventUp)
		rests := len(c.ends) > 0 && rest > 0
		c.ends = append(c.ends, a)
		c.doing.Go(func() {
			for !c.stop.Load() {
				// Of such a size that what is read at once is soon dealt with.
				if _, err := b.Send(0, 0, make([]byte, 4000)); err != nil {
					time.Sleep(time.Millisecond)
				}
				if rests {
					time.Sleep(rest)
				}
			}
		})
	}
	k.Cleanup(func() {
		c.stop.Store(true)
		c.doing.Wait()
	})
	return c
}

func (c *throng) free() {
	for _, e := range c.ends {
		require.NoError(c, e.SetWorker(0))
	}
}

// on counts the endpoints of a worker.
func (c *throng) on(worker uint64) (n int) {
	for _, e := range c.ends {
		if e.Counts()[WorkerNumber] == worker {
			n++
		}
	}
	return n
}

// TestBalance: from a worker that has more than it can do something goes to the one that has
// nothing, as soon as it may; then both have.
func TestBalance(t *testing.T) {
	onTCP(t, func(k *kit) {
		const each = int64(20 * time.Microsecond)
		c := k.throng(nil, 0, each, each, each, each)
		time.Sleep(500 * time.Millisecond) // time enough to do what must not be done
		require.Equal(k, 4, c.on(1), "who was placed by number stays")
		c.free()
		eventually(k, "both have something to do", func() bool { return c.on(2) > 0 })
		require.True(k, k.logged("worker.relieved worker 1, busy"))
		eventually(k, "it is carried there", func() bool {
			counts, _ := c.driver.WorkerCounts(2)
			return counts[Frames] > 100
		})
	})
}

func TestNoBalance(t *testing.T) {
	onTCP(t, func(k *kit) {
		const each = int64(20 * time.Microsecond)
		c := k.throng(func(o *Options) { o.NoBalance = true }, 0, each, each, each, each)
		c.free()
		time.Sleep(time.Second)
		require.Equal(k, 4, c.on(1))
	})
}

// TestStuckWorker: endpoints leave a worker that another's callbacks hold up, though the
// worker that they go to has more to do then.
func TestStuckWorker(t *testing.T) {
	onTCP(t, func(k *kit) {
		const each = int64(5 * time.Microsecond)
		c := k.throng(nil, 5*time.Millisecond, int64(500*time.Microsecond), each, each, each)
		c.free()
		eventually(k, "the others are gone", func() bool { return c.on(2) == 3 })
		require.Equal(k, uint64(1), c.ends[0].Counts()[WorkerNumber])
	})
}
