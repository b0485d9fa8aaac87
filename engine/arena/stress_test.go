package arena

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPoolStress lets goroutines take, mark and give pieces of a pool that is too
// small for them, while one trims. A piece that two own at once, or a clean one
// that is not zero, would show in the marks.
func TestPoolStress(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	stressPool(t, seed, 9, 5000)
	stressPool(t, seed, 12, 1500) // whole pages, which Trim gives to the system
}

func stressPool(t *testing.T, seed uint64, shift uint32, rounds int) {
	const workers, count = 4, 10
	p := newPool(t, shift, count)
	var owner [count + 1]atomic.Int32
	var stop atomic.Bool
	var running, trimming sync.WaitGroup
	for w := range int32(workers) {
		running.Go(func() {
			x := &holder{t: t, pool: p, owner: owner[:], name: w + 1, random: rand.New(rand.NewPCG(seed, uint64(w)))}
			for range rounds {
				x.step()
			}
			for len(x.held) > 0 {
				x.give()
			}
		})
	}
	trimming.Go(func() {
		for !stop.Load() {
			p.Trim(2, 3)
			runtime.Gosched()
		}
	})
	running.Wait()
	stop.Store(true)
	trimming.Wait()
	require.Zero(t, p.InUse())
	seen := map[Index]bool{}
	for range count {
		i := p.TakeClean()
		require.NotZero(t, i, "a piece was lost")
		require.False(t, seen[i], "a piece is there twice")
		seen[i] = true
		require.True(t, isZero(p.Bytes(i)))
	}
	require.Zero(t, p.TakeAny())
}

// holder is one goroutine of the stress, with the pieces that it holds.
type holder struct {
	t      *testing.T
	pool   *Pool
	owner  []atomic.Int32
	name   int32
	random *rand.Rand
	held   []Index
}

func (x *holder) step() {
	if len(x.held) > 0 && x.random.IntN(2) == 0 {
		x.give()
		return
	}
	clean := x.random.IntN(2) == 0
	take := x.pool.TakeAny
	if clean {
		take = x.pool.TakeClean
	}
	i := take()
	if i == 0 {
		runtime.Gosched()
		return
	}
	if !x.owner[i].CompareAndSwap(0, x.name) {
		x.t.Errorf("piece %d was given to %d and %d", i, x.owner[i].Load(), x.name)
	}
	b := x.pool.Bytes(i)
	if clean && !isZero(b) {
		x.t.Errorf("clean piece %d is not zero", i)
	}
	fill(b, byte(x.name))
	x.held = append(x.held, i)
}

func (x *holder) give() {
	k := x.random.IntN(len(x.held))
	i := x.held[k]
	x.held = append(x.held[:k], x.held[k+1:]...)
	b := x.pool.Bytes(i)
	for _, v := range b {
		if v != byte(x.name) {
			x.t.Errorf("piece %d of %d holds %d", i, x.name, v)
			break
		}
	}
	clean := x.random.IntN(2) == 0
	if clean {
		clear(b)
	}
	x.owner[i].Store(0)
	if clean {
		x.pool.GiveClean(i)
		return
	}
	x.pool.GiveDirty(i)
}
