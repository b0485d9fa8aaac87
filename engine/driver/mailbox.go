package driver

import (
	"sync"
	"sync/atomic"
)

// mailbox holds commands for a worker, or for an endpoint wherever it is: rare, so a
// lock and a slice do. Any goroutine puts; only the worker does the rest.
type mailbox struct {
	sync.Mutex
	list   []func()
	closed bool
	full   atomic.Bool
}

// put adds a command; false if nobody will run it.
func (m *mailbox) put(command func()) bool {
	m.Lock()
	defer m.Unlock()
	if m.closed {
		return false
	}
	m.list = append(m.list, command)
	m.full.Store(true)
	return true
}

// run gives each command that there is to do, in order, and returns how many.
func (m *mailbox) run(do func(func())) int {
	if !m.full.Load() {
		return 0
	}
	m.Lock()
	list := m.list
	m.list = nil
	m.full.Store(false)
	m.Unlock()
	for _, command := range list {
		do(command)
	}
	return len(list)
}

// seal refuses further commands, unless some came meanwhile.
func (m *mailbox) seal() bool {
	m.Lock()
	defer m.Unlock()
	m.closed = len(m.list) == 0
	return m.closed
}
