package driver

import "sync"

// lease is the right to use a slot. The program may hold an Endpoint, a Timer or
// another object for longer than its life lasts; by then the slot may be somebody
// else's, and a late Close must not reach them.
type lease struct {
	mu   sync.Mutex
	over bool
}

// use calls do, unless the life is over, and says whether it did. It does not end
// meanwhile.
func (l *lease) use(do func()) (live bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		do()
	}
	return !l.over
}

// end is called before the slot is given back, and of an endpoint before its last
// event: nothing that the program does to it later has a meaning.
func (l *lease) end() {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
}
