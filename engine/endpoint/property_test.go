package endpoint

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// sizes of messages in the property: mostly small, sometimes around what changes how
// a message travels.
var sizes = rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 3000),
	rapid.SampledFrom([]int{16<<10 - 1, 16 << 10, 16<<10 + 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 200_000}))

// amounts of bytes that a link takes or gives at once.
var amounts = rapid.OneOf(
	rapid.IntRange(1, 9), rapid.IntRange(1, 2000), rapid.IntRange(1, 100_000), rapid.Just(everything))

// flow is one direction: what was accepted, by lane.
type flow struct {
	from *side
	sent [wire.Lanes][]message
}

// propertyRun holds two endpoints that send to each other.
type propertyRun struct {
	*pair
	flows  [2]*flow
	random *rand.Rand
}

// TestDelivery: whatever is sent, gathered, taken and read in whatever portions, with
// pauses, arrives once, in order in each lane, unchanged; and all memory comes back.
func TestDelivery(t *testing.T) {
	table := newTable(t)
	rapid.Check(t, func(rt *rapid.T) {
		p := newPair(rt, table, keepAlive(second))
		seed := rapid.Uint64().Draw(rt, "seed of payloads")
		run := &propertyRun{pair: p, random: rand.New(rand.NewPCG(seed, 0))}
		run.flows = [2]*flow{{from: p.a}, {from: p.b}}
		for _, s := range []*side{p.a, p.b} {
			s.rec.takes = func(message) bool { return run.random.IntN(8) > 0 }
		}
		p.connect()
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			run.step(rt)
		}
		run.finish(rt)
		p.drop()
	})
}

func (r *propertyRun) step(rt *rapid.T) {
	f := r.flows[rapid.IntRange(0, 1).Draw(rt, "side")]
	s := f.from
	switch rapid.IntRange(0, 5).Draw(rt, "do") {
	case 0, 1:
		for range rapid.IntRange(1, 20).Draw(rt, "messages") {
			lane := wire.Lane(rapid.IntRange(0, wire.Lanes-1).Draw(rt, "lane"))
			r.send(rt, f, lane, sizes.Draw(rt, "size"))
		}
	case 2:
		s.write(amounts.Draw(rt, "most"), amounts.Draw(rt, "accepted"))
	case 3:
		s.deliver(amounts.Draw(rt, "delivered"))
	case 4:
		s.resume()
	case 5:
		r.now += rapid.Int64Range(0, second).Draw(rt, "time")
		s.ep.Expire(r.now)
	}
	require.NotEqual(rt, Closed, s.ep.Phase())
}

func (r *propertyRun) send(rt *rapid.T, f *flow, lane wire.Lane, size int) {
	data, channel := fill(size, r.random), uint16(r.random.Uint32())
	id, _, err := f.from.table.Send(f.from.handle, lane, channel, data)
	if err != nil {
		return // full
	}
	require.Equal(rt, uint64(len(f.sent[lane])), id)
	f.sent[lane] = append(f.sent[lane], message{lane, channel, id, data})
}

// resume goes on with what a pause left.
func (s *side) resume() {
	s.ep.Resume(s.pair.now)
	s.read()
}

// finish lets everything arrive and compares.
func (r *propertyRun) finish(rt *rapid.T) {
	for _, s := range []*side{r.a, r.b} {
		s.rec.takes = nil
	}
	for range 3 {
		r.settle()
		r.a.resume()
		r.b.resume()
	}
	for _, f := range r.flows {
		require.True(rt, f.from.idle())
		require.Empty(rt, f.from.peer().in, "bytes that belong to nothing")
		var got [wire.Lanes][]message
		for _, m := range f.from.peer().rec.messages {
			got[m.lane] = append(got[m.lane], m)
		}
		for lane, want := range f.sent {
			require.Len(rt, got[lane], len(want), "%v", wire.Lane(lane))
			for i, m := range want {
				g := got[lane][i]
				require.Equal(rt, m.id, g.id)
				require.Equal(rt, m.channel, g.channel)
				require.True(rt, bytes.Equal(m.data, g.data), "message %v/%d of %d bytes", m.lane, m.id, len(m.data))
			}
			require.Equal(rt, uint64(len(want)), f.from.ep.Written(wire.Lane(lane)))
		}
	}
}

// TestOrderlyEndDeliversAll: a close with time sends what was accepted however the link
// takes it, and both sides end well.
func TestOrderlyEndDeliversAll(t *testing.T) {
	table := newTable(t)
	rapid.Check(t, func(rt *rapid.T) {
		p := newPair(rt, table, nil)
		seed := rapid.Uint64().Draw(rt, "seed of payloads")
		run := &propertyRun{pair: p, random: rand.New(rand.NewPCG(seed, 0))}
		run.flows = [2]*flow{{from: p.a}, {from: p.b}}
		p.connect()
		for range rapid.IntRange(0, 20).Draw(rt, "messages") {
			lane := wire.Lane(rapid.IntRange(0, wire.Lanes-1).Draw(rt, "lane"))
			run.send(rt, run.flows[0], lane, sizes.Draw(rt, "size"))
		}
		if rapid.Bool().Draw(rt, "half-close first") {
			p.a.ep.End()
		}
		p.a.ep.Close(p.now, 0)
		for range 100_000 {
			accept := amounts.Draw(rt, "amount")
			moved := p.a.write(accept, accept) + p.a.deliver(accept)
			if moved+p.b.write(accept, accept)+p.b.deliver(accept) == 0 {
				break
			}
		}
		p.a.requireReason(OK, "closed by this side")
		p.b.requireReason(OK, "closed by the peer")
		require.Len(rt, p.b.rec.messages, len(run.flows[0].sent[0])+len(run.flows[0].sent[1])+
			len(run.flows[0].sent[2])+len(run.flows[0].sent[3]))
		p.drop()
	})
}
