package wire

import "encoding/binary"

// Header is the header of a frame: one little-endian 64-bit word, so that it is
// loaded, tested and stored as a whole.
//
//	bits  0-31  size     bytes of payload, padding not counted
//	bits 32-39  kind
//	bits 40-47  lane
//	bits 48-63  channel
type Header uint64

// HeaderSize is the size of a header on the wire, in bytes. It is also the
// alignment of frames: headers and payloads begin at multiples of it.
const HeaderSize = 8

const (
	kindShift    = 32
	laneShift    = 40
	channelShift = 48
)

// MakeHeader composes a header. It checks nothing.
func MakeHeader(size uint32, kind Kind, lane Lane, channel uint16) Header {
	return Header(size) | Header(kind)<<kindShift | Header(lane)<<laneShift | Header(channel)<<channelShift
}

// GetHeader reads a header from the first 8 bytes of b.
func GetHeader(b []byte) Header { return Header(binary.LittleEndian.Uint64(b)) }

// PutHeader writes h to the first 8 bytes of b.
func PutHeader(b []byte, h Header) { binary.LittleEndian.PutUint64(b, uint64(h)) }

// Size returns the bytes of payload, unpadded; of a Start, those of the whole message.
func (h Header) Size() uint32 { return uint32(h) }

// Kind returns the frame's kind.
func (h Header) Kind() Kind { return Kind(h >> kindShift) }

// Lane returns the frame's lane; Check says whether it exists.
func (h Header) Lane() Lane { return Lane(h >> laneShift) }

// Channel returns the tag that the program gave the message.
func (h Header) Channel() uint16 { return uint16(h >> channelShift) }

// Padded returns n rounded up to a multiple of 8, the space that a payload of n
// bytes takes on the wire. n is at least 0 and at most MaxMessage.
func Padded(n int) int { return (n + HeaderSize - 1) &^ (HeaderSize - 1) }

// FrameSize returns the bytes of the whole frame on the wire: header, payload and
// padding. A Start or Skip is only its header. The result means nothing unless Check
// passed h.
func (h Header) FrameSize() int {
	if h.Kind() == Start || h.Kind() == Skip {
		return HeaderSize
	}
	return HeaderSize + Padded(int(h.Size()))
}
