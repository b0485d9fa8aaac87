package sim

import "encoding/binary"

// note is a kind of thing that goes into the world's hash.
type note uint64

const (
	noteTurn note = iota + 1
	noteArrive
	noteSpace
	noteConnect
	noteFault
	noteMessage
	noteEvent
	noteWrite
	noteSend
	noteCall
)

// hash is a running hash of 64 bits: an order-sensitive mix of words, for telling
// two runs apart and not against an adversary.
type hash uint64

// The multiplier of FNV-1a and the finishing steps of splitmix64, both in the public
// domain: a word changes all bits of the sum.
func (h *hash) mix(word uint64) {
	x := (uint64(*h) ^ word) * 0x100000001b3
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	*h = hash(x)
}

// sum returns the hash of a message's bytes.
func sum(data []byte) uint64 {
	x := uint64(len(data)) + 1
	for ; len(data) >= 8; data = data[8:] {
		x = (x ^ binary.LittleEndian.Uint64(data)) * 0x9e3779b97f4a7c15 // odd, so that no bit is lost
		x ^= x >> 29
	}
	var rest [8]byte
	copy(rest[:], data)
	h := hash(x)
	h.mix(binary.LittleEndian.Uint64(rest[:]))
	return uint64(h)
}
