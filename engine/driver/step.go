package driver

import (
	"errors"
	"io"
	"slices"
	"time"
	"unsafe"

	"github.com/lyquor/lyquor/engine/arena"
	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/transport"
	"github.com/lyquor/lyquor/engine/wire"
)

const (
	// readBudget bounds what an endpoint reads in a step while others wait, in bytes.
	readBudget = 64 << 10
	// readMost bounds it otherwise. One read of this size amortises the system call
	// and stays within a second-level cache.
	readMost = 128 << 10
	// helloMost is how much is read at once of a peer that is not to be listened to behind
	// its HELLO, in bytes: about what that takes.
	helloMost = 512
	// writeBudget bounds what it writes in a step, in bytes.
	writeBudget = 256 << 10
	// maxCarry is the largest leftover that is copied aside, in bytes; a longer one
	// keeps its block.
	maxCarry = 2 << 10
	// frameRoom is what an incomplete frame may need.
	frameRoom = wire.HeaderSize + wire.MaxPayload
)

// Step reads, delivers and writes within its budgets.
func (e *Endpoint) Step(now int64) (more bool) {
	if e.done || e.handed {
		return false
	}
	defer e.recover()
	w := e.worker
	if w.scales != nil {
		defer w.weigh(e, w.driver.Now())
	}
	w.house.watch(e)
	e.starved, e.blind = false, false
	if e.full && !e.silent() {
		e.full = false
		e.unpause()
	}
	e.reckon(now)
	if e.link != nil && e.core.Phase() < endpoint.Closed {
		more = e.read(now)
		if e.core.Offered() {
			e.handOver()
			return false
		}
		if e.core.Phase() < endpoint.Closed { // else part has the last word
			more = e.write() || more
		}
	}
	e.reckon(now)
	more = more || e.core.AckDue()
	e.core.SetDeaf(e.silent() || e.blind || e.swamped())
	e.mend(now)
	e.tellRoom()
	if e.core.Parting() {
		e.seeOut(now)
	}
	e.settle()
	if !e.done {
		w.sched.SetDeadline(&e.node, e.deadline(now))
		e.publish()
		if n := e.wanted.Load(); n != 0 && int(n) != w.number+1 {
			w.leaving = append(w.leaving, departure{e, e.driver.workers[n-1]})
		}
	}
	return more && !e.done
}

// Expire passes a deadline on.
func (e *Endpoint) Expire(now int64) {
	if e.handed {
		return
	}
	if e.retryAt != 0 && now >= e.retryAt && (e.core.WantsLink() || e.switching) {
		e.dial()
	}
	e.core.Expire(now)
	e.worker.sched.Ready(&e.node)
}

// mayRead says whether something could be done with what the link has. A program that
// takes nothing does not keep it from being read: that is what credit is for.
func (e *Endpoint) mayRead() bool {
	return e.readable && !e.silent() && e.core.Phase() < endpoint.Closed && e.core.Phase() > endpoint.Waiting &&
		!e.core.Offered() && !e.swamped()
}

// swamped says that nothing is read until the program has taken what is held of peers that
// have restarted since; unless it waits for room, for acknowledgements, or for its end, which
// takes one.
func (e *Endpoint) swamped() bool {
	return (e.core.Swamped() || e.hoards()) && e.core.Phase() >= endpoint.Open && e.slot.Want.Load() == 0 &&
		e.flush == nil && !e.core.Closing()
}

// read takes bytes from the link, delivers what they hold, and says whether the
// budget ended it.
func (e *Endpoint) read(now int64) (more bool) {
	budget := readMost
	if e.worker.sched.Busy() {
		budget = readBudget
	}
	for budget > 0 && e.mayRead() {
		n, err := e.readSome(now)
		if err != nil {
			e.readFailed(now, err)
			return false
		}
		if n == 0 {
			e.starved, e.blind = true, true
			return false
		}
		budget -= n
	}
	if budget <= 0 {
		e.worker.count(BudgetCuts, 1)
	}
	return budget <= 0 && e.mayRead()
}

