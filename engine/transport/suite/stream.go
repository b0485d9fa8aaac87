package suite

import (
	"bytes"
	"hash/crc64"
	"math/rand/v2"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lyquor/lyquor/engine/transport"
)

// The cases about bytes and notices on a live link.

var crcTable = crc64.MakeTable(crc64.ECMA)

// testBytesBothWays sends random bytes in random pieces both ways at once.
func testBytesBothWays(h *harness) {
	const each = 2 << 20
	random := h.random()
	a, b := h.connect()
	one := func(s *side, out, want []byte, random *rand.Rand) func() error {
		return func() error {
			in, err := s.exchange(out, len(want), random)
			if err == nil && crc64.Checksum(in, crcTable) != crc64.Checksum(want, crcTable) {
				h.Errorf("the bytes read at %s are not those written", s.LocalAddr())
			}
			return err
		}
	}
	ab, ba := noise(random, each+1), noise(random, each-1)
	h.together(
		one(a, ab, ba, rand.New(rand.NewPCG(random.Uint64(), 1))),
		one(b, ba, ab, rand.New(rand.NewPCG(random.Uint64(), 2))),
	)
}

// exchange writes out in odd pieces and reads want bytes, by turns.
func (s *side) exchange(out []byte, want int, random *rand.Rand) ([]byte, error) {
	in, buf := make([]byte, 0, want), make([]byte, 100_000)
	for len(out) > 0 || len(in) < want {
		wrote, read := 0, 0
		var need transport.Ready
		var err error
		if len(out) > 0 {
			need |= transport.Writable
			if wrote, err = s.tryWrite(pieces(random, out[:min(len(out), 1+random.IntN(200_000))])...); err != nil {
				return in, err
			}
			out = out[wrote:]
		}
		if len(in) < want {
			need |= transport.Readable
			if read, err = s.tryRead(buf[:min(1+random.IntN(len(buf)), want-len(in))]); err != nil {
				return in, err
			}
			in = append(in, buf[:read]...)
		}
		if wrote+read == 0 {
			if err = s.await(need); err != nil {
				return in, err
			}
		}
	}
	return in, nil
}

// pieces cuts p into slices of odd sizes, some of them empty.
func pieces(random *rand.Rand, p []byte) [][]byte {
	var cut [][]byte
	for len(p) > 0 {
		n := min(len(p), random.IntN(1<<random.IntN(16)))
		cut = append(cut, p[:n])
		p = p[n:]
	}
	return cut
}

func noise(random *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(random.Uint32())
	}
	return p
}

// testManySlices hands over more slices than a system call takes: all of them go
// unless the link is full, because no notice would follow for the rest.
func testManySlices(h *harness) {
	const slices = 5000
	a, b := h.connect()
	var bufs [][]byte
	var want []byte
	for i := range slices {
		bufs = append(bufs, []byte{byte(i), byte(i >> 8)}, nil)
		want = append(want, byte(i), byte(i>>8))
	}
	n, err := a.Write(bufs)
	require.NoError(h, err)
	require.Equal(h, len(want), n)
	got := make([]byte, len(want))
	require.NoError(h, b.readFull(got))
	require.True(h, bytes.Equal(want, got))
}

// testNothing asks for nothing, which must not look like an end or a full link.
func testNothing(h *harness) {
	a, b := h.connect()
	for _, s := range []*side{a, b} {
		for _, bufs := range [][][]byte{nil, {}, {nil}, {{}, nil, {}}} {
			n, err := s.Write(bufs)
			require.NoError(h, err)
			require.Zero(h, n)
		}
		n, err := s.Read(nil)
		require.NoError(h, err)
		require.Zero(h, n)
		_, err = s.Read(make([]byte, 1))
		require.Equal(h, transport.ErrAgain, err)
	}
	require.NoError(h, a.writeFull([]byte{1}))
	require.NoError(h, b.await(transport.Readable))
	n, err := b.Read([]byte{})
	require.NoError(h, err)
	require.Zero(h, n)
	require.NoError(h, b.readFull(make([]byte, 1)))
}

// testPingPong waits for a notice in each of many rounds on both sides. A single
// lost edge stops it.
func testPingPong(h *harness) {
	const rounds = 3000
	a, b := h.connect()
	play := func(s *side, first bool) func() error {
		return func() error {
			p := make([]byte, 3)
			for i := range rounds {
				if first || i > 0 {
					if err := s.writeFull(p); err != nil {
						return err
					}
				}
				if err := s.readFull(p); err != nil {
					return err
				}
			}
			if !first {
				return s.writeFull(p)
			}
			return nil
		}
	}
	h.together(play(a, true), play(b, false))
	require.Positive(h, a.agains)
	require.Positive(h, b.agains)
}

// testFullPipe fills a link whose other end does not read, drains it, and fills it
// again: the writer is told each time, and nothing is lost.
func testFullPipe(h *harness) {
	random := h.random()
	a, b := h.connect()
	block := noise(random, 64<<10)
	for range 3 {
		written := fillUp(h, a, block)
		got := make([]byte, written)
		h.together(
			func() error { return b.readFull(got) },
			func() error { return a.await(transport.Writable) },
		)
		want := bytes.Repeat(block, written/len(block)+1)[:written]
		require.Equal(h, crc64.Checksum(want, crcTable), crc64.Checksum(got, crcTable))
	}
	require.NoError(h, a.writeFull([]byte("go on")))
	require.NoError(h, b.readFull(make([]byte, 5)))
}

// fillUp repeats block until the link takes no more and returns the bytes taken.
func fillUp(h *harness, s *side, block []byte) int {
	const most = 256 << 20 // more than a kernel buffers for one connection
	// What the library itself passes on to the system makes room again at once, so
	// the link is full when no notice follows for a while.
	const lull = 30 * time.Millisecond
	for total := 0; total < most; {
		n, err := s.tryWrite(block[total%len(block):])
		require.NoError(h, err)
		total += n
		if n == 0 && s.awaitFor(transport.Writable, lull) != nil {
			return total
		}
	}
	h.Fatalf("the link took %d bytes that nobody read: it is not bounded", most)
	return 0
}

// testLateOwner lets bytes and the end arrive before the link has an owner who could
// be told of them: he is told when he comes.
func testLateOwner(h *harness) {
	l := h.listen()
	a := h.watch(h.dial(l.Addr()))
	late := l.next(h)
	require.NoError(h, a.writeFull([]byte("early")))
	require.NoError(h, a.CloseWrite())
	b := h.watch(late)
	require.NoError(h, b.await(transport.Writable))
	p := make([]byte, 5)
	require.NoError(h, b.readFull(p))
	require.Equal(h, "early", string(p))
	require.NoError(h, b.await(transport.HangUp))
}
