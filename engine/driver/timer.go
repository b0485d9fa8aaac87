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
	with   *Endpoint // nil: none
	slot   *outbox.Slot
	handle outbox.Handle
	node   sched.Node
	due    int64
	call   func(outbox.Handle, Sink)
	over   bool
}

// NewTimer calls call once when Now reaches due, in the serial domain of with (an
// endpoint: on its worker, never while one of its callbacks runs, and not after
// it has closed), or on any worker if with is nil. It is given the timer's handle
// and the endpoint's sink, which may be nil.
func (d *Driver) NewTimer(with *Endpoint, due int64, call func(outbox.Handle, Sink)) (*Timer, error) {
	if d.closing.Load() {
		return nil, ErrClosed
	}
	w := d.workers[0]
	if with != nil {
		w = with.worker
	}
	slot, err := d.table.Allocate(outbox.KindTimer, w.index, d.budget, 0)
	if err != nil {
		return nil, failure(endpoint.Limit, "%v", err)
	}
	t := &Timer{worker: w, with: with, slot: slot, handle: outbox.Handle(slot.ID.Load()), due: max(due, 1), call: call}
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
	switch {
	case t.with == nil:
		t.worker.call("a timer", func() { t.call(t.handle, nil) })
	case !t.with.told:
		t.worker.call("a timer", func() { t.call(t.handle, t.with.sink) })
	}
	t.end()
}

func (t *Timer) visit(int64) {
	if t.slot.Command.Swap(0)&outbox.CommandClose != 0 {
		t.end()
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
	w.driver.table.Retire(t.slot)
}

// Close cancels the timer: once no callback of its domain runs, it will not fire.
func (t *Timer) Close() {
	t.slot.Command.Or(outbox.CommandClose)
	if b := t.worker.driver.table.Ring(t.slot); b != nil {
		t.worker.driver.wakeBell(b)
	}
}

// Handle returns the timer's handle.
func (t *Timer) Handle() outbox.Handle { return t.handle }