// readSome reads once, delivers what that gave, and returns how much it was: nothing, and
// no error, if there is no memory to read into.
func (e *Endpoint) readSome(now int64) (int, error) {
	room := e.room()
	if room == nil {
		return 0, nil
	}
	room = room[:min(len(room), readMost)]
	if e.core.Phase() == endpoint.Opening && e.core.Swamped() {
		room = room[:min(len(room), helloMost)]
	}
	if len(e.ahead) > 0 {
		n := copy(room, e.ahead)
		e.ahead = e.ahead[n:]
		e.input.fill += n
		e.consume(now)
		return n, nil
	}
	n, err := e.link.Read(room)
	e.worker.count(Reads, 1)
	if err != nil {
		return 0, err
	}
	e.worker.count(BytesRead, uint64(n))
	if n < len(room) && !e.hungUp && e.link.Descriptor() >= 0 {
		e.readable = false // a short read of a stream means drained, epoll(7)
	}
	e.input.fill += n
	e.consume(now)
	return n, nil
}

func (e *Endpoint) readFailed(now int64, err error) {
	e.readable = false
	e.putAway()
	switch {
	case errors.Is(err, transport.ErrAgain):
	case err == io.EOF:
		e.core.Fail(now, endpoint.Reset, "the peer ended the connection without a word")
	default:
		e.core.Fail(now, codeOf(err), err.Error())
	}
}

// memoryPeriod is how often an endpoint that lacks memory tries again.
const memoryPeriod = int64(10 * time.Millisecond)

// deadline returns when the endpoint is to be looked at again, whatever happens.
func (e *Endpoint) deadline(now int64) int64 {
	due := e.core.Deadline()
	if e.retryAt != 0 && (due == 0 || e.retryAt < due) {
		due = e.retryAt
	}
	if (e.starved || e.full) && (due == 0 || now+memoryPeriod < due) {
		due = now + memoryPeriod
	}
	if e.partBy != 0 && e.link != nil {
		due = e.partBy
	}
	return due
}

// room returns where to read to: behind what is there, in a block that has room
// for the rest of any frame; nil if there is no block at all.
func (e *Endpoint) room() []byte {
	w, in := e.worker, &e.input
	blocks := w.driver.table.Blocks()
	if in.block != 0 && blocks.PieceSize()-in.start < frameRoom {
		if !e.moveInput() {
			return nil
		}
	}
	if in.block == 0 {
		if !w.takeScratch() {
			return nil
		}
		*in = input{block: w.scratch}
		w.scratch = 0
		in.fill = copy(blocks.Bytes(in.block), e.carry)
		w.giveCarry(e.carry)
		e.carry = nil
	}
	return blocks.Bytes(in.block)[in.fill:]
}

// moveInput moves what is left to the start of a block: the same one, unless the
// program holds parts of it.
func (e *Endpoint) moveInput() bool {
	w, in := e.worker, &e.input
	t := w.driver.table
	left := t.Blocks().Bytes(in.block)[in.start:in.fill]
	if t.BlockHeld(in.block) == 0 {
		in.fill = copy(t.Blocks().Bytes(in.block), left)
		in.start = 0
		return true
	}
	if !w.takeScratch() {
		return false
	}
	next := input{block: w.scratch, fill: copy(t.Blocks().Bytes(w.scratch), left)}
	w.scratch = 0
	w.giveInput(in)
	*in = next
	return true
}

// keeps says whether the endpoint may keep the block that it reads into: that is charged
// to the driver. If it may not, what is to be kept is copied, and the block goes back to
// the worker, or those whose programs take nothing would take from all others what they
// need to read.
func (e *Endpoint) keeps() bool {
	in := &e.input
	in.paid = in.paid || e.driver.payBlock()
	return in.paid
}

// kept returns where frames lie from now on that are held: where they were read, or in
// the worker's store.
func (e *Endpoint) kept(frames []byte) []byte {
	if e.blockOf(frames) != e.input.block || e.keeps() {
		return frames
	}
	return e.worker.store(frames)
}

// consume gives what was read to the protocol, and keeps what it leaves.
func (e *Endpoint) consume(now int64) {
	w, in := e.worker, &e.input
	bytes := w.driver.table.Blocks().Bytes(in.block)[in.start:in.fill]
	n, err := e.core.Receive(now, bytes)
	if e.debts != nil {
		e.turnTo(now, e.core.Epoch())
	}
	in.start += n
	if err != nil {
		w.driver.log(1, "endpoint.protocol", "%s: %v", e.RemoteAddr(), err)
		in.start = in.fill
		if e.past != nil && !e.switching && e.core.Phase() == endpoint.Waiting {
			e.switchBack(err)
		}
	}
	e.putAway()
}

