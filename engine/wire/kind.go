package wire

import "strconv"

// Kind says what a frame is. 0 never appears on the wire: zeroed memory is no frame.
type Kind uint8

// Kinds of data frames. They belong to a lane.
const (
	Msg   Kind = 1 // one whole message; the payload is its bytes
	Start Kind = 2 // begins a longer message; size is its total, and no payload follows
	Frag  Kind = 3 // the next piece of the message that was started in its lane
	Skip  Kind = 4 // stands for messages that were withdrawn; size is their number, and no payload follows
)

// Kinds of control frames. They belong to the link: lane and channel are 0.
const (
	KindHello  Kind = 16 // a Hello table; the first frame of each direction
	KindPing   Kind = 17 // a Ping table; to be answered
	KindPong   Kind = 18 // a Pong table; the answer
	KindGoAway Kind = 19 // a GoAway table; the last frame of an orderly end
	KindFin    Kind = 20 // no payload; no message follows in this direction
	KindAck    Kind = 21 // an Ack struct; what was consumed, and how much more may come
)

// firstOptional is the lowest kind that a receiver may skip.
const firstOptional Kind = 128

// Optional reports whether a receiver that does not know the kind skips the frame.
// An unknown kind that is not optional ends the session: its meaning cannot be
// guessed, and whatever comes after may depend on it.
func (k Kind) Optional() bool { return k >= firstOptional }

// control reports whether k is one of the control frames that this version knows.
func (k Kind) control() bool { return k >= KindHello && k <= KindAck }

// String returns the kind's name in upper case, as the documents write it.
func (k Kind) String() string {
	switch k {
	case Msg:
		return "MSG"
	case Start:
		return "START"
	case Frag:
		return "FRAG"
	case Skip:
		return "SKIP"
	case KindHello:
		return "HELLO"
	case KindPing:
		return "PING"
	case KindPong:
		return "PONG"
	case KindGoAway:
		return "GOAWAY"
	case KindFin:
		return "FIN"
	case KindAck:
		return "ACK"
	}
	return "kind " + strconv.Itoa(int(k))
}
