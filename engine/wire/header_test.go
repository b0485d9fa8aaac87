package wire

import (
	"math"
	"testing"

	"github.com/lyquor/lyquor/engine/wire/fb"

	flatbuffers "github.com/google/flatbuffers/go"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestHeaderRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size, kind := rapid.Uint32().Draw(t, "size"), Kind(rapid.Uint8().Draw(t, "kind"))
		lane, channel := Lane(rapid.Uint8().Draw(t, "lane")), rapid.Uint16().Draw(t, "channel")
		b := make([]byte, HeaderSize)
		PutHeader(b, MakeHeader(size, kind, lane, channel))
		h := GetHeader(b)
		require.Equal(t, size, h.Size())
		require.Equal(t, kind, h.Kind())
		require.Equal(t, lane, h.Lane())
		require.Equal(t, channel, h.Channel())
	})
}

// TestHeaderIsTheSchemasStruct holds the header that is read by hand to the layout
// that the schema gives to everybody else.
func TestHeaderIsTheSchemasStruct(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size, kind := rapid.Uint32().Draw(t, "size"), rapid.Uint8().Draw(t, "kind")
		lane, channel := rapid.Uint8().Draw(t, "lane"), rapid.Uint16().Draw(t, "channel")

		b := flatbuffers.NewBuilder(0)
		at := fb.CreateFrameHeader(b, size, kind, lane, channel)
		written := b.Bytes[len(b.Bytes)-int(at):]
		require.Len(t, written, HeaderSize)
		require.Equal(t, MakeHeader(size, Kind(kind), Lane(lane), channel), GetHeader(written))

		ours := make([]byte, HeaderSize)
		PutHeader(ours, MakeHeader(size, Kind(kind), Lane(lane), channel))
		var read fb.FrameHeader
		read.Init(ours, 0)
		require.Equal(t, []any{size, kind, lane, channel}, []any{read.Size(), read.Kind(), read.Lane(), read.Channel()})
	})
}

func TestNumbersAreTheSchemas(t *testing.T) {
	kinds := map[Kind]fb.Kind{Msg: fb.KindMsg, Start: fb.KindStart, Frag: fb.KindFrag, Skip: fb.KindSkip,
		KindHello: fb.KindHello, KindPing: fb.KindPing, KindPong: fb.KindPong, KindGoAway: fb.KindGoAway,
		KindFin: fb.KindFin,
		KindAck: fb.KindAck}
	require.Len(t, kinds, len(fb.EnumNamesKind))
	for ours, theirs := range kinds {
		require.Equal(t, uint8(theirs), uint8(ours), theirs.String())
	}
	lanes := map[Lane]fb.Lane{Normal: fb.LaneNormal, Urgent: fb.LaneUrgent, Low: fb.LaneLow, Bulk: fb.LaneBulk}
	require.Len(t, lanes, len(fb.EnumNamesLane))
	for ours, theirs := range lanes {
		require.Equal(t, uint8(theirs), uint8(ours), theirs.String())
	}
	states := map[EndpointState]string{Connecting: "Connecting", Up: "Up", Closing: "Closing", Closed: "Closed"}
	require.Len(t, states, len(fb.EnumNamesEndpointState))
	for s, name := range states {
		require.Equal(t, name, s.String())
	}
}

func TestNames(t *testing.T) {
	names := map[Kind]string{Msg: "MSG", Start: "START", Frag: "FRAG", Skip: "SKIP", KindHello: "HELLO",
		KindPing: "PING",
		KindPong: "PONG", KindGoAway: "GOAWAY", KindFin: "FIN", KindAck: "ACK", 0: "kind 0", 99: "kind 99"}
	for k, name := range names {
		require.Equal(t, name, k.String())
	}
	lanes := map[Lane]string{Normal: "NORMAL", Urgent: "URGENT", Low: "LOW", Bulk: "BULK", 4: "lane 4"}
	for l, name := range lanes {
		require.Equal(t, name, l.String())
	}
}

