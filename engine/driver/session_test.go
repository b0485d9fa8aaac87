//go:build linux

package driver

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// cut ends an endpoint's link as a network would.
func (e end) cut() {
	e.post(func() {
		if e.link != nil && !e.handed {
			e.core.Fail(e.driver.Now(), endpoint.Reset, "cut by the test")
			e.worker.sched.Ready(&e.node)
		}
	})
}

// acked says whether the peer has consumed everything that was accepted.
func (e end) acked() bool {
	for lane := range wire.Lane(wire.Lanes) {
		if messages, _ := e.slot.Backlog(lane); messages > 0 {
			return false
		}
	}
	return true
}

// traffic sends numbered messages of mixed sizes over two lanes, and returns how many
// went over each.
func (e end) traffic(seed uint64, count int) (sent [wire.Lanes]int) {
	random := rand.New(rand.NewPCG(seed, 1))
	for range count {
		lane, size := wire.Normal, 8+random.IntN(3000)
		switch random.IntN(40) {
		case 0:
			size = 100_000 + random.IntN(100_000)
		case 1:
			size = 20_000
		case 2, 3, 4:
			lane = wire.Urgent
		}
		data := make([]byte, size)
		binary.LittleEndian.PutUint64(data, uint64(sent[lane]))
		if size >= 16 {
			binary.LittleEndian.PutUint64(data[size-8:], uint64(sent[lane])^uint64(size)<<32)
		}
		e.send(lane, uint16(size), data)
		sent[lane]++
	}
	return sent
}

// requireTraffic wants what traffic sent: all of it, once, in order, unchanged.
func (e end) requireTraffic(sent [wire.Lanes]int) {
	e.t.Helper()
	total := 0
	for _, n := range sent {
		total += n
	}
	var next [wire.Lanes]uint64
	for _, m := range e.awaitMessages(total) {
		require.Equal(e.t, next[m.lane], m.id, "%v", m.lane)
		require.Equal(e.t, next[m.lane], binary.LittleEndian.Uint64(m.data), "%v", m.lane)
		if size := len(m.data); size >= 16 {
			require.Equal(e.t, int(m.channel), size&0xffff)
			require.Equal(e.t, m.id^uint64(size)<<32, binary.LittleEndian.Uint64(m.data[size-8:]))
		}
		next[m.lane]++
	}
	require.Len(e.t, e.messages(), total)
}

// TestSessionsOutliveTheirLinks: messages flow both ways while links are cut, on either
// side; nothing is lost, doubled or out of order, and the program hears of it.
func TestSessionsOutliveTheirLinks(t *testing.T) {
	onEach(t, func(k *kit) {
		o := EndpointOptions{Resume: -1, Window: 128 << 10}
		s := k.listen(k.open(nil), o, nil)
		a := k.dial(k.open(nil), s.Addr(), o, nil)
		b := s.accept(k)
		a.await(endpoint.EventUp)
		const count = 3000
		seed := rand.Uint64()
		k.Logf("seed %d", seed)
		var fromA, fromB [wire.Lanes]int
		var senders, cutter sync.WaitGroup
		stop := make(chan struct{})
		senders.Go(func() { fromA = a.traffic(seed, count) })
		senders.Go(func() { fromB = b.traffic(seed+1, count) })
		cutter.Go(func() {
			random := rand.New(rand.NewPCG(seed, 2))
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(random.IntN(20)) * time.Millisecond):
					[]end{a, b}[random.IntN(2)].cut()
				}
			}
		})
		senders.Wait()
		close(stop)
		cutter.Wait()
		b.requireTraffic(fromA)
		a.requireTraffic(fromB)
		eventually(k, "all is acknowledged", func() bool { return a.acked() && b.acked() })
		require.Positive(k, a.has(endpoint.EventDown))
		require.Equal(k, a.has(endpoint.EventDown)+1, a.has(endpoint.EventUp))
		require.Zero(k, a.has(endpoint.EventRestarted))
		require.Equal(k, 1, b.has(endpoint.EventAccepted))
		a.Close(-1)
		account := a.awaitEnd()
		require.Equal(k, uint64(fromA[wire.Normal]), account.Lanes[wire.Normal].Acknowledged)
		require.Equal(k, uint64(fromB[wire.Normal]), account.Lanes[wire.Normal].Received)
		b.awaitEnd()
	})
}

