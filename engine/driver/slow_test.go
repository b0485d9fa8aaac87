//go:build linux

package driver

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	tightBytes  = 64 << 10 // window and outbox: the least there can be
	tightLong   = 900_000  // the longest message: longer than both, and the least memory has room for it
	tightFlows  = 4        // pairs of endpoints
	tightEach   = 60       // messages of each endpoint
	tightTick   = 10 * time.Millisecond
	tightStuck  = time.Second // of time that was there, without a delivery that was possible
	tightRepeat = 3
)

// TestSlowConsumers has endpoints with the smallest windows and outboxes talk both ways,
// with messages that are longer than either, in drivers with little memory. Consumers
// take one message and rest, or refuse now and then; one takes nothing at all until the
// others have everything. Whoever has something for a consumer that would take it
// delivers, and nothing holds more than its options say.
func TestSlowConsumers(t *testing.T) {
	onTCP(t, func(k *kit) {
		for range tightRepeat {
			seed := uint64(time.Now().UnixNano())
			k.Logf("seed %d", seed)
			newTight(k, seed).run()
		}
	})
}

// tight is one run of the test.
type tight struct {
	*kit
	random  *rand.Rand
	memory  int64
	sides   [2]*Driver // of who dials, and of who listens
	flows   []*flow    // two for each pair of endpoints
	stopped *flow      // whose consumer takes nothing until all others are done
}

// flow is one direction of an endpoint: what one sends and the other consumes.
type flow struct {
	name     string
	from, to *Endpoint
	sizes    [wire.Lanes][]int // of what was accepted, by id
	mu       sync.Mutex        // guards sizes
	accepted atomic.Int64
	got      atomic.Int64
	resting  atomic.Bool   // the consumer takes nothing now, on purpose
	since    time.Duration // of time that was there, without a delivery that was possible
	seen     int64         // got at the last tick
}

// taker is the sink of an endpoint: it consumes one flow, and hears when the other has
// room.
type taker struct {
	t        testing.TB
	in       *flow
	patience int // one message in so many makes it rest
	rest     time.Duration
	random   *rand.Rand
	next     [wire.Lanes]uint64
	writable chan struct{}
	rested   bool // before this message
	ended    chan struct{}
}

func newTight(k *kit, seed uint64) *tight {
	x := &tight{kit: k, random: rand.New(rand.NewPCG(seed, 0))}
	x.memory = 1 << 20 << x.random.IntN(4)
	for i := range x.sides {
		x.sides[i] = k.open(func(o *Options) {
			o.MemoryLimit, o.Workers = x.memory, 1+x.random.IntN(2)
		})
	}
	k.Logf("memory %d MiB", x.memory>>20)
	return x
}

func (x *tight) options() EndpointOptions {
	return EndpointOptions{Outbox: tightBytes, Window: tightBytes}
}

// newTaker makes the sink of one end of pair i.
func (x *tight) newTaker(in *flow, i int) *taker {
	s := &taker{t: x, in: in, patience: 20, random: rand.New(rand.NewPCG(x.random.Uint64(), 0)),
		writable: make(chan struct{}, 1), ended: make(chan struct{})}
	if i == 1 {
		s.patience, s.rest = 1, 5*time.Millisecond // takes one, and rests
	}
	return s
}

func (x *tight) run() {
	var takers []*taker // each sends the flow of its number, and consumes the one beside it
	for i := range tightFlows {
		takers = append(takers, x.connect(i)...)
	}
	x.stopped = x.flows[0]
	x.stopped.resting.Store(true)
	var senders sync.WaitGroup
	for i, f := range x.flows {
		longest := tightLong
		if f == x.stopped {
			// An outbox takes one message, whatever its length, and what it takes may lie in four
			// times the memory: four of these must leave something of that to others.
			longest = int(x.memory / 64)
		}
		random := rand.New(rand.NewPCG(x.random.Uint64(), 0))
		senders.Go(func() { takers[i].send(f, longest, random) })
	}
	x.watch()
	senders.Wait()
	for i, f := range x.flows {
		f.from.Close(0)
		<-takers[i].ended
	}
}

