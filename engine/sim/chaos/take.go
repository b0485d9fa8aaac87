package chaos

import (
	"time"

	"github.com/lyquor/lyquor/engine/sim"
)

// taker is the program that takes messages, in one life of its node.
type taker struct {
	run    *run
	node   *sim.Node
	lazy   int // messages of 1000 that it leaves for later
	expel  int // messages of 10000 upon which it closes
	manual bool
	event  func(*sim.Endpoint, sim.Event)
	inbox  *sim.Inbox
}

const (
	// slowest is how long a lazy program leaves a message lying at most.
	slowest = 500 * time.Millisecond
	// slowestDisk is what it takes at most until messages are acknowledged.
	slowestDisk = 5 * time.Millisecond
	// mostPulled is how many items are pulled at once, and longestPull how long the
	// program is busy with them, at most.
	mostPulled  = 16
	longestPull = 2 * time.Millisecond
)

// handler returns what endpoints are to call, or an inbox.
func (k *taker) handler(pull bool, event func(*sim.Endpoint, sim.Event)) sim.Handler {
	k.event = event
	if pull {
		k.inbox = k.node.Inbox(k.pull)
		return sim.Handler{Inbox: k.inbox}
	}
	return sim.Handler{Message: k.message, Event: event}
}

// busy draws how long something takes.
func (k *taker) busy(most time.Duration) time.Duration {
	return time.Duration(k.node.Rand().Int64N(int64(most)))
}

// puts says whether the program leaves a message for later.
func (k *taker) puts() bool { return !k.run.quiet && k.node.Rand().IntN(1000) < k.lazy }

// message takes messages, most at once.
func (k *taker) message(e *sim.Endpoint, m sim.Message) bool {
	if k.puts() {
		k.node.Timer(k.busy(slowest), e.Resume)
		return false
	}
	k.took(e, m)
	return true
}

// pull takes some of what is there. It gives most messages back at once, and others
// when it is done with them, in any order.
func (k *taker) pull() {
	for range 1 + k.node.Rand().IntN(mostPulled) {
		item, ok := k.inbox.Next()
		if !ok {
			return
		}
		switch {
		case item.Event != nil:
			if k.event != nil {
				k.event(item.From, *item.Event)
			}
			continue
		case k.puts():
			k.node.Thread(k.busy(slowest), item.Release)
		case k.node.Rand().IntN(4) == 0:
			k.node.Thread(k.busy(longestPull), item.Release)
		default:
			defer item.Release()
		}
		k.took(item.From, item.Message)
	}
	k.node.Thread(k.busy(longestPull), k.pull)
}

// took does what a program does with a message: it answers some, and acknowledges them
// later if that is its task.
func (k *taker) took(e *sim.Endpoint, m sim.Message) {
	r, n := k.run, k.node
	if k.manual {
		k.ackLater(e, m)
	}
	if !r.quiet && n.Rand().IntN(10_000) < k.expel {
		e.Close(linger(n))
	}
	// The first byte and the channel of a message say whether it wants an answer.
	if !r.quiet && len(m.Data) > 0 && int(m.Data[0])*1000/256 < int(m.Channel) {
		_, err := e.Send(m.Lane, 0, m.Data)
		r.mayFail(err)
	}
}

// linger draws how long an endpoint that is closed may take: for ever, not at all, or
// up to a second.
func linger(n *sim.Node) time.Duration {
	switch n.Rand().IntN(4) {
	case 0:
		return -1
	case 1:
		return 0
	}
	return time.Duration(n.Rand().Int64N(int64(time.Second)))
}

// ackLater acknowledges a message when a timer comes, with all that came meanwhile.
func (k *taker) ackLater(e *sim.Endpoint, m sim.Message) {
	unsaved := k.run.unsaved
	unsaved[e] = append(unsaved[e], m)
	if len(unsaved[e]) > 1 {
		return
	}
	k.node.Timer(k.busy(slowestDisk), func() {
		for _, m := range unsaved[e] {
			e.Ack(m)
		}
		delete(unsaved, e)
	})
}
