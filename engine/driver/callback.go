package driver

import (
	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

// Message is a message or an event as a Go program sees it.
type Message struct {
	Endpoint *Endpoint
	Event    endpoint.EventKind // 0: a message; else what happened, and the fields below but Code and Data mean nothing
	Code     endpoint.Code      // of an event
	Data     []byte             // the message, or an event's table of schema/event.fbs
	Lane     wire.Lane
	Channel  uint16
	// ID is what the sender's Send returned. With ManualAck the bits from
	// outbox.NumberBits on count the restarts of the peer.
	ID uint64
	// Unacked lists, of EventRestarted and EventClosed, the messages that were not
	// acknowledged and never will be, lane by lane in the order of their ids: as many as the
	// event's account has maybe delivered and never sent. They are the driver's again, with
	// their data, when the callback returns. Nil is empty, too.
	Unacked *endpoint.Remains
}

// batchSize is how many messages a callback gets at once.
const batchSize = 64

// callback is a Sink for Go programs.
type callback struct {
	receive func([]Message) int
	drop    func()
	batch   [batchSize]Message
}

// Callback returns a sink for one endpoint that calls receive with 1 to 64 messages
// and events, in order, on the endpoint's worker, never twice at once. receive
// returns how many it took: fewer pauses the endpoint, and the rest comes again
// after Resume, or with the EventWritable that follows a Send without room; a
// negative number closes the endpoint. The slice is the sink's again when receive
// returns, and so is the data in it, but for messages longer than wire.MaxPayload,
// which may be kept unless Options.Memory is set: that gets them back. Of the events,
// those of restarts and the end come also to a receiver that has paused. drop, if not
// nil, is called once after the last event.
func Callback(receive func([]Message) int, drop func()) Sink {
	return &callback{receive: receive, drop: drop}
}

func (c *callback) Run(e *Endpoint, r Run) (taken int) {
	ids := *r.First
	for taken < len(r.Frames) {
		n, at := 0, taken
		for n < batchSize && at < len(r.Frames) {
			h := wire.GetHeader(r.Frames[at:])
			start := at + wire.HeaderSize
			c.batch[n] = Message{Endpoint: e, Data: r.Frames[start : start+int(h.Size())], Lane: h.Lane(),
				Channel: h.Channel(), ID: ids[h.Lane()]}
			ids[h.Lane()]++
			at += h.FrameSize()
			n++
		}
		if e.debts != nil {
			e.giveBelow(&ids)
		}
		took := c.receive(c.batch[:n])
		if took < 0 {
			return -1
		}
		if took < n {
			for _, m := range c.batch[:took] {
				taken += wire.HeaderSize + wire.Padded(len(m.Data))
			}
			return taken
		}
		taken = at
	}
	return taken
}

func (c *callback) Long(e *Endpoint, m endpoint.Memory, lane wire.Lane, channel uint16, id uint64) bool {
	c.batch[0] = Message{Endpoint: e, Data: m.Bytes, Lane: lane, Channel: channel, ID: id}
	e.slot.Give(lane, id+1)
	took := c.receive(c.batch[:1])
	if took < 0 {
		e.Close(0)
	}
	if took != 0 {
		e.driver.options.Memory.Discard(m)
	}
	return took != 0
}

func (c *callback) Event(e *Endpoint, ev endpoint.Event) {
	c.batch[0] = Message{Endpoint: e, Event: ev.Kind, Code: ev.Code, Data: ev.Detail, Lane: ev.Lane,
		Unacked: ev.Remains}
	if c.receive(c.batch[:1]) < 0 {
		e.Close(0)
	}
	c.batch[0].Unacked = nil
}

func (c *callback) Queues() bool { return false }

func (c *callback) Gone() bool { return false }

func (c *callback) Drop() {
	if c.drop != nil {
		c.drop()
	}
}

// ErrAgain is what Send returns while there is no room.
var ErrAgain = outbox.ErrAgain
