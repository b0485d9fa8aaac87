package driver

import (
	"bytes"
	"container/list"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lyquor/lyquor/engine/endpoint"
	"github.com/lyquor/lyquor/engine/transport"
	"github.com/lyquor/lyquor/engine/wire"
)

// sessions is what the driver's accepted endpoints can be found by when their peers come
// back on another link. Workers share it, so it has a lock: it is looked at once for
// each link that names a session, and when one is lost.
type sessions struct {
	sync.Mutex
	byID    map[[16]byte]*Endpoint
	waiting list.List // of those without a link, the one that has waited longest first: waiter
	bytes   uint64    // of all of them
	most    int       // how many may wait; maxWaiting
	limit   uint64    // how much they may hold, in bytes; the driver's memory limit
}

// waiter is an endpoint that waits for its peer, with what it held when the link was lost.
type waiter struct {
	*Endpoint
	bytes uint64
}

// maxWaiting bounds the sessions that wait for their peers, over a driver.
const maxWaiting = 1 << 14

func (s *sessions) put(id [16]byte, e *Endpoint) {
	s.Lock()
	defer s.Unlock()
	if s.byID == nil {
		s.byID = map[[16]byte]*Endpoint{}
	}
	s.byID[id] = e
}

func (s *sessions) get(id [16]byte) *Endpoint {
	s.Lock()
	defer s.Unlock()
	return s.byID[id]
}

func (s *sessions) remove(e *Endpoint) {
	s.Lock()
	defer s.Unlock()
	if id := e.core.Session(); s.byID[id] == e {
		delete(s.byID, id)
	}
}

// wait has an endpoint wait for its peer. It returns those that have waited longest, and do
// so no more, where there are too many or hold too much.
func (s *sessions) wait(e *Endpoint, bytes uint64) (over []*Endpoint) {
	s.Lock()
	defer s.Unlock()
	e.waits = s.waiting.PushBack(waiter{e, bytes})
	s.bytes += bytes
	for s.waiting.Len() > s.most || s.bytes > s.limit && s.waiting.Len() > 1 {
		over = append(over, s.forget(s.waiting.Front()))
	}
	return over
}

// leave is for an endpoint that waits no more.
func (s *sessions) leave(e *Endpoint) {
	s.Lock()
	defer s.Unlock()
	if e.waits.Value != nil {
		s.forget(e.waits)
	}
	e.waits = nil
}

// gaveUp says whether an endpoint that waits is counted no more.
func (s *sessions) gaveUp(e *Endpoint) bool {
	s.Lock()
	defer s.Unlock()
	return e.waits != nil && e.waits.Value == nil
}

func (s *sessions) forget(at *list.Element) *Endpoint {
	w := s.waiting.Remove(at).(waiter)
	at.Value = nil
	s.bytes -= w.bytes
	return w.Endpoint
}

// countWaiting counts the endpoint among those that wait for their peers, or no more.
func (e *Endpoint) countWaiting(waits bool) {
	if waits == (e.waits != nil) || e.redials {
		return
	}
	if !waits {
		e.driver.sessions.leave(e)
		return
	}
	for _, over := range e.driver.sessions.wait(e, e.holds()) {
		over.post(over.giveUp)
	}
}

// holds returns what the endpoint has received and its program has not consumed, and what is
// not acknowledged of its outbox, in bytes.
func (e *Endpoint) holds() uint64 {
	bytes := e.core.Held()
	for lane := range wire.Lane(wire.Lanes) {
		_, n := e.slot.Backlog(lane)
		bytes += n
	}
	return bytes
}

// giveUp ends the wait for a peer, unless it is back.
func (e *Endpoint) giveUp() {
	if e.core.Phase() == endpoint.Waiting && e.driver.sessions.gaveUp(e) {
		e.core.Abort(endpoint.Limit,
			"too many sessions wait for their peers, or hold too much, and this one waits longest")
		e.worker.sched.Ready(&e.node)
	}
}

// resumes says whether the session that a peer names is another endpoint's here.
func (e *Endpoint) resumes(hello wire.Hello) bool {
	e.heir = e.driver.sessions.get(hello.Session)
	return e.heir != nil && e.heir != e
}

// handOver gives the link to the endpoint whose session the peer resumes. This one, of
// which the program knows nothing yet, vanishes; or goes on if the other has no use for
// the link.
func (e *Endpoint) handOver() {
	heir, s := e.heir, &suitor{from: e, link: e.link, ahead: e.leftover()}
	if fd := s.link.Descriptor(); fd >= 0 {
		e.worker.poller.remove(fd)
	}
	e.link, e.heir, e.handed = nil, nil, true
	e.forgetLink()
	if former := heir.suitor.Swap(s); former != nil {
		// Its peer has given it up, or would not have come again; what was posted for it finds this one.
		former.from.post(former.withdraw)
		return
	}
	if !heir.post(heir.inherit) {
		heir.suitor.Swap(nil).refuse()
	}
}

// suitor is a link whose peer resumes the session of another endpoint than the one that
// accepted it.
type suitor struct {
	from  *Endpoint
	link  transport.Link
	ahead []byte // what was read behind HELLO
}

// refuse gives the link back to who accepted it.
func (s *suitor) refuse() { s.from.post(func() { s.from.refused(s) }) }

