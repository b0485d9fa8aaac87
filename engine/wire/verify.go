package wire

import (
	"encoding/binary"
	"math"
)

// FlatBuffers' accessors in Go trust every offset that they read: bad bytes make
// them panic, loop, or return bytes of something else. FlatBuffers has a verifier in
// C++ and Rust but none in Go. This is one, for the shapes that lyquor's tables use.
// It reads only what it has bounds-checked, its stack is bounded by maxDepth, and its
// work by the length of its input. What passes is safe to read by the generated code.

// maxDepth is the deepest nesting of tables, in tables. lyquor's are two deep.
const maxDepth = 8

// Sizes and alignments of FlatBuffers' own words, in bytes.
const (
	offsetSize  = 4 // of an offset to a table, vector or string, and of a length
	vtableEntry = 2 // of one entry of a vtable; its first two are sizes
	vtableHead  = 2 * vtableEntry
)

// shape is what a field of a table holds.
type shape uint8

const (
	inline   shape = iota // a scalar or struct, in the table itself
	str                   // an offset to a string
	vector                // an offset to a vector of scalars or structs
	children              // an offset to a vector of offsets to tables
)

// field describes one field of a table.
type field struct {
	name     string
	shape    shape
	size     int    // of an inline value or of a vector's element, in bytes
	align    int    // of the same, in bytes
	required bool   // absence is an error
	child    *table // what a vector of tables consists of
}

// table describes a table: field i stands at entry i of its vtable. Fields that
// the bytes have beyond these are a later version's: they are not looked at.
type table struct {
	name   string
	fields []field
}

// verifier is one pass over one buffer.
type verifier struct {
	b []byte
	// budget is how many bytes of tables, vectors and strings may still be visited. It
	// begins as the buffer's length: no honest encoding visits a byte twice. So offsets
	// that fan out over shared tables, or over one long string, end soon.
	budget int
}

// verify reports why b is not a table of shape t, or nil. The error is ErrMalformed.
func verify(b []byte, t *table) error {
	if len(b) > math.MaxInt32 {
		return malformed("%s: %d bytes; at most %d are allowed", t.name, len(b), math.MaxInt32)
	}
	v := verifier{b: b, budget: len(b)}
	if !v.holds(0, offsetSize) {
		return malformed("%s: %d bytes; a table needs at least %d", t.name, len(b), offsetSize)
	}
	return v.table(v.offset(0), t, 1)
}

// table verifies the table at pos, which may be any number.
func (v *verifier) table(pos int, t *table, depth int) error {
	if depth > maxDepth {
		return malformed("%s: tables nested deeper than %d", t.name, maxDepth)
	}
	if !v.holds(pos, offsetSize) || pos%offsetSize != 0 {
		return malformed("%s: table at %d; a multiple of %d within %d bytes is required",
			t.name, pos, offsetSize, len(v.b))
	}
	vtable := pos - int(int32(binary.LittleEndian.Uint32(v.b[pos:])))
	if !v.holds(vtable, vtableHead) || vtable%vtableEntry != 0 {
		return malformed("%s: vtable at %d; a multiple of %d within %d bytes is required",
			t.name, vtable, vtableEntry, len(v.b))
	}
	vtableSize := v.entry(vtable)
	if vtableSize < vtableHead || vtableSize%vtableEntry != 0 || !v.holds(vtable, vtableSize) {
		return malformed("%s: vtable of %d bytes; %d or more, a multiple of %d and within %d bytes are required",
			t.name, vtableSize, vtableHead, vtableEntry, len(v.b))
	}
	size := v.entry(vtable + vtableEntry)
	if size < offsetSize || !v.holds(pos, size) {
		return malformed("%s: table of %d bytes at %d; at least %d and within %d bytes are required",
			t.name, size, pos, offsetSize, len(v.b))
	}
	if err := v.visit(size, t, ""); err != nil {
		return err
	}
	for i := range t.fields {
		at := 0
		if entry := vtableHead + i*vtableEntry; entry < vtableSize {
			at = v.entry(vtable + entry)
		}
		if err := v.field(pos, size, at, t, &t.fields[i], depth); err != nil {
			return err
		}
	}
	return nil
}

