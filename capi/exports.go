package main

/*
#include "bridge.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lyquor/lyquor/engine/driver"
	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/inbox"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/transport"
	"github.com/lyquor/lyquor/engine/transport/mem"
	"github.com/lyquor/lyquor/engine/transport/tcp"
)

// fail sets the calling thread's detail text and returns the code.
func fail(err error) C.int {
	code := endpoint.Internal
	var coded *driver.Error
	if errors.As(err, &coded) {
		code = coded.Code
	}
	return failText(code, err.Error())
}

func failText(code endpoint.Code, text string) C.int {
	C.lyqi_detail(cString(text))
	return C.int(code)
}

// cString returns a copy of a text for C, good for one call. C.CString would end the
// process if no memory is left.
func cString(text string) *C.char {
	return (*C.char)(unsafe.Pointer(unsafe.SliceData(append([]byte(text), 0))))
}

// guard turns a panic in an export into a code.
func guard(result *C.int) {
	if cause := recover(); cause != nil {
		logf(0, "export.panic", "%v\n%s", cause, debug.Stack())
		*result = failText(endpoint.Internal, fmt.Sprintf("internal error: %v", cause))
	}
}

// find returns the object of a handle of a kind (0: any), or a code.
func find(id C.uint64_t, kind outbox.Kind) (*object, C.int) {
	h := outbox.Handle(id)
	if library.table == nil || !library.table.Known(h) || kind != 0 && h.Kind() != kind {
		return nil, failText(endpoint.NoHandle,
			fmt.Sprintf("%#x is not a handle of the kind that is needed", uint64(h)))
	}
	o := library.objects.get(h)
	if o == nil || library.table.Slot(h.Index()).State.Load()&outbox.StateClosed != 0 {
		return nil, failText(endpoint.Gone, fmt.Sprintf("what %#x named is closed", uint64(h)))
	}
	return o, 0
}

// start makes what the process has one of, at the first driver.
func start() error {
	library.Lock()
	defer library.Unlock()
	if library.office != nil {
		return nil
	}
	table, err := driver.Table()
	if err != nil {
		return err
	}
	office, err := inbox.NewOffice(maxInboxes, maxParcels)
	if err != nil {
		return &driver.Error{Code: endpoint.NoMemory, Text: err.Error()}
	}
	library.table, library.office, library.mem = table, office, mem.New()
	C.lyqi_share(table.Root(), office.Root())
	return nil
}

// Bounds of what pulling shares: address space of 64 bytes a parcel.
const (
	maxInboxes = 1 << 12
	maxParcels = 1 << 22
)

//export lyqgo_driver_open
func lyqgo_driver_open(o *C.lyq_driver_opt, out *C.uint64_t) (result C.int) {
	defer guard(&result)
	if err := start(); err != nil {
		return fail(err)
	}
	if o.workers > driver.MaxWorkers {
		return failText(endpoint.Invalid,
			fmt.Sprintf("workers is %d; 1 to %d are allowed", o.workers, driver.MaxWorkers))
	}
	if o.memory_limit > 1<<62 {
		return failText(endpoint.Invalid, "memory_limit is larger than any memory")
	}
	portable := o.flags&C.LYQ_PORTABLE != 0
	options := driver.Options{
		Workers:     int(o.workers),
		BusyPoll:    time.Duration(o.busy_poll_us) * time.Microsecond,
		MemoryLimit: int64(o.memory_limit),
		Portable:    portable,
		NoBalance:   o.flags&C.LYQ_NO_BALANCE != 0,
		Transports:  []transport.Transport{tcp.New(tcp.Options{Portable: portable}), library.mem},
		Log:         logText,
		Free:        free,
		Memory:      memory{},
		Wake:        wake,
		Trim:        func() { C.lyqi_long_trim() },
		Monotonic:   func() int64 { return int64(C.lyqi_clock()) },
		Descriptor:  descriptor,
	}
	if o.name != nil {
		options.Name = C.GoString(o.name)
	}
	if o.cpus != nil {
		workers := max(options.Workers, 1)
		if options.Workers == 0 {
			workers = 2
		}
		for _, cpu := range unsafe.Slice(o.cpus, workers) {
			options.CPUs = append(options.CPUs, int(cpu))
		}
	}
	d, err := driver.Open(options)
	if err != nil {
		return fail(err)
	}
	library.objects.put(&object{driver: d, handle: d.Handle(), owner: d})
	*out = C.uint64_t(d.Handle())
	return 0
}

// free gives back memory that C sent by reference.
func free(release, addr, hint uint64) {
	C.lyqi_release(C.uint64_t(release), C.uint64_t(addr), C.uint64_t(hint))
}

func descriptor(fd int, open bool) {
	flag := C.int(0)
	if open {
		flag = 1
	}
	C.lyqi_descriptor(C.int(fd), flag)
}

// wake wakes all threads that sleep on a word.
func wake(word *atomic.Uint32) {
	const wakePrivate = 1 | 128 // FUTEX_WAKE_PRIVATE
	// The call cannot fail for a word that is mapped.
	_, _, _ = unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), wakePrivate, 1<<31-1, 0, 0, 0)
}

// endpointOptions refuses here only what the driver's types cannot hold; it checks the rest.
func endpointOptions(o *C.lyq_endpoint_opt) (driver.EndpointOptions, error) {
	var wrong string
	switch {
	case o.worker > driver.MaxWorkers:
		wrong = "worker: the driver has no such worker"
	case o.window_bytes > math.MaxUint32:
		wrong = "window_bytes is above 1 GiB"
	case o.connect_ms < 0:
		wrong = "connect_ms is negative"
	case o.keepalive_ms < -1:
		wrong = "keepalive_ms is below -1"
	case o.resume_ms < C.LYQ_WITH_LINK:
		wrong = fmt.Sprintf("resume_ms is %d; a time, LYQ_FOR_EVER and LYQ_WITH_LINK are allowed", o.resume_ms)
	case o.ack > C.LYQ_ACK_MANUAL:
		wrong = "ack is neither LYQ_ACK_RETURN nor LYQ_ACK_MANUAL"
	case o.on_restart > C.LYQ_DROP:
		wrong = "on_restart is none of LYQ_REPORT, LYQ_RESEND and LYQ_DROP"
	}
	if wrong != "" {
		return driver.EndpointOptions{}, &driver.Error{Code: endpoint.Invalid, Text: wrong}
	}
	return driver.EndpointOptions{
		Worker:     int(o.worker),
		Outbox:     uint64(o.outbox_bytes),
		Window:     uint32(o.window_bytes),
		MaxMessage: uint64(o.max_message),
		KeepAlive:  time.Duration(o.keepalive_ms) * time.Millisecond,
		Connect:    time.Duration(o.connect_ms) * time.Millisecond,
		Resume:     resume(o.resume_ms),
		OnRestart:  endpoint.OnRestart(o.on_restart),
		ManualAck:  o.ack == C.LYQ_ACK_MANUAL,
		Ended:      ended,
	}, nil
}

// resume returns how long an endpoint outlives its link.
func resume(ms C.int32_t) time.Duration {
	switch ms {
	case C.LYQ_FOR_EVER:
		return driver.ForEver
	case C.LYQ_WITH_LINK:
		return driver.WithLink
	}
	return time.Duration(ms) * time.Millisecond
}

// opening takes what lyqgo_listen and lyqgo_dial are given: a driver, and how endpoints behave and receive.
func opening(id C.uint64_t, o *C.lyq_endpoint_opt) (*driver.Driver, driver.EndpointOptions, *plan, C.int) {
	options, err := endpointOptions(o)
	if err != nil {
		return nil, options, nil, fail(err)
	}
	d, code := find(id, outbox.KindDriver)
	if d == nil {
		return nil, options, nil, code
	}
	plan, code := newPlan(o)
	return d.driver, options, plan, code
}

//export lyqgo_listen
func lyqgo_listen(id C.uint64_t, addr *C.char, o *C.lyq_endpoint_opt, out *C.uint64_t) (result C.int) {
	defer guard(&result)
	d, options, plan, code := opening(id, o)
	if code != 0 {
		return code
	}
	if plan.lobby == nil {
		plan.waiting = map[*driver.Endpoint]struct{}{}
	} else {
		options.Announce = func(e *driver.Endpoint, ev endpoint.Event) { plan.lobby.announce(e, ev, plan.ctx) }
	}
	l, err := d.Listen(C.GoString(addr), options, plan.sink, plan.close)
	if err != nil {
		plan.abandon()
		return fail(err)
	}
	plan.open(&object{listener: l, handle: l.Handle(), owner: d, plan: plan})
	*out = C.uint64_t(l.Handle())
	return 0
}

//export lyqgo_dial
func lyqgo_dial(id C.uint64_t, addr *C.char, o *C.lyq_endpoint_opt, out *C.uint64_t) (result C.int) {
	defer guard(&result)
	d, options, plan, code := opening(id, o)
	if code != 0 {
		return code
	}
	e, err := d.Dial(C.GoString(addr), options, plan.sink)
	if err != nil {
		plan.abandon()
		return fail(err)
	}
	C.lyqi_drop_unref(plan.drop)
	*out = C.uint64_t(e.Handle())
	return 0
}

//export lyqgo_set_worker
func lyqgo_set_worker(id C.uint64_t, worker C.int) (result C.int) {
	defer guard(&result)
	o, code := find(id, outbox.KindEndpoint)
	if o == nil {
		return code
	}
	if err := o.endpoint.SetWorker(int(worker)); err != nil {
		return fail(err)
	}
	return 0
}

//export lyqgo_switch
func lyqgo_switch(id C.uint64_t, addr *C.char) (result C.int) {
	defer guard(&result)
	o, code := find(id, outbox.KindEndpoint)
	if o == nil {
		return code
	}
	if err := o.endpoint.Switch(C.GoString(addr)); err != nil {
		return fail(err)
	}
	return 0
}

//export lyqgo_on_recv
func lyqgo_on_recv(id C.uint64_t, fn C.lyq_recv_fn, ctx unsafe.Pointer, drop C.lyq_fn) (result C.int) {
	defer guard(&result)
	o, code := find(id, outbox.KindEndpoint)
	if o == nil {
		return code
	}
	d, err := newDrop(drop, ctx)
	if err != nil {
		return fail(err)
	}
	err = o.endpoint.Receive(func() driver.Sink {
		o.endpoint.Slot().Context.Store(uint64(uintptr(ctx)))
		return &pushSink{recv: fn, ctx: ctx, drop: d}
	})
	if err != nil {
		C.lyqi_drop_forget(d)
		return fail(err)
	}
	o.plan.lose(o.endpoint)
	return 0
}

//export lyqgo_inbox_open
func lyqgo_inbox_open(id C.uint64_t, out *C.uint64_t) (result C.int) {
	defer guard(&result)
	d, code := find(id, outbox.KindDriver)
	if d == nil {
		return code
	}
	in, err := openInbox(d.driver)
	if err != nil {
		return fail(err)
	}
	*out = C.uint64_t(in.guest.Handle())
	return 0
}

//export lyqgo_inbox_bind
func lyqgo_inbox_bind(id, with C.uint64_t) (result C.int) {
	defer guard(&result)
	in, code := find(id, outbox.KindInbox)
	if in == nil {
		return code
	}
	o, code := find(with, 0)
	switch {
	case o == nil:
		return code
	case o.listener != nil:
		return o.plan.bind(in.inbox)
	case o.endpoint == nil:
		return failText(endpoint.NoHandle, "only an endpoint or a listener can be bound to an inbox")
	}
	if err := in.inbox.bind(o.endpoint); err != nil {
		return fail(err)
	}
	o.plan.lose(o.endpoint)
	return 0
}

//export lyqgo_set_ctx
func lyqgo_set_ctx(id C.uint64_t, ctx unsafe.Pointer, drop C.lyq_fn) (result C.int) {
	defer guard(&result)
	o, code := find(id, outbox.KindEndpoint)
	if o == nil {
		return code
	}
	next, err := newDrop(drop, ctx)
	if err != nil {
		return fail(err)
	}
	live := o.endpoint.Hold(func() {
		o.endpoint.Slot().Context.Store(uint64(uintptr(ctx)))
		o.context, next = next, o.context
	})
	if !live {
		C.lyqi_drop_forget(next)
		return fail(driver.ErrClosed)
	}
	// A callback that was given the former context may run now; its worker comes to this
	// after it.
	o.endpoint.Post(func() { C.lyqi_drop_unref(next) })
	return 0
}

// ended is the last thing that is done for an endpoint.
func ended(e *driver.Endpoint) {
	if o := library.objects.get(e.Handle()); o != nil {
		o.plan.lose(e)
		C.lyqi_drop_unref(o.takeContext())
	}
	library.objects.remove(e.Handle())
}

// takeContext returns what drops the context of lyq_set_ctx, for the caller to see to:
// the endpoint's worker, when Hold has ended.
func (o *object) takeContext() unsafe.Pointer {
	c := o.context
	o.context = nil
	return c
}

//export lyqgo_explain
func lyqgo_explain(id C.uint64_t, text *C.char, size C.size_t) (result C.int) {
	defer guard(&result)
	o, code := find(id, 0)
	if o == nil {
		return code
	}
	line := ""
	switch {
	case o.endpoint != nil:
		line = o.endpoint.Explain()
	case o.listener != nil:
		line = "listening on " + o.listener.Addr()
	case o.driver != nil:
		line = o.driver.Explain()
	case o.inbox != nil:
		line = "an inbox"
	default:
		line = "a timer that is not due"
	}
	copyText(text, size, line)
	return C.int(len(line))
}

// copyText copies what fits, and a final 0.
func copyText(to *C.char, size C.size_t, text string) {
	if size == 0 {
		return
	}
	out := unsafe.Slice((*byte)(unsafe.Pointer(to)), size)
	out[copy(out[:size-1], text)] = 0
}

//export lyqgo_counters
func lyqgo_counters(id C.uint64_t, worker C.int, out *C.uint64_t, n C.size_t) (result C.int) {
	defer guard(&result)
	o, code := find(id, 0)
	if o == nil {
		return code
	}
	var counts []uint64
	switch {
	case o.endpoint != nil && worker == 0:
		all := o.endpoint.Counts()
		counts = all[:]
	case o.driver != nil && worker == 0:
		all := o.driver.Counts()
		counts = all[:]
	case o.driver != nil:
		one, ok := o.driver.WorkerCounts(int(worker))
		if !ok {
			return failText(endpoint.Invalid,
				fmt.Sprintf("worker %d: the driver has %d, counted from 1", worker, o.driver.Workers()))
		}
		counts = one[:]
	default:
		return failText(endpoint.NoHandle, "only endpoints and drivers have counters")
	}
	to := unsafe.Slice((*uint64)(unsafe.Pointer(out)), min(int(n), len(counts)))
	copy(to, counts)
	return C.int(len(counts))
}

//export lyqgo_address
func lyqgo_address(id C.uint64_t, text *C.char, size C.size_t) (result C.int) {
	defer guard(&result)
	o, code := find(id, 0)
	if o == nil {
		return code
	}
	var addr string
	switch {
	case o.endpoint != nil:
		addr = o.endpoint.RemoteAddr()
	case o.listener != nil:
		addr = o.listener.Addr()
	default:
		return failText(endpoint.NoHandle, "only endpoints and listeners have addresses")
	}
	if int(size) <= len(addr) {
		return failText(endpoint.Invalid, fmt.Sprintf("size is %d; the address needs %d bytes", size, len(addr)+1))
	}
	copyText(text, size, addr)
	return C.int(len(addr))
}

//export lyqgo_now
func lyqgo_now(id C.uint64_t) (result C.int64_t) {
	var code C.int
	defer func() {
		if code != 0 {
			result = C.int64_t(code)
		}
	}()
	defer guard(&code)
	d, code := find(id, outbox.KindDriver)
	if d == nil {
		return C.int64_t(code)
	}
	return C.int64_t(d.driver.Now())
}

//export lyqgo_timer_open
func lyqgo_timer_open(id, with C.uint64_t, at C.int64_t, fn C.lyq_fn, ctx unsafe.Pointer, out *C.uint64_t) (
	result C.int) {
	defer guard(&result)
	d, code := find(id, outbox.KindDriver)
	if d == nil {
		return code
	}
	domain, deliver, code := timerDomain(d.driver, with, fn, ctx)
	if code != 0 {
		return code
	}
	t, err := d.driver.NewTimer(domain, int64(at), deliver)
	if err != nil {
		return fail(err)
	}
	library.objects.put(&object{timer: t, handle: t.Handle(), owner: d.driver})
	*out = C.uint64_t(t.Handle())
	return 0
}

// timerDomain finds what a timer runs with, and says what is to be done when it is
// due.
func timerDomain(d *driver.Driver, with C.uint64_t, fn C.lyq_fn, ctx unsafe.Pointer) (
	driver.Domain, driver.Due, C.int) {
	call := func(handle outbox.Handle, s driver.Sink) {
		if p, ok := s.(*pullSink); ok {
			p.timer(handle, ctx)
		} else if fn != nil {
			C.lyqi_call(fn, ctx)
		}
	}
	if with == 0 {
		if fn == nil {
			return nil, nil, failText(endpoint.Invalid, "fn is NULL; that is allowed with an inbox only")
		}
		return nil, call, 0
	}
	o, code := find(with, 0)
	switch {
	case o == nil:
		return nil, nil, code
	case o.endpoint == nil && o.inbox == nil:
		return nil, nil, failText(endpoint.NoHandle, "a timer goes with an endpoint, an inbox, or 0 for neither")
	case o.owner != d:
		return nil, nil, failText(endpoint.Invalid, "what the timer goes with belongs to another driver")
	case o.inbox != nil:
		return o.inbox.guest, func(handle outbox.Handle, _ driver.Sink) { o.inbox.timer(handle, ctx) }, 0
	}
	return o.endpoint, call, 0
}
