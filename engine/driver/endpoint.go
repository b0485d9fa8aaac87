package driver

import (
	"container/list"
	"context"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lyquor/lyquor/engine/arena"
	"github.com/lyquor/lyquor/engine/driver/sched"
	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/transport"
	"github.com/lyquor/lyquor/engine/wire"
)

// Endpoint is a channel of messages to one remote program. Methods may be called
// from any goroutine, and none waits.
type Endpoint struct {
	// Constant.
	driver  *Driver
	slot    *outbox.Slot
	handle  outbox.Handle
	cancel  context.CancelFunc
	connect time.Duration // EndpointOptions.Connect
	brief   bool          // it ends with its link
	redials bool          // it gets its links by dialling
	window  uint32        // EndpointOptions.Window
	ended   func(*Endpoint)
	awaited bool // a program that was told of it is to receive: EndpointOptions.Announce

	// The worker's.
	worker    *worker    // see home for who is not on it
	node      sched.Node // its place there
	core      *endpoint.Endpoint
	link      transport.Link
	sink      Sink // nil: nothing is read until there is one
	input     input
	readable  bool
	writable  bool
	hungUp    bool
	quiet     bool             // quiesced: no callback
	unpauses  bool             // is to deliver again once callbacks may run
	wroteEnd  bool             // the link's writing direction is closed
	shallow   bool             // the link was told to hold little
	warm      bool             // known to the housekeeper
	touched   bool             // did something since the housekeeper looked
	starved   bool             // waits for memory
	full      bool             // its sink had no room, and is to be asked again
	blind     bool             // has no memory to read into
	told      bool             // CLOSED was delivered
	done      bool             // it is over
	dialling  bool             // an attempt is under way
	switching bool             // it is to replace the link that there is
	former    bool             // it leads to where the endpoint was before a switch
	waits     *list.Element    // among those that wait for their peers, if it was accepted; nil: it does not
	handed    bool             // its link is with another endpoint, which may give it back
	attempts  int32            // to dial, since there was a peer
	attempt   int32            // the last one's number
	toldAt    int64            // when senders were told of room while the driver's memory was short
	past      *past            // what a switch is about to end
	retryAt   int64            // when the next one is due; 0: none is
	heir      *Endpoint        // whose session the peer names
	listener  *Listener        // that accepted it, until the program is shown the endpoint
	given     *loans           // what the sink queued and the program has not released; nil: nothing
	debts     *debts           // what it was given and has not acknowledged; nil without ManualAck
	flush     *flush           // what it is to be told of by EventAcked; nil: nothing
	ackedTold uint64           // messages acknowledged when threads that wait for that were woken
	incoming  transport.Link   // the link that is being adopted
	stays     int64            // until when it is not moved again to even things out
	timers    []*Timer         // that go with it
	partBy    int64            // when the link ends that carries the last words; 0: none does
	carry     []byte           // a leftover too short to keep a block for
	ahead     []byte           // what was read of the link while nobody could tell whose it is
	early     []endpoint.Event // events that no sink has seen yet

	lease lease // of the slot, for those who are not the worker

	// Atomic, or with a lock.
	mail     mailbox                // what others want done on the worker; it goes where the endpoint goes
	at       atomic.Pointer[worker] // which one that is
	wanted   atomic.Int32           // the number of the one it should be on; 0: the driver chooses
	noted    atomic.Uint32          // transport.Ready bits of a library-driven link
	since    atomic.Int64           // when the link last refused to take more; 0: it does not
	mirror   mirror
	addr     atomic.Pointer[string] // what is dialled, or the peer's address
	peerAddr atomic.Pointer[string]
	claimed  atomic.Bool // somebody receives, or is about to
	gone     atomic.Bool // closed, and its sink has got its Drop
	changes  changes
	suitor   atomic.Pointer[suitor] // the last link that waits for this endpoint to resume its session on it
}

// Dial opens an endpoint to an address and returns at once; messages may be sent
// from now on. sink makes what receives, before anything can arrive; it may return
// nil, and nothing is read until Receive. If the driver closes meanwhile, the sink gets
// its Drop before Dial fails.
func (d *Driver) Dial(addr string, o EndpointOptions, sink func(*Endpoint) Sink) (*Endpoint, error) {
	if _, err := d.transportOf(addr); err != nil {
		return nil, err
	}
	resume := ForEver
	if strings.HasPrefix(addr, "fd:") {
		resume = WithLink
		if o.Resume != 0 && o.Resume != WithLink {
			return nil, failure(endpoint.Invalid, "%s: a descriptor is given once, so no session can outlive it: "+
				"the time to resume must be left out", addr)
		}
	}
	if err := o.complete(len(d.workers), resume); err != nil {
		return nil, failure(endpoint.Invalid, "%v", err)
	}
	e, err := d.newEndpoint(addr, o, true)
	if err != nil {
		return nil, err
	}
	e.setSink(sink(e))
	if !e.worker.post(func() { e.start(nil) }) {
		e.never()
		return nil, ErrClosed
	}
	return e, nil
}

