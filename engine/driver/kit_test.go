//go:build linux

package driver

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/transport"
	"github.com/lyquor/lyquor/engine/transport/mem"
	"github.com/lyquor/lyquor/engine/transport/tcp"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// patience bounds every wait: far more than anything takes on a loaded machine.
const patience = 60 * time.Second

// TestMain has Go's own poller open its descriptors before any are counted.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		playRole(role)
	}
	warm()
	os.Exit(m.Run())
}

func warm() {
	r, w, err := os.Pipe()
	if err == nil {
		_ = r.SetDeadline(time.Now())
		r.Close()
		w.Close()
	}
}

// kit is what a test has: a poller, a transport, and drivers that end with it.
type kit struct {
	*testing.T
	portable bool
	addr     string // where to listen
	space    *mem.Transport
	places   atomic.Int32
	mu       sync.Mutex
	logs     []string
	panics   atomic.Bool // are expected
}

// where returns an address to listen at that nobody has.
func (k *kit) where() string {
	if strings.HasPrefix(k.addr, "mem:") {
		return fmt.Sprintf("%s.%d", k.addr, k.places.Add(1))
	}
	return k.addr
}

// onEach runs a test on both pollers and over both transports.
func onEach(t *testing.T, test func(k *kit)) {
	for _, portable := range []bool{false, true} {
		for _, addr := range []string{"tcp://127.0.0.1:0", "mem://here"} {
			poller := map[bool]string{false: "epoll", true: "portable"}[portable]
			name := poller + " " + strings.SplitN(addr, ":", 2)[0]
			t.Run(name, func(t *testing.T) { runKit(t, portable, addr, test) })
		}
	}
}

// onTCP runs a test on both pollers, over TCP.
func onTCP(t *testing.T, test func(k *kit)) {
	t.Run("epoll", func(t *testing.T) { runKit(t, false, "tcp://127.0.0.1:0", test) })
	t.Run("portable", func(t *testing.T) { runKit(t, true, "tcp://127.0.0.1:0", test) })
}

// runKit runs a test and then looks for goroutines, descriptors and memory that it
// left behind. Its drivers are closed by then: those are cleanups of the inner test.
func runKit(t *testing.T, portable bool, addr string, test func(k *kit)) {
	before := descriptors(t)
	t.Run("run", func(t *testing.T) {
		test(&kit{T: t, portable: portable, addr: addr, space: mem.New()})
	})
	goleak.VerifyNone(t, goleak.IgnoreTopFunction("testing.(*T).Run"))
	eventually(t, "descriptors are closed", func() bool { return len(descriptors(t)) <= len(before) })
	table, err := Table()
	require.NoError(t, err)
	require.Zero(t, table.Blocks().InUse(), "blocks in use")
}

// descriptors lists what this process has open, but for the list's own.
func descriptors(t *testing.T) (list []string) {
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, entry := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil {
			list = append(list, entry.Name()+" "+to)
		}
	}
	return list
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); !condition(); <-tick.C {
		if time.Since(begin) > patience {
			require.FailNow(t, "waited in vain", "%s", what)
		}
	}
}

// open starts a driver that is closed with the test, and checked for what it holds.
func (k *kit) open(change func(*Options)) *Driver {
	k.Helper()
	memory := &ledger{}
	o := Options{Portable: k.portable, Workers: 2, Log: k.log, Memory: memory,
		Transports: []transport.Transport{tcp.New(tcp.Options{Portable: k.portable}), k.space}}
	if change != nil {
		change(&o)
	}
	d, err := Open(o)
	require.NoError(k, err)
	k.Cleanup(func() {
		d.Close(0)
		wait(k, d)
		require.Zero(k, d.table.Budget(d.budget).Used.Load(), "bytes charged to a closed driver")
		if !k.panics.Load() { // a sink that panics keeps what it was given
			require.Zero(k, memory.users.Load(), "long messages that a closed driver has not given back")
		}
	})
	return d
}

func wait(t testing.TB, d *Driver) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, d.Wait(ctx), "the driver does not close: %s", d.Explain())
}

