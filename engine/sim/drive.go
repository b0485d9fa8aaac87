package sim

import (
	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

const (
	// readBudget and writeBudget bound what a step reads and writes, in bytes, and ioMost
	// in calls: others wait.
	readBudget  = 64 << 10
	writeBudget = 256 << 10
	ioMost      = 16
	// partNanos is how long a link outlives its endpoint to carry the last words.
	partNanos = 1e9
	// memoryPeriod is how often senders that lack memory look again.
	memoryPeriod = 1e7
	// fewBytes is what an unpleasant read or write moves at most.
	fewBytes = 16
)

// Step reads, delivers and writes within its budgets.
func (e *Endpoint) Step(now int64) (more bool) {
	if e.done {
		return false
	}
	w := e.node.world
	e.obey(now)
	e.redial(now)
	if !e.node.deaf {
		more = e.read(now)
	}
	more = e.write(now) || more
	e.core.SetDeaf(e.node.deaf)
	starved := e.tellRoom(now)
	e.settle(now)
	if e.done {
		return false
	}
	e.book.look(e)
	if w.chance(w.config.Perturb.Rests) {
		e.core.Rest()
	}
	due := e.deadline()
	if starved && (due == 0 || now+memoryPeriod < due) {
		due = now + memoryPeriod
	}
	if e.due = due; due != 0 {
		e.due = max(due, now) // the protocol may be told of a moment that it knew of only now
	}
	e.node.sched.SetDeadline(&e.task, due)
	return more
}

// Expire passes a deadline on.
func (e *Endpoint) Expire(now int64) {
	e.due = 0
	if due := e.core.Deadline(); due != 0 && due <= now {
		e.core.Expire(now)
		e.noteLoss(now)
	}
	if e.dialling && e.dialBy <= now {
		e.missed(endpoint.TimedOut, "no answer in time")
	}
	e.node.sched.Ready(&e.task)
}

// deadline returns when the endpoint is to be looked at again, whatever happens.
func (e *Endpoint) deadline() (due int64) {
	times := [...]int64{e.core.Deadline(), 0, 0, e.partBy}
	if e.dialling {
		times[1] = e.dialBy
	} else if e.mayDial() {
		times[2] = e.redialAt
	}
	for _, t := range times {
		if t != 0 && (due == 0 || t < due) {
			due = t
		}
	}
	return due
}

// obey does what the program has asked for.
func (e *Endpoint) obey(now int64) {
	asked := e.asked
	e.asked = 0
	if asked&askEnd != 0 {
		e.core.End()
	}
	for _, m := range e.acks {
		e.consumed(now, &m)
	}
	e.acks = e.acks[:0]
	e.reckon(now)
	if asked&askResume != 0 {
		e.core.Resume(now)
	}
	if asked&askSwitch != 0 {
		e.obeySwitch(now)
	}
	if asked&askClose != 0 {
		e.core.Close(now, e.closeBy)
	}
}

// read takes bytes from the link and delivers what they hold.
func (e *Endpoint) read(now int64) (more bool) {
	w, budget := e.node.world, readBudget
	for calls := 0; e.readable && e.end != nil && e.core.Phase() < endpoint.Closed; calls++ {
		if budget <= 0 || calls == ioMost {
			return true
		}
		want := min(e.end.Unread(), budget)
		if w.chance(w.config.Perturb.Reads) {
			want = min(want, 1+w.rand.IntN(fewBytes))
		}
		n, eof, err := e.end.Read(e.room(want))
		switch {
		case err != 0:
			e.lost(now, err, "connection reset by peer")
		case eof:
			e.lost(now, endpoint.Reset, "the peer ended the connection without a word")
		case n == 0:
			e.readable = false
		default:
			e.input = e.input[:len(e.input)+n]
			budget -= n
			e.heardAt = now
			e.consume(now)
		}
	}
	return false
}

// room returns where to read n bytes to: behind what is there.
func (e *Endpoint) room(n int) []byte {
	w, have := e.node.world, len(e.input)
	if have+n > cap(e.input) {
		b := append(w.takeBuffer(have+n), e.input...)
		w.giveBuffer(e.input)
		e.input = b
	}
	return e.input[have : have+n]
}

// consume gives what was read to the protocol, and keeps what it leaves.
func (e *Endpoint) consume(now int64) {
	w, holds, link := e.node.world, e.holds, e.end
	b := e.input
	n, err := e.core.Receive(now, b)
	// Both sides are the engine's: neither may ever find the other at fault.
	w.check(err == nil, "%v: %v", e, err)
	if e.core.Offered() {
		e.input = b[n:] // a whole number of words behind the start
		e.offer(now)
		return
	}
	e.keep(b, n, e.holds != holds)
	if e.noteLoss(now); e.end != link {
		e.input = e.input[:0]
	}
}

// keep makes what is behind the first n bytes of b the input.
func (e *Endpoint) keep(b []byte, n int, held bool) {
	w, left := e.node.world, b[n:]
	switch {
	case held && len(left) == 0:
		e.input = nil
	case held:
		e.input = append(w.takeBuffer(len(left)), left...)
	case len(left) == 0:
		w.giveBuffer(b)
		e.input = nil
	default:
		e.input = b[:copy(b, left)]
	}
}

// write gives the link what is to be sent, and says whether the budget ended it.
func (e *Endpoint) write(now int64) (more bool) {
	w, v, budget := e.node.world, &e.node.world.vector, writeBudget
	for calls := 0; e.writable && e.end != nil && e.core.Phase() < endpoint.Closed; calls++ {
		if budget <= 0 || calls == ioMost {
			return true
		}
		e.core.Gather(now, v, budget)
		size, most := v.Size, v.Size
		if size == 0 {
			break
		}
		unpleasant := w.chance(w.config.Perturb.Writes)
		if unpleasant {
			most = w.rand.IntN(min(size, fewBytes) + 1)
		}
		n, err := e.end.Write(v.Slices, most)
		e.core.Wrote(v, n)
		w.note(noteWrite, uint64(e.node.index), uint64(n))
		if err != 0 {
			e.lost(now, err, "broken pipe")
			return false
		}
		budget -= n
		if n < size {
			if e.writable = false; unpleasant {
				w.plan(w.now+1+w.rand.Int64N(turnMore), noteSpace, e.becomesReady)
			}
		}
	}
	if e.end != nil && e.core.Flushed() && !e.wroteEnd {
		e.wroteEnd = true
		e.end.CloseWrite()
	}
	return false
}

// tellRoom tells a sender that waits for room in a lane that there is some. It says
// whether memory has run out, so that it has to be looked for.
func (e *Endpoint) tellRoom(now int64) (starved bool) {
	w, n := e.node.world, e.node
	want := e.slot.Want.Load()
	if want == 0 || e.core.Phase() == endpoint.Closed {
		return false
	}
	full := uint32(0)
	for lane := range wire.Lane(wire.Lanes) {
		if want&(outbox.WantEvent<<lane) != 0 && !e.core.MakeRoom(lane) {
			full |= 1 << lane
		}
	}
	e.core.Sweep(now, full)
	if w.table.Budget(uint32(n.index)).Starved.Load() != 0 && n.short() {
		e.core.Rest()
		return true
	}
	for lane := range wire.Lane(wire.Lanes) {
		bit := outbox.WantEvent << lane
		switch {
		case want&bit == 0:
		case e.core.MakeRoom(lane):
			e.slot.Want.And(^bit)
			e.tell(Event{Kind: endpoint.EventWritable, Lane: lane})
			n.sched.Ready(&e.task)
		case e.core.Lane(lane).Queued == 0 && e.core.AskForAck(now):
			n.sched.Ready(&e.task) // only the peer can make room where all is sent
		}
	}
	return false
}

// short says that a long message may be refused for want of memory.
func (n *Node) short() bool {
	t := n.world.table
	budget := t.Budget(uint32(n.index))
	return budget.Used.Load()+int64(t.Blocks().PieceSize()) > budget.Limit.Load()
}

// settle carries an endpoint that is closed to its end.
func (e *Endpoint) settle(now int64) {
	if e.core.Phase() != endpoint.Closed || !e.part(now) {
		return
	}
	if !e.told {
		e.told = true
		e.node.forget(e)
		e.tellClosed()
	}
	e.node.world.check(e.core.Settled(), "%v: a claim is not published though nobody sends", e)
	e.bury()
}

// part ends the link of an endpoint that is closed, behind its last words and the
// peer's end, and returns true once it has.
func (e *Endpoint) part(now int64) bool {
	w := e.node.world
	switch {
	case e.end == nil:
		return true
	case e.partBy == 0:
		e.book.last = e.end.peer().owner
		v := &w.vector
		e.core.Gather(now, v, writeBudget)
		size, n := v.Size, 0
		if size > 0 {
			n, _ = e.end.Write(v.Slices, size)
			e.core.Wrote(v, n)
		}
		if size > 0 && n == size && e.end.err == 0 {
			e.end.CloseWrite()
			e.partBy = now + partNanos
			e.node.sched.Ready(&e.task)
			return false
		}
	case now < e.partBy && !e.drained():
		return false
	}
	e.end.Close()
	e.end, e.partBy = nil, 0
	return true
}

// drained reads what the peer still sends, and says whether that has come to an end.
func (e *Endpoint) drained() bool {
	var waste [4096]byte
	for {
		n, eof, err := e.end.Read(waste[:])
		if n == 0 {
			return eof || err != 0
		}
	}
}
