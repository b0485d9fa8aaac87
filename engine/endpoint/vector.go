package endpoint

import (
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

// maxSlices bounds the slices of one write: more amortise nothing, and the
// kernel's limit is 1024.
const maxSlices = 64

// Vector is what one write gives to a link: slices of memory, and for each piece
// of them what it came from. A worker has one and uses it for all its endpoints.
type Vector struct {
	Slices  [][]byte
	Size    int // bytes in Slices
	pieces  []piece
	headers [maxSlices][wire.HeaderSize]byte // of frames that the log does not hold
	used    int                              // of headers
}

// padding completes payloads to whole words.
var padding [wire.HeaderSize]byte

// piece is a part of a vector that is accounted for as a whole: a run of frames,
// one frame of a long message, or control frames.
type piece struct {
	lane  int8  // -1: control
	ready lanes // which had something to send when it was gathered
	long  bool  // one frame of a long message, which entry is, or SKIP
	last  bool  // of a long message: its last frame
	start bool
	kind  wire.Kind // of that frame
	size  int       // bytes on the wire
	off   int       // of a long message: payload bytes before this frame
	part  int       // payload bytes in this frame; 0 with START
	entry outbox.Entry
}

func (v *Vector) reset() {
	clear(v.Slices)
	clear(v.pieces)
	v.Slices, v.pieces = v.Slices[:0], v.pieces[:0]
	v.Size, v.used = 0, 0
}

// Messages returns how many messages it has; a long one counts for each of its frames.
func (v *Vector) Messages() (n int) {
	for i := range v.pieces {
		if p := &v.pieces[i]; p.kind != wire.Skip {
			n += p.entry.Messages()
		}
	}
	return n
}

// full says whether another piece (at most three slices) would be too much.
func (v *Vector) full() bool { return len(v.Slices) > maxSlices-3 }

func (v *Vector) add(b []byte) {
	if len(b) != 0 {
		v.Slices = append(v.Slices, b)
		v.Size += len(b)
	}
}

// addFrame adds a piece that is one frame of a long message, without its first
// skip bytes.
func (v *Vector) addFrame(p piece, h wire.Header, skip int) {
	payload := p.entry.Payload[p.off : p.off+p.part]
	pad := padding[:wire.Padded(p.part)-p.part]
	head := v.headers[v.used][:]
	v.used++
	wire.PutHeader(head, h)
	for _, b := range [...][]byte{head, payload, pad} {
		cut := min(skip, len(b))
		skip -= cut
		v.add(b[cut:])
	}
	v.pieces = append(v.pieces, p)
}
