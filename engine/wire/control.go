package wire

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/lyquor/lyquor/engine/wire/fb"

	flatbuffers "github.com/google/flatbuffers/go"
)

// The Append functions append one whole frame to dst: header, table and padding. A
// frame's length is a multiple of 8, so frames appended to one another stay
// aligned. The Parse functions take a frame's payload (Size bytes, without padding),
// verify it before anything else, and copy what they return. Their errors are
// ErrMalformed. None keeps a reference to its arguments.

// Hello opens a direction of a session.
type Hello struct {
	// Incarnation is 128 random bits, drawn when the sending endpoint was created. All
	// zero is refused: it means that nobody drew.
	Incarnation [16]byte
	// MaxMessage is the largest message that the sender of the Hello takes, in bytes;
	// at least DefaultMaxMessage. 0 given to AppendHello stands for that default.
	MaxMessage uint64
	// Agent names the sending program and its version, for people. Append cuts it to
	// MaxAgent bytes and replaces control characters.
	Agent string
	// Session is the secret id of the session: the one to be resumed, or none (all
	// zero); from the side that accepted the link, the one that it belongs to now.
	Session [16]byte
	// Points is where each lane stands. A Hello without them stands for a side that has
	// received nothing, with windows of DefaultWindow; all zero given to AppendHello
	// stands for that default.
	Points [Lanes]Point
}

// Point is where one lane stands at the sender of a Hello. Messages are numbered
// over the life of the endpoint that sends them.
type Point struct {
	Base     uint64 // number of the first message that the sender of the Hello may still send
	Consumed uint64 // of the peer's messages: those below are consumed
	Received uint64 // of the peer's messages: those below are received whole
	Total    uint64 // size of message Received if a part of it is here; 0: none is
	Offset   uint64 // bytes of it that are here, below Total
	Window   uint64 // bytes of messages that may be under way beyond Consumed
}

// AppendHello appends a HELLO frame.
func AppendHello(dst []byte, h Hello) []byte {
	b := newBuilder()
	agent := optionalText(b, cleanText(h.Agent, MaxAgent))
	if h.MaxMessage == 0 {
		h.MaxMessage = DefaultMaxMessage
	}
	points := optionalPoints(b, &h.Points)
	fb.HelloStart(b)
	fb.HelloAddIncarnation(b, fb.CreateIncarnation(b,
		binary.LittleEndian.Uint64(h.Incarnation[:8]), binary.LittleEndian.Uint64(h.Incarnation[8:])))
	fb.HelloAddMaxMessage(b, h.MaxMessage)
	fb.HelloAddAgent(b, agent)
	if h.Session != [16]byte{} {
		fb.HelloAddSession(b, fb.CreateSessionId(b,
			binary.LittleEndian.Uint64(h.Session[:8]), binary.LittleEndian.Uint64(h.Session[8:])))
	}
	fb.HelloAddLanes(b, points)
	return appendFrame(dst, KindHello, b, fb.HelloEnd(b))
}

// optionalPoints writes the lanes' points unless they say nothing.
func optionalPoints(b *flatbuffers.Builder, points *[Lanes]Point) flatbuffers.UOffsetT {
	if *points == defaultPoints || *points == [Lanes]Point{} {
		return 0
	}
	fb.HelloStartLanesVector(b, Lanes)
	for i := Lanes - 1; i >= 0; i-- { // a builder grows downwards
		p := &points[i]
		fb.CreateLanePoint(b, p.Base, p.Consumed, p.Received, p.Total, p.Offset, p.Window)
	}
	return b.EndVector(Lanes)
}

// defaultPoints are those of a Hello that has none.
var defaultPoints = [Lanes]Point{
	{Window: DefaultWindow}, {Window: DefaultWindow}, {Window: DefaultWindow}, {Window: DefaultWindow},
}

