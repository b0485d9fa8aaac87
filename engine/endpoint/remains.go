package endpoint

import (
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

// Remains are the messages of an endpoint that a restart of the peer, or the end, has
// left unacknowledged: those that its account counts as maybe delivered and never sent.
// They are charged to the driver until Drop. A nil one is empty.
type Remains struct {
	// List is lane by lane, in the order of ids.
	List    []outbox.Remnant
	Charged int64 // bytes
	// OfRestart says that the slot counts them in Untold until Drop.
	OfRestart bool
	config    *Config
}

// Drop gives back what the messages lie in. It may be called again.
func (r *Remains) Drop() {
	if r == nil {
		return
	}
	for i := range r.List {
		r.config.Release(r.List[i].Reference)
	}
	r.config.Table.Burden(r.config.Slot.Budget(), -r.Charged)
	if r.OfRestart {
		r.config.Slot.Untold.Add(^uint32(0))
	}
	r.Moved()
}

// Moved says that the messages' memory, the charge, and the place in Untold are somebody
// else's now.
func (r *Remains) Moved() {
	if r != nil {
		r.List, r.Charged, r.OfRestart = nil, 0, false
	}
}

// Remains lists what was not acknowledged when the endpoint was closed. It must be
// settled. What lies in the logs stays there until Drop.
func (e *Endpoint) Remains() *Remains { return e.salvage(e.remaining(), false) }

// remaining counts, by lane, what is published and not acknowledged.
func (e *Endpoint) remaining() (n [wire.Lanes]outbox.Count) {
	for i := range n {
		n[i] = e.send.lanes[i].Remaining()
	}
	return n
}

// salvage lists what remaining has counted; of a restart it is copied, to outlive the logs.
func (e *Endpoint) salvage(n [wire.Lanes]outbox.Count, restart bool) *Remains {
	var sum outbox.Count
	for i := range n {
		sum.Messages += n[i].Messages
		sum.Bytes += n[i].Bytes
	}
	if sum.Messages == 0 {
		return nil
	}
	r := &Remains{List: make([]outbox.Remnant, 0, sum.Messages), config: &e.config}
	var memory []byte
	if restart {
		memory = make([]byte, sum.Bytes)
	}
	for i := range n {
		r.List, memory = e.send.lanes[i].Salvage(n[i].Messages, r.List, memory)
	}
	for i := range r.List {
		r.Charged += int64(len(r.List[i].Data))
	}
	e.config.Table.Burden(e.config.Slot.Budget(), r.Charged)
	if r.OfRestart = restart; r.OfRestart {
		e.config.Slot.Untold.Add(1)
	}
	return r
}
