package driver

import (
	"strings"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/transport"
)

// Switch has an endpoint that was dialled live at another address from now on, of any
// transport: a link there takes the place of the present one as soon as it is connected.
// Until then the present one goes on; an attempt that fails is logged and made again. If the
// present link is lost, or who accepts at the new address says nothing for
// EndpointOptions.Connect, both addresses are tried in turn. One that cannot be right, or
// where something answers that is no lyquor, is forgotten, and the former one counts again.
// The sink gets EventDown, with code OK, and EventUp. It returns at once; the last call
// counts.
func (e *Endpoint) Switch(addr string) error {
	if _, err := e.driver.transportOf(addr); err != nil {
		return err
	}
	switch {
	case !e.redials:
		return failure(endpoint.Invalid, "the endpoint was accepted; only who dialled can switch to another address")
	case e.brief:
		return failure(endpoint.Invalid, "the endpoint ends with its link; only one that resumes can switch")
	case strings.HasPrefix(addr, "fd:"):
		return failure(endpoint.Invalid, "%s: a descriptor is given once, so nothing can live there", addr)
	}
	live := e.lease.use(func() { e.post(func() { e.switchTo(addr) }) })
	if !live {
		return ErrClosed
	}
	return nil
}

// past is what an endpoint leaves behind when it switches.
type past struct {
	addr *string        // where it was, until a link is up at the new address
	link transport.Link // the one before, until the peer has answered on the next; nil: none
}

func (e *Endpoint) switchTo(addr string) {
	phase := e.core.Phase()
	if phase >= endpoint.Leaving {
		return
	}
	shaking := phase == endpoint.Opening
	if e.past == nil {
		e.past = &past{addr: e.addr.Load()}
	} else if shaking && !e.switching {
		e.past.addr = e.addr.Load()
	}
	e.addr.Store(&addr)
	e.attempts, e.switching, e.former = 0, phase != endpoint.Waiting, false
	if shaking {
		return // on: to leave in mid handshake could leave a session behind that nobody here knows
	}
	if e.cancel != nil {
		e.cancel() // of an attempt at the former address, whose outcome counts no more
	}
	e.former = true // so that the next attempt is at the new one
	e.dial()
}

// cameUp is called when a link is up.
func (e *Endpoint) cameUp() {
	e.closeRetired()
	switch {
	case !e.switching:
		e.past, e.attempts = nil, 0
	case e.dialling || e.retryAt != 0:
	case e.former:
		// Where it is to go there was nobody, or somebody who says nothing: it stays a while.
		e.retryAt = e.driver.Now() + e.backOff()
	default:
		e.attempts = 0
		e.dial()
	}
}

// switched is the outcome of an attempt to connect while there is a link.
func (e *Endpoint) switched(link transport.Link, err error) {
	if err != nil {
		e.driver.log(1, "switch.failed", "%s goes on: %v", e.RemoteAddr(), err)
		e.retryAt = e.driver.Now() + e.backOff()
		return
	}
	e.switching = false
	e.exhaust()
	if !e.core.Retire(e.driver.Now()) {
		link.Close()
		return
	}
	e.retire()
	e.attach(link)
}

// switchBack forgets an address that will be no better at the next attempt.
func (e *Endpoint) switchBack(err error) {
	e.driver.log(1, "switch.failed", "%s is where it stays: %v", *e.past.addr, err)
	e.addr.Store(e.past.addr)
	e.closeRetired()
	e.past, e.switching = nil, false
}

// exhaustMost bounds what is read of a link before it is retired, in bytes.
const exhaustMost = 8 << 20

// exhaust reads and delivers what a link holds that is about to be retired: the peer need
// not send that again.
func (e *Endpoint) exhaust() {
	now := e.driver.Now()
	e.readable = e.link != nil
	for budget := exhaustMost; budget > 0 && e.mayRead(); {
		n, err := e.readSome(now)
		if n == 0 || err != nil {
			break
		}
		budget -= n
	}
	e.putAway()
}

// retire takes the link out. It is closed only when the peer has answered on the next one:
// to close it at once could destroy what the peer has not read, and would exhaust.
func (e *Endpoint) retire() {
	e.closeRetired()
	if e.link == nil {
		return
	}
	if fd := e.link.Descriptor(); fd >= 0 {
		e.worker.poller.remove(fd)
	}
	e.past.link, e.link = e.link, nil
	e.forgetLink()
}

func (e *Endpoint) closeRetired() {
	if e.past != nil && e.past.link != nil {
		e.discardLink(e.past.link)
		e.past.link = nil
	}
}