// ParseHello reads the payload of a HELLO.
func ParseHello(payload []byte) (Hello, error) {
	if err := verifyControl(payload, &helloTable); err != nil {
		return Hello{}, err
	}
	t := fb.GetRootAsHello(payload, 0)
	h := Hello{MaxMessage: t.MaxMessage(), Agent: string(t.Agent())}
	words := t.Incarnation(nil)
	binary.LittleEndian.PutUint64(h.Incarnation[:8], words.First())
	binary.LittleEndian.PutUint64(h.Incarnation[8:], words.Second())
	if h.Incarnation == [16]byte{} {
		return Hello{}, malformed("Hello.incarnation is all zero; 128 random bits are required")
	}
	if h.MaxMessage < DefaultMaxMessage {
		return Hello{}, malformed("Hello.max_message is %d; at least %d is required", h.MaxMessage, DefaultMaxMessage)
	}
	if err := checkText("Hello.agent", t.Agent(), MaxAgent); err != nil {
		return Hello{}, err
	}
	if s := t.Session(nil); s != nil {
		binary.LittleEndian.PutUint64(h.Session[:8], s.First())
		binary.LittleEndian.PutUint64(h.Session[8:], s.Second())
	}
	var err error
	if h.Points, err = parsePoints(t); err != nil {
		return Hello{}, err
	}
	return h, nil
}

// parsePoints reads the lanes' points and checks what is wrong with them by themselves.
func parsePoints(t *fb.Hello) (points [Lanes]Point, err error) {
	if t.LanesLength() == 0 {
		return defaultPoints, nil
	}
	if t.LanesLength() != Lanes {
		return points, malformed("Hello.lanes has %d entries; %d are required", t.LanesLength(), Lanes)
	}
	var f fb.LanePoint
	for i := range points {
		t.Lanes(&f, i)
		p := Point{f.Base(), f.Consumed(), f.Received(), f.Total(), f.Offset(), f.Window()}
		if p.Consumed > p.Received {
			return points, malformed("Hello.lanes[%d]: consumed %d <= received %d are required",
				i, p.Consumed, p.Received)
		}
		// A message that is here to its last byte is received; no FRAG of it is left to send.
		if p.Offset >= max(p.Total, 1) || p.Total > MaxMessage {
			return points, malformed("Hello.lanes[%d]: offset %d < total %d <= %d, or both 0, are required",
				i, p.Offset, p.Total, uint64(MaxMessage))
		}
		points[i] = p
	}
	return points, nil
}

// Ack says what its sender has consumed, and how much more it takes.
type Ack struct {
	Lanes [Lanes]Credit
}

// Credit is one lane's part of an Ack.
type Credit struct {
	Consumed uint64 // messages of the peer that are consumed, over the life of the peer's endpoint
	Window   uint64 // bytes of messages that may be under way beyond them
}

// AckSize is the size of an Ack's payload, in bytes; a later version may append to it.
const AckSize = Lanes * 16

// AppendAck appends an ACK frame. It allocates nothing if dst has room.
func AppendAck(dst []byte, a Ack) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(MakeHeader(AckSize, KindAck, 0, 0)))
	for _, l := range a.Lanes {
		dst = binary.LittleEndian.AppendUint64(dst, l.Consumed)
		dst = binary.LittleEndian.AppendUint64(dst, l.Window)
	}
	return dst
}

// ParseAck reads the payload of an ACK.
func ParseAck(payload []byte) (a Ack, err error) {
	if len(payload) < AckSize {
		return a, malformed("Ack of %d bytes; at least %d are required", len(payload), AckSize)
	}
	for i := range a.Lanes {
		a.Lanes[i] = Credit{
			Consumed: binary.LittleEndian.Uint64(payload[16*i:]),
			Window:   binary.LittleEndian.Uint64(payload[16*i+8:]),
		}
	}
	return a, nil
}

// Ping asks for a Pong with the same nonce.
type Ping struct {
	Nonce uint64 // any number; the sender recognises the answer by it
}

// AppendPing appends a PING frame.
func AppendPing(dst []byte, p Ping) []byte {
	return appendNonce(dst, KindPing, p.Nonce)
}

// ParsePing reads the payload of a PING.
func ParsePing(payload []byte) (Ping, error) {
	if err := verifyControl(payload, &pingTable); err != nil {
		return Ping{}, err
	}
	return Ping{Nonce: fb.GetRootAsPing(payload, 0).Nonce()}, nil
}

// Pong answers a Ping.
type Pong struct {
	Nonce uint64 // of the Ping
}

// AppendPong appends a PONG frame.
func AppendPong(dst []byte, p Pong) []byte {
	return appendNonce(dst, KindPong, p.Nonce)
}

