package outbox

// mark is a place in a lane that was reached by one write.
type mark struct {
	pos   uint64 // behind the entries
	count Count  // of all before it
	refs  bool   // references may lie before it and behind the mark before
}

// marks remember how far the log reached at each write, in order, so that what is
// acknowledged can be freed without reading it again: by then it has left the caches,
// and to walk it costs more than to send it did. A mark that would follow closely takes
// the place of the one before; in between, the log is walked.
type marks struct {
	ring  []mark
	first int
	n     int
}

// markStep is the least distance of two marks, in words.
const markStep = 4 << 10 / wordSize

func (m *marks) front() *mark {
	if m.n == 0 {
		return nil
	}
	return &m.ring[m.first]
}

func (m *marks) pop() {
	m.first = (m.first + 1) & (len(m.ring) - 1)
	m.n--
}

// push adds a mark. from is where the one before it ends, or what was freed.
func (m *marks) push(from uint64, k mark) {
	if m.n > 0 {
		last := &m.ring[(m.first+m.n-1)&(len(m.ring)-1)]
		from = last.pos
		if k.refs == last.refs && m.n > 1 {
			before := m.ring[(m.first+m.n-2)&(len(m.ring)-1)].pos
			if k.pos-before < markStep {
				*last = k
				return
			}
		}
	}
	if k.pos == from || m.n == 0 && !k.refs && k.pos-from < markStep {
		return // a lane that is soon empty again needs no memory for this
	}
	if m.n == len(m.ring) {
		m.grow()
	}
	m.ring[(m.first+m.n)&(len(m.ring)-1)] = k
	m.n++
}

func (m *marks) grow() {
	ring := make([]mark, max(2*len(m.ring), 8))
	for i := range m.n {
		ring[i] = m.ring[(m.first+i)&(len(m.ring)-1)]
	}
	m.ring, m.first = ring, 0
}

func (m *marks) clear() { m.first, m.n = 0, 0 }