// newEndpoint makes an endpoint with complete options.
func (d *Driver) newEndpoint(addr string, o EndpointOptions, dials bool) (*Endpoint, error) {
	if d.closing.Load() {
		return nil, ErrClosed
	}
	w := d.place(o.Worker)
	slot, err := d.table.Allocate(outbox.KindEndpoint, w.index, d.budget, o.Outbox)
	if err != nil {
		w.load.Add(-1)
		return nil, failure(endpoint.Limit, "%v", err)
	}
	slot.MaxMessage.Store(wire.DefaultMaxMessage)
	e := &Endpoint{driver: d, worker: w, slot: slot, handle: outbox.Handle(slot.ID.Load()), connect: o.Connect,
		brief: o.Resume == WithLink, window: o.Window, ended: o.Ended, redials: dials,
		awaited: o.Announce != nil && !dials}
	e.node.Init(e)
	e.at.Store(w)
	e.addr.Store(&addr)
	e.wanted.Store(int32(o.Worker))
	if o.ManualAck {
		slot.Manual.Store(1)
		e.debts = new(debts)
	}
	e.core = endpoint.New(endpoint.Config{
		Table:       d.table,
		Slot:        slot,
		Receiver:    (*receiver)(e),
		Release:     e.release,
		Incarnation: incarnation(),
		Session:     incarnation(),
		Dialled:     dials,
		Resume:      o.outlives(),
		OnRestart:   o.OnRestart,
		Resumes:     e.resumes,
		Unbound:     true, // until setSink
		Window:      uint64(o.Window),
		MaxMessage:  o.MaxMessage,
		KeepAlive:   max(int64(o.KeepAlive), 0),
		Handshake:   int64(o.Connect),
		Agent:       Agent,
	}, d.Now())
	return e, nil
}

// Agent is what peers are told of this library.
const Agent = "lyquor/" + ReleaseVersion

// ReleaseVersion is the library's release.
const ReleaseVersion = "0.1.0"

// place chooses a worker: the one that was asked for (from 1), or the one with
// the fewest endpoints. It counts the endpoint at once, so that a burst of new ones
// spreads.
func (d *Driver) place(number int) *worker {
	best := d.workers[max(number-1, 0)]
	for _, w := range d.workers {
		if number == 0 && w.load.Load() < best.load.Load() {
			best = w
		}
	}
	best.load.Add(1)
	return best
}

// never takes back an endpoint whose worker has ended. Its sink, which was given
// nothing, gets its Drop.
func (e *Endpoint) never() {
	if e.sink != nil {
		e.sink.Drop()
	}
	if e.ended != nil {
		e.ended(e)
	}
	e.lease.end()
	for !e.mail.seal() {
		e.mail.run(e.shield)
	}
	e.driver.table.Close(e.slot)
	e.core.Drop()
	e.driver.markClosed(e.slot)
	e.driver.table.Retire(e.slot)
}

// start puts the endpoint under its worker, with a link if it has one already.
func (e *Endpoint) start(link transport.Link) {
	w := e.worker
	w.know(e.slot, e)
	if link != nil {
		e.attach(link)
	} else {
		e.dial()
	}
	if w.closing {
		e.shut(0)
	}
	e.visit(w.now)
}

// silent says that no callback may run now.
func (e *Endpoint) silent() bool { return e.quiet || e.worker.quiet }

// unpause delivers again, if there is somebody to deliver to; once callbacks may run.
func (e *Endpoint) unpause() {
	if e.unpauses = e.silent(); !e.unpauses && e.sink != nil {
		e.core.Resume(e.driver.Now())
	}
}

// resume delivers what was held back while callbacks were not allowed, if they are now.
func (e *Endpoint) resume() {
	e.flushEvents()
	if e.unpauses {
		e.unpause()
	}
	eachTimer(e, (*Timer).resume)
	e.worker.sched.Ready(&e.node)
}

// attach gives the endpoint a link of its own.
func (e *Endpoint) attach(link transport.Link) {
	e.driver.trackOne(link.Descriptor(), true)
	e.core.Connect(e.worker.now)
	e.join(link)
}

