package sim

import (
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// TestBreaches: each breach of the promise is noticed, named with its seed, and ends
// the run. The engine commits none, so the test does in its place.
func TestBreaches(t *testing.T) {
	message := func(id uint64, text string) Message {
		return Message{Lane: wire.Normal, Channel: 5, ID: id, Data: []byte(text)}
	}
	cases := map[string]struct {
		breach func(sender, receiver *Endpoint)
		want   string
	}{
		"never sent": {func(_, r *Endpoint) { r.take(message(2, "two")) }, "message NORMAL/2, but 2 were sent"},
		"twice": {func(_, r *Endpoint) {
			r.take(message(0, "zero"))
		}, "message NORMAL/0 again; 2 is next"},
		"a gap": {func(s, r *Endpoint) {
			_, err := s.Send(wire.Urgent, 5, nil)
			require.NoError(t, err)
			r.take(Message{Lane: wire.Urgent, Channel: 5, ID: 1})
		}, "message URGENT/1, but 0 is missing"},
		"altered": {func(s, r *Endpoint) {
			_, err := s.Send(wire.Low, 5, []byte("abc"))
			require.NoError(t, err)
			r.take(Message{Lane: wire.Low, Channel: 5, Data: []byte("abd")})
		}, "message LOW/0 is not as it was sent"},
		"another channel": {func(s, r *Endpoint) {
			_, err := s.Send(wire.Low, 5, []byte("abc"))
			require.NoError(t, err)
			r.take(Message{Lane: wire.Low, Channel: 6, Data: []byte("abc")})
		}, "message LOW/0 is not as it was sent"},
		"acknowledged, not consumed": {func(s, _ *Endpoint) {
			s.book.audit(s, 0, 0, &wire.LaneAccount{Accepted: 2, Acknowledged: 2})
			s.book.acknowledged(s, &s.book.sessions[0], 1, 1)
		}, "message URGENT/0 is acknowledged; 0 are consumed"},
		"delivered, not sent": {func(s, _ *Endpoint) {
			s.book.audit(s, 0, 0, &wire.LaneAccount{Accepted: 2, Acknowledged: 1, Never: 1})
		}, "was delivered; the account says never sent"},
		"a sum": {func(s, _ *Endpoint) {
			s.book.audit(s, 0, 0, &wire.LaneAccount{Accepted: 2, Acknowledged: 1})
		}, "the sum of"},
		"up twice": {func(s, _ *Endpoint) { s.tell(Event{Kind: endpoint.EventUp}) }, "UP or DOWN twice"},
		"ended, unasked": {func(_, r *Endpoint) { r.tell(Event{Kind: endpoint.EventEnded}) },
			"ENDED, but the peer has not said so"},
		"protocol": {func(s, _ *Endpoint) {
			s.tell(Event{Kind: endpoint.EventClosed, Code: endpoint.Protocol, Text: "FRAG out of place"})
		}, "closed with -20: FRAG out of place"},
		"memory": {func(s, _ *Endpoint) { s.held = 100 << 20; s.book.look(s) }, "bytes wait for the program"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w, s, r := twoMessages(t)
			c.breach(s, r)
			err := w.Run(w.Now() + time.Second)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "seed 21")
			require.Equal(t, err, w.Run(w.Now()+time.Second), "nothing runs on")
			require.Equal(t, err, w.Close())
		})
	}
}

// twoMessages returns two endpoints of which one has sent the other two messages.
func twoMessages(t *testing.T) (w *World, sender, receiver *Endpoint) {
	w, err := New(Config{Seed: 21})
	require.NoError(t, err)
	w.Node("r", func(n *Node) {
		_, err := n.Listen("r", Options{}, Handler{Event: func(e *Endpoint, _ Event) { receiver = e }})
		require.NoError(t, err)
	})
	w.Node("s", func(n *Node) {
		sender, err = n.Dial("r", Options{}, Handler{})
		require.NoError(t, err)
		for _, text := range [...]string{"zero", "one"} {
			_, err := sender.Send(wire.Normal, 5, []byte(text))
			require.NoError(t, err)
		}
	})
	require.NoError(t, w.Settle(time.Second))
	return w, sender, receiver
}

// TestNotSettled: what does not come to rest in time is an error that says why.
func TestNotSettled(t *testing.T) {
	w, err := New(Config{Seed: 22})
	require.NoError(t, err)
	w.Node("a", func(n *Node) {
		_, err := n.Dial("nowhere", Options{}, Handler{})
		require.NoError(t, err)
	})
	require.ErrorContains(t, w.Settle(time.Second), "not settled after 1s: a->nowhere: not open")
	require.Error(t, w.Close())
}

// TestLiveLock: a program that goes on for ever without time going by is stopped.
func TestLiveLock(t *testing.T) {
	w, err := New(Config{Seed: 23})
	require.NoError(t, err)
	var again func()
	again = func() { w.After(0, again) }
	again()
	require.ErrorContains(t, w.Run(time.Second), "events at one moment")
}

// TestPrune: long conversations are forgotten as far as they are acknowledged.
func TestPrune(t *testing.T) {
	p := newPair(t, Config{Seed: 24}, nil)
	for range 30 {
		for range 500 {
			_, err := p.e.Send(wire.Normal, 0, []byte("x"))
			require.NoError(t, err)
		}
		require.NoError(t, p.w.Settle(time.Second))
	}
	require.Equal(t, 15_000, p.got)
	require.Less(t, len(p.e.book.outs[0].records), 2*pruneAt)
}
