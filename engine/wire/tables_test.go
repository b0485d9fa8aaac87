package wire

import (
	"math"

	"github.com/stretchr/testify/require"
)

// codec is one type of the format, for tests that treat all types alike.
type codec struct {
	name  string
	table *table               // nil if it is none
	make  func(*source) []byte // the encoding of a value drawn from the source
	// again parses b and encodes the value anew; ok is false if b does not parse.
	again func(b []byte) (bytes []byte, err error)
}

// codecs lists the tables, and Ack, which is a bare struct. Those of control frames are
// without their frames here.
var codecs = []codec{
	{"hello", &helloTable,
		func(s *source) []byte { return s.hello() },
		reencode(ParseHello, unframed(AppendHello))},
	{"ping", &pingTable,
		func(s *source) []byte { return unframed(AppendPing)(nil, Ping{s.u64()}) },
		reencode(ParsePing, unframed(AppendPing))},
	{"pong", &pongTable,
		func(s *source) []byte { return unframed(AppendPong)(nil, Pong{s.u64()}) },
		reencode(ParsePong, unframed(AppendPong))},
	{"goaway", &goAwayTable,
		func(s *source) []byte { return unframed(AppendGoAway)(nil, GoAway{int32(s.u64()), s.text(MaxText)}) },
		reencode(ParseGoAway, unframed(AppendGoAway))},
	{"ack", nil,
		func(s *source) []byte { return unframed(AppendAck)(nil, s.ack()) },
		reencode(ParseAck, unframed(AppendAck))},
	{"up-detail", &upTable,
		func(s *source) []byte {
			return AppendUpDetail(nil, UpDetail{s.text(40), s.text(40), s.text(MaxAgent), s.u64(), uint16(s.u64())})
		},
		reencode(ParseUpDetail, AppendUpDetail)},
	{"closed-detail", &closedTable,
		func(s *source) []byte { return AppendClosedDetail(nil, s.closed()) },
		reencode(ParseClosedDetail, AppendClosedDetail)},
	{"restarted-detail", &restartedTable,
		func(s *source) []byte { return AppendRestartedDetail(nil, RestartedDetail{s.accounts()}) },
		reencode(ParseRestartedDetail, AppendRestartedDetail)},
	{"accepted-detail", &acceptedTable,
		func(s *source) []byte { return AppendAcceptedDetail(nil, AcceptedDetail{s.u64(), s.text(40)}) },
		reencode(ParseAcceptedDetail, AppendAcceptedDetail)},
	{"snapshot", &snapshotTable,
		func(s *source) []byte { return AppendSnapshot(nil, s.snapshot()) },
		reencode(ParseSnapshot, AppendSnapshot)},
}

// unframed turns a function that appends a frame into one that appends its payload.
func unframed[T any](appendFrame func([]byte, T) []byte) func([]byte, T) []byte {
	return func(dst []byte, v T) []byte {
		b := appendFrame(nil, v)
		return append(dst, b[HeaderSize:HeaderSize+GetHeader(b).Size()]...)
	}
}

func reencode[T any](parse func([]byte) (T, error), encode func([]byte, T) []byte) func([]byte) ([]byte, error) {
	return func(b []byte) ([]byte, error) {
		v, err := parse(b)
		if err != nil {
			return nil, err
		}
		return encode(nil, v), nil
	}
}

// requireSound holds for any bytes: they are refused as malformed, or what they parse
// to is encoded to something that parses to the same. It reports which.
func (c *codec) requireSound(t require.TestingT, b []byte) (parses bool) {
	once, err := c.again(b)
	if err != nil {
		require.ErrorIs(t, err, ErrMalformed, c.name)
		return false
	}
	twice, err := c.again(once)
	require.NoError(t, err, c.name)
	require.Equal(t, once, twice, c.name)
	return true
}

// source is a sequence of numbers that is the same on every machine and with every
// version of Go: SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
// Generators, 2014).
type source struct{ state uint64 }

func (s *source) u64() uint64 {
	s.state += 0x9e3779b97f4a7c15
	z := s.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	// Small and extreme numbers are where encodings have their edges.
	switch z % 8 {
	case 0:
		return 0
	case 1:
		return z >> 56
	case 2:
		return math.MaxUint64
	}
	return z
}

// n returns a number from 0 to limit.
func (s *source) n(limit int) int { return int(s.u64() % uint64(limit+1)) }

// below returns a number below limit, or 0 if there is none.
func (s *source) below(limit uint64) uint64 { return s.u64() % max(limit, 1) }

// text returns at most limit bytes of letters, some of them of two bytes.
func (s *source) text(limit int) string {
	var letters []rune
	for range s.n(limit) {
		letters = append(letters, []rune("abcdefgh0123.:/-é")[s.n(16)])
	}
	return cleanText(string(letters), limit)
}

func (s *source) hello() []byte {
	h := Hello{MaxMessage: max(s.u64(), DefaultMaxMessage), Agent: s.text(MaxAgent)}
	for i := range h.Incarnation {
		h.Incarnation[i] = byte(s.u64())
	}
	h.Incarnation[15] |= 1
	if s.n(2) > 0 {
		for i := range h.Session {
			h.Session[i] = byte(s.u64())
		}
	}
	if s.n(2) > 0 {
		for i := range h.Points {
			p := &h.Points[i]
			p.Base, p.Received, p.Window = s.u64(), s.u64(), s.u64()
			p.Consumed, p.Total = p.Received-s.below(p.Received), s.below(MaxMessage+1)
			p.Offset = s.below(p.Total)
		}
	}
	return unframed(AppendHello)(nil, h)
}

func (s *source) ack() (a Ack) {
	for i := range a.Lanes {
		a.Lanes[i] = Credit{s.u64(), s.u64()}
	}
	return a
}

func (s *source) closed() ClosedDetail {
	return ClosedDetail{Code: int32(s.u64()), Text: s.text(100), Lanes: s.accounts()}
}

func (s *source) accounts() (lanes [Lanes]LaneAccount) {
	for i := range lanes {
		lanes[i] = LaneAccount{s.u64(), s.u64(), s.u64(), s.u64(), s.u64(), s.u64()}
	}
	return lanes
}

func (s *source) snapshot() Snapshot {
	snapshot := Snapshot{ID: s.u64()}
	for range s.n(3) {
		w := WorkerSnapshot{Index: uint32(s.u64())}
		for range s.n(5) {
			w.Counters = append(w.Counters, s.u64())
		}
		snapshot.Workers = append(snapshot.Workers, w)
	}
	for range s.n(3) {
		e := EndpointSnapshot{ID: s.u64(), State: EndpointState(s.n(3)), Local: s.text(30), Remote: s.text(30),
			RTT: int64(s.u64())}
		for i := range e.Lanes {
			e.Lanes[i] = LaneState{s.u64(), s.u64(), s.u64(), s.u64(), s.u64(), s.u64()}
		}
		snapshot.Endpoints = append(snapshot.Endpoints, e)
	}
	return snapshot
}

func codecNamed(t require.TestingT, name string) *codec {
	for i := range codecs {
		if codecs[i].name == name {
			return &codecs[i]
		}
	}
	require.FailNow(t, "no codec "+name)
	return nil
}
