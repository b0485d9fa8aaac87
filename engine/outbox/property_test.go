package outbox

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/lyquor/lyquor/engine/arena"
	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// message is what the model keeps of one.
type message struct {
	id      uint64
	channel uint16
	data    []byte
	ref     bool
	lent    bool   // by reference, and not a copy of the table's
	claim   *Claim // not published yet
	// What has a time to live is withdrawn when that is over, unless a link was given a part.
	until           int64
	kept, withdrawn bool
}

// cost is what a message takes of its lane's bound.
func (m *message) cost() int {
	cost := int(words(len(m.data))) * wordSize
	if m.ref {
		cost = wordSize + refPayload
	}
	if m.ref && !m.withdrawn {
		cost += len(m.data)
	}
	if m.until != 0 {
		cost += timedWords * wordSize
	}
	return cost
}

// charge is what a message counts in flow control.
func (m *message) charge() uint64 {
	if m.withdrawn {
		return 0
	}
	return words(len(m.data)) * wordSize
}

// due says that its time is over.
func (m *message) due(now int64) bool {
	return m.until != 0 && !m.kept && !m.withdrawn && m.claim == nil && m.until <= now
}

// naive is the model of a lane: a list of messages with a byte bound.
type naive struct {
	list    []*message // accepted and not freed
	taken   int        // of list
	next    uint64     // id of the next message
	touched uint64     // messages of which a part was ever taken
	bytes   int        // cost of list
	freed   uint64     // charge of what was acknowledged
	gone    uint64     // withdrawn messages of what was acknowledged
}

// acked is how many messages were acknowledged.
func (n *naive) acked() uint64 { return n.next - uint64(len(n.list)) }

// published is how many messages of the list lie before one that is not published.
func (n *naive) published() int {
	for i, x := range n.list {
		if x.claim != nil {
			return i
		}
	}
	return len(n.list)
}

// take notes that so many more messages were taken.
func (n *naive) take(count int) {
	for _, x := range n.list[n.taken:][:count] {
		x.kept = x.kept || !x.withdrawn
	}
	n.taken += count
	n.touched = max(n.touched, n.acked()+uint64(n.taken))
}

// acknowledge drops the first messages of the list.
func (n *naive) acknowledge(count int) {
	for _, x := range n.list[:count] {
		n.bytes -= x.cost()
		n.freed += x.charge()
		if x.withdrawn {
			n.gone++
		}
	}
	n.list = n.list[count:]
	n.taken -= count
}

// least is how much of the bound is used at least: before the first message its deadline
// may be freed, as padding, once a link was given a part of it.
func (n *naive) least() int {
	if len(n.list) > 0 && n.list[0].until != 0 && n.list[0].kept {
		return n.bytes - timedWords*wordSize
	}
	return n.bytes
}

// withdraw has a message's time be over.
func (n *naive) withdraw(x *message) {
	n.bytes -= x.cost()
	x.withdrawn = true
	n.bytes += x.cost()
}

// machine runs the log beside the model.
type machine struct {
	now     int64
	table   *Table
	random  *rand.Rand // for payloads, which the properties do not depend on
	slot    *Slot
	handle  Handle
	stale   []Handle
	readers []Reader
	lanes   [wire.Lanes]naive
	open    []*message // claimed and not published
	freed   int        // calls of a held message's free
	lent    int        // that are to come
}

// TestModel compares the log with the model over random sequences of calls.
func TestModel(t *testing.T) { rapid.Check(t, modelProperty) }

