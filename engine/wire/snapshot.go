package wire

import (
	"github.com/lyquor/lyquor/engine/wire/fb"

	flatbuffers "github.com/google/flatbuffers/go"
)

// EndpointState is where an endpoint stands in its life.
type EndpointState uint8

// The states of an endpoint, as numbered in schema/snapshot.fbs.
const (
	Connecting = EndpointState(fb.EndpointStateConnecting) // no Hello from the peer yet
	Up         = EndpointState(fb.EndpointStateUp)         // messages flow
	Closing    = EndpointState(fb.EndpointStateClosing)    // what was accepted is being written
	Closed     = EndpointState(fb.EndpointStateClosed)     // CLOSED has been reported
)

// String returns the state's name.
func (s EndpointState) String() string { return fb.EndpointState(s).String() }

// LaneState is one lane of an endpoint: what waits now, and what went so far.
type LaneState struct {
	QueuedMessages, QueuedBytes     uint64 // accepted and not yet written
	SentMessages, SentBytes         uint64 // written, over the endpoint's life
	ReceivedMessages, ReceivedBytes uint64 // received, over the endpoint's life
}

// EndpointSnapshot is one endpoint at one moment.
type EndpointSnapshot struct {
	ID            uint64 // its handle
	State         EndpointState
	Local, Remote string // addresses of the link; empty without one
	RTT           int64  // smoothed round-trip time in ns; -1 = not measured yet
	Lanes         [Lanes]LaneState
}

// WorkerSnapshot is one worker of a driver at one moment.
type WorkerSnapshot struct {
	Index    uint32   // its number within the driver
	Counters []uint64 // indexed by the counter enumeration of lyquor.h
}

// Snapshot is what lyquor shows of its inside. Of an endpoint it holds that endpoint
// alone and no workers; of a driver all of both.
type Snapshot struct {
	ID        uint64 // the handle that was asked about
	Workers   []WorkerSnapshot
	Endpoints []EndpointSnapshot
}

// AppendSnapshot appends the encoding of s, a bare FlatBuffer like the details.
func AppendSnapshot(dst []byte, s Snapshot) []byte {
	b := newBuilder()
	workers := make([]flatbuffers.UOffsetT, len(s.Workers))
	for i := range s.Workers {
		workers[i] = addWorker(b, &s.Workers[i])
	}
	endpoints := make([]flatbuffers.UOffsetT, len(s.Endpoints))
	for i := range s.Endpoints {
		endpoints[i] = addEndpoint(b, &s.Endpoints[i])
	}
	w := b.CreateVectorOfTables(workers)
	e := b.CreateVectorOfTables(endpoints)
	fb.SnapshotStart(b)
	fb.SnapshotAddId(b, s.ID)
	fb.SnapshotAddWorkers(b, w)
	fb.SnapshotAddEndpoints(b, e)
	return appendBare(dst, b, fb.SnapshotEnd(b))
}

// ParseSnapshot reads what AppendSnapshot wrote.
func ParseSnapshot(b []byte) (Snapshot, error) {
	if err := verify(b, &snapshotTable); err != nil {
		return Snapshot{}, err
	}
	t := fb.GetRootAsSnapshot(b, 0)
	s := Snapshot{ID: t.Id()}
	var w fb.WorkerSnapshot
	for i := range t.WorkersLength() {
		t.Workers(&w, i)
		s.Workers = append(s.Workers, worker(&w))
	}
	var e fb.EndpointSnapshot
	for i := range t.EndpointsLength() {
		t.Endpoints(&e, i)
		s.Endpoints = append(s.Endpoints, endpoint(&e))
	}
	return s, nil
}

func addWorker(b *flatbuffers.Builder, w *WorkerSnapshot) flatbuffers.UOffsetT {
	fb.WorkerSnapshotStartCountersVector(b, len(w.Counters))
	for i := len(w.Counters) - 1; i >= 0; i-- {
		b.PrependUint64(w.Counters[i])
	}
	counters := b.EndVector(len(w.Counters))
	fb.WorkerSnapshotStart(b)
	fb.WorkerSnapshotAddIndex(b, w.Index)
	fb.WorkerSnapshotAddCounters(b, counters)
	return fb.WorkerSnapshotEnd(b)
}

func worker(t *fb.WorkerSnapshot) WorkerSnapshot {
	w := WorkerSnapshot{Index: t.Index()}
	for i := range t.CountersLength() {
		w.Counters = append(w.Counters, t.Counters(i))
	}
	return w
}

func addEndpoint(b *flatbuffers.Builder, e *EndpointSnapshot) flatbuffers.UOffsetT {
	local, remote := addText(b, e.Local), addText(b, e.Remote)
	fb.EndpointSnapshotStartLanesVector(b, Lanes)
	for i := Lanes - 1; i >= 0; i-- {
		l := &e.Lanes[i]
		fb.CreateLaneState(b, l.QueuedMessages, l.QueuedBytes, l.SentMessages, l.SentBytes,
			l.ReceivedMessages, l.ReceivedBytes)
	}
	lanes := b.EndVector(Lanes)
	fb.EndpointSnapshotStart(b)
	fb.EndpointSnapshotAddId(b, e.ID)
	fb.EndpointSnapshotAddState(b, fb.EndpointState(e.State))
	fb.EndpointSnapshotAddLocal(b, local)
	fb.EndpointSnapshotAddRemote(b, remote)
	fb.EndpointSnapshotAddRttNs(b, e.RTT)
	fb.EndpointSnapshotAddLanes(b, lanes)
	return fb.EndpointSnapshotEnd(b)
}

func endpoint(t *fb.EndpointSnapshot) EndpointSnapshot {
	e := EndpointSnapshot{ID: t.Id(), State: EndpointState(t.State()),
		Local: string(t.Local()), Remote: string(t.Remote()), RTT: t.RttNs()}
	var l fb.LaneState
	for i := range min(t.LanesLength(), Lanes) {
		t.Lanes(&l, i)
		e.Lanes[i] = LaneState{l.QueuedMessages(), l.QueuedBytes(), l.SentMessages(), l.SentBytes(),
			l.ReceivedMessages(), l.ReceivedBytes()}
	}
	return e
}
