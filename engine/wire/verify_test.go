package wire

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	flatbuffers "github.com/google/flatbuffers/go"
	"github.com/stretchr/testify/require"
)

// samples returns, for each codec, tables that between them have every field.
func samples(c *codec) [][]byte {
	s := &source{state: 3}
	all := make([][]byte, 4)
	for i := range all {
		all[i] = c.make(s)
	}
	return all
}

func TestVerifyEveryByteMutated(t *testing.T) {
	for _, c := range codecs {
		refused := 0
		for _, sample := range samples(&c) {
			b := append([]byte(nil), sample...)
			for i := range b {
				// Each bit, each value that is near a bound of something, and the opposite.
				for _, x := range []byte{1, 2, 4, 8, 16, 32, 64, 128, b[i], b[i] ^ 255, b[i] ^ 127, b[i] ^ 3} {
					b[i] ^= x
					if !c.requireSound(t, b) {
						refused++
					}
					b[i] = sample[i]
				}
			}
		}
		if c.table != nil { // a struct has no bytes that could be wrong
			require.Positive(t, refused, c.name)
		}
	}
}

// TestVerifyEveryWordMutated puts the numbers at which offsets and lengths go wrong
// into each place where one could be.
func TestVerifyEveryWordMutated(t *testing.T) {
	for _, c := range codecs {
		for _, sample := range samples(&c) {
			b := append([]byte(nil), sample...)
			for i := 0; i+4 <= len(b); i += 2 {
				for _, w := range []uint32{
					0, 1, 3, 4, 8, 0x7f, 0xfff8, 0xffff, 0x10000, math.MaxInt32 - 3, math.MaxInt32,
					1 << 31, 1<<31 + 4, math.MaxUint32 - 7, math.MaxUint32, uint32(len(b)), uint32(len(b) - i),
					uint32(len(b) - i - 4), uint32(i), -uint32(i), uint32(i + 4),
				} {
					binary.LittleEndian.PutUint32(b[i:], w)
					c.requireSound(t, b)
				}
				copy(b[i:], sample[i:i+4])
			}
		}
	}
}

// TestVerifyEveryTruncation cuts tables: only padding may be missed.
func TestVerifyEveryTruncation(t *testing.T) {
	for _, c := range codecs {
		for _, sample := range samples(&c) {
			whole, err := c.again(sample)
			require.NoError(t, err)
			for n := range sample {
				cut := append([]byte(nil), sample[:n]...) // so that reading on would panic
				if c.requireSound(t, cut) {
					again, _ := c.again(cut)
					require.Equal(t, whole, again, "%s cut to %d bytes", c.name, n)
					require.Greater(t, n, len(sample)-8, c.name)
				}
			}
		}
	}
}

// treeTable nests without end, as no table of lyquor does: it shows the verifier's
// own bounds.
var treeTable = func() *table {
	t := &table{name: "Tree"}
	t.fields = []field{text("name"), tables("children", t)}
	return t
}()

// chain builds Trees nested depth deep.
func chain(depth int) []byte {
	b := flatbuffers.NewBuilder(0)
	var inner flatbuffers.UOffsetT
	for range depth {
		var of flatbuffers.UOffsetT
		if inner != 0 {
			of = b.CreateVectorOfTables([]flatbuffers.UOffsetT{inner})
		}
		b.StartObject(2)
		b.PrependUOffsetTSlot(1, of, 0)
		inner = b.EndObject()
	}
	b.Finish(inner)
	return b.FinishedBytes()
}

func TestVerifyDepth(t *testing.T) {
	require.NoError(t, verify(chain(maxDepth), treeTable))
	require.EqualError(t, verify(chain(maxDepth+1), treeTable), "wire: Tree: tables nested deeper than 8")
}

// fan builds one Tree with a name of size bytes, and a vector of n offsets to it, in
// levels deep: few bytes that stand for n^levels tables.
func fan(levels, n, size int) []byte {
	b := flatbuffers.NewBuilder(0)
	name := b.CreateString(strings.Repeat("x", size))
	b.StartObject(2)
	b.PrependUOffsetTSlot(0, name, 0)
	inner := b.EndObject()
	for range levels {
		same := make([]flatbuffers.UOffsetT, n)
		for i := range same {
			same[i] = inner
		}
		of := b.CreateVectorOfTables(same)
		b.StartObject(2)
		b.PrependUOffsetTSlot(1, of, 0)
		inner = b.EndObject()
	}
	b.Finish(inner)
	return b.FinishedBytes()
}

