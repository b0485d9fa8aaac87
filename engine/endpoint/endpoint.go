package endpoint

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

// Phase is how far an endpoint is.
type Phase uint8

// The phases, in the order in which they come.
const (
	Waiting Phase = iota // for a link, the first or another
	Opening              // the link is there, the peer's HELLO is not
	Open                 // messages flow
	Leaving              // GOAWAY is queued; only what ends the link is left
	Closed               // the end
)

// String names the phase as lyq_explain does.
func (p Phase) String() string {
	return [...]string{"connecting", "handshake", "open", "closing", "closed"}[p]
}

// drainNanos is how long an endpoint that said GOAWAY waits for the peer's end of
// the link, so that what it sent last is not destroyed by a reset (RFC 1122,
// 4.2.2.13: a close with unread data resets the connection).
const drainNanos = 1e9

// preface is what every link begins with.
var preface = wire.Preface{Min: wire.WireVersion, Max: wire.WireVersion, Suite: wire.SuitePlain}

// Config is what an endpoint is made of; constant for its life.
type Config struct {
	Table       *outbox.Table
	Slot        *outbox.Slot
	Receiver    Receiver
	Release     func(outbox.Reference) // gives back memory that was sent by reference
	Incarnation [16]byte               // random, drawn by the owner
	Session     [16]byte               // random and secret: the session's id, if the peer dialled
	Dialled     bool                   // this side opens links, and speaks first
	Resume      int64                  // how long the session outlives its link, in nanoseconds; below 0: for ever
	OnRestart   OnRestart              // what becomes of what a peer that has restarted had not acknowledged
	Later       bool                   // the owner says by Consumed what the program is done with
	Unbound     bool                   // the program has no receiver yet: see SetUnbound
	Window      uint64                 // cap on a lane's received and not consumed bytes; at least MinWindow
	MaxMessage  uint64                 // longest message taken from the peer, in bytes
	KeepAlive   int64                  // silence before a ping, in nanoseconds; 0: no pings
	Handshake   int64                  // bound on the handshake, in nanoseconds
	Agent       string                 // this program, for the peer's eyes
	// Resumes says whether the owner knows the session that a peer who dialled names. If
	// so, the endpoint is Offered. Nil: no.
	Resumes func(wire.Hello) bool
}

// OnRestart is what becomes of the messages that a peer which has restarted had not
// acknowledged. They are counted in any case.
type OnRestart uint8

// The choices.
const (
	Report OnRestart = iota // they are withdrawn, and listed; sent again if there is nobody to tell
	Resend                  // they are sent to the new peer, before what follows
	Drop                    // they are withdrawn
)

// peer is what is kept of a HELLO.
type peer struct {
	incarnation [16]byte
	maxMessage  uint64
	agent       string
}

// Endpoint is the state of one endpoint. The zero value is not usable; see New.
type Endpoint struct {
	config Config
	send   sender

	phase    Phase
	resumed  lanes // with a long message under way whose START is to come again
	known    bool  // there is a session: the peer's HELLO was read once
	greeted  bool  // the peer's preface was read, on this link
	met      bool  // the peer's HELLO was read, on this link
	spoke    bool  // HELLO was queued, on this link
	heardEnd bool  // the peer said FIN
	saidEnd  bool  // FIN was queued, on this link
	closing  bool  // Close was called
	parting  bool  // the peer's GOAWAY, or the end of the link, waits in the backlog
	aside    bool  // the peer's HELLO came when this side had said GOAWAY: only its end is waited for
	down     bool  // the program was told that there is no link
	paused   bool
	deaf     bool // the owner does not read for now; see SetDeaf
	afresh   bool // silence counts from the next Expire on
	receive  receiver
	acks     acks
	windows  [wire.Lanes]uint32 // bytes; they never become less, because the peer was told
	rounds   *rounds            // nil: nothing was consumed since it rested, or had another link

	session  [16]byte
	peer     peer
	offer    *wire.Hello // see Offered
	unnamed  *wire.Hello // of an accepting side that names no session, until what follows tells why
	version  uint16
	reason   Code
	behind   uint32 // restarts since what is delivered now arrived: nobody waits for its acknowledgement
	text     string
	epoch    uint32 // how often the peer restarted
	lost     Code   // why the last link ended
	lostText string

	now       int64
	openBy    int64 // deadline of the handshake; 0: it is over, or there is no link
	resumeBy  int64 // when the session ends without another link; 0: never
	deadline  int64 // of the linger or the drain; 0: none
	lastHeard int64
	lastSent  int64
	lastSign  int64 // when the last ping was due
	pinged    int64 // pings without an answer since lastHeard
	pingSent  int64
	pingNonce uint64
	rtt       int64 // of the last ping

	sentBytes, receivedBytes uint64
}

