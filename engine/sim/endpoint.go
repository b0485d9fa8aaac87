package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/lyquor/lyquor/engine/driver/sched"
	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

// Handler is what an endpoint calls, in the process of its node. Nil functions take
// everything and do nothing.
type Handler struct {
	// Inbox, if not nil, gets the messages and events, and the functions are not called.
	Inbox *Inbox
	// Message takes a message; false leaves it for later: nothing more comes until
	// Resume, then this one again.
	Message func(e *Endpoint, m Message) (took bool)
	// Event learns of what happens.
	Event func(e *Endpoint, ev Event)
}

// Message is one message from the peer.
type Message struct {
	Lane    wire.Lane
	Channel uint16
	ID      uint64 // counts the peer's messages in the lane
	Data    []byte // good until the handler returns, or Item.Release
	size    int
	epoch   uint32
}

// Event is something that happened, in its place among the messages.
type Event struct {
	Kind endpoint.EventKind // Up, Down, Writable, Ended, Restarted or Closed
	Code endpoint.Code      // why, of Down and Closed
	Text string             // of Closed: the same in words
	Lane wire.Lane          // of Writable
	// Lanes says what became of this side's messages, of Restarted (since the last one)
	// and of Closed.
	Lanes [wire.Lanes]wire.LaneAccount
	// Unacked lists, of Closed, and of Restarted where that is to be reported, the messages
	// that Lanes counts as maybe delivered and never sent; good until the handler returns,
	// and those of an Inbox for ever.
	Unacked []outbox.Remnant
}

// String says what happened, for traces.
func (ev Event) String() string {
	name := map[endpoint.EventKind]string{endpoint.EventUp: "UP", endpoint.EventDown: "DOWN",
		endpoint.EventWritable: "WRITABLE", endpoint.EventEnded: "ENDED", endpoint.EventRestarted: "RESTARTED",
		endpoint.EventClosed: "CLOSED"}[ev.Kind]
	switch ev.Kind {
	case endpoint.EventWritable:
		return fmt.Sprintf("%s %v", name, ev.Lane)
	case endpoint.EventDown:
		return fmt.Sprintf("%s (%d)", name, ev.Code)
	case endpoint.EventClosed:
		return fmt.Sprintf("%s (%d: %s)", name, ev.Code, ev.Text)
	}
	return name
}

// Endpoint is a channel of messages to one remote process, on a node.
type Endpoint struct {
	node    *Node
	core    *endpoint.Endpoint
	slot    *outbox.Slot
	handle  outbox.Handle
	task    sched.Node
	options Options
	handler Handler
	addr    string // what was dialled, or where it was accepted
	dialled bool
	book    book

	session  [16]byte // of an accepted one: what it was given
	offered  [16]byte // the session that the peer wants to resume
	end      *end     // of the link; nil: there is none
	past     *end     // of the link before, until the peer has answered on this one; nil: none
	readable bool
	writable bool
	wroteEnd bool
	input    []byte // read, and not consumed
	holds    uint64 // times that the protocol kept what it was given
	held     int    // bytes that it keeps

	target    string // where Switch leads
	switching bool   // another link is to take the place of the present one
	former    string // where it was, until it is up at addr; "": there
	back      bool   // the present attempt, or the last one, leads to former

	dials    int  // attempts to connect
	dialling bool // one is under way
	outcome  outcome
	dialBy   int64 // when it is given up
	redialAt int64 // when the next begins
	backoff  int64
	partBy   int64 // when the link ends that carries the last words

	due     int64 // when the scheduler is to call Expire; 0: never
	beganAt int64 // when it got its link
	heardAt int64 // when it last read something
	downAt  int64 // since when it has been without a link, after it had one; 0: it has
	takenAt int64 // since when the peer's program is done with everything, in the world's time; see untold
	takenOn *end  // the link that there was

	closing  bool // Close was called
	finishes bool // Close or End was called, or it is about to end
	asked    asks
	acks     []Message // that the program is done with
	given    []*given  // in the inbox, or with the program
	lent     int       // bytes of them
	closeBy  int64     // the first deadline of all calls of Close, 0 for none
	up       bool      // UP was told once
	told     bool      // CLOSED was told
	done     bool      // all memory is given back
}

