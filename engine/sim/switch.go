package sim

import (
	"errors"

	"github.com/lyquor/lyquor/engine/endpoint"
)

// Switch has an endpoint that was dialled live at another address of the same process
// from now on: the present link goes on until one there can take its place, as
// driver.Endpoint.Switch has it. An attempt that fails is made again; without a link both
// addresses are tried in turn.
func (e *Endpoint) Switch(addr string) error {
	if !e.dialled || e.options.NoResume {
		return errors.New("sim: only an endpoint that was dialled, and resumes, can switch to another address")
	}
	e.target = addr
	e.ask(askSwitch)
	return nil
}

// obeySwitch begins it.
func (e *Endpoint) obeySwitch(now int64) {
	phase := e.core.Phase()
	if phase >= endpoint.Leaving {
		return
	}
	// The outcome of an attempt at the former address counts no more.
	if e.outcome.link != nil {
		e.outcome.link.Close()
	}
	e.outcome, e.dialling = outcome{}, false
	if e.former == "" {
		e.former = e.addr
	}
	e.addr, e.back, e.backoff, e.redialAt = e.target, true, 0, now
	e.switching = phase != endpoint.Waiting
}

// switchable says that a link is to take the place of the present one.
func (e *Endpoint) switchable() bool { return e.switching && e.core.Phase() == endpoint.Open }

// retire gives the link up for another, with all read that it holds: the peer need not
// send that again. It is closed only when the peer has answered on the next one.
func (e *Endpoint) retire(now int64) bool {
	e.switching = false
	e.readable = true
	for e.read(now) {
	}
	if !e.core.Retire(now) {
		return false
	}
	e.closePast()
	e.past, e.end = e.end, nil
	e.input = e.input[:0]
	return true
}

func (e *Endpoint) closePast() {
	if e.past != nil {
		e.past.Close()
		e.past = nil
	}
}