func (k *kit) log(level int, id, text string) {
	if strings.HasSuffix(id, ".panic") && !k.panics.Load() {
		k.Errorf("%s %s", id, text)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.logs = append(k.logs, fmt.Sprintf("%d %s %s", level, id, text))
}

// logged says whether a line with that text was logged.
func (k *kit) logged(text string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, line := range k.logs {
		if strings.Contains(line, text) {
			return true
		}
	}
	return false
}

// ledger counts what is lent of Go's memory.
type ledger struct{ users, bytes atomic.Int64 }

func (l *ledger) Allocate(size uint64) (endpoint.Memory, bool) {
	m := endpoint.Memory{Bytes: make([]byte, wire.HeaderSize+size)[wire.HeaderSize:]} // see ReleasedBit
	l.Retain(m)
	return m, true
}

func (l *ledger) Retain(m endpoint.Memory) {
	l.users.Add(1)
	l.bytes.Add(int64(len(m.Bytes)))
}

func (l *ledger) Discard(m endpoint.Memory) {
	l.users.Add(-1)
	l.bytes.Add(-int64(len(m.Bytes)))
}

// message is what a probe keeps of one.
type message struct {
	lane    wire.Lane
	channel uint16
	id      uint64
	data    []byte
}

// probe is a sink that keeps everything, and breaks the test if a promise is broken.
type probe struct {
	t testing.TB
	// Set before it is used. They run on the worker.
	onMessage func(e *Endpoint, m message) bool // false: refused
	onEvent   func(e *Endpoint, ev endpoint.Event)
	negative  atomic.Bool // Run closes
	queues    bool
	onRun     func(frames []byte) // what was taken of a run

	inside atomic.Int32
	mu     sync.Mutex
	list   []message
	events []endpoint.Event
	left   []string // of what events left unacknowledged: lane, id, data
	drops  int
}

func (p *probe) enter() func() {
	if p.inside.Add(1) != 1 {
		p.t.Error("a sink was entered twice at once")
	}
	p.mu.Lock()
	if p.drops > 0 {
		p.t.Error("something came after Drop")
	}
	p.mu.Unlock()
	return func() { p.inside.Add(-1) }
}

func (p *probe) take(e *Endpoint, m message) bool {
	e.slot.Give(m.lane, m.id+1)
	if p.onMessage != nil && !p.onMessage(e, m) {
		return false
	}
	m.data = bytes.Clone(m.data)
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.events); n == 0 || p.events[n-1].Kind == endpoint.EventClosed {
		p.t.Error("a message came before the first event or after the last")
	}
	p.list = append(p.list, m)
	return true
}

func (p *probe) Run(e *Endpoint, r Run) (done int) {
	defer p.enter()()
	if p.negative.Load() {
		return -1
	}
	ids := *r.First
	for done < len(r.Frames) {
		h := wire.GetHeader(r.Frames[done:])
		m := message{h.Lane(), h.Channel(), ids[h.Lane()], r.Frames[done+wire.HeaderSize:][:h.Size()]}
		if !p.take(e, m) {
			break
		}
		ids[h.Lane()]++
		done += h.FrameSize()
	}
	if p.onRun != nil {
		p.onRun(r.Frames[:done])
	}
	return done
}

func (p *probe) Long(e *Endpoint, m endpoint.Memory, lane wire.Lane, channel uint16, id uint64) bool {
	defer p.enter()()
	if !p.take(e, message{lane, channel, id, m.Bytes}) {
		return false
	}
	e.driver.options.Memory.Discard(m)
	return true
}

func (p *probe) Event(e *Endpoint, ev endpoint.Event) {
	defer p.enter()()
	p.mu.Lock()
	if n := len(p.events); n > 0 && p.events[n-1].Kind == endpoint.EventClosed {
		p.t.Errorf("event %d came after CLOSED", ev.Kind)
	}
	for m := range ev.Remains.All() {
		p.left = append(p.left, fmt.Sprintf("%v %d %s", m.Lane, m.ID, m.Data))
	}
	ev.Remains = nil
	p.events = append(p.events, ev)
	p.mu.Unlock()
	if p.onEvent != nil {
		p.onEvent(e, ev)
	}
}

func (p *probe) Queues() bool { return p.queues }

func (p *probe) Gone() bool { return false }

// sink is the probe as Receive wants it.
func (p *probe) sink() Sink { return p }

// nobody is for a Receive that is to be refused.
func nobody(t testing.TB) func() Sink {
	return func() Sink {
		t.Error("a sink was made for an endpoint that takes none")
		return nil
	}
}

func (p *probe) Drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drops++
	if p.drops > 1 {
		p.t.Error("Drop was called twice")
	}
}

func (p *probe) messages() []message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]message(nil), p.list...)
}

// has says how many events of a kind came.
func (p *probe) has(kind endpoint.EventKind) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, ev := range p.events {
		if ev.Kind == kind {
			n++
		}
	}
	return n
}

func (p *probe) awaitMessages(n int) []message {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%d messages", n), func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.list) >= n
	})
	return p.messages()
}

func (p *probe) await(kind endpoint.EventKind) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("event %d", kind), func() bool { return p.has(kind) > 0 })
}

