package driver

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"
)

// mirror is what others may read of an endpoint: copies that its worker makes at
// the end of each step.
type mirror struct {
	phase         atomic.Uint32
	paused        atomic.Bool
	noSink        atomic.Bool
	starved       atomic.Bool
	sentMessages  atomic.Uint64
	gotMessages   atomic.Uint64
	sentBytes     atomic.Uint64
	receivedBytes atomic.Uint64
	rtt           atomic.Int64
	withdrawn     atomic.Uint64
	window        atomic.Uint64
	inFlight      [wire.Lanes]struct{ messages, bytes atomic.Uint64 } // given to links and not acknowledged
	noCredit      atomic.Uint32                                       // lanes, a bit each
	lost          atomic.Pointer[string]                              // why there is no link; nil: none was lost
}

// publish brings the mirror up to date. Most of it stays as it was, and a load is much
// cheaper than a store that others must see in order.
func (e *Endpoint) publish() {
	m := &e.mirror
	var sent, got, withdrawn, window uint64
	noCredit := uint32(0)
	for i := range wire.Lane(wire.Lanes) {
		sent += e.core.Written(i)
		got += e.core.Received(i)
		withdrawn += e.core.Withdrawn(i)
		window = max(window, e.core.Window(i))
		flight := e.core.InFlight(i)
		show(&m.inFlight[i].messages, flight.Messages)
		show(&m.inFlight[i].bytes, flight.Bytes)
		if e.core.NoCredit(i) {
			noCredit |= 1 << i
		}
	}
	if m.noCredit.Load() != noCredit {
		m.noCredit.Store(noCredit)
	}
	e.worker.count(Frames, got-m.gotMessages.Load())
	show(&m.window, window)
	show(&m.sentMessages, sent)
	show(&m.gotMessages, got)
	show(&m.withdrawn, withdrawn)
	bytesOut, bytesIn := e.core.Bytes()
	show(&m.sentBytes, bytesOut)
	show(&m.receivedBytes, bytesIn)
	if rtt := e.core.RoundTrip(); m.rtt.Load() != rtt {
		m.rtt.Store(rtt)
	}
	if phase := e.core.Phase(); endpoint.Phase(m.phase.Load()) != phase || phase == endpoint.Waiting {
		m.showLost(e.core.Lost())
		m.phase.Store(uint32(phase))
	}
	showFlag(&m.paused, e.core.Paused())
	showFlag(&m.noSink, e.sink == nil)
	showFlag(&m.starved, e.starved)
}

func (m *mirror) showLost(text string) {
	if old := m.lost.Load(); text != "" && (old == nil || *old != text) {
		m.lost.Store(&text)
	}
}

func show(to *atomic.Uint64, v uint64) {
	if to.Load() != v {
		to.Store(v)
	}
}

func showFlag(to *atomic.Bool, v bool) {
	if to.Load() != v {
		to.Store(v)
	}
}

// EndpointCounter names a counter of an endpoint. The order is that of the C API.
type EndpointCounter int

// The counters.
const (
	MessagesSent EndpointCounter = iota // given to a link, each once
	BytesSent                           // on the wire
	MessagesReceived
	BytesReceived
	QueuedMessages // accepted and not sent, now
	QueuedBytes
	HeldBytes    // received and not released, now; inboxes only
	RoundTrip    // of the last ping in nanoseconds; 0: none yet
	WorkerNumber // of the worker that it is on, from 1
	Withdrawn    // messages whose time to live was over before they were sent
	Window       // what the peer may send in a lane beyond what was consumed, now, in the lane where it is most
	OutboxLimit  // what a lane may hold that is not acknowledged, now, in the lane where it is most
	EndpointCounters
)

// Counts returns the endpoint's counters as of its last step.
func (e *Endpoint) Counts() (out [EndpointCounters]uint64) {
	m := &e.mirror
	out[MessagesSent], out[BytesSent] = m.sentMessages.Load(), m.sentBytes.Load()
	out[MessagesReceived], out[BytesReceived] = m.gotMessages.Load(), m.receivedBytes.Load()
	for i := range wire.Lane(wire.Lanes) {
		messages, bytes := e.queued(i)
		out[QueuedMessages] += messages
		out[QueuedBytes] += bytes
	}
	out[HeldBytes] = uint64(e.held())
	out[RoundTrip] = uint64(m.rtt.Load())
	out[WorkerNumber] = uint64(e.home().number + 1)
	out[Withdrawn] = m.withdrawn.Load()
	out[Window] = m.window.Load()
	for i := range wire.Lane(wire.Lanes) {
		out[OutboxLimit] = max(out[OutboxLimit], e.slot.Limit(i))
	}
	return out
}