// join begins to be told of a link.
func (e *Endpoint) join(link transport.Link) {
	e.link = link
	e.readable, e.writable = true, true
	remote := link.RemoteAddr()
	e.peerAddr.Store(&remote)
	if fd := link.Descriptor(); fd < 0 {
		link.SetNotify(e.notify)
	} else if err := e.worker.poller.add(fd, pollTag(e.handle)); err != nil {
		e.core.Fail(e.driver.Now(), endpoint.Limit, err.Error())
	}
}

// notify is how a library-driven link says that it is ready; from any goroutine.
func (e *Endpoint) notify(r transport.Ready) {
	e.noted.Or(uint32(r))
	e.ring()
}

// becomes notes readiness.
func (e *Endpoint) becomes(r transport.Ready) {
	e.readable = e.readable || r&transport.Readable != 0
	e.writable = e.writable || r&transport.Writable != 0
	e.hungUp = e.hungUp || r&transport.HangUp != 0
	e.worker.sched.Ready(&e.node)
}

// visit is called when the slot was noticed: something was sent, asked for, or a
// library-driven link is ready.
func (e *Endpoint) visit(int64) {
	if e.noted.Load() != 0 {
		e.becomes(transport.Ready(e.noted.Swap(0)))
	}
	if command, epoch := e.slot.Asked(); command != 0 {
		e.shield(func() { e.obey(command, epoch) })
	}
	e.mail.run(e.shield)
	e.worker.sched.Ready(&e.node)
}

// post has the endpoint's worker run a command outside of all callbacks, in order with
// other such commands, wherever the endpoint is by then. It returns false once the
// endpoint is over.
func (e *Endpoint) post(command func()) bool {
	if !e.mail.put(command) {
		return false
	}
	e.ring()
	return true
}

// obey carries out what the program asked for through the slot.
func (e *Endpoint) obey(command, epoch uint32) {
	if command&(outbox.CommandEnd|outbox.CommandClose) != 0 {
		e.core.End()
		e.wakeSenders()
	}
	if command&outbox.CommandResume != 0 {
		e.quiet = false
		e.driver.quieted(e.slot, epoch-1) // a wish that this took back unseen has its answer, too
		e.unpause()
		e.resume()
	}
	if command&outbox.CommandClose != 0 {
		e.shut(time.Duration(e.slot.Linger()) * time.Millisecond)
	}
	if command&outbox.CommandFlush != 0 {
		e.askFlush()
	}
	if command&outbox.CommandQuiesce != 0 {
		e.quiet = true
		e.driver.quieted(e.slot, epoch)
	}
}

// shut begins the endpoint's end.
func (e *Endpoint) shut(linger time.Duration) {
	if e.handed {
		return // whoever has the link says how it goes on
	}
	now := e.worker.driver.Now()
	deadline := int64(0)
	if linger >= 0 {
		deadline = now + int64(linger)
	}
	e.core.Close(now, deadline)
	e.worker.sched.Ready(&e.node)
}

// ring tells the worker to look at the slot.
func (e *Endpoint) ring() {
	if b := e.driver.table.Ring(e.slot); b != nil {
		e.driver.wakeBell(b)
	}
}

// command asks the worker for something.
func (e *Endpoint) command(bits uint32) {
	e.slot.Ask(e.handle, bits)
	e.ring()
}

// Handle returns the endpoint's handle.
func (e *Endpoint) Handle() outbox.Handle { return e.handle }

// Slot returns what the endpoint shares with C.
func (e *Endpoint) Slot() *outbox.Slot { return e.slot }

// Driver returns the endpoint's driver.
func (e *Endpoint) Driver() *Driver { return e.driver }

// Send copies a message and returns its id in its lane; ErrAgain if there
// is no room, upon which the sink gets EventWritable once there is. SendWait waits instead.
func (e *Endpoint) Send(lane wire.Lane, channel uint16, data []byte) (uint64, error) {
	return e.send(lane, channel, data, 0, outbox.WantEvent)
}

// send sends, or asks to be told of room as a bit of outbox.Slot.Want says.
func (e *Endpoint) send(lane wire.Lane, channel uint16, data []byte, until int64, tell uint32) (uint64, error) {
	id, bell, err := e.driver.table.SendUntil(e.handle, lane, channel, data, until)
	if err == outbox.ErrAgain {
		if b := e.driver.table.Want(e.handle, lane, len(data), tell); b != nil {
			e.driver.wakeBell(b)
		}
		id, bell, err = e.driver.table.SendUntil(e.handle, lane, channel, data, until)
	}
	if bell != nil {
		e.driver.wakeBell(bell)
	}
	if err == outbox.ErrClosed {
		err = ErrClosed
	}
	return id, err
}

