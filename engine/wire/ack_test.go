package wire

import (
	"testing"

	"github.com/lyquor/lyquor/engine/wire/fb"

	flatbuffers "github.com/google/flatbuffers/go"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestAckIsTheSchemasStruct holds the Ack that is written and read by hand to the
// layout that the schema gives to everybody else.
func TestAckIsTheSchemasStruct(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawAck(t)
		l := &a.Lanes
		b := flatbuffers.NewBuilder(0)
		at := fb.CreateAck(b, l[Normal].Consumed, l[Normal].Window, l[Urgent].Consumed, l[Urgent].Window,
			l[Low].Consumed, l[Low].Window, l[Bulk].Consumed, l[Bulk].Window)
		written := b.Bytes[len(b.Bytes)-int(at):]
		require.Len(t, written, AckSize)
		requireReads(t, written, ParseAck, a)

		var read fb.Ack
		read.Init(payload(t, AppendAck(nil, a), KindAck), 0)
		for lane, credit := range map[Lane]*fb.LaneCredit{
			Normal: read.Normal(nil), Urgent: read.Urgent(nil), Low: read.Low(nil), Bulk: read.Bulk(nil),
		} {
			require.Equal(t, l[lane], Credit{credit.Consumed(), credit.Window()}, lane.String())
		}
	})
}

func TestAckMayBeLongerNeverShorter(t *testing.T) {
	b := payload(t, load(t, "ack"), KindAck)
	require.Len(t, b, AckSize)
	for _, more := range []int{1, 8, MaxControl - AckSize} {
		requireReads(t, append(b[:AckSize:AckSize], make([]byte, more)...), ParseAck, testAck)
	}
	for n := range AckSize {
		a, err := ParseAck(b[:n:n])
		require.ErrorIs(t, err, ErrMalformed)
		require.Zero(t, a)
	}
	_, err := ParseAck(b[:63])
	require.EqualError(t, err, "wire: Ack of 63 bytes; at least 64 are required")
	_, err = ParseAck(nil)
	require.EqualError(t, err, "wire: Ack of 0 bytes; at least 64 are required")
}

// TestAckAllocatesNothing matters because one is sent and read for every few messages.
func TestAckAllocatesNothing(t *testing.T) {
	dst := make([]byte, 0, HeaderSize+AckSize)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		a, err := ParseAck(AppendAck(dst, testAck)[HeaderSize:])
		if err != nil || a != testAck {
			t.Fatal(a, err)
		}
	}))
}
