package driver

import (
	"time"

	"github.com/lyquor/lyquor/engine/driver/sched"
	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
)

// Timer calls a function once, on a worker.
type Timer struct {
	worker *worker
	with   Domain // nil: none
	slot   *outbox.Slot
	handle outbox.Handle
	node   sched.Node
	due    int64
	call   Due
	over   bool
	lease  lease
	missed bool // it came due while callbacks were not allowed
}

// Domain is what a timer goes with: an Endpoint or a Guest.
type Domain interface {
	home() *worker
	// receiver returns the sink, if there is one, and whether the domain still lives.
	receiver() (s Sink, live bool)
}

// Due is what happens when a timer is due: it gets the timer's handle and the
// domain's sink, which may be nil.
type Due func(outbox.Handle, Sink)

// NewTimer calls call once when Now reaches due, in the serial domain of with: on
// its worker, never while one of its callbacks runs, and not after its end. With nil
// it may be any worker.
func (d *Driver) NewTimer(with Domain, due int64, call Due) (*Timer, error) {
	if d.closing.Load() {
		return nil, ErrClosed
	}
	w := d.workers[0]
	if with != nil {
		w = with.home()
	}
	slot, err := d.table.Allocate(outbox.KindTimer, w.index, d.budget, 0)
	if err != nil {
		return nil, failure(endpoint.Limit, "%v", err)
	}
	t := &Timer{
		worker: w,
		with:   with,
		slot:   slot,
		handle: outbox.Handle(slot.ID.Load()),
		due:    max(due, d.Now()), // a time that is over means now, and TimerLate counts from there
		call:   call,
	}
	t.node.Init(t)
	if !w.post(t.start) {
		d.markClosed(slot)
		d.table.Retire(slot)
		return nil, ErrClosed
	}
	return t, nil
}

func (t *Timer) start() {
	t.worker.enter(t.slot, t)
	if t.worker.closing {
		t.end()
		return
	}
	t.worker.sched.SetDeadline(&t.node, t.due)
}

// Step is never called: a timer has a deadline only.
func (t *Timer) Step(int64) bool { return false }

// Expire makes the call.
func (t *Timer) Expire(int64) {
	if t.missed = t.worker.quiet; t.missed {
		return
	}
	sink, live := Sink(nil), true
	if t.with != nil {
		sink, live = t.with.receiver()
	}
	// Who cancelled may have done so after this turn looked at notices.
	if live && t.slot.Command.Load()&outbox.CommandClose == 0 {
		t.run(sink)
	}
	t.end()
}

// run makes the call. A panic in it ends the endpoint that the timer goes with.
func (t *Timer) run(sink Sink) {
	call := func() { t.worker.call("a timer", func() { t.call(t.handle, sink) }) }
	if e, ok := t.with.(*Endpoint); ok {
		e.shield(call)
		return
	}
	t.worker.shield(call)
}

func (t *Timer) visit(int64) {
	if t.slot.Command.Swap(0)&outbox.CommandClose != 0 {
		t.end()
	}
}

// resume makes a call that came due while callbacks were not allowed.
func (t *Timer) resume() {
	if t.missed {
		t.worker.sched.SetDeadline(&t.node, t.due)
	}
}

func (t *Timer) shut(time.Duration) { t.end() }

func (t *Timer) end() {
	if t.over {
		return
	}
	t.over = true
	w := t.worker
	w.sched.Remove(&t.node)
	w.driver.markClosed(t.slot)
	w.leave(t.slot)
	t.lease.end()
	w.driver.table.Retire(t.slot)
}

// Close cancels the timer: once no callback of its domain runs, it will not fire.
func (t *Timer) Close() {
	t.lease.use(func() { t.worker.driver.askToClose(t.slot) })
}

// Handle returns the timer's handle.
func (t *Timer) Handle() outbox.Handle { return t.handle }