// New returns an endpoint that waits for a link.
func New(c Config, now int64) *Endpoint {
	e := &Endpoint{config: c, now: now}
	e.config.Window = min(c.Window, maxWindowSize)
	for i := range e.send.lanes {
		e.send.lanes[i].Open(c.Table, c.Slot, wire.Lane(i))
		e.send.limit[i] = firstCredit
		e.windows[i] = uint32(min(firstWindow, e.config.Window))
	}
	return e
}

// opened tells the program that the peer is there.
func (e *Endpoint) opened(hello wire.Hello) {
	s := e.config.Slot
	// The format carries no more, whatever the peer would take.
	s.MaxMessage.Store(min(hello.MaxMessage, wire.MaxMessage))
	s.State.Or(outbox.StateUp)
	e.down = false
	e.config.Receiver.Event(Event{Kind: EventUp})
}

// End queues the half-close behind everything accepted. The slot takes no more.
func (e *Endpoint) End() { e.config.Table.Close(e.config.Slot) }

// Close begins the orderly end: everything accepted is sent, then GOAWAY, until
// the deadline; 0 is no deadline. Without a link, and with a deadline that is
// over, the end comes at once. Of several calls the earliest deadline counts.
func (e *Endpoint) Close(now, deadline int64) {
	if e.phase >= Leaving {
		return
	}
	e.now = now
	e.config.Table.Close(e.config.Slot)
	if !e.closing || e.deadline == 0 || deadline != 0 && deadline < e.deadline {
		e.deadline = deadline
	}
	e.closing = true
	e.partIfClosing()
	if deadline != 0 && deadline <= now && e.phase < Leaving {
		e.Abandon()
	}
}

// Abandon drops what is queued and says GOAWAY, behind a frame that has begun: a peer that
// is not told waits for this side to come back.
func (e *Endpoint) Abandon() {
	if e.phase < Opening || e.stranger() {
		e.end(OK, "closed by this side")
		return
	}
	e.sayGoAway(wire.GoAway{})
	e.leave()
}

// sayGoAway queues the last frame, behind HELLO in any case: the first of a direction. What
// was consumed and not told is told now, or the peer could but say that it was maybe delivered.
func (e *Endpoint) sayGoAway(g wire.GoAway) {
	switch {
	case !e.spoke:
		e.appendHello()
	case g.Code == 0 && e.phase == Open && e.AckPending():
		e.appendAck()
	}
	e.send.control.frames = wire.AppendGoAway(e.send.control.frames, g)
}

// leave waits for the link to take the last frames, and for the peer's end.
func (e *Endpoint) leave() {
	e.phase = Leaving
	e.aside, e.unnamed = e.aside || e.unnamed != nil, nil
	e.openBy, e.acks.by, e.deadline = 0, 0, e.now+drainNanos
}

// endDue says whether all was gathered and FIN or GOAWAY is to follow.
func (e *Endpoint) endDue(at *[wire.Lanes]cursor) bool {
	for i := range at {
		if !e.send.lanes[i].Drained(at[i].pos) {
			return false
		}
	}
	return !e.saidEnd || e.mayLeave()
}

// mayLeave says whether GOAWAY may be said: what was accepted is the peer's once it has
// consumed it, and not before.
func (e *Endpoint) mayLeave() bool { return e.closing && e.phase == Open && e.Acked() }

// appendEnd queues what ends this direction.
func (e *Endpoint) appendEnd() {
	if !e.saidEnd {
		e.send.control.frames = wire.AppendFin(e.send.control.frames)
		e.saidEnd = true
	}
	if e.mayLeave() {
		e.sayGoAway(wire.GoAway{})
		e.leave()
	}
}

// goneAway is the peer's end, or its answer to this side's.
func (e *Endpoint) goneAway(g wire.GoAway) {
	if e.phase == Leaving && g.Code == 0 {
		e.end(OK, "closed by this side")
		return
	}
	code, text := whyGone(g)
	e.sayWhy(OK, "")
	e.end(code, text)
}

