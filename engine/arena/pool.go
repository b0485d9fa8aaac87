package arena

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"
)

// Index names a piece of a pool; 0 is none.
type Index uint32

// Control is the part of a pool that C shares; capi/pool.h is its twin. Each hot
// word has a cache line of its own.
type Control struct {
	base  uint64 // address of piece 1
	links uint64 // address of the array of stack links, one uint32 a piece
	shift uint32 // log2 of a piece's size in bytes
	count uint32 // pieces there can be
	_     [40]byte
	clean atomic.Uint64 // stack: changes<<32 | index of the top
	_     [56]byte
	dirty atomic.Uint64 // stack, as above
	_     [56]byte
	cold  atomic.Uint64 // stack of clean pieces whose memory is with the system
	_     [56]byte
	fresh atomic.Uint32 // pieces that were ever handed out
	inUse atomic.Int32  // pieces handed out now
	colds atomic.Int32  // pieces on the cold stack
	_     [52]byte
}

// The layout that capi/pool.h asserts too. Each array here is assigned one of
// another length if a number is wrong.
var (
	_ [16]byte  = [unsafe.Offsetof(Control{}.shift)]byte{}
	_ [64]byte  = [unsafe.Offsetof(Control{}.clean)]byte{}
	_ [128]byte = [unsafe.Offsetof(Control{}.dirty)]byte{}
	_ [192]byte = [unsafe.Offsetof(Control{}.cold)]byte{}
	_ [256]byte = [unsafe.Offsetof(Control{}.fresh)]byte{}
	_ [320]byte = [unsafe.Sizeof(Control{})]byte{}
)

// Pool hands out pieces of one size. All methods may be called from any thread,
// and none waits.
type Pool struct {
	control *Control
	pieces  Region
	links   Region
}

// ErrExhausted says that every piece of a pool is in use.
var ErrExhausted = errors.New("arena: every piece of the pool is in use")

// NewPool reserves count pieces of 1<<shift bytes each. control must be zeroed
// memory that lives as long as the pool, at an address C knows.
func NewPool(control *Control, shift, count uint32) (*Pool, error) {
	if shift < 6 || shift > 30 || count == 0 || count >= 1<<31 {
		return nil, fmt.Errorf("arena: pool of %d pieces of 2^%d bytes: want 1 to 2^31-1 pieces of 2^6 to 2^30",
			count, shift)
	}
	pieces, err := Reserve(uintptr(count) << shift)
	if err != nil {
		return nil, err
	}
	links, err := Reserve(uintptr(count+1) * 4)
	if err != nil {
		return nil, err
	}
	control.base = uint64(uintptr(pieces.Base()))
	control.links = uint64(uintptr(links.Base()))
	control.shift, control.count = shift, count
	return &Pool{control: control, pieces: pieces, links: links}, nil
}

// PieceSize returns the size of a piece in bytes.
func (p *Pool) PieceSize() int { return 1 << p.control.shift }

// Piece returns the address of a piece.
func (p *Pool) Piece(i Index) unsafe.Pointer { return p.pieces.At(uintptr(i-1) << p.control.shift) }

// Bytes returns the memory of a piece.
func (p *Pool) Bytes(i Index) []byte { return unsafe.Slice((*byte)(p.Piece(i)), p.PieceSize()) }

// Of returns the piece that memory of the pool lies in.
func (p *Pool) Of(memory unsafe.Pointer) Index {
	return Index((uintptr(memory)-uintptr(p.pieces.Base()))>>p.control.shift) + 1
}

// InUse returns how many pieces are handed out.
func (p *Pool) InUse() int { return int(p.control.inUse.Load()) }

// Capacity returns how many pieces there can be.
func (p *Pool) Capacity() int { return int(p.control.count) }

// TakeClean returns a zeroed piece, or 0 if none is left.
func (p *Pool) TakeClean() Index {
	c := p.control
	i := p.pop(&c.clean)
	if i == 0 {
		i = p.popCold()
	}
	if i == 0 {
		i = p.takeFresh()
	}
	if i != 0 {
		c.inUse.Add(1)
		return i
	}
	i = p.pop(&c.dirty)
	if i != 0 {
		clear(p.Bytes(i))
		c.inUse.Add(1)
	}
	return i
}

// TakeAny returns a piece that may hold anything, or 0 if none is left.
func (p *Pool) TakeAny() Index {
	c := p.control
	i := p.pop(&c.dirty)
	if i == 0 {
		i = p.pop(&c.clean)
	}
	if i == 0 {
		i = p.popCold()
	}
	if i == 0 {
		i = p.takeFresh()
	}
	if i != 0 {
		c.inUse.Add(1)
	}
	return i
}

// GiveClean takes back a piece that the caller has zeroed.
func (p *Pool) GiveClean(i Index) {
	p.control.inUse.Add(-1)
	p.push(&p.control.clean, i)
}

// GiveDirty takes back a piece as it is.
func (p *Pool) GiveDirty(i Index) {
	p.control.inUse.Add(-1)
	p.push(&p.control.dirty, i)
}

// Trim gives the memory of free pieces back to the system until about keep of
// them still have theirs, but of no more than most at this call. It says whether
// it got that far. The pieces stay available.
func (p *Pool) Trim(keep, most int) (done bool) {
	c := p.control
	for range most {
		if int(c.fresh.Load())-int(c.inUse.Load())-int(c.colds.Load()) <= keep {
			return true
		}
		i := p.pop(&c.dirty)
		if i == 0 {
			i = p.pop(&c.clean)
		}
		if i == 0 {
			return true
		}
		if !p.pieces.release(uintptr(i-1)<<c.shift, uintptr(p.PieceSize())) {
			clear(p.Bytes(i))
			p.push(&c.clean, i)
			return true // this system takes none back
		}
		c.colds.Add(1)
		p.push(&c.cold, i)
	}
	return false
}

// takeFresh cuts the next piece that was never used: its pages are still zero
// and untouched.
func (p *Pool) takeFresh() Index {
	c := p.control
	for {
		n := c.fresh.Load()
		if n == c.count {
			return 0
		}
		if c.fresh.CompareAndSwap(n, n+1) {
			return Index(n + 1)
		}
	}
}

func (p *Pool) popCold() Index {
	i := p.pop(&p.control.cold)
	if i != 0 {
		p.control.colds.Add(-1)
	}
	return i
}

// The stacks are Treiber's. The upper half of the top word counts changes, so
// that a pop which slept while its top came and went fails its exchange. Links
// live outside the pieces, which may be zero or in use.
func (p *Pool) pop(stack *atomic.Uint64) Index {
	for {
		top := stack.Load()
		i := uint32(top)
		if i == 0 {
			return 0
		}
		next := p.link(i).Load()
		if stack.CompareAndSwap(top, (top>>32+1)<<32|uint64(next)) {
			return Index(i)
		}
	}
}

func (p *Pool) push(stack *atomic.Uint64, i Index) {
	for {
		top := stack.Load()
		p.link(uint32(i)).Store(uint32(top))
		if stack.CompareAndSwap(top, (top>>32+1)<<32|uint64(i)) {
			return
		}
	}
}

func (p *Pool) link(i uint32) *atomic.Uint32 { return (*atomic.Uint32)(p.links.At(uintptr(i) * 4)) }
