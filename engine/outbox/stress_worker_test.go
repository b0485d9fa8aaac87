package outbox

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/lyquor/lyquor/engine/wire"
)

// endpoint is a life as its worker knows it.
type endpoint struct {
	slot    *Slot
	handle  Handle
	place   int // in stress.handles
	readers [wire.Lanes]Reader
	next    [wire.Lanes][stressProducers]uint64
	closing bool
	again   bool // work is left that nobody will ring for
}

// worker drives endpoints as the driver's workers do, with random decisions.
type worker struct {
	x         *stress
	own       uint32
	random    *rand.Rand
	tokens    chan struct{} // stands for the eventfd
	mail      chan *endpoint
	endpoints []*endpoint
}

func (w *worker) wake() {
	select {
	case w.tokens <- struct{}{}:
	default:
	}
}

func (w *worker) run() {
	x := w.x
	bell := x.table.Bell(w.own)
	for !x.t.Failed() {
		work := x.table.Notices(w.own, w.visit, x.wakeBell)
		work += w.takeMail()
		for _, e := range append([]*endpoint{}, w.endpoints...) {
			if e.again || x.done.Load() {
				w.step(e)
				work++
			}
		}
		if x.done.Load() && x.alive.Load() == 0 {
			x.wakeAll()
			return
		}
		if work > 0 {
			runtime.Gosched()
			continue
		}
		bell.Sleep()
		if !bell.Pending() && len(w.mail) == 0 && !(x.done.Load() && x.alive.Load() == 0) && !w.wait() {
			return
		}
		bell.Awake()
	}
}