// TestRedial: who dials keeps trying until somebody listens.
func TestRedial(t *testing.T) {
	onEach(t, func(k *kit) {
		d := k.open(nil)
		addr := k.listen(d, EndpointOptions{}, nil).Addr()
		d.Close(0)
		wait(k, d) // now nobody listens there; a listener that closes may still accept
		a := k.dial(k.open(nil), addr, EndpointOptions{}, nil)
		a.send(0, 0, []byte("early"))
		a.await(endpoint.EventDown)
		a.explains("connecting to " + addr + "; dial " + addr + ": connection refused")
		again := k.listenAt(k.open(nil), addr, EndpointOptions{}, nil)
		again.accept(k).awaitMessages(1)
		a.await(endpoint.EventUp)
		require.Equal(k, 1, a.has(endpoint.EventDown), "of the attempts that failed only the first is told")
	})
}

// TestBackOff: pauses between attempts double up to a bound, half of each left to chance,
// and begin anew once there was a peer.
func TestBackOff(t *testing.T) {
	e := &Endpoint{}
	differ := false
	last := int64(0)
	for range 2 {
		for most := int64(firstBackOff); most < 100*int64(lastBackOff); most *= 2 {
			bound := min(most, int64(lastBackOff))
			pause := e.backOff()
			require.GreaterOrEqual(t, pause, bound/2)
			require.Less(t, pause, bound)
			differ = differ || bound == int64(lastBackOff) && last != 0 && pause != last
			last = pause
		}
		e.cameUp()
	}
	require.True(t, differ, "equal pauses would bring all back in step")
}

// TestResumeEnds: a session whose peer does not come back ends after its time, with the
// account and the reason.
func TestResumeEnds(t *testing.T) {
	onEach(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{Resume: 500 * time.Millisecond}, nil)
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{Resume: WithLink}, nil)
		b := s.accept(k)
		b.await(endpoint.EventUp)
		a.await(endpoint.EventUp) // who goes with something unread resets the connection
		a.post(func() { a.core.Fail(a.driver.Now(), endpoint.Reset, "gone"); a.worker.sched.Ready(&a.node) })
		a.awaitEnd()
		b.await(endpoint.EventDown)
		b.send(wire.Low, 0, []byte("too late"))
		b.explains("waiting for " + *b.addr.Load() + " to come back; the peer ended the connection without a word")
		account := b.awaitEnd()
		require.Equal(k, int32(endpoint.Reset), account.Code)
		require.Contains(k, account.Text, "no other link within 500ms after this one ended: ")
		require.Equal(k, wire.LaneAccount{Accepted: 1, Never: 1}, account.Lanes[wire.Low])
	})
}

// TestResumeEndsBehindAPause: nobody came back in time, and nobody is looked for any more, but
// what was received before waits for the program as long as that takes.
func TestResumeEndsBehindAPause(t *testing.T) {
	onEach(t, func(k *kit) {
		s := k.listen(k.open(nil), EndpointOptions{Resume: WithLink}, nil)
		var refusing atomic.Bool
		refusing.Store(true)
		paused := make(chan struct{}, 16)
		a := k.dial(k.open(nil), s.Addr(), EndpointOptions{Resume: 300 * time.Millisecond}, func(p *probe) {
			p.onMessage = func(*Endpoint, message) bool { paused <- struct{}{}; return !refusing.Load() }
		})
		b := s.accept(k)
		b.send(wire.Low, 0, []byte("received"))
		<-paused
		a.send(wire.Low, 0, []byte("acknowledged"))
		a.awaitBacklog(wire.Low, 0)
		s.Close()
		eventually(k, "nobody listens", func() bool { return s.Addr() == "" })
		a.cut()
		b.awaitEnd()
		eventually(k, "no more is accepted", func() bool {
			_, err := a.Send(wire.Low, 0, nil)
			return err == ErrClosed
		})
		require.Empty(k, a.messages())
		refusing.Store(false)
		a.Resume()
		account := a.awaitEnd()
		require.Contains(k, account.Text, "no other link within 300ms after this one ended: ")
		require.Equal(k, "received", string(a.messages()[0].data))
	})
}

