package sim

// event is something that happens at one moment of the world's time. Two of one
// moment happen in the order in which they were planned.
type event struct {
	at   int64 // nanoseconds
	turn uint64
	what note
	do   func()
}

func (a *event) before(b *event) bool { return a.at < b.at || a.at == b.at && a.turn < b.turn }

// eventHeap is a binary heap of events, the earliest first.
type eventHeap []event

func (h *eventHeap) push(e event) {
	*h = append(*h, e)
	s := *h
	for i := len(s) - 1; i > 0; {
		parent := (i - 1) / 2
		if !s[i].before(&s[parent]) {
			return
		}
		s[i], s[parent] = s[parent], s[i]
		i = parent
	}
}

func (h *eventHeap) pop() event {
	s := *h
	first, last := s[0], len(s)-1
	s[0] = s[last]
	s[last] = event{} // what it would keep alive
	s = s[:last]
	*h = s
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(s); c++ {
			if s[c].before(&s[least]) {
				least = c
			}
		}
		if least == i {
			return first
		}
		s[i], s[least] = s[least], s[i]
		i = least
	}
}
