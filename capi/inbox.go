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
	in := &pullInbox{index: index, fd: fd, seat: seat, users: 1}
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
	in.mu.Unlock()
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