// TestWaitingSessionsAreBounded in number and in what they hold: the one that has waited
// longest ends, and says why; the others go on waiting.
func TestWaitingSessionsAreBounded(t *testing.T) {
	const why = "too many sessions wait for their peers, or hold too much, and this one waits longest"
	for name, bound := range map[string]func(*sessions){
		"number": func(s *sessions) { s.most = 2 },
		"bytes":  func(s *sessions) { s.limit = 2500 },
	} {
		t.Run(name, func(t *testing.T) {
			onTCP(t, func(k *kit) {
				ds, da := k.open(nil), k.open(nil)
				bound(&ds.sessions)
				s := k.listen(ds, EndpointOptions{Resume: ForEver}, func(p *probe) {
					p.onMessage = func(*Endpoint, message) bool { return false }
				})
				lose := func() (b end) {
					a := k.dial(da, s.Addr(), EndpointOptions{Resume: WithLink}, nil)
					a.send(wire.Normal, 0, make([]byte, 1000))
					b = s.accept(k)
					eventually(k, "it has come", func() bool { return b.mirror.paused.Load() })
					a.cut()
					a.awaitEnd()
					b.await(endpoint.EventDown)
					b.explains("waiting for")
					return b
				}
				first, second := lose(), lose()
				third := lose()
				first.requireEnd(endpoint.Limit, why)
				second.explains("waiting for")
				second.Close(0)
				second.awaitEnd()
				fourth := lose() // there is room again
				third.explains("waiting for")
				third.Close(0)
				third.awaitEnd()
				fourth.Close(0)
				fourth.awaitEnd()
				ds.sessions.Lock()
				defer ds.sessions.Unlock()
				require.Zero(k, ds.sessions.waiting.Len())
				require.Zero(k, ds.sessions.bytes)
			})
		})
	}
}

// TestRestartedPeer: a peer that lost the session is a new one. What it had not
// acknowledged is reported, and comes again if it was to be.
func TestRestartedPeer(t *testing.T) {
	for name, choice := range map[string]endpoint.OnRestart{
		"report": endpoint.Report, "resend": endpoint.Resend, "drop": endpoint.Drop,
	} {
		t.Run(name, func(t *testing.T) { onEach(t, func(k *kit) { restartPeer(k, choice) }) })
	}
}

func restartPeer(k *kit, onRestart endpoint.OnRestart) {
	var lives atomic.Int32
	s := k.listen(k.open(nil), EndpointOptions{Resume: -1}, func(p *probe) {
		first := lives.Add(1) == 1
		p.onMessage = func(_ *Endpoint, m message) bool { return !first || m.id < 3 }
	})
	a := k.dial(k.open(nil), s.Addr(), EndpointOptions{Resume: -1, OnRestart: onRestart}, nil)
	for i := range byte(10) {
		a.send(0, 0, []byte{i})
	}
	b := s.accept(k)
	b.awaitMessages(3)
	eventually(k, "three are acknowledged", func() bool { n, _ := a.slot.Backlog(0); return n == 7 })
	b.driver.sessions.remove(b.Endpoint) // as if its process was another one now
	a.cut()
	reborn := s.accept(k)
	a.await(endpoint.EventRestarted)
	a.send(0, 0, []byte{10})
	report := a.detail(endpoint.EventRestarted)
	detail, err := wire.ParseRestartedDetail(report)
	require.NoError(k, err)
	require.Equal(k, wire.LaneAccount{Accepted: 10, Acknowledged: 3, Maybe: 7}, detail.Lanes[0])
	want := []uint64{10}
	if onRestart == endpoint.Resend {
		want = []uint64{3, 4, 5, 6, 7, 8, 9, 10}
	}
	var got []uint64
	for _, m := range reborn.awaitMessages(len(want)) {
		require.Equal(k, byte(m.id), m.data[0])
		got = append(got, m.id)
	}
	require.Equal(k, want, got, "numbers stay what Send returned")
	eventually(k, "all is acknowledged", func() bool { return a.acked() })
	b.Close(0)
	a.Close(0)
	a.awaitEnd()
	b.awaitEnd()
	reborn.awaitEnd()
}

