package logstress

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"golang.org/x/sys/unix"
)

// endpoint is a life as its worker knows it.
type endpoint struct {
	slot    *outbox.Slot
	handle  outbox.Handle
	place   int
	readers [wire.Lanes]outbox.Reader
	next    [wire.Lanes][Producers]uint64 // number of the message that is due
	missed  [wire.Lanes]int               // messages that were withdrawn, and not missed since
	closing bool
	again   bool // work is left that nobody will ring for
}

// worker drives endpoints as the driver's workers do, with random decisions, and
// sleeps on the eventfd that C writes.
type worker struct {
	x         *stage
	own       uint32
	bell      *outbox.Bell
	random    *rand.Rand
	mail      chan *endpoint
	endpoints []*endpoint
}

func newWorker(x *stage, own uint32) *worker {
	return &worker{x: x, own: own, bell: x.table.Bell(own), random: rand.New(rand.NewPCG(x.seed, uint64(own))),
		mail: make(chan *endpoint, Places)}
}

// fail reports from any goroutine and ends the producers.
func (x *stage) fail(format string, args ...any) {
	x.t.Errorf(format, args...)
	x.run.Abandon()
}

// wakeBell wakes the worker of a bell that was asleep.
func (x *stage) wakeBell(b *outbox.Bell) {
	if b == nil {
		return
	}
	if _, err := unix.Write(b.Descriptor(), []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		x.fail("eventfd: %v", err)
	}
}

func (w *worker) wake() { w.x.wakeBell(w.bell.Wake()) }

func (w *worker) loop() {
	x := w.x
	for !x.run.Failed() {
		work := x.table.Notices(w.own, w.visit, x.wakeBell) + w.takeMail()
		for _, e := range slices.Clone(w.endpoints) {
			if e.again || x.done.Load() {
				w.step(e)
				work++
			}
		}
		if x.ended() {
			for _, other := range x.workers {
				other.wake()
			}
			return
		}
		if work > 0 {
			runtime.Gosched()
			continue
		}
		w.bell.Sleep()
		if !w.bell.Pending() && len(w.mail) == 0 && !x.ended() && !x.done.Load() && !w.sleep() {
			return
		}
		w.bell.Awake()
	}
}

// ended says that nothing lives any more.
func (x *stage) ended() bool { return x.done.Load() && x.alive.Load() == 0 }

// sleep waits for the eventfd. It returns false if nobody wrote it although there
// was something to do.
func (w *worker) sleep() bool {
	fds := []unix.PollFd{{Fd: int32(w.bell.Descriptor()), Events: unix.POLLIN}}
	until := time.Now().Add(patience)
	for time.Now().Before(until) {
		n, err := unix.Poll(fds, int(patience.Milliseconds()))
		if n == 1 {
			var count [8]byte
			_, _ = unix.Read(w.bell.Descriptor(), count[:]) // nothing in it is as good: it was a wake
			return true
		}
		if err != nil && err != unix.EINTR {
			w.x.fail("poll: %v", err)
			return false
		}
	}
	for _, e := range w.endpoints {
		for i := range e.readers {
			if e.readers[i].Ready(e.readers[i].Sent()) {
				w.x.fail("worker %d sleeps over a message of %x: a wake-up was lost", w.own, e.handle)
				return false
			}
		}
	}
	return true
}

func (w *worker) takeMail() (n int) {
	for {
		select {
		case e := <-w.mail:
			w.endpoints = append(w.endpoints, e)
			e.again = true // notices from before may have gone to the former owner
			n++
		default:
			return n
		}
	}
}

// begin begins a life at a place, with all that the small directory can span or more.
func (w *worker) begin(place int) {
	x := w.x
	bound := uint64(x.table.Chunks().PieceSize()) * (1 + w.random.Uint64N(24))
	s, err := x.table.Allocate(outbox.KindEndpoint, w.own, 0, bound)
	if err != nil {
		x.fail("a life at place %d: %v", place, err)
		return
	}
	s.MaxMessage.Store(1 << 20)
	e := &endpoint{slot: s, handle: outbox.Handle(s.ID.Load()), place: place}
	for i := range e.readers {
		e.readers[i].Open(x.table, s, wire.Lane(i))
	}
	w.endpoints = append(w.endpoints, e)
	x.run.Place(place, e.handle)
}

// visit finds the endpoint of a slot that was noticed; it may be of a life that is
// over, or lie in the mail.
func (w *worker) visit(s *outbox.Slot) {
	for _, e := range w.endpoints {
		if e.slot == s {
			w.step(e)
			return
		}
	}
}

