package endpoint

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/outbox"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

const (
	second = int64(time.Second)
	// limit is the longest message that the tests' endpoints take.
	limit = wire.DefaultMaxMessage
	// everything is more than any test has to write or deliver at once.
	everything = 1 << 30
)

// tester is what testing.T, testing.B and rapid.T have in common.
type tester interface {
	require.TestingT
	Helper()
}

// pieces is the tests' one table, since a table is never given back: pieces as in
// production, but few.
var pieces = sync.OnceValues(makeTable)

func makeTable() (*outbox.Table, error) {
	table, err := outbox.NewTable(outbox.Config{
		Slots: 64, Bells: 1, Budgets: 1, ChunkShift: 16, Chunks: 256, BlockShift: 18, Blocks: 64,
		DirectoryShift: 14, Directories: 16,
	})
	if err == nil {
		table.Budget(0).Limit.Store(1 << 40)
	}
	return table, err
}

// newTable returns a table in which nothing is in use: the one, unless a test that failed
// left something in it.
func newTable(t tester) *outbox.Table {
	t.Helper()
	table, err := pieces()
	require.NoError(t, err)
	if table.Budget(0).Used.Load() != 0 || table.Blocks().InUse() != 0 {
		table, err = makeTable()
		require.NoError(t, err)
	}
	return table
}

// message is what a recorder keeps of one.
type message struct {
	lane    wire.Lane
	channel uint16
	id      uint64
	data    []byte
}

// recorder is a Receiver that keeps copies of everything, and takes what it is told to.
type recorder struct {
	messages  []message
	events    []Event
	takes     func(message) bool // nil: takes all
	closes    bool               // Run returns a negative number
	refuses   bool               // Allocate has no memory
	allocated int64              // bytes lent to the endpoint and not come back
	most      uint64             // largest size asked for
	held      int                // bytes of frames that were to be kept
	keeps     bool               // what events leave unacknowledged
	heard     func(Event)        // nil: nobody else wants to know
	say       func(format string, args ...any)
}

func (r *recorder) log(format string, args ...any) {
	if r.say != nil {
		r.say(format, args...)
	}
}

func (r *recorder) take(m message) bool {
	if r.takes != nil && !r.takes(m) {
		r.log("refused %v/%d", m.lane, m.id)
		return false
	}
	m.data = bytes.Clone(m.data)
	r.messages = append(r.messages, m)
	r.log("message %v/%d channel %d: %d bytes", m.lane, m.id, m.channel, len(m.data))
	return true
}

func (r *recorder) Run(frames []byte, first *[wire.Lanes]uint64) int {
	if r.closes {
		return -1
	}
	ids, done := *first, 0
	for done < len(frames) {
		h := wire.GetHeader(frames[done:])
		payload := frames[done+wire.HeaderSize:][:h.Size()]
		if !r.take(message{h.Lane(), h.Channel(), ids[h.Lane()], payload}) {
			break
		}
		ids[h.Lane()]++
		done += h.FrameSize()
	}
	return done
}

func (r *recorder) Allocate(size uint64) (Memory, bool) {
	r.most = max(r.most, size)
	if r.refuses {
		return Memory{}, false
	}
	r.allocated += int64(size)
	return Memory{Bytes: make([]byte, size)}, true
}

func (r *recorder) Long(m Memory, lane wire.Lane, channel uint16, id uint64) bool {
	if !r.take(message{lane, channel, id, m.Bytes}) {
		return false
	}
	r.allocated -= int64(len(m.Bytes))
	return true
}

func (r *recorder) Hold(frames []byte) []byte {
	if len(frames) == 0 {
		panic("nothing is to be kept")
	}
	r.held += len(frames)
	return bytes.Clone(frames) // the owner may want its memory back
}

func (r *recorder) Unhold(frames []byte) { r.held -= len(frames) }

func (r *recorder) Discard(m Memory) { r.allocated -= int64(len(m.Bytes)) }

func (r *recorder) Event(e Event) {
	r.events = append(r.events, e)
	if r.heard != nil {
		r.heard(e)
	}
	r.log("event %s", eventText(e))
	if !r.keeps {
		e.Remains.Drop()
	}
}

