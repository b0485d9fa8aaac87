package sim

import "github.com/lyquor/lyquor/engine/endpoint"

// attempts says whether an attempt to connect is still the one under way.
func (e *Endpoint) attempts(attempt int) bool { return e.dialling && e.dials == attempt && !e.done }

// mayDial says that the endpoint wants a link, and is the side that gets one.
func (e *Endpoint) mayDial() bool {
	return e.dialled && (e.end == nil && e.core.WantsLink() || e.switchable())
}

// outcome is how an attempt to connect ended, as the kernel keeps it for the process.
type outcome struct {
	link *end
	code endpoint.Code // if it failed
}

// redial takes the outcome of an attempt to connect, and begins one if it is due.
func (e *Endpoint) redial(now int64) {
	o := e.outcome
	e.outcome = outcome{}
	switch {
	case o.link != nil:
		e.connected(now, o.link)
	case o.code != 0 && e.dialling:
		e.missed(o.code, "nobody listens there")
	}
	if e.dialling && !e.mayDial() {
		e.dialling = false
	}
	if e.dialling || !e.mayDial() || e.redialAt > now {
		return
	}
	e.dials++
	e.dialling, e.dialBy = true, now+int64(e.options.Connect)
	e.back = !e.back && e.former != "" && e.core.WantsLink()
	e.node.world.connect(e, e.dials)
}

// goal is where an attempt to connect leads.
func (e *Endpoint) goal() string {
	if e.back {
		return e.former
	}
	return e.addr
}

// connected is the success of an attempt.
func (e *Endpoint) connected(now int64, link *end) {
	e.dialling = false
	if !e.core.WantsLink() && !(e.switchable() && e.retire(now)) {
		link.Close()
		return
	}
	e.switching = e.back
	e.attach(link)
}

// attach gives the endpoint its link.
func (e *Endpoint) attach(link *end) {
	e.end, link.owner = link, e
	e.wroteEnd = false
	e.beganAt = e.node.now()
	e.heardAt = e.beganAt
	e.core.Connect(e.beganAt)
	e.becomesReady()
}

// missed is the failure of an attempt.
func (e *Endpoint) missed(code endpoint.Code, text string) {
	e.dialling = false
	if now := e.node.now(); e.end == nil {
		e.lost(now, code, text)
	} else {
		e.postpone(now) // the present link goes on
	}
}

// lost is the end of a link, or of an attempt to get one.
func (e *Endpoint) lost(now int64, code endpoint.Code, text string) {
	e.core.Fail(now, code, text)
	if e.end != nil && e.core.Phase() != endpoint.Waiting {
		// It is held behind what the program has still to take, or this is the end.
		e.readable, e.writable = false, false
	}
	e.noteLoss(now)
	e.ready()
}

// noteLoss drops a link that the protocol has no use for, and plans to get another.
func (e *Endpoint) noteLoss(now int64) {
	if e.core.Phase() != endpoint.Waiting {
		return
	}
	e.closePast()
	e.switching = false
	had := e.end != nil
	if had {
		e.end.Close()
		e.end = nil
		e.input = e.input[:0]
	}
	if e.dialled && !e.dialling && (had || e.redialAt <= now) {
		e.postpone(now)
	}
}

// postpone plans the next attempt, with back-off.
func (e *Endpoint) postpone(now int64) {
	o, w := &e.options, e.node.world
	e.backoff = min(max(2*e.backoff, int64(o.Backoff)), int64(o.MaxBackoff))
	e.redialAt = now + e.backoff/2 + w.rand.Int64N(e.backoff/2+1)
}
