package endpoint

import "github.com/lyquor/lyquor/engine/wire"

// Code says why something failed or ended. The numbers are those of the C API
// and of GOAWAY on the wire; they never change.
type Code int16

// The codes of the engine; the numbers between them are codes that only the C API gives.
const (
	OK         Code = 0
	Invalid    Code = -1
	NoHandle   Code = -2
	Gone       Code = -3
	TooLarge   Code = -5
	TimedOut   Code = -6
	BadAddress Code = -10
	NoMemory   Code = -11
	Limit      Code = -12
	Refused    Code = -13
	Unreached  Code = -14
	Reset      Code = -15
	Version    Code = -16
	Internal   Code = -18
	Busy       Code = -19
	Protocol   Code = -20
)

// EventKind is what happened; the numbers are those of the C API.
type EventKind uint16

// The events.
const (
	EventUp        EventKind = 16
	EventEnded     EventKind = 17
	EventDown      EventKind = 18
	EventWritable  EventKind = 19
	EventRestarted EventKind = 20
	EventAccepted  EventKind = 21
	EventAcked     EventKind = 22
	EventTimer     EventKind = 23
	EventClosed    EventKind = 25
)

// Event is something that happened, in its place among the messages.
type Event struct {
	Kind   EventKind
	Code   Code
	Lane   wire.Lane // of Writable
	Token  uint64    // of Accepted: the listener
	Detail []byte    // a FlatBuffers table of schema/event.fbs, or nil
	// Remains are, of Restarted and Closed, the messages that will never be acknowledged.
	// Whoever takes the event drops them.
	Remains *Remains
}

// Memory is what a long message is assembled in. It is the receiver's to choose
// and to give back.
type Memory struct {
	Bytes []byte
}

// Receiver takes what an endpoint receives, in order. It is called inside
// Receive, Expire and the other calls, by the endpoint's owner.
type Receiver interface {
	// Run takes frames of whole messages that lie together; first holds the id of
	// each lane's first message. It returns how many bytes it took, always whole
	// frames; less than all pauses the endpoint. The bytes are the caller's again
	// when it returns. A negative result closes the endpoint.
	Run(frames []byte, first *[wire.Lanes]uint64) int
	// Hold keeps frames that were given to Receive, until Unhold was called for all parts
	// of them. It returns where they lie from then on: there, or copied.
	Hold(frames []byte) []byte
	Unhold(frames []byte)
	// Allocate returns memory for a long message, or false if there is none.
	Allocate(size uint64) (Memory, bool)
	// Long takes an assembled message and its memory. False pauses the endpoint: the
	// message was not taken and comes again.
	Long(m Memory, lane wire.Lane, channel uint16, id uint64) bool
	// Discard takes back memory of a message that will never be whole.
	Discard(m Memory)
	// Event takes an event; it cannot be refused.
	Event(e Event)
}
