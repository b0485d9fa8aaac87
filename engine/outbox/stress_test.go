package outbox

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

const (
	stressProducers = 4
	stressSlots     = 3
	stressWorkers   = 2
	// patience is how long anything may take that is due at once; reaching it is a
	// lost wake-up.
	patience = 10 * time.Second
)

// stress is producers against workers on one table: many lanes, tiny chunks,
// lives that end at any time, endpoints that change their worker, and workers and
// producers that sleep for as long as nobody wakes them.
type stress struct {
	t       *testing.T
	table   *Table
	seed    uint64
	scarce  bool // memory runs out; see worker.wait
	sends   int  // of each producer
	handles [stressSlots]atomic.Uint64
	rooms   [16]room // by index of slot
	workers [stressWorkers]*worker
	done    atomic.Bool  // producers have ended
	alive   atomic.Int32 // endpoints
	lives   atomic.Int32 // begun
	grown   atomic.Int32 // lanes that got a large directory

	mu       sync.Mutex
	accepted map[stream]uint64 // messages that Send took
	arrived  map[stream]uint64 // messages that came out, or that Drop counted
}

// stream is what must arrive in order and whole.
type stream struct {
	handle   Handle
	lane     wire.Lane
	producer int
}

// room is where producers of a slot wait.
type room struct {
	mu   sync.Mutex
	wake chan struct{}
}

func (r *room) channel() chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wake == nil {
		r.wake = make(chan struct{})
	}
	return r.wake
}

func (r *room) tell() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wake != nil {
		close(r.wake)
		r.wake = nil
	}
}

func TestStress(t *testing.T) {
	for name, scarce := range map[string]bool{"ample": false, "scarce": true} {
		t.Run(name, func(t *testing.T) {
			for shift := uint32(9); shift <= 11; shift++ {
				runStress(t, seeded(t), shift, scarce)
			}
		})
	}
}

func runStress(t *testing.T, seed uint64, shift uint32, scarce bool) {
	chunks := uint32(600)
	if scarce {
		chunks = 20
	}
	x := &stress{t: t, table: newColouredTable(t, shift, chunks, seed%2 == 0), seed: seed, scarce: scarce, sends: 3000,
		accepted: map[stream]uint64{}, arrived: map[stream]uint64{}}
	if scarce {
		x.table.Budget(0).Limit.Store(24 << shift)
	}
	var producing, working sync.WaitGroup
	for i := range x.workers {
		x.workers[i] = &worker{x: x, own: uint32(i), random: rand.New(rand.NewPCG(seed, uint64(100+i))),
			tokens: make(chan struct{}, 1), mail: make(chan *endpoint, stressSlots)}
	}
	x.alive.Store(stressSlots)
	for i := range x.handles {
		e := x.allocate(uint32(i % stressWorkers))
		x.workers[i%stressWorkers].mail <- e
		x.handles[i].Store(uint64(e.handle))
		e.place = i
	}
	for _, w := range x.workers {
		working.Go(w.run)
	}
	for i := range stressProducers {
		p := &producer{x: x, number: i, random: rand.New(rand.NewPCG(seed, uint64(i))), next: map[stream]uint64{}}
		producing.Go(p.run)
	}
	producing.Wait()
	x.done.Store(true)
	x.wakeAll()
	working.Wait()
	if t.Failed() {
		return
	}
	for s, n := range x.accepted {
		require.Equal(t, n, x.arrived[s], "%+v", s)
	}
	requireEmpty(t, x.table)
	if !scarce {
		require.NotZero(t, x.grown.Load())
		require.Zero(t, x.table.Budget(0).Starved.Load())
	}
}

// fail reports from any goroutine; the others soon end by their patience.
func (x *stress) fail(format string, args ...any) { x.t.Errorf(format, args...) }

func (x *stress) wakeAll() {
	for _, w := range x.workers {
		w.wake()
	}
}

// wakeBell wakes a worker as the driver would by its eventfd.
func (x *stress) wakeBell(b *Bell) {
	if b != nil {
		for i, w := range x.workers {
			if b == x.table.Bell(uint32(i)) {
				w.wake()
			}
		}
	}
}

// allocate begins a life with a bound that may need large directories.
func (x *stress) allocate(owner uint32) *endpoint {
	// The least, all that the small directory can span, and more.
	bound := [...]uint64{0, inlinePieces - 1, 12, 40}[x.lives.Add(1)%4] * uint64(x.table.chunks.PieceSize())
	if x.scarce {
		bound = 0
	}
	s, err := x.table.Allocate(KindEndpoint, owner, 0, bound)
	for n := 0; errors.Is(err, ErrHandles); n++ {
		// Slots are put aside while late notices of their former lives are under way.
		if n > 1e6 {
			x.fail("no slot: %v", err)
		}
		x.table.Notices(owner, func(*Slot) {}, x.wakeBell)
		runtime.Gosched()
		s, err = x.table.Allocate(KindEndpoint, owner, 0, bound)
	}
	e := &endpoint{slot: s, handle: Handle(s.ID.Load())}
	for i := range e.readers {
		e.readers[i].Open(x.table, s, wire.Lane(i))
	}
	s.MaxMessage.Store(1 << 20)
	return e
}

