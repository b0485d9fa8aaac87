package wire

// plainMask selects the bits of kind and lane that are fixed in every plain MSG:
// all of the kind, and the six bits of the lane that no lane uses.
const (
	plainMask = 0xFC_FF << kindShift
	plainBits = Header(Msg) << kindShift
)

// PlainMsg reports whether h is a MSG that Check would pass. It is the fast path of
// a receiver: nearly every frame is one, and this is three instructions.
func PlainMsg(h Header) bool { return h&plainMask == plainBits && h.Size() <= MaxPayload }

// Check says what is wrong with h by itself, or nil. What depends on the session
// (order, a limit from Hello, a FRAG without START) is the endpoint's to check.
//
// A frame that passed may be read whole: FrameSize is at most HeaderSize plus
// MaxPayload. The channel of a FRAG and, in frames of optional kinds, lane and
// channel are not looked at. The error is ErrIncompatible for a mandatory kind that
// is unknown, and else ErrMalformed.
func Check(h Header) error {
	switch k := h.Kind(); {
	case k >= Msg && k <= Skip:
		return checkData(h)
	case k.control():
		return checkControl(h)
	case k.Optional():
		return checkSize(h, MaxPayload)
	case k == 0:
		return malformed("frame of kind 0, which never appears on the wire (header %#016x)", uint64(h))
	default:
		return incompatible("frame of kind %d, which is mandatory and unknown to wire version %d", k, WireVersion)
	}
}

func checkData(h Header) error {
	if h.Lane() >= Lanes {
		return malformed("%v in lane %d; lanes are 0 to %d", h.Kind(), h.Lane(), Lanes-1)
	}
	switch {
	case h.Kind() == Msg:
		return checkSize(h, MaxPayload)
	case h.Size() == 0 && h.Kind() == Skip:
		return malformed("SKIP of size 0; at least 1 message is required")
	case h.Size() == 0:
		// An empty message is a MSG. An empty FRAG would be work without progress.
		return malformed("%v of size 0; at least 1 byte is required", h.Kind())
	case h.Kind() == Start:
		return nil // any total: what the receiver takes is the endpoint's limit
	case h.Kind() == Skip:
		if h.Channel() != 0 {
			return malformed("SKIP with channel %d; 0 is required", h.Channel())
		}
		return nil
	}
	return checkSize(h, MaxPayload)
}

func checkControl(h Header) error {
	if h.Lane() != 0 || h.Channel() != 0 {
		return malformed("%v with lane %d and channel %d; both are 0 in control frames",
			h.Kind(), h.Lane(), h.Channel())
	}
	if h.Kind() == KindFin {
		return checkSize(h, 0)
	}
	return checkSize(h, MaxControl)
}

func checkSize(h Header, limit uint32) error {
	if h.Size() > limit {
		return malformed("%v of size %d; at most %d is allowed", h.Kind(), h.Size(), limit)
	}
	return nil
}