// whyGone is what the program is told of a peer's GOAWAY.
func whyGone(g wire.GoAway) (Code, string) {
	code, text := Code(g.Code), "closed by the peer"
	if g.Text != "" {
		text += ": " + g.Text
	}
	if g.Code > 0 || int32(code) != g.Code {
		// A number that no version of this side has a name for, or could be taken for success.
		return Reset, fmt.Sprintf("%s (code %d)", text, g.Code)
	}
	return code, text
}

// stranger says that the peer has not told yet who it is, and this side, which accepted the
// link, not either: HELLO without its session would have the peer believe that it is lost.
func (e *Endpoint) stranger() bool { return !e.met && !e.config.Dialled }

// blames says whether a reason for the end is what the other side sent, which will be no
// better at the next attempt.
func blames(code Code) bool { return code == Protocol || code == Version }

// sayWhy queues GOAWAY, unless one is on its way, a frame is begun that the link does
// not take, the peer's preface has not shown that it would understand, or it is no fault
// of a peer that may try again. The owner writes it if the link takes it at once.
func (e *Endpoint) sayWhy(code Code, text string) {
	if e.stranger() && !blames(code) {
		return
	}
	if e.greeted && e.phase < Leaving && e.send.begunSize == 0 {
		e.sayGoAway(wire.GoAway{Code: int32(code), Text: text})
	}
}

// Abort ends the endpoint because of something on this side, and tells the peer.
func (e *Endpoint) Abort(code Code, text string) {
	e.sayWhy(code, text)
	e.end(code, text)
}

// Fail is the end of the link: an error, or io.EOF from the peer, or an attempt to get
// one that failed. If the session outlives it the endpoint waits for another. Else it
// ends, behind what the program has still to take.
func (e *Endpoint) Fail(now int64, code Code, text string) {
	e.now = now
	switch {
	case e.phase == Leaving:
		e.end(OK, "closed by this side")
	case e.phase == Closed || e.parting: // the end is known, or waits to be told
	case e.outlives():
		e.detach(code, text)
	default:
		e.endBehind(code, text)
	}
}

// endBehind ends the endpoint behind what the program has still to take.
func (e *Endpoint) endBehind(code Code, text string) {
	if len(e.receive.backlog) != 0 {
		e.part(held{what: heldEnd, code: code, text: text})
		return
	}
	e.end(code, text)
}

// part puts the end behind what the program has still to take. Nothing is accepted from
// now on: the peer hears no more of it.
func (e *Endpoint) part(end held) {
	e.parting = true
	e.config.Table.Close(e.config.Slot)
	e.config.Slot.State.Or(outbox.StateParted)
	e.hold(end)
	e.partIfClosing()
}

// SetUnbound changes Config.Unbound. While the program has no receiver, nothing was
// delivered, and nothing waits for it longer than the peer is there. What a peer that has
// restarted had not acknowledged is sent again rather than reported to nobody.
func (e *Endpoint) SetUnbound(unbound bool) { e.config.Unbound = unbound }

// partIfClosing ends an endpoint whose peer is gone already, if the program wants no
// more of what waits before that, or nobody is there to take it.
func (e *Endpoint) partIfClosing() {
	if !e.parting || !e.closing && !e.config.Unbound {
		return
	}
	for i := range e.receive.backlog {
		if h := &e.receive.backlog[i]; h.what == heldGoAway || h.what == heldEnd {
			e.carryOut(h)
		}
	}
}

// protocol ends the endpoint because of what the peer sent, and tells it. Where a session
// was to be resumed, and who is there has not even said HELLO, it is likely somebody else:
// that was an attempt that failed.
func (e *Endpoint) protocol(err error) error {
	code := Protocol
	switch {
	case errors.Is(err, wire.ErrIncompatible):
		code = Version
	case errors.Is(err, errTooLong):
		code = TooLarge
	}
	if e.phase == Opening && e.known && !e.met && e.outlives() {
		e.detach(code, err.Error())
	} else {
		e.Abort(code, err.Error())
	}
	return err
}

// end is where every life ends. The owner sees the phase, and drops what is left.
func (e *Endpoint) end(code Code, text string) {
	if e.phase == Closed {
		return
	}
	e.phase, e.reason, e.text = Closed, code, text
	e.openBy, e.resumeBy, e.deadline, e.acks.by, e.send.sweepBy = 0, 0, 0, 0, 0
	e.config.Table.Close(e.config.Slot)
}

