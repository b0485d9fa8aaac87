package endpoint

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// life is one incarnation of a program: an endpoint, what it sent and what it got.
type life struct {
	*side
	sent  [wire.Lanes][]posted
	got   [wire.Lanes][]message
	later bool
	ended bool // it has said that it sends no more
	// owed are messages that the program was given and is not done with (only if later).
	owed []owed
	// done counts, by lane, the messages of got that the program is done with.
	done [wire.Lanes]int
	// past is what it got before each RESTARTED, and told what that said.
	past []past
	told []wire.RestartedDetail
}

// posted is a message that was sent, and when its time to live is over; 0: never.
type posted struct {
	message
	until int64
}

// past is what a program got from a peer that has restarted since.
type past struct {
	got  [wire.Lanes][]message
	done [wire.Lanes]int
}

// owed is a message that is to be consumed.
type owed struct {
	lane  wire.Lane
	epoch uint32 // as the endpoint has it
	past  int    // restarts that the program knew of
	count outbox.Count
}

// world is a dialler, what accepts its links, and a link that breaks. In the pair, b is
// who has the link's other end: the life that has the session, or an endpoint that has
// not heard yet what is wanted of it.
type world struct {
	*pair
	rt       *rapid.T
	random   *rand.Rand
	table    *outbox.Table
	a        *life
	b        *life   // nil: nothing is known there of any session
	lives    []*life // all that ever accepted, b last
	fresh    *side   // the link's end if it is not b
	alive    bool    // the link carries bytes
	sessions int     // how many were drawn
	change   func(*Config)
	refusing bool // receivers take seven of eight
	// restarts says that the accepting side may forget everything.
	restarts bool
	met      []met // the peers of a, in the order in which it met them
}

// worlds checks a property of worlds that share a table, as long as none fails: one that
// does leaves its memory behind, and it is tried many times more to be made smaller.
func worlds(t *testing.T, restarts bool, property func(*world)) {
	table := newTable(t)
	inUse := false
	rapid.Check(t, func(rt *rapid.T) {
		if inUse {
			var err error
			table, err = makeTable()
			require.NoError(rt, err)
		}
		inUse = true
		w := newWorld(rt, table, restarts)
		property(w)
		w.drop()
		inUse = false
	})
}

// newWorld returns two lives with a link and a session.
func newWorld(rt *rapid.T, table *outbox.Table, restarts bool) *world {
	w := &world{pair: &pair{now: second}, rt: rt, table: table, restarts: restarts}
	w.random = rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed of payloads"), 0))
	window := rapid.SampledFrom([]uint64{MinWindow, MinWindow + 8, 100_000, wire.DefaultWindow, 4 << 20})
	keepAlive := rapid.SampledFrom([]int64{0, second}).Draw(rt, "keep-alive")
	onRestart := rapid.SampledFrom([]OnRestart{Report, Resend, Drop}).Draw(rt, "on restart")
	windows := [2]uint64{window.Draw(rt, "window of a"), window.Draw(rt, "window of b")}
	later := [2]bool{rapid.Bool().Draw(rt, "a consumes later"), rapid.Bool().Draw(rt, "b consumes later")}
	w.change = func(c *Config) {
		i := 0
		if !c.Dialled {
			i = 1
			w.sessions++
			c.Session = [16]byte{'s', byte(w.sessions), byte(w.sessions >> 8)}
			c.Incarnation = [16]byte{'b', byte(w.sessions), byte(w.sessions >> 8)}
			c.Resumes = func(h wire.Hello) bool { return w.b != nil && h.Session == w.b.ep.Session() }
		}
		c.Resume, c.KeepAlive, c.OnRestart, c.Window, c.Later = -1, keepAlive, onRestart, windows[i], later[i]
	}
	w.a = w.newLife(newSide(rt, w.pair, table, "a", w.change))
	w.pair.a = w.a.side
	w.dial()
	w.heal(func() bool { return w.a.ep.Phase() == Open && w.b != nil })
	w.refusing = true
	return w
}

