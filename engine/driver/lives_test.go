//go:build linux

package driver

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

const (
	livesRuns   = 10                     // of TestLives, over each poller
	livesLasts  = 120 * time.Millisecond // that a run sends, at most
	livesRefuse = 20                     // one batch in so many is refused
)

// TestLives: one endpoint sends while it and its peer are cut off, moved, switched, quiesced,
// paused, and forgotten by each other, and ends at a random moment. What became of each
// message, by all accounts and lists together, is what the peers have seen.
func TestLives(t *testing.T) {
	onTCP(t, func(k *kit) {
		seed := uint64(time.Now().UnixNano())
		for run := range uint64(livesRuns) {
			newStory(k, seed+run).run()
		}
	})
}

// story is one run: an endpoint, and the peers that it had one after the other.
type story struct {
	*kit
	seed    uint64
	random  *rand.Rand
	manual  bool // the peers acknowledge by hand
	from    *Endpoint
	places  []string
	sent    [wire.Lanes]uint64
	mu      sync.Mutex
	peers   []end
	told    told
	refuses *rand.Rand
}

// told is what the endpoint's program was told, in RESTARTED and CLOSED together.
type told struct {
	sync.Mutex
	sum    [wire.Lanes]wire.LaneAccount
	listed [wire.Lanes]map[uint64]bool // whether it is maybe delivered
	wrong  []string
	paused bool
	closed bool
}

func newStory(k *kit, seed uint64) *story {
	l := &story{kit: k, seed: seed, random: rand.New(rand.NewPCG(seed, 0)), refuses: rand.New(rand.NewPCG(seed, 1))}
	r, memory := l.random, int64(1<<30)
	if r.IntN(3) == 0 {
		memory = 2 << 20
	}
	open := func() *Driver {
		return k.open(func(o *Options) { o.Workers, o.MemoryLimit = moveWorkers, memory })
	}
	dials, listens := open(), open()
	l.manual = r.IntN(2) == 0
	o := EndpointOptions{Resume: ForEver, Window: 64 << 10, ManualAck: l.manual}
	for _, addr := range []string{"tcp://127.0.0.1:0", fmt.Sprint("mem://lives-", seed)} {
		s, err := listens.Listen(addr, o, l.accept, nil)
		require.NoError(k, err)
		l.places = append(l.places, s.Addr())
	}
	for i := range l.told.listed {
		l.told.listed[i] = map[uint64]bool{}
	}
	e, err := dials.Dial(l.places[0], EndpointOptions{Resume: ForEver, Window: 64 << 10, Outbox: 64 << 10 << r.IntN(3)},
		func(*Endpoint) Sink { return Callback(l.hear, nil) })
	require.NoError(k, err)
	l.from = e
	return l
}

func (l *story) accept(e *Endpoint) Sink {
	p := &probe{t: l}
	random := rand.New(rand.NewPCG(l.seed, uint64(e.handle)))
	p.onMessage = func(*Endpoint, message) bool { return random.IntN(livesRefuse) != 0 }
	l.mu.Lock()
	defer l.mu.Unlock()
	l.peers = append(l.peers, end{e, p})
	return p
}

func (l *story) all() []end {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]end(nil), l.peers...)
}

// hear is the program of the endpoint that sends.
func (l *story) hear(batch []Message) int {
	l.told.Lock()
	defer l.told.Unlock()
	for i := range batch {
		m := &batch[i]
		switch m.Event {
		case 0:
			if l.told.paused = l.told.paused || l.refuses.IntN(livesRefuse) == 0; l.told.paused {
				return i
			}
		case endpoint.EventRestarted:
			detail, err := wire.ParseRestartedDetail(m.Data)
			l.told.add(m, detail.Lanes, err)
		case endpoint.EventClosed:
			detail, err := wire.ParseClosedDetail(m.Data)
			l.told.add(m, detail.Lanes, err)
			l.told.closed = true
		}
	}
	return len(batch)
}

// add takes an account, and the list that goes with it.
func (t *told) add(m *Message, lanes [wire.Lanes]wire.LaneAccount, err error) {
	if err != nil {
		t.wrong = append(t.wrong, err.Error())
	}
	left := uint64(0)
	for i, a := range lanes {
		s := &t.sum[i]
		s.Accepted += a.Accepted
		s.Withdrawn += a.Withdrawn
		left += a.Maybe + a.Never
		if a.Accepted != a.Acknowledged+a.Maybe+a.Never+a.Withdrawn {
			t.wrong = append(t.wrong, fmt.Sprintf("the sum of %+v", a))
		}
	}
	for u := range m.Unacked.All() {
		if _, twice := t.listed[u.Lane][u.ID]; twice || binary.LittleEndian.Uint64(u.Data) != u.ID {
			t.wrong = append(t.wrong, fmt.Sprintf("%v/%d is listed twice, or damaged", u.Lane, u.ID))
		}
		t.listed[u.Lane][u.ID] = u.Maybe
		left--
	}
	if left != 0 {
		t.wrong = append(t.wrong, fmt.Sprintf("%d messages are counted and not listed", int64(left)))
	}
}

