package sim

import (
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// pair is a node that dials and one that accepts, and what their programs saw.
type pair struct {
	t            *testing.T
	w            *World
	a, b         *Node
	e            *Endpoint // of a
	accepted     *Endpoint // of b, the latest
	got          int       // messages at b
	saw, heard   []endpoint.EventKind
	last         Event
	refuseOnce   bool
	dial, accept Options
}

func newPair(t *testing.T, c Config, change func(*pair)) *pair {
	t.Helper()
	p := &pair{t: t, w: newWorld(t, c)}
	p.dial.KeepAlive, p.accept.KeepAlive = time.Second, time.Second
	if change != nil {
		change(p)
	}
	p.b = p.w.Node("b", func(n *Node) {
		h := Handler{Message: func(e *Endpoint, m Message) bool {
			if p.refuseOnce {
				p.refuseOnce = false
				n.Timer(time.Second, e.Resume)
				return false
			}
			p.got++
			if p.accept.ManualAck {
				e.Ack(m)
			}
			return true
		}, Event: func(e *Endpoint, ev Event) {
			p.accepted = e
			p.heard = append(p.heard, ev.Kind)
		}}
		for _, addr := range []string{"b", "elsewhere"} {
			_, err := n.Listen(addr, p.accept, h)
			require.NoError(t, err)
		}
	})
	p.a = p.w.Node("a", func(n *Node) {
		var err error
		p.e, err = n.Dial("b", p.dial, Handler{Event: func(_ *Endpoint, ev Event) {
			p.saw = append(p.saw, ev.Kind)
			p.last = ev
		}})
		require.NoError(t, err)
	})
	require.NoError(t, p.w.Run(100*time.Millisecond))
	require.Equal(t, endpoint.Open, p.e.Phase())
	return p
}

// send sends one message of each lane.
func (p *pair) send(t *testing.T, size int) {
	t.Helper()
	for lane := range wire.Lane(wire.Lanes) {
		_, err := p.e.Send(lane, 0, make([]byte, size))
		require.NoError(t, err)
	}
}

// TestFaults: what each fault does to one link and its session, and that messages
// sent during it arrive, once, when it is over.
func TestFaults(t *testing.T) {
	up, down, restarted := endpoint.EventUp, endpoint.EventDown, endpoint.EventRestarted
	cases := map[string]struct {
		strike func(p *pair)
		lasts  time.Duration
		saw    []endpoint.EventKind // by the side that dialled
	}{
		"none":      {func(*pair) {}, 0, []endpoint.EventKind{up}},
		"reset":     {func(p *pair) { p.w.Reset(p.a, p.b) }, 0, []endpoint.EventKind{up, down, up}},
		"half-open": {func(p *pair) { p.w.HalfOpen(p.b, p.a) }, 0, []endpoint.EventKind{up, down, up}},
		"stall":     {func(p *pair) { p.w.Cut(p.a, p.b) }, time.Second, []endpoint.EventKind{up}},
		"partition": {func(p *pair) { p.w.Partition([]*Node{p.a}) }, 8 * time.Second,
			[]endpoint.EventKind{up, down, up}},
		"pause": {func(p *pair) { p.b.Pause() }, time.Second, []endpoint.EventKind{up}},
		"crash": {func(p *pair) { p.b.Crash(false) }, time.Second,
			[]endpoint.EventKind{up, down, restarted, up}},
		"dark": {func(p *pair) { p.b.Crash(true) }, 10 * time.Second,
			[]endpoint.EventKind{up, down, restarted, up}},
		"refused": {func(p *pair) {
			p.b.Refuse(true)
			p.w.Reset(p.a, p.b)
		}, 3 * time.Second, []endpoint.EventKind{up, down, up}},
		"deaf": {func(p *pair) { p.b.Deafen(true) }, 20 * time.Second, []endpoint.EventKind{up}},
		"slow": {func(p *pair) { p.b.Slow(true) }, time.Second, []endpoint.EventKind{up}},
		"switch": {func(p *pair) {
			require.NoError(p.t, p.e.Switch("elsewhere"))
		}, time.Second, []endpoint.EventKind{up, down, up}},
		"switch to where it is refused": {func(p *pair) {
			p.b.Refuse(true)
			require.NoError(p.t, p.e.Switch("elsewhere"))
		}, time.Second, []endpoint.EventKind{up, down, up}},
		"switch, and loss meanwhile": {func(p *pair) {
			p.b.Refuse(true)
			require.NoError(p.t, p.e.Switch("elsewhere"))
			p.w.plan(p.w.now+1e8, noteFault, func() { p.w.Reset(p.a, p.b) })
		}, time.Second, []endpoint.EventKind{up, down, up}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, Config{Seed: 11}, func(p *pair) { p.dial.OnRestart = endpoint.Resend })
			c.strike(p)
			p.send(t, 100_000)
			require.NoError(t, p.w.Run(p.w.Now()+c.lasts))
			p.w.Heal()
			p.b.Restart()
			require.NoError(t, p.w.Run(p.w.Now()+5*time.Second)) // for who tries again and again
			require.NoError(t, p.w.Settle(30*time.Second))
			require.Equal(t, wire.Lanes, p.got)
			require.Equal(t, c.saw, p.saw)
		})
	}
}

