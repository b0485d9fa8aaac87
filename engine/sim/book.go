package sim

import (
	"slices"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

// book is what the world knows of an endpoint's messages, beside what the endpoint
// itself believes. Everything that is checked of the promise is checked here.
type book struct {
	outs      [wire.Lanes]outgoing
	sessions  []sessionBook
	last      *Endpoint // who was at the link with which the endpoint ended
	up, down  bool      // of UP and DOWN, which was told last
	told      int       // restarts that the program was told of: what is delivered is of that session
	assembled int       // bytes of long messages under way or held
}

// outgoing is what was sent in a lane, in order.
type outgoing struct {
	base    uint64 // id of the first in the list: those before are acknowledged
	records []record
	mortal  uint64 // of those before base, messages with a time to live
}

// record is what is remembered of a message that was accepted.
type record struct {
	sum     uint64
	size    uint32
	channel uint16
	until   int64 // when its time to live is over, by its sender's clock; 0: never
}

// late says whether a message may have been withdrawn by its sender.
func (r *record) late(sender *Endpoint) bool { return r.until != 0 && r.until <= sender.node.now() }

// standing returns the first message from id on, before end, that was not withdrawn; end
// if there is none.
func (o *outgoing) standing(sender *Endpoint, id, end uint64) uint64 {
	for id < end && id >= o.base && o.records[id-o.base].late(sender) {
		id++
	}
	return id
}

func (o *outgoing) total() uint64 { return o.base + uint64(len(o.records)) }

// sessionBook is one session: an endpoint that has dialled has a new one after each
// restart of its peer.
type sessionBook struct {
	peer     *Endpoint
	from     [wire.Lanes]uint64 // this side's first message that is the session's
	started  [wire.Lanes]bool   // a message was expected
	first    [wire.Lanes]uint64 // of the peer's that is the session's
	next     [wire.Lanes]uint64 // of the peer's, that is delivered next
	missed   [wire.Lanes]uint64 // of the peer's before next, those that were withdrawn
	consumed [wire.Lanes]uint64 // of the peer's, those below are consumed
	ended    bool               // the program was told that the peer sends no more
	over     bool               // the program was told of the peer's restart
	goesOn   [wire.Lanes]uint64 // if so, this side's first message that the next session is to begin with
	gone     [wire.Lanes]uint64 // or so many behind: it is not told which of them are acknowledged, and which withdrawn
}

// source returns the endpoint whose messages are delivered now, or nil.
func (b *book) source(e *Endpoint) *Endpoint {
	if b.told < len(b.sessions) {
		return b.sessions[b.told].peer
	}
	if e.end != nil {
		return e.end.peer().owner // it is only just being met
	}
	return nil
}

// meets notes a session with a peer, if it is a new one.
func (b *book) meets(e, peer *Endpoint) {
	epoch := 0
	if e.dialled {
		epoch = int(e.core.Epoch())
	}
	if epoch < len(b.sessions) {
		w := e.node.world
		w.check(b.sessions[epoch].peer == peer, "%v: resumed with an endpoint that has another session", e)
		return
	}
	s := sessionBook{peer: peer}
	for i := range s.from {
		s.from[i] = b.outs[i].total() - e.core.Lane(wire.Lane(i)).Accepted
	}
	b.sessions = append(b.sessions, s)
	b.checkStart(e, epoch)
}

// checkStart checks that a session begins with what the account of the one before it
// did not settle. The program may be told of that account before or after it begins.
func (b *book) checkStart(e *Endpoint, session int) {
	if session == 0 || session >= len(b.sessions) || !b.sessions[session-1].over {
		return
	}
	want, gone, from := b.sessions[session-1].goesOn, b.sessions[session-1].gone, b.sessions[session].from
	for i := range from {
		e.node.world.check(want[i] <= from[i] && from[i] <= want[i]+gone[i],
			"%v: after a restart of the peer lanes go on at %v; the account says %v, or %v more", e, from, want, gone)
	}
}

// with returns the book of the session with a peer, or nil.
func (b *book) with(peer *Endpoint) *sessionBook {
	for i := range b.sessions {
		if b.sessions[i].peer == peer {
			return &b.sessions[i]
		}
	}
	return nil
}

// sent notes a message that was accepted.
func (b *book) sent(e *Endpoint, lane wire.Lane, channel uint16, id uint64, data []byte, until int64) {
	o := &b.outs[lane]
	w := e.node.world
	w.check(id == o.total(), "%v: message %d of lane %v got id %d", e, o.total(), lane, id)
	r := record{sum(data), uint32(len(data)), channel, until}
	w.note(noteSend, uint64(e.node.index), uint64(lane), id, r.sum)
	o.records = append(o.records, r)
	e.takenAt = 0
}

// expects says whether a message is the next one that the peer sent in the lane, as
// it was sent.
func (b *book) expects(e *Endpoint, m *Message) bool {
	w, peer := e.node.world, b.source(e)
	if peer == nil || b.told >= len(b.sessions) {
		w.fail("%v: message %v/%d before UP", e, m.Lane, m.ID)
		return false
	}
	s, o := &b.sessions[b.told], &peer.book.outs[m.Lane]
	s.begin(e, m.Lane)
	next := s.next[m.Lane]
	if next < m.ID {
		next = o.standing(peer, next, min(m.ID, o.total()))
	}
	switch {
	case s.ended:
		w.fail("%v: message %v/%d after ENDED", e, m.Lane, m.ID)
	case m.ID < next:
		w.fail("%v: message %v/%d again; %d is next", e, m.Lane, m.ID, next)
	case m.ID > next:
		w.fail("%v: message %v/%d, but %d is missing", e, m.Lane, m.ID, next)
	case m.ID < o.base:
		w.fail("%v: message %v/%d, which was acknowledged long ago", e, m.Lane, m.ID)
	case m.ID >= o.total():
		w.fail("%v: message %v/%d, but %d were sent", e, m.Lane, m.ID, o.total())
	default:
		sent := o.records[m.ID-o.base]
		r := record{sum(m.Data), uint32(len(m.Data)), m.Channel, sent.until}
		w.check(r == sent, "%v: message %v/%d is not as it was sent", e, m.Lane, m.ID)
	}
	return w.failure == nil
}

// begin sets what is expected first in a lane: what the peer's side of the session
// begins with.
func (s *sessionBook) begin(e *Endpoint, lane wire.Lane) {
	if s.started[lane] {
		return
	}
	s.started[lane] = true
	if theirs := s.peer.book.with(e); theirs != nil {
		s.first[lane] = theirs.from[lane]
		s.next[lane], s.consumed[lane] = s.first[lane], s.first[lane]
	}
}

// delivered notes that the handler took a message.
func (b *book) delivered(e *Endpoint, m *Message) {
	s := &b.sessions[b.told]
	missed := m.ID - s.next[m.Lane]
	s.missed[m.Lane] += missed
	e.node.world.counts.Withdrawn += missed
	s.next[m.Lane] = m.ID + 1
	if !e.later() {
		s.consumed[m.Lane] = m.ID + 1
	}
}

// consumed notes that the program acknowledged a message.
func (b *book) consumed(e *Endpoint, epoch uint32, lane wire.Lane, id uint64) {
	s := &b.sessions[epoch]
	e.node.world.check(s.consumed[lane] <= id && id < s.next[lane],
		"%v: Ack of message %v/%d; %d was to be next, of %d", e, lane, id, s.consumed[lane], s.next[lane])
	s.consumed[lane] = id + 1
}

// restarted checks the account of a session that the peer has lost.
func (b *book) restarted(e *Endpoint, lanes *[wire.Lanes]wire.LaneAccount, r *endpoint.Remains) {
	w := e.node.world
	w.check(b.told < len(b.sessions), "%v: RESTARTED before any session", e)
	if w.failure != nil {
		return
	}
	s := &b.sessions[b.told]
	s.over, s.goesOn = true, s.from
	for i, a := range lanes {
		b.audit(e, b.told, i, &a)
		if s.goesOn[i] += a.Acknowledged; e.options.OnRestart == endpoint.Resend {
			s.gone[i] = a.Withdrawn
		} else {
			s.goesOn[i] += a.Maybe + a.Never + a.Withdrawn
		}
	}
	if e.options.OnRestart == endpoint.Report {
		b.listed(e, &s.from, lanes, slices.Collect(r.All()))
	} else {
		w.check(r == nil, "%v: a list of what is not to be reported", e)
	}
	b.told++
	b.checkStart(e, b.told)
}

// listed checks that a list has what an account, which begins with those messages, counts
// as not acknowledged, in order and as it was sent. Which message is the first of them is
// not told where others were withdrawn.
func (b *book) listed(e *Endpoint, from *[wire.Lanes]uint64, lanes *[wire.Lanes]wire.LaneAccount,
	list []outbox.Remnant) {
	w := e.node.world
	for i := range wire.Lane(wire.Lanes) {
		a, o := &lanes[i], &b.outs[i]
		next := from[i] + a.Acknowledged
		for k := range a.Maybe + a.Never {
			if len(list) == 0 || list[0].Lane != i || list[0].ID < next || list[0].ID >= from[i]+a.Accepted {
				w.fail("%v: a message from %v/%d on is not in the list for %+v", e, i, next, *a)
				return
			}
			m := &list[0]
			id := m.ID
			w.check(id == next || k == 0 && id <= next+a.Withdrawn || k > 0 && o.standing(e, next, id) == id,
				"%v: message %v/%d is not in the list for %+v", e, i, next, *a)
			list, next = list[1:], id+1
			w.check(m.Maybe == (k < a.Maybe), "%v: message %v/%d is listed with %v; the account is %+v", e, i, id,
				m.Maybe, *a)
			r := record{sum(m.Data), uint32(len(m.Data)), m.Channel, o.records[id-o.base].until}
			w.check(r == o.records[id-o.base], "%v: message %v/%d is not listed as it was sent", e, i, id)
		}
	}
	w.check(len(list) == 0, "%v: %d messages too many in the list", e, len(list))
}

// audit checks an account of a session's lane: its sums, that the peer has consumed
// what was acknowledged, and that nothing arrived that was never sent, or withdrawn.
func (b *book) audit(e *Endpoint, session, lane int, a *wire.LaneAccount) {
	w := e.node.world
	w.check(a.Accepted == a.Acknowledged+a.Maybe+a.Never+a.Withdrawn, "%v: the sum of %+v in lane %v is wrong",
		e, *a, wire.Lane(lane))
	if session < 0 {
		w.check(a.Acknowledged == 0, "%v: %d messages acknowledged by nobody", e, a.Acknowledged)
		return
	}
	s := &b.sessions[session]
	from := s.from[lane]
	w.check(from+a.Accepted <= b.outs[lane].total(), "%v: account %+v from message %d; %d were accepted",
		e, *a, from, b.outs[lane].total())
	if session == len(b.sessions)-1 && e.told {
		w.check(from+a.Accepted == b.outs[lane].total(), "%v: account %+v from message %d; %d were accepted",
			e, *a, from, b.outs[lane].total())
	}
	b.acknowledged(e, s, lane, a.Acknowledged)
	late := b.outs[lane].latest(e, from, a.Accepted)
	w.check(a.Withdrawn <= late, "%v: %d messages were late; the account is %+v from %d", e, late, *a, from)
	theirs := s.peer.book.with(e)
	if theirs == nil {
		return
	}
	if a.Never > 0 {
		w.check(theirs.next[lane] <= from+a.Acknowledged+a.Maybe+a.Withdrawn,
			"%v: message %v/%d was delivered; the account says never sent: %+v from %d",
			e, wire.Lane(lane), theirs.next[lane]-1, *a, from)
	}
	missed, got := theirs.missed[lane], theirs.next[lane]-theirs.first[lane]
	w.check(missed <= a.Withdrawn && got-missed <= a.Acknowledged+a.Maybe,
		"%v: of %d messages of lane %v the peer missed %d; the account is %+v", e, got, wire.Lane(lane), missed, *a)
}

// latest returns how many of n messages from one on may be withdrawn by now.
func (o *outgoing) latest(e *Endpoint, from, n uint64) uint64 {
	late := o.mortal
	for id := max(from, o.base); id < from+n; id++ {
		if o.records[id-o.base].late(e) {
			late++
		}
	}
	return late
}

// acknowledged checks that the peer has consumed n messages of a session.
func (b *book) acknowledged(e *Endpoint, s *sessionBook, lane int, n uint64) {
	consumed := s.from[lane]
	if theirs := s.peer.book.with(e); theirs != nil {
		consumed = max(consumed, theirs.consumed[lane])
	}
	e.node.world.check(s.from[lane]+n <= consumed, "%v: message %v/%d is acknowledged; %d are consumed",
		e, wire.Lane(lane), s.from[lane]+n-1, consumed)
}

// look checks what must hold at any time.
func (b *book) look(e *Endpoint) {
	w, o := e.node.world, &e.options
	for i := range b.outs {
		l := e.core.Lane(wire.Lane(i))
		if len(b.sessions) > 0 {
			s := &b.sessions[len(b.sessions)-1]
			w.check(s.from[i]+l.Accepted == b.outs[i].total(),
				"%v: %d messages accepted in lane %v from %d on; %d were",
				e, l.Accepted, wire.Lane(i), s.from[i], b.outs[i].total())
			b.acknowledged(e, s, i, l.Acknowledged)
		}
		// An empty lane takes any message, so there may be one beyond the bound.
		bound := max(o.Outbox, minOutbox) + wire.DefaultMaxMessage + o.MaxMessage
		w.check(l.QueuedBytes <= bound, "%v: lane %v holds %d bytes; its bound is %d",
			e, wire.Lane(i), l.QueuedBytes, bound)
	}
	bound := wire.Lanes * int(o.Window+o.MaxMessage+wire.MaxPayload)
	waits := e.held + b.assembled + e.lent
	w.check(waits <= bound, "%v: %d bytes wait for the program; the bound is %d", e, waits, bound)
	b.prune(e)
}

const (
	// minOutbox is the least that a lane of any bound takes: two inline messages.
	minOutbox = 64 << 10
	// pruneAt is how many acknowledged messages are remembered before they are forgotten.
	pruneAt = 1 << 12
)

// prune forgets messages that were acknowledged and are never sent again.
func (b *book) prune(e *Endpoint) {
	for i := range b.outs {
		o := &b.outs[i]
		if len(o.records) < pruneAt || len(b.sessions) == 0 {
			continue
		}
		acked := b.sessions[len(b.sessions)-1].from[i] + e.core.Lane(wire.Lane(i)).Acknowledged
		if n := acked - min(acked, o.base); n >= pruneAt/2 {
			for k := range o.records[:n] {
				if o.records[k].until != 0 {
					o.mortal++
				}
			}
			o.records = append([]record(nil), o.records[n:]...)
			o.base = acked
		}
	}
}