// asks is what the program has asked for, to be done in the next step.
type asks uint8

const (
	askClose asks = 1 << iota
	askEnd
	askResume
	askSwitch
)

// newEndpoint makes an endpoint of this node.
func (n *Node) newEndpoint(addr string, dialled bool, o Options, h Handler) (*Endpoint, error) {
	w := n.world
	o = o.complete(dialled)
	if o.Window < endpoint.MinWindow {
		return nil, fmt.Errorf("sim: window is %d bytes; at least %d are needed", o.Window, endpoint.MinWindow)
	}
	slot, err := w.table.Allocate(outbox.KindEndpoint, uint32(n.index), uint32(n.index), o.Outbox)
	if err != nil {
		return nil, err
	}
	slot.MaxMessage.Store(wire.DefaultMaxMessage)
	e := &Endpoint{node: n, slot: slot, handle: outbox.Handle(slot.ID.Load()), options: o, handler: h,
		addr: addr, dialled: dialled}
	e.task.Init(e)
	c := endpoint.Config{Table: w.table, Slot: slot, Receiver: (*receiver)(e), Dialled: dialled,
		Release:     func(ref outbox.Reference) { w.check(w.table.Release(ref), "memory of C in the log") },
		Incarnation: w.identity(), Resume: int64(o.Resume), OnRestart: o.OnRestart,
		Later:  o.ManualAck || h.Inbox != nil,
		Window: o.Window, MaxMessage: o.MaxMessage, KeepAlive: max(int64(o.KeepAlive), 0),
		Handshake: int64(o.Connect), Agent: "sim"}
	if !dialled {
		e.session = w.identity()
		c.Session, c.Resumes = e.session, e.resumes
		n.sessions[e.session] = e
	}
	e.core = endpoint.New(c, n.now())
	n.slots[e.handle.Index()] = e
	n.endpoints = append(n.endpoints, e)
	n.sched.Ready(&e.task)
	n.soon()
	return e, nil
}

// identity draws 128 random bits, not all of them zero.
func (w *World) identity() (id [16]byte) {
	for i := range id {
		id[i] = byte(w.rand.Uint32())
	}
	id[0] |= 1
	return id
}

// Dial opens an endpoint to where some node listens, and returns at once; messages
// may be sent from now on. Attempts go on for as long as Options.Resume has it.
func (n *Node) Dial(addr string, o Options, h Handler) (*Endpoint, error) {
	return n.newEndpoint(addr, true, o, h)
}

// Send copies a message behind those accepted before in its lane, and returns its id
// there. outbox.ErrAgain says that there is no room: EventWritable follows.
func (e *Endpoint) Send(lane wire.Lane, channel uint16, data []byte) (id uint64, err error) {
	return e.send(lane, channel, data, 0)
}

// SendTTL is Send of a message that is withdrawn if no link was given a byte of it within
// ttl, which must be above 0, by the node's clock.
func (e *Endpoint) SendTTL(lane wire.Lane, channel uint16, data []byte, ttl time.Duration) (id uint64, err error) {
	if ttl <= 0 {
		return 0, fmt.Errorf("sim: the time to live is %v; it must be above 0", ttl)
	}
	return e.send(lane, channel, data, e.node.now()+int64(ttl))
}

func (e *Endpoint) send(lane wire.Lane, channel uint16, data []byte, until int64) (id uint64, err error) {
	t := e.node.world.table
	id, bell, err := e.put(lane, channel, data, until)
	if err == outbox.ErrAgain {
		if b := t.Want(e.handle, lane, len(data), outbox.WantEvent); b != nil {
			e.node.soon()
		}
		id, bell, err = e.put(lane, channel, data, until)
	}
	if bell != nil {
		e.node.soon()
	}
	if err == nil {
		e.book.sent(e, lane, channel, id, data, until)
	}
	return id, err
}

