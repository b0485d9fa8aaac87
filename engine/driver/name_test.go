//go:build linux

package driver

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/lyquor/lyquor/engine/endpoint"

	"github.com/stretchr/testify/require"
)

// nameServer has every name of the process stand for the addresses of IPv4 that it returns a
// place for; there is no such name while it is empty.
func (k *kit) nameServer() *atomic.Pointer[[]net.IP] {
	where := new(atomic.Pointer[[]net.IP])
	former := net.DefaultResolver
	k.Cleanup(func() { net.DefaultResolver = former })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go answer(far, where)
		return near, nil
	}}
	return where
}

// answer serves one connection of a resolver, over a stream: RFC 1035, 4.1 and 4.2.2.
func answer(c net.Conn, where *atomic.Pointer[[]net.IP]) {
	defer c.Close()
	const header = 12
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		m := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, m); err != nil {
			return
		}
		end := header
		for m[end] != 0 {
			end += 1 + int(m[end])
		}
		const typeA = 1
		asked := binary.BigEndian.Uint16(m[end+1:])
		m = m[:end+5]                                                 // the name, its end, type and class
		copy(m[2:header], "\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00") // an answer, to one question
		switch list := where.Load(); {
		case list == nil:
			m[3] |= 3 // there is no such name
		case asked == typeA:
			m[7] = byte(len(*list))
			for _, ip := range *list {
				m = append(m, "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04"...) // that name, A, IN, for no time
				m = append(m, ip.To4()...)
			}
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...)); err != nil {
			return
		}
	}
}

// TestNames: a name is resolved at each attempt, so that an endpoint waits for one that
// there is not yet, and follows one that comes to mean another host; and each of its
// addresses is tried.
func TestNames(t *testing.T) {
	onTCP(t, func(k *kit) {
		d, where := k.open(nil), k.nameServer()
		first := k.listenAt(d, "tcp://127.0.0.2:0", EndpointOptions{}, nil)
		port := first.Addr()[strings.LastIndexByte(first.Addr(), ':'):]
		second := k.listenAt(d, "tcp://127.0.0.3"+port, EndpointOptions{}, nil)
		a := k.dial(k.open(nil), "tcp://peer.example."+port, EndpointOptions{}, nil)
		a.await(endpoint.EventDown)
		a.mu.Lock()
		require.Equal(k, endpoint.BadAddress, a.events[0].Code)
		a.mu.Unlock()
		for i, s := range []*server{first, second} {
			where.Store(&[]net.IP{net.IPv4(127, 0, 0, 9), net.IPv4(127, 0, 0, byte(2+i))}) // nobody is at the first
			a.cut()
			eventually(k, "it is there", func() bool { return a.at(s.Addr()) })
		}
		require.Zero(k, a.has(endpoint.EventRestarted), "it is the same driver that answers there")
		a.Close(0)
		a.awaitEnd()
	})
}