// ErrTimeToLive says that a time to live is none.
var ErrTimeToLive = &Error{endpoint.Invalid, "the time to live must be above 0"}

// SendTTL is Send of a message that is withdrawn if no link was given a byte of it within
// ttl from now, which must be above 0: it is never sent, keeps its id, and is counted
// as withdrawn. That is looked at when its turn to be written comes.
func (e *Endpoint) SendTTL(lane wire.Lane, channel uint16, data []byte, ttl time.Duration) (uint64, error) {
	if ttl <= 0 {
		return 0, ErrTimeToLive
	}
	now := e.driver.Now()
	return e.send(lane, channel, data, now+min(int64(ttl), math.MaxInt64-now), outbox.WantEvent)
}

// End sends no more behind what was accepted; the peer's sink gets EventEnded.
func (e *Endpoint) End() {
	e.lease.use(func() {
		e.driver.table.Close(e.slot)
		e.command(outbox.CommandEnd)
	})
}

// Close ends the endpoint within linger (negative: for ever). It may be called
// again; the sink's last event is EventClosed.
func (e *Endpoint) Close(linger time.Duration) {
	e.lease.use(func() {
		e.driver.table.Close(e.slot)
		e.slot.AskClose(e.handle, lingerMillis(linger))
		e.ring()
	})
}

// lingerMillis rounds up: a short time is not none, and a negative one is for ever.
func lingerMillis(linger time.Duration) int32 {
	if linger < 0 {
		return -1
	}
	millis := min(linger/time.Millisecond, math.MaxInt32-1)
	if linger%time.Millisecond != 0 {
		millis++
	}
	return int32(millis)
}

// Resume delivers again after the sink took less than it was given.
func (e *Endpoint) Resume() { e.lease.use(func() { e.command(outbox.CommandResume) }) }

// setSink gives the endpoint its sink before it starts.
func (e *Endpoint) setSink(s Sink) {
	e.sink = s
	e.bound()
	if s != nil { // else somebody may have called Receive by now
		e.claimed.Store(true)
	}
}

// ErrReceiver says that an endpoint has a sink already.
var ErrReceiver = &Error{endpoint.Busy, "the endpoint has a receiver already"}

// Receive gives an endpoint that was opened without a sink its sink, once: what sink
// returns, which is called at once, as in Hold. ErrReceiver or ErrClosed: it was not
// called. If the last event comes first, the sink gets nothing but its Drop.
func (e *Endpoint) Receive(sink func() Sink) error {
	err := error(ErrReceiver)
	live := e.lease.use(func() {
		if e.claimed.CompareAndSwap(false, true) {
			err = nil
			e.hand(sink())
		}
	})
	if !live {
		return ErrClosed
	}
	return err
}

// hand gives the worker a sink.
func (e *Endpoint) hand(sink Sink) {
	posted := e.post(func() {
		if e.told {
			sink.Drop()
			return
		}
		e.adopt(sink)
	})
	if !posted {
		sink.Drop()
	}
}

// Hold calls do while the slot is surely the endpoint's, and its last event is still
// to come, and says whether it was so. do must not wait.
func (e *Endpoint) Hold(do func()) (live bool) { return e.lease.use(do) }

// Post runs do on the endpoint's worker, outside of all callbacks; at once when the
// endpoint is over.
func (e *Endpoint) Post(do func()) {
	if !e.post(do) {
		do()
	}
}

// RemoteAddr returns the peer's address as far as it is known.
func (e *Endpoint) RemoteAddr() string {
	if a := e.peerAddr.Load(); a != nil {
		return *a
	}
	return *e.addr.Load()
}

// input is what was read and not consumed: bytes [start, fill) of a block that the
// endpoint owns, or nothing.
type input struct {
	block       arena.Index
	paid        bool // the block is charged to the driver, and may be kept
	start, fill int
}

// drop forgets what was read. What the next link brings may go behind it, where frames
// begin at multiples of 8 again.
func (in *input) drop(e *Endpoint) {
	in.fill = (in.fill + 7) &^ 7
	in.start = in.fill
	e.worker.giveCarry(e.carry)
	e.carry = nil
	e.putAway()
}

func (e *Endpoint) home() *worker { return e.at.Load() }

func (e *Endpoint) receiver() (Sink, bool) { return e.sink, !e.told }

func (e *Endpoint) own() *[]*Timer { return &e.timers }