func modelProperty(t *rapid.T) {
	shift := rapid.Uint32Range(9, 12).Draw(t, "shift")
	chunks := rapid.Uint32Range(3, 120).Draw(t, "chunks")
	coloured := rapid.Bool().Draw(t, "coloured")
	m := &machine{table: newColouredTable(t, shift, chunks, coloured), random: rand.New(rand.NewPCG(1, 2))}
	if rapid.Bool().Draw(t, "poor") {
		m.table.Budget(0).Limit.Store(int64(rapid.IntRange(1, 30).Draw(t, "limit")) << shift)
	}
	m.begin(t)
	t.Repeat(map[string]func(*rapid.T){
		"send":     m.send,
		"send2":    m.send,
		"send3":    m.send,
		"timed":    m.sendTimed,
		"timed2":   m.sendTimed,
		"expire":   m.expire,
		"sweep":    m.sweep,
		"burst":    m.burst,
		"held":     m.held,
		"claim":    m.claim,
		"publish":  m.publish,
		"stale":    m.sendStale,
		"take":     m.take,
		"take2":    m.take,
		"takePart": m.takePart,
		"touch":    m.touch,
		"free":     m.free,
		"rewind":   m.rewind,
		"withdraw": m.withdraw,
		"message":  m.message,
		"grow":     m.grow,
		"grow2":    m.grow,
		"rest":     m.rest,
		"reborn":   m.reborn,
		"notices":  m.notices,
		"":         m.check,
	})
	m.end(t)
	requireEmpty(t, m.table)
	require.Equal(t, m.lent, m.freed)
}

// begin begins a life, at times with counters that are about to wrap.
func (m *machine) begin(t *rapid.T) {
	bytes := rapid.Uint64Range(0, 60).Draw(t, "bound") << m.table.chunkShift
	s, err := m.table.Allocate(KindEndpoint, 0, 0, bytes)
	require.NoError(t, err)
	s.MaxMessage.Store(1 << 20)
	m.slot, m.handle = s, Handle(s.ID.Load())
	m.readers = make([]Reader, wire.Lanes)
	m.lanes = [wire.Lanes]naive{}
	for i := range m.readers {
		r := &m.readers[i]
		r.Open(m.table, s, wire.Lane(i))
		if rapid.Bool().Draw(t, "wraps") {
			chunk := uint64(3)<<posBits>>m.table.chunkShift - rapid.Uint64Range(0, 3).Draw(t, "chunk")
			r.startAt(chunk, 5<<seqBits-rapid.Uint64Range(0, 3).Draw(t, "messages"))
			m.lanes[i].next, m.lanes[i].touched = r.taken.Messages, r.touched
		}
	}
}

// end publishes what is open and ends the life.
func (m *machine) end(t *rapid.T) {
	unsent := 0
	for len(m.open) > 0 {
		m.publish(t)
	}
	for i := range m.lanes {
		n := &m.lanes[i]
		unsent += len(n.list) - n.taken
		if rapid.Bool().Draw(t, "list") {
			var list Remnants
			m.readers[i].SalvageAll(&list)
			m.verifyList(t, wire.Lane(i), len(n.list), &list)
		}
	}
	require.Equal(t, uint64(unsent), endLife(t, m.table, m.slot, m.readers))
	m.stale = append(m.stale, m.handle)
	_, _, err := m.table.Send(m.handle, wire.Normal, 0, nil)
	require.ErrorIs(t, err, ErrClosed)
}

// notices lets retired slots be used again: one that is still noticed is not.
func (m *machine) notices(t *rapid.T) {
	m.table.Notices(0, func(*Slot) {}, func(*Bell) { t.Fatal("nobody sleeps") })
}

func (m *machine) reborn(t *rapid.T) {
	m.end(t)
	requireEmpty(t, m.table)
	m.begin(t)
}

func drawLane(t *rapid.T) wire.Lane { return wire.Lane(rapid.IntRange(0, 3).Draw(t, "lane")) }

// drawSize prefers what lies about the bounds between the ways of storing.
func (m *machine) drawSize(t *rapid.T) int {
	inline, chunk := m.table.maxInline, m.table.chunks.PieceSize()
	return rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(inline-20, inline+20), rapid.IntRange(0, inline),
		rapid.IntRange(chunk-2, chunk+2), rapid.SampledFrom([]int{4 * chunk, 4*chunk + 1})).Draw(t, "size")
}

func (m *machine) newMessage(t *rapid.T, size int) *message {
	x := &message{channel: uint16(rapid.IntRange(0, 1<<16-1).Draw(t, "channel")), data: make([]byte, size)}
	fill(x.data, m.random)
	x.ref = size > m.table.maxInline
	return x
}