// swamp has an endpoint's peer restart again and again while its program takes nothing, and
// returns both when the endpoint reads no more, with what has the program take what there
// is. queues: the program takes messages, and releases none.
func swamp(k *kit, lives int, queues bool) (a, last end, take func()) {
	const window, size = 64 << 10, 10_000
	var refusing atomic.Bool
	refusing.Store(true)
	var held store
	s := k.listen(k.open(nil), EndpointOptions{}, nil)
	// A ping shows that a link is cut from which nothing is read.
	o := EndpointOptions{Window: window, KeepAlive: 250 * time.Millisecond}
	a = k.dial(k.open(nil), s.Addr(), o, func(p *probe) {
		p.onMessage = func(*Endpoint, message) bool { return queues || !refusing.Load() }
		if p.queues = queues; queues {
			p.onRun = held.put
		}
	})
	swamped := func() bool {
		answer := make(chan bool, 1)
		a.Post(func() { answer <- a.swamped() })
		return <-answer
	}
	for i := range lives {
		last = s.accept(k)
		last.await(endpoint.EventUp)
		for range 2 * window / size {
			if _, err := last.Send(wire.Normal, uint16(i), make([]byte, size)); err != nil {
				break
			}
		}
		// It has sent all that the window allows, or is not listened to any more.
		eventually(k, "the window's end", func() bool {
			return swamped() || last.mirror.noCredit.Load()&(1<<wire.Normal) != 0
		})
		if i < lives-1 {
			last.driver.sessions.remove(last.Endpoint) // as if its process was another one now
			a.cut()
		}
	}
	eventually(k, "it has met the last, and reads no more", swamped)
	require.LessOrEqual(k, a.Counts()[MessagesReceived], uint64(3*(window/size+1)), "messages that are held")
	return a, last, func() {
		refusing.Store(false)
		a.Resume()
		held.release(a.Endpoint)
	}
}

// TestPeerRestartsAgainAndAgain while its program takes nothing: what is held of its lives
// stays within bounds, and when it is taken the last of them is heard.
func TestPeerRestartsAgainAndAgain(t *testing.T) {
	for name, queues := range map[string]bool{"paused": false, "unreleased": true} {
		t.Run(name, func(t *testing.T) {
			onTCP(t, func(k *kit) {
				const lives = 12
				a, last, take := swamp(k, lives, queues)
				eventually(k, "the last life's messages", func() bool {
					take()
					list := a.messages()
					return len(list) > 0 && list[len(list)-1].channel == lives-1 && last.acked()
				})
			})
		})
	}
}

// TestCloseOfTheSwamped: that a program takes nothing of peers that restart again and again
// does not keep its own messages from being acknowledged when it closes.
func TestCloseOfTheSwamped(t *testing.T) {
	for name, queues := range map[string]bool{"paused": false, "unreleased": true} {
		t.Run(name, func(t *testing.T) {
			onTCP(t, func(k *kit) {
				a, last, take := swamp(k, 12, queues)
				_, err := a.Send(wire.Normal, 0, []byte("the last word"))
				require.NoError(k, err)
				a.Close(-1)
				last.await(endpoint.EventClosed)
				require.Equal(k, "the last word", string(last.messages()[0].data))
				take()
				a.awaitEnd()
			})
		})
	}
}
