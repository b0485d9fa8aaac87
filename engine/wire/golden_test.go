package wire

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the files in testdata from what the code does")

// golden is one vector: a file of testdata that holds its comment and its bytes.
type golden struct {
	name    string // of the file, without .hex
	comment string
	bytes   []byte
	inDoc   bool // docs/protocol.md quotes the file
}

var testIncarnation = [16]byte{0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17,
	0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f}

var testSession = [16]byte{0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27,
	0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f}

// frame builds a data frame, which the package leaves to its users: they own the
// memory that it lies in.
func frame(kind Kind, lane Lane, channel uint16, payload string) []byte {
	b := make([]byte, HeaderSize)
	PutHeader(b, MakeHeader(uint32(len(payload)), kind, lane, channel))
	return appendPadded(b, []byte(payload))
}

func start(total uint32, lane Lane, channel uint16) []byte {
	b := make([]byte, HeaderSize)
	PutHeader(b, MakeHeader(total, Start, lane, channel))
	return b
}

func join(parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

var (
	testHello = Hello{Incarnation: testIncarnation, MaxMessage: 16 << 20, Agent: "demo/1.0",
		Points: defaultPoints}
	minimalHello = Hello{Incarnation: testIncarnation, MaxMessage: DefaultMaxMessage, Points: defaultPoints}
	// testResume is of a side whose link broke while 64 MiB came in the lane BULK.
	testResume = Hello{Incarnation: testIncarnation, MaxMessage: 64 << 20, Agent: "demo/1.0", Session: testSession,
		Points: [Lanes]Point{
			{Base: 1000, Consumed: 2000, Received: 2040, Window: DefaultWindow},
			{Base: 12, Consumed: 5, Received: 5, Window: DefaultWindow},
			{Window: DefaultWindow},
			{Base: 3, Consumed: 7, Received: 8, Total: 64 << 20, Offset: 12_386_304, Window: 4 << 20},
		}}
	testAck = Ack{[Lanes]Credit{
		{2041, DefaultWindow}, {5, DefaultWindow}, {0, DefaultWindow}, {8, 4 << 20}}}
	testPing      = Ping{Nonce: 0x0123456789abcdef}
	testGoAway    = GoAway{Code: -5, Text: "message of 2000000 bytes; at most 1048576 are accepted"}
	testUp        = UpDetail{"tcp://127.0.0.1:7000", "tcp://127.0.0.1:40112", "demo/1.0", 16 << 20, 1}
	testAccepted  = AcceptedDetail{Listener: 0x0200000100000003, Remote: "unix:///tmp/demo"}
	testClosed    = ClosedDetail{Code: -3, Text: "the peer closed", Lanes: testAccounts}
	testRestarted = RestartedDetail{Lanes: testAccounts}
	testAccounts  = [Lanes]LaneAccount{{20, 1, 2, 3, 4, 14}, {36, 5, 6, 7, 8, 18}, {52, 9, 10, 11, 12, 22},
		{68, 13, 14, 15, 16, 26}}
	testEndpoint = EndpointSnapshot{ID: 0x0300000100000007, State: Up, Local: "tcp://127.0.0.1:7000",
		Remote: "tcp://127.0.0.1:40112", RTT: 41_500, Lanes: [Lanes]LaneState{
			{1, 2, 3, 4, 5, 6}, {7, 8, 9, 10, 11, 12}, {13, 14, 15, 16, 17, 18}, {19, 20, 21, 22, 23, 24}}}
	testSnapshot = Snapshot{ID: 0x0100000100000001,
		Workers:   []WorkerSnapshot{{0, []uint64{1, 2, 3}}, {1, nil}},
		Endpoints: []EndpointSnapshot{testEndpoint, {ID: 8, RTT: -1}}}
)

func goldens() []golden {
	longMessage := "a message in two pieces"
	return []golden{
		{"preface", "preface: wire versions 1 to 1, suite 0 (plaintext)",
			AppendPreface(nil, Preface{Min: 1, Max: 1}), true},
		{"msg-empty", "MSG of 0 bytes, lane NORMAL, channel 0", frame(Msg, Normal, 0, ""), true},
		{"msg", `MSG "hello", lane URGENT, channel 0x1234`, frame(Msg, Urgent, 0x1234, "hello"), true},
		{"fragments", `START of 23 bytes in lane BULK, channel 5; FRAG "a message in"; MSG "now" in lane URGENT,` +
			` channel 0; FRAG " two pieces"`,
			join(start(uint32(len(longMessage)), Bulk, 5), frame(Frag, Bulk, 5, longMessage[:12]),
				frame(Msg, Urgent, 0, "now"), frame(Frag, Bulk, 5, longMessage[12:])), true},
		{"skip", "SKIP of 3 messages in lane LOW", AppendSkip(nil, Low, 3), true},
		{"hello", "HELLO: incarnation 10 11 ... 1f, max_message 16777216, agent demo/1.0",
			AppendHello(nil, testHello), true},
		{"hello-minimal", "HELLO: incarnation 10 11 ... 1f, all else absent",
			AppendHello(nil, minimalHello), true},
		{"hello-resume", "HELLO: incarnation 10 11 ... 1f, max_message 67108864, agent demo/1.0, " +
			"session 20 21 ... 2f," +
			" lanes", AppendHello(nil, testResume), true},
		{"ack", "ACK: consumed 2041, 5, 0, 8; windows of 262144 three times, of 4194304 in BULK",
			AppendAck(nil, testAck), true},
		{"ping", "PING: nonce 0x0123456789abcdef", AppendPing(nil, testPing), true},
		{"pong", "PONG: nonce 0x0123456789abcdef", AppendPong(nil, Pong(testPing)), true},
		{"ping-zero", "PING: nonce 0, hence absent", AppendPing(nil, Ping{}), true},
		{"goaway", "GOAWAY: code -5, text \"" + testGoAway.Text + "\"", AppendGoAway(nil, testGoAway), true},
		{"goaway-orderly", "GOAWAY: code 0, no text: an orderly end", AppendGoAway(nil, GoAway{}), true},
		{"fin", "FIN", AppendFin(nil), true},
		{"optional", "a frame of the optional kind 200 with 3 bytes, to be skipped",
			frame(200, 0, 0, "new"), true},
		{"up-detail", "UpDetail", AppendUpDetail(nil, testUp), false},
		{"closed-detail", "ClosedDetail", AppendClosedDetail(nil, testClosed), false},
		{"restarted-detail", "RestartedDetail", AppendRestartedDetail(nil, testRestarted), false},
		{"accepted-detail", "AcceptedDetail", AppendAcceptedDetail(nil, testAccepted), false},
		{"endpoint-snapshot", "Snapshot of an endpoint",
			AppendSnapshot(nil, Snapshot{ID: testEndpoint.ID, Endpoints: []EndpointSnapshot{testEndpoint}}), false},
		{"driver-snapshot", "Snapshot of a driver", AppendSnapshot(nil, testSnapshot), false},
	}
}

// dump writes a vector as its file has it: the comment, then 16 bytes a line.
func dump(comment string, b []byte) string {
	var text strings.Builder
	fmt.Fprintf(&text, "# %s\n", comment)
	for len(b) > 0 {
		n := min(16, len(b))
		for i, c := range b[:n] {
			if i == 8 {
				text.WriteByte(' ')
			}
			if i > 0 {
				text.WriteByte(' ')
			}
			fmt.Fprintf(&text, "%02x", c)
		}
		text.WriteByte('\n')
		b = b[n:]
	}
	return text.String()
}

// undump reads such a file back.
func undump(t require.TestingT, text string) []byte {
	_, lines, _ := strings.Cut(text, "\n")
	b, err := hex.DecodeString(strings.Join(strings.Fields(lines), ""))
	require.NoError(t, err)
	return b
}

func goldenPath(name string) string { return filepath.Join("testdata", name+".hex") }

// load returns the bytes of a vector as they stand in testdata, not as the code
// makes them today.
func load(t require.TestingT, name string) []byte {
	text, err := os.ReadFile(goldenPath(name))
	require.NoError(t, err)
	return undump(t, string(text))
}

func TestGolden(t *testing.T) {
	for _, g := range goldens() {
		if *update {
			require.NoError(t, os.WriteFile(goldenPath(g.name), []byte(dump(g.comment, g.bytes)), 0o644))
		}
		text, err := os.ReadFile(goldenPath(g.name))
		require.NoError(t, err)
		require.Equal(t, string(text), dump(g.comment, g.bytes), g.name)
		require.Zero(t, len(g.bytes)%HeaderSize, g.name)
	}
}

func TestGoldenFilesAreAllMade(t *testing.T) {
	made := map[string]bool{}
	for _, g := range goldens() {
		made[goldenPath(g.name)] = true
	}
	files, err := filepath.Glob(filepath.Join("testdata", "*.hex"))
	require.NoError(t, err)
	for _, f := range files {
		require.True(t, made[f], "%s belongs to no vector", f)
	}
}

// TestGoldenParses reads the bytes of the files, so that a change of writer and
// reader together cannot go unseen.
func TestGoldenParses(t *testing.T) {
	p, err := ParsePreface(load(t, "preface"))
	require.NoError(t, err)
	require.Equal(t, Preface{Min: 1, Max: 1}, p)

	requireParses(t, load(t, "hello"), KindHello, ParseHello, testHello)
	requireParses(t, load(t, "hello-minimal"), KindHello, ParseHello, minimalHello)
	requireParses(t, load(t, "hello-resume"), KindHello, ParseHello, testResume)
	requireParses(t, load(t, "ack"), KindAck, ParseAck, testAck)
	requireParses(t, load(t, "ping"), KindPing, ParsePing, testPing)
	requireParses(t, load(t, "ping-zero"), KindPing, ParsePing, Ping{})
	requireParses(t, load(t, "pong"), KindPong, ParsePong, Pong(testPing))
	requireParses(t, load(t, "goaway"), KindGoAway, ParseGoAway, testGoAway)
	requireParses(t, load(t, "goaway-orderly"), KindGoAway, ParseGoAway, GoAway{})
	require.Equal(t, MakeHeader(0, KindFin, 0, 0), GetHeader(load(t, "fin")))
	require.Equal(t, MakeHeader(3, Skip, Low, 0), GetHeader(load(t, "skip")))

	requireReads(t, load(t, "up-detail"), ParseUpDetail, testUp)
	requireReads(t, load(t, "closed-detail"), ParseClosedDetail, testClosed)
	requireReads(t, load(t, "restarted-detail"), ParseRestartedDetail, testRestarted)
	requireReads(t, load(t, "accepted-detail"), ParseAcceptedDetail, testAccepted)
	requireReads(t, load(t, "endpoint-snapshot"), ParseSnapshot,
		Snapshot{ID: testEndpoint.ID, Endpoints: []EndpointSnapshot{testEndpoint}})
	requireReads(t, load(t, "driver-snapshot"), ParseSnapshot, testSnapshot)
}

// requireParses takes one control frame apart and compares its table with want.
func requireParses[T any](t require.TestingT, b []byte, kind Kind, parse func([]byte) (T, error), want T) {
	requireReads(t, payload(t, b, kind), parse, want)
}

func requireReads[T any](t require.TestingT, b []byte, parse func([]byte) (T, error), want T) {
	got, err := parse(b)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// payload checks b to be one whole frame of the kind and returns its payload.
func payload(t require.TestingT, b []byte, kind Kind) []byte {
	h := GetHeader(b)
	require.NoError(t, Check(h))
	require.Equal(t, kind, h.Kind())
	require.Equal(t, len(b), h.FrameSize())
	for _, c := range b[HeaderSize+h.Size():] {
		require.Zero(t, c, "padding")
	}
	return b[HeaderSize : HeaderSize+h.Size()]
}