// sendTimed sends a message with a time to live, which may be over at once.
func (m *machine) sendTimed(t *rapid.T) {
	lane := drawLane(t)
	for range rapid.IntRange(1, 4).Draw(t, "messages") {
		x := m.newMessage(t, m.drawSize(t))
		x.until = m.now + rapid.Int64Range(1, 20).Draw(t, "time to live")
		id, _, err := m.table.SendUntil(m.handle, lane, x.channel, x.data, x.until)
		m.sent(t, lane, x, id, err)
	}
	m.now += rapid.Int64Range(0, 20).Draw(t, "time")
}

// expire withdraws what is due where the worker would look next.
func (m *machine) expire(t *rapid.T) {
	lane := drawLane(t)
	n, r := &m.lanes[lane], &m.readers[lane]
	pos, at := r.Sent(), n.taken
	if e, ok := r.Peek(pos, 1); ok && rapid.Bool().Draw(t, "behind") {
		pos, at = e.End(), at+e.Messages()
	}
	r.Expire(pos, m.now, m.release(t))
	for ; at < len(n.list) && n.list[at].due(m.now); at++ {
		n.withdraw(n.list[at])
	}
}

// sweep withdraws all that is due, and frees it if nothing lies before it.
func (m *machine) sweep(t *rapid.T) {
	lane := drawLane(t)
	n, r := &m.lanes[lane], &m.readers[lane]
	next := int64(0)
	for _, x := range n.list[n.taken:max(n.taken, n.published())] {
		if x.due(m.now) {
			n.withdraw(x)
		} else if x.until != 0 && !x.kept && !x.withdrawn && (next == 0 || x.until < next) {
			next = x.until
		}
	}
	require.Equal(t, next, r.Sweep(m.now, m.release(t)))
	for n.taken == 0 && len(n.list) > 0 && n.list[0].withdrawn {
		n.take(1)
		n.acknowledge(1)
	}
}

func (m *machine) send(t *rapid.T) {
	lane, x := drawLane(t), m.newMessage(t, m.drawSize(t))
	id, _, err := m.table.Send(m.handle, lane, x.channel, x.data)
	m.sent(t, lane, x, id, err)
}

// burst sends much to one lane, and takes it in few pieces: of various forms, so that what
// is remembered of pieces covers references in some places and none in others.
func (m *machine) burst(t *rapid.T) {
	lane, inline := drawLane(t), m.table.maxInline
	for range rapid.IntRange(10, 60).Draw(t, "messages") {
		size := 1 + m.random.IntN(inline)
		if m.random.IntN(12) == 0 {
			size += inline
		}
		x := m.newMessage(t, size)
		id, _, err := m.table.Send(m.handle, lane, x.channel, x.data)
		if !m.sent(t, lane, x, id, err) {
			break
		}
	}
	n, r := &m.lanes[lane], &m.readers[lane]
	for range 40 {
		e, ok := r.Peek(r.Sent(), 1+m.random.IntN(8<<10))
		if !ok {
			break
		}
		n.take(m.verify(t, lane, n.taken, e))
		r.Advance(e)
	}
}

func (m *machine) held(t *rapid.T) {
	lane, x := drawLane(t), m.newMessage(t, m.drawSize(t))
	x.ref, x.lent = true, true
	id, _, err := m.table.SendHeld(m.handle, lane, x.channel, x.data, func() { m.freed++ })
	if m.sent(t, lane, x, id, err) {
		m.lent++
	}
}

// claim leaves a message unpublished; it may become shorter when it is.
func (m *machine) claim(t *rapid.T) {
	lane := drawLane(t)
	x := m.newMessage(t, rapid.IntRange(0, m.table.maxInline).Draw(t, "size"))
	header := wire.MakeHeader(uint32(len(x.data)), wire.Msg, lane, x.channel)
	c, err := m.table.Claim(m.handle, lane, header, len(x.data))
	if m.sent(t, lane, x, c.Sequence, err) {
		x.claim = &c
		m.open = append(m.open, x)
		copy(c.Bytes(), x.data)
	}
}

func (m *machine) publish(t *rapid.T) {
	if len(m.open) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.open)-1).Draw(t, "claim")
	x := m.open[i]
	m.open = slices.Delete(m.open, i, i+1)
	if rapid.Bool().Draw(t, "shorter") {
		size := rapid.IntRange(0, len(x.data)).Draw(t, "size")
		lane := &m.lanes[x.claim.header.Lane()]
		lane.bytes -= x.cost()
		x.data = x.data[:size]
		lane.bytes += x.cost()
		x.claim.Truncate(size)
	}
	x.claim.Publish()
	x.claim = nil
}

