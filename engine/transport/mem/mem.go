package mem

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/lyquor/lyquor/engine/transport"
)

const scheme = "mem"

// maxName is the longest name in bytes: as for a host in DNS, so that a name fits
// wherever a host does.
const maxName = 255

var errSyntax = errors.New("allowed is mem://name, the name being 1 to 255 of a-z A-Z 0-9 . - _")

// Transport is one namespace of listeners and makes links to them.
type Transport struct {
	mu        sync.Mutex
	listeners map[string]*listener
	dialled   atomic.Uint64 // links made so far; numbers the dialling ends
}

var _ transport.Transport = (*Transport)(nil)

// New returns an empty namespace. It needs no closing.
func New() *Transport {
	return &Transport{listeners: make(map[string]*listener)}
}

// Schemes returns "mem".
func (t *Transport) Schemes() []string { return []string{scheme} }

// Dial connects to the listener at addr; see transport.Transport.
func (t *Transport) Dial(ctx context.Context, addr string, done func(transport.Link, error)) {
	go func() {
		p, err := t.dial(ctx, addr)
		if err != nil {
			done(nil, err)
			return
		}
		done(&p.ends[dialling], nil)
	}()
}

// Listen takes the name in addr; see transport.Transport.
func (t *Transport) Listen(ctx context.Context, addr string, accept func(transport.Link), _ func(error)) (
	transport.Listener, error) {
	name, err := parse("listen", addr)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, gaveUp("listen", addr, ctx)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.listeners[name] != nil {
		return nil, &transport.Error{Op: "listen", Addr: addr, Cause: transport.InUse}
	}
	l := &listener{space: t, name: name, accept: accept, offers: make(chan *pair), gone: make(chan struct{})}
	t.listeners[name] = l
	go l.run()
	return l, nil
}

func (t *Transport) dial(ctx context.Context, addr string) (*pair, error) {
	name, err := parse("dial", addr)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, gaveUp("dial", addr, ctx)
	}
	t.mu.Lock()
	l := t.listeners[name]
	t.mu.Unlock()
	if l == nil {
		return nil, &transport.Error{Op: "dial", Addr: addr, Cause: transport.Refused}
	}
	p := newPair(name, t.dialled.Add(1))
	select {
	case l.offers <- p:
		return p, nil
	case <-l.gone:
		return nil, &transport.Error{Op: "dial", Addr: addr, Cause: transport.Refused}
	case <-ctx.Done():
		return nil, gaveUp("dial", addr, ctx)
	}
}

// parse returns the name in addr.
func parse(op, addr string) (string, error) {
	found, name, ok := strings.Cut(addr, "://")
	if ok && found != scheme {
		return "", &transport.Error{Op: op, Addr: addr, Cause: transport.UnknownScheme, Err: errSyntax}
	}
	if !ok || name == "" || len(name) > maxName {
		return "", &transport.Error{Op: op, Addr: addr, Cause: transport.BadAddress, Err: errSyntax}
	}
	for i, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && c != '.' && c != '-' && c != '_' {
			err := fmt.Errorf("%q at %d of the name: %w", c, i, errSyntax)
			return "", &transport.Error{Op: op, Addr: addr, Cause: transport.BadAddress, Err: err}
		}
	}
	return name, nil
}

// gaveUp returns the error of an attempt that ctx ended.
func gaveUp(op, addr string, ctx context.Context) error {
	cause := transport.Canceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		cause = transport.TimedOut
	}
	return &transport.Error{Op: op, Addr: addr, Cause: cause, Err: ctx.Err()}
}