// producer sends numbered messages wherever it can.
type producer struct {
	x      *stress
	number int
	random *rand.Rand
	next   map[stream]uint64
	buffer [600]byte
}

func (p *producer) run() {
	for range p.x.sends {
		if !p.send() {
			break
		}
	}
	p.x.mu.Lock()
	defer p.x.mu.Unlock()
	for s, n := range p.next {
		p.x.accepted[s] = n
	}
}

// send sends one message to some endpoint, waiting for room if it must.
func (p *producer) send() bool {
	x := p.x
	for {
		h := Handle(x.handles[p.random.IntN(stressSlots)].Load())
		if p.random.IntN(20) == 0 {
			runtime.Gosched() // the handle may grow stale
		}
		s := stream{h, wire.Lane(p.random.IntN(wire.Lanes)), p.number}
		payload := p.payload(s)
		err := p.try(s, payload)
		for errors.Is(err, ErrAgain) {
			wake := x.rooms[h.Index()].channel()
			x.wakeBell(x.table.Want(h, s.lane, len(payload), WantWake))
			if err = p.try(s, payload); !errors.Is(err, ErrAgain) {
				break
			}
			select {
			case <-wake:
			case <-time.After(patience):
				x.fail("producer %d waits for room in %x lane %d: a wake-up was lost", p.number, h, s.lane)
				return false
			}
		}
		if err == nil {
			p.next[s]++
			return true
		}
		if !errors.Is(err, ErrClosed) {
			x.fail("send: %v", err)
			return false
		}
	}
}

// payload makes a message: stream's number, its own, words that look like the
// log's, and a checksum over all.
func (p *producer) payload(s stream) []byte {
	size := 24 + p.random.IntN(p.x.table.maxInline)
	if p.random.IntN(8) == 0 {
		size = 24 + p.random.IntN(len(p.buffer)-24)
	}
	b := p.buffer[:size]
	fill(b, p.random)
	binary.LittleEndian.PutUint64(b, p.next[s]<<8|uint64(p.number))
	binary.LittleEndian.PutUint64(b[8:], ^uint64(0)) // the message's id, if it is known
	binary.LittleEndian.PutUint64(b[size-8:], sum(b[:size-8]))
	return b
}

// try sends in one of the ways there are.
func (p *producer) try(s stream, b []byte) error {
	t := p.x.table
	switch p.random.IntN(4) {
	case 0:
		_, bell, err := t.SendHeld(s.handle, s.lane, 7, append([]byte{}, b...), nil)
		p.x.wakeBell(bell)
		return err
	case 1:
		if len(b) > t.maxInline {
			break
		}
		slot := t.Find(s.handle)
		if slot == nil {
			return ErrClosed
		}
		room := min(len(b)+p.random.IntN(40), t.maxInline)
		c, err := t.Claim(s.handle, s.lane, wire.MakeHeader(uint32(room), wire.Msg, s.lane, 7), room)
		if err != nil {
			return err
		}
		if p.random.IntN(3) == 0 {
			runtime.Gosched() // others overtake with their copies
		}
		binary.LittleEndian.PutUint64(b[8:], c.Sequence)
		binary.LittleEndian.PutUint64(b[len(b)-8:], sum(b[:len(b)-8]))
		copy(c.Bytes(), b)
		c.Truncate(len(b))
		c.Publish()
		p.x.wakeBell(t.Ring(slot))
		return nil
	}
	until := int64(p.random.IntN(3)) // 0: it has no time to live
	_, bell, err := t.SendUntil(s.handle, s.lane, 7, b, until)
	p.x.wakeBell(bell)
	return err
}

// TestRestUnderClaims: a lane rests, and grows where it could not, while somebody sends to
// it: the claim that comes between Rest's look and its exchange finds the log as it was.
func TestRestUnderClaims(t *testing.T) {
	seed := seeded(t)
	table := newColouredTable(t, 9, 200, seed%2 == 0)
	s, h, readers := newEndpoint(t, table, 40<<9)
	r := &readers[0]
	const sends = 20_000
	var full atomic.Int32
	var sending sync.WaitGroup
	sending.Go(func() {
		random := rand.New(rand.NewPCG(seed, 0))
		var message [100]byte
		for i := uint64(0); i < sends; {
			binary.LittleEndian.PutUint64(message[:], i)
			if _, _, err := table.Send(h, 0, 0, message[:]); err == nil {
				i++
			} else {
				full.Add(1)
				runtime.Gosched()
			}
			for range random.IntN(20) * random.IntN(20) {
				_ = full.Load() // passes time
			}
		}
		full.Store(math.MaxInt32)
	})
	for next := uint64(0); next < sends; {
		e, ok := r.Peek(r.Sent(), 1)
		if ok {
			require.Equal(t, next, binary.LittleEndian.Uint64(e.Run[wire.HeaderSize:]))
			next++
			r.Advance(e)
			continue
		}
		require.True(t, r.Acknowledge(next, nil))
		if !r.Grow() || !r.Rest() || !r.Grow() {
			runtime.Gosched() // where nobody is interrupted, the sender would get no turn
			continue
		}
		for seen := full.Load(); full.Load() == seen; { // all that it may hold now
			runtime.Gosched()
		}
	}
	sending.Wait()
	endLife(t, table, s, readers)
	requireEmpty(t, table)
}