func (w *world) newLife(s *side) *life {
	l := &life{side: s, later: s.ep.config.Later}
	s.rec.heard = func(e Event) {
		if e.Kind == EventRestarted {
			detail, err := wire.ParseRestartedDetail(e.Detail)
			require.NoError(w.rt, err)
			l.told = append(l.told, detail)
			if l.ep.config.OnRestart == Report {
				requireRemains(w.rt, e.Remains, detail.Lanes, func(lane wire.Lane, id uint64) []byte {
					return l.sent[lane][id].data
				})
			} else {
				require.Nil(w.rt, e.Remains)
			}
			l.past = append(l.past, past{l.got, l.done})
			l.got, l.done = [wire.Lanes][]message{}, [wire.Lanes]int{}
		}
	}
	s.rec.takes = func(m message) bool {
		if w.refusing && w.random.IntN(8) == 0 {
			return false
		}
		m.data = bytes.Clone(m.data)
		l.got[m.lane] = append(l.got[m.lane], m)
		if l.later {
			count := outbox.Count{Messages: 1, Bytes: outbox.Charge(len(m.data))}
			l.owed = append(l.owed, owed{m.lane, l.ep.Epoch(), len(l.past), count})
		} else {
			l.done[m.lane]++
		}
		return true
	}
	return l
}

// consume says that the program is done with the n messages that it got first.
func (l *life) consume(n int) {
	for _, o := range l.owed[:n] {
		l.ep.Consumed(l.pair.now, o.epoch, o.lane, o.count)
		if o.past < len(l.past) {
			l.past[o.past].done[o.lane]++
		} else {
			l.done[o.lane]++
		}
	}
	l.owed = l.owed[n:]
}

// dial gives the dialler a link to somebody who does not know yet what it is for.
func (w *world) dial() {
	require.Equal(w.rt, Waiting, w.a.ep.Phase())
	w.dropFresh()
	w.fresh = newSide(w.rt, w.pair, w.table, "b", w.change)
	w.fresh.rec.takes = func(message) bool { panic("a message for a program that there is not") }
	w.pair.b, w.alive = w.fresh, true
	w.a.ep.Connect(w.now)
	w.fresh.ep.Connect(w.now)
	w.look()
}

// cut loses what is on its way, but for some bytes that arrive yet.
func (w *world) cut(fromA, fromB int) {
	if w.alive {
		w.a.deliver(fromA)
		w.look()
	}
	if w.alive {
		w.pair.b.deliver(fromB)
		w.look()
	}
	w.alive = false
}

// notice lets a side learn that its link is dead.
func (w *world) notice(s *side) {
	if w.alive || s == nil || s.ep.Phase() >= Closed || s.ep.Phase() == Waiting {
		return
	}
	if s == w.a.side || s == w.pair.b {
		s.ep.Fail(w.now, Reset, "the link was cut")
		w.look()
	}
}

// look does what the owners of endpoints do after every call.
func (w *world) look() {
	if w.a.ep.Phase() == Waiting {
		w.alive, w.a.in, w.a.out = false, nil, nil
	}
	if w.b != nil {
		code, text := w.b.ep.Reason()
		require.Less(w.rt, w.b.ep.Phase(), Leaving, "%d: %s", code, text)
		if w.b.ep.Phase() == Waiting {
			w.b.in, w.b.out = nil, nil
			w.alive = w.alive && w.pair.b != w.b.side
		}
	}
	code, text := w.a.ep.Reason()
	require.Less(w.rt, w.a.ep.Phase(), Leaving, "%d: %s", code, text)
	defer w.meet()
	switch f := w.fresh; {
	case f == nil:
	case f.ep.Phase() == Closed:
		w.alive = false
		w.dropFresh()
	case f.ep.Offered():
		w.adopt(f)
	case f.ep.Session() != none:
		require.True(w.rt, w.b == nil || w.restarts, "a session began anew")
		w.fresh = nil
		b := w.newLife(f)
		w.b, w.lives = b, append(w.lives, b)
	}
}

// met is a life that a has met, how many messages it had sent by then, and which of them
// the session begins with.
type met struct {
	*life
	sent, since [wire.Lanes]int
}

// meet notes whom a has met since it last was looked at.
func (w *world) meet() {
	if len(w.met) > int(w.a.ep.Epoch()) || w.a.ep.Session() == none {
		return
	}
	m := met{}
	for _, l := range w.lives {
		if l.ep.Session() == w.a.ep.Session() {
			m.life = l
		}
	}
	require.NotNil(w.rt, m.life, "whom it met")
	for lane, sent := range w.a.sent {
		m.sent[lane] = len(sent)
		m.since[lane] = int(w.a.ep.send.since[lane])
	}
	w.met = append(w.met, m)
	require.Len(w.rt, w.met, int(w.a.ep.Epoch())+1)
}

// forget loses all that the accepting side knows, and the link.
func (w *world) forget() {
	w.dropFresh()
	if w.b != nil {
		w.discard(w.b.side)
	}
	w.b, w.pair.b, w.alive = nil, nil, false
}