// wait sleeps until somebody wakes the worker. Memory that another owner or a
// producer gives back is announced by nobody, so a worker whose senders lack some
// looks again after a while; and only then.
func (w *worker) wait() bool {
	patience := time.After(patience)
	for {
		var tick <-chan time.Time
		if w.x.table.Budget(0).Starved.Load() != 0 {
			tick = time.After(time.Millisecond)
		}
		select {
		case <-w.tokens:
			return true
		case <-tick:
			for _, e := range w.endpoints {
				w.tellRoom(e)
			}
		case <-patience:
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
	}
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

// visit finds the endpoint of a slot that was noticed. A notice may be of a life
// that is over, or of an endpoint that lies in the mail.
func (w *worker) visit(s *Slot) {
	for _, e := range w.endpoints {
		if e.slot == s {
			w.step(e)
			return
		}
	}
}

// step does some of what there is to do for an endpoint.
func (w *worker) step(e *endpoint) {
	x, t := w.x, w.x.table
	e.again = false
	for i := range e.readers {
		w.drain(e, wire.Lane(i))
	}
	switch n := w.random.IntN(60); {
	case n == 0 || x.done.Load():
		e.closing = true
		t.Close(e.slot)
		x.rooms[e.handle.Index()].tell()
	case n < 4 && !e.closing:
		w.move(e, (w.own+1)%stressWorkers)
		return
	}
	w.tellRoom(e)
	if e.closing {
		w.bury(e)
	}
}

// drain reads one lane: in part or whole, frees now or later, and rests.
func (w *worker) drain(e *endpoint, lane wire.Lane) {
	r := &e.readers[lane]
	release := func(ref Reference) {
		if !w.x.table.Release(ref) {
			w.x.fail("reference %+v", ref)
		}
	}
	for range 1 + w.random.IntN(8) {
		entry, ok := r.Peek(r.Sent(), 1+w.random.IntN(1000))
		if !ok {
			break
		}
		id := r.Taken().Messages
		if r.Due(&entry, 1) {
			w.expire(e, lane, &entry, release)
			continue
		}
		run := entry.Run
		if run != nil && w.random.IntN(2) == 0 {
			n := 1 + w.random.IntN(len(run))
			run = run[:n-r.AdvancePart(entry, n)]
		} else {
			r.Advance(entry)
		}
		if entry.Run == nil {
			w.arrive(e, lane, id, entry.Payload)
		}
		for len(run) > 0 {
			h := wire.GetHeader(run)
			if !wire.PlainMsg(h) || h.Lane() != lane || h.Channel() != 7 {
				w.x.fail("header %#x in lane %d", uint64(h), lane)
				return
			}
			w.arrive(e, lane, id, run[wire.HeaderSize:wire.HeaderSize+int(h.Size())])
			run = run[h.FrameSize():]
			id++
		}
		if w.random.IntN(3) > 0 {
			r.Acknowledge(r.Taken().Messages, release)
		}
	}
	if r.Ready(r.Sent()) || r.freed != r.sent {
		e.again = true
	}
	switch w.random.IntN(8) {
	case 0, 1:
		r.Acknowledge(r.Taken().Messages, release)
		r.Rest()
	case 2, 3, 4:
		if small := e.slot.lanes[lane].large.Load() == 0; r.Grow() && small && e.slot.lanes[lane].large.Load() != 0 {
			w.x.grown.Add(1)
		}
	}
}

// expire withdraws the first message of an entry, which is checked as if it arrived.
func (w *worker) expire(e *endpoint, lane wire.Lane, entry *Entry, release func(Reference)) {
	r := &e.readers[lane]
	payload := entry.Payload
	if entry.Run != nil {
		payload = entry.Run[wire.HeaderSize:][:wire.GetHeader(entry.Run).Size()]
	}
	id := r.Taken().Messages
	w.arrive(e, lane, id, payload)
	r.expire(r.deadlineOf(entry), release)
	gap, _ := r.Peek(r.Sent(), 1)
	if !gap.Withdrawn || gap.Messages() != 1 {
		w.x.fail("message %d of %x lane %d is withdrawn: %+v", id, e.handle, lane, gap)
	}
	r.Advance(gap)
}

// arrive checks a message: whole, in its place, and the next of its stream.
func (w *worker) arrive(e *endpoint, lane wire.Lane, id uint64, b []byte) {
	if len(b) < 24 || binary.LittleEndian.Uint64(b[len(b)-8:]) != sum(b[:len(b)-8]) {
		w.x.fail("message %d of %x lane %d is damaged", id, e.handle, lane)
		return
	}
	name := binary.LittleEndian.Uint64(b)
	producer, number := int(name&0xff), name>>8
	if e.next[lane][producer] != number {
		w.x.fail("%x lane %d: message %d of producer %d came when %d was due", e.handle, lane, number, producer,
			e.next[lane][producer])
	}
	e.next[lane][producer] = number + 1
	if said := binary.LittleEndian.Uint64(b[8:]); said != ^uint64(0) && said != id {
		w.x.fail("%x lane %d: message %d was told the id %d", e.handle, lane, id, said)
	}
}

// tellRoom wakes the senders that wait for room, where there is some.
func (w *worker) tellRoom(e *endpoint) {
	want := e.slot.Want.Load()
	for lane := range e.readers {
		if bits := want & (WantAny << lane); bits != 0 && e.readers[lane].HasRoom() {
			e.slot.Want.And(^bits)
			w.x.rooms[e.handle.Index()].tell()
		}
	}
}

// move gives the endpoint to another worker.
func (w *worker) move(e *endpoint, to uint32) {
	w.forget(e)
	e.slot.Owner.Store(to)
	w.x.workers[to].mail <- e
	w.x.wakeBell(w.x.table.Bell(to).Wake())
}

func (w *worker) forget(e *endpoint) {
	for i := range w.endpoints {
		if w.endpoints[i] == e {
			w.endpoints = append(w.endpoints[:i], w.endpoints[i+1:]...)
			return
		}
	}
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
	if x.done.Load() || w.random.IntN(2) == 0 {
		// Everything is read before the end, so that all can be accounted for.
		for i := range e.readers {
			for e.readers[i].Ready(e.readers[i].Sent()) {
				w.drain(e, wire.Lane(i))
			}
		}
	}
	w.account(e)
	x.table.Retire(e.slot)
	w.forget(e)
	if x.done.Load() {
		x.alive.Add(-1)
		return
	}
	next := x.allocate(w.own)
	next.place = e.place
	w.endpoints = append(w.endpoints, next)
	x.handles[e.place].Store(uint64(next.handle))
}

// account drops what was not sent and adds it to what arrived: message by message,
// since only they know whose they are.
func (w *worker) account(e *endpoint) {
	for i := range e.readers {
		r := &e.readers[i]
		probe, unsent := *r, uint64(0)
		for {
			entry, ok := probe.Peek(probe.Sent(), 1)
			if !ok {
				break
			}
			b := entry.Payload
			if entry.Run != nil {
				b = entry.Run[wire.HeaderSize:]
			}
			e.next[i][binary.LittleEndian.Uint64(b)&0xff]++
			probe.Advance(entry)
			unsent++
		}
		got := r.Drop(func(ref Reference) { w.x.table.Release(ref) })
		if got != unsent {
			w.x.fail("Drop says %d unsent messages of %d", got, unsent)
		}
	}
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	for lane := range e.next {
		for p, n := range e.next[lane] {
			w.x.arrived[stream{e.handle, wire.Lane(lane), p}] = n
		}
	}
}