// withdraw ends a link that another one of the same peer has overtaken.
func (s *suitor) withdraw() {
	s.from.discardLink(s.link)
	s.from.vanish()
}

// leftover returns a copy of what was read and is not consumed.
func (e *Endpoint) leftover() []byte {
	if in := &e.input; in.block != 0 {
		return bytes.Clone(e.driver.table.Blocks().Bytes(in.block)[in.start:in.fill])
	}
	return bytes.Clone(e.carry)
}

// inherit resumes the session on the link of another endpoint: of those that wait for that
// the last one.
func (e *Endpoint) inherit() {
	s := e.suitor.Swap(nil)
	e.incoming = s.link
	e.exhaust()
	adopted := !e.told && e.core.Adopt(e.driver.Now(), s.from.core)
	e.incoming = nil
	if !adopted {
		s.refuse()
		return
	}
	s.from.post(s.from.vanish)
	e.unlink()
	e.ahead = s.ahead
	e.join(s.link)
	e.worker.sched.Ready(&e.node)
}

// refused goes on with a link that nobody inherited, as with any new peer.
func (e *Endpoint) refused(s *suitor) {
	e.handed = false
	if e.core.Phase() == endpoint.Closed {
		e.discardLink(s.link)
		return
	}
	e.ahead = s.ahead
	e.join(s.link)
	e.core.Refuse(e.driver.Now())
	if e.worker.closing {
		e.shut(0)
	}
	e.worker.sched.Ready(&e.node)
}

// vanish ends an endpoint that the program never heard of.
func (e *Endpoint) vanish() {
	e.handed, e.told = false, true
	e.core.Abort(endpoint.OK, "")
	if e.listener != nil {
		e.listener.finish()
	}
	e.driver.markClosed(e.slot)
	e.worker.sched.Ready(&e.node)
}

// mend looks for another link if the endpoint waits for one, now or after a while.
func (e *Endpoint) mend(now int64) {
	waits := e.core.WantsLink()
	e.countWaiting(waits)
	if !waits {
		return
	}
	if e.link != nil {
		e.unlink()
	}
	if e.redials && !e.dialling && e.retryAt == 0 && e.core.WantsLink() {
		e.retryAt = now + e.backOff()
	}
}

const (
	// firstBackOff is what the first attempt after a lost link waits, at most: a peer that
	// cut all its links should not get all of them back at once.
	firstBackOff = 10 * time.Millisecond
	// lastBackOff is what it grows to.
	lastBackOff = 5 * time.Second
)

// backOff returns how long to wait before the next attempt, in nanoseconds: twice as long
// each time, with a part of it left to chance, so that many who lost one peer do not
// come back in step.
func (e *Endpoint) backOff() int64 {
	most := min(int64(firstBackOff)<<min(e.attempts, 16), int64(lastBackOff))
	e.attempts++
	return most/2 + rand.Int64N(most/2)
}

// dial tries to get a link. The address is resolved anew each time. Who has no link in the
// middle of a switch tries both addresses in turn.
func (e *Endpoint) dial() {
	e.retryAt, e.dialling = 0, true
	e.attempt++
	e.former = !e.former && e.past != nil && e.core.WantsLink()
	attempt, addr := e.attempt, *e.addr.Load()
	if e.former {
		addr = *e.past.addr
	}
	t, err := e.driver.transportOf(addr)
	if err != nil {
		e.dialled(nil, err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), e.connect)
	e.cancel = cancel
	t.Dial(ctx, addr, func(link transport.Link, err error) {
		posted := e.post(func() {
			if attempt == e.attempt {
				e.dialled(link, err)
			} else if link != nil {
				link.Close()
			}
		})
		if !posted && link != nil {
			link.Close()
		}
	})
}

// dialled is the outcome of an attempt to connect.
func (e *Endpoint) dialled(link transport.Link, err error) {
	e.dialling = false
	if e.cancel != nil {
		e.cancel()
		e.cancel = nil // an idle endpoint keeps no context
	}
	waits := e.core.WantsLink()
	switch {
	case e.core.Parting():
		if link != nil {
			link.Close()
		}
	case isBadAddress(err) && e.past != nil && !e.former:
		e.switchBack(err)
	case e.switching && !waits:
		e.switched(link, err)
	case err == nil && !waits:
		link.Close()
	case isBadAddress(err) && !e.former:
		// It will be no better at the next attempt.
		e.core.Abort(endpoint.BadAddress, err.Error())
	case err != nil:
		e.driver.log(2, "dial.failed", "%v", err)
		e.core.Fail(e.driver.Now(), codeOf(err), err.Error())
	default:
		e.switching = e.former
		e.unlink() // the one to be replaced may have been lost a moment ago
		e.attach(link)
	}
	e.worker.sched.Ready(&e.node)
}

// unlink ends a link that the session outlives, with what was read from it and belongs
// to no whole frame.
func (e *Endpoint) unlink() {
	e.closeRetired()
	if e.link != nil {
		e.closeLink()
	}
	e.forgetLink()
}

// forgetLink is for an endpoint whose link is another one, or none, from now on.
func (e *Endpoint) forgetLink() {
	e.input.drop(e)
	e.ahead = nil
	e.readable, e.writable, e.hungUp, e.wroteEnd, e.shallow = false, false, false, false, false
	e.since.Store(0)
}
