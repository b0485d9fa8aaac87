package endpoint

import (
	"testing"

	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// forEver makes sessions that outlive any number of links.
func forEver(c *Config) { c.Resume = -1 }

// forEverLater does, and has the program say what it is done with.
func forEverLater(c *Config) { c.Resume, c.Later = -1, true }

// one is the count of one message.
func one(size int) outbox.Count { return outbox.Count{Messages: 1, Bytes: outbox.Charge(size)} }

// TestConsumedBehindHello: what the program is done with after HELLO was written, and
// before the peer's was read, is told all the same.
func TestConsumedBehindHello(t *testing.T) {
	p := openPair(t, newTable(t), forEverLater)
	p.b.send(wire.Low, 0, make([]byte, 10))
	p.settle()
	p.cut()
	p.relink()
	p.a.ep.Consumed(p.now, p.a.ep.Epoch(), wire.Low, one(10))
	p.settle()
	require.Equal(t, Open, p.a.ep.Phase())
	require.True(t, p.b.ep.Acked())
	p.drop()
}

// TestEpochOfWhatWaited: what was received before a restart and taken after it is of the
// earlier epoch, and acknowledged to nobody.
func TestEpochOfWhatWaited(t *testing.T) {
	p := openPair(t, newTable(t), forEverLater)
	takes := false
	var epochs []uint32
	p.a.rec.takes = func(m message) bool {
		if takes {
			epochs = append(epochs, p.a.ep.Epoch())
		}
		return takes
	}
	p.b.send(wire.Low, 0, []byte("1"))
	p.b.send(wire.Low, 0, make([]byte, 70_000))
	p.settle()
	p.restart()
	p.a.cut()
	p.relink()
	p.settle()
	p.b.send(wire.Low, 0, []byte("2"))
	p.settle()
	require.Equal(t, uint32(1), p.a.ep.Epoch())
	takes = true
	p.a.ep.Resume(p.now)
	require.Equal(t, []uint32{0, 0, 1}, epochs)
	require.Equal(t, []EventKind{EventUp, EventDown, EventUp, EventRestarted}, p.a.rec.kinds())
	p.a.ep.Consumed(p.now, 0, wire.Low, one(1))
	p.a.ep.Consumed(p.now, 0, wire.Low, one(70_000))
	require.Zero(t, p.a.ep.receive.stale)
	p.settle()
	require.Equal(t, Open, p.b.ep.Phase(), "nothing was acknowledged that it never sent")
	require.False(t, p.b.ep.Acked())
	p.a.ep.Consumed(p.now, 1, wire.Low, one(1))
	p.settle()
	require.True(t, p.b.ep.Acked())
	require.Equal(t, uint64(3), p.a.ep.Received(wire.Low))
	require.Equal(t, uint64(1), p.a.ep.Lane(wire.Low).Received, "of this peer")
	p.drop()
}

// TestStale: what came whole from a peer that has restarted since counts until the program
// takes it; what never was whole does not.
func TestStale(t *testing.T) {
	p := openPair(t, newTable(t), forEver)
	p.a.rec.takes = func(message) bool { return false }
	p.b.send(wire.Low, 0, []byte("1"))
	p.b.send(wire.Low, 0, make([]byte, 70_000))
	p.settle()
	p.b.send(wire.Low, 0, make([]byte, 100_000))
	p.settleHalf(p.b, 30_000)
	require.NotZero(t, p.a.ep.receive.assembling)
	p.restart()
	p.a.cut()
	p.relink()
	p.settle()
	p.b.send(wire.Low, 0, []byte("of the new peer"))
	p.settle()
	require.Equal(t, outbox.Charge(1)+outbox.Charge(70_000), p.a.ep.receive.stale)
	p.a.ep.config.Window = p.a.ep.receive.stale
	require.False(t, p.a.ep.Swamped())
	p.a.ep.config.Window--
	require.True(t, p.a.ep.Swamped())
	p.a.ep.config.Window = firstWindow
	p.a.rec.takes = nil
	p.a.ep.Resume(p.now)
	require.Zero(t, p.a.ep.receive.stale)
	p.settle()
	require.True(t, p.b.ep.Acked())
	p.drop()
}

// TestSweepAndBase: what was swept before the peer was told anything is never missed by
// it; later, it has to be told.
func TestSweepAndBase(t *testing.T) {
	p := newPair(t, newTable(t), forEver)
	lateIn := func(s *side) {
		_, _, err := s.table.SendUntil(s.handle, wire.Low, 0, []byte("late"), p.now)
		require.NoError(t, err)
		p.now += second
		s.ep.Sweep(p.now, 1<<wire.Low)
	}
	lateIn(p.a)
	lateIn(p.b)
	require.Equal(t, [2]uint64{1, 1}, [2]uint64{p.a.ep.send.base[wire.Low], p.b.ep.send.base[wire.Low]})
	p.connect()
	require.Equal(t, Opening, p.a.ep.Phase())
	require.False(t, p.a.ep.AckPending(), "HELLO has told all")
	lateIn(p.a)
	require.Equal(t, uint64(2), p.a.ep.Passed(wire.Low))
	require.Equal(t, uint64(1), p.a.ep.send.base[wire.Low], "HELLO is under way")
	p.settle()
	require.Zero(t, p.a.ep.Deadline())
	p.a.send(wire.Low, 0, []byte("in time"))
	p.b.send(wire.Low, 0, []byte("in time"))
	p.settle()
	require.Equal(t, []message{{wire.Low, 0, 2, []byte("in time")}}, p.b.rec.messages)
	require.Equal(t, []message{{wire.Low, 0, 1, []byte("in time")}}, p.a.rec.messages)
	require.True(t, p.a.ep.Acked())
	p.drop()
}

// TestSweepWhenDue: the owner is told when it is worth while to look again, and then once.
func TestSweepWhenDue(t *testing.T) {
	p := newPair(t, newTable(t), forEver)
	e := p.a.ep
	at := p.now + 5*second
	for i, lane := range []wire.Lane{wire.Low, wire.Normal} {
		_, _, err := p.a.table.SendUntil(p.a.handle, lane, 0, []byte("late"), at+int64(i)*second)
		require.NoError(t, err)
	}
	e.Sweep(p.now, 0)
	require.Zero(t, e.Deadline(), "nobody waits")
	e.Sweep(p.now, 1<<wire.Lanes-1)
	require.Equal(t, at, e.Deadline(), "the first of what is late then")
	e.Sweep(p.now+1, 1<<wire.Lanes-1)
	require.Equal(t, p.now+int64(sweepPeriod), e.Deadline(), "looked at not long ago")
	e.Expire(e.Deadline())
	require.Zero(t, e.Deadline())
	e.Sweep(at-1, 1<<wire.Low)
	require.Equal(t, at-1+int64(sweepPeriod), e.Deadline(), "not more often than that")
	require.Zero(t, e.Passed(wire.Low))
	e.Expire(e.Deadline())
	e.Sweep(at+second, 1<<wire.Low)
	require.Equal(t, [2]uint64{1, 0}, [2]uint64{e.Passed(wire.Low), e.Passed(wire.Normal)}, "where somebody waits")
	require.Zero(t, e.Deadline())
	p.drop()
}

// TestNothingIsLeftOfALink: what was asked and due on a link that is lost is neither on
// the next.
func TestNothingIsLeftOfALink(t *testing.T) {
	p := openPair(t, newTable(t), forEverLater)
	p.a.send(wire.Low, 0, []byte("not acknowledged"))
	p.settleHalf(p.a, everything)
	require.True(t, p.a.ep.AskForAck(p.now))
	p.settleHalf(p.a, everything)
	require.True(t, p.b.ep.acks.eager)
	p.cut()
	for _, s := range []*side{p.a, p.b} {
		require.False(t, s.ep.AckPending())
		require.False(t, s.ep.acks.eager)
		require.Zero(t, s.ep.Deadline())
	}
	p.now += 100 * second
	p.relink()
	p.settle()
	require.True(t, p.a.ep.AskForAck(p.now), "again, for the peer may not have heard it")
	p.a.write(everything, everything)
	p.now += trip
	p.settle()
	require.Equal(t, trip, p.a.ep.RoundTrip())
	p.drop()
}

// TestWindowAfterARestart: it is whole, whatever was consumed of the earlier peer while
// the new one's HELLO was on its way.
func TestWindowAfterARestart(t *testing.T) {
	p := openPair(t, newTable(t), func(c *Config) { c.Resume, c.Later, c.Window = -1, true, MinWindow })
	p.b.send(wire.Normal, 0, make([]byte, 100_000))
	p.settle()
	p.restart()
	p.a.cut()
	p.relink()
	p.a.ep.Consumed(p.now, 0, wire.Normal, one(100_000))
	for range 2 {
		p.b.send(wire.Normal, 0, make([]byte, 70_000)) // they come in one piece with HELLO
	}
	p.settle()
	require.Equal(t, Open, p.a.ep.Phase())
	require.Equal(t, uint64(1), p.a.ep.Lane(wire.Normal).Received)
	p.a.ep.Consumed(p.now, 1, wire.Normal, one(70_000))
	p.settle()
	require.Equal(t, uint64(2), p.a.ep.Lane(wire.Normal).Received)
	p.drop()
}

// TestSkipThatGotLost: the session goes on, and the peer counts as this side does,
// whether it got SKIP or not before the link was lost.
func TestSkipThatGotLost(t *testing.T) {
	for _, arrives := range []bool{false, true} {
		p := openPair(t, newTable(t), forEver)
		p.restart()
		p.a.cut()
		for range 5 {
			p.a.send(wire.Urgent, 0, []byte("never"))
		}
		p.relink()
		p.settleHalf(p.a, everything)
		p.settleHalf(p.b, everything)
		require.Equal(t, Open, p.a.ep.Phase())
		require.Contains(t, p.a.rec.kinds(), EventRestarted)
		before := p.b
		if arrives {
			p.settleHalf(p.a, everything)
		}
		p.cut()
		require.Equal(t, uint64(5), p.a.send(wire.Urgent, 0, []byte("later")))
		p.relink()
		p.settle()
		require.Equal(t, before, p.b, "the session was resumed")
		require.Equal(t, []message{{wire.Urgent, 0, 5, []byte("later")}}, p.b.rec.messages)
		require.Equal(t, uint64(1), p.b.ep.Lane(wire.Urgent).Received)
		require.True(t, p.a.ep.Acked())
		p.drop()
	}
}

// TestRestartDuringASend: what a producer is still writing when the peer is found to have
// restarted is no part of the account, because it goes to the new one.
func TestRestartDuringASend(t *testing.T) {
	p := openPair(t, newTable(t), forEver)
	var told wire.RestartedDetail
	p.a.rec.heard = func(e Event) {
		if e.Kind == EventRestarted {
			var err error
			told, err = wire.ParseRestartedDetail(e.Detail)
			require.NoError(t, err)
			require.Equal(t, uint32(1), p.a.ep.Epoch())
		}
	}
	p.a.send(wire.Normal, 0, []byte("maybe"))
	p.settleHalf(p.a, 0)
	p.a.send(wire.Normal, 0, []byte("never"))
	claim, err := p.a.table.Claim(p.a.handle, wire.Normal, wire.MakeHeader(4, wire.Msg, wire.Normal, 0), 4)
	require.NoError(t, err)
	p.a.send(wire.Normal, 0, []byte("behind"))
	p.restart()
	p.a.cut()
	p.relink()
	p.settle()
	require.Equal(t, wire.LaneAccount{Accepted: 2, Maybe: 1, Never: 1}, told.Lanes[wire.Normal])
	copy(claim.Bytes(), "slow")
	claim.Publish()
	p.settle()
	require.Equal(t, []message{{wire.Normal, 0, 2, []byte("slow")}, {wire.Normal, 0, 3, []byte("behind")}},
		p.b.rec.messages)
	require.Equal(t, wire.LaneAccount{Accepted: 2, Acknowledged: 2}, p.a.ep.Lane(wire.Normal).LaneAccount)
	p.drop()
}

// TestConsumedAcrossGaps: who is done with messages on both sides of gaps at once is done
// with the gaps.
func TestConsumedAcrossGaps(t *testing.T) {
	p := openPair(t, newTable(t), forEverLater)
	for _, until := range []int64{0, 1, 0, 1, 1, 0, 1} {
		_, _, err := p.a.table.SendUntil(p.a.handle, wire.Low, 0, []byte("message"), until)
		require.NoError(t, err)
	}
	p.settle()
	require.Len(t, p.b.rec.messages, 3)
	require.Equal(t, uint64(5), p.b.rec.messages[2].id)
	p.b.ep.Consumed(p.now, 0, wire.Low, outbox.Count{Messages: 2, Bytes: 2 * outbox.Charge(7)})
	p.settle()
	require.Equal(t, uint64(5), p.a.ep.Passed(wire.Low), "the gap behind them as well")
	p.b.ep.Consumed(p.now, 0, wire.Low, one(7))
	p.settle()
	require.True(t, p.a.ep.Acked())
	require.Equal(t, wire.LaneAccount{Accepted: 7, Acknowledged: 3, Withdrawn: 4}, p.a.ep.Lane(wire.Low).LaneAccount)
	p.drop()
}

// TestResend: a peer that has restarted gets what the earlier one had not acknowledged.
func TestResend(t *testing.T) {
	p := openPair(t, newTable(t), func(c *Config) { c.Resume, c.OnRestart = -1, Resend })
	p.a.send(wire.Normal, 0, []byte("done"))
	p.settle()
	p.a.send(wire.Normal, 0, []byte("got"))
	p.settleHalf(p.a, everything)
	p.a.send(wire.Normal, 0, make([]byte, 100_000))
	p.settleHalf(p.a, 50_000)
	require.Len(t, p.b.rec.messages, 2)
	p.restart()
	p.a.cut()
	p.relink()
	p.settle()
	require.Len(t, p.b.rec.messages, 2)
	require.Equal(t, message{wire.Normal, 0, 1, []byte("got")}, p.b.rec.messages[0])
	require.Len(t, p.b.rec.messages[1].data, 100_000)
	require.True(t, p.a.ep.Acked())
	p.drop()
}

// TestGoodbyeBehindWhatWaits: the peer's end comes behind what it had sent, however long
// the program takes; neither the link's end nor silence nor another link comes first.
func TestGoodbyeBehindWhatWaits(t *testing.T) {
	p := openPair(t, newTable(t), func(c *Config) { c.Resume, c.KeepAlive = -1, second })
	p.b.rec.takes = func(message) bool { return false }
	p.a.send(wire.Normal, 0, []byte("last"))
	p.settleHalf(p.a, everything)
	p.a.ep.Close(p.now, p.now)
	p.settleHalf(p.a, everything)
	p.b.in = append(p.b.in, header(0, 99, 0, 0)...)
	p.b.read()
	p.b.ep.Fail(p.now, Reset, "the end of the stream")
	p.pass(100 * second)
	require.Equal(t, Open, p.b.ep.Phase())
	require.Zero(t, p.b.write(everything, everything), "nobody reads any more")
	p.b.ep.Consumed(p.now, 0, wire.Low, one(wire.DefaultWindow))
	require.False(t, p.b.ep.AckDue(), "nobody waits for it, so neither may the owner")
	p.b.rec.takes = nil
	p.b.ep.Resume(p.now)
	require.Len(t, p.b.rec.messages, 1)
	p.b.requireReason(OK, "closed by the peer")
	p.drop()
}

// TestResumeBy: the time for another link counts from the loss of the last good one,
// whatever attempts fail meanwhile.
func TestResumeBy(t *testing.T) {
	p := openPair(t, newTable(t), func(c *Config) { c.Resume = 60 * second })
	p.now += second
	end := p.now + 60*second
	p.cut()
	for range 5 {
		p.now += 10 * second
		p.a.ep.Fail(p.now, Refused, "connection refused")
		p.a.ep.Connect(p.now)
		p.a.ep.Fail(p.now, Reset, "reset in the handshake")
		require.Equal(t, end, p.a.ep.Deadline())
	}
	p.relink()
	p.settle()
	require.Equal(t, Open, p.a.ep.Phase())
	require.Zero(t, p.a.ep.Deadline(), "a good link ends the count")
	p.cut()
	p.now += 60 * second
	p.b.ep.Expire(p.now)
	p.b.requireReason(Reset, "no other link within 1m0s after this one ended: the link was cut")
	p.drop()
}

// TestLinkGivenUp: a link on which the peer says nothing is given up, and another one
// looked for.
func TestLinkGivenUp(t *testing.T) {
	p := openPair(t, newTable(t), func(c *Config) { c.Resume, c.KeepAlive = -1, second })
	for range 3 {
		p.now += second
		require.Equal(t, Open, p.a.ep.Phase())
		p.a.ep.Expire(p.now)
	}
	require.Equal(t, Waiting, p.a.ep.Phase())
	require.Equal(t, Event{Kind: EventDown, Code: TimedOut}, p.a.rec.events[len(p.a.rec.events)-1])
	p.a.ep.Connect(p.now)
	p.a.ep.Expire(p.now + 10*second)
	require.Equal(t, Waiting, p.a.ep.Phase(), "no handshake came")
	p.b.cut()
	p.drop()
}

// TestRetire: who lives goes on with another link, once; who has ended, or ends, or ends
// with its link, does not.
func TestRetire(t *testing.T) {
	p := openPair(t, newTable(t), forEver)
	require.True(t, p.a.ep.Retire(p.now))
	require.Equal(t, Waiting, p.a.ep.Phase())
	require.Equal(t, Event{Kind: EventDown}, p.a.rec.events[len(p.a.rec.events)-1])
	require.True(t, p.a.ep.Retire(p.now), "without a link, too")
	p.a.in, p.a.out = nil, nil
	p.relink()
	p.settle()
	require.Equal(t, []EventKind{EventUp, EventDown, EventUp}, p.a.rec.kinds())
	p.b.ep.Abort(Internal, "the end")
	p.b.write(everything, everything)
	p.b.deliver(everything)
	p.a.requireReason(Internal, "closed by the peer: the end")
	require.False(t, p.a.ep.Retire(p.now), "the peer has ended it")
	require.Equal(t, Closed, p.a.ep.Phase())
	p.drop()
	p = openPair(t, newTable(t), func(c *Config) { c.Resume = second })
	require.True(t, p.a.ep.Retire(p.now))
	p.a.ep.Expire(p.now + second)
	p.a.requireReason(TimedOut, "no other link within 1s after this one ended: another link takes its place")
	p.cut()
	p.drop()
	p = openPair(t, newTable(t), forEver)
	p.a.ep.Close(p.now, p.now)
	require.Equal(t, Leaving, p.a.ep.Phase())
	require.False(t, p.a.ep.Retire(p.now), "it is leaving")
	p.settle()
	p.drop()
	p = openPair(t, newTable(t), nil)
	require.False(t, p.a.ep.Retire(p.now), "it lives with its link")
	require.Equal(t, Open, p.a.ep.Phase())
	p.cut()
	p.drop()
}

// TestCountsOfPartialWrites: a message of which the link took a byte may be delivered, and
// one of which it took none cannot.
func TestCountsOfPartialWrites(t *testing.T) {
	p := openPair(t, newTable(t), forEver)
	for range 4 {
		p.a.send(wire.Low, 0, make([]byte, 8))
	}
	for _, step := range []struct{ most, maybe int }{{16, 1}, {1, 2}, {15, 2}, {17, 4}, {0, 4}} {
		p.a.write(everything, step.most)
		l := p.a.ep.Lane(wire.Low)
		require.Equal(t, [2]uint64{uint64(step.maybe), uint64(4 - step.maybe)}, [2]uint64{l.Maybe, l.Never})
	}
	p.settle()
	require.True(t, p.a.ep.Acked())
	p.drop()
}

// TestDeafSpeaks: who does not read gives signs of life, counted from whatever it wrote
// last, be it one byte.
func TestDeafSpeaks(t *testing.T) {
	p := openPair(t, newTable(t), func(c *Config) { c.Resume, c.KeepAlive = -1, 10*second })
	p.a.ep.SetDeaf(true)
	p.a.send(wire.Low, 0, []byte("0123456789abcdef"))
	for _, most := range []int{1, 0, everything} {
		p.now += second
		due := p.a.ep.Deadline()
		p.a.ep.Expire(p.now)
		p.a.write(everything, most)
		if most > 0 {
			due = p.now + 10*second
		}
		require.Equal(t, due, p.a.ep.Deadline())
	}
	p.drop()
}

// TestAckPending: what was consumed is told in time, and nothing is to be told else.
func TestAckPending(t *testing.T) {
	p := openPair(t, newTable(t), forEverLater)
	require.False(t, p.b.ep.AckPending())
	p.a.send(wire.Low, 0, make([]byte, 10))
	p.settleHalf(p.a, everything)
	require.False(t, p.b.ep.AckPending(), "received is not consumed")
	p.b.ep.Consumed(p.now, 0, wire.Low, one(10))
	require.True(t, p.b.ep.AckPending(), "late")
	require.False(t, p.b.ep.AckDue())
	p.b.ep.Expire(p.now + ackDelay)
	require.True(t, p.b.ep.AckPending(), "at once")
	require.True(t, p.b.ep.AckDue())
	p.settleHalf(p.b, everything)
	require.False(t, p.b.ep.AckPending())
	p.settle()
	p.drop()
}

// TestGoodbyeTellsOfAcks: whoever closes tells first what it has consumed, though an ACK was put
// off: the peer would have to take it for what may have been delivered.
func TestGoodbyeTellsOfAcks(t *testing.T) {
	for name, linger := range map[string]int64{"at once": 0, "when all is sent": second} {
		p := openPair(t, newTable(t), forEverLater)
		for range 3 {
			p.a.send(wire.Low, 0, make([]byte, 10))
		}
		p.settleHalf(p.a, everything)
		p.b.ep.Consumed(p.now, 0, wire.Low, one(10))
		p.b.ep.Consumed(p.now, 0, wire.Low, one(10))
		require.False(t, p.b.ep.AckDue(), "put off")
		p.b.ep.Close(p.now, p.now+linger)
		p.settle()
		p.a.requireReason(OK, "closed by the peer")
		require.Equal(t, wire.LaneAccount{Accepted: 3, Acknowledged: 2, Maybe: 1},
			p.a.ep.Lane(wire.Low).LaneAccount, name)
		p.drop()
	}
}

// TestUntilAck: while an ACK is put off, the owner knows what has to be consumed for it to be
// due, if there is as much.
func TestUntilAck(t *testing.T) {
	p := openPair(t, newTable(t), forEverLater)
	until := func() uint64 {
		bytes, ok := p.b.ep.UntilAck(wire.Low)
		require.Equal(t, ok, bytes > 0)
		return bytes
	}
	for range 10 {
		p.a.send(wire.Low, 0, make([]byte, 10_000))
	}
	p.settleHalf(p.a, everything)
	require.Zero(t, until(), "nothing is put off")
	p.b.ep.Consumed(p.now, 0, wire.Low, one(10_000))
	charge := outbox.Charge(10_000)
	lacks := p.b.ep.ackAt(wire.Low) - charge
	require.Equal(t, lacks, until())
	for n := charge; n < p.b.ep.ackAt(wire.Low); n += charge {
		require.NotZero(t, until())
		p.b.ep.Consumed(p.now, 0, wire.Low, one(10_000))
	}
	require.True(t, p.b.ep.AckDue())
	require.Zero(t, until(), "it goes out")
	p.settleHalf(p.b, everything)
	p.b.ep.Consumed(p.now, 0, wire.Low, one(10_000))
	require.True(t, p.b.ep.AckPending())
	require.Zero(t, until(), "what is left is too little")
	p.drop()
}

// TestSetLater: from then on the program says what it is done with, until the end.
func TestSetLater(t *testing.T) {
	p := openPair(t, newTable(t), func(c *Config) { c.Window = MinWindow })
	p.b.ep.SetLater(true)
	p.a.send(wire.Low, 0, make([]byte, 10))
	p.a.send(wire.Low, 0, make([]byte, 50_000))
	p.settle()
	require.False(t, p.a.ep.Acked())
	p.b.ep.Consumed(p.now, 0, wire.Low, one(10))
	p.settle()
	require.Equal(t, uint64(1), p.a.ep.Lane(wire.Low).Acknowledged)
	p.b.ep.Abort(Reset, "the end")
	p.b.ep.Consumed(p.now, 0, wire.Low, one(50_000))
	require.False(t, p.b.ep.AckPending(), "there is nobody to be told")
	p.drop()
}

// TestShareOfWindow: a part of the window is told at once when it is consumed, and no
// less than that.
func TestShareOfWindow(t *testing.T) {
	const share = MinWindow / 4
	p := openPair(t, newTable(t), func(c *Config) { c.Resume, c.Later, c.Window = -1, true, MinWindow })
	for _, size := range []int{share - 2*wire.HeaderSize, share - wire.HeaderSize} {
		p.a.send(wire.Low, 0, make([]byte, size))
		p.settleHalf(p.a, everything)
		p.b.ep.Consumed(p.now, 0, wire.Low, one(size))
		require.Equal(t, size == share-wire.HeaderSize, p.b.ep.AckDue())
		p.b.ep.Expire(p.now + ackDelay)
		p.settle()
	}
	require.True(t, p.a.ep.Acked())
	p.drop()
}

// TestSharesOfWindows: of a small window it is a quarter, of a large one less.
func TestSharesOfWindows(t *testing.T) {
	for _, c := range []struct{ window, share uint64 }{
		{64 << 10, 16 << 10}, {256 << 10, 64 << 10}, {1 << 20, 64 << 10}, {8 << 20, 128 << 10},
	} {
		p := openPair(t, newTable(t), func(c *Config) { c.Window = 64 << 10 })
		e := p.b.ep
		e.config.Window, e.windows[wire.Low] = c.window, uint32(c.window)
		e.tell(int(wire.Low))
		e.consume(wire.Low, outbox.Count{Messages: 1, Bytes: c.share - wire.HeaderSize})
		require.False(t, e.AckDue(), "%+v", c)
		e.consume(wire.Low, outbox.Count{Messages: 1, Bytes: wire.HeaderSize})
		require.True(t, e.AckDue(), "%+v", c)
		e.windows[wire.Low] = 64 << 10
		e.config.Window = 64 << 10
		p.drop()
	}
}

// TestHurry: a peer that asks for acknowledgements is told at once of what is consumed,
// until that is all that it had sent, and not for ever.
func TestHurry(t *testing.T) {
	p := openPair(t, newTable(t), forEverLater)
	for range 3 {
		p.a.send(wire.Low, 0, make([]byte, 10))
	}
	p.settleHalf(p.a, everything)
	consume := func() bool {
		p.b.ep.Consumed(p.now, 0, wire.Low, one(10))
		due := p.b.ep.AckDue()
		require.True(t, p.b.ep.AckPending())
		p.settleHalf(p.b, everything)
		return due
	}
	require.False(t, consume())
	require.True(t, p.a.ep.AskForAck(p.now))
	require.False(t, p.a.ep.AskForAck(p.now), "once for what was sent")
	p.settleHalf(p.a, everything)
	require.True(t, p.b.ep.AckDue(), "what was untold")
	p.settleHalf(p.b, everything)
	require.Equal(t, uint64(1), p.a.ep.Lane(wire.Low).Acknowledged)
	require.True(t, consume())
	require.True(t, consume())
	require.True(t, p.a.ep.Acked())
	require.False(t, p.a.ep.AskForAck(p.now), "there is nothing to ask for")
	p.a.send(wire.Low, 0, make([]byte, 10))
	p.settleHalf(p.a, everything)
	require.False(t, consume(), "nobody has asked")
	p.drop()
}

// TestLivesWithItsLink: without time to resume, the link's end is the endpoint's.
func TestLivesWithItsLink(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	p.cut()
	p.a.requireReason(Reset, "the link was cut")
	p.b.requireReason(Reset, "the link was cut")
	p.drop()
}

// TestCloseOverLinks: what was accepted before a close is the peer's before the end,
// over as many links as it takes.
func TestCloseOverLinks(t *testing.T) {
	p := openPair(t, newTable(t), forEver)
	p.a.send(wire.Normal, 0, make([]byte, 300_000))
	p.a.ep.Close(p.now, 0)
	for range 10 {
		p.a.write(everything, 40_000)
		p.a.deliver(everything)
		p.cut()
		p.relink()
		p.settleHalf(p.a, everything)
		p.settleHalf(p.b, everything)
	}
	require.NotEqual(t, Closed, p.a.ep.Phase())
	p.settle()
	require.Len(t, p.b.rec.messages, 1)
	require.Equal(t, []EventKind{EventEnded}, p.b.rec.kinds()[len(p.b.rec.events)-1:])
	p.a.requireReason(OK, "closed by this side")
	p.b.requireReason(OK, "closed by the peer")
	p.drop()
}

// TestCloseAgain: of two times to linger the shorter counts, in either order.
func TestCloseAgain(t *testing.T) {
	for _, times := range [][2]int64{{5, 0}, {0, 5}, {5, 9}, {9, 5}} {
		p := openPair(t, newTable(t), forEver)
		p.a.send(wire.Normal, 0, []byte("late"))
		p.cut()
		begin := p.now
		for _, linger := range times {
			deadline := int64(0)
			if linger != 0 {
				deadline = begin + linger*second
			}
			p.a.ep.Close(p.now, deadline)
		}
		p.now = begin + 5*second - 1
		p.a.ep.Expire(p.now)
		require.Equal(t, Waiting, p.a.ep.Phase())
		p.now++
		p.a.ep.Expire(p.now)
		p.a.requireReason(OK, "closed by this side")
		p.drop()
	}
}

// TestCloseBehindAPause: a program that has paused and closes wants nothing more, so a
// peer that has left is not waited for.
func TestCloseBehindAPause(t *testing.T) {
	for _, early := range []bool{false, true} {
		p := openPair(t, newTable(t), nil)
		p.b.rec.takes = func(message) bool { return false }
		p.a.send(wire.Normal, 0, []byte("not taken"))
		p.a.ep.End()
		p.settle()
		require.True(t, p.b.ep.Paused())
		if early {
			p.b.ep.Close(p.now, 0)
		}
		p.a.ep.Close(p.now, p.now)
		p.settle()
		if !early {
			require.Less(t, p.b.ep.Phase(), Closed, "what came before the end waits for the program")
			p.b.ep.Close(p.now, 0)
		}
		p.settle()
		require.Equal(t, Closed, p.b.ep.Phase())
		p.drop()
	}
}

// TestResumeEndsBehindAPause: what was received whole waits for a program that has paused,
// also when nobody comes back in time.
func TestResumeEndsBehindAPause(t *testing.T) {
	p := openPair(t, newTable(t), func(c *Config) { c.Resume = 60 * second })
	p.b.rec.takes = func(message) bool { return false }
	p.a.send(wire.Normal, 0, []byte("received"))
	p.a.ep.End()
	p.settle()
	require.True(t, p.b.ep.Paused())
	p.b.ep.Fail(p.now, Reset, "the peer was killed")
	p.b.ep.Expire(p.now + 61*second)
	p.b.rec.takes = nil
	p.b.ep.Resume(p.now + 62*second)
	require.Len(t, p.b.rec.messages, 1)
	p.drop()
}