// putAway gives the block that was read into back, unless it is to be kept. One that
// somebody refers to is: what follows is read behind it, because a program that keeps
// little of much would else keep many blocks.
func (e *Endpoint) putAway() {
	w, in := e.worker, &e.input
	left := in.fill - in.start
	switch {
	case in.block == 0 || w.driver.table.BlockHeld(in.block) != 0:
		return
	case left > maxCarry && e.keeps():
		return
	case left > 0:
		e.carry = append(w.takeCarry(), w.driver.table.Blocks().Bytes(in.block)[in.start:in.fill]...)
	}
	if w.scratch == 0 {
		w.scratch, in.block = in.block, 0
	}
	w.giveInput(in)
}

// write gives the link what is to be sent, and says whether the budget ended it.
func (e *Endpoint) write() (more bool) {
	w := e.worker
	for budget := writeBudget; e.writable && e.link != nil; {
		e.core.Gather(w.now, &w.vector, min(budget, writeBudget))
		size, messages := w.vector.Size, w.vector.Messages()
		if size == 0 {
			break
		}
		if !e.shallow && e.core.Mixed() {
			e.holdLittle()
		}
		n, err := e.link.Write(w.vector.Slices)
		w.count(Writes, 1)
		w.count(BytesWritten, uint64(n))
		w.pace.wrote(n, messages)
		e.core.Wrote(&w.vector, n)
		if err != nil && !errors.Is(err, transport.ErrAgain) {
			e.core.Fail(w.now, codeOf(err), err.Error())
			return false
		}
		if n < size {
			e.writable = false
			e.since.CompareAndSwap(0, w.now)
			break
		}
		if e.since.Load() != 0 {
			e.since.Store(0)
		}
		if budget -= n; budget <= 0 {
			w.count(BudgetCuts, 1)
			return true
		}
	}
	if e.core.Flushed() && !e.wroteEnd {
		e.wroteEnd = true
		if err := e.link.CloseWrite(); err != nil {
			e.core.Fail(w.now, codeOf(err), err.Error())
		}
	}
	return false
}

// holdLittle keeps what the link takes short: lanes that overtake each other cannot do so
// behind it. An endpoint that uses one lane does not pay for that.
func (e *Endpoint) holdLittle() {
	e.shallow = true
	if l, ok := e.link.(transport.Shallow); ok {
		l.Shallow()
	}
}

// seeOut is for an endpoint whose peer has gone: nobody waits any more for what it would
// have to do, no link is looked for, and the end itself waits for a receiver only.
func (e *Endpoint) seeOut(now int64) {
	e.switching, e.retryAt = false, 0
	if e.slot.Want.Load()&waiters != 0 {
		e.wakeSenders()
	}
	if e.sink != nil && e.sink.Gone() {
		e.core.Close(now, now)
	}
}

// settle carries an endpoint that is closed to its end.
func (e *Endpoint) settle() {
	if e.core.Phase() != endpoint.Closed {
		return
	}
	parted := e.part(e.worker.now)
	if !e.told {
		if e.silent() {
			return
		}
		if !e.core.Settled() {
			e.wakeSenders() // whoever is to publish may be among them
			return          // what is claimed counts, so what becomes of it is to be told as well
		}
		if e.sink != nil {
			e.core.TellRestarts()
		}
		e.told = true
		e.lease.end()
		e.wakeSenders()
		e.tellClosed()
	}
	// A command that came meanwhile has rung: this comes again.
	if parted && e.core.Settled() && e.mail.seal() {
		e.bury()
	}
}

// closeLink ends the link.
func (e *Endpoint) closeLink() {
	if fd := e.link.Descriptor(); fd >= 0 {
		e.worker.poller.remove(fd)
	}
	e.discardLink(e.link)
	e.link = nil
}

// discardLink closes a link that no poller knows any more.
func (e *Endpoint) discardLink(link transport.Link) {
	e.driver.trackOne(link.Descriptor(), false)
	if err := link.Close(); err != nil {
		e.driver.log(1, "link.close", "%s: %v", e.RemoteAddr(), err)
	}
}

