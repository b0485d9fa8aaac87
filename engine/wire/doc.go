// Package wire is lyquor's wire format: bytes to values and back, and nothing else. It
// has no I/O, no clock, no state and no goroutines; every function may be called from
// anywhere at any time. docs/protocol.md describes the format byte by byte, with the
// rules of a session; this page describes the package.
//
// # What crosses a link
//
// Each direction begins with a [Preface] of 16 bytes. Both sides compute the version
// from the two prefaces with [Negotiate]. Then come frames: a [Header] of 8 bytes, a
// payload, zeros up to a multiple of 8. Data frames carry messages:
//
//	Msg     a whole message of at most MaxPayload bytes
//	Start   the size of a longer message; no payload
//	Frag    its next piece
//	Skip    a number of messages that were withdrawn; no payload
//
// Control frames carry a FlatBuffers table ([Hello], [Ping], [Pong], [GoAway]), a
// struct ([Ack]) or nothing (KindFin).
//
// # Sending
//
// Data frames are made where their bytes lie: [MakeHeader] and [PutHeader] in front,
// payload, padding up to [Padded]. Control frames are appended whole:
//
//	out = wire.AppendPreface(out, wire.Preface{Min: 1, Max: wire.WireVersion})
//	out = wire.AppendHello(out, wire.Hello{Incarnation: random, Agent: "demo/1.0"})
//
// # Receiving
//
// The receiver reads a header, checks it before it believes its size, and then has the
// frame's extent:
//
//	h := wire.GetHeader(b)
//	if !wire.PlainMsg(h) { // nearly always true, and cheap
//		if err := wire.Check(h); err != nil {
//			return err
//		}
//	}
//	if len(b) < h.FrameSize() {
//		return nil // not all here yet
//	}
//	payload := b[wire.HeaderSize : wire.HeaderSize+h.Size()] // but for Start and Skip, which have none
//
// Check knows one header at a time. What depends on others is the session's to check:
// HELLO first and once, FRAG only after START and within its total, no message after
// FIN, messages within the limit and the window that were announced, counts that were
// stated before.
//
// The Parse functions take a control frame's payload. They verify a table, check its
// fields, and copy: what they return has no tie to the payload. They take any bytes
// whatever, in time linear in their number, and do not panic.
//
// # Events and snapshots
//
// The details of events ([UpDetail], [ClosedDetail], [RestartedDetail], [AcceptedDetail]) and [Snapshot]
// never cross a link: the library hands them to programs as bare FlatBuffers, readable
// with schema/event.fbs and schema/snapshot.fbs in any language, or with the Parse
// functions here.
//
// # Errors
//
// Every error says what was wrong and what is allowed, and is of one of two classes
// for errors.Is: [ErrMalformed] if the bytes break the format, [ErrIncompatible] if
// they are sound but this version or configuration cannot go on with them.
//
// # Changing the format
//
// Fields are added at the end of their tables in schema/*.fbs and here in tables.go;
// kinds in frame.fbs, kind.go and check.go. The files in testdata pin every byte: the
// vectors show the format, conformance.txt holds a hash over thousands of encodings of
// each type. `go test ./engine/wire -update` rewrites them; a line that changes is a
// change of the format, and belongs into docs/protocol.md.
package wire
