package wire

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each target holds for any bytes: nothing panics, errors are of the package's
// classes, and what parses is encoded again to something that parses to the same.
// Give the budget as a count (-fuzztime 500000x): with a time, Go before 1.27 can fail
// at its end without a failing input (go.dev/issue/75804).

func FuzzPreface(f *testing.F) {
	good := load(f, "preface")
	f.Add(good)
	f.Add(good[:15])
	f.Add(AppendPreface(nil, Preface{Min: 2, Max: 0xffff, Suite: 9}))
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Add([]byte("\x8cLYQ\n\x1a\n\x01\x00\x01\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePreface(b)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		again := AppendPreface(nil, p)
		require.Equal(t, b[:prefaceSuite+1], again[:prefaceSuite+1])
		twice, err := ParsePreface(again)
		require.NoError(t, err)
		require.Equal(t, p, twice)
		version, err := Negotiate(Preface{Min: 1, Max: WireVersion}, p)
		require.Equal(t, err == nil, p.Suite == SuitePlain && p.Min <= WireVersion)
		require.LessOrEqual(t, version, uint16(WireVersion))
	})
}

func FuzzHeader(f *testing.F) {
	for _, g := range goldens() {
		if g.inDoc && g.name != "preface" {
			f.Add(uint64(GetHeader(g.bytes)))
		}
	}
	f.Add(uint64(0))
	f.Add(uint64(MakeHeader(MaxPayload+1, Msg, 0, 0)))
	f.Add(uint64(MakeHeader(1, 127, 0, 0)))
	f.Fuzz(func(t *testing.T, word uint64) {
		h := Header(word)
		require.Equal(t, h, MakeHeader(h.Size(), h.Kind(), h.Lane(), h.Channel()))
		err := Check(h)
		require.Equal(t, h.Kind() == Msg && err == nil, PlainMsg(h))
		if err != nil {
			require.True(t, errors.Is(err, ErrMalformed) != errors.Is(err, ErrIncompatible), err)
			return
		}
		n := h.FrameSize()
		require.True(t, n >= HeaderSize && n <= HeaderSize+MaxPayload && n%HeaderSize == 0, n)
		require.NotZero(t, h.Kind())
	})
}

func FuzzHello(f *testing.F)  { fuzzControl(f, "hello", "hello", "hello-minimal", "hello-resume") }
func FuzzPing(f *testing.F)   { fuzzControl(f, "ping", "ping", "ping-zero") }
func FuzzPong(f *testing.F)   { fuzzControl(f, "pong", "pong", "ping-zero") }
func FuzzGoAway(f *testing.F) { fuzzControl(f, "goaway", "goaway", "goaway-orderly") }
func FuzzAck(f *testing.F)    { fuzzControl(f, "ack", "ack") }

// fuzzControl fuzzes the payload of one control frame, beginning at the vectors.
func fuzzControl(f *testing.F, name string, vectors ...string) {
	for _, v := range vectors {
		b := load(f, v)
		f.Add(b[HeaderSize : HeaderSize+GetHeader(b).Size()])
	}
	f.Add([]byte{})
	f.Add(make([]byte, MaxControl+1))
	c := codecNamed(f, name)
	f.Fuzz(func(t *testing.T, b []byte) { c.requireSound(t, b) })
}

// FuzzVerifier reads any bytes as every table there is, and as one that nests without
// end; whatever passes is read through the generated code.
func FuzzVerifier(f *testing.F) {
	for _, c := range codecs {
		for _, b := range samples(&c) {
			f.Add(b)
		}
	}
	f.Add(chain(maxDepth + 1))
	f.Add(fan(3, 30, 30))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range codecs {
			c.requireSound(t, b)
		}
		if err := verify(b, treeTable); err != nil {
			require.ErrorIs(t, err, ErrMalformed)
		}
	})
}
