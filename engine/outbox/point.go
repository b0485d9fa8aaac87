package outbox

import "github.com/lyquor/lyquor/engine/wire"

// Point is what a slot's lanes had accepted at some time, for whoever waits until the peer
// is done with that. wait_acked in capi/handle.c does the same.
type Point struct{ claimed, cut [wire.Lanes]uint64 }

// Point returns the present one.
func (s *Slot) Point() (p Point) {
	for i := range p.claimed {
		l := &s.lanes[i]
		p.cut[i] = l.cut.Load()
		headSeq, tail := l.headSeq.Load(), l.tail.Load()
		p.claimed[i] = headSeq + (tail>>posBits-headSeq)&seqMask
	}
	return p
}

// Reached says whether all that was accepted before a point is acknowledged or withdrawn;
// lost, whether a restart of the peer has withdrawn some of it since, or one before that
// has which the program has not done with.
func (s *Slot) Reached(p Point) (all, lost bool) {
	all = true
	// In this order: what is withdrawn counts as acknowledged once cut and Untold tell of it.
	for i := range p.claimed {
		all = all && s.lanes[i].headSeq.Load() >= p.claimed[i]
	}
	lost = s.Untold.Load() != 0
	for i := range p.claimed {
		now := s.lanes[i].cut.Load()
		// After two restarts nobody knows where the first began: what it took counts as before.
		again := now>>CutShift - p.cut[i]>>CutShift
		lost = lost || again > 1 || again == 1 && now&(1<<CutShift-1) < p.claimed[i]
	}
	return all, lost
}
