package outbox

import (
	"errors"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/lyquor/lyquor/engine/arena"
)

// Config sizes a table.
type Config struct {
	Slots          uint32 // handles alive at once
	Bells          uint32 // workers
	Budgets        uint32 // drivers
	ChunkShift     uint32 // log2 of a chunk's bytes; 16 in production, less in tests
	Chunks         uint32
	BlockShift     uint32 // log2 of a block's bytes; 18 in production
	Blocks         uint32
	DirectoryShift uint32 // log2 of a large directory's bytes, four a place; 14 in production
	Directories    uint32
	Coloured       bool // lanes of different slots begin at different places of their chunks, for the caches
}

// Default is the size of the process's table: address space for a million
// handles and 16 GiB of messages where regions are mapped, little elsewhere. A large
// directory spans MaxLog.
func Default() Config {
	c := size(arena.Mapped)
	if arena.Searched {
		c.Slots, c.Chunks, c.Blocks, c.Directories = c.Slots/16, c.Chunks/16, c.Blocks/16, c.Directories/16
	}
	return c
}

func size(mapped bool) Config {
	if mapped {
		return Config{Slots: 1 << 20, Bells: 1 << 10, Budgets: 1 << 8,
			ChunkShift: 16, Chunks: 1 << 17, BlockShift: 18, Blocks: 1 << 15,
			DirectoryShift: 14, Directories: 1 << 15, Coloured: true}
	}
	return Config{Slots: 1 << 12, Bells: 1 << 6, Budgets: 1 << 6,
		ChunkShift: 16, Chunks: 1 << 9, BlockShift: 18, Blocks: 1 << 7,
		DirectoryShift: 14, Directories: 1 << 6, Coloured: true}
}

// Budget bounds the memory of one driver, in bytes.
type Budget struct {
	Limit atomic.Int64
	Used  atomic.Int64
	// Starved is 1 after a claim failed for want of memory; the driver then looks
	// for senders that wait once memory is back.
	Starved atomic.Uint32
	_       [4]byte
	// Epoch is when the driver's clock began, by the clock that threads in C read, in
	// nanoseconds: with it they make deadlines.
	Epoch atomic.Int64
	// granted is what peers may send beyond what windows begin with; see Grant.
	granted atomic.Int64
	_       [24]byte
}

// Root is where C finds everything; capi/log.h is its twin.
type Root struct {
	slots       uint64
	bells       uint64
	budgets     uint64
	slotCount   uint32
	slotsFresh  atomic.Uint32 // slots that were ever used; slot 0 never is
	blockRefs   uint64        // bytes in use of each block, see BlockRefs
	_           [24]byte
	slotsFree   atomic.Uint64 // stack: changes<<32 | index
	slotsLive   atomic.Int32  // slots that are not free
	_           [52]byte
	chunks      arena.Control
	blocks      arena.Control
	directories arena.Control
}

// Table is all memory that producers and workers share: slots, bells, budgets
// and the two pools. One serves the whole process; tests make small ones.
type Table struct {
	root        *Root
	slots       arena.Region
	bells       []Bell
	budgets     []Budget
	chunks      *arena.Pool
	blocks      *arena.Pool
	directories *arena.Pool

	blockRefs  []atomic.Int64
	chunkWords uint64 // words in a chunk
	chunkShift uint32 // log2 of chunkWords
	largeMask  uint32 // places of a large directory, less 1
	colours    uint64 // places in a chunk at which lanes begin; see colour
	maxInline  int

	mu      sync.Mutex // guards what follows; never held while anything waits
	held    heldMemory
	noticed []uint32 // free slots for which a notice was under way
}

// ErrHandles says that no slot is left.
var ErrHandles = errors.New("outbox: every handle is in use")

