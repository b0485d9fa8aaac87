package endpoint

import (
	"slices"
	"testing"

	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

// requireResumes has the dialler, whose link was lost in a handshake, go on on another one.
func (p *pair) requireResumes() {
	p.a.t.Helper()
	p.a.in, p.a.out = nil, nil
	p.relink()
	p.settle()
	require.Equal(p.a.t, Open, p.a.ep.Phase())
	require.NotContains(p.a.t, p.a.rec.kinds(), EventRestarted)
}

// TestStrangersAreNotTold: an accepting side that does not know yet who came goes without a
// word, which could be taken for the loss of a session, unless the peer is at fault.
func TestStrangersAreNotTold(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(p *pair)
		code Code
		text string
		told bool
	}{
		"in time": {func(p *pair) { p.b.ep.Expire(p.now + 10*second) }, TimedOut,
			"no handshake from the peer in time", false},
		"closed": {func(p *pair) { p.b.ep.Close(p.now, p.now) }, OK, "closed by this side", false},
		"limit":  {func(p *pair) { p.b.ep.Abort(Limit, "too many") }, Limit, "too many", false},
		"fault": {func(p *pair) { p.b.in = append(p.b.in, header(0, wire.Msg, 0, 0)...); p.b.read() }, Protocol,
			"MSG before HELLO", true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, newTable(t), nil)
			p.connect()
			p.settleHalf(p.b, everything)
			p.a.write(wire.PrefaceSize, wire.PrefaceSize)
			p.a.deliver(wire.PrefaceSize)
			c.do(p)
			p.b.requireReason(c.code, c.text)
			p.b.write(everything, everything)
			require.Equal(t, c.told, len(p.b.out) > 0)
			p.b.deliver(everything)
			if c.told {
				p.a.requireReason(Protocol, "closed by the peer: MSG before HELLO")
			}
			p.drop()
		})
	}
}

// unnamed is the beginning of an accepting side whose session cannot be resumed, or that has
// not read of any.
func unnamed() []byte {
	return wire.AppendHello(wire.AppendPreface(nil, preface), wire.Hello{Incarnation: [16]byte{1}})
}

// TestSentAway: GOAWAY of a peer that names no session is an attempt that failed, and not
// the loss of the session; only who has none, and is told that it is at fault, ends by it.
func TestSentAway(t *testing.T) {
	for _, known := range []bool{false, true} {
		for _, code := range []Code{OK, TimedOut, Limit, Internal, Protocol, Version} {
			for _, chunk := range []int{everything, 8} {
				p := newPair(t, newTable(t), forEver)
				p.connect()
				if known {
					p.settle()
					p.cut()
					p.a.ep.Connect(p.now)
				}
				p.a.rec.events = nil
				p.a.send(wire.Normal, 0, []byte("waits"))
				p.a.write(everything, everything)
				input := join(unnamed(), wire.AppendGoAway(nil, wire.GoAway{Code: int32(code)}),
					header(0, 99, 0, 0)) // nothing counts behind it
				for len(input) > 0 && p.a.ep.Phase() == Opening {
					n := min(chunk, len(input))
					p.a.in, input = append(p.a.in, input[:n]...), input[n:]
					p.a.read()
				}
				require.NotContains(t, p.a.rec.kinds(), EventRestarted)
				if !known && blames(code) {
					p.a.requireReason(code, "closed by the peer")
				} else {
					require.Equal(t, Waiting, p.a.ep.Phase(), "%v", code)
					require.NotEqual(t, OK, p.a.ep.lost, "nobody asked for it")
					p.b.cut()
					p.requireResumes()
				}
				p.drop()
			}
		}
	}
}

// TestUnnamed: whatever else comes from a peer that names no session begins one that
// cannot be resumed. One that has nothing to say is asked.
func TestUnnamed(t *testing.T) {
	for _, known := range []bool{false, true} {
		p := newPair(t, newTable(t), forEver)
		p.connect()
		if known {
			p.settle()
			p.cut()
			p.a.ep.Connect(p.now)
		}
		p.a.write(everything, everything)
		p.a.out = nil
		p.a.in = unnamed()
		p.a.read()
		require.Equal(t, Opening, p.a.ep.Phase())
		p.a.write(everything, everything)
		require.Equal(t, wire.AppendPing(nil, wire.Ping{Nonce: p.a.ep.pingNonce}), p.a.out)
		p.a.in = wire.AppendPong(nil, wire.Pong{Nonce: p.a.ep.pingNonce})
		p.a.read()
		require.Equal(t, Open, p.a.ep.Phase())
		require.Empty(t, p.a.in, "what shows it is read as well")
		require.Equal(t, known, slices.Contains(p.a.rec.kinds(), EventRestarted))
		p.a.ep.Fail(p.now, Reset, "the link was cut")
		require.Equal(t, Closed, p.a.ep.Phase(), "it cannot be resumed")
		p.drop()
	}
}

// TestUnnamedAndClosed: this side goes before it is clear what the peer is about.
func TestUnnamedAndClosed(t *testing.T) {
	p := newPair(t, newTable(t), forEver)
	p.connect()
	p.a.in = unnamed()
	p.a.read()
	p.a.ep.Close(p.now, p.now)
	require.Equal(t, Leaving, p.a.ep.Phase())
	p.a.in = join(header(0, wire.Msg, 0, 0), wire.AppendGoAway(nil, wire.GoAway{}))
	p.a.read()
	p.a.requireReason(OK, "closed by this side")
	require.Empty(t, p.a.rec.events)
	require.Empty(t, p.a.rec.messages)
	p.drop()
}

// TestSomebodyElseAnswers where a session is to be resumed: what is no lyquor, or none that
// this side can talk with, is an attempt that failed; of a first one it is the end.
func TestSomebodyElseAnswers(t *testing.T) {
	for _, v := range violations {
		if !v.bare {
			continue
		}
		for _, known := range []bool{false, true} {
			p := newPair(t, newTable(t), forEver)
			p.connect()
			if known {
				p.settle()
				p.cut()
				p.a.ep.Connect(p.now)
			}
			p.a.in = v.bytes
			p.a.read()
			require.EqualError(t, p.a.err, v.text)
			if !known {
				p.a.requireReason(v.code, v.text)
			} else {
				require.Equal(t, Waiting, p.a.ep.Phase(), v.name)
				p.requireResumes()
			}
			p.drop()
		}
	}
}
