package driver

import "sync"

// lease is the right to use a slot. The program may hold an Endpoint, a Timer or
// another object for longer than its life lasts; by then the slot may be somebody
// else's, and a late Close must not reach them.
type lease struct {
	mu   sync.Mutex
	over bool
}

// use calls do, unless the life is over. It does not end meanwhile.
func (l *lease) use(do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		do()
	}
}

// end is called before the slot is given back.
func (l *lease) end() {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
}
