package endpoint

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lyquor/lyquor/engine/wire"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txt with what happens now")

// TestScripts runs each testdata/*.txt: commands, a line of dashes, and what must
// happen then, up to an empty line. Lines that begin with # are for the reader.
//
//	connect              both sides get their link, the first or another
//	switch               a gives its link up for another; b learns of it by that one
//	cut SIDE|both        the link is lost with what is on its way; that side learns of it
//	forge SIDE LANE N    its next HELLO will say that what is below N is done with
//	restart b            b loses all that it knows, and the link
//	send SIDE LANE N [TIME]  a message of N bytes, with that long to live
//	sweep SIDE           its senders want room, in all lanes
//	write SIDE [N]       the link takes up to N bytes of what there is
//	deliver SIDE [N]     up to N bytes of what the side wrote arrive
//	settle               both, until nothing moves
//	raw SIDE KIND [N]    a frame arrives at the side that the other never wrote
//	end SIDE             half-close
//	close SIDE TIME      close with that long to linger, "forever" or 0s
//	refuse SIDE, take SIDE   its receiver takes nothing from now on; everything again
//	resume SIDE
//	pass TIME            time goes by, and nothing moves
//	late TIME            the same, and nobody sees what is due until it is over, and then once
//	state                phases and counts of both sides
//	cap N                windows may grow to N bytes; once, anywhere
//	windows              of the lane NORMAL: b's window, and what a's log may hold
func TestScripts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.txt"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			got := runScript(t, string(text))
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
				return
			}
			require.Equal(t, string(text), got, "run with -update if this is how it should be")
		})
	}
}

// script is two endpoints and the lines that say what happens to them.
type script struct {
	*pair
	t       *testing.T
	lines   []string
	reasons map[*side]bool // whose end was told
}

// runScript carries out the commands of a file and returns it with what happened.
func runScript(t *testing.T, text string) string {
	config := func(c *Config) { c.KeepAlive = 15 * second }
	if regexp.MustCompile(`\n(cut|restart|switch)\b`).MatchString(text) {
		config = func(c *Config) { c.KeepAlive, c.Resume = 15*second, 60*second }
	}
	if _, rest, tunes := strings.Cut(text, "\ncap "); tunes {
		word, _, _ := strings.Cut(rest, "\n")
		n, err := strconv.ParseUint(word, 10, 64)
		require.NoError(t, err)
		config = func(c *Config) { c.KeepAlive, c.Window = 15*second, n }
	}
	s := &script{pair: newPair(t, newTable(t), config), t: t, reasons: map[*side]bool{}}
	s.adorn = func(x *side) {
		x.rec.say = func(format string, args ...any) { s.say(x.name+": "+format, args...) }
	}
	s.adorn(s.a)
	s.adorn(s.b)
	var out []string
	for _, block := range strings.Split(strings.TrimSpace(text), "\n\n") {
		commands, _, isCommand := strings.Cut(block, "\n----")
		out = append(out, commands)
		if isCommand {
			s.lines = []string{"----"}
			for _, line := range strings.Split(commands, "\n") {
				if !strings.HasPrefix(line, "#") {
					s.run(strings.Fields(line))
				}
			}
			out[len(out)-1] += "\n" + strings.Join(s.lines, "\n")
		}
	}
	for _, x := range append([]*side{s.a, s.b}, s.gone...) {
		x.rec.say = nil
	}
	s.drop()
	return strings.Join(out, "\n\n") + "\n"
}

