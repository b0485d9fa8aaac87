package main

/*
#include "bridge.h"
*/
import "C"

import (
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lyquor/lyquor/engine/driver"
	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/inbox"
	"github.com/lyquor/lyquor/engine/outbox"
)

// pullInbox is an inbox of the C API. It lives until it is closed and the last
// endpoint bound to it has ended.
type pullInbox struct {
	guest  *driver.Guest
	seat   inbox.Seat // the guest's own
	index  uint32
	fd     int
	closed atomic.Bool

	mu    sync.Mutex
	users int // itself, and each endpoint bound to it
	// lobby holds what was announced here and has no receiver yet; nil once it is closed.
	lobby map[*driver.Endpoint]struct{}
}

func openInbox(d *driver.Driver) (*pullInbox, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, &driver.Error{Code: endpoint.Limit, Text: "eventfd: " + err.Error()}
	}
	index, err := library.office.Open(fd)
	if err != nil {
		unix.Close(fd)
		return nil, &driver.Error{Code: endpoint.Limit, Text: err.Error()}
	}
	seat, err := library.office.Reserve()
	if err != nil {
		library.office.Close(index)
		unix.Close(fd)
		return nil, &driver.Error{Code: endpoint.NoMemory, Text: err.Error()}
	}
	in := &pullInbox{index: index, fd: fd, seat: seat, users: 1, lobby: map[*driver.Endpoint]struct{}{}}
	in.mu.Lock() // close, which a driver that ends may call at once, waits until all is there
	defer in.mu.Unlock()
	if in.guest, err = d.NewGuest(outbox.KindInbox, in.close); err != nil {
		library.office.Forgo(seat)
		library.office.Close(index)
		unix.Close(fd)
		return nil, err
	}
	descriptor(fd, true)
	library.office.Join(in.guest.Slot(), index, seat)
	library.objects.put(&object{inbox: in, handle: in.guest.Handle(), owner: d})
	return in, nil
}

// close refuses pullers and waits for those inside, which are awake and leave.
func (in *pullInbox) close(done func()) {
	in.mu.Lock()
	in.closed.Store(true)
	lobby := in.lobby
	in.lobby = nil
	in.mu.Unlock()
	for e := range lobby {
		e.Close(0) // the program may never hear of it
	}
	library.objects.remove(in.guest.Handle())
	C.lyqi_inbox_close(C.uint32_t(in.index))
	in.guest.Slot().Held.Add(1) // its queue is freed by end
	done()
	in.leave()
}

// timer puts a timer's item into the inbox itself.
func (in *pullInbox) timer(handle outbox.Handle, ctx unsafe.Pointer) {
	s := pullSink{in: in, slot: in.guest.Slot()}
	s.timer(handle, ctx)
}

// announce puts LYQ_ACCEPTED of an endpoint into the inbox itself. The endpoint waits until
// it has a receiver of its own, or until the inbox is closed.
func (in *pullInbox) announce(e *driver.Endpoint, ev endpoint.Event, ctx unsafe.Pointer) {
	p := &inbox.Parcel{Kind: uint16(ev.Kind)}
	p.First[0], p.First[1], p.First[2] = ev.Token, uint64(e.Handle()), uint64(uintptr(ctx))
	m, ok := detailOf(ev)
	if ok {
		p.Data, p.Size = address(m.Bytes), uint64(len(m.Bytes))
	}
	// The detail is released as the endpoint's, but the item lies in the inbox's own queue.
	e.Slot().Held.Add(int64(p.Size))
	if in.await(e) && in.guest.Post(func() { in.present(e, p, m) }) {
		return
	}
	in.unannounced(e, p, m)
}

// present is announce on the worker that puts into the inbox's own queue.
func (in *pullInbox) present(e *driver.Endpoint, p *inbox.Parcel, m endpoint.Memory) {
	s := pullSink{in: in, slot: in.guest.Slot()}
	if in.closed.Load() || !s.put(p, 0) {
		in.unannounced(e, p, m)
	}
}

// unannounced ends an endpoint of which the program is not told.
func (in *pullInbox) unannounced(e *driver.Endpoint, p *inbox.Parcel, m endpoint.Memory) {
	if p.Size > 0 {
		memory{}.Discard(m)
		library.table.Unhold(e.Slot(), int64(p.Size))
	}
	e.Close(0)
}

// await notes that an endpoint waits for a receiver, unless the inbox is closed.
func (in *pullInbox) await(e *driver.Endpoint) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.lobby == nil {
		return false
	}
	in.lobby[e] = struct{}{}
	return true
}

// forget is told that an endpoint waits no more: it has a receiver, or has ended.
func (in *pullInbox) forget(e *driver.Endpoint) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.lobby, e)
}

// enter makes a sink that puts into the inbox. It holds on to the inbox until its Drop.
func (in *pullInbox) enter(e *driver.Endpoint, drop unsafe.Pointer) (*pullSink, error) {
	seat, err := library.office.Reserve()
	if err != nil {
		return nil, &driver.Error{Code: endpoint.NoMemory, Text: err.Error()}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.users == 0 || in.closed.Load() {
		library.office.Forgo(seat)
		return nil, &driver.Error{Code: endpoint.Gone, Text: "the inbox is closed"}
	}
	in.users++
	return &pullSink{in: in, slot: e.Slot(), seat: seat, drop: drop}, nil
}

// bind sends what an endpoint that has no receiver gets to the inbox.
func (in *pullInbox) bind(e *driver.Endpoint) error {
	s, err := in.enter(e, nil)
	if err != nil {
		return err
	}
	if err := e.Receive(s.join); err != nil {
		s.Drop()
		return err
	}
	return nil
}

// leave ends one use; the last gives everything back, once no thread is inside
// lyq_recv any more.
func (in *pullInbox) leave() {
	in.mu.Lock()
	in.users--
	last := in.users == 0
	in.mu.Unlock()
	if last {
		go in.end()
	}
}

// retryPeriod is how often end looks whether the last thread has left.
const retryPeriod = time.Millisecond

func (in *pullInbox) end() {
	for C.lyqi_inbox_drain(C.uint32_t(in.index)) == 0 {
		in.signal()
		time.Sleep(retryPeriod)
	}
	library.office.Part(in.guest.Slot(), in.seat)
	library.table.Unhold(in.guest.Slot(), 1)
	descriptor(in.fd, false)
	unix.Close(in.fd)
	library.office.Close(in.index)
}

// signal tells the pullers that something is there.
func (in *pullInbox) signal() {
	fd, word := library.office.Signals(in.index)
	if fd >= 0 {
		one := uint64(1)
		// EAGAIN means a full counter, and then it is readable by definition.
		_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&one)), 8)
	}
	if word != nil {
		wake(word)
	}
}