// connect opens pair i.
func (x *tight) connect(i int) []*taker {
	there := &flow{name: fmt.Sprintf("%d there", i)}
	back := &flow{name: fmt.Sprintf("%d back", i)}
	a, b := x.newTaker(back, i), x.newTaker(there, i)
	accepted := make(chan *Endpoint, 1)
	l, err := x.sides[1].Listen(x.where(), x.options(), func(e *Endpoint) Sink {
		accepted <- e
		return b
	}, nil)
	require.NoError(x, err)
	there.from, err = x.sides[0].Dial(l.Addr(), x.options(), func(*Endpoint) Sink { return a })
	require.NoError(x, err)
	there.to = <-accepted
	back.from, back.to = there.to, there.from
	x.flows = append(x.flows, there, back)
	return []*taker{a, b}
}

// watch waits until every flow has delivered everything, and looks again and again that
// each delivers that can, and what is held.
func (x *tight) watch() {
	tick := time.NewTicker(tightTick)
	defer tick.Stop()
	had := timeHad(x)
	for ; !x.stopped.done(); <-tick.C {
		before := had
		had = timeHad(x)
		there := had - before
		if there < tightTick && allSleep(x) {
			there = tightTick
		}
		others := true
		for _, f := range x.flows {
			others = others && (f.done() || f == x.stopped)
			if f.stuck(there) {
				x.fail(f)
			}
		}
		x.bounds()
		if others && x.stopped.resting.Swap(false) {
			x.stopped.to.Resume()
		}
	}
}

func (f *flow) done() bool { return f.got.Load() == tightEach }

// stuck adds up time in which nothing was delivered that the consumer would have taken.
func (f *flow) stuck(there time.Duration) bool {
	got := f.got.Load()
	if got != f.seen || f.resting.Load() || f.done() {
		f.seen, f.since = got, 0
		return false
	}
	f.since += there
	if f.accepted.Load() == got {
		return f.since >= 10*tightStuck // waits for memory, which all want; that may take its time
	}
	return f.since >= tightStuck
}

// timeHad returns the share of the machine that was this process's so far: what it used of
// its CPUs, and what nobody used. Nobody else being there, it goes like a clock; a machine
// that others use up is no reason for alarm.
func timeHad(t testing.TB) time.Duration {
	var used unix.Timespec
	require.NoError(t, unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &used))
	data, err := os.ReadFile("/proc/stat")
	require.NoError(t, err)
	var idle, waiting, other int64 // in hundredths of a second
	_, err = fmt.Sscanf(string(data), "cpu %d %d %d %d %d", &other, &other, &other, &idle, &waiting)
	require.NoError(t, err)
	unused := time.Duration(idle+waiting) * 10 * time.Millisecond
	return (unused + time.Duration(used.Nano())) / time.Duration(runtime.NumCPU())
}

// allSleep says that no thread but this one has or wants a CPU. However little a process
// gets of the machine: if it sleeps, then because it wants no more.
func allSleep(t testing.TB) bool {
	tasks, err := filepath.Glob("/proc/self/task/*/stat")
	require.NoError(t, err)
	awake := 0
	for _, task := range tasks {
		text, err := os.ReadFile(task) // fails when the thread has ended
		if _, state, _ := strings.Cut(string(text), ") "); err == nil && strings.HasPrefix(state, "R") {
			awake++
		}
	}
	return awake <= 1
}

func (x *tight) fail(f *flow) {
	for _, f := range x.flows {
		x.Logf("%s: %d accepted, %d delivered, resting: %v\n  from: %s\n  to: %s", f.name, f.accepted.Load(),
			f.got.Load(), f.resting.Load(), f.from.Explain(), f.to.Explain())
	}
	for i, d := range x.sides {
		x.Logf("side %d: %d bytes used of %d, short %v", i, d.table.Budget(d.budget).Used.Load(), x.memory, d.short())
	}
	require.FailNow(x, "a consumer that takes everything got nothing", "flow %s for %v", f.name, f.since)
}