// sent holds the log's answer against the model: whatever the bound has room for
// is accepted, and nothing else is.
func (m *machine) sent(t *rapid.T, lane wire.Lane, x *message, id uint64, err error) bool {
	n := &m.lanes[lane]
	limit := int(m.slot.lanes[lane].limit.Load()) * wordSize
	if err == nil {
		require.Equal(t, n.next, id)
		require.True(t, len(n.list) == 0 || n.least()+x.cost() <= limit, "%d + %d > %d", n.bytes, x.cost(), limit)
		x.id = id
		n.list = append(n.list, x)
		n.bytes += x.cost()
		n.next++
		return true
	}
	budget, chunk := m.table.Budget(0), m.table.chunks.PieceSize()
	if errors.Is(err, ErrTooLarge) {
		require.Greater(t, int64(m.takes(x)+chunk), budget.Limit.Load())
		return false
	}
	require.ErrorIs(t, err, ErrAgain)
	largest := int(timedWords+words(max(m.table.maxInline, refPayload))) * wordSize
	// Padding is before chunks' ends, shorter than the largest entry; so is what a
	// truncated claim leaves over.
	slack := (limit>>(m.table.chunkShift+3) + 2) * largest
	for _, y := range n.list {
		if !y.ref {
			slack += largest - y.cost()
		}
	}
	full := len(n.list) > 0 && n.bytes+x.cost()+slack > limit
	poor := budget.Used.Load()+int64(2*chunk+m.takes(x)) > budget.Limit.Load()
	out := m.table.chunks.InUse()+2 > m.table.chunks.Capacity() || m.table.blocks.InUse() == m.table.blocks.Capacity()
	require.True(t, full || poor || out, "refused: %d + %d of %d", n.bytes, x.cost(), limit)
	if !full {
		require.NotZero(t, budget.Starved.Load())
	}
	return false
}

// takes is what a message counts in the budget, beside the log's chunks: the memory that
// is kept for it alone.
func (m *machine) takes(x *message) int {
	size, chunk, block := len(x.data), m.table.chunks.PieceSize(), m.table.blocks.PieceSize()
	switch {
	case !x.ref || x.withdrawn:
		return 0
	case x.lent || size > block:
		return size
	case size <= chunk:
		return chunk
	}
	return block
}

func (m *machine) sendStale(t *rapid.T) {
	h := Handle(uint64(KindEndpoint)<<56 | uint64(m.handle.Generation()+1)<<32 | uint64(m.handle.Index()))
	if len(m.stale) > 0 && rapid.Bool().Draw(t, "past") {
		h = rapid.SampledFrom(m.stale).Draw(t, "handle")
	}
	size := m.drawSize(t)
	_, _, err := m.table.Send(h, drawLane(t), 0, make([]byte, size))
	require.ErrorIs(t, err, ErrClosed)
	_, err = m.table.Claim(h, drawLane(t), 0, size%(m.table.maxInline+1))
	require.ErrorIs(t, err, ErrClosed)
	require.Nil(t, m.table.Want(h, drawLane(t), size, WantEvent))
}

// verify holds an entry against the model from its message number at on, and
// returns how many messages it has.
func (m *machine) verify(t *rapid.T, lane wire.Lane, at int, e Entry) int {
	n := &m.lanes[lane]
	first := n.list[at]
	require.Equal(t, first.due(m.now), m.readers[lane].Due(&e, m.now))
	if e.Withdrawn {
		for _, x := range n.list[at:][:e.Messages()] {
			require.True(t, x.withdrawn)
		}
		end := at + e.Messages()
		require.False(t, end < len(n.list) && n.list[end].withdrawn, "the gap is longer")
		return e.Messages()
	}
	require.False(t, first.withdrawn)
	if e.Run == nil {
		x := n.list[at]
		require.True(t, x.ref && x.claim == nil)
		require.Equal(t, x.channel, e.Channel)
		require.Equal(t, x.data, e.Payload)
		return 1
	}
	count := 0
	frames(t, e.Run, func(h wire.Header, payload []byte) {
		x := n.list[at+count]
		require.True(t, !x.ref && x.claim == nil && !x.withdrawn)
		require.Equal(t, wire.MakeHeader(uint32(len(x.data)), wire.Msg, lane, x.channel), h)
		require.Equal(t, x.data, append([]byte{}, payload...))
		count++
	})
	require.Positive(t, count)
	return count
}

