package wire

import (
	"math"

	"github.com/lyquor/lyquor/engine/wire/fb"

	flatbuffers "github.com/google/flatbuffers/go"
)

// Details of events and snapshots are bare FlatBuffers, without a frame around them.
// The Append functions append one to dst; its length is a multiple of 8, and it must
// come to lie at a multiple of 8 in memory for readers in other languages. Strings
// are made valid UTF-8 without control characters, because those readers refuse
// others; their length is the caller's concern. The Parse functions are for programs
// in Go that have such bytes in hand: they verify, and copy what they return.

// UpDetail is the detail of UP: the link works and the peer has said Hello.
type UpDetail struct {
	Local, Remote string // addresses of the link's two sides
	Agent         string // the peer's, from its Hello
	MaxMessage    uint64 // largest message that the peer takes, bytes
	WireVersion   uint16 // the version that both speak on this link
}

// AppendUpDetail appends the encoding of d.
func AppendUpDetail(dst []byte, d UpDetail) []byte {
	b := newBuilder()
	local, remote, agent := addText(b, d.Local), addText(b, d.Remote), addText(b, d.Agent)
	fb.UpDetailStart(b)
	fb.UpDetailAddLocal(b, local)
	fb.UpDetailAddRemote(b, remote)
	fb.UpDetailAddAgent(b, agent)
	fb.UpDetailAddMaxMessage(b, d.MaxMessage)
	fb.UpDetailAddWireVersion(b, d.WireVersion)
	return appendBare(dst, b, fb.UpDetailEnd(b))
}

// ParseUpDetail reads what AppendUpDetail wrote.
func ParseUpDetail(b []byte) (UpDetail, error) {
	if err := verify(b, &upTable); err != nil {
		return UpDetail{}, err
	}
	t := fb.GetRootAsUpDetail(b, 0)
	return UpDetail{Local: string(t.Local()), Remote: string(t.Remote()), Agent: string(t.Agent()),
		MaxMessage: t.MaxMessage(), WireVersion: t.WireVersion()}, nil
}

// LaneAccount counts one lane's messages over an endpoint's life.
type LaneAccount struct {
	Accepted     uint64 // that send accepted
	Acknowledged uint64 // of these, consumed by the peer
	Maybe        uint64 // of these, others of which a link was given a part at least
	Never        uint64 // of these, those of which no byte was given to a link
	Received     uint64 // received whole from the peer
	Withdrawn    uint64 // of those accepted, not sent because their time to live was over
}

// ClosedDetail is the detail of CLOSED: why the endpoint ended, and its account.
type ClosedDetail struct {
	Code  int32              // 0 for an orderly end, else an error code of lyquor.h
	Text  string             // the reason in words
	Lanes [Lanes]LaneAccount // by lane
}

// AppendClosedDetail appends the encoding of d.
func AppendClosedDetail(dst []byte, d ClosedDetail) []byte {
	b := newBuilder()
	reason := addText(b, d.Text)
	fb.ClosedDetailStartLanesVector(b, Lanes)
	lanes := addAccounts(b, &d.Lanes)
	fb.ClosedDetailStart(b)
	fb.ClosedDetailAddCode(b, d.Code)
	fb.ClosedDetailAddText(b, reason)
	fb.ClosedDetailAddLanes(b, lanes)
	return appendBare(dst, b, fb.ClosedDetailEnd(b))
}

// ParseClosedDetail reads what AppendClosedDetail wrote.
func ParseClosedDetail(b []byte) (ClosedDetail, error) {
	if err := verify(b, &closedTable); err != nil {
		return ClosedDetail{}, err
	}
	t := fb.GetRootAsClosedDetail(b, 0)
	d := ClosedDetail{Code: t.Code(), Text: string(t.Text())}
	var l fb.LaneAccount
	for i := range min(t.LanesLength(), Lanes) {
		t.Lanes(&l, i)
		d.Lanes[i] = account(&l)
	}
	return d, nil
}

// RestartedDetail is the detail of RESTARTED: what the peer had not acknowledged.
type RestartedDetail struct {
	Lanes [Lanes]LaneAccount // by lane, from the last RESTARTED on
}

// AppendRestartedDetail appends the encoding of d.
func AppendRestartedDetail(dst []byte, d RestartedDetail) []byte {
	b := newBuilder()
	fb.RestartedDetailStartLanesVector(b, Lanes)
	lanes := addAccounts(b, &d.Lanes)
	fb.RestartedDetailStart(b)
	fb.RestartedDetailAddLanes(b, lanes)
	return appendBare(dst, b, fb.RestartedDetailEnd(b))
}

// ParseRestartedDetail reads what AppendRestartedDetail wrote.
func ParseRestartedDetail(b []byte) (d RestartedDetail, err error) {
	if err := verify(b, &restartedTable); err != nil {
		return d, err
	}
	t := fb.GetRootAsRestartedDetail(b, 0)
	var l fb.LaneAccount
	for i := range min(t.LanesLength(), Lanes) {
		t.Lanes(&l, i)
		d.Lanes[i] = account(&l)
	}
	return d, nil
}

// addAccounts writes the elements of a vector that was started, and ends it.
func addAccounts(b *flatbuffers.Builder, lanes *[Lanes]LaneAccount) flatbuffers.UOffsetT {
	for i := Lanes - 1; i >= 0; i-- { // a builder grows downwards
		l := &lanes[i]
		fb.CreateLaneAccount(b, l.Accepted, l.Acknowledged, l.Maybe, l.Never, l.Received, l.Withdrawn)
	}
	return b.EndVector(Lanes)
}

func account(l *fb.LaneAccount) LaneAccount {
	return LaneAccount{l.Accepted(), l.Acknowledged(), l.MaybeDelivered(), l.NeverSent(), l.Received(), l.Withdrawn()}
}

// AcceptedDetail is the detail of ACCEPTED: a listener has a new endpoint.
type AcceptedDetail struct {
	Listener uint64 // the listener's handle
	Remote   string // address of the peer's side
}

// AppendAcceptedDetail appends the encoding of d.
func AppendAcceptedDetail(dst []byte, d AcceptedDetail) []byte {
	b := newBuilder()
	remote := addText(b, d.Remote)
	fb.AcceptedDetailStart(b)
	fb.AcceptedDetailAddListener(b, d.Listener)
	fb.AcceptedDetailAddRemote(b, remote)
	return appendBare(dst, b, fb.AcceptedDetailEnd(b))
}

// ParseAcceptedDetail reads what AppendAcceptedDetail wrote.
func ParseAcceptedDetail(b []byte) (AcceptedDetail, error) {
	if err := verify(b, &acceptedTable); err != nil {
		return AcceptedDetail{}, err
	}
	t := fb.GetRootAsAcceptedDetail(b, 0)
	return AcceptedDetail{Listener: t.Listener(), Remote: string(t.Remote())}, nil
}

// addText writes a string that is always present: a reader in another language then
// needs no test for absence.
func addText(b *flatbuffers.Builder, s string) flatbuffers.UOffsetT {
	return b.CreateString(cleanText(s, math.MaxInt))
}

// appendBare finishes b's table and appends it to dst, padded to a multiple of 8.
func appendBare(dst []byte, b *flatbuffers.Builder, root flatbuffers.UOffsetT) []byte {
	b.Finish(root)
	return appendPadded(dst, b.FinishedBytes())
}

// appendPadded appends t and zeros up to a multiple of 8.
func appendPadded(dst, t []byte) []byte {
	var zeros [HeaderSize]byte
	dst = append(dst, t...)
	return append(dst, zeros[:Padded(len(t))-len(t)]...)
}