func TestPriorityListsEveryLaneOnce(t *testing.T) {
	require.Equal(t, [Lanes]Lane{Urgent, Normal, Low, Bulk}, Priority)
	require.ElementsMatch(t, []Lane{0, 1, 2, 3}, Priority[:])
}

func TestOptional(t *testing.T) {
	for k := range 256 {
		require.Equal(t, k >= 128, Kind(k).Optional(), k)
	}
}

func TestPadded(t *testing.T) {
	for n, want := range map[int]int{
		0: 0, 1: 8, 7: 8, 8: 8, 9: 16, MaxPayload: MaxPayload, MaxMessage: MaxMessage + 1,
	} {
		require.Equal(t, want, Padded(n), n)
	}
}

func TestFrameSize(t *testing.T) {
	require.Equal(t, 8, MakeHeader(0, Msg, 0, 0).FrameSize())
	require.Equal(t, 16, MakeHeader(1, Msg, 3, 9).FrameSize())
	require.Equal(t, 8+MaxPayload, MakeHeader(MaxPayload, Frag, 0, 0).FrameSize())
	require.Equal(t, 8, MakeHeader(MaxMessage, Start, 0, 0).FrameSize(), "no payload follows a START")
	require.Equal(t, 8, MakeHeader(MaxMessage, Skip, 0, 0).FrameSize(), "no payload follows a SKIP")
	require.Equal(t, 32, MakeHeader(17, 200, 0, 0).FrameSize())
}

// TestAppendSkipCountsThemAll crosses what one header can say.
func TestAppendSkipCountsThemAll(t *testing.T) {
	for _, n := range []uint64{0, 1, math.MaxUint32, math.MaxUint32 + 1, 3*math.MaxUint32 + 5} {
		b, sum := AppendSkip(nil, Bulk, n), uint64(0)
		require.Len(t, b, HeaderSize*int((n+math.MaxUint32-1)/math.MaxUint32))
		for ; len(b) > 0; b = b[HeaderSize:] {
			h := GetHeader(b)
			require.NoError(t, Check(h))
			require.Equal(t, MakeHeader(h.Size(), Skip, Bulk, 0), h)
			sum += uint64(h.Size())
		}
		require.Equal(t, n, sum)
	}
}

func TestCheckPasses(t *testing.T) {
	for _, h := range []Header{
		MakeHeader(0, Msg, Normal, 0), MakeHeader(MaxPayload, Msg, Bulk, 0xffff),
		MakeHeader(1, Start, Low, 7), MakeHeader(MaxMessage, Start, Urgent, 7),
		MakeHeader(1, Frag, Normal, 0), MakeHeader(MaxPayload, Frag, Bulk, 3),
		MakeHeader(1, Skip, Normal, 0), MakeHeader(math.MaxUint32, Skip, Bulk, 0),
		MakeHeader(MaxControl, KindHello, 0, 0), MakeHeader(24, KindPing, 0, 0), MakeHeader(24, KindPong, 0, 0),
		MakeHeader(0, KindGoAway, 0, 0), MakeHeader(0, KindFin, 0, 0),
		MakeHeader(AckSize, KindAck, 0, 0), MakeHeader(MaxControl, KindAck, 0, 0),
		MakeHeader(0, 128, 0, 0), MakeHeader(MaxPayload, 255, 255, 0xffff),
	} {
		require.NoError(t, Check(h), "%#016x", uint64(h))
	}
}