func (p *probe) dropped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.drops == 1
}

// awaitEnd waits for CLOSED and Drop, and returns the account.
func (p *probe) awaitEnd() wire.ClosedDetail {
	p.t.Helper()
	eventually(p.t, "Drop", p.dropped)
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.events[len(p.events)-1]
	require.Equal(p.t, endpoint.EventClosed, last.Kind)
	detail, err := wire.ParseClosedDetail(last.Detail)
	require.NoError(p.t, err)
	require.Equal(p.t, int32(last.Code), detail.Code)
	return detail
}

// detail returns the detail of the first event of a kind.
func (p *probe) detail(kind endpoint.EventKind) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, ev := range p.events {
		if ev.Kind == kind {
			return ev.Detail
		}
	}
	return nil
}

// requireEnd waits for the end and compares the reason.
func (p *probe) requireEnd(code endpoint.Code, text string) {
	p.t.Helper()
	detail := p.awaitEnd()
	require.Equal(p.t, text, detail.Text)
	require.Equal(p.t, code, endpoint.Code(detail.Code))
}

// end is one end of a link: an endpoint and its probe.
type end struct {
	*Endpoint
	*probe
}

// server listens and collects what it accepts.
type server struct {
	*Listener
	accepted chan end
}

// listen starts a listener whose endpoints' probes are prepared by set, if not nil.
func (k *kit) listen(d *Driver, o EndpointOptions, set func(*probe)) *server {
	k.Helper()
	return k.listenAt(d, k.where(), o, set)
}

func (k *kit) listenAt(d *Driver, addr string, o EndpointOptions, set func(*probe)) *server {
	k.Helper()
	s := &server{accepted: make(chan end, 2000)}
	l, err := d.Listen(addr, o, func(e *Endpoint) Sink {
		p := &probe{t: k}
		if set != nil {
			set(p)
		}
		s.accepted <- end{e, p}
		return p
	}, nil)
	require.NoError(k, err)
	s.Listener = l
	return s
}

func (s *server) accept(t testing.TB) end {
	t.Helper()
	select {
	case e := <-s.accepted:
		return e
	case <-time.After(patience):
		require.FailNow(t, "nobody was accepted")
		return end{}
	}
}

func (k *kit) dial(d *Driver, addr string, o EndpointOptions, set func(*probe)) end {
	k.Helper()
	p := &probe{t: k}
	if set != nil {
		set(p)
	}
	e, err := d.Dial(addr, o, func(*Endpoint) Sink { return p })
	require.NoError(k, err)
	return end{e, p}
}

// pair connects two endpoints of two drivers; a dialled.
func (k *kit) pair(set func(a, b *probe)) (a, b end) {
	k.Helper()
	if set == nil {
		set = func(*probe, *probe) {}
	}
	pa, pb := &probe{t: k}, &probe{t: k}
	set(pa, pb)
	s := k.listen(k.open(nil), EndpointOptions{}, func(p *probe) {
		p.onMessage, p.onEvent, p.queues = pb.onMessage, pb.onEvent, pb.queues
	})
	a = k.dial(k.open(nil), s.Addr(), EndpointOptions{}, func(p *probe) {
		p.onMessage, p.onEvent, p.queues = pa.onMessage, pa.onEvent, pa.queues
	})
	b = s.accept(k)
	a.await(endpoint.EventUp)
	b.await(endpoint.EventUp)
	return a, b
}

// fillUp sends until there is no room for good: the peer does not read. It returns
// how many messages were accepted.
func (e end) fillUp(lane wire.Lane, data []byte) (sent int) {
	e.t.Helper()
	for quiet := time.Now(); ; {
		before := e.has(endpoint.EventWritable)
		if _, err := e.Send(lane, 0, data); err == nil {
			sent, quiet = sent+1, time.Now()
			require.Less(e.t, sent*len(data), 1<<28, "a sender that is never refused")
			continue
		}
		for e.has(endpoint.EventWritable) == before {
			// No event says that no room will come: a while without is all there is.
			if time.Since(quiet) > 300*time.Millisecond {
				return sent
			}
			runtime.Gosched()
		}
	}
}

// send sends, waiting for room as long as it takes.
func (e end) send(lane wire.Lane, channel uint16, data []byte) uint64 {
	e.t.Helper()
	for {
		before := e.has(endpoint.EventWritable)
		id, err := e.Send(lane, channel, data)
		if err == nil {
			return id
		}
		require.ErrorIs(e.t, err, outbox.ErrAgain)
		eventually(e.t, "WRITABLE", func() bool { return e.has(endpoint.EventWritable) > before })
	}
}
