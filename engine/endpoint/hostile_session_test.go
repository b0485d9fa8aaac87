package endpoint

import (
	"testing"

	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// TestBeyondTheWindow: a peer that starts messages without credit is told so, before it
// costs much more memory than it was allowed.
func TestBeyondTheWindow(t *testing.T) {
	table := newTable(t)
	const text = "message in lane BULK beyond the window, which ends at byte 65536"
	small := func(c *Config) { c.Window = MinWindow }

	// A long message may cross the end of the window, and the next one may not start.
	p := openPair(t, table, small)
	crossing := join(header(MinWindow-8, wire.Msg, wire.Bulk, 0), make([]byte, MinWindow-8))
	p.b.in = join(header(MinWindow-16, wire.Msg, wire.Bulk, 0), make([]byte, MinWindow-16),
		header(100_000, wire.Start, wire.Bulk, 0))
	p.b.read()
	require.Equal(t, Open, p.b.ep.Phase(), "a byte before the end")
	p.drop()
	p = openPair(t, table, small)
	p.b.in = join(crossing, header(100_000, wire.Start, wire.Bulk, 0))
	p.b.read()
	p.b.requireReason(Protocol, text)
	p.drop()

	// So with short ones, if not at the very byte.
	p = openPair(t, table, small)
	for range 100 {
		p.b.in = append(p.b.in, join(header(992, wire.Msg, wire.Bulk, 0), make([]byte, 992))...)
		p.b.read()
	}
	require.Equal(t, Open, p.b.ep.Phase())
	for range 100 {
		p.b.in = append(p.b.in, join(header(992, wire.Msg, wire.Bulk, 0), make([]byte, 992))...)
		p.b.read()
	}
	p.b.requireReason(Protocol, text)
	require.LessOrEqual(t, len(p.b.rec.messages), (2*MinWindow+wire.HeaderSize)/1000)
	p.drop()

	// The window of one lane is no window of another, and one that was widened is.
	p = openPair(t, table, small)
	for lane := range wire.Lane(wire.Lanes) {
		p.b.in = join(header(MinWindow-8, wire.Msg, lane, 0), make([]byte, MinWindow-8))
		p.b.read()
	}
	require.Equal(t, Open, p.b.ep.Phase())
	p.b.write(everything, everything)
	p.b.in = crossing
	p.b.read()
	require.Equal(t, Open, p.b.ep.Phase())
	p.drop()
}

// TestWindowOfAPeerThatStops: a sender whose peer acknowledges nothing writes no message
// that begins beyond the window, whatever its lanes hold.
func TestWindowOfAPeerThatStops(t *testing.T) {
	for _, size := range []int{0, 992, 16<<10 + 8, 65528, 200_000} {
		p := openPair(t, newTable(t), func(c *Config) { c.Later, c.Window = true, MinWindow+8 })
		for range min(4<<20/(size+64), 1000) {
			_, _, _ = p.a.table.Send(p.a.handle, wire.Low, 0, make([]byte, size))
		}
		for p.a.write(everything, 10_000) > 0 {
			p.a.deliver(everything)
		}
		want := (MinWindow + 8 + size + 15) / (size + 8)
		require.Len(t, p.b.rec.messages, min(want, 1000), "messages of %d bytes", size)
		p.drop()
	}
}

// resumedHello changes what a side says when it comes back.
type resumedHello struct {
	name   string
	change func(*wire.Hello)
}

// misfits are what a peer may say of a session that cannot be so. It was sent, in NORMAL,
// message 0, which it acknowledged, and 1 and 2; in LOW a part of one of 100000 bytes.
// It has sent one in URGENT.
var misfits = []resumedHello{
	{"another incarnation", func(h *wire.Hello) { h.Incarnation[5]++ }},
	{"more than was sent", func(h *wire.Hello) { h.Points[wire.Normal].Received = 4 }},
	{"more than was touched", func(h *wire.Hello) { h.Points[wire.Low].Received = 2 }},
	{"in a lane that was not used", func(h *wire.Hello) { h.Points[wire.Bulk].Received = 1 }},
	{"it has freed what never came", func(h *wire.Hello) { h.Points[wire.Urgent].Base = 2 }},
	{"a part of another size", func(h *wire.Hello) { h.Points[wire.Low].Total-- }},
	{"a part of one that it acknowledged", func(h *wire.Hello) {
		h.Points[wire.Normal] = wire.Point{Total: 3, Offset: 1, Window: MinWindow}
	}},
	{"a part of a short one", func(h *wire.Hello) {
		h.Points[wire.Normal] = wire.Point{Received: 1, Consumed: 1, Total: 3, Offset: 1, Window: MinWindow}
	}},
	{"a part of one that was never sent", func(h *wire.Hello) {
		h.Points[wire.Normal].Total, h.Points[wire.Normal].Offset = 3, 1
	}},
}

// halfway returns a pair whose link was lost as misfits says, seen from one side.
func halfway(t *testing.T, from func(p *pair) (near, far *side)) *pair {
	p := openPair(t, newTable(t), forEver)
	near, far := from(p)
	near.send(wire.Normal, 0, []byte("one"))
	p.settle()
	far.send(wire.Urgent, 0, []byte("back"))
	near.send(wire.Normal, 0, []byte("two"))
	near.send(wire.Normal, 0, []byte("six"))
	near.send(wire.Low, 0, make([]byte, 100_000))
	near.send(wire.Low, 0, []byte("never"))
	p.settleHalf(far, everything)
	near.write(50_000, 50_000)
	near.deliver(everything)
	require.Equal(t, uint64(1), near.ep.Lane(wire.Normal).Acknowledged)
	require.Equal(t, uint64(1), near.ep.Lane(wire.Low).Maybe)
	p.cut()
	return p
}

// rewrite changes the HELLO in a stream that begins with a preface.
func rewrite(t *testing.T, stream []byte, change func(*wire.Hello)) []byte {
	h := wire.GetHeader(stream[wire.PrefaceSize:])
	require.Equal(t, wire.KindHello, h.Kind())
	hello, err := wire.ParseHello(stream[wire.PrefaceSize+wire.HeaderSize:][:h.Size()])
	require.NoError(t, err)
	change(&hello)
	return wire.AppendHello(wire.AppendPreface(nil, preface), hello)
}

// TestMisfitsAtTheDialler: the accepting side says that it resumed; that cannot be.
func TestMisfitsAtTheDialler(t *testing.T) {
	for _, m := range append(misfits, resumedHello{name: "what fits", change: func(*wire.Hello) {}}) {
		t.Run(m.name, func(t *testing.T) {
			p := halfway(t, func(p *pair) (near, far *side) { return p.a, p.b })
			p.relink()
			p.settleHalf(p.a, everything)
			p.b.write(everything, everything)
			p.b.out = rewrite(t, p.b.out, m.change)
			p.b.deliver(everything)
			if m.name == "what fits" {
				require.Equal(t, Open, p.a.ep.Phase())
			} else {
				p.a.requireReason(Protocol, "the peer resumed the session at a point where it never was")
				require.NotContains(t, p.a.rec.kinds(), EventRestarted)
			}
			p.drop()
		})
	}
}

// TestMisfitsAtTheAcceptingSide: nothing is guessed; the dialler learns by another id.
func TestMisfitsAtTheAcceptingSide(t *testing.T) {
	for _, m := range append(misfits, resumedHello{name: "what fits", change: func(*wire.Hello) {}}) {
		t.Run(m.name, func(t *testing.T) {
			p := halfway(t, func(p *pair) (near, far *side) { return p.b, p.a })
			before, state := p.b, p.b.ep.Lane(wire.Normal)
			p.relink()
			p.a.write(everything, everything)
			p.a.out = rewrite(t, p.a.out, m.change)
			p.a.deliver(everything)
			p.settleHalf(p.b, everything)
			require.Equal(t, Open, p.a.ep.Phase())
			if m.name == "what fits" {
				require.Equal(t, before, p.b)
				require.NotContains(t, p.a.rec.kinds(), EventRestarted)
			} else {
				require.NotEqual(t, before, p.b)
				require.Equal(t, Open, p.b.ep.Phase())
				require.NotEqual(t, before.ep.Session(), p.a.ep.Session())
				require.Contains(t, p.a.rec.kinds(), EventRestarted)
				require.Equal(t, state, before.ep.Lane(wire.Normal), "the session is as it was")
				require.Equal(t, Waiting, before.ep.Phase())
			}
			p.drop()
		})
	}
}

// TestUnknownSession: who names one that nobody has gets a new one.
func TestUnknownSession(t *testing.T) {
	p := newPair(t, newTable(t), forEver)
	p.b.ep.Connect(p.now)
	p.b.in = wire.AppendHello(wire.AppendPreface(nil, preface),
		wire.Hello{Incarnation: [16]byte{1}, Session: [16]byte{1, 2, 3}})
	p.b.read()
	require.Equal(t, Open, p.b.ep.Phase())
	require.Equal(t, p.b.ep.config.Session, p.b.ep.Session())
	p.drop()
}

// TestInsteadOfStart: where a long message goes on after a resumption, START must come,
// as it was.
func TestInsteadOfStart(t *testing.T) {
	for _, c := range []struct {
		frame []byte
		text  string
	}{
		{frame(wire.MakeHeader(8, wire.Frag, wire.Low, 0), make([]byte, 8)), "FRAG in lane LOW out of place"},
		{frame(wire.MakeHeader(8, wire.Msg, wire.Low, 0), make([]byte, 8)), "MSG in lane LOW out of place"},
		{header(1, wire.Skip, wire.Low, 0), "SKIP in lane LOW out of place"},
		{header(0, wire.KindFin, 0, 0), "FIN inside a long message"},
		{header(99_999, wire.Start, wire.Low, 0),
			"START in lane LOW of 99999 bytes in channel 0 for a message of 100000 in channel 0"},
		{header(100_000, wire.Start, wire.Low, 1),
			"START in lane LOW of 100000 bytes in channel 1 for a message of 100000 in channel 0"},
		{join(header(100_000, wire.Start, wire.Low, 0), header(100_000, wire.Start, wire.Low, 0)),
			"START in lane LOW out of place"},
		{nil, ""},
	} {
		for _, side := range []func(p *pair) (near, far *side){
			func(p *pair) (near, far *side) { return p.a, p.b },
			func(p *pair) (near, far *side) { return p.b, p.a },
		} {
			p := halfway(t, side)
			p.relink()
			p.settleHalf(p.a, everything)
			p.b.write(1, everything) // HELLO alone
			p.b.deliver(everything)
			_, far := side(p)
			require.Equal(t, Open, far.ep.Phase())
			far.in = append([]byte{}, c.frame...)
			far.read()
			if c.frame == nil {
				p.settle()
				require.Len(t, far.rec.messages, 5)
			} else {
				far.requireReason(Protocol, c.text)
			}
			p.drop()
		}
	}
}

// TestSecondHello: one on a link, in either direction and whether it resumed or not.
func TestSecondHello(t *testing.T) {
	for _, again := range []bool{false, true} {
		for i := range 2 {
			p := openPair(t, newTable(t), forEver)
			if again {
				p.cut()
				p.relink()
				p.settle()
			}
			s := []*side{p.a, p.b}[i]
			s.in = wire.AppendHello(nil, wire.Hello{Incarnation: [16]byte{1}, Session: s.ep.Session()})
			s.read()
			s.requireReason(Protocol, "second HELLO")
			p.drop()
		}
	}
}

// TestSkipFlood: gaps cost no memory each, also while what comes before them is not
// consumed, and are counted when it is.
func TestSkipFlood(t *testing.T) {
	p := openPair(t, newTable(t), forEverLater)
	p.b.in = frame(wire.MakeHeader(2, wire.Msg, wire.Low, 0), []byte("hi"))
	for range 1000 {
		p.b.in = append(p.b.in, header(1<<31, wire.Skip, wire.Low, 0)...)
	}
	p.b.in = append(p.b.in, frame(wire.MakeHeader(2, wire.Msg, wire.Low, 0), []byte("ho"))...)
	p.b.in = append(p.b.in, header(1, wire.Skip, wire.Low, 0)...)
	p.b.read()
	require.Len(t, p.b.ep.receive.lanes[wire.Low].skips, 2)
	require.Equal(t, uint64(1000<<31+1), p.b.rec.messages[1].id)
	require.Equal(t, uint64(2), p.b.ep.Received(wire.Low))
	p.b.ep.Consumed(p.now, 0, wire.Low, one(2))
	require.Equal(t, uint64(1000<<31+1), p.b.ep.receive.lanes[wire.Low].consumed.Messages)
	p.b.ep.Consumed(p.now, 0, wire.Low, one(2))
	require.Equal(t, uint64(1000<<31+3), p.b.ep.receive.lanes[wire.Low].consumed.Messages)
	require.Empty(t, p.b.ep.receive.lanes[wire.Low].skips)
	p.drop()
}

// TestWideNumbers: what a peer claims of counts and windows overflows nothing.
func TestWideNumbers(t *testing.T) {
	const most = 1<<64 - 1
	h := wire.Hello{Incarnation: [16]byte{1}, Session: [16]byte{2}}
	for i := range h.Points {
		h.Points[i] = wire.Point{Base: most, Consumed: most, Received: most, Window: most}
	}
	p := newPair(t, newTable(t), forEver)
	p.connect()
	p.settleHalf(p.a, everything)
	p.a.in = wire.AppendHello(wire.AppendPreface(nil, preface), h)
	p.a.read()
	require.Equal(t, Open, p.a.ep.Phase())
	p.a.send(wire.Normal, 0, make([]byte, 300_000))
	require.Positive(t, p.a.write(everything, everything))
	require.Greater(t, len(p.a.out), 300_000, "the window is as wide as it says")
	p.a.in = wire.AppendAck(nil, wire.Ack{Lanes: [wire.Lanes]wire.Credit{{Consumed: 1, Window: most}}})
	p.a.read()
	require.Equal(t, Open, p.a.ep.Phase())
	p.drop()
}
