//go:build linux

package driver

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// threePlaces has a driver listen at two addresses of TCP and one of memory.
func (k *kit) threePlaces(d *Driver, o EndpointOptions) (list []*server) {
	for _, addr := range []string{"tcp://127.0.0.1:0", "tcp://127.0.0.1:0", "mem://switch"} {
		list = append(list, k.listenAt(d, addr, o, nil))
	}
	return list
}

// at says whether the endpoint has a link to an address.
func (e end) at(addr string) bool {
	return e.RemoteAddr() == addr && e.mirror.phase.Load() == uint32(endpoint.Open)
}

// TestSwitches: an endpoint goes from address to address, and over all transports, while both
// ends send, move about and are cut off.
func TestSwitches(t *testing.T) {
	for name, disturbed := range map[string]bool{"undisturbed": false, "moved and cut": true} {
		t.Run(name, func(t *testing.T) { onTCP(t, func(k *kit) { switchAbout(k, disturbed) }) })
	}
}

func switchAbout(k *kit, disturbed bool) {
	c := k.commotion()
	o := EndpointOptions{Resume: ForEver, Window: 128 << 10}
	places := k.threePlaces(k.open(threeWorkers), o)
	a := k.dial(k.open(threeWorkers), places[0].Addr(), o, nil)
	b := places[0].accept(k)
	b.await(endpoint.EventUp)
	before := -1
	c.every(10*time.Millisecond, func(r *rand.Rand) {
		// Not before something came over the last one: each has to carry its part.
		if now := len(a.messages()); now > before {
			before = now
			require.NoError(k, a.Switch(places[r.IntN(len(places))].Addr()))
		}
	})
	if disturbed {
		for _, e := range []end{a, b} {
			c.moves(e)
			c.cuts(e)
		}
	}
	const count = 1000
	seed := c.seed
	var fromA, fromB [wire.Lanes]int
	var senders sync.WaitGroup
	senders.Go(func() { fromA = a.traffic(seed, count) })
	senders.Go(func() { fromB = b.traffic(seed+1, count) })
	senders.Wait()
	c.end()
	b.requireTraffic(fromA)
	a.requireTraffic(fromB)
	for _, p := range places {
		require.NoError(k, a.Switch(p.Addr()))
		eventually(k, "it is there", func() bool { return a.at(p.Addr()) })
		a.send(wire.Low, 0, []byte("here"))
	}
	eventually(k, "all is acknowledged", func() bool { return a.acked() && b.acked() })
	require.Zero(k, a.has(endpoint.EventRestarted)+b.has(endpoint.EventRestarted))
	require.Equal(k, a.has(endpoint.EventDown)+1, a.has(endpoint.EventUp))
	require.Greater(k, a.has(endpoint.EventUp), 3)
	a.Close(-1)
	a.awaitEnd()
	b.awaitEnd()
}

// TestSwitchDetails: UP tells of the new address, DOWN that nothing is wrong.
func TestSwitchDetails(t *testing.T) {
	onTCP(t, func(k *kit) {
		places := k.threePlaces(k.open(nil), EndpointOptions{})
		a := k.dial(k.open(nil), places[0].Addr(), EndpointOptions{}, nil)
		a.await(endpoint.EventUp)
		require.NoError(k, a.Switch(places[1].Addr()))
		eventually(k, "it is there", func() bool { return a.has(endpoint.EventUp) == 2 })
		require.Equal(k, places[1].Addr(), a.RemoteAddr())
		a.mu.Lock()
		down, up := a.events[1], a.events[2]
		a.mu.Unlock()
		require.Equal(k, endpoint.Event{Kind: endpoint.EventDown, Code: endpoint.OK}, down)
		detail, err := wire.ParseUpDetail(up.Detail)
		require.NoError(k, err)
		require.Equal(k, places[1].Addr(), detail.Remote)
		a.cut()
		eventually(k, "it is there again", func() bool { return a.has(endpoint.EventUp) == 3 })
		require.Equal(k, places[1].Addr(), a.RemoteAddr(), "from now on it lives there")
		a.Close(0)
		a.awaitEnd()
	})
}

// TestSwitchFails: while nobody listens at the new address the present link goes on; once
// somebody does, the endpoint goes there.
func TestSwitchFails(t *testing.T) {
	onTCP(t, func(k *kit) {
		d := k.open(nil)
		s := k.listen(d, EndpointOptions{}, nil)
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{}, nil)
		b := s.accept(k)
		a.await(endpoint.EventUp)
		require.NoError(k, a.Switch("mem://later"))
		eventually(k, "it is refused", func() bool { return k.logged("switch.failed " + s.Addr() + " goes on") })
		a.send(0, 0, []byte("meanwhile"))
		b.awaitMessages(1)
		require.Zero(k, a.has(endpoint.EventDown))
		k.listenAt(d, "mem://later", EndpointOptions{}, nil)
		eventually(k, "it is there", func() bool { return a.at("mem://later") })
		require.NoError(k, a.Switch("tcp://what is this"))
		eventually(k, "it is refused", func() bool { return k.logged("mem://later is where it stays") })
		a.cut()
		eventually(k, "it is there again", func() bool { return a.has(endpoint.EventUp) == 3 && a.at("mem://later") })
		a.send(0, 0, []byte("after all"))
		b.awaitMessages(2)
		a.Close(0)
		a.awaitEnd()
	})
}

