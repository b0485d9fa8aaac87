package wire

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func drawPreface(t *rapid.T) Preface {
	low := rapid.Uint16Min(1).Draw(t, "min")
	return Preface{Min: low, Max: rapid.Uint16Min(low).Draw(t, "max"), Suite: rapid.Uint8().Draw(t, "suite")}
}

func TestPrefaceRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPreface(t)
		b := AppendPreface([]byte("before"), p)
		require.Len(t, b, len("before")+PrefaceSize)
		got, err := ParsePreface(b[len("before"):])
		require.NoError(t, err)
		require.Equal(t, p, got)
	})
}

func TestPrefaceIgnoresReservedBytesAndWhatFollows(t *testing.T) {
	b := append(AppendPreface(nil, Preface{Min: 1, Max: 3, Suite: 2}), "frames"...)
	b[13], b[14], b[15] = 1, 2, 3
	p, err := ParsePreface(b)
	require.NoError(t, err)
	require.Equal(t, Preface{Min: 1, Max: 3, Suite: 2}, p)
}

func TestPrefaceRefuses(t *testing.T) {
	good := string(AppendPreface(nil, Preface{Min: 1, Max: 1}))
	const required = `; "\x8cLYQ\r\n\x1a\n" is required`
	const altered = "wire: preface altered on its way, as by a channel that takes it for text: "
	for _, c := range []struct{ in, text string }{
		{"", "wire: preface of 0 bytes; 16 are required"},
		{good[:4], "wire: preface of 4 bytes; 16 are required"},
		{good[:15], "wire: preface of 15 bytes; 16 are required"},
		{"GET / HTTP/1.1\r\n", `wire: the peer is not a lyquor: its first bytes are "GET / HT"` + required},
		{"S", `wire: the peer is not a lyquor: its first bytes are "S"` + required},
		{strings.Replace(good, "\r\n", "\n", 1), altered + `"\x8cLYQ\n\x1a\n\x01"` + required},
		{strings.Replace(good, "\x1a\n", "\x1a\r\n", 1), altered + `"\x8cLYQ\r\n\x1a\r"` + required},
		{"\x0c" + good[1:], altered + `"\fLYQ\r\n\x1a\n"` + required},
		{good[:8] + "\x00\x00\x01\x00" + good[12:],
			"wire: preface with wire versions 0 to 1; 1 <= min <= max is required"},
		{good[:8] + "\x02\x00\x01\x00" + good[12:],
			"wire: preface with wire versions 2 to 1; 1 <= min <= max is required"},
	} {
		_, err := ParsePreface([]byte(c.in))
		require.EqualError(t, err, c.text)
		require.ErrorIs(t, err, ErrMalformed)
	}
}

// TestMagicSurvivesNoChange damages each bit of the magic.
func TestMagicSurvivesNoChange(t *testing.T) {
	for bit := range 8 * len(magic) {
		b := AppendPreface(nil, Preface{Min: 1, Max: 1})
		b[bit/8] ^= 1 << (bit % 8)
		_, err := ParsePreface(b)
		require.ErrorIs(t, err, ErrMalformed, "bit %d", bit)
	}
}

func TestNegotiate(t *testing.T) {
	for _, c := range []struct {
		mine, theirs Preface
		version      uint16
		text         string
	}{
		{Preface{1, 1, 0}, Preface{1, 1, 0}, 1, ""},
		{Preface{1, 3, 0}, Preface{2, 9, 0}, 3, ""},
		{Preface{2, 9, 7}, Preface{1, 2, 7}, 2, ""},
		{Preface{1, 1, 0}, Preface{2, 3, 0}, 0,
			"wire: no wire version in common: this side speaks 1, the peer 2 to 3"},
		{Preface{4, 5, 0}, Preface{3, 3, 0}, 0,
			"wire: no wire version in common: this side speaks 4 to 5, the peer 3"},
		{Preface{1, 1, 0}, Preface{1, 1, 2}, 0,
			"wire: this side is set to suite 0 (plaintext), the peer to suite 2; both must be set to the same"},
	} {
		version, err := Negotiate(c.mine, c.theirs)
		require.Equal(t, c.version, version)
		if c.text == "" {
			require.NoError(t, err)
			continue
		}
		require.EqualError(t, err, c.text)
		require.ErrorIs(t, err, ErrIncompatible)
	}
}

// TestNegotiateIsSymmetric matters because neither side tells the other what it chose.
func TestNegotiateIsSymmetric(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawPreface(t), drawPreface(t)
		b.Suite = a.Suite
		ours, errOurs := Negotiate(a, b)
		theirs, errTheirs := Negotiate(b, a)
		require.Equal(t, ours, theirs)
		require.Equal(t, errOurs == nil, errTheirs == nil)
		if errOurs == nil {
			require.True(t, a.Min <= ours && ours <= a.Max && b.Min <= ours && ours <= b.Max)
		}
	})
}