// field verifies the field f of the table of size bytes at pos. at is the vtable's
// entry: the field's distance from pos, 0 if it is absent.
func (v *verifier) field(pos, size, at int, t *table, f *field, depth int) error {
	if at == 0 {
		if f.required {
			return malformed("%s.%s is absent; it is required", t.name, f.name)
		}
		return nil
	}
	width, align := f.size, f.align
	if f.shape != inline {
		width, align = offsetSize, offsetSize
	}
	// The first word of a table is its offset to the vtable, never a field.
	if at < offsetSize || at+width > size || (pos+at)%align != 0 {
		return malformed("%s.%s at %d+%d; %d bytes at a multiple of %d in the table's bytes %d to %d are required",
			t.name, f.name, pos, at, width, align, offsetSize, size)
	}
	if f.shape == inline {
		return nil
	}
	offset := v.offset(pos + at)
	if offset == 0 {
		// Offsets lead forward, which is what makes cycles impossible; this one does not.
		return malformed("%s.%s: an offset of 0; at least %d is required", t.name, f.name, offsetSize)
	}
	target := pos + at + offset
	switch f.shape {
	case str:
		return v.str(target, t, f)
	case vector:
		_, err := v.vector(target, f.size, f.align, 0, t, f)
		return err
	default:
		return v.children(target, t, f, depth)
	}
}

// str verifies the string at pos: a vector of bytes and a zero byte behind them,
// which readers in C and C++ rely on.
func (v *verifier) str(pos int, t *table, f *field) error {
	n, err := v.vector(pos, 1, 1, 1, t, f)
	if err != nil {
		return err
	}
	if v.b[pos+offsetSize+n] != 0 {
		return malformed("%s.%s: a string of %d bytes without the zero byte behind it", t.name, f.name, n)
	}
	return nil
}

// vector verifies the vector at pos of elements of size bytes, with tail bytes behind
// the last, and returns the number of elements.
func (v *verifier) vector(pos, size, align, tail int, t *table, f *field) (int, error) {
	if !v.holds(pos, offsetSize) || pos%offsetSize != 0 || (pos+offsetSize)%align != 0 {
		return 0, malformed(
			"%s.%s: vector at %d; a multiple of %d within %d bytes, elements aligned to %d, is required",
			t.name, f.name, pos, offsetSize, len(v.b), align)
	}
	n := v.offset(pos)
	bytes := n*size + tail // n < 2^32 and size is small: no overflow in 64 bits
	if !v.holds(pos+offsetSize, bytes) {
		return 0, malformed("%s.%s: %d elements of %d bytes at %d reach beyond %d bytes",
			t.name, f.name, n, size, pos+offsetSize, len(v.b))
	}
	return n, v.visit(offsetSize+bytes, t, f.name)
}

// children verifies the vector of tables at pos.
func (v *verifier) children(pos int, t *table, f *field, depth int) error {
	n, err := v.vector(pos, offsetSize, offsetSize, 0, t, f)
	if err != nil {
		return err
	}
	for i := range n {
		at := pos + offsetSize + i*offsetSize
		// An offset of 0 makes the offset itself a table, whose vtable of 0 bytes is refused.
		if err := v.table(at+v.offset(at), f.child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// visit takes n bytes from the budget.
func (v *verifier) visit(n int, t *table, field string) error {
	if v.budget -= n; v.budget >= 0 {
		return nil
	}
	name := t.name
	if field != "" {
		name += "." + field
	}
	return malformed("%s: tables, vectors or strings overlap: they add up to more than the %d bytes there are",
		name, len(v.b))
}

// holds reports whether the buffer has n bytes at pos. Both may be any sum of two
// 32-bit numbers.
func (v *verifier) holds(pos, n int) bool { return pos >= 0 && n >= 0 && pos <= len(v.b)-n }

// offset reads the unsigned 32-bit word at pos, which holds has allowed.
func (v *verifier) offset(pos int) int { return int(binary.LittleEndian.Uint32(v.b[pos:])) }

// entry reads the vtable entry at pos, which holds has allowed.
func (v *verifier) entry(pos int) int { return int(binary.LittleEndian.Uint16(v.b[pos:])) }
