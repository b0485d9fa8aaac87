package main

import "sync"

// gate holds all traffic up while it is shut. It is a lock that writers of
// sockets only touch: nothing is done inside, because a write may take for ever.
type gate struct{ lock sync.RWMutex }

func (g *gate) pass() {
	g.lock.RLock()
	//lint:ignore SA2001 To get through is all that is wanted.
	g.lock.RUnlock()
}

func (g *gate) shut() { g.lock.Lock() }

func (g *gate) open() { g.lock.Unlock() }
