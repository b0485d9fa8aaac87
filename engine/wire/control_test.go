package wire

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/lyquor/lyquor/engine/wire/fb"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// drawText draws what cleanText leaves alone.
func drawText(t *rapid.T, limit int, label string) string {
	return cleanText(rapid.StringN(-1, -1, limit).Draw(t, label), limit)
}

func drawHello(t *rapid.T) Hello {
	h := Hello{
		MaxMessage: rapid.Uint64Min(DefaultMaxMessage).Draw(t, "max_message"),
		Agent:      drawText(t, MaxAgent, "agent"),
	}
	copy(h.Incarnation[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "incarnation"))
	h.Incarnation[0] |= 1 // never all zero
	if rapid.Bool().Draw(t, "resumes") {
		copy(h.Session[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "session"))
	}
	if rapid.Bool().Draw(t, "has points") {
		for i := range h.Points {
			h.Points[i] = drawPoint(t)
		}
	}
	return h
}

func drawPoint(t *rapid.T) Point {
	p := Point{
		Base:     rapid.Uint64().Draw(t, "base"),
		Received: rapid.Uint64().Draw(t, "received"),
		Total:    rapid.Uint64Max(MaxMessage).Draw(t, "total"),
		Window:   rapid.Uint64().Draw(t, "window"),
	}
	p.Consumed = rapid.Uint64Max(p.Received).Draw(t, "consumed")
	if p.Total > 0 {
		p.Offset = rapid.Uint64Max(p.Total-1).Draw(t, "offset")
	}
	return p
}

// parsed is what h reads as: points that say nothing are the default.
func parsed(h Hello) Hello {
	if h.Points == [Lanes]Point{} {
		h.Points = defaultPoints
	}
	return h
}

func drawAck(t *rapid.T) (a Ack) {
	for i := range a.Lanes {
		a.Lanes[i] = Credit{rapid.Uint64().Draw(t, "consumed"), rapid.Uint64().Draw(t, "window")}
	}
	return a
}

// TestControlRoundTrip appends behind other bytes, so that a frame's content cannot
// depend on where it lies.
func TestControlRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := make([]byte, 8*rapid.IntRange(0, 3).Draw(t, "before"))
		after := func(b []byte) []byte { return b[len(before):] }

		hello := drawHello(t)
		requireParses(t, after(AppendHello(before, hello)), KindHello, ParseHello, parsed(hello))
		ack := drawAck(t)
		requireParses(t, after(AppendAck(before, ack)), KindAck, ParseAck, ack)
		ping := Ping{Nonce: rapid.Uint64().Draw(t, "nonce")}
		requireParses(t, after(AppendPing(before, ping)), KindPing, ParsePing, ping)
		requireParses(t, after(AppendPong(before, Pong(ping))), KindPong, ParsePong, Pong(ping))
		goAway := GoAway{Code: rapid.Int32().Draw(t, "code"), Text: drawText(t, MaxText, "text")}
		requireParses(t, after(AppendGoAway(before, goAway)), KindGoAway, ParseGoAway, goAway)
		require.Empty(t, payload(t, after(AppendFin(before)), KindFin))
	})
}

func TestParseCopies(t *testing.T) {
	b := payload(t, AppendHello(nil, testResume), KindHello)
	h, err := ParseHello(b)
	require.NoError(t, err)
	clear(b)
	require.Equal(t, testResume, h)

	b = payload(t, AppendGoAway(nil, testGoAway), KindGoAway)
	g, err := ParseGoAway(b)
	require.NoError(t, err)
	clear(b)
	require.Equal(t, testGoAway, g)
}

func TestHelloDefaults(t *testing.T) {
	minimal := load(t, "hello-minimal")
	require.Equal(t, minimal, AppendHello(nil, Hello{Incarnation: testIncarnation}))
	require.Equal(t, minimal, AppendHello(nil, Hello{Incarnation: testIncarnation, Points: defaultPoints}))
	h, err := ParseHello(payload(t, minimal, KindHello))
	require.NoError(t, err)
	require.Zero(t, h.Session)
	for _, p := range h.Points {
		require.Equal(t, Point{Window: DefaultWindow}, p)
	}
	// A vector of no lanes is one that is absent, as FlatBuffers has it everywhere.
	h, err = ParseHello(rawPoints())
	require.NoError(t, err)
	require.Equal(t, defaultPoints, h.Points)
}

// TestHelloStatesAllLanesOrNone changes one number of one lane.
func TestHelloStatesAllLanesOrNone(t *testing.T) {
	for lane := range Lanes {
		h := minimalHello
		h.Points[lane].Window = 0
		requireParses(t, AppendHello(nil, h), KindHello, ParseHello, h)
		h = Hello{Incarnation: testIncarnation, MaxMessage: DefaultMaxMessage}
		h.Points[lane].Base = 1
		requireParses(t, AppendHello(nil, h), KindHello, ParseHello, h)
	}
}

