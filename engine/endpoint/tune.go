package endpoint

import "github.com/lyquor/lyquor/engine/wire"

// Windows and outboxes begin small and grow on evidence, to about twice what is on its
// way when a lane runs as fast as it can. The receiver has the evidence, because it sees
// how much its program consumes in a round trip; the sender follows the windows that it
// is told.

// maxWindowSize bounds windows, in bytes, whatever their cap.
const maxWindowSize = 1 << 30

// rounds are what shows whether windows are too small. An endpoint that rests has none: it
// begins anew, with what a round trip takes by then.
type rounds struct {
	trip int64 // the shortest round trip that was seen; 0: none was
	lane [wire.Lanes]round
}

// round is a time of at least a round trip in which a lane is looked at.
type round struct {
	from  uint64 // bytes consumed when it began
	since int64  // when that was; 0: nothing was consumed yet
}

// roundMin is how long consumption is looked at where round trips are shorter, in
// nanoseconds: what had gathered in a socket is consumed much faster than it comes.
const roundMin = 10e6

// widen doubles a lane's window, up to its cap and what the driver can spare, if more than
// half of it is consumed in the time of a round trip. That is what the program and the link
// can do together: a program that consumes slowly does not get there. The round trip is the
// shortest that was seen, for what waits in queues on the way is no reason to send more.
// If nearly all of it is consumed, the window becomes four times as large: what a window
// allows comes a round trip later, so that every second one shows nothing new.
func (e *Endpoint) widen(lane wire.Lane) {
	size, consumed := e.Window(lane), e.receive.lanes[lane].consumed.Bytes
	if size == e.config.Window {
		return
	}
	if e.rounds == nil {
		e.rounds = new(rounds)
	}
	trip, r := e.rounds.trip, &e.rounds.lane[lane]
	if r.since == 0 {
		*r = round{consumed, e.now}
	}
	if trip == 0 {
		if consumed-r.from >= size/4 {
			e.measure()
		}
		return
	}
	took := e.now - r.since
	if took < max(trip, roundMin) {
		return
	}
	most := float64(consumed-r.from) * float64(trip) / float64(took)
	*r = round{consumed, e.now}
	switch {
	case most >= float64(size-size/8) && e.enlarge(lane, 4*size):
	case most >= float64(size/2) && e.enlarge(lane, 2*size):
	default:
		return
	}
	e.acks.now = true
	e.measure()
}

// enlarge makes a lane's window as large as that, or as its cap, if memory allows it.
func (e *Endpoint) enlarge(lane wire.Lane, size uint64) bool {
	size = min(size, e.config.Window)
	if !e.config.Table.Grant(e.config.Slot, size-e.Window(lane)) {
		return false
	}
	e.windows[lane] = uint32(size)
	return true
}

// narrow gives back what windows had grown by: no peer will use them.
func (e *Endpoint) narrow() {
	first := min(firstWindow, e.config.Window)
	for i, size := range e.windows {
		e.config.Table.Ungrant(e.config.Slot, uint64(size)-first)
		e.windows[i] = uint32(first)
	}
}

// measure finds out what a round trip takes, unless that is under way.
func (e *Endpoint) measure() {
	if e.pingSent == 0 && e.phase == Open {
		e.Ping()
	}
}

// measured notes a round trip.
func (e *Endpoint) measured(took int64) {
	e.rtt = took
	if r := e.rounds; r != nil && (r.trip == 0 || took < r.trip) {
		r.trip = max(took, 1)
	}
}

// MakeRoom says whether a sender to the lane that was refused should try again. If all
// that the lane holds is on its way, and the peer would take more, its limit is what keeps
// the link waiting: then it grows.
func (e *Endpoint) MakeRoom(lane wire.Lane) bool {
	r := &e.send.lanes[lane]
	for !r.HasRoom() {
		if queued, _ := r.Queued(); queued != 0 || e.phase != Open || e.NoCredit(lane) || !r.Grow() {
			return false
		}
	}
	return true
}