// nonceTable is a Ping or Pong, which have one layout, with a nonce of which no byte is
// the default; nonceAt is where that lies. Under load pings are sent often enough for
// a builder each to show.
var nonceTable, nonceAt = func() ([]byte, int) {
	const nonce = 0x0807060504030201
	b := newBuilder()
	fb.PingStart(b)
	fb.PingAddNonce(b, nonce)
	t := appendFrame(nil, KindPing, b, fb.PingEnd(b))[HeaderSize:]
	return t, bytes.Index(t, binary.LittleEndian.AppendUint64(nil, nonce))
}()

func appendNonce(dst []byte, kind Kind, nonce uint64) []byte {
	if nonce == 0 { // the default, which a table does not hold
		b := newBuilder()
		fb.PingStart(b)
		return appendFrame(dst, kind, b, fb.PingEnd(b))
	}
	dst = binary.LittleEndian.AppendUint64(dst, uint64(MakeHeader(uint32(len(nonceTable)), kind, 0, 0)))
	dst = append(dst, nonceTable...)
	binary.LittleEndian.PutUint64(dst[len(dst)-len(nonceTable)+nonceAt:], nonce)
	return dst
}

// ParsePong reads the payload of a PONG.
func ParsePong(payload []byte) (Pong, error) {
	if err := verifyControl(payload, &pongTable); err != nil {
		return Pong{}, err
	}
	return Pong{Nonce: fb.GetRootAsPong(payload, 0).Nonce()}, nil
}

// GoAway says that its sender ends the session, and why.
type GoAway struct {
	// Code is 0 for an orderly end, else an error code of lyquor.h, below 0. A peer may
	// send any number: a later version has more codes.
	Code int32
	// Text is the reason in words. Append cuts it to MaxText bytes and replaces
	// control characters.
	Text string
}

// AppendGoAway appends a GOAWAY frame.
func AppendGoAway(dst []byte, g GoAway) []byte {
	b := newBuilder()
	reason := optionalText(b, cleanText(g.Text, MaxText))
	fb.GoAwayStart(b)
	fb.GoAwayAddCode(b, g.Code)
	fb.GoAwayAddText(b, reason)
	return appendFrame(dst, KindGoAway, b, fb.GoAwayEnd(b))
}

// ParseGoAway reads the payload of a GOAWAY.
func ParseGoAway(payload []byte) (GoAway, error) {
	if err := verifyControl(payload, &goAwayTable); err != nil {
		return GoAway{}, err
	}
	t := fb.GetRootAsGoAway(payload, 0)
	if err := checkText("GoAway.text", t.Text(), MaxText); err != nil {
		return GoAway{}, err
	}
	return GoAway{Code: t.Code(), Text: string(t.Text())}, nil
}

// AppendFin appends a FIN frame, which is only a header.
func AppendFin(dst []byte) []byte {
	return binary.LittleEndian.AppendUint64(dst, uint64(MakeHeader(0, KindFin, 0, 0)))
}

// AppendSkip appends SKIP frames that stand for n messages of a lane.
func AppendSkip(dst []byte, lane Lane, n uint64) []byte {
	for n > 0 {
		count := min(n, math.MaxUint32)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(MakeHeader(uint32(count), Skip, lane, 0)))
		n -= count
	}
	return dst
}

// builderSize is what a new builder starts with, in bytes: room for every control
// table with its longest text, so that building is one allocation.
const builderSize = 384

func newBuilder() *flatbuffers.Builder { return flatbuffers.NewBuilder(builderSize) }

// optionalText writes s unless it is empty: offset 0 makes the field absent, and
// absent reads as empty.
func optionalText(b *flatbuffers.Builder, s string) flatbuffers.UOffsetT {
	if s == "" {
		return 0
	}
	return b.CreateString(s)
}

// appendFrame finishes b's table and appends it to dst as one frame.
func appendFrame(dst []byte, kind Kind, b *flatbuffers.Builder, root flatbuffers.UOffsetT) []byte {
	b.Finish(root)
	t := b.FinishedBytes()
	dst = binary.LittleEndian.AppendUint64(dst, uint64(MakeHeader(uint32(len(t)), kind, 0, 0)))
	return appendPadded(dst, t)
}

// verifyControl verifies a table from a peer.
func verifyControl(payload []byte, t *table) error {
	if len(payload) > MaxControl {
		return malformed("%s: %d bytes; at most %d are allowed in a control frame", t.name, len(payload), MaxControl)
	}
	return verify(payload, t)
}
