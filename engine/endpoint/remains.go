package endpoint

import (
	"iter"

	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

// Remains are the messages of an endpoint that a restart of the peer, or the end, has
// left unacknowledged: those that its account counts as maybe delivered and never sent.
// They are charged to the driver until Drop. A nil one is empty.
type Remains struct {
	outbox.Remnants
	// OfRestart says that the slot counts them in Untold until Drop.
	OfRestart bool
	config    *Config
}

// All returns the messages, lane by lane in the order of their ids. Their data is good
// until Drop.
func (r *Remains) All() iter.Seq[outbox.Remnant] {
	if r == nil {
		return func(func(outbox.Remnant) bool) {}
	}
	return r.Remnants.All()
}

// Drop gives back what the messages lie in. It may be called again.
func (r *Remains) Drop() {
	if r == nil {
		return
	}
	r.Remnants.Drop(r.config.Release)
	if r.OfRestart {
		r.config.Slot.Untold.Add(^uint32(0))
	}
	r.Moved()
}

// Moved says that the messages' memory, the charge, and the place in Untold are somebody
// else's now.
func (r *Remains) Moved() {
	if r != nil {
		r.Remnants, r.OfRestart = outbox.Remnants{}, false
	}
}

// Remains takes what was not acknowledged when the endpoint was closed out of its logs.
// It must be settled.
func (e *Endpoint) Remains() *Remains {
	r := &Remains{config: &e.config}
	for i := range e.send.lanes {
		e.send.lanes[i].SalvageAll(&r.Remnants)
	}
	if len(r.Parts) == 0 {
		return nil
	}
	return r
}

// remaining counts, by lane, what is published and not acknowledged.
func (e *Endpoint) remaining() (n [wire.Lanes]uint64) {
	for i := range n {
		n[i] = e.send.lanes[i].Remaining()
	}
	return n
}

// report begins the list of what a restart leaves, which is counted already, or returns
// nil if that is nothing. Before the first message of it counts as acknowledged, it is in
// Untold.
func (e *Endpoint) report(n [wire.Lanes]uint64) *Remains {
	if n == [wire.Lanes]uint64{} {
		return nil
	}
	e.config.Slot.Untold.Add(1)
	return &Remains{OfRestart: true, config: &e.config}
}