// tellClosed delivers the account, the last event.
func (e *Endpoint) tellClosed() {
	code, text := e.core.Reason()
	detail := wire.ClosedDetail{Code: int32(code), Text: text}
	for i := range detail.Lanes {
		s := e.core.Lane(wire.Lane(i))
		detail.Lanes[i] = s.LaneAccount
	}
	if e.listener != nil {
		e.admitted()
	}
	e.driver.sessions.remove(e)
	e.countWaiting(false)
	e.driver.log(2, "endpoint.closed", "%s: %s", e.RemoteAddr(), text)
	e.slot.Reason.Store(int32(code))
	e.publish()
	ev := endpoint.Event{Kind: endpoint.EventClosed, Code: code, Detail: wire.AppendClosedDetail(nil, detail)}
	if e.sink != nil {
		ev.Remains = e.core.Remains()
		e.deliver(ev)
		e.shield(e.sink.Drop)
	}
	if e.ended != nil {
		e.shield(func() { e.ended(e) })
	}
	endTimers(e)
	e.driver.markClosed(e.slot)
	e.gone.Store(true)
	e.wakeSenders() // who was woken before that may have looked too early, and wait again
}

// bury gives back everything. The slot comes back when the program has released
// the last message.
func (e *Endpoint) bury() {
	w := e.worker
	e.forgetAll()
	for _, ev := range e.early {
		ev.Remains.Drop()
	}
	e.core.Drop()
	w.giveInput(&e.input)
	e.carry, e.done = nil, true
	w.sched.Remove(&e.node)
	w.leave(e.slot)
	e.driver.table.Retire(e.slot)
}

// rest gives back memory of an endpoint that fell silent; false if it keeps some.
func (e *Endpoint) rest() bool {
	if e.handed {
		return false // another worker looks into it
	}
	if e.given != nil && len(e.given.list) == 0 {
		e.given = nil
	}
	e.putAway()
	return e.core.Rest() && e.input.block == 0
}

// release gives back memory that was sent by reference.
func (e *Endpoint) release(ref outbox.Reference) {
	if !e.driver.table.Release(ref) && e.driver.options.Free != nil {
		e.driver.options.Free(ref.Release, ref.Addr, ref.Hint)
	}
}

// event gives an event to the sink, or keeps it until there is one that may be
// called.
func (e *Endpoint) event(ev endpoint.Event) {
	if e.sink == nil || e.silent() {
		e.keep(ev)
		return
	}
	e.deliver(ev)
}

// keep puts an event aside. That a lane has room is kept once, and whether there is a link
// as it is now: a program that only sends would pile them up.
func (e *Endpoint) keep(ev endpoint.Event) {
	e.early = slices.DeleteFunc(e.early, func(kept endpoint.Event) bool { return supersedes(ev, kept) })
	e.early = append(e.early, ev)
}

// supersedes says that nobody need hear of an event who hears of a later one.
func supersedes(later, earlier endpoint.Event) bool {
	switch later.Kind {
	case endpoint.EventWritable:
		return earlier.Kind == endpoint.EventWritable && earlier.Lane == later.Lane
	case endpoint.EventUp, endpoint.EventDown:
		return earlier.Kind == endpoint.EventUp || earlier.Kind == endpoint.EventDown
	}
	return false
}

// deliver calls the sink with an event.
func (e *Endpoint) deliver(ev endpoint.Event) {
	defer e.recover()
	defer ev.Remains.Drop()
	begin := e.worker.begin()
	e.sink.Event(e, ev)
	e.worker.end(e, "an event's callback", begin)
}

// flushEvents delivers the events that were kept.
func (e *Endpoint) flushEvents() {
	if e.sink == nil || e.silent() {
		return
	}
	kept := e.early
	e.early = nil
	for _, ev := range kept {
		e.event(ev)
	}
}

// admitted makes an accepted endpoint known to the program: there is a peer, or there
// will be none.
func (e *Endpoint) admitted() {
	l := e.listener
	e.listener = nil
	l.admit(e)
}

// adopt begins to deliver to a sink, with the events that came before it.
func (e *Endpoint) adopt(sink Sink) {
	e.sink = sink
	e.bound()
	e.flushEvents()
	e.unpause()
	e.worker.sched.Ready(&e.node)
}

// bound tells the protocol how the program receives, if it does.
func (e *Endpoint) bound() {
	e.core.SetUnbound(e.sink == nil && !e.awaited)
	e.core.SetLater(e.queues() || e.debts != nil)
}

// queues says whether what is delivered stays where it was read.
func (e *Endpoint) queues() bool { return e.sink != nil && e.sink.Queues() }

// receiver is the endpoint as its protocol sees it.
type receiver Endpoint