// adopt gives the link to who has the session.
func (w *world) adopt(f *side) {
	b := w.b.side
	b.in, b.out = nil, nil // of the link that there was
	require.True(w.rt, b.ep.Adopt(w.now, f.ep), "what the peer says fits")
	b.in, b.out = f.in, f.out
	w.pair.b = b
	w.dropFresh()
	b.read()
}

func (w *world) dropFresh() {
	if w.fresh != nil {
		w.discard(w.fresh)
		w.fresh = nil
		w.pair.b = nil
		if w.b != nil {
			w.pair.b = w.b.side
		}
	}
}

// discard ends a side and asserts that it holds nothing.
func (w *world) discard(s *side) {
	w.table.Notices(0, func(*outbox.Slot) {}, func(*outbox.Bell) {})
	s.ep.Abort(Reset, "the test is over")
	require.True(w.rt, s.ep.Settled())
	s.requireLast(nil)
	s.ep.Drop()
	w.table.Retire(s.slot)
	require.Zero(w.rt, s.rec.allocated, "%s: bytes of long messages", s.name)
	require.Zero(w.rt, s.rec.held, "%s: bytes of runs", s.name)
}

// drop ends all.
func (w *world) drop() {
	w.dropFresh()
	for _, l := range w.lives {
		if l.ep.Phase() < Closed {
			w.discard(l.side)
		}
	}
	w.discard(w.a.side)
	requireEmpty(w.rt, w.table)
}

// send sends a message, some with a time to live.
func (w *world) send(l *life, lane wire.Lane, size int) {
	m := posted{message: message{lane: lane, channel: uint16(w.random.Uint32()), data: fill(size, w.random)}}
	if w.random.IntN(3) == 0 {
		m.until = w.now + 1 + w.random.Int64N(second)
	}
	id, _, err := w.table.SendUntil(l.handle, lane, m.channel, m.data, m.until)
	if l.ended {
		require.ErrorIs(w.rt, err, outbox.ErrClosed)
		return
	}
	if err != nil {
		require.ErrorIs(w.rt, err, outbox.ErrAgain)
		return
	}
	require.Equal(w.rt, uint64(len(l.sent[lane])), id)
	m.id = id
	l.sent[lane] = append(l.sent[lane], m)
}

// step does something at random.
func (w *world) step() {
	rt := w.rt
	if w.restarts && rapid.IntRange(0, 19).Draw(rt, "forget") == 0 {
		w.forget()
	}
	l := w.a
	if rapid.Bool().Draw(rt, "b") && w.b != nil {
		l = w.b
	}
	ends := []*side{w.a.side, w.pair.b}
	end := ends[rapid.IntRange(0, 1).Draw(rt, "end")]
	do := rapid.IntRange(0, 17).Draw(rt, "do")
	if !w.alive && do >= 8 {
		// Else most of the time there would be no link.
		w.reconnect(do >= 12)
		return
	}
	switch {
	case do < 3:
		for range rapid.IntRange(1, 12).Draw(rt, "messages") {
			lane := wire.Lane(rapid.IntRange(0, wire.Lanes-1).Draw(rt, "lane"))
			w.send(l, lane, worldSizes.Draw(rt, "size"))
		}
	case do < 7 && end != nil:
		end.write(amounts.Draw(rt, "most"), amounts.Draw(rt, "accepted"))
	case do < 12 && end != nil:
		if n := amounts.Draw(rt, "delivered"); w.alive {
			end.deliver(n)
		}
	case do < 13:
		l.ep.Resume(l.pair.now)
	case do < 14:
		l.consume(rapid.IntRange(0, len(l.owed)).Draw(rt, "consumed"))
	case do < 15:
		w.pass(rapid.Int64Range(0, second).Draw(rt, "time"))
		l.ep.Sweep(w.now, rapid.Uint32Range(0, 1<<wire.Lanes-1).Draw(rt, "lanes that are wanted"))
	case do < 16 && rapid.IntRange(0, 9).Draw(rt, "half-close") == 0 && !w.restarts:
		l.ep.End()
		l.ended = true
	case do < 16:
		w.cut(cuts.Draw(rt, "arrives at b"), cuts.Draw(rt, "arrives at a"))
	default:
		w.flush()
	}
	w.look()
	w.check()
}

// reconnect has both sides, or the accepting one alone, notice that the link is dead,
// and tries another, at times.
func (w *world) reconnect(both bool) {
	w.notice(w.pair.b)
	if both {
		w.notice(w.a.side)
		w.dial()
	}
	w.look()
	w.check()
}

// flush moves what there is both ways, once.
func (w *world) flush() {
	w.a.write(everything, everything)
	w.cutless(w.a.side)
	if w.pair.b != nil {
		w.pair.b.write(everything, everything)
		w.cutless(w.pair.b)
	}
}