// TestAccounts: what was sent to a peer that is gone is reported, and an endpoint that
// closes at once says what became of its messages.
func TestAccounts(t *testing.T) {
	p := newPair(t, Config{Seed: 12}, nil)
	p.send(t, 10)
	require.NoError(t, p.w.Settle(time.Second))
	p.b.Crash(true)
	require.NoError(t, p.w.Run(p.w.Now()+time.Millisecond))
	p.send(t, 10)
	require.NoError(t, p.w.Run(p.w.Now()+10*time.Second))
	p.send(t, 10) // the link is known to be lost
	p.e.Close(0)
	require.NoError(t, p.w.Run(p.w.Now()+time.Second))
	require.Equal(t, endpoint.EventClosed, p.last.Kind)
	for _, lane := range p.last.Lanes {
		require.Equal(t, wire.LaneAccount{Accepted: 3, Acknowledged: 1, Maybe: 1, Never: 1}, lane)
	}
	_, err := p.e.Send(wire.Normal, 0, nil)
	require.ErrorIs(t, err, outbox.ErrClosed)
}

// TestHalfClose: ENDED comes behind the last message, and the other direction goes on.
func TestHalfClose(t *testing.T) {
	p := newPair(t, Config{Seed: 13}, func(p *pair) { p.accept.ManualAck = true })
	p.refuseOnce = true
	p.send(t, 200_000)
	p.e.End()
	p.w.Reset(p.a, p.b)
	require.NoError(t, p.w.Settle(10*time.Second))
	require.Equal(t, wire.Lanes, p.got)
	require.Equal(t, endpoint.EventEnded, p.heard[len(p.heard)-1])
	_, err := p.accepted.Send(wire.Normal, 0, []byte("still here"))
	require.NoError(t, err)
	require.NoError(t, p.w.Settle(10*time.Second))
}

// TestWritable: a full lane is refused, and told of when there is room.
func TestWritable(t *testing.T) {
	p := newPair(t, Config{Seed: 14}, nil)
	p.b.Pause()
	var err error
	for err == nil {
		_, err = p.e.Send(wire.Low, 0, make([]byte, 1000))
	}
	require.ErrorIs(t, err, outbox.ErrAgain)
	require.NotContains(t, p.saw, endpoint.EventWritable)
	p.b.Continue()
	require.NoError(t, p.w.Settle(10*time.Second))
	require.Contains(t, p.saw, endpoint.EventWritable)
}

// TestSchedule does by data what the methods do, and can be read.
func TestSchedule(t *testing.T) {
	p := newPair(t, Config{Seed: 15}, nil)
	faults := []Fault{
		{Kind: FaultStall, At: time.Second, For: 2 * time.Second, A: 0, B: 1},
		{Kind: FaultCrash, At: 5 * time.Second, For: time.Second, A: 0},
	}
	require.Equal(t, "at 1s stall 0 1 for 2s\nat 5s crash 0 for 1s", Schedule(faults))
	p.w.Schedule(faults)
	at := p.w.Now()
	for _, step := range []struct {
		after time.Duration
		cut   bool
		up    bool
	}{{1500 * time.Millisecond, true, true}, {4 * time.Second, false, true}, {5500 * time.Millisecond, false, false},
		{7 * time.Second, false, true}} {
		require.NoError(t, p.w.Run(at+step.after))
		require.Equal(t, step.cut, p.w.path(p.b, p.a).cut, "%v", step.after)
		require.Equal(t, step.up, p.b.Up(), "%v", step.after)
	}
}

// TestEarly: what was sent before the peer has answered arrives, once, though the first
// link is lost in the handshake.
func TestEarly(t *testing.T) {
	w := newWorld(t, Config{Seed: 16})
	got := make(map[*Endpoint]int)
	b := w.Node("b", func(n *Node) {
		_, err := n.Listen("b", Options{}, Handler{Message: func(e *Endpoint, _ Message) bool {
			got[e]++
			return true
		}})
		require.NoError(t, err)
	})
	var e *Endpoint
	a := w.Node("a", func(n *Node) {
		var err error
		e, err = n.Dial("b", Options{}, Handler{})
		require.NoError(t, err)
		for range 5 {
			_, err := e.Send(wire.Normal, 0, []byte("early"))
			require.NoError(t, err)
		}
	})
	for e == nil || e.Phase() == endpoint.Waiting {
		require.NoError(t, w.Run(w.Now()+10*time.Microsecond))
	}
	require.Equal(t, endpoint.Opening, e.Phase())
	w.Reset(a, b)
	require.NoError(t, w.Settle(10*time.Second))
	require.Equal(t, 5, got[e.partner()])
}
