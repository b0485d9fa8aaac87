package outbox

// mark is a place in a lane that was reached by one write.
type mark struct {
	pos   uint64 // behind the entries
	count Count  // of all before it
	gone  uint64 // of these messages, those that were withdrawn
	refs  bool   // references may lie before it and behind the mark before
}

// marks remember how far the log reached at each write, in order, so that what is
// acknowledged can be freed without reading it again: by then it has left the caches,
// and to walk it costs more than to send it did. A mark that would follow closely takes
// the place of the one before; in between, the log is walked.
type marks struct{ ring *markRing } // nil: none was needed since the lane rested

// markRing holds n marks from place first on.
type markRing struct {
	marks    []mark
	first, n int
}

// markStep is the least distance of two marks, in words.
const markStep = 4 << 10 / wordSize

func (m *marks) front() *mark {
	if m.ring == nil || m.ring.n == 0 {
		return nil
	}
	return m.ring.at(0)
}

func (m *marks) pop() {
	r := m.ring
	r.first = (r.first + 1) & (len(r.marks) - 1)
	r.n--
}

// push adds a mark. from is where the one before it ends, or what was freed.
func (m *marks) push(from uint64, k mark) {
	r := m.ring
	if r != nil && r.n != 0 {
		last := r.at(r.n - 1)
		from = last.pos
		if k.refs == last.refs && r.n > 1 && k.pos-r.at(r.n-2).pos < markStep {
			*last = k
			return
		}
	}
	none := r == nil || r.n == 0
	if k.pos == from || none && !k.refs && k.pos-from < markStep {
		return // a lane that is soon empty again needs no memory for this
	}
	if r == nil {
		r = &markRing{}
		m.ring = r
	}
	if r.n == len(r.marks) {
		r.grow()
	}
	r.n++
	*r.at(r.n - 1) = k
}

func (m *marks) clear() {
	if m.ring != nil {
		m.ring.first, m.ring.n = 0, 0
	}
}

// at returns mark number i, from the first on.
func (r *markRing) at(i int) *mark { return &r.marks[(r.first+i)&(len(r.marks)-1)] }

func (r *markRing) grow() {
	marks := make([]mark, max(2*len(r.marks), 8))
	for i := range r.n {
		marks[i] = *r.at(i)
	}
	r.marks, r.first = marks, 0
}
