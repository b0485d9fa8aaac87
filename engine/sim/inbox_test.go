package sim

import (
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// TestInbox: messages and events come in order; what is released behind a message that
// is kept is acknowledged with it, and not before.
func TestInbox(t *testing.T) {
	w := newWorld(t, Config{Seed: 41})
	var in *Inbox
	var kept []Item
	readies, events := 0, []endpoint.EventKind(nil)
	w.Node("b", func(n *Node) {
		in = n.Inbox(func() {
			readies++
			for item, ok := in.Next(); ok; item, ok = in.Next() {
				if item.Event != nil {
					events = append(events, item.Event.Kind)
				} else {
					kept = append(kept, item)
				}
			}
		})
		_, err := n.Listen("b", Options{KeepAlive: time.Second}, Handler{Inbox: in})
		require.NoError(t, err)
	})
	var e *Endpoint
	w.Node("a", func(n *Node) {
		var err error
		e, err = n.Dial("b", Options{}, Handler{})
		require.NoError(t, err)
		for i := range byte(3) {
			_, err := e.Send(wire.Normal, 0, []byte{i})
			require.NoError(t, err)
		}
		_, err = e.Send(wire.Normal, 0, make([]byte, 100_000))
		require.NoError(t, err)
	})
	require.NoError(t, w.Run(time.Second))
	require.Len(t, kept, 4)
	require.Equal(t, []byte{2}, kept[2].Message.Data)
	require.Equal(t, []endpoint.EventKind{endpoint.EventUp}, events)
	require.Positive(t, readies)
	acknowledged := func() uint64 { return e.Lane(wire.Normal).Acknowledged }
	for _, step := range []struct{ release, want uint64 }{{2, 0}, {0, 1}, {3, 1}, {1, 4}} {
		kept[step.release].Release()
		kept[step.release].Release() // once is enough
		require.NoError(t, w.Run(w.Now()+time.Second))
		require.Equal(t, step.want, acknowledged())
	}
	e.Close(-1)
	require.NoError(t, w.Run(w.Now()+time.Second))
	require.Equal(t, endpoint.EventClosed, events[len(events)-1])
	kept[0].Release() // of an endpoint that has ended
}

// TestThread: what a thread of the process sends wakes the worker, and a thread stands
// still with its process, and ends with it.
func TestThread(t *testing.T) {
	p := newPair(t, Config{Seed: 42}, nil)
	require.NoError(t, p.w.Run(time.Second))
	p.a.Thread(time.Millisecond, func() { p.send(t, 10) })
	require.NoError(t, p.w.Run(p.w.Now()+10*time.Millisecond))
	require.Equal(t, wire.Lanes, p.got)
	ran := 0
	p.a.Thread(time.Millisecond, func() { ran++ })
	p.a.Pause()
	require.NoError(t, p.w.Run(p.w.Now()+time.Second))
	require.Zero(t, ran)
	p.a.Continue()
	p.a.Thread(time.Second, func() { ran++ })
	require.NoError(t, p.w.Run(p.w.Now()+10*time.Millisecond))
	require.Equal(t, 1, ran)
	p.a.Crash(false)
	require.NoError(t, p.w.Run(p.w.Now()+2*time.Second))
	require.Equal(t, 1, ran)
}
