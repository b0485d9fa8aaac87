package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// conformanceCount is how many encodings of each type go into its hash: enough that
// each combination of absent fields and text lengths modulo 8 is among them.
const conformanceCount = 10_000

const conformanceHead = "# SHA-256 over 10000 encodings of each type, drawn from a fixed seed. A line changes\n" +
	"# only with the format, and then this file says so in review.\n"

// TestConformance pins the encoding of every type. A few golden vectors show what the
// format looks like; this shows that it has not changed anywhere.
func TestConformance(t *testing.T) {
	var text strings.Builder
	text.WriteString(conformanceHead)
	line := func(name string, next func(*source) []byte) {
		s, h := &source{state: 1}, sha256.New()
		for range conformanceCount {
			h.Write(next(s))
		}
		fmt.Fprintf(&text, "%s %s\n", hex.EncodeToString(h.Sum(nil)), name)
	}
	line("preface", func(s *source) []byte {
		return AppendPreface(nil, Preface{uint16(s.u64()), uint16(s.u64()), uint8(s.u64())})
	})
	line("header", func(s *source) []byte {
		b := make([]byte, HeaderSize)
		PutHeader(b, MakeHeader(uint32(s.u64()), Kind(s.u64()), Lane(s.u64()), uint16(s.u64())))
		return b
	})
	line("skip", func(s *source) []byte { return AppendSkip(nil, Lane(s.u64()), 1+s.u64()>>30) })
	line("fin", func(*source) []byte { return AppendFin(nil) })
	for _, c := range codecs {
		line(c.name, c.make)
	}

	path := filepath.Join("testdata", "conformance.txt")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(text.String()), 0o644))
	}
	pinned, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(pinned), text.String())
}

// TestSourceDrawsWhatParses keeps the encodings behind the hashes honest.
func TestSourceDrawsWhatParses(t *testing.T) {
	for _, c := range codecs {
		s := &source{state: 2}
		for range 500 {
			b := c.make(s)
			again, err := c.again(b)
			require.NoError(t, err, c.name)
			if !bytes.Equal(b, again) {
				require.Equal(t, b, again, c.name)
			}
		}
	}
}
