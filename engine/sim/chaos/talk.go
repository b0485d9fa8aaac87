package chaos

import (
	"errors"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/sim"
	"github.com/lyquor/lyquor/engine/wire"
)

// run is what the programs of a plan share: what survives their crashes.
type run struct {
	plan  *Plan
	world *sim.World
	left  []int // messages to be sent, by flow
	// unsaved is what endpoints have taken and not acknowledged.
	unsaved map[*sim.Endpoint][]sim.Message
	quiet   bool // nobody sends any more
}

// names are the nodes', and the addresses at which they listen; each listens at another, too.
var names = [maxNodes]string{"ant", "bee", "cat", "dog", "elk"}

// other returns a node's other address.
func other(addr string) string { return addr + " by sea" }

// boot is the program of a node.
func (r *run) boot(n *sim.Node, index int) {
	lazy := 0
	for i := range r.plan.Flows {
		lazy = max(lazy, r.plan.Flows[i].Lazy)
	}
	k := &taker{run: r, node: n, lazy: lazy, expel: r.plan.Expel, manual: r.plan.Accept.ManualAck}
	h := k.handler(r.plan.Pull, nil)
	for _, addr := range []string{n.Name(), other(n.Name())} {
		if _, err := n.Listen(addr, r.plan.Accept, h); err != nil {
			panic(err)
		}
	}
	for i := range r.plan.Flows {
		if f := &r.plan.Flows[i]; f.From == index {
			t := &talker{run: r, node: n, flow: f, left: &r.left[i]}
			t.dial()
		}
	}
}

// mayFail allows what may well happen to a Send.
func (r *run) mayFail(err error) {
	if err != nil && !errors.Is(err, outbox.ErrAgain) && !errors.Is(err, outbox.ErrClosed) {
		panic(err)
	}
}

// talker is the program of a flow, in one life of its node.
type talker struct {
	run  *run
	node *sim.Node
	flow *Flow
	left *int
	e    *sim.Endpoint
	away bool // it has gone to the peer's other address
	gone bool // it has asked to close
}

func (t *talker) dial() {
	k := &taker{run: t.run, node: t.node, lazy: t.flow.Lazy, manual: t.flow.Options.ManualAck}
	h := k.handler(t.flow.Pull, t.event)
	t.gone, t.away = false, false
	var err error
	if t.e, err = t.node.Dial(names[t.flow.To], t.flow.Options, h); err != nil {
		panic(err)
	}
	e := t.e
	if t.flow.Early {
		t.talk(e)
		return
	}
	t.later(func() { t.talk(e) })
}

// later goes on after a pause.
func (t *talker) later(do func()) {
	pause := time.Duration(t.node.Rand().Int64N(int64(t.flow.Pause)))
	if t.flow.Threads {
		t.node.Thread(pause, do)
	} else {
		t.node.Timer(pause, do)
	}
}

func (t *talker) event(e *sim.Endpoint, ev sim.Event) {
	switch ev.Kind {
	case endpoint.EventWritable:
		t.send(e)
	case endpoint.EventClosed:
		if !t.run.quiet {
			t.later(t.dial)
		}
	}
}

// talk sends a burst and plans the next, until all is sent.
func (t *talker) talk(e *sim.Endpoint) {
	if e != t.e || t.gone || t.run.quiet {
		return
	}
	for range 1 + t.node.Rand().IntN(t.flow.Burst) {
		t.send(e)
	}
	t.roam(e)
	switch r := t.node.Rand(); {
	case *t.left == 0 && t.flow.End:
		e.End()
	case r.IntN(1000) < t.flow.Leave:
		t.gone = true
		e.Close(linger(t.node))
	case *t.left > 0 || t.flow.Leave > 0:
		t.later(func() { t.talk(e) })
	}
}

// roam goes to the peer's other address now and then, and back.
func (t *talker) roam(e *sim.Endpoint) {
	if t.flow.Switch == 0 || t.node.Rand().IntN(1000) >= t.flow.Switch {
		return
	}
	t.away = !t.away
	addr := names[t.flow.To]
	if t.away {
		addr = other(addr)
	}
	if err := e.Switch(addr); err != nil {
		panic(err)
	}
}

// send sends one message, if there is any left and room for it.
func (t *talker) send(e *sim.Endpoint) {
	if *t.left == 0 || t.run.quiet {
		return
	}
	r := t.node.Rand()
	data := make([]byte, t.size())
	for i := 0; i < len(data); i += 1 + i/8 {
		data[i] = byte(r.Uint32())
	}
	lane, channel, err := wire.Lane(r.IntN(wire.Lanes)), uint16(t.flow.Echo), error(nil)
	if r.IntN(1000) < t.flow.Mortal {
		_, err = e.SendTTL(lane, channel, data, 1+time.Duration(r.Int64N(int64(longestLife))))
	} else {
		_, err = e.Send(lane, channel, data)
	}
	t.run.mayFail(err)
	if err == nil {
		*t.left--
	}
}

// longestLife is the longest time to live.
const longestLife = 200 * time.Millisecond

// size draws the size of a message: mostly small.
func (t *talker) size() int {
	r := t.node.Rand()
	if r.IntN(1000) < t.flow.Big {
		return r.IntN(wire.DefaultMaxMessage + 1)
	}
	switch r.IntN(10) {
	case 0:
		return r.IntN(40 << 10)
	case 1, 2:
		return r.IntN(4 << 10)
	}
	return r.IntN(200)
}
