package driver

import (
	"time"

	"github.com/lyquor/lyquor/engine/driver/sched"
	"github.com/lyquor/lyquor/engine/outbox"
)

// Timer calls a function once, on a worker.
type Timer struct {
	tenant
	with   Domain // nil: none
	node   sched.Node
	due    int64
	call   Due
	over   bool
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
	w := d.workers[0]
	if with != nil {
		w = with.home()
	}
	// A time that is over means now, and TimerLate counts from there.
	t := &Timer{with: with, due: max(due, d.Now()), call: call}
	t.node.Init(t)
	if err := t.lodge(w, outbox.KindTimer); err != nil {
		return nil, err
	}
	if err := t.move(t.start); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Timer) start() {
	if e, ok := t.with.(*Endpoint); ok {
		e.timers++
	}
	t.worker.sched.SetDeadline(&t.node, t.due)
	t.worker.enter(t.slot, t) // which may end it
	if e, ok := t.with.(*Endpoint); ok && e.told {
		t.end()
	}
}

// Step is never called: a timer has a deadline only.
func (t *Timer) Step(int64) bool { return false }

// Expire makes the call.
func (t *Timer) Expire(int64) {
	e, _ := t.with.(*Endpoint)
	if t.missed = t.worker.quiet || e != nil && e.silent(); t.missed {
		return
	}
	sink, live := Sink(nil), true
	if t.with != nil {
		sink, live = t.with.receiver()
	}
	// Who cancelled may have done so after this turn looked at notices.
	if live && t.slot.Asks()&outbox.CommandClose == 0 {
		t.run(sink)
	}
	t.end()
}

// run makes the call. A panic in it ends the endpoint that the timer goes with.
func (t *Timer) run(sink Sink) {
	call := func() {
		begin := t.worker.begin()
		t.call(t.handle, sink)
		t.worker.end("a timer", begin)
	}
	if e, ok := t.with.(*Endpoint); ok {
		e.shield(call)
		return
	}
	t.worker.shield(call)
}

func (t *Timer) visit(int64) {
	if t.askedToClose() {
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
	if e, ok := t.with.(*Endpoint); ok {
		e.timers--
	}
	t.worker.sched.Remove(&t.node)
	t.depart()
}

// eachTimer calls do with each timer that goes with the endpoint. Few have any.
func (e *Endpoint) eachTimer(do func(*Timer)) {
	if e.timers == 0 {
		return
	}
	for _, x := range e.worker.entities {
		if t, ok := x.(*Timer); ok && t.with == Domain(e) {
			do(t)
		}
	}
}

// endTimers ends what would never fire.
func (e *Endpoint) endTimers() { e.eachTimer((*Timer).end) }
