package outbox

import (
	"errors"

	"github.com/lyquor/lyquor/engine/wire"
)

// NumberBits is how many bits of a received message's id are its number in the lane.
// Where the program acknowledges by Ack, those above them count the restarts of the
// peer, so that an id of before a restart names nothing that came after it.
const NumberBits = 48

const numberMask = 1<<NumberBits - 1

// lane.done: generation | restarts | number behind the last message that the program is
// done with. The upper two have a byte each, and are the worker's to set: an exchange of
// whoever was late by a restart, or by a life of the slot, finds another word. It would
// be fooled by 256 of them in between.
func doneWord(generation uint32, id uint64) uint64 {
	return uint64(generation)<<56 | id&(1<<56-1)
}

// What Ack refuses.
var (
	// ErrNotManual: messages are acknowledged when the program was given them, or releases them.
	ErrNotManual = errors.New("outbox: the endpoint does not acknowledge by hand")
	// ErrNotGiven: the program was not given the message yet.
	ErrNotGiven = errors.New("outbox: the message was not given to the program")
)

// Listen begins to take the program's word on messages of a lane that have those
// restarts in their ids. What it says of others changes nothing.
func (s *Slot) Listen(generation uint32, lane wire.Lane, restarts uint32) {
	s.lanes[lane].await.Store(0)
	s.lanes[lane].done.Store(doneWord(generation, uint64(restarts)<<NumberBits))
}

// Give notes that the program is given the messages of a lane below id.
func (s *Slot) Give(lane wire.Lane, id uint64) { s.lanes[lane].given.Store(id) }

// Done returns the number behind the last message of a lane that the program is done
// with, of those that Listen is for.
func (s *Slot) Done(lane wire.Lane) uint64 { return s.lanes[lane].done.Load() & numberMask }

// AwaitAck has the worker told once the program is done with the messages of a lane before
// number, which is not 0; unless it is to be told of something sooner. Whoever calls it
// looks at Done after that.
func (s *Slot) AwaitAck(lane wire.Lane, number uint64) { s.lanes[lane].await.Store(number) }

// AwaitsAck says that the worker has still to be told of what AwaitAck is for.
func (s *Slot) AwaitsAck(lane wire.Lane) bool { return s.lanes[lane].await.Load() != 0 }

// Ack says that the program is done with the messages of a lane up to id. It may be
// called from any thread, in any order: what was acknowledged before stays so. If tell
// is true the slot is to be rung for.
func (s *Slot) Ack(h Handle, lane wire.Lane, id uint64) (tell bool, err error) {
	l := &s.lanes[lane]
	switch {
	case Handle(s.ID.Load()) != h:
		return false, ErrClosed
	case s.Manual.Load() == 0:
		return false, ErrNotManual
	case id >= l.given.Load():
		return false, ErrNotGiven
	}
	next := doneWord(h.Generation(), id+1)
	for {
		old := l.done.Load()
		if old>>NumberBits != next>>NumberBits || old >= next {
			return false, nil
		}
		if l.done.CompareAndSwap(old, next) {
			tell = s.Awaited.Load() != 0 && s.Awaited.Swap(0) != 0
			if number := l.await.Load(); number != 0 && id&numberMask >= number-1 {
				tell = l.await.Swap(0) != 0 || tell
			}
			return tell, nil
		}
	}
}
