package arena

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// newPool returns a pool whose control block lies in a region, as in production.
func newPool(t testing.TB, shift, count uint32) *Pool {
	t.Helper()
	mem, err := Reserve(unsafe.Sizeof(Control{}))
	require.NoError(t, err)
	p, err := NewPool((*Control)(mem.Base()), shift, count)
	require.NoError(t, err)
	return p
}

// fill makes a piece dirty from its first byte to its last.
func fill(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

func isZero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}

func TestRegionIsZeroAndAligned(t *testing.T) {
	for _, size := range []uintptr{1, 63, PageSize, PageSize + 1, 1 << 20} {
		r, err := Reserve(size)
		require.NoError(t, err)
		require.GreaterOrEqual(t, r.Size(), size)
		require.Zero(t, uintptr(r.Base())%64)
		b := unsafe.Slice((*byte)(r.Base()), size)
		require.True(t, isZero(b))
		fill(b, 0xff) // all of it may be written
		require.Equal(t, unsafe.Pointer(&b[size-1]), r.At(size-1))
	}
}

func TestPoolRefusesSizes(t *testing.T) {
	for _, c := range [][2]uint32{{5, 1}, {31, 1}, {9, 0}, {9, 1 << 31}} {
		_, err := NewPool(new(Control), c[0], c[1])
		require.ErrorContains(t, err, "want 1 to 2^31-1 pieces of 2^6 to 2^30")
	}
}

// TestPoolExhausts takes every piece in both ways: each is another one, none
// overlaps, and after them comes 0, until one is given back.
func TestPoolExhausts(t *testing.T) {
	const count = 7
	for name, take := range map[string]func(*Pool) Index{"clean": (*Pool).TakeClean, "any": (*Pool).TakeAny} {
		p := newPool(t, 9, count)
		require.Equal(t, count, p.Capacity())
		require.Equal(t, 512, p.PieceSize())
		seen := map[Index]bool{}
		for n := range count {
			i := take(p)
			require.NotZero(t, i, name)
			require.False(t, seen[i], name)
			seen[i] = true
			require.True(t, isZero(p.Bytes(i)), name)
			fill(p.Bytes(i), byte(i))
			require.Equal(t, n+1, p.InUse(), name)
		}
		require.Zero(t, take(p), name)
		require.Equal(t, count, p.InUse(), name)
		for i := range seen {
			for _, v := range p.Bytes(i) {
				require.Equal(t, byte(i), v, name)
			}
		}
		p.GiveDirty(3)
		require.Equal(t, Index(3), take(p), name)
		require.Zero(t, take(p), name)
	}
}

// TestCleanIsZero checks the promise that the send log stands on, whichever stack
// a piece comes from.
func TestCleanIsZero(t *testing.T) {
	p := newPool(t, 12, 4)
	for range 4 {
		fill(p.Bytes(p.TakeClean()), 0xaa)
	}
	for i := Index(1); i <= 4; i++ {
		p.GiveDirty(i)
	}
	for range 2 {
		i := p.TakeClean()
		require.True(t, isZero(p.Bytes(i)))
		p.GiveClean(i)
	}
	p.Trim(0, 4)
	for range 4 {
		i := p.TakeClean()
		require.NotZero(t, i)
		require.True(t, isZero(p.Bytes(i)))
	}
}

// TestOrderOfStacks: who needs no zeros leaves the clean pieces to those who do,
// and resident memory is used before memory that the system has to zero again.
func TestOrderOfStacks(t *testing.T) {
	p := newPool(t, 12, 8)
	clean, dirty := p.TakeClean(), p.TakeClean()
	p.GiveClean(clean)
	p.GiveDirty(dirty)
	require.Equal(t, dirty, p.TakeAny())
	require.Equal(t, clean, p.TakeAny())
	p.GiveDirty(dirty)
	p.GiveClean(clean)
	require.Equal(t, clean, p.TakeClean())
	fresh := p.TakeClean()
	require.NotEqual(t, dirty, fresh, "fresh memory is zero already")
	require.Equal(t, dirty, p.TakeAny())
}

// TestTrim: trimmed pieces stay available and are zero, and the reserve is kept.
func TestTrim(t *testing.T) {
	const count = 8
	p := newPool(t, 16, count)
	for range count {
		fill(p.Bytes(p.TakeAny()), 0x55)
	}
	require.True(t, p.Trim(0, 100), "nothing is free")
	for i := Index(1); i <= count; i++ {
		if i%2 == 0 {
			p.GiveDirty(i)
			continue
		}
		clear(p.Bytes(i))
		p.GiveClean(i)
	}
	require.True(t, p.Trim(count, 100), "the reserve is all there is")
	require.Equal(t, int32(0), p.control.colds.Load())
	trims := p.Trim(1, 3)
	if !returns {
		require.True(t, trims)
	} else {
		require.False(t, trims, "three of seven")
		require.True(t, p.Trim(1, 100))
		require.Equal(t, int32(count-1), p.control.colds.Load())
	}
	seen := map[Index]bool{}
	for range count {
		i := p.TakeClean()
		require.NotZero(t, i)
		require.False(t, seen[i])
		seen[i] = true
		require.True(t, isZero(p.Bytes(i)))
	}
	require.Equal(t, int32(0), p.control.colds.Load())
	require.Zero(t, p.TakeAny())
}

// TestTrimOfPartialPages: a piece that is less than a page is zeroed alone.
func TestTrimOfPartialPages(t *testing.T) {
	p := newPool(t, 9, 16)
	for range 16 {
		i := p.TakeClean()
		fill(p.Bytes(i), byte(i))
	}
	p.GiveDirty(1)
	p.Trim(0, 16)
	require.True(t, isZero(p.Bytes(1)))
	for i := Index(2); i <= 16; i++ {
		for _, v := range p.Bytes(i) {
			require.Equal(t, byte(i), v)
		}
	}
}

func BenchmarkTakeGiveClean(b *testing.B) {
	p := newPool(b, 16, 4)
	for b.Loop() {
		p.GiveClean(p.TakeClean())
	}
}