// cutless delivers all that a side wrote, if there is a link.
func (w *world) cutless(s *side) {
	if w.alive {
		s.deliver(everything)
	}
	w.look()
}

// cuts are how many bytes arrive of what is on its way when a link is cut.
var cuts = rapid.OneOf(rapid.IntRange(0, 400), rapid.Just(everything), amounts)

// worldSizes of messages: around what changes how a message travels.
var worldSizes = rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 3000), rapid.IntRange(16<<10-20, 16<<10+20),
	rapid.SampledFrom([]int{64<<10 - 8, 64<<10 - 1, 64 << 10, 64<<10 + 1, 200_000}), rapid.IntRange(0, 300_000))

// pass lets time go by.
func (w *world) pass(nanos int64) {
	w.now += nanos
	for _, s := range []*side{w.a.side, w.pair.b} {
		if s != nil {
			s.ep.Expire(w.now)
		}
	}
}

// underWay returns what a receiver has begun and not consumed before the message
// that it began last.
func underWay(from, to *life, lane int) (bytes uint64) {
	in := &to.ep.receive.lanes[lane]
	last := in.next
	if in.assembly == nil && last > 0 {
		last--
	}
	for n := in.consumed.Messages; n < last; n++ {
		skipped := slices.ContainsFunc(in.skips, func(s skip) bool { return s.at <= n && n < s.at+s.count })
		if !skipped {
			bytes += outbox.Charge(len(from.sent[lane][n].data))
		}
	}
	return bytes
}

// heal lets everything move until done says so, in a bounded number of rounds, with a
// new link whenever there is none.
func (w *world) heal(done func() bool) {
	w.refusing = false
	for range 6000 {
		if done() {
			return
		}
		if w.a.ep.Phase() == Waiting {
			w.dial()
		} else if !w.alive {
			w.notice(w.a.side)
		}
		moved := false
		for _, i := range w.random.Perm(6)[:4] {
			moved = w.healPart(i) || moved
			w.look()
		}
		if !moved && w.alive {
			w.acknowledge()
		}
	}
	require.Fail(w.rt, "it does not come to rest", "a %v, %+v", w.a.ep.Phase(), w.a.ep.Lane(0))
}

// healPart does one of the things that go on, in whatever order.
func (w *world) healPart(i int) (moved bool) {
	l := []*life{w.a, w.b}[i%2]
	if i < 2 && l != nil {
		moved = l.ep.Paused() || len(l.owed) > 0
		l.ep.Resume(l.pair.now)
		l.consume(len(l.owed))
		return moved
	}
	s := []*side{w.a.side, w.pair.b}[i%2]
	switch {
	case s == nil || i < 2:
		return false
	case i < 4:
		return s.write(everything, everything) > 0
	}
	return w.alive && s.deliver(everything) > 0
}

// quiet says that both have what the other sent, know that, and have no more to say.
func (w *world) quiet() bool {
	if !w.alive || w.b == nil || w.pair.b != w.b.side {
		return false
	}
	for _, l := range []*life{w.a, w.b} {
		if l.ep.Phase() != Open || l.ep.Paused() || !l.ep.Acked() || !l.idle() || len(l.out) > 0 {
			return false
		}
	}
	return true
}

// requireAll asserts that messages are all that was sent, but for some that were late; it
// returns how many those were.
func (w *world) requireAll(want []posted, got []message) (missing int) {
	missing, want = w.requireSame(want, got)
	w.requireLate(want)
	return missing + len(want)
}

// requireSame asserts that messages are what was sent, from the first on, but for some
// that were late. It returns how many those were, and what is yet to come.
func (w *world) requireSame(want []posted, got []message) (missing int, rest []posted) {
	for _, g := range got {
		n := slices.IndexFunc(want, func(m posted) bool { return m.id == g.id })
		require.GreaterOrEqual(w.rt, n, 0, "%v/%d was not sent, or came before", g.lane, g.id)
		w.requireLate(want[:n])
		missing += n
		m := want[n]
		require.Equal(w.rt, m.lane, g.lane)
		require.Equal(w.rt, m.channel, g.channel)
		require.True(w.rt, bytes.Equal(m.data, g.data), "%v/%d of %d bytes came changed", m.lane, m.id, len(m.data))
		want = want[n+1:]
	}
	return missing, want
}

// requireLate asserts that messages need not be there.
func (w *world) requireLate(list []posted) {
	for _, m := range list {
		require.True(w.rt, m.until != 0 && m.until <= w.now, "%v/%d did not come", m.lane, m.id)
	}
}