// TestHelloOfALaterVersion reads a table with fields that this version has not heard
// of: they are ignored.
func TestHelloOfALaterVersion(t *testing.T) {
	b := newBuilder()
	more := b.CreateString("more")
	b.StartObject(7)
	b.PrependUOffsetTSlot(6, more, 0)
	b.PrependUint64Slot(5, 99, 0)
	fb.HelloAddIncarnation(b, fb.CreateIncarnation(b, 1, 2))
	h, err := ParseHello(payload(t, appendFrame(nil, KindHello, b, b.EndObject()), KindHello))
	require.NoError(t, err)
	require.Equal(t,
		Hello{Incarnation: [16]byte{0: 1, 8: 2}, MaxMessage: DefaultMaxMessage, Points: defaultPoints}, h)
}

func TestAppendMakesTextFit(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"", ""},
		{"plain", "plain"},
		{strings.Repeat("a", 65), strings.Repeat("a", 64)},
		{strings.Repeat("a", 63) + "é", strings.Repeat("a", 63)},
		{strings.Repeat("a", 62) + "é", strings.Repeat("a", 62) + "é"},
		{"two\nlines\x00", "two?lines?"},
		{"bad \xff\xfe utf-8", "bad ? utf-8"},
		{"\u0085 and \x7f", "? and ?"},
		{strings.Repeat("\xff", 100), "?"},
		{"\ufffd stays", "\ufffd stays"},
	} {
		b := AppendHello(nil, Hello{Incarnation: testIncarnation, Agent: c.in})
		h, err := ParseHello(payload(t, b, KindHello))
		require.NoError(t, err)
		require.Equal(t, c.out, h.Agent)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := cleanText(string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")), MaxText)
		require.NoError(t, checkText("s", []byte(s), MaxText))
		require.True(t, utf8.ValidString(s))
	})
}

// rawHello is a HELLO's table as a careless peer may write it.
func rawHello(first, second, maxMessage uint64, agent string) []byte {
	b := newBuilder()
	s := b.CreateString(agent)
	fb.HelloStart(b)
	fb.HelloAddIncarnation(b, fb.CreateIncarnation(b, first, second))
	fb.HelloAddMaxMessage(b, maxMessage)
	fb.HelloAddAgent(b, s)
	b.Finish(fb.HelloEnd(b))
	return b.FinishedBytes()
}

// rawPoints is a HELLO's table with these lanes, whatever their number.
func rawPoints(points ...Point) []byte {
	b := newBuilder()
	fb.HelloStartLanesVector(b, len(points))
	for _, p := range slices.Backward(points) {
		fb.CreateLanePoint(b, p.Base, p.Consumed, p.Received, p.Total, p.Offset, p.Window)
	}
	lanes := b.EndVector(len(points))
	fb.HelloStart(b)
	fb.HelloAddIncarnation(b, fb.CreateIncarnation(b, 0, 1))
	fb.HelloAddLanes(b, lanes)
	b.Finish(fb.HelloEnd(b))
	return b.FinishedBytes()
}

func rawGoAway(text string) []byte {
	b := newBuilder()
	s := b.CreateString(text)
	fb.GoAwayStart(b)
	fb.GoAwayAddText(b, s)
	b.Finish(fb.GoAwayEnd(b))
	return b.FinishedBytes()
}

func TestParseRefuses(t *testing.T) {
	hello := func(b []byte) error { _, err := ParseHello(b); return err }
	goAway := func(b []byte) error { _, err := ParseGoAway(b); return err }
	ping := func(b []byte) error { _, err := ParsePing(b); return err }
	pong := func(b []byte) error { _, err := ParsePong(b); return err }
	pingPayload := payload(t, load(t, "ping-zero"), KindPing)
	for _, c := range []struct {
		parse func([]byte) error
		in    []byte
		text  string
	}{
		{hello, nil, "wire: Hello: 0 bytes; a table needs at least 4"},
		{hello, make([]byte, MaxControl+1), "wire: Hello: 4097 bytes; at most 4096 are allowed in a control frame"},
		{ping, []byte{1, 2, 3}, "wire: Ping: 3 bytes; a table needs at least 4"},
		{pong, []byte{1, 2, 3}, "wire: Pong: 3 bytes; a table needs at least 4"},
		{goAway, []byte{1, 2, 3}, "wire: GoAway: 3 bytes; a table needs at least 4"},
		{hello, pingPayload, "wire: Hello.incarnation is absent; it is required"},
		{hello, rawHello(0, 0, 1<<20, ""), "wire: Hello.incarnation is all zero; 128 random bits are required"},
		{hello, rawHello(0, 1, 1<<20-1, ""), "wire: Hello.max_message is 1048575; at least 1048576 is required"},
		{hello, rawHello(0, 1, 0, ""), "wire: Hello.max_message is 0; at least 1048576 is required"},
		{hello, rawHello(0, 1, 1<<20, strings.Repeat("x", 65)),
			"wire: Hello.agent of 65 bytes; at most 64 are allowed"},
		{hello, rawHello(0, 1, 1<<20, "a\xffb"), `wire: Hello.agent "a\xffb" is not UTF-8`},
		{hello, rawHello(0, 1, 1<<20, "a\nb"),
			`wire: Hello.agent "a\nb" holds the control character U+000A; none are allowed`},
		{goAway, rawGoAway(strings.Repeat("x", 257)), "wire: GoAway.text of 257 bytes; at most 256 are allowed"},
		{goAway, rawGoAway("\x80"), `wire: GoAway.text "\x80" is not UTF-8`},
		{goAway, rawGoAway("\u009b31m"),
			`wire: GoAway.text "\u009b31m" holds the control character U+009B; none are allowed`},
	} {
		err := c.parse(c.in)
		require.EqualError(t, err, c.text)
		require.ErrorIs(t, err, ErrMalformed)
	}
}