// bounds holds what is held against what the options allow.
func (x *tight) bounds() {
	for i, d := range x.sides {
		// Blocks are charged before it is known whether that was too much, one for each worker.
		most := x.memory + int64(len(d.workers)*d.table.Blocks().PieceSize())
		require.LessOrEqual(x, d.table.Budget(d.budget).Used.Load(), most, "memory of side %d", i)
	}
	for _, f := range x.flows {
		for lane := range wire.Lane(wire.Lanes) {
			_, bytes := f.from.slot.Backlog(lane)
			// An empty lane takes any one message, and one that is refused is charged first.
			require.LessOrEqual(x, bytes, uint64(tightBytes+2*tightLong), "outbox of %s, lane %v", f.name, lane)
		}
	}
	for i, d := range x.sides {
		held := d.options.Memory.(*ledger).bytes.Load()
		require.LessOrEqual(x, held, int64(tightFlows*wire.Lanes*(tightBytes+tightLong)), "long messages of side %d", i)
	}
}

// send sends messages of all lengths up to longest until all are accepted.
func (s *taker) send(f *flow, longest int, random *rand.Rand) {
	data := make([]byte, longest)
	for f.accepted.Load() < tightEach {
		size := int(math.Exp2(math.Log2(float64(longest)) * random.Float64()))
		lane := wire.Lane(random.IntN(wire.Lanes))
		f.mu.Lock()
		data[0], data[size-1] = byte(len(f.sizes[lane])), byte(len(f.sizes[lane]))
		_, err := f.from.Send(lane, 0, data[:size])
		if err == nil {
			f.sizes[lane] = append(f.sizes[lane], size)
			f.accepted.Add(1)
		}
		f.mu.Unlock()
		switch {
		case errors.Is(err, outbox.ErrAgain):
			select {
			case <-s.writable:
			case <-s.ended:
				return
			}
		case err != nil:
			s.t.Errorf("send: %v", err)
			return
		}
	}
}

// takes says whether the consumer takes a message, which it then does, or begins to rest.
func (s *taker) takes(e *Endpoint, lane wire.Lane, id uint64, data []byte) bool {
	f := s.in
	if f.resting.Load() {
		return false
	}
	if s.random.IntN(s.patience) == 0 && !s.rested {
		s.rested = true
		f.resting.Store(true)
		time.AfterFunc(s.rest, func() {
			f.resting.Store(false)
			e.Resume()
		})
		return false
	}
	s.rested = false
	f.mu.Lock()
	defer f.mu.Unlock()
	if id != s.next[lane] || int(id) >= len(f.sizes[lane]) || f.sizes[lane][id] != len(data) ||
		data[0] != byte(id) || data[len(data)-1] != byte(id) {
		s.t.Errorf("%s: message %d of lane %v, of %d bytes, is not what was sent; %d should come", f.name, id, lane,
			len(data), s.next[lane])
	}
	s.next[lane]++
	f.got.Add(1)
	return true
}

func (s *taker) Run(e *Endpoint, r Run) (done int) {
	ids := *r.First
	for done < len(r.Frames) {
		h := wire.GetHeader(r.Frames[done:])
		if !s.takes(e, h.Lane(), ids[h.Lane()], r.Frames[done+wire.HeaderSize:][:h.Size()]) {
			break
		}
		ids[h.Lane()]++
		done += h.FrameSize()
	}
	return done
}

func (s *taker) Long(e *Endpoint, m endpoint.Memory, lane wire.Lane, _ uint16, id uint64) bool {
	if !s.takes(e, lane, id, m.Bytes) {
		return false
	}
	e.driver.options.Memory.Discard(m)
	return true
}

func (s *taker) Event(_ *Endpoint, ev endpoint.Event) {
	if ev.Kind == endpoint.EventWritable {
		select {
		case s.writable <- struct{}{}:
		default:
		}
	}
}

func (s *taker) Queues() bool { return false }
func (s *taker) Gone() bool   { return false }
func (s *taker) Drop()        { close(s.ended) }
