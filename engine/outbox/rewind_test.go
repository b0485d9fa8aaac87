package outbox

import (
	"math/rand/v2"
	"testing"

	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// mixed sends messages of every form, with padding at chunks' ends and behind
// truncated claims, and returns their payloads.
func mixed(t *testing.T, table *Table, h Handle, random *rand.Rand) (list [][]byte) {
	for i, size := range []int{100, 128, 128, 128, 0, 2000, 1, 128, 600, 7, 128, 120, 128, 5000, 64} {
		data := make([]byte, size)
		fill(data, random)
		if size == 64 || i == 4 {
			c, err := table.Claim(h, wire.Low, wire.MakeHeader(128, wire.Msg, wire.Low, uint16(i)), 128)
			require.NoError(t, err)
			copy(c.Bytes(), data)
			c.Truncate(size)
			c.Publish()
		} else {
			_, _, err := table.Send(h, wire.Low, uint16(i), data)
			require.NoError(t, err)
		}
		list = append(list, data)
	}
	return list
}

// rest takes everything from where the reader is, in runs of up to most bytes.
func (r *Reader) rest(t *testing.T, most int) (list [][]byte) {
	for {
		e, ok := r.Peek(r.Sent(), most)
		if !ok {
			return list
		}
		before := len(list)
		if e.Run == nil {
			list = append(list, e.Payload)
		} else {
			frames(t, e.Run, func(_ wire.Header, payload []byte) { list = append(list, payload) })
		}
		require.Equal(t, len(list)-before, e.Messages())
		r.Advance(e)
	}
}

// charges returns what messages count in flow control.
func charges(list [][]byte) (bytes uint64) {
	for _, data := range list {
		bytes += Charge(len(data))
	}
	return bytes
}

// TestRewindFromAndToEverywhere: with any prefix acknowledged, from any message on, the
// rest comes again as it was.
func TestRewindFromAndToEverywhere(t *testing.T) {
	table := newTable(t, 9, 32)
	s, h, readers := newEndpoint(t, table, 20<<10)
	r := &readers[wire.Low]
	growAll(r)
	list := mixed(t, table, h, rand.New(rand.NewPCG(seeded(t), 0)))
	require.Equal(t, len(list), len(r.rest(t, 300)))
	count := uint64(len(list))
	released := 0
	for acked := range count + 1 {
		require.True(t, r.Acknowledge(acked, func(ref Reference) {
			released++
			require.True(t, table.Release(ref))
		}))
		require.Equal(t, Count{Messages: acked, Bytes: charges(list[:acked])}, r.Acked())
		for to := acked; to <= count; to++ {
			for _, most := range []int{1, 200, 1 << 20} {
				require.True(t, r.Rewind(to))
				require.Equal(t, Count{Messages: to, Bytes: charges(list[:to])}, r.Taken())
				require.Equal(t, count, r.Touched())
				got := r.rest(t, most)
				require.Equal(t, count, r.Written(), "each message counts once")
				require.Len(t, got, int(count-to))
				for i, data := range got {
					require.Equal(t, list[int(to)+i], append([]byte{}, data...), "message %d", int(to)+i)
				}
			}
		}
		require.False(t, r.Rewind(count+1))
		require.False(t, acked > 0 && r.Rewind(acked-1))
	}
	require.Equal(t, 3, released)
	require.False(t, r.Rest(), "nothing is left")
	endLife(t, table, s, readers)
	requireEmpty(t, table)
}

// TestAcknowledgeNeedsTaking: after going back, what is to be taken again cannot be
// acknowledged yet.
func TestAcknowledgeNeedsTaking(t *testing.T) {
	table := newTable(t, 9, 32)
	s, h, readers := newEndpoint(t, table, 20<<10)
	r := &readers[wire.Low]
	growAll(r)
	list := mixed(t, table, h, rand.New(rand.NewPCG(seeded(t), 0)))
	r.rest(t, 1<<20)
	require.True(t, r.Rewind(3))
	require.False(t, r.Acknowledge(4, nil))
	require.Equal(t, Count{}, r.Acked())
	require.True(t, r.Acknowledge(3, nil))
	require.Equal(t, Count{Messages: 3, Bytes: charges(list[:3])}, r.Acked())
	require.True(t, r.Acknowledge(1, nil), "an older one says nothing new")
	require.Equal(t, uint64(3), r.Acked().Messages)
	// A drop counts what was to be taken again as untaken, and frees it.
	require.Equal(t, uint64(len(list)-3), endLife(t, table, s, readers))
	requireEmpty(t, table)
}

// TestTouch: a part that was given counts the message, once, and stays counted.
func TestTouch(t *testing.T) {
	table := newTable(t, 9, 8)
	s, h, readers := newEndpoint(t, table, 0)
	r := &readers[0]
	for range 3 {
		_, _, err := table.Send(h, 0, 0, make([]byte, 20))
		require.NoError(t, err)
	}
	e, _ := r.Peek(r.Sent(), 1<<20)
	require.Equal(t, 4, r.AdvancePart(e, 36))
	require.Equal(t, uint64(1), r.Touched())
	r.Touch()
	r.Touch()
	require.Equal(t, uint64(2), r.Touched())
	require.True(t, r.Rewind(2), "the peer may have all of what was touched")
	require.True(t, r.Rewind(0))
	require.Equal(t, uint64(2), r.Touched(), "going back does not untouch")
	require.Equal(t, uint64(2), r.Written())
	require.False(t, r.Rewind(3))
	e, _ = r.Peek(r.Sent(), 1)
	r.Advance(e)
	require.Equal(t, [2]uint64{2, 2}, [2]uint64{r.Touched(), r.Written()}, "nor does going forward again")
	endLife(t, table, s, readers)
}

// TestWithdraw: what is published is gone, touched or not; what is only claimed stays,
// and its number does.
func TestWithdraw(t *testing.T) {
	table := newTable(t, 9, 32)
	s, h, readers := newEndpoint(t, table, 20<<10)
	r := &readers[wire.Low]
	growAll(r)
	list := mixed(t, table, h, rand.New(rand.NewPCG(seeded(t), 0)))
	count := uint64(len(list))
	e, _ := r.Peek(r.Sent(), 1)
	r.Advance(e)
	claim, err := table.Claim(h, wire.Low, wire.MakeHeader(9, wire.Msg, wire.Low, 0), 9)
	require.NoError(t, err)
	require.Equal(t, count, claim.Sequence)
	released := 0
	release := func(ref Reference) {
		released++
		require.True(t, table.Release(ref))
	}
	r.Withdraw(r.Remaining(), release)
	require.Equal(t, 3, released)
	require.Equal(t, Count{Messages: count, Bytes: charges(list)}, r.Acked())
	require.Equal(t, r.Acked(), r.Taken())
	require.Equal(t, uint64(1), r.Touched())
	require.Equal(t, uint64(1), r.Written(), "what is withdrawn was not sent")
	require.Equal(t, count+1, r.Accepted())
	require.True(t, r.Rewind(count), "there is nothing to go back over")
	require.False(t, r.Rewind(count+1))
	_, ok := r.Message(count)
	require.False(t, ok, "claimed only")
	claim.Publish()
	e, ok = r.Message(count)
	require.True(t, ok)
	require.Equal(t, 1, e.Messages())
	require.Len(t, r.rest(t, 1), 1)
	require.Equal(t, uint64(2), r.Written())
	require.True(t, r.Acknowledge(count+1, release))
	require.False(t, r.Rest())
	endLife(t, table, s, readers)
	requireEmpty(t, table)
}

// TestMessageBehindAClaim: behind a message that is claimed only, none is known yet.
func TestMessageBehindAClaim(t *testing.T) {
	table := newTable(t, 9, 32)
	s, h, readers := newEndpoint(t, table, 20<<10)
	claim, err := table.Claim(h, wire.Low, wire.MakeHeader(9, wire.Msg, wire.Low, 0), 9)
	require.NoError(t, err)
	_, _, err = table.Send(h, wire.Low, 0, []byte("behind"))
	require.NoError(t, err)
	_, ok := readers[wire.Low].Message(1)
	require.False(t, ok)
	claim.Publish()
	_, ok = readers[wire.Low].Message(1)
	require.True(t, ok)
	endLife(t, table, s, readers)
	requireEmpty(t, table)
}