// TestVerifyWork would not end in a lifetime without the budget.
func TestVerifyWork(t *testing.T) {
	require.NoError(t, verify(fan(5, 1, 100), treeTable))
	require.ErrorContains(t, verify(fan(7, 1000, 100), treeTable), "they add up to more than")
	// Few tables, but each with the same long string: copying them would be the cost.
	require.ErrorContains(t, verify(fan(1, 1000, 10_000), treeTable), "Tree.name: tables, vectors or strings overlap")
}

// TestVerifyCycle lets a table contain itself.
func TestVerifyCycle(t *testing.T) {
	b := []byte{
		12, 0, 0, 0, // root at 12
		8, 0, 12, 0, 0, 0, 4, 0, // vtable of 8 bytes, table of 12, children at 4
		8, 0, 0, 0, // at 12: the vtable is 8 back
		8, 0, 0, 0, // children at 24
		0, 0, 0, 0,
		1, 0, 0, 0, // at 24: one child,
		0xf0, 0xff, 0xff, 0xff, // 16 back, if offsets were signed
	}
	err := verify(b, treeTable)
	require.EqualError(t, err, "wire: Tree: table at 4294967308; a multiple of 4 within 32 bytes is required")
	// Offsets are unsigned and lead forward; the one that would stand still is refused.
	binary.LittleEndian.PutUint32(b[16:], 0)
	require.EqualError(t, verify(b, treeTable), "wire: Tree.children: an offset of 0; at least 4 is required")
	binary.LittleEndian.PutUint32(b[16:], 8)
	binary.LittleEndian.PutUint32(b[28:], 0)
	require.EqualError(t, verify(b, treeTable),
		"wire: Tree: vtable of 0 bytes; 4 or more, a multiple of 2 and within 32 bytes are required")
}

// helloLayout is the table of testdata/hello.hex, whose offsets the cases below name.
//
//	 0 root = 16 | 6 vtable: 10, 32, 16, 8, 4 | 16 table: 10 back to the vtable
//	20 agent, 28 on to 48 | 24 max_message | 32 incarnation | 48 string of 8 bytes
func helloLayout(t *testing.T) []byte { return payload(t, load(t, "hello"), KindHello) }

func TestVerifyRefuses(t *testing.T) {
	put16 := func(at int, v uint16) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint16(b[at:], v) }
	}
	put32 := func(at int, v uint32) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint32(b[at:], v) }
	}
	const tableAt = "; a multiple of 4 within 64 bytes is required"
	const vtableAt = "; a multiple of 2 within 64 bytes is required"
	const vtableOf = "; 4 or more, a multiple of 2 and within 64 bytes are required"
	const tableOf = "; at least 4 and within 64 bytes are required"
	for _, c := range []struct {
		change func([]byte)
		text   string
	}{
		{put32(0, 64), "table at 64" + tableAt},
		{put32(0, 61), "table at 61" + tableAt},
		{put32(0, 18), "table at 18" + tableAt},
		{put32(0, math.MaxUint32), "table at 4294967295" + tableAt},
		{put32(16, 17), "vtable at -1" + vtableAt},
		{put32(16, 11), "vtable at 5" + vtableAt},
		{put32(16, 1<<31), "vtable at 2147483664" + vtableAt},
		{put32(16, math.MaxInt32), "vtable at -2147483631" + vtableAt},
		{put32(16, uint32(0x1_0000_0000-46)), "vtable at 62" + vtableAt},
		{put16(6, 0), "vtable of 0 bytes" + vtableOf},
		{put16(6, 9), "vtable of 9 bytes" + vtableOf},
		{put16(6, 60), "vtable of 60 bytes" + vtableOf},
		{put16(8, 3), "table of 3 bytes at 16" + tableOf},
		{put16(8, 49), "table of 49 bytes at 16" + tableOf},
		{put16(10, 0), "Hello.incarnation is absent; it is required"},
		{put16(6, 4), "Hello.incarnation is absent; it is required"},
		{put16(10, 2),
			"Hello.incarnation at 16+2; 16 bytes at a multiple of 8 in the table's bytes 4 to 32 are required"},
		{put16(10, 12),
			"Hello.incarnation at 16+12; 16 bytes at a multiple of 8 in the table's bytes 4 to 32 are required"},
		{put16(10, 24),
			"Hello.incarnation at 16+24; 16 bytes at a multiple of 8 in the table's bytes 4 to 32 are required"},
		{put16(12, 65535),
			"Hello.max_message at 16+65535; 8 bytes at a multiple of 8 in the table's bytes 4 to 32 are required"},
		{put16(14, 30), "Hello.agent at 16+30; 4 bytes at a multiple of 4 in the table's bytes 4 to 32 are required"},
		{put32(20, 29),
			"Hello.agent: vector at 49; a multiple of 4 within 64 bytes, elements aligned to 1, is required"},
		{put32(20, 44),
			"Hello.agent: vector at 64; a multiple of 4 within 64 bytes, elements aligned to 1, is required"},
		{put32(20, math.MaxUint32-3),
			"Hello.agent: vector at 4294967312; a multiple of 4 within 64 bytes, elements aligned to 1, is required"},
		{put32(48, 12), "Hello.agent: 12 elements of 1 bytes at 52 reach beyond 64 bytes"},
		{put32(48, math.MaxUint32), "Hello.agent: 4294967295 elements of 1 bytes at 52 reach beyond 64 bytes"},
		{put32(48, 7), "Hello.agent: a string of 7 bytes without the zero byte behind it"},
		{put32(20, 0), "Hello.agent: an offset of 0; at least 4 is required"},
	} {
		b := append([]byte(nil), helloLayout(t)...)
		c.change(b)
		text := c.text
		if !strings.HasPrefix(text, "Hello.") {
			text = "Hello: " + text
		}
		err := verify(b, &helloTable)
		require.EqualError(t, err, "wire: "+text)
		require.ErrorIs(t, err, ErrMalformed)
	}
}