// Deadline returns when Expire is due, or 0 for never.
func (e *Endpoint) Deadline() int64 {
	due := e.deadline
	for _, d := range [...]int64{e.openBy, e.resumeBy, e.acks.by, e.send.sweepBy, e.silence()} {
		due = earlier(due, d)
	}
	return due
}

// earlier returns the earlier of two times, of which 0 is never.
func earlier(a, b int64) int64 {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}

// silence returns when the next ping is due, or 0 for never. A side that does not
// read cannot tell whether the peer is silent: it pings only to give signs of life.
func (e *Endpoint) silence() int64 {
	switch {
	case e.phase != Open || e.parting || e.config.KeepAlive == 0:
		return 0
	case e.deaf:
		return max(e.lastSent, e.lastSign) + e.config.KeepAlive
	case e.pinged == 0:
		return e.lastHeard + e.config.KeepAlive
	}
	// From the last ping on, not from when it was due: an owner that comes late, having had
	// no time for this endpoint, has not listened either, and the peer gets all of its time
	// to answer.
	return e.lastSign + e.config.KeepAlive
}

// SetDeaf says that the owner does not read from the link for now though the
// receiver takes what it gets, for want of memory or because enough is queued.
func (e *Endpoint) SetDeaf(deaf bool) {
	e.afresh = e.afresh || e.deaf && !deaf
	e.deaf = deaf
}

// maxPings is how many pings may stay unanswered: the third silence ends it.
const maxPings = 2

// Expire does what is due at now.
func (e *Endpoint) Expire(now int64) {
	e.now = now
	if now >= e.send.sweepBy {
		e.send.sweepBy = 0 // its owner calls Sweep if somebody still waits
	}
	switch {
	case e.openBy != 0 && now >= e.openBy:
		e.lose(TimedOut, "no handshake from the peer in time")
	case e.resumeBy != 0 && now >= e.resumeBy:
		e.resumeBy = 0
		e.endBehind(cmp.Or(e.lost, TimedOut), fmt.Sprintf("no other link within %v after this one ended: %s",
			time.Duration(e.config.Resume), e.lostText))
	case e.deadline != 0 && now >= e.deadline && e.phase == Leaving:
		e.end(OK, "closed by this side")
	case e.deadline != 0 && now >= e.deadline:
		e.Abandon()
	default:
		if e.acks.by != 0 && now >= e.acks.by {
			e.acks.now, e.acks.by = true, 0
		}
		e.expireSilence()
	}
}

// lose gives a link up that is of no use any more; the peer is told if that ends the
// endpoint.
func (e *Endpoint) lose(code Code, text string) {
	if e.outlives() {
		e.detach(code, text)
		return
	}
	e.Abort(code, text)
}

func (e *Endpoint) expireSilence() {
	due := e.silence()
	switch {
	case due == 0 || e.now < due:
	case e.deaf:
		e.sign()
	case e.afresh:
		// What the peer sent while nobody read may not have been looked at yet.
		e.afresh, e.lastHeard, e.pinged = false, e.now, 0
	case e.pinged == maxPings:
		e.lose(TimedOut, "no sign of life from the peer")
	default:
		e.pinged++
		e.sign()
	}
}

// sign pings, unless the link has not even taken what was to be said before.
func (e *Endpoint) sign() {
	e.lastSign = e.now
	if e.send.control.empty() {
		e.Ping()
	}
}

// Ping asks the peer for a sign of life, and measures the round trip.
func (e *Endpoint) Ping() {
	if e.pingSent == 0 { // else the answer that is on its way is the one to be measured
		e.pingNonce++
		e.pingSent = e.now
	}
	e.send.control.frames = wire.AppendPing(e.send.control.frames, wire.Ping{Nonce: e.pingNonce})
}

// Settled says whether Drop may be called: every claim that was made is published.
func (e *Endpoint) Settled() bool {
	for i := range e.send.lanes {
		if !e.send.lanes[i].Settled() {
			return false
		}
	}
	return true
}

// Drop gives back everything that a closed and settled endpoint holds.
func (e *Endpoint) Drop() {
	for i := range e.send.lanes {
		e.send.lanes[i].Drop(e.config.Release)
	}
	e.narrow()
	e.send.control = control{}
	e.send.begun = piece{}
	e.discardAll()
}
