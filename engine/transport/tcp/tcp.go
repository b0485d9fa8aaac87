//go:build !js

package tcp

import (
	"context"
	"net"
	"os"
	"strconv"

	"github.com/lyquor/lyquor/engine/internal/system"
	"github.com/lyquor/lyquor/engine/transport"
)

// Options choose how a Transport works. The zero value is best where it exists.
type Options struct {
	// Portable has links stand on Go's net package also where descriptor-driven ones
	// exist.
	Portable bool
}

// Transport makes links over TCP. It holds no state and needs no closing.
type Transport struct {
	flavour flavour
}

var _ transport.Transport = (*Transport)(nil)

// flavour is what the two kinds of links do differently.
type flavour interface {
	// wrap makes a link of a connection just dialled, which it owns even if it fails.
	wrap(conn *net.TCPConn) (transport.Link, error)
	// adopt makes a link of a connected stream socket, which it owns unless it fails.
	adopt(fd int) (transport.Link, error)
	// accept makes an acceptor of a listener, which it owns even if it fails.
	accept(l *net.TCPListener) (acceptor, error)
	// acceptFrom makes one of a listening socket, which it owns unless it fails.
	acceptFrom(fd int) (acceptor, error)
}

// New returns a Transport with the flavour that options ask for and the platform has.
func New(options Options) *Transport {
	if options.Portable {
		return &Transport{portable{}}
	}
	return &Transport{native()}
}

// Schemes returns "tcp" and "fd".
func (t *Transport) Schemes() []string { return []string{schemeTCP, schemeFD} }

// Dial connects to addr; see transport.Transport.
func (t *Transport) Dial(ctx context.Context, addr string, done func(transport.Link, error)) {
	go func() {
		link, err := t.dial(ctx, addr)
		if err != nil {
			done(nil, failure(ctx, "dial", addr, err))
			return
		}
		done(link, nil)
	}()
}

// Listen binds addr; see transport.Transport.
func (t *Transport) Listen(ctx context.Context, addr string, accept func(transport.Link), fault func(error)) (
	transport.Listener, error) {
	source, err := t.listen(ctx, addr)
	if err != nil {
		return nil, failure(ctx, "listen", addr, err)
	}
	l := &listener{source: source, accept: accept, fault: fault, gone: make(chan struct{})}
	go l.run()
	return l, nil
}

func (t *Transport) dial(ctx context.Context, addr string) (transport.Link, error) {
	to, err := parse(addr, false)
	if err != nil {
		return nil, err
	}
	if to.scheme == schemeFD {
		// Whatever has become of the attempt: the descriptor is ours, and to be closed.
		return t.flavour.adopt(to.fd)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := refused("socket", "connect"); err != nil {
		return nil, err
	}
	dialer := net.Dialer{KeepAlive: -1}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(to.host, strconv.Itoa(to.port)))
	if err != nil {
		return nil, err
	}
	return t.flavour.wrap(conn.(*net.TCPConn))
}

func (t *Transport) listen(ctx context.Context, addr string) (acceptor, error) {
	at, err := parse(addr, true)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if at.scheme == schemeFD {
		return t.flavour.acceptFrom(at.fd)
	}
	if err := refused("socket", "bind", "listen"); err != nil {
		return nil, err
	}
	config := net.ListenConfig{KeepAlive: -1}
	config.SetMultipathTCP(false)
	l, err := config.Listen(ctx, at.network(), net.JoinHostPort(at.host, strconv.Itoa(at.port)))
	if err != nil {
		return nil, err
	}
	return t.flavour.accept(l.(*net.TCPListener))
}

// refused says what net would say of calls that it makes by itself, if a test has one of
// them fail.
func refused(calls ...string) error {
	for _, call := range calls {
		if errno := system.Error(call); errno != 0 {
			return os.NewSyscallError(call, errno)
		}
	}
	return nil
}
