package sim

import (
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// TestExchange: two nodes exchange messages over a link that is cut, and the second
// node restarts.
func TestExchange(t *testing.T) {
	w, err := New(Config{Seed: 7, Trace: func(line string) { t.Log(line) }})
	require.NoError(t, err)
	got := 0
	server := w.Node("server", func(n *Node) {
		_, err := n.Listen("s", Options{}, Handler{Message: func(e *Endpoint, m Message) bool {
			got++
			_, err := e.Send(m.Lane, m.Channel, m.Data)
			require.NoError(t, err)
			return true
		}})
		require.NoError(t, err)
	})
	var client *Endpoint
	back, restarts := 0, 0
	at := w.Node("client", func(n *Node) {
		client, err = n.Dial("s", Options{}, Handler{
			Message: func(*Endpoint, Message) bool { back++; return true },
			Event: func(_ *Endpoint, ev Event) {
				if ev.Kind == endpoint.EventRestarted {
					restarts++
				}
			},
		})
		require.NoError(t, err)
		for i := range 100 {
			_, err := client.Send(wire.Lane(i%4), uint16(i), make([]byte, i*50))
			require.NoError(t, err)
		}
	})
	require.NoError(t, w.Run(time.Millisecond))
	w.Reset(server, at)
	require.NoError(t, w.Settle(10*time.Second))
	require.Equal(t, 100, got)
	require.Equal(t, 100, back)
	server.Crash(false)
	server.Restart()
	require.NoError(t, w.Settle(10*time.Second))
	_, err = client.Send(wire.Normal, 1, []byte("again"))
	require.NoError(t, err)
	require.NoError(t, w.Settle(10*time.Second))
	require.Equal(t, 101, got)
	require.Equal(t, 1, restarts)
	require.NoError(t, w.Close())
}