// take peeks at a few entries in a row and takes some of them.
func (m *machine) take(t *rapid.T) {
	lane := drawLane(t)
	n, r := &m.lanes[lane], &m.readers[lane]
	pos, at := r.Sent(), n.taken
	var entries []Entry
	for range rapid.IntRange(1, 4).Draw(t, "entries") {
		e, ok := r.Peek(pos, rapid.IntRange(1, 2*m.table.chunks.PieceSize()).Draw(t, "most"))
		// A message that is not published hides those behind it.
		require.Equal(t, at < len(n.list) && n.list[at].claim == nil, ok)
		require.Equal(t, ok, r.Ready(pos))
		if !ok {
			break
		}
		at += m.verify(t, lane, at, e)
		pos = e.End()
		entries = append(entries, e)
	}
	for _, e := range entries[:rapid.IntRange(0, len(entries)).Draw(t, "advance")] {
		n.take(m.verify(t, lane, n.taken, e))
		r.Advance(e)
		require.Equal(t, e.End(), r.Sent())
	}
}

func (m *machine) takePart(t *rapid.T) {
	lane := drawLane(t)
	n, r := &m.lanes[lane], &m.readers[lane]
	e, ok := r.Peek(r.Sent(), rapid.IntRange(1, 2*m.table.chunks.PieceSize()).Draw(t, "most"))
	if !ok || e.Run == nil {
		return
	}
	count := m.verify(t, lane, n.taken, e)
	bytes := rapid.IntRange(1, len(e.Run)).Draw(t, "bytes")
	n.list[n.taken].kept = true
	rest := r.AdvancePart(e, bytes)
	whole, took, end := 0, 0, 0
	frames(t, e.Run, func(h wire.Header, _ []byte) {
		if end += h.FrameSize(); end <= bytes {
			whole = end
			took++
		}
	})
	require.Equal(t, bytes-whole, rest)
	require.LessOrEqual(t, took, count)
	n.take(took)
}

// touch is a link that takes a part of the next message.
func (m *machine) touch(t *rapid.T) {
	lane := drawLane(t)
	n, r := &m.lanes[lane], &m.readers[lane]
	if n.taken < n.published() && !n.list[n.taken].withdrawn {
		r.Touch()
		n.list[n.taken].kept = true
		n.touched = max(n.touched, n.acked()+uint64(n.taken)+1)
	}
}

func (m *machine) release(t *rapid.T) func(Reference) {
	return func(ref Reference) { require.True(t, m.table.Release(ref)) }
}

// free acknowledges any part of what was taken, or what cannot be acknowledged.
func (m *machine) free(t *rapid.T) {
	lane := drawLane(t)
	n, r := &m.lanes[lane], &m.readers[lane]
	acked := n.acked()
	require.False(t, r.Acknowledge(acked+uint64(n.taken)+1, nil), "never taken")
	require.True(t, r.Acknowledge(acked-min(acked, 1), nil), "said before")
	count := n.taken
	if rapid.Bool().Draw(t, "part") {
		count = rapid.IntRange(0, n.taken).Draw(t, "messages")
	}
	require.True(t, r.Acknowledge(acked+uint64(count), m.release(t)))
	n.acknowledge(count)
}

// rewind goes back, or forward again, to any message that was touched, or refuses.
func (m *machine) rewind(t *rapid.T) {
	lane := drawLane(t)
	n, r := &m.lanes[lane], &m.readers[lane]
	acked, last := n.acked(), max(n.acked(), n.touched)
	require.False(t, r.Rewind(last+1), "never touched")
	if acked > 0 {
		require.False(t, r.Rewind(acked-1), "freed")
	}
	to := rapid.Uint64Range(acked, last).Draw(t, "to")
	require.True(t, r.Rewind(to))
	n.taken = int(to - acked)
}

