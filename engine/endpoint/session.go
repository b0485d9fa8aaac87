package endpoint

import (
	"cmp"

	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

// Connect gives the endpoint a link. Who dialled speaks first, for the other side has
// to know the session before it can say where it stands.
func (e *Endpoint) Connect(now int64) {
	if e.phase != Waiting {
		return
	}
	e.now, e.phase = now, Opening
	e.lastHeard, e.lastSent = now, now
	e.openBy = now + e.config.Handshake
	e.send.control.frames = wire.AppendPreface(e.send.control.frames, preface)
	if e.config.Dialled {
		e.appendHello()
	}
}

// appendHello queues HELLO, with where each lane stands.
func (e *Endpoint) appendHello() {
	hello := wire.Hello{Incarnation: e.config.Incarnation, MaxMessage: e.config.MaxMessage, Agent: e.config.Agent,
		Session: e.session}
	for i := range hello.Points {
		in := &e.receive.lanes[i]
		credit := e.tell(i)
		p := wire.Point{Base: e.send.base[i], Consumed: credit.Consumed, Received: in.next,
			Window: credit.Window}
		if a := in.assembly; a != nil {
			p.Total, p.Offset = uint64(len(a.memory.Bytes)), a.have
			e.resumed.add(wire.Lane(i))
		}
		hello.Points[i] = p
	}
	e.acks.now, e.acks.by, e.spoke = false, 0, true
	e.send.control.frames = wire.AppendHello(e.send.control.frames, hello)
}

func (e *Endpoint) receiveHello(payload []byte) error {
	hello, err := wire.ParseHello(payload)
	if err != nil {
		return err
	}
	e.met = true
	if e.phase != Opening {
		e.aside = true // this side has said GOAWAY already
		return nil
	}
	if !e.config.Dialled && hello.Session != none && e.config.Resumes != nil && e.config.Resumes(hello) {
		e.offer = &hello
		return nil
	}
	if e.config.Dialled && hello.Session == none && e.outlives() {
		e.unnamed = &hello
		e.Ping() // the answer to which shows that the peer stays, if it has nothing to say
		return nil
	}
	e.meet(hello)
	return nil
}

// meetUnnamed goes on with a peer whose session cannot be resumed.
func (e *Endpoint) meetUnnamed() {
	hello := e.unnamed
	e.unnamed = nil
	e.meet(*hello)
}

// sentAway is the end of a handshake in which the peer named no session. It went before it
// had read what this side said, so that nothing is lost by that: the attempt failed, unless
// the next one would as well.
func (e *Endpoint) sentAway(g wire.GoAway) {
	code, text := whyGone(g)
	if !e.known && blames(code) {
		e.goneAway(g)
		return
	}
	e.detach(cmp.Or(code, Reset), text)
}

func peerOf(h wire.Hello) peer { return peer{h.Incarnation, h.MaxMessage, h.Agent} }

// none is the id of no session.
var none [16]byte

// meet goes on with the peer that said HELLO.
func (e *Endpoint) meet(hello wire.Hello) {
	switch {
	case !e.known:
		e.begin(hello)
	case hello.Session != e.session:
		e.restart(hello)
	case !e.resume(hello):
		// It believes that it resumed: what either side counts would mean nothing.
		e.Abort(Protocol, "the peer resumed the session at a point where it never was")
	}
	if e.phase == Opening {
		e.phase, e.openBy, e.resumeBy = Open, 0, 0
		e.opened(hello)
	}
}

// Offered says that the peer wants to resume a session which Config.Resumes knows:
// the owner gives the link, and this endpoint, to Adopt of the endpoint that has the
// session. Nothing else may be called but Refuse.
func (e *Endpoint) Offered() bool { return e.offer != nil }

// Refuse begins a new session with a peer whose session could not be resumed.
func (e *Endpoint) Refuse(now int64) {
	hello := e.offer
	e.now, e.lastHeard, e.offer = now, now, nil // nobody listened meanwhile
	e.meet(*hello)
}

// Adopt resumes the session on the link of an endpoint that was offered it, which is of
// no use afterwards. The link that there was is retired: nothing that comes from it may
// be given to Receive any more. It returns false, and changes nothing, if what the peer
// says does not fit: it is a new one then. So it is for an endpoint that ends meanwhile.
func (e *Endpoint) Adopt(now int64, from *Endpoint) bool {
	hello := *from.offer
	waits := e.phase <= Open && !e.parting && !e.config.Dialled && e.known
	if !waits || hello.Incarnation != e.peer.incarnation || !e.resumable(hello) {
		return false
	}
	e.now = now
	if e.phase != Waiting {
		if e.detach(Reset, "the peer came back on another link"); e.phase != Waiting {
			return false // whoever was told of that has ended it
		}
	}
	e.lastHeard, e.lastSent, e.resumeBy = now, now, 0
	e.greeted, e.met, e.version = true, true, from.version
	e.send.control, from.send.control = from.send.control, control{}
	e.appendHello()
	e.resume(hello)
	e.phase = Open
	e.opened(hello)
	return true
}

// Retire gives the link up because another is to take its place: nothing that comes from
// it may be given to Receive any more, and Connect is next. It returns false, and changes
// nothing, if the endpoint has ended or is about to, or would end with its link.
func (e *Endpoint) Retire(now int64) bool {
	if e.phase >= Leaving || e.parting || !e.outlives() {
		return false
	}
	e.now = now
	if e.phase != Waiting {
		e.detach(OK, "another link takes its place")
	}
	return true
}

// begin is the start of a session.
func (e *Endpoint) begin(hello wire.Hello) {
	e.known, e.peer = true, peerOf(hello)
	e.session = e.config.Session
	if e.config.Dialled {
		e.session = hello.Session
	}
	for i, p := range hello.Points {
		e.expect(i, p)
	}
	if !e.config.Dialled {
		e.appendHello()
	}
}

// expect sets a lane to a peer that begins.
func (e *Endpoint) expect(lane int, p wire.Point) {
	in := &e.receive.lanes[lane]
	in.next, in.consumed.Messages = p.Base, p.Base
	r := &e.send.lanes[lane]
	e.send.limit[lane] = r.Acked().Bytes + min(p.Window, maxWindow)
	if e.config.Dialled {
		// What it takes for this side's first message was told in HELLO.
		e.skip(lane, r.Acked().Messages-min(p.Received, r.Acked().Messages))
	}
}

// resumable says whether what a peer says of a session fits what this side knows.
func (e *Endpoint) resumable(hello wire.Hello) bool {
	for i, p := range hello.Points {
		r := &e.send.lanes[i]
		// What was withdrawn, and never touched, the peer counts as well.
		if p.Received > max(r.Touched(), r.Acked().Messages) || p.Base > e.receive.lanes[i].next {
			return false
		}
		if p.Total == 0 {
			continue
		}
		entry, ok := r.Message(p.Received)
		if !ok || p.Received == r.Touched() || entry.Run != nil || uint64(len(entry.Payload)) != p.Total {
			return false
		}
	}
	return true
}

// resume goes back to what the peer has. It returns false, and has changed nothing, if
// that does not fit.
func (e *Endpoint) resume(hello wire.Hello) bool {
	if hello.Incarnation != e.peer.incarnation || !e.resumable(hello) {
		return false
	}
	e.peer = peerOf(hello)
	for i, p := range hello.Points {
		r := &e.send.lanes[i]
		acked := r.Acked().Messages
		e.skip(i, acked-min(p.Received, acked))
		r.Rewind(max(p.Received, acked))
		if p.Consumed > acked {
			r.Acknowledge(p.Consumed, e.config.Release)
		}
		if p.Received >= r.Acked().Messages {
			e.send.base[i] = r.Acked().Messages
		}
		e.send.limit[i] = max(e.send.limit[i], r.Acked().Bytes+min(p.Window, maxWindow))
		e.send.long[i] = longMessage{}
		if p.Total != 0 {
			e.send.long[i] = longMessage{off: int(p.Offset), charge: outbox.Charge(int(p.Total))}
		}
	}
	return true
}

// skip has the peer count messages that were withdrawn.
func (e *Endpoint) skip(lane int, n uint64) {
	e.send.control.frames = wire.AppendSkip(e.send.control.frames, wire.Lane(lane), n)
}

// restart is the start of a session with a peer that has lost the one there was. What
// it had not acknowledged is reported, and withdrawn unless it is to be sent again.
func (e *Endpoint) restart(hello wire.Hello) {
	if e.config.Unbound {
		// It goes with its sender, as it does when a peer ends: restarts would else pile up what nobody takes.
		e.discardAll()
	} else {
		e.receive.stale += e.unconsumed()
		e.discardLong()
	}
	e.peer, e.session, e.heardEnd = peerOf(hello), hello.Session, false
	e.epoch++
	var detail wire.RestartedDetail
	var remains *Remains
	var n [wire.Lanes]uint64
	if !e.resends() {
		n = e.remaining()
		if e.config.OnRestart == Report {
			remains = e.report(n)
		}
	}
	for i, p := range hello.Points {
		detail.Lanes[i] = e.startOver(i, p, n[i], remains)
	}
	if e.config.Unbound && e.resends() {
		return // there is nothing to tell
	}
	e.inOrder(held{what: heldEvent, event: Event{Kind: EventRestarted,
		Detail: wire.AppendRestartedDetail(nil, detail), Remains: remains}})
}

// resends says whether what a peer that has restarted had not acknowledged is sent again.
// What is to be reported is, if nobody is there to be told: it would be lost in silence.
func (e *Endpoint) resends() bool {
	return e.config.OnRestart == Resend || e.config.OnRestart == Report && e.config.Unbound
}

// startOver sets a lane to a peer that has restarted, withdraws its first n messages, to
// remains if there are such, and returns the account of it.
func (e *Endpoint) startOver(lane int, p wire.Point, n uint64, remains *Remains) wire.LaneAccount {
	account := e.account(lane)
	r := &e.send.lanes[lane]
	e.send.long[lane] = longMessage{}
	r.Rewind(r.Acked().Messages)
	if !e.resends() {
		if remains != nil {
			r.Salvage(n, &remains.Remnants)
		} else {
			r.Withdraw(n, e.config.Release)
		}
		// What a producer is still writing is not withdrawn: it goes to the new peer.
		account.Accepted = r.Acked().Messages - e.send.since[lane]
		account.Never = account.Accepted - account.Acknowledged - account.Maybe - account.Withdrawn
	}
	if !e.config.Unbound || !e.resends() { // the counts are told
		e.send.since[lane] = r.Acked().Messages
		r.Report()
	}
	in := &e.receive.lanes[lane]
	in.bytes, in.skips, in.before = in.consumed.Bytes, nil, in.got
	// The window that HELLO told begins here, whatever was consumed since.
	e.tell(lane)
	e.expect(lane, p)
	return account
}

// detach is the loss of a link that the session outlives, or an attempt to get one that
// failed. The program is told once until there is one.
func (e *Endpoint) detach(code Code, text string) {
	e.phase, e.unnamed = Waiting, nil
	e.greeted, e.met, e.spoke, e.saidEnd = false, false, false, false
	e.openBy, e.pinged, e.pingSent, e.rounds = 0, 0, 0, nil
	e.acks.now, e.acks.by, e.acks.eager, e.send.asked = false, 0, false, 0
	e.send.control.clear()
	e.send.begun, e.send.begunSize, e.send.pongDue = piece{}, 0, false
	e.lost, e.lostText = code, text
	if e.config.Resume > 0 && e.resumeBy == 0 {
		e.resumeBy = e.now + e.config.Resume
	}
	e.config.Slot.State.And(^outbox.StateUp)
	if !e.down {
		e.down = true
		e.config.Receiver.Event(Event{Kind: EventDown, Code: code})
	}
}

// outlives says whether the endpoint may wait for another link: it dials, or has a
// session that the peer can come back to.
func (e *Endpoint) outlives() bool {
	switch {
	case e.config.Resume == 0:
		return false
	case e.known:
		return e.session != none
	}
	return e.config.Dialled
}

// Session returns the session's secret id; all zero before there is one.
func (e *Endpoint) Session() [16]byte { return e.session }
