package driver

import (
	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
)

// flush is what the program wants to be told of by EventAcked.
type flush struct {
	upto  outbox.Point
	again bool // it has asked once more since
}

// AskFlush is Flush for who does not wait: the sink gets EventAcked once the peer has consumed
// every message that was accepted before the call, with Reset as code where Flush returns
// ErrReset. If the endpoint ends before, EventClosed comes instead. A call that is made
// before the event of an earlier one has come gets another behind that, which several such
// calls may share.
func (e *Endpoint) AskFlush() { e.lease.use(func() { e.command(outbox.CommandFlush) }) }

// askFlush is for outbox.CommandFlush.
func (e *Endpoint) askFlush() {
	if e.flush != nil {
		e.flush.again = true
		return
	}
	e.flush = &flush{upto: e.slot.Point()}
}

// tellFlush tells the program that all is acknowledged which was accepted when it asked, or
// that a restart of the peer has made that vain.
func (e *Endpoint) tellFlush() {
	for e.flush != nil && e.core.Phase() < endpoint.Closed {
		all, lost := e.slot.Reached(e.flush.upto)
		if !all && !lost {
			return
		}
		ev := endpoint.Event{Kind: endpoint.EventAcked}
		if lost {
			ev.Code = endpoint.Reset
		}
		again := e.flush.again
		e.flush = nil
		if again {
			e.askFlush()
		}
		e.event(ev)
	}
}