func (s *script) say(format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func (s *script) side(words []string) *side {
	require.Greater(s.t, len(words), 1, "which side? %v", words)
	if words[1] == "a" {
		return s.a
	}
	require.Equal(s.t, "b", words[1])
	return s.b
}

// number returns the word at i as a number, or what stands for all.
func (s *script) number(words []string, i int) int {
	if len(words) <= i {
		return everything
	}
	n, err := strconv.Atoi(words[i])
	require.NoError(s.t, err, "%v", words)
	return n
}

func (s *script) lane(words []string) wire.Lane {
	for lane := range wire.Lane(wire.Lanes) {
		if len(words) > 2 && lane.String() == words[2] {
			return lane
		}
	}
	s.t.Fatalf("which lane? %v", words)
	return 0
}

func (s *script) duration(word string) int64 {
	d, err := time.ParseDuration(word)
	require.NoError(s.t, err)
	return int64(d)
}

func (s *script) run(words []string) {
	switch words[0] {
	case "connect":
		s.relink()
	case "switch":
		require.True(s.t, s.a.ep.Retire(s.now))
		s.a.in, s.a.out, s.a.outEnded = nil, nil, false
		s.relink()
	case "cut":
		if words[1] != "a" {
			s.b.cut()
		}
		if words[1] != "b" {
			s.a.cut()
		}
	case "forge":
		s.side(words).ep.send.base[s.lane(words)] = uint64(s.number(words, 3))
	case "restart":
		s.restart()
	case "send":
		until := int64(0)
		if len(words) > 4 {
			until = s.now + s.duration(words[4])
		}
		x := s.side(words)
		_, _, err := x.table.SendUntil(x.handle, s.lane(words), 0, make([]byte, s.number(words, 3)), until)
		require.NoError(s.t, err)
	case "sweep":
		s.side(words).ep.Sweep(s.now, 1<<wire.Lanes-1)
	case "write":
		s.write(s.side(words), s.number(words, 2))
	case "deliver":
		s.side(words).deliver(s.number(words, 2))
	case "settle":
		for s.write(s.a, everything)+s.write(s.b, everything)+s.a.deliver(everything)+s.b.deliver(everything) > 0 {
		}
	case "raw":
		s.raw(s.side(words), s.number(words, 2), words[3:])
	case "end":
		s.side(words).ep.End()
	case "close":
		deadline := int64(0)
		if words[2] != "forever" {
			deadline = s.now + s.duration(words[2])
		}
		s.side(words).ep.Close(s.now, deadline)
	case "refuse":
		s.side(words).rec.takes = func(message) bool { return false }
	case "take":
		s.side(words).rec.takes = nil
	case "resume":
		s.side(words).resume()
	case "pass":
		s.silence(s.now + s.duration(words[1]))
	case "late":
		s.now += s.duration(words[1])
		s.a.ep.Expire(s.now)
		s.b.ep.Expire(s.now)
	case "state":
		s.state()
	case "cap":
	case "windows":
		s.say("window %d, outbox %d", s.b.ep.Window(wire.Normal), s.a.slot.Limit(wire.Normal))
	default:
		s.t.Fatalf("unknown command %v", words)
	}
	s.tellEnds()
}

// raw has a frame without a payload, or with zeros as one, arrive at a side.
func (s *script) raw(x *side, kind int, size []string) {
	n := 0
	if len(size) > 0 {
		n = s.number(size, 0)
	}
	x.in = append(x.in, frame(wire.MakeHeader(uint32(n), wire.Kind(kind), 0, 0), make([]byte, n))...)
	x.read()
}

// write has the link take bytes, and says which frames those were if they are whole.
func (s *script) write(x *side, n int) int {
	before := len(x.out)
	wrote := x.write(everything, n)
	if wrote == 0 {
		return 0
	}
	var frames []string
	stream := x.out[before:]
	if _, err := wire.ParsePreface(stream); err == nil {
		frames, stream = append(frames, "preface"), stream[wire.PrefaceSize:]
	}
	for len(stream) >= wire.HeaderSize {
		h := wire.GetHeader(stream)
		if wire.Check(h) != nil || h.FrameSize() > len(stream) {
			break
		}
		frames, stream = append(frames, frameText(h, stream[wire.HeaderSize:])), stream[h.FrameSize():]
	}
	if len(stream) > 0 {
		frames = append(frames, "a part")
	}
	s.say("%s wrote %s", x.name, strings.Join(frames, ", "))
	return wrote
}

// frameText says what a frame is, and what it tells of the lanes that have anything.
func frameText(h wire.Header, rest []byte) string {
	text := h.Kind().String()
	switch h.Kind() {
	case wire.Msg, wire.Start, wire.Frag, wire.Skip:
		text = fmt.Sprintf("%v %v %d", h.Kind(), h.Lane(), h.Size())
	case wire.KindHello:
		hello, err := wire.ParseHello(rest[:h.Size()])
		if err != nil {
			return err.Error()
		}
		if hello.Session != none {
			text += fmt.Sprintf(" of session %d", hello.Session[2])
		}
		for lane, p := range hello.Points {
			if p.Base+p.Received+p.Total > 0 {
				text += fmt.Sprintf(" (%v from %d, has %d and %d of %d, consumed %d)", wire.Lane(lane), p.Base,
					p.Received, p.Offset, p.Total, p.Consumed)
			}
		}
	case wire.KindAck:
		ack, err := wire.ParseAck(rest[:h.Size()])
		if err != nil {
			return err.Error()
		}
		for lane, c := range ack.Lanes {
			if c.Consumed > 0 {
				text += fmt.Sprintf(" (%v %d)", wire.Lane(lane), c.Consumed)
			}
			if c.Window != wire.DefaultWindow {
				text = strings.TrimSuffix(text, ")") + fmt.Sprintf(", window %d)", c.Window)
			}
		}
	}
	return text
}

// silence expires what is due until a time.
func (s *script) silence(end int64) {
	for s.now < end {
		next := end
		for _, x := range []*side{s.a, s.b} {
			if due := x.ep.Deadline(); due != 0 {
				next = min(next, due)
			}
		}
		s.now = next
		s.a.ep.Expire(next)
		s.b.ep.Expire(next)
		s.tellEnds()
	}
}

func (s *script) state() {
	for _, x := range []*side{s.a, s.b} {
		paused := ""
		if x.ep.Paused() {
			paused = ", paused"
		}
		s.say("%s is %v%s, due in %v", x.name, x.ep.Phase(), paused, time.Duration(max(x.ep.Deadline()-s.now, 0)))
	}
}

// tellEnds says once of each side how it ended.
func (s *script) tellEnds() {
	for _, x := range []*side{s.a, s.b} {
		if x.ep.Phase() == Closed && !s.reasons[x] {
			s.reasons[x] = true
			code, text := x.ep.Reason()
			s.say("%s: closed with %d: %s", x.name, code, text)
		}
	}
}
