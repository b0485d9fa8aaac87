package driver

import (
	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

// tellRoom tells senders that wait for room in a lane that there is some.
func (e *Endpoint) tellRoom() {
	want := e.slot.Want.Load()
	if e.flush != nil {
		want |= outbox.WantAck
	}
	if want == 0 || e.silent() {
		return
	}
	e.sweep(want)
	if e.core.Phase() < endpoint.Closed && (e.driver.short() || e.lacks(want)) {
		// Looking again and again keeps the housekeeper away, so what an empty lane owns
		// goes back here: it may be all that is missing.
		e.starved = true
		e.rest()
		if e.worker.now-e.toldAt < memoryPeriod {
			return
		}
		// How much is needed only the sender knows, and that others are waiting for more
		// than there is must not keep it from what would do for it.
		e.toldAt = e.worker.now
	}
	if want&outbox.WantAck != 0 {
		e.tellAcks()
	}
	for lane := range wire.Lane(wire.Lanes) {
		bits := want & (outbox.WantAny << lane)
		if bits == 0 {
			continue
		}
		if !e.core.MakeRoom(lane) && e.core.Phase() < endpoint.Closed {
			// Only the peer can make room in a lane from which all is sent.
			if e.core.Lane(lane).Queued == 0 && e.core.AskForAck(e.worker.now) {
				e.worker.sched.Ready(&e.node)
			}
			continue
		}
		e.slot.Want.And(^bits)
		if bits&(outbox.WantWake<<lane) != 0 {
			e.wakeWaiters()
		}
		if bits&(outbox.WantEvent<<lane) != 0 && e.core.Phase() < endpoint.Closed {
			e.event(endpoint.Event{Kind: endpoint.EventWritable, Lane: lane})
			e.unpause()
			e.worker.sched.Ready(&e.node)
		}
	}
}

// sweep has what is late make room for senders that wait for some, or be done with for
// threads that wait until all is acknowledged, while no link takes anything.
func (e *Endpoint) sweep(want uint32) {
	if e.core.Phase() > endpoint.Opening {
		return
	}
	lanes := uint32(0)
	for lane := range wire.Lane(wire.Lanes) {
		if want&outbox.WantAck != 0 || want&(outbox.WantAny<<lane) != 0 && !e.core.MakeRoom(lane) {
			lanes |= 1 << lane
		}
	}
	e.core.Sweep(e.worker.now, lanes)
}

// tellAcks wakes threads that wait until what they sent is acknowledged, whenever more
// of it is; and has the peer hurry with the rest.
func (e *Endpoint) tellAcks() {
	acked := uint64(0)
	for i := range wire.Lane(wire.Lanes) {
		acked += e.core.Passed(i)
	}
	if acked != e.ackedTold || e.core.Acked() {
		e.ackedTold = acked
		e.slot.Want.And(^outbox.WantAck)
		e.wakeWaiters()
	}
	e.tellFlush()
	if e.core.AskForAck(e.worker.now) {
		e.worker.sched.Ready(&e.node)
	}
}

// waiters are the bits of outbox.Slot.Want that threads set which sleep.
const waiters = outbox.WantWake*(1<<wire.Lanes-1) | outbox.WantAck

// wakeSenders wakes every thread that waits for room, or for acknowledgements: there will
// be none.
func (e *Endpoint) wakeSenders() {
	e.slot.Want.And(^waiters)
	e.wakeWaiters()
}

// wakeWaiters wakes who waits until Slot.Room changes, threads in C and goroutines.
func (e *Endpoint) wakeWaiters() {
	e.slot.Room.Add(1)
	e.driver.wake(&e.slot.Room, e.slot)
	e.changes.tell()
}

// short says whether a sender was refused for want of memory, and most of it is still
// used: whoever is told of room may be refused again, and should not ask all the time.
func (d *Driver) short() bool {
	b := d.table.Budget(d.budget)
	if b.Starved.Load() == 0 {
		return false
	}
	if b.Used.Load() <= b.Limit.Load()/2 {
		b.Starved.Store(0)
		return false
	}
	return true
}

// lacks says whether senders wait in a lane whose message is larger than the memory that is
// left, though that may be most of it; with the chunk for its entry.
func (e *Endpoint) lacks(want uint32) bool {
	t := e.driver.table
	b := t.Budget(e.driver.budget)
	left := b.Limit.Load() - b.Used.Load() - int64(t.Chunks().PieceSize())
	for lane := range wire.Lane(wire.Lanes) {
		if want&(outbox.WantAny<<lane) != 0 && int64(e.slot.Wish(lane)) > left {
			return true
		}
	}
	return false
}