func eventText(e Event) string {
	switch e.Kind {
	case EventUp:
		return "UP"
	case EventEnded:
		return "ENDED"
	case EventDown:
		return fmt.Sprintf("DOWN with %d", e.Code)
	case EventRestarted:
		text := "RESTARTED" + accountText(e.Detail)
		if e.Remains != nil {
			text += fmt.Sprintf(", %d listed", len(slices.Collect(e.Remains.All())))
		}
		return text
	}
	return fmt.Sprintf("%d", e.Kind)
}

// accountText says what RESTARTED says of the lanes that had messages.
func accountText(detail []byte) (text string) {
	d, err := wire.ParseRestartedDetail(detail)
	if err != nil {
		return " " + err.Error()
	}
	for lane, a := range d.Lanes {
		if a != (wire.LaneAccount{}) {
			text += fmt.Sprintf("; %v: accepted %d, acknowledged %d, maybe %d, never %d; received %d", wire.Lane(lane),
				a.Accepted, a.Acknowledged, a.Maybe, a.Never, a.Received)
			if a.Withdrawn > 0 {
				text += fmt.Sprintf(", withdrawn %d", a.Withdrawn)
			}
		}
	}
	return text
}

func (r *recorder) kinds() (kinds []EventKind) {
	for _, e := range r.events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// side is an endpoint with the link's end that it writes to.
type side struct {
	t        tester
	pair     *pair
	name     string
	ep       *Endpoint
	table    *outbox.Table
	slot     *outbox.Slot
	handle   outbox.Handle
	rec      recorder
	vector   Vector
	out      []byte // written, on its way
	outEnded bool   // behind out comes the end of the stream
	in       []byte // arrived and not consumed
	err      error  // of Receive
}

// pair is two sides and a clock.
type pair struct {
	a, b *side
	now  int64
	// kept has the session while b is a link's end that has not heard yet what it is for.
	kept   *side
	gone   []*side // to be dropped
	change func(*Config)
	made   byte        // sides by the name of b
	adorn  func(*side) // a new side; nil: nothing
}

// newSide returns an endpoint that waits for its link.
func newSide(t tester, p *pair, table *outbox.Table, name string, change func(*Config)) *side {
	t.Helper()
	slot, err := table.Allocate(outbox.KindEndpoint, 0, 0, 4<<20)
	require.NoError(t, err)
	slot.MaxMessage.Store(wire.DefaultMaxMessage)
	s := &side{t: t, pair: p, name: name, table: table, slot: slot, handle: outbox.Handle(slot.ID.Load())}
	c := Config{Table: table, Slot: slot, Receiver: &s.rec, MaxMessage: limit, Handshake: 10 * second, Agent: name,
		Dialled: name == "a", Session: [16]byte{'s', name[0]}, Window: 256 << 10,
		Release: func(ref outbox.Reference) { require.True(t, table.Release(ref)) }}
	c.Incarnation[0] = name[0]
	if name == "b" {
		p.made++
		c.Incarnation[1], c.Session[2] = p.made, p.made
		c.Resumes = func(h wire.Hello) bool { return p.kept != nil && p.kept.ep.Session() == h.Session }
	}
	if change != nil {
		change(&c)
	}
	s.ep = New(c, p.now)
	for i := range s.ep.send.lanes {
		for s.ep.send.lanes[i].Grow() {
		}
	}
	if p.adorn != nil {
		p.adorn(s)
	}
	return s
}

// newPair returns two endpoints, with their link unless change says otherwise.
func newPair(t tester, table *outbox.Table, change func(*Config)) *pair {
	t.Helper()
	p := &pair{now: second, change: change}
	p.a, p.b = newSide(t, p, table, "a", change), newSide(t, p, table, "b", change)
	return p
}

// openPair returns two endpoints that are open.
func openPair(t tester, table *outbox.Table, change func(*Config)) *pair {
	t.Helper()
	p := newPair(t, table, change)
	p.connect()
	p.settle()
	require.Equal(t, Open, p.a.ep.Phase())
	require.Equal(t, Open, p.b.ep.Phase())
	return p
}

func (p *pair) connect() {
	p.a.ep.Connect(p.now)
	p.b.ep.Connect(p.now)
}

// cut loses what is on its way from and to a side, which learns of it.
func (s *side) cut() {
	s.in, s.out, s.outEnded = nil, nil, false
	s.ep.Fail(s.pair.now, Reset, "the link was cut")
}

// cut loses the link and what is on its way; both learn of it.
func (p *pair) cut() {
	p.a.cut()
	p.b.cut()
}

// relink gives a another link to b, who learns which session it is for from HELLO.
func (p *pair) relink() {
	switch {
	case p.b.ep.Session() != none:
		p.kept = p.b
	case p.b.ep.Phase() == Closed:
		p.gone = append(p.gone, p.b)
	default:
		p.connect()
		return
	}
	p.b = newSide(p.a.t, p, p.a.table, "b", p.change)
	p.connect()
}

// restart has b lose all that it knows. The link is lost too, but a has yet to learn.
func (p *pair) restart() {
	p.a.in, p.a.out, p.kept = nil, nil, nil
	p.gone = append(p.gone, p.b)
	p.b = newSide(p.a.t, p, p.a.table, "b", p.change)
}

// handOver gives the link of one who was offered the session to who has it.
func (p *pair) handOver() {
	if p.kept == nil || !p.b.ep.Offered() {
		return
	}
	from, to := p.b, p.kept
	p.kept = nil
	if !to.ep.Adopt(p.now, from.ep) {
		p.gone = append(p.gone, to)
		from.ep.Refuse(p.now)
		from.read()
		return
	}
	p.gone = append(p.gone, from)
	p.b, to.in, to.out, to.outEnded = to, from.in, from.out, false
	from.in, from.out = nil, nil
	to.read()
}

func (s *side) peer() *side {
	if s == s.pair.a {
		return s.pair.b
	}
	return s.pair.a
}

// write has the link take up to accept bytes of one vector of up to most.
func (s *side) write(most, accept int) (wrote int) {
	s.ep.Gather(s.pair.now, &s.vector, most)
	size := 0
	for _, b := range s.vector.Slices {
		size += len(b)
		n := min(len(b), accept-wrote)
		s.out = append(s.out, b[:n]...)
		wrote += n
	}
	require.Equal(s.t, size, s.vector.Size, "the vector's size")
	s.ep.Wrote(&s.vector, wrote)
	s.outEnded = s.outEnded || s.ep.Flushed()
	return wrote
}

// deliver gives up to n bytes of what this side wrote to the other.
func (s *side) deliver(n int) (moved int) {
	peer := s.peer()
	n = min(n, len(s.out))
	peer.in = append(peer.in, s.out[:n]...)
	s.out = s.out[:copy(s.out, s.out[n:])]
	if n > 0 {
		peer.read() // a link that gives nothing is no sign of life
	}
	if s.outEnded && len(s.out) == 0 && peer.ep.Phase() < Closed {
		peer.ep.Fail(peer.pair.now, Reset, "the peer ended the connection without a word")
	}
	s.pair.handOver()
	return n
}

// read gives what arrived to the endpoint and keeps what it leaves.
func (s *side) read() {
	if s.ep.Phase() == Closed || s.ep.Phase() == Waiting {
		return
	}
	b := make([]byte, len(s.in)) // aligned, and nobody else's
	copy(b, s.in)
	held := s.rec.held
	n, err := s.ep.Receive(s.pair.now, b)
	if err != nil {
		require.Contains(s.t, []Phase{Waiting, Closed}, s.ep.Phase(), "an error ends the endpoint, or the link")
		require.Zero(s.t, n)
		s.err = err
		s.in = nil
		return
	}
	if s.ep.Phase() < Closed {
		require.Less(s.t, len(b)-n, wire.HeaderSize+wire.MaxPayload, "what is left is less than a frame")
	}
	for i := 0; i < len(b) && s.rec.held == held; i++ {
		b[i] = 0xee // what is the caller's again must not be looked at
	}
	s.in = s.in[:copy(s.in, s.in[n:])]
}

// settle moves bytes until neither side has any to write.
func (p *pair) settle() {
	for range 100_000 {
		moved := p.a.write(everything, everything) + p.b.write(everything, everything)
		moved += p.a.deliver(everything) + p.b.deliver(everything)
		if moved == 0 && !p.acknowledge() {
			return
		}
	}
	panic("two endpoints do not come to rest")
}

// acknowledge lets as much time go by as an acknowledgement waits that is due next.
func (p *pair) acknowledge() bool {
	for _, s := range []*side{p.a, p.b} {
		if by := s.ep.acks.by; by != 0 {
			p.now = max(p.now, by)
			s.ep.Expire(p.now)
			return true
		}
	}
	return false
}

// pass lets time go by in steps, with all that is due in between.
func (p *pair) pass(nanos int64) {
	for end := p.now + nanos; ; {
		next := end
		for _, s := range []*side{p.a, p.b} {
			if due := s.ep.Deadline(); due != 0 && due < next {
				next = max(due, p.now)
			}
		}
		p.now = next
		if next >= end {
			return
		}
		p.a.ep.Expire(next)
		p.b.ep.Expire(next)
		p.settle()
	}
}

// send sends, and requires that it is accepted.
func (s *side) send(lane wire.Lane, channel uint16, data []byte) uint64 {
	id, _, err := s.table.Send(s.handle, lane, channel, data)
	require.NoError(s.t, err)
	return id
}

// idle says that there is nothing to write now.
func (s *side) idle() bool {
	e := s.ep
	if !e.send.control.empty() || e.acks.now || e.send.pongDue || e.send.begunSize > 0 {
		return false
	}
	for i := range e.send.lanes {
		if e.send.lanes[i].Ready(e.send.lanes[i].Sent()) {
			return false
		}
	}
	var at [wire.Lanes]cursor
	e.place(&at)
	return !e.endDue(&at)
}

// requireReason asserts how an endpoint ended.
func (s *side) requireReason(code Code, text string) {
	require.Equal(s.t, Closed, s.ep.Phase(), s.name)
	gotCode, gotText := s.ep.Reason()
	require.Equal(s.t, text, gotText, s.name)
	require.Equal(s.t, code, gotCode, s.name)
	require.Zero(s.t, s.ep.Deadline(), "%s: nothing is due behind the end", s.name)
}

// drop ends both sides, whatever their state, and asserts that nothing is held.
func (p *pair) drop() {
	// Senders rang; a slot does not come back before its bell was answered.
	p.a.table.Notices(0, func(*outbox.Slot) {}, func(*outbox.Bell) {})
	sides := append([]*side{p.a, p.b}, p.gone...)
	if p.kept != nil {
		sides = append(sides, p.kept)
	}
	for _, s := range sides {
		s.ep.Abort(Reset, "the test is over")
		require.True(s.t, s.ep.Settled())
		s.requireLast(nil)
		s.ep.Drop()
		s.table.Retire(s.slot)
		require.Zero(s.t, s.rec.allocated, "%s: bytes of long messages", s.name)
		require.Zero(s.t, s.rec.held, "%s: bytes of runs", s.name)
	}
	requireEmpty(p.a.t, p.a.table)
	requireEmpty(p.b.t, p.b.table)
}

func requireEmpty(t tester, table *outbox.Table) {
	require.Zero(t, table.Budget(0).Used.Load(), "bytes charged")
	require.Zero(t, table.Blocks().InUse(), "blocks in use")
}

// fill makes a payload that looks like frames wherever it is cut.
func fill(size int, random *rand.Rand) []byte {
	b := make([]byte, size)
	var word [8]byte
	for at := 0; at < size; at += 8 {
		n := random.Uint64()
		wire.PutHeader(word[:], wire.MakeHeader(uint32(n%200), wire.Kind(n>>32%24), wire.Lane(n>>40%4), uint16(n>>48)))
		copy(b[at:], word[:])
	}
	return b
}

// seeded returns a source of randomness whose seed the test prints.
func seeded(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
