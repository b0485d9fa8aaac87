package driver

import (
	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
)

// SetWorker has worker n, from 1, drive the endpoint from now on, and nobody moves it
// from there; with 0 the driver chooses, now and later. It returns at once. What is on
// its way in either direction goes on: a callback that runs ends first, the next one
// runs on the other worker.
func (e *Endpoint) SetWorker(n int) error {
	if n < 0 || n > len(e.driver.workers) {
		return failure(endpoint.Invalid, "worker is %d; 0 to %d are allowed", n, len(e.driver.workers))
	}
	live := e.lease.use(func() {
		e.wanted.Store(int32(n))
		e.ring()
	})
	if !live {
		return ErrClosed
	}
	return nil
}

// departure is an endpoint that is about to go to another worker.
type departure struct {
	endpoint *Endpoint
	to       *worker
}

// seeOff sends endpoints away at the end of a turn, when nothing of them is under way.
func (w *worker) seeOff() {
	for _, x := range w.leaving {
		e := x.endpoint
		here := w.entities[e.handle.Index()] == entity(e) // it may have been buried, or be named twice
		if here && !e.handed && x.to != w && !w.driver.closing.Load() {
			w.shield(func() { e.depart(x.to) })
		}
	}
	clear(w.leaving)
	w.leaving = w.leaving[:0]
}

// depart takes the endpoint out of its worker and gives it to another one, which cannot
// end before it has it. From then on notices go there, and those that are here already
// are passed on: outbox.Table.Notices looks at the owner on this very thread.
func (e *Endpoint) depart(to *worker) {
	from := e.worker
	from.house.forget(e)
	from.sched.Leave(&e.node)
	if e.link != nil && e.link.Descriptor() >= 0 {
		from.poller.remove(e.link.Descriptor())
	}
	eachTimer(e, func(t *Timer) {
		from.sched.Leave(&t.node)
		from.cede(t.slot, to)
		t.settle(to)
	})
	from.cede(e.slot, to)
	e.worker = to
	e.at.Store(to)
	e.slot.Owner.Store(to.index)
	to.post(func() { e.shield(e.arrive) })
}

// cede takes an entity out that goes to another worker.
func (w *worker) cede(s *outbox.Slot, to *worker) {
	delete(w.entities, outbox.Handle(s.ID.Load()).Index())
	w.load.Add(-1)
	to.load.Add(1)
}

// arrive puts the endpoint under its new worker. Whatever came meanwhile found nobody, so
// it looks at everything.
func (e *Endpoint) arrive() {
	w := e.worker
	w.now = e.driver.Now() // not before anything that was done on the other worker
	w.count(Moves, 1)
	w.entities[e.handle.Index()] = e
	w.house.watch(e)
	eachTimer(e, func(t *Timer) {
		w.entities[t.handle.Index()] = t
		w.sched.SetDeadline(&t.node, t.due)
		t.visit(w.now)
	})
	if w.closing {
		e.shut(w.linger)
		endTimers(e)
	}
	e.rejoin()
	e.visit(w.now)
	e.resume()
}

// rejoin begins to be told of the link by the worker that the endpoint is on now.
func (e *Endpoint) rejoin() {
	if e.link == nil {
		return
	}
	e.readable, e.writable = true, true
	if fd := e.link.Descriptor(); fd >= 0 {
		if err := e.worker.poller.add(fd, pollTag(e.handle)); err != nil {
			e.core.Fail(e.driver.Now(), endpoint.Limit, err.Error())
		}
	}
}
