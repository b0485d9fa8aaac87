package endpoint

import "github.com/lyquor/lyquor/engine/wire"

const (
	// lowerWeight is how many bytes the highest lane sends for one of each lower lane
	// that waits: with one of them, an eighth of the link is left to it.
	lowerWeight = 7
	// lowerShare is how much that is, in bytes, before a waiting lane gets a short frame.
	lowerShare = lowerWeight * shortFrame
)

// shares counts, for each lane, what the highest lane sent while it waited, less
// what it has had for that. It is what keeps lower lanes from starving.
type shares [wire.Lanes]int

// lanes is a set of lanes.
type lanes uint8

func (s lanes) has(l wire.Lane) bool { return s>>l&1 != 0 }

func (s *lanes) add(l wire.Lane) { *s |= 1 << l }

func (s *lanes) remove(l wire.Lane) { *s &^= 1 << l }

// alone says that a set has no more than one lane.
func (s lanes) alone() bool { return s&(s-1) == 0 }

// highest returns the lane that goes first by priority.
func (s lanes) highest() wire.Lane {
	for _, lane := range wire.Priority {
		if s.has(lane) {
			return lane
		}
	}
	return wire.Normal
}

// choose returns the highest ready lane, or the first that has waited enough.
func (s *shares) choose(ready lanes) wire.Lane {
	if !ready.alone() {
		for _, lane := range wire.Priority {
			if ready.has(lane) && s[lane] >= lowerShare {
				return lane
			}
		}
	}
	return ready.highest()
}

// note counts n bytes of a lane, sent while those in ready had something to send. A
// lane that has nothing to send has no claim on later.
func (s *shares) note(lane wire.Lane, n int, ready lanes) {
	if ready.alone() {
		*s = shares{}
		return
	}
	highest := lane == ready.highest()
	for l := range wire.Lane(wire.Lanes) {
		switch {
		case !ready.has(l):
			s[l] = 0
		case l == lane:
			s[l] = max(s[l]-lowerWeight*n, 0)
		case highest:
			s[l] += n
		}
	}
}
