//go:build linux

package driver

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// unackedLog is what a program that uses Callback saw of its messages that were not
// acknowledged.
type unackedLog struct {
	sync.Mutex
	events map[endpoint.EventKind][]outbox.Remnant // with copies of their data
	over   bool
}

func (l *unackedLog) sink(resend bool) func(*Endpoint) Sink {
	l.events = map[endpoint.EventKind][]outbox.Remnant{}
	return func(*Endpoint) Sink {
		return Callback(func(batch []Message) int {
			l.Lock()
			defer l.Unlock()
			for _, m := range batch {
				for u := range m.Unacked.All() {
					if resend && m.Event == endpoint.EventRestarted {
						_, err := m.Endpoint.Send(u.Lane, u.Channel, u.Data)
						l.over = l.over || err != nil
					}
					u.Data = []byte(strings.Clone(string(u.Data)))
					l.events[m.Event] = append(l.events[m.Event], u)
				}
			}
			return len(batch)
		}, nil)
	}
}

func (l *unackedLog) of(kind endpoint.EventKind) []outbox.Remnant {
	l.Lock()
	defer l.Unlock()
	return l.events[kind]
}

// TestUnacked: a Go program is given what was left unacknowledged, and can send it again
// from where it hears of it.
func TestUnacked(t *testing.T) {
	onEach(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{Resume: ForEver, ManualAck: true}, nil)
		var log unackedLog
		e, err := k.open(nil).Dial(s.Addr(), EndpointOptions{Resume: ForEver}, log.sink(true))
		require.NoError(k, err)
		a := end{e, &probe{t: k}}
		long := []byte(strings.Repeat("long", 30_000))
		texts := [][]byte{[]byte("done"), []byte("one"), nil, long}
		for i, text := range texts {
			_, err := a.Send(wire.Low, uint16(i), text)
			require.NoError(k, err)
		}
		b := s.accept(k)
		b.awaitMessages(len(texts))
		require.NoError(k, b.Ack(wire.Low, 0))
		a.awaitBacklog(wire.Low, 3)
		b.driver.sessions.remove(b.Endpoint) // as if its process was another one now
		a.cut()
		reborn := s.accept(k)
		messages := reborn.awaitMessages(3)
		want := make([]outbox.Remnant, 3)
		for i := range want {
			text := texts[i+1]
			want[i] = outbox.Remnant{ID: uint64(i + 1), Lane: wire.Low, Channel: uint16(i + 1), Maybe: true, Data: text}
			require.Equal(k, string(text), string(messages[i].data))
			require.Equal(k, uint64(i+4), messages[i].id, "sent again, it is another message")
			if text == nil {
				want[i].Data = []byte{}
			}
		}
		require.Equal(k, want, log.of(endpoint.EventRestarted))
		require.False(k, log.over, "a send was refused")
		require.NoError(k, reborn.Ack(wire.Low, 4))
		a.awaitBacklog(wire.Low, 2)
		a.Close(0)
		eventually(k, "the last list", func() bool { return len(log.of(endpoint.EventClosed)) == 2 })
		for i := range want[1:] {
			want[i+1].ID += 3
		}
		require.Equal(k, want[1:], log.of(endpoint.EventClosed))
		b.Close(0)
		b.awaitEnd()
		reborn.awaitEnd()
	})
}

// TestClosedWaitsForClaims: a message that is being written when its endpoint ends is in
// the account and in the list, so the last event waits for it; senders that wait for room
// hear of the end before.
func TestClosedWaitsForClaims(t *testing.T) {
	onTCP(t, func(k *kit) {
		a, b := k.pair(nil)
		table := a.driver.table
		claim, err := table.Claim(a.handle, wire.Normal, wire.MakeHeader(4, wire.Msg, wire.Normal, 0), 4)
		require.NoError(k, err)
		a.Close(0)
		b.awaitEnd()
		eventually(k, "senders are woken", func() bool { return a.slot.Room.Load() > 0 })
		time.Sleep(20 * time.Millisecond) // nothing tells that nothing comes
		require.Zero(k, a.has(endpoint.EventClosed))
		copy(claim.Bytes(), "late")
		claim.Publish()
		a.ring()
		account := a.awaitEnd()
		require.Equal(k, wire.LaneAccount{Accepted: 1, Never: 1}, account.Lanes[wire.Normal])
		a.mu.Lock()
		defer a.mu.Unlock()
		require.Equal(k, []string{"NORMAL 0 late"}, a.left)
	})
}

// TestClosedBehindARestartNotTold: a callback has paused, the peer restarts, and the program
// closes before it goes on. What the restart left unacknowledged is told all the same.
func TestClosedBehindARestartNotTold(t *testing.T) {
	onEach(t, func(k *kit) {
		first := true
		s := k.listen(k.open(nil), EndpointOptions{Resume: ForEver}, func(p *probe) {
			takes := !first
			first = false
			p.onMessage = func(*Endpoint, message) bool { return takes }
		})
		paused := make(chan struct{}, 16)
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{Resume: ForEver}, func(p *probe) {
			p.onMessage = func(*Endpoint, message) bool { paused <- struct{}{}; return false }
		})
		b := s.accept(k)
		for i := range byte(7) {
			a.send(0, 0, []byte{'a' + i})
		}
		b.send(0, 0, []byte("which a does not take"))
		<-paused
		eventually(k, "all is sent", func() bool { return a.Counts()[MessagesSent] == 7 })
		b.driver.sessions.remove(b.Endpoint) // as if its process was another one now
		a.cut()
		reborn := s.accept(k)
		reborn.await(endpoint.EventUp)
		a.await(endpoint.EventDown)
		eventually(k, "a is up again", func() bool { return a.has(endpoint.EventUp) == 2 })
		a.Close(0)
		closed := a.awaitEnd()
		var sum wire.LaneAccount
		if a.has(endpoint.EventRestarted) > 0 {
			told, err := wire.ParseRestartedDetail(a.detail(endpoint.EventRestarted))
			require.NoError(k, err)
			sum = told.Lanes[0]
		}
		sum.Accepted += closed.Lanes[0].Accepted
		sum.Maybe += closed.Lanes[0].Maybe
		sum.Never += closed.Lanes[0].Never
		a.mu.Lock()
		list := len(a.left)
		a.mu.Unlock()
		b.Close(0)
		b.awaitEnd()
		reborn.awaitEnd()
		require.Equal(k, uint64(7), sum.Accepted, "of 7 messages accepted, told in RESTARTED and CLOSED together")
		require.Equal(k, uint64(7), sum.Maybe+sum.Never)
		require.Equal(k, 7, list)
	})
}
