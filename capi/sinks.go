package main

/*
#include "bridge.h"
*/
import "C"

import (
	"sync"
	"unsafe"

	"github.com/lyquor/lyquor/engine/arena"
	"github.com/lyquor/lyquor/engine/driver"
	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/inbox"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

// memory is where long messages are assembled: C's, so that the program can keep them
// beyond the endpoint.
type memory struct{}

// Allocate returns memory that lyq_release can free.
func (memory) Allocate(size uint64) (endpoint.Memory, bool) {
	p := C.lyqi_long_new(C.uint64_t(size))
	if p == nil {
		return endpoint.Memory{}, false
	}
	return endpoint.Memory{Bytes: unsafe.Slice((*byte)(p), size)}, true
}

// Retain counts another user.
func (memory) Retain(m endpoint.Memory) { C.lyqi_long_ref(unsafe.Pointer(&m.Bytes[0])) }

// Discard frees it with the last.
func (memory) Discard(m endpoint.Memory) { C.lyqi_long_unref(unsafe.Pointer(&m.Bytes[0])) }

// newDrop returns what calls fn with ctx when its last reference goes; nil for a fn
// that is NULL. What needs one begins with it, so that a call for which there is no
// memory has changed nothing.
func newDrop(fn C.lyq_fn, ctx unsafe.Pointer) (unsafe.Pointer, error) {
	d := C.lyqi_drop_new(fn, ctx)
	if d == nil && fn != nil {
		return nil, &driver.Error{Code: endpoint.NoMemory, Text: "no memory to remember what drop is to be called with"}
	}
	return d, nil
}

func tag(lane wire.Lane, channel uint16) C.uint32_t {
	return C.uint32_t(lane)<<16 | C.uint32_t(channel)
}

// pushSink calls the program back.
type pushSink struct {
	recv C.lyq_recv_fn
	ctx  unsafe.Pointer
	drop unsafe.Pointer
}

func (s *pushSink) Run(e *driver.Endpoint, r driver.Run) int {
	f := r.First
	return int(C.lyqi_deliver(unsafe.Pointer(e.Slot()), C.uint64_t(e.Handle()), s.recv, s.ctx,
		unsafe.Pointer(&r.Frames[0]), C.uint64_t(len(r.Frames)), C.uint32_t(r.Block),
		C.uint64_t(f[0]), C.uint64_t(f[1]), C.uint64_t(f[2]), C.uint64_t(f[3])))
}

func (s *pushSink) Long(e *driver.Endpoint, m endpoint.Memory, lane wire.Lane, channel uint16, id uint64) bool {
	took := C.lyqi_deliver_one(unsafe.Pointer(e.Slot()), C.uint64_t(e.Handle()), s.recv, s.ctx, C.LYQ_DATA, 0,
		tag(lane, channel), C.uint64_t(id), 0, unsafe.Pointer(&m.Bytes[0]), C.uint64_t(len(m.Bytes)))
	if took == 0 {
		return false
	}
	memory{}.Discard(m)
	if took < 0 {
		e.Close(0)
	}
	return true
}

func (s *pushSink) Event(e *driver.Endpoint, ev endpoint.Event) {
	var detail unsafe.Pointer
	if len(ev.Detail) > 0 {
		detail = C.lyqi_long_new(C.uint64_t(len(ev.Detail)))
	}
	if detail != nil {
		copy(unsafe.Slice((*byte)(detail), len(ev.Detail)), ev.Detail)
		attach(detail, e.Slot(), &ev)
		defer C.lyqi_long_unref(detail)
	}
	size := len(ev.Detail)
	if detail == nil {
		size = 0
	}
	took := C.lyqi_deliver_one(unsafe.Pointer(e.Slot()), C.uint64_t(e.Handle()), s.recv, s.ctx, C.int(ev.Kind),
		C.int(ev.Code), tag(ev.Lane, 0), 0, C.uint64_t(ev.Token), detail, C.uint64_t(size))
	if took < 0 && ev.Kind != endpoint.EventClosed {
		e.Close(0)
	}
}

func (s *pushSink) Queues() bool { return false }

func (s *pushSink) Gone() bool { return false }

func (s *pushSink) Drop() { C.lyqi_drop_unref(s.drop) }

// attach moves what an event leaves unacknowledged to its detail, with which the program
// has it. If there is no memory for that, it stays where it is and is dropped.
func attach(detail unsafe.Pointer, slot *outbox.Slot, ev *endpoint.Event) {
	if ev.Kind != endpoint.EventRestarted && ev.Kind != endpoint.EventClosed {
		return
	}
	left := ev.Remains
	if left == nil {
		left = &endpoint.Remains{}
	}
	bytes := 0
	for _, p := range left.Parts {
		if p.Chunk == 0 {
			bytes += len(p.Entries)
		}
	}
	untold := (*outbox.Slot)(nil)
	if left.OfRestart {
		untold = slot
	}
	n := len(left.Parts)
	remains := C.lyqi_remains_new(C.uint64_t(n), C.uint64_t(bytes), C.uint32_t(slot.Budget()),
		C.int64_t(left.Charged), unsafe.Pointer(untold))
	if remains == nil {
		return
	}
	first := C.lyqi_remains_parts(remains)
	to := unsafe.Slice(first, n)
	room := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(first), n*int(unsafe.Sizeof(*first)))), bytes)
	for i, p := range left.Parts {
		entries := p.Entries
		if p.Chunk == 0 { // in Go's memory
			entries = room[:copy(room, entries)]
			room = room[len(entries):]
		}
		to[i] = C.lyqi_part{addr: C.uint64_t(address(entries)), size: C.uint64_t(len(entries)),
			first: C.uint64_t(p.First), touched: C.uint64_t(p.Touched), lane: C.uint32_t(p.Lane),
			chunk: C.uint32_t(p.Chunk), references: C.uint32_t(p.References)}
	}
	C.lyqi_long_remains(detail, remains)
	left.Moved()
}

