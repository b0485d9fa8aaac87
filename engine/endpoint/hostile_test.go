package endpoint

import (
	"testing"

	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// hello is a peer's beginning that is in order.
func hello() []byte {
	h := wire.Hello{Incarnation: [16]byte{1}, Session: [16]byte{2}, Agent: "peer"}
	return wire.AppendHello(wire.AppendPreface(nil, preface), h)
}

func header(size uint32, kind wire.Kind, lane wire.Lane, channel uint16) []byte {
	return frame(wire.MakeHeader(size, kind, lane, channel), nil)
}

func join(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// violations are what a peer may do wrong, behind a good beginning unless bare.
var violations = []struct {
	name  string
	bare  bool
	bytes []byte
	code  Code
	text  string
}{
	{"another protocol", true, []byte("GET / HTTP/1.1\r\n\r\n"), Protocol,
		`wire: the peer is not a lyquor: its first bytes are "GET / HT"; "\x8cLYQ\r\n\x1a\n" is required`},
	{"no version in common", true, wire.AppendPreface(nil, wire.Preface{Min: 2, Max: 3}), Version,
		"wire: no wire version in common: this side speaks 1, the peer 2 to 3"},
	{"another suite", true, wire.AppendPreface(nil, wire.Preface{Min: 1, Max: 1, Suite: 9}), Version,
		"wire: this side is set to suite 0 (plaintext), the peer to suite 9; both must be set to the same"},
	{"versions upside down", true, wire.AppendPreface(nil, wire.Preface{Min: 3, Max: 1}), Protocol,
		"wire: preface with wire versions 3 to 1; 1 <= min <= max is required"},
	{"message before HELLO", true, join(wire.AppendPreface(nil, preface), header(0, wire.Msg, 0, 0)), Protocol,
		"MSG before HELLO"},
	{"optional frame before HELLO", true, join(wire.AppendPreface(nil, preface), header(0, 200, 0, 0)), Protocol,
		"kind 200 before HELLO"},
	{"goodbye before HELLO", true, wire.AppendGoAway(wire.AppendPreface(nil, preface), wire.GoAway{}), Protocol,
		"GOAWAY before HELLO"},
	{"HELLO that is no table", true,
		join(wire.AppendPreface(nil, preface), frame(wire.MakeHeader(8, wire.KindHello, 0, 0), make([]byte, 8))),
		Protocol,
		"wire: Hello: vtable of 0 bytes; 4 or more, a multiple of 2 and within 8 bytes are required"},
	{"second HELLO", false, hello()[wire.PrefaceSize:], Protocol, "second HELLO"},
	{"kind 0", false, make([]byte, 8), Protocol,
		"wire: frame of kind 0, which never appears on the wire (header 0x0000000000000000)"},
	{"unknown mandatory kind", false, header(0, 99, 0, 0), Version,
		"wire: frame of kind 99, which is mandatory and unknown to wire version 1"},
	{"a kind of the log", false, header(0, 0x70, 0, 0), Version,
		"wire: frame of kind 112, which is mandatory and unknown to wire version 1"},
	{"lane 4", false, header(0, wire.Msg, 4, 0), Protocol, "wire: MSG in lane 4; lanes are 0 to 3"},
	{"MSG too long", false, header(wire.MaxPayload+1, wire.Msg, 0, 0), Protocol,
		"wire: MSG of size 65537; at most 65536 is allowed"},
	{"FRAG too long", false, header(wire.MaxPayload+1, wire.Frag, 0, 0), Protocol,
		"wire: FRAG of size 65537; at most 65536 is allowed"},
	{"optional frame too long", false, header(wire.MaxPayload+1, 128, 0, 0), Protocol,
		"wire: kind 128 of size 65537; at most 65536 is allowed"},
	{"PING too long", false, header(wire.MaxControl+1, wire.KindPing, 0, 0), Protocol,
		"wire: PING of size 4097; at most 4096 is allowed"},
	{"PING in a lane", false, header(4, wire.KindPing, 1, 0), Protocol,
		"wire: PING with lane 1 and channel 0; both are 0 in control frames"},
	{"PING that is no table", false, frame(wire.MakeHeader(4, wire.KindPing, 0, 0), []byte{9, 9, 9, 9}), Protocol,
		"wire: Ping: table at 151587081; a multiple of 4 within 4 bytes is required"},
	{"PONG that is no table", false, frame(wire.MakeHeader(4, wire.KindPong, 0, 0), []byte{9, 9, 9, 9}), Protocol,
		"wire: Pong: table at 151587081; a multiple of 4 within 4 bytes is required"},
	{"GOAWAY that is no table", false, frame(wire.MakeHeader(4, wire.KindGoAway, 0, 0), []byte{9, 9, 9, 9}), Protocol,
		"wire: GoAway: table at 151587081; a multiple of 4 within 4 bytes is required"},
	{"FIN with a payload", false, header(8, wire.KindFin, 0, 0), Protocol,
		"wire: FIN of size 8; at most 0 is allowed"},
	{"empty START", false, header(0, wire.Start, 0, 0), Protocol, "wire: START of size 0; at least 1 byte is required"},
	{"empty FRAG", false, header(0, wire.Frag, 0, 0), Protocol, "wire: FRAG of size 0; at least 1 byte is required"},
	{"START above the limit", false, header(limit+1, wire.Start, 0, 0), TooLarge,
		"message of 1048577 bytes; at most 1048576 are accepted"},
	{"START of 4 GiB", false, header(1<<32-1, wire.Start, 0, 0), TooLarge,
		"message of 4294967295 bytes; at most 1048576 are accepted"},
	{"FRAG without START", false, frame(wire.MakeHeader(1, wire.Frag, 2, 0), []byte{1}), Protocol,
		"FRAG in lane LOW out of place"},
	{"FRAG in another lane", false,
		join(header(10, wire.Start, 1, 0), frame(wire.MakeHeader(1, wire.Frag, 2, 0), []byte{1})), Protocol,
		"FRAG in lane LOW out of place"},
	{"FRAG beyond the total", false,
		join(header(10, wire.Start, 1, 0), frame(wire.MakeHeader(11, wire.Frag, 1, 0), make([]byte, 11))), Protocol,
		"FRAG in lane URGENT beyond the 10 bytes that START announced"},
	{"FRAG behind the end", false,
		join(header(3, wire.Start, 1, 0), frame(wire.MakeHeader(3, wire.Frag, 1, 0), make([]byte, 3)),
			frame(wire.MakeHeader(1, wire.Frag, 1, 0), make([]byte, 1))), Protocol, "FRAG in lane URGENT out of place"},
	{"MSG inside a long message", false, join(header(10, wire.Start, 1, 0), header(0, wire.Msg, 1, 0)), Protocol,
		"MSG in lane URGENT out of place"},
	{"START inside a long message", false, join(header(10, wire.Start, 1, 0), header(10, wire.Start, 1, 0)), Protocol,
		"START in lane URGENT out of place"},
	{"FIN inside a long message", false, join(header(10, wire.Start, 1, 0), header(0, wire.KindFin, 0, 0)), Protocol,
		"FIN inside a long message"},
	{"HELLO after FIN", false, join(header(0, wire.KindFin, 0, 0), hello()[wire.PrefaceSize:]), Protocol,
		"second HELLO"},
	{"MSG after FIN", false, join(header(0, wire.KindFin, 0, 0), header(0, wire.Msg, 0, 0)), Protocol, "MSG after FIN"},
	{"SKIP after FIN", false, join(header(0, wire.KindFin, 0, 0), header(1, wire.Skip, 0, 0)), Protocol,
		"SKIP after FIN"},
	{"SKIP of 0", false, header(0, wire.Skip, 1, 0), Protocol, "wire: SKIP of size 0; at least 1 message is required"},
	{"SKIP inside a long message", false, join(header(20, wire.Start, 2, 0), header(1, wire.Skip, 2, 0)), Protocol,
		"SKIP in lane LOW out of place"},
	{"SKIP in lane 4", false, header(1, wire.Skip, 4, 0), Protocol, "wire: SKIP in lane 4; lanes are 0 to 3"},
	{"ACK of more than was sent", false,
		wire.AppendAck(nil, wire.Ack{Lanes: [wire.Lanes]wire.Credit{2: {Consumed: 1}}}),
		Protocol, "ACK of 1 messages in lane LOW; 0 were sent"},
	{"ACK that is short", false, frame(wire.MakeHeader(56, wire.KindAck, 0, 0), make([]byte, 56)), Protocol,
		"wire: Ack of 56 bytes; at least 64 are required"},
	{"ACK before HELLO", true, wire.AppendAck(wire.AppendPreface(nil, preface), wire.Ack{}), Protocol,
		"ACK before HELLO"},
	{"START after FIN", false, join(header(0, wire.KindFin, 0, 0), header(9, wire.Start, 0, 0)), Protocol,
		"START after FIN"},
}

// TestViolations: each ends the endpoint with code and text, whatever the chunks in
// which it comes, and the peer is told if it can be. What came before it counts.
func TestViolations(t *testing.T) {
	table := newTable(t)
	for _, v := range violations {
		t.Run(v.name, func(t *testing.T) {
			for _, chunk := range []int{everything, 8, 1} {
				p := newPair(t, table, nil)
				p.a.ep.Connect(p.now)
				p.a.write(everything, everything)
				p.a.out = nil
				input := v.bytes
				if !v.bare {
					input = join(hello(), frame(wire.MakeHeader(2, wire.Msg, 3, 0), []byte("ok")), v.bytes)
				}
				for len(input) > 0 && p.a.ep.Phase() < Closed {
					n := min(chunk, len(input))
					p.a.in, input = append(p.a.in, input[:n]...), input[n:]
					p.a.read()
				}
				p.a.requireReason(v.code, v.text)
				if v.code != NoMemory {
					require.EqualError(t, p.a.err, v.text)
				}
				p.a.write(everything, everything)
				if !p.a.ep.greeted {
					require.Empty(t, p.a.out, "nothing can be said to this peer")
				} else {
					require.Equal(t, wire.AppendGoAway(nil, wire.GoAway{Code: int32(v.code), Text: v.text}), p.a.out)
				}
				if !v.bare {
					require.NotEmpty(t, p.a.rec.messages)
					require.Equal(t, message{wire.Bulk, 0, 0, []byte("ok")}, p.a.rec.messages[0])
				}
				p.drop()
			}
		})
	}
}

// TestNothingIsHandledAfterAViolation, nor after GOAWAY.
func TestNothingIsHandledAfterTheEnd(t *testing.T) {
	for _, end := range [][]byte{header(0, 99, 0, 0), wire.AppendGoAway(nil, wire.GoAway{})} {
		p := openPair(t, newTable(t), nil)
		p.a.in = join(end, header(0, wire.Msg, 0, 0), header(0, 98, 0, 0))
		p.a.read()
		require.Equal(t, Closed, p.a.ep.Phase())
		require.Empty(t, p.a.rec.messages)
		p.drop()
	}
}

// TestViolationWhileAFrameIsBegun: the peer cannot be told inside a frame.
func TestViolationWhileAFrameIsBegun(t *testing.T) {
	p := openPair(t, newTable(t), nil)
	p.a.send(wire.Normal, 0, make([]byte, 50_000))
	p.a.write(everything, 1000)
	p.a.in = header(0, 99, 0, 0)
	p.a.read()
	require.Equal(t, Closed, p.a.ep.Phase())
	require.True(t, p.a.ep.send.control.empty())
	p.drop()
}

// FuzzReceive gives arbitrary bytes, bare or behind a good beginning, in two pieces.
// It must not panic, not hold more than was announced, and come to an end or wait.
func FuzzReceive(f *testing.F) {
	for _, v := range violations {
		f.Add(v.bytes, v.bare, uint16(len(v.bytes)/2))
	}
	f.Add(join(hello(), header(20, wire.Start, 0, 3), frame(wire.MakeHeader(20, wire.Frag, 0, 0), make([]byte, 20)),
		frame(wire.MakeHeader(3, wire.Msg, 1, 0), []byte("abc")), header(0, wire.KindFin, 0, 0),
		wire.AppendGoAway(nil, wire.GoAway{Code: -18, Text: "why"})), true, uint16(40))
	f.Add(join(unnamed(), wire.AppendGoAway(nil, wire.GoAway{Code: -6})), true, uint16(40))
	table := newTable(f)
	f.Fuzz(func(t *testing.T, data []byte, bare bool, cut uint16) {
		p := newPair(t, table, forEver)
		p.connect()
		for _, s := range []*side{p.a, p.b} {
			if !bare {
				s.in = hello()
				s.read()
				require.Equal(t, Open, s.ep.Phase())
			}
			at := min(int(cut), len(data))
			for _, piece := range [][]byte{data[:at], data[at:]} {
				s.in = append(s.in, piece...)
				s.read()
				require.LessOrEqual(t, s.rec.allocated, int64(wire.Lanes*limit))
				require.LessOrEqual(t, s.rec.most, uint64(limit))
				require.Less(t, len(s.ep.send.control.rest()), 2*wire.MaxControl, "what it says is bounded")
			}
			if s.ep.Phase() == Closed {
				_, text := s.ep.Reason()
				require.NotEmpty(t, text)
			} else {
				s.cut()
			}
			s.write(everything, everything)
		}
		p.drop()
	})
}