// put puts a message into the log; sometimes as who learns its size only when it is
// written, and claims more.
func (e *Endpoint) put(lane wire.Lane, channel uint16, data []byte, until int64) (uint64, *outbox.Bell, error) {
	w := e.node.world
	if until != 0 || len(data) >= mostClaimed || !w.chance(w.config.Perturb.Claims) {
		return w.table.SendUntil(e.handle, lane, channel, data, until)
	}
	size := len(data) + w.rand.IntN(mostClaimed-len(data)) + 1
	claim, err := w.table.Claim(e.handle, lane, wire.MakeHeader(uint32(size), wire.Msg, lane, channel), size)
	if err != nil {
		return 0, nil, err
	}
	copy(claim.Bytes(), data)
	claim.Truncate(len(data))
	claim.Publish()
	return claim.Sequence, w.table.Ring(e.slot), nil
}

// Ack says that the program is done with a message, where Options.ManualAck is set.
// The messages of a lane are acknowledged in their order.
func (e *Endpoint) Ack(m Message) {
	m.Data = nil
	e.acks = append(e.acks, m)
	e.ready()
}

// Close ends the endpoint: what was accepted is delivered first, for linger at most
// (negative: for ever). EventClosed is the last that comes of it.
func (e *Endpoint) Close(linger time.Duration) {
	if e.told {
		return
	}
	e.node.world.table.Close(e.slot)
	e.closing, e.finishes = true, true
	if linger >= 0 && (e.closeBy == 0 || e.node.now()+int64(linger) < e.closeBy) {
		e.closeBy = e.node.now() + int64(linger)
	}
	e.ask(askClose)
}

// End takes no more messages; the peer gets EventEnded behind those that were accepted.
func (e *Endpoint) End() {
	if e.told {
		return
	}
	e.node.world.table.Close(e.slot)
	e.finishes = true
	e.ask(askEnd)
}

// Resume delivers again after the handler left a message.
func (e *Endpoint) Resume() { e.ask(askResume) }

func (e *Endpoint) ask(what asks) {
	e.asked |= what
	e.ready()
}

// Node returns the node that the endpoint is on.
func (e *Endpoint) Node() *Node { return e.node }

// Phase returns how far the endpoint is.
func (e *Endpoint) Phase() endpoint.Phase { return e.core.Phase() }

// Acked says whether everything accepted is consumed by the peer.
func (e *Endpoint) Acked() bool { return e.core.Acked() }

// Lane returns a lane's counts.
func (e *Endpoint) Lane(lane wire.Lane) endpoint.LaneState { return e.core.Lane(lane) }

// String names the endpoint in errors and traces.
func (e *Endpoint) String() string {
	if e.dialled {
		return e.node.name + "->" + e.addr
	}
	if far := e.book.source(e); far != nil {
		return e.node.name + "<-" + far.node.name
	}
	return e.node.name + "<-?"
}

// ready has the worker step the endpoint.
func (e *Endpoint) ready() {
	if !e.done && e.node.up {
		e.node.sched.Ready(&e.task)
		e.node.soon()
	}
}

// becomesReady says that the link can be read or written, or both.
func (e *Endpoint) becomesReady() {
	e.readable, e.writable = true, true
	e.ready()
}

// bury gives back everything.
func (e *Endpoint) bury() {
	n := e.node
	e.done = true
	if e.outcome.link != nil {
		e.outcome.link.Close()
	}
	e.closePast()
	e.core.Drop()
	n.world.check(e.held == 0, "%v ended and %d bytes of runs are still held", e, e.held)
	n.world.giveBuffer(e.input)
	e.input = nil
	n.sched.Remove(&e.task)
	delete(n.slots, e.handle.Index())
	n.endpoints = slices.DeleteFunc(n.endpoints, func(x *Endpoint) bool { return x == e })
	n.forget(e)
	n.world.table.Retire(e.slot)
}

// die is the end with the process: nobody is told anything.
func (e *Endpoint) die() {
	e.told = true
	for _, link := range [...]*end{e.end, e.outcome.link, e.past} {
		switch {
		case link == nil:
		case e.node.dark:
			link.vanish()
		default:
			link.Close()
		}
	}
	e.core.Abort(endpoint.Reset, "the process ended")
	e.bury()
}