// pullSink puts everything into an inbox.
type pullSink struct {
	in    *pullInbox
	slot  *outbox.Slot
	seat  inbox.Seat
	drop  unsafe.Pointer
	full  bool // the inbox had no room when it was last asked
	ended bool // the last event was put: who takes it frees the queue
}

// join makes the slot's queue the sink's, while nobody else receives and the slot is
// the endpoint's.
func (s *pullSink) join() driver.Sink {
	library.office.Join(s.slot, s.in.index, s.seat)
	return s
}

// parcelHold is what a parcel counts in Slot.Held while it is queued.
const parcelHold = 64

func (s *pullSink) put(p *inbox.Parcel, held int64) bool {
	slot := s.slot
	slot.Held.Add(parcelHold + held)
	signal, err := library.office.Put(slot, p)
	if err != nil {
		slot.Held.Add(-parcelHold - held)
		if !s.full {
			logf(1, "inbox.full", "what comes waits until items are pulled: %v", err)
		}
		s.full = true
		return false
	}
	s.full = false
	if signal {
		s.in.signal()
	}
	return true
}

// putLast puts the last event, also into an inbox that is closed: its drain takes it.
func (s *pullSink) putLast(p *inbox.Parcel, held int64) {
	s.ended = true
	s.slot.Held.Add(parcelHold + held)
	if library.office.PutLast(s.slot, s.seat, p) {
		s.in.signal()
	}
}

func (s *pullSink) Run(_ *driver.Endpoint, r driver.Run) int {
	if s.in.closed.Load() {
		return 0
	}
	size := int64(len(r.Frames))
	library.table.RefBlock(r.Block, size)
	p := inbox.Parcel{
		Kind:  inbox.KindRun,
		Block: uint32(r.Block),
		Data:  address(r.Frames),
		Size:  uint64(size),
		First: *r.First,
	}
	if !s.put(&p, size) {
		library.table.UnrefBlock(arena.Index(r.Block), size)
		return 0
	}
	return len(r.Frames)
}

func (s *pullSink) Long(_ *driver.Endpoint, m endpoint.Memory, lane wire.Lane, channel uint16, id uint64) bool {
	if s.in.closed.Load() {
		return false
	}
	size := len(m.Bytes)
	p := inbox.Parcel{
		Kind: inbox.KindLong,
		Tag:  uint32(tag(lane, channel)),
		Data: address(m.Bytes),
		Size: uint64(size),
	}
	p.First[0] = id
	return s.put(&p, int64(size))
}

func (s *pullSink) Event(e *driver.Endpoint, ev endpoint.Event) {
	p := inbox.Parcel{Kind: uint16(ev.Kind), Code: int16(ev.Code), Tag: uint32(tag(ev.Lane, 0))}
	p.First[0] = ev.Token
	m, ok := detailOf(ev)
	if ok {
		attach(unsafe.Pointer(&m.Bytes[0]), s.slot, &ev)
		p.Data, p.Size = address(m.Bytes), uint64(len(m.Bytes))
	}
	if ev.Kind == endpoint.EventClosed {
		if ok {
			// The program sees the contexts until it has released this item.
			context := unsafe.Pointer(nil)
			if o := library.objects.get(e.Handle()); o != nil {
				context = o.takeContext()
			}
			C.lyqi_long_drop(unsafe.Pointer(&m.Bytes[0]), s.drop, context)
			s.drop = nil
		}
		s.putLast(&p, int64(len(m.Bytes)))
		return
	}
	closed := s.in.closed.Load()
	if closed || !s.put(&p, int64(len(m.Bytes))) {
		if ok {
			memory{}.Discard(m)
		}
		if !closed {
			e.Close(0) // whose last event has its seat: nothing is lost unsaid
		}
	}
}

// detailOf copies an event's detail, if it has one and there is memory.
func detailOf(ev endpoint.Event) (endpoint.Memory, bool) {
	if len(ev.Detail) == 0 {
		return endpoint.Memory{}, false
	}
	m, ok := memory{}.Allocate(uint64(len(ev.Detail)))
	if ok {
		copy(m.Bytes, ev.Detail)
	}
	return m, ok
}

