//go:build linux && !race

package arena

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// resident returns how many pages of a region are in memory, by mincore(2).
func resident(t *testing.T, r Region) (pages int) {
	t.Helper()
	vec := make([]byte, r.size/systemPage)
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(r.base), r.size, uintptr(unsafe.Pointer(&vec[0])))
	require.Zero(t, errno)
	for _, v := range vec {
		pages += int(v & 1)
	}
	return pages
}

// TestMemoryIsLazyAndGivenBack: a reservation costs nothing, use costs what is
// touched, and Trim gives it back.
func TestMemoryIsLazyAndGivenBack(t *testing.T) {
	const count = 64
	p := newPool(t, 16, count)
	perPiece := p.PieceSize() / int(systemPage)
	require.Zero(t, resident(t, p.pieces))
	for range count {
		fill(p.Bytes(p.TakeAny()), 1)
	}
	require.Equal(t, count*perPiece, resident(t, p.pieces))
	for i := Index(1); i <= count; i++ {
		p.GiveDirty(i)
	}
	require.Equal(t, count*perPiece, resident(t, p.pieces), "freed pieces stay for a while")
	require.True(t, p.Trim(10, count))
	require.Equal(t, 10*perPiece, resident(t, p.pieces))
	require.True(t, p.Trim(0, count))
	require.Zero(t, resident(t, p.pieces))
	i := p.TakeClean()
	require.True(t, isZero(p.Bytes(i)))
}

// TestLargeReservation: the address space of the default table is no memory.
func TestLargeReservation(t *testing.T) {
	r, err := Reserve(16 << 30)
	require.NoError(t, err)
	*(*byte)(r.At(r.Size() - 1)) = 1
	require.NoError(t, unix.Munmap(unsafe.Slice((*byte)(r.Base()), r.Size())))
}

func TestReserveNamesTheSystemsError(t *testing.T) {
	_, err := Reserve(1 << 60)
	require.ErrorIs(t, err, unix.ENOMEM)
	require.ErrorContains(t, err, "reserve 1152921504606846976 bytes")
}
