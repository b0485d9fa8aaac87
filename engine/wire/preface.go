package wire

import (
	"encoding/binary"
	"strconv"
)

// WireVersion is the version of the format that this package implements.
const WireVersion = 1

// SuitePlain is the suite in which frames follow the preface as they are. It is the
// only one so far.
const SuitePlain uint8 = 0

// PrefaceSize is the size of a preface on the wire, in bytes.
const PrefaceSize = 16

// magic opens every link. Like the signature of PNG (RFC 2083, 12.12) it is damaged
// visibly by whatever takes the link for text: the first byte has its high bit set
// and cannot begin UTF-8, CR LF breaks under newline conversion, 0x1A ends text
// files on DOS, and the last LF breaks under the reverse conversion. No byte of it
// opens TLS, SSH, HTTP/1 or HTTP/2.
const magic = "\x8CLYQ\r\n\x1A\n"

// Offsets in a preface. Bytes 13 to 15 are reserved: 0 when sent, ignored when read.
const (
	prefaceMin   = 8
	prefaceMax   = 10
	prefaceSuite = 12
)

// Preface is what each side sends before anything else.
type Preface struct {
	Min, Max uint16 // wire versions that the sender speaks, both included; Min >= 1
	Suite    uint8  // how what follows is protected
}

// AppendPreface appends p's 16 bytes to dst.
func AppendPreface(dst []byte, p Preface) []byte {
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint16(dst, p.Min)
	dst = binary.LittleEndian.AppendUint16(dst, p.Max)
	return append(dst, p.Suite, 0, 0, 0)
}

// ParsePreface reads a preface from the first 16 bytes of b. Its errors are
// ErrMalformed. With fewer bytes it already rejects a peer whose first bytes are
// wrong, so that one that is not a lyquor need not be waited for.
func ParsePreface(b []byte) (Preface, error) {
	if err := checkMagic(b); err != nil {
		return Preface{}, err
	}
	if len(b) < PrefaceSize {
		return Preface{}, malformed("preface of %d bytes; %d are required", len(b), PrefaceSize)
	}
	p := Preface{
		Min:   binary.LittleEndian.Uint16(b[prefaceMin:]),
		Max:   binary.LittleEndian.Uint16(b[prefaceMax:]),
		Suite: b[prefaceSuite],
	}
	if p.Min == 0 || p.Min > p.Max {
		return Preface{}, malformed("preface with wire versions %d to %d; 1 <= min <= max is required", p.Min, p.Max)
	}
	return p, nil
}

// checkMagic compares as much of the magic as b holds.
func checkMagic(b []byte) error {
	head := b[:min(len(b), len(magic))]
	if string(head) == magic[:len(head)] {
		return nil
	}
	// The letters survive what a text-mode channel does to the bytes around them.
	if len(head) >= 4 && head[0]&0x7F == magic[0]&0x7F && string(head[1:4]) == magic[1:4] {
		return malformed("preface altered on its way, as by a channel that takes it for text: %q; %q is required",
			head, magic)
	}
	return malformed("the peer is not a lyquor: its first bytes are %q; %q is required", head, magic)
}

// Negotiate returns the highest wire version that both sides speak. Its errors are
// ErrIncompatible. Both sides compute the same from the two prefaces. The suites
// must be equal: a suite is chosen by configuration, never downgraded to.
func Negotiate(mine, theirs Preface) (version uint16, err error) {
	if mine.Suite != theirs.Suite {
		return 0, incompatible("this side is set to suite %s, the peer to suite %s; both must be set to the same",
			suiteText(mine.Suite), suiteText(theirs.Suite))
	}
	version = min(mine.Max, theirs.Max)
	if version < max(mine.Min, theirs.Min) {
		return 0, incompatible("no wire version in common: this side speaks %s, the peer %s",
			versionsText(mine), versionsText(theirs))
	}
	return version, nil
}

func suiteText(s uint8) string {
	if s == SuitePlain {
		return "0 (plaintext)"
	}
	return strconv.Itoa(int(s))
}

func versionsText(p Preface) string {
	if p.Min == p.Max {
		return strconv.Itoa(int(p.Min))
	}
	return strconv.Itoa(int(p.Min)) + " to " + strconv.Itoa(int(p.Max))
}
