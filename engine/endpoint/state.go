package endpoint

import (
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

// Phase returns how far the endpoint is.
func (e *Endpoint) Phase() Phase { return e.phase }

// Closing says that the program has closed, and waits for what it sent to be acknowledged.
func (e *Endpoint) Closing() bool { return e.closing && e.phase < Leaving }

// WantsLink says that the endpoint waits for its owner to Connect it to its peer, or for
// Adopt: there is no link, and there is to be one.
func (e *Endpoint) WantsLink() bool { return e.phase == Waiting && !e.parting }

// Parting says that the peer has gone, and that its end waits for the program to take
// what it sent before.
func (e *Endpoint) Parting() bool { return e.parting && e.phase < Closed }

// Reason returns why a closed endpoint ended.
func (e *Endpoint) Reason() (Code, string) { return e.reason, e.text }

// Lost returns why the last link, or the last attempt to get one, ended; "" if none has.
func (e *Endpoint) Lost() string { return e.lostText }

// Flushed says that everything which ends the link orderly was written: the owner
// closes the writing direction, and waits for the peer's end.
func (e *Endpoint) Flushed() bool { return e.phase == Leaving && e.send.control.empty() }

// Rest gives back memory that idle lanes own. It returns false if a lane had to
// keep some.
func (e *Endpoint) Rest() bool {
	rested := len(e.receive.backlog) == 0
	if e.send.control.empty() {
		e.send.control = control{} // an idle endpoint owns no buffer
	}
	e.rounds = nil
	for i := range e.send.lanes {
		if e.send.lanes[i].Rest() {
			rested = false
		}
	}
	return rested
}

// Peer returns what the peer said of itself, and the wire version in use.
func (e *Endpoint) Peer() (wire.Hello, uint16) {
	return wire.Hello{Incarnation: e.peer.incarnation, MaxMessage: e.peer.maxMessage, Agent: e.peer.agent}, e.version
}

// Window returns how many bytes of messages the peer may send in a lane beyond those
// consumed.
func (e *Endpoint) Window(lane wire.Lane) uint64 { return uint64(e.windows[lane]) }

// RoundTrip returns the last ping's round trip in nanoseconds, 0 if none yet.
func (e *Endpoint) RoundTrip() int64 { return e.rtt }

// LaneState counts one lane.
type LaneState struct {
	wire.LaneAccount
	Queued, QueuedBytes uint64 // accepted and not given to a link since, messages; bytes not freed
}

// Lane returns a lane's counts.
func (e *Endpoint) Lane(lane wire.Lane) LaneState {
	r := &e.send.lanes[lane]
	s := LaneState{LaneAccount: e.account(int(lane))}
	s.Queued, s.QueuedBytes = r.Queued()
	return s
}

// account says what became of a lane's messages.
func (e *Endpoint) account(lane int) wire.LaneAccount {
	r := &e.send.lanes[lane]
	since, gone := e.send.since[lane], r.Gone()
	a := wire.LaneAccount{Accepted: r.Accepted() - since, Maybe: r.Maybe(),
		Acknowledged: r.Acked().Messages - gone.Acked - (since - gone.Reported),
		Withdrawn:    gone.Total - gone.Reported,
		Received:     e.receive.lanes[lane].got - e.receive.lanes[lane].before}
	a.Never = a.Accepted - a.Acknowledged - a.Maybe - a.Withdrawn
	return a
}

// Passed returns how many of a lane's messages nobody waits for any more: acknowledged,
// or withdrawn among those.
func (e *Endpoint) Passed(lane wire.Lane) uint64 { return e.send.lanes[lane].Acked().Messages }

// Withdrawn returns how many of a lane's messages were withdrawn because their time was
// over.
func (e *Endpoint) Withdrawn(lane wire.Lane) uint64 { return e.send.lanes[lane].Gone().Total }

// Bytes returns the bytes written to and consumed from links.
func (e *Endpoint) Bytes() (sent, received uint64) { return e.sentBytes, e.receivedBytes }

// Written returns how many of a lane's messages were ever given to a link, or a part of
// them: each once, however often it was sent again, so that it never falls.
func (e *Endpoint) Written(lane wire.Lane) uint64 { return e.send.lanes[lane].Written() }

// InFlight returns the messages of a lane that were given to links whole and not
// acknowledged, with SKIP for those that were withdrawn, and what they count in flow
// control.
func (e *Endpoint) InFlight(lane wire.Lane) outbox.Count {
	r := &e.send.lanes[lane]
	taken, acked := r.Taken(), r.Acked()
	return outbox.Count{Messages: taken.Messages - acked.Messages, Bytes: taken.Bytes - acked.Bytes}
}

// Received returns how many messages of a lane were ever received whole.
func (e *Endpoint) Received(lane wire.Lane) uint64 { return e.receive.lanes[lane].got }
