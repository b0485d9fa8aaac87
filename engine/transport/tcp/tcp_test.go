//go:build !js

package tcp

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lyquor/lyquor/engine/transport"
	"github.com/lyquor/lyquor/engine/transport/suite"
)

// flavours runs a test for each flavour; where the platform has one only, twice.
func flavours(t *testing.T, test func(t *testing.T, tr *Transport)) {
	t.Run("native", func(t *testing.T) { test(t, New(Options{})) })
	t.Run("portable", func(t *testing.T) { test(t, New(Options{Portable: true})) })
}

// loopbacks returns the loopback hosts of the families that this machine has; IPv4 it must have.
func loopbacks(t *testing.T) []string {
	hosts := []string{"127.0.0.1"}
	if l, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		require.NoError(t, l.Close())
		hosts = append(hosts, "[::1]")
	}
	return hosts
}

func TestSuite(t *testing.T) {
	for _, host := range loopbacks(t) {
		t.Run(host, func(t *testing.T) {
			flavours(t, func(t *testing.T, tr *Transport) {
				suite.Run(t, func(*testing.T) (transport.Transport, string) { return tr, "tcp://" + host + ":0" })
			})
		})
	}
}

// patience bounds each wait for something that takes milliseconds.
const patience = 20 * time.Second

func listen(t *testing.T, tr *Transport, addr string) (transport.Listener, <-chan transport.Link) {
	t.Helper()
	links := make(chan transport.Link, 100)
	l, err := tr.Listen(t.Context(), addr, func(l transport.Link) { links <- l }, func(err error) { t.Error(err) })
	require.NoError(t, err)
	t.Cleanup(func() {
		l.Close()
		for {
			select {
			case link := <-links:
				link.Close()
			default:
				return
			}
		}
	})
	return l, links
}

func dial(t *testing.T, tr *Transport, addr string) (transport.Link, error) {
	t.Helper()
	type outcome struct {
		link transport.Link
		err  error
	}
	result := make(chan outcome, 1)
	tr.Dial(context.Background(), addr, func(l transport.Link, err error) { result <- outcome{l, err} })
	o := receiveFrom(t, result)
	if o.link != nil {
		t.Cleanup(func() { o.link.Close() })
	}
	return o.link, o.err
}