// TestSwitchWhileRedialling goes to the new address at once, and the last one asked for
// counts.
func TestSwitchWhileRedialling(t *testing.T) {
	onTCP(t, func(k *kit) {
		places := k.threePlaces(k.open(nil), EndpointOptions{})
		a := k.dial(k.open(nil), places[0].Addr(), EndpointOptions{}, nil)
		b := places[0].accept(k)
		a.await(endpoint.EventUp)
		a.send(0, 0, []byte("before"))
		b.awaitMessages(1)
		places[0].Close()
		eventually(k, "nobody listens", func() bool { return places[0].Addr() == "" })
		eventually(k, "attempts", func() bool { a.cut(); return k.logged("dial.failed") })
		for _, p := range []*server{places[1], places[2], places[1], places[2]} {
			require.NoError(k, a.Switch(p.Addr()))
		}
		a.send(0, 0, []byte("after"))
		b.awaitMessages(2)
		eventually(k, "it is at the last", func() bool { return a.at(places[2].Addr()) })
		require.Zero(k, a.has(endpoint.EventRestarted))
		a.Close(0)
		a.awaitEnd()
	})
}

func TestSwitchIsRefused(t *testing.T) {
	onTCP(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{}, nil)
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{}, nil)
		fixed := k.dial(k.open(nil), s.Addr(), EndpointOptions{Resume: WithLink}, nil)
		b := s.accept(k)
		require.ErrorContains(k, b.Switch(s.Addr()), "was accepted")
		require.ErrorContains(k, fixed.Switch(s.Addr()), "ends with its link")
		require.ErrorContains(k, a.Switch("fd://3"), "a descriptor is given once")
		require.ErrorContains(k, a.Switch("pigeon://roof"), "no transport for it; known are the schemes")
		a.Close(0)
		a.awaitEnd()
		require.ErrorIs(k, a.Switch(s.Addr()), ErrClosed)
	})
}

// TestSwitchWithoutLink: who loses the present link in the middle of a switch gets another
// one at either address, and goes on to the new one from there.
func TestSwitchWithoutLink(t *testing.T) {
	onTCP(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{}, nil)
		spare := k.listen(s.driver, EndpointOptions{}, nil)
		to := spare.Addr()
		spare.Close()
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{}, nil)
		b := s.accept(k)
		a.await(endpoint.EventUp)
		require.NoError(k, a.Switch(to))
		eventually(k, "it fails", func() bool { return k.logged("switch.failed") })
		a.cut()
		a.send(wire.Normal, 0, []byte("where it was"))
		b.awaitMessages(1)
		a.cut()
		k.listenAt(s.driver, to, EndpointOptions{}, nil)
		a.send(wire.Normal, 0, []byte("wherever"))
		b.awaitMessages(2)
		eventually(k, "it is where it shall be", func() bool { return a.at(to) })
		require.Zero(k, a.has(endpoint.EventRestarted))
		a.Close(0)
		a.awaitEnd()
	})
}

// TestSwitchBackFromSilence: where somebody accepts and says nothing it is tried again and
// again, and in between the endpoint is where it was.
func TestSwitchBackFromSilence(t *testing.T) {
	onTCP(t, func(k *kit) {
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(k, err)
		k.Cleanup(func() { silent.Close() })
		attempts := make(chan struct{}, 100)
		go func() {
			for {
				c, err := silent.Accept()
				if err != nil {
					return
				}
				k.Cleanup(func() { c.Close() })
				attempts <- struct{}{}
			}
		}()
		s := k.listen(k.open(nil), EndpointOptions{}, nil)
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{Connect: 100 * time.Millisecond}, nil)
		b := s.accept(k)
		a.await(endpoint.EventUp)
		require.NoError(k, a.Switch("tcp://"+silent.Addr().String()))
		<-attempts
		a.send(0, 0, []byte("precious"))
		b.awaitMessages(1)
		<-attempts
		a.send(0, 0, []byte("once more"))
		b.awaitMessages(2)
		require.NoError(k, a.Switch(s.Addr()))
		eventually(k, "it stays", func() bool { return a.at(s.Addr()) })
		require.Zero(k, a.has(endpoint.EventRestarted)+a.has(endpoint.EventClosed))
		a.Close(0)
		a.awaitEnd()
	})
}

// TestSwitchToAnotherDriver: who listens there has no session of this endpoint, and counts as
// a peer that has restarted.
func TestSwitchToAnotherDriver(t *testing.T) {
	onEach(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{ManualAck: true}, nil)
		other := k.listen(k.open(nil), EndpointOptions{}, nil)
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{}, nil)
		a.send(0, 0, []byte("for the one"))
		s.accept(k).awaitMessages(1)
		require.NoError(k, a.Switch(other.Addr()))
		a.await(endpoint.EventRestarted)
		detail, err := wire.ParseRestartedDetail(a.detail(endpoint.EventRestarted))
		require.NoError(k, err)
		require.Equal(k, wire.LaneAccount{Accepted: 1, Maybe: 1}, detail.Lanes[0])
		a.send(0, 0, []byte("for the other"))
		require.Equal(k, uint64(1), other.accept(k).awaitMessages(1)[0].id)
		a.Close(0)
		a.awaitEnd()
	})
}