func (r *receiver) Run(frames []byte, first *[wire.Lanes]uint64) int {
	e := (*Endpoint)(r)
	if e.queues() {
		frames = e.kept(frames)
	}
	epoch, numbers := e.core.Epoch(), *first
	if e.debts != nil {
		e.turnTo(e.worker.now, epoch)
		for i := range first {
			first[i] |= restarts(epoch)
		}
	}
	begin := e.worker.begin()
	taken := e.sink.Run(e, Run{Frames: frames, First: first, Block: e.blockOf(frames)})
	e.worker.end(e, "a callback", begin)
	if taken >= 0 && taken < len(frames) {
		e.askLater()
	}
	switch {
	case taken <= 0:
	case e.debts != nil:
		e.owe(epoch, frames[:taken], numbers)
	case e.queues():
		e.gave(given{frames: frames[:taken], epoch: epoch})
	}
	return taken
}

// Hold keeps frames where they lie, or copies them.
func (r *receiver) Hold(frames []byte) []byte {
	e := (*Endpoint)(r)
	frames = e.kept(frames)
	e.driver.table.RefBlock(e.blockOf(frames), int64(len(frames)))
	return frames
}

func (r *receiver) Unhold(frames []byte) {
	if e := (*Endpoint)(r); len(frames) > 0 {
		e.driver.table.UnrefBlock(e.blockOf(frames), int64(len(frames)))
	}
}

// blockOf returns the block that frames lie in.
func (e *Endpoint) blockOf(frames []byte) arena.Index {
	return e.driver.table.Blocks().Of(unsafe.Pointer(&frames[0]))
}

func (r *receiver) Allocate(size uint64) (endpoint.Memory, bool) {
	return r.driver.options.Memory.Allocate(size)
}

func (r *receiver) Discard(m endpoint.Memory) { r.driver.options.Memory.Discard(m) }

// askLater has a sink that queues asked again: it has no room, and nobody calls Resume.
func (e *Endpoint) askLater() { e.full = e.queues() && !e.sink.Gone() }

func (r *receiver) Long(m endpoint.Memory, lane wire.Lane, channel uint16, id uint64) (took bool) {
	e := (*Endpoint)(r)
	begin := e.worker.begin()
	if e.debts != nil {
		epoch, charge := e.core.Epoch(), outbox.Charge(len(m.Bytes))
		e.turnTo(e.worker.now, epoch)
		if took = e.sink.Long(e, m, lane, channel, id|restarts(epoch)); took {
			e.oweOne(epoch, lane, id, charge)
		} else {
			e.askLater()
		}
		e.worker.end(e, "a message's callback", begin)
		return took
	}
	queues := e.queues()
	if queues {
		e.driver.options.Memory.Retain(m) // what is queued may be released before Long returns
	}
	took = e.sink.Long(e, m, lane, channel, id)
	e.worker.end(e, "a message's callback", begin)
	switch {
	case !took:
		e.askLater()
	case queues:
		e.gave(given{long: m, lane: lane, epoch: e.core.Epoch()})
	}
	if queues {
		e.driver.options.Memory.Discard(m)
	}
	return took
}

func (r *receiver) Event(ev endpoint.Event) {
	e := (*Endpoint)(r)
	if ev.Kind == endpoint.EventUp {
		e.cameUp()
		if e.listener != nil {
			if !e.brief {
				e.driver.sessions.put(e.core.Session(), e)
			}
			e.admitted()
		}
		peer, version := e.core.Peer()
		link := e.link
		if e.incoming != nil {
			link = e.incoming
		}
		ev.Detail = wire.AppendUpDetail(nil, wire.UpDetail{Local: link.LocalAddr(), Remote: link.RemoteAddr(),
			Agent: peer.Agent, MaxMessage: peer.MaxMessage, WireVersion: version})
		e.driver.wake(&e.slot.State, e.slot)
		e.changes.tell()
		if e.sink == nil {
			e.core.Pause()
		}
	}
	e.event(ev)
}

// takeCarry returns an empty buffer for a short leftover.
func (w *worker) takeCarry() []byte {
	n := len(w.carries)
	if n == 0 {
		return make([]byte, 0, maxCarry)
	}
	b := w.carries[n-1]
	w.carries = w.carries[:n-1]
	return b
}

// spareCarries bounds the buffers that a worker keeps for takeCarry.
const spareCarries = 64

func (w *worker) giveCarry(b []byte) {
	if b != nil && cap(b) <= maxCarry && len(w.carries) < spareCarries {
		w.carries = append(w.carries, b[:0])
	}
}
