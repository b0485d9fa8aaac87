package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
)

// Config is what a world is made of. Zero fields mean the default.
type Config struct {
	Seed    uint64     // of everything that is left to chance
	Link    LinkConfig // between all nodes, unless SetLink says otherwise
	Perturb Perturb
	// SmallChunks has logs consist of pieces of 4 KiB instead of 64 KiB, so that runs of
	// messages are short and messages above 1 KiB lie beside the log.
	SmallChunks bool
	Memory      int64 // bytes of memory for what a node's endpoints have accepted; default 16 MiB
	// Trace, if not nil, is told in a line what happens, with the time.
	Trace func(line string)
}

// Perturb makes what surrounds the engine unpleasant, within what it must bear. The
// numbers are shares of 1000.
type Perturb struct {
	Reads  int // reads of a few bytes only
	Writes int // writes of which a few bytes are taken, or none
	Rests  int // turns of an endpoint after which idle memory is given back
	Claims int // messages for which more room is taken than they need
}

const (
	// maxNodes is how many nodes a world can have.
	maxNodes = 64
	// mostClaimed bounds what is taken where less is needed: it lies in the log.
	mostClaimed = 512
	// defaultMemory is more than the endpoints of a test have use for.
	defaultMemory = 16 << 20
	// liveLock is how many events without progress of the time mean that there will be
	// no progress: each is at least a nanosecond's work, a turn a microsecond's.
	liveLock = 1_000_000
)

// World is a simulation. It is not safe for concurrent use.
type World struct {
	config    Config
	rand      *rand.Rand
	now       int64 // nanoseconds from the beginning
	planned   uint64
	events    eventHeap
	happened  uint64
	watchAt   int64 // when watch is due
	hash      hash
	failure   error
	table     *outbox.Table
	nodes     []*Node
	addresses map[string]*Node
	paths     [maxNodes][]path
	links     []*link
	vector    endpoint.Vector
	buffers   [][]byte // spare ones
	counts    Counts
	closed    bool
}

// Counts says how much has happened in a world.
type Counts struct {
	Events    uint64 // of the simulation
	Delivered uint64 // messages that handlers took
	Bytes     uint64 // of these messages
	Withdrawn uint64 // messages that handlers missed because their time to live was over
	Restarts  uint64 // of sessions, that endpoints were told of
	Resumes   uint64 // of sessions, on another link
	Closed    uint64 // endpoints that ended
}

// New returns a world without nodes. Close gives its memory back.
func New(c Config) (*World, error) {
	table, err := takeTable(c.SmallChunks)
	if err != nil {
		return nil, err
	}
	c.Link = c.Link.complete()
	if c.Memory == 0 {
		c.Memory = defaultMemory
	}
	w := &World{config: c, table: table, addresses: make(map[string]*Node)}
	w.rand = rand.New(rand.NewPCG(c.Seed, 0))
	w.hash.mix(c.Seed)
	return w, nil
}

// Now returns the world's time since its beginning.
func (w *World) Now() time.Duration { return time.Duration(w.now) }

// Rand returns the source of all randomness in the world.
func (w *World) Rand() *rand.Rand { return w.rand }

// Hash returns a running hash of all that happened so far.
func (w *World) Hash() uint64 { return uint64(w.hash) }

// Counts returns how much has happened so far.
func (w *World) Counts() Counts {
	c := w.counts
	c.Events = w.happened
	return c
}

// After calls do when the world's time has moved on by d: for what nobody in the
// world does, such as faults. The process's own timers are Node.Timer's.
func (w *World) After(d time.Duration, do func()) {
	w.plan(w.now+int64(max(d, 0)), noteCall, do)
}

// Run lets time go on until it is until, with all that happens before. It returns
// the first breach of the promise, and then always the same.
func (w *World) Run(until time.Duration) error {
	stuck := 0
	for w.failure == nil && len(w.events) > 0 && w.events[0].at <= int64(until) {
		e := w.events.pop()
		if stuck++; e.at > w.now {
			if w.watchAt <= w.now {
				w.watch()
			}
			w.now, stuck = e.at, 0
		}
		w.happened++
		w.note(e.what, uint64(e.at))
		e.do()
		w.check(stuck < liveLock, "%d events at one moment", stuck)
	}
	if w.failure == nil {
		w.now = max(w.now, int64(until))
	}
	return w.failure
}

// settlePeriod is how often Settle looks.
const settlePeriod = 10 * time.Millisecond

// Settle lets time go on, for within at most, until everything that was accepted is
// acknowledged: every endpoint that has dialled, on a node that is up, is open with
// its peer, nothing waits in either, and what was to be closed is closed. It is an
// error if that does not come to be.
func (w *World) Settle(within time.Duration) error {
	for end := w.Now() + within; ; {
		if err := w.Run(w.Now() + settlePeriod); err != nil {
			return err
		}
		why := w.unsettled()
		if why == "" {
			return nil
		}
		if w.Now() >= end {
			w.fail("not settled after %v: %s", within, why)
			return w.failure
		}
	}
}

// Close ends all nodes as by a crash, and returns a breach of the promise that was
// found, also if memory has not come back.
func (w *World) Close() error {
	if w.closed {
		return w.failure
	}
	w.closed = true
	if w.failure != nil {
		return w.failure // what is there is not to be trusted, and its memory not used again
	}
	for _, n := range w.nodes {
		n.end()
	}
	w.check(w.table.Blocks().InUse() == 0, "%d blocks were not given back", w.table.Blocks().InUse())
	if w.failure == nil {
		giveTable(w.table, w.config.SmallChunks)
	}
	return w.failure
}

// plan has something happen at a time.
func (w *World) plan(at int64, what note, do func()) {
	w.planned++
	w.events.push(event{max(at, w.now), w.planned, what, do})
}

// note adds something that happened to the hash.
func (w *World) note(what note, words ...uint64) {
	w.hash.mix(uint64(what))
	for _, word := range words {
		w.hash.mix(word)
	}
}

// fail ends the run, unless something has before.
func (w *World) fail(format string, args ...any) {
	if w.failure == nil {
		w.failure = fmt.Errorf("sim: seed %d at %v: %s", w.config.Seed, w.Now(), fmt.Sprintf(format, args...))
		w.tell("FAILED: %v", w.failure)
	}
}

// check fails unless what must be true is.
func (w *World) check(ok bool, format string, args ...any) {
	if !ok {
		w.fail(format, args...)
	}
}

// tell writes a line of the trace.
func (w *World) tell(format string, args ...any) {
	if w.config.Trace != nil {
		w.config.Trace(fmt.Sprintf("%12v %s", w.Now(), fmt.Sprintf(format, args...)))
	}
}

// chance says yes in so many of 1000 cases.
func (w *World) chance(share int) bool { return share > 0 && w.rand.IntN(1000) < share }
