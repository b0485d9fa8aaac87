package sim

import (
	"bytes"
	"slices"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
)

// Inbox holds what endpoints receive until the program pulls it, at its own time and
// in a thread of its own. It is one process's.
type Inbox struct {
	node  *Node
	items []Item
	armed bool // ready is to be called when something comes
	ready func()
}

// Item is a message or an event, in the order in which the endpoint received them.
type Item struct {
	From    *Endpoint
	Message Message // its Data is good until Release
	Event   *Event  // nil: it is a message
	given   *given
}

// given is a message that lies in an inbox, or with the program.
type given struct {
	message  Message
	released bool
}

// Inbox makes an inbox, to be named in Handlers. ready is called, as a thread of the
// process, when something has come since Next found nothing. Unlike a handler, it
// takes as much of that as it likes.
func (n *Node) Inbox(ready func()) *Inbox { return &Inbox{node: n, armed: true, ready: ready} }

// Next takes the first item. Where there is none, ready will be called.
func (in *Inbox) Next() (item Item, ok bool) {
	if n := in.node; n.slow && n.world.chance(slowShare) {
		in.armed = false
		n.Thread(time.Duration(n.world.rand.Int64N(slowest)), in.ready)
		return item, false
	}
	if len(in.items) == 0 {
		in.armed = true
		return item, false
	}
	item = in.items[0]
	in.items = in.items[1:]
	return item, true
}

// put adds an item.
func (in *Inbox) put(item Item) {
	in.items = append(in.items, item)
	if in.armed {
		in.armed = false
		in.node.Thread(0, in.ready)
	}
}

// Release gives a message back. Messages may be released in any order; they are
// acknowledged, unless Options.ManualAck has it otherwise, in the order in which they
// came, so that one which is kept holds up those behind it.
func (i Item) Release() {
	if g := i.given; g != nil && !g.released {
		g.released, g.message.Data = true, nil
		i.From.ready()
	}
}

// give puts a message into the endpoint's inbox.
func (e *Endpoint) give(m Message) {
	m.Data = slices.Clone(m.Data)
	g := &given{message: m}
	e.given = append(e.given, g)
	e.lent += m.size
	e.handler.Inbox.put(Item{From: e, Message: m, given: g})
}

// reckon tells the protocol of what the program has released without a gap.
func (e *Endpoint) reckon(now int64) {
	for len(e.given) > 0 && e.given[0].released {
		m := &e.given[0].message
		e.given = e.given[1:]
		e.lent -= m.size
		if !e.options.ManualAck {
			e.consumed(now, m)
		}
	}
}

// consumed tells the protocol, and the books, that the program is done with a message.
func (e *Endpoint) consumed(now int64, m *Message) {
	e.book.consumed(e, m.epoch, m.Lane, m.ID)
	e.core.Consumed(now, m.epoch, m.Lane, outbox.Count{Messages: 1, Bytes: outbox.Charge(m.size)})
}

// later says that a message is not consumed when the endpoint has handed it over.
func (e *Endpoint) later() bool { return e.options.ManualAck || e.handler.Inbox != nil }

// hear hands an event to the program.
func (e *Endpoint) hear(ev Event) {
	if !e.dialled && !e.up {
		return // nobody knows of it
	}
	if in := e.handler.Inbox; in != nil {
		if ev.Kind == endpoint.EventClosed {
			e.given, e.lent = nil, 0 // what the program holds is its own from now on
		}
		ev.Unacked = slices.Clone(ev.Unacked)
		for i := range ev.Unacked {
			ev.Unacked[i].Data = bytes.Clone(ev.Unacked[i].Data)
		}
		in.put(Item{From: e, Event: &ev})
	} else if e.handler.Event != nil {
		e.handler.Event(e, ev)
	}
}