// NewTable reserves a table. Calls must not overlap.
func NewTable(c Config) (*Table, error) {
	root, err := arena.Reserve(unsafe.Sizeof(Root{}))
	if err != nil {
		return nil, err
	}
	t := &Table{root: (*Root)(root.Base())}
	reserve := func(size uintptr) (r arena.Region) {
		if err == nil {
			r, err = arena.Reserve(size)
		}
		return r
	}
	pool := func(control *arena.Control, shift, count uint32) (p *arena.Pool) {
		if err == nil {
			p, err = arena.NewPool(control, shift, count)
		}
		return p
	}
	t.slots = reserve(uintptr(c.Slots) * SlotSize)
	bells := reserve(uintptr(c.Bells) * unsafe.Sizeof(Bell{}))
	budgets := reserve(uintptr(c.Budgets) * unsafe.Sizeof(Budget{}))
	refs := reserve(uintptr(c.Blocks+1) * 8)
	t.chunks = pool(&t.root.chunks, c.ChunkShift, c.Chunks)
	t.blocks = pool(&t.root.blocks, c.BlockShift, c.Blocks)
	t.directories = pool(&t.root.directories, c.DirectoryShift, c.Directories)
	if err != nil {
		return nil, err
	}
	t.bells = unsafe.Slice((*Bell)(bells.Base()), c.Bells)
	t.budgets = unsafe.Slice((*Budget)(budgets.Base()), c.Budgets)
	t.blockRefs = unsafe.Slice((*atomic.Int64)(refs.Base()), c.Blocks+1)
	t.root.blockRefs = address(refs.Base())
	t.root.slots, t.root.slotCount = address(t.slots.Base()), c.Slots
	t.root.bells, t.root.budgets = address(bells.Base()), address(budgets.Base())
	t.root.slotsFresh.Store(1)
	t.chunkShift = c.ChunkShift - 3
	t.chunkWords = 1 << t.chunkShift
	if c.Coloured {
		t.colours = t.chunkWords / 2 / lineWords
	}
	t.largeMask = uint32(t.directories.PieceSize()/placeSize - 1)
	t.maxInline = min(MaxInline, t.chunks.PieceSize()/4)
	return t, nil
}

func address(p unsafe.Pointer) uint64 { return uint64(uintptr(p)) }

// Root returns the address of what C shares.
func (t *Table) Root() unsafe.Pointer { return unsafe.Pointer(t.root) }

// Slot returns the slot at index, which must be below the table's size.
func (t *Table) Slot(index uint32) *Slot { return (*Slot)(t.slots.At(uintptr(index) * SlotSize)) }

func (t *Table) indexOf(s *Slot) uint32 { return uint32(s.ID.Load()) }

// Live returns how many slots are in use: of lives that go on, or that the program
// still holds something of.
func (t *Table) Live() int { return int(t.root.slotsLive.Load()) }

// Bell returns a worker's bell.
func (t *Table) Bell(i uint32) *Bell { return &t.bells[i] }

// Bells returns how many workers there can be.
func (t *Table) Bells() int { return len(t.bells) }

// Budget returns a driver's budget.
func (t *Table) Budget(i uint32) *Budget { return &t.budgets[i] }

// Budgets returns how many drivers there can be.
func (t *Table) Budgets() int { return len(t.budgets) }

// Chunks is the pool of the logs' memory; Blocks of the receiving side's.
func (t *Table) Chunks() *arena.Pool { return t.chunks }

// Directories is the pool of large directories. Its pieces never become anything else,
// because producers of a life that is over may still look at them.
func (t *Table) Directories() *arena.Pool { return t.directories }

// Blocks is the pool of larger pieces: what is received, and copies of messages.
func (t *Table) Blocks() *arena.Pool { return t.blocks }

// Filling is what a block counts while somebody reads into it, beside the bytes
// in it that the program holds.
const Filling = 1 << 40

// UnrefBlock gives back n of what a block counts, and the block with the last.
func (t *Table) UnrefBlock(i arena.Index, n int64) {
	if t.blockRefs[i].Add(-n) == 0 {
		t.blocks.GiveDirty(i)
	}
}

// RefBlock counts n more.
func (t *Table) RefBlock(i arena.Index, n int64) { t.blockRefs[i].Add(n) }

// BlockHeld returns how many bytes of a block that is being filled the program holds.
func (t *Table) BlockHeld(i arena.Index) int64 { return t.blockRefs[i].Load() - Filling }

// Known says whether a handle names a life of a slot that began, over or not.
func (t *Table) Known(h Handle) bool {
	if h.Index() == 0 || h.Index() >= t.root.slotsFresh.Load() || h.Kind() == 0 || h.Kind() > KindTimer {
		return false
	}
	now := Handle(t.Slot(h.Index()).ID.Load()).Generation()
	return h.Generation() != 0 && h.Generation() <= now
}

// Find returns the slot that a handle names, or nil if that life is over or never
// began. The life may end right after.
func (t *Table) Find(h Handle) *Slot {
	if h.Kind() == 0 || h.Index() == 0 || h.Index() >= t.root.slotsFresh.Load() {
		return nil
	}
	s := t.Slot(h.Index())
	if Handle(s.ID.Load()) != h {
		return nil
	}
	return s
}