func TestCheckRefuses(t *testing.T) {
	for _, c := range []struct {
		h     Header
		class error
		text  string
	}{
		{0, ErrMalformed, "wire: frame of kind 0, which never appears on the wire (header 0x0000000000000000)"},
		{MakeHeader(5, 0, 1, 2), ErrMalformed,
			"wire: frame of kind 0, which never appears on the wire (header 0x0002010000000005)"},
		{MakeHeader(0, 5, 0, 0), ErrIncompatible,
			"wire: frame of kind 5, which is mandatory and unknown to wire version 1"},
		{MakeHeader(0, 15, 0, 0), ErrIncompatible,
			"wire: frame of kind 15, which is mandatory and unknown to wire version 1"},
		{MakeHeader(0, 22, 0, 0), ErrIncompatible,
			"wire: frame of kind 22, which is mandatory and unknown to wire version 1"},
		{MakeHeader(0, 127, 9, 0), ErrIncompatible,
			"wire: frame of kind 127, which is mandatory and unknown to wire version 1"},
		{MakeHeader(0, Msg, 4, 0), ErrMalformed, "wire: MSG in lane 4; lanes are 0 to 3"},
		{MakeHeader(9, Start, 255, 0), ErrMalformed, "wire: START in lane 255; lanes are 0 to 3"},
		{MakeHeader(9, Frag, 16, 0), ErrMalformed, "wire: FRAG in lane 16; lanes are 0 to 3"},
		{MakeHeader(65537, Msg, 0, 0), ErrMalformed, "wire: MSG of size 65537; at most 65536 is allowed"},
		{MakeHeader(MaxMessage, Frag, 0, 0), ErrMalformed, "wire: FRAG of size 4294967295; at most 65536 is allowed"},
		{MakeHeader(0, Start, 0, 0), ErrMalformed, "wire: START of size 0; at least 1 byte is required"},
		{MakeHeader(0, Frag, 0, 0), ErrMalformed, "wire: FRAG of size 0; at least 1 byte is required"},
		{MakeHeader(1, Skip, 4, 0), ErrMalformed, "wire: SKIP in lane 4; lanes are 0 to 3"},
		{MakeHeader(1, Skip, 3, 9), ErrMalformed, "wire: SKIP with channel 9; 0 is required"},
		{MakeHeader(0, Skip, 0, 0), ErrMalformed, "wire: SKIP of size 0; at least 1 message is required"},
		{MakeHeader(4097, KindHello, 0, 0), ErrMalformed, "wire: HELLO of size 4097; at most 4096 is allowed"},
		{MakeHeader(24, KindPing, 1, 0), ErrMalformed,
			"wire: PING with lane 1 and channel 0; both are 0 in control frames"},
		{MakeHeader(24, KindGoAway, 0, 9), ErrMalformed,
			"wire: GOAWAY with lane 0 and channel 9; both are 0 in control frames"},
		{MakeHeader(AckSize, KindAck, 3, 0), ErrMalformed,
			"wire: ACK with lane 3 and channel 0; both are 0 in control frames"},
		{MakeHeader(4097, KindAck, 0, 0), ErrMalformed, "wire: ACK of size 4097; at most 4096 is allowed"},
		{MakeHeader(1, KindFin, 0, 0), ErrMalformed, "wire: FIN of size 1; at most 0 is allowed"},
		{MakeHeader(65537, 200, 0, 0), ErrMalformed, "wire: kind 200 of size 65537; at most 65536 is allowed"},
	} {
		err := Check(c.h)
		require.EqualError(t, err, c.text)
		require.ErrorIs(t, err, c.class)
	}
}

// TestPlainMsgAgreesWithCheck compares the fast path with the slow one, at every kind
// and lane and on both sides of the limit.
func TestPlainMsgAgreesWithCheck(t *testing.T) {
	for kind := range 256 {
		for lane := range 256 {
			for _, size := range []uint32{0, 1, MaxPayload, MaxPayload + 1, MaxMessage} {
				h := MakeHeader(size, Kind(kind), Lane(lane), 0xa5a5)
				if slow := h.Kind() == Msg && Check(h) == nil; slow != PlainMsg(h) {
					require.Equal(t, slow, PlainMsg(h), "%#016x", uint64(h))
				}
			}
		}
	}
}

func BenchmarkPlainMsg(b *testing.B) {
	h, n := MakeHeader(64, Msg, Urgent, 7), 0
	for b.Loop() {
		if PlainMsg(h) {
			n++
		}
		h ^= 1 << channelShift
	}
	require.Positive(b, n)
}
