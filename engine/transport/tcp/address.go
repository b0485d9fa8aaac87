//go:build !js

package tcp

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

const (
	schemeTCP = "tcp"
	schemeFD  = "fd"
)

// maxHost is the longest host in bytes: a name's limit in DNS (RFC 1035, 2.3.4).
const maxHost = 255

const allowed = "allowed are tcp://host:port, tcp://1.2.3.4:port, tcp://[v6]:port and fd://number"

// The two ways in which an address is no good; failure gives them their causes.
var (
	errBadAddress    = errors.New("bad address")
	errUnknownScheme = errors.New("unknown scheme")
)

// addressError is an address that is no good. kind is not repeated in its text,
// since the cause says it.
type addressError struct {
	kind   error
	detail string
}

func (e *addressError) Error() string { return e.detail }
func (e *addressError) Unwrap() error { return e.kind }

func badAddress(format string, args ...any) error {
	return &addressError{errBadAddress, fmt.Sprintf(format, args...)}
}

// address is a parsed address: fd of fd://, the rest of tcp://.
type address struct {
	scheme string
	fd     int
	host   string
	ip     netip.Addr // the host if it is a literal
	port   int
}

// parse takes addr apart. Port 0 is good for listening only.
func parse(addr string, listening bool) (address, error) {
	scheme, rest, ok := strings.Cut(addr, "://")
	switch {
	case !ok:
		return address{}, badAddress("no scheme; %s", allowed)
	case scheme == schemeFD:
		fd, err := number(rest, math.MaxInt32)
		if err != nil {
			return address{}, badAddress("descriptor %q %v; %s", rest, err, allowed)
		}
		return address{scheme: scheme, fd: fd}, nil
	case scheme != schemeTCP:
		return address{}, &addressError{errUnknownScheme, allowed}
	}
	host, port, err := splitHostPort(rest)
	if err != nil {
		return address{}, badAddress("%v; %s", err, allowed)
	}
	if port == 0 && !listening {
		return address{}, badAddress("port 0 cannot be dialled; allowed are 1 to %d", math.MaxUint16)
	}
	a := address{scheme: scheme, host: host, port: port}
	if ip, err := netip.ParseAddr(host); err == nil {
		a.ip = ip.Unmap()
		a.host = a.ip.String()
	}
	return a, nil
}

// network is what net has to be told so that it binds the address and no more: for
// 0.0.0.0, plain "tcp" would bind both families.
func (a address) network() string {
	if a.ip.Is4() {
		return "tcp4"
	}
	return "tcp"
}

func splitHostPort(s string) (host string, port int, err error) {
	host, digits, err := net.SplitHostPort(s)
	if err != nil {
		// net's text repeats the address, which stands in front already.
		var reason *net.AddrError
		if errors.As(err, &reason) {
			err = errors.New(reason.Err)
		}
		return "", 0, err
	}
	if port, err = number(digits, math.MaxUint16); err != nil {
		return "", 0, fmt.Errorf("port %q %w", digits, err)
	}
	if s[0] == '[' {
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Is6() {
			return "", 0, fmt.Errorf("%q in brackets is not an IPv6 address", host)
		}
		return host, port, nil
	}
	return host, port, checkHost(host)
}

// checkHost passes names and IPv4 addresses. What looks like the latter and is not
// never reaches a resolver, nor do characters that no host name has; those of other
// scripts are written in ASCII (RFC 5891).
func checkHost(host string) error {
	if host == "" || len(host) > maxHost {
		return fmt.Errorf("a host has 1 to %d bytes", maxHost)
	}
	for i, c := range []byte(host) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && c != '.' && c != '-' && c != '_' {
			return fmt.Errorf("character %q at %d of the host", c, i)
		}
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	if _, err := strconv.ParseUint(last, 10, 64); err == nil {
		if _, err := netip.ParseAddr(host); err != nil {
			return fmt.Errorf("host %q is neither a name nor an IPv4 address", host)
		}
	}
	return nil
}

// number reads a plain decimal number from 0 to most.
func number(s string, most uint64) (int, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > most || len(s) > 1 && s[0] == '0' {
		return 0, fmt.Errorf("is not a number from 0 to %d", most)
	}
	return int(n), nil
}

// format returns the address of an IP socket in the form that Dial takes, or
// fd://fd for a socket of another family.
func format(at netip.AddrPort, fd int) string {
	if at.IsValid() {
		return schemeTCP + "://" + at.String()
	}
	return schemeFD + "://" + strconv.Itoa(fd)
}

// endpointOf returns the address in a, or an invalid one if it is not one of IP.
func endpointOf(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || tcp == nil {
		return netip.AddrPort{}
	}
	at := tcp.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}