// withdraw frees the first of what is published, or all of it, at times with a list that
// outlives it; what is claimed only stays.
func (m *machine) withdraw(t *rapid.T) {
	lane := drawLane(t)
	n, r := &m.lanes[lane], &m.readers[lane]
	left := r.Remaining()
	require.EqualValues(t, n.published(), left)
	count := n.published()
	if rapid.Bool().Draw(t, "part") {
		count = rapid.IntRange(0, count).Draw(t, "messages")
	}
	if rapid.Bool().Draw(t, "salvage") {
		var list Remnants
		r.Salvage(uint64(count), &list)
		m.verifyList(t, lane, count, &list)
	} else {
		r.Withdraw(uint64(count), m.release(t))
	}
	n.acknowledge(count)
	n.taken = max(n.taken, 0)
}

// verifyList compares the first messages of a lane with a list of them, and what the list
// counts with what it holds, and drops it.
func (m *machine) verifyList(t *rapid.T, lane wire.Lane, count int, left *Remnants) {
	n, holds := &m.lanes[lane], 0
	list := slices.Collect(left.All())
	for i, x := range n.list[:count] {
		if x.withdrawn {
			continue
		}
		require.NotEmpty(t, list)
		got := list[0]
		list = list[1:]
		want := Remnant{ID: n.acked() + uint64(i), Lane: lane, Channel: x.channel, Data: got.Data,
			Maybe: n.acked()+uint64(i) < n.touched}
		require.Equal(t, want, got)
		require.Equal(t, string(x.data), string(got.Data))
		holds += m.takes(x)
	}
	require.Empty(t, list)
	for _, p := range left.Parts {
		if p.Chunk == 0 {
			holds += len(p.Entries)
		} else {
			holds += m.table.chunks.PieceSize()
		}
	}
	require.EqualValues(t, holds, left.Charged)
	used := m.table.Budget(0).Used.Load()
	left.Drop(m.release(t))
	require.EqualValues(t, used-int64(holds), m.table.Budget(0).Used.Load())
	left.Drop(m.release(t))
}

// message looks at any message.
func (m *machine) message(t *rapid.T) {
	lane := drawLane(t)
	n, r := &m.lanes[lane], &m.readers[lane]
	acked := n.acked()
	if acked > 0 {
		_, ok := r.Message(acked - 1)
		require.False(t, ok, "freed")
	}
	i := rapid.IntRange(0, len(n.list)).Draw(t, "message")
	e, ok := r.Message(acked + uint64(i))
	require.Equal(t, i < n.published(), ok)
	if ok && !e.Withdrawn {
		require.Equal(t, 1, m.verify(t, lane, i, e), "one message")
	} else if ok {
		m.verify(t, lane, i, e)
	}
}

func (m *machine) rest(t *rapid.T) {
	lane := drawLane(t)
	n := &m.lanes[lane]
	owns := m.readers[lane].Rest()
	require.Equal(t, len(n.list) > 0, owns)
	if !owns {
		require.Zero(t, m.chunksOf(lane), "a lane that rests owns no chunk")
		require.Zero(t, m.slot.lanes[lane].large.Load(), "a lane that rests owns no directory")
		require.Equal(t, m.table.firstLimit(uint64(m.slot.bound.Load()))*wordSize, m.slot.Limit(lane))
	}
}

// grow doubles a lane's limit wherever the bound and memory have room for that.
func (m *machine) grow(t *rapid.T) {
	lane := drawLane(t)
	r, budget := &m.readers[lane], m.table.Budget(0)
	limit, bound := m.slot.Limit(lane), uint64(m.slot.bound.Load())*wordSize
	next := min(2*limit, bound)
	room := int64(next-limit)*budgetShare <= budget.Limit.Load()-budget.Used.Load()
	small := next <= m.table.inlineSpan()*wordSize || m.slot.lanes[lane].large.Load() != 0
	directory := small || m.table.directories.InUse() < m.table.directories.Capacity()
	grown := r.Grow()
	require.Equal(t, next > limit && room && directory, grown)
	if !grown {
		next = limit
	}
	require.Equal(t, next, m.slot.Limit(lane))
}

