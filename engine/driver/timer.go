package driver

import (
	"slices"
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
	home() *worker // it stays, for those who are on it
	// post runs a command there.
	post(command func()) bool
	// receiver returns the sink, if there is one, and whether the domain still lives.
	receiver() (s Sink, live bool)
	// own are the timers that go with it, for those who are on its worker.
	own() *[]*Timer
}

// Due is what happens when a timer is due: it gets the timer's handle and the
// domain's sink, which may be nil.
type Due func(outbox.Handle, Sink)

// NewTimer calls call once when Now reaches due, in the serial domain of with: on
// its worker, never while one of its callbacks runs, and not after its end. With nil
// it may be any worker.
func (d *Driver) NewTimer(with Domain, due int64, call Due) (*Timer, error) {
	w := d.workers[0]
	post := w.post
	if with != nil {
		w, post = with.home(), with.post
	}
	// A time that is over means now, and TimerLate counts from there.
	t := &Timer{with: with, due: max(due, d.Now()), call: call}
	t.node.Init(t)
	if err := t.lodge(w, outbox.KindTimer); err != nil {
		return nil, err
	}
	if err := t.moveIn(post, t.start); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Timer) start() {
	live := true
	if t.with != nil {
		t.settle(t.with.home())
		own := t.with.own()
		*own = append(*own, t)
		_, live = t.with.receiver()
	}
	t.worker.sched.SetDeadline(&t.node, t.due)
	t.worker.enter(t.slot, t) // which may end it
	if !live {
		t.end()
	}
}

// settle puts a timer where its domain is.
func (t *Timer) settle(w *worker) {
	t.worker = w
	t.slot.Owner.Store(w.index)
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
	e, ok := t.with.(*Endpoint)
	call := func() {
		begin := t.worker.begin()
		t.call(t.handle, sink)
		t.worker.end(e, "a timer", begin)
	}
	if ok {
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
	if t.with != nil {
		own := t.with.own()
		*own = slices.DeleteFunc(*own, func(other *Timer) bool { return other == t })
	}
	t.worker.sched.Remove(&t.node)
	t.depart()
}

// eachTimer calls do, which may end it, with each timer that goes with a domain.
func eachTimer(d Domain, do func(*Timer)) {
	for _, t := range slices.Clone(*d.own()) {
		do(t)
	}
}

// endTimers ends what would never fire.
func endTimers(d Domain) { eachTimer(d, (*Timer).end) }