// step does some of what there is to do for an endpoint.
func (w *worker) step(e *endpoint) {
	x := w.x
	e.again = false
	for i := range e.readers {
		w.drain(e, wire.Lane(i))
	}
	switch n := w.random.IntN(100); {
	case n == 0 || x.done.Load():
		e.closing = true
		x.table.Close(e.slot)
		e.slot.Room.Add(1)
	case n < 3 && !e.closing:
		w.move(e, (w.own+1)%workers)
		return
	}
	want := e.slot.Want.Load()
	for lane := range e.readers {
		if bits := want & (outbox.WantAny << lane); bits != 0 && e.readers[lane].HasRoom() {
			e.slot.Want.And(^bits)
			e.slot.Room.Add(1)
		}
	}
	if e.closing {
		w.bury(e)
	}
}

func (w *worker) release(ref outbox.Reference) {
	if !w.x.table.Release(ref) {
		w.x.fail("reference %+v", ref)
	}
}

// drain reads one lane: in part or whole, frees now or later, and rests.
func (w *worker) drain(e *endpoint, lane wire.Lane) {
	r := &e.readers[lane]
	for range 1 + w.random.IntN(8) {
		entry, ok := r.Peek(r.Sent(), 1+w.random.IntN(1000))
		if !ok {
			r.Acknowledge(r.Taken().Messages, w.release) // what an earlier turn left
			break
		}
		if r.Due(&entry, 1) && w.random.IntN(2) == 0 {
			r.Expire(r.Sent(), 1, w.release)
			entry, _ = r.Peek(r.Sent(), 1)
			e.missed[lane] += entry.Messages()
			w.x.withdrawn.Add(uint64(entry.Messages()))
			r.Advance(entry)
			continue
		}
		id, run := r.Taken().Messages, entry.Run
		if run != nil && w.random.IntN(2) == 0 {
			n := 1 + w.random.IntN(len(run))
			run = run[:n-r.AdvancePart(entry, n)]
		} else {
			r.Advance(entry)
		}
		w.receive(e, lane, id, entry, run)
		e.again = true
		if w.random.IntN(3) > 0 {
			r.Acknowledge(r.Taken().Messages, w.release)
		}
	}
	e.again = e.again || r.Ready(r.Sent())
	switch w.random.IntN(8) {
	case 0, 1:
		r.Acknowledge(r.Taken().Messages, w.release)
		if !r.Rest() {
			w.x.rests.Add(1)
		}
	case 2, 3, 4:
		if r.Grow() {
			w.x.grown.Add(1)
		}
	}
}

// receive checks what was taken: a reference, or the frames of run.
func (w *worker) receive(e *endpoint, lane wire.Lane, id uint64, entry outbox.Entry, run []byte) {
	if entry.Run == nil {
		w.arrive(e, lane, id, entry.Payload)
		return
	}
	for ; len(run) > 0; id++ {
		h := wire.GetHeader(run)
		if !wire.PlainMsg(h) || h.Lane() != lane || h.Channel() != Channel {
			w.x.fail("header %#x in lane %d", uint64(h), lane)
			return
		}
		w.arrive(e, lane, id, run[wire.HeaderSize:wire.HeaderSize+int(h.Size())])
		run = run[h.FrameSize():]
	}
}

// arrive checks a message: whole, under the id that C was told, and the next of
// its producer that was not withdrawn.
func (w *worker) arrive(e *endpoint, lane wire.Lane, id uint64, b []byte) {
	end := len(b) - 8
	if end < 24 || binary.LittleEndian.Uint64(b[end:]) != Checksum(b[:end]) {
		w.x.fail("message %d of %x lane %d is damaged", id, e.handle, lane)
		return
	}
	name := binary.LittleEndian.Uint64(b)
	due := &e.next[lane][name&0xff%Producers]
	e.missed[lane] -= int(name>>8 - *due)
	if name>>8 < *due || e.missed[lane] < 0 || binary.LittleEndian.Uint64(b[8:]) != id {
		w.x.fail("%x lane %d id %d: message %d with id %d came when %d was due", e.handle, lane, id, name>>8,
			binary.LittleEndian.Uint64(b[8:]), *due)
	}
	*due = name>>8 + 1
	w.x.arrived.Add(1)
}

// move gives the endpoint to another worker.
func (w *worker) move(e *endpoint, to uint32) {
	w.forget(e)
	e.slot.Owner.Store(to)
	w.x.workers[to].mail <- e
	w.x.workers[to].wake()
}

func (w *worker) forget(e *endpoint) {
	w.endpoints = slices.DeleteFunc(w.endpoints, func(x *endpoint) bool { return x == e })
}

// bury ends a closed life once all that was claimed is published, and begins
// another while producers go on.
func (w *worker) bury(e *endpoint) {
	x := w.x
	for i := range e.readers {
		if !e.readers[i].Settled() {
			e.again = true
			return
		}
	}
	for i := range e.readers {
		x.unsent.Add(e.readers[i].Drop(w.release))
	}
	x.table.Retire(e.slot)
	w.forget(e)
	x.lives.Add(1)
	if x.done.Load() {
		x.alive.Add(-1)
		return
	}
	w.begin(e.place)
}