// unpause has a program go on that has refused something.
func (l *story) unpause() {
	l.told.Lock()
	l.told.paused = false
	l.told.Unlock()
	l.from.Resume()
}

func (l *story) run() {
	r := l.random
	for until := time.Now().Add(time.Duration(r.Int64N(int64(livesLasts)))); time.Now().Before(until); {
		l.disturb()
		time.Sleep(time.Duration(r.Int64N(int64(time.Millisecond))))
	}
	linger := time.Duration(r.IntN(3)) * 20 * time.Millisecond
	l.from.Close(linger)
	eventually(l, "it has ended", func() bool {
		if linger > 0 {
			l.unpause()
		}
		for _, p := range l.all() {
			p.Resume()
			l.acknowledge(p)
		}
		l.told.Lock()
		defer l.told.Unlock()
		return l.told.closed
	})
	for _, p := range l.all() {
		p.Close(0)
		p.awaitEnd()
	}
	l.judge()
}

// disturb does one thing, or sends.
func (l *story) disturb() {
	r, e := l.random, end{l.from, &probe{t: l}}
	switch r.IntN(14) {
	case 0:
		e.cut()
	case 1:
		l.each(func(p end) { p.cut() })
	case 2:
		if r.IntN(3) == 0 { // as if the peers' process was another one now
			l.each(func(p end) { p.driver.sessions.remove(p.Endpoint) })
			e.cut()
		}
	case 3:
		require.NoError(l, e.Switch(l.places[r.IntN(len(l.places))]))
	case 4:
		require.NoError(l, e.SetWorker(r.IntN(moveWorkers+1)))
	case 5:
		l.each(func(p end) { _ = p.SetWorker(r.IntN(moveWorkers + 1)) }) // one may have ended
	case 6, 7:
		l.unpause()
	case 8:
		l.each(func(p end) {
			p.Resume()
			l.acknowledge(p)
			for range r.IntN(40) {
				_, _ = p.Send(wire.Lane(r.IntN(wire.Lanes)), 0, make([]byte, r.IntN(9000)))
			}
		})
	case 9:
		e.command(outbox.CommandQuiesce)
		time.Sleep(time.Duration(r.Int64N(int64(2 * time.Millisecond))))
		e.command(outbox.CommandResume)
	default:
		for range r.IntN(60) {
			l.send()
		}
	}
}

func (l *story) each(do func(end)) {
	for _, p := range l.all() {
		do(p)
	}
}

// acknowledge acknowledges some of what a peer was given.
func (l *story) acknowledge(p end) {
	if list := p.messages(); l.manual && len(list) > 0 {
		m := list[len(list)-1-l.random.IntN(min(len(list), 20))]
		_ = p.Ack(m.lane, m.id) // it may have ended
	}
}

// send sends one message, if there is room.
func (l *story) send() {
	r, lane := l.random, wire.Lane(l.random.IntN(wire.Lanes))
	data := make([]byte, 8+r.IntN(3000))
	if r.IntN(40) == 0 {
		data = make([]byte, 8+r.IntN(900_000))
	}
	binary.LittleEndian.PutUint64(data, l.sent[lane])
	send := l.from.Send
	if r.IntN(5) == 0 {
		send = func(lane wire.Lane, channel uint16, data []byte) (uint64, error) {
			return l.from.SendTTL(lane, channel, data, time.Duration(1+r.IntN(20))*time.Millisecond)
		}
	}
	if _, err := send(lane, 0, data); err == nil {
		l.sent[lane]++
	}
}

// judge holds what the program was told against what its peers have seen.
func (l *story) judge() {
	var got [wire.Lanes]map[uint64]int
	for i := range got {
		got[i] = map[uint64]int{}
	}
	for _, p := range l.all() {
		var next [wire.Lanes]uint64
		for _, m := range p.messages() {
			require.GreaterOrEqual(l, m.id, next[m.lane], "seed %d: order", l.seed)
			require.Equal(l, m.id, binary.LittleEndian.Uint64(m.data), "seed %d", l.seed)
			next[m.lane] = m.id + 1
			got[m.lane][m.id]++
		}
	}
	l.told.Lock()
	defer l.told.Unlock()
	require.Empty(l, l.told.wrong, "seed %d", l.seed)
	for i, sent := range l.sent {
		gone := uint64(0) // neither listed nor seen
		require.Equal(l, sent, l.told.sum[i].Accepted, "seed %d: accepted in lane %d, and in accounts", l.seed, i)
		for id := range sent {
			maybe, listed := l.told.listed[i][id]
			n := got[i][id]
			require.LessOrEqual(l, n, 1, "seed %d: %d/%d is seen twice", l.seed, i, id)
			require.False(l, listed && !maybe && n > 0, "seed %d: %d/%d was never sent, and is seen", l.seed, i, id)
			if !listed && n == 0 {
				gone++
			}
		}
		require.LessOrEqual(l, gone, l.told.sum[i].Withdrawn,
			"seed %d: messages of lane %d of which nobody knows", l.seed, i)
	}
}
