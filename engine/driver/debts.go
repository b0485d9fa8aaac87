package driver

import (
	"math"

	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

// debts are the messages that a program was given and has not acknowledged by Ack: how
// large they are, by which they count in the peer's credit. Their bytes may be gone.
type debts struct {
	epoch uint32
	lanes [wire.Lanes]debtLane
}

// debtLane holds the debts of one lane, in order; those before at are paid.
type debtLane struct {
	list []debt
	at   int
	owed uint64 // by those that are not paid, in bytes
}

// debt is a number of messages of one size that follow each other. A list takes no more than
// twice the bytes of the window: a message counts 8 of them at least.
type debt struct {
	first uint64 // number of the first
	count uint32
	each  uint32 // what one counts, in bytes
}

func (l *debtLane) add(number, charge uint64) {
	l.owed += charge
	if n := len(l.list) - 1; n >= l.at {
		if d := &l.list[n]; uint64(d.each) == charge && d.first+uint64(d.count) == number {
			d.count++
			return
		}
	}
	if l.at > 0 && len(l.list) == cap(l.list) {
		n := copy(l.list, l.list[l.at:])
		l.list, l.at = l.list[:n], 0
	}
	l.list = append(l.list, debt{number, 1, uint32(charge)})
}

// pay takes the messages with numbers below number off.
func (l *debtLane) pay(number uint64) (paid outbox.Count) {
	defer func() { l.owed -= paid.Bytes }()
	for l.at < len(l.list) {
		d := &l.list[l.at]
		if d.first >= number {
			return paid
		}
		n := min(number-d.first, uint64(d.count))
		paid.Messages += n
		paid.Bytes += n * uint64(d.each)
		d.first += n
		if d.count -= uint32(n); d.count > 0 {
			return paid
		}
		l.at++
	}
	l.list, l.at = l.list[:0], 0
	return paid
}

// after returns the number behind the message with which so many bytes are paid; false if
// all together are less.
func (l *debtLane) after(bytes uint64) (number uint64, ok bool) {
	if l.owed == 0 || l.owed < bytes {
		return 0, false
	}
	d := &l.list[l.at]
	for i := l.at + 1; bytes > uint64(d.each)*uint64(d.count); i++ {
		bytes -= uint64(d.each) * uint64(d.count)
		d = &l.list[i]
	}
	each := uint64(d.each)
	return d.first + (bytes+each-1)/each, true
}

// turnTo turns to the messages of another epoch. Nobody waits any more for what the
// program says of those before; what counts of them is whether they are held.
func (e *Endpoint) turnTo(now int64, epoch uint32) {
	d := e.debts
	if epoch <= d.epoch {
		return
	}
	for i := range wire.Lane(wire.Lanes) {
		if paid := d.lanes[i].pay(math.MaxUint64); paid.Messages > 0 {
			e.core.Consumed(now, d.epoch, i, paid)
		}
		e.slot.Listen(e.handle.Generation(), i, epoch)
	}
	*d = debts{epoch: epoch}
}

// hoards says that an inbox, and the program, hold more than the windows of all lanes of
// what peers sent of whom some have restarted: each has windows of its own.
func (e *Endpoint) hoards() bool {
	return e.debts != nil && e.debts.epoch > 0 && e.queues() && e.held() > wire.Lanes*int64(e.window)
}

// restarts returns what ids have above their numbers in an epoch.
func restarts(epoch uint32) uint64 { return uint64(epoch) << outbox.NumberBits }

// owe notes that the program was given a run of an epoch, which begins with those numbers.
func (e *Endpoint) owe(epoch uint32, frames []byte, numbers [wire.Lanes]uint64) {
	for len(frames) > 0 {
		h := wire.GetHeader(frames)
		size := h.FrameSize()
		e.oweOne(epoch, h.Lane(), numbers[h.Lane()], uint64(size))
		numbers[h.Lane()]++
		frames = frames[size:]
	}
}

func (e *Endpoint) oweOne(epoch uint32, lane wire.Lane, number, charge uint64) {
	if epoch == e.debts.epoch {
		e.debts.lanes[lane].add(number, charge)
	} else {
		e.core.Consumed(e.worker.now, epoch, lane, outbox.Count{Messages: 1, Bytes: charge})
	}
}

// giveBelow notes that the program is given what lies below those ids.
func (e *Endpoint) giveBelow(ids *[wire.Lanes]uint64) {
	for lane, id := range ids {
		e.slot.Give(wire.Lane(lane), id)
	}
}

// collect tells the core of what the program has acknowledged, and asks to be told of
// more.
func (e *Endpoint) collect(now int64) {
	switch {
	case !e.collectOnce(now):
	case e.acknowledges():
		if e.awaitAcks() { // else it looks again when the acknowledgement goes out
			e.collectOnce(now)
		}
	case e.slot.Awaited.Swap(outbox.AwaitAny) != 0: // it is told already
	case !e.collectOnce(now):
		e.slot.Awaited.Store(0)
	}
}

// awaitAcks asks to be told when the program has acknowledged so much that an ACK is due
// which is put off. It says whether there is a lane in which it did not wait for that yet.
func (e *Endpoint) awaitAcks() (asked bool) {
	for i := range wire.Lane(wire.Lanes) {
		if e.slot.AwaitsAck(i) {
			continue
		}
		if bytes, due := e.core.UntilAck(i); due {
			if number, ok := e.debts.lanes[i].after(bytes); ok && number > 0 {
				e.slot.AwaitAck(i, number)
				asked = true
			}
		}
	}
	return asked
}

// collectOnce says whether the program is not done with everything.
func (e *Endpoint) collectOnce(now int64) (owing bool) {
	owing = e.hoards() // it is read again when enough is released
	for i := range wire.Lane(wire.Lanes) {
		l := &e.debts.lanes[i]
		if l.at == len(l.list) {
			continue
		}
		if paid := l.pay(e.slot.Done(i)); paid.Messages > 0 {
			e.core.Consumed(now, e.debts.epoch, i, paid)
		}
		owing = owing || l.at < len(l.list)
	}
	return owing
}

// Ack says that the program is done with all messages of a lane up to the one with that
// id: it was given them, and they may be acknowledged to the peer. Only where
// EndpointOptions.ManualAck is set. What was acknowledged before stays so, and ids of
// before a restart of the peer change nothing.
func (e *Endpoint) Ack(lane wire.Lane, id uint64) error {
	err := error(ErrClosed)
	e.lease.use(func() {
		var tell bool
		if tell, err = e.slot.Ack(e.handle, lane, id); tell {
			e.ring()
		}
	})
	return err
}