// TestParseRefusesPoints checks each number against the one that bounds it.
func TestParseRefusesPoints(t *testing.T) {
	good := Point{Base: 1, Consumed: 5, Received: 5, Total: MaxMessage, Offset: MaxMessage - 1, Window: 1 << 63}
	const required = " are required"
	for _, c := range []struct {
		in   []byte
		text string // empty: accepted
	}{
		{rawPoints(good, good, good, good), ""},
		{rawPoints(Point{}, Point{}, Point{}, Point{}), ""},
		{rawPoints(good), "wire: Hello.lanes has 1 entries; 4" + required},
		{rawPoints(good, good, good), "wire: Hello.lanes has 3 entries; 4" + required},
		{rawPoints(good, good, good, good, good), "wire: Hello.lanes has 5 entries; 4" + required},
		{rawPoints(good, good, Point{Consumed: 6, Received: 5}, good),
			"wire: Hello.lanes[2]: consumed 6 <= received 5" + required},
		{rawPoints(Point{Total: 7, Offset: 8}, good, good, good),
			"wire: Hello.lanes[0]: offset 8 < total 7 <= 4294967295, or both 0," + required},
		{rawPoints(good, Point{Total: 7, Offset: 7}, good, good),
			"wire: Hello.lanes[1]: offset 7 < total 7 <= 4294967295, or both 0," + required},
		{rawPoints(good, Point{Offset: 1}, good, good),
			"wire: Hello.lanes[1]: offset 1 < total 0 <= 4294967295, or both 0," + required},
		{rawPoints(good, good, good, Point{Total: MaxMessage + 1, Offset: 9}),
			"wire: Hello.lanes[3]: offset 9 < total 4294967296 <= 4294967295, or both 0," + required},
	} {
		h, err := ParseHello(c.in)
		if c.text == "" {
			require.NoError(t, err)
			continue
		}
		require.EqualError(t, err, c.text)
		require.ErrorIs(t, err, ErrMalformed)
		require.Zero(t, h, "what is refused is not handed out in part")
	}
}

// wideHello is the largest that there is.
var wideHello = Hello{Incarnation: testIncarnation, MaxMessage: 1 << 63, Agent: strings.Repeat("é", MaxAgent),
	Session: testSession, Points: testResume.Points}

// TestControlFramesFit keeps the largest tables of today far below the limit that
// leaves room for later fields.
func TestControlFramesFit(t *testing.T) {
	require.LessOrEqual(t, len(AppendHello(nil, wideHello)), MaxControl/10)
	require.LessOrEqual(t, len(AppendAck(nil, testAck)), MaxControl/10)
	require.LessOrEqual(t, len(AppendGoAway(nil, GoAway{Code: -1, Text: strings.Repeat("é", MaxText)})), MaxControl/10)
}

// TestAppendDoesNotMoveWhatWasThere appends to a slice with room.
func TestAppendDoesNotMoveWhatWasThere(t *testing.T) {
	b := make([]byte, 8, 1024)
	binary.LittleEndian.PutUint64(b, 42)
	all := AppendPing(AppendAck(AppendHello(b, testHello), testAck), testPing)
	all = AppendFin(AppendGoAway(AppendPong(all, Pong(testPing)), testGoAway))
	require.Same(t, &b[0], &all[0])
	want := join(b, load(t, "hello"), load(t, "ack"),
		load(t, "ping"), load(t, "pong"), load(t, "goaway"), load(t, "fin"))
	require.Equal(t, want, all)
}

// TestBuildingIsOneAllocation compares tables that differ in length alone.
func TestBuildingIsOneAllocation(t *testing.T) {
	dst := make([]byte, 0, MaxControl)
	allocations := func(h Hello) float64 {
		return testing.AllocsPerRun(100, func() { AppendHello(dst, h) })
	}
	short := wideHello
	short.Points, short.Agent = defaultPoints, strings.Repeat("é", MaxAgent/2)
	long := short
	long.Points = testResume.Points
	require.Equal(t, allocations(short), allocations(long))
}