// Explain says in a line a lane why what is queued there waits, or in one line how
// the endpoint is if nothing is.
func (e *Endpoint) Explain() string {
	var lines []string
	higher := ""
	for _, lane := range wire.Priority {
		messages, bytes := e.queued(lane)
		flight := e.mirror.inFlight[lane].messages.Load()
		if messages == 0 && flight == 0 {
			continue
		}
		reason := e.reason(lane)
		if flight > 0 {
			reason = fmt.Sprintf("%d in flight, %s", flight, reason)
		}
		if higher != "" {
			reason += "; " + higher + " goes first"
		}
		lines = append(lines, fmt.Sprintf("%v: %d queued, %d bytes: %s", lane, messages, bytes, reason))
		higher = lane.String()
	}
	if len(lines) == 0 {
		return fmt.Sprintf("%v, nothing queued: %s", endpoint.Phase(e.mirror.phase.Load()), e.reason(wire.Normal))
	}
	return strings.Join(lines, "\n")
}

// Explain says in one line how the driver is.
func (d *Driver) Explain() string {
	b := d.table.Budget(d.budget)
	endpoints := int64(0)
	for _, w := range d.workers {
		endpoints += w.load.Load()
	}
	return fmt.Sprintf("%d workers, %d handles, %d of %d bytes in use",
		len(d.workers), endpoints, b.Used.Load(), b.Limit.Load())
}

// queued returns what was accepted in a lane and is not on its way.
func (e *Endpoint) queued(lane wire.Lane) (messages, bytes uint64) {
	messages, bytes = e.slot.Backlog(lane)
	flight := &e.mirror.inFlight[lane]
	if messages <= flight.messages.Load() {
		return 0, 0 // what the log holds of a long message besides is not queued
	}
	return messages - flight.messages.Load(), bytes - min(bytes, flight.bytes.Load())
}

// reason says what a lane waits for, the most telling first.
func (e *Endpoint) reason(lane wire.Lane) string {
	m := &e.mirror
	now := e.driver.Now()
	w := e.home()
	calling := w.calling.Load()
	unacked, _ := e.slot.Backlog(lane) // to which it makes no difference who receives here
	switch phase := endpoint.Phase(m.phase.Load()); {
	case phase == endpoint.Closed:
		return "the endpoint is closed"
	case calling != 0:
		return fmt.Sprintf("a callback runs on worker %d for %s", w.number+1, seconds(now-calling))
	case phase == endpoint.Waiting:
		reason := "connecting to " + *e.addr.Load()
		if !e.redials {
			reason = "waiting for " + *e.addr.Load() + " to come back"
		}
		if lost := m.lost.Load(); lost != nil {
			reason += "; " + *lost
		}
		return reason
	case e.since.Load() != 0:
		return "socket full for " + seconds(now-e.since.Load()) + ": the peer does not read"
	case phase == endpoint.Opening:
		return "handshake with " + e.RemoteAddr()
	case m.starved.Load():
		return "the driver's memory limit is reached"
	case phase == endpoint.Leaving:
		return "closing"
	case unacked == 0 && m.paused.Load() && m.noSink.Load():
		return "nobody receives: no callback or inbox is bound"
	case unacked == 0 && m.paused.Load():
		return "paused by this side's callback"
	case m.noCredit.Load()>>lane&1 != 0:
		return "no credit: the peer has not consumed what it was sent"
	case e.slot.Full(lane):
		return "outbox full: the peer has not consumed what it was sent"
	case m.inFlight[lane].messages.Load() > 0:
		return "the peer has not consumed them"
	}
	return "about to be sent"
}

// held returns the bytes that the program holds of what an inbox gave it.
func (e *Endpoint) held() int64 { return max(e.slot.Held.Load()-outbox.Life, 0) }

func seconds(nanos int64) string {
	return fmt.Sprintf("%.1f s", time.Duration(max(nanos, 0)).Seconds())
}