// TestVerifyFieldOverTheVtableOffset needs a field of less than 4 bytes, which could
// be aligned there.
func TestVerifyFieldOverTheVtableOffset(t *testing.T) {
	b := load(t, "up-detail")
	require.NoError(t, verify(b, &upTable))
	binary.LittleEndian.PutUint16(b[22:], 2)
	require.EqualError(t, verify(b, &upTable),
		"wire: UpDetail.wire_version at 24+2; 2 bytes at a multiple of 2 in the table's bytes 4 to 32 are required")
}

// TestVerifyVector covers vectors of structs, and structs that are not required.
func TestVerifyVector(t *testing.T) {
	whole := load(t, "closed-detail")
	require.NoError(t, verify(whole, &closedTable))
	// The vector of lanes begins at 36, its elements at 40.
	b := append([]byte(nil), whole...)
	binary.LittleEndian.PutUint32(b[36:], math.MaxUint32)
	require.EqualError(t, verify(b, &closedTable),
		"wire: ClosedDetail.lanes: 4294967295 elements of 48 bytes at 40 reach beyond 256 bytes")
	b = append([]byte(nil), whole...)
	binary.LittleEndian.PutUint32(b[24:], 8)
	require.EqualError(t, verify(b, &closedTable), "wire: ClosedDetail.lanes: vector at 32; "+
		"a multiple of 4 within 256 bytes, elements aligned to 8, is required")

	// The table of testdata/hello-resume.hex begins at 24. Its session's entry is at 20, and
	// the vector of its lanes at 84.
	whole = payload(t, load(t, "hello-resume"), KindHello)
	require.NoError(t, verify(whole, &helloTable))
	b = append([]byte(nil), whole...)
	binary.LittleEndian.PutUint16(b[20:], 12)
	require.EqualError(t, verify(b, &helloTable), "wire: Hello.session at 24+12; "+
		"16 bytes at a multiple of 8 in the table's bytes 4 to 60 are required")
	b = append([]byte(nil), whole...)
	binary.LittleEndian.PutUint32(b[84:], 5)
	require.EqualError(t, verify(b, &helloTable),
		"wire: Hello.lanes: 5 elements of 48 bytes at 88 reach beyond 296 bytes")
}

func BenchmarkParseHello(b *testing.B) {
	in := payload(b, load(b, "hello"), KindHello)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseHello(in); err != nil {
			b.Fatal(err)
		}
	}
}
