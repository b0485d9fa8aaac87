package wire

// Limits of the format, in bytes. Both sides know them without negotiation.
const (
	// MaxPayload is the largest payload of one frame of any kind. It bounds the time
	// for which one frame keeps a link from urgent messages (5 ms at 100 Mbit/s),
	// and what a receiver must hold before it can look at a frame as a whole.
	MaxPayload = 64 << 10
	// MaxControl is the largest table in a control frame. The tables of today need a
	// tenth; the rest is room for fields to come.
	MaxControl = 4 << 10
	// DefaultMaxMessage is the largest message that every lyquor accepts, before and
	// whatever Hello says. A Hello can only raise it.
	DefaultMaxMessage = 1 << 20
	// DefaultWindow is what a sender may have under way in a lane if Hello does not say:
	// what TCP gives a new connection, four times over.
	DefaultWindow = 256 << 10
	// MaxMessage is the largest message that the format can carry at all: a Start
	// states the total in 32 bits.
	MaxMessage = 1<<32 - 1
	// MaxAgent is the longest agent text in a Hello: a name and a version.
	MaxAgent = 64
	// MaxText is the longest text in a GoAway: one sentence.
	MaxText = 256
)
