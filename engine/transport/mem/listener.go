package mem

import (
	"sync"

	"github.com/lyquor/lyquor/engine/transport"
)

// listener hands the accepting ends of new pairs to accept, one at a time.
type listener struct {
	space  *Transport
	name   string
	accept func(transport.Link)
	offers chan *pair    // unbuffered: a dial has succeeded when its pair is taken
	gone   chan struct{} // closed by Close

	mu     sync.Mutex
	closed bool
}

// Addr returns the address listened at.
func (l *listener) Addr() string { return scheme + "://" + l.name }

// Descriptor returns -1: there is none.
func (l *listener) Descriptor() int { return -1 }

// Close frees the name; see transport.Listener.
func (l *listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	close(l.gone)
	l.space.mu.Lock()
	delete(l.space.listeners, l.name)
	l.space.mu.Unlock()
	return nil
}

func (l *listener) run() {
	for {
		select {
		case p := <-l.offers:
			if !l.open() {
				// select may take an offer although gone is closed; the dial has then
				// succeeded and finds its link ended, as over a network.
				p.ends[accepting].Close()
				return
			}
			l.accept(&p.ends[accepting])
		case <-l.gone:
			return
		}
	}
}

func (l *listener) open() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed
}
