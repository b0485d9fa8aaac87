package endpoint

import (
	"fmt"
	"strings"
	"testing"

	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

func TestPhasesHaveNames(t *testing.T) {
	for p := Waiting; p <= Closed; p++ {
		require.NotEmpty(t, p.String())
	}
}

// TestHandshakeInEveryChunking delivers preface and HELLO cut at every position, and
// a byte at a time.
func TestHandshakeInEveryChunking(t *testing.T) {
	table := newTable(t)
	whole := newPair(t, table, nil)
	whole.connect()
	size := whole.a.write(everything, everything)
	whole.drop()
	for cut := 0; cut <= size; cut++ {
		p := newPair(t, table, nil)
		p.connect()
		p.a.write(everything, everything)
		p.a.deliver(cut)
		if cut < size {
			require.Equal(t, Opening, p.b.ep.Phase(), "after %d of %d bytes", cut, size)
			require.Empty(t, p.b.rec.events)
		}
		p.a.deliver(size)
		require.Equal(t, Open, p.b.ep.Phase())
		require.Equal(t, []EventKind{EventUp}, p.b.rec.kinds())
		hello, version := p.b.ep.Peer()
		require.Equal(t, "a", hello.Agent)
		require.Equal(t, uint64(limit), hello.MaxMessage)
		require.Equal(t, byte('a'), hello.Incarnation[0])
		require.Equal(t, uint16(wire.WireVersion), version)
		p.drop()
	}
	p := newPair(t, table, nil)
	p.connect()
	for p.a.ep.Phase() != Open || p.b.ep.Phase() != Open {
		moved := p.a.write(1, 1) + p.b.write(1, 1) + p.a.deliver(1) + p.b.deliver(1)
		require.Positive(t, moved, "stuck in %v and %v", p.a.ep.Phase(), p.b.ep.Phase())
	}
	p.drop()
}

// TestMessagesBeforeHello: nobody has to wait for the peer's HELLO to send what every
// receiver takes.
func TestMessagesBeforeHello(t *testing.T) {
	p := newPair(t, newTable(t), nil)
	p.a.send(wire.Normal, 7, []byte("early"))
	p.connect()
	p.a.write(everything, everything)
	p.a.deliver(everything)
	require.Equal(t, []message{{wire.Normal, 7, 0, []byte("early")}}, p.b.rec.messages)
	require.Equal(t, []EventKind{EventUp}, p.b.rec.kinds())
	p.drop()
}

func TestPeersLimitIsKnownAfterHello(t *testing.T) {
	table := newTable(t)
	p := newPair(t, table, func(c *Config) { c.MaxMessage = 3 << 20 })
	require.Equal(t, uint64(wire.DefaultMaxMessage), p.a.slot.MaxMessage.Load())
	p.connect()
	p.settle()
	require.Equal(t, uint64(3<<20), p.a.slot.MaxMessage.Load())
	p.drop()
	huge := newPair(t, table, func(c *Config) { c.MaxMessage = 1 << 40 })
	huge.connect()
	huge.settle()
	require.Equal(t, uint64(wire.MaxMessage), huge.a.slot.MaxMessage.Load(), "what START can announce")
	huge.drop()
}

func TestHandshakeTimeout(t *testing.T) {
	table := newTable(t)
	p := newPair(t, table, nil)
	p.a.ep.Connect(p.now)
	require.Equal(t, p.now+10*second, p.a.ep.Deadline())
	p.a.ep.Expire(p.now + 10*second - 1)
	require.Equal(t, Opening, p.a.ep.Phase())
	p.a.ep.Expire(p.now + 10*second)
	p.a.requireReason(TimedOut, "no handshake from the peer in time")
	require.Zero(t, p.a.ep.Deadline())
	p.drop()
}

// TestHandshakeTimeoutTellsThePeer: one that sent its preface and no HELLO learns why.
func TestHandshakeTimeoutTellsThePeer(t *testing.T) {
	p := newPair(t, newTable(t), nil)
	p.connect()
	p.settleHalf(p.b, wire.PrefaceSize)
	p.b.out = nil // its HELLO never arrives
	p.a.ep.Expire(p.now + 10*second)
	p.a.write(everything, everything)
	p.a.deliver(everything)
	p.b.requireReason(TimedOut, "closed by the peer: no handshake from the peer in time")
	p.drop()
}

// settleHalf has a side write everything and delivers n bytes of it.
func (p *pair) settleHalf(s *side, n int) {
	s.write(everything, everything)
	s.deliver(n)
}

func TestHalfClose(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	p.a.send(wire.Bulk, 0, []byte("last"))
	p.a.ep.End()
	_, _, err := p.a.table.Send(p.a.handle, wire.Normal, 0, nil)
	require.Error(t, err, "nothing is accepted behind the end")
	p.settle()
	require.Equal(t, []EventKind{EventUp, EventEnded}, p.b.rec.kinds())
	require.Len(t, p.b.rec.messages, 1, "what was accepted came before the end")
	p.b.send(wire.Normal, 0, []byte("answer"))
	p.settle()
	require.Equal(t, []message{{wire.Normal, 0, 0, []byte("answer")}}, p.a.rec.messages)
	require.Equal(t, Open, p.a.ep.Phase())
	p.b.ep.End()
	p.settle()
	require.Equal(t, []EventKind{EventUp, EventEnded}, p.a.rec.kinds())
	require.Equal(t, Open, p.a.ep.Phase(), "both ends said FIN, and nobody GOAWAY")
	require.True(t, p.a.idle())
	p.a.ep.Close(p.now, p.now+second)
	p.settle()
	p.a.requireReason(OK, "closed by this side")
	p.b.requireReason(OK, "closed by the peer")
	p.drop()
}

func TestCloseSendsWhatWasAccepted(t *testing.T) {
	for _, linger := range []int64{second, 0} {
		p := openPair(t, newTable(t), nil)
		for i := range wire.Lane(wire.Lanes) {
			p.a.send(i, 0, make([]byte, 100_000))
		}
		deadline := int64(0)
		if linger > 0 {
			deadline = p.now + linger
		}
		p.a.ep.Close(p.now, deadline)
		p.a.ep.Close(p.now, deadline)
		p.settle()
		p.a.requireReason(OK, "closed by this side")
		p.b.requireReason(OK, "closed by the peer")
		require.Len(t, p.b.rec.messages, wire.Lanes)
		require.Equal(t, wire.LaneAccount{Accepted: 1, Acknowledged: 1}, p.a.ep.Lane(wire.Bulk).LaneAccount)
		require.Equal(t, wire.LaneAccount{Received: 1}, p.b.ep.Lane(wire.Bulk).LaneAccount)
		p.drop()
	}
}

func TestBothCloseAtOnce(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	p.a.ep.Close(p.now, p.now+second)
	p.b.ep.Close(p.now, p.now+second)
	p.settle()
	p.a.requireReason(OK, "closed by this side")
	p.b.requireReason(OK, "closed by this side")
	p.drop()
}

func TestCloseAtOnceDropsWhatIsQueued(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	p.a.send(wire.Normal, 0, make([]byte, 10))
	p.a.ep.Close(p.now, p.now)
	require.Equal(t, Leaving, p.a.ep.Phase())
	require.Equal(t, p.now+second, p.a.ep.Deadline(), "the peer's end is waited for")
	p.settle()
	require.Empty(t, p.b.rec.messages)
	p.a.requireReason(OK, "closed by this side")
	p.b.requireReason(OK, "closed by the peer")
	require.Equal(t, LaneState{LaneAccount: wire.LaneAccount{Accepted: 1, Never: 1}, Queued: 1, QueuedBytes: 24},
		p.a.ep.Lane(wire.Normal))
	p.drop()
}

func TestCloseWithoutLink(t *testing.T) {
	table := newTable(t)
	p := newPair(t, table, nil)
	p.a.ep.Close(p.now, p.now)
	p.a.requireReason(OK, "closed by this side")
	p.b.ep.Close(p.now, p.now+second)
	require.Equal(t, Waiting, p.b.ep.Phase())
	require.Equal(t, p.now+second, p.b.ep.Deadline())
	p.b.ep.Expire(p.now + second)
	p.b.requireReason(OK, "closed by this side")
	p.drop()
}

// TestLingerOutlivesTheHandshake: what the handshake brings does not change when a
// close is over, nor the other way round.
func TestLingerOutlivesTheHandshake(t *testing.T) {
	table := newTable(t)
	p := newPair(t, table, nil)
	p.a.send(wire.Normal, 0, make([]byte, 10))
	p.a.ep.Close(p.now, p.now+3*second)
	p.connect()
	require.Equal(t, p.now+3*second, p.a.ep.Deadline(), "while connecting")
	p.a.write(everything, everything)
	p.a.deliver(everything)
	p.b.write(everything, everything)
	p.b.deliver(everything)
	require.Equal(t, Open, p.a.ep.Phase())
	require.Equal(t, p.now+3*second, p.a.ep.Deadline(), "when open")
	p.a.ep.Expire(p.now + 3*second)
	require.Equal(t, Leaving, p.a.ep.Phase())
	p.drop()

	p = newPair(t, table, nil)
	p.a.ep.Connect(p.now)
	p.a.ep.Close(p.now, 0)
	require.Equal(t, p.now+10*second, p.a.ep.Deadline(), "lingering for ever does not wait for ever for a handshake")
	p.a.ep.Expire(p.now + 10*second)
	p.a.requireReason(TimedOut, "no handshake from the peer in time")
	p.drop()
}

// TestCloseDuringHandshake: the peer's preface and HELLO come after this side's GOAWAY.
func TestCloseDuringHandshake(t *testing.T) {
	p := newPair(t, newTable(t), nil)
	p.connect()
	p.a.ep.Close(p.now, p.now)
	require.Equal(t, Leaving, p.a.ep.Phase())
	p.settle()
	p.a.requireReason(OK, "closed by this side")
	p.b.requireReason(OK, "closed by the peer")
	require.Empty(t, p.a.rec.events, "no UP after close")
	p.drop()

	// The drain outlasts the time for the handshake, which does not matter any more.
	p = newPair(t, newTable(t), nil)
	p.a.ep.Connect(p.now)
	late := p.now + 10*second - 1
	p.a.ep.Close(late, late)
	require.Equal(t, late+drainNanos, p.a.ep.Deadline())
	p.a.ep.Expire(late + drainNanos)
	p.a.requireReason(OK, "closed by this side")
	p.drop()
}

func TestLingerEnds(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	p.a.send(wire.Normal, 0, make([]byte, 50_000))
	p.a.ep.Close(p.now, p.now+second)
	p.a.write(1000, 0) // the link takes nothing
	require.Equal(t, p.now+second, p.a.ep.Deadline())
	p.a.ep.Expire(p.now + second)
	require.Equal(t, Leaving, p.a.ep.Phase())
	require.Equal(t, p.now+second+drainNanos, p.a.ep.Deadline(), "GOAWAY may still go out")
	p.a.ep.Expire(p.now + second + drainNanos)
	p.a.requireReason(OK, "closed by this side")
	p.drop()
}

// TestAbandonInsideAFrame: the frame that has begun is finished, and the peer is told; what
// lies behind it is dropped.
func TestAbandonInsideAFrame(t *testing.T) {
	for _, takes := range []bool{true, false} {
		p := openPair(t, newTable(t), nil)
		p.a.send(wire.Normal, 0, make([]byte, 50_000))
		p.a.send(wire.Normal, 0, make([]byte, 50_000))
		p.a.write(everything, 1000)
		p.a.ep.Close(p.now, p.now)
		require.Equal(t, Leaving, p.a.ep.Phase())
		if takes {
			p.settle()
			require.Len(t, p.b.rec.messages, 1)
			p.b.requireReason(OK, "closed by the peer")
		}
		p.a.ep.Expire(p.now + drainNanos)
		p.a.requireReason(OK, "closed by this side")
		p.drop()
	}
}

// TestDrain: a side that said GOAWAY reads on, and waits for the peer's end for a
// bounded time.
func TestDrain(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	p.b.send(wire.Normal, 0, []byte("on its way"))
	p.b.write(everything, everything)
	p.a.ep.Close(p.now, p.now)
	p.a.write(everything, everything)
	require.True(t, p.a.ep.Flushed())
	p.b.deliver(everything)
	require.Equal(t, Leaving, p.a.ep.Phase())
	require.Equal(t, p.now+drainNanos, p.a.ep.Deadline())
	p.a.ep.Expire(p.now + drainNanos - 1)
	require.Equal(t, Leaving, p.a.ep.Phase())
	p.a.ep.Expire(p.now + drainNanos)
	p.a.requireReason(OK, "closed by this side")
	p.drop()

	p = openPair(t, newTable(t), nil)
	p.a.ep.Close(p.now, p.now)
	p.a.write(everything, everything)
	p.a.ep.Fail(p.now, Reset, "whatever the link says now")
	p.a.requireReason(OK, "closed by this side")
	p.drop()
}

// TestGoAwayIsTheLastFrame: whoever said it says nothing more.
func TestGoAwayIsTheLastFrame(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	p.a.ep.Close(p.now, p.now)
	p.a.write(everything, everything)
	p.b.in = append(p.b.in, p.a.out...)
	p.a.out = nil
	p.b.read()
	p.b.write(everything, everything)
	p.b.deliver(everything)
	p.a.requireReason(OK, "closed by this side")
	require.Zero(t, p.a.write(everything, everything), "nothing follows GOAWAY")
	require.Zero(t, p.b.write(everything, everything))
	p.drop()

	p = openPair(t, newTable(t), nil)
	p.a.ep.Close(p.now, p.now)
	p.a.write(everything, everything)
	p.b.ep.Ping()
	p.settleHalf(p.b, everything)
	require.Zero(t, p.a.write(everything, everything), "nor an answer")
	p.drop()
}

// TestPeersReason: whatever the peer's code is, this side's says that it failed.
func TestPeersReason(t *testing.T) {
	for _, c := range []struct {
		code int32
		want Code
		text string
	}{
		{0, OK, "closed by the peer: why"},
		{-18, Internal, "closed by the peer: why"},
		{-1000, -1000, "closed by the peer: why"},
		{7, Reset, "closed by the peer: why (code 7)"},
		{-65536, Reset, "closed by the peer: why (code -65536)"},
	} {
		p := openPair(t, newTable(t), nil)
		p.a.in = wire.AppendGoAway(nil, wire.GoAway{Code: c.code, Text: "why"})
		p.a.read()
		p.a.requireReason(c.want, c.text)
		p.settle()
		p.b.requireReason(OK, "closed by the peer")
		p.drop()
	}
}

func TestLostLink(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	p.a.send(wire.Normal, 0, make([]byte, 50_000))
	p.a.write(everything, 1000)
	p.a.ep.Fail(p.now, Reset, "connection reset")
	p.a.ep.Fail(p.now, Protocol, "another")
	p.a.requireReason(Reset, "connection reset")
	_, _, err := p.a.table.Send(p.a.handle, wire.Normal, 0, nil)
	require.Error(t, err)
	p.drop()
}

func TestReceiverClosesByANegativeResult(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	p.b.rec.closes = true
	p.a.send(wire.Normal, 0, []byte("x"))
	p.settle()
	p.b.requireReason(Gone, "the callback asked for it")
	require.Zero(t, p.b.rec.held, "nothing is kept for it")
	p.a.requireReason(OK, "closed by the peer")
	p.drop()

	p = openPair(t, newTable(t), nil)
	p.b.ep.Pause()
	p.a.send(wire.Normal, 0, []byte("x"))
	p.a.send(wire.Normal, 0, make([]byte, 100_000))
	p.settle()
	p.b.rec.closes = true
	p.b.ep.Resume(p.now)
	p.b.requireReason(Gone, "the callback asked for it")
	require.Empty(t, p.b.rec.messages, "what waited behind it is not delivered any more")
	p.drop()
}

func TestNoMemoryForALongMessage(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	p.b.rec.refuses = true
	p.a.send(wire.Normal, 0, make([]byte, 100_000))
	p.settle()
	p.b.requireReason(NoMemory, "no memory for a message of 100000 bytes")
	p.a.requireReason(NoMemory, "closed by the peer: no memory for a message of 100000 bytes")
	p.drop()
}

func keepAlive(nanos int64) func(*Config) { return func(c *Config) { c.KeepAlive = nanos } }

func TestKeepAliveAndRoundTrip(t *testing.T) {
	p := openPair(t, newTable(t), func(c *Config) {
		if c.Agent == "a" {
			c.KeepAlive = 15 * second
		}
	})
	require.Zero(t, p.a.ep.RoundTrip())
	require.Equal(t, p.now+15*second, p.a.ep.Deadline())
	require.Zero(t, p.b.ep.Deadline(), "no keep-alive was asked for")
	p.now += 15 * second
	p.a.ep.Expire(p.now)
	p.a.write(everything, everything)
	p.now += 3_000_000
	p.a.deliver(everything)
	p.b.write(everything, everything)
	p.now += 4_000_000
	p.b.deliver(everything)
	require.Equal(t, int64(7_000_000), p.a.ep.RoundTrip())
	require.Equal(t, p.now+15*second, p.a.ep.Deadline(), "silence begins anew")
	p.pass(1000 * second)
	require.Equal(t, Open, p.a.ep.Phase())
	require.Equal(t, Open, p.b.ep.Phase())
	p.drop()
}

func TestKeepAliveGivesUp(t *testing.T) {
	p := openPair(t, newTable(t), keepAlive(15*second))
	begin := p.now
	for i := range int64(2) {
		require.Equal(t, begin+(i+1)*15*second, p.a.ep.Deadline())
		p.a.ep.Expire(p.a.ep.Deadline())
		require.Positive(t, p.a.write(everything, everything), "a ping")
		require.Equal(t, Open, p.a.ep.Phase())
	}
	require.Equal(t, begin+45*second, p.a.ep.Deadline())
	p.a.ep.Expire(begin + 45*second)
	p.a.requireReason(TimedOut, "no sign of life from the peer")
	p.a.out = nil
	p.a.write(everything, everything)
	p.a.deliver(everything)
	p.b.requireReason(TimedOut, "closed by the peer: no sign of life from the peer")
	p.drop()
}

// TestDeafIsNoSilence: who does not read cannot know that the peer is silent, and
// still shows it that this side lives.
func TestDeafIsNoSilence(t *testing.T) {
	p := openPair(t, newTable(t), keepAlive(15*second))
	p.a.ep.SetDeaf(true)
	for range 20 { // b's pings are not read, as the driver would not
		p.now += 15 * second
		p.a.ep.Expire(p.now)
		p.b.ep.Expire(p.now)
		p.a.write(everything, everything)
		p.a.deliver(everything)
		p.b.write(everything, everything)
		require.Equal(t, Open, p.a.ep.Phase())
		require.Equal(t, Open, p.b.ep.Phase(), "b sees pings of a")
	}
	p.a.ep.SetDeaf(false)
	for due := p.a.ep.Deadline(); due <= p.now; due = p.a.ep.Deadline() {
		p.a.ep.Expire(p.now)
		require.Equal(t, Open, p.a.ep.Phase(), "what b sent was not read yet")
	}
	require.Equal(t, p.now+15*second, p.a.ep.Deadline(), "b has all of its time again")
	p.b.deliver(everything)
	p.settle()
	require.Equal(t, Open, p.a.ep.Phase())
	require.Equal(t, Open, p.b.ep.Phase())
	p.drop()
}

// TestPauseHearsAll: what a program does not take keeps its place, and nothing behind it
// that matters to the link waits for that.
func TestPauseHearsAll(t *testing.T) {
	p := openPair(t, newTable(t), keepAlive(15*second))
	p.b.send(wire.Normal, 0, make([]byte, 1000))
	p.b.rec.takes = func(message) bool { return false }
	for range 5 {
		p.a.send(wire.Normal, 0, make([]byte, 100_000))
	}
	p.settle()
	require.True(t, p.b.ep.Paused())
	require.True(t, p.b.ep.Acked(), "the acknowledgement came behind what b did not take")
	require.False(t, p.a.ep.Acked())
	require.Equal(t, uint64(3), p.b.ep.Received(wire.Normal), "a stopped behind the message that crosses the window")
	p.pass(200 * second)
	require.Equal(t, Open, p.b.ep.Phase(), "pings are answered")
	p.a.ep.End()
	p.b.rec.takes = nil
	p.b.ep.Resume(p.now)
	p.settle()
	require.Len(t, p.b.rec.messages, 5)
	require.Equal(t, []EventKind{EventUp, EventEnded}, p.b.rec.kinds())
	require.True(t, p.a.ep.Acked())
	p.drop()
}

// TestPingsThatCannotBeWritten: a full link and a pause leave no more than one.
func TestPingsThatCannotBeWritten(t *testing.T) {
	p := openPair(t, newTable(t), keepAlive(second))
	p.a.ep.SetDeaf(true)
	for range 1000 {
		p.now += second
		p.a.ep.Expire(p.now)
	}
	require.LessOrEqual(t, p.a.write(everything, everything), 64)
	p.drop()
}

// TestPingFloodGetsOneAnswer: a peer that pings and does not read costs no memory.
func TestPingFloodGetsOneAnswer(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	for i := range uint64(10_000) {
		p.a.in = wire.AppendPing(p.a.in[:0], wire.Ping{Nonce: i + 1})
		p.a.read()
	}
	p.a.write(everything, everything)
	want := wire.AppendPong(nil, wire.Pong{Nonce: 10_000})
	require.Equal(t, want, p.a.out)
	require.Empty(t, p.a.ep.send.control.frames, "what is written is not kept")
	p.drop()
}

// TestPongGoesBeforeMessages that wait.
func TestPongGoesBeforeMessages(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	p.a.send(wire.Urgent, 0, []byte("message"))
	p.a.in = wire.AppendPing(nil, wire.Ping{Nonce: 5})
	p.a.read()
	p.a.write(everything, everything)
	require.Equal(t, wire.KindPong, wire.GetHeader(p.a.out).Kind())
	p.drop()
}

func TestStrangePongIsIgnored(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	p.a.in = wire.AppendPong(nil, wire.Pong{Nonce: 77})
	p.a.read()
	require.Equal(t, Open, p.a.ep.Phase())
	require.Zero(t, p.a.ep.RoundTrip())
	p.drop()
}

func TestOptionalKindsAreSkipped(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	p.a.in = append(p.a.in, frame(wire.MakeHeader(3, 200, 99, 7), []byte("new"))...)
	p.a.in = append(p.a.in, frame(wire.MakeHeader(2, wire.Msg, 0, 0), []byte("hi"))...)
	p.a.read()
	require.Equal(t, []message{{0, 0, 0, []byte("hi")}}, p.a.rec.messages)
	p.drop()
}

// frame makes a frame of a header and a payload.
func frame(h wire.Header, payload []byte) []byte {
	b := make([]byte, wire.HeaderSize+wire.Padded(len(payload)))
	wire.PutHeader(b, h)
	copy(b[wire.HeaderSize:], payload)
	return b
}

func TestPauseInsideARun(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	for i := range 10 {
		p.a.send(wire.Lane(i%2), uint16(i), []byte(strings.Repeat("x", i)))
	}
	room := 3
	p.b.rec.takes = func(message) bool { room--; return room >= 0 }
	p.settle()
	require.True(t, p.b.ep.Paused())
	require.Len(t, p.b.rec.messages, 3)
	for i := 0; len(p.b.rec.messages) < 10; i++ {
		require.Less(t, i, 10)
		room = 2
		p.b.ep.Resume(p.now)
	}
	require.False(t, p.b.ep.Paused())
	require.Zero(t, p.b.rec.held)
	counts := [wire.Lanes]uint64{}
	for _, m := range p.b.rec.messages {
		require.Equal(t, counts[m.lane], m.id, "no id twice, none left out")
		require.Len(t, m.data, int(m.channel))
		counts[m.lane]++
	}
	require.Equal(t, [wire.Lanes]uint64{5, 5}, counts)
	p.drop()
}

func TestPauseWithALongMessage(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	p.a.send(wire.Bulk, 9, make([]byte, 100_000))
	p.a.send(wire.Bulk, 9, []byte("behind"))
	takes := false
	p.b.rec.takes = func(message) bool { return takes }
	p.settle()
	require.True(t, p.b.ep.Paused())
	p.b.ep.Resume(p.now)
	require.True(t, p.b.ep.Paused(), "it was offered again and refused again")
	require.Empty(t, p.b.rec.messages)
	require.Positive(t, p.b.rec.allocated)
	takes = true
	p.b.ep.Resume(p.now)
	p.b.read()
	require.Len(t, p.b.rec.messages, 2)
	require.Equal(t, uint64(1), p.b.rec.messages[1].id)
	p.drop()
}

// TestEndWhilePaused: a long message that nobody took goes back.
func TestEndWhilePaused(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	p.b.rec.takes = func(message) bool { return false }
	p.a.send(wire.Bulk, 9, make([]byte, 100_000))
	p.settle()
	require.True(t, p.b.ep.Paused())
	p.b.ep.Fail(p.now, Reset, "lost")
	p.b.ep.Resume(p.now)
	require.Empty(t, p.b.rec.messages)
	p.drop()
}

// TestEndInsideALongMessage: the memory of one that never becomes whole goes back.
func TestEndInsideALongMessage(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	for lane := range wire.Lane(wire.Lanes) {
		p.a.send(lane, 0, make([]byte, 300_000))
	}
	p.a.write(everything, 200_000)
	p.a.deliver(everything)
	require.Positive(t, p.b.rec.allocated)
	p.drop()
}

func TestRest(t *testing.T) {
	table := newTable(t)
	p := openPair(t, table, nil)
	for lane := range wire.Lane(wire.Lanes) {
		p.a.send(lane, 0, []byte("x"))
	}
	require.False(t, p.a.ep.Rest(), "messages wait")
	p.settle()
	require.Positive(t, table.Budget(0).Used.Load())
	require.True(t, p.a.ep.Rest())
	require.True(t, p.b.ep.Rest())
	require.Zero(t, table.Budget(0).Used.Load(), "who rests owns nothing")
	p.a.send(wire.Normal, 0, []byte("again"))
	p.settle()
	require.Equal(t, uint64(1), p.b.rec.messages[4].id)
	p.a.ep.Ping()
	require.True(t, p.a.ep.Rest())
	require.Positive(t, p.a.write(everything, everything), "what is to be said is kept")
	p.drop()
}

func TestCounts(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	sentBefore, _ := p.a.ep.Bytes()
	_, gotBefore := p.b.ep.Bytes()
	require.Equal(t, sentBefore, gotBefore)
	p.a.send(wire.Low, 0, make([]byte, 9))
	require.Equal(t, LaneState{LaneAccount: wire.LaneAccount{Accepted: 1, Never: 1}, Queued: 1, QueuedBytes: 24},
		p.a.ep.Lane(wire.Low))
	require.False(t, p.a.idle())
	p.settle()
	require.True(t, p.a.idle())
	sent, _ := p.a.ep.Bytes()
	_, got := p.b.ep.Bytes()
	require.Equal(t, sentBefore+24, sent)
	require.Equal(t, sent, got)
	require.Equal(t, uint64(1), p.a.ep.Written(wire.Low))
	require.Equal(t, uint64(1), p.b.ep.Received(wire.Low))
	require.True(t, p.a.ep.MakeRoom(wire.Low))
	p.drop()
}

// TestClock: every call that is told the time goes by it.
func TestClock(t *testing.T) {
	for name, call := range map[string]func(e *Endpoint, now int64){
		"Close":     func(e *Endpoint, now int64) { e.Close(now, 0) },
		"Fail":      func(e *Endpoint, now int64) { e.Fail(now, Reset, "") },
		"Retire":    func(e *Endpoint, now int64) { e.Retire(now) },
		"Expire":    func(e *Endpoint, now int64) { e.Expire(now) },
		"Consumed":  func(e *Endpoint, now int64) { e.Consumed(now, 0, wire.Low, outbox.Count{}) },
		"AskForAck": func(e *Endpoint, now int64) { e.AskForAck(now) },
		"Gather":    func(e *Endpoint, now int64) { e.Gather(now, new(Vector), 0) },
		"Resume": func(e *Endpoint, now int64) {
			e.Pause()
			e.Resume(now)
		},
		"Connect": func(e *Endpoint, now int64) {
			e.Retire(0)
			e.Connect(now)
		},
		"Receive": func(e *Endpoint, now int64) {
			_, err := e.Receive(now, nil)
			require.NoError(t, err)
		},
	} {
		p := openPair(t, newTable(t), forEverLater)
		p.a.send(wire.Low, 0, []byte("not acknowledged"))
		p.settle()
		call(p.a.ep, p.now+second)
		require.Equal(t, p.now+second, p.a.ep.now, name)
		p.drop()
	}
}

// TestAllocationsInTheSteadyState: nothing is allocated for each message, in batches
// or one by one.
func TestAllocationsInTheSteadyState(t *testing.T) {
	for _, batch := range []int{1, 100} {
		t.Run(fmt.Sprintf("batches of %d", batch), func(t *testing.T) {
			p := openPair(t, newTable(t), nil)
			quiet := &countingReceiver{}
			p.b.ep.config.Receiver = quiet
			payload := make([]byte, 64)
			link := make([]byte, 0, 64<<10)
			turn := func() {
				for range batch {
					if _, _, err := p.a.table.Send(p.a.handle, wire.Normal, 0, payload); err != nil {
						panic(err)
					}
				}
				p.a.ep.Gather(p.now, &p.a.vector, everything)
				link = link[:0]
				for _, b := range p.a.vector.Slices {
					link = append(link, b...)
				}
				p.a.ep.Wrote(&p.a.vector, len(link))
				if n, err := p.b.ep.Receive(p.now, link); err != nil || n != len(link) {
					panic("not consumed")
				}
				p.b.ep.Gather(p.now, &p.b.vector, everything)
				link = link[:0]
				for _, b := range p.b.vector.Slices {
					link = append(link, b...)
				}
				p.b.ep.Wrote(&p.b.vector, len(link))
				if n, err := p.a.ep.Receive(p.now, link); err != nil || n != len(link) {
					panic("not acknowledged")
				}
			}
			turn()
			require.Zero(t, testing.AllocsPerRun(2000, turn))
			require.Equal(t, 2002*batch, quiet.messages)
			p.drop()
		})
	}
}

// countingReceiver counts messages and keeps nothing.
type countingReceiver struct {
	recorder
	messages int
}

func (r *countingReceiver) Run(frames []byte, _ *[wire.Lanes]uint64) int {
	for done := 0; done < len(frames); done += wire.GetHeader(frames[done:]).FrameSize() {
		r.messages++
	}
	return len(frames)
}
