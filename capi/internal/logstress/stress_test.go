package logstress

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	workers = 2
	// patience bounds all that is due at once; reaching it is a lost wake-up.
	patience = 20 * time.Second
	// stressTime is how long producers send in one run; a hundred runs are done
	// before a change of the log is believed.
	stressTime = 250 * time.Millisecond
)

// stage is one run: a table, C's producers and Go's workers.
type stage struct {
	t         *testing.T
	table     *outbox.Table
	run       *Run
	seed      uint64
	done      atomic.Bool  // producers have ended
	alive     atomic.Int32 // endpoints
	lives     atomic.Uint64
	rests     atomic.Uint64
	grown     atomic.Uint64
	arrived   atomic.Uint64
	unsent    atomic.Uint64
	withdrawn atomic.Uint64
	workers   [workers]*worker
}

func newTable(t testing.TB, shift uint32, chunks uint32) *outbox.Table {
	t.Helper()
	table, err := outbox.NewTable(outbox.Config{
		Slots: Slots, Bells: workers, Budgets: 1, ChunkShift: shift, Chunks: chunks, BlockShift: shift, Blocks: 1,
		DirectoryShift: 8, Directories: Places * wire.Lanes, Coloured: true,
	})
	require.NoError(t, err)
	table.Budget(0).Limit.Store(1 << 40)
	for i := range uint32(workers) {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, unix.Close(fd)) })
		table.Bell(i).SetDescriptor(fd)
	}
	return table
}

// TestProducersInC: every message that C was told is accepted comes out in Go,
// whole, in order and under the id that C was told, or is counted as unsent; and
// no memory is left over.
func TestProducersInC(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for shift := uint32(9); shift <= 11; shift++ {
		runStage(t, seed+uint64(shift), shift)
	}
}

func runStage(t *testing.T, seed uint64, shift uint32) {
	x := &stage{t: t, seed: seed, table: newTable(t, shift, 64)}
	x.alive.Store(Places)
	var err error
	x.run, err = Start(x.table, seed)
	require.NoError(t, err)
	var running sync.WaitGroup
	for i := range x.workers {
		x.workers[i] = newWorker(x, uint32(i))
	}
	for i := range Places {
		w := x.workers[i%workers]
		w.begin(i)
	}
	for _, w := range x.workers {
		running.Go(w.loop)
	}
	for begin := time.Now(); !x.run.Failed() && time.Since(begin) < patience; time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > stressTime && x.exercised() {
			break
		}
	}
	exercised := x.exercised()
	err = x.run.Stop()
	x.done.Store(true)
	for _, w := range x.workers {
		w.wake()
	}
	running.Wait()
	counts := x.run.Counts()
	x.run.Free()
	require.NoError(t, err)
	require.True(t, exercised)
	if t.Failed() {
		return
	}
	t.Logf("chunks of %d bytes: %d messages, %d by reference, %d withdrawn, %d claims cut, %d refused", 1<<shift,
		counts.Accepted, counts.References, x.withdrawn.Load(), counts.Cut, counts.Refused)
	t.Logf("%d rests, %d growths, %d lives", x.rests.Load(), x.grown.Load(), x.lives.Load())
	require.Equal(t, counts.Accepted, x.arrived.Load()+x.withdrawn.Load()+x.unsent.Load())
	require.Zero(t, x.table.Chunks().InUse())
	require.Zero(t, x.table.Directories().InUse())
	require.Zero(t, x.table.Budget(0).Used.Load())
}

// exercised says whether everything that the run is for has happened.
func (x *stage) exercised() bool {
	c := x.run.Counts()
	return c.Refused > 0 && c.Cut > 0 && c.References > 0 && x.withdrawn.Load() > 0 &&
		x.rests.Load() > 0 && x.grown.Load() > 0 && x.lives.Load() > Places
}

// TestSlotsFreedInC: a slot that C frees is used again, until its generations are used
// up.
func TestSlotsFreedInC(t *testing.T) {
	table := newTable(t, 12, 8)
	begin := func() (*outbox.Slot, outbox.Handle) {
		s, err := table.Allocate(outbox.KindTimer, 0, 0, 0)
		require.NoError(t, err)
		return s, outbox.Handle(s.ID.Load())
	}
	first, h := begin()
	FreeSlot(table, h)
	again, h := begin()
	require.Equal(t, first, again)
	const lastLife = 1<<24 - 1
	again.ID.Store(uint64(h) | lastLife<<32)
	FreeSlot(table, outbox.Handle(again.ID.Load()))
	next, _ := begin()
	require.NotEqual(t, first, next)
}

// BenchmarkSendInC is one thread in C that sends 64 bytes at a time to a reader in
// Go, with chunks as in production.
func BenchmarkSendInC(b *testing.B) {
	table := newTable(b, 16, 64)
	s, err := table.Allocate(outbox.KindEndpoint, 0, 0, 256<<10)
	require.NoError(b, err)
	var r outbox.Reader
	r.Open(table, s, 0)
	b.SetBytes(64)
	b.ResetTimer()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Flood(table, outbox.Handle(s.ID.Load()), 64, b.N)
	}()
	for r.Taken().Messages < uint64(b.N) {
		if e, ok := r.Peek(r.Sent(), 64<<10); ok {
			r.Advance(e)
			r.Acknowledge(r.Taken().Messages, nil)
		}
	}
	<-ended
}