// chunksOf counts a lane's chunks in its directories.
func (m *machine) chunksOf(lane wire.Lane) (count int) {
	l := &m.slot.lanes[lane]
	for i := range l.inline {
		if l.inline[i].Load() != 0 {
			count++
		}
	}
	if large := l.large.Load(); large != 0 {
		for _, place := range placesOf(m.table, arena.Index(large>>32)) {
			if place != 0 {
				count++
			}
		}
	}
	return count
}

// placesOf returns what is in a large directory.
func placesOf(table *Table, directory arena.Index) []uint32 {
	return unsafe.Slice((*uint32)(table.directories.Piece(directory)), table.largeMask+1)
}

// checkCounts compares what a lane's reader says of messages and of their bytes.
func (m *machine) checkCounts(t *rapid.T, lane wire.Lane) {
	n, r := &m.lanes[lane], &m.readers[lane]
	taken := Count{Messages: n.acked() + uint64(n.taken), Bytes: n.freed}
	gone, maybe := Gone{n.gone, n.gone, n.gone, n.gone, 0}, uint64(0)
	for i, x := range n.list {
		if i < n.taken {
			taken.Bytes += x.charge()
		}
		switch {
		case x.withdrawn:
			gone.Total++
			if i < n.taken {
				gone.Taken++
			}
			if x.id < n.touched {
				gone.Touched++
			}
		case x.id < n.touched:
			maybe++
		}
	}
	if n.touched < n.acked() {
		gone.Touched = r.Gone().Touched // of those that are forgotten here
	}
	require.Equal(t, taken, r.Taken())
	require.Equal(t, Count{Messages: n.acked(), Bytes: n.freed}, r.Acked())
	require.Equal(t, n.touched, r.Touched())
	require.Equal(t, maybe, r.Maybe())
	require.Equal(t, gone, r.Gone())
	claimed, _ := m.slot.Backlog(lane)
	require.Equal(t, len(n.list), int(claimed), "claimed and not freed")
	// No chunk is kept that lies wholly before what is acknowledged.
	tail := r.freed + (m.slot.lanes[lane].tail.Load()-r.freed)&posMask
	chunks := tail>>m.table.chunkShift - r.freed>>m.table.chunkShift + 1
	require.LessOrEqual(t, uint64(m.chunksOf(lane)), chunks, "chunks of the lane")
}

// check compares everything that is counted.
func (m *machine) check(t *rapid.T) {
	table := m.table
	chunks, bytes, used, directories := 0, 0, 0, 0
	for i := range m.lanes {
		n, r := &m.lanes[i], &m.readers[i]
		if m.slot.lanes[i].large.Load() != 0 {
			directories++
		}
		own := m.chunksOf(wire.Lane(i))
		chunks += own
		used += own << (table.chunkShift + 3)
		charged := 0
		for _, x := range n.list {
			if x.ref && !x.withdrawn {
				charged += len(x.data)
			}
			used += m.takes(x)
		}
		require.Equal(t, int64(charged), m.slot.lanes[i].charged.Load())
		queued, held := r.Queued()
		require.Equal(t, len(n.list)-n.taken, int(queued))
		require.Equal(t, n.next, r.Accepted())
		m.checkCounts(t, wire.Lane(i))
		require.GreaterOrEqual(t, held, uint64(n.least()))
		require.True(t, len(n.list) > 0 || held == 0 && r.HasRoom())
		limit := int(m.slot.lanes[i].limit.Load()) * wordSize
		require.False(t, n.least() > limit/2 && r.HasRoom() && len(n.list) > 0)
		settled := !slices.ContainsFunc(n.list, func(x *message) bool { return x.claim != nil })
		require.Equal(t, settled, r.Settled())
		bytes += n.least()
	}
	require.Equal(t, int64(used), table.Budget(0).Used.Load())
	require.LessOrEqual(t, table.Budget(0).Used.Load(), table.Budget(0).Limit.Load())
	for _, x := range table.held.entries {
		if x.data != nil {
			bytes -= len(x.data)
		}
	}
	require.GreaterOrEqual(t, bytes, 0)
	require.GreaterOrEqual(t, table.chunks.InUse(), chunks)
	require.Equal(t, directories, table.directories.InUse())
}