func (s *pullSink) timer(handle outbox.Handle, ctx unsafe.Pointer) {
	p := inbox.Parcel{Kind: uint16(endpoint.EventTimer)}
	p.First[0], p.First[1] = uint64(handle), uint64(uintptr(ctx))
	if !s.in.closed.Load() {
		s.put(&p, 0)
	}
}

func (s *pullSink) Queues() bool { return true }

func (s *pullSink) Gone() bool { return s.in.closed.Load() }

// Drop ends the binding. The context goes with the last event, if there was one.
func (s *pullSink) Drop() {
	if !s.ended {
		library.office.Forgo(s.seat)
	}
	C.lyqi_drop_unref(s.drop)
	s.drop = nil
	s.in.leave()
}

func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&b[0]))) }

// plan is how the endpoints of a listener, or one that is dialled, receive.
type plan struct {
	recv  C.lyq_recv_fn
	ctx   unsafe.Pointer
	drop  unsafe.Pointer // one reference for the plan itself
	lobby *pullInbox     // where a listener's endpoints are announced, which then wait; nil: none

	mu     sync.Mutex
	handle outbox.Handle // of the listener, once it is registered
	closed bool
	inbox  *pullInbox
	// waiting was accepted before there was a receiver: whoever binds the listener gets it,
	// for the program has no other way to know of it. Nil once that is bound, or closed.
	waiting map[*driver.Endpoint]struct{}
}

func newPlan(o *C.lyq_endpoint_opt) (*plan, C.int) {
	p := &plan{recv: o.recv, ctx: o.ctx}
	var err error
	if o.inbox.id != 0 {
		in, code := find(C.uint64_t(o.inbox.id), outbox.KindInbox)
		if in == nil {
			return nil, code
		}
		p.inbox = in.inbox
	}
	if o.lobby.id != 0 {
		in, code := find(C.uint64_t(o.lobby.id), outbox.KindInbox)
		if in == nil {
			return nil, code
		}
		p.lobby = in.inbox
	}
	if p.drop, err = newDrop(o.drop, o.ctx); err != nil {
		return nil, fail(err)
	}
	return p, 0
}

// abandon forgets the plan without calling drop: nothing was opened.
func (p *plan) abandon() { C.lyqi_drop_forget(p.drop) }

// open registers the listener, unless its driver has closed it meanwhile.
func (p *plan) open(o *object) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.handle = o.handle
		library.objects.put(o)
	}
}

// close gives back the plan's own reference. It ends what still waits for a receiver: the
// listener that could get it one is gone.
func (p *plan) close() {
	for e := range p.take() {
		e.Close(0)
	}
	p.mu.Lock()
	p.closed = true
	if p.handle != 0 {
		library.objects.remove(p.handle)
	}
	p.mu.Unlock()
	C.lyqi_drop_unref(p.drop)
}

// sink makes an endpoint's sink, or nil if the program binds one later: to the endpoint, or
// to the listener that has accepted it.
func (p *plan) sink(e *driver.Endpoint) driver.Sink {
	o := &object{endpoint: e, handle: e.Handle(), owner: e.Driver(), plan: p}
	library.objects.put(o)
	e.Slot().Context.Store(uint64(uintptr(p.ctx)))
	C.lyqi_drop_ref(p.drop)
	if p.recv != nil {
		return &pushSink{recv: p.recv, ctx: p.ctx, drop: p.drop}
	}
	if in := p.inboxOr(e); in != nil {
		s, err := in.enter(e, p.drop)
		if err == nil {
			return s.join()
		}
		logf(1, "inbox.join", "%v", err)
		e.Close(0) // nobody will ever receive
	}
	// Nobody receives yet, but items will show the context, LYQ_ACCEPTED as well.
	o.context = p.drop
	return nil
}

// inboxOr returns the inbox, or has an endpoint of a listener wait for one.
func (p *plan) inboxOr(e *driver.Endpoint) *pullInbox {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inbox == nil && p.waiting != nil {
		p.waiting[e] = struct{}{}
	}
	return p.inbox
}

// lose forgets an endpoint that has ended, or need not wait for a receiver any more.
func (p *plan) lose(e *driver.Endpoint) {
	if p.lobby != nil {
		p.lobby.forget(e)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, e)
}

// take returns what waits, which does so no more.
func (p *plan) take() map[*driver.Endpoint]struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting := p.waiting
	p.waiting = nil
	return waiting
}

// bind sends what a listener has accepted, and accepts from now on, to an inbox.
func (p *plan) bind(in *pullInbox) C.int {
	p.mu.Lock()
	bound := p.recv != nil || p.inbox != nil || p.lobby != nil
	if !bound {
		p.inbox = in
	}
	p.mu.Unlock()
	if bound {
		return failText(endpoint.Busy, "the listener's endpoints have a receiver already, or each gets its own")
	}
	for e := range p.take() {
		if err := in.bind(e); err != nil && err != driver.ErrClosed { // else it has ended meanwhile
			logf(1, "inbox.join", "%v", err)
			e.Close(0) // nobody will ever receive
		}
	}
	return 0
}
