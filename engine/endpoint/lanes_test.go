package endpoint

import (
	"fmt"
	"testing"

	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// TestSizes sends messages around every boundary, in each lane, before and after
// others, and wants them back.
func TestSizes(t *testing.T) {
	random := seeded(t)
	p := openPair(t, newTable(t), nil)
	sizes := []int{0, 1, 7, 8, 9, 16<<10 - 1, 16 << 10, 16<<10 + 1, 64<<10 - 1, 64 << 10, 64<<10 + 1,
		256 << 10, 256<<10 + 1, limit - 1, limit}
	for _, accept := range []int{everything, 10_007} {
		for lane := range wire.Lane(wire.Lanes) {
			for _, size := range sizes {
				data := fill(size, random)
				id := p.a.send(lane, uint16(size), data)
				for p.a.write(everything, accept)+p.a.deliver(accept) > 0 {
				}
				p.settle()
				require.NotEmpty(t, p.b.rec.messages, "%d bytes in %v", size, lane)
				got := p.b.rec.messages[len(p.b.rec.messages)-1]
				require.Equal(t, id, got.id)
				require.Equal(t, lane, got.lane)
				require.Equal(t, uint16(size), got.channel)
				require.Equal(t, len(data), len(got.data))
				require.True(t, string(data) == string(got.data), "%d bytes in %v came changed", size, lane)
				p.b.rec.messages = p.b.rec.messages[:0]
			}
		}
	}
	_, _, err := p.a.table.Send(p.a.handle, wire.Normal, 0, make([]byte, limit+1))
	require.ErrorIs(t, err, outbox.ErrTooLarge)
	p.drop()
}

// headers returns the headers of the frames in a stream.
func headers(t *testing.T, stream []byte) (list []wire.Header) {
	for len(stream) > 0 {
		h := wire.GetHeader(stream)
		require.NoError(t, wire.Check(h))
		list = append(list, h)
		stream = stream[h.FrameSize():]
	}
	return list
}

// TestPriorityIsStrict: among lanes that have little, the order is that of priority.
func TestPriorityIsStrict(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	for _, lane := range []wire.Lane{wire.Bulk, wire.Low, wire.Normal, wire.Urgent} {
		for range 3 {
			p.a.send(lane, 0, make([]byte, 1000))
		}
	}
	p.a.write(everything, everything)
	var order []wire.Lane
	for _, h := range headers(t, p.a.out) {
		order = append(order, h.Lane())
	}
	want := []wire.Lane{wire.Urgent, wire.Urgent, wire.Urgent, wire.Normal, wire.Normal, wire.Normal,
		wire.Low, wire.Low, wire.Low, wire.Bulk, wire.Bulk, wire.Bulk}
	require.Equal(t, want, order)
	p.drop()
}

// TestUrgentWaitsForOneFrame: urgent data goes right behind the frame that is begun.
// That is a short one if lanes compete.
func TestUrgentWaitsForOneFrame(t *testing.T) {
	for _, competes := range []bool{false, true} {
		for _, size := range []int{limit, 1000} {
			t.Run(fmt.Sprintf("competition %v, messages of %d", competes, size), func(t *testing.T) {
				p := openPair(t, newTable(t), nil)
				for sent := 0; sent < limit; sent += size {
					p.a.send(wire.Bulk, 0, make([]byte, size))
					if competes {
						p.a.send(wire.Low, 0, make([]byte, size))
					}
				}
				p.a.write(256<<10, 30_001)
				before := len(p.a.out)
				p.a.send(wire.Urgent, 0, []byte("now"))
				p.a.write(256<<10, everything)
				at := 0
				for _, h := range headers(t, p.a.out) {
					if h.Lane() == wire.Urgent {
						break
					}
					at += h.FrameSize()
				}
				most := longFrame
				if competes {
					most = shortFrame
				}
				require.LessOrEqual(t, at-before, most+wire.HeaderSize, "bytes before the urgent message")
				p.drop()
			})
		}
	}
}

// shareOf keeps lanes full, writes total bytes in the given portions, and returns
// each lane's share in percent. Windows are wide and everything is acknowledged at
// once, so that priority alone decides.
func shareOf(t *testing.T, full []wire.Lane, size, accept, total int) (share [wire.Lanes]int) {
	p := openPair(t, newTable(t), func(c *Config) { c.Window = 4 << 20 })
	data := make([]byte, size)
	var bytes [wire.Lanes]int
	for wrote := 0; wrote < total; {
		for _, lane := range full {
			for p.a.ep.Lane(lane).QueuedBytes < 1<<20 {
				p.a.send(lane, 0, data)
			}
		}
		wrote += p.a.write(256<<10, accept)
		p.a.deliver(everything)
		p.acknowledge()
		p.b.write(everything, everything)
		p.b.deliver(everything)
	}
	sum := 0
	for _, m := range p.b.rec.messages {
		bytes[m.lane] += len(m.data)
		sum += len(m.data)
	}
	for lane, n := range bytes {
		share[lane] = (n*1000/sum + 5) / 10
	}
	p.drop()
	return share
}

// TestNoClaimOnLater: a lane that has nothing to send while another does has to wait from
// the beginning when it has again.
func TestNoClaimOnLater(t *testing.T) {
	const urgent, low, bulk = lanes(1 << wire.Urgent), lanes(1 << wire.Low), lanes(1 << wire.Bulk)
	var s shares
	s.note(wire.Urgent, lowerShare, urgent|low)
	require.Equal(t, wire.Low, s.choose(urgent|low), "it has waited enough")
	s.note(wire.Urgent, 1, urgent|bulk)
	require.Equal(t, shares{wire.Bulk: 1}, s)
	s.note(wire.Bulk, 1, urgent|bulk)
	require.Equal(t, shares{}, s, "what it had is taken from its share, and no more than that")
	s.note(wire.Urgent, 1, urgent|bulk)
	s.note(wire.Urgent, 1, urgent)
	require.Equal(t, shares{}, s)
}

// TestCreditIsALanesOwn: a lane that waits for the peer's program stops no other, not even
// one that goes after it.
func TestCreditIsALanesOwn(t *testing.T) {
	p := openPair(t, newTable(t), func(c *Config) { c.Later, c.Window = true, MinWindow })
	for range 10 {
		p.a.send(wire.Urgent, 0, make([]byte, 16<<10))
	}
	p.settle()
	require.True(t, p.a.ep.NoCredit(wire.Urgent))
	before := len(p.b.rec.messages)
	p.a.send(wire.Bulk, 0, []byte("of another lane"))
	p.settle()
	require.Equal(t, before+1, len(p.b.rec.messages))
	require.Equal(t, wire.Bulk, p.b.rec.messages[before].lane)
	p.drop()
}

// TestSlices: one write has as many slices as it may, if there is so much.
func TestSlices(t *testing.T) {
	for _, c := range []struct{ size, pings, want int }{{20_000, 0, 62}, {20_001, 1, 64}} {
		p := openPair(t, newTable(t), nil)
		p.a.ep.send.limit[wire.Low] = 1 << 30
		for range 40 {
			p.a.send(wire.Low, 0, make([]byte, c.size)) // a header, the message, and padding unless it is whole words
		}
		for range c.pings {
			p.a.ep.Ping()
		}
		v := &p.a.vector
		p.a.ep.Gather(p.now, v, everything)
		require.Len(t, v.Slices, c.want)
		p.a.ep.Wrote(v, 0)
		p.a.ep.Gather(p.now, v, c.pings*wire.HeaderSize+wire.HeaderSize+20_000)
		require.LessOrEqual(t, len(v.Slices), 4, "one message is as much as there may be")
		p.a.ep.Wrote(v, 0)
		p.drop()
	}
}

// TestMixed: two lanes, whichever they are, and whenever that was.
func TestMixed(t *testing.T) {
	for i := range wire.Lane(wire.Lanes) {
		for k := range i {
			p := openPair(t, newTable(t), nil)
			require.False(t, p.a.ep.Mixed())
			p.a.send(i, 0, nil)
			p.settle()
			p.a.send(i, 0, nil)
			p.settle()
			require.False(t, p.a.ep.Mixed())
			p.a.send(k, 0, nil)
			p.settle()
			require.True(t, p.a.ep.Mixed(), "%v and %v", i, k)
			p.drop()
		}
	}
}

// TestMessagesOfAVector: long ones count for each frame, and what stands for messages that
// are never sent does not.
func TestMessagesOfAVector(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	for _, until := range []int64{0, p.now, p.now, 0} {
		_, _, err := p.a.table.SendUntil(p.a.handle, wire.Low, 0, make([]byte, 10), until)
		require.NoError(t, err)
	}
	p.a.send(wire.Normal, 0, make([]byte, 20_000))
	p.a.ep.Ping()
	v := &p.a.vector
	p.a.ep.Gather(p.now, v, everything)
	require.Equal(t, 1+1+3, v.Messages(), "two short ones; START and two fragments")
	p.a.ep.Wrote(v, 0)
	p.settle()
	p.a.ep.Gather(p.now, v, everything)
	require.Empty(t, v.pieces, "nothing is to be said")
	p.a.ep.Wrote(v, 0)
	p.drop()
}

// TestLowerLanesHaveAFloor: the highest lane that has something gets most, each of
// the others a seventh of that, however the link takes it.
func TestLowerLanesHaveAFloor(t *testing.T) {
	all := []wire.Lane{wire.Normal, wire.Urgent, wire.Low, wire.Bulk}
	for _, size := range []int{100, 16 << 10, 200_000} {
		for _, accept := range []int{everything, 64 << 10, 16_000, 1500} {
			t.Run(fmt.Sprintf("messages of %d, writes of %d", size, accept), func(t *testing.T) {
				total := 16 << 20
				if accept < 10_000 {
					total = 6 << 20
				}
				share := shareOf(t, all, size, accept, total)
				for lane, want := range [wire.Lanes]int{wire.Urgent: 70, wire.Normal: 10, wire.Low: 10, wire.Bulk: 10} {
					require.InDelta(t, want, share[lane], 4, "%v of %v", wire.Lane(lane), share)
				}
				share = shareOf(t, []wire.Lane{wire.Normal, wire.Bulk}, size, accept, total)
				require.InDelta(t, 12.5, share[wire.Bulk], 3, "%v", share)
			})
		}
	}
}