func receiveFrom[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func causeIn(t *testing.T, err error) transport.Cause {
	t.Helper()
	var failure *transport.Error
	require.ErrorAs(t, err, &failure)
	return failure.Cause
}

// A listener binds what it was told and nothing else.
func TestListenBindsExactly(t *testing.T) {
	reachable := func(network, port string, host string) bool {
		conn, err := net.DialTimeout(network, net.JoinHostPort(host, port), patience)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	flavours(t, func(t *testing.T, tr *Transport) {
		for _, c := range []struct {
			addr              string
			one, other, three bool // 127.0.0.1, 127.0.0.2, ::1
		}{
			{"tcp://127.0.0.1:0", true, false, false},
			{"tcp://127.0.0.2:0", false, true, false},
			{"tcp://0.0.0.0:0", true, true, false},
			{"tcp://[::]:0", true, true, true},
			{"tcp://[::1]:0", false, false, true},
			{"tcp://[::ffff:127.0.0.1]:0", true, false, false},
			{"tcp://localhost:0", true, false, false},
		} {
			l, _ := listen(t, tr, c.addr)
			_, port, err := net.SplitHostPort(l.Addr()[len("tcp://"):])
			require.NoError(t, err)
			require.NotEqual(t, "0", port)
			require.Equal(t, c.one, reachable("tcp4", port, "127.0.0.1"), c.addr)
			require.Equal(t, c.other, reachable("tcp4", port, "127.0.0.2"), c.addr)
			require.Equal(t, c.three, reachable("tcp6", port, "::1"), c.addr)
			require.NoError(t, l.Close())
		}
	})
}

// An address of IPv4 reads as such although it came through a socket of both families.
func TestAddressesThroughDualStack(t *testing.T) {
	flavours(t, func(t *testing.T, tr *Transport) {
		l, links := listen(t, tr, "tcp://[::]:0")
		_, port, err := net.SplitHostPort(l.Addr()[len("tcp://"):])
		require.NoError(t, err)
		a, err := dial(t, tr, "tcp://localhost:"+port)
		require.NoError(t, err)
		b := receiveFrom(t, links)
		defer b.Close()
		require.Equal(t, "tcp://127.0.0.1:"+port, b.LocalAddr())
		require.Equal(t, a.LocalAddr(), b.RemoteAddr())
	})
}

func TestCauses(t *testing.T) {
	flavours(t, func(t *testing.T, tr *Transport) {
		// net refuses a name with an empty label itself, so that no resolver is asked.
		_, err := dial(t, tr, "tcp://a..b:1")
		require.Equal(t, transport.Unresolved, causeIn(t, err), "%v", err)
		_, err = tr.Listen(t.Context(), "tcp://a..b:1", func(transport.Link) {}, func(error) {})
		require.Equal(t, transport.Unresolved, causeIn(t, err), "%v", err)
		// An address of the documentation range (RFC 5737) is nobody's.
		_, err = tr.Listen(t.Context(), "tcp://192.0.2.1:0", func(transport.Link) {}, func(error) {})
		require.Equal(t, transport.Unreachable, causeIn(t, err), "%v", err)
		require.ErrorContains(t, err, "listen tcp://192.0.2.1:0: unreachable: ")
	})
	for errno, cause := range causes {
		require.Equal(t, cause, causeOf(&net.OpError{Err: errno}))
	}
	require.Equal(t, transport.CauseOther, causeOf(errors.New("new")))
}

func TestParse(t *testing.T) {
	for addr, want := range map[string]address{
		"tcp://host:1":               {scheme: "tcp", host: "host", port: 1},
		"tcp://a-b_c.example.:65535": {scheme: "tcp", host: "a-b_c.example.", port: 65535},
		"tcp://1host:80":             {scheme: "tcp", host: "1host", port: 80},
		"fd://0":                     {scheme: "fd"},
		"fd://17":                    {scheme: "fd", fd: 17},
	} {
		got, err := parse(addr, false)
		require.NoError(t, err, addr)
		require.Equal(t, want, got)
	}
	for addr, host := range map[string]string{
		"tcp://127.0.0.1:1":        "127.0.0.1",
		"tcp://[::1]:1":            "::1",
		"tcp://[0:0::1]:1":         "::1",
		"tcp://[fe80::1%eth0]:1":   "fe80::1%eth0",
		"tcp://[::ffff:1.2.3.4]:1": "1.2.3.4",
	} {
		got, err := parse(addr, false)
		require.NoError(t, err, addr)
		require.Equal(t, host, got.host)
		require.True(t, got.ip.IsValid())
	}
	for _, addr := range []string{
		"tcp://:1", "tcp://host", "tcp://host:", "tcp://host:x", "tcp://host:65536", "tcp://host:-1", "tcp://host:+1",
		"tcp://host:01", "tcp://host:http", "tcp://::1:1", "tcp://[::1]", "tcp://[::1", "tcp://[::1]x:1",
		"tcp://[host]:1", "tcp://[1.2.3.4]:1", "tcp://1.2.3:1", "tcp://1.2.3.256:1", "tcp://1.2.3.4.5:1",
		"tcp://a/b:1", "tcp://a:1/", "tcp://ä:1", "tcp://user@host:1", "tcp:host:1",
		"fd://", "fd://-1", "fd://x", "fd://1:2", "fd://99999999999",
	} {
		_, err := parse(addr, true)
		require.ErrorIs(t, err, errBadAddress, addr)
		require.ErrorContains(t, err, "allowed", addr)
	}
	for _, addr := range []string{"udp://host:1", "TCP://host:1", "://host:1"} {
		_, err := parse(addr, true)
		require.ErrorIs(t, err, errUnknownScheme, addr)
	}
	_, err := parse("tcp://host:0", false)
	require.ErrorIs(t, err, errBadAddress)
	_, err = parse("tcp://host:0", true)
	require.NoError(t, err)
}
