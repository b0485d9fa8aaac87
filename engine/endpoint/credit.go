package endpoint

import (
	"fmt"

	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

const (
	// firstCredit is what a lane may send before the peer's HELLO tells its window: no
	// endpoint has a smaller one.
	firstCredit = MinWindow
	// firstWindow is what a lane's window begins with, in bytes, unless its cap is less.
	firstWindow = wire.DefaultWindow
	// MinWindow is the smallest window, in bytes: one frame.
	MinWindow = 64 << 10
	// maxWindow bounds what is believed of a peer, so that sums cannot overflow.
	maxWindow = 1 << 40
	// ackDelay is how long what was consumed may stay untold, in nanoseconds. It bounds
	// how long the sender keeps what it need not. A sender that waits for an ACK does not
	// wait for this: it pings. So it may be long, and a thousand endpoints with a little
	// traffic each do not pay for an ACK every few milliseconds.
	ackDelay = 100e6
	// ackShare is the part of a small window that is told at once when it was consumed,
	// ackBytes the most of it, for a sender's log is often shorter than the window; and
	// ackLarge the part of a large one: each ACK costs both sides a system call.
	ackShare = 4
	ackBytes = 64 << 10
	ackLarge = 64
)

// acks is what this side tells the peer of consumption.
type acks struct {
	limit [wire.Lanes]uint64 // where the window ends that the peer was told of
	now   bool               // an ACK is due
	eager bool               // the peer waits for the acknowledgement of all that it has sent
	by    int64              // when one is due; 0: nothing is untold
}

// took notes that the receiver took messages: they are consumed with that, unless the
// owner has it otherwise.
func (e *Endpoint) took(lane wire.Lane, n outbox.Count) {
	switch {
	case e.config.Later || n.Messages == 0:
	case e.behind != 0:
		e.receive.stale -= n.Bytes
	default:
		e.consume(lane, n)
	}
}

// SetLater changes Config.Later, before anything was delivered.
func (e *Endpoint) SetLater(later bool) { e.config.Later = later }

// NoCredit says that a message may not start in a lane: the peer has to consume what it
// was sent first.
func (e *Endpoint) NoCredit(lane wire.Lane) bool {
	return e.send.limit[lane] <= e.send.lanes[lane].Taken().Bytes
}

// AckPending says that Expire, or the next Gather, will tell the peer of what was
// consumed.
func (e *Endpoint) AckPending() bool { return e.acks.now || e.acks.by != 0 }

// UntilAck returns how many bytes more of a lane the program has to consume before an ACK is
// due that is now put off; false if it goes out at once, or if not as many are there.
func (e *Endpoint) UntilAck(lane wire.Lane) (bytes uint64, ok bool) {
	if e.acks.now || e.acks.by == 0 {
		return 0, false
	}
	in := &e.receive.lanes[lane]
	told := in.consumed.Bytes + e.Window(lane) - e.acks.limit[lane]
	lacks := e.ackAt(lane) - min(told, e.ackAt(lane))
	if lacks > in.bytes-in.consumed.Bytes {
		return 0, false
	}
	return lacks, true
}

// ackAt is how much of what is consumed is told at once.
func (e *Endpoint) ackAt(lane wire.Lane) uint64 {
	window := e.Window(lane)
	return min(window/ackShare, max(ackBytes, window/ackLarge))
}

// AckDue says that an ACK waits for nothing but the link.
func (e *Endpoint) AckDue() bool { return e.acks.now && e.phase == Open && !e.parting }

// Epoch counts how often the peer restarted: the acknowledgement of what came before
// means nothing to it. While the receiver is given what had waited since before a
// restart, it is an earlier one.
func (e *Endpoint) Epoch() uint32 { return e.epoch - e.behind }

// Heard says whether the peer ever sent something in a lane.
func (e *Endpoint) Heard(lane wire.Lane) bool { return e.receive.heard.has(lane) }

// Held returns what was received, or begun, and the program is not done with, in bytes as
// flow control counts them; also of peers that have restarted since.
func (e *Endpoint) Held() uint64 {
	bytes := e.receive.stale
	for i := range e.receive.lanes {
		in := &e.receive.lanes[i]
		bytes += in.bytes - in.consumed.Bytes
	}
	return bytes
}

// Consumed says that the program is done with so many messages more of a lane, in
// order, that were received in an epoch; only where Config.Later has it that way.
func (e *Endpoint) Consumed(now int64, epoch uint32, lane wire.Lane, n outbox.Count) {
	e.now = now
	switch {
	case e.phase == Closed:
	case epoch == e.epoch:
		e.consume(lane, n)
	default:
		e.receive.stale -= n.Bytes
	}
}

// unconsumed returns the bytes of messages that were received whole and not consumed.
func (e *Endpoint) unconsumed() (bytes uint64) {
	for i := range e.receive.lanes {
		in := &e.receive.lanes[i]
		bytes += in.bytes - in.consumed.Bytes
		if in.assembly != nil {
			bytes -= outbox.Charge(len(in.assembly.memory.Bytes))
		}
	}
	return bytes
}

// Swamped says that more than a window is held of what peers sent that have restarted
// since. The windows do not bound that: each new peer has its own. So the owner reads
// nothing from the present one, behind its HELLO, until the program has taken some.
func (e *Endpoint) Swamped() bool { return e.receive.stale > e.config.Window }

func (e *Endpoint) consume(lane wire.Lane, n outbox.Count) {
	in := &e.receive.lanes[lane]
	c := &in.consumed
	c.Messages += n.Messages
	c.Bytes += n.Bytes
	for len(in.skips) != 0 && in.skips[0].at <= c.Messages {
		c.Messages += in.skips[0].count
		in.skips = in.skips[1:]
	}
	e.widen(lane)
	if c.Bytes+e.Window(lane)-e.acks.limit[lane] >= e.ackAt(lane) || e.acks.eager {
		e.acks.now = true
		if e.acks.eager {
			e.calm()
		}
	} else if e.acks.by == 0 && (e.phase == Open || e.phase == Opening) {
		// HELLO may be written already, and this is not in it.
		e.acks.by = e.now + ackDelay
	}
}

// hurry tells the peer at once of what was consumed, and of the rest of what it has sent
// as soon as that is.
func (e *Endpoint) hurry() {
	if e.acks.by != 0 {
		e.acks.now, e.acks.by = true, 0
	}
	e.acks.eager = true
	e.calm()
}

// calm ends the hurry once all is consumed.
func (e *Endpoint) calm() {
	for i := range e.receive.lanes {
		if in := &e.receive.lanes[i]; in.consumed.Messages != in.next {
			return
		}
	}
	e.acks.eager = false
}

// AskForAck has the peer hurry with its acknowledgements, once for what was sent by now.
// It returns whether there is something to be written for that.
func (e *Endpoint) AskForAck(now int64) bool {
	var sent uint64
	for i := range e.send.lanes {
		sent += e.send.lanes[i].Taken().Messages
	}
	if e.phase != Open || e.send.asked == sent || e.Acked() {
		return false
	}
	e.now, e.send.asked = now, sent
	e.Ping()
	return true
}

// appendAck queues an ACK of what was consumed.
func (e *Endpoint) appendAck() {
	var a wire.Ack
	for i := range a.Lanes {
		a.Lanes[i] = e.tell(i)
	}
	e.acks.now, e.acks.by = false, 0
	e.send.control.frames = wire.AppendAck(e.send.control.frames, a)
}

// tell returns a lane's credit, and notes that the peer gets to know it.
func (e *Endpoint) tell(lane int) wire.Credit {
	c := e.receive.lanes[lane].consumed
	window := e.Window(wire.Lane(lane))
	e.acks.limit[lane] = c.Bytes + window
	return wire.Credit{Consumed: c.Messages, Window: window}
}

// receiveAck frees what the peer has consumed.
func (e *Endpoint) receiveAck(payload []byte) error {
	a, err := wire.ParseAck(payload)
	if err != nil {
		return err
	}
	for i, c := range a.Lanes {
		if err := e.acknowledged(wire.Lane(i), c); err != nil {
			return err
		}
	}
	return nil
}

func (e *Endpoint) acknowledged(lane wire.Lane, c wire.Credit) error {
	r := &e.send.lanes[lane]
	// Messages that were withdrawn are not waited for, and a peer may yet speak of them.
	if c.Consumed >= r.Acked().Messages && !r.Acknowledge(c.Consumed, e.config.Release) {
		return fmt.Errorf("ACK of %d messages in lane %v; %d were sent", c.Consumed, lane, r.Taken().Messages)
	}
	if c.Consumed == r.Acked().Messages {
		e.send.base[lane] = c.Consumed
		e.send.limit[lane] = max(e.send.limit[lane], r.Acked().Bytes+min(c.Window, maxWindow))
	}
	return nil
}

// Acked says whether the peer has consumed everything that was accepted.
func (e *Endpoint) Acked() bool {
	for i := range e.send.lanes {
		if r := &e.send.lanes[i]; r.Acked().Messages != r.Accepted() {
			return false
		}
	}
	return true
}
